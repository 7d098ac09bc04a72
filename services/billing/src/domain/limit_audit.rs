//! Whether the stored use of limits is what the entries say: hard limits are decided by it.
//!
//! Compared is what decides: use in the windows that are open, of what there is a limit for. Other rows
//! stay as they were when the limit was deleted or the window was over, and nobody reads them.

use std::collections::{BTreeSet, HashMap};

use bursar_time::Timestamp;

use super::charge::Charge;
use super::entry::Entry;
use super::flaw::Flaw;
use super::limit::LimitSet;
use super::limits::{UseKey, Used};
use super::subscription::Month;
use super::tally::{Asked, Tally};

/// Takes every entry of an account, then what is stored.
#[derive(Debug, Clone)]
pub struct LimitAudit {
    set: LimitSet,
    now: Timestamp,
    period: Month,
    tally: Tally,
}

impl LimitAudit {
    /// Of these limits, in the windows that are open at `now`, not before the last entry, in the billing period `period`.
    pub fn new(set: LimitSet, now: Timestamp, period: Month) -> Self {
        let mut asked: Vec<Asked> = Vec::new();
        for limit in set.limits() {
            if !asked.iter().any(|it| it.subject == limit.subject && it.window == limit.window) {
                asked.push(Asked::of(limit.subject.clone(), limit.window, (now, period), set.zone()));
            }
        }
        let tally = Tally::new(asked, set.zone().clone());
        Self { set, now, period, tally }
    }

    /// Whether there is anything to compare.
    pub fn is_needed(&self) -> bool {
        !self.set.is_empty()
    }

    /// When it is.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The next entry; with a refund's, the charge that it gives back.
    pub fn entry(&mut self, entry: &Entry, charge: Option<&Charge>) {
        if self.tally.push(entry).is_some()
            && let Some(charge) = charge
        {
            self.tally.refund(charge, entry.amount);
        }
    }

    /// Compares what the entries add up to with what is stored; nothing stored says that nothing was used.
    ///
    /// # Errors
    /// The first limit whose use is another.
    pub fn finish(self, stored: &[(UseKey, Used)]) -> Result<(), Flaw> {
        let Self { set, now, period, tally } = self;
        let booked: HashMap<UseKey, i64> = tally.finish().into_iter().map(|(key, it)| (key, it.used)).collect();
        let stored: HashMap<UseKey, i64> = stored.iter().map(|(key, it)| (key.clone(), it.used)).collect();
        let all: BTreeSet<&UseKey> = booked.keys().chain(stored.keys()).collect();
        for limit in set.limits() {
            let open = limit.window.open(now, period, set.zone());
            let decides = |key: &&&UseKey| {
                key.window == limit.window && key.starts_at == open.starts_at && set.governs(limit, &key.subject)
            };
            for key in all.iter().filter(decides) {
                let used = |of: &HashMap<UseKey, i64>| of.get(*key).copied().unwrap_or_default();
                if used(&booked) != used(&stored) {
                    return Err(Flaw::LimitMismatch(limit.id));
                }
            }
        }
        Ok(())
    }
}
