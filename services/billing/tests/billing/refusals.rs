//! The order of refusals of what is not the credit engine's: standing, what was asked, its request id, catalog and state.

use std::fmt::Debug;

use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, engines, id, organization};
use bursar_time::Span;
use tonic::Status;

use crate::calls::Caller;
use crate::moving::moving;
use crate::words::Under;
use crate::world::World;

/// The mutating RPCs that book more than credits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rpc {
    Subscribe,
    PurchasePack,
    ChangePlan,
    UpdateAccountSettings,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    /// Something that is allowed.
    Good,
    /// Something else that is well-formed, and not in the catalog.
    Other,
    /// Something with a bad field.
    Bad,
}

async fn call(who: &Caller, rpc: Rpc, owner: OwnerId, body: Body, request_id: &str) -> Result<String, Status> {
    let owner = owner.to_string();
    let payment_method = if body == Body::Bad { "cash" } else { "sandbox_ok" }.to_owned();
    let product = |good: &str| if body == Body::Other { "golden".to_owned() } else { good.to_owned() };
    match rpc {
        Rpc::Subscribe => {
            let plan_id = product("business");
            let request = pb::SubscribeRequest { owner, plan_id, payment_method, ..Default::default() };
            Ok(format!("{:?}", who.subscribe(request.under(request_id)).await?))
        }
        Rpc::PurchasePack => {
            let pack_id = product("starter");
            let request = pb::PurchasePackRequest { owner, pack_id, payment_method, ..Default::default() };
            Ok(format!("{:?}", who.purchase_pack(request.under(request_id)).await?))
        }
        Rpc::ChangePlan => {
            let (plan_id, seats) = (product("business"), if body == Body::Bad { 100_001 } else { 12 });
            let request = pb::ChangePlanRequest { owner, plan_id, seats, ..Default::default() };
            Ok(format!("{:?}", who.change_plan(request.under(request_id)).await?))
        }
        Rpc::UpdateAccountSettings => {
            let time_zone = match body {
                Body::Good => "Europe/Berlin",
                Body::Other => "Asia/Kolkata",
                Body::Bad => "Mars/Olympus",
            };
            let settings = pb::AccountSettings { time_zone: time_zone.to_owned(), ..Default::default() };
            let request = pb::UpdateAccountSettingsRequest { owner, settings: Some(settings), ..Default::default() };
            Ok(format!("{:?}", who.update_account_settings(request.under(request_id)).await?))
        }
    }
}

#[track_caller]
fn is(rpc: impl Debug, what: &str, outcome: Result<String, Status>, expected: &str) -> String {
    let (reason, answer) = match outcome {
        Ok(answer) => ("OK".to_owned(), answer),
        Err(status) => (Refusal::of(&status).reason, String::new()),
    };
    assert_eq!(reason, expected, "{rpc:?}: {what}");
    answer
}

/// What there must be before it can be called.
async fn prepare(world: &World, rpc: Rpc, owner: OwnerId) {
    if rpc == Rpc::ChangePlan {
        call(&world.operator(), Rpc::Subscribe, owner, Body::Good, "").await.expect("subscribed");
    }
}

/// An RPC with what the catalog says to another body, and what the state says to a second one of the same.
const TABLE: [(Rpc, &str, &str); 4] = [
    (Rpc::Subscribe, "PLAN_NOT_FOUND", "ALREADY_SUBSCRIBED"),
    (Rpc::PurchasePack, "PACK_NOT_FOUND", "OK"),
    (Rpc::ChangePlan, "PLAN_NOT_FOUND", "OK"),
    (Rpc::UpdateAccountSettings, "TIME_ZONE_UNSUPPORTED", "OK"),
];

engines! {
    async fn the_order_of_refusals_is_the_same_everywhere(db: TestDb) {
        let world = World::on(db).await;
        for (n, (rpc, missing, again)) in (1..).zip(TABLE) {
            let (team, _) = world.organization_with(n, "1").await;
            world.hears(team, id(20), Some(Role::Admin), 1).await;
            world.hears(team, id(30), Some(Role::Member), 1).await;
            let (admin, member) = (world.member(20, team, Role::Admin, 1), world.member(30, team, Role::Member, 1));
            let stranger = world.person(90);
            prepare(&world, rpc, team).await;
            is(rpc, "a stranger's bad field", call(&stranger, rpc, team, Body::Bad, "r").await, "NOT_A_MEMBER");
            is(rpc, "a member's bad field", call(&member, rpc, team, Body::Bad, "r").await, "ROLE_NOT_ALLOWED");
            is(rpc, "a bad field", call(&admin, rpc, team, Body::Bad, "r").await, "INVALID_FIELDS");
            is(rpc, "what is not for sale", call(&admin, rpc, team, Body::Other, "r").await, missing);
            let first = is(rpc, "an id that a refusal did not burn", call(&admin, rpc, team, Body::Good, "r").await, "OK");
            let second = is(rpc, "a repetition", call(&admin, rpc, team, Body::Good, "r").await, "OK");
            assert_eq!(first, second, "{rpc:?}: one answer");
            is(rpc, "an id for another body", call(&admin, rpc, team, Body::Other, "r").await, "REQUEST_ID_REUSED");
            is(rpc, "the state", call(&admin, rpc, team, Body::Good, "s").await, again);
            world.hears(team, id(20), Some(Role::Member), 2).await;
            is(rpc, "a demoted Admin's repetition", call(&admin, rpc, team, Body::Good, "r").await, "ROLE_NOT_ALLOWED");
            world.hears(team, id(20), None, 3).await;
            is(rpc, "a removed member's repetition", call(&admin, rpc, team, Body::Good, "r").await, "NOT_A_MEMBER");
            world.audit(team).await;
        }
    }

    /// It is organization's alone, and what it moves to is its request id.
    async fn moving_a_subscription_is_refused_in_the_same_order(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben, cem) = (world.person(1), world.person(2), world.person(3));
        let (team, boss) = world.organization_with(4, "1").await;
        let (small, unheard) = (organization(5_001), organization(5_002));
        let service = world.service(ServiceRole::Organization);
        let moves = async |who: &Caller, from: OwnerId, to: OwnerId| {
            let moved = who.move_subscription(moving(from, to)).await?;
            Ok(format!("{moved:?}"))
        };
        let rpc = "MoveSubscription";
        is(rpc, "a user's bad field", moves(&ana, team, ana.owner).await, "CALLER_NOT_ALLOWED");
        is(rpc, "another service's bad field", moves(&world.product(), team, ana.owner).await, "SERVICE_ROLE_NOT_ALLOWED");
        is(rpc, "a bad field", moves(&service, team, ana.owner).await, "INVALID_FIELDS");
        // That there is no plan is an answer like others: it stands, whatever comes later.
        is(rpc, "no plan", moves(&service, ana.owner, small).await, "PLAN_REQUIRED");
        for person in [&ana, &cem] {
            call(person, Rpc::Subscribe, person.owner, Body::Good, "").await.expect("subscribed");
        }
        is(rpc, "a repetition with a plan", moves(&service, ana.owner, small).await, "PLAN_REQUIRED");
        is(rpc, "an id for another body", moves(&service, cem.owner, small).await, "REQUEST_ID_REUSED");
        let first = is(rpc, "another id", moves(&service, ana.owner, unheard).await, "OK");
        let second = is(rpc, "a repetition", moves(&service, ana.owner, unheard).await, "OK");
        assert_eq!(first, second, "one answer");
        is(rpc, "an id for another body without a plan", moves(&service, ben.owner, unheard).await, "REQUEST_ID_REUSED");
        // What the organization has of its own is asked before what the person has, and is an answer that stands as well.
        let (other, chief) = world.organization_with(5, "1").await;
        for (caller, owner) in [(&boss, team), (&chief, other)] {
            call(caller, Rpc::Subscribe, owner, Body::Good, "").await.expect("subscribed");
        }
        is(rpc, "the state", moves(&service, cem.owner, team).await, "ALREADY_SUBSCRIBED");
        is(rpc, "a repetition", moves(&service, cem.owner, team).await, "ALREADY_SUBSCRIBED");
        is(rpc, "an id for another body after the state", moves(&service, ben.owner, team).await, "REQUEST_ID_REUSED");
        is(rpc, "the state before no plan", moves(&service, ben.owner, other).await, "ALREADY_SUBSCRIBED");
        for owner in [ana.owner, cem.owner, team, other, unheard] {
            world.audit(owner).await;
        }
    }

    async fn forty_days_later_a_repetition_still_gets_the_first_answer(db: TestDb) {
        let world = World::on(db).await;
        for (n, (rpc, ..)) in (1..).zip(TABLE) {
            let ana = world.person(n);
            prepare(&world, rpc, ana.owner).await;
            let first = is(rpc, "at first", call(&ana, rpc, ana.owner, Body::Good, "r").await, "OK");
            world.passes(Span::from_days(40));
            bursar_db::idempotency::prune(&world.store, world.now()).await.expect("forgets");
            let count = world.answers_kept().await;
            assert_eq!(count, 0, "{rpc:?}: the answer is forgotten");
            let later = is(rpc, "forty days later", call(&ana, rpc, ana.owner, Body::Good, "r").await, "OK");
            assert_eq!(first, later, "{rpc:?}");
            is(rpc, "another body", call(&ana, rpc, ana.owner, Body::Other, "r").await, "REQUEST_ID_REUSED");
        }
    }

    async fn ids_belong_to_the_actor_and_the_account(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (world.person(1), world.person(2));
        let rpc = Rpc::PurchasePack;
        let mine = is(rpc, "a user's", call(&ana, rpc, ana.owner, Body::Good, "r").await, "OK");
        let operators = is(rpc, "an operator's", call(&world.operator(), rpc, ana.owner, Body::Good, "r").await, "OK");
        let others = is(rpc, "in another account", call(&world.operator(), rpc, ben.owner, Body::Good, "r").await, "OK");
        assert!(mine != operators && operators != others, "three purchases");
    }
}
