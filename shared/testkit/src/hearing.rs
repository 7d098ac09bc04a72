//! What other services tell, with edits.

use std::collections::BTreeMap;

use bursar_db::{Db, on};
use bursar_events::{Consumer, Unapplied};
use bursar_proto::event::v1::Event;
use prost::Message as _;
use tokio::runtime::Runtime;

const JOBS: &str = "SELECT COUNT(*) FROM jobs";

/// Tells a consumer whatever there is, each time as if nothing had been told before: of `told` one event of each type that it
/// wants, which it applies, and the same with edits. Nothing that is told stops a feed: it is applied, or it alone is set aside.
/// Says how many jobs there are after each that has no edits, by its type.
///
/// # Panics
/// Where it is otherwise.
pub fn fuzz_consumer<C: Consumer>(
    runtime: &Runtime,
    name: &'static str,
    (db, consumer): (&Db, &C),
    told: Vec<Event>,
) -> BTreeMap<String, i64> {
    let apply = |event: &Event| runtime.block_on(applied(db, consumer, event));
    let events: Vec<Event> = told.into_iter().filter(|event| C::types().contains(&event.r#type.as_str())).collect();
    assert_eq!(events.len(), C::types().len());
    let mut jobs = BTreeMap::new();
    for event in &events {
        let after = apply(event).unwrap_or_else(|error| panic!("{}: {error}", event.r#type));
        jobs.insert(event.r#type.clone(), after);
    }
    let samples: Vec<Vec<u8>> = events.iter().map(Event::encode_to_vec).collect();
    bursar_fuzz::fuzz(name, &samples, |bytes| {
        let Ok(event) = Event::decode(bytes) else { return };
        if let Err(Unapplied::Store(error)) = apply(&event) {
            assert!(error.is_about_the_data(), "{:?}: it would be told again and again: {error}", db.engine());
        }
    });
    jobs
}

/// Applies an event, and undoes that. Says how many jobs there were in between.
async fn applied<C: Consumer>(db: &Db, consumer: &C, event: &Event) -> Result<i64, Unapplied> {
    let mut tx = db.begin().await.expect("a transaction");
    let applied = match consumer.apply(&mut tx, event).await {
        Ok(()) => {
            let jobs: i64 = on!(&mut tx, c => sqlx::query_scalar(JOBS).fetch_one(c).await.expect("counted"));
            Ok(jobs)
        }
        Err(error) => Err(error),
    };
    tx.rollback().await.expect("undone");
    applied
}
