//! `Capture` and `Release`.

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::HoldState;
use bursar_testkit::{engines, id, refused};
use tonic::Code;

use crate::words::{Spending, Under, free, give_back, grant, reserve, settle, spend};
use crate::world::World;

fn with_excess(request: pb::CaptureRequest) -> pb::CaptureRequest {
    pb::CaptureRequest { allow_excess: true, ..request }
}

engines! {
    async fn a_capture_charges_part_and_frees_the_rest(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let hold = ana.held(reserve(ana.owner, "4").for_project("film").on_model("veo-3.1").labelled("scene", "7")).await;
        let answer = ana.capture(settle(&hold, "2.5").under("c1")).await.unwrap();
        assert_eq!((&*answer.balance_after, answer.replayed), ("7.5", false));
        let charge = answer.charge.unwrap();
        assert_eq!((&*charge.amount, &charge.hold_id, &charge.member), ("2.5", &hold.id, &hold.member));
        assert_eq!((&*charge.project, &*charge.model, &charge.labels), ("film", "veo-3.1", &hold.labels));
        assert_eq!(ana.charge_now(&charge).await, charge);
        let hold = ana.hold_now(&hold).await;
        assert_eq!((hold.state(), &*hold.captured, &hold.charge_id), (HoldState::Captured, "2.5", &charge.id));

        let seq = world.seq(ana.owner).await;
        refused(ana.capture(settle(&hold, "1")).await, Code::FailedPrecondition, "HOLD_SETTLED");
        refused(ana.capture(settle(&hold, "100")).await, Code::FailedPrecondition, "HOLD_SETTLED");
        refused(ana.release(free(&hold)).await, Code::FailedPrecondition, "HOLD_SETTLED");
        assert_eq!(world.seq(ana.owner).await, seq);
        world.product().refund(give_back(&charge)).await.unwrap();
        assert_eq!(world.available(ana.owner).await, "10", "a captured hold's charge can be refunded");
        world.audit(ana.owner).await;
    }

    async fn more_than_was_held_only_when_allowed_and_all_or_nothing(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let hold = ana.held(reserve(ana.owner, "4")).await;
        let seq = world.seq(ana.owner).await;
        let above = refused(ana.capture(settle(&hold, "4.000001")).await, Code::FailedPrecondition, "CAPTURE_ABOVE_HOLD");
        assert_eq!((&*above.metadata["held"], &*above.metadata["required"]), ("4", "4.000001"));
        let short = ana.capture(with_excess(settle(&hold, "11"))).await;
        let short = refused(short, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        assert_eq!((&*short.metadata["available"], &*short.metadata["required"]), ("6", "7"), "the excess alone");
        assert_eq!(world.seq(ana.owner).await, seq);
        assert_eq!(ana.hold_now(&hold).await.state(), HoldState::Open);

        let bonus = world.operator().granted(grant(ana.owner, "1").under("bonus")).await;
        let charge = ana.captured(with_excess(settle(&hold, "11"))).await;
        let sum: Vec<_> = charge.allocations.iter().map(|it| (it.amount.as_str(), it.lot_id == bonus.id)).collect();
        assert_eq!(sum.last(), Some(&("1", true)), "the excess burns in order: {sum:?}");
        assert_eq!(world.available(ana.owner).await, "0");
        world.audit(ana.owner).await;
    }

    async fn a_release_gives_all_back_as_often_as_it_is_asked(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let hold = ana.held(reserve(ana.owner, "4")).await;
        let first = ana.release(free(&hold)).await.unwrap();
        assert_eq!((first.hold.as_ref().unwrap().state(), &*first.balance_after), (HoldState::Released, "10"));
        let seq = world.seq(ana.owner).await;
        ana.charged(spend(ana.owner, "1")).await;
        let again = ana.release(free(&hold)).await.unwrap();
        assert_eq!((again.hold, &*again.balance_after), (first.hold, "9"), "the hold as it is, the balance as it is now");
        assert_eq!(world.seq(ana.owner).await, seq + 1, "only the charge was written");
        refused(ana.capture(settle(&hold, "1")).await, Code::FailedPrecondition, "HOLD_SETTLED");
        world.audit(ana.owner).await;
    }

    async fn a_service_names_the_owner(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let product = world.product();
        let hold = product.held(reserve(team, "4").by(boss.user)).await;
        let other = product.held(reserve(team, "2").by(boss.user)).await;
        let elsewhere = world.person_with(2, "10").await.owner;
        let wrong = pb::CaptureRequest { owner: elsewhere.to_string(), ..settle(&hold, "1") };
        refused(product.capture(wrong).await, Code::NotFound, "NOT_FOUND");
        let wrong = pb::ReleaseRequest { owner: elsewhere.to_string(), ..free(&hold) };
        refused(product.release(wrong).await, Code::NotFound, "NOT_FOUND");
        let named = pb::CaptureRequest { owner: team.to_string(), ..settle(&hold, "1") };
        assert_eq!(product.captured(named).await.owner, team.to_string());
        product.release(free(&other)).await.unwrap();
        let nothing: bursar_id::HoldId = id(77);
        let nothing = pb::Hold { id: nothing.to_string(), ..hold.clone() };
        refused(product.capture(settle(&nothing, "1")).await, Code::NotFound, "NOT_FOUND");
        refused(product.release(free(&nothing)).await, Code::NotFound, "NOT_FOUND");
        let nobodys = pb::Hold { owner: String::new(), ..hold };
        for bad in [product.capture(settle(&nobodys, "1")).await.map(drop), product.release(free(&nobodys)).await.map(drop)] {
            assert_eq!(refused(bad, Code::InvalidArgument, "INVALID_FIELDS").fields, ["owner"], "a service names it");
        }
        world.audit(team).await;
        world.audit(elsewhere).await;
    }
}
