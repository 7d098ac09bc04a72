//! Top-ups that a manager sets again: nobody has a second attempt in a cool-down for that.

use bursar_testkit::{credits, engines, personal};

use super::{NOON, hour, starter};
use crate::domain::{AutoTopUp, PaymentState};
use crate::usecase::shop::Shop;

engines! {
    async fn whoever_sets_it_again_waits_for_the_hour_all_the_same(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        // Left below by what a pack brings: nothing but the cool-down keeps the next one away.
        let wanted = |method: &str, threshold: &str| {
            AutoTopUp { threshold: credits(threshold), ..starter(1_000, method) }
        };
        let buyers = [
            (personal(1), "sandbox_ok", PaymentState::Paid),
            (personal(2), "sandbox_declined", PaymentState::Declined),
        ];
        for (owner, method, state) in buyers {
            shop.tops_up(owner, wanted(method, "5000")).await;
            shop.looks(owner).await;
            assert_eq!(shop.states(owner).await, [state]);
        }
        let steps = [
            ("2026-01-15T12:20:00Z", false, "5000"),
            ("2026-01-15T12:30:00Z", true, "5000"),
            ("2026-01-15T12:40:00Z", true, "6000"),
            ("2026-01-15T12:59:59Z", true, "4000"),
        ];
        for (now, enabled, threshold) in steps {
            shop.set(now);
            for (owner, method, state) in buyers {
                shop.tops_up(owner, AutoTopUp { enabled, ..wanted(method, threshold) }).await;
                shop.looks(owner).await;
                assert_eq!(shop.states(owner).await, [state], "at {now}");
            }
        }
        assert!(shop.due().await.contains(&hour(1)), "{:?}", shop.due().await);
        shop.clock.set(hour(1)).unwrap();
        for (owner, _, state) in buyers {
            shop.looks(owner).await;
            assert_eq!(shop.states(owner).await, [state; 2], "the next one comes at the hour");
            shop.assert_sound(owner).await;
        }
    }
}
