//! What others are told of an owner's plan is what `GetEntitlements` answers: with each change, and in a snapshot.

use std::collections::BTreeMap;

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{CancelAt, Feature};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{SnapshotRequest, SubscriptionChanged, WatchRequest};
use bursar_proto::event_type;
use bursar_proto::google::r#type::Money;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::engines;
use bursar_time::Span;

use crate::moving::{moving, plan_of};
use crate::reloading::{BUILT_IN, edited, reloads, selling, write};
use crate::words::{cancel, subscribe};
use crate::world::{World, until};

/// Plan, seats, and the names of what else it allows.
type Allowed = (String, u32, Vec<String>);

fn allowed(changed: SubscriptionChanged) -> (String, Allowed) {
    let features = changed.features.expect("they are told, also where there are none");
    (changed.owner, (changed.plan_id, changed.seats, features.names))
}

/// What was told of each owner last.
async fn told(world: &World) -> BTreeMap<String, Allowed> {
    let mut events = world.service(ServiceRole::Organization).0.billing_events();
    let mut stream = events.watch(WatchRequest::default()).await.expect("watching").into_inner();
    let mut told = BTreeMap::new();
    while let Some(Item::Event(event)) = stream.message().await.expect("an answer").expect("more").item {
        if let Some(Payload::SubscriptionChanged(changed)) = event.payload {
            told.extend([allowed(changed)]);
        }
    }
    told
}

/// What a snapshot tells.
async fn present(world: &World) -> BTreeMap<String, Allowed> {
    let mut events = world.service(ServiceRole::Organization).0.billing_events();
    let types = vec![event_type::SUBSCRIPTION_CHANGED.to_owned()];
    let mut stream = events.snapshot(SnapshotRequest { types }).await.expect("a snapshot").into_inner();
    let mut told = BTreeMap::new();
    while let Some(part) = stream.message().await.expect("an answer") {
        for event in part.events {
            if let Some(Payload::SubscriptionChanged(changed)) = event.payload {
                told.extend([allowed(changed)]);
            }
        }
    }
    told
}

/// What is answered to who asks.
async fn answered(world: &World, owner: OwnerId) -> Allowed {
    let of = pb::GetEntitlementsRequest { owner: owner.to_string() };
    let it = world.service(ServiceRole::Organization).get_entitlements(of).await.expect("entitlements");
    let names = it.features().map(|feature| feature.as_str_name().trim_start_matches("FEATURE_").to_owned());
    (it.plan_id.clone(), it.seats, names.collect())
}

fn contract(owner: OwnerId, features: &[Feature]) -> pb::SetContractRequest {
    pb::SetContractRequest {
        owner: owner.to_string(),
        plan_id: "enterprise".to_owned(),
        credits: "20000".to_owned(),
        seats: 60,
        price: Some(Money { currency_code: "USD".to_owned(), units: 900, nanos: 0 }),
        features: features.iter().map(|it| i32::from(*it)).collect(),
        ..Default::default()
    }
}

fn is(plan: &str, seats: u32, names: &[&str]) -> Allowed {
    (plan.to_owned(), seats, names.iter().map(|it| (*it).to_owned()).collect())
}

engines! {
    async fn what_is_told_of_a_plan_is_what_is_answered(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        let (other, _) = world.organization_with(2, "1").await;
        let business = is("business", 10, &["ORGANIZATIONS"]);
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        world.operator().set_contract(contract(other, &[Feature::SingleSignOn])).await.unwrap();
        let by_contract = is("enterprise", 60, &["SINGLE_SIGN_ON"]);
        let both = BTreeMap::from([(team.to_string(), business.clone()), (other.to_string(), by_contract.clone())]);
        assert_eq!((told(&world).await, present(&world).await), (both.clone(), both));
        assert_eq!((answered(&world, team).await, answered(&world, other).await), (business.clone(), by_contract));

        // A contract that begins later is told of when it does; so is one that allows nothing.
        let starts_at = Some(to_timestamp(world.in_(Span::from_days(5))));
        let later = pb::SetContractRequest { starts_at, ..contract(team, &[]) };
        world.operator().set_contract(later).await.unwrap();
        assert_eq!(told(&world).await[&team.to_string()], business);
        world.passes(Span::from_days(5));
        until("the contract begins", async || plan_of(&world, team).await.0 == "enterprise").await;
        let nothing = is("enterprise", 60, &[]);
        assert_eq!(told(&world).await[&team.to_string()], nothing);
        assert_eq!((present(&world).await[&team.to_string()].clone(), answered(&world, team).await), (nothing.clone(), nothing));

        boss.cancel(cancel(team, CancelAt::Now)).await.unwrap();
        let free = is("free", 5, &[]);
        assert_eq!((told(&world).await[&team.to_string()].clone(), answered(&world, team).await), (free.clone(), free));
        assert!(!present(&world).await.contains_key(&team.to_string()), "a snapshot tells of what holds");
    }

    async fn an_edit_of_what_a_plan_includes_is_told_of_everybody_who_has_it(db: TestDb) {
        let world = selling(db, BUILT_IN).await;
        let (team, boss) = world.organization_with(1, "1").await;
        let (other, _) = world.organization_with(2, "1").await;
        let ana = world.person_with(3, "1").await;
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        world.operator().set_contract(contract(other, &[Feature::Organizations])).await.unwrap();
        let before = told(&world).await;
        assert_eq!(before[&team.to_string()], is("business", 10, &["ORGANIZATIONS"]));
        let more = edited(BUILT_IN, "features = [\"organizations\"]", "features = [\"organizations\", \"single_sign_on\"]");
        write(&world, &more);
        assert_eq!(reloads(&world.operator()).await, (1, 2));
        let both = is("business", 10, &["ORGANIZATIONS", "SINGLE_SIGN_ON"]);
        for owner in [team, ana.owner] {
            until("it is told", async || told(&world).await[&owner.to_string()] == both).await;
            assert_eq!(answered(&world, owner).await, both);
        }
        assert_eq!(told(&world).await[&other.to_string()], before[&other.to_string()], "a contract is what it was");
        let subscription = crate::moving::subscription(&world, team).await;
        assert_eq!((subscription.plan_id.as_str(), subscription.seats), ("business", 10), "nothing else is touched");

        write(&world, BUILT_IN);
        assert_eq!(reloads(&world.operator()).await, (2, 1));
        until("it is told", async || told(&world).await[&team.to_string()] == before[&team.to_string()]).await;
    }

    async fn a_plan_that_moves_takes_along_what_it_allows(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1").await;
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        let (team, _) = world.organization_with(1, "1").await;
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.expect("moved");
        let expected = [(ana.owner.to_string(), is("free", 5, &[])), (team.to_string(), is("business", 10, &["ORGANIZATIONS"]))];
        assert_eq!(told(&world).await, BTreeMap::from(expected.clone()));
        for (owner, allowed) in expected {
            assert_eq!(answered(&world, owner.parse().expect("an owner")).await, allowed);
        }
    }
}
