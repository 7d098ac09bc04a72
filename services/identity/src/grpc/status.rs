//! The one place where identity's errors become gRPC statuses.

use bursar_rpc::peer::unanswered;
use bursar_rpc::problem::reason;
use bursar_rpc::{Problem, Refusing};
use tonic::Status;

use crate::Error;
use crate::usecase::Owned;

/// `UNAUTHENTICATED`: address and password, or client id and secret, do not belong together.
const CREDENTIALS_INVALID: &str = "CREDENTIALS_INVALID";
/// `RESOURCE_EXHAUSTED`: too many attempts; `RetryInfo` says when.
const TOO_MANY_ATTEMPTS: &str = "TOO_MANY_ATTEMPTS";
/// `UNAUTHENTICATED`: the refresh token is unknown, expired, reused, or of an ended session.
const REFRESH_TOKEN_INVALID: &str = "REFRESH_TOKEN_INVALID";
/// `UNAUTHENTICATED`: sign in again.
const SESSION_ENDED: &str = "SESSION_ENDED";
/// `UNAVAILABLE`: the account is being deleted; if it is not in the end, the call works in a moment.
const ACCOUNT_LEAVING: &str = "ACCOUNT_LEAVING";
/// `FAILED_PRECONDITION`: unknown, used, replaced or expired.
const VERIFICATION_TOKEN_INVALID: &str = "VERIFICATION_TOKEN_INVALID";
/// `PERMISSION_DENIED`: no context of the caller's.
const NOT_A_MEMBER: &str = "NOT_A_MEMBER";
/// `FAILED_PRECONDITION`: enrol a second factor, and sign in with it.
const SECOND_FACTOR_ENROLLMENT_REQUIRED: &str = "SECOND_FACTOR_ENROLLMENT_REQUIRED";
/// `PERMISSION_DENIED`: an operator has suspended the organization.
const ORGANIZATION_SUSPENDED: &str = "ORGANIZATION_SUSPENDED";
/// `PERMISSION_DENIED`: nobody uses the organization any more.
const ORGANIZATION_DELETED: &str = "ORGANIZATION_DELETED";
/// `FAILED_PRECONDITION`: transfer or delete the organizations first.
const OWNS_ORGANIZATIONS: &str = "OWNS_ORGANIZATIONS";
/// `FAILED_PRECONDITION`: a disabled account gets no secret.
const SERVICE_ACCOUNT_DISABLED: &str = "SERVICE_ACCOUNT_DISABLED";
/// `FAILED_PRECONDITION`: the suite needs the account as it is.
const SERVICE_ACCOUNT_NEEDED: &str = "SERVICE_ACCOUNT_NEEDED";

/// `UNAVAILABLE`: the membership is not known at the moment; `RetryInfo` says when to ask again.
const FEED_STALE: &str = "FEED_STALE";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        problem(error).into()
    }
}

impl Refusing for Error {
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Refused(problem) => problem.is_refusal().then_some(problem.reason()),
            Self::CredentialsInvalid | Self::ClientCredentialsInvalid => Some(CREDENTIALS_INVALID),
            Self::TooManyAttempts { .. } => Some(TOO_MANY_ATTEMPTS),
            Self::RefreshTokenInvalid => Some(REFRESH_TOKEN_INVALID),
            Self::SessionEnded => Some(SESSION_ENDED),
            Self::Leaving => Some(ACCOUNT_LEAVING),
            Self::UserSuspended => Some(reason::USER_SUSPENDED),
            Self::OrganizationSuspended => Some(ORGANIZATION_SUSPENDED),
            Self::OrganizationDeleted => Some(ORGANIZATION_DELETED),
            Self::SessionNotFound | Self::UserNotFound | Self::ServiceAccountNotFound => Some(reason::NOT_FOUND),
            Self::VerificationTokenInvalid => Some(VERIFICATION_TOKEN_INVALID),
            Self::NotAMember => Some(NOT_A_MEMBER),
            Self::SecondFactorRequired => Some(SECOND_FACTOR_ENROLLMENT_REQUIRED),
            Self::OwnsOrganizations(_) => Some(OWNS_ORGANIZATIONS),
            Self::ServiceAccountDisabled => Some(SERVICE_ACCOUNT_DISABLED),
            Self::ServiceAccountNeeded => Some(SERVICE_ACCOUNT_NEEDED),
            Self::Overloaded | Self::Organization(_) | Self::FeedStale | Self::Store(_) | Self::Internal(_) => None,
        }
    }
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Refused(problem) => problem,
        Error::CredentialsInvalid => {
            Problem::unauthenticated(CREDENTIALS_INVALID, "the address and the password do not belong together")
        }
        Error::ClientCredentialsInvalid => {
            Problem::unauthenticated(CREDENTIALS_INVALID, "the client id and the secret do not belong together")
        }
        Error::TooManyAttempts { retry_after } => {
            Problem::exhausted(TOO_MANY_ATTEMPTS, "too many attempts; try again later")
                .with_retry_after(retry_after.to_std())
        }
        Error::RefreshTokenInvalid => {
            Problem::unauthenticated(REFRESH_TOKEN_INVALID, "the refresh token is not valid; sign in again")
        }
        Error::SessionEnded => Problem::unauthenticated(SESSION_ENDED, "the session has ended; sign in again"),
        Error::Leaving => {
            Problem::unavailable(ACCOUNT_LEAVING, "the account is being deleted; if it is not, try again soon")
                .with_retry_after(std::time::Duration::from_secs(1))
        }
        Error::UserSuspended => Problem::permission_denied(reason::USER_SUSPENDED, "the user is suspended"),
        Error::UserNotFound => Problem::not_found("user"),
        Error::OrganizationSuspended => {
            Problem::permission_denied(ORGANIZATION_SUSPENDED, "the organization is suspended")
        }
        Error::OrganizationDeleted => Problem::permission_denied(ORGANIZATION_DELETED, "the organization was deleted"),
        Error::SessionNotFound => Problem::not_found("session"),
        Error::VerificationTokenInvalid => Problem::failed_precondition(
            VERIFICATION_TOKEN_INVALID,
            "the link is not valid any more; ask for a new one",
        ),
        Error::NotAMember => Problem::permission_denied(NOT_A_MEMBER, "you are not a member of this context"),
        Error::SecondFactorRequired => {
            let sentence = "members of this organization need a second factor: enrol one and sign in with it";
            Problem::failed_precondition(SECOND_FACTOR_ENROLLMENT_REQUIRED, sentence).with_precondition(
                SECOND_FACTOR_ENROLLMENT_REQUIRED,
                "session",
                sentence,
            )
        }
        Error::OwnsOrganizations(owned) => owns(&owned),
        Error::ServiceAccountNotFound => Problem::not_found("service account"),
        Error::ServiceAccountDisabled => {
            Problem::failed_precondition(SERVICE_ACCOUNT_DISABLED, "the service account is disabled for good")
        }
        Error::ServiceAccountNeeded => Problem::failed_precondition(
            SERVICE_ACCOUNT_NEEDED,
            "the suite itself needs this service account; the secrets of its services come from files",
        ),
        Error::Overloaded => Problem::exhausted(reason::OVERLOADED, "too many passwords are being checked; try again")
            .with_retry_after(std::time::Duration::from_secs(1)),
        Error::FeedStale => Problem::unavailable(
            FEED_STALE,
            "organization cannot be asked at the moment, and what it told last is too old; try again",
        )
        .with_retry_after(std::time::Duration::from_secs(1)),
        Error::Organization(status) => unanswered("organization", &status),
        Error::Store(error) => error.into(),
        Error::Internal(cause) => Problem::internal(&cause),
    }
}

/// Which organizations stand in the way, as far as there is room for them.
fn owns(owned: &Owned) -> Problem {
    let ids: Vec<String> = owned.first.iter().map(ToString::to_string).collect();
    let sentence = "transfer or delete the organizations that you own first";
    let problem = Problem::failed_precondition(OWNS_ORGANIZATIONS, sentence)
        .with_metadata("organizations", owned.count.to_string())
        .with_metadata("organization_ids", ids.join(","));
    ids.into_iter().fold(problem, |problem, id| problem.with_precondition(OWNS_ORGANIZATIONS, id, "owned by the user"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_db::DbError;
    use bursar_rpc::page::token_invalid;
    use bursar_rpc::problem::reason_of;
    use bursar_time::Span;
    use tonic::Code;
    use tonic_types::StatusExt as _;

    /// What callers can do something about.
    fn refusals() -> Vec<(Error, Code, &'static str)> {
        use Code::{AlreadyExists, FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted, Unauthenticated};
        let wait = Error::TooManyAttempts { retry_after: Span::from_secs(7) };
        let owns = Error::OwnsOrganizations(Owned { count: 2, first: Vec::new() });
        vec![
            (Error::Refused(Problem::not_found("page")), NotFound, "NOT_FOUND"),
            (Error::CredentialsInvalid, Unauthenticated, CREDENTIALS_INVALID),
            (Error::ClientCredentialsInvalid, Unauthenticated, CREDENTIALS_INVALID),
            (wait, ResourceExhausted, TOO_MANY_ATTEMPTS),
            (Error::RefreshTokenInvalid, Unauthenticated, REFRESH_TOKEN_INVALID),
            (Error::SessionEnded, Unauthenticated, SESSION_ENDED),
            (Error::Leaving, Code::Unavailable, ACCOUNT_LEAVING),
            (Error::UserSuspended, PermissionDenied, "USER_SUSPENDED"),
            (Error::UserNotFound, NotFound, "NOT_FOUND"),
            (Error::OrganizationSuspended, PermissionDenied, ORGANIZATION_SUSPENDED),
            (Error::OrganizationDeleted, PermissionDenied, ORGANIZATION_DELETED),
            (Error::SessionNotFound, NotFound, "NOT_FOUND"),
            (Error::VerificationTokenInvalid, FailedPrecondition, VERIFICATION_TOKEN_INVALID),
            (Error::NotAMember, PermissionDenied, NOT_A_MEMBER),
            (owns, FailedPrecondition, OWNS_ORGANIZATIONS),
            (Error::SecondFactorRequired, FailedPrecondition, SECOND_FACTOR_ENROLLMENT_REQUIRED),
            (Error::ServiceAccountNotFound, NotFound, "NOT_FOUND"),
            (Error::ServiceAccountDisabled, FailedPrecondition, SERVICE_ACCOUNT_DISABLED),
            (Error::ServiceAccountNeeded, FailedPrecondition, SERVICE_ACCOUNT_NEEDED),
            (Error::Refused(Problem::request_id_reused()), AlreadyExists, "REQUEST_ID_REUSED"),
        ]
    }

    /// What callers can only try again, or tell an operator.
    fn faults() -> Vec<(Error, Code, &'static str)> {
        let organization = |code| Error::Organization(Box::new(Status::new(code, "no")));
        vec![
            (Error::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (organization(Code::Unavailable), Code::Unavailable, "PEER_UNAVAILABLE"),
            (organization(Code::DeadlineExceeded), Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (organization(Code::PermissionDenied), Code::Internal, "INTERNAL"),
            (Error::Organization(Box::new(token_invalid().into())), Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
            (Error::Store(DbError::Serialization), Code::Aborted, "CONFLICTING_CHANGE"),
            (Error::Store(DbError::TimedOut), Code::Unavailable, "STATEMENT_TIMED_OUT"),
            (Error::internal("the secret is 42"), Code::Internal, "INTERNAL"),
        ]
    }

    #[test]
    fn every_error_has_its_status() {
        for (error, code, reason) in refusals().into_iter().chain(faults()) {
            let name = format!("{error:?}");
            let status = Status::from(error);
            let found = (status.code(), reason_of(&status));
            assert_eq!(found, (code, Some(reason.to_owned())), "{name}");
            assert!(!status.message().contains("42"), "{name} tells its cause");
        }
    }

    #[test]
    fn waiting_times_are_told() {
        let status = Status::from(Error::TooManyAttempts { retry_after: Span::from_secs(7) });
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(retry, Some(std::time::Duration::from_secs(7)));
    }
}
