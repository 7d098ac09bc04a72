//! Time passes: a deployment of the test's own with a test clock in every service.

use std::sync::Arc;

use bursar_proto::{
    billing::v1::{GetBalanceRequest, GetSubscriptionRequest, LotSource, PurchasePackRequest, VerifyLedgerRequest},
    identity::v1::{GetMeRequest, RefreshRequest},
    testing::v1::GetRequest,
};
use bursar_rpc::convert::required_timestamp;
use bursar_testkit::{Person, refused};
use bursar_time::{Span, Timestamp};
use tonic::Code;

use crate::support::{
    clocks::advance_to,
    given, spend,
    waiting::{PATIENCE, eventually},
    world::{self, World},
};

pub(crate) async fn tokens_expire_and_a_month_renews_the_allowance_but_not_the_pack(shared: World) {
    let Some(plan) = world::plan(shared.deployment().topology()).await else {
        return;
    };
    let world = World::of(Arc::new(plan.arg("--test-clock").start().await));
    let team = world.team().on_business().assemble().await;
    let pack = PurchasePackRequest {
        owner: team.id.clone(),
        pack_id: "starter".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        ..PurchasePackRequest::default()
    };
    given(team.owner.client().purchases().purchase_pack(pack).await);
    team.charge(&team.owner, "1000").await;
    let request = GetSubscriptionRequest { owner: team.id.clone() };
    let found = given(team.owner.client().subscriptions().get_subscription(request).await);
    let end = found.subscription.and_then(|it| it.current_period_end);
    let end = required_timestamp(end).expect("the end of the period");

    advance_to(world.anybody(), end.saturating_add(Span::DAY)).await;
    let old = team.owner.client();
    refused(old.users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "TOKEN_EXPIRED");
    refused(old.credits().charge(spend(&team.id, "1")).await, Code::Unauthenticated, "TOKEN_EXPIRED");

    let owner = Person::sign_in(world.anybody(), &team.owner.email).await.in_context(&team.id).await;
    let balance = eventually("the allowance is renewed", PATIENCE, async || {
        let request = GetBalanceRequest { owner: team.id.clone(), ..Default::default() };
        let balance = given(owner.client().accounts().get_balance(request).await);
        (balance.available == "1800").then_some(balance)
    })
    .await;
    let lots: Vec<_> = balance.lots.iter().map(|lot| (lot.source(), lot.remaining.as_str())).collect();
    assert_eq!(lots, [(LotSource::Allowance, "1500"), (LotSource::Pack, "300")]);
    assert!(balance.lots[1].expires_at.is_none(), "a pack never expires");
    given(owner.client().credits().charge(spend(&team.id, "1600")).await);

    let request = VerifyLedgerRequest { owner: team.id.clone() };
    let verdict = given(world.operator().await.accounts().verify_ledger(request).await);
    assert!(verdict.valid, "the ledger after a month: {verdict:?}");
    assert!(required_timestamp(balance.period_end).expect("a time") > end, "the next period has begun");
}

/// Kind K: a test clock may leap as it likes, and whatever the leap, the next call works. Restarted, it goes on from where
/// the stores were left.
pub(crate) async fn twelve_leaps_of_a_month_in_a_moment_stop_nothing(shared: World) {
    let Some(plan) = world::plan(shared.deployment().topology()).await else {
        return;
    };
    let mut world = World::of(Arc::new(plan.arg("--test-clock").start().await));
    let team = world.team().on_business().assemble().await;
    let (id, email) = (team.id.clone(), team.owner.email.clone());
    drop(team);
    let mut last = clock_of(&world).await;
    for leap in 1..=12 {
        last = last.saturating_add(Span::from_days(31));
        advance_to(world.anybody(), last).await;
        act(&world, &email, &id, leap).await;
    }

    let mut deployment = world.into_deployment();
    deployment.stop(PATIENCE);
    deployment.start().await;
    world = World::of(Arc::new(deployment));
    let now = clock_of(&world).await;
    assert!(now >= last, "the clock went back to {now}");
    advance_to(world.anybody(), last.saturating_add(Span::MINUTE)).await;
    act(&world, &email, &id, 13).await;
}

/// Signs in, refreshes, and spends out of the month's allowance.
async fn act(world: &World, email: &str, team: &str, leap: u32) {
    let person = Person::sign_in(world.anybody(), email).await;
    let request = RefreshRequest { refresh_token: person.tokens.refresh_token.clone() };
    let tokens = given(world.anybody().sessions().refresh(request).await).tokens.expect("tokens");
    given(world.anybody().with_token(&tokens.access_token).users().get_me(GetMeRequest {}).await);
    let owner = person.in_context(team).await;
    let charged = given(owner.client().credits().charge(spend(team, "10")).await);
    let request = GetBalanceRequest { owner: team.to_owned(), ..Default::default() };
    let balance = given(owner.client().accounts().get_balance(request).await);
    assert_eq!(charged.balance_after, balance.available, "after leap {leap}");
}

/// What identity's clock shows.
async fn clock_of(world: &World) -> Timestamp {
    let mut clock = world.anybody().identity_clock();
    required_timestamp(given(clock.get(GetRequest {}).await).now).expect("a time")
}
