//! Plans by the year as callers see them: what the catalog and a subscription say of them, what is shown and paid, whom they
//! refuse, and what finance is told. Their rules beside the turn of the month are tested beside the use cases.

use bursar_billing::finance::report;
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::google::r#type::Money;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{Refusal, TestDb, at, engines};
use bursar_time::{Clock, Timestamp};
use tonic::Code;

use crate::given_back::{Months, refunds};
use crate::moving::{lots, moving, subscription};
use crate::words::{cancel, change_to, set_seats, spend, subscribe};
use crate::world::{BUILT_IN, Person, World};

pub(crate) const BEGIN: &str = "2027-12-31T10:00:00Z";
const END: &str = "2028-12-31T10:00:00Z";

pub(crate) const PLANS: &str = include_str!("yearly.toml");

pub(crate) async fn selling(db: TestDb) -> World {
    selling_these(db, PLANS).await
}

pub(crate) async fn selling_these(db: TestDb, plans: &str) -> World {
    World::selling_by(db, Clock::test(at(BEGIN)), &format!("{BUILT_IN}{plans}")).await
}

fn usd(units: i64) -> Money {
    Money { currency_code: "USD".to_owned(), units, nanos: 0 }
}

fn time(text: &str) -> prost_types::Timestamp {
    to_timestamp(at(text))
}

/// It is this time, and whoever spends finds the month begun.
pub(crate) async fn becomes(world: &World, person: &Person, time: &str) {
    world.passes(at(time).since(world.now()));
    person.charged(spend(person.owner, "1")).await;
}

async fn payments(person: &Person) -> usize {
    let list = pb::ListPaymentsRequest { owner: person.owner.to_string(), page_size: 1_000, ..Default::default() };
    person.list_payments(list).await.expect("payments").payments.len()
}

fn preview(owner: OwnerId, plan: &str) -> pb::PreviewChangeRequest {
    pb::PreviewChangeRequest { owner: owner.to_string(), plan_id: plan.to_owned(), ..Default::default() }
}

/// What finance counts of four months, in millionths of a dollar: earned, broken away and left. Nothing else differs.
async fn counted(world: &World) -> i64 {
    world.passes(at("2028-04-02T00:00:00Z").since(world.now()));
    let all: (Timestamp, Timestamp) = (at(BEGIN).start_of_month(), at("2028-04-01T00:00:00Z"));
    let told = report(&world.store, None, (all, all.1), &mut Vec::new()).await.unwrap();
    assert_eq!(told.differences, Vec::<String>::new());
    let sums = told.sums["USD"];
    sums.earned + sums.breakage + sums.left_value
}

engines! {
    async fn a_plan_and_a_subscription_say_how_long_a_payment_lasts(db: TestDb) {
        let world = selling(db).await;
        let ana = world.person(1);
        let plans = ana.list_plans(pb::ListPlansRequest::default()).await.unwrap().plans;
        let said: Vec<_> = plans.iter().map(|it| (it.id.as_str(), it.interval())).collect();
        let (month, year) = (pb::PlanInterval::Month, pb::PlanInterval::Year);
        assert_eq!(said, [("free", month), ("business", month), ("enterprise", month), ("yearly", year)]);
        let begun = ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        assert_eq!(begun.payment.unwrap().amount, Some(usd(1_000)));
        let is = begun.subscription.unwrap();
        assert_eq!((is.interval(), is.price.clone(), is.credits.as_str()), (year, Some(usd(1_000)), "1500"));
        assert_eq!((&is.current_period_end, &is.paid_until), (&Some(time("2028-01-31T10:00:00Z")), &Some(time(END))));
        for month in ["2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z"] {
            becomes(&world, &ana, month).await;
        }
        let is = subscription(&world, ana.owner).await;
        assert_eq!((is.current_period_start, is.paid_until), (Some(time("2028-03-31T10:00:00Z")), Some(time(END))));
        assert_eq!((payments(&ana).await, world.available(ana.owner).await), (1, "1499".to_owned()));
        world.audit(ana.owner).await;
    }

    async fn what_is_shown_of_a_year_is_what_is_paid(db: TestDb) {
        let world = selling(db).await;
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        world.passes(at("2028-01-15T10:00:00Z").since(world.now()));
        let shown = ana.preview_change(preview(ana.owner, "yearly")).await.unwrap();
        assert_eq!((shown.due.clone(), shown.credits.as_str(), shown.next_price), (Some(usd(1_000)), "1500", Some(usd(1_000))));
        assert_eq!(shown.effective_at, Some(time("2028-01-15T10:00:00Z")));
        let wrong = pb::ChangePlanRequest { expected_due: Some(usd(900)), ..change_to(ana.owner, "yearly") };
        let refused = ana.change_plan(wrong).await.expect_err("another due");
        assert_eq!((refused.code(), Refusal::of(&refused).reason), (Code::Aborted, "DUE_CHANGED".to_owned()));
        let right = pb::ChangePlanRequest { expected_due: shown.due, ..change_to(ana.owner, "yearly") };
        let changed = ana.change_plan(right).await.unwrap();
        assert_eq!(changed.payment.unwrap().amount, Some(usd(1_000)));
        let is = changed.subscription.unwrap();
        assert_eq!((is.interval(), &is.current_period_end), (pb::PlanInterval::Year, &Some(time("2028-02-15T10:00:00Z"))));
        assert_eq!(is.paid_until, Some(time("2029-01-15T10:00:00Z")));
        assert_eq!(world.available(ana.owner).await, "3000");
        assert_eq!(lots(&world, ana.owner).await.len(), 2, "the month that was paid for stays beside");

        let back = ana.preview_change(preview(ana.owner, "business")).await.unwrap();
        assert_eq!((back.due, back.effective_at, back.next_price), (Some(usd(0)), is.paid_until, Some(usd(100))));
        let waits = ana.change_plan(change_to(ana.owner, "business")).await.unwrap().subscription.unwrap();
        let pending = waits.pending_change.unwrap();
        assert_eq!((pending.interval(), pending.effective_at), (pb::PlanInterval::Month, is.paid_until));
        world.audit(ana.owner).await;
    }

    async fn whoever_has_canceled_a_year_changes_nothing(db: TestDb) {
        let world = selling(db).await;
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        let twice = ana.subscribe(subscribe(ana.owner, "business")).await.expect_err("there is one");
        assert_eq!(Refusal::of(&twice).reason, "ALREADY_SUBSCRIBED");
        let fewer = ana.set_seats(set_seats(ana.owner, 9)).await.expect_err("fewer than the plan has");
        assert_eq!(fewer.code(), Code::InvalidArgument);
        let marked = ana.cancel(cancel(ana.owner, pb::CancelAt::PeriodEnd)).await.unwrap().subscription.unwrap();
        assert_eq!((marked.cancel_at_period_end, marked.paid_until), (true, Some(time(END))));
        for changed in [ana.change_plan(change_to(ana.owner, "business")).await.map(drop), ana.set_seats(set_seats(ana.owner, 11)).await.map(drop)] {
            assert_eq!(Refusal::of(&changed.expect_err("it ends")).reason, "SUBSCRIPTION_CANCELED");
        }
        becomes(&world, &ana, "2028-01-31T10:00:00Z").await;
        assert_eq!(world.available(ana.owner).await, "1499", "until then it is paid for");
        world.audit(ana.owner).await;
    }

    async fn finance_hears_of_a_year_month_by_month(db: TestDb) {
        let world = selling(db).await;
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        let months = ["2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z"];
        for month in months {
            becomes(&world, &ana, month).await;
        }
        let all: (Timestamp, Timestamp) = (at(BEGIN).start_of_month(), world.now().start_of_month());
        let told = report(&world.store, None, (all, all.1), &mut Vec::new()).await.unwrap();
        assert_eq!(told.differences, Vec::<String>::new());
        let sums = told.sums["USD"];
        // Three months had begun by then, at 83.33 each.
        assert_eq!(sums.earned + sums.breakage + sums.left_value, 249_990_000);
    }

    async fn a_year_that_was_changed_and_moves_is_counted_to_the_cent(db: TestDb) {
        let world = selling(db).await;
        let ana = world.person(1);
        let (team, boss) = world.organization_with(2, "1").await;
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        ana.set_seats(set_seats(ana.owner, 12)).await.unwrap();
        ana.charged(spend(ana.owner, "500")).await;
        world.passes(at("2028-01-10T10:00:00Z").since(world.now()));
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.unwrap();
        for month in ["2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z"] {
            becomes(&world, &boss, month).await;
        }
        // The first month at 83.33, with 16.93 for the seats, and three at 99.97, each of these in two parts.
        assert_eq!(Box::pin(counted(&world)).await, 400_170_000);
        for owner in [ana.owner, team] {
            world.audit(owner).await;
        }
    }

    async fn a_year_that_moves_is_counted_once(db: TestDb) {
        let world = selling(db).await;
        let ana = world.person(1);
        let (team, boss) = world.organization_with(2, "1").await;
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        ana.charged(spend(ana.owner, "500")).await;
        world.passes(at("2028-01-10T10:00:00Z").since(world.now()));
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.unwrap();
        boss.charged(spend(team, "301")).await;
        for month in ["2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z"] {
            becomes(&world, &boss, month).await;
        }
        // Four months had begun by then, at 83.33 each, the first of them in two parts.
        assert_eq!(Box::pin(counted(&world)).await, 333_320_000);
        for owner in [ana.owner, team] {
            world.audit(owner).await;
        }
    }

    async fn a_years_upgrade_that_is_refunded_is_no_breakage_and_earned_no_more(db: TestDb) {
        let (world, mut told) = (selling(db).await, Months::default());
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        let more = ana.set_seats(set_seats(ana.owner, 12)).await.unwrap().payment.unwrap().id;
        for month in ["2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z"] {
            becomes(&world, &ana, month).await;
        }
        refunds(&world, ana.owner, &more, None).await;
        becomes(&world, &ana, "2028-03-31T10:00:00Z").await;
        becomes(&world, &ana, "2028-04-02T00:00:00Z").await;
        let (mut paid, mut back, mut gone, mut left) = (0, 0, 0, 0);
        for month in ["2027-12", "2028-01", "2028-02", "2028-03"] {
            let sums = Box::pin(told.told(&world, month)).await;
            (paid, back, gone) = (paid + sums[0], back + sums[1], gone + sums[2] + sums[3]);
            left = sums[4];
            assert_eq!(paid - back - gone, left, "{month}");
        }
        // Of the upgrade nothing was kept: four months of the year had begun, at 83.33 each.
        assert_eq!((paid - back, gone + left), (333_320_000, 333_320_000));
        assert!(back > 0, "the months of the upgrade that had begun are given back");
        world.audit(ana.owner).await;
    }

    /// Its part of each month is with the lots of the year's own payment, which say more than that was.
    async fn seats_that_bring_no_credits_are_no_difference(db: TestDb) {
        let world = selling_these(db, &PLANS.replace("credits_per_seat = \"150\"\n", "")).await;
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        ana.set_seats(set_seats(ana.owner, 12)).await.unwrap();
        for month in 1..=11 {
            becomes(&world, &ana, &at(BEGIN).add_months_anchored(month).to_string()).await;
        }
        let december = (at("2028-12-01T00:00:00Z"), at("2029-01-01T00:00:00Z"));
        let told = report(&world.store, None, (december, december.1), &mut Vec::new()).await.unwrap();
        assert_eq!(told.differences, Vec::<String>::new());
        let books = told.books["USD"];
        assert_eq!((books.payments, books.ahead, books.difference()), (1_200_000_000, 0, 0), "{books:?}");
    }
}
