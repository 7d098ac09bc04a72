//! Paying ahead: where a provider takes its time, a month is asked for within the hour before it begins, so that nobody waits
//! for a bank at the turn of the month.
//!
//! What is heard is only written down: a month begins at its boundary, whoever hears of its payment before
//! ([`fulfil`](super::super::cashier::Cashier::fulfil)), and a decline counts there, too. Whoever moves the
//! subscription meanwhile, or has it on other terms, gets the money back at once; who cancels it with its period at the boundary,
//! as it may be resumed until then.
//!
//! A month is asked for ahead once. Whatever could not be asked is the boundary's. There all that are paid for begin together
//! (`batches.rs`).

use std::time::Instant;

use bursar_time::{Span, Timestamp};
use futures::StreamExt as _;

use super::{ENOUGH, PAGE, SIDE_BY_SIDE, waits};
use crate::domain::{Subscription, SubscriptionState};
use crate::error::Error;
use crate::store::{contracts, due, payments};
use crate::usecase::dues::{asks_provider, thing_after};
use crate::usecase::subscriptions::SubscriptionUseCases;

/// How long before a month begins it is asked for.
const AHEAD: Span = Span::HOUR;

/// Asks for the months that begin within the hour and were not asked for. Says whether it has ended because time was up.
pub(crate) async fn pay(of: &SubscriptionUseCases) -> Result<bool, Error> {
    let till = &of.till;
    let (now, until) = (till.clock.now(), Instant::now() + ENOUGH);
    let span = (now, now.saturating_add(AHEAD));
    let mut last: Option<Subscription> = None;
    loop {
        let mut tx = till.db.read().await?;
        let page = due::ending(&mut tx, span, last.as_ref(), PAGE).await?;
        let Some(newest) = page.last().cloned() else { return Ok(false) };
        let owners: Vec<_> = page.iter().map(|it| it.owner).collect();
        let standings = super::standings::of(&mut tx, &owners).await?;
        let mut next: Vec<_> = page.into_iter().filter(|it| is_to_be_paid(it, now) && !waits(it, &standings)).collect();
        let things: Vec<_> = next.iter().map(thing_after).collect();
        let tried = payments::tried(&mut tx, &things).await?;
        // What a contract begins with is its boundary's: by these terms nobody pays.
        let agreed = contracts::due(&mut tx, span.1).await?;
        tx.commit().await?;
        next.retain(|it| !tried.contains(thing_after(it).as_slice()) && !agreed.contains(&it.owner));
        futures::stream::iter(next).for_each_concurrent(SIDE_BY_SIDE, async |it| ask(of, &it, until).await).await;
        if Instant::now() >= until {
            return Ok(true);
        }
        last = Some(newest);
    }
}

/// Whether its next month begins soon, as things stand, and a provider has to be asked for it: what nobody has to wait for is its
/// boundary's.
fn is_to_be_paid(it: &Subscription, now: Timestamp) -> bool {
    it.state == SubscriptionState::Active && !it.cancel_at_period_end && asks_provider(it) && it.month.end > now
}

async fn ask(of: &SubscriptionUseCases, from: &Subscription, until: Instant) {
    if Instant::now() >= until {
        return;
    }
    if let Err(error) = asked(of, from).await {
        tracing::warn!(subscription = %from.id, %error, "its next month could not be asked for ahead");
    }
}

async fn asked(of: &SubscriptionUseCases, from: &Subscription) -> Result<(), Error> {
    let payment = of.cashier.dues(from).await?;
    // Nobody was asked where its owner may not buy now: the boundary looks again.
    if let Some(heard) = of.cashier.ask(&payment).await? {
        of.cashier.hear(payment.id, Some(&heard)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bursar_testkit::{at, credits, engines, personal};

    use super::*;
    use crate::domain::PaymentState;
    use crate::usecase::renewals::round;
    use crate::usecase::shop::Shop;
    use crate::usecase::years::tests::{BEGIN, MONTHS, PLANS};

    const BEGUN: &str = "2026-01-01T00:00:00Z";
    const BEFORE: &str = "2026-01-31T23:30:00Z";
    const NEXT: &str = "2026-02-01T00:00:00Z";

    engines! {
        async fn a_month_that_is_paid_ahead_begins_at_its_boundary(db: TestDb) {
            let shop = Shop::open(&db, BEGUN).await;
            let owner = personal(1);
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
            shop.spend(owner, "1000").await;
            shop.set("2026-01-31T22:59:59Z");
            assert!(!pay(&shop.subscriptions).await.unwrap());
            assert_eq!(shop.count("payments").await, 1, "it is more than an hour ahead");
            shop.set(BEFORE);
            for _ in 0..2 {
                assert!(!pay(&shop.subscriptions).await.unwrap());
                assert_eq!(shop.count("payments").await, 2, "it is asked for once");
            }
            assert_eq!(shop.count("payments WHERE state = 'PAID' AND fulfilled_at IS NULL").await, 1);
            assert_eq!(round(&shop.subscriptions).await.unwrap().done, 0);
            assert_eq!(shop.available(owner).await, credits("500"), "the month is as it was");
            assert_eq!(shop.count("invoices").await, 1);
            shop.set(NEXT);
            assert_eq!(round(&shop.subscriptions).await.unwrap().done, 1);
            assert_eq!(shop.available(owner).await, credits("1500"));
            let month = shop.subscriptions.get(owner).await.unwrap().month;
            assert_eq!((month.number, month.start), (1, at(NEXT)));
            assert_eq!((shop.count("payments").await, shop.count("invoices").await), (2, 2));
            shop.assert_sound(owner).await;
        }

        async fn what_is_declined_ahead_counts_at_the_boundary_and_once(db: TestDb) {
            let shop = Shop::open(&db, BEGUN).await;
            let owner = personal(1);
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
            shop.pays_with("sandbox_declined").await;
            shop.set(BEFORE);
            assert!(!pay(&shop.subscriptions).await.unwrap());
            let live = shop.subscriptions.get(owner).await.unwrap();
            assert_eq!((live.state, live.failures), (SubscriptionState::Active, 0), "its month is paid for");
            shop.set(NEXT);
            for _ in 0..2 {
                round(&shop.subscriptions).await.unwrap();
                let live = shop.subscriptions.get(owner).await.unwrap();
                assert_eq!((live.state, live.failures), (SubscriptionState::PastDue, 1));
            }
            assert_eq!(shop.count("payments").await, 2);
            shop.assert_sound(owner).await;
        }

        async fn what_is_canceled_after_it_was_paid_ahead_goes_back(db: TestDb) {
            let shop = Shop::open(&db, BEGUN).await;
            let owner = personal(1);
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
            shop.set(BEFORE);
            assert!(!pay(&shop.subscriptions).await.unwrap());
            shop.sql("UPDATE subscriptions SET cancel_at_period_end = 1").await;
            shop.set(NEXT);
            assert_eq!(round(&shop.subscriptions).await.unwrap().done, 1, "it ends");
            assert_eq!(shop.count("payments WHERE state = 'PAID' AND returned = 1 AND fulfilled_at IS NULL").await, 1);
            assert_eq!(shop.count("jobs WHERE kind = 'billing.payment-refund'").await, 1);
            assert_eq!(shop.available(owner).await, credits("0"));
            shop.assert_sound(owner).await;
        }

        async fn a_month_of_a_year_is_not_asked_for_and_the_next_year_is(db: TestDb) {
            let shop = Shop::selling(&db, BEGIN, PLANS).await;
            let owner = personal(1);
            shop.subscribe(owner, "yearly", "sandbox_ok", "").await.unwrap();
            for month in &MONTHS[1..] {
                shop.set(&at(month).saturating_sub(Span::from_mins(30)).to_string());
                assert!(!pay(&shop.subscriptions).await.unwrap());
                let asked = if *month == MONTHS[12] { 2 } else { 1 };
                assert_eq!(shop.count("payments").await, asked, "before {month}");
                shop.set(month);
                round(&shop.subscriptions).await.unwrap();
            }
            assert_eq!((shop.count("payments").await, shop.lots(owner).await.len()), (2, 13));
            shop.assert_sound(owner).await;
        }

        async fn a_month_that_is_not_renewed_is_not_asked_for(db: TestDb) {
            let shop = Shop::open(&db, BEGUN).await;
            shop.subscribe(personal(1), "business", "sandbox_ok", "").await.unwrap();
            shop.sql("UPDATE subscriptions SET cancel_at_period_end = 1").await;
            shop.set(BEFORE);
            assert!(!pay(&shop.subscriptions).await.unwrap());
            assert_eq!(shop.count("payments").await, 1);
            // Of one that is due the boundary takes care.
            shop.sql("UPDATE subscriptions SET cancel_at_period_end = 0").await;
            shop.set(NEXT);
            assert!(!pay(&shop.subscriptions).await.unwrap());
            assert_eq!(shop.count("payments WHERE state <> 'PAID'").await, 0);
            assert_eq!(shop.count("payments").await, 1);
            let mut tx = shop.db.read().await.unwrap();
            let all = payments::page(&mut tx, personal(1), None, 10).await.unwrap();
            assert_eq!(all[0].state, PaymentState::Paid);
        }
    }
}
