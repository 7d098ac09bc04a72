//! The order of refusals of what is not the credit engine's: standing, what was asked, its request id, catalog and state.

use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_testkit::{Refusal, engines, id};
use bursar_time::Span;
use tonic::Status;

use crate::calls::Caller;
use crate::words::Under;
use crate::world::World;

/// The mutating RPCs that book more than credits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rpc {
    Subscribe,
    PurchasePack,
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
    }
}

#[track_caller]
fn is(rpc: Rpc, what: &str, outcome: Result<String, Status>, expected: &str) -> String {
    let (reason, answer) = match outcome {
        Ok(answer) => ("OK".to_owned(), answer),
        Err(status) => (Refusal::of(&status).reason, String::new()),
    };
    assert_eq!(reason, expected, "{rpc:?}: {what}");
    answer
}

/// An RPC with what the catalog says to another body, and what the state says to a second one of the same.
const TABLE: [(Rpc, &str, &str); 2] =
    [(Rpc::Subscribe, "PLAN_NOT_FOUND", "ALREADY_SUBSCRIBED"), (Rpc::PurchasePack, "PACK_NOT_FOUND", "OK")];

engines! {
    async fn the_order_of_refusals_is_the_same_everywhere(db: TestDb) {
        let world = World::on(db).await;
        for (n, (rpc, missing, again)) in (1..).zip(TABLE) {
            let (team, _) = world.organization_with(n, "1").await;
            world.hears(team, id(20), Some(Role::Admin), 1).await;
            world.hears(team, id(30), Some(Role::Member), 1).await;
            let (admin, member) = (world.member(20, team, Role::Admin, 1), world.member(30, team, Role::Member, 1));
            let stranger = world.person(90);
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

    async fn forty_days_later_a_repetition_still_gets_the_first_answer(db: TestDb) {
        let world = World::on(db).await;
        for (n, (rpc, ..)) in (1..).zip(TABLE) {
            let ana = world.person(n);
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
