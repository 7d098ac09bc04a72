//! Everything that can go wrong in identity, as facts. What a caller is told about each is decided in
//! `grpc/status.rs`, in one exhaustive match.

use bursar_db::DbError;
use bursar_rpc::Problem;
use bursar_time::Span;

use crate::usecase::Owned;

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong, or a shared layer refused it: this is the answer.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// Address and password do not belong together; which of them is wrong is told to nobody.
    #[error("the address and the password do not belong together")]
    CredentialsInvalid,
    /// A service account's id and secret do not belong together, or the account is disabled.
    #[error("the client id and the secret do not belong together")]
    ClientCredentialsInvalid,
    /// Too many attempts; one more fits after this span.
    #[error("too many attempts")]
    TooManyAttempts {
        /// When to try again.
        retry_after: Span,
    },
    /// The refresh token is unknown, expired, reused after its grace, or of an ended session.
    #[error("the refresh token is not valid")]
    RefreshTokenInvalid,
    /// The access token's session has ended, or its user is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// The account is about to be deleted.
    #[error("the account is being deleted")]
    Leaving,
    /// An operator has suspended the user.
    #[error("the user is suspended")]
    UserSuspended,
    /// No such user (any more).
    #[error("no such user")]
    UserNotFound,
    /// An operator has suspended the organization.
    #[error("the organization is suspended")]
    OrganizationSuspended,
    /// The organization was deleted.
    #[error("the organization was deleted")]
    OrganizationDeleted,
    /// No such session of the caller's.
    #[error("no such session")]
    SessionNotFound,
    /// The verification token is unknown, used, replaced or expired.
    #[error("the verification token is not valid")]
    VerificationTokenInvalid,
    /// The caller has no place in that context, or it does not exist.
    #[error("not a member")]
    NotAMember,
    /// Members of the organization must have proven a second factor, and the caller's branch shows none.
    #[error("no second factor")]
    SecondFactorRequired,
    /// The user cannot be deleted while owning organizations.
    #[error("the user owns {} organizations", .0.count)]
    OwnsOrganizations(Owned),
    /// No such service account.
    #[error("no such service account")]
    ServiceAccountNotFound,
    /// The account is disabled for good.
    #[error("the service account is disabled")]
    ServiceAccountDisabled,
    /// The suite cannot run without the account as it is.
    #[error("the service account is needed by the suite itself")]
    ServiceAccountNeeded,
    /// More passwords are waiting to be hashed than this process takes.
    #[error("too many passwords are being checked")]
    Overloaded,
    /// Organization did not answer, or not as it should.
    #[error("organization answered {:?}: {}", .0.code(), .0.message())]
    Organization(#[source] Box<tonic::Status>),
    /// Organization does not answer, and what it told last of the membership is too old, unreadable or nothing.
    #[error("the membership is not known")]
    FeedStale,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] DbError),
    /// A fault of identity's own.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// A fault of identity's own; `cause` is logged and never told.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }
}
