//! The one place where organization's errors become gRPC statuses.

use std::time::Duration;

use bursar_rpc::peer::unanswered;
use bursar_rpc::{Problem, Refusing};
use tonic::{Code, Status};

use crate::Error;
use crate::domain::Refusal;

/// The reasons that callers branch on, beside the shared ones.
mod reason {
    pub(super) const NOT_A_MEMBER: &str = "NOT_A_MEMBER";
    pub(super) const ORGANIZATION_PENDING: &str = "ORGANIZATION_PENDING";
    pub(super) const PLAN_REQUIRED: &str = "PLAN_REQUIRED";
    pub(super) const RENEWAL_HELD: &str = "RENEWAL_HELD";
    pub(super) const SUBSCRIPTION_PAST_DUE: &str = "SUBSCRIPTION_PAST_DUE";
    pub(super) const TOO_MANY_LOTS: &str = "TOO_MANY_LOTS";
    pub(super) const BALANCE_TOO_LARGE: &str = "BALANCE_TOO_LARGE";
    pub(super) const CREATION_CALLED_OFF: &str = "CREATION_CALLED_OFF";
    pub(super) const ORGANIZATION_FOUNDED: &str = "ORGANIZATION_FOUNDED";
    pub(super) const ORGANIZATION_SUSPENDED: &str = "ORGANIZATION_SUSPENDED";
    pub(super) const ORGANIZATION_DELETED: &str = "ORGANIZATION_DELETED";
    pub(super) const ORGANIZATION_NOT_DELETED: &str = "ORGANIZATION_NOT_DELETED";
    pub(super) const PURGE_BEGUN: &str = "PURGE_BEGUN";
    pub(super) const TOO_MANY_FORMER_SLUGS: &str = "TOO_MANY_FORMER_SLUGS";
    pub(super) use bursar_rpc::problem::reason::ROLE_NOT_ALLOWED;
    pub(super) const SECOND_FACTOR_ENROLLMENT_REQUIRED: &str = "SECOND_FACTOR_ENROLLMENT_REQUIRED";
    pub(super) const WRONG_CONTEXT: &str = "WRONG_CONTEXT";
    pub(super) const SESSION_ENDED: &str = "SESSION_ENDED";
    pub(super) const ACCOUNT_LEAVING: &str = "ACCOUNT_LEAVING";
    pub(super) const MEMBER_LEAVING: &str = "MEMBER_LEAVING";
    pub(super) const DEPARTURE_TAKEN_BACK: &str = "DEPARTURE_TAKEN_BACK";
    pub(super) const OWN_ROLE: &str = "OWN_ROLE";
    pub(super) const OWNER_MUST_TRANSFER: &str = "OWNER_MUST_TRANSFER";
    pub(super) const ALREADY_OWNER: &str = "ALREADY_OWNER";
    pub(super) const NOT_NOMINATED: &str = "NOT_NOMINATED";
    pub(super) const NOMINATION_EXPIRED: &str = "NOMINATION_EXPIRED";
    pub(super) const TOO_MANY_NOMINATIONS: &str = "TOO_MANY_NOMINATIONS";
    pub(super) const TOO_MANY_ORGANIZATIONS: &str = "TOO_MANY_ORGANIZATIONS";
    pub(super) const HAS_AN_OWNER: &str = "HAS_AN_OWNER";
    pub(super) const SLUG_TAKEN: &str = "SLUG_TAKEN";
    pub(super) const ETAG_MISMATCH: &str = "ETAG_MISMATCH";
    pub(super) const ALREADY_INVITED: &str = "ALREADY_INVITED";
    pub(super) const ALREADY_A_MEMBER: &str = "ALREADY_A_MEMBER";
    pub(super) const SEAT_LIMIT_REACHED: &str = "SEAT_LIMIT_REACHED";
    pub(super) const TOO_MANY_INVITATIONS: &str = "TOO_MANY_INVITATIONS";
    pub(super) const INVITATION_EXPIRED: &str = "INVITATION_EXPIRED";
    pub(super) const INVITATION_REVOKED: &str = "INVITATION_REVOKED";
    pub(super) const INVITATION_SETTLED: &str = "INVITATION_SETTLED";
    pub(super) const INVITER_NO_LONGER_AUTHORIZED: &str = "INVITER_NO_LONGER_AUTHORIZED";
    pub(super) const EMAIL_NOT_VERIFIED: &str = "EMAIL_NOT_VERIFIED";
    pub(super) const INVITATION_EMAIL_MISMATCH: &str = "INVITATION_EMAIL_MISMATCH";
    pub(super) const KIND_HAS_NO_CONTENT: &str = "KIND_HAS_NO_CONTENT";
    pub(super) const CONTENT_TOO_LARGE: &str = "CONTENT_TOO_LARGE";
    pub(super) const CONTENT_SIZE_MISMATCH: &str = "CONTENT_SIZE_MISMATCH";
    pub(super) const CONTENT_HASH_MISMATCH: &str = "CONTENT_HASH_MISMATCH";
    pub(super) const CONTENT_UNAVAILABLE: &str = "CONTENT_UNAVAILABLE";
    pub(super) const TOO_MANY_TRANSFERS: &str = "TOO_MANY_TRANSFERS";
    pub(super) const UPLOAD_STALLED: &str = "UPLOAD_STALLED";
    pub(super) const UPLOAD_LAPSED: &str = "UPLOAD_LAPSED";
    pub(super) const DOWNLOAD_STALLED: &str = "DOWNLOAD_STALLED";
    pub(super) const EXPORT_STALLED: &str = "EXPORT_STALLED";
    pub(super) const EXPORT_TOO_LARGE: &str = "EXPORT_TOO_LARGE";
    pub(super) const ITEM_HAS_CHILDREN: &str = "ITEM_HAS_CHILDREN";
    pub(super) const PARENT_NOT_ALLOWED: &str = "PARENT_NOT_ALLOWED";
    pub(super) const KIND_UNKNOWN: &str = "KIND_UNKNOWN";
    pub(super) const TOO_MANY_ITEMS: &str = "TOO_MANY_ITEMS";
    pub(super) const FEED_STALE: &str = "FEED_STALE";
    pub(super) const LIBRARY_QUOTA_REACHED: &str = "LIBRARY_QUOTA_REACHED";
    pub(super) const ORGANIZATION_REQUIRED: &str = "ORGANIZATION_REQUIRED";
    pub(super) const PERSONAL_PROJECT: &str = "PERSONAL_PROJECT";
}

/// When somebody who was turned away should come again: a picture is drawn in less, an export takes longer.
const RETRY_SOON: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            // What the library says of a message gets its reason in the stack.
            Error::Sent(status) => *status,
            error => problem(error).into(),
        }
    }
}

impl Refusing for Error {
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Invalid(problem) => problem.is_refusal().then_some(problem.reason()),
            Self::Refused(refusal) => Some(refused(*refusal).reason()),
            Self::Billing(_)
            | Self::FeedStale(_)
            | Self::Overloaded
            | Self::Sent(_)
            | Self::Content(_)
            | Self::Store(_)
            | Self::Internal(_) => None,
        }
    }
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Invalid(problem) => problem,
        Error::Refused(refusal) => refused(refusal),
        Error::Billing(status) => unanswered("billing", &status),
        Error::FeedStale(source) => {
            let message = format!("what {source} told last may not be so any more; try again");
            Problem::unavailable(reason::FEED_STALE, message)
        }
        Error::Overloaded => Problem::exhausted(
            bursar_rpc::problem::reason::OVERLOADED,
            "as much of this as may be is being done; try again",
        )
        .with_retry_after(RETRY_SOON),
        Error::Store(error) => error.into(),
        Error::Sent(status) => Problem::internal(&status),
        Error::Content(error) => {
            tracing::error!(%error, "the object store failed");
            Problem::unavailable(reason::CONTENT_UNAVAILABLE, "content cannot be reached at the moment")
        }
        Error::Internal(cause) => Problem::internal(&cause),
    }
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::PlanRequired
        | Refusal::RenewalHeld
        | Refusal::SubscriptionPastDue
        | Refusal::TooManyLots { .. }
        | Refusal::BalanceTooLarge
        | Refusal::CreationCalledOff => creation(refusal),
        Refusal::OrganizationPending
        | Refusal::OrganizationFounded
        | Refusal::OrganizationSuspended
        | Refusal::OrganizationDeleted
        | Refusal::OrganizationNotFound
        | Refusal::NotDeleted
        | Refusal::PurgeBegun
        | Refusal::SlugNotConfirmed
        | Refusal::SlugTaken
        | Refusal::AlreadyOwner
        | Refusal::AlreadyOwned
        | Refusal::NotNominated
        | Refusal::NominationExpired => organization(refusal),
        Refusal::NotAMember
        | Refusal::RoleNotAllowed
        | Refusal::SecondFactorRequired
        | Refusal::WrongContext
        | Refusal::AccountDeleted
        | Refusal::UserSuspended
        | Refusal::MemberSuspended
        | Refusal::OwnRole => denied(refusal),
        Refusal::SeatLimitReached { .. }
        | Refusal::TooManyPending { .. }
        | Refusal::TooManyToday { .. }
        | Refusal::TooManyFormerSlugs { .. }
        | Refusal::TooManyNominations { .. }
        | Refusal::TooManyOrganizations { .. }
        | Refusal::TooManyTransfers
        | Refusal::ContentTooLarge { .. }
        | Refusal::QuotaReached { .. } => exhausted(refusal),
        Refusal::KindHasNoContent
        | Refusal::ContentNotFound
        | Refusal::ContentSizeMismatch
        | Refusal::ContentHashMismatch
        | Refusal::UploadStalled
        | Refusal::UploadLapsed
        | Refusal::DownloadStalled
        | Refusal::ExportStalled
        | Refusal::ExportTooLarge { .. } => content(refusal),
        Refusal::ItemNotFound
        | Refusal::ItemHasChildren
        | Refusal::ParentNotAllowed
        | Refusal::KindUnknown
        | Refusal::TooManyItems { .. } => item(refusal),
        Refusal::InvitationNotFound
        | Refusal::InvitationExpired
        | Refusal::InvitationRevoked
        | Refusal::InvitationSettled
        | Refusal::InviterNoLongerAuthorized
        | Refusal::AlreadyInvited { .. }
        | Refusal::EmailNotVerified
        | Refusal::InvitationEmailMismatch => invitation(refusal),
        Refusal::AccountLeaving | Refusal::MemberLeaving | Refusal::DepartureTakenBack => leaving(refusal),
        Refusal::OwnerMustTransfer | Refusal::PersonalProject | Refusal::OrganizationRequired => elsewhere(refusal),
        Refusal::MemberNotFound | Refusal::ProjectNotFound | Refusal::NoAvatar => absent(refusal),
        Refusal::AlreadyAMember => Problem::already_exists(reason::ALREADY_A_MEMBER, "this person is a member already"),
        Refusal::EtagMismatch => Problem::aborted(
            reason::ETAG_MISMATCH,
            "somebody else changed it meanwhile; read it again and repeat the change",
        ),
    }
}

/// It is not there.
fn absent(refusal: Refusal) -> Problem {
    Problem::not_found(match refusal {
        Refusal::MemberNotFound => "member",
        Refusal::ProjectNotFound => "project",
        _ => "avatar",
    })
}

/// It has to be done in another way, or in another place.
fn elsewhere(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::OwnerMustTransfer => {
            precondition(reason::OWNER_MUST_TRANSFER, "member", "the owner must transfer the organization first")
        }
        Refusal::PersonalProject => {
            precondition(reason::PERSONAL_PROJECT, "project", "a personal project cannot be given to somebody else")
        }
        _ => precondition(
            reason::ORGANIZATION_REQUIRED,
            "owner",
            "work belongs to organizations here: switch to one, or create one",
        ),
    }
}

/// Who the caller is does not allow it.
fn denied(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::RoleNotAllowed => {
            Problem::permission_denied(reason::ROLE_NOT_ALLOWED, "your role in this organization does not allow this")
        }
        Refusal::SecondFactorRequired => precondition(
            reason::SECOND_FACTOR_ENROLLMENT_REQUIRED,
            "token",
            "members of this organization need a second factor: enrol one and sign in with it",
        ),
        Refusal::WrongContext => Problem::permission_denied(
            reason::WRONG_CONTEXT,
            "the token acts in another context; switch to this one first",
        ),
        Refusal::AccountDeleted => {
            Problem::unauthenticated(reason::SESSION_ENDED, "the session has ended with its account")
        }
        Refusal::UserSuspended => {
            Problem::permission_denied(bursar_rpc::problem::reason::USER_SUSPENDED, "the user is suspended")
        }
        Refusal::MemberSuspended => Problem::permission_denied(
            bursar_rpc::problem::reason::USER_SUSPENDED,
            "the other person whom this is about is suspended; ask whoever runs this deployment",
        ),
        Refusal::OwnRole => Problem::permission_denied(reason::OWN_ROLE, "nobody changes their own role"),
        _ => Problem::permission_denied(reason::NOT_A_MEMBER, "you are not a member of this organization"),
    }
}

/// No plan moves to the organization that was to be created, which is no more.
fn creation(refusal: Refusal) -> Problem {
    let failed = |reason, message: &str| precondition(reason, "organization", message);
    match refusal {
        Refusal::RenewalHeld => failed(
            reason::RENEWAL_HELD,
            "your plan waits for whoever runs this deployment; ask them to resume it, and try again then",
        ),
        Refusal::SubscriptionPastDue => failed(
            reason::SUBSCRIPTION_PAST_DUE,
            "your plan's next month is not paid yet: finish or wait for its payment, and try again then",
        ),
        // As billing says it.
        Refusal::TooManyLots { limit } => Problem::exhausted(
            reason::TOO_MANY_LOTS,
            format!("the new organization has {limit} lots of credits already; create another one"),
        )
        .with_metadata("limit", limit.to_string()),
        Refusal::BalanceTooLarge => failed(
            reason::BALANCE_TOO_LARGE,
            "the new organization would have more credits than there may be; create another one",
        ),
        Refusal::CreationCalledOff => failed(
            reason::CREATION_CALLED_OFF,
            "the organization was deleted before it got its plan, which is still yours",
        ),
        _ => failed(
            reason::PLAN_REQUIRED,
            "subscribe to a plan that includes organizations; it then moves to the new one",
        ),
    }
}

/// Where the organization is in its life, or whose it is, does not allow it.
fn organization(refusal: Refusal) -> Problem {
    let failed = |reason, message: &str| precondition(reason, "organization", message);
    match refusal {
        Refusal::OrganizationPending => {
            failed(reason::ORGANIZATION_PENDING, "the organization is not ready yet; try again soon")
        }
        Refusal::OrganizationFounded => failed(
            reason::ORGANIZATION_FOUNDED,
            "the organization has got its plan meanwhile and is active; it can be deleted as any other",
        ),
        Refusal::OrganizationSuspended => Problem::permission_denied(
            reason::ORGANIZATION_SUSPENDED,
            "the organization is suspended; ask whoever runs this deployment",
        ),
        Refusal::OrganizationDeleted => Problem::permission_denied(
            reason::ORGANIZATION_DELETED,
            "the organization was deleted; until its purge its owner can take that back, with a personal token",
        ),
        Refusal::NotDeleted => failed(reason::ORGANIZATION_NOT_DELETED, "the organization was not deleted"),
        Refusal::PurgeBegun => {
            failed(reason::PURGE_BEGUN, "the grace is over; what the organization had is being erased")
        }
        Refusal::AlreadyOwner => failed(reason::ALREADY_OWNER, "you own the organization already"),
        Refusal::AlreadyOwned => {
            failed(reason::HAS_AN_OWNER, "the organization has a living owner, who can transfer it")
        }
        Refusal::NotNominated => {
            failed(reason::NOT_NOMINATED, "nobody is nominated here, or nobody whom you could speak for")
        }
        Refusal::NominationExpired => {
            failed(reason::NOMINATION_EXPIRED, "the nomination's seven days are over; the owner can make it again")
        }
        Refusal::SlugNotConfirmed => Problem::invalid_field("confirm_slug", "is not the organization's slug"),
        Refusal::SlugTaken => Problem::already_exists(
            reason::SLUG_TAKEN,
            "another organization has this slug, or had it; choose another one",
        ),
        _ => Problem::not_found("organization"),
    }
}

/// Somebody is about to leave Bursar, or is not any more.
fn leaving(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::AccountLeaving => {
            Problem::unavailable(reason::ACCOUNT_LEAVING, "the account is being deleted; if it is not, try again soon")
                .with_retry_after(std::time::Duration::from_secs(1))
        }
        Refusal::MemberLeaving => {
            precondition(reason::MEMBER_LEAVING, "member", "this person's account is being deleted")
        }
        _ => Problem::aborted(reason::DEPARTURE_TAKEN_BACK, "this departure is over"),
    }
}

/// A limit stands in the way.
fn exhausted(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::SeatLimitReached { seats, used } => Problem::exhausted(
            reason::SEAT_LIMIT_REACHED,
            format!("{used} of the plan's {seats} seats are taken by members and invitations"),
        )
        .with_metadata("seats", seats.to_string())
        .with_metadata("used", used.to_string()),
        Refusal::TooManyPending { limit, retry_after } => Problem::exhausted(
            reason::TOO_MANY_INVITATIONS,
            format!("{limit} invitations are pending; wait, or take one back"),
        )
        .with_metadata("limit", limit.to_string())
        .with_retry_after(retry_after.to_std()),
        Refusal::TooManyToday { retry_after } => Problem::exhausted(
            reason::TOO_MANY_INVITATIONS,
            "as many invitations as may be were sent within 24 hours; try again later",
        )
        .with_retry_after(retry_after.to_std()),
        Refusal::TooManyOrganizations { retry_after } => Problem::exhausted(
            reason::TOO_MANY_ORGANIZATIONS,
            "as many organizations as may be were created within 24 hours; try again later",
        )
        .with_retry_after(retry_after.to_std()),
        Refusal::TooManyNominations { retry_after } => Problem::exhausted(
            reason::TOO_MANY_NOMINATIONS,
            "as many nominations as may be were made within 24 hours; try again later",
        )
        .with_retry_after(retry_after.to_std()),
        Refusal::TooManyFormerSlugs { limit, retry_after } => Problem::exhausted(
            reason::TOO_MANY_FORMER_SLUGS,
            format!("the slug changed {limit} times, and the first of them was given up too recently; try again later"),
        )
        .with_metadata("limit", limit.to_string())
        .with_retry_after(retry_after.to_std()),
        Refusal::TooManyTransfers => Problem::exhausted(
            reason::TOO_MANY_TRANSFERS,
            "as much content as may be is on its way; try again when some of it has arrived",
        )
        .with_retry_after(std::time::Duration::from_secs(5)),
        Refusal::ContentTooLarge { limit } => {
            Problem::exhausted(reason::CONTENT_TOO_LARGE, format!("one upload has at most {limit} bytes"))
                .with_metadata("limit_bytes", limit.to_string())
        }
        Refusal::QuotaReached { quota } => Problem::exhausted(
            reason::LIBRARY_QUOTA_REACHED,
            format!("the library would take more than its {quota} bytes; delete something first"),
        )
        .with_metadata("quota_bytes", quota.to_string()),
        other => Problem::internal(&other),
    }
}

/// The content is not there, not as it was said to be, or not on its way any more.
fn content(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::KindHasNoContent => {
            precondition(reason::KIND_HAS_NO_CONTENT, "item", "items of this kind carry no content")
        }
        Refusal::ContentSizeMismatch => Problem::invalid_field("size", "is not how many bytes there were")
            .with_reason(reason::CONTENT_SIZE_MISMATCH),
        Refusal::ContentHashMismatch => Problem::invalid_field("sha256", "is not the hash of the bytes that came")
            .with_reason(reason::CONTENT_HASH_MISMATCH),
        Refusal::UploadStalled => {
            let message = "nothing came for too long; begin again";
            Problem::new(Code::DeadlineExceeded, reason::UPLOAD_STALLED, message)
        }
        Refusal::UploadLapsed => Problem::aborted(reason::UPLOAD_LAPSED, "the upload took too long; begin again"),
        Refusal::DownloadStalled => {
            let message = "nothing was taken for too long, or an hour is over; go on from the offset reached";
            Problem::new(Code::DeadlineExceeded, reason::DOWNLOAD_STALLED, message)
        }
        Refusal::ExportStalled => {
            let message = "nothing was taken for too long, or three hours are over; begin again";
            Problem::new(Code::DeadlineExceeded, reason::EXPORT_STALLED, message)
        }
        Refusal::ExportTooLarge { limit } => {
            let message = format!("more than {limit} items have content; export without it, and download it by item");
            precondition(reason::EXPORT_TOO_LARGE, "organization", &message).with_metadata("limit", limit.to_string())
        }
        _ => Problem::not_found("content"),
    }
}

/// The library does not allow it as it is.
fn item(refusal: Refusal) -> Problem {
    let failed = |reason, message: &str| precondition(reason, "item", message);
    match refusal {
        Refusal::ItemHasChildren => failed(
            reason::ITEM_HAS_CHILDREN,
            "the item has others under it; delete them first, or ask for them to be deleted with it",
        ),
        Refusal::ParentNotAllowed => {
            failed(reason::PARENT_NOT_ALLOWED, "an item of this kind does not stand under one of that kind")
        }
        Refusal::KindUnknown => {
            failed(reason::KIND_UNKNOWN, "the deployment has the item's kind no more; it can be read and deleted")
        }
        Refusal::TooManyItems { limit } => {
            let message = format!("one call copies at most {limit} items; take them in parts");
            failed(reason::TOO_MANY_ITEMS, &message).with_metadata("limit", limit.to_string())
        }
        _ => Problem::not_found("item"),
    }
}

/// The invitation, or whose it is, does not allow it.
fn invitation(refusal: Refusal) -> Problem {
    let failed = |reason, message: &str| precondition(reason, "invitation", message);
    match refusal {
        Refusal::InvitationExpired => {
            failed(reason::INVITATION_EXPIRED, "the invitation has expired; ask for a new one")
        }
        Refusal::InvitationRevoked => failed(reason::INVITATION_REVOKED, "the invitation was taken back"),
        Refusal::InvitationSettled => {
            failed(reason::INVITATION_SETTLED, "the invitation was accepted or declined already")
        }
        Refusal::InviterNoLongerAuthorized => failed(
            reason::INVITER_NO_LONGER_AUTHORIZED,
            "whoever invited you may not invite any more; somebody who may has to send the invitation again",
        ),
        Refusal::AlreadyInvited { pending } => Problem::already_exists(
            reason::ALREADY_INVITED,
            "an invitation for this address is pending; send it again instead",
        )
        .with_metadata("invitation_id", pending.to_string()),
        Refusal::EmailNotVerified => {
            Problem::permission_denied(reason::EMAIL_NOT_VERIFIED, "verify your email address first")
        }
        Refusal::InvitationEmailMismatch => Problem::permission_denied(
            reason::INVITATION_EMAIL_MISMATCH,
            "the invitation is for another email address; sign in with that one",
        ),
        _ => Problem::not_found("invitation"),
    }
}

fn precondition(reason: &'static str, subject: &str, message: &str) -> Problem {
    Problem::failed_precondition(reason, message).with_precondition(reason, subject, message)
}

#[cfg(test)]
mod tests;
