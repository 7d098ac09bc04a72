//! What organization tells, with edits: it is applied, or it alone is set aside. Nothing that is told stops the feed.

use std::time::Duration;

use bursar_events::{Consumer as _, Feed, Unapplied};
use bursar_identity::consume::FromOrganization;
use bursar_identity::store::MIGRATIONS;
use bursar_members::Members;
use bursar_proto::event::v1::Event;
use bursar_testkit::{TestDb, on_each_engine, told};
use bursar_time::Monotonic;
use prost::Message as _;
use tokio::runtime::Runtime;

#[test]
fn fuzz_what_organization_tells_identity() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for store in runtime.block_on(on_each_engine()) {
        fuzz_on(&runtime, &store);
    }
}

fn fuzz_on(runtime: &Runtime, store: &TestDb) {
    let db = runtime.block_on(store.open(&MIGRATIONS));
    let feed = Feed::new("organization", &Monotonic::test(), Duration::from_mins(5));
    let consumer = FromOrganization { members: Members::new(db.clone(), feed) };
    let apply = |event: &Event| {
        runtime.block_on(async {
            let mut tx = db.begin().await.expect("a transaction");
            let applied = consumer.apply(&mut tx, event).await;
            tx.rollback().await.expect("undone");
            applied
        })
    };
    let wanted = FromOrganization::types();
    let events: Vec<Event> =
        told::one_of_each().into_iter().filter(|event| wanted.contains(&event.r#type.as_str())).collect();
    assert_eq!(events.len(), wanted.len());
    for event in &events {
        apply(event).unwrap_or_else(|error| panic!("{}: {error}", event.r#type));
    }
    let samples: Vec<Vec<u8>> = events.iter().map(Event::encode_to_vec).collect();
    bursar_fuzz::fuzz("what organization tells identity", &samples, |bytes| {
        let Ok(event) = Event::decode(bytes) else { return };
        if let Err(Unapplied::Store(error)) = apply(&event) {
            assert!(error.is_about_the_data(), "{:?}: it would be told again and again: {error}", store.engine());
        }
    });
    runtime.block_on(db.close());
}
