//! Lots: credits granted at one time, from one source, with one expiry; and the order they burn in.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use bursar_id::{LotId, OwnerId, PaymentId, PurchaseId, SubscriptionId};
use bursar_money::{Credits, Currency, Price};
use bursar_time::Timestamp;

use super::attribution::{Attribution, ModelName, Note, ProjectName};
use super::codec::{Malformed, Reader, Unreadable, Writer};
use super::command::GrantCommand;
use super::entry::Posting;
use super::refusal::Inconsistent;
use super::scope::Scope;

/// Where the credits of a lot came from.
///
/// The source decides one thing in the engine: of two lots that are otherwise alike, free credits
/// burn before paid ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LotSource {
    /// The credits that a plan includes, expiring with the period.
    Allowance,
    /// A bought pack; never expires.
    Pack,
    /// Given away to win or thank somebody. Free.
    Promotion,
    /// Given by an operator to make up for something. Free.
    Goodwill,
    /// A correction by an operator.
    Adjustment,
}

impl LotSource {
    /// Every source, in the order of the API's enum.
    pub const ALL: [Self; 5] = [Self::Allowance, Self::Pack, Self::Promotion, Self::Goodwill, Self::Adjustment];

    /// Whether nobody paid for these credits. Free credits burn before paid ones.
    pub fn is_free(self) -> bool {
        matches!(self, Self::Promotion | Self::Goodwill)
    }

    /// The stored name, which is the API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowance => "ALLOWANCE",
            Self::Pack => "PACK",
            Self::Promotion => "PROMOTION",
            Self::Goodwill => "GOODWILL",
            Self::Adjustment => "ADJUSTMENT",
        }
    }
}

impl fmt::Display for LotSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LotSource {
    /// The stored number; never renumbered.
    fn code(self) -> u8 {
        match self {
            Self::Allowance => 1,
            Self::Pack => 2,
            Self::Promotion => 3,
            Self::Goodwill => 4,
            Self::Adjustment => 5,
        }
    }
}

/// Where a lot's credits come from, as far as the program knows: what ties the ledger to sales.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// The purchase that bought them.
    pub purchase: Option<PurchaseId>,
    /// The subscription that includes them, and the number of its period.
    pub subscription: Option<(SubscriptionId, u32)>,
    /// The payment that paid for them.
    pub payment: Option<PaymentId>,
    /// The owner whose subscription moved here and whose allowance this was.
    pub moved_from: Option<OwnerId>,
    /// What was paid for them, net of tax.
    pub paid: Option<Price>,
}

impl Origin {
    fn write(&self, out: &mut Writer) {
        out.option(self.purchase, Writer::id);
        out.option(self.subscription, |out, (id, period)| {
            out.id(id);
            out.uint(u64::from(period));
        });
        out.option(self.payment, Writer::id);
        out.option(self.moved_from, |out, owner| out.fixed(&owner.to_bytes()));
        out.option(self.paid, |out, price| {
            out.fixed(price.currency().as_str().as_bytes());
            out.int(price.micros());
        });
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        const FIELD: &str = "origin";
        let bad = || Malformed(FIELD);
        Ok(Self {
            purchase: input.option(FIELD, |it| it.id(FIELD))?,
            subscription: input
                .option(FIELD, |it| Ok((it.id(FIELD)?, u32::try_from(it.uint(FIELD)?).map_err(|_| bad())?)))?,
            payment: input.option(FIELD, |it| it.id(FIELD))?,
            moved_from: input
                .option(FIELD, |it| OwnerId::from_bytes(&it.fixed::<{ OwnerId::BYTES }>(FIELD)?).ok_or_else(bad))?,
            paid: input.option(FIELD, |it| {
                let currency = it.fixed::<3>(FIELD)?;
                let currency = std::str::from_utf8(&currency).map_err(|_| bad())?;
                let currency: Currency = currency.parse().map_err(|_| bad())?;
                Price::from_micros(currency, it.int(FIELD)?).map_err(|_| bad())
            })?,
        })
    }
}

/// What was agreed about a lot when it was granted; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LotTerms {
    /// Where the credits came from.
    pub source: LotSource,
    /// Lower burns first.
    pub priority: i32,
    /// Which work it pays for.
    pub scope: Scope,
    /// First instant at which it can be spent.
    pub effective_at: Timestamp,
    /// First instant at which it no longer can; `None` never expires.
    pub expires_at: Option<Timestamp>,
    /// Where the credits come from in particular.
    pub origin: Origin,
}

impl LotTerms {
    /// Whether the lot's time has passed.
    fn is_expired_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether `now` is inside `[effective_at, expires_at)`.
    pub(super) fn is_spendable_at(&self, now: Timestamp) -> bool {
        self.effective_at <= now && !self.is_expired_at(now)
    }

    /// What a grant at `now` agrees.
    pub(super) fn of(grant: &GrantCommand, now: Timestamp) -> Self {
        Self {
            source: grant.source,
            priority: grant.priority,
            scope: grant.scope.clone(),
            effective_at: grant.effective_at.unwrap_or(now),
            expires_at: grant.expires_at,
            origin: grant.origin,
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.byte(self.source.code());
        out.int(i64::from(self.priority));
        out.count(self.scope.models().len());
        self.scope.models().iter().for_each(|model| out.text(model.as_str()));
        out.count(self.scope.projects().len());
        self.scope.projects().iter().for_each(|project| out.text(project.as_str()));
        out.time(self.effective_at);
        out.option(self.expires_at, Writer::time);
        self.origin.write(out);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let code = input.byte("source")?;
        Ok(Self {
            source: LotSource::ALL.into_iter().find(|it| it.code() == code).ok_or(Malformed("source"))?,
            priority: i32::try_from(input.int("priority")?).map_err(|_| Malformed("priority"))?,
            scope: read_scope(input)?,
            effective_at: input.time("effective_at")?,
            expires_at: input.option("expires_at", |it| it.time("expires_at"))?,
            origin: Origin::read(input)?,
        })
    }

    /// The stored form, beside the amounts of a lot.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(48);
        out.byte(Self::FORMAT);
        self.write(&mut out);
        out.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// A later program wrote it, or none did.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        Reader::whole(bytes, Self::FORMAT, Self::read)
    }

    const FORMAT: u8 = 1;
}

fn read_scope(input: &mut Reader<'_>) -> Result<Scope, Malformed> {
    const FIELD: &str = "scope";
    let mut models = Vec::new();
    for _ in 0..input.count(FIELD)? {
        models.push(ModelName::parse(input.text(FIELD)?).map_err(|_| Malformed(FIELD))?);
    }
    let mut projects = Vec::new();
    for _ in 0..input.count(FIELD)? {
        projects.push(ProjectName::parse(input.text(FIELD)?).map_err(|_| Malformed(FIELD))?);
    }
    if models.is_empty() && projects.is_empty() {
        return Ok(Scope::default());
    }
    if !models.is_sorted() || !projects.is_sorted() {
        return Err(Malformed(FIELD));
    }
    Scope::new(models, projects).map_err(|_| Malformed(FIELD))
}

/// So many credits of one lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// The lot the credits belong to.
    pub lot: LotId,
    /// How many, always above zero.
    pub amount: Credits,
}

/// One grant of credits and what has become of every one of them.
///
/// Invariant, at every commit: `granted = spent + remaining + held + expired + voided`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    /// The lot's id.
    pub id: LotId,
    /// The ledger number of the entry that granted it: grows with age within one account and so
    /// breaks the last ties of the burn order.
    pub number: u64,
    /// What was agreed when it was granted; shared, because lots are copied with every change.
    pub terms: Arc<LotTerms>,
    /// When an operator voided it: what would come back to it is void, too.
    pub voided_at: Option<Timestamp>,
    /// All credits the lot ever had.
    pub granted: Credits,
    /// Neither spent, nor reserved, nor gone.
    pub remaining: Credits,
    /// Reserved by open holds.
    pub held: Credits,
    /// Charged, net of refunds.
    pub spent: Credits,
    /// Gone because the lot expired before they were used.
    pub expired: Credits,
    /// Gone because an operator voided the lot.
    pub voided: Credits,
    /// The operator's or the program's remark.
    pub note: Option<Note>,
}

impl Lot {
    /// Whether every granted credit is accounted for exactly once.
    pub fn is_balanced(&self) -> bool {
        let parts = [self.remaining, self.held, self.spent, self.expired, self.voided];
        let sum: i128 = parts.iter().map(|part| i128::from(part.micro())).sum();
        sum == i128::from(self.granted.micro())
    }

    /// Whether the lot's time has passed. Expiry is part of the spending rule; booking it is only
    /// bookkeeping.
    pub fn is_expired_at(&self, now: Timestamp) -> bool {
        self.terms.is_expired_at(now)
    }

    /// Whether credits may be taken from it: inside `[effective_at, expires_at)`.
    pub fn is_spendable_at(&self, now: Timestamp) -> bool {
        self.terms.is_spendable_at(now)
    }

    /// Whether it may pay for this work.
    pub fn pays_for(&self, work: &Attribution) -> bool {
        self.terms.scope.admits(work.model.as_ref(), work.project.as_ref())
    }

    /// Whether it still has credits that something may happen to.
    pub fn is_live(&self) -> bool {
        self.remaining > Credits::ZERO || self.held > Credits::ZERO
    }

    /// The lot's place in the burn order.
    pub fn burn_key(&self) -> BurnKey {
        BurnKey {
            priority: self.terms.priority,
            expires_at: self.terms.expires_at,
            paid: !self.terms.source.is_free(),
            effective_at: self.terms.effective_at,
            number: self.number,
        }
    }

    /// Moves credits between the lot's parts. All of it or, on an error, nothing.
    ///
    /// # Errors
    /// A part would become negative, or credits would appear or vanish: an engine error or a row
    /// that was changed behind its back, never a caller's mistake.
    pub(super) fn apply(&mut self, posting: &Posting) -> Result<(), Inconsistent> {
        if posting.net() != 0 {
            return Err(Inconsistent("a posting creates or destroys credits"));
        }
        let remaining = shift(self.remaining, posting.remaining)?;
        let held = shift(self.held, posting.held)?;
        let spent = shift(self.spent, posting.spent)?;
        let expired = shift(self.expired, posting.expired)?;
        let voided = shift(self.voided, posting.voided)?;
        self.remaining = remaining;
        self.held = held;
        self.spent = spent;
        self.expired = expired;
        self.voided = voided;
        Ok(())
    }
}

/// `amount` changed by `delta` micro-credits.
pub(super) fn shift(amount: Credits, delta: i64) -> Result<Credits, Inconsistent> {
    amount
        .micro()
        .checked_add(delta)
        .and_then(|micro| Credits::from_micro(micro).ok())
        .ok_or(Inconsistent("an amount of credits would leave its range"))
}

/// A lot's place in the burn order: the smaller key is spent first.
///
/// Lower priority, then the soonest expiry (never-expiring last), then free before paid, then the
/// earliest effective, then the oldest: the order of Stripe's and `OpenMeter`'s credit grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurnKey {
    priority: i32,
    expires_at: Option<Timestamp>,
    paid: bool,
    effective_at: Timestamp,
    number: u64,
}

impl Ord for BurnKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // `None` sorts first by derivation, but a lot that never expires burns last.
        let expiry = |key: &Self| (key.expires_at.is_none(), key.expires_at);
        self.priority
            .cmp(&other.priority)
            .then_with(|| expiry(self).cmp(&expiry(other)))
            .then_with(|| self.paid.cmp(&other.paid))
            .then_with(|| self.effective_at.cmp(&other.effective_at))
            .then_with(|| self.number.cmp(&other.number))
    }
}

impl PartialOrd for BurnKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
