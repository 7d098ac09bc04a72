//! Renewals: prompt, late, repeated and raced, on both engines.

use bursar_id::SubscriptionId;
use bursar_members::Standing;
use bursar_testkit::{TestDb, at, credits, engines, id, personal};
use bursar_time::{Clock, Span};

use crate::domain::{Payment, PaymentState, Subscription, SubscriptionState};
use crate::error::Error;
use crate::payment::Settlement;
use crate::usecase::shop::Shop;
use crate::usecase::subscriptions::SubscriptionUseCases;

const JANUARY_31: &str = "2026-01-31T10:00:00Z";

/// The ends of the first five months.
const ENDS: [&str; 5] = [
    "2026-02-28T10:00:00Z",
    "2026-03-31T10:00:00Z",
    "2026-04-30T10:00:00Z",
    "2026-05-31T10:00:00Z",
    "2026-06-30T10:00:00Z",
];

/// What five months of renewals leave, whenever and however often they ran.
const LOTS: [&str; 7] = [
    "PACK 300 (300) 2026-01-31T10:00:00Z never",
    "ALLOWANCE 1500 (0) 2026-01-31T10:00:00Z 2026-02-28T10:00:00Z",
    "ALLOWANCE 1500 (0) 2026-02-28T10:00:00Z 2026-03-31T10:00:00Z",
    "ALLOWANCE 1500 (0) 2026-03-31T10:00:00Z 2026-04-30T10:00:00Z",
    "ALLOWANCE 1500 (0) 2026-04-30T10:00:00Z 2026-05-31T10:00:00Z",
    "ALLOWANCE 1500 (0) 2026-05-31T10:00:00Z 2026-06-30T10:00:00Z",
    "ALLOWANCE 1500 (1500) 2026-06-30T10:00:00Z 2026-07-31T10:00:00Z",
];

/// What is told, but for invoices, each of which is told of.
const BUT_INVOICES: &str = "outbox WHERE type <> 'invoice.issued'";

/// How many months a round has begun and subscriptions it has ended.
async fn round(subscriptions: &SubscriptionUseCases) -> Result<usize, Error> {
    Ok(super::round(subscriptions).await?.done)
}

async fn subscribed(db: &TestDb) -> Shop {
    let shop = Shop::open(db, JANUARY_31).await;
    shop.buy(personal(1), "starter", "sandbox_ok", "").await.unwrap();
    shop.subscribe(personal(1), "business", "sandbox_ok", "").await.unwrap();
    shop
}

/// Pays the month after `from`'s; its news are told by nobody yet.
async fn paid(shop: &Shop, from: &Subscription) -> (Payment, Option<Settlement>) {
    let cashier = &shop.subscriptions.cashier;
    let payment = cashier.dues(from).await.unwrap();
    let heard = cashier.ask(&payment).await.unwrap();
    assert!(heard.is_some());
    (payment, heard)
}

/// Gives these people the subscription that is there, and nothing else.
async fn copies(shop: &Shop, of: std::ops::Range<u64>) {
    let others = of.map(|n| {
        let subscription: SubscriptionId = id(n);
        format!("('{}', '{subscription}')", personal(n))
    });
    let rows = others.collect::<Vec<_>>().join(", ");
    let copies = format!(
        "INSERT INTO subscriptions (owner, id, plan_id, state, credits, seats, currency, price, payment_method,
             payment_reference, started_at, period_number, period_start, period_end)
         SELECT other.column1, other.column2, plan_id, state, credits, seats, currency, price, payment_method,
             payment_reference, started_at, period_number, period_start, period_end
         FROM subscriptions, (VALUES {rows}) AS other"
    );
    shop.sql(copies.leak()).await;
}

async fn assert_five_months_passed(shop: &Shop) {
    let owner = personal(1);
    assert_eq!(shop.lot_lines(owner).await, LOTS);
    assert_eq!(shop.available(owner).await, credits("1800"));
    let subscription = shop.subscriptions.get(owner).await.unwrap();
    assert_eq!((subscription.month.number, subscription.month.end), (5, at("2026-07-31T10:00:00Z")));
    assert_eq!(subscription.state, SubscriptionState::Active);
    shop.assert_sound(owner).await;
}

engines! {
    async fn what_earlier_programs_leave_of_a_month_that_was_tried_counts_for_no_other(db: TestDb) {
        let shop = subscribed(&db).await;
        let owner = personal(1);
        shop.sql("UPDATE subscriptions SET failures = 3, next_retry_at = period_start, payment_method = 'sandbox_declined'")
            .await;
        let from = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((from.state, from.failures, from.next_retry_at), (SubscriptionState::Active, 0, None));
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 0);
        shop.set(ENDS[0]);
        round(&shop.subscriptions).await.unwrap();
        let tried = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((tried.state, tried.failures), (SubscriptionState::PastDue, 1));
    }

    async fn nobody_pays_for_a_month_of_what_could_not_be_spent(db: TestDb) {
        let shop = subscribed(&db).await;
        let owner = personal(1);
        shop.close_personal_accounts();
        shop.set(ENDS[0]);
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 1);
        assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, SubscriptionState::Ended);
        let lots = shop.lot_lines(owner).await;
        assert_eq!((lots.len(), lots[0].as_str()), (2, LOTS[0]), "no other month was granted, the pack is as it was");
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_ends_is_followed_by_the_next(db: TestDb) {
        let shop = subscribed(&db).await;
        let owner = personal(1);
        shop.spend(owner, "500").await;
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 0, "nothing is due");
        shop.set("2026-02-28T09:59:59.999999Z");
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 0, "nor a microsecond before");
        shop.set(ENDS[0]);
        assert_eq!(shop.available(owner).await, credits("300"), "the old allowance is gone, the pack is not");
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 1);
        assert_eq!(shop.available(owner).await, credits("1800"));
        let lots = shop.lots(owner).await;
        assert_eq!((lots[1].spent, lots[1].expired), (credits("500"), credits("1000")));
        assert_eq!(shop.count(BUT_INVOICES).await, 3, "a renewal changes nothing for other services");
        assert_eq!(shop.count("outbox").await, 3 + 3, "but that its invoice is mailed, as those before");
        shop.assert_sound(owner).await;
    }

    async fn prompt_renewals(db: TestDb) {
        let shop = subscribed(&db).await;
        for end in ENDS {
            shop.set(end);
            assert_eq!(round(&shop.subscriptions).await.unwrap(), 1);
        }
        assert_five_months_passed(&shop).await;
    }

    async fn late_renewals_catch_up(db: TestDb) {
        let shop = subscribed(&db).await;
        shop.set("2026-07-04T00:00:00Z");
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 5);
        assert_five_months_passed(&shop).await;
    }

    async fn renewals_that_run_twice(db: TestDb) {
        let shop = subscribed(&db).await;
        for end in ENDS {
            shop.set(end);
            assert_eq!(round(&shop.subscriptions).await.unwrap(), 1);
            assert_eq!(round(&shop.subscriptions).await.unwrap(), 0);
        }
        assert_five_months_passed(&shop).await;
    }

    async fn a_round_leaves_the_rest_to_the_next_that_comes_at_once(db: TestDb) {
        let shop = subscribed(&db).await;
        let (portion, walk) = (super::Portion { page: 50, single: 1, together: 50 }, super::Walk::default());
        copies(&shop, 2..portion.together as u64 + 2).await;
        shop.set(ENDS[0]);
        let first = super::within(&shop.subscriptions, portion, &walk).await.unwrap();
        assert_eq!((first.done, first.goes_on), (portion.together, true));
        let second = super::within(&shop.subscriptions, portion, &walk).await.unwrap();
        assert_eq!((second.done, second.failed, second.goes_on), (1, 0, false));
    }

    async fn of_what_is_no_work_for_many_a_round_does_less(db: TestDb) {
        let shop = subscribed(&db).await;
        shop.sql("UPDATE subscriptions SET payment_method = 'sandbox_declined'").await;
        copies(&shop, 2..5).await;
        shop.set(ENDS[0]);
        let (portion, walk) = (super::Portion { page: 3, single: 3, together: 1 }, super::Walk::default());
        let first = super::within(&shop.subscriptions, portion, &walk).await.unwrap();
        assert_eq!((first.done, first.goes_on), (3, true));
        let second = super::within(&shop.subscriptions, portion, &walk).await.unwrap();
        assert_eq!((second.done, second.failed, second.goes_on), (1, 0, false));
    }

    async fn racing_replicas_renew_once(db: TestDb) {
        let shop = subscribed(&db).await;
        for now in [ENDS[0], "2026-07-04T00:00:00Z"] {
            shop.set(now);
            let racers = (0..8).map(|_| {
                let subscriptions = shop.subscriptions.clone();
                tokio::spawn(async move { round(&subscriptions).await })
            });
            for racer in racers.collect::<Vec<_>>() {
                racer.await.unwrap().unwrap();
            }
            // Replicas that lost a race leave the rest of that subscription to the next round.
            round(&shop.subscriptions).await.unwrap();
        }
        assert_five_months_passed(&shop).await;
    }

    async fn a_declined_renewal_is_tried_again_ends_the_plan_and_leaves_the_packs(db: TestDb) {
        let shop = subscribed(&db).await;
        let owner = personal(1);
        shop.spend(owner, "1600").await;
        shop.pays_with("sandbox_declined").await;
        let tries = ["2026-02-28T10:00:00Z", "2026-03-01T10:00:00Z", "2026-03-03T10:00:00Z", "2026-03-05T10:00:00Z"];
        let retries = [tries[1], tries[2], tries[3], "2026-03-07T10:00:00Z"];
        for (try_, retry) in tries.into_iter().zip(retries) {
            shop.set(try_);
            assert_eq!(round(&shop.subscriptions).await.unwrap(), 1, "{try_}");
            assert_eq!(round(&shop.subscriptions).await.unwrap(), 0, "{try_}: not before its time");
            let past_due = shop.subscriptions.get(owner).await.unwrap();
            assert_eq!((past_due.state, past_due.next_retry_at), (SubscriptionState::PastDue, Some(at(retry))));
            assert_eq!(shop.subscriptions.entitlements(owner).await.unwrap().plan.as_str(), "business", "entitlements stay");
            assert_eq!(shop.available(owner).await, credits("200"), "the pack, less what the month did not cover");
        }
        shop.set("2026-03-09T00:00:00Z");
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 1);
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 0, "what ended stays ended");

        let ended = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((ended.state, ended.ended_at), (SubscriptionState::Ended, Some(at("2026-03-07T10:00:00Z"))));
        let entitled = shop.subscriptions.entitlements(owner).await.unwrap();
        assert_eq!((entitled.plan.as_str(), entitled.seats), ("free", 5));
        assert_eq!(shop.count(BUT_INVOICES).await, 3 + 4 + 1, "other services learn of each step");
        assert_eq!(shop.count("payments").await, 2 + 5, "and each attempt is a payment");
        assert_eq!(shop.available(owner).await, credits("200"), "the pack is as it was");

        shop.subscribe(owner, "business", "sandbox_ok", "").await.expect("a new one may begin");
        let current = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((current.state, current.started_at), (SubscriptionState::Active, at("2026-03-09T00:00:00Z")));
        assert_eq!(shop.available(owner).await, credits("1700"));
        shop.assert_sound(owner).await;
    }

    async fn a_retry_that_is_paid_grants_from_the_boundary(db: TestDb) {
        let shop = subscribed(&db).await;
        let owner = personal(1);
        shop.pays_with("sandbox_declined").await;
        shop.set(ENDS[0]);
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 1);
        shop.pays_with("sandbox_ok").await;
        shop.set("2026-03-01T12:00:00Z");
        let racers = (0..8).map(|_| {
            let subscriptions = shop.subscriptions.clone();
            tokio::spawn(async move { round(&subscriptions).await })
        });
        for racer in racers.collect::<Vec<_>>() {
            racer.await.unwrap().unwrap();
        }
        let renewed = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((renewed.state, renewed.failures, renewed.next_retry_at), (SubscriptionState::Active, 0, None));
        let month = "ALLOWANCE 1500 (1500) 2026-02-28T10:00:00Z 2026-03-31T10:00:00Z";
        assert_eq!(shop.lot_lines(owner).await[2], month, "the month's own dates, and all of its credits");
        assert_eq!(shop.available(owner).await, credits("1800"));
        for end in &ENDS[1..] {
            shop.set(end);
            assert_eq!(round(&shop.subscriptions).await.unwrap(), 1);
        }
        assert_five_months_passed(&shop).await;
    }

    /// Kind K: forward by 400 days for seconds. Nothing is paid, what there is pays, and afterwards all is as it was.
    async fn a_clock_400_days_ahead_for_seconds_pays_for_no_year(db: TestDb) {
        let clock = Clock::system();
        let shop = Shop::open_by(&db, clock.clone()).await;
        let owner = personal(1);
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        let before = shop.subscriptions.get(owner).await.unwrap();
        clock.skew(Span::from_days(400).as_micros());
        let done = super::round(&shop.subscriptions).await.unwrap();
        assert_eq!((done.done, done.failed, done.held), (0, 0, 1));
        let waiting = super::held(&shop.db, clock.now(), 10).await.unwrap();
        assert_eq!((waiting.len(), waiting[0].owner, waiting[0].since), (1, owner, before.month.end));
        assert_eq!(waiting[0].periods, 13);
        assert_eq!(super::catch_up(&shop.subscriptions, before.clone()).await.unwrap(), 0, "not for who spends either");
        clock.skew(0);
        assert_eq!(shop.subscriptions.get(owner).await.unwrap(), before);
        assert_eq!(super::held(&shop.db, clock.now(), 10).await.unwrap(), []);
        assert_eq!(shop.available(owner).await, credits("1800"));
        shop.assert_sound(owner).await;
    }

    /// Kind K: after a long stop one period is made up by itself, more by the operator's word.
    async fn a_long_stop_is_made_up_by_the_operators_word(db: TestDb) {
        let clock = Clock::system();
        let shop = Shop::open_by(&db, clock.clone()).await;
        for n in [1, 2] {
            shop.subscribe(personal(n), "business", "sandbox_ok", "").await.unwrap();
        }
        clock.skew(Span::from_days(32).as_micros());
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 2, "one period is made up for");
        clock.skew(Span::from_days(130).as_micros());
        assert_eq!(super::round(&shop.subscriptions).await.unwrap().held, 2);
        assert_eq!(super::resume(&shop.db, Some(personal(1)), clock.now()).await.unwrap(), 1);
        let done = super::round(&shop.subscriptions).await.unwrap();
        assert_eq!((done.done, done.held), (3, 1), "as far as the word goes");
        assert_eq!(shop.available(personal(1)).await, credits("1500"));
        assert_eq!(super::resume(&shop.db, None, clock.now()).await.unwrap(), 1);
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 3);
        assert_eq!(super::held(&shop.db, clock.now(), 10).await.unwrap(), []);
        // The word was about that stop and holds for no later one.
        clock.skew(Span::from_days(330).as_micros());
        assert_eq!(super::round(&shop.subscriptions).await.unwrap().held, 2);
        shop.assert_sound(personal(1)).await;
    }

    /// Months in which nothing could be spent are not paid for afterwards, but by somebody's word; one is made up for.
    async fn a_stop_of_days_uses_up_no_attempts(db: TestDb) {
        let clock = Clock::system();
        let shop = Shop::open_by(&db, clock.clone()).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.pays_with("sandbox_declined").await;
        for attempts in 1..=5 {
            clock.skew((Span::from_days(41).as_micros()) + i64::from(attempts) * Span::from_hours(13).as_micros());
            for _ in 0..2 {
                round(&shop.subscriptions).await.unwrap();
            }
            let it = shop.subscriptions.get(owner).await.unwrap();
            let ended = attempts == 5;
            let state = if ended { SubscriptionState::Ended } else { SubscriptionState::PastDue };
            assert_eq!((it.state, it.failures), (state, attempts.min(4)), "ten days late, attempt {attempts}");
        }
    }

    async fn who_was_suspended_for_months_pays_for_none_of_them_without_a_word(db: TestDb) {
        let clock = Clock::system();
        let shop = Shop::open_by(&db, clock.clone()).await;
        let owner = personal(1);
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        let before = shop.subscriptions.get(owner).await.unwrap();
        shop.stands(owner, Standing::Suspended).await;
        clock.skew(Span::from_days(100).as_micros());
        let done = super::round(&shop.subscriptions).await.unwrap();
        assert_eq!((done.done, done.failed, done.held), (0, 0, 0), "nobody has to say anything of who is suspended");
        shop.stands(owner, Standing::Active).await;
        let done = super::round(&shop.subscriptions).await.unwrap();
        assert_eq!((done.done, done.failed, done.held), (0, 0, 1));
        assert_eq!(shop.subscriptions.get(owner).await.unwrap(), before);
        assert_eq!(shop.available(owner).await, credits("300"), "what the account has pays");
        shop.spend(owner, "100").await;
        assert_eq!(super::resume(&shop.db, Some(owner), clock.now()).await.unwrap(), 1);
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 3);
        assert_eq!(shop.available(owner).await, credits("1700"));
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_was_paid_when_its_owner_was_suspended_is_begun_afterwards(db: TestDb) {
        let shop = subscribed(&db).await;
        let owner = personal(1);
        let from = shop.subscriptions.get(owner).await.unwrap();
        shop.set(ENDS[0]);
        let (payment, heard) = paid(&shop, &from).await;
        shop.stands(owner, Standing::Suspended).await;
        let kept = shop.subscriptions.cashier.hear(payment.id, heard.as_ref()).await.unwrap();
        assert_eq!((kept.state, kept.returned, kept.fulfilled_at), (PaymentState::Paid, false, None));
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 0);
        assert_eq!(shop.subscriptions.get(owner).await.unwrap(), from, "it is due as it was");
        shop.stands(owner, Standing::Active).await;
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 1);
        assert_eq!(shop.subscriptions.get(owner).await.unwrap(), from.renewed(payment.id.to_string()), "by the one payment");
        assert_eq!(shop.available(owner).await, credits("1800"));
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_was_paid_when_its_owner_was_deleted_is_never_begun(db: TestDb) {
        let shop = subscribed(&db).await;
        let owner = personal(1);
        let from = shop.subscriptions.get(owner).await.unwrap();
        shop.set(ENDS[0]);
        let (payment, heard) = paid(&shop, &from).await;
        shop.stands(owner, Standing::Deleted).await;
        let returned = shop.subscriptions.cashier.hear(payment.id, heard.as_ref()).await.unwrap();
        assert_eq!((returned.returned, returned.refunded), (true, returned.amount));
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 1, "as if it had been found so before it was paid");
        assert_eq!(shop.subscriptions.get(owner).await.unwrap(), from.lapsed());
        assert_eq!(shop.count(BUT_INVOICES).await, 4, "other services learn that it ended");
        // Whoever paid at the same time finds it ended, also when the owner is back.
        shop.stands(owner, Standing::Active).await;
        let again = shop.subscriptions.cashier.hear(payment.id, heard.as_ref()).await.unwrap();
        assert_eq!((again.returned, again.fulfilled_at), (true, None));
        assert_eq!(shop.available(owner).await, credits("300"));
        shop.assert_sound(owner).await;
    }

    /// Kind K: what a clock that was ahead has written is counted by the time that charges are decided by.
    async fn a_balance_is_counted_by_the_time_that_charges_are_decided_by(db: TestDb) {
        let clock = Clock::system();
        let shop = Shop::open_by(&db, clock.clone()).await;
        let owner = personal(1);
        clock.skew(Span::from_days(400).as_micros());
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        clock.skew(0);
        shop.spend(owner, "400").await;
        assert_eq!(shop.available(owner).await, credits("1100"));
    }

    async fn one_that_fails_stops_no_other(db: TestDb) {
        let shop = subscribed(&db).await;
        shop.subscribe(personal(2), "business", "sandbox_ok", "").await.unwrap();
        // An account that contradicts itself: nothing more may be booked on it.
        shop.sql("UPDATE accounts SET available = available + 1 WHERE available = 1800000000").await;
        shop.set(ENDS[0]);
        let done = super::round(&shop.subscriptions).await.unwrap();
        assert_eq!((done.done, done.failed), (1, 1));
        assert_eq!(shop.available(personal(2)).await, credits("1500"));
        let waiting = shop.subscriptions.get(personal(1)).await.unwrap();
        assert_eq!(waiting.month.number, 0, "the failed one is as it was");
        shop.sql("UPDATE accounts SET available = available - 1 WHERE available = 1800000001").await;
        assert_eq!(round(&shop.subscriptions).await.unwrap(), 1, "and is tried again");
        assert_eq!(shop.available(personal(1)).await, credits("1800"));
    }

    /// What fails and what waits for an operator comes first, being overdue for longest, and there may be more of it than
    /// a round looks at.
    async fn what_fails_and_what_is_held_stands_in_nobodys_way(db: TestDb) {
        let clock = Clock::system();
        let shop = Shop::open_by(&db, clock.clone()).await;
        shop.subscribe(personal(1), "business", "sandbox_ok", "").await.unwrap();
        copies(&shop, 2..5).await;
        // Four that nobody resumes, and two that contradict themselves; the last one has its month as always.
        clock.skew(Span::from_days(70).as_micros());
        for n in 5..=7 {
            shop.subscribe(personal(n), "business", "sandbox_ok", "").await.unwrap();
        }
        let healthy = personal(7);
        shop.spend(healthy, "100").await;
        clock.skew(Span::from_days(102).as_micros());
        shop.sql("UPDATE accounts SET available = available + 1 WHERE available = 1500000000").await;
        let portion = super::Portion { page: 2, single: 1, together: 1 };
        let (walk, mut rounds, mut done) = (super::Walk::default(), 0, 0);
        let last = loop {
            let round = super::within(&shop.subscriptions, portion, &walk).await.unwrap();
            (rounds, done) = (rounds + 1, done + round.done);
            if !round.goes_on {
                break round;
            }
        };
        assert_eq!((done, last.failed, last.held), (1, 2, 4), "of the whole walk, in {rounds} rounds");
        assert!(rounds > 1, "more than a round looks at");
        assert_eq!(shop.subscriptions.get(healthy).await.unwrap().month.number, 1);
    }
}
