//! Who waits for a lock.

use std::time::Duration;

use bursar_db::{Db, DbError, Tx, on};

/// How many statements of this test's database wait for somebody else's lock.
///
/// # Panics
/// When that cannot be read.
pub async fn waiting_for_locks(db: &Db) -> i64 {
    const COUNT: &str = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database \
        WHERE datname = current_database() AND NOT granted";
    let counted: Result<(i64,), DbError> = async {
        let mut tx = db.read().await?;
        Ok(on!(&mut tx, c => sqlx::query_as(COUNT).fetch_one(c).await?))
    }
    .await;
    counted.expect("locks can be looked at").0
}

/// Returns once somebody waits for a row that somebody else has changed and not committed. On SQLite, where whoever writes is
/// alone, at once.
///
/// # Panics
/// When nobody does within a minute.
pub async fn somebody_waits(db: &Db) {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple')";
    let waits = async {
        // Each time in a transaction of its own: within one, PostgreSQL answers from a list of sessions it made before.
        while let Tx::Postgres(mut tx) = db.read().await? {
            let (waiting,): (i64,) = sqlx::query_as(WAITING).fetch_one(&mut *tx).await?;
            if waiting > 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok::<(), DbError>(())
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), waits).await;
    waited.expect("somebody waits for a row").expect("sessions can be looked at");
}
