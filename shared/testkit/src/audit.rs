//! Reading an audit log.

use std::collections::BTreeSet;

use bursar_db::audit::AuditRow;
use bursar_db::{Db, on};

const ALL: &str = "SELECT id, at, owner, actor, on_behalf_of, method, target, outcome, reason, request_id \
     FROM audit ORDER BY at, id";

const HAPPENED: &str = "SELECT COUNT(*) FROM audit WHERE request_id = $1 AND outcome = 'DONE'";

/// Every row of a store's audit log, in the order of time.
///
/// # Panics
/// When it cannot be read.
pub async fn audited(db: &Db) -> Vec<AuditRow> {
    let mut tx = db.read().await.expect("the store can be read");
    on!(&mut tx, c => sqlx::query_as(ALL).fetch_all(c).await.expect("the audit log can be read"))
}

/// Calls, and gives what came of it and the rows of the store's audit log that came with it.
pub async fn auditing<T>(db: &Db, call: impl Future<Output = T>) -> (T, Vec<AuditRow>) {
    let before: BTreeSet<_> = audited(db).await.into_iter().map(|row| row.id).collect();
    let outcome = call.await;
    let rows = audited(db).await.into_iter().filter(|row| !before.contains(&row.id)).collect();
    (outcome, rows)
}

/// How often it happened under this request id.
///
/// # Panics
/// When the audit log cannot be read.
pub async fn happened(db: &Db, request_id: &str) -> i64 {
    let mut tx = db.read().await.expect("the store can be read");
    on!(&mut tx, c => sqlx::query_scalar(HAPPENED).bind(request_id).fetch_one(c).await.expect("the rows can be counted"))
}
