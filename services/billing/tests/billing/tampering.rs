//! Somebody with a database prompt: what the database itself refuses, and what the audit finds.

use bursar_db::Engine;
use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::LimitWindow;
use bursar_proto::google::r#type::Money;
use bursar_testkit::{engines, id, refused};
use bursar_time::Span;
use sqlx::error::ErrorKind;
use tonic::Code;

use crate::words::{
    Holding as _, Spending, Under, audit_of, buy, entries_of, erase, free, give_back, limit, reserve, settle, spend,
    subscribe,
};
use crate::world::{Person, World};

/// A person with eight entries: a grant, two charges, a hold and its capture, a refund, a charge, an open hold.
pub(crate) async fn busy(world: &World, n: u64) -> Person {
    let ana = world.person_with(n, "100").await;
    let owner = ana.owner;
    let charge = ana.charged(spend(owner, "3").for_project("film").labelled("scene", "7")).await;
    ana.charged(spend(owner, "2")).await;
    let hold = ana.held(reserve(owner, "4").under("h1")).await;
    ana.captured(settle(&hold, "1")).await;
    world.product().refund(give_back(&charge)).await.unwrap();
    ana.charged(spend(owner, "5")).await;
    ana.held(reserve(owner, "6")).await;
    ana
}

/// A person with eight entries: a grant, and holds with labels of which one is captured, one released, one lapsed, one open.
async fn with_holds(world: &World, n: u64) -> Person {
    let ana = world.person_with(n, "100").await;
    let labelled = |amount: &str| reserve(ana.owner, amount).labelled("scene", "7");
    let captured = ana.held(labelled("4")).await;
    ana.captured(settle(&captured, "1")).await;
    let released = ana.held(labelled("3")).await;
    ana.release(free(&released)).await.unwrap();
    ana.held(labelled("2").lasting(Span::MINUTE)).await;
    world.passes(Span::from_mins(2));
    ana.held(labelled("5")).await;
    ana
}

/// A person with a pack that was mostly spent and half refunded, a month of a plan and a purchase that was declined.
async fn sold(world: &World, n: u64) -> Person {
    let ana = world.person(n);
    let owner = ana.owner.to_string();
    let bought = ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap();
    ana.charged(spend(ana.owner, "250")).await;
    let half = Money { currency_code: "USD".to_owned(), units: 10, nanos: 0 };
    let payment_id = bought.payment.unwrap().id;
    let refund = pb::RefundPaymentRequest { owner, payment_id, amount: Some(half), request_id: String::new() };
    world.operator().refund_payment(refund).await.unwrap();
    ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
    let declined = pb::PurchasePackRequest { payment_method: "sandbox_declined".into(), ..buy(ana.owner, "standard") };
    refused(ana.purchase_pack(declined).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
    ana
}

/// Takes the guard of invoices away as well.
pub(crate) async fn disarm_invoices(world: &World) {
    world
        .by_hand(match world.engine() {
            Engine::Postgres => "DROP TRIGGER invoices_stay ON invoices",
            Engine::Sqlite => "DROP TRIGGER invoices_no_update; DROP TRIGGER invoices_no_delete",
        })
        .await
        .unwrap();
}

async fn verdict(world: &World, owner: OwnerId) -> pb::VerifyLedgerResponse {
    world.operator().verify_ledger(audit_of(owner)).await.expect("an answer, not an error")
}

/// Takes the guard away, as somebody with every right could.
pub(crate) async fn disarm(world: &World) {
    world
        .by_hand(match world.engine() {
            Engine::Postgres => "DROP TRIGGER ledger_append_only ON ledger_entries",
            Engine::Sqlite => "DROP TRIGGER ledger_no_update; DROP TRIGGER ledger_no_delete",
        })
        .await
        .unwrap();
}

/// Every way to change what stands beside an entry's body.
const CHANGES: [&str; 6] =
    ["at = at + 1", "at = at - 1", "request_key = NULL", "hash = ZEROS", "body = ZEROS", "request_key = KEY"];

/// SQL for this engine: `OWNER`, 32 bytes of `ZEROS` and a `KEY` or id that nothing has.
pub(crate) fn sql(world: &World, owner: OwnerId, text: &str) -> String {
    let (zeros, key) = match world.engine() {
        Engine::Postgres => ("decode(repeat('00', 32), 'hex')", "CAST(repeat('01', 16) AS uuid)"),
        Engine::Sqlite => ("zeroblob(32)", "X'01010101010101010101010101010101'"),
    };
    text.replace("OWNER", &world.literal(owner)).replace("ZEROS", zeros).replace("KEY", key)
}

engines! {
    async fn the_ledger_takes_no_update_and_no_delete(db: TestDb) {
        let world = World::on(db).await;
        let ana = busy(&world, 1).await;
        for sql in ["UPDATE ledger_entries SET at = 1", "UPDATE ledger_entries SET body = hash WHERE seq = 2", "DELETE FROM ledger_entries WHERE seq = 8"] {
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
            let change = sql(&world, ana.owner, &format!("UPDATE ledger_entries SET {change} WHERE owner = OWNER AND seq = 4"));
            world.by_hand(&change).await.unwrap();
            let verdict = verdict(&world, ana.owner).await;
            let bad = verdict.first_bad.unwrap_or_else(|| panic!("{change} is not found"));
            assert_eq!((verdict.valid, bad.seq, verdict.entries), (false, 4, 3), "{change}: {}", bad.reason);
            assert!(!bad.reason.is_empty());
        }
    }

    async fn a_changed_byte_of_a_body_is_found_wherever_it_is(db: TestDb) {
        let world = World::on(db).await;
        disarm(&world).await;
        let ana = busy(&world, 1).await;
        let body = world.body(ana.owner, 4).await;
        // The first byte is the format: another one is somebody else's to judge.
        for place in 1..body.len() {
            let mut changed = body.clone();
            changed[place] ^= 0x11;
            world.set_body(ana.owner, 4, &changed).await;
            let verdict = verdict(&world, ana.owner).await;
            assert_eq!((verdict.valid, verdict.first_bad.map(|bad| bad.seq)), (false, Some(4)), "byte {place}");
        }
        let mut newer = body.clone();
        newer[0] = u8::MAX;
        world.set_body(ana.owner, 4, &newer).await;
        refused(world.operator().verify_ledger(audit_of(ana.owner)).await, Code::Unavailable, "NEWER_FORMAT");
        refused(ana.list_ledger_entries(entries_of(ana.owner)).await, Code::Unavailable, "NEWER_FORMAT");
        world.set_body(ana.owner, 4, &body).await;
        world.audit(ana.owner).await;
    }

    async fn a_changed_hash_or_a_missing_entry_is_found(db: TestDb) {
        let world = World::on(db).await;
        disarm(&world).await;
        let cases = [
            ("UPDATE ledger_entries SET hash = ZEROS WHERE owner = OWNER AND seq = 5", 5),
            ("UPDATE ledger_entries SET seq = 80 WHERE owner = OWNER AND seq = 5", 6),
            ("DELETE FROM ledger_entries WHERE owner = OWNER AND seq = 5", 6),
            ("DELETE FROM ledger_entries WHERE owner = OWNER AND seq = 1", 2),
            // The last ones are missed by the account's own row.
            ("DELETE FROM ledger_entries WHERE owner = OWNER AND seq = 8", 0),
            ("DELETE FROM ledger_entries WHERE owner = OWNER", 0),
        ];
        for (n, (change, seq)) in cases.into_iter().enumerate() {
            let ana = busy(&world, 10 + n as u64).await;
            world.by_hand(&sql(&world, ana.owner, change)).await.unwrap();
            let verdict = verdict(&world, ana.owner).await;
            assert_eq!((verdict.valid, verdict.first_bad.map(|bad| bad.seq)), (false, Some(seq)), "{change}");
        }
    }

    async fn details_that_are_gone_or_changed_are_found(db: TestDb) {
        let world = World::on(db).await;
        let ana = busy(&world, 1).await;
        world.by_hand(&sql(&world, ana.owner, "DELETE FROM entry_details WHERE owner = OWNER")).await.unwrap();
        let missing = verdict(&world, ana.owner).await;
        assert_eq!((missing.valid, missing.first_bad.map(|bad| bad.seq)), (false, Some(2)), "nothing excuses it");

        let (ben, cai) = (busy(&world, 2).await, busy(&world, 3).await);
        let swap = "UPDATE entry_details SET page = (SELECT other.page FROM entry_details AS other
            WHERE other.owner = OTHER AND other.last_seq = entry_details.last_seq) WHERE owner = OWNER";
        let swap = swap.replace("OTHER", &world.literal(cai.owner));
        world.by_hand(&sql(&world, ben.owner, &swap)).await.unwrap();
        let changed = verdict(&world, ben.owner).await;
        assert_eq!((changed.valid, changed.first_bad.map(|bad| bad.seq)), (false, Some(2)), "somebody else's labels");
    }

    async fn what_is_stored_beside_the_ledger_is_compared_with_it(db: TestDb) {
        let world = World::on(db).await;
        let cases = [
            ("UPDATE lots SET remaining = remaining - 1, spent = spent + 1 WHERE owner = OWNER", "lot"),
            ("UPDATE lots SET granted = granted + 1, spent = spent + 1 WHERE owner = OWNER", "lot"),
            ("UPDATE lots SET voided_at = 5 WHERE owner = OWNER", "lot"),
            ("UPDATE lots SET id = KEY WHERE owner = OWNER", "lot"),
            ("DELETE FROM lots WHERE owner = OWNER", "lot"),
            ("UPDATE accounts SET available = available + 1 WHERE owner = OWNER", "account"),
            ("UPDATE accounts SET held = held - 1 WHERE owner = OWNER", "account"),
            ("UPDATE accounts SET seq = seq + 1 WHERE owner = OWNER", "account"),
            ("UPDATE accounts SET head_hash = ZEROS WHERE owner = OWNER", "account"),
            ("UPDATE accounts SET charged = charged + 1 WHERE owner = OWNER", "account"),
            ("UPDATE accounts SET open_holds = open_holds + 1 WHERE owner = OWNER", "account"),
            ("UPDATE holds SET deadline = deadline + 1 WHERE owner = OWNER AND state = 'OPEN'", "hold"),
            ("UPDATE holds SET state = 'RELEASED' WHERE owner = OWNER AND state = 'OPEN'", "hold"),
            ("UPDATE holds SET state = 'OPEN' WHERE owner = OWNER AND state = 'CAPTURED'", "hold"),
            ("UPDATE holds SET id = KEY WHERE owner = OWNER AND state = 'OPEN'", "hold"),
            ("DELETE FROM holds WHERE owner = OWNER", "hold"),
            ("UPDATE usage_hours SET charged = charged + 1 WHERE owner = OWNER", "usage"),
            ("UPDATE usage_hours SET refunded = refunded + 1 WHERE owner = OWNER", "usage"),
            ("DELETE FROM usage_hours WHERE owner = OWNER", "usage"),
            // Moved, with equal totals.
            ("UPDATE usage_hours SET member = KEY WHERE owner = OWNER", "usage"),
            ("UPDATE usage_hours SET project = 'pilot' WHERE owner = OWNER AND project = 'film'", "usage"),
            ("UPDATE usage_hours SET model = 'veo' WHERE owner = OWNER", "usage"),
            ("UPDATE usage_hours SET starts_at = starts_at - 3600000000 WHERE owner = OWNER", "usage"),
            ("UPDATE usage_hours SET charges = charges + 1 WHERE owner = OWNER", "usage"),
            ("INSERT INTO usage_days (owner, starts_at, member, project, model, charged, refunded, charges)
              SELECT owner, 0, member, project, model, charged, refunded, charges FROM usage_hours WHERE owner = OWNER", "usage"),
            ("INSERT INTO usage_meters (owner, starts_at, model, meter, quantity, charged) VALUES (OWNER, 0, 'veo', 'seconds', 1, 0)", "usage"),
            // A meter that is full is believed only where that much was used.
            ("INSERT INTO usage_meters (owner, starts_at, model, meter, quantity, charged)
              VALUES (OWNER, 0, 'veo', 'seconds', 9223372036854775807, 0)", "usage"),
        ];
        for (n, (change, about)) in cases.into_iter().enumerate() {
            let ana = busy(&world, 10 + n as u64).await;
            assert!(verdict(&world, ana.owner).await.valid);
            world.by_hand(&sql(&world, ana.owner, change)).await.unwrap_or_else(|error| panic!("{change}: {error}"));
            let verdict = verdict(&world, ana.owner).await;
            let bad = verdict.first_bad.unwrap_or_else(|| panic!("{change} is not found"));
            assert_eq!((verdict.valid, bad.seq, verdict.entries), (false, 0, 8), "{change}: no entry is to blame");
            assert!(bad.reason.contains(about), "{change}: {}", bad.reason);
        }
    }

    async fn a_changed_hold_is_found_whether_it_is_open_or_settled(db: TestDb) {
        let world = World::on(db).await;
        let cases = [
            ("OPEN", "labels = NULL"),
            ("OPEN", "labels = '{}'"),
            // By it an erasure finds the hold.
            ("OPEN", "member = KEY"),
            ("CAPTURED", "member = KEY"),
            ("CAPTURED", "labels = NULL"),
            ("CAPTURED", "labels = '{\"scene\":\"8\"}'"),
            ("CAPTURED", "captured = captured + 1"),
            ("CAPTURED", "charge = KEY"),
            ("CAPTURED", "charge = NULL"),
            ("CAPTURED", "terms = (SELECT o.terms FROM holds AS o WHERE o.owner = OWNER AND o.state = 'OPEN')"),
            ("CAPTURED", "state = 'RELEASED'"),
            ("RELEASED", "state = 'LAPSED'"),
            ("RELEASED", "settled_at = settled_at + 1"),
            ("RELEASED", "id = KEY"),
            ("LAPSED", "deadline = deadline + 1"),
            ("LAPSED", "captured = 1"),
        ];
        for (n, (state, change)) in cases.into_iter().enumerate() {
            let ana = with_holds(&world, 10 + n as u64).await;
            let before = verdict(&world, ana.owner).await;
            assert!(before.valid, "{state} {change}: {:?}", before.first_bad);
            let text = format!("UPDATE holds SET {change} WHERE owner = OWNER AND state = '{state}'");
            let changed = world.by_hand(&sql(&world, ana.owner, &text)).await;
            assert_eq!(changed.unwrap_or_else(|error| panic!("{text}: {error}")), 1, "{text}");
            let verdict = verdict(&world, ana.owner).await;
            let bad = verdict.first_bad.unwrap_or_else(|| panic!("{text} is not found"));
            assert_eq!((verdict.valid, bad.seq, verdict.entries), (false, 0, 8), "{text}: no entry is to blame");
            assert!(bad.reason.contains("stored hold hld_"), "{text}: {}", bad.reason);
        }
        let ben = with_holds(&world, 9).await;
        let gone = "DELETE FROM holds WHERE owner = OWNER AND state = 'RELEASED'";
        assert_eq!(world.by_hand(&sql(&world, ben.owner, gone)).await.unwrap(), 1);
        assert!(verdict(&world, ben.owner).await.first_bad.unwrap().reason.contains("stored hold hld_"));
    }

    async fn labels_of_holds_may_be_gone_where_an_erasure_covers_them(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let ben = world.member(2, team, Role::Member, 1);
        let labelled = |scene: &str| reserve(team, "1").labelled("scene", scene);
        let (settled, open) = (ben.held(labelled("1")).await, ben.held(labelled("2")).await);
        ben.held(labelled("3")).await;
        ben.captured(settle(&settled, "1")).await;
        boss.held(labelled("8")).await;
        world.product().erase_details(erase(team, Some(ben.user))).await.unwrap();
        ben.captured(settle(&open, "1")).await;
        ben.held(labelled("9")).await;
        let erased = verdict(&world, team).await;
        assert!(erased.valid, "{:?}", erased.first_bad);
        // Neither another member's, nor what came later.
        for scene in ["8", "9"] {
            let take = format!("UPDATE holds SET labels = NULL WHERE owner = OWNER AND labels LIKE '%\"{scene}\"%'");
            assert_eq!(world.by_hand(&sql(&world, team, &take)).await.unwrap(), 1, "scene {scene}");
            assert!(verdict(&world, team).await.first_bad.unwrap().reason.contains("stored hold hld_"), "scene {scene}");
            let back = format!("UPDATE holds SET labels = '{{\"scene\":\"{scene}\"}}' WHERE owner = OWNER AND state = 'OPEN'
                AND number <> 4 AND labels IS NULL");
            assert_eq!(world.by_hand(&sql(&world, team, &back)).await.unwrap(), 1, "scene {scene}");
            assert!(verdict(&world, team).await.valid, "scene {scene}");
        }
    }

    async fn what_was_sold_is_compared_with_the_ledger_and_its_documents(db: TestDb) {
        let world = World::on(db).await;
        disarm_invoices(&world).await;
        let cases = [
            // A second refund of the same money, and what was taken back as if it had not been.
            ("UPDATE payments SET refunded = 0 WHERE owner = 'WHO' AND refunded > 0", "payment"),
            ("UPDATE payments SET refunded = 0, taken_back = 0, voided = 0, owed = 0 WHERE owner = 'WHO'", "payment"),
            ("UPDATE payments SET taken_back = 0, voided = 0, owed = 0 WHERE owner = 'WHO'", "payment"),
            ("UPDATE payments SET refunded = refunded + 1000000 WHERE owner = 'WHO' AND purpose = 'SUBSCRIPTION'", "payment"),
            ("UPDATE payments SET voided = voided - 1, owed = owed + 1 WHERE owner = 'WHO' AND voided > 0", "payment"),
            ("UPDATE payments SET owed = owed - 1 WHERE owner = 'WHO' AND owed > 0", "payment"),
            ("UPDATE payments SET dispute = 'OPEN', disputed = 1000000 WHERE owner = 'WHO' AND purpose = 'SUBSCRIPTION'", "payment"),
            ("UPDATE payments SET lot_id = NULL WHERE owner = 'WHO' AND purpose = 'SUBSCRIPTION'", "payment"),
            ("UPDATE payments SET fulfilled_at = NULL WHERE owner = 'WHO'", "payment"),
            ("UPDATE payments SET state = 'PENDING' WHERE owner = 'WHO' AND purpose = 'SUBSCRIPTION'", "payment"),
            ("UPDATE payments SET credits = credits + 1 WHERE owner = 'WHO' AND purpose = 'SUBSCRIPTION'", "payment"),
            ("UPDATE payments SET amount = amount + 1000000 WHERE owner = 'WHO' AND purpose = 'SUBSCRIPTION'", "document"),
            ("UPDATE payments SET invoice_id = NULL WHERE owner = 'WHO' AND purpose = 'SUBSCRIPTION'", "payment"),
            ("DELETE FROM payments WHERE owner = 'WHO' AND purpose = 'SUBSCRIPTION'", "payment"),
            ("UPDATE purchases SET state = 'DECLINED', lot_id = NULL WHERE owner = 'WHO'", "purchase"),
            ("UPDATE purchases SET credits = credits + 1 WHERE owner = 'WHO' AND state = 'PAID'", "purchase"),
            ("UPDATE purchases SET price = price - 1 WHERE owner = 'WHO' AND state = 'PAID'", "purchase"),
            ("DELETE FROM purchases WHERE owner = 'WHO'", "purchase"),
            ("UPDATE invoices SET total = total - 1000000 WHERE owner = 'WHO' AND kind = 'CREDIT_NOTE'", "document"),
            ("DELETE FROM invoices WHERE owner = 'WHO' AND kind = 'CREDIT_NOTE'", "document"),
            ("DELETE FROM invoices WHERE owner = 'WHO' AND position = 1", "document"),
            ("DELETE FROM invoices WHERE owner = 'WHO'", "document"),
        ];
        for (n, (change, about)) in cases.into_iter().enumerate() {
            let ana = sold(&world, 10 + n as u64).await;
            let before = verdict(&world, ana.owner).await;
            assert!(before.valid, "{change}: {:?}", before.first_bad);
            let changed = world.by_hand(&change.replace("WHO", &ana.owner.to_string())).await;
            assert!(changed.unwrap_or_else(|error| panic!("{change}: {error}")) > 0, "{change}");
            let verdict = verdict(&world, ana.owner).await;
            let bad = verdict.first_bad.unwrap_or_else(|| panic!("{change} is not found"));
            assert_eq!((verdict.valid, bad.seq), (false, 0), "{change}: no entry is to blame");
            let named = bad.reason.contains("pay_") || bad.reason.contains("pur_") || bad.reason.contains("ivc_");
            assert!(bad.reason.contains(about) && named, "{change}: {}", bad.reason);
        }
    }

    async fn what_is_used_of_limits_is_compared_with_the_ledger(db: TestDb) {
        let world = World::on(db).await;
        let cases = [
            "UPDATE limit_uses SET used = 0 WHERE owner = OWNER",
            "UPDATE limit_uses SET used = used - 1 WHERE owner = OWNER AND span = 4",
            "DELETE FROM limit_uses WHERE owner = OWNER AND span = 2",
            "UPDATE limit_uses SET starts_at = starts_at - 1 WHERE owner = OWNER",
        ];
        for (n, change) in cases.into_iter().enumerate() {
            let ana = world.person_with(10 + n as u64, "100").await;
            let owner = ana.owner;
            ana.charged(spend(owner, "1").for_project("film")).await;
            for (subject, window) in [("every", LimitWindow::Day), ("project film", LimitWindow::Period), ("every", LimitWindow::Hour)] {
                ana.set_limit(limit(owner, subject, window, "50")).await.unwrap();
            }
            // A capture above its hold, one that is lapsed, a refund of a charge and of a capture, and work in another hour.
            let hold = ana.held(reserve(owner, "4").for_project("film")).await;
            let captured = ana.captured(pb::CaptureRequest { allow_excess: true, ..settle(&hold, "6") }).await;
            let charge = ana.charged(spend(owner, "3").for_project("film")).await;
            ana.held(reserve(owner, "2").lasting(Span::MINUTE)).await;
            world.passes(Span::HOUR);
            for it in [&captured, &charge] {
                world.product().refund(give_back(it)).await.unwrap();
            }
            ana.charged(spend(owner, "2").for_project("film")).await;
            ana.held(reserve(owner, "1")).await;
            let before = verdict(&world, owner).await;
            assert!(before.valid, "{change}: {:?}", before.first_bad);
            assert!(world.by_hand(&sql(&world, owner, change)).await.unwrap() > 0, "{change}");
            let verdict = verdict(&world, owner).await;
            let bad = verdict.first_bad.unwrap_or_else(|| panic!("{change} is not found"));
            assert!(!verdict.valid && bad.seq == 0 && bad.reason.contains("limit lim_"), "{change}: {}", bad.reason);
        }
    }

    async fn usage_moved_between_members_with_equal_totals_is_found(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let member = world.member(2, team, Role::Member, 1);
        // A capture, a refund of it and of a charge, in one hour and in another.
        for (person, amount) in [(&boss, "3"), (&member, "5")] {
            let charge = person.charged(spend(team, amount).for_project("film")).await;
            let hold = person.held(reserve(team, "4")).await;
            let captured = person.captured(settle(&hold, "2")).await;
            world.product().refund(give_back(&charge)).await.unwrap();
            world.passes(Span::HOUR);
            world.product().refund(give_back(&captured)).await.unwrap();
        }
        assert!(verdict(&world, team).await.valid);
        // Each of them is said to have used what the other did.
        let uuid = |user: bursar_id::UserId| match world.engine() {
            Engine::Postgres => format!("CAST('{}' AS uuid)", user.as_uuid()),
            Engine::Sqlite => format!("X'{}'", user.as_uuid().simple()),
        };
        let (boss, member) = (uuid(boss.user), uuid(member.user));
        for (from, to) in [(boss.as_str(), "KEY"), (&member, &boss), ("KEY", &member)] {
            let swap = format!("UPDATE usage_hours SET member = {to} WHERE owner = OWNER AND member = {from}");
            assert!(world.by_hand(&sql(&world, team, &swap)).await.unwrap() > 0);
        }
        let verdict = verdict(&world, team).await;
        assert!(!verdict.valid && verdict.first_bad.unwrap().reason.contains("usage"));
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
            "UPDATE accounts SET open_holds = -1",
            "UPDATE accounts SET charged = -1",
            "UPDATE accounts SET debt = -1",
            "UPDATE holds SET captured = -1",
            "UPDATE usage_hours SET charged = -1",
            "UPDATE usage_hours SET refunded = -1",
            "INSERT INTO ledger_entries (owner, seq, at, body, hash) SELECT owner, seq, at, body, hash FROM ledger_entries WHERE seq = 1",
            "INSERT INTO ledger_entries (owner, seq, at, request_key, body, hash)
             SELECT owner, 99, at, request_key, body, hash FROM ledger_entries WHERE request_key IS NOT NULL",
        ];
        for sql in never {
            let error = world.by_hand(sql).await.expect_err(sql);
            let kind = error.as_database_error().map(sqlx::error::DatabaseError::kind);
            assert!(matches!(kind, Some(ErrorKind::CheckViolation | ErrorKind::UniqueViolation)), "{sql}: {error}");
        }
        world.audit(ana.owner).await;
    }

    async fn the_audit_of_everything_names_the_bad_ones(db: TestDb) {
        let world = World::on(db).await;
        let people = [busy(&world, 1).await, busy(&world, 2).await, busy(&world, 3).await];
        let key = bursar_billing::operation_key(&world.settings, &world.store).await.unwrap();
        let summary = bursar_billing::verify_all(&world.store, key, world.now()).await.unwrap();
        assert_eq!((summary.accounts, summary.entries, summary.bad.len()), (3, 24, 0));
        disarm(&world).await;
        let change = "UPDATE ledger_entries SET at = at + 1 WHERE owner = OWNER AND seq = 7";
        world.by_hand(&sql(&world, people[1].owner, change)).await.unwrap();
        let summary = bursar_billing::verify_all(&world.store, key, world.now()).await.unwrap();
        let bad: Vec<_> = summary.bad.iter().map(|bad| (bad.owner, bad.seq)).collect();
        assert_eq!((summary.accounts, summary.entries, bad), (3, 8 + 6 + 8, vec![(people[1].owner, 7)]));
        let message = summary.bad[0].to_string();
        assert!(message.contains(&people[1].owner.to_string()) && message.contains("entry 7"), "{message}");
    }
    async fn whatever_is_left_where_an_account_is_gone_is_found(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben, cem, _) = (busy(&world, 1).await, sold(&world, 2).await, busy(&world, 3).await, sold(&world, 4).await);
        // Whose every payment came to nothing has no account, and needs none.
        let dan = world.person(5);
        let declined = pb::PurchasePackRequest { payment_method: "sandbox_declined".into(), ..buy(dan.owner, "standard") };
        refused(dan.purchase_pack(declined).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        disarm(&world).await;
        let gone = [
            (&ana, "accounts"),
            (&ben, "accounts"),
            (&ben, "ledger_entries"),
            (&ben, "lots"),
            (&cem, "accounts"),
            (&cem, "ledger_entries"),
        ];
        for (whose, table) in gone {
            let delete = format!("DELETE FROM {table} WHERE owner = OWNER");
            assert!(world.by_hand(&sql(&world, whose.owner, &delete)).await.unwrap() > 0, "{table}");
        }
        let key = bursar_billing::operation_key(&world.settings, &world.store).await.unwrap();
        let summary = bursar_billing::verify_all(&world.store, key, world.now()).await.unwrap();
        let bad: Vec<_> = summary.bad.iter().map(|bad| bad.owner).collect();
        assert_eq!(bad, [ana.owner, cem.owner, ben.owner], "{:?}", summary.bad);
    }
}
