//! What an organization's owner decides, and what the deployment's settings say, holds in every service within two seconds.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bursar_proto::{
    billing::v1::{
        GetBalanceRequest, GroupBy, LimitMode, LimitSubject, LimitWindow, ListInvoicesRequest, ListLotsRequest,
        PurchasePackRequest, QueryUsageRequest, SetLimitRequest, limit_subject::Subject,
    },
    identity::v1::SwitchContextRequest,
    organization::v1::{
        AdminBilling, BalanceVisibility, GetPolicyRequest, Policy, Role, SecondFactor, UpdateMemberRoleRequest,
        UpdatePolicyRequest, UsageVisibility,
    },
};
use bursar_runtime::Service;
use bursar_testkit::{Deployment, Person, Refusal, refused};
use prost_types::FieldMask;
use tonic::{Code, Response, Status};

use crate::support::{
    given, spend,
    waiting::{PATIENCE, eventually},
    world::{self, World},
};

/// How soon a policy holds in every service.
const HOLDS_WITHIN: Duration = Duration::from_secs(2);

/// What somebody does, whose outcome a policy decides.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Looks at the balance.
    Balance,
    /// Looks at what was bought and granted.
    Lots,
    /// Buys with what is declined: money is never taken.
    Buying,
    /// Looks at what each member has used.
    UsageByMember,
    /// Sets a limit for every member; what comes of it is how much of it is used, as far as that is told.
    LimitOfMembers,
    /// Spends with a token of one's own.
    Charging,
    /// Goes into the organization.
    Entering,
    /// Buys a pack; what comes of it is what the invoice calls it.
    Invoiced,
}

/// What was answered: `OK`, or the reason of the refusal.
fn reason<T>(outcome: Result<Response<T>, Status>) -> String {
    outcome.map_or_else(|status| Refusal::of(&status).reason, |_| "OK".to_owned())
}

async fn comes_of(act: Act, who: &Person, team: &str) -> String {
    let (client, owner) = (who.client(), team.to_owned());
    let buy = |payment_method: &str| PurchasePackRequest {
        owner: owner.clone(),
        pack_id: "starter".to_owned(),
        payment_method: payment_method.to_owned(),
        ..PurchasePackRequest::default()
    };
    match act {
        Act::Balance => {
            reason(client.accounts().get_balance(GetBalanceRequest { owner, ..GetBalanceRequest::default() }).await)
        }
        Act::Lots => reason(client.accounts().list_lots(ListLotsRequest { owner, ..ListLotsRequest::default() }).await),
        Act::Buying => reason(client.purchases().purchase_pack(buy("sandbox_declined")).await),
        Act::UsageByMember => {
            let group_by = vec![GroupBy::Member.into()];
            let query = QueryUsageRequest { owner, group_by, ..QueryUsageRequest::default() };
            reason(client.usage().query_usage(query).await)
        }
        Act::LimitOfMembers => {
            let subject = Some(LimitSubject { subject: Some(Subject::EveryMember(true)) });
            let (window, mode) = (LimitWindow::Day.into(), LimitMode::Warn.into());
            let amount = "5".to_owned();
            let limit = SetLimitRequest { owner, subject, window, mode, amount, ..SetLimitRequest::default() };
            given(client.limits().set_limit(limit).await).limit.expect("a limit").used
        }
        Act::Charging => reason(client.credits().charge(spend(team, "0.01")).await),
        Act::Entering => reason(client.contexts().switch_context(SwitchContextRequest { owner }).await),
        Act::Invoiced => {
            given(client.purchases().purchase_pack(buy("sandbox_ok")).await);
            let list = ListInvoicesRequest { owner, page_size: 1, ..ListInvoicesRequest::default() };
            let invoices = given(client.invoices().list_invoices(list).await).invoices;
            invoices[0].lines[0].description.clone()
        }
    }
}

/// Waits as long as a policy may take for what comes of an act to be what it must become, and for no longer.
async fn becomes(why: &str, act: Act, who: &Person, team: &str, expected: &str) {
    let what = format!("{why}: {act:?} comes to {expected}");
    eventually(&what, HOLDS_WITHIN, async || (comes_of(act, who, team).await == expected).then_some(())).await;
}

/// Who acts.
#[derive(Clone, Copy, Debug)]
enum By {
    Owner,
    Admin,
    Member,
}

/// A field, what the owner sets it to, and of which act what then comes.
type Decision = (&'static str, Policy, By, Act, &'static str);

/// Each of them changes what came of the act before.
fn decisions() -> Vec<Decision> {
    let balance = |value: BalanceVisibility| Policy { balance_visibility: value.into(), ..Policy::default() };
    let admin = |value: AdminBilling| Policy { admin_billing: value.into(), ..Policy::default() };
    let usage = |value: UsageVisibility| Policy { usage_visibility: value.into(), ..Policy::default() };
    let no = "ROLE_NOT_ALLOWED";
    vec![
        ("balance_visibility", balance(BalanceVisibility::Managers), By::Member, Act::Balance, no),
        ("balance_visibility", balance(BalanceVisibility::Unspecified), By::Member, Act::Balance, "OK"),
        ("admin_billing", admin(AdminBilling::View), By::Admin, Act::Buying, no),
        ("admin_billing", admin(AdminBilling::None), By::Admin, Act::Lots, no),
        ("admin_billing", admin(AdminBilling::View), By::Admin, Act::Lots, "OK"),
        ("admin_billing", admin(AdminBilling::Unspecified), By::Admin, Act::Buying, "PAYMENT_DECLINED"),
        ("usage_visibility", usage(UsageVisibility::Everyone), By::Member, Act::UsageByMember, "OK"),
        ("usage_visibility", usage(UsageVisibility::Nobody), By::Owner, Act::UsageByMember, no),
        ("usage_visibility", usage(UsageVisibility::Unspecified), By::Owner, Act::UsageByMember, "OK"),
        ("usage_visibility", usage(UsageVisibility::Nobody), By::Owner, Act::LimitOfMembers, ""),
        ("usage_visibility", usage(UsageVisibility::Unspecified), By::Owner, Act::LimitOfMembers, "0"),
    ]
}

/// An owner decides one field of the organization's policies.
pub(crate) async fn decide(owner: &Person, team: &str, field: &str, policy: Policy) -> Result<(), Status> {
    let request = UpdatePolicyRequest {
        organization_id: team.to_owned(),
        policy: Some(policy),
        update_mask: Some(FieldMask { paths: vec![field.to_owned()] }),
        request_id: String::new(),
    };
    owner.client().organizations().update_policy(request).await.map(drop)
}

pub(crate) async fn an_owners_policy_holds_within_two_seconds(world: World) {
    let team = world.team().with_members(2).with_credits("10").assemble().await;
    let [admin, member] = team.members.as_slice() else { panic!("two members") };
    let promoted = UpdateMemberRoleRequest {
        organization_id: team.id.clone(),
        user_id: admin.user.clone(),
        role: Role::Admin.into(),
        ..UpdateMemberRoleRequest::default()
    };
    given(team.owner.client().members().update_member_role(promoted).await);
    eventually("billing knows the Admin", PATIENCE, async || {
        (comes_of(Act::Lots, admin, &team.id).await == "OK").then_some(())
    })
    .await;
    for (field, policy, by, act, expected) in decisions() {
        let who = match by {
            By::Owner => &team.owner,
            By::Admin => admin,
            By::Member => member,
        };
        let before = comes_of(act, who, &team.id).await;
        assert_ne!(before, expected, "{field}: {by:?}'s {act:?} shows nothing of it");
        decide(&team.owner, &team.id, field, policy).await.expect("decided");
        becomes(field, act, who, &team.id, expected).await;
    }
    // Whoever could not come in any more does not close the door; what a deployment demands is tried below.
    let required = Policy { second_factor: SecondFactor::Required.into(), ..Policy::default() };
    let decided = decide(&team.owner, &team.id, "second_factor", required).await;
    refused(decided, Code::FailedPrecondition, "SECOND_FACTOR_ENROLLMENT_REQUIRED");
    assert_eq!(comes_of(Act::Charging, &team.owner, &team.id).await, "OK");
}

/// What comes of what somebody does.
type Comes = &'static [(Act, &'static str)];

/// What the settings say, what organization shows to its owner then ([`in_force`]), and what comes of what the owner does.
const SETTINGS: [(&str, &str, Comes); 4] = [
    (
        "",
        "SPENDING_USERS_AND_SERVICES",
        &[(Act::Charging, "OK"), (Act::Entering, "OK"), (Act::Invoiced, "Starter (300 credits)")],
    ),
    (
        "[policies]\nspending = 'SERVICES'\ncredit_unit = { singular = 'word', plural = 'words' }\n",
        "SPENDING_SERVICES",
        &[(Act::Charging, "SPENDING_BY_SERVICES_ONLY"), (Act::Entering, "OK"), (Act::Invoiced, "Starter (300 words)")],
    ),
    (
        "[policies]\nsecond_factor = 'REQUIRED'\n",
        "SECOND_FACTOR_ENROLLMENT_REQUIRED",
        &[
            (Act::Charging, "SECOND_FACTOR_ENROLLMENT_REQUIRED"),
            (Act::Balance, "SECOND_FACTOR_ENROLLMENT_REQUIRED"),
            (Act::Entering, "SECOND_FACTOR_ENROLLMENT_REQUIRED"),
        ],
    ),
    (
        "",
        "SPENDING_USERS_AND_SERVICES",
        &[(Act::Charging, "OK"), (Act::Balance, "OK"), (Act::Entering, "OK"), (Act::Invoiced, "Starter (300 credits)")],
    ),
];

/// How organization shows its owner that credits may be spent, or why it shows nothing.
async fn in_force(owner: &Person, team: &str) -> String {
    let request = GetPolicyRequest { organization_id: team.to_owned() };
    match owner.client().organizations().get_policy(request).await {
        Ok(shown) => shown.into_inner().policy.expect("policies").spending().as_str_name().to_owned(),
        Err(status) => Refusal::of(&status).reason,
    }
}

/// Organization starts again with other settings, of which it tells the others.
async fn restarts_with(deployment: &mut Deployment, file: &Path, settings: &str) {
    deployment.process(Service::Organization).kill();
    fs::write(file, settings).expect("written");
    deployment.restart(Service::Organization).await;
}

pub(crate) async fn a_deployments_policy_holds_within_two_seconds(shared: World) {
    let Some(plan) = world::plan(shared.deployment().topology()).await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bursar.toml");
    fs::write(&file, "").expect("written");
    let plan = plan.env("BURSAR_CONFIG", file.display().to_string());
    let world = World::of(Arc::new(plan.start().await));
    let team = world.team().with_credits("10").assemble().await;
    let (owner, id) = (team.owner.clone(), team.id.clone());
    drop(team);
    let mut deployment = world.into_deployment();
    for (n, (settings, shown, outcomes)) in SETTINGS.into_iter().enumerate() {
        // With the first ones it has started.
        if n > 0 {
            restarts_with(&mut deployment, &file, settings).await;
        }
        // How soon a service starts is no question here: what counts begins when its own calls go by what it was given.
        eventually("it is in force where it is decided", PATIENCE, async || {
            (in_force(&owner, &id).await == shown).then_some(())
        })
        .await;
        for (act, expected) in outcomes {
            becomes(settings, *act, &owner, &id, expected).await;
        }
    }
}
