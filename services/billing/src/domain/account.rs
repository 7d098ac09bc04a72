//! An account's own row, and what an account has at one instant.

use bursar_id::OwnerId;
use bursar_money::Credits;
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

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

/// The span over which `spent_this_period` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
    /// Charged in it, less what was refunded in it; never below zero.
    pub spent: Credits,
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
    /// The current period.
    pub period: Period,
}

impl Account {
    /// A new account without credits, at `opened_at`, in the period `[start, end)`.
    pub fn open(owner: OwnerId, opened_at: Timestamp, start: Timestamp, end: Timestamp) -> Self {
        Self {
            head: LedgerHead::genesis(owner, opened_at),
            available: Credits::ZERO,
            held: Credits::ZERO,
            period: Period { start, end, spent: Credits::ZERO },
        }
    }
}

/// What an account has at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// What can be spent now.
    pub available: Credits,
    /// What open holds reserve.
    pub held: Credits,
    /// The next instant at which spendable credits expire, if any do.
    pub next_expiry: Option<Expiry>,
    /// Charged in the current period, net of refunds.
    pub spent_this_period: Credits,
}

/// Credits that expire together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When.
    pub at: Timestamp,
    /// How many, if nothing is spent until then.
    pub amount: Credits,
}
