//! `Cancel` and `Resume`: what they end, what stays, whom they refuse, and what they do to one another. Their rules beside the
//! turn of the month are tested beside the use cases.

use bursar_id::{OwnerId, Role};
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{CancelAt, PaymentState, SubscriptionState};
use bursar_testkit::{Refusal, audited, engines, id, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::moving::{lots, plan_of, subscribed, subscription, the_end, told, told_since};
use crate::races::at_once;
use crate::words::{Under, buy, cancel, give_back, reserve, resume, settle, spend, subscribe};
use crate::world::{Person, World, until};

/// The owner's payments, the latest first.
async fn payments(world: &World, owner: OwnerId) -> Vec<pb::Payment> {
    let list = pb::ListPaymentsRequest { owner: owner.to_string(), page_size: 100, ..Default::default() };
    world.operator().list_payments(list).await.expect("payments").payments
}

/// Until the owner's subscription is over.
async fn ends(world: &World, owner: OwnerId) {
    let over = async || subscription(world, owner).await.state() == SubscriptionState::Ended;
    until("the subscription ends", over).await;
}

fn reason(outcome: &Result<(), Status>) -> String {
    outcome.as_ref().map_or_else(|status| Refusal::of(status).reason, |()| "OK".to_owned())
}

engines! {
    async fn canceled_at_its_end_it_goes_on_until_then_and_is_not_renewed(db: TestDb) {
        let world = World::on(db).await;
        let ana = subscribed(&world, 1).await;
        let begun = subscription(&world, ana.owner).await;
        let canceled = ana.cancel(cancel(ana.owner, CancelAt::PeriodEnd)).await.unwrap().subscription.unwrap();
        assert_eq!(canceled, pb::Subscription { cancel_at_period_end: true, ..begun.clone() });
        assert_eq!(subscription(&world, ana.owner).await, canceled);
        assert_eq!(plan_of(&world, ana.owner).await, ("business".to_owned(), 10));
        ana.charged(spend(ana.owner, "1000")).await;
        let mut cursor = String::new();
        let begins = told_since(&world, &mut cursor).await.len();
        assert_eq!((world.available(ana.owner).await, begins), ("800".to_owned(), 1));
        world.passes(the_end(&begun).since(world.now()));
        ana.charged(spend(ana.owner, "1")).await;
        ends(&world, ana.owner).await;
        assert_eq!(plan_of(&world, ana.owner).await, ("free".to_owned(), 5));
        let ended = [(ana.owner.to_string(), "free".to_owned(), "ENDED".to_owned())];
        assert_eq!(told_since(&world, &mut cursor).await, ended);
        assert_eq!((payments(&world, ana.owner).await.len(), world.available(ana.owner).await), (1, "299".to_owned()));
        ana.subscribe(subscribe(ana.owner, "business")).await.expect("another one may begin");
        assert!(!subscription(&world, ana.owner).await.cancel_at_period_end);
        world.audit(ana.owner).await;
    }

    async fn canceled_now_its_allowance_is_void_and_what_is_held_stays_until_its_hold_ends(db: TestDb) {
        let world = World::on(db).await;
        let ana = subscribed(&world, 1).await;
        ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap();
        let charge = ana.charged(spend(ana.owner, "500")).await;
        let hold = ana.held(reserve(ana.owner, "100")).await;
        let end = the_end(&subscription(&world, ana.owner).await).as_unix_secs();
        let ended = ana.cancel(cancel(ana.owner, CancelAt::Now)).await.unwrap().subscription.unwrap();
        assert_eq!((ended.state(), plan_of(&world, ana.owner).await.0), (SubscriptionState::Ended, "free".to_owned()));
        assert_eq!(told(&world).await.last(), Some(&(ana.owner.to_string(), "free".to_owned(), "ENDED".to_owned())));
        let [goodwill, pack] = ["Goodwill 300 (300+0) never", "Pack 300 (300+0) never"].map(str::to_owned);
        assert_eq!(lots(&world, ana.owner).await, [goodwill.clone(), format!("Allowance 1500 (0+100) {end}"), pack.clone()]);
        ana.captured(settle(&hold, "40")).await;
        world.product().refund(give_back(&charge)).await.expect("refunded");
        assert_eq!(lots(&world, ana.owner).await, [goodwill, format!("Allowance 1500 (0+0) {end}"), pack]);
        assert_eq!(world.available(ana.owner).await, "600");
        world.passes(Span::from_days(40));
        ana.charged(spend(ana.owner, "1")).await;
        let paid = payments(&world, ana.owner).await;
        let back: Vec<_> = paid.iter().map(|it| (it.state(), it.refunded.clone().unwrap().units)).collect();
        assert_eq!(back, [(PaymentState::Paid, 0), (PaymentState::Paid, 0)], "nothing is paid back, and nothing more");
        assert_eq!(world.available(ana.owner).await, "599");
        world.audit(ana.owner).await;
    }

    async fn cancelling_and_taking_it_back_are_refused_in_the_same_order(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        world.hears(team, id(20), Some(Role::Admin), 1).await;
        world.hears(team, id(30), Some(Role::Member), 1).await;
        let (admin, member) = (world.member(20, team, Role::Admin, 1), world.member(30, team, Role::Member, 1));
        let stranger = world.person(90);
        let bad = || cancel(team, CancelAt::Unspecified).under(&"x".repeat(129));
        let worse = pb::CancelRequest { at: 7, ..bad() };
        let denied = Code::PermissionDenied;
        refused(stranger.cancel(bad()).await, denied, "NOT_A_MEMBER");
        refused(member.cancel(bad()).await, denied, "ROLE_NOT_ALLOWED");
        refused(member.resume(resume(team)).await, denied, "ROLE_NOT_ALLOWED");
        refused(world.product().cancel(bad()).await, denied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(world.product().resume(resume(team)).await, denied, "SERVICE_ROLE_NOT_ALLOWED");
        for bad in [bad(), worse] {
            let bad = refused(admin.cancel(bad).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["at", "request_id"]);
        }
        let nobodys = pb::CancelRequest { owner: "nobody".to_owned(), ..cancel(team, CancelAt::Now) };
        assert_eq!(refused(admin.cancel(nobodys).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["owner"]);
        let failed = Code::FailedPrecondition;
        refused(admin.cancel(cancel(team, CancelAt::PeriodEnd).under("r")).await, failed, "NO_SUBSCRIPTION");
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        refused(admin.resume(resume(team).under("t")).await, failed, "NOT_CANCELED");
        // A refusal has burned no id; a repetition gets the first answer, whatever was done since.
        let first = admin.cancel(cancel(team, CancelAt::PeriodEnd).under("r")).await.unwrap();
        let taken_back = admin.resume(resume(team).under("t")).await.unwrap();
        assert_eq!(admin.cancel(cancel(team, CancelAt::PeriodEnd).under("r")).await.unwrap(), first);
        assert!(!subscription(&world, team).await.cancel_at_period_end, "it was not done again");
        refused(admin.cancel(cancel(team, CancelAt::Now).under("r")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        world.operator().cancel(cancel(team, CancelAt::PeriodEnd)).await.expect("an operator may");
        assert_eq!(admin.resume(resume(team).under("t")).await.unwrap(), taken_back);
        assert!(subscription(&world, team).await.cancel_at_period_end, "nor that");

        let rows = audited(&world.store).await;
        let about = |rpc: &str| {
            let of = rows.iter().filter(|row| row.method.ends_with(rpc));
            let mut told: Vec<_> = of.map(|row| row.reason.clone().unwrap_or_else(|| row.outcome.to_string())).collect();
            told.sort_unstable();
            told.join(" ")
        };
        let refusals = "INVALID_FIELDS INVALID_FIELDS NO_SUBSCRIPTION REQUEST_ID_REUSED ROLE_NOT_ALLOWED";
        assert_eq!(about("/Cancel"), format!("DONE DONE {refusals}"));
        assert_eq!(about("/Resume"), "DONE NOT_CANCELED ROLE_NOT_ALLOWED");
        world.stands(team, Standing::Suspended, 1).await;
        refused(world.operator().cancel(cancel(team, CancelAt::Now)).await, denied, "ORGANIZATION_SUSPENDED");
        refused(world.operator().resume(resume(team)).await, denied, "ORGANIZATION_SUSPENDED");
        world.stands(team, Standing::Deleted, 2).await;
        refused(world.operator().cancel(cancel(team, CancelAt::Now)).await, denied, "ORGANIZATION_DELETED");
        refused(world.operator().resume(resume(team)).await, denied, "ORGANIZATION_DELETED");
    }

    async fn what_is_spent_while_it_is_canceled_is_of_the_allowance_or_of_the_pack(db: TestDb) {
        let world = World::on(db).await;
        for round in 1..=3 {
            let ana = subscribed(&world, round).await;
            let outcomes = at_once((0..64_usize).map(|n| {
                let ana = ana.clone();
                async move {
                    match n % 8 {
                        7 => ana.cancel(cancel(ana.owner, CancelAt::Now)).await.map(|_| 0),
                        6 => ana.hold(reserve(ana.owner, "20")).await.map(|_| 20),
                        _ => ana.charge(spend(ana.owner, "20")).await.map(|_| 20),
                    }
                }
            }))
            .await;
            let reasons: Vec<_> = outcomes.iter().filter_map(|it| it.as_ref().err()).map(|it| Refusal::of(it).reason).collect();
            let known = ["INSUFFICIENT_CREDITS", "NO_SUBSCRIPTION"];
            assert!(reasons.iter().all(|reason| known.contains(&reason.as_str())), "{reasons:?}");
            assert_eq!(reasons.iter().filter(|it| *it == known[1]).count(), 7, "one of them ended it");
            let taken: u64 = outcomes.iter().filter_map(|it| it.as_ref().ok()).sum();
            let (pack, allowance) = (lot(&world, &ana, 0).await, lot(&world, &ana, 1).await);
            let used = |lot: &pb::Lot| [&lot.spent, &lot.held].map(|it| it.parse::<u64>().unwrap()).iter().sum::<u64>();
            assert_eq!((used(&pack) + used(&allowance), &*allowance.remaining), (taken, "0"));
            assert_eq!(world.available(ana.owner).await, (300 - used(&pack)).to_string());
            world.audit(ana.owner).await;
        }
    }

    async fn cancelling_taking_back_and_renewing_at_once_pay_for_what_is_given(db: TestDb) {
        let world = World::on(db).await;
        for round in 1..=6_u64 {
            let ana = subscribed(&world, round).await;
            let end = the_end(&subscription(&world, ana.owner).await);
            // Racers are there before, at and after the turn of the month.
            world.passes(end.since(world.now()).saturating_sub(Span::SECOND));
            let outcomes = at_once((0..64_u64).map(|n| {
                let (ana, clock) = (ana.clone(), world.clock.clone());
                async move {
                    let owner = ana.owner;
                    match (n + round) % 5 {
                        _ if n == 20 => { clock.advance(Span::SECOND).unwrap(); Ok(()) }
                        0 if round % 3 == 0 => ana.cancel(cancel(owner, CancelAt::Now)).await.map(drop),
                        0 | 1 => ana.cancel(cancel(owner, CancelAt::PeriodEnd)).await.map(drop),
                        2 => ana.resume(resume(owner)).await.map(drop),
                        _ => ana.charge(spend(owner, "1")).await.map(drop),
                    }
                }
            }))
            .await;
            let known = ["OK", "NO_SUBSCRIPTION", "NOT_CANCELED", "RENEWAL_DUE"];
            assert!(outcomes.iter().all(|it| known.contains(&reason(it).as_str())), "{outcomes:?}");
            settled(&world, &ana).await;
            world.audit(ana.owner).await;
        }
    }
}

/// One of a person's lots, by age.
async fn lot(world: &World, ana: &Person, nth: usize) -> pb::Lot {
    let mut lots = world.operator().list_lots(crate::words::lots_of(ana.owner)).await.expect("lots").lots;
    lots.reverse();
    lots.swap_remove(nth)
}

/// Whatever came of it: the subscription has ended or is renewed, and each month that is paid for was given, once.
async fn settled(world: &World, ana: &Person) {
    until("whoever spends is served", async || ana.charge(spend(ana.owner, "1")).await.is_ok()).await;
    let stands = async || {
        let it = subscription(world, ana.owner).await;
        it.state() == SubscriptionState::Ended || the_end(&it) > world.now()
    };
    until("it has ended, or is renewed", stands).await;
    let it = subscription(world, ana.owner).await;
    let months = 1 + usize::from(it.current_period_start != it.started_at);
    let allowances = lots(world, ana.owner).await.into_iter().filter(|lot| lot.starts_with("Allowance")).count();
    let kept =
        |it: &&pb::Payment| it.state() == PaymentState::Paid && it.refunded.as_ref().is_some_and(|it| it.units == 0);
    let paid = async || payments(world, ana.owner).await.iter().filter(kept).count();
    until("what was paid for nothing goes back", async || paid().await == allowances).await;
    assert_eq!((allowances, paid().await), (months, months), "{it:?}");
    let plan = if it.state() == SubscriptionState::Ended { "free" } else { "business" };
    assert_eq!(plan_of(world, ana.owner).await.0, plan);
}
