//! `MoveSubscription` that is called off, or that finds no room: nothing moves, however late the call that asks for it.

use std::sync::Arc;

use bursar_id::OwnerId;
use bursar_money::Credits;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, engines, refused, rounds};
use bursar_time::Span;
use tokio::sync::Barrier;
use tonic::Code;

use crate::moving::{moving, plan_of, subscribed, unheard};
use crate::races::at_once;
use crate::words::{cancel, subscribe};
use crate::world::World;

const FAILED: Code = Code::FailedPrecondition;

/// Calls the move off.
fn calling_off(from: OwnerId, to: OwnerId) -> pb::MoveSubscriptionRequest {
    let (to_owner, called_off_for) = (to.to_string(), from.to_string());
    pb::MoveSubscriptionRequest { to_owner, called_off_for, ..Default::default() }
}

engines! {
    async fn what_is_called_off_moves_no_more_however_late(db: TestDb) {
        let world = World::on(db).await;
        let (ana, team) = (subscribed(&world, 1).await, unheard(1));
        let organization = world.service(ServiceRole::Organization);
        let ask = async |request| organization.move_subscription(request).await;
        let before = (world.seq(ana.owner).await, plan_of(&world, ana.owner).await);
        refused(ask(calling_off(ana.owner, team)).await, FAILED, "MOVE_CALLED_OFF");
        refused(ask(moving(ana.owner, team)).await, FAILED, "MOVE_CALLED_OFF");
        refused(ask(calling_off(ana.owner, team)).await, FAILED, "MOVE_CALLED_OFF");
        assert_eq!((world.seq(ana.owner).await, plan_of(&world, ana.owner).await), before, "everything is hers");
        let other = world.person(2);
        refused(ask(moving(other.owner, team)).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        world.passes(Span::from_days(20));
        bursar_db::idempotency::prune(&world.store, world.now().saturating_add(Span::from_days(40))).await.expect("forgets");
        assert_eq!(world.answers_kept().await, 0, "it is forgotten there");
        let organization = world.service(ServiceRole::Organization);
        refused(organization.move_subscription(moving(ana.owner, team)).await, FAILED, "MOVE_CALLED_OFF");
        // Her plan goes with the next one, and what has moved is not called off.
        let moved = organization.move_subscription(moving(ana.owner, unheard(2))).await.expect("moved");
        assert_eq!(organization.move_subscription(calling_off(ana.owner, unheard(2))).await.expect("it has moved"), moved);
        assert_eq!(plan_of(&world, unheard(2)).await.0, "business");
        for owner in [ana.owner, unheard(2)] {
            world.audit(owner).await;
        }
    }

    async fn calling_off_is_refused_as_moving_is(db: TestDb) {
        let world = World::on(db).await;
        let ana = subscribed(&world, 1).await;
        let (team, _) = world.organization_with(4, "1").await;
        let organization = world.service(ServiceRole::Organization);
        let both = pb::MoveSubscriptionRequest { from_owner: ana.owner.to_string(), ..calling_off(ana.owner, team) };
        let bad = refused(organization.move_subscription(both).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["from_owner"]);
        let bad = organization.move_subscription(calling_off(team, ana.owner)).await;
        assert_eq!(refused(bad, Code::InvalidArgument, "INVALID_FIELDS").fields, ["called_off_for", "to_owner"]);
        for role in [ServiceRole::Product, ServiceRole::Operator, ServiceRole::Identity, ServiceRole::Billing] {
            let outcome = world.service(role).move_subscription(calling_off(ana.owner, team)).await;
            refused(outcome, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        let outcome = ana.move_subscription(calling_off(ana.owner, team)).await;
        refused(outcome, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        assert_eq!(world.scalar("SELECT COUNT(*) FROM refused_moves").await, 0, "nothing is remembered");
        // What operators have given it is told, and is the answer from then on.
        let operator = world.operator();
        operator.subscribe(subscribe(team, "business")).await.expect("subscribed");
        refused(organization.move_subscription(calling_off(ana.owner, team)).await, FAILED, "ALREADY_SUBSCRIBED");
        operator.cancel(cancel(team, pb::CancelAt::Now)).await.expect("canceled");
        refused(organization.move_subscription(moving(ana.owner, team)).await, FAILED, "ALREADY_SUBSCRIBED");
    }

    /// Operators have granted it as much as an account can hold.
    async fn where_the_organization_has_no_room_nothing_moves_however_late(db: TestDb) {
        let world = World::on(db).await;
        let ana = subscribed(&world, 1).await;
        let (team, _) = world.organization_with(2, &Credits::MAX.to_string()).await;
        let organization = world.service(ServiceRole::Organization);
        let seqs = (world.seq(ana.owner).await, world.seq(team).await);
        for _ in 0..2 {
            let full = refused(organization.move_subscription(moving(ana.owner, team)).await, FAILED, "BALANCE_TOO_LARGE");
            assert_eq!(full.metadata.get("final").map(String::as_str), Some("true"), "{full:?}");
        }
        assert_eq!(world.scalar("SELECT COUNT(*) FROM refused_moves").await, 1, "the first answer");
        assert_eq!((world.seq(ana.owner).await, world.seq(team).await), seqs, "nothing is booked");
        assert_eq!((plan_of(&world, ana.owner).await.0, world.available(ana.owner).await), ("business".to_owned(), "1800".to_owned()));
        // Once there is room, what was refused stays so: organization has removed what it had made.
        let lots = world.operator().list_lots(crate::words::lots_of(team)).await.expect("lots").lots;
        let void = pb::VoidLotRequest { owner: team.to_string(), lot_id: lots[0].id.clone(), ..Default::default() };
        world.operator().void_lot(void).await.expect("voided");
        refused(organization.move_subscription(moving(ana.owner, team)).await, FAILED, "BALANCE_TOO_LARGE");
        organization.move_subscription(moving(ana.owner, unheard(3))).await.expect("it moves elsewhere");
        for owner in [ana.owner, team, unheard(3)] {
            world.audit(owner).await;
        }
    }

    async fn of_a_move_and_calling_it_off_exactly_one_takes_effect(db: TestDb) {
        let world = World::on(db).await;
        for round in 0..rounds() {
            let (ana, team) = (subscribed(&world, 1 + round).await, unheard(round));
            let organization = world.service(ServiceRole::Organization);
            let barrier = Arc::new(Barrier::new(64));
            let outcomes = at_once((0..64_usize).map(|n| {
                let (organization, barrier) = (organization.clone(), Arc::clone(&barrier));
                let request = if n % 2 == 0 { moving(ana.owner, team) } else { calling_off(ana.owner, team) };
                async move {
                    barrier.wait().await;
                    organization.move_subscription(request).await
                }
            }))
            .await;
            let has_moved = outcomes[0].is_ok();
            for outcome in &outcomes {
                match outcome {
                    Ok(moved) => assert_eq!(Some(moved), outcomes[0].as_ref().ok(), "one answer for all"),
                    Err(status) => assert_eq!((has_moved, Refusal::of(status).reason.as_str()), (false, "MOVE_CALLED_OFF")),
                }
            }
            let (whose, others) = if has_moved { (team, ana.owner) } else { (ana.owner, team) };
            assert_eq!((plan_of(&world, whose).await.0.as_str(), plan_of(&world, others).await.0.as_str()), ("business", "free"));
            world.audit(ana.owner).await;
        }
    }
}
