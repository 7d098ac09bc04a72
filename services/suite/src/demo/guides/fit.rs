//! Whether a suite runs with a guide's preset: its policies, as an organization that has set none of its own has them.

use anyhow::ensure;
use bursar_proto::organization::v1::{GetPolicyRequest, Policy};
use bursar_runtime::Preset;

use crate::demo::{
    cast::Actor,
    stage::Stage,
    wire::{answer, part},
};

/// Looks at the policies of the organization in which `actor` acts. A suite with others cannot play this guide, and the
/// error says what to start it with.
pub(super) async fn runs_with(stage: &mut Stage, actor: &Actor, preset: Preset) -> anyhow::Result<()> {
    stage
        .step("the suite runs with this product's policies", "OrganizationService/GetPolicy", async {
            let request = GetPolicyRequest { organization_id: actor.owner.clone() };
            let answer = answer(actor.wire.organizations().get_policy(request).await)?;
            let policy = part(answer.policy, "policy")?;
            let differences = differences(&policy, preset);
            ensure!(
                differences.is_empty(),
                "this suite has {}; start it with --preset {} and without policies.* of its own",
                differences.join(", "),
                preset.name()
            );
            Ok(((), format!("--preset {}", preset.name())))
        })
        .await
}

/// A policy, and how it is shown.
type Field = (&'static str, fn(&Policy) -> String);

const FIELDS: [Field; 10] = [
    ("admin_billing", |it| it.admin_billing().as_str_name().to_owned()),
    ("usage_visibility", |it| it.usage_visibility().as_str_name().to_owned()),
    ("balance_visibility", |it| it.balance_visibility().as_str_name().to_owned()),
    ("second_factor", |it| it.second_factor().as_str_name().to_owned()),
    ("transfer", |it| it.transfer().as_str_name().to_owned()),
    ("spending", |it| it.spending().as_str_name().to_owned()),
    ("personal_workspace", |it| it.personal_workspace().as_str_name().to_owned()),
    ("organization_creation", |it| it.organization_creation().as_str_name().to_owned()),
    ("deletion_grace", |it| format!("{} s", it.deletion_grace.unwrap_or_default().seconds)),
    ("credit_unit", |it| it.credit_unit.as_ref().map(|unit| unit.plural.clone()).unwrap_or_default()),
];

/// Each policy that is not as the preset says. They are compared as a whole first: what has no name here counts, too.
fn differences(is: &Policy, preset: Preset) -> Vec<String> {
    let wanted = Policy::from(preset.policies());
    if *is == wanted {
        return Vec::new();
    }
    let other = |(name, field): &Field| (field(is) != field(&wanted)).then(|| format!("{name} = {}", field(is)));
    let named: Vec<String> = FIELDS.iter().filter_map(other).collect();
    if named.is_empty() { vec![format!("{is:?}")] } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_with_other_policies_is_told_apart() {
        let of = |preset: Preset| Policy::from(preset.policies());
        for preset in [Preset::Flik, Preset::Flexsite, Preset::Employees] {
            assert_eq!(differences(&of(preset), preset), [""; 0]);
            assert!(!differences(&of(Preset::Standard), preset).is_empty(), "{preset:?}");
        }
        let standard = differences(&of(Preset::Standard), Preset::Flexsite);
        assert_eq!(standard, ["personal_workspace = PERSONAL_WORKSPACE_ON", "deletion_grace = 604800 s"]);
        let mut unnamed = of(Preset::Employees);
        unnamed.credit_unit.get_or_insert_default().singular = "wort".to_owned();
        assert_eq!(differences(&unnamed, Preset::Employees), [format!("{unnamed:?}")]);
    }
}
