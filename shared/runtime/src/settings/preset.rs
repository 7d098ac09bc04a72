//! Presets: what sort of product the deployment is for. Each is a set of defaults, which every setting still overrides.

use bursar_members::{
    AdminBilling, CreditUnit, DeletionGrace, OrganizationCreation, PersonalWorkspace, Policy, UsageVisibility,
};
use serde::{Deserialize, Serialize};

/// A sort of product, by the policies that its users are told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// None in particular: the default of every policy.
    #[default]
    Standard,
    /// A studio whose teams have one owner for everything that costs: Admins neither see nor manage billing, a team begins
    /// with a paid plan, and what is deleted is gone at once.
    Flik,
    /// A workspace that belongs to teams alone: nobody has projects or credits outside of an organization, and what is
    /// deleted is gone at once.
    Flexsite,
    /// A team of AI employees, paid by the word: what each person used is nobody else's to see, and what is deleted is gone
    /// at once.
    Employees,
}

impl Preset {
    /// Its name on the command line and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flik => "flik",
            Self::Flexsite => "flexsite",
            Self::Employees => "employees",
        }
    }

    /// The deployment's policies where the settings say nothing else.
    pub fn policies(self) -> Policy {
        let standard = Policy::default();
        match self {
            Self::Standard => standard,
            Self::Flik => Policy {
                admin_billing: AdminBilling::None,
                organization_creation: OrganizationCreation::PaidPlan,
                deletion_grace: DeletionGrace::NONE,
                ..standard
            },
            Self::Flexsite => {
                Policy { personal_workspace: PersonalWorkspace::Off, deletion_grace: DeletionGrace::NONE, ..standard }
            }
            Self::Employees => Policy {
                usage_visibility: UsageVisibility::Nobody,
                deletion_grace: DeletionGrace::NONE,
                credit_unit: CreditUnit::WORDS,
                ..standard
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn a_preset_has_one_name_wherever_it_is_spelled() {
        for preset in Preset::value_variants() {
            let on_the_command_line = preset.to_possible_value().map(|value| value.get_name().to_owned());
            assert_eq!(on_the_command_line.as_deref(), Some(preset.name()));
            assert_eq!(serde_json::to_value(preset).ok().as_ref().and_then(|it| it.as_str()), Some(preset.name()));
        }
    }
}
