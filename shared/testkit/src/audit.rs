//! Reading an audit log.

use bursar_db::audit::AuditRow;
use bursar_db::{Db, on};
use bursar_id::{AuditId, OwnerId};
use bursar_time::Timestamp;

const ALL: &str = "SELECT id, at, owner, actor, on_behalf_of, method, target, outcome, reason, request_id \
     FROM audit ORDER BY at, id";

#[derive(sqlx::FromRow)]
struct Row {
    id: AuditId,
    at: Timestamp,
    owner: Option<OwnerId>,
    actor: String,
    on_behalf_of: Option<String>,
    method: String,
    target: Option<String>,
    outcome: String,
    reason: Option<String>,
    request_id: Option<String>,
}

/// Every row of a store's audit log, in the order of time.
///
/// # Panics
/// When it cannot be read.
pub async fn audited(db: &Db) -> Vec<AuditRow> {
    let mut tx = db.read().await.expect("the store can be read");
    let rows: Vec<Row> = on!(&mut tx, c => sqlx::query_as(ALL).fetch_all(c).await.expect("the audit log can be read"));
    let row = |row: Row| AuditRow {
        id: row.id,
        at: row.at,
        owner: row.owner,
        actor: row.actor,
        on_behalf_of: row.on_behalf_of,
        method: row.method,
        target: row.target,
        outcome: row.outcome.parse().expect("an outcome"),
        reason: row.reason,
        request_id: row.request_id,
    };
    rows.into_iter().map(row).collect()
}
