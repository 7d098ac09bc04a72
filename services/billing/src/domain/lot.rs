//! Lots: credits granted at one time, from one source, with one expiry; and the order they burn in.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use bursar_id::LotId;
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::attribution::Note;
use super::entry::Posting;
use super::refusal::Inconsistent;

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

impl FromStr for LotSource {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        Self::ALL.into_iter().find(|source| source.as_str() == text).ok_or(Inconsistent("a lot has an unknown source"))
    }
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
    /// Where the credits came from.
    pub source: LotSource,
    /// Lower burns first.
    pub priority: i32,
    /// First instant at which the lot can be spent.
    pub effective_at: Timestamp,
    /// First instant at which it no longer can; `None` never expires.
    pub expires_at: Option<Timestamp>,
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
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether credits may be taken from it: inside `[effective_at, expires_at)`.
    pub fn is_spendable_at(&self, now: Timestamp) -> bool {
        self.effective_at <= now && !self.is_expired_at(now)
    }

    /// Whether it still has credits that something may happen to.
    pub fn is_live(&self) -> bool {
        self.remaining > Credits::ZERO || self.held > Credits::ZERO
    }

    /// The lot's place in the burn order.
    pub fn burn_key(&self) -> BurnKey {
        BurnKey {
            priority: self.priority,
            expires_at: self.expires_at,
            paid: !self.source.is_free(),
            effective_at: self.effective_at,
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
