//! Months that no provider has to be asked for as they begin, whichever there is: those that were paid for in the hour before, and
//! those that cost nothing or are paid by invoice. They begin together, on any replica, and each once. On both engines.

use bursar_db::Engine;
use bursar_id::{OwnerId, PaymentId};
use bursar_members::Standing;
use bursar_testkit::stripe::FakeStripe;
use bursar_testkit::{engines, personal};

use super::many::{
    FEBRUARY_28, JANUARY_31, assert_alike, assert_months, crowd, replicas_race, spenders_and_a_batch, wants,
};
use super::{Left, ahead, help};
use crate::domain::{News, Terms};
use crate::store::{payments, subscriptions as stored};
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::shop::Shop;

const BEFORE: &str = "2026-02-28T09:30:00Z";
const MARCH_31: &str = "2026-03-31T10:00:00Z";

/// What a month costs, in cents.
const MONTH: i64 = 10_000;

/// As many kinds of lives as there are in [`begins`] and [`goes_on`].
const KINDS: u64 = 8;

/// Has a person begin a life whose kind is the rest of `n`; twins differ by a multiple of that.
async fn begins(shop: &Shop, n: u64) {
    let (owner, kind) = (personal(n), n % KINDS);
    shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
    shop.spend(owner, "400").await;
    let method = match kind {
        5 => "sandbox_declined",
        6 => "sandbox_pending",
        _ => "sandbox_ok",
    };
    shop.sql(format!("UPDATE subscriptions SET payment_method = '{method}' WHERE owner = '{owner}'").leak()).await;
    match kind {
        0 => wants(shop, owner).await,
        1 => {
            let mut tx = shop.db.begin().await.unwrap();
            let live = stored::live(&mut tx, owner).await.unwrap().unwrap();
            let more = Terms { seats: live.seats + 1, ..live.terms() };
            assert!(stored::change(&mut tx, &live.planning(Some(more))).await.unwrap());
            tx.commit().await.unwrap();
        }
        _ => {}
    }
}

/// What becomes of it once the next month was asked for.
async fn goes_on(shop: &Shop, n: u64) {
    let owner = personal(n);
    match n % KINDS {
        2 => {
            let refunded = News::Refunded("10.00 USD".parse().unwrap());
            shop.payments.told(last_payment(shop, owner).await, refunded).await.unwrap();
        }
        3 => drop(cancel(shop, owner, CancelAt::PeriodEnd).await.unwrap()),
        4 => shop.stands(owner, Standing::Suspended).await,
        7 => {
            let dearer = format!("UPDATE subscriptions SET price = price + 1000000 WHERE owner = '{owner}'");
            shop.sql(dearer.leak()).await;
        }
        _ => {}
    }
}

async fn last_payment(shop: &Shop, owner: OwnerId) -> PaymentId {
    let mut tx = shop.db.read().await.unwrap();
    payments::page(&mut tx, owner, None, 1).await.unwrap()[0].id
}

/// Asks for all months that begin soon.
async fn pay_ahead(shop: &Shop, when: &str) {
    shop.set(when);
    assert!(!ahead::pay(&shop.subscriptions).await.unwrap());
}

/// How many transactions have written the subscriptions as they are, where the database can say.
async fn transactions(shop: &Shop) -> Option<i64> {
    match shop.db.engine() {
        Engine::Sqlite => None,
        Engine::Postgres => Some(shop.count("(SELECT DISTINCT xmin::text FROM subscriptions) AS wrote").await),
    }
}

engines! {
    async fn months_that_were_paid_for_ahead_begin_together_and_nobody_is_asked_again(db: TestDb) {
        const PEOPLE: u64 = 12;
        let fake = FakeStripe::start().await;
        let mut shop = crowd(&db, PEOPLE).await;
        shop.pays_at(&fake, (1..=PEOPLE).map(personal)).await;
        pay_ahead(&shop, BEFORE).await;
        assert_eq!(shop.count("payments WHERE state = 'PAID' AND fulfilled_at IS NULL").await, 12);
        let (asked, taken) = (fake.asked().len(), fake.takings());
        assert_eq!(taken, 12 * MONTH);
        shop.set(FEBRUARY_28);
        // No replica that does the round, and any of the others.
        assert_eq!(help(&shop.subscriptions, &Left::default()).await.unwrap(), 12);
        assert!(transactions(&shop).await.is_none_or(|it| it == 1), "all of them in one");
        assert_eq!((fake.asked().len(), fake.takings()), (asked, taken));
        assert_months(&shop, 1..=PEOPLE, 2).await;
    }

    async fn what_has_to_be_asked_for_goes_by_itself_beside_what_was_paid_for(db: TestDb) {
        const PEOPLE: u64 = 6;
        let fake = FakeStripe::start().await;
        let mut shop = crowd(&db, PEOPLE).await;
        shop.pays_at(&fake, (1..=PEOPLE).map(personal)).await;
        for n in [2, 5] {
            shop.stands(personal(n), Standing::Suspended).await;
        }
        pay_ahead(&shop, BEFORE).await;
        assert_eq!(fake.takings(), 4 * MONTH);
        for n in [2, 5] {
            shop.stands(personal(n), Standing::Active).await;
        }
        shop.set(FEBRUARY_28);
        let asked = fake.asked().len();
        assert_eq!(help(&shop.subscriptions, &Left::default()).await.unwrap(), 4);
        assert_eq!(fake.asked().len(), asked, "whoever helps waits for no provider");
        assert_eq!(super::round(&shop.subscriptions).await.unwrap().done, 2);
        assert_eq!(fake.takings(), 6 * MONTH);
        assert_months(&shop, 1..=PEOPLE, 2).await;
    }

    async fn what_has_to_be_asked_for_is_asked_for_side_by_side(db: TestDb) {
        const PEOPLE: u64 = 8;
        let fake = FakeStripe::start().await;
        let mut shop = crowd(&db, PEOPLE).await;
        shop.pays_at(&fake, (1..=PEOPLE).map(personal)).await;
        shop.set(FEBRUARY_28);
        fake.answers_together(8);
        let round = super::round(&shop.subscriptions).await.unwrap();
        assert_eq!((round.done, round.failed), (8, 0));
        assert_eq!(fake.takings(), 8 * MONTH);
        assert_months(&shop, 1..=PEOPLE, 2).await;
    }

    async fn replicas_at_once_begin_each_month_that_was_paid_for_once(db: TestDb) {
        const PEOPLE: u64 = 20;
        let fake = FakeStripe::start().await;
        let mut shop = crowd(&db, PEOPLE).await;
        shop.pays_at(&fake, (1..=PEOPLE).map(personal)).await;
        for (before, now, months) in [(BEFORE, FEBRUARY_28, 2), ("2026-03-31T09:30:00Z", MARCH_31, 3)] {
            pay_ahead(&shop, before).await;
            shop.set(now);
            replicas_race(&shop).await;
            assert_months(&shop, 1..=PEOPLE, months).await;
        }
        assert_eq!(fake.takings(), 40 * MONTH);
    }

    async fn a_spender_and_a_batch_begin_a_month_that_was_paid_for_once(db: TestDb) {
        const PEOPLE: u64 = 12;
        let shop = crowd(&db, PEOPLE).await;
        pay_ahead(&shop, BEFORE).await;
        shop.set(FEBRUARY_28);
        spenders_and_a_batch(&shop, PEOPLE).await;
        assert_months(&shop, 1..=PEOPLE, 2).await;
    }

    async fn months_that_were_paid_for_leave_together_what_each_by_itself_leaves(db: TestDb) {
        const PEOPLE: u64 = 2 * KINDS;
        let shop = Shop::open(&db, JANUARY_31).await;
        for n in 1..=2 * PEOPLE {
            begins(&shop, n).await;
        }
        pay_ahead(&shop, BEFORE).await;
        for n in 1..=2 * PEOPLE {
            goes_on(&shop, n).await;
        }
        shop.set(FEBRUARY_28);
        let begun = assert_alike(&shop, PEOPLE, FEBRUARY_28).await;
        assert_eq!(begun, (4, 12), "together: those of the first two kinds");
    }

    async fn what_nobody_is_asked_for_begins_together_and_is_not_asked_for_ahead(db: TestDb) {
        const PEOPLE: u64 = 8;
        let mut shop = crowd(&db, PEOPLE).await;
        shop.fails();
        shop.pays_with("invoice").await;
        pay_ahead(&shop, BEFORE).await;
        assert_eq!(shop.count("payments").await, 8, "it is paid as it begins");
        shop.set(FEBRUARY_28);
        assert_eq!(help(&shop.subscriptions, &Left::default()).await.unwrap(), 8, "by invoice");
        assert!(transactions(&shop).await.is_none_or(|it| it == 1), "all of them in one");
        shop.pays_with("").await;
        shop.sql("UPDATE subscriptions SET price = 0").await;
        pay_ahead(&shop, "2026-03-31T09:30:00Z").await;
        assert_eq!(shop.count("payments").await, 16);
        shop.set(MARCH_31);
        assert_eq!(help(&shop.subscriptions, &Left::default()).await.unwrap(), 8, "for nothing");
        assert_months(&shop, 1..=PEOPLE, 3).await;
    }
}
