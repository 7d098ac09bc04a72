//! The names of the event types: what `Event.type` says and `WatchRequest.types` asks for.

use crate::bursar::event::v1::event::Payload;

/// From organization: an organization was created.
pub const ORGANIZATION_CREATED: &str = "organization.created";
/// From organization: its name or slug changed.
pub const ORGANIZATION_UPDATED: &str = "organization.updated";
/// From organization: somebody joined, left, was removed or changed role.
pub const MEMBERSHIP_CHANGED: &str = "membership.changed";
/// From identity: a display name is known, or changed.
pub const USER_UPDATED: &str = "user.updated";
/// From identity: an account was deleted.
pub const USER_DELETED: &str = "user.deleted";
/// From billing: a subscription began, changed or ended.
pub const SUBSCRIPTION_CHANGED: &str = "subscription.changed";

/// From identity and billing: somebody did something, or was refused what only few may do.
pub const AUDIT_RECORDED: &str = "audit.recorded";

/// Every name.
pub const ALL: &[&str] = &[
    ORGANIZATION_CREATED,
    ORGANIZATION_UPDATED,
    MEMBERSHIP_CHANGED,
    USER_UPDATED,
    USER_DELETED,
    SUBSCRIPTION_CHANGED,
    AUDIT_RECORDED,
];

impl Payload {
    /// The name of this payload's type, as `Event.type` says it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::OrganizationCreated(_) => ORGANIZATION_CREATED,
            Self::OrganizationUpdated(_) => ORGANIZATION_UPDATED,
            Self::MembershipChanged(_) => MEMBERSHIP_CHANGED,
            Self::UserUpdated(_) => USER_UPDATED,
            Self::UserDeleted(_) => USER_DELETED,
            Self::SubscriptionChanged(_) => SUBSCRIPTION_CHANGED,
            Self::AuditRecorded(_) => AUDIT_RECORDED,
        }
    }
}
