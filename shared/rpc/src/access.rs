//! What each role may do in an organization: the one table of roles × permissions (product.md, "Roles").
//!
//! Whether somebody *has* a role is decided by the service that owns or projects memberships; here is
//! only what follows from it.

use bursar_id::Role;
use bursar_proto::access::v1::Permission;
use serde::{Deserialize, Serialize};

/// What an organization's Admins may do about billing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AdminBilling {
    /// Nothing.
    None,
    /// See plan, packs, invoices and limits.
    View,
    /// See and change them.
    #[default]
    Manage,
}

/// Who sees what each member of an organization used, and its ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum UsageVisibility {
    /// Nobody, the owner included: there are only totals.
    Nobody,
    /// Owner and Admins.
    #[default]
    Managers,
    /// Every member.
    Everyone,
}

/// Who sees an organization's balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum BalanceVisibility {
    /// Every member.
    #[default]
    Everyone,
    /// Owner and Admins.
    Managers,
}

/// The policies on which the table depends; the default is the deployment's when nothing is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    /// What Admins may do about billing.
    pub admin_billing: AdminBilling,
    /// Who sees other members' usage and the ledger.
    pub usage_visibility: UsageVisibility,
    /// Who sees the balance.
    pub balance_visibility: BalanceVisibility,
}

/// Whether a member with this role may do what an RPC demands.
///
/// `Unspecified` and `Self` demand nothing of a role, so everybody may; `Operate` is for operators'
/// service accounts, so no role grants it.
pub fn permits(role: Role, permission: Permission, policy: &AccessPolicy) -> bool {
    match permission {
        Permission::Unspecified | Permission::Self_ | Permission::UseWorkspace => true,
        Permission::ManageMembers | Permission::ManageOrganization | Permission::ViewAudit => role >= Role::Admin,
        Permission::ViewBilling => match role {
            Role::Owner => true,
            Role::Admin => policy.admin_billing != AdminBilling::None,
            Role::Member => false,
        },
        Permission::ManageBilling => match role {
            Role::Owner => true,
            Role::Admin => policy.admin_billing == AdminBilling::Manage,
            Role::Member => false,
        },
        Permission::ViewUsage => match policy.usage_visibility {
            UsageVisibility::Nobody => false,
            UsageVisibility::Managers => role >= Role::Admin,
            UsageVisibility::Everyone => true,
        },
        Permission::ViewBalance => match policy.balance_visibility {
            BalanceVisibility::Everyone => true,
            BalanceVisibility::Managers => role >= Role::Admin,
        },
        Permission::Own => role == Role::Owner,
        Permission::Operate => false,
    }
}

/// Whether only few in an organization may do this, so that a refusal is of interest, whatever its reason. Of a look at billing,
/// which many have, one by role ([`crate::problem::reason::ROLE_NOT_ALLOWED`]) is.
pub(crate) fn is_privileged(permission: Permission) -> bool {
    match permission {
        Permission::ManageMembers
        | Permission::ManageOrganization
        | Permission::ManageBilling
        | Permission::ViewAudit
        | Permission::Own
        | Permission::Operate => true,
        Permission::Unspecified
        | Permission::Self_
        | Permission::UseWorkspace
        | Permission::ViewBilling
        | Permission::ViewUsage
        | Permission::ViewBalance => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Product.md's table: permission, then Owner, Admin (under NONE, VIEW, MANAGE), Member.
    const TABLE: [(Permission, bool, [bool; 3], bool); 10] = {
        const ALL: [bool; 3] = [true, true, true];
        [
            (Permission::Unspecified, true, ALL, true),
            (Permission::Self_, true, ALL, true),
            (Permission::UseWorkspace, true, ALL, true),
            (Permission::ManageMembers, true, ALL, false),
            (Permission::ManageOrganization, true, ALL, false),
            (Permission::ViewAudit, true, ALL, false),
            (Permission::ViewBilling, true, [false, true, true], false),
            (Permission::ManageBilling, true, [false, false, true], false),
            (Permission::Own, true, [false, false, false], false),
            (Permission::Operate, false, [false, false, false], false),
        ]
    };

    #[test]
    fn roles_may_what_the_table_says() {
        let policies = [AdminBilling::None, AdminBilling::View, AdminBilling::Manage];
        for (permission, owner, admin, member) in TABLE {
            for (admin_billing, admin) in policies.into_iter().zip(admin) {
                let policy = AccessPolicy { admin_billing, ..AccessPolicy::default() };
                for (role, may) in [(Role::Owner, owner), (Role::Admin, admin), (Role::Member, member)] {
                    assert_eq!(
                        permits(role, permission, &policy),
                        may,
                        "{role} {permission:?} with admin_billing {admin_billing:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn usage_is_seen_by_whom_the_policy_says() {
        let table = [
            (UsageVisibility::Nobody, [false, false, false]),
            (UsageVisibility::Managers, [true, true, false]),
            (UsageVisibility::Everyone, [true, true, true]),
        ];
        for (usage_visibility, expected) in table {
            let policy = AccessPolicy { usage_visibility, ..AccessPolicy::default() };
            let may = Role::ALL.map(|role| permits(role, Permission::ViewUsage, &policy));
            assert_eq!(may, expected, "{usage_visibility:?}: Owner, Admin, Member");
        }
    }

    #[test]
    fn the_balance_is_seen_by_whom_the_policy_says() {
        let table =
            [(BalanceVisibility::Everyone, [true, true, true]), (BalanceVisibility::Managers, [true, true, false])];
        for (balance_visibility, expected) in table {
            let policy = AccessPolicy { balance_visibility, ..AccessPolicy::default() };
            let may = Role::ALL.map(|role| permits(role, Permission::ViewBalance, &policy));
            assert_eq!(may, expected, "{balance_visibility:?}: Owner, Admin, Member");
        }
    }

    #[test]
    fn nobody_outranked_may_more() {
        for (permission, ..) in TABLE {
            let policy = AccessPolicy::default();
            let [owner, admin, member] = Role::ALL.map(|role| permits(role, permission, &policy));
            assert!(owner >= admin && admin >= member, "{permission:?}");
        }
        assert_eq!(AccessPolicy::default().admin_billing, AdminBilling::Manage);
    }
}
