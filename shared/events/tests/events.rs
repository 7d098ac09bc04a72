//! Events from commit to effect, on both engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bursar_db::{Db, DbError, Migrations, PoolOptions, Tx, on};
use bursar_events::{Consumer, Outbox, run};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Event, OrganizationUpdated, UserDeleted, WatchRequest, WatchResponse};
use bursar_proto::event_type;
use bursar_rpc::Transport;
use bursar_rpc::problem::reason_of;
use bursar_secret::Entropy;
use bursar_testkit::TestDb;
use bursar_time::{Clock, Timestamp};
use sqlx::Row;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Status, Streaming};

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn store(at: &TestDb) -> Db {
    let migrations = Migrations::SHARED;
    let url = at.url().parse().expect("the test kit gives a good address");
    let options = PoolOptions { acquire_timeout: PATIENCE, ..PoolOptions::default() };
    let db = Db::open(&url, &migrations, &options).await.expect("opens");
    db.migrate(&migrations).await.expect("migrates");
    db
}

fn clock() -> Clock {
    Clock::test(Timestamp::from_micros(1_785_000_000_000_000).expect("in range"))
}

/// One replica of a source service called `organization`.
struct Source {
    outbox: Outbox,
    db: Db,
    transport: Transport,
    shutdown: CancellationToken,
}

impl Source {
    fn new(db: &Db) -> Self {
        let outbox = Outbox::new("organization", db.clone(), clock(), Entropy::system());
        let shutdown = CancellationToken::new();
        let transport = Transport::routes(Routes::new(outbox.watch_service(shutdown.clone())));
        Self { outbox, db: db.clone(), transport, shutdown }
    }

    async fn tell(&self, payloads: Vec<Payload>) {
        let tx = self.db.begin().await.expect("begins");
        self.outbox.commit(tx, payloads).await.expect("commits");
    }

    async fn watch(&self, cursor: &str, types: &[&str]) -> Result<Streaming<WatchResponse>, Status> {
        let types = types.iter().map(|&kind| kind.to_owned()).collect();
        let request = WatchRequest { cursor: cursor.to_owned(), types };
        Ok(EventServiceClient::new(self.transport.clone()).watch(request).await?.into_inner())
    }
}

fn renamed(name: impl Into<String>) -> Payload {
    Payload::OrganizationUpdated(OrganizationUpdated { name: name.into(), ..OrganizationUpdated::default() })
}

fn name_of(event: &Event) -> &str {
    match &event.payload {
        Some(Payload::OrganizationUpdated(updated)) => &updated.name,
        other => panic!("not a renaming: {other:?}"),
    }
}

async fn answer(stream: &mut Streaming<WatchResponse>) -> Result<WatchResponse, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream is silent");
    message.map(|answer| answer.expect("the stream ended"))
}

/// The next event with its cursor, past heartbeats.
async fn next_event(stream: &mut Streaming<WatchResponse>) -> (String, Event) {
    loop {
        let answer = answer(stream).await.expect("an answer");
        if let Some(Item::Event(event)) = answer.item {
            return (answer.cursor, event);
        }
    }
}

/// Keeps what it was told in a table of its own, and counts how often it was asked to.
#[derive(Default)]
struct Diary {
    asked: AtomicU64,
    applied: Notify,
    /// Refuses the first event that often.
    refusals: AtomicU64,
    /// Dies (never returns) in the first call, after it has written.
    hangs: bool,
}

impl Consumer for Diary {
    const NAME: &'static str = "diary";

    fn types() -> &'static [&'static str] {
        &[event_type::ORGANIZATION_UPDATED]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), DbError> {
        const WRITE: &str = "INSERT INTO diary (name, line) SELECT $1, count(*) FROM diary";
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        on!(&mut *tx, c => sqlx::query(WRITE).bind(name_of(event)).execute(c).await?.rows_affected());
        if self.hangs && asked == 0 {
            std::future::pending::<()>().await;
        }
        let refused = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refused.is_ok() {
            return Err(DbError::corrupt("not in the mood"));
        }
        Ok(())
    }

    fn applied(&self) {
        self.applied.notify_one();
    }
}

/// A store for a consumer, with the diary's table. A name can be written once only.
async fn diary_store(at: &TestDb) -> Db {
    let db = store(at).await;
    let mut tx = db.begin().await.expect("begins");
    on!(&mut tx, c => {
        sqlx::query("CREATE TABLE diary (line BIGINT NOT NULL, name TEXT NOT NULL PRIMARY KEY)").execute(c).await.expect("creates");
    });
    tx.commit().await.expect("commits");
    db
}

async fn diary(db: &Db) -> Vec<String> {
    let mut tx = db.read().await.expect("begins");
    on!(&mut tx, c => sqlx::query("SELECT name FROM diary ORDER BY line").fetch_all(c).await.expect("reads")
        .iter().map(|row| row.get(0)).collect())
}

async fn until_lines(db: &Db, count: usize) -> Vec<String> {
    let reading = async {
        loop {
            let lines = diary(db).await;
            if lines.len() >= count {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the events never took effect")
}

fn follow(diary: &Arc<Diary>, source: &Source, db: &Db) -> (JoinHandle<()>, CancellationToken) {
    let shutdown = CancellationToken::new();
    let following = run(
        Arc::clone(diary),
        "organization",
        source.transport.clone(),
        db.clone(),
        Entropy::system(),
        shutdown.clone(),
    );
    (tokio::spawn(following), shutdown)
}

fn names(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

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
                assert_eq!(cursor, format!("organization-{number}"), "without gaps");
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
        assert_eq!(answer(&mut stream).await.expect("a heartbeat").cursor, "organization-0");
        let deleted = Payload::UserDeleted(UserDeleted { user_id: "usr_1".into() });
        source.tell(vec![renamed("a"), deleted, renamed("b"), renamed("c")]).await;
        let (cursor, event) = next_event(&mut stream).await;
        assert_eq!((cursor.as_str(), event.r#type.as_str()), ("organization-2", "user.deleted"));
        let beat = answer(&mut stream).await.expect("a heartbeat");
        assert!(matches!(beat.item, Some(Item::Heartbeat(_))), "{beat:?}");
        assert_eq!(beat.cursor, "organization-4");
    }

    async fn bad_requests_are_refused(at: TestDb) {
        let source = Source::new(&store(&at).await);
        source.tell(vec![renamed("a")]).await;
        for cursor in ["organization-2", "billing-1", "organization--1", "1", "'; DROP TABLE outbox"] {
            let status = source.watch(cursor, &[]).await.expect_err(cursor);
            assert_eq!(status.code(), Code::InvalidArgument, "{cursor}");
            assert_eq!(reason_of(&status).as_deref(), Some("CURSOR_INVALID"), "{cursor}");
        }
        let status = source.watch("", &["user.deleted", "user.eaten"]).await.expect_err("no such type");
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = tonic_types::StatusExt::get_error_details(&status);
        let fields: Vec<_> = details.bad_request().expect("fields").field_violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["types[1]"]);
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

    async fn a_consumer_applies_each_event_once_and_in_order(at: TestDb) {
        let source = Source::new(&store(&at).await);
        let mine = bursar_testkit::sqlite::file();
        let db = diary_store(&mine).await;
        source.tell(vec![renamed("0"), Payload::UserDeleted(UserDeleted::default()), renamed("1")]).await;
        let diary = Arc::new(Diary::default());
        let (following, shutdown) = follow(&diary, &source, &db);
        source.tell(names(2, 40).into_iter().map(renamed).collect()).await;
        assert_eq!(until_lines(&db, 40).await, names(0, 40));
        tokio::time::timeout(PATIENCE, diary.applied.notified()).await.expect("told");
        shutdown.cancel();
        following.await.expect("ends quietly");

        let (_again, _) = follow(&diary, &source, &db);
        source.tell(vec![renamed("40")]).await;
        assert_eq!(until_lines(&db, 41).await, names(0, 41));
        assert_eq!(diary.asked.load(Ordering::SeqCst), 41, "nothing was applied twice");
    }

    async fn a_crash_between_effect_and_cursor_leaves_neither(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        source.tell(vec![renamed("0"), renamed("1")]).await;
        let dying = Arc::new(Diary { hangs: true, ..Diary::default() });
        let (following, _) = follow(&dying, &source, &db);
        let written = async {
            while dying.asked.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, written).await.expect("it came to the first event");
        following.abort();
        following.await.expect_err("killed");
        assert!(diary(&db).await.is_empty());

        let healthy = Arc::new(Diary::default());
        follow(&healthy, &source, &db);
        assert_eq!(until_lines(&db, 2).await, names(0, 2));
    }

    async fn a_consumer_killed_again_and_again_applies_each_event_once(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let total = 120;
        source.tell(names(0, total).into_iter().map(renamed).collect()).await;
        let entropy = Entropy::seeded(7);
        let everything = Arc::new(Diary::default());
        while diary(&db).await.len() < total {
            let (following, _) = follow(&everything, &source, &db);
            let lived = Duration::from_micros(3_000 + entropy.u64_below(40_000));
            // Killed at a random moment; a name written twice would be refused and stop the diary for good.
            let _ = tokio::time::timeout(lived, everything.applied.notified()).await;
            tokio::time::sleep(lived).await;
            following.abort();
            let _ = following.await;
        }
        assert_eq!(diary(&db).await, names(0, total));
    }

    async fn replicas_share_the_work_without_doing_it_twice(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let replicas: Vec<Arc<Diary>> = (0..3).map(|_| Arc::new(Diary::default())).collect();
        for replica in &replicas {
            follow(replica, &source, &db);
        }
        for number in 0..30 {
            source.tell(vec![renamed((2 * number).to_string()), renamed((2 * number + 1).to_string())]).await;
        }
        assert_eq!(until_lines(&db, 60).await, names(0, 60));
        let asked: u64 = replicas.iter().map(|replica| replica.asked.load(Ordering::SeqCst)).sum();
        assert_eq!(asked, 60, "an event was applied by two replicas");
    }

    async fn an_event_that_is_refused_is_tried_until_it_is_applied(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let grumpy = Arc::new(Diary { refusals: AtomicU64::new(3), ..Diary::default() });
        follow(&grumpy, &source, &db);
        source.tell(names(0, 3).into_iter().map(renamed).collect()).await;
        assert_eq!(until_lines(&db, 3).await, names(0, 3), "nothing overtakes it");
        assert_eq!(grumpy.asked.load(Ordering::SeqCst), 6);
    }
}
