//! The audit log: who did what, and who was refused what only few may do.
//!
//! A row is written in the transaction of the effect it tells of; a refusal's in one of its own. The table is append-only
//! in the schema of both engines. A row holds ids and words of closed sets (and the caller's own request id), never a
//! secret, an address or a name, so nothing in it ever has to be erased.
//!
//! *Which* calls get a row is decided where mutations are carried out (`bursar_rpc::Mutations`); of calls about credits, where the
//! request is made that a lane carries out (billing's `ToldCall`). Organization lists them.

use std::fmt;
use std::str::FromStr;

use bursar_id::{AuditId, OwnerId};
use bursar_time::{Span, Timestamp};
use serde_json::{Map, Value};

use crate::{Db, DbError, Tx, column, on};

/// The statement that adds a row, unless it is there already.
const INSERT: &str = "INSERT INTO audit \
     (id, at, owner, actor, on_behalf_of, method, target, outcome, reason, request_id) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING";

/// The same for many rows on PostgreSQL, in one round trip.
const INSERT_ALL_POSTGRES: &str = "INSERT INTO audit \
     (id, at, owner, actor, on_behalf_of, method, target, outcome, reason, request_id) \
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
     $8::text[], $9::text[], $10::text[]) ON CONFLICT (id) DO NOTHING";

/// A service's rows in the order of their ids.
const AFTER: &str = "SELECT id, at, owner, actor, on_behalf_of, method, target, outcome, reason, request_id \
     FROM audit WHERE id > $1 ORDER BY id LIMIT $2";

/// The oldest first; never what the schema keeps, which goes by the newest row and by no clock.
const FORGET: &str = "DELETE FROM audit WHERE id IN (SELECT id FROM audit \
     WHERE at < $1 AND at <= (SELECT max(at) FROM audit) - $2 ORDER BY at LIMIT $3)";

/// Rows a transaction removes at most, so that it holds locks (on SQLite: the writer) only briefly.
const BATCH: i64 = 500;

/// What the schema keeps of the log, whatever the settings say: the last day before the newest row.
pub const KEPT: Span = Span::DAY;

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditRow {
    /// The row's id; begins with its time.
    pub id: AuditId,
    /// When it was decided.
    pub at: Timestamp,
    /// Whose context it was; `None` for what belongs to the deployment.
    pub owner: Option<OwnerId>,
    /// Who did it: `usr_…`, `svc_…` or `key_…`.
    pub actor: String,
    /// The user for whom, or in whose name, it was done.
    pub on_behalf_of: Option<String>,
    /// The RPC: `bursar.organization.v1.MemberService/RemoveMember`.
    pub method: String,
    /// The id of what it was done to, where there is one.
    pub target: Option<String>,
    /// What became of it.
    #[sqlx(try_from = "String")]
    pub outcome: Outcome,
    /// Why it was refused, as the caller was told (`ErrorInfo.reason`); where the row tells of many that are alike, followed by
    /// how many: `ROLE_NOT_ALLOWED (40)`.
    pub reason: Option<String>,
    /// The caller's request id, if it sent one.
    pub request_id: Option<String>,
}

impl AuditRow {
    /// The row as JSON, without its owner: whoever shows the rows of several says whose each is. The fields are called as in the
    /// API's message of a row; exports are read by these names for ever, so a field may come, and none may change.
    /// Owners read each of them of what concerns them: what is for operators alone is none of these.
    pub fn to_json(&self) -> Map<String, Value> {
        let fields = [
            ("id", Value::from(self.id.to_string())),
            ("at", Value::from(self.at.to_rfc3339())),
            ("actor", Value::from(self.actor.as_str())),
            ("on_behalf_of", Value::from(self.on_behalf_of.as_deref())),
            ("method", Value::from(self.method.as_str())),
            ("target", Value::from(self.target.as_deref())),
            ("outcome", Value::from(self.outcome.as_str())),
            ("reason", Value::from(self.reason.as_deref())),
            ("request_id", Value::from(self.request_id.as_deref())),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What became of an audited call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It took effect.
    Done,
    /// It was refused and nothing changed.
    Refused,
}

impl Outcome {
    /// The word that is stored and told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "DONE",
            Self::Refused => "REFUSED",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be DONE or REFUSED")]
pub struct OutcomeError;

impl FromStr for Outcome {
    type Err = OutcomeError;
    fn from_str(text: &str) -> Result<Self, OutcomeError> {
        [Self::Done, Self::Refused].into_iter().find(|outcome| outcome.as_str() == text).ok_or(OutcomeError)
    }
}

impl TryFrom<String> for Outcome {
    type Error = OutcomeError;
    fn try_from(text: String) -> Result<Self, OutcomeError> {
        text.parse()
    }
}

/// Adds a row. One that is there already (another service's, told again) stays as it is.
pub async fn record(tx: &mut Tx, row: &AuditRow) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(INSERT)
        .bind(row.id).bind(row.at).bind(row.owner).bind(&row.actor).bind(&row.on_behalf_of)
        .bind(&row.method).bind(&row.target).bind(row.outcome.as_str()).bind(&row.reason).bind(&row.request_id)
        .execute(c).await?.rows_affected());
    Ok(())
}

/// Adds many rows: on PostgreSQL with one statement, whoever holds locks meanwhile.
pub async fn record_all(tx: &mut Tx, rows: &[AuditRow]) -> Result<(), DbError> {
    let Tx::Postgres(t) = tx else {
        for row in rows {
            record(tx, row).await?;
        }
        return Ok(());
    };
    sqlx::query(INSERT_ALL_POSTGRES)
        .bind(column(rows, |row| row.id.to_string()))
        .bind(column(rows, |row| row.at.as_micros()))
        .bind(column(rows, |row| row.owner.map(|owner| owner.to_string())))
        .bind(column(rows, |row| row.actor.clone()))
        .bind(column(rows, |row| row.on_behalf_of.clone()))
        .bind(column(rows, |row| row.method.clone()))
        .bind(column(rows, |row| row.target.clone()))
        .bind(column(rows, |row| row.outcome.as_str().to_owned()))
        .bind(column(rows, |row| row.reason.clone()))
        .bind(column(rows, |row| row.request_id.clone()))
        .execute(&mut **t)
        .await?;
    Ok(())
}

/// The rows after one (its id; empty for the first), in the order of ids: for whoever comes too late for their events.
pub async fn after(tx: &mut Tx, id: &str, limit: i64) -> Result<Vec<AuditRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(AFTER).bind(id).bind(limit).fetch_all(c).await?))
}

/// Forgets the rows that are older than `retention`, in small transactions. Returns how many. Safe to run on several
/// replicas at once, and to interrupt. The last day before the newest row stays ([`KEPT`]).
pub async fn forget(db: &Db, now: Timestamp, retention: Span) -> Result<u64, DbError> {
    let before = now.saturating_sub(retention);
    let mut total = 0;
    loop {
        let mut tx = db.begin().await?;
        let gone = on!(&mut tx, c => sqlx::query(FORGET)
            .bind(before).bind(KEPT.as_micros()).bind(BATCH).execute(c).await?.rows_affected());
        tx.commit().await?;
        total += gone;
        if gone < BATCH.unsigned_abs() {
            return Ok(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_of_a_row_stays_as_it_was() {
        let row = AuditRow {
            id: AuditId::from_parts(1, [0; 10]),
            at: Timestamp::EPOCH,
            owner: None,
            actor: "svc_1".to_owned(),
            on_behalf_of: Some("usr_1".to_owned()),
            method: "a.B/C".to_owned(),
            target: None,
            outcome: Outcome::Refused,
            reason: Some("NOT_FOUND".to_owned()),
            request_id: Some("r1".to_owned()),
        };
        let expected = json!({
            "id": row.id.to_string(), "at": "1970-01-01T00:00:00Z", "actor": "svc_1", "on_behalf_of": "usr_1",
            "method": "a.B/C", "target": null, "outcome": "REFUSED", "reason": "NOT_FOUND", "request_id": "r1",
        });
        assert_eq!(Value::Object(row.to_json()), expected);
    }
}
