//! Incarnations of a service's store: which one it is in, beginning the next, and whether a cursor fits.

use bursar_db::{Db, DbError, Engine, Migrations, Tx, exactly_one, on};
use bursar_id::EventId;
use bursar_time::Timestamp;
use sqlx::Row;

use crate::cursor::Cursor;

const NOW: &str = "SELECT incarnation FROM outbox_head WHERE one = 1";
const LOCK_POSTGRES: &str = "SELECT incarnation FROM outbox_head WHERE one = 1 FOR UPDATE";
const BEGIN: &str = "UPDATE outbox_head SET incarnation = $1 WHERE one = 1";
const AROUND: &str = "SELECT h.seq, h.incarnation, a.id, b.seq FROM outbox_head h \
    LEFT JOIN outbox a ON a.seq = $1 LEFT JOIN outbox b ON b.seq = $1 + 1 WHERE h.one = 1";

/// The incarnation that a service's own store is in: what its words about memberships and policies count by.
pub async fn incarnation(tx: &mut Tx) -> Result<u64, DbError> {
    let incarnation: i64 = on!(tx, c => sqlx::query(NOW).fetch_one(c).await?.try_get(0)?);
    u64::try_from(incarnation).map_err(|error| DbError::corrupt(error.to_string()))
}

/// Brings a service's store up to date, and closes it. `restored_at`: the store was restored from a backup; a new
/// incarnation of its events begins at this time.
pub async fn migrate(db: Db, migrations: &Migrations, restored_at: Option<Timestamp>) -> Result<(), DbError> {
    let outcome = async {
        db.migrate(migrations).await?;
        match restored_at {
            Some(now) => begin_incarnation(&db, now).await,
            None => Ok(()),
        }
    };
    let outcome = outcome.await;
    db.close().await;
    outcome
}

/// Begins a new incarnation of a service's store, which was restored from a backup: `migrate --restored`. Whoever
/// follows its events loads a snapshot before going on.
pub async fn begin_incarnation(db: &Db, now: Timestamp) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    begin(&mut tx, 0, now).await?;
    tx.commit().await
}

/// Whether the events after a cursor can be told to whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// They are there.
    Fits,
    /// They are not there any more, or the cursor is of an earlier incarnation.
    Late,
    /// The cursor stands at an event that this store does not have: the store was restored.
    Unknown,
}

/// What the store has around a cursor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    head: i64,
    /// The present incarnation.
    pub(crate) incarnation: i64,
    /// The event that has the cursor's number, if it is kept.
    pub(crate) here: Option<EventId>,
    next: Option<i64>,
}

impl Around {
    /// Reads what is around a number. One statement sees one moment.
    pub(crate) async fn number(db: &Db, seq: i64) -> Result<Self, DbError> {
        macro_rules! read {
            ($pool:expr) => {{
                let row = sqlx::query(AROUND).bind(seq).fetch_one($pool).await?;
                Ok(Self {
                    head: row.try_get(0)?,
                    incarnation: row.try_get(1)?,
                    here: row.try_get(2)?,
                    next: row.try_get(3)?,
                })
            }};
        }
        match db {
            Db::Sqlite { read, .. } => read!(&mut read.acquire().await?),
            Db::Postgres(pool) => read!(&mut pool.acquire().await?),
        }
    }

    /// The position after everything that was committed, when this was read around the number it names.
    pub(crate) async fn head(db: &Db) -> Result<Cursor, DbError> {
        let start = Self::number(db, 0).await?;
        let around = if start.head == 0 { start } else { Self::number(db, start.head).await? };
        Ok(Cursor { incarnation: around.incarnation, seq: start.head, event: around.here })
    }

    /// Whether a cursor with the number that this was read around fits.
    pub(crate) fn judge(&self, cursor: &Cursor) -> Fit {
        let other_event = cursor.event.is_some() && self.here.is_some() && cursor.event != self.here;
        if cursor.incarnation < self.incarnation {
            Fit::Late
        } else if cursor.incarnation > self.incarnation || cursor.seq > self.head || other_event {
            Fit::Unknown
        } else if cursor.seq == self.head || self.next.is_some() {
            Fit::Fits
        } else {
            Fit::Late
        }
    }
}

/// Begins a new incarnation, unless another replica has done so since the cursor was found to be unknown.
pub(crate) async fn begin_after(db: &Db, cursor: &Cursor, now: Timestamp) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    if begin(&mut tx, cursor.incarnation, now).await? {
        tx.commit().await?;
    }
    Ok(())
}

/// An incarnation later than the present one and than `shown`, named by its time: a store that is restored twice from
/// one backup must not begin the same one twice. `false` when the present one is later than `shown` already.
async fn begin(tx: &mut Tx, shown: i64, now: Timestamp) -> Result<bool, DbError> {
    // On SQLite the transaction is the only writer already.
    let lock = match tx.engine() {
        Engine::Sqlite => NOW,
        Engine::Postgres => LOCK_POSTGRES,
    };
    let present: i64 = on!(&mut *tx, c => sqlx::query(lock).fetch_one(c).await?.try_get(0)?);
    if shown > 0 && present > shown {
        return Ok(false);
    }
    let next = now.as_micros().max(present.saturating_add(1)).max(shown.saturating_add(1));
    exactly_one(on!(tx, c => sqlx::query(BEGIN).bind(next).execute(c).await?.rows_affected()))?;
    tracing::warn!(incarnation = next, "this store was restored: a new incarnation of its events begins");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_judged_by_what_is_around_them() {
        let event = |n| Some(EventId::from_parts(n, [0; 10]));
        let at = |incarnation, seq, event| Cursor { incarnation, seq, event };
        let around = |head, here, next| Around { head, incarnation: 2, here, next };
        let cases = [
            ("nothing happened yet", around(0, None, None), at(2, 0, None), Fit::Fits),
            ("from the first on", around(9, None, Some(1)), at(2, 0, None), Fit::Fits),
            ("the first is gone", around(9, None, None), at(2, 0, None), Fit::Late),
            ("in the middle", around(9, event(5), Some(6)), at(2, 5, event(5)), Fit::Fits),
            ("at the end", around(9, event(9), None), at(2, 9, event(9)), Fit::Fits),
            ("at the end, which is not kept", around(9, None, None), at(2, 9, event(9)), Fit::Fits),
            ("just before what is kept", around(9, None, Some(6)), at(2, 5, event(5)), Fit::Fits),
            ("long before what is kept", around(9, None, None), at(2, 3, event(3)), Fit::Late),
            ("beyond the end", around(9, None, None), at(2, 10, event(10)), Fit::Unknown),
            ("another event at the number", around(9, event(7), Some(6)), at(2, 5, event(5)), Fit::Unknown),
            ("an earlier incarnation", around(9, event(5), Some(6)), at(1, 5, event(5)), Fit::Late),
            ("an earlier one beyond the end", around(9, None, None), at(1, 99, event(5)), Fit::Late),
            ("a later incarnation", around(9, event(5), Some(6)), at(3, 5, event(5)), Fit::Unknown),
        ];
        for (name, around, cursor, expected) in cases {
            assert_eq!(around.judge(&cursor), expected, "{name}");
        }
    }
}
