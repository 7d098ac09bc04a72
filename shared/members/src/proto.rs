//! Policies as the API says them.

use bursar_proto::organization::v1 as api;
use bursar_rpc::{AdminBilling, BalanceVisibility, UsageVisibility, convert};

use crate::credit_unit::{CreditUnit, UnitWord};
use crate::policy::{
    DeletionGrace, OrganizationCreation, OwnPolicy, PersonalWorkspace, Policy, SecondFactor, Spending, Transfer,
};

/// A policy's value that is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy.{field} has no value that is known here")]
pub struct PolicyError {
    /// The policy's field.
    pub field: &'static str,
}

/// A number of the API as a value; `None` for UNSPECIFIED.
macro_rules! read {
    ($message:expr, $field:ident, $kind:ident, $($number:ident => $value:expr),+) => {
        match api::$kind::try_from($message.$field) {
            $(Ok(api::$kind::$number) => Ok(Some($value)),)+
            Ok(api::$kind::Unspecified) => Ok(None),
            Err(_) => Err(PolicyError { field: stringify!($field) }),
        }
    };
}

fn admin_billing(message: &api::Policy) -> Result<Option<AdminBilling>, PolicyError> {
    read!(message, admin_billing, AdminBilling, Manage => AdminBilling::Manage, View => AdminBilling::View,
        None => AdminBilling::None)
}

fn usage_visibility(message: &api::Policy) -> Result<Option<UsageVisibility>, PolicyError> {
    read!(message, usage_visibility, UsageVisibility, Managers => UsageVisibility::Managers,
        Everyone => UsageVisibility::Everyone, Nobody => UsageVisibility::Nobody)
}

fn balance_visibility(message: &api::Policy) -> Result<Option<BalanceVisibility>, PolicyError> {
    read!(message, balance_visibility, BalanceVisibility, Everyone => BalanceVisibility::Everyone,
        Managers => BalanceVisibility::Managers)
}

fn second_factor(message: &api::Policy) -> Result<Option<SecondFactor>, PolicyError> {
    read!(message, second_factor, SecondFactor, Optional => SecondFactor::Optional, Required => SecondFactor::Required)
}

fn transfer(message: &api::Policy) -> Result<Option<Transfer>, PolicyError> {
    read!(message, transfer, Transfer, Immediate => Transfer::Immediate, NomineeAccepts => Transfer::NomineeAccepts)
}

fn spending(message: &api::Policy) -> Result<Option<Spending>, PolicyError> {
    read!(message, spending, Spending, UsersAndServices => Spending::UsersAndServices,
        Services => Spending::Services)
}

fn personal_workspace(message: &api::Policy) -> Result<Option<PersonalWorkspace>, PolicyError> {
    read!(message, personal_workspace, PersonalWorkspace, On => PersonalWorkspace::On, Off => PersonalWorkspace::Off)
}

fn organization_creation(message: &api::Policy) -> Result<Option<OrganizationCreation>, PolicyError> {
    read!(message, organization_creation, OrganizationCreation, Anyone => OrganizationCreation::Anyone,
        PaidPlan => OrganizationCreation::PaidPlan)
}

fn deletion_grace(message: &api::Policy) -> Result<Option<DeletionGrace>, PolicyError> {
    let unknown = PolicyError { field: "deletion_grace" };
    let span = convert::optional_span(message.deletion_grace).map_err(|_| unknown)?;
    span.map(|span| DeletionGrace::try_from(span).map_err(|_| unknown)).transpose()
}

fn credit_unit(message: &api::Policy) -> Result<Option<CreditUnit>, PolicyError> {
    let read = |word: &str| UnitWord::parse(word).map_err(|_| PolicyError { field: "credit_unit" });
    let of = |unit: &api::CreditUnit| Ok(CreditUnit { singular: read(&unit.singular)?, plural: read(&unit.plural)? });
    message.credit_unit.as_ref().map(of).transpose()
}

impl TryFrom<&api::Policy> for OwnPolicy {
    type Error = PolicyError;

    /// What an organization has set; the deployment's fields are left alone.
    fn try_from(message: &api::Policy) -> Result<Self, PolicyError> {
        Ok(Self {
            admin_billing: admin_billing(message)?,
            usage_visibility: usage_visibility(message)?,
            balance_visibility: balance_visibility(message)?,
            second_factor: second_factor(message)?,
            transfer: transfer(message)?,
        })
    }
}

impl TryFrom<&api::Policy> for Policy {
    type Error = PolicyError;

    /// What holds. A field that says nothing is one that an older program did not know: what it did is the default.
    fn try_from(message: &api::Policy) -> Result<Self, PolicyError> {
        Ok(Self {
            admin_billing: admin_billing(message)?.unwrap_or_default(),
            usage_visibility: usage_visibility(message)?.unwrap_or_default(),
            balance_visibility: balance_visibility(message)?.unwrap_or_default(),
            spending: spending(message)?.unwrap_or_default(),
            personal_workspace: personal_workspace(message)?.unwrap_or_default(),
            second_factor: second_factor(message)?.unwrap_or_default(),
            transfer: transfer(message)?.unwrap_or_default(),
            organization_creation: organization_creation(message)?.unwrap_or_default(),
            deletion_grace: deletion_grace(message)?.unwrap_or_default(),
            credit_unit: credit_unit(message)?.unwrap_or_default(),
        })
    }
}

impl From<OwnPolicy> for api::Policy {
    fn from(own: OwnPolicy) -> Self {
        let admin_billing = own.admin_billing.map_or(api::AdminBilling::Unspecified, |it| match it {
            AdminBilling::Manage => api::AdminBilling::Manage,
            AdminBilling::View => api::AdminBilling::View,
            AdminBilling::None => api::AdminBilling::None,
        });
        let usage_visibility = own.usage_visibility.map_or(api::UsageVisibility::Unspecified, |it| match it {
            UsageVisibility::Managers => api::UsageVisibility::Managers,
            UsageVisibility::Everyone => api::UsageVisibility::Everyone,
            UsageVisibility::Nobody => api::UsageVisibility::Nobody,
        });
        let balance_visibility = own.balance_visibility.map_or(api::BalanceVisibility::Unspecified, |it| match it {
            BalanceVisibility::Everyone => api::BalanceVisibility::Everyone,
            BalanceVisibility::Managers => api::BalanceVisibility::Managers,
        });
        let second_factor = own.second_factor.map_or(api::SecondFactor::Unspecified, |it| match it {
            SecondFactor::Optional => api::SecondFactor::Optional,
            SecondFactor::Required => api::SecondFactor::Required,
        });
        let transfer = own.transfer.map_or(api::Transfer::Unspecified, |it| match it {
            Transfer::Immediate => api::Transfer::Immediate,
            Transfer::NomineeAccepts => api::Transfer::NomineeAccepts,
        });
        Self {
            admin_billing: admin_billing.into(),
            usage_visibility: usage_visibility.into(),
            balance_visibility: balance_visibility.into(),
            second_factor: second_factor.into(),
            transfer: transfer.into(),
            ..Self::default()
        }
    }
}

impl From<Policy> for api::Policy {
    fn from(policy: Policy) -> Self {
        let own = OwnPolicy {
            admin_billing: Some(policy.admin_billing),
            usage_visibility: Some(policy.usage_visibility),
            balance_visibility: Some(policy.balance_visibility),
            second_factor: Some(policy.second_factor),
            transfer: Some(policy.transfer),
        };
        let spending = match policy.spending {
            Spending::UsersAndServices => api::Spending::UsersAndServices,
            Spending::Services => api::Spending::Services,
        };
        let personal_workspace = match policy.personal_workspace {
            PersonalWorkspace::On => api::PersonalWorkspace::On,
            PersonalWorkspace::Off => api::PersonalWorkspace::Off,
        };
        let organization_creation = match policy.organization_creation {
            OrganizationCreation::Anyone => api::OrganizationCreation::Anyone,
            OrganizationCreation::PaidPlan => api::OrganizationCreation::PaidPlan,
        };
        let CreditUnit { singular, plural } = policy.credit_unit;
        Self {
            spending: spending.into(),
            personal_workspace: personal_workspace.into(),
            organization_creation: organization_creation.into(),
            deletion_grace: Some(convert::to_duration(policy.deletion_grace.span())),
            credit_unit: Some(api::CreditUnit { singular: singular.into(), plural: plural.into() }),
            ..own.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_survives_the_api() {
        let admin = [AdminBilling::Manage, AdminBilling::View, AdminBilling::None];
        let usage = [UsageVisibility::Managers, UsageVisibility::Everyone, UsageVisibility::Nobody];
        let balance = [BalanceVisibility::Everyone, BalanceVisibility::Managers];
        for n in 0..3 {
            let policy = Policy {
                admin_billing: admin[n],
                usage_visibility: usage[n],
                balance_visibility: balance[n % 2],
                spending: [Spending::UsersAndServices, Spending::Services][n % 2],
                personal_workspace: [PersonalWorkspace::On, PersonalWorkspace::Off][n % 2],
                second_factor: [SecondFactor::Optional, SecondFactor::Required][n % 2],
                transfer: [Transfer::Immediate, Transfer::NomineeAccepts][n % 2],
                organization_creation: [OrganizationCreation::Anyone, OrganizationCreation::PaidPlan][n % 2],
                deletion_grace: [DeletionGrace::default(), DeletionGrace::NONE][n % 2],
                credit_unit: [CreditUnit::CREDITS, CreditUnit::WORDS][n % 2],
            };
            assert_eq!(Policy::try_from(&api::Policy::from(policy)), Ok(policy));
            let own = OwnPolicy {
                admin_billing: Some(admin[n]),
                second_factor: Some(policy.second_factor),
                transfer: Some(policy.transfer),
                ..OwnPolicy::default()
            };
            assert_eq!(OwnPolicy::try_from(&api::Policy::from(own)), Ok(own));
        }
    }

    #[test]
    fn what_is_unknown_is_no_policy() {
        let unknown = api::Policy { usage_visibility: 77, ..Policy::default().into() };
        assert_eq!(Policy::try_from(&unknown), Err(PolicyError { field: "usage_visibility" }));
        assert_eq!(OwnPolicy::try_from(&unknown), Err(PolicyError { field: "usage_visibility" }));
        let sent = || api::Policy::from(Policy::default());
        let grace = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let unit = |singular: &str| Some(api::CreditUnit { singular: singular.into(), plural: "words".into() });
        let cases = [
            ("second_factor", api::Policy { second_factor: 77, ..sent() }),
            ("transfer", api::Policy { transfer: 77, ..sent() }),
            ("organization_creation", api::Policy { organization_creation: 77, ..sent() }),
            ("deletion_grace", api::Policy { deletion_grace: grace(-1), ..sent() }),
            ("deletion_grace", api::Policy { deletion_grace: grace(3_660 * 86_400 + 1), ..sent() }),
            ("credit_unit", api::Policy { credit_unit: unit(""), ..sent() }),
            ("credit_unit", api::Policy { credit_unit: unit(&"w".repeat(33)), ..sent() }),
        ];
        for (field, unknown) in cases {
            assert_eq!(Policy::try_from(&unknown), Err(PolicyError { field }));
        }
    }

    #[test]
    fn what_is_missing_is_the_default_or_left_to_the_deployment() {
        let strict = Policy { admin_billing: AdminBilling::None, spending: Spending::Services, ..Policy::default() };
        let missing = api::Policy {
            spending: 0,
            usage_visibility: 0,
            second_factor: 0,
            transfer: 0,
            organization_creation: 0,
            deletion_grace: None,
            credit_unit: None,
            ..strict.into()
        };
        assert_eq!(Policy::try_from(&missing), Ok(Policy { spending: Spending::UsersAndServices, ..strict }));
        let own = OwnPolicy::try_from(&missing).unwrap();
        assert_eq!((own.admin_billing, own.usage_visibility), (Some(AdminBilling::None), None));
    }
}
