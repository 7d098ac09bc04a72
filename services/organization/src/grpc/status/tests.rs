//! Every error has its status.

use super::*;
use bursar_db::DbError;
use bursar_rpc::problem::reason_of;
use bursar_time::Span;

#[track_caller]
fn told(code: Code, cases: &[(Refusal, &str)]) {
    for (refusal, reason) in cases {
        let status = Status::from(Error::Refused(*refusal));
        let got = (status.code(), reason_of(&status));
        assert_eq!(got, (code, Some((*reason).to_owned())), "{refusal:?}");
    }
}

#[test]
fn refusals_of_the_caller_have_their_status() {
    let denied = [
        (Refusal::NotAMember, "NOT_A_MEMBER"),
        (Refusal::RoleNotAllowed, "ROLE_NOT_ALLOWED"),
        (Refusal::OrganizationSuspended, "ORGANIZATION_SUSPENDED"),
        (Refusal::OrganizationDeleted, "ORGANIZATION_DELETED"),
        (Refusal::WrongContext, "WRONG_CONTEXT"),
        (Refusal::UserSuspended, "USER_SUSPENDED"),
        (Refusal::MemberSuspended, "USER_SUSPENDED"),
        (Refusal::OwnRole, "OWN_ROLE"),
        (Refusal::EmailNotVerified, "EMAIL_NOT_VERIFIED"),
        (Refusal::InvitationEmailMismatch, "INVITATION_EMAIL_MISMATCH"),
    ];
    told(Code::PermissionDenied, &denied);
    told(Code::Unauthenticated, &[(Refusal::AccountDeleted, "SESSION_ENDED")]);
}

#[test]
fn refusals_of_the_state_have_their_status() {
    let preconditions = [
        (Refusal::OrganizationPending, "ORGANIZATION_PENDING"),
        (Refusal::PlanRequired, "PLAN_REQUIRED"),
        (Refusal::RenewalHeld, "RENEWAL_HELD"),
        (Refusal::SubscriptionPastDue, "SUBSCRIPTION_PAST_DUE"),
        (Refusal::BalanceTooLarge, "BALANCE_TOO_LARGE"),
        (Refusal::CreationCalledOff, "CREATION_CALLED_OFF"),
        (Refusal::OrganizationFounded, "ORGANIZATION_FOUNDED"),
        (Refusal::NotDeleted, "ORGANIZATION_NOT_DELETED"),
        (Refusal::PurgeBegun, "PURGE_BEGUN"),
        (Refusal::OwnerMustTransfer, "OWNER_MUST_TRANSFER"),
        (Refusal::SecondFactorRequired, "SECOND_FACTOR_ENROLLMENT_REQUIRED"),
        (Refusal::AlreadyOwner, "ALREADY_OWNER"),
        (Refusal::AlreadyOwned, "HAS_AN_OWNER"),
        (Refusal::NotNominated, "NOT_NOMINATED"),
        (Refusal::NominationExpired, "NOMINATION_EXPIRED"),
        (Refusal::MemberLeaving, "MEMBER_LEAVING"),
        (Refusal::InvitationExpired, "INVITATION_EXPIRED"),
        (Refusal::InvitationRevoked, "INVITATION_REVOKED"),
        (Refusal::InvitationSettled, "INVITATION_SETTLED"),
        (Refusal::InviterNoLongerAuthorized, "INVITER_NO_LONGER_AUTHORIZED"),
        (Refusal::PersonalProject, "PERSONAL_PROJECT"),
        (Refusal::ItemHasChildren, "ITEM_HAS_CHILDREN"),
        (Refusal::ParentNotAllowed, "PARENT_NOT_ALLOWED"),
        (Refusal::KindUnknown, "KIND_UNKNOWN"),
        (Refusal::TooManyItems { limit: 1 }, "TOO_MANY_ITEMS"),
        (Refusal::KindHasNoContent, "KIND_HAS_NO_CONTENT"),
        (Refusal::OrganizationRequired, "ORGANIZATION_REQUIRED"),
        (Refusal::ExportTooLarge { limit: 1 }, "EXPORT_TOO_LARGE"),
    ];
    told(Code::FailedPrecondition, &preconditions);
    let existing = [
        (Refusal::SlugTaken, "SLUG_TAKEN"),
        (Refusal::AlreadyInvited { pending: bursar_id::InvitationId::from_parts(1, [0; 10]) }, "ALREADY_INVITED"),
        (Refusal::AlreadyAMember, "ALREADY_A_MEMBER"),
    ];
    told(Code::AlreadyExists, &existing);
    let absent = [
        (Refusal::OrganizationNotFound, "NOT_FOUND"),
        (Refusal::MemberNotFound, "NOT_FOUND"),
        (Refusal::InvitationNotFound, "NOT_FOUND"),
        (Refusal::ProjectNotFound, "NOT_FOUND"),
        (Refusal::NoAvatar, "NOT_FOUND"),
        (Refusal::ItemNotFound, "NOT_FOUND"),
        (Refusal::ContentNotFound, "NOT_FOUND"),
    ];
    told(Code::NotFound, &absent);
    let aborted = [(Refusal::EtagMismatch, "ETAG_MISMATCH"), (Refusal::DepartureTakenBack, "DEPARTURE_TAKEN_BACK")];
    told(Code::Aborted, &aborted);
    told(Code::Unavailable, &[(Refusal::AccountLeaving, "ACCOUNT_LEAVING")]);
}

#[test]
fn limits_have_their_status() {
    let full = Refusal::SeatLimitReached { seats: 5, used: 5 };
    let limits = [
        (full, "SEAT_LIMIT_REACHED"),
        (Refusal::TooManyLots { limit: 1_000 }, "TOO_MANY_LOTS"),
        (Refusal::TooManyPending { limit: 1, retry_after: Span::HOUR }, "TOO_MANY_INVITATIONS"),
        (Refusal::TooManyToday { retry_after: Span::HOUR }, "TOO_MANY_INVITATIONS"),
        (Refusal::TooManyOrganizations { retry_after: Span::HOUR }, "TOO_MANY_ORGANIZATIONS"),
        (Refusal::TooManyNominations { retry_after: Span::HOUR }, "TOO_MANY_NOMINATIONS"),
        (Refusal::QuotaReached { quota: 1 }, "LIBRARY_QUOTA_REACHED"),
        (Refusal::ContentTooLarge { limit: 1 }, "CONTENT_TOO_LARGE"),
        (Refusal::TooManyTransfers, "TOO_MANY_TRANSFERS"),
        (Refusal::TooManyFormerSlugs { limit: 10, retry_after: Span::HOUR }, "TOO_MANY_FORMER_SLUGS"),
    ];
    told(Code::ResourceExhausted, &limits);
    told(
        Code::InvalidArgument,
        &[
            (Refusal::ContentSizeMismatch, "CONTENT_SIZE_MISMATCH"),
            (Refusal::ContentHashMismatch, "CONTENT_HASH_MISMATCH"),
            (Refusal::SlugNotConfirmed, "INVALID_FIELDS"),
        ],
    );
    told(
        Code::DeadlineExceeded,
        &[
            (Refusal::UploadStalled, "UPLOAD_STALLED"),
            (Refusal::DownloadStalled, "DOWNLOAD_STALLED"),
            (Refusal::ExportStalled, "EXPORT_STALLED"),
        ],
    );
    told(Code::Aborted, &[(Refusal::UploadLapsed, "UPLOAD_LAPSED")]);
}

#[test]
fn every_other_error_has_its_status_and_tells_no_cause() {
    let billing = |code| Error::Billing(Box::new(Status::new(code, "42")));
    let cases = [
        (Error::Invalid(Problem::not_found("page")), Code::NotFound, "NOT_FOUND"),
        (Error::Invalid(Problem::request_id_reused()), Code::AlreadyExists, "REQUEST_ID_REUSED"),
        (billing(Code::Unavailable), Code::Unavailable, "PEER_UNAVAILABLE"),
        (billing(Code::DeadlineExceeded), Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (billing(Code::PermissionDenied), Code::Internal, "INTERNAL"),
        (Error::FeedStale("billing"), Code::Unavailable, "FEED_STALE"),
        (Error::Store(DbError::Serialization), Code::Aborted, "CONFLICTING_CHANGE"),
        (Error::Store(DbError::TimedOut), Code::Unavailable, "STATEMENT_TIMED_OUT"),
        (Error::Internal("the secret is 42"), Code::Internal, "INTERNAL"),
    ];
    for (error, code, reason) in cases {
        let name = format!("{error:?}");
        let status = Status::from(error);
        assert_eq!((status.code(), reason_of(&status).as_deref()), (code, Some(reason)), "{name}");
        assert!(!status.message().contains("42"), "{name} tells its cause");
    }
}
