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
use bursar_events::{Consumer, Feed, Following, Nothing, Outbox, Part, Present, Unapplied, aside, run};
use bursar_id::ServiceAccountId;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Event, OrganizationUpdated, SnapshotRequest, UserDeleted, WatchRequest, WatchResponse};
use bursar_proto::event_type;
use bursar_rpc::problem::reason_of;
use bursar_rpc::{Caller, Permission, ServiceCaller, ServiceRole, Transport};
use bursar_secret::Entropy;
use bursar_testkit::TestDb;
use bursar_time::{Clock, Timestamp};
use prost::Message as _;
use sqlx::Row;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status, Streaming};

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
        let transport = Transport::routes(Routes::new(outbox.service(Nothing, shutdown.clone())));
        Self { outbox, db: db.clone(), transport, shutdown }
    }

    /// A source whose present state is what was told of each organization last, for a caller of this role.
    fn with_state(db: &Db, role: ServiceRole) -> Self {
        let mut source = Self::new(db);
        let service = source.outbox.service(Renamings, source.shutdown.clone());
        let account = ServiceAccountId::BILLING;
        let caller = ServiceCaller { account, role, on_behalf_of: None, permission: Permission::Unspecified };
        source.transport =
            Transport::routes(Routes::new(InterceptedService::new(service, move |mut request: Request<()>| {
                request.extensions_mut().insert(Caller::Service(caller.clone()));
                Ok(request)
            })));
        source
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

/// What organizations are called now, from the source's own outbox: there is no other store here.
struct Renamings;

#[tonic::async_trait]
impl Present for Renamings {
    async fn part(&self, tx: &mut Tx, after: &str) -> Result<Option<Part>, DbError> {
        const NEXT: &str = "SELECT seq, payload FROM outbox WHERE seq > $1 ORDER BY seq LIMIT 2";
        let after: i64 = after.parse().unwrap_or(0);
        let rows: Vec<(i64, Vec<u8>)> = on!(tx, c => sqlx::query_as(NEXT).bind(after).fetch_all(c).await?);
        let next = rows.last().map(|(seq, _)| seq.to_string());
        let payloads = rows.iter().filter_map(|(_, event)| Event::decode(event.as_slice()).ok()?.payload).collect();
        Ok(next.map(|next| Part { payloads, next }))
    }
}

/// The numbers of cursors, which are not what anybody else should look at.
fn seq(cursor: &str) -> String {
    cursor.split('-').nth(2).expect("a cursor").to_owned()
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

fn wants_snapshot(status: &Status) {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert_eq!(reason_of(status).as_deref(), Some("SNAPSHOT_REQUIRED"));
}

/// Keeps what it was told in a table of its own, and counts how often it was asked to.
#[derive(Default)]
struct Diary {
    asked: AtomicU64,
    applied: Notify,
    /// Refuses the first event that often.
    refusals: AtomicU64,
    /// Finds the event with this name unreadable, after it has written.
    illegible: Option<&'static str>,
    /// Dies (never returns) in the first call, after it has written.
    hangs: bool,
}

impl Consumer for Diary {
    const NAME: &'static str = "diary";

    fn types() -> &'static [&'static str] {
        &[event_type::ORGANIZATION_UPDATED]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        const WRITE: &str = "INSERT INTO diary (name, line) SELECT $1, count(*) FROM diary WHERE 1 = 1 \
            ON CONFLICT (name) DO UPDATE SET times = diary.times + 1";
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        if event.payload.is_none() {
            return Err(Unapplied::unreadable("no payload"));
        }
        on!(&mut *tx, c => sqlx::query(WRITE).bind(name_of(event)).execute(c).await.map_err(DbError::from)?.rows_affected());
        if self.illegible == Some(name_of(event)) {
            return Err(Unapplied::unreadable("illegible"));
        }
        if self.hangs && asked == 0 {
            std::future::pending::<()>().await;
        }
        let refused = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refused.is_ok() {
            return Err(DbError::corrupt("not in the mood").into());
        }
        Ok(())
    }

    async fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
        const NOTE: &str = "INSERT INTO forgotten (incarnation) VALUES ($1)";
        let incarnation = i64::try_from(incarnation).expect("fits");
        on!(tx, c => sqlx::query(NOTE).bind(incarnation).execute(c).await?.rows_affected());
        Ok(())
    }

    fn applied(&self) {
        self.applied.notify_one();
    }
}

/// A store for a consumer, with the diary's table, which counts how often each name was written.
async fn diary_store(at: &TestDb) -> Db {
    let db = store(at).await;
    let mut tx = db.begin().await.expect("begins");
    on!(&mut tx, c => {
        const DIARY: &str = "CREATE TABLE diary \
            (line BIGINT NOT NULL, name TEXT NOT NULL PRIMARY KEY, times BIGINT NOT NULL DEFAULT 1)";
        sqlx::query(DIARY).execute(&mut *c).await.expect("creates");
        sqlx::query("CREATE TABLE forgotten (incarnation BIGINT NOT NULL)").execute(c).await.expect("creates");
    });
    tx.commit().await.expect("commits");
    db
}

async fn diary(db: &Db) -> Vec<String> {
    let mut tx = db.read().await.expect("begins");
    on!(&mut tx, c => sqlx::query("SELECT name FROM diary ORDER BY line").fetch_all(c).await.expect("reads")
        .iter().map(|row| row.get(0)).collect())
}

/// The names that were written more than once.
async fn repeated(db: &Db) -> Vec<String> {
    const REPEATED: &str = "SELECT name FROM diary WHERE times > 1 ORDER BY line";
    let mut tx = db.read().await.expect("begins");
    on!(&mut tx, c => sqlx::query(REPEATED).fetch_all(c).await.expect("reads").iter().map(|row| row.get(0)).collect())
}

/// The incarnations of the snapshots that were loaded.
async fn snapshots(db: &Db) -> Vec<i64> {
    let mut tx = db.read().await.expect("begins");
    on!(&mut tx, c => sqlx::query("SELECT incarnation FROM forgotten").fetch_all(c).await.expect("reads")
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
    let following = Following {
        feed: Feed::new("organization"),
        transport: source.transport.clone(),
        db: db.clone(),
        clock: clock(),
        entropy: Entropy::system(),
        shutdown: shutdown.clone(),
    };
    (tokio::spawn(run(Arc::clone(diary), following)), shutdown)
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

    async fn a_restored_source_is_followed_from_a_snapshot(at: TestDb) {
        let here = store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let mine = diary_store(&elsewhere).await;
        let before = Source::with_state(&here, ServiceRole::Billing);
        before.tell(vec![renamed("kept"), renamed("lost")]).await;
        let diary = Arc::new(Diary::default());
        let (following, shutdown) = follow(&diary, &before, &mine);
        until_lines(&mine, 2).await;
        shutdown.cancel();
        following.await.expect("ends");
        // The backup knows the first event only, and what happened since it was restored has the lost one's number.
        let mut tx = here.begin().await.expect("begins");
        on!(&mut tx, c => {
            sqlx::query("DELETE FROM outbox WHERE seq = 2").execute(&mut *c).await.expect("works");
            sqlx::query("UPDATE outbox_head SET seq = 1").execute(c).await.expect("works");
        });
        tx.commit().await.expect("commits");
        before.tell(vec![renamed("since"), renamed("then")]).await;
        follow(&diary, &before, &mine);
        assert_eq!(until_lines(&mine, 4).await, ["kept", "lost", "since", "then"]);
        assert_eq!(repeated(&mine).await, ["kept"], "the snapshot told it again");
        before.tell(vec![renamed("later")]).await;
        until_lines(&mine, 5).await;
        assert_eq!(repeated(&mine).await, ["kept"], "and everything else once");
        assert_eq!(snapshots(&mine).await, [1_785_000_000_000_000], "what it did not tell is forgotten");
    }

    async fn whoever_comes_too_late_goes_on_from_a_snapshot(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let there = store(&elsewhere).await;
        let source = Source::with_state(&there, ServiceRole::Billing);
        source.tell(names(0, 5).into_iter().map(renamed).collect()).await;
        let mut tx = there.begin().await.expect("begins");
        on!(&mut tx, c => sqlx::query("DELETE FROM outbox WHERE seq <= 2")
            .execute(c).await.expect("works").rows_affected());
        tx.commit().await.expect("commits");
        let replicas: Vec<Arc<Diary>> = (0..3).map(|_| Arc::new(Diary::default())).collect();
        for replica in &replicas {
            follow(replica, &source, &mine);
        }
        // What the outbox does not have, this source's state does not have either.
        assert_eq!(until_lines(&mine, 3).await, names(2, 5));
        source.tell(vec![renamed("5")]).await;
        assert_eq!(until_lines(&mine, 4).await, names(2, 6));
        assert_eq!(snapshots(&mine).await, [1], "of three replicas one ends it");
    }

    async fn an_event_that_cannot_be_read_is_set_aside(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let there = store(&elsewhere).await;
        let source = Source::with_state(&there, ServiceRole::Billing);
        let of = |owner: &str, name: &str| {
            let (organization_id, name) = (owner.to_owned(), name.to_owned());
            Payload::OrganizationUpdated(OrganizationUpdated { organization_id, name, ..OrganizationUpdated::default() })
        };
        source.tell(vec![of("org_a", "0"), of("org_b", "blot"), of("org_c", "1"), of("org_d", "2")]).await;
        // And one that the source itself cannot read any more.
        let mut tx = there.begin().await.expect("begins");
        on!(&mut tx, c => sqlx::query("UPDATE outbox SET payload = $1 WHERE seq = 3").bind(vec![0xff_u8])
            .execute(c).await.expect("works").rows_affected());
        tx.commit().await.expect("commits");
        let diary = Arc::new(Diary { illegible: Some("blot"), ..Diary::default() });
        let (following, shutdown) = follow(&diary, &source, &mine);
        assert_eq!(until_lines(&mine, 2).await, ["0", "2"], "neither it nor what it wrote");
        let mut tx = mine.read().await.expect("begins");
        let kept = aside::list(&mut tx, "organization").await.expect("reads");
        let mut kept: Vec<_> =
            kept.iter().map(|it| (it.owner.as_str(), it.kind.as_str(), it.problem.as_str())).collect();
        kept.sort_unstable();
        let kind = event_type::ORGANIZATION_UPDATED;
        assert_eq!(kept, [("org_b", kind, "illegible"), ("org_c", kind, "no payload")]);
        for (owner, expected) in [("org_a", false), ("org_b", true), ("org_c", true), ("org_d", false)] {
            assert_eq!(aside::is_any(&mut tx, "organization", owner).await.expect("reads"), expected, "{owner}");
        }
        assert!(!aside::is_any(&mut tx, "billing", "org_b").await.expect("reads"), "another source");
        drop(tx);
        shutdown.cancel();
        following.await.expect("ends");
        // A snapshot tells everything anew, and what cannot be read of it counts again.
        bursar_events::begin_incarnation(&there, clock().now()).await.expect("begins");
        source.tell(vec![of("org_e", "3")]).await;
        follow(&diary, &source, &mine);
        assert_eq!(until_lines(&mine, 3).await, ["0", "2", "3"]);
        let ended = async {
            while snapshots(&mine).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the snapshot ends");
        let mut tx = mine.read().await.expect("begins");
        let kept = aside::list(&mut tx, "organization").await.expect("reads");
        assert_eq!(kept.iter().map(|it| it.owner.as_str()).collect::<Vec<_>>(), ["org_b"]);
    }

    async fn a_feed_is_fresh_once_the_source_was_heard(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let feed = Feed::new("organization");
        assert!(feed.is_stale(Duration::MAX));
        let following = Following {
            feed: feed.clone(),
            transport: source.transport.clone(),
            db: mine,
            clock: clock(),
            entropy: Entropy::system(),
            shutdown: CancellationToken::new(),
        };
        tokio::spawn(run(Diary::default(), following));
        let heard = async {
            while feed.is_stale(PATIENCE) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("a heartbeat is enough");
    }
}
