//! Everything that can go wrong in organization, as facts. What a caller is told about each is decided in
//! `grpc/status.rs`, in one exhaustive match.

use bursar_db::DbError;
use bursar_rpc::Problem;

use crate::content::ContentError;
use crate::domain::Refusal;

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong, or a shared layer refused it: this is the answer.
    #[error(transparent)]
    Invalid(#[from] Problem),
    /// The rules do not allow it as things stand.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Billing did not answer, or not as it should.
    #[error("billing answered {:?}: {}", .0.code(), .0.message())]
    Billing(#[source] Box<tonic::Status>),
    /// What this service was told last may not be so any more, and it rests on that. The text: by whom.
    #[error("what {0} told last may be out of date")]
    FeedStale(&'static str),
    /// Too many ask for what takes a core, or a while.
    #[error("too many are served already")]
    Overloaded,
    /// What the caller sent broke off, or is no message.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Sent(#[source] Box<tonic::Status>),
    /// The object store failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] DbError),
    /// A fault of organization's own; the cause is logged and never told.
    #[error("{0}")]
    Internal(&'static str),
}
