//! What windows have seen before limits were set: read from the ledger, most of it before the account is locked, and the
//! rest under the lock. It costs as much as the windows have entries.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use bursar_db::{Db, Tx};
use bursar_id::{ChargeId, OwnerId};
use bursar_money::Credits;
use bursar_time::Zone;

use crate::domain::{Asked, LimitSubject, LimitWindow, Rules, Tally, UseKey, Used};
use crate::error::Error;
use crate::lane::charges;
use crate::store::{accounts, ledger};
use crate::usecase::accounts::first_at;
use crate::usecase::entries::readable;

/// How many entries are read at a time.
const PAGE: i64 = 2_000;

/// With how many left the account is locked.
const LAST: u64 = 2_000;

/// How often more is read before that, while others go on booking.
const ROUNDS: usize = 16;

/// A ledger that is being read for what limits ask.
pub(crate) struct Reading {
    owner: OwnerId,
    tally: Tally,
    /// The number of the last entry that was read; `None` before the first.
    read: Option<u64>,
}

impl Reading {
    /// The reading that was begun if it is for these windows; else one of which nothing is read yet.
    pub(crate) fn go_on(begun: Option<Self>, owner: OwnerId, asked: Vec<Asked>, zone: &Zone) -> Self {
        let begun = begun.filter(|it| it.tally.is_for(&asked, zone));
        begun.unwrap_or_else(|| Self { owner, tally: Tally::new(asked, zone.clone()), read: None })
    }

    /// Whether so little is left up to the account's last entry that others may wait for it.
    pub(crate) fn is_nearly_at(&self, last: u64) -> bool {
        last.saturating_sub(self.read.unwrap_or(0)) <= LAST
    }

    /// Reads on until little is left, while nothing is locked. The place is that of the reading, not of who waits for it.
    pub(crate) async fn ahead(&mut self, db: &Db, rules: &Rules, place: impl Any + Send + Sync) -> Result<(), Error> {
        let place = Arc::new(place);
        for _ in 0..ROUNDS {
            let account = accounts::find(&mut db.read().await?, self.owner).await?;
            let last = account.map_or(0, |account| account.head.seq);
            if self.read.is_some() && self.is_nearly_at(last) && !self.begins_earlier() {
                return Ok(());
            }
            while self.read.is_none_or(|read| read < last) {
                // A connection for each page: a long ledger keeps none from others.
                self.page(&mut db.read().await?.keeping(Arc::clone(&place)), rules, last).await?;
            }
        }
        Ok(())
    }

    /// Reads the rest, up to the account's last entry. The account is locked. `false`: more is to be read than is read while others
    /// wait.
    pub(crate) async fn rest(&mut self, tx: &mut Tx, rules: &Rules, last: u64) -> Result<bool, Error> {
        loop {
            if !self.is_nearly_at(last) {
                return Ok(false);
            }
            while self.read.is_none_or(|read| read < last) {
                self.page(tx, rules, last).await?;
            }
            if !self.begins_earlier() {
                return Ok(true);
            }
        }
    }

    /// Whether what was read says that something older counts: then nothing is read yet.
    fn begins_earlier(&mut self) -> bool {
        let reaches_back = self.tally.reaches_back();
        if reaches_back {
            self.read = None;
        }
        reaches_back
    }

    /// Reads a page of the entries up to `last`.
    async fn page(&mut self, tx: &mut Tx, rules: &Rules, last: u64) -> Result<(), Error> {
        let read = match self.read {
            Some(read) => read,
            None => first_at(tx, self.owner, last, self.tally.starts_at()).await?.saturating_sub(1),
        };
        let after = i64::try_from(read).unwrap_or(i64::MAX);
        let rows = readable(ledger::after(tx, self.owner, after, PAGE).await?)?;
        let mut refunds: Vec<(ChargeId, Credits)> = Vec::new();
        let mut seen = read;
        for entry in rows.iter().take_while(|entry| entry.seq <= last) {
            refunds.extend(self.tally.push(entry).map(|charge| (charge, entry.amount)));
            seen = entry.seq;
        }
        let named: Vec<_> = refunds.iter().map(|(charge, _)| (self.owner, *charge)).collect();
        if !named.is_empty() {
            let found = charges(tx, rules, &named).await?;
            for (id, amount) in refunds {
                if let Some((_, charge)) = found.iter().find(|(_, charge)| charge.id == id) {
                    self.tally.refund(charge, amount);
                }
            }
        }
        // Where there is nothing more there is nothing to wait for.
        self.read = Some(if seen == read { last } else { seen });
        Ok(())
    }

    /// What it is about.
    pub(crate) fn about(&self) -> Vec<(LimitSubject, LimitWindow)> {
        self.tally.asked().iter().map(|asked| (asked.subject.clone(), asked.window)).collect()
    }

    /// What came of it.
    pub(crate) fn finish(self) -> BTreeMap<UseKey, Used> {
        self.tally.finish()
    }
}

#[cfg(test)]
mod tests {
    use bursar_testkit::{at, id};

    use super::*;
    use crate::domain::Period;

    fn asked(now: &str) -> Vec<Asked> {
        let now = at(now);
        vec![Asked::of(
            LimitSubject::EveryMember,
            LimitWindow::Hour,
            (now, Period::calendar(now).month),
            &Zone::default(),
        )]
    }

    #[test]
    fn what_was_not_read_ahead_is_not_read_while_others_wait() {
        let (owner, zone) = (OwnerId::User(id(1)), Zone::default());
        let mut reading = Reading::go_on(None, owner, asked("2026-03-10T12:59:59Z"), &zone);
        assert!(reading.is_nearly_at(LAST), "a short ledger is read under the lock");
        assert!(!reading.is_nearly_at(LAST + 1), "and a long one is not, though nothing is read of it");
        reading.read = Some(1_000_000);
        let reading = Reading::go_on(Some(reading), owner, asked("2026-03-10T12:59:59Z"), &zone);
        assert!(reading.is_nearly_at(1_000_000 + LAST) && !reading.is_nearly_at(1_000_001 + LAST), "it goes on");
        // What was read is of other windows than are open now.
        let reading = Reading::go_on(Some(reading), owner, asked("2026-03-10T13:00:00Z"), &zone);
        assert!(!reading.is_nearly_at(1_000_000));
    }
}
