//! What is left of a month: how much of it is there for the next, whoever comes when, and what becomes of that where the
//! subscription changes, ends or moves and where its money goes back. On both engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_testkit::{TestDb, at, credits, engines, id, personal};
use bursar_time::Span;

use crate::domain::{Actor, Attribution, Command, HoldCommand, Labels, Lot, News, Request, Rules, SubscriptionState};
use crate::lane::Job;
use crate::store::payments;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::changing::tests::change;
use crate::usecase::dues::thing_after;
use crate::usecase::renewals;
use crate::usecase::shelf::{debt, now, told, usd};
use crate::usecase::shop::Shop;

mod money;

const BEGIN: &str = "2026-01-01T00:00:00Z";
const HALF: &str = "2026-01-16T12:00:00Z";
const NEXT: &str = "2026-02-01T00:00:00Z";
const THIRD: &str = "2026-03-01T00:00:00Z";

/// Of every month 500 credits at most are there for the next, of the dearer plan 2,000, of the smaller none.
const PLANS: &str = r#"
[[plans]]
id = "rolling"
name = "Rolling"
price = "100.00 USD"
credits = "1500"
rollover = "500"
seats = 10
features = ["organizations"]

[[plans]]
id = "rolling-pro"
name = "Rolling Pro"
price = "300.00 USD"
credits = "5500"
rollover = "2000"
seats = 20
features = ["organizations"]

[[plans]]
id = "far"
name = "Far"
price = "10.00 USD"
credits = "100"
rollover = "250"
seats = 1

[[plans]]
id = "small"
name = "Small"
price = "10.00 USD"
credits = "100"
seats = 1

[[plans]]
id = "rolling-yearly"
name = "Rolling, by the year"
interval = "year"
price = "1200.00 USD"
credits = "1500"
rollover = "500"
seats = 10
features = ["organizations"]
"#;

async fn shop(db: &TestDb) -> Shop {
    Shop::selling(db, BEGIN, PLANS).await
}

/// Somebody on a plan since the beginning, and what has paid for the first month.
async fn on(shop: &Shop, owner: OwnerId, plan: &str) -> PaymentId {
    shop.subscribe(owner, plan, "sandbox_ok", "").await.unwrap().payment_id.parse().unwrap()
}

async fn round(shop: &Shop) -> usize {
    let round = renewals::round(&shop.subscriptions).await.unwrap();
    assert_eq!(round.failed, 0);
    round.done
}

/// It is this time, and so many months or ends are due.
async fn becomes(shop: &Shop, time: &str, due: usize) {
    shop.set(time);
    assert_eq!(round(shop).await, due, "at {time}");
}

/// How many credits were rolled over to an owner, and how many of them are left, lot by lot.
async fn rolled(shop: &Shop, owner: OwnerId) -> Vec<(String, String)> {
    let of = |lot: &Lot| (lot.granted.to_string(), lot.remaining.to_string());
    shop.lots(owner).await.iter().filter(|lot| lot.is_rolled_over()).map(of).collect()
}

fn pair(granted: &str, left: &str) -> (String, String) {
    (granted.to_owned(), left.to_owned())
}

/// Reserves so much until an hour after the next month begins.
async fn reserves(shop: &Shop, owner: OwnerId, amount: &str) {
    let command = Command::Hold(HoldCommand {
        amount: credits(amount),
        ttl: at(NEXT).saturating_add(Span::HOUR).since(shop.clock.now()),
        attribution: Attribution { member: id(1), project: None, model: None },
        labels: Labels::default(),
    });
    let mut tx = shop.db.begin().await.unwrap();
    let job = Job { owner, actor: Actor::Job, request: Request::unnamed(command) };
    shop.subscriptions.till.book(&mut tx, &job).await.unwrap();
    tx.commit().await.unwrap();
}

/// Books what has lapsed in an account.
async fn sweeps(shop: &Shop, owner: OwnerId) {
    let mut tx = shop.db.begin().await.unwrap();
    let job = Job { owner, actor: Actor::Job, request: Request::unnamed(Command::Sweep) };
    shop.subscriptions.till.book(&mut tx, &job).await.unwrap();
    tx.commit().await.unwrap();
}

engines! {
    async fn the_rest_of_a_month_rolls_over_up_to_the_cap(db: TestDb) {
        let shop = shop(&db).await;
        let cases = [("", "500"), ("999", "500"), ("1000", "500"), ("1000.000001", "499.999999"), ("1499.5", "0.5"), ("1500", "")];
        for (n, (spent, _)) in (1..).zip(cases) {
            on(&shop, personal(n), "rolling").await;
            if !spent.is_empty() {
                shop.spend(personal(n), spent).await;
            }
        }
        becomes(&shop, NEXT, cases.len()).await;
        assert_eq!(round(&shop).await, 0);
        for (n, (spent, over)) in (1..).zip(cases) {
            let expected: Vec<_> = (!over.is_empty()).then(|| pair(over, over)).into_iter().collect();
            assert_eq!(rolled(&shop, personal(n)).await, expected, "{spent} spent");
            shop.assert_sound(personal(n)).await;
        }
        let lines = [
            "ALLOWANCE 1500 (0) 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z",
            "ALLOWANCE 500 (500) 2026-01-01T00:00:00Z 2026-03-01T00:00:00Z",
            "ALLOWANCE 1500 (1500) 2026-02-01T00:00:00Z 2026-03-01T00:00:00Z",
        ];
        assert_eq!(shop.lot_lines(personal(1)).await, lines);
        // What was rolled over is spent first, and what is left of both rolls over.
        shop.spend(personal(1), "600").await;
        assert_eq!(rolled(&shop, personal(1)).await, [pair("500", "0")]);
        becomes(&shop, THIRD, cases.len()).await;
        assert_eq!(rolled(&shop, personal(1)).await, [pair("500", "0"), pair("500", "500")]);
        assert_eq!(shop.available(personal(1)).await, credits("2000"));
        shop.assert_sound(personal(1)).await;
    }

    async fn it_is_the_same_whoever_has_booked_what_lapsed(db: TestDb) {
        let shop = shop(&db).await;
        for n in 1..=3 {
            on(&shop, personal(n), "rolling").await;
            shop.buy(personal(n), "starter", "sandbox_ok", "").await.unwrap();
            shop.spend(personal(n), "1100").await;
        }
        shop.set("2026-01-31T23:00:00Z");
        for n in 1..=3 {
            reserves(&shop, personal(n), "150").await;
        }
        // The one is swept at the boundary and goes on spending, the next when its hold has lapsed, the last with its renewal.
        shop.set(NEXT);
        sweeps(&shop, personal(1)).await;
        shop.spend(personal(1), "7").await;
        shop.set("2026-02-01T01:00:00Z");
        sweeps(&shop, personal(2)).await;
        becomes(&shop, "2026-02-01T02:00:00Z", 3).await;
        for n in 1..=3 {
            assert_eq!(rolled(&shop, personal(n)).await, [pair("250", "250")], "{n}: without what was held");
            let expired = shop.lots(personal(n)).await[0].expired;
            assert_eq!(expired, credits("400"), "{n}: which lapsed later");
            shop.assert_sound(personal(n)).await;
        }
    }

    async fn months_that_are_made_up_for_roll_over_one_into_the_next(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "rolling").await;
        shop.spend(owner, "1200").await;
        becomes(&shop, "2026-03-15T00:00:00Z", 2).await;
        let lines = [
            "ALLOWANCE 1500 (0) 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z",
            "ALLOWANCE 300 (0) 2026-01-01T00:00:00Z 2026-03-01T00:00:00Z",
            "ALLOWANCE 1500 (0) 2026-02-01T00:00:00Z 2026-03-01T00:00:00Z",
            "ALLOWANCE 500 (500) 2026-02-01T00:00:00Z 2026-04-01T00:00:00Z",
            "ALLOWANCE 1500 (1500) 2026-03-01T00:00:00Z 2026-04-01T00:00:00Z",
        ];
        assert_eq!(shop.lot_lines(owner).await, lines);
        shop.assert_sound(owner).await;
    }

    async fn months_in_time_roll_over_as_those_that_are_made_up_for(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "rolling").await;
        shop.spend(owner, "1200").await;
        becomes(&shop, NEXT, 1).await;
        assert_eq!(rolled(&shop, owner).await, [pair("300", "300")]);
        becomes(&shop, THIRD, 1).await;
        assert_eq!(rolled(&shop, owner).await, [pair("300", "0"), pair("500", "500")], "of the newest first");
        let newest = shop.lots(owner).await;
        assert_eq!(newest[3].terms.origin.payment, newest[2].terms.origin.payment, "with what has paid for that");
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_is_paid_late_has_what_lapsed_at_its_boundary(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "rolling").await;
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        shop.spend(owner, "1300").await;
        shop.pays_with("sandbox_declined").await;
        becomes(&shop, NEXT, 1).await;
        assert_eq!(now(&shop, owner).await.state, SubscriptionState::PastDue);
        assert_eq!((rolled(&shop, owner).await, shop.available(owner).await), (Vec::new(), credits("300")));
        shop.spend(owner, "100").await;
        shop.pays_with("sandbox_ok").await;
        becomes(&shop, "2026-02-02T00:00:00Z", 1).await;
        assert_eq!(rolled(&shop, owner).await, [pair("200", "200")]);
        assert_eq!(shop.available(owner).await, credits("1900"));
        shop.assert_sound(owner).await;
    }

    async fn nothing_rolls_over_where_no_month_follows(db: TestDb) {
        let shop = shop(&db).await;
        let (canceled, unpaid, plain) = (personal(1), personal(2), personal(3));
        for owner in [canceled, unpaid] {
            on(&shop, owner, "rolling").await;
        }
        on(&shop, plain, "business").await;
        cancel(&shop, canceled, CancelAt::PeriodEnd).await.unwrap();
        becomes(&shop, NEXT, 3).await;
        assert_eq!(rolled(&shop, unpaid).await, [pair("500", "500")]);
        assert_eq!(now(&shop, canceled).await.state, SubscriptionState::Ended);
        shop.pays_with("sandbox_declined").await;
        for day in [THIRD, "2026-03-02T00:00:00Z", "2026-03-04T00:00:00Z", "2026-03-06T00:00:00Z", "2026-03-08T00:00:00Z"] {
            shop.set(day);
            round(&shop).await;
        }
        assert_eq!(now(&shop, unpaid).await.state, SubscriptionState::Ended);
        sweeps(&shop, unpaid).await;
        assert_eq!(rolled(&shop, unpaid).await, [pair("500", "0")], "it is gone with its month");
        for owner in [canceled, plain] {
            assert!(rolled(&shop, owner).await.is_empty(), "{owner}");
        }
        // Whoever comes back begins with nothing.
        on(&shop, canceled, "rolling").await;
        assert!(rolled(&shop, canceled).await.is_empty());
        for owner in [canceled, unpaid, plain] {
            shop.assert_sound(owner).await;
        }
    }

    async fn what_a_change_has_added_rolls_over_by_the_new_cap_and_with_its_payment(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "rolling").await;
        shop.set(HALF);
        let changed = change(&shop, owner, "rolling-pro", 0).await.unwrap();
        let added: PaymentId = changed.payment.unwrap().id.parse().unwrap();
        shop.spend(owner, "1600").await;
        becomes(&shop, NEXT, 1).await;
        assert_eq!(rolled(&shop, owner).await, [pair("1900", "1900")]);
        let lots = shop.lots(owner).await;
        assert_eq!(lots[2].terms.origin.payment, Some(added));
        assert_eq!(lots[2].terms.origin.paid, Some(usd("95.00")), "2,000 credits for 100 dollars");
        assert_eq!(shop.available(owner).await, credits("7400"));
        // What it costs goes back with that payment: what rolled over first, then what was spent.
        told(&shop, added, News::Refunded(usd("96.00"))).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("5500"), "20".to_owned()));
        shop.assert_sound(owner).await;
    }

    async fn the_newest_of_several_lots_fill_the_cap(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        let first = on(&shop, owner, "rolling").await;
        shop.set(HALF);
        change(&shop, owner, "rolling-pro", 0).await.unwrap();
        shop.spend(owner, "1000").await;
        becomes(&shop, NEXT, 1).await;
        assert_eq!(rolled(&shop, owner).await, [pair("2000", "2000")], "the newest fills the cap");
        assert_eq!(shop.available(owner).await, credits("7500"));
        // Of the first month's payment nothing has rolled over: what was spent of it is owed.
        told(&shop, first, News::Refunded(usd("100.00"))).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("7500"), "1000".to_owned()));
        shop.assert_sound(owner).await;
    }

    async fn each_of_several_lots_goes_on_as_its_own_with_its_payment(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        let first = on(&shop, owner, "far").await;
        for (time, over) in [
            (NEXT, vec!["100"]),
            (THIRD, vec!["100", "100"]),
            ("2026-04-01T00:00:00Z", vec!["50", "100", "100"]),
            ("2026-05-01T00:00:00Z", vec!["50", "100", "100"]),
        ] {
            becomes(&shop, time, 1).await;
            let is: Vec<_> = rolled(&shop, owner).await.into_iter().filter(|it| it.1 != "0").collect();
            let expected: Vec<_> = over.into_iter().map(|it| pair(it, it)).collect();
            assert_eq!(is, expected, "the oldest first, at {time}");
            shop.assert_sound(owner).await;
        }
        // Of the first payment nothing is left by now: the 50 in April were spent by nobody, and have lapsed.
        let before = shop.available(owner).await;
        told(&shop, first, News::Refunded(usd("10.00"))).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (before, "0".to_owned()));
        shop.assert_sound(owner).await;
    }

    async fn the_cap_is_that_of_the_month_that_ends(db: TestDb) {
        let shop = shop(&db).await;
        let (less, more) = (personal(1), personal(2));
        for owner in [less, more] {
            on(&shop, owner, if owner == less { "rolling" } else { "small" }).await;
        }
        change(&shop, less, "small", 0).await.unwrap();
        becomes(&shop, NEXT, 2).await;
        assert_eq!(now(&shop, less).await.rollover, None);
        assert_eq!(rolled(&shop, less).await, [pair("500", "500")], "by the plan that it was");
        assert_eq!(shop.available(less).await, credits("600"));
        assert!(rolled(&shop, more).await.is_empty());
        becomes(&shop, THIRD, 2).await;
        assert_eq!(rolled(&shop, less).await, [pair("500", "0")], "and no more by the one that it is");
        shop.assert_sound(less).await;
    }

    async fn an_edit_of_the_catalog_touches_no_cap_that_somebody_has(db: TestDb) {
        let mut shop = shop(&db).await;
        let (before, after) = (personal(1), personal(2));
        on(&shop, before, "rolling").await;
        let edited = PLANS.replace("rollover = \"500\"", "rollover = \"40\"");
        shop.sells(&format!("{}{edited}", include_str!("../../../catalog.toml")));
        on(&shop, after, "rolling").await;
        becomes(&shop, NEXT, 2).await;
        assert_eq!(rolled(&shop, before).await, [pair("500", "500")]);
        assert_eq!(rolled(&shop, after).await, [pair("40", "40")]);
        assert_eq!(now(&shop, before).await.rollover, Some(credits("500")));
    }

    async fn a_month_that_a_year_takes_the_place_of_stays_beside_and_does_not_roll_over(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "rolling").await;
        shop.set(HALF);
        change(&shop, owner, "rolling-yearly", 0).await.unwrap();
        assert_eq!(shop.available(owner).await, credits("3000"));
        becomes(&shop, NEXT, 0).await;
        assert_eq!(shop.available(owner).await, credits("1500"), "the old month is over");
        shop.spend(owner, "1100").await;
        becomes(&shop, "2026-02-16T12:00:00Z", 1).await;
        assert_eq!(rolled(&shop, owner).await, [pair("400", "400")], "the year's first month rolls over alone");
        shop.assert_sound(owner).await;
    }

    async fn each_month_of_a_year_rolls_over_and_the_last_into_the_next_year(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        let year = on(&shop, owner, "rolling-yearly").await;
        for month in 1..=13_u32 {
            becomes(&shop, &at(BEGIN).add_months_anchored(month).to_string(), 1).await;
            assert_eq!(shop.available(owner).await, credits("2000"), "month {month}");
            shop.spend(owner, "900").await;
        }
        assert_eq!(shop.count("payments").await, 2);
        let rolled = rolled(&shop, owner).await;
        assert_eq!((rolled.len(), rolled.iter().all(|it| *it == pair("500", "0"))), (13, true));
        shop.assert_sound(owner).await;
        told(&shop, year, News::Refunded(usd("1200.00"))).await;
        // What was used of it is owed: 400 of each allowance but the first, and 500 of each that rolled over, twelve times.
        assert_eq!(debt(&shop, owner).await, "10400");
        shop.assert_sound(owner).await;
    }

    async fn the_months_allowance_finds_a_place_before_what_rolls_over(db: TestDb) {
        let shop = shop(&db).await;
        for (n, plan) in (1..).zip(["rolling", "rolling-yearly"]) {
            // All places are taken; and all but one.
            for (owner, others) in [(personal(n), Rules::MAX_LIVE_LOTS - 1), (personal(n + 10), Rules::MAX_LIVE_LOTS - 2)] {
                on(&shop, owner, plan).await;
                shop.fills(owner, others).await;
            }
        }
        becomes(&shop, NEXT, 4).await;
        for n in [1, 2] {
            let [full, other] = [personal(n), personal(n + 10)];
            assert_eq!((rolled(&shop, full).await, shop.available(full).await), (Vec::new(), credits("2499")));
            assert_eq!((rolled(&shop, other).await, shop.available(other).await), (vec![pair("500", "500")], credits("2998")));
            for owner in [full, other] {
                shop.assert_sound(owner).await;
            }
        }
    }

    async fn a_move_and_a_month_lock_what_rolls_over_in_one_order(db: TestDb) {
        let shop = shop(&db).await;
        let first = on(&shop, personal(1), "rolling").await;
        shop.set(NEXT);
        shop.pays_with("sandbox_pending").await;
        round(&shop).await;
        let thing = thing_after(&now(&shop, personal(1)).await);
        let next = payments::last_attempt(&mut shop.db.read().await.unwrap(), thing).await.unwrap().unwrap().id;
        assert!(next > first);
        // Whoever has what paid for the month that ends, as a move does first, waits for nobody who waits for it.
        let mut tx = shop.db.begin().await.unwrap();
        payments::lock(&mut tx, first).await.unwrap().unwrap();
        let teller = shop.clone();
        let telling = tokio::spawn(async move { teller.payments.told(next, News::Paid).await });
        shop.somebody_waits().await;
        assert!(payments::lock(&mut tx, next).await.unwrap().unwrap().is_open());
        tx.commit().await.unwrap();
        assert!(telling.await.unwrap().unwrap().fulfilled_at.is_some());
        assert_eq!(rolled(&shop, personal(1)).await, [pair("500", "500")]);
        shop.assert_sound(personal(1)).await;
    }

    async fn replicas_and_repetitions_roll_a_month_over_once(db: TestDb) {
        let shop = shop(&db).await;
        for n in 1..=4 {
            on(&shop, personal(n), "rolling").await;
        }
        assert_eq!(shop.renewed_by_an_older_program().await, 0, "programs of before leave it alone");
        for (number, time) in (1..).zip([NEXT, THIRD]) {
            shop.set(time);
            let racers = (0..6).map(|_| {
                let subscriptions = shop.subscriptions.clone();
                tokio::spawn(async move { renewals::round(&subscriptions).await.map(drop) })
            });
            for racer in racers.collect::<Vec<_>>() {
                racer.await.unwrap().unwrap();
            }
            round(&shop).await;
            for n in 1..=4 {
                assert_eq!(rolled(&shop, personal(n)).await.len(), number, "{n} at {time}");
                assert_eq!(shop.available(personal(n)).await, credits("2000"));
                shop.assert_sound(personal(n)).await;
            }
        }
    }
}
