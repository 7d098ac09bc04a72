//! What finance is told of money that is in no lot, or not yet: a year's months that have not begun or never will, seats that bring
//! no credits, and what of both goes back. All lines of a month together are what was paid, what went back and what is left.

use bursar_billing::finance::{MonthReport, report};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{at, engines};
use bursar_time::{Clock, Timestamp};

use crate::given_back::{Months, flows, refunds};
use crate::moving::{moving, subscription};
use crate::words::{cancel, set_seats, spend, subscribe};
use crate::world::{BUILT_IN, World, until};
use crate::years::{BEGIN, PLANS, becomes, selling, selling_these};

/// A month of the year: the price of twelve rounded down to the cent.
const PART: i64 = 83_330_000;
/// One credit of it, of 1,500.
const ONE: i64 = 55_553;
const YEAR: i64 = 1_000_000_000;

/// By the month, with seats that bring no credits.
const SEATS: &str = r#"
[[plans]]
id = "seated"
name = "Seated"
price = "100.00 USD"
credits = "1500"
seats = 10
seat_price = "10.00 USD"

[[plans]]
id = "empty"
name = "Seats alone, by the year"
interval = "year"
price = "1200.00 USD"
credits = "0"
seats = 10
"#;

fn passes(world: &World, time: &str) {
    world.passes(at(time).since(world.now()));
}

/// What is in no lot in a month, in millionths: paid, given back, earned, breakage, left.
fn in_no_lot(told: &MonthReport) -> [i64; 5] {
    flows(&told.not_granted.get("USD").copied().unwrap_or_default())
}

/// What a month so far says at a time before its end.
async fn told_at(world: &World, month: &str, now: &str) -> MonthReport {
    let from = at(&format!("{month}-01T00:00:00Z"));
    let month: (Timestamp, Timestamp) = (from, from.add_months_anchored(1));
    report(&world.store, None, (month, at(now)), Vec::<u8>::new()).await.unwrap()
}

engines! {
    async fn a_year_is_paid_ahead_until_its_months_begin(db: TestDb) {
        let (world, mut months) = (selling(db).await, Months::default());
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        becomes(&world, &ana, "2028-01-31T10:00:00Z").await;
        passes(&world, "2028-02-10T00:00:00Z");
        let told = months.report(&world, "2027-12").await;
        assert_eq!(in_no_lot(&told), [YEAR - PART, 0, 0, 0, YEAR - PART]);
        assert_eq!(told.sums["USD"].left_value, PART);
        let told = months.report(&world, "2028-01").await;
        assert_eq!(in_no_lot(&told), [-PART, 0, 0, 0, YEAR - 2 * PART], "it is in the month's lot since");
        let books = told.books["USD"];
        assert_eq!((books.lots, books.ahead, books.never_begun), (2 * PART, YEAR - 2 * PART, 0));
    }

    async fn of_a_year_that_is_refunded_every_cent_stands_in_a_line_and_nothing_is_ahead(db: TestDb) {
        let (world, mut months) = (selling(db).await, Months::default());
        let ana = world.person(1);
        let year = ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap().payment.unwrap().id;
        becomes(&world, &ana, "2028-01-31T10:00:00Z").await;
        passes(&world, "2028-02-10T00:00:00Z");
        refunds(&world, ana.owner, &year, None).await;
        passes(&world, "2028-04-10T00:00:00Z");
        assert_eq!(months.whole(&world, "2027-12").await, [YEAR, 0, 0, 0, YEAR]);
        assert_eq!(months.whole(&world, "2028-01").await, [0, 0, ONE, PART, YEAR - PART - ONE]);
        let told = months.report(&world, "2028-02").await;
        assert_eq!(in_no_lot(&told), [0, YEAR - 2 * PART, 0, 0, 0]);
        let lots = told.sums["USD"];
        assert_eq!((lots.given_back, lots.earned, lots.breakage, lots.left_value), (2 * PART, -ONE, -PART, 0));
        let books = told.books["USD"];
        assert_eq!((books.ahead, books.never_begun, books.given_back), (0, YEAR - 2 * PART, YEAR));
        assert_eq!(months.whole(&world, "2028-03").await, [0; 5], "no month begins any more");
    }

    async fn a_part_of_a_year_goes_back_of_the_months_to_come_as_of_those_that_have_begun(db: TestDb) {
        let (world, mut months) = (selling(db).await, Months::default());
        let ana = world.person(1);
        let year = ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap().payment.unwrap().id;
        passes(&world, "2028-01-10T00:00:00Z");
        refunds(&world, ana.owner, &year, Some(500)).await;
        becomes(&world, &ana, "2028-01-31T10:00:00Z").await;
        passes(&world, "2028-02-10T00:00:00Z");
        assert_eq!(months.whole(&world, "2027-12").await, [YEAR, 0, 0, 0, YEAR]);
        let told = months.report(&world, "2028-01").await;
        let [paid, back, earned, breakage, left] = in_no_lot(&told);
        assert_eq!((paid, earned, breakage), (-PART, 0, 0));
        assert_eq!((back, left), (500_000_000 - PART, 500_000_000 - PART), "half of two months is in their lots");
        assert_eq!(told.sums["USD"].given_back, PART);
        let books = told.books["USD"];
        assert_eq!((books.ahead, books.never_begun), (left, back));
    }

    async fn what_is_kept_of_a_year_that_is_canceled_now_is_breakage_of_that_month(db: TestDb) {
        let (world, mut months) = (selling(db).await, Months::default());
        let ana = world.person(1);
        let year = ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap().payment.unwrap().id;
        becomes(&world, &ana, "2028-01-31T10:00:00Z").await;
        passes(&world, "2028-02-10T00:00:00Z");
        ana.cancel(cancel(ana.owner, pb::CancelAt::Now)).await.unwrap();
        passes(&world, "2028-03-10T00:00:00Z");
        refunds(&world, ana.owner, &year, None).await;
        passes(&world, "2028-04-10T00:00:00Z");
        months.whole(&world, "2027-12").await;
        assert_eq!(months.whole(&world, "2028-01").await, [0, 0, ONE, PART, YEAR - PART - ONE]);
        let told = months.report(&world, "2028-02").await;
        assert_eq!(in_no_lot(&told), [0, 0, 0, YEAR - 2 * PART, 0], "nothing is ahead any more");
        assert_eq!(told.sums["USD"].breakage, PART - ONE);
        assert_eq!(told.books["USD"].ahead, 0);
        assert_eq!(months.whole(&world, "2028-03").await, [0, YEAR, -ONE, ONE - YEAR, 0], "it goes back after all");
    }

    async fn a_year_that_has_moved_ends_where_it_is(db: TestDb) {
        let (world, mut months) = (selling(db).await, Months::default());
        let ana = world.person(1);
        let (team, boss) = world.organization_with(2, "1").await;
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        passes(&world, "2028-01-10T10:00:00Z");
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.unwrap();
        becomes(&world, &boss, "2028-01-31T10:00:00Z").await;
        becomes(&world, &boss, "2028-02-29T10:00:00Z").await;
        passes(&world, "2028-03-10T00:00:00Z");
        boss.cancel(cancel(team, pb::CancelAt::Now)).await.unwrap();
        passes(&world, "2028-04-10T00:00:00Z");
        let (mut paid, mut gone) = (0, 0);
        for (month, ahead) in [("2027-12", 11), ("2028-01", 10), ("2028-02", 9), ("2028-03", 0)] {
            let told = months.report(&world, month).await;
            let (lots, rest) = (told.sums["USD"], in_no_lot(&told));
            paid += lots.paid + rest[0];
            gone += lots.earned + lots.breakage + rest[2] + rest[3];
            let left = if ahead == 0 { 0 } else { YEAR - (12 - ahead) * PART };
            assert_eq!((rest[4], paid - gone), (left, left + lots.left_value), "{month}");
        }
        assert_eq!((paid, gone), (YEAR, YEAR), "all of it was kept");
    }

    async fn a_year_that_has_moved_with_nothing_left_of_its_month_is_ahead_as_before(db: TestDb) {
        let (world, mut months) = (selling(db).await, Months::default());
        let ana = world.person(1);
        let (team, boss) = world.organization_with(2, "1").await;
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        becomes(&world, &ana, "2028-01-31T10:00:00Z").await;
        ana.charged(spend(ana.owner, "1499")).await;
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.unwrap();
        passes(&world, "2028-02-10T00:00:00Z");
        months.report(&world, "2027-12").await;
        let told = months.report(&world, "2028-01").await;
        assert_eq!(in_no_lot(&told), [-PART, 0, 0, 0, YEAR - 2 * PART], "it has not ended");
        let books = told.books["USD"];
        assert_eq!((books.ahead, books.never_begun), (YEAR - 2 * PART, 0));
        becomes(&world, &boss, "2028-02-29T10:00:00Z").await;
        passes(&world, "2028-03-10T00:00:00Z");
        let told = months.report(&world, "2028-02").await;
        assert_eq!(in_no_lot(&told), [-PART, 0, 0, 0, YEAR - 3 * PART], "what was told stays so");
        for owner in [ana.owner, team] {
            world.audit(owner).await;
        }
    }

    async fn seats_without_credits_are_earned_with_their_month_and_given_back_in_a_line(db: TestDb) {
        let (world, mut months) = (selling_these(db, SEATS).await, Months::default());
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "seated")).await.unwrap();
        let seats = ana.set_seats(set_seats(ana.owner, 12)).await.unwrap().payment.unwrap().id;
        passes(&world, "2028-01-10T00:00:00Z");
        refunds(&world, ana.owner, &seats, Some(5)).await;
        // The plan's own lot of January has ended in the ledger, too.
        becomes(&world, &ana, "2028-01-31T10:00:00Z").await;
        passes(&world, "2028-02-10T00:00:00Z");
        refunds(&world, ana.owner, &seats, None).await;
        let december = months.report(&world, "2027-12").await;
        assert_eq!(in_no_lot(&december), [20_000_000, 0, 0, 0, 20_000_000]);
        let january = told_at(&world, "2028-01", "2028-01-31T09:00:00Z").await;
        assert_eq!(in_no_lot(&january), [0, 5_000_000, 0, 0, 15_000_000], "the month is not over");
        let january = months.report(&world, "2028-01").await;
        assert_eq!(in_no_lot(&january), [0, 5_000_000, 15_000_000, 0, 0]);
        let february = months.report(&world, "2028-02").await;
        assert_eq!(in_no_lot(&february), [0, 15_000_000, -15_000_000, 0, 0]);
    }

    async fn a_years_seats_without_credits_go_back_of_what_is_to_come_and_of_what_was_earned(db: TestDb) {
        let plans = PLANS.replace("credits_per_seat = \"150\"\n", "");
        let (world, mut months) = (selling_these(db, &plans).await, Months::default());
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        let seats = ana.set_seats(set_seats(ana.owner, 12)).await.unwrap().payment.unwrap().id;
        becomes(&world, &ana, "2028-01-31T10:00:00Z").await;
        passes(&world, "2028-02-10T00:00:00Z");
        refunds(&world, ana.owner, &seats, None).await;
        for month in ["2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z"] {
            becomes(&world, &ana, month).await;
        }
        passes(&world, "2028-04-10T00:00:00Z");
        let (mut paid, mut back, mut left) = (0, 0, 0);
        for month in ["2027-12", "2028-01", "2028-02", "2028-03"] {
            let told = months.whole(&world, month).await;
            (paid, back, left) = (paid + told[0], back + told[1], told[4]);
        }
        assert_eq!((paid, back), (YEAR + 200_000_000, 200_000_000));
        assert_eq!(left, YEAR - 4 * PART + PART - ONE, "of the year alone");
    }

    async fn a_year_without_credits_is_earned_month_by_month_and_the_rest_is_breakage(db: TestDb) {
        let (world, mut months) = (selling_these(db, SEATS).await, Months::default());
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "empty")).await.unwrap();
        for month in ["2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z"] {
            passes(&world, month);
            let begun = Some(to_timestamp(at(month)));
            until("the month has begun", async || subscription(&world, ana.owner).await.current_period_start == begun).await;
        }
        passes(&world, "2028-03-10T00:00:00Z");
        ana.cancel(cancel(ana.owner, pb::CancelAt::Now)).await.unwrap();
        passes(&world, "2028-04-10T00:00:00Z");
        let part = 100_000_000;
        assert_eq!(months.whole(&world, "2027-12").await, [12 * part, 0, 0, 0, 12 * part]);
        assert_eq!(months.whole(&world, "2028-01").await, [0, 0, part, 0, 11 * part]);
        assert_eq!(months.whole(&world, "2028-02").await, [0, 0, part, 0, 10 * part]);
        assert_eq!(months.whole(&world, "2028-03").await, [0, 0, 0, 10 * part, 0]);
    }

    async fn a_currency_without_cents_is_told_in_whole_units_and_by_itself(db: TestDb) {
        let catalog = format!("{BUILT_IN}{PLANS}").replace(" USD", " JPY");
        let world = World::selling_by(db, Clock::test(at(BEGIN)), &catalog).await;
        let mut months = Months::default();
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        ana.charged(spend(ana.owner, "500")).await;
        let told = months.report(&world, "2027-12").await;
        assert_eq!((told.sums.len(), told.not_granted.len(), told.books.len()), (1, 1, 1));
        // 83 yen for the first month, a third of which is spent: to the millionth.
        let lots = told.sums["JPY"];
        assert_eq!((lots.earned, lots.left_value), (27_666_666, 55_333_334));
        assert_eq!(told.not_granted["JPY"].left_value, 917_000_000);
    }

    async fn a_month_before_anything_and_one_to_come_have_no_lines(db: TestDb) {
        let (world, mut months) = (selling(db).await, Months::default());
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "yearly")).await.unwrap();
        let before = months.report(&world, "2027-11").await;
        assert_eq!((before.lots, before.sums.len(), before.not_granted.len()), (0, 0, 0));
        let so_far = told_at(&world, "2027-12", "2027-12-31T11:00:00Z").await;
        assert_eq!((so_far.lots, in_no_lot(&so_far)[4]), (1, YEAR - PART));
    }
}
