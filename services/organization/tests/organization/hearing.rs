//! What the other services tell, with edits: it is applied, or it alone is set aside. Nothing that is told stops a feed.

use bursar_db::Db;
use bursar_events::{Consumer, Unapplied};
use bursar_jobs::Jobs;
use bursar_organization::consume::{FromBilling, FromIdentity};
use bursar_organization::store::MIGRATIONS;
use bursar_proto::event::v1::Event;
use bursar_secret::{Entropy, Sealer, Secret};
use bursar_testkit::{TestDb, clock, on_each_engine, told};
use prost::Message as _;
use tokio::runtime::Runtime;

/// Tells a consumer whatever there is, each time as if nothing had been told before.
fn fuzz<C: Consumer>(name: &'static str, consumer: impl Fn(&Db) -> C) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for store in runtime.block_on(on_each_engine()) {
        let db = runtime.block_on(store.open(&MIGRATIONS));
        fuzz_on(&runtime, (name, &store), (&db, &consumer(&db)));
        runtime.block_on(db.close());
    }
}

fn fuzz_on<C: Consumer>(runtime: &Runtime, (name, store): (&'static str, &TestDb), (db, consumer): (&Db, &C)) {
    let apply = |event: &Event| {
        runtime.block_on(async {
            let mut tx = db.begin().await.expect("a transaction");
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
fn fuzz_what_identity_tells_organization() {
    fuzz("what identity tells organization", |db| {
        let sealer = Sealer::from_key(&Secret::new([7; 32]));
        FromIdentity { clock: clock(), jobs: Jobs::new(db.clone(), sealer, Entropy::seeded(7), clock()) }
    });
}

#[test]
fn fuzz_what_billing_tells_organization() {
    fuzz("what billing tells organization", |_| FromBilling::default());
}
