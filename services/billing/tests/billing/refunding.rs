//! `Refund` and `GetCharge`.

use bursar_id::{ChargeId, HoldId, RefundId};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{engines, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::words::{Granting, Under, give_back, give_back_part, grant, lots_of, spend, void};
use crate::world::World;

fn parts(allocations: &[pb::Allocation]) -> Vec<(&str, &str)> {
    allocations.iter().map(|it| (it.lot_id.as_str(), it.amount.as_str())).collect()
}

engines! {
    async fn credits_go_back_where_they_came_from_last_spent_first(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let first = operator.granted(grant(ana.owner, "5").expiring(world.in_(Span::DAY))).await;
        let second = operator.granted(grant(ana.owner, "5")).await;
        let charge = ana.charged(spend(ana.owner, "8")).await;
        assert_eq!(parts(&charge.allocations), [(&*first.id, "5"), (&*second.id, "3")]);

        let answer = world.product().refund(give_back_part(&charge, "4").under("f1")).await.unwrap();
        assert_eq!((&*answer.balance_after, answer.replayed), ("6", false));
        let refund = answer.refund.unwrap();
        assert!(refund.id.starts_with("ref_"));
        assert_eq!((&refund.charge_id, &*refund.amount, &*refund.lost), (&charge.id, "4", "0"));
        assert_eq!((&refund.owner, refund.created_at), (&charge.owner, Some(to_timestamp(world.now()))));
        assert_eq!(parts(&refund.allocations), [(&*second.id, "3"), (&*first.id, "1")]);
        assert_eq!(ana.charge_now(&charge).await.refunded, "4");

        let rest = world.product().refund(give_back(&charge)).await.unwrap();
        assert_eq!((&*rest.refund.unwrap().amount, &*rest.balance_after), ("4", "10"), "everything that is left");
        assert_eq!(ana.charge_now(&charge).await.refunded, "8");
        world.audit(ana.owner).await;
    }

    async fn never_more_than_was_charged(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let charge = ana.charged(spend(ana.owner, "3")).await;
        let seq = world.seq(ana.owner).await;
        let above = world.product().refund(give_back_part(&charge, "3.000001")).await;
        let above = refused(above, Code::FailedPrecondition, "REFUND_ABOVE_CHARGE");
        assert_eq!((&*above.metadata["left"], &*above.metadata["required"]), ("3", "3.000001"));
        assert_eq!(world.seq(ana.owner).await, seq);
        world.product().refund(give_back_part(&charge, "2")).await.unwrap();
        let above = refused(world.product().refund(give_back_part(&charge, "2")).await, Code::FailedPrecondition, "REFUND_ABOVE_CHARGE");
        assert_eq!(above.metadata["left"], "1");
        world.product().refund(give_back(&charge)).await.unwrap();
        for request in [give_back(&charge), give_back_part(&charge, "0.000001")] {
            let nothing = refused(world.product().refund(request).await, Code::FailedPrecondition, "REFUND_ABOVE_CHARGE");
            assert_eq!(nothing.metadata["left"], "0");
        }
        world.audit(ana.owner).await;
    }

    async fn what_returns_to_an_expired_or_voided_lot_is_gone(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        operator.granted(grant(ana.owner, "5").expiring(world.in_(Span::HOUR))).await;
        let pack = operator.granted(grant(ana.owner, "5")).await;
        let charge = ana.charged(spend(ana.owner, "7")).await;
        world.passes(Span::HOUR);
        world.operator().void_lot(void(ana.owner, &pack)).await.unwrap();
        let refund = world.product().refund(give_back(&charge)).await.unwrap();
        assert_eq!(refund.balance_after, "0");
        assert_eq!(refund.refund.unwrap().lost, "7");
        let lots = ana.list_lots(lots_of(ana.owner)).await.unwrap().lots;
        assert_eq!([&*lots[0].voided, &*lots[1].expired], ["5", "5"]);
        world.audit(ana.owner).await;
    }

    async fn only_a_charge_that_is_there_can_be_refunded(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (world.person_with(1, "10").await, world.person_with(2, "10").await);
        let charge = ana.charged(spend(ana.owner, "3")).await;
        let refund = world.product().refund(give_back_part(&charge, "1")).await.unwrap().refund.unwrap();
        let seqs = (world.seq(ana.owner).await, world.seq(ben.owner).await);
        let (nothing, other, hold): (ChargeId, RefundId, HoldId) = (id(77), id(78), id(79));
        let missing = [
            (&ben, charge.id.clone(), "another owner's"), (&ana, nothing.to_string(), "nobody's"),
            (&ana, refund.id, "a refund"), (&ana, other.to_string(), "no refund"), (&ana, hold.to_string(), "a hold"),
        ];
        for (person, charge_id, what) in missing {
            let request = pb::RefundRequest { owner: person.owner.to_string(), charge_id, ..Default::default() };
            let gone = refused(world.product().refund(request).await, Code::NotFound, "NOT_FOUND");
            assert_eq!(gone.message, "no such charge", "{what}");
        }
        for charge_id in ["", "chg_", "rubbish", "chg_8ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            let charge = pb::Charge { id: charge_id.to_owned(), ..charge.clone() };
            let request = give_back(&charge);
            let bad = refused(world.product().refund(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["charge_id"], "{charge_id}");
        }
        let wrong = pb::RefundRequest { owner: ben.owner.to_string(), ..give_back(&charge) };
        refused(world.product().refund(wrong).await, Code::NotFound, "NOT_FOUND");
        for owner in ["", "ana"] {
            let nobodys = pb::RefundRequest { owner: owner.to_owned(), ..give_back(&charge) };
            let bad = refused(world.product().refund(nobodys).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["owner"]);
        }
        let get = pb::GetChargeRequest { charge_id: charge.id.clone(), owner: String::new() };
        refused(ben.get_charge(get.clone()).await, Code::NotFound, "NOT_FOUND");
        refused(ben.get_charge(crate::words::the_charge(&charge)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        let unknown = pb::GetChargeRequest { charge_id: nothing.to_string(), ..get.clone() };
        refused(ana.get_charge(unknown).await, Code::NotFound, "NOT_FOUND");
        let malformed = pb::GetChargeRequest { charge_id: "chg".to_owned(), ..get };
        refused(ana.get_charge(malformed).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!((world.seq(ana.owner).await, world.seq(ben.owner).await), seqs);

        let right = pb::RefundRequest { owner: ana.owner.to_string(), ..give_back(&charge) };
        assert_eq!(world.product().refund(right).await.unwrap().balance_after, "10");
        world.audit(ana.owner).await;
    }
}
