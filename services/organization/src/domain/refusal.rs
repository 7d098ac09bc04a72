//! What the rules refuse, as facts. What a caller is told about each is decided in `grpc/status.rs`.

use bursar_id::InvitationId;
use bursar_time::Span;

/// Why something is not allowed as things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller is not a member, or there is no such organization: the two look alike.
    #[error("not a member")]
    NotAMember,
    /// The plan does not move: the new organization's account has as many lots of credits as it may have.
    #[error("the new organization has {limit} lots of credits")]
    TooManyLots {
        /// How many there may be.
        limit: u32,
    },
    /// The plan does not move: the new organization would have more credits than an account can hold.
    #[error("the new organization has too many credits")]
    BalanceTooLarge,
    /// The organization's owner has called its creation off while it waited for its plan.
    #[error("the creation was called off")]
    CreationCalledOff,
    /// The organization has got its plan before its creation was called off.
    #[error("the organization has got its plan meanwhile")]
    OrganizationFounded,
    /// The organization waits for its plan, as an operator is told.
    #[error("the organization is not ready yet")]
    OrganizationPending,
    /// Creating an organization takes a paid plan that includes organizations.
    #[error("no paid plan that includes organizations")]
    PlanRequired,
    /// The plan that an organization would be created from waits for an operator.
    #[error("the plan waits for an operator")]
    RenewalHeld,
    /// The month of the plan that an organization would be created from is over, and the next one is not there.
    #[error("the plan's next month is not paid")]
    SubscriptionPastDue,
    /// The caller is a member, and an operator has closed the organization.
    #[error("the organization is suspended")]
    OrganizationSuspended,
    /// The caller is a member, and the organization was deleted.
    #[error("the organization was deleted")]
    OrganizationDeleted,
    /// There is no such organization, as services and operators are told who may know of all.
    #[error("no such organization")]
    OrganizationNotFound,
    /// There is no deletion to take back.
    #[error("not deleted")]
    NotDeleted,
    /// The grace is over: what the organization had is erased.
    #[error("the purge has begun")]
    PurgeBegun,
    /// What was typed to confirm the deletion is not the organization's slug.
    #[error("another slug than the organization's")]
    SlugNotConfirmed,
    /// The organization has had so many slugs that the oldest would have to be freed, too early.
    #[error("{limit} former slugs")]
    TooManyFormerSlugs {
        /// How many there may be.
        limit: u32,
        /// When the oldest may be freed.
        retry_after: Span,
    },
    /// The caller is a member whose role does not allow it.
    #[error("the role does not allow it")]
    RoleNotAllowed,
    /// Members of the organization must have proven a second factor, and the token shows none.
    #[error("no second factor")]
    SecondFactorRequired,
    /// The token acts in another context than the one asked for.
    #[error("the token acts in another context")]
    WrongContext,
    /// The caller's account was deleted; the token just has not expired yet.
    #[error("the account was deleted")]
    AccountDeleted,
    /// The caller's account is about to be deleted.
    #[error("the account is being deleted")]
    AccountLeaving,
    /// An operator has suspended the caller since the call began.
    #[error("the user is suspended")]
    UserSuspended,
    /// The account of the member that is meant is about to be deleted.
    #[error("the member's account is being deleted")]
    MemberLeaving,
    /// An operator has suspended the person that is meant.
    #[error("the member is suspended")]
    MemberSuspended,
    /// The departure that identity asks about is over.
    #[error("the departure was taken back")]
    DepartureTakenBack,
    /// Nobody changes their own role.
    #[error("one's own role")]
    OwnRole,
    /// The owner's place is given up by a transfer only.
    #[error("the owner must transfer first")]
    OwnerMustTransfer,
    /// The caller owns the organization already.
    #[error("owns it already")]
    AlreadyOwner,
    /// Nobody is nominated, or not by whom and not whom it would have to be.
    #[error("not nominated")]
    NotNominated,
    /// The nomination's seven days are over.
    #[error("the nomination has expired")]
    NominationExpired,
    /// The caller has created as many organizations as may be within 24 hours.
    #[error("too many organizations within a day")]
    TooManyOrganizations {
        /// When one more may be created.
        retry_after: Span,
    },
    /// As many nominations as may be were made within 24 hours.
    #[error("too many nominations within a day")]
    TooManyNominations {
        /// When one more may be made.
        retry_after: Span,
    },
    /// The organization has a living owner, so nobody else has to be named.
    #[error("has an owner")]
    AlreadyOwned,
    /// More items have content than one archive takes.
    #[error("more than {limit} contents")]
    ExportTooLarge {
        /// As many may be.
        limit: i64,
    },
    /// Whoever asked for an export took nothing of it for too long, or it took too long altogether.
    #[error("the export stalled")]
    ExportStalled,
    /// The person that is meant is not a member.
    #[error("no such member")]
    MemberNotFound,
    /// Another organization has the slug, or had it.
    #[error("the slug is taken")]
    SlugTaken,
    /// There is no such item, or none that the caller may know of.
    #[error("no such item")]
    ItemNotFound,
    /// The item has others under it, and deleting them was not asked for.
    #[error("the item has children")]
    ItemHasChildren,
    /// The item may not stand under one of that kind.
    #[error("the kinds do not fit")]
    ParentNotAllowed,
    /// The deployment has the item's kind no more.
    #[error("the kind is no more")]
    KindUnknown,
    /// One call would copy more items than one may.
    #[error("more than {limit} items")]
    TooManyItems {
        /// How many one call may copy.
        limit: u32,
    },
    /// The kind's items carry no content.
    #[error("the kind has no content")]
    KindHasNoContent,
    /// The item has no content.
    #[error("no content")]
    ContentNotFound,
    /// The content is larger than one upload may be.
    #[error("more than {limit} bytes")]
    ContentTooLarge {
        /// How many bytes there may be.
        limit: i64,
    },
    /// There were more bytes, or fewer, than was said.
    #[error("another size than was said")]
    ContentSizeMismatch,
    /// The bytes are others than was said.
    #[error("another hash than was said")]
    ContentHashMismatch,
    /// Too much of the owner's, or of everybody's, is on its way.
    #[error("too much is on its way")]
    TooManyTransfers,
    /// Nothing came for too long.
    #[error("the upload stands still")]
    UploadStalled,
    /// Its object does not count as being written any more.
    #[error("the upload took too long")]
    UploadLapsed,
    /// Nothing was taken for too long.
    #[error("the download stands still")]
    DownloadStalled,
    /// The library would take more than its quota.
    #[error("the quota of {quota} bytes is reached")]
    QuotaReached {
        /// How many bytes the library may take.
        quota: i64,
    },
    /// Somebody else changed it meanwhile.
    #[error("changed meanwhile")]
    EtagMismatch,
    /// An invitation for the address is pending.
    #[error("already invited")]
    AlreadyInvited {
        /// That invitation.
        pending: InvitationId,
    },
    /// The person is a member.
    #[error("already a member")]
    AlreadyAMember,
    /// The plan has no free seat.
    #[error("{used} of {seats} seats are taken")]
    SeatLimitReached {
        /// Seats that the plan has.
        seats: u32,
        /// Seats that are taken.
        used: u32,
    },
    /// The organization has as many pending invitations as it may.
    #[error("too many pending invitations")]
    TooManyPending {
        /// How many there may be.
        limit: u32,
        /// When the first of them is not pending any more.
        retry_after: Span,
    },
    /// As many invitations as may be were sent within 24 hours: by the organization, by the caller, to the address, or from
    /// where the call comes. Which of these is not told, or an address could be asked how often others invite it.
    #[error("too many invitations within a day")]
    TooManyToday {
        /// When one more may be sent, as far as is known.
        retry_after: Span,
    },
    /// No invitation has this id or token, or none that the caller may know of.
    #[error("no such invitation")]
    InvitationNotFound,
    /// The invitation's deadline has passed.
    #[error("the invitation has expired")]
    InvitationExpired,
    /// The organization took the invitation back.
    #[error("the invitation was revoked")]
    InvitationRevoked,
    /// The invitation was accepted or declined.
    #[error("the invitation is settled")]
    InvitationSettled,
    /// An invitation as Admin by somebody who may not invite any more.
    #[error("the inviter may not invite any more")]
    InviterNoLongerAuthorized,
    /// The caller's address is not proven.
    #[error("the email address is not verified")]
    EmailNotVerified,
    /// The invitation is for another address.
    #[error("the invitation is for another address")]
    InvitationEmailMismatch,
    /// No such project in the token's context.
    #[error("no such project")]
    ProjectNotFound,
    /// In this deployment there are no projects outside of organizations.
    #[error("there are no personal workspaces")]
    OrganizationRequired,
    /// The organization has no picture.
    #[error("no picture")]
    NoAvatar,
    /// A personal project has nobody else to be given to.
    #[error("a personal project")]
    PersonalProject,
}
