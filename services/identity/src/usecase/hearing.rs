//! What billing tells of people's own accounts, with edits: it is applied, or it alone is set aside. Nothing that is told stops the
//! feed.

use bursar_db::{DbError, Tx, on};
use bursar_events::{Consumer as _, Unapplied};
use bursar_proto::event::v1::Event;
use bursar_rpc::Transport;
use bursar_runtime::{Each, Env, Peers, Service, Settings};
use bursar_secret::Entropy;
use bursar_testkit::{START, TestDb, at, id, on_each_engine, told};
use bursar_time::Span;
use prost::Message as _;
use tokio::runtime::Runtime;

use super::{Clock, Config, Identity, UserRow};
use crate::consume::FromBilling;
use crate::store::users;

/// Identity on a fresh store, with the person of whom billing tells, whose address is proven.
async fn identity(store: &TestDb, directory: &tempfile::TempDir) -> Identity {
    let mut settings = Settings::for_test(directory.path());
    settings.stores[Service::Identity] = store.store_url();
    crate::migrate(&settings, None).await.expect("migrated");
    let db = crate::open_migrated(&settings).await.expect("opened");
    // Before what the alerts are about is over.
    let now = at(START).saturating_sub(Span::HOUR);
    let env = Env::for_test(Clock::test(now), Entropy::system());
    let (config, peers) = (Config::of(&settings), Peers::new(Each::of(|_| Transport::late().0)));
    let identity = crate::over(&settings, config, db, &peers, &env).await.expect("made");
    let ada = UserRow {
        id: id(1),
        email: "ada@example.com".to_owned(),
        email_key: "ada@example.com".to_owned(),
        email_verified_at: Some(now),
        password_hash: "$argon2id$".to_owned(),
        display_name: "Ada".to_owned(),
        sign_ups: 1,
        version: 1,
        created_at: now,
        updated_at: now,
        leaving_since: None,
        departures: 0,
    };
    let mut tx = identity.parts().db.begin().await.expect("a transaction");
    assert!(users::insert(&mut tx, &ada).await.expect("inserted"));
    tx.commit().await.expect("committed");
    identity
}

/// How many jobs there are: each mails something.
async fn queued(tx: &mut Tx) -> Result<i64, DbError> {
    let (count,): (i64,) = on!(tx, c => sqlx::query_as("SELECT COUNT(*) FROM jobs").fetch_one(c).await?);
    Ok(count)
}

#[test]
fn fuzz_what_billing_tells_identity() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for store in runtime.block_on(on_each_engine()) {
        let directory = tempfile::tempdir().expect("a folder");
        let identity = runtime.block_on(identity(&store, &directory));
        fuzz_on(&runtime, &store, &identity);
        runtime.block_on(identity.parts().db.close());
    }
}

/// Tells whatever there is, each time as if nothing had been told before.
fn fuzz_on(runtime: &Runtime, store: &TestDb, identity: &Identity) {
    let consumer = FromBilling { identity: identity.clone() };
    // Says how much is to be mailed.
    let apply = |event: &Event| {
        runtime.block_on(async {
            let mut tx = identity.parts().db.begin().await.expect("a transaction");
            let applied = match consumer.apply(&mut tx, event).await {
                Ok(()) => Ok(queued(&mut tx).await.expect("counted")),
                Err(error) => Err(error),
            };
            tx.rollback().await.expect("undone");
            applied
        })
    };
    let wanted = FromBilling::types();
    let events: Vec<Event> =
        told::of_a_person().into_iter().filter(|event| wanted.contains(&event.r#type.as_str())).collect();
    assert_eq!(events.len(), wanted.len());
    for event in &events {
        let mails = apply(event).unwrap_or_else(|error| panic!("{}: {error}", event.r#type));
        assert_eq!(mails, 1, "{}", event.r#type);
    }
    let samples: Vec<Vec<u8>> = events.iter().map(Event::encode_to_vec).collect();
    bursar_fuzz::fuzz("what billing tells identity", &samples, |bytes| {
        let Ok(event) = Event::decode(bytes) else { return };
        if let Err(Unapplied::Store(error)) = apply(&event) {
            assert!(error.is_about_the_data(), "{:?}: it would be told again and again: {error}", store.engine());
        }
    });
}
