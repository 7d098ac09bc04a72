//! What the other services tell, with edits: it is applied, or it alone is set aside. Nothing that is told stops a feed.

use bursar_db::Db;
use bursar_events::Consumer;
use bursar_jobs::Jobs;
use bursar_organization::consume::{FromBilling, FromIdentity};
use bursar_organization::store::MIGRATIONS;
use bursar_secret::{Entropy, Sealer, Secret};
use bursar_testkit::{clock, fuzz_consumer, on_each_engine, told};

fn fuzz<C: Consumer>(name: &'static str, consumer: impl Fn(&Db) -> C) {
    on_each_engine(|runtime, store| {
        let db = runtime.block_on(store.open(&MIGRATIONS));
        fuzz_consumer(runtime, name, (&db, &consumer(&db)), told::one_of_each());
        runtime.block_on(db.close());
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
