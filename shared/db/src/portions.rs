//! Forgetting what is old without keeping anybody waiting for long.

use bursar_time::Timestamp;

use crate::{Db, DbError, on};

/// Rows that one transaction forgets, so that it holds locks (on SQLite: the writer) only briefly.
const PORTION: i64 = 500;

/// Forgets what is older than `before`, in small transactions. Returns how many rows. Safe to run on several replicas at once,
/// and to interrupt. The statement deletes up to `$2` rows that are older than `$1`; fewer end it.
pub async fn forget_before(db: &Db, statement: &'static str, before: Timestamp) -> Result<u64, DbError> {
    let mut total = 0;
    loop {
        let mut tx = db.begin().await?;
        let gone = on!(&mut tx, c => sqlx::query(statement).bind(before).bind(PORTION)
            .execute(c).await?.rows_affected());
        tx.commit().await?;
        total += gone;
        if gone < PORTION.unsigned_abs() {
            return Ok(total);
        }
    }
}

/// The same with a statement that goes by two instants: it changes or deletes up to `$2` rows by `first`, its `$1`, and `second`,
/// its `$3`; fewer end it.
pub async fn in_portions(
    db: &Db,
    statement: &'static str,
    (first, second): (Timestamp, Timestamp),
) -> Result<u64, DbError> {
    let mut total = 0;
    loop {
        let mut tx = db.begin().await?;
        let done = on!(&mut tx, c => sqlx::query(statement).bind(first).bind(PORTION).bind(second)
            .execute(c).await?.rows_affected());
        tx.commit().await?;
        total += done;
        if done < PORTION.unsigned_abs() {
            return Ok(total);
        }
    }
}
