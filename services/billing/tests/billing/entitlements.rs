//! What others are told of an owner's plan is what `GetEntitlements` answers: with each change, and in a snapshot.

use std::collections::BTreeMap;

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{CancelAt, Feature};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{SnapshotRequest, SubscriptionChanged, WatchRequest};
use bursar_proto::event_type;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::engines;
use bursar_time::Span;

use crate::calls::Caller;
use crate::contracts;
use crate::moving::{moving, plan_of, subscription, the_end};
use crate::reloading::{edited, reloads, write};
use crate::words::{cancel, lots_of, scope, set_seats, subscribe};
use crate::world::{BUILT_IN, World, until};

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
    answered_by(&world.service(ServiceRole::Organization), owner).await
}

/// The same by one replica.
async fn answered_by(service: &Caller, owner: OwnerId) -> Allowed {
    let of = pb::GetEntitlementsRequest { owner: owner.to_string() };
    let it = service.get_entitlements(of).await.expect("entitlements");
    let names = it.features().map(|feature| feature.as_str_name().trim_start_matches("FEATURE_").to_owned());
    (it.plan_id.clone(), it.seats, names.collect())
}

/// What each allowance of the owner pays for.
async fn allowances(world: &World, owner: OwnerId) -> Vec<Option<pb::Scope>> {
    let lots = world.operator().list_lots(lots_of(owner)).await.expect("lots").lots;
    lots.into_iter().filter(|lot| lot.source() == pb::LotSource::Allowance).map(|lot| lot.scope).collect()
}

fn contract(owner: OwnerId, features: &[Feature]) -> pb::SetContractRequest {
    let features = features.iter().map(|it| i32::from(*it)).collect();
    pb::SetContractRequest { features, ..contracts::contract(owner, 900) }
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

    async fn an_edit_touches_nothing_of_what_somebody_was_sold(db: TestDb) {
        let world = World::selling(db, BUILT_IN).await;
        let (team, boss) = world.organization_with(1, "1").await;
        let (other, _) = world.organization_with(2, "1").await;
        let ana = world.person_with(3, "1").await;
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        world.operator().set_contract(contract(other, &[Feature::Organizations])).await.unwrap();
        let before = told(&world).await;
        let sold = |seats| is("business", seats, &["ORGANIZATIONS"]);
        assert_eq!(before[&team.to_string()], sold(10));

        // Something is added, something is taken away, and credits pay for less.
        let edit = edited(BUILT_IN, "features = [\"organizations\"]", "features = [\"single_sign_on\"]");
        let narrow = "credits = \"1500\"\nscope = { projects = [\"film\"] }\nseats = 10";
        write(&world, &edited(&edit, "credits = \"1500\"\nseats = 10", narrow));
        assert_eq!(reloads(&world.operator()).await, (1, 2));
        let there = world.another_instance().await;
        let begun_with_it = world.service_through(&there, ServiceRole::Organization);
        for (owner, allowed) in &before {
            let owner = owner.parse().expect("an owner");
            assert_eq!(answered(&world, owner).await, *allowed);
            assert_eq!(answered_by(&begun_with_it, owner).await, *allowed, "also by who starts with it");
        }
        assert_eq!((told(&world).await, present(&world).await), (before.clone(), before), "and nobody is told anything else");

        // More seats, another owner and another month are of what was sold.
        boss.set_seats(set_seats(team, 12)).await.unwrap();
        let (home, _) = world.organization_with(3, "1").await;
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, home)).await.expect("moved");
        for (owner, seats) in [(team, 12), (home, 10)] {
            let owners = owner.to_string();
            assert_eq!((told(&world).await[&owners].clone(), present(&world).await[&owners].clone()), (sold(seats), sold(seats)));
        }
        let ends = the_end(&subscription(&world, team).await);
        world.passes(ends.since(world.now()));
        until("both are renewed", async || allowances(&world, team).await.len() == 3 && allowances(&world, home).await.len() == 2).await;
        for (owner, seats) in [(team, 12), (home, 10)] {
            assert_eq!((present(&world).await[&owner.to_string()].clone(), answered(&world, owner).await), (sold(seats), sold(seats)));
            let all = allowances(&world, owner).await;
            assert!(all.iter().all(Option::is_none), "also of more seats and of the next month: {all:?}");
        }

        // Whoever subscribes by then has what is sold by then, also once it is sold no more.
        let ben = world.person(5);
        ben.subscribe(subscribe(ben.owner, "business")).await.unwrap();
        let new = is("business", 10, &["SINGLE_SIGN_ON"]);
        write(&world, BUILT_IN);
        assert_eq!(reloads(&world.operator()).await, (2, 1));
        assert_eq!((present(&world).await[&ben.owner.to_string()].clone(), answered(&world, ben.owner).await), (new.clone(), new));
        assert_eq!(allowances(&world, ben.owner).await, [Some(scope(&[], &["film"]))]);
        for owner in [team, home, ben.owner] {
            world.audit(owner).await;
        }
    }

    async fn what_an_earlier_program_has_sold_is_what_it_was_before_the_next_edit(db: TestDb) {
        let world = World::selling(db, BUILT_IN).await;
        let ana = world.person_with(1, "1").await;
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        world.by_hand("UPDATE subscriptions SET included = NULL, included_plan = NULL").await.unwrap();
        write(&world, &edited(BUILT_IN, "features = [\"organizations\"]", "features = [\"single_sign_on\"]"));
        assert_eq!(reloads(&world.operator()).await, (1, 2));
        let sold = is("business", 10, &["ORGANIZATIONS"]);
        assert_eq!(answered(&world, ana.owner).await, sold);
        assert_eq!(told(&world).await[&ana.owner.to_string()], sold);
        assert_eq!(world.scalar("SELECT count(*) FROM subscriptions WHERE included IS NULL").await, 0);
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
