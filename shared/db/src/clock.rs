//! Time and the store: what the database's own clock shows, and until when the store has been used (kept and heeded on
//! SQLite and by test clocks; PostgreSQL has a clock of its own).

use bursar_time::{Clock, Doubt, Reading, Span, Timestamp};
use sqlx::Row;
use tokio::time::Instant;

use crate::{Db, DbError, Tx, exactly_one, on};

const DATABASE: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
const USED_UNTIL: &str = "SELECT used_until FROM clock WHERE one = 1";
const USE: &str = "UPDATE clock SET used_until = CASE WHEN used_until < $1 THEN $1 ELSE used_until END WHERE one = 1";
const SET: &str = "UPDATE clock SET used_until = $1 WHERE one = 1";

/// How a clock compares with the database's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// By how many microseconds the clock is ahead at least (negative: behind); what the answer's way may account for is
    /// left out.
    pub ahead: i64,
}

impl Comparison {
    /// By how much they differ.
    pub fn difference(self) -> Span {
        Span::from_micros(self.ahead.saturating_abs()).unwrap_or(Span::MAX)
    }

    /// The doubt that a difference of more than `most` raises.
    pub fn doubt(self, most: Span) -> Option<Doubt> {
        let by = self.difference();
        (by > most).then_some(Doubt::Differs { by, ahead: self.ahead > 0 })
    }

    /// What the database's clock shows, as far as that can be told, when this one shows `shown`.
    fn corrected(self, shown: Timestamp) -> Timestamp {
        match self.ahead {
            0.. => shown.saturating_sub(self.difference()),
            _ => shown.saturating_add(self.difference()),
        }
    }

    /// Of a clock that showed `shown` when a question was sent, which took `way` there and back and was answered `told`.
    fn of(shown: Timestamp, way: Span, told: i64) -> Self {
        let half = way.as_micros() / 2;
        let apart = shown.as_micros().saturating_add(half).saturating_sub(told);
        Self { ahead: apart.signum() * (apart.saturating_abs() - half).max(0) }
    }
}

impl Db {
    /// Compares what a clock shows with what the database's does. `None` on SQLite, which has no clock but this machine's.
    pub async fn compare(&self, clock: &Clock) -> Result<Option<(Reading, Comparison)>, DbError> {
        if matches!(self, Self::Sqlite { .. }) {
            return Ok(None);
        }
        // The connection first: waiting for one is no part of the way.
        let mut tx = self.read().await?;
        let (reading, asked) = (clock.read(), Instant::now());
        let told: i64 = on!(&mut tx, c => sqlx::query(DATABASE).fetch_one(c).await?.try_get(0)?);
        let way = Span::from_std(asked.elapsed());
        tx.commit().await?;
        Ok(Some((reading, Comparison::of(reading.shown(), way, told))))
    }

    /// The time for what is to be written down whatever this clock shows: its own if it is believed, else the database's; on
    /// SQLite, which has none, the latest at which the store was used.
    pub async fn time_by(&self, clock: &Clock) -> Result<Timestamp, DbError> {
        if let Ok(now) = clock.believed() {
            return Ok(now);
        }
        Ok(match self.compare(clock).await? {
            Some((reading, found)) => found.corrected(reading.shown()),
            None => self.used_until().await?,
        })
    }

    /// The latest time at which the store is known to have been used.
    pub async fn used_until(&self) -> Result<Timestamp, DbError> {
        let mut tx = self.read().await?;
        let until: Timestamp = on!(&mut tx, c => sqlx::query(USED_UNTIL).fetch_one(c).await?.try_get(0)?);
        tx.commit().await?;
        Ok(until)
    }

    /// Notes that the store is used at `now`; what is noted never goes back by this.
    pub async fn use_at(&self, now: Timestamp) -> Result<(), DbError> {
        self.note(USE, now).await
    }

    /// Says that the store was really used until `now` and not later: whatever stands in it of a later time was written by
    /// a wrong clock.
    pub async fn accept_clock(&self, now: Timestamp) -> Result<(), DbError> {
        self.note(SET, now).await
    }

    async fn note(&self, statement: &'static str, now: Timestamp) -> Result<(), DbError> {
        let mut tx: Tx = self.begin().await?;
        let rows = on!(&mut tx, c => sqlx::query(statement).bind(now).execute(c).await?.rows_affected());
        exactly_one(rows)?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_way_may_account_for_is_no_difference() {
        let shown = Timestamp::from_micros(10_000_000).unwrap();
        let cases = [
            // the way, what was told, how far ahead the clock is at least
            (0, 10_000_000, 0),
            (2_000_000, 11_000_000, 0),
            (2_000_000, 12_000_000, 0),
            (2_000_000, 10_000_000, 0),
            (2_000_000, 13_000_000, -1_000_000),
            (2_000_000, 9_000_000, 1_000_000),
            (0, 4_000_000, 6_000_000),
            (0, 16_000_000, -6_000_000),
        ];
        for (way, told, ahead) in cases {
            let found = Comparison::of(shown, Span::from_micros(way).unwrap(), told);
            assert_eq!(found.ahead, ahead, "told {told} after {way}");
        }
        let corrected = |ahead| Comparison { ahead }.corrected(shown).as_micros();
        assert_eq!([-6_000_000, 0, 6_000_000].map(corrected), [16_000_000, 10_000_000, 4_000_000]);
        let doubt = |ahead| Comparison { ahead }.doubt(Span::from_secs(5));
        assert_eq!(doubt(5_000_000), None);
        assert_eq!(doubt(5_000_001), Some(Doubt::Differs { by: Span::from_micros(5_000_001).unwrap(), ahead: true }));
        assert_eq!(doubt(-6_000_000), Some(Doubt::Differs { by: Span::from_secs(6), ahead: false }));
    }
}
