//! Policies: what an organization may decide for itself, what the deployment decides for all (product.md, "Where the
//! three guides disagree").

use bursar_id::{OwnerId, Role};
use bursar_rpc::access::permits;
use bursar_rpc::{AccessPolicy, AdminBilling, AuthMethods, BalanceVisibility, Permission, UsageVisibility, UserCaller};
use bursar_time::Span;
use serde::{Deserialize, Serialize};

use crate::credit_unit::CreditUnit;

/// Whether members must have proven a second factor to act in an organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecondFactor {
    /// A password alone will do.
    #[default]
    Optional,
    /// Whose branch shows none gets no token for the organization, and does nothing there by one that still lives. API
    /// keys are exempt.
    Required,
}

/// How an organization gets another owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Transfer {
    /// The owner names a member, who owns it at once.
    #[default]
    Immediate,
    /// The owner names a member, who owns it on accepting within seven days.
    NomineeAccepts,
}

/// Who may create organizations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrganizationCreation {
    /// Everybody with a proven address.
    #[default]
    Anyone,
    /// Whose own plan includes organizations; the plan moves to the new one.
    PaidPlan,
}

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

/// How long a deleted organization can be had back: from nothing, when it is purged at once, to 3,660 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Span", into = "Span")]
pub struct DeletionGrace(Span);

/// A grace that nobody could wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must not be longer than {}", DeletionGrace::LONGEST)]
pub struct GraceTooLong;

impl DeletionGrace {
    /// None: what is deleted is purged at once.
    pub const NONE: Self = Self(Span::ZERO);
    /// The longest.
    pub const LONGEST: Span = Span::from_days(3_660);

    /// How long it is.
    pub const fn span(self) -> Span {
        self.0
    }
}

impl Default for DeletionGrace {
    fn default() -> Self {
        Self(Span::from_days(7))
    }
}

impl TryFrom<Span> for DeletionGrace {
    type Error = GraceTooLong;
    fn try_from(span: Span) -> Result<Self, GraceTooLong> {
        if span > Self::LONGEST { Err(GraceTooLong) } else { Ok(Self(span)) }
    }
}

impl From<DeletionGrace> for Span {
    fn from(grace: DeletionGrace) -> Self {
        grace.0
    }
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
    /// Whether members must have proven a second factor.
    pub second_factor: SecondFactor,
    /// How it gets another owner.
    pub transfer: Transfer,
    /// Who may spend: the deployment's alone.
    pub spending: Spending,
    /// Whether there is anything outside of organizations: the deployment's alone.
    pub personal_workspace: PersonalWorkspace,
    /// Who may create organizations: the deployment's alone.
    pub organization_creation: OrganizationCreation,
    /// How long a deleted organization can be had back: the deployment's alone.
    pub deletion_grace: DeletionGrace,
    /// What a credit is called: the deployment's alone.
    pub credit_unit: CreditUnit,
}

impl Policy {
    /// Whether a user's token may act in an organization with these policies, as far as what it shows of its user goes: a
    /// second factor where one is required. A key was made by somebody who had one, and an operator has proven something
    /// else.
    pub fn admits(&self, caller: &UserCaller) -> bool {
        caller.key.is_some() || caller.operator.is_some() || self.admits_methods(caller.methods)
    }

    /// The same for a branch of a session whose user proved who it is by these means.
    pub fn admits_methods(&self, methods: AuthMethods) -> bool {
        match self.second_factor {
            SecondFactor::Optional => true,
            SecondFactor::Required => methods.has_second_factor(),
        }
    }

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
    /// Whether members must have proven a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactor>,
    /// How it gets another owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
}

impl OwnPolicy {
    /// What holds for an organization that has set this, in a deployment with these policies.
    pub fn over(&self, deployment: &Policy) -> Policy {
        Policy {
            admin_billing: self.admin_billing.unwrap_or(deployment.admin_billing),
            usage_visibility: self.usage_visibility.unwrap_or(deployment.usage_visibility),
            balance_visibility: self.balance_visibility.unwrap_or(deployment.balance_visibility),
            second_factor: self.second_factor.unwrap_or(deployment.second_factor),
            transfer: self.transfer.unwrap_or(deployment.transfer),
            ..*deployment
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
            second_factor: SecondFactor::Required,
            transfer: Transfer::NomineeAccepts,
            spending: Spending::Services,
            personal_workspace: PersonalWorkspace::Off,
            organization_creation: OrganizationCreation::PaidPlan,
            deletion_grace: DeletionGrace::NONE,
            credit_unit: CreditUnit::WORDS,
        };
        assert_eq!(OwnPolicy::default().over(&deployment), deployment);
        let own = OwnPolicy { admin_billing: Some(AdminBilling::View), ..OwnPolicy::default() };
        assert_eq!(own.over(&deployment), Policy { admin_billing: AdminBilling::View, ..deployment });
        let own = OwnPolicy {
            second_factor: Some(SecondFactor::Optional),
            transfer: Some(Transfer::Immediate),
            ..OwnPolicy::default()
        };
        let (second_factor, transfer) = (SecondFactor::Optional, Transfer::Immediate);
        assert_eq!(own.over(&deployment), Policy { second_factor, transfer, ..deployment });
    }

    #[test]
    fn what_is_stored_is_read_back_and_its_words_are_the_documented_ones() {
        let text = concat!(
            r#"{"admin_billing":"MANAGE","usage_visibility":"MANAGERS","balance_visibility":"EVERYONE","#,
            r#""second_factor":"OPTIONAL","transfer":"IMMEDIATE","spending":"USERS_AND_SERVICES","#,
            r#""personal_workspace":"ON","organization_creation":"ANYONE","deletion_grace":"7d","#,
            r#""credit_unit":{"singular":"credit","plural":"credits"}}"#
        );
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
        let strict = r#"{"transfer":"NOMINEE_ACCEPTS","second_factor":"REQUIRED","organization_creation":"PAID_PLAN"}"#;
        let read = Policy {
            second_factor: SecondFactor::Required,
            transfer: Transfer::NomineeAccepts,
            organization_creation: OrganizationCreation::PaidPlan,
            ..Policy::default()
        };
        assert_eq!(serde_json::from_str::<Policy>(strict).unwrap(), read);
    }

    #[test]
    fn a_grace_is_none_or_as_long_as_somebody_could_wait() {
        let read = |text: &str| serde_json::from_value::<DeletionGrace>(text.into()).map(DeletionGrace::span).ok();
        assert_eq!(read("0s"), Some(Span::ZERO));
        assert_eq!(read("3660d"), Some(Span::from_days(3_660)));
        for text in ["3661d", "3660d 1ms", "-1d", "soon"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    /// A policy is read with every call: it is copied, not shared.
    #[test]
    fn a_policy_stays_small() {
        assert!(size_of::<Policy>() <= 96, "{} bytes", size_of::<Policy>());
    }

    #[test]
    fn a_required_second_factor_is_shown_by_the_means() {
        use bursar_rpc::AuthMethod;
        let required = Policy { second_factor: SecondFactor::Required, ..Policy::default() };
        let cases = [
            (AuthMethods::default(), false),
            (AuthMethods::PASSWORD, false),
            (AuthMethods::PASSWORD.and(AuthMethod::Provider), false),
            (AuthMethods::PASSWORD.and(AuthMethod::OneTimePassword), true),
            (AuthMethods::default().and(AuthMethod::Passkey), true),
        ];
        for (methods, admitted) in cases {
            assert_eq!(required.admits_methods(methods), admitted, "{methods:?}");
            assert!(Policy::default().admits_methods(methods), "{methods:?}");
        }
    }

    /// A user's token for an organization, of a session that was begun with a password alone.
    fn caller() -> UserCaller {
        UserCaller {
            context: OwnerId::Organization(bursar_id::OrganizationId::from_parts(1, [1; 10])),
            role: Some(Role::Member),
            membership_version: 1,
            membership_incarnation: 1,
            methods: AuthMethods::PASSWORD,
            permission: Permission::UseWorkspace,
            ..UserCaller::for_test(bursar_id::UserId::from_parts(1, [1; 10]))
        }
    }

    #[test]
    fn a_required_second_factor_is_not_asked_of_a_key_or_an_operator() {
        use bursar_rpc::{AuthMethod, KeyGrant};
        let alone = caller();
        let id = bursar_id::ApiKeyId::from_parts(1, [1; 10]);
        let key = KeyGrant { id, permissions: [Permission::UseWorkspace].into() };
        let proven = AuthMethods::PASSWORD.and(AuthMethod::OneTimePassword);
        let cases = [
            ("a password alone", alone.clone(), false),
            ("a second factor", UserCaller { methods: proven, ..alone.clone() }, true),
            ("a key", UserCaller { key: Some(key), ..alone.clone() }, true),
            ("an operator", UserCaller { operator: Some(bursar_id::ServiceAccountId::OPERATOR), ..alone }, true),
        ];
        let required = Policy { second_factor: SecondFactor::Required, ..Policy::default() };
        for (name, caller, admitted) in cases {
            assert_eq!(required.admits(&caller), admitted, "{name}");
            assert!(Policy::default().admits(&caller), "{name}");
        }
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
