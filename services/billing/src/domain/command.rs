//! What can be asked of an account, and the fingerprint that makes asking twice safe.

use std::fmt;
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, LotId, RefundId, RequestId};
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};
use sha2::{Digest, Sha256};

use super::attribution::{Attribution, Note};
use super::canonical::Canonical;
use super::lot::LotSource;

/// The longest time a hold may last.
pub const MAX_HOLD: Span = Span::DAY;

/// The caller's scope and its id for one request: unique within an account.
///
/// Two callers that happen to choose the same request id do not meet each other's answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(Arc<str>);

impl RequestKey {
    /// The key of `request` as asked by the caller known as `scope` (an id, hence without spaces).
    pub fn new(scope: &str, request: &RequestId) -> Self {
        Self(format!("{scope} {request}").into())
    }

    /// A key as it was stored.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The caller's own part of it.
    pub fn request_id(&self) -> &str {
        self.0.split_once(' ').map_or(&*self.0, |(_, id)| id)
    }

    /// The stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who said what a charge costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pricing {
    /// The caller named the amount, so it belongs to the request's fingerprint.
    Named,
    /// The rate card did, from model and quantity. A retry after a price change is still the same
    /// request, so the amount stays out of the fingerprint.
    RateCard,
}

/// Spend credits now, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeCommand {
    /// The new charge's id.
    pub charge: ChargeId,
    /// How much.
    pub amount: Credits,
    /// Who said how much.
    pub pricing: Pricing,
    /// For whom and for what.
    pub attribution: Arc<Attribution>,
    /// When the work was done.
    pub occurred_at: Option<Timestamp>,
}

/// Reserve credits for a while, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldCommand {
    /// The new hold's id.
    pub hold: HoldId,
    /// How much.
    pub amount: Credits,
    /// For how long: above zero, at most [`MAX_HOLD`].
    pub ttl: Span,
    /// For whom and for what.
    pub attribution: Arc<Attribution>,
}

/// Settle a hold: charge part or all of it and give back the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureCommand {
    /// The hold.
    pub hold: HoldId,
    /// The id of the charge that this makes.
    pub charge: ChargeId,
    /// How much to charge.
    pub amount: Credits,
    /// Whether `amount` may be above the hold; the excess is then charged as any charge is.
    pub allow_excess: bool,
}

/// Give back a charge or part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundCommand {
    /// The charge.
    pub charge: ChargeId,
    /// The new refund's id.
    pub refund: RefundId,
    /// How much; `None` for all that is left.
    pub amount: Option<Credits>,
}

/// Add a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantCommand {
    /// The new lot's id.
    pub lot: LotId,
    /// How many credits.
    pub amount: Credits,
    /// Where they come from.
    pub source: LotSource,
    /// Lower burns first.
    pub priority: i32,
    /// First instant at which they can be spent; `None` for now. May lie in the past or future.
    pub effective_at: Option<Timestamp>,
    /// First instant at which they no longer can; `None` for never. May lie in the past, as when a
    /// renewal runs late: the lot is then granted and expires at once.
    pub expires_at: Option<Timestamp>,
    /// A remark for people.
    pub note: Option<Note>,
}

/// Void what remains of a lot. What holds have reserved of it stays theirs; what would come back
/// to it later is void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidCommand {
    /// The lot.
    pub lot: LotId,
    /// A remark for people.
    pub note: Option<Note>,
}

/// What can be asked of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Spend credits now.
    Charge(ChargeCommand),
    /// Reserve credits.
    Hold(HoldCommand),
    /// Settle a hold.
    Capture(CaptureCommand),
    /// Give back a hold. Giving back one that is no longer held succeeds and changes nothing.
    Release {
        /// The hold.
        hold: HoldId,
    },
    /// Give back a charge.
    Refund(RefundCommand),
    /// Add a lot.
    Grant(GrantCommand),
    /// Void a lot.
    Void(VoidCommand),
    /// Book what has fallen due and nothing else.
    Sweep,
}

/// A command with its caller's idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// By which a repetition is recognised; `None` when none is wanted.
    pub key: Option<RequestKey>,
    /// [`body_hash`] of the command; 0 without a key.
    pub body_hash: i64,
    /// What is asked.
    pub command: Command,
}

/// Which stored rows must be in the state before a request can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs<'a> {
    /// A hold, with the lots it is earmarked on.
    pub hold: Option<HoldId>,
    /// A charge, with its refunded sum and the lots that paid it.
    pub charge: Option<ChargeId>,
    /// A lot, even one that is used up.
    pub lot: Option<LotId>,
    /// The entry that was booked under this key, if there is one.
    pub key: Option<&'a RequestKey>,
}

impl Needs<'_> {
    /// Whether it is about something that was made before.
    pub fn something_made(&self) -> bool {
        self.hold.is_some() || self.charge.is_some() || self.lot.is_some()
    }
}

impl Request {
    /// A request with the fingerprint of its command.
    pub fn new(key: Option<RequestKey>, command: Command) -> Self {
        let body_hash = if key.is_some() { body_hash(&command) } else { 0 };
        Self { key, body_hash, command }
    }

    /// Which stored rows the decision depends on, beside the account's live lots and overdue holds.
    pub fn needs(&self) -> Needs<'_> {
        let mut needs = Needs { hold: None, charge: None, lot: None, key: self.key.as_ref() };
        match &self.command {
            Command::Capture(command) => needs.hold = Some(command.hold),
            Command::Release { hold } => needs.hold = Some(*hold),
            Command::Refund(command) => needs.charge = Some(command.charge),
            Command::Void(command) => needs.lot = Some(command.lot),
            Command::Charge(_) | Command::Hold(_) | Command::Grant(_) | Command::Sweep => {}
        }
        needs
    }
}

/// The fingerprint of what a caller asked for: the first eight bytes of SHA-256 over the kind of
/// command and every field the caller chose.
///
/// Ids that the server makes are left out, because a retry brings new ones.
pub fn body_hash(command: &Command) -> i64 {
    let mut buffer = Vec::with_capacity(192);
    let mut out = Canonical::new(&mut buffer);
    match command {
        Command::Charge(it) => {
            out.text("charge");
            out.option((it.pricing == Pricing::Named).then_some(it.amount), Canonical::credits);
            out.attribution(&it.attribution);
            out.option(it.occurred_at, Canonical::time);
        }
        Command::Hold(it) => {
            out.text("hold");
            out.credits(it.amount);
            out.i64(it.ttl.as_micros());
            out.attribution(&it.attribution);
        }
        Command::Capture(it) => {
            out.text("capture");
            out.id(it.hold);
            out.credits(it.amount);
            out.flag(it.allow_excess);
        }
        Command::Release { hold } => {
            out.text("release");
            out.id(*hold);
        }
        Command::Refund(it) => {
            out.text("refund");
            out.id(it.charge);
            out.option(it.amount, Canonical::credits);
        }
        Command::Grant(it) => {
            out.text("grant");
            out.credits(it.amount);
            out.text(it.source.as_str());
            out.i64(i64::from(it.priority));
            out.option(it.effective_at, Canonical::time);
            out.option(it.expires_at, Canonical::time);
            out.note(it.note.as_ref());
        }
        Command::Void(it) => {
            out.text("void");
            out.id(it.lot);
            out.note(it.note.as_ref());
        }
        Command::Sweep => out.text("sweep"),
    }
    let digest: [u8; 32] = Sha256::digest(&buffer).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}
