//! Policies: what an organization may decide for itself, what the deployment decides for all (product.md, "Where the
//! three guides disagree").

use bursar_id::{OwnerId, Role};
use bursar_rpc::access::permits;
use bursar_rpc::{AccessPolicy, AdminBilling, BalanceVisibility, Permission, UsageVisibility};
use serde::{Deserialize, Serialize};

/// Who may spend credits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Spending {
    /// The product's services, and users with their own tokens.
    #[default]
    UsersAndServices,
    /// The product's services only: a user's own token may neither charge nor hold.
    Services,
}

/// Whether people work and spend outside of organizations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PersonalWorkspace {
    /// Everybody has projects and credits of their own.
    #[default]
    On,
    /// Nobody has.
    Off,
}

/// The policies that hold for somebody: for an organization, its own where it has set them. Also the deployment's own,
/// which hold for whoever has set none; the default is the deployment's when nothing is configured, and a field's what an
/// older program meant, which did not know the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// What Admins may do about billing.
    pub admin_billing: AdminBilling,
    /// Who sees what each member used, and the ledger.
    pub usage_visibility: UsageVisibility,
    /// Who sees the balance, in whatever answer it stands.
    pub balance_visibility: BalanceVisibility,
    /// Who may spend: the deployment's alone.
    pub spending: Spending,
    /// Whether there is anything outside of organizations: the deployment's alone.
    pub personal_workspace: PersonalWorkspace,
}

impl Policy {
    /// Whether an owner may have projects and credits: an organization always, a person where there are personal
    /// workspaces.
    pub fn allows_workspace(&self, owner: OwnerId) -> bool {
        owner.organization().is_some() || self.personal_workspace == PersonalWorkspace::On
    }

    /// What the table of roles depends on.
    pub fn access(&self) -> AccessPolicy {
        AccessPolicy {
            admin_billing: self.admin_billing,
            usage_visibility: self.usage_visibility,
            balance_visibility: self.balance_visibility,
        }
    }

    /// Whether a member with this role may do what demands `permission`.
    pub fn permits(&self, role: Role, permission: Permission) -> bool {
        permits(role, permission, &self.access())
    }
}

/// The policies that an organization has set itself; `None` follows the deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnPolicy {
    /// What Admins may do about billing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_billing: Option<AdminBilling>,
    /// Who sees what each member used, and the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_visibility: Option<UsageVisibility>,
    /// Who sees the balance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_visibility: Option<BalanceVisibility>,
}

impl OwnPolicy {
    /// What holds for an organization that has set this, in a deployment with these policies.
    pub fn over(&self, deployment: &Policy) -> Policy {
        Policy {
            admin_billing: self.admin_billing.unwrap_or(deployment.admin_billing),
            usage_visibility: self.usage_visibility.unwrap_or(deployment.usage_visibility),
            balance_visibility: self.balance_visibility.unwrap_or(deployment.balance_visibility),
            spending: deployment.spending,
            personal_workspace: deployment.personal_workspace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_follows_the_deployment_where_it_has_set_nothing() {
        let deployment = Policy {
            admin_billing: AdminBilling::None,
            usage_visibility: UsageVisibility::Nobody,
            balance_visibility: BalanceVisibility::Managers,
            spending: Spending::Services,
            personal_workspace: PersonalWorkspace::Off,
        };
        assert_eq!(OwnPolicy::default().over(&deployment), deployment);
        let own = OwnPolicy { admin_billing: Some(AdminBilling::View), ..OwnPolicy::default() };
        assert_eq!(own.over(&deployment), Policy { admin_billing: AdminBilling::View, ..deployment });
    }

    #[test]
    fn what_is_stored_is_read_back_and_its_words_are_the_documented_ones() {
        let text = r#"{"admin_billing":"MANAGE","usage_visibility":"MANAGERS","balance_visibility":"EVERYONE","spending":"USERS_AND_SERVICES","personal_workspace":"ON"}"#;
        assert_eq!(serde_json::to_string(&Policy::default()).unwrap(), text);
        assert_eq!(serde_json::from_str::<Policy>(text).unwrap(), Policy::default());
        assert_eq!(serde_json::to_string(&OwnPolicy::default()).unwrap(), "{}");
        let own = OwnPolicy { usage_visibility: Some(UsageVisibility::Nobody), ..OwnPolicy::default() };
        let text = r#"{"usage_visibility":"NOBODY"}"#;
        assert_eq!((serde_json::to_string(&own).unwrap().as_str(), serde_json::from_str(text).unwrap()), (text, own));
    }

    #[test]
    fn what_an_older_program_stored_has_the_default_for_what_it_did_not_know() {
        let old = r#"{"admin_billing":"NONE","usage_visibility":"NOBODY"}"#;
        let read = Policy {
            admin_billing: AdminBilling::None,
            usage_visibility: UsageVisibility::Nobody,
            ..Policy::default()
        };
        assert_eq!(serde_json::from_str::<Policy>(old).unwrap(), read);
        let newer = r#"{"admin_billing":"NONE","usage_visibility":"NOBODY","of_tomorrow":"YES"}"#;
        assert_eq!(serde_json::from_str::<Policy>(newer).unwrap(), read);
        serde_json::from_str::<Policy>(r#"{"spending":"NOBODY"}"#).unwrap_err();
    }

    #[test]
    fn without_personal_workspaces_only_organizations_have_any() {
        let (person, team) = (
            OwnerId::User(bursar_id::UserId::from_parts(1, [1; 10])),
            OwnerId::Organization(bursar_id::OrganizationId::from_parts(1, [1; 10])),
        );
        let off = Policy { personal_workspace: PersonalWorkspace::Off, ..Policy::default() };
        assert!(Policy::default().allows_workspace(person) && Policy::default().allows_workspace(team));
        assert!(!off.allows_workspace(person) && off.allows_workspace(team));
    }

    #[test]
    fn permissions_follow_the_policy() {
        let policy = Policy { balance_visibility: BalanceVisibility::Managers, ..Policy::default() };
        assert!(policy.permits(Role::Admin, Permission::ViewBalance));
        assert!(!policy.permits(Role::Member, Permission::ViewBalance));
    }
}
