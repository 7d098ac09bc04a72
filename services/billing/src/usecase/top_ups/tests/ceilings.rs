//! What top-ups may cost in a month.

use bursar_testkit::{at, credits, engines};
use bursar_time::Span;

use super::{NOON, hour, starter, topped_up, usd};
use crate::domain::{AutoTopUp, News, PaymentState};
use crate::store::settings;
use crate::usecase::shelf::told;

engines! {
    async fn no_month_costs_more_than_its_ceiling(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", AutoTopUp { threshold: credits("100000"), ..starter(59, "sandbox_ok") }).await;
        // Where the account is, the month is over an hour before it is in UTC.
        let mut set = shop.set_of(owner).await;
        set.zone = "Europe/Berlin".parse().unwrap();
        let mut tx = shop.db.begin().await.unwrap();
        settings::put(&mut tx, owner, &set, shop.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let month_end = at("2026-01-31T23:00:00Z");
        let mut now = at(NOON);
        while now < month_end {
            shop.clock.set(now).unwrap();
            shop.looks(owner).await;
            now = now.saturating_add(Span::from_hours(7));
        }
        assert_eq!(shop.count("payments").await, 2, "two packs cost 40 of 59 dollars, and three 60");
        assert!(shop.due().await.contains(&month_end), "{:?}", shop.due().await);
        assert_eq!(shop.log().await, ["PurchasePack DONE", "PurchasePack DONE", "PurchasePack TOP_UP_CEILING_REACHED"], "said once");
        // What was given back was spent all the same.
        let paid = shop.all_payments(owner).await.remove(0);
        told(&shop, paid.id, News::Refunded(usd(20))).await;
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 2);
        shop.clock.set(month_end).unwrap();
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 3, "another month");
        shop.assert_sound(owner).await;
    }

    async fn what_is_pending_is_under_the_ceiling_too(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", AutoTopUp { threshold: credits("400"), ..starter(20, "sandbox_pending") }).await;
        shop.looks(owner).await;
        shop.set("2026-01-15T14:00:00Z");
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 1, "20 of 20 dollars are on their way");
        let payment = shop.all_payments(owner).await.remove(0);
        told(&shop, payment.id, News::Declined("no".to_owned())).await;
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 2, "what came to nothing cost nothing");
    }

    async fn what_was_declined_and_may_be_paid_after_all_is_under_the_ceiling_too(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", AutoTopUp { threshold: credits("400"), ..starter(40, "sandbox_pending") }).await;
        shop.looks(owner).await;
        let first = shop.all_payments(owner).await.remove(0);
        shop.set("2026-01-15T14:00:00Z");
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 2, "300 of 400 are on their way");
        told(&shop, first.id, News::Declined("no".to_owned())).await;
        shop.set("2026-01-15T16:00:00Z");
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 2, "it is another need's, and nobody sends its money back");
        told(&shop, first.id, News::Paid).await;
        let second = shop.all_payments(owner).await.remove(0);
        told(&shop, second.id, News::Paid).await;
        shop.looks(owner).await;
        assert_eq!((shop.count("payments").await, shop.available(owner).await), (2, credits("600")), "for 40 dollars");
        shop.assert_sound(owner).await;
    }

    async fn a_ceiling_is_net_whatever_taxes_come_to(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", AutoTopUp { threshold: credits("100000"), ..starter(40, "sandbox_ok") }).await;
        shop.taxes(owner).await;
        for n in 0..4 {
            shop.clock.set(hour(n)).unwrap();
            shop.looks(owner).await;
        }
        let paid: Vec<_> = shop.all_payments(owner).await.into_iter().map(|it| (it.state, it.net(), it.amount.to_string())).collect();
        let pack = (PaymentState::Paid, usd(20), "23.80 USD".to_owned());
        assert_eq!(paid, [pack.clone(), pack], "47.60 dollars, of which 40 are net");
        assert!(shop.due().await.contains(&at("2026-02-01T00:00:00Z")), "{:?}", shop.due().await);
        assert_eq!(shop.log().await, ["PurchasePack DONE", "PurchasePack DONE", "PurchasePack TOP_UP_CEILING_REACHED"]);
        shop.assert_sound(owner).await;
    }

    async fn what_is_pending_is_net_under_the_ceiling_too(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", AutoTopUp { threshold: credits("100000"), ..starter(40, "sandbox_pending") }).await;
        shop.taxes(owner).await;
        for n in 0..4 {
            shop.clock.set(hour(n)).unwrap();
            shop.looks(owner).await;
        }
        assert_eq!(shop.states(owner).await, [PaymentState::Pending; 2]);
    }
}
