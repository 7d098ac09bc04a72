//! What can be asked of an account, and the fingerprint that makes asking twice safe.

use std::fmt;
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, LotId, PaymentId, RequestId, UserId};
use bursar_members::Word;
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use super::actor::Actor;
use super::attribution::{Attribution, Labels, Note};
use super::codec::Writer;
use super::details::{Details, Fingerprint, NamedRequest, Salt};
use super::lot::{LotSource, LotTerms, Origin};
use super::rates::MeterUse;
use super::scope::Scope;

/// An actor and its id for one request, as 16 bytes of SHA-256: unique within an account.
///
/// Two actors that happen to choose the same request id do not meet each other's answers, and nobody can use up
/// somebody else's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey([u8; 16]);

impl RequestKey {
    /// The key of `request` as asked by `actor`.
    pub fn new(actor: &Actor, request: &RequestId) -> Self {
        let mut scope = Writer::with_capacity(160);
        actor.write_scope(&mut scope);
        scope.text(request.as_str());
        Self(scope.digest16())
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestKey({})", hex::encode(self.0))
    }
}

/// What work costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    /// So many credits, as the caller says.
    Amount(Credits),
    /// What the rate card says for this usage of the model that the work names, when it is booked. A retry after a
    /// price change is still the same request: only the usage belongs to its fingerprint.
    Metered(Vec<MeterUse>),
}

/// Spend credits now, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeCommand {
    /// How much.
    pub cost: Cost,
    /// For whom and for what.
    pub attribution: Attribution,
    /// The caller's own labels.
    pub labels: Labels,
    /// When the work was done.
    pub occurred_at: Option<Timestamp>,
}

/// Reserve credits for a while, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldCommand {
    /// How much.
    pub amount: Credits,
    /// For how long: above zero, at most what the deployment's rules allow.
    pub ttl: Span,
    /// For whom and for what.
    pub attribution: Attribution,
    /// The caller's own labels.
    pub labels: Labels,
}

/// Settle a hold: charge part or all of it and give back the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureCommand {
    /// The hold.
    pub hold: HoldId,
    /// How much to charge; `None` for all that is held.
    pub cost: Option<Cost>,
    /// Whether it may be above the hold; the excess is then charged as any charge is.
    pub allow_excess: bool,
}

/// Give back a charge or part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundCommand {
    /// The charge.
    pub charge: ChargeId,
    /// How much; `None` for all that is left.
    pub amount: Option<Credits>,
}

/// Add a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantCommand {
    /// How many credits.
    pub amount: Credits,
    /// Where they come from.
    pub source: LotSource,
    /// Lower burns first.
    pub priority: i32,
    /// Which work they pay for.
    pub scope: Scope,
    /// First instant at which they can be spent; `None` for now. May lie in the past or future.
    pub effective_at: Option<Timestamp>,
    /// First instant at which they no longer can; `None` for never. May lie in the past, as when a renewal runs
    /// late: the lot is then granted and expires at once.
    pub expires_at: Option<Timestamp>,
    /// Where they come from in particular.
    pub origin: Origin,
    /// A remark for people.
    pub note: Option<Note>,
    /// The month that begins with it, counted from an anchor: what a subscription does when it begins or renews.
    pub begins: Option<(Timestamp, u32)>,
}

impl GrantCommand {
    /// Credits that pay for any work from now on, for ever, of which nothing in particular is to be said.
    pub fn new(amount: Credits, source: LotSource) -> Self {
        Self {
            amount,
            source,
            priority: 0,
            scope: Scope::default(),
            effective_at: None,
            expires_at: None,
            origin: Origin::default(),
            note: None,
            begins: None,
        }
    }
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

/// Take back credits whose payment was taken back: what is left in their lot is voided, and what was spent of it is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeBackCommand {
    /// The payment's lot.
    pub lot: LotId,
    /// The payment.
    pub payment: PaymentId,
    /// How many.
    pub amount: Credits,
    /// How many are owed of this payment already.
    pub owed: Credits,
}

/// Give back credits that were taken back, because their payment is good after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreCommand {
    /// The payment's lot.
    pub lot: LotId,
    /// The payment.
    pub payment: PaymentId,
    /// How many.
    pub amount: Credits,
    /// How many of this payment's were voided.
    pub voided: Credits,
    /// How many of this payment's became debt.
    pub owed: Credits,
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
    /// Note that details are erased: a member's, or with `None` those that belong to no member.
    Erase {
        /// Whose.
        member: Option<UserId>,
    },
    /// Take back credits whose payment was taken back.
    TakeBack(TakeBackCommand),
    /// Give them back.
    Restore(RestoreCommand),
    /// Book what has fallen due and nothing else.
    Sweep,
}

/// The name by which a repetition of a request is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestName {
    /// The digest by which it is looked up.
    pub key: RequestKey,
    /// What the caller wrote.
    pub id: RequestId,
}

impl RequestName {
    /// The name `id` as chosen by `actor`.
    pub fn new(actor: &Actor, id: RequestId) -> Self {
        Self { key: RequestKey::new(actor, &id), id }
    }
}

/// A user who must belong to the organization, or have the personal account still, for a request to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spender {
    /// The user.
    pub user: UserId,
    /// What the user's own access token says, or goes without saying in the personal account; `None` when a service names
    /// a member.
    pub token: Option<Word>,
}

/// A call of which the audit log is told in the transaction that carries it out, beside its entry in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldCall {
    /// The RPC.
    pub method: &'static str,
    /// Who acts, as the audit log names it.
    pub actor: String,
    /// For whom, if it is for somebody else.
    pub on_behalf_of: Option<String>,
    /// What the id of its row is made of, beside the time.
    pub row: [u8; 10],
}

/// A command with who must be a member for it, and its caller's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// By which a repetition is recognised; `None` when none is wanted.
    pub name: Option<RequestName>,
    /// The fingerprint of the command.
    pub fingerprint: Fingerprint,
    /// Who must belong to the organization, or have the personal account still; `None` where nobody has to (operators,
    /// the program's own bookkeeping).
    pub spender: Option<Spender>,
    /// What its details are salted with.
    pub salt: Salt,
    /// What is asked.
    pub command: Command,
    /// Whether the renewal that the account may be due for has been looked after: it is done, or cannot be done now.
    pub renewal_settled: bool,
    /// Whether what is known of the organization's members and policies may be out of date.
    pub feed_stale: bool,
    /// What the audit log is told of it when it is carried out; `None` where the ledger alone tells of it, or something else
    /// that it is a part of.
    pub told: Option<Box<ToldCall>>,
}

/// Which stored rows must be in the state before a request can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// A hold, with the lots it is earmarked on.
    pub hold: Option<HoldId>,
    /// A charge, with its refunded sum and the lots that paid it.
    pub charge: Option<ChargeId>,
    /// A lot, even one that is used up.
    pub lot: Option<LotId>,
    /// A user's membership.
    pub member: Option<UserId>,
    /// The entry that was booked under this key, if there is one, with its details.
    pub key: Option<RequestKey>,
}

impl Needs {
    /// Whether it is about something that was made before.
    pub fn something_made(&self) -> bool {
        self.hold.is_some() || self.charge.is_some() || self.lot.is_some()
    }
}

impl Request {
    /// A request with the fingerprint of its command.
    pub fn new(name: Option<RequestName>, salt: Salt, command: Command) -> Self {
        let fingerprint = fingerprint(&command);
        Self { name, fingerprint, spender: None, salt, command, renewal_settled: false, feed_stale: false, told: None }
    }

    /// The program's own request without a name.
    pub fn unnamed(command: Command) -> Self {
        Self::new(None, [0; 16], command)
    }

    /// The same, for which `spender` must belong to the organization.
    #[must_use]
    pub fn for_member(self, spender: Option<Spender>) -> Self {
        Self { spender, ..self }
    }

    /// The same once the renewal that the account was due for has been looked after.
    #[must_use]
    pub fn with_renewal_settled(self) -> Self {
        Self { renewal_settled: true, ..self }
    }

    /// The same, with whether what is known of the organization's members and policies may be out of date.
    #[must_use]
    pub fn under_stale_feed(self, feed_stale: bool) -> Self {
        Self { feed_stale, ..self }
    }

    /// The same, of which the audit log is told.
    #[must_use]
    pub fn told_as(self, call: ToldCall) -> Self {
        Self { told: Some(Box::new(call)), ..self }
    }

    /// Whether what is known of members and policies has a part in deciding it: whoever acts with a user's token, and
    /// whatever spends for a member. What a service does by its own authority has none: it settles what was reserved, gives
    /// back, grants.
    pub fn rests_on_membership(&self) -> bool {
        self.spender.is_some() || self.spends()
    }

    /// Whether it takes credits: those of the month that has begun, if one has.
    pub fn spends(&self) -> bool {
        match &self.command {
            Command::Charge(_) | Command::Hold(_) => true,
            Command::Capture(command) => command.allow_excess,
            _ => false,
        }
    }

    /// The key of its name.
    pub fn key(&self) -> Option<RequestKey> {
        self.name.as_ref().map(|name| name.key)
    }

    /// Which stored rows the decision depends on, beside the account's live lots and overdue holds.
    pub fn needs(&self) -> Needs {
        let member = self.spender.map(|spender| spender.user);
        let mut needs = Needs { hold: None, charge: None, lot: None, member, key: self.key() };
        match &self.command {
            Command::Capture(command) => needs.hold = Some(command.hold),
            Command::Release { hold } => needs.hold = Some(*hold),
            Command::Refund(command) => needs.charge = Some(command.charge),
            Command::Void(command) => needs.lot = Some(command.lot),
            Command::TakeBack(command) => needs.lot = Some(command.lot),
            Command::Restore(command) => needs.lot = Some(command.lot),
            Command::Charge(_) | Command::Hold(_) | Command::Grant(_) | Command::Erase { .. } | Command::Sweep => {}
        }
        needs
    }

    /// The details of what it books, for `member`; `None` where there is nothing to keep.
    pub(super) fn details(&self, member: Option<UserId>, labels: Labels, note: Option<Note>) -> Option<Arc<Details>> {
        let named = |name: &RequestName| NamedRequest { id: name.id.clone(), fingerprint: self.fingerprint };
        let request = self.name.as_ref().map(named);
        let details = Details { member, request, labels, note, salt: self.salt };
        (!details.is_empty()).then(|| Arc::new(details))
    }
}

/// The fingerprint of what a caller asked for: 16 bytes of SHA-256 over the kind of command and every field the
/// caller chose.
pub(super) fn fingerprint(command: &Command) -> Fingerprint {
    let mut out = Writer::with_capacity(192);
    write(&mut out, command);
    Fingerprint(out.digest16())
}

fn write(out: &mut Writer, command: &Command) {
    match command {
        Command::Charge(it) => {
            out.text("charge");
            write_cost(out, &it.cost);
            it.attribution.write(out);
            it.labels.write(out);
            out.option(it.occurred_at, Writer::time);
        }
        Command::Hold(it) => {
            out.text("hold");
            out.credits(it.amount);
            out.int(it.ttl.as_micros());
            it.attribution.write(out);
            it.labels.write(out);
        }
        Command::Capture(it) => {
            out.text("capture");
            out.id(it.hold);
            out.option(it.cost.as_ref(), write_cost);
            out.flag(it.allow_excess);
        }
        Command::Release { hold } => {
            out.text("release");
            out.id(*hold);
        }
        Command::Refund(it) => {
            out.text("refund");
            out.id(it.charge);
            out.option(it.amount, Writer::credits);
        }
        Command::Grant(it) => {
            out.text("grant");
            out.credits(it.amount);
            out.option(it.effective_at, Writer::time);
            // Where they come from in particular is the program's to say, not the caller's.
            let terms = LotTerms { origin: Origin::default(), ..LotTerms::of(it, Timestamp::EPOCH) };
            terms.write(out);
            out.option(it.note.as_ref(), |out, note| out.text(note.as_str()));
        }
        Command::Void(it) => {
            out.text("void");
            out.id(it.lot);
            out.option(it.note.as_ref(), |out, note| out.text(note.as_str()));
        }
        Command::Erase { member } => {
            out.text("erase");
            out.option(*member, Writer::id);
        }
        Command::TakeBack(it) => {
            out.text("take back");
            out.id(it.lot);
            out.id(it.payment);
            out.credits(it.amount);
        }
        Command::Restore(it) => {
            out.text("restore");
            out.id(it.lot);
            out.id(it.payment);
            out.credits(it.amount);
        }
        Command::Sweep => out.text("sweep"),
    }
}

fn write_cost(out: &mut Writer, cost: &Cost) {
    match cost {
        Cost::Amount(amount) => {
            out.byte(0);
            out.credits(*amount);
        }
        Cost::Metered(usage) => {
            out.byte(1);
            out.count(usage.len());
            for used in usage {
                out.option(used.meter.as_ref(), |out, meter| out.text(meter.as_str()));
                out.uint(used.quantity.millionths().unsigned_abs());
            }
        }
    }
}
