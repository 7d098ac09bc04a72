//! Request ids: the same request again is the stored answer, before anything else is looked at.

use bursar_proto::billing::v1 as pb;
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::words::{
    Charging, Granting, Holding, Spending, Under, erase, free, give_back, give_back_part, grant, reserve, settle,
    spend, void,
};
use crate::world::{BUILT_IN, World, sell};

/// Makes a call twice and a changed one under the same id: one effect, equal answers, and a refusal.
macro_rules! replays {
    ($world:expr, $owner:expr, $caller:expr, $rpc:ident, $request:expr, $changed:expr) => {{
        let first = $caller.$rpc($request).await.unwrap();
        let seq = $world.seq($owner).await;
        let mut again = $caller.$rpc($request).await.unwrap();
        assert!(!first.replayed && again.replayed, "{}", stringify!($rpc));
        again.replayed = false;
        assert_eq!(first, again, "{}: the stored answer", stringify!($rpc));
        refused($caller.$rpc($changed).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!($world.seq($owner).await, seq, "{}: one effect", stringify!($rpc));
        first
    }};
}

engines! {
    async fn every_operation_replays_its_answer(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let (owner, operator, product) = (ana.owner, world.operator(), world.product());
        let lot = replays!(world, owner, operator, grant_credits, grant(owner, "10").under("1"), grant(owner, "11").under("1"));
        let charge = replays!(world, owner, ana, charge, spend(owner, "4").under("2"), spend(owner, "4").for_project("x").under("2"));
        let hold = replays!(world, owner, ana, hold, reserve(owner, "4").under("3"), reserve(owner, "4").lasting(Span::MINUTE).under("3"));
        let hold = hold.hold.unwrap();
        replays!(world, owner, ana, capture, settle(&hold, "3").under("4"), settle(&hold, "2").under("4"));
        let charge = charge.charge.unwrap();
        replays!(world, owner, product, refund, give_back_part(&charge, "1").under("5"), give_back(&charge).under("5"));
        let lot = lot.lot.unwrap();
        let changed = pb::VoidLotRequest { note: "other".into(), ..void(ana.owner, &lot) };
        replays!(world, owner, operator, void_lot, void(ana.owner, &lot).under("6"), changed.under("6"));
        // One id, two kinds of request.
        refused(ana.hold(reserve(owner, "4").under("2")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let held = ana.held(reserve(owner, "1")).await;
        let other = ana.held(reserve(owner, "1")).await;
        replays!(world, owner, ana, release, free(&held).under("7"), free(&other).under("7"));
        let erased = product.erase_details(erase(owner, None).under("8")).await.unwrap();
        let again = product.erase_details(erase(owner, None).under("8")).await.unwrap();
        assert_eq!((erased.seq, erased.replayed, again.replayed), (again.seq, false, true));
        let changed = erase(owner, Some(ana.user)).under("8");
        refused(product.erase_details(changed).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        world.audit(owner).await;
    }

    async fn a_replay_does_not_care_what_happened_since(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let owner = ana.owner;
        let granted = grant(owner, "10").expiring(world.in_(Span::HOUR)).under("g");
        let lot = world.operator().granted(granted.clone()).await;
        let charge = ana.charge(spend(owner, "4").under("c")).await.unwrap();
        let hold = ana.hold(reserve(owner, "3").lasting(Span::MINUTE).under("h")).await.unwrap();
        world.product().refund(give_back(charge.charge.as_ref().unwrap()).under("f")).await.unwrap();
        ana.release(free(hold.hold.as_ref().unwrap())).await.unwrap();
        world.operator().void_lot(void(ana.owner, &lot).under("v")).await.unwrap();
        world.passes(Span::from_days(400));

        let again = ana.charge(spend(owner, "4").under("c")).await.unwrap();
        assert_eq!(again, pb::ChargeResponse { replayed: true, ..charge }, "nothing is left and it was refunded");
        let again = ana.hold(reserve(owner, "3").lasting(Span::MINUTE).under("h")).await.unwrap();
        assert_eq!(again, pb::HoldResponse { replayed: true, ..hold }, "it was released long ago");
        let again = world.operator().grant_credits(granted).await.unwrap();
        assert_eq!((again.lot, again.replayed), (Some(lot), true), "it has expired");
        refused(ana.charge(spend(owner, "1").under("c")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        world.audit(owner).await;
    }

    async fn an_id_belongs_to_its_account(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (world.person_with(1, "10").await, world.person_with(2, "10").await);
        let first = ana.charge(spend(ana.owner, "4").under("r1")).await.unwrap();
        let other = ben.charge(spend(ben.owner, "4").under("r1")).await.unwrap();
        assert!(!other.replayed, "another account's id is another id");
        let again = ana.charge(spend(ana.owner, "4").under("r1")).await.unwrap();
        assert_eq!(again, pb::ChargeResponse { replayed: true, ..first });
        for _ in 0..2 {
            assert!(!ana.charge(spend(ana.owner, "1")).await.unwrap().replayed, "without an id nothing is remembered");
        }
        assert_eq!(world.available(ana.owner).await, "4");
        world.audit(ana.owner).await;
    }

    async fn a_price_change_is_no_other_request(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let by_usage = || spend(ana.owner, "").on_model("veo-3.1").using(&[("seconds", "2")]).under("r1");
        let first = ana.charge(by_usage()).await.unwrap();
        let named = spend(ana.owner, "12").on_model("veo-3.1").under("r1");
        refused(ana.charge(named).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        // The same request at an instance that sells dearer.
        let dearer = BUILT_IN.replacen("credits = \"6\"", "credits = \"7\"", 1);
        let dearer = world.instance_with(|settings| sell(settings, &dearer)).await;
        let ana = world.through(&dearer, &ana);
        let again = ana.charge(by_usage()).await.unwrap();
        assert_eq!(again, pb::ChargeResponse { replayed: true, ..first });
        let dear = ana.charged(spend(ana.owner, "").on_model("veo-3.1").using(&[("", "2")])).await;
        assert_eq!((&*dear.amount, dear.catalog_version), ("14", 2));
    }
}
