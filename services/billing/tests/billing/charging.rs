//! `Charge`: what is spent, in which order, and what is refused.

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::LotSource::{Allowance, Pack, Promotion};
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{at, engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::words::{Granting, Spending, Under, grant, spend};
use crate::world::World;

engines! {
    async fn a_charge_takes_its_credits_and_says_so(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let worked_at = to_timestamp(at("2026-01-14T09:00:00Z"));
        let request = spend(ana.owner, "12.500001").for_project("film").on_model("veo-3.1");
        let request = request.labelled("scene", "7").labelled("take", "a b").under("r1");
        let request = pb::ChargeRequest { occurred_at: Some(worked_at), ..request };
        let answer = ana.charge(request).await.unwrap();
        assert_eq!((answer.balance_after.as_str(), answer.replayed), ("87.499999", false));

        let charge = answer.charge.unwrap();
        assert!(charge.id.starts_with("chg_"), "{}", charge.id);
        assert_eq!((charge.owner.as_str(), charge.member.as_str()), (&*ana.owner.to_string(), &*ana.user.to_string()));
        assert_eq!((charge.amount.as_str(), charge.refunded.as_str()), ("12.500001", "0"));
        assert_eq!((&*charge.project, &*charge.model), ("film", "veo-3.1"));
        assert_eq!((charge.components.len(), charge.catalog_version), (0, 0), "by amount nothing is priced");
        assert_eq!(charge.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(), ["scene=7", "take=a b"]);
        assert_eq!((charge.occurred_at, charge.created_at), (Some(worked_at), Some(to_timestamp(world.now()))));
        assert_eq!((charge.hold_id.as_str(), charge.seq), ("", 2), "the grant was the first entry");
        let paid: Vec<_> = charge.allocations.iter().map(|it| it.amount.as_str()).collect();
        assert_eq!(paid, ["12.500001"]);
        assert_eq!(ana.charge_now(&charge).await, charge, "read back");
        world.audit(ana.owner).await;
    }

    async fn lots_burn_in_their_order(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let (soon, later) = (world.in_(Span::DAY), world.in_(Span::from_days(30)));
        let lot = |amount| grant(ana.owner, amount);
        // Granted in another order than they are spent.
        let pack = operator.granted(lot("1").out_of(Pack)).await;
        let last = operator.granted(lot("1").out_of(Promotion).at_priority(5)).await;
        let month = operator.granted(lot("1").out_of(Allowance).expiring(later)).await;
        let promotion = operator.granted(lot("1").out_of(Promotion)).await;
        let second_pack = operator.granted(lot("1").out_of(Pack)).await;
        let urgent = operator.granted(lot("1").out_of(Pack).at_priority(-1)).await;
        let free_month = operator.granted(lot("1").out_of(Promotion).expiring(later)).await;
        let day = operator.granted(lot("1").out_of(Allowance).expiring(soon)).await;
        let charge = ana.charged(spend(ana.owner, "7.5")).await;
        let names = [
            (&urgent, "priority first"), (&day, "then the soonest expiry"), (&free_month, "free before paid"),
            (&month, "paid, same expiry"), (&promotion, "never expires, free"), (&pack, "never expires, paid, older"),
            (&second_pack, "newer"), (&last, "the highest priority last"),
        ];
        for (place, ((lot, why), paid)) in names.iter().zip(&charge.allocations).enumerate() {
            assert_eq!(paid.lot_id, lot.id, "{place}: {why}");
        }
        assert_eq!(charge.allocations.len(), 8);
        assert_eq!(charge.allocations[7].amount, "0.5");
        world.audit(ana.owner).await;
    }

    async fn only_what_is_effective_can_be_spent(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let (begins, ends) = (world.in_(Span::HOUR), world.in_(Span::from_hours(2)));
        operator.granted(grant(ana.owner, "10").effective(begins).expiring(ends)).await;
        let early = refused(ana.charge(spend(ana.owner, "1")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        assert_eq!(early.metadata["available"], "0");
        assert_eq!(early.metadata["required"], "1");
        assert_eq!(world.available(ana.owner).await, "0", "not yet");

        world.passes(Span::HOUR);
        ana.charged(spend(ana.owner, "1")).await;
        assert_eq!(world.balance(ana.owner).await.next_expiry, Some(to_timestamp(ends)));

        // The last instant of [effective, expires), then the first beyond it.
        world.clock.set(bursar_time::Timestamp::from_micros(ends.as_micros() - 1).unwrap()).unwrap();
        ana.charged(spend(ana.owner, "1")).await;
        world.clock.set(ends).unwrap();
        refused(ana.charge(spend(ana.owner, "1")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        let lots = world.operator().list_lots(crate::words::lots_of(ana.owner)).await.unwrap().lots;
        assert_eq!((&*lots[0].remaining, &*lots[0].expired, &*lots[0].spent), ("0", "8", "2"));
        world.audit(ana.owner).await;
    }

    async fn a_refusal_for_lack_of_credits_takes_nothing_and_keeps_the_id_free(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "5").await;
        let seq = world.seq(ana.owner).await;
        let request = spend(ana.owner, "5.000001").under("r1");
        let short = refused(ana.charge(request.clone()).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        assert_eq!((&*short.metadata["available"], &*short.metadata["required"]), ("5", "5.000001"));
        assert_eq!(world.seq(ana.owner).await, seq, "nothing was written");
        world.operator().granted(grant(ana.owner, "1")).await;
        let answer = ana.charge(request).await.unwrap();
        assert_eq!((answer.replayed, &*answer.balance_after), (false, "0.999999"));
        world.audit(ana.owner).await;
    }

    async fn a_period_counts_what_was_spent_in_it(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let first = ana.charged(spend(ana.owner, "10")).await;
        ana.charged(spend(ana.owner, "5")).await;
        world.product().refund(crate::words::give_back_part(&first, "4")).await.unwrap();
        let balance = world.balance(ana.owner).await;
        assert_eq!(balance.spent_this_period, "11");
        let period = [balance.period_start.unwrap(), balance.period_end.unwrap()];
        assert_eq!(period, [to_timestamp(at("2026-01-01T00:00:00Z")), to_timestamp(at("2026-02-01T00:00:00Z"))]);

        world.clock.set(at("2026-03-01T00:00:00Z")).unwrap();
        let balance = world.balance(ana.owner).await;
        assert_eq!((&*balance.spent_this_period, balance.period_start), ("0", Some(to_timestamp(at("2026-03-01T00:00:00Z")))));
        ana.charged(spend(ana.owner, "3")).await;
        assert_eq!(world.balance(ana.owner).await.spent_this_period, "3");
        world.audit(ana.owner).await;
    }
}
