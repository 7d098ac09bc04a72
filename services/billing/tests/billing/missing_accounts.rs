//! Whoever deletes an account's row by hand, and all that it takes to hide that: whatever is left shows.

use bursar_testkit::engines;

use crate::tampering::{busy, disarm, disarm_invoices, sql};
use crate::words::subscribe;
use crate::world::World;

/// What is stored of an account by its owner's bytes, and by the owner's name.
const BY_BYTES: [&str; 9] = [
    "accounts",
    "ledger_entries",
    "lots",
    "entry_details",
    "holds",
    "usage_hours",
    "usage_days",
    "usage_meters",
    "limit_uses",
];
const BY_NAME: [&str; 4] = ["subscriptions", "payments", "purchases", "invoices"];

/// What nobody has who has spent for an hour and set no limit.
const MORE: [&str; 3] = [
    "INSERT INTO usage_days (owner, starts_at, member, project, model, charged, refunded, charges)
     SELECT owner, 0, member, project, model, charged, refunded, charges FROM usage_hours WHERE owner = OWNER",
    "INSERT INTO usage_meters (owner, starts_at, model, meter, quantity, charged) VALUES (OWNER, 0, 'veo', 'seconds', 1, 0)",
    "INSERT INTO limit_uses (owner, subject, span, starts_at, ends_at, used) VALUES (OWNER, ZEROS, 1, 0, 1, 1)",
];

engines! {
    async fn whatever_alone_is_left_of_an_account_is_found(db: TestDb) {
        let world = World::on(db).await;
        disarm(&world).await;
        disarm_invoices(&world).await;
        let mut left = Vec::new();
        let kept = BY_BYTES.into_iter().skip(1).chain(["subscriptions", "nothing"]);
        for (n, kept) in (10..).zip(kept) {
            let ana = busy(&world, n).await;
            ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
            for insert in MORE {
                assert!(world.by_hand(&sql(&world, ana.owner, insert)).await.unwrap() > 0, "{insert}");
            }
            for table in BY_BYTES.into_iter().filter(|it| *it != kept) {
                let delete = format!("DELETE FROM {table} WHERE owner = OWNER");
                assert!(world.by_hand(&sql(&world, ana.owner, &delete)).await.unwrap() > 0, "{table}");
            }
            for table in BY_NAME.into_iter().filter(|it| *it != kept) {
                world.by_hand(&format!("DELETE FROM {table} WHERE owner = '{}'", ana.owner)).await.unwrap();
            }
            left.extend((kept != "nothing").then_some(ana.owner));
        }
        let key = bursar_billing::operation_key(&world.settings, &world.store).await.unwrap();
        let summary = bursar_billing::verify_all(&world.store, key, world.now()).await.unwrap();
        let mut bad: Vec<_> = summary.bad.iter().map(|bad| bad.owner).collect();
        bad.sort_unstable();
        left.sort_unstable();
        assert_eq!(bad, left, "each once, whatever kind leads to it: {:?}", summary.bad);
    }
}
