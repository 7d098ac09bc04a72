//! Who waits at the turn of a month, for what, and who is remembered. On both engines.

use bursar_testkit::{credits, engines, personal};
use bursar_time::Clock;

use super::*;
use crate::domain::{News, SubscriptionState};
use crate::usecase::shop::Shop;

const LENIENT: &str = r#"
[[plans]]
id = "lenient"
name = "Lenient"
price = "10.00 USD"
credits = "100"
grant_in_grace = true
seats = 1
"#;

engines! {
    /// What waits for an operator may do so for weeks, and its owner spends all the while.
    async fn who_is_held_is_remembered_and_who_is_renewed_is_not(db: TestDb) {
        let clock = Clock::system();
        let shop = Shop::open_by(&db, clock.clone()).await;
        let (held, other) = (personal(1), personal(2));
        let due = Due { subscriptions: shop.subscriptions.clone(), looks: Arc::default() };
        let remembered = |owner| due.looks.all().get(&owner).is_some_and(|look| look.stays_due_until.is_some());
        shop.subscribe(held, "business", "sandbox_ok", "").await.unwrap();
        clock.skew(Span::from_days(40).as_micros());
        shop.subscribe(other, "business", "sandbox_ok", "").await.unwrap();
        clock.skew(Span::from_days(72).as_micros());
        for owner in [held, other] {
            due.renew(owner).await.unwrap();
        }
        assert!(remembered(held) && !remembered(other));
        let months = [held, other].map(async |owner| shop.subscriptions.get(owner).await.unwrap().month.number);
        assert_eq!(futures::future::join_all(months).await, [0, 1]);
    }

    /// Whoever spends first asks for it, or the round has; each is told that it is due as long as it may be paid at any moment.
    async fn an_open_payment_is_waited_for_a_second_and_one_that_is_declined_is_not(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-01T00:00:00Z").await;
        let [declined, asks, asked] = [1, 2, 3].map(personal);
        for owner in [declined, asks, asked] {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        }
        shop.set("2026-02-01T00:00:00Z");
        let due = Due { subscriptions: shop.subscriptions.clone(), looks: Arc::default() };
        let is_waited_for = async |owner| match due.renew(owner).await {
            Ok(()) => false,
            Err(Error::Refused(Refusal::RenewalDue)) => true,
            Err(error) => panic!("{error}"),
        };
        shop.pays_with("sandbox_declined").await;
        assert!(!is_waited_for(declined).await, "what it has pays");
        shop.pays_with("sandbox_pending").await;
        assert!(is_waited_for(asks).await);
        assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().failed, 0);
        for owner in [declined, asks, asked] {
            assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, SubscriptionState::PastDue);
        }
        for millis in [998, 1] {
            assert!(is_waited_for(asks).await && is_waited_for(asked).await);
            assert!(!is_waited_for(declined).await);
            assert_eq!(shop.count("accounts WHERE renews_at IS NOT NULL").await, 2, "they stay due");
            shop.clock.advance(Span::from_millis(millis)).unwrap();
        }
        let from = shop.subscriptions.get(asked).await.unwrap();
        let open = payments::last_attempt(&mut shop.db.read().await.unwrap(), thing_after(&from)).await.unwrap();
        shop.payments.told(open.unwrap().id, News::Paid).await.unwrap();
        assert!(!is_waited_for(asked).await, "its money has come");
        assert_eq!(shop.available(asked).await, credits("1500"));
        assert!(is_waited_for(asks).await, "its first second is not over");
        shop.clock.advance(Span::from_millis(1)).unwrap();
        assert!(!is_waited_for(asks).await, "what it has pays");
        assert_eq!(shop.count("accounts WHERE renews_at IS NOT NULL").await, 1, "nobody looks again");
    }

    async fn what_is_granted_before_its_payment_is_waited_for_by_nobody(db: TestDb) {
        let shop = Shop::selling(&db, "2026-01-01T00:00:00Z", LENIENT).await;
        let owner = personal(1);
        shop.subscribe(owner, "lenient", "sandbox_ok", "").await.unwrap();
        shop.pays_with("sandbox_pending").await;
        shop.set("2026-02-01T00:00:00Z");
        let due = Due { subscriptions: shop.subscriptions.clone(), looks: Arc::default() };
        for _ in 0..2 {
            due.renew(owner).await.unwrap();
            assert_eq!(shop.available(owner).await, credits("100"));
        }
        assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, SubscriptionState::PastDue);
    }

    async fn what_was_granted_when_its_provider_failed_is_spent_at_once(db: TestDb) {
        let shop = Shop::selling(&db, "2026-01-01T00:00:00Z", LENIENT).await;
        let [lenient, strict] = [1, 2].map(personal);
        shop.subscribe(lenient, "lenient", "sandbox_ok", "").await.unwrap();
        shop.subscribe(strict, "business", "sandbox_ok", "").await.unwrap();
        shop.set("2026-02-01T00:00:00Z");
        let mut failing = shop.clone();
        failing.fails();
        let due = Due { subscriptions: failing.subscriptions, looks: Arc::default() };
        due.renew(lenient).await.expect("its month is there");
        assert_eq!(shop.available(lenient).await, credits("100"));
        let waits = due.renew(strict).await;
        assert!(matches!(waits, Err(Error::Refused(Refusal::RenewalDue))), "{waits:?}");
        shop.clock.advance(PATIENCE).unwrap();
        due.renew(strict).await.expect("what it has pays");
        for owner in [lenient, strict] {
            assert_eq!(shop.subscriptions.get(owner).await.unwrap().month.number, 0, "nobody has paid for it");
            shop.assert_sound(owner).await;
        }
    }
}

/// An account that stays due for long is looked at once in a moment, and holds up nobody but itself.
#[test]
fn who_stays_due_is_looked_after_once_in_a_moment_and_by_itself() {
    let (looks, now) = (Looks::default(), Instant::now());
    let (one, other) = (personal(1), personal(2));
    let turn = looks.turn(one, now);
    let _busy = turn.try_lock().unwrap();
    assert!(looks.turn(one, now).try_lock().is_err(), "one request of an owner's at a time");
    assert!(looks.turn(other, now).try_lock().is_ok(), "and nobody else waits for it");
    looks.ends(one, Some(now + LOOKED_FOR));
    assert!(looks.stays_due(one, now) && !looks.stays_due(other, now));
    assert!(!looks.stays_due(one, now + LOOKED_FOR), "afterwards it is looked at again");
}

/// Whoever has waited in vain spares the others that, as long as somebody is at it.
#[test]
fn nobody_waits_for_what_was_waited_for_in_vain_until_it_ends() {
    let (looks, now, one) = (Looks::default(), Instant::now(), personal(1));
    looks.is_silent(one, now);
    assert!(!looks.stays_due(one, now), "nobody is at it");
    looks.begins(one);
    assert!(!looks.stays_due(one, now), "it may end at once");
    looks.is_silent(one, now);
    assert!(looks.stays_due(one, now + SILENT_FOR / 2) && !looks.stays_due(one, now + SILENT_FOR));
    looks.ends(one, None);
    looks.is_silent(one, now);
    assert!(!looks.stays_due(one, now), "what is done is found done");
}

#[test]
fn accounts_that_nobody_looks_after_any_more_are_forgotten() {
    let (looks, now) = (Looks::default(), Instant::now());
    let waited_for = looks.turn(personal(0), now);
    looks.ends(personal(1), Some(now + 2 * LOOKED_FOR));
    for n in 2..3 * REMEMBERED as u64 {
        drop(looks.turn(personal(n), now));
    }
    let all = looks.all();
    assert!(all.len() <= REMEMBERED, "{}", all.len());
    assert!(all.contains_key(&personal(1)) && Arc::ptr_eq(&all[&personal(0)].turn, &waited_for));
}
