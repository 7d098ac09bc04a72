//! Somebody with a database prompt: what the database itself refuses, and what the audit finds.

use bursar_db::Engine;
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_testkit::engines;

use crate::words::{Spending, audit_of, give_back, reserve, settle, spend};
use crate::world::{Person, World};

/// A person with eight entries: a grant, two charges, a hold and its capture, a refund, a charge, an open hold.
async fn busy(world: &World, n: u64) -> Person {
    let ana = world.person_with(n, "100").await;
    let owner = ana.owner;
    let charge = ana.charged(spend(owner, "3").for_project("film").labelled("scene", "7")).await;
    ana.charged(spend(owner, "2")).await;
    let hold = ana.held(reserve(owner, "4")).await;
    ana.captured(settle(&hold, "1")).await;
    ana.refund(give_back(&charge)).await.unwrap();
    ana.charged(spend(owner, "5")).await;
    ana.held(reserve(owner, "6")).await;
    ana
}

async fn verdict(world: &World, owner: OwnerId) -> pb::VerifyLedgerResponse {
    world.operator().verify_ledger(audit_of(owner)).await.expect("an answer, not an error")
}

/// Takes the guard away, as somebody with every right could.
async fn disarm(world: &World) {
    world
        .by_hand(match world.engine() {
            Engine::Postgres => "DROP TRIGGER ledger_append_only ON ledger_entries",
            Engine::Sqlite => "DROP TRIGGER ledger_append_only_update; DROP TRIGGER ledger_append_only_delete",
        })
        .await
        .unwrap();
}

/// Every way to change an entry.
const CHANGES: [&str; 19] = [
    "kind = 'GRANT'",
    "kind = 'rubbish'",
    "at = at + 1",
    "at = at - 1",
    "amount = amount + 1",
    "available_after = available_after + 1",
    "held_after = held_after + 1",
    "operation_id = NULL",
    "subject = operation_id",
    "member = NULL",
    "project = 'other'",
    "labels = '{\"scene\":\"8\"}'",
    "occurred_at = 5",
    "expires_at = 5",
    "note = 'x'",
    "request_key = 'r x'",
    "body_hash = body_hash + 1",
    "postings = '[]'",
    "quantity = 7",
];

engines! {
    async fn the_ledger_takes_no_update_and_no_delete(db: TestDb) {
        let world = World::on(db).await;
        let ana = busy(&world, 1).await;
        for sql in ["UPDATE ledger_entries SET amount = 1", "UPDATE ledger_entries SET note = 'x' WHERE seq = 2", "DELETE FROM ledger_entries WHERE seq = 8"] {
            let error = world.by_hand(sql).await.expect_err(sql).to_string();
            assert!(error.contains("append-only"), "{sql}: {error}");
        }
        world.audit(ana.owner).await;
    }

    async fn a_changed_entry_is_found_and_named(db: TestDb) {
        let world = World::on(db).await;
        disarm(&world).await;
        for (n, change) in CHANGES.into_iter().enumerate() {
            let ana = busy(&world, 10 + n as u64).await;
            // The fourth entry: a hold.
            world.by_hand(&format!("UPDATE ledger_entries SET {change} WHERE owner = '{}' AND seq = 4", ana.owner)).await.unwrap();
            let verdict = verdict(&world, ana.owner).await;
            let bad = verdict.first_bad.unwrap_or_else(|| panic!("{change} is not found"));
            assert_eq!((verdict.valid, bad.seq, verdict.entries), (false, 4, 3), "{change}: {}", bad.reason);
            assert!(!bad.reason.is_empty());
        }
    }

    async fn a_changed_hash_or_a_missing_entry_is_found(db: TestDb) {
        let world = World::on(db).await;
        disarm(&world).await;
        let blob = match world.engine() {
            Engine::Postgres => "decode(repeat('00', 32), 'hex')",
            Engine::Sqlite => "zeroblob(32)",
        };
        let cases = [
            (format!("UPDATE ledger_entries SET hash = {blob} WHERE owner = 'OWNER' AND seq = 5"), 5),
            ("UPDATE ledger_entries SET seq = 80 WHERE owner = 'OWNER' AND seq = 5".to_owned(), 6),
            ("DELETE FROM ledger_entries WHERE owner = 'OWNER' AND seq = 5".to_owned(), 6),
            ("DELETE FROM ledger_entries WHERE owner = 'OWNER' AND seq = 1".to_owned(), 2),
            // The last ones are missed by the account's own row.
            ("DELETE FROM ledger_entries WHERE owner = 'OWNER' AND seq = 8".to_owned(), 0),
            ("DELETE FROM ledger_entries WHERE owner = 'OWNER'".to_owned(), 0),
        ];
        for (n, (sql, seq)) in cases.into_iter().enumerate() {
            let ana = busy(&world, 10 + n as u64).await;
            world.by_hand(&sql.replace("OWNER", &ana.owner.to_string())).await.unwrap();
            let verdict = verdict(&world, ana.owner).await;
            assert_eq!((verdict.valid, verdict.first_bad.map(|bad| bad.seq)), (false, Some(seq)), "{sql}");
        }
    }

    async fn what_is_stored_beside_the_ledger_is_compared_with_it(db: TestDb) {
        let world = World::on(db).await;
        let cases = [
            ("UPDATE lots SET remaining = remaining - 1, spent = spent + 1 WHERE owner = 'OWNER'", "lot"),
            ("UPDATE lots SET priority = 7 WHERE owner = 'OWNER'", "lot"),
            ("UPDATE lots SET expires_at = 5 WHERE owner = 'OWNER'", "lot"),
            ("DELETE FROM lots WHERE owner = 'OWNER'", "lot"),
            ("UPDATE accounts SET available = available + 1 WHERE owner = 'OWNER'", "account"),
            ("UPDATE accounts SET held = held - 1 WHERE owner = 'OWNER'", "account"),
            ("UPDATE accounts SET seq = seq + 1 WHERE owner = 'OWNER'", "account"),
            ("UPDATE accounts SET head_hash = (SELECT hash FROM ledger_entries WHERE owner = 'OWNER' AND seq = 1) WHERE owner = 'OWNER'", "account"),
            ("UPDATE holds SET amount = amount + 1 WHERE owner = 'OWNER' AND state = 'OPEN'", "hold"),
            ("UPDATE holds SET deadline = deadline + 1 WHERE owner = 'OWNER' AND state = 'OPEN'", "hold"),
            ("UPDATE holds SET state = 'RELEASED' WHERE owner = 'OWNER' AND state = 'OPEN'", "hold"),
            ("UPDATE holds SET state = 'OPEN' WHERE owner = 'OWNER' AND state = 'CAPTURED'", "hold"),
            ("DELETE FROM holds WHERE owner = 'OWNER'", "hold"),
            ("UPDATE usage_totals SET charged = charged + 1 WHERE owner = 'OWNER'", "usage"),
            ("UPDATE usage_totals SET refunded = refunded + 1 WHERE owner = 'OWNER' AND grain = 'HOUR'", "usage"),
            ("UPDATE usage_totals SET charged = charged + 1 WHERE owner = 'OWNER' AND grain = 'DAY'", "usage"),
            ("DELETE FROM usage_totals WHERE owner = 'OWNER'", "usage"),
            ("DELETE FROM usage_totals WHERE owner = 'OWNER' AND grain = 'HOUR'", "usage"),
        ];
        for (n, (sql, about)) in cases.into_iter().enumerate() {
            let ana = busy(&world, 10 + n as u64).await;
            assert!(verdict(&world, ana.owner).await.valid);
            world.by_hand(&sql.replace("OWNER", &ana.owner.to_string())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let verdict = verdict(&world, ana.owner).await;
            let bad = verdict.first_bad.unwrap_or_else(|| panic!("{sql} is not found"));
            assert_eq!((verdict.valid, bad.seq, verdict.entries), (false, 0, 8), "{sql}: no entry is to blame");
            assert!(bad.reason.contains(about), "{sql}: {}", bad.reason);
        }
    }

    async fn the_database_refuses_what_cannot_be(db: TestDb) {
        let world = World::on(db).await;
        let ana = busy(&world, 1).await;
        let never = [
            "UPDATE lots SET remaining = -1, spent = granted + 1 - held - expired - voided",
            "UPDATE lots SET held = -1, spent = granted + 1 - remaining - expired - voided",
            "UPDATE lots SET spent = -1, remaining = granted + 1 - held - expired - voided",
            "UPDATE lots SET remaining = remaining + 1",
            "UPDATE lots SET granted = granted - 1",
            "UPDATE lots SET live = NOT live",
            "UPDATE accounts SET available = -1",
            "UPDATE accounts SET held = -1",
            "UPDATE holds SET amount = 0",
            "UPDATE usage_totals SET charged = -1",
            "INSERT INTO ledger_entries (owner, seq, kind, at, amount, available_after, held_after, body_hash, postings, hash)
             SELECT owner, seq, kind, at, amount, available_after, held_after, body_hash, postings, hash FROM ledger_entries WHERE seq = 1",
        ];
        for sql in never {
            assert!(world.by_hand(sql).await.is_err(), "{sql}");
        }
        world.audit(ana.owner).await;
    }

    async fn the_audit_of_everything_names_the_bad_ones(db: TestDb) {
        let world = World::on(db).await;
        let people = [busy(&world, 1).await, busy(&world, 2).await, busy(&world, 3).await];
        let summary = bursar_billing::verify_all(&world.store).await.unwrap();
        assert_eq!((summary.accounts, summary.entries, summary.bad.len()), (3, 24, 0));
        disarm(&world).await;
        world.by_hand(&format!("UPDATE ledger_entries SET amount = amount + 1 WHERE owner = '{}' AND seq = 7", people[1].owner)).await.unwrap();
        let summary = bursar_billing::verify_all(&world.store).await.unwrap();
        let bad: Vec<_> = summary.bad.iter().map(|bad| (bad.owner, bad.seq)).collect();
        assert_eq!((summary.accounts, summary.entries, bad), (3, 8 + 6 + 8, vec![(people[1].owner, 7)]));
        let message = summary.bad[0].to_string();
        assert!(message.contains(&people[1].owner.to_string()) && message.contains("entry 7"), "{message}");
    }
}
