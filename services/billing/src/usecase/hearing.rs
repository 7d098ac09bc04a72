//! What the other services tell, with edits: it is applied, or it alone is set aside. Nothing that is told stops a feed.

use std::time::Duration;

use bursar_events::{Consumer, Feed, Unapplied};
use bursar_members::Members;
use bursar_proto::event::v1::Event;
use bursar_testkit::{START, TestDb, on_each_engine, told};
use bursar_time::Monotonic;
use prost::Message as _;
use tokio::runtime::Runtime;

use super::shop::Shop;
use crate::consume::{FromIdentity, FromOrganization};

fn members(shop: &Shop, source: &'static str) -> Members {
    Members::new(shop.db.clone(), Feed::new(source, &Monotonic::test(), Duration::from_mins(5)))
}

/// Tells a consumer whatever there is, each time as if nothing had been told before.
fn fuzz<C: Consumer>(name: &'static str, consumer: impl Fn(&Shop) -> C) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for store in runtime.block_on(on_each_engine()) {
        let shop = runtime.block_on(Shop::open(&store, START));
        fuzz_on(&runtime, (name, &store), (&shop, &consumer(&shop)));
        runtime.block_on(shop.db.close());
    }
}

fn fuzz_on<C: Consumer>(runtime: &Runtime, (name, store): (&'static str, &TestDb), (shop, consumer): (&Shop, &C)) {
    let apply = |event: &Event| {
        runtime.block_on(async {
            let mut tx = shop.db.begin().await.expect("a transaction");
            let applied = consumer.apply(&mut tx, event).await;
            tx.rollback().await.expect("undone");
            applied
        })
    };
    let events: Vec<Event> =
        told::one_of_each().into_iter().filter(|event| C::types().contains(&event.r#type.as_str())).collect();
    assert_eq!(events.len(), C::types().len());
    for event in &events {
        apply(event).unwrap_or_else(|error| panic!("{}: {error}", event.r#type));
    }
    let samples: Vec<Vec<u8>> = events.iter().map(Event::encode_to_vec).collect();
    bursar_fuzz::fuzz(name, &samples, |bytes| {
        let Ok(event) = Event::decode(bytes) else { return };
        if let Err(Unapplied::Store(error)) = apply(&event) {
            assert!(error.is_about_the_data(), "{:?}: it would be told again and again: {error}", store.engine());
        }
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
