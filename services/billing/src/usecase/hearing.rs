//! What the other services tell, with edits: it is applied, or it alone is set aside. Nothing that is told stops a feed.

use std::time::Duration;

use bursar_events::{Consumer, Feed};
use bursar_members::Members;
use bursar_testkit::{START, fuzz_consumer, on_each_engine, told};
use bursar_time::Monotonic;

use super::shop::Shop;
use crate::consume::{FromIdentity, FromOrganization};

fn members(shop: &Shop, source: &'static str) -> Members {
    Members::new(shop.db.clone(), Feed::new(source, &Monotonic::test(), Duration::from_mins(5)))
}

fn fuzz<C: Consumer>(name: &'static str, consumer: impl Fn(&Shop) -> C) {
    on_each_engine(|runtime, store| {
        let shop = runtime.block_on(Shop::open(store, START));
        fuzz_consumer(runtime, name, (&shop.db, &consumer(&shop)), told::one_of_each());
        runtime.block_on(shop.db.close());
    });
}

#[test]
fn fuzz_what_organization_tells_billing() {
    fuzz("what organization tells billing", |shop| FromOrganization {
        clock: shop.clock.clone(),
        jobs: shop.subscriptions.cashier.jobs.clone(),
        members: members(shop, "organization"),
    });
}

#[test]
fn fuzz_what_identity_tells_billing() {
    fuzz("what identity tells billing", |shop| FromIdentity {
        clock: shop.clock.clone(),
        jobs: shop.subscriptions.cashier.jobs.clone(),
        members: members(shop, "identity"),
    });
}
