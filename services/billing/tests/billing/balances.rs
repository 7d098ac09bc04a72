//! One meaning of "available": what every operation's answer says is left, what `GetBalance` says at the same instant, and
//! what the ledger's entry says could be spent then, whatever lots there are besides.

use bursar_proto::billing::v1 as pb;
use bursar_testkit::engines;
use bursar_time::Span;

use crate::words::{
    Granting, Holding, Spending, Under, batch, entries_of, free, give_back, give_back_part, grant, reserve, settle,
    settle_all, spend, void,
};
use crate::world::{Person, World};

/// Compares an answer with the account.
async fn same(world: &World, ana: &Person, what: &str, balance_after: &str) {
    assert_eq!(balance_after, world.available(ana.owner).await, "{what}");
    let newest = pb::ListLedgerEntriesRequest { newest_first: true, page_size: 1, ..entries_of(ana.owner) };
    let entry = world.operator().list_ledger_entries(newest).await.unwrap().entries.remove(0);
    assert_eq!(balance_after, entry.spendable_after, "{what}: the entry");
}

/// Every operation once, each compared with the account.
async fn everything(world: &World, ana: &Person, round: &str) {
    let (owner, product) = (ana.owner, world.product());
    let charged = ana.charge(spend(owner, "3").on_model("veo-3.1")).await.unwrap();
    same(world, ana, &format!("{round}: Charge"), &charged.balance_after).await;
    let again = ana.charge(spend(owner, "1").under(&format!("{round} again"))).await.unwrap();
    same(world, ana, &format!("{round}: another"), &again.balance_after).await;
    let replayed = ana.charge(spend(owner, "1").under(&format!("{round} again"))).await.unwrap();
    assert_eq!((replayed.replayed, &replayed.balance_after), (true, &again.balance_after), "{round}: a replay");
    let held = ana.hold(reserve(owner, "4")).await.unwrap();
    same(world, ana, &format!("{round}: Hold"), &held.balance_after).await;
    let captured = ana.capture(settle(&held.hold.unwrap(), "1")).await.unwrap();
    same(world, ana, &format!("{round}: Capture"), &captured.balance_after).await;
    let more = ana.held(reserve(owner, "1")).await;
    let excess = pb::CaptureRequest { allow_excess: true, ..settle(&more, "2") };
    let captured = ana.capture(excess).await.unwrap();
    same(world, ana, &format!("{round}: Capture of more"), &captured.balance_after).await;
    let open = ana.held(reserve(owner, "2")).await;
    let released = ana.release(free(&open)).await.unwrap();
    same(world, ana, &format!("{round}: Release"), &released.balance_after).await;
    let charge = charged.charge.unwrap();
    let refunded = product.refund(give_back_part(&charge, "1")).await.unwrap();
    same(world, ana, &format!("{round}: Refund of a part"), &refunded.balance_after).await;
    let refunded = product.refund(give_back(&charge)).await.unwrap();
    same(world, ana, &format!("{round}: Refund"), &refunded.balance_after).await;
    let batched = ana.batch_charge(batch([spend(owner, "1"), spend(owner, "2").on_model("veo-3.1")])).await.unwrap();
    let last = batched.outcomes.last().unwrap();
    same(world, ana, &format!("{round}: BatchCharge"), &last.balance_after).await;
    world.audit(owner).await;
}

engines! {
    async fn what_is_left_is_what_get_balance_calls_available(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let owner = ana.owner;
        operator.granted(grant(owner, "500")).await;
        everything(&world, &ana, "one lot").await;
        operator.granted(grant(owner, "100").effective(world.in_(Span::HOUR))).await;
        everything(&world, &ana, "a future one").await;
        operator.granted(grant(owner, "10").only_for(&["veo-3.1"], &[])).await;
        operator.granted(grant(owner, "10").only_for(&["kling-3.0-pro"], &["film"])).await;
        everything(&world, &ana, "scoped ones").await;
        let voided = operator.granted(grant(owner, "50").at_priority(-1)).await;
        let part = ana.charged(spend(owner, "5")).await;
        let hold = ana.held(reserve(owner, "6")).await;
        operator.void_lot(void(owner, &voided)).await.unwrap();
        everything(&world, &ana, "a voided one").await;
        let gone = world.product().refund(give_back(&part)).await.unwrap();
        same(&world, &ana, "a refund into the voided one", &gone.balance_after).await;
        let gone = ana.release(free(&hold)).await.unwrap();
        same(&world, &ana, "a release into the voided one", &gone.balance_after).await;

        operator.granted(grant(owner, "70").at_priority(-1).expiring(world.in_(Span::MINUTE))).await;
        let part = ana.charged(spend(owner, "5")).await;
        let held = ana.held(reserve(owner, "6")).await;
        let short = ana.held(reserve(owner, "7").lasting(Span::from_secs(90))).await;
        everything(&world, &ana, "one that expires").await;
        // To the very instant, and not booked by anybody before the first operation.
        world.passes(Span::MINUTE);
        let first = ana.charge(spend(owner, "1")).await.unwrap();
        same(&world, &ana, "at its expiry", &first.balance_after).await;
        everything(&world, &ana, "an expired one").await;
        let gone = world.product().refund(give_back(&part)).await.unwrap();
        same(&world, &ana, "a refund into the expired one", &gone.balance_after).await;
        let gone = ana.capture(settle_all(&held)).await.unwrap();
        same(&world, &ana, "a capture of what the expired one had given", &gone.balance_after).await;
        world.passes(Span::MINUTE);
        let lapsed = ana.hold_now(&short).await;
        assert_eq!(lapsed.state(), pb::HoldState::Lapsed);
        everything(&world, &ana, "a lapsed hold").await;
        // The future one has become the present one, to the instant.
        world.passes(Span::HOUR.saturating_sub(Span::MINUTE).saturating_sub(Span::MINUTE));
        everything(&world, &ana, "the future one, come").await;
    }
}
