//! Alerts, from the charge that crosses a percentage to the mail about it: billing tells, organization mails to who manages a team's
//! billing, and identity to a person.

use std::sync::Arc;

use bursar_proto::{
    billing::v1::{
        AccountSettings, LimitMode, LimitSubject, LimitWindow, SetLimitRequest, UpdateAccountSettingsRequest,
        limit_subject::Subject,
    },
    organization::v1::{Policy, UsageVisibility},
};
use bursar_testkit::Person;

use crate::policies::decide;
use crate::support::{
    given, spend,
    waiting::{PATIENCE, eventually},
    world::{self, World},
};

/// A limit that refuses nothing, and alerts.
fn warning(owner: &str, subject: Subject) -> SetLimitRequest {
    SetLimitRequest {
        owner: owner.to_owned(),
        subject: Some(LimitSubject { subject: Some(subject) }),
        window: LimitWindow::Month.into(),
        amount: "10".to_owned(),
        mode: LimitMode::Warn.into(),
        alert_percents: vec![50, 80, 100],
        ..SetLimitRequest::default()
    }
}

/// How many mails to an address begin their subjects so, and hold these words.
fn mails(world: &World, address: &str, subject: &str, words: &str) -> usize {
    let all = world.deployment().mailbox().to(address);
    all.iter().filter(|mail| mail.subject.starts_with(subject) && mail.text.contains(words)).count()
}

async fn arrives(world: &World, address: &str, subject: &str, words: &str) {
    eventually(&format!("{subject} … {words}, to {address}"), PATIENCE, async || {
        (mails(world, address, subject, words) == 1).then_some(())
    })
    .await;
}

async fn spends(who: &Person, owner: &str, amount: &str) {
    given(who.client().credits().charge(spend(owner, amount)).await);
}

/// Whoever owns a team is told of its allowance and of a member's limit, no more than its policy shows; a person is told of the own
/// limit. Each crossing is mailed once, also after everything has stopped and started again.
pub(crate) async fn what_crosses_a_percentage_is_mailed_once(shared: World) {
    let Some(plan) = world::plan(shared.deployment().topology()).await else {
        return;
    };
    let mut world = World::of(Arc::new(plan.start().await));
    let team = world.team().on_business().with_members(1).assemble().await;
    let (id, owner, ben) = (team.id.clone(), team.owner.clone(), team.members[0].clone());
    let ann = world.person("Ann").await;
    world.grant(&ann.user, "100").await;
    drop(team);

    let alerts = AccountSettings { allowance_alert_percents: vec![50], ..AccountSettings::default() };
    let settings = UpdateAccountSettingsRequest {
        owner: id.clone(),
        settings: Some(alerts),
        ..UpdateAccountSettingsRequest::default()
    };
    given(owner.client().accounts().update_account_settings(settings).await);
    spends(&owner, &id, "800").await;
    arrives(&world, &owner.email, "50 % of the allowance", "has used 800 of the 1500 ").await;

    let bens = warning(&id, Subject::Member(ben.user.clone()));
    eventually("billing knows the member", PATIENCE, async || {
        owner.client().limits().set_limit(bens.clone()).await.ok()
    })
    .await;
    spends(&ben, &id, "6").await;
    arrives(&world, &owner.email, "50 % of a limit", "has used 6 of the 10 ").await;
    let hidden = Policy { usage_visibility: UsageVisibility::Nobody.into(), ..Policy::default() };
    decide(&owner, &id, "usage_visibility", hidden).await.expect("decided");
    spends(&ben, &id, "3").await;
    arrives(&world, &owner.email, "80 % of a limit", "its policy hides").await;

    given(ann.client().limits().set_limit(warning(&ann.user, Subject::EveryMember(true))).await);
    spends(&ann, &ann.user, "6").await;
    arrives(&world, &ann.email, "50 % of a limit", "has used 6 of the 10 ").await;

    let mut deployment = world.into_deployment();
    deployment.stop(PATIENCE);
    deployment.start().await;
    world = World::of(Arc::new(deployment));
    // What is told from now on comes after all that could be told again.
    let (ben, ann) =
        (Person::sign_in(world.anybody(), &ben.email).await, Person::sign_in(world.anybody(), &ann.email).await);
    spends(&ben.in_context(&id).await, &id, "1").await;
    spends(&ann, &ann.user, "2").await;
    arrives(&world, &owner.email, "100 % of a limit", "its policy hides").await;
    arrives(&world, &ann.email, "80 % of a limit", "has used 8 of the 10 ").await;
    let told = |address: &str| {
        ["50 % of the allowance", "50 % of a limit", "80 % of a limit", "100 % of a limit"]
            .map(|subject| mails(&world, address, subject, ""))
    };
    assert_eq!(told(&owner.email), [1, 1, 1, 1]);
    assert_eq!(told(&ann.email), [0, 1, 1, 0]);
    assert_eq!(told(&ben.email), [0; 4], "who may not manage billing is mailed nothing");
    assert_eq!(mails(&world, &owner.email, "80 % of a limit", "has used"), 0, "nor is it said what is hidden");
}
