//! The audit log: who did what, and who was refused what only few may do.
//!
//! A row is written in the transaction of the effect it tells of; a refusal's in one of its own. The table is append-only
//! in the schema of both engines. A row holds ids and words of closed sets (and the caller's own request id), never a
//! secret, an address or a name, so nothing in it ever has to be erased.
//!
//! *Which* calls get a row is decided where mutations are carried out (`bursar_rpc::Mutations`); organization lists them.

use std::fmt;
use std::str::FromStr;

use bursar_id::{AuditId, OwnerId};
use bursar_time::Timestamp;

use crate::{DbError, Tx, on};

/// The statement that adds a row, unless it is there already.
const INSERT: &str = "INSERT INTO audit \
     (id, at, owner, actor, on_behalf_of, method, target, outcome, reason, request_id) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING";

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub outcome: Outcome,
    /// Why it was refused, as the caller was told (`ErrorInfo.reason`).
    pub reason: Option<String>,
    /// The caller's request id, if it sent one.
    pub request_id: Option<String>,
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

/// Adds a row. One that is there already (another service's, told again) stays as it is.
pub async fn record(tx: &mut Tx, row: &AuditRow) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(INSERT)
        .bind(row.id).bind(row.at).bind(row.owner).bind(&row.actor).bind(&row.on_behalf_of)
        .bind(&row.method).bind(&row.target).bind(row.outcome.as_str()).bind(&row.reason).bind(&row.request_id)
        .execute(c).await?.rows_affected());
    Ok(())
}
