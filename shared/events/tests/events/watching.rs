//! The source's side: streams that resume, cursors that do not fit, snapshots.

use bursar_db::audit::{AuditRow, Outcome};
use bursar_db::{Engine, audit, on};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{SnapshotRequest, UserDeleted};
use bursar_proto::event_type;
use bursar_rpc::ServiceRole;
use bursar_rpc::problem::reason_of;
use bursar_testkit::id;
use std::sync::Arc;
use tonic::Code;

use crate::world::{Source, answer, clock, name_of, names, next_event, renamed, seq, store, wants_snapshot};

/// PostgreSQL notes each statement that writes events.
const COUNT_STATEMENTS: [&str; 3] = [
    "CREATE TABLE told (statement BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY)",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
     'BEGIN INSERT INTO told DEFAULT VALUES; RETURN NULL; END'",
    "CREATE TRIGGER note AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION note()",
];

bursar_testkit::engines! {
    async fn sixty_four_committers_lose_no_event_for_whoever_reads_along(at: TestDb) {
        const TASKS: usize = 64;
        const EACH: usize = 6;
        let here = Source::new(&store(&at).await);
        // Another replica: knows of these commits only from the store.
        let there = Source::new(&store(&at).await);
        let watchers = [here.watch("", &[]).await.expect("watches"), there.watch("", &[]).await.expect("watches")];
        let here = Arc::new(here);
        let writers: Vec<_> = (0..TASKS).map(|task| {
            let source = Arc::clone(&here);
            tokio::spawn(async move {
                for round in 0..EACH {
                    let mut tx = source.db.begin().await.expect("begins");
                    on!(&mut tx, c => sqlx::query("SELECT count(*) FROM outbox").execute(c).await.expect("works").rows_affected());
                    match round {
                        // Some say nothing, and some change their mind after having told.
                        1 => tx.rollback().await.expect("rolls back"),
                        2 => source.outbox.commit(tx, vec![]).await.expect("commits"),
                        _ => {
                            let pair = vec![renamed(format!("{task}.{round}.a")), renamed(format!("{task}.{round}.b"))];
                            source.outbox.commit(tx, pair).await.expect("commits");
                        }
                    }
                    tokio::task::yield_now().await;
                }
            })
        }).collect();
        let expected = TASKS * (EACH - 2) * 2;
        for mut watcher in watchers {
            let mut seen = Vec::new();
            for number in 1..=expected {
                let (cursor, event) = next_event(&mut watcher).await;
                assert_eq!(seq(&cursor), number.to_string(), "without gaps");
                seen.push(name_of(&event).to_owned());
            }
            // Both events of a commit, side by side.
            for pair in seen.chunks(2) {
                assert_eq!(pair[0].trim_end_matches('a'), pair[1].trim_end_matches('b'));
            }
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), expected, "each event once");
        }
        for writer in writers {
            writer.await.expect("no writer fails");
        }
    }

    async fn the_events_of_a_commit_are_numbered_in_order_and_written_at_once(at: TestDb) {
        let source = Source::new(&store(&at).await);
        let told = "SELECT count(*) FROM told";
        // Whoever waits for the counter waits for one statement: SQLite has none of these triggers, and no such waiting.
        let counted = at.engine() == Engine::Postgres;
        if counted {
            let mut tx = source.db.begin().await.expect("begins");
            on!(&mut tx, c => for statement in COUNT_STATEMENTS {
                sqlx::query(statement).execute(&mut *c).await.expect(statement);
            });
            tx.commit().await.expect("commits");
        }
        let mut stream = source.watch("", &[]).await.expect("watches");
        source.tell(names(0, 20).into_iter().map(renamed).collect()).await;
        for number in 0..20 {
            let (cursor, event) = next_event(&mut stream).await;
            assert_eq!((seq(&cursor), name_of(&event)), ((number + 1).to_string(), number.to_string().as_str()));
        }
        if counted {
            let mut tx = source.db.read().await.expect("begins");
            let statements: i64 = on!(&mut tx, c => sqlx::query_scalar(told).fetch_one(c).await.expect("counts"));
            assert_eq!(statements, 1);
        }
    }

    async fn without_its_counter_an_outbox_refuses_to_commit(at: TestDb) {
        let source = Source::new(&store(&at).await);
        let mut tx = source.db.begin().await.expect("begins");
        on!(&mut tx, c => sqlx::query("DELETE FROM outbox_head").execute(c).await.expect("works").rows_affected());
        source.outbox.commit(tx, vec![renamed("0")]).await.expect_err("told nobody");
    }

    async fn a_stream_resumes_after_any_cursor(at: TestDb) {
        let source = Source::new(&store(&at).await);
        // More than a page.
        let total = 600;
        source.tell(names(0, total).into_iter().map(renamed).collect()).await;
        let mut whole = source.watch("", &[]).await.expect("watches");
        let mut cursors = vec![String::new()];
        for number in 0..total {
            let (cursor, event) = next_event(&mut whole).await;
            assert_eq!(name_of(&event), number.to_string());
            assert!(event.id.starts_with("evt_") && event.r#type == "organization.updated", "{event:?}");
            cursors.push(cursor);
        }
        for position in [0, 1, 255, 256, 257, 599] {
            let mut rest = source.watch(&cursors[position], &[]).await.expect("resumes");
            assert_eq!(name_of(&next_event(&mut rest).await.1), position.to_string());
        }
        let mut end = source.watch(&cursors[total], &[]).await.expect("resumes");
        let first = answer(&mut end).await.expect("an answer");
        assert!(matches!(first.item, Some(Item::Heartbeat(_))), "nothing new is said at once: {first:?}");
        assert_eq!(first.cursor, cursors[total]);
        source.tell(vec![renamed("new")]).await;
        assert_eq!(name_of(&next_event(&mut end).await.1), "new");
    }

    async fn types_are_filtered_and_heartbeats_carry_the_cursor_over_them(at: TestDb) {
        let source = Source::new(&store(&at).await);
        let mut stream = source.watch("", &[event_type::USER_DELETED]).await.expect("watches");
        assert_eq!(answer(&mut stream).await.expect("a heartbeat").cursor, "organization-1-0");
        let deleted = Payload::UserDeleted(UserDeleted { user_id: "usr_1".into() });
        source.tell(vec![renamed("a"), deleted, renamed("b"), renamed("c")]).await;
        let (cursor, event) = next_event(&mut stream).await;
        assert_eq!((seq(&cursor).as_str(), event.r#type.as_str()), ("2", "user.deleted"));
        assert_eq!((event.owner.as_str(), event.incarnation), ("usr_1", 1));
        assert_eq!(cursor, format!("organization-1-2-{}", event.id));
        let beat = answer(&mut stream).await.expect("a heartbeat");
        assert!(matches!(beat.item, Some(Item::Heartbeat(_))), "{beat:?}");
        assert_eq!(seq(&beat.cursor), "4");
        // A type of a later version, or of another service, is no error: nothing comes of it.
        let mut none = source.watch("", &["user.eaten"]).await.expect("watches");
        assert_eq!(seq(&answer(&mut none).await.expect("a heartbeat").cursor), "4");
    }

    async fn foreign_cursors_are_refused(at: TestDb) {
        let source = Source::new(&store(&at).await);
        source.tell(vec![renamed("a")]).await;
        for cursor in ["organization-1", "billing-1-1", "organization-1--1", "1", "'; DROP TABLE outbox"] {
            let status = source.watch(cursor, &[]).await.expect_err(cursor);
            assert_eq!(status.code(), Code::InvalidArgument, "{cursor}");
            assert_eq!(reason_of(&status).as_deref(), Some("CURSOR_INVALID"), "{cursor}");
        }
    }

    async fn a_cursor_whose_event_is_unknown_begins_an_incarnation_if_a_service_of_bursar_shows_it(at: TestDb) {
        let db = store(&at).await;
        let (product, billing) =
            (Source::with_state(&db, ServiceRole::Product), Source::with_state(&db, ServiceRole::Billing));
        product.tell(vec![renamed("a"), renamed("b")]).await;
        let mut stream = product.watch("", &[]).await.expect("watches");
        let (good, _) = next_event(&mut stream).await;
        let other = good.replace("evt_0", "evt_1");
        for cursor in [&other, "organization-1-3", "organization-2-0"] {
            wants_snapshot(&product.watch(cursor, &[]).await.expect_err("unknown"));
            product.watch(&good, &[]).await.expect("nothing has changed");
        }
        wants_snapshot(&billing.watch(&other, &[]).await.expect_err("unknown"));
        wants_snapshot(&billing.watch(&good, &[]).await.expect_err("of another incarnation"));
        // A stream that was open ends, too.
        let mut last = answer(&mut stream).await;
        while last.is_ok() {
            last = answer(&mut stream).await;
        }
        wants_snapshot(&last.expect_err("ended"));
        // The new one is named by its time, and a cursor of a still later one begins a later one.
        let mut fresh = billing.watch("", &[]).await.expect("watches");
        let (cursor, event) = next_event(&mut fresh).await;
        let incarnation: u64 = cursor.split('-').nth(1).expect("a cursor").parse().expect("a number");
        assert_eq!((incarnation, event.incarnation), (1_785_000_000_000_000, 1), "told in the first one");
        wants_snapshot(&billing.watch(&format!("organization-{}-0", incarnation + 7), &[]).await.expect_err("unknown"));
        let mut tx = db.read().await.expect("begins");
        assert_eq!(bursar_events::incarnation(&mut tx).await.expect("reads"), incarnation + 8);
        drop(tx);
        bursar_events::begin_incarnation(&db, clock().now()).await.expect("begins");
        let mut tx = db.read().await.expect("begins");
        assert_eq!(bursar_events::incarnation(&mut tx).await.expect("reads"), incarnation + 9, "never an earlier one");
        drop(tx);
        billing.tell(vec![renamed("c")]).await;
        let mut fresh = billing.watch("", &[event_type::ORGANIZATION_UPDATED]).await.expect("watches");
        let mut events = Vec::new();
        for _ in 0..3 {
            events.push(next_event(&mut fresh).await.1);
        }
        let told: Vec<_> = events.iter().map(|event| (name_of(event), event.incarnation)).collect();
        assert_eq!(told, [("a", 1), ("b", 1), ("c", incarnation + 9)]);
    }

    async fn events_that_are_not_kept_demand_a_snapshot(at: TestDb) {
        let db = store(&at).await;
        let source = Source::new(&db);
        source.tell(names(0, 9).into_iter().map(renamed).collect()).await;
        let mut stream = source.watch("", &[]).await.expect("watches");
        let mut cursors = Vec::new();
        for _ in 0..9 {
            cursors.push(next_event(&mut stream).await.0);
        }
        let forget = async |seq: i64| {
            let mut tx = db.begin().await.expect("begins");
            on!(&mut tx, c => sqlx::query("DELETE FROM outbox WHERE seq <= $1").bind(seq)
                .execute(c).await.expect("works").rows_affected());
            tx.commit().await.expect("commits");
        };
        forget(5).await;
        wants_snapshot(&source.watch("", &[]).await.expect_err("from the beginning"));
        wants_snapshot(&source.watch(&cursors[3], &[]).await.expect_err("the fifth is gone"));
        for (position, cursor) in cursors.iter().enumerate().take(8).skip(4) {
            let mut rest = source.watch(cursor, &[]).await.expect("resumes");
            assert_eq!(name_of(&next_event(&mut rest).await.1), (position + 1).to_string());
        }
        forget(9).await;
        wants_snapshot(&source.watch(&cursors[7], &[]).await.expect_err("the last one is gone"));
        let mut rest = source.watch(&cursors[8], &[]).await.expect("nothing is missing");
        answer(&mut rest).await.expect("a heartbeat");
        source.tell(vec![renamed("9")]).await;
        assert_eq!(name_of(&next_event(&mut rest).await.1), "9");
    }

    async fn a_snapshot_tells_the_state_and_ends_with_the_cursor_to_go_on_from(at: TestDb) {
        let db = store(&at).await;
        let source = Source::with_state(&db, ServiceRole::Billing);
        let deleted = Payload::UserDeleted(UserDeleted { user_id: "usr_1".into() });
        source.tell(vec![renamed("a"), deleted, renamed("b"), renamed("c")]).await;
        for (types, expected) in [(vec![], 4), (vec![event_type::ORGANIZATION_UPDATED], 3), (vec!["user.eaten"], 0)] {
            let types = types.into_iter().map(str::to_owned).collect();
            let mut client = EventServiceClient::new(source.transport.clone());
            let mut answers = client.snapshot(SnapshotRequest { types }).await.expect("answers").into_inner();
            let mut told = Vec::new();
            let last = loop {
                let answer = answers.message().await.expect("an answer").expect("not the end");
                if !answer.cursor.is_empty() {
                    break answer;
                }
                told.extend(answer.events);
            };
            assert!(answers.message().await.expect("an end").is_none() && last.events.is_empty());
            assert_eq!((told.len(), seq(&last.cursor).as_str(), last.incarnation), (expected, "4", 1));
            assert!(told.iter().all(|event| event.incarnation == 1 && event.id.starts_with("evt_")), "{told:?}");
            let mut rest = source.watch(&last.cursor, &[]).await.expect("goes on");
            answer(&mut rest).await.expect("a heartbeat");
        }
    }

    /// Whoever comes too late for the events that told of them gets each row that is kept, after the state, once.
    async fn a_snapshot_ends_with_the_audit_rows_for_whoever_asks_for_them(at: TestDb) {
        let db = store(&at).await;
        let source = Source::with_state(&db, ServiceRole::Billing);
        source.tell(vec![renamed("a")]).await;
        let mut tx = db.begin().await.expect("begins");
        for n in 0..600 {
            let row = AuditRow {
                id: id(n),
                at: clock().now(),
                owner: None,
                actor: "svc_1".to_owned(),
                on_behalf_of: None,
                method: "a.B/C".to_owned(),
                target: None,
                outcome: Outcome::Done,
                reason: None,
                request_id: None,
            };
            audit::record(&mut tx, &row).await.expect("recorded");
        }
        tx.commit().await.expect("commits");
        let audited = event_type::AUDIT_RECORDED;
        for (types, rows) in [(vec![audited], 600), (vec![audited, "user.eaten"], 600), (vec![], 600), (vec!["user.eaten"], 0)] {
            let types = types.into_iter().map(str::to_owned).collect();
            let mut client = EventServiceClient::new(source.transport.clone());
            let mut answers = client.snapshot(SnapshotRequest { types }).await.expect("answers").into_inner();
            let mut told = Vec::new();
            while let Some(answer) = answers.message().await.expect("an answer") {
                assert!(answer.events.len() <= 256);
                told.extend(answer.events.into_iter().filter_map(|event| match event.payload {
                    Some(Payload::AuditRecorded(row)) => Some(row.id),
                    _ => None,
                }));
            }
            let count = told.len();
            told.dedup();
            assert_eq!((count, told.len()), (rows, rows));
        }
    }

    /// As in a rolling upgrade: who follows is newer than the source.
    async fn a_type_that_the_source_does_not_know_is_no_error(at: TestDb) {
        let db = store(&at).await;
        let source = Source::new(&db);
        source.tell(vec![renamed("0")]).await;
        let types = ["pony.born", event_type::ORGANIZATION_UPDATED];
        let mut stream = source.watch("", &types).await.expect("watches");
        assert_eq!(name_of(&next_event(&mut stream).await.1), "0");
        let mut nothing = source.watch("", &["pony.born"]).await.expect("watches");
        let sign = answer(&mut nothing).await.expect("a heartbeat");
        assert_eq!(seq(&sign.cursor), "1", "it is up to date");
        let types = types.map(str::to_owned).to_vec();
        let mut snapshot = EventServiceClient::new(source.transport.clone()).snapshot(SnapshotRequest { types }).await
            .expect("answers").into_inner();
        assert_eq!(seq(&snapshot.message().await.expect("an answer").expect("its end").cursor), "1");
    }

    async fn a_shutdown_ends_the_stream(at: TestDb) {
        let source = Source::new(&store(&at).await);
        let mut stream = source.watch("", &[]).await.expect("watches");
        answer(&mut stream).await.expect("a heartbeat");
        source.shutdown.cancel();
        let status = answer(&mut stream).await.expect_err("it ends");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(stream.message().await.is_ok_and(|end| end.is_none()), "nothing follows");
    }
}
