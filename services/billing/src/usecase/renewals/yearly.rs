//! Months of years that are begun together: what they leave is what months by themselves leave, and each is begun once whoever
//! else is at it. On both engines.

use bursar_id::PaymentId;
use bursar_members::Standing;
use bursar_testkit::{TestDb, credits, engines, personal};

use super::many::{assert_alike, replicas_race, spenders_and_a_batch, wants};
use crate::domain::News;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::changing::tests::change;
use crate::usecase::shop::Shop;
use crate::usecase::years::tests::{BEGIN, MONTHS, PLANS};

/// As many kinds of lives as [`begins`] knows.
const KINDS: u64 = 10;

/// Has a person begin a life whose kind is the rest of `n`; twins differ by a multiple of that.
async fn begins(shop: &Shop, n: u64) {
    let (owner, kind) = (personal(n), n % KINDS);
    let plan = match kind {
        1 => "business",
        9 => "rolling",
        _ => "yearly",
    };
    let paid: PaymentId = shop.subscribe(owner, plan, "sandbox_ok", "").await.unwrap().payment_id.parse().unwrap();
    shop.spend(owner, "400").await;
    match kind {
        0 => wants(shop, owner).await,
        2 => drop(shop.payments.told(paid, News::Refunded("100.00 USD".parse().unwrap())).await.unwrap()),
        3 => drop(change(shop, owner, "business", 0).await.unwrap()),
        4 => drop(cancel(shop, owner, CancelAt::PeriodEnd).await.unwrap()),
        5 => shop.stands(owner, Standing::Suspended).await,
        6 => drop(change(shop, owner, "yearly-pro", 0).await.unwrap()),
        7 => {
            change(shop, owner, "", 12).await.unwrap();
            change(shop, owner, "yearly-pro", 0).await.unwrap();
        }
        8 => {
            let more = change(shop, owner, "yearly-pro", 0).await.unwrap().payment.unwrap().id.parse().unwrap();
            shop.payments.told(more, News::Refunded("100.00 USD".parse().unwrap())).await.unwrap();
        }
        _ => {}
    }
}

/// People who pay by the year.
async fn crowd(db: &TestDb, people: u64) -> Shop {
    let shop = Shop::selling(db, BEGIN, PLANS).await;
    for n in 1..=people {
        shop.subscribe(personal(n), "yearly", "sandbox_ok", "").await.unwrap();
    }
    shop
}

/// Each of these people has had so many months of a year that was paid once.
async fn assert_months(shop: &Shop, people: u64, months: usize) {
    assert_eq!(shop.count("payments").await, i64::try_from(people).unwrap());
    for n in 1..=people {
        assert_eq!((shop.lots(personal(n)).await.len(), shop.available(personal(n)).await), (months, credits("1500")));
        shop.assert_sound(personal(n)).await;
    }
}

engines! {
    async fn months_of_years_together_leave_what_each_by_itself_leaves(db: TestDb) {
        const PEOPLE: u64 = 2 * KINDS;
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        for n in 1..=PEOPLE {
            begins(&shop, n).await;
            begins(&shop, PEOPLE + n).await;
        }
        let next_year = "2029-01-31T10:00:00Z";
        for (number, now) in MONTHS[1..].iter().copied().chain([next_year]).enumerate() {
            shop.set(now);
            if number == 2 {
                for n in (1..=2 * PEOPLE).filter(|n| n % KINDS == 5) {
                    shop.stands(personal(n), Standing::Active).await;
                }
            }
            let begun = assert_alike(&shop, PEOPLE, now).await;
            if number == 0 {
                assert_eq!(begun, (8, 12), "together: those of the first two kinds, and of the two that were changed");
            }
        }
    }

    async fn three_replicas_begin_each_month_of_a_year_once(db: TestDb) {
        const PEOPLE: u64 = 30;
        let shop = crowd(&db, PEOPLE).await;
        for months in [2, 5] {
            shop.set(MONTHS[months - 1]);
            replicas_race(&shop).await;
            assert_months(&shop, PEOPLE, months).await;
        }
    }

    async fn a_spender_and_a_batch_begin_a_month_of_a_year_once(db: TestDb) {
        const PEOPLE: u64 = 12;
        let shop = crowd(&db, PEOPLE).await;
        shop.set(MONTHS[1]);
        spenders_and_a_batch(&shop, PEOPLE).await;
        assert_months(&shop, PEOPLE, 2).await;
    }
}
