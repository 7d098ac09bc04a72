//! `Hold` and `GetHold`: reservations, and what they outlive.

use bursar_id::{HoldId, Role, UserId};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::HoldState;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{engines, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::words::{Granting, Holding, Spending, Under, free, grant, lots_of, reserve, settle, spend, the_hold, void};
use crate::world::World;

engines! {
    async fn a_hold_reserves_and_says_so(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let request = reserve(ana.owner, "4.5").for_project("film").on_model("veo-3.1").labelled("scene", "7").under("h1");
        let answer = ana.hold(request).await.unwrap();
        assert_eq!((&*answer.balance_after, answer.replayed), ("5.5", false));
        let hold = answer.hold.unwrap();
        assert!(hold.id.starts_with("hld_"));
        assert_eq!((hold.state(), &*hold.amount, &*hold.captured, &*hold.charge_id), (HoldState::Open, "4.5", "0", ""));
        assert_eq!((&*hold.member, &*hold.project, &*hold.model), (&*ana.user.to_string(), "film", "veo-3.1"));
        assert_eq!(hold.labels.get("scene").map(String::as_str), Some("7"));
        assert_eq!(hold.created_at, Some(to_timestamp(world.now())));
        assert_eq!(hold.expires_at, Some(to_timestamp(world.in_(Span::HOUR))), "an hour when nothing is said");
        assert_eq!(hold.allocations.iter().map(|it| &*it.amount).collect::<Vec<_>>(), ["4.5"]);
        assert_eq!(ana.hold_now(&hold).await, hold, "read back");

        let balance = world.balance(ana.owner).await;
        assert_eq!((&*balance.available, &*balance.held), ("5.5", "4.5"));
        let short = refused(ana.hold(reserve(ana.owner, "6")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        assert_eq!((&*short.metadata["available"], &*short.metadata["required"]), ("5.5", "6"));
        refused(ana.charge(spend(ana.owner, "6")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        world.audit(ana.owner).await;
    }

    async fn a_hold_frees_itself_at_its_deadline(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let hold = ana.held(reserve(ana.owner, "4").lasting(Span::MINUTE)).await;
        world.passes(Span::from_secs(59));
        assert_eq!(ana.hold_now(&hold).await.state(), HoldState::Open, "the last second");
        assert_eq!(world.available(ana.owner).await, "6");
        world.passes(Span::SECOND);
        assert_eq!(ana.hold_now(&hold).await.state(), HoldState::Lapsed, "at the deadline, booked or not");
        let balance = world.balance(ana.owner).await;
        assert_eq!((&*balance.available, &*balance.held), ("10", "0"));
        refused(ana.capture(settle(&hold, "1")).await, Code::FailedPrecondition, "HOLD_EXPIRED");
        let released = ana.release(free(&hold)).await.unwrap();
        assert_eq!((released.hold.unwrap().state(), &*released.balance_after), (HoldState::Lapsed, "10"));
        world.audit(ana.owner).await;
    }

    async fn the_sweeper_books_what_fell_due(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        world.operator().granted(grant(ana.owner, "10").expiring(world.in_(Span::HOUR))).await;
        ana.held(reserve(ana.owner, "4").lasting(Span::from_mins(5))).await;
        world.passes(Span::from_hours(2));
        // A grant, a hold; its lapse and the expiry come by themselves.
        crate::world::until("the sweeper books both", async || world.seq(ana.owner).await == 4).await;
        let lots = ana.list_lots(lots_of(ana.owner)).await.unwrap().lots;
        assert_eq!((&*lots[0].expired, &*lots[0].held, &*lots[0].remaining), ("10", "0", "0"));
        world.audit(ana.owner).await;
    }

    async fn a_hold_outlives_its_lot(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        world.operator().granted(grant(ana.owner, "10").expiring(world.in_(Span::MINUTE))).await;
        let spent = ana.held(reserve(ana.owner, "4")).await;
        let freed = ana.held(reserve(ana.owner, "3")).await;
        world.passes(Span::from_mins(2));
        assert_eq!(world.available(ana.owner).await, "0", "the rest expired");
        let charge = ana.captured(settle(&spent, "3")).await;
        assert_eq!(charge.amount, "3", "an earmark is honoured");
        ana.release(free(&freed)).await.unwrap();
        let lot = &ana.list_lots(lots_of(ana.owner)).await.unwrap().lots[0];
        assert_eq!((&*lot.spent, &*lot.expired, &*lot.held), ("3", "7", "0"), "what is given back is gone");
        world.audit(ana.owner).await;
    }

    async fn a_hold_outlives_the_voiding_of_its_lot(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let lot = world.operator().granted(grant(ana.owner, "10")).await;
        let hold = ana.held(reserve(ana.owner, "4")).await;
        let voided = world.operator().void_lot(void(ana.owner, &lot)).await.unwrap().lot.unwrap();
        assert_eq!((&*voided.voided, &*voided.held, &*voided.remaining), ("6", "4", "0"));
        ana.captured(settle(&hold, "1")).await;
        let lot = &ana.list_lots(lots_of(ana.owner)).await.unwrap().lots[0];
        assert_eq!((&*lot.spent, &*lot.voided), ("1", "9"));
        world.audit(ana.owner).await;
    }

    async fn a_hold_outlives_its_members_membership(db: TestDb) {
        let world = World::on(db).await;
        let (team, _) = world.organization_with(1, "10").await;
        let ben: UserId = id(2);
        world.hears(team, ben, Some(Role::Member), 1).await;
        let member = world.member(2, team, Role::Member, 1);
        let (kept, freed) = (member.held(reserve(team, "4")).await, member.held(reserve(team, "2")).await);
        world.hears(team, ben, None, 2).await;
        refused(member.capture(settle(&kept, "4")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(member.release(free(&kept)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        let charge = world.product().captured(settle(&kept, "3")).await;
        assert_eq!((&*charge.amount, &*charge.member), ("3", &*ben.to_string()), "a service settles it");
        world.product().release(free(&freed)).await.unwrap();
        assert_eq!(world.available(team).await, "7");
        world.audit(team).await;
    }

    async fn a_hold_outlives_its_period_and_its_process(db: TestDb) {
        let world = World::on(db).await;
        world.clock.set(bursar_testkit::at("2026-01-31T23:30:00Z")).unwrap();
        let ana = world.person_with(1, "10").await;
        let hold = ana.held(reserve(ana.owner, "4")).await;
        world.passes(Span::from_mins(45));
        let other = world.another_instance().await;
        let ana = world.through(&other, &ana);
        ana.captured(settle(&hold, "4")).await;
        let balance = world.balance(ana.owner).await;
        assert_eq!((&*balance.spent_this_period, &*balance.held), ("4", "0"), "it counts when it is captured");
        world.audit(ana.owner).await;
    }

    async fn holds_of_others_look_like_none(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (world.person_with(1, "10").await, world.person_with(2, "10").await);
        let hold = ana.held(reserve(ana.owner, "4")).await;
        let nobodys: HoldId = id(77);
        let nothing = pb::Hold { id: nobodys.to_string(), ..hold.clone() };
        for hold in [&hold, &nothing] {
            let mut answers = Vec::new();
            for owner in [ben.owner.to_string(), String::new()] {
                let hold = pb::Hold { owner, ..hold.clone() };
                answers.push(refused(ben.get_hold(the_hold(&hold)).await, Code::NotFound, "NOT_FOUND").message);
                answers.push(refused(ben.capture(settle(&hold, "1")).await, Code::NotFound, "NOT_FOUND").message);
                answers.push(refused(ben.release(free(&hold)).await, Code::NotFound, "NOT_FOUND").message);
            }
            let wrong = pb::GetHoldRequest { owner: ben.owner.to_string(), ..the_hold(hold) };
            answers.push(refused(world.product().get_hold(wrong).await, Code::NotFound, "NOT_FOUND").message);
            assert_eq!(answers, ["no such hold"; 7], "{}", hold.id);
            refused(ben.get_hold(the_hold(hold)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }
        let hold_id = hold.id.clone();
        let right = pb::GetHoldRequest { hold_id, owner: ana.owner.to_string() };
        assert_eq!(world.product().get_hold(right).await.unwrap().hold, Some(hold));
        for malformed in ["", "hld_", "chg_00000000000000000000000001", "hld_0000000000000000000000000U"] {
            let get = pb::GetHoldRequest { hold_id: malformed.to_owned(), owner: String::new() };
            let bad = refused(ana.get_hold(get).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["hold_id"], "{malformed}");
        }
        world.audit(ana.owner).await;
    }
}
