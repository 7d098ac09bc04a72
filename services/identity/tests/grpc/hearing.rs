//! What organization tells, with edits: it is applied, or it alone is set aside. Nothing that is told stops the feed.

use std::time::Duration;

use bursar_events::Feed;
use bursar_identity::consume::FromOrganization;
use bursar_identity::store::MIGRATIONS;
use bursar_members::Members;
use bursar_testkit::{fuzz_consumer, on_each_engine, told};
use bursar_time::Monotonic;

#[test]
fn fuzz_what_organization_tells_identity() {
    on_each_engine(|runtime, store| {
        let db = runtime.block_on(store.open(&MIGRATIONS));
        let feed = Feed::new("organization", &Monotonic::test(), Duration::from_mins(5));
        let consumer = FromOrganization { members: Members::new(db.clone(), feed) };
        fuzz_consumer(runtime, "what organization tells identity", (&db, &consumer), told::one_of_each());
        runtime.block_on(db.close());
    });
}
