//! Which plans are told of anew, and when a program that starts does so, on both engines.

use std::sync::Arc;

use bursar_testkit::{at, engines, personal};

use super::*;
use crate::catalog;
use crate::usecase::shop::Shop;

const NOW: &str = "2026-01-31T10:00:00Z";
const BUILT_IN: &str = include_str!("../../../catalog.toml");
const WAITING: &str = "jobs WHERE kind = 'billing.plan'";

/// The built-in catalog with one thing changed.
fn changed_to(from: &str, to: &str) -> Arc<Catalog> {
    assert!(BUILT_IN.contains(from), "the catalog has no {from}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), BUILT_IN.replacen(from, to, 1)).unwrap();
    Arc::new(catalog::load(Some(file.path())).unwrap())
}

/// One in which Business includes single sign-on, too.
fn with_more() -> Arc<Catalog> {
    changed_to("features = [\"organizations\"]", "features = [\"organizations\", \"single_sign_on\"]")
}

#[test]
fn only_plans_that_allow_something_else_are_told_of() {
    let (was, more) = (catalog::load(None).unwrap(), with_more());
    let business = || vec![Edited { plan: "business".to_owned() }];
    assert!(edited(|id| was.plan(id), &was).is_empty());
    assert_eq!(edited(|id| was.plan(id), &more), business());
    assert_eq!(edited(|id| more.plan(id), &was), business(), "also where it is less");
    let dearer = changed_to("price = \"100.00 USD\"", "price = \"120.00 USD\"");
    assert!(edited(|id| was.plan(id), &dearer).is_empty(), "its price is the subscription's own");
    assert!(edited(|_| None, &more).is_empty(), "nobody has what is new");
}

engines! {
    async fn who_starts_with_a_new_catalog_or_not_the_last_one_has_it_told(db: TestDb) {
        let shop = Shop::open(&db, NOW).await;
        let (jobs, now) = (shop.subscriptions.cashier.jobs.clone(), at(NOW));
        let later = now.saturating_add(NEW_FOR).saturating_add(Span::SECOND);
        let first = catalogs::keep(&shop.db, Arc::new(catalog::load(None).unwrap()), now).await.unwrap();
        begin(&shop.db, &jobs, &first, now).await.unwrap();
        assert_eq!(shop.count(WAITING).await, 0, "there was none before");
        let second = catalogs::keep(&shop.db, with_more(), now).await.unwrap();
        for _ in 0..2 {
            begin(&shop.db, &jobs, &second, now).await.unwrap();
            assert_eq!(shop.count(WAITING).await, 1, "once, however many start");
        }
        shop.sql("DELETE FROM jobs").await;
        begin(&shop.db, &jobs, &second, later).await.unwrap();
        assert_eq!(shop.count(WAITING).await, 0, "it was told long ago");
        begin(&shop.db, &jobs, &first, later).await.unwrap();
        assert_eq!(shop.count(WAITING).await, 1, "it is used again");
    }

    async fn what_was_changed_meanwhile_is_told_by_who_changed_it(db: TestDb) {
        let shop = Shop::open(&db, NOW).await;
        let (ana, ben) = (personal(1), personal(2));
        for owner in [ana, ben] {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        }
        let before = shop.count("outbox").await;
        tell(&shop.subscriptions, &Edited { plan: "enterprise".to_owned() }).await.unwrap();
        assert_eq!(shop.count("outbox").await, before, "nobody has that plan");
        tell(&shop.subscriptions, &Edited { plan: "business".to_owned() }).await.unwrap();
        assert_eq!(shop.count("outbox").await, before + 2, "of each who has it");
        let read = subscriptions::live(&mut shop.db.read().await.unwrap(), ana).await.unwrap().unwrap();
        shop.subscriptions.end_now(ana, false).await.unwrap();
        let mut tx = shop.db.begin().await.unwrap();
        assert!(!subscriptions::hold(&mut tx, &read).await.unwrap(), "it has ended since");
        let read = subscriptions::live(&mut tx, ben).await.unwrap().unwrap();
        assert!(subscriptions::hold(&mut tx, &read).await.unwrap());
        assert_eq!(subscriptions::live(&mut tx, ben).await.unwrap().unwrap(), read, "holding it changes nothing");
    }
}
