//! An account's own row, and what an account has at one instant.

use bursar_id::OwnerId;
use bursar_members::Standing;
use bursar_money::Credits;
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

use super::allowance::{Allowance, PercentSet};
use super::subscription::Month;

/// The end of an account's ledger so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerHead {
    /// The number of the last entry; 0 for none.
    pub seq: u64,
    /// The hash of the last entry.
    pub hash: [u8; 32],
    /// When the last entry took effect. The account's time never goes behind it, whatever the
    /// clocks of two replicas say.
    pub at: Timestamp,
}

impl LedgerHead {
    /// The head of an empty ledger that begins at `opened_at`.
    pub fn genesis(owner: OwnerId, opened_at: Timestamp) -> Self {
        Self { seq: 0, hash: Self::genesis_hash(owner), at: opened_at }
    }

    /// What the first entry of an owner's ledger is chained to.
    pub fn genesis_hash(owner: OwnerId) -> [u8; 32] {
        Sha256::digest(format!("bursar ledger 1 {owner}")).into()
    }
}

/// The span over which `spent_this_period` counts: one of the months that are counted from an anchor, which is the
/// first of a calendar month until a subscription begins and sets its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// From where the months are counted.
    pub anchor: Timestamp,
    /// Which of them it is.
    pub month: Month,
    /// Charged in it, less what was refunded in it, in micro-credits; never below zero. A total, which may be above what
    /// a single amount can be.
    pub spent: i64,
}

impl Period {
    /// The `number`-th month from `anchor`; nothing is spent in it yet.
    pub fn anchored(anchor: Timestamp, number: u32) -> Self {
        Self { anchor, month: Month::anchored(anchor, number), spent: 0 }
    }

    /// The calendar month (UTC) of `now`, counted from itself.
    pub fn calendar(now: Timestamp) -> Self {
        Self::anchored(now.start_of_month(), 0)
    }

    /// The period at `now`: this one while it lasts, afterwards the month from the same anchor that `now` is in. The last
    /// month there is, which ends with all time, lasts for ever.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        let mut month = self.month;
        while month.end <= now && month.end < Timestamp::MAX {
            month = Month::anchored(self.anchor, month.number.saturating_add(1));
        }
        if month == self.month { self } else { Self { month, spent: 0, ..self } }
    }
}

/// The account's own row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The end of its ledger.
    pub head: LedgerHead,
    /// The sum of what remains in its lots, whether they are effective yet or not.
    pub available: Credits,
    /// The sum of what open holds reserve.
    pub held: Credits,
    /// Credits that were spent and whose payment was taken back: what the next pack pays first.
    pub debt: Credits,
    /// How many holds are open.
    pub open_holds: u32,
    /// Raised by whatever changes how this account's requests are decided without booking anything: its limits,
    /// policies, members, plan. What is remembered of an account counts only under the same number.
    pub terms: u64,
    /// How its owner stands, as organization or identity told last: what may be done with it at all.
    pub standing: Standing,
    /// Everything it ever charged, in micro-credits; charging stops before this overflows, and with it every total.
    pub charged: i64,
    /// The current period.
    pub period: Period,
    /// The end of the month last begun by a subscription: when that renews, or would if it had not ended since. `None`
    /// where none ever began.
    pub renews_at: Option<Timestamp>,
    /// How many limits it has: with none, nobody looks for any.
    pub limits: u32,
    /// Below what it is topped up; `None` where it is not.
    pub top_up_below: Option<Credits>,
    /// At which percentages of a period's allowance its managers want to be told.
    pub alert_at: PercentSet,
    /// How much of the present allowance is used; `None` where nobody wants to be told, or it is to be counted.
    pub allowance: Option<Allowance>,
    /// No open hold lapses before this; `None` without open holds. It may be too early, when the hold whose deadline
    /// it was has been settled: it is set right when that time comes.
    pub next_lapse: Option<Timestamp>,
}

impl Account {
    /// A new account without credits, at `opened_at`.
    pub fn open(owner: OwnerId, opened_at: Timestamp) -> Self {
        Self {
            head: LedgerHead::genesis(owner, opened_at),
            available: Credits::ZERO,
            held: Credits::ZERO,
            debt: Credits::ZERO,
            open_holds: 0,
            terms: 0,
            standing: Standing::Active,
            charged: 0,
            period: Period::calendar(opened_at),
            renews_at: None,
            limits: 0,
            top_up_below: None,
            alert_at: PercentSet::default(),
            allowance: None,
            next_lapse: None,
        }
    }
}

/// What an account has at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// What can be spent now; for a named model or project what may pay for those.
    pub available: Credits,
    /// What open holds reserve.
    pub held: Credits,
    /// The next instant at which spendable credits expire, if any do.
    pub next_expiry: Option<Expiry>,
    /// Charged in the current period, net of refunds, in micro-credits.
    pub spent_this_period: i64,
}

/// Credits that expire together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When.
    pub at: Timestamp,
    /// How many, if nothing is spent until then.
    pub amount: Credits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_month_there_is_lasts_for_ever() {
        let mut period = Period::calendar(Timestamp::MAX);
        assert_eq!(period.month.end, Timestamp::MAX);
        period.spent = 1;
        assert_eq!(period.at(Timestamp::MAX), period);
        let long_before: Timestamp = "9999-10-31T00:00:00Z".parse().unwrap();
        let last = Period::anchored(long_before, 0).at(Timestamp::MAX);
        assert_eq!((last.month.number, last.month.end), (2, Timestamp::MAX));
    }
}
