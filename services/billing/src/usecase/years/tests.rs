//! Years: what is paid once and granted month by month, what ends, changes, moves and goes back in the middle of one. On both
//! engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_members::Standing;
use bursar_testkit::{at, credits, engines, id, organization, personal};

use crate::domain::{Interval, News, SubscriptionState};
use crate::error::Error;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::{cancel, resume};
use crate::usecase::changing::tests::change;
use crate::usecase::shelf::{debt, now, round, told, usd};
use crate::usecase::shop::Shop;

/// A leap day comes after it.
pub(in crate::usecase) const BEGIN: &str = "2027-12-31T10:00:00Z";
const END: &str = "2028-12-31T10:00:00Z";
/// When its months begin, and the next year's first.
pub(in crate::usecase) const MONTHS: [&str; 13] = [
    BEGIN,
    "2028-01-31T10:00:00Z",
    "2028-02-29T10:00:00Z",
    "2028-03-31T10:00:00Z",
    "2028-04-30T10:00:00Z",
    "2028-05-31T10:00:00Z",
    "2028-06-30T10:00:00Z",
    "2028-07-31T10:00:00Z",
    "2028-08-31T10:00:00Z",
    "2028-09-30T10:00:00Z",
    "2028-10-31T10:00:00Z",
    "2028-11-30T10:00:00Z",
    END,
];

pub(in crate::usecase) const PLANS: &str = concat!(
    include_str!("../../../tests/billing/yearly.toml"),
    r#"
[[plans]]
id = "rolling"
name = "Rolling"
price = "100.00 USD"
credits = "1500"
rollover = "500"
seats = 10

[[plans]]
id = "yearly-pro"
name = "Pro, by the year"
interval = "year"
price = "3000.00 USD"
credits = "5500"
seats = 20
features = ["organizations"]
"#
);

pub(super) async fn shop(db: &bursar_testkit::TestDb) -> Shop {
    Shop::selling(db, BEGIN, PLANS).await
}

/// It is this time, and so many months or ends are due.
pub(super) async fn becomes(shop: &Shop, time: &str, due: usize) {
    shop.set(time);
    assert_eq!(round(shop).await, (due, 0, 0), "at {time}");
}

pub(super) async fn by_the_year(shop: &Shop, owner: OwnerId) -> PaymentId {
    shop.subscribe(owner, "yearly", "sandbox_ok", "").await.unwrap().payment_id.parse().unwrap()
}

/// Pays for the dearer plan for the rest of the year.
pub(super) async fn upgraded(shop: &Shop, owner: OwnerId) -> PaymentId {
    change(shop, owner, "yearly-pro", 0).await.unwrap().payment.unwrap().id.parse().unwrap()
}

/// What was paid for each of the owner's lots, in cents.
async fn parts(shop: &Shop, owner: OwnerId) -> Vec<i64> {
    let lots = shop.lots(owner).await;
    lots.iter().map(|lot| lot.terms.origin.paid.unwrap().minor_units().expect("whole cents")).collect()
}

engines! {
    async fn a_year_is_paid_once_and_granted_month_by_month(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        for (number, month) in (0_u32..).zip(&MONTHS[..12]) {
            if number > 0 {
                becomes(&shop, month, 1).await;
            }
            let is = now(&shop, owner).await;
            assert_eq!((is.month.number, is.month.start, is.interval()), (number, at(month), Interval::Year));
            assert_eq!((is.paid_until(), is.payment()), (at(END), Some(first)));
            assert_eq!((shop.count("payments").await, shop.count("invoices").await), (1, 1), "{month}");
            assert_eq!(shop.available(owner).await, credits("1500"), "a month's, at {month}");
            assert_eq!(round(&shop).await, (0, 0, 0), "once");
        }
        let year = parts(&shop, owner).await;
        assert_eq!((year.len(), year.iter().sum::<i64>(), year[0], year[11]), (12, 100_000, 8_333, 8_334));
        let lines: Vec<_> = MONTHS.windows(2).map(|it| format!("ALLOWANCE 1500 (0) {} {}", it[0], it[1])).collect();
        assert_eq!(shop.lot_lines(owner).await[..11], lines[..11]);

        becomes(&shop, END, 1).await;
        let is = now(&shop, owner).await;
        assert_eq!((is.month.number, is.paid_until()), (12, at("2029-12-31T10:00:00Z")));
        assert_ne!(is.payment(), Some(first));
        assert_eq!((shop.count("payments").await, shop.count("invoices").await), (2, 2));
        becomes(&shop, "2029-01-31T10:00:00Z", 1).await;
        assert_eq!(shop.count("payments").await, 2);
        assert_eq!(shop.payments.known(first).await.unwrap().months.len(), 11);
        shop.assert_sound(owner).await;
    }

    async fn an_invoice_names_the_year(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        for (month, due) in MONTHS[1..].iter().zip([1; 12]) {
            becomes(&shop, month, due).await;
        }
        let mut tx = shop.db.read().await.unwrap();
        let page = crate::store::invoices::page(&mut tx, owner, None, 10).await.unwrap();
        let lines: Vec<_> = page.iter().rev().map(|it| it.bill.lines[0].clone()).collect();
        let said: Vec<_> = lines.iter().map(|it| (it.description.as_str(), it.amount, it.period)).collect();
        let year = |from, to| ("Business, by the year", usd("1000.00"), Some((at(from), at(to))));
        assert_eq!(said, [year(BEGIN, END), year(END, "2029-12-31T10:00:00Z")]);
    }

    async fn what_is_canceled_ends_with_its_year(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        becomes(&shop, MONTHS[1], 1).await;
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        for month in &MONTHS[2..12] {
            becomes(&shop, month, 1).await;
            assert_eq!(shop.available(owner).await, credits("1500"), "{month}: it is paid for");
        }
        resume(&shop, owner).await.unwrap();
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        becomes(&shop, END, 1).await;
        let is = now(&shop, owner).await;
        assert_eq!((is.state, is.ended_at, shop.count("payments").await), (SubscriptionState::Ended, Some(at(END)), 1));
        assert_eq!(shop.available(owner).await, credits("0"));
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_has_not_begun_yet_ends_no_year(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        shop.set(MONTHS[1]);
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        assert_eq!(now(&shop, owner).await.state, SubscriptionState::Active, "it is paid for");
        resume(&shop, owner).await.unwrap();
        assert_eq!((round(&shop).await, shop.available(owner).await), ((1, 0, 0), credits("1500")));
        shop.assert_sound(owner).await;
    }

    async fn who_cancels_now_has_nothing_left_of_the_year(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        becomes(&shop, MONTHS[1], 1).await;
        cancel(&shop, owner, CancelAt::Now).await.unwrap();
        assert_eq!(shop.available(owner).await, credits("0"));
        becomes(&shop, MONTHS[2], 0).await;
        assert_eq!(shop.lots(owner).await.len(), 2, "no month comes any more");
        shop.assert_sound(owner).await;
    }

    async fn from_months_to_a_year_everything_begins_anew(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.spend(owner, "500").await;
        shop.set("2028-01-30T12:00:00Z");
        let answer = change(&shop, owner, "yearly", 12).await.unwrap();
        let paid: PaymentId = answer.payment.unwrap().id.parse().unwrap();
        assert_eq!(shop.payments.known(paid).await.unwrap().amount, usd("1200.00"), "all of it, with two seats");
        let is = now(&shop, owner).await;
        assert_eq!((is.month.number, is.month.start, is.month.end), (1, at("2028-01-30T12:00:00Z"), at("2028-02-29T12:00:00Z")));
        assert_eq!((is.paid_until(), is.seats, is.price), (at("2029-01-30T12:00:00Z"), 12, usd("1200.00")));
        assert_eq!(shop.available(owner).await, credits("2800"), "what was paid for the month stays");
        becomes(&shop, MONTHS[1], 0).await;
        assert_eq!(shop.available(owner).await, credits("1800"), "until that ends");
        for (month, number) in [("2028-02-29T12:00:00Z", 2), ("2028-03-30T12:00:00Z", 3), ("2028-04-30T12:00:00Z", 4)] {
            becomes(&shop, month, 1).await;
            let is = now(&shop, owner).await;
            assert_eq!((is.month.number, is.month.start), (number, at(month)));
        }
        assert_eq!((shop.count("payments").await, shop.available(owner).await), (2, credits("1800")));

        // Back to months: with the year's end, and until then it can be taken back.
        let back = change(&shop, owner, "business", 0).await.unwrap();
        assert_eq!((back.payment, now(&shop, owner).await.pending.unwrap().interval), (None, Interval::Month));
        for month in ["2028-05-30", "2028-06-30", "2028-07-30", "2028-08-30", "2028-09-30", "2028-10-30", "2028-11-30", "2028-12-30"] {
            becomes(&shop, &format!("{month}T12:00:00Z"), 1).await;
        }
        assert!(now(&shop, owner).await.pending.is_some(), "it waits through the months that are paid for");
        for (month, number, end) in [("2029-01-30T12:00:00Z", 13, "2029-02-28T12:00:00Z"), ("2029-02-28T12:00:00Z", 14, "2029-03-30T12:00:00Z")] {
            becomes(&shop, month, 1).await;
            let is = now(&shop, owner).await;
            assert_eq!((is.plan.as_str(), is.price, is.interval()), ("business", usd("100.00"), Interval::Month));
            assert_eq!((is.month.number, is.month.end, is.paid_until()), (number, at(end), at(end)));
        }
        assert_eq!(shop.count("payments").await, 4);
        shop.assert_sound(owner).await;
    }

    async fn who_cancels_after_beginning_anew_has_nothing_left_of_either_month(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.set("2028-01-15T00:00:00Z");
        change(&shop, owner, "yearly", 0).await.unwrap();
        assert_eq!(shop.available(owner).await, credits("3000"));
        cancel(&shop, owner, CancelAt::Now).await.unwrap();
        assert_eq!(shop.available(owner).await, credits("0"));
        shop.assert_sound(owner).await;
    }

    async fn what_costs_more_is_due_for_the_rest_of_the_year(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        for month in &MONTHS[1..7] {
            becomes(&shop, month, 1).await;
        }
        // 184 of 366 days are left of the year, and all 31 of the month.
        let answer = change(&shop, owner, "yearly-pro", 0).await.unwrap();
        let paid = shop.payments.known(answer.payment.unwrap().id.parse().unwrap()).await.unwrap();
        assert_eq!((paid.amount, paid.bought.credits()), (usd("1005.46"), credits("4000")));
        let is = now(&shop, owner).await;
        assert_eq!((is.plan.as_str(), is.paid_until(), is.month.number), ("yearly-pro", at(END), 6));
        assert_eq!(shop.available(owner).await, credits("5500"));
        for month in &MONTHS[7..12] {
            becomes(&shop, month, 1).await;
            assert_eq!(shop.available(owner).await, credits("5500"));
        }
        let all = parts(&shop, owner).await;
        assert_eq!((all.len(), all.iter().sum::<i64>()), (18, 200_546), "what was paid, to the cent: {all:?}");
        becomes(&shop, END, 1).await;
        assert_eq!(shop.payments.known(now(&shop, owner).await.payment().unwrap()).await.unwrap().amount, usd("3000.00"));
        // Cheaper waits for the year's end.
        change(&shop, owner, "yearly", 0).await.unwrap();
        becomes(&shop, "2029-01-31T10:00:00Z", 1).await;
        let is = now(&shop, owner).await;
        assert_eq!((is.plan.as_str(), is.pending.map(|it| it.price)), ("yearly-pro", Some(usd("1000.00"))));
        shop.assert_sound(owner).await;
    }

    async fn a_year_that_is_given_back_is_taken_back_month_by_month(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let paid = by_the_year(&shop, owner).await;
        shop.spend(owner, "400").await;
        becomes(&shop, MONTHS[1], 1).await;
        shop.spend(owner, "100").await;
        // A tenth: of the second month it is there; of the first nothing is, and the rest of it had expired.
        told(&shop, paid, News::Refunded(usd("100.00"))).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("1250"), "150".to_owned()));
        shop.assert_sound(owner).await;
        becomes(&shop, MONTHS[2], 1).await;
        assert_eq!(shop.available(owner).await, credits("1350"), "and of each month to come");
        shop.assert_sound(owner).await;
        told(&shop, paid, News::Refunded(usd("1000.00"))).await;
        assert_eq!(shop.available(owner).await, credits("0"));
        let lots = shop.lots(owner).await.len();
        for month in &MONTHS[3..12] {
            becomes(&shop, month, 1).await;
        }
        assert_eq!((shop.lots(owner).await.len(), shop.available(owner).await), (lots, credits("0")), "none come any more");
        assert_eq!(now(&shop, owner).await.state, SubscriptionState::Active);
        shop.assert_sound(owner).await;
        becomes(&shop, END, 1).await;
        assert_eq!(shop.available(owner).await, credits("1500"), "another year is another payment");
        shop.assert_sound(owner).await;
    }

    async fn what_was_spent_before_a_month_of_nothing_began_counts_in_it(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let paid = by_the_year(&shop, owner).await;
        told(&shop, paid, News::Refunded(usd("1000.00"))).await;
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        shop.set("2028-02-01T00:00:00Z");
        shop.spend(owner, "7").await;
        assert_eq!(round(&shop).await, (1, 0, 0));
        let account = crate::store::accounts::find(&mut shop.db.read().await.unwrap(), owner).await.unwrap().unwrap();
        assert_eq!((account.period.month.number, account.period.spent), (1, 7_000_000));
        shop.assert_sound(owner).await;
    }

    async fn a_dispute_withholds_the_months_that_begin_and_gives_them_back(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let paid = by_the_year(&shop, owner).await;
        told(&shop, paid, News::Disputed(usd("1000.00"))).await;
        becomes(&shop, MONTHS[1], 1).await;
        assert_eq!(shop.available(owner).await, credits("0"));
        shop.assert_sound(owner).await;
        told(&shop, paid, News::DisputeWon).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("1500"), "0".to_owned()));
        becomes(&shop, MONTHS[2], 1).await;
        assert_eq!(shop.available(owner).await, credits("1500"));
        shop.assert_sound(owner).await;
    }

    async fn an_upgrade_that_is_given_back_is_taken_back_of_the_months_to_come(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        let more = upgraded(&shop, owner).await;
        becomes(&shop, MONTHS[1], 1).await;
        assert_eq!(shop.available(owner).await, credits("5500"));
        told(&shop, more, News::Refunded(usd("200.00"))).await;
        assert_eq!(shop.available(owner).await, credits("5100"), "a tenth of what it brought");
        becomes(&shop, MONTHS[2], 1).await;
        assert_eq!(shop.available(owner).await, credits("5100"));
        told(&shop, more, News::Refunded(usd("2000.00"))).await;
        assert_eq!(shop.available(owner).await, credits("1500"));
        becomes(&shop, MONTHS[3], 1).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("1500"), "0".to_owned()));
        shop.assert_sound(owner).await;
    }

    async fn an_upgrade_stays_whose_year_is_given_back(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        let more = upgraded(&shop, owner).await;
        told(&shop, first, News::Refunded(usd("1000.00"))).await;
        becomes(&shop, MONTHS[1], 1).await;
        assert_eq!(shop.available(owner).await, credits("4000"));
        shop.assert_sound(owner).await;
        told(&shop, more, News::Refunded(usd("2000.00"))).await;
        let lots = shop.lots(owner).await.len();
        becomes(&shop, MONTHS[2], 1).await;
        assert_eq!((shop.available(owner).await, shop.lots(owner).await.len()), (credits("0"), lots), "none come any more");
        assert_eq!(now(&shop, owner).await.month.number, 2);
        shop.assert_sound(owner).await;
    }

    async fn what_is_withheld_of_an_upgrade_comes_back_where_its_year_has_moved(db: TestDb) {
        let (shop, owner, team) = (shop(&db).await, personal(1), organization(1));
        by_the_year(&shop, owner).await;
        let more = upgraded(&shop, owner).await;
        becomes(&shop, MONTHS[1], 1).await;
        told(&shop, more, News::Disputed(usd("2000.00"))).await;
        shop.moves(id(1), id(1)).await;
        assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("1500")));
        told(&shop, more, News::DisputeWon).await;
        assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("5500")));
        becomes(&shop, MONTHS[2], 1).await;
        assert_eq!(shop.available(team).await, credits("5500"));
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
    }

    async fn what_a_year_was_changed_to_where_it_has_moved_is_its_own_payments(db: TestDb) {
        let (shop, owner, team) = (shop(&db).await, personal(1), organization(1));
        let first = by_the_year(&shop, owner).await;
        shop.moves(id(1), id(1)).await;
        upgraded(&shop, team).await;
        told(&shop, first, News::Refunded(usd("1000.00"))).await;
        becomes(&shop, MONTHS[1], 1).await;
        assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("4000")));
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
    }

    async fn a_year_goes_on_where_it_has_moved(db: TestDb) {
        let (shop, owner, team) = (shop(&db).await, personal(1), organization(1));
        let paid = by_the_year(&shop, owner).await;
        becomes(&shop, MONTHS[1], 1).await;
        shop.spend(owner, "500").await;
        shop.moves(id(1), id(1)).await;
        assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("1000")));
        becomes(&shop, MONTHS[2], 1).await;
        let is = now(&shop, team).await;
        assert_eq!((is.month.number, is.paid_until(), is.payment()), (2, at(END), Some(paid)));
        assert_eq!((shop.available(team).await, shop.count("payments").await), (credits("1500"), 1));
        shop.spend(team, "300").await;
        told(&shop, paid, News::Disputed(usd("1000.00"))).await;
        assert_eq!((shop.available(team).await, debt(&shop, team).await), (credits("0"), "300".to_owned()));
        assert_eq!(debt(&shop, owner).await, "500");
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
        becomes(&shop, MONTHS[3], 1).await;
        told(&shop, paid, News::DisputeWon).await;
        assert_eq!((shop.available(team).await, debt(&shop, owner).await), (credits("1500"), "0".to_owned()));
        becomes(&shop, MONTHS[4], 1).await;
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
    }

    async fn a_year_that_is_not_paid_is_past_due_at_its_end_only(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        shop.sql("UPDATE subscriptions SET payment_method = 'sandbox_declined'").await;
        for month in &MONTHS[1..12] {
            becomes(&shop, month, 1).await;
        }
        assert_eq!(now(&shop, owner).await.state, SubscriptionState::Active);
        becomes(&shop, END, 1).await;
        assert_eq!((now(&shop, owner).await.state, shop.available(owner).await), (SubscriptionState::PastDue, credits("0")));
        shop.sql("UPDATE subscriptions SET payment_method = 'sandbox_ok'").await;
        becomes(&shop, "2029-01-01T10:00:00Z", 1).await;
        let is = now(&shop, owner).await;
        assert_eq!((is.state, is.month.start, is.paid_until()), (SubscriptionState::Active, at(END), at("2029-12-31T10:00:00Z")));
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_is_paid_for_waits_for_who_is_suspended(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        shop.stands(owner, Standing::Suspended).await;
        becomes(&shop, MONTHS[1], 0).await;
        shop.stands(owner, Standing::Active).await;
        assert_eq!(round(&shop).await, (1, 0, 0));
        assert_eq!(shop.available(owner).await, credits("1500"));
        shop.assert_sound(owner).await;
    }

    async fn who_is_back_before_the_years_end_has_its_months(db: TestDb) {
        let (shop, team) = (shop(&db).await, organization(1));
        by_the_year(&shop, personal(1)).await;
        shop.moves(id(1), id(1)).await;
        shop.stands(team, Standing::Deleted).await;
        shop.settles(team).await;
        assert_eq!(now(&shop, team).await.state, SubscriptionState::Ended);
        shop.set("2028-02-10T00:00:00Z");
        shop.stands(team, Standing::Active).await;
        shop.settles(team).await;
        assert_eq!((round(&shop).await, shop.available(team).await), ((1, 0, 0), credits("1500")));
        shop.assert_sound(team).await;
    }

    async fn a_program_that_knows_of_no_years_begins_none_of_their_months(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        by_the_year(&shop, owner).await;
        shop.sql("UPDATE subscriptions SET period_number = 1, period_start = period_end, period_end = period_end + 1").await;
        assert_eq!(now(&shop, owner).await.month.number, 0, "nothing was written");
        let renewals_of_nothing = "payments WHERE purpose = 'RENEWAL' AND start_interval = 'year' AND period = 0";
        assert_eq!(shop.count(renewals_of_nothing).await, 1);
        shop.sql("UPDATE payments SET purpose = 'x'").await;
        let start = shop.payments.known(now(&shop, owner).await.payment().unwrap()).await.unwrap();
        assert_eq!(start.bought.subscription(), Some(now(&shop, owner).await.id), "its own word for it is beside");
    }

    async fn a_year_that_waits_for_its_money_begins_with_it(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let waiting = shop.subscribe(owner, "yearly", "sandbox_pending", "").await.unwrap();
        let paid: PaymentId = waiting.payment_id.parse().unwrap();
        let is = now(&shop, owner).await;
        assert_eq!((is.state, is.interval(), is.paid_until()), (SubscriptionState::Incomplete, Interval::Year, at(END)));
        shop.set("2028-01-02T10:00:00Z");
        told(&shop, paid, News::Paid).await;
        assert_eq!(now(&shop, owner).await.paid_until(), at("2029-01-02T10:00:00Z"));
        let again = shop.subscribe(owner, "yearly", "sandbox_ok", "").await;
        assert!(matches!(again, Err(Error::AlreadySubscribed { .. })), "{again:?}");
        shop.assert_sound(owner).await;
    }
}
