//! Who waits for a lock.

use bursar_db::{Db, DbError, on};

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
