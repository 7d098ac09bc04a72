//! The names of the event types: what `Event.type` says and `WatchRequest.types` asks for.

use crate::bursar::event::v1::event::Payload;

/// From organization: an organization was created.
pub const ORGANIZATION_CREATED: &str = "organization.created";
/// From organization: its name or slug changed.
pub const ORGANIZATION_UPDATED: &str = "organization.updated";
/// From organization: what an organization has decided for itself changed.
pub const ORGANIZATION_POLICY_CHANGED: &str = "organization.policy_changed";
/// From organization: an organization was suspended or deleted, or is used again.
pub const ORGANIZATION_STANDING_CHANGED: &str = "organization.standing_changed";
/// From organization: the deployment's policies are known, or changed.
pub const DEPLOYMENT_POLICY_CHANGED: &str = "deployment.policy_changed";
/// From organization: somebody joined, left, was removed or changed role.
pub const MEMBERSHIP_CHANGED: &str = "membership.changed";
/// From organization: projects were made or deleted.
pub const PROJECTS_CHANGED: &str = "projects.changed";
/// From identity: a display name is known, or changed.
pub const USER_UPDATED: &str = "user.updated";
/// From identity: an account was deleted.
pub const USER_DELETED: &str = "user.deleted";
/// From identity: an account that was about to be deleted lives on.
pub const USER_STAYING: &str = "user.staying";
/// From identity: a user was suspended, or is no longer.
pub const USER_STANDING_CHANGED: &str = "user.standing_changed";
/// From billing: a subscription began, changed or ended.
pub const SUBSCRIPTION_CHANGED: &str = "subscription.changed";
/// From billing: so much of a limit is used that somebody is to be told.
pub const LIMIT_ALERT: &str = "limit.alert";
/// From billing: so much of a period's allowance is used that somebody is to be told.
pub const ALLOWANCE_ALERT: &str = "allowance.alert";
/// From billing: an account's automatic top-up was switched off because it could not go on.
pub const TOP_UP_STOPPED: &str = "top_up.stopped";
/// From billing: an invoice or a credit note was issued.
pub const INVOICE_ISSUED: &str = "invoice.issued";

/// From identity and billing: somebody did something, or was refused what only few may do.
pub const AUDIT_RECORDED: &str = "audit.recorded";

/// Every name.
pub const ALL: &[&str] = &[
    ORGANIZATION_CREATED,
    ORGANIZATION_UPDATED,
    ORGANIZATION_POLICY_CHANGED,
    ORGANIZATION_STANDING_CHANGED,
    DEPLOYMENT_POLICY_CHANGED,
    MEMBERSHIP_CHANGED,
    PROJECTS_CHANGED,
    USER_UPDATED,
    USER_DELETED,
    USER_STAYING,
    USER_STANDING_CHANGED,
    SUBSCRIPTION_CHANGED,
    LIMIT_ALERT,
    ALLOWANCE_ALERT,
    TOP_UP_STOPPED,
    INVOICE_ISSUED,
    AUDIT_RECORDED,
];

impl Payload {
    /// The name of this payload's type, as `Event.type` says it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::OrganizationCreated(_) => ORGANIZATION_CREATED,
            Self::OrganizationUpdated(_) => ORGANIZATION_UPDATED,
            Self::OrganizationPolicyChanged(_) => ORGANIZATION_POLICY_CHANGED,
            Self::DeploymentPolicyChanged(_) => DEPLOYMENT_POLICY_CHANGED,
            Self::MembershipChanged(_) => MEMBERSHIP_CHANGED,
            Self::ProjectsChanged(_) => PROJECTS_CHANGED,
            Self::UserUpdated(_) => USER_UPDATED,
            Self::UserDeleted(_) => USER_DELETED,
            Self::UserStaying(_) => USER_STAYING,
            Self::SubscriptionChanged(_) => SUBSCRIPTION_CHANGED,
            Self::LimitAlert(_) => LIMIT_ALERT,
            Self::AllowanceAlert(_) => ALLOWANCE_ALERT,
            Self::TopUpStopped(_) => TOP_UP_STOPPED,
            Self::InvoiceIssued(_) => INVOICE_ISSUED,
            Self::AuditRecorded(_) => AUDIT_RECORDED,
            Self::OrganizationStandingChanged(_) => ORGANIZATION_STANDING_CHANGED,
            Self::UserStandingChanged(_) => USER_STANDING_CHANGED,
        }
    }

    /// To whom the event belongs, as `Event.owner` says it; empty for what concerns the whole deployment.
    pub fn owner(&self) -> &str {
        match self {
            Self::OrganizationCreated(it) => &it.organization_id,
            Self::OrganizationUpdated(it) => &it.organization_id,
            Self::OrganizationPolicyChanged(it) => &it.organization_id,
            Self::DeploymentPolicyChanged(_) => "",
            Self::MembershipChanged(it) => &it.organization_id,
            Self::ProjectsChanged(it) => &it.owner,
            Self::UserUpdated(it) => &it.user_id,
            Self::UserDeleted(it) => &it.user_id,
            Self::UserStaying(it) => &it.user_id,
            Self::SubscriptionChanged(it) => &it.owner,
            Self::LimitAlert(it) => &it.owner,
            Self::AllowanceAlert(it) => &it.owner,
            Self::TopUpStopped(it) => &it.owner,
            Self::InvoiceIssued(it) => &it.owner,
            Self::AuditRecorded(it) => &it.owner,
            Self::OrganizationStandingChanged(it) => &it.organization_id,
            Self::UserStandingChanged(it) => &it.user_id,
        }
    }
}
