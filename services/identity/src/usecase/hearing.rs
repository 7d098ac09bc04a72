//! What billing tells of people's own accounts, with edits: it is applied, or it alone is set aside. Nothing that is told stops the
//! feed.

use bursar_rpc::Transport;
use bursar_runtime::{Each, Env, Peers, Service, Settings};
use bursar_secret::Entropy;
use bursar_testkit::{START, TestDb, at, fuzz_consumer, on_each_engine, told};
use bursar_time::Span;

use super::{Clock, Config, Identity, UserRow};
use crate::consume::FromBilling;
use crate::store::tests::ada;
use crate::store::users;

/// Identity on a fresh store, with the person of whom billing tells, whose address is proven.
pub(super) async fn identity(store: &TestDb, directory: &tempfile::TempDir) -> Identity {
    let mut settings = Settings::for_test(directory.path());
    settings.stores[Service::Identity] = store.store_url();
    crate::migrate(&settings, None).await.expect("migrated");
    let db = crate::open_migrated(&settings).await.expect("opened");
    // Before what the alerts are about is over.
    let now = at(START).saturating_sub(Span::HOUR);
    let env = Env::for_test(Clock::test(now), Entropy::system());
    let (config, peers) = (Config::of(&settings), Peers::new(Each::of(|_| Transport::late().0)));
    let identity = crate::over(&settings, config, db, &peers, &env).await.expect("made");
    let ada = UserRow { email_verified_at: Some(now), created_at: now, updated_at: now, ..ada() };
    let mut tx = identity.parts().db.begin().await.expect("a transaction");
    assert!(users::insert(&mut tx, &ada).await.expect("inserted"));
    tx.commit().await.expect("committed");
    identity
}

#[test]
fn fuzz_what_billing_tells_identity() {
    on_each_engine(|runtime, store| {
        let directory = tempfile::tempdir().expect("a folder");
        let identity = runtime.block_on(identity(store, &directory));
        let (db, consumer) = (&identity.parts().db, FromBilling { identity: identity.clone() });
        let jobs = fuzz_consumer(runtime, "what billing tells identity", (db, &consumer), told::of_a_person());
        // Each is mailed.
        assert!(jobs.values().all(|mails| *mails == 1), "{jobs:?}");
        runtime.block_on(db.close());
    });
}
