//! An account whose ledger is not read soon keeps nobody else's limits from following.

use bursar_testkit::{TestDb, engines, personal, until};

use super::*;
use crate::domain::LimitWindow;
use crate::usecase::limits::LimitUseCases;
use crate::usecase::limits::tests::{asked, listed, moves_as_before};
use crate::usecase::shop::{Shop, manager};

/// How long a test waits for what a round does.
const LONG: Duration = Duration::from_mins(1);

/// A round that waits for whatever it waits for.
const ENDLESS: Portion = Portion { page: 500, patience: Duration::from_hours(1), enough: Duration::from_hours(1) };

/// Three accounts with a limit, in the order in which they are come to, whose days an earlier program has moved.
async fn three(db: &TestDb) -> (Shop, LimitUseCases, Vec<OwnerId>) {
    let shop = Shop::open(db, "2026-01-15T22:30:00Z").await;
    let limits = shop.limits();
    for owner in [1, 2, 3].map(personal) {
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        shop.spend(owner, "1").await;
        limits.set(owner, &asked(owner, LimitWindow::Day, "100")).await.unwrap();
        moves_as_before(&shop, owner, "Europe/Berlin").await;
    }
    let owners = limits::owners_after(&mut shop.db.read().await.unwrap(), None, 10).await.unwrap();
    (shop, limits, owners)
}

/// Whose days are where those of their accounts are.
async fn followed(limits: &LimitUseCases, owners: &[OwnerId]) -> Vec<bool> {
    let mut all = Vec::new();
    for owner in owners {
        all.push(listed(limits, *owner).await.iter().all(|(_, _, resets_at)| resets_at == "2026-01-15T23:00:00Z"));
    }
    all
}

engines! {
    async fn an_account_that_cannot_be_read_in_time_keeps_no_other_waiting(db: TestDb) {
        let (_shop, limits, owners) = Box::pin(three(&db)).await;
        let (counting, walk) = (&limits.counting, Walk::default());
        // Somebody else's call about the first one goes on and on: each has one place.
        let held = counting.costly.kept(&manager(owners[0]), owners[0]).await;
        let portion = Portion { patience: Duration::from_millis(200), ..ENDLESS };
        until(LONG, "the others follow", async || {
            assert!(!counting.follow_on(&walk, portion).await.unwrap(), "the walk comes to its end");
            followed(&limits, &owners).await == [false, true, true]
        })
        .await;
        assert_eq!(counting.costly.calls_about(owners[0]), 1, "nobody waits for it any more");
        drop(held);
        until(LONG, "it follows in a later walk", async || {
            assert!(!counting.follow_on(&walk, portion).await.unwrap(), "the walk comes to its end");
            followed(&limits, &owners).await == [true; 3]
        })
        .await;
    }

    async fn a_round_that_is_cut_off_is_gone_on_with_behind_the_account_that_it_was_at(db: TestDb) {
        let (_shop, limits, owners) = Box::pin(three(&db)).await;
        let (counting, walk) = (&limits.counting, Walk::default());
        let held = counting.costly.kept(&manager(owners[0]), owners[0]).await;
        let waits = until(LONG, "it waits for a place", async || counting.costly.calls_about(owners[0]) == 2);
        tokio::select! {
            ended = counting.follow_on(&walk, ENDLESS) => panic!("it was to wait: {ended:?}"),
            () = waits => {}
        }
        let next = tokio::time::timeout(LONG, counting.follow_on(&walk, ENDLESS)).await.expect("it stands in nobody's way");
        assert!(!next.unwrap());
        assert_eq!(followed(&limits, &owners).await, [false, true, true]);
        drop(held);
        assert!(!counting.follow_on(&walk, ENDLESS).await.unwrap(), "the next walk begins with the first one again");
        assert_eq!(followed(&limits, &owners).await, [true; 3]);
    }

    async fn a_round_that_has_done_enough_leaves_the_rest_to_the_next_one(db: TestDb) {
        let (_shop, limits, owners) = Box::pin(three(&db)).await;
        let (counting, walk) = (&limits.counting, Walk::default());
        let portion = Portion { enough: Duration::ZERO, ..ENDLESS };
        for done in 1..=3 {
            assert!(counting.follow_on(&walk, portion).await.unwrap(), "there may be more");
            let expected: Vec<bool> = (0..3).map(|n| n < done).collect();
            assert_eq!(followed(&limits, &owners).await, expected);
        }
        assert!(!counting.follow_on(&walk, portion).await.unwrap(), "these were all");
    }
}
