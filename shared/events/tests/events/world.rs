//! A source, a consumer that keeps a diary, and their stores.

use bursar_db::{Asker, Db, DbError, Migrations, PoolOptions, Tx, on};
use bursar_events::{Consumer, Feed, Following, Nothing, Outbox, Part, Present, Unapplied, run};
use bursar_id::ServiceAccountId;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Event, OrganizationUpdated, WatchRequest, WatchResponse};
use bursar_proto::event_type;
use bursar_rpc::problem::reason_of;
use bursar_rpc::{Caller, Permission, ServiceCaller, ServiceRole, Transport};
use bursar_secret::Entropy;
use bursar_testkit::TestDb;
use bursar_time::{Clock, Monotonic, Timestamp};
use prost::Message as _;
use sqlx::Row;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status, Streaming};

/// Longer than anything here takes; only a test that fails waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn store(at: &TestDb) -> Db {
    let migrations = Migrations::SHARED;
    let url = at.url().parse().expect("the test kit gives a good address");
    let options = PoolOptions { acquire_timeout: PATIENCE, ..PoolOptions::default() };
    let db = Db::open(&url, &migrations, &options).await.expect("opens");
    db.migrate(&migrations).await.expect("migrates");
    db
}

pub(crate) fn clock() -> Clock {
    Clock::test(Timestamp::from_micros(1_785_000_000_000_000).expect("in range"))
}

/// A feed of organization's events that counts as stale after five minutes.
pub(crate) fn feed() -> Feed {
    Feed::new("organization", &Monotonic::test(), Duration::from_mins(5))
}

/// One replica of a source service called `organization`.
pub(crate) struct Source {
    pub(crate) outbox: Outbox,
    pub(crate) db: Db,
    pub(crate) transport: Transport,
    pub(crate) shutdown: CancellationToken,
    /// How many streams have begun.
    watched: Arc<AtomicU64>,
}

impl Source {
    pub(crate) fn new(db: &Db) -> Self {
        let outbox = Outbox::new("organization", db.clone(), clock(), Entropy::system());
        let shutdown = CancellationToken::new();
        let watched = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&watched);
        let service = InterceptedService::new(outbox.service(Nothing, shutdown.clone()), move |request: Request<()>| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(request)
        });
        let transport = Transport::routes(Routes::new(service));
        Self { outbox, db: db.clone(), transport, shutdown, watched }
    }

    /// How many calls it was sent, where nobody wants a snapshot: how many streams have begun.
    pub(crate) fn watched(&self) -> u64 {
        self.watched.load(Ordering::SeqCst)
    }

    /// A source whose present state is what was told of each organization last, for a caller of this role.
    pub(crate) fn with_state(db: &Db, role: ServiceRole) -> Self {
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

    pub(crate) async fn tell(&self, payloads: Vec<Payload>) {
        let tx = self.db.begin().await.expect("begins");
        self.outbox.commit(tx, payloads).await.expect("commits");
    }

    pub(crate) async fn watch(&self, cursor: &str, types: &[&str]) -> Result<Streaming<WatchResponse>, Status> {
        let types = types.iter().map(|&kind| kind.to_owned()).collect();
        let request = WatchRequest { cursor: cursor.to_owned(), types };
        Ok(EventServiceClient::new(self.transport.clone()).watch(request).await?.into_inner())
    }
}

/// What organizations are called now, from the source's own outbox: there is no other store here.
pub(crate) struct Renamings;

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

    fn tells_audit(&self) -> bool {
        true
    }
}

/// The numbers of cursors, which are not what anybody else should look at.
pub(crate) fn seq(cursor: &str) -> String {
    cursor.split('-').nth(2).expect("a cursor").to_owned()
}

pub(crate) fn renamed(name: impl Into<String>) -> Payload {
    Payload::OrganizationUpdated(OrganizationUpdated { name: name.into(), ..OrganizationUpdated::default() })
}

pub(crate) fn name_of(event: &Event) -> &str {
    match &event.payload {
        Some(Payload::OrganizationUpdated(updated)) => &updated.name,
        other => panic!("not a renaming: {other:?}"),
    }
}

pub(crate) async fn answer(stream: &mut Streaming<WatchResponse>) -> Result<WatchResponse, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream is silent");
    message.map(|answer| answer.expect("the stream ended"))
}

/// The next event with its cursor, past heartbeats.
pub(crate) async fn next_event(stream: &mut Streaming<WatchResponse>) -> (String, Event) {
    loop {
        let answer = answer(stream).await.expect("an answer");
        if let Some(Item::Event(event)) = answer.item {
            return (answer.cursor, event);
        }
    }
}

pub(crate) fn wants_snapshot(status: &Status) {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert_eq!(reason_of(status).as_deref(), Some("SNAPSHOT_REQUIRED"));
}

/// Keeps what it was told in a table of its own, and counts how often it was asked to.
#[derive(Default)]
pub(crate) struct Diary {
    pub(crate) asked: AtomicU64,
    pub(crate) applied: Notify,
    /// For whom it took its connection when it was asked last.
    pub(crate) asker: Mutex<Option<Asker>>,
    /// How often it was told that something was applied.
    pub(crate) told: AtomicU64,
    /// Refuses the first event that often, as a store that is busy.
    pub(crate) busy: AtomicU64,
    /// Fails for good with the event of this name, after it has written.
    pub(crate) chokes: Option<&'static str>,
    /// Finds events unreadable whose names begin so, after it has written.
    pub(crate) illegible: Option<&'static str>,
    /// Overruns with events whose names begin so, after it has written.
    pub(crate) overruns: Option<&'static str>,
    /// Dies (never returns) in the first call, after it has written.
    pub(crate) hangs: bool,
}

impl Consumer for Diary {
    const NAME: &'static str = "diary";
    const WHOLE: &'static [&'static str] = &[event_type::DEPLOYMENT_POLICY_CHANGED];

    fn types() -> &'static [&'static str] {
        &[event_type::ORGANIZATION_UPDATED, event_type::DEPLOYMENT_POLICY_CHANGED]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        const WRITE: &str = "INSERT INTO diary (name, line) SELECT $1, count(*) FROM diary WHERE 1 = 1 \
            ON CONFLICT (name) DO UPDATE SET times = diary.times + 1";
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        *self.asker.lock().expect("nobody panics") = Some(Asker::current());
        match &event.payload {
            None => return Err(Unapplied::unreadable("no payload")),
            Some(Payload::DeploymentPolicyChanged(told)) if told.policy.is_none() => {
                return Err(Unapplied::unreadable("no policy"));
            }
            Some(Payload::DeploymentPolicyChanged(_)) => return Ok(()),
            Some(_) => {}
        }
        on!(&mut *tx, c => sqlx::query(WRITE).bind(name_of(event)).execute(c).await.map_err(DbError::from)?.rows_affected());
        if self.illegible.is_some_and(|name| name_of(event).starts_with(name)) {
            return Err(Unapplied::unreadable("illegible"));
        }
        if self.hangs && asked == 0 {
            std::future::pending::<()>().await;
        }
        if self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(DbError::Locked.into());
        }
        if self.overruns.is_some_and(|name| name_of(event).starts_with(name)) {
            return Err(overrun(tx).await.into());
        }
        if self.chokes == Some(name_of(event)) {
            return Err(DbError::corrupt("it sticks").into());
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
        self.told.fetch_add(1, Ordering::SeqCst);
        self.applied.notify_one();
    }
}

/// What a statement ends in that takes longer than it may. On SQLite nothing ends one.
async fn overrun(tx: &mut Tx) -> DbError {
    let Tx::Postgres(held) = tx else { return DbError::TimedOut };
    sqlx::raw_sql("SET LOCAL statement_timeout = '50ms'").execute(&mut **held).await.expect("sets it");
    let ended = sqlx::raw_sql("SELECT pg_sleep(60)").execute(&mut **held).await;
    ended.map(drop).expect_err("it is ended").into()
}

/// A store for a consumer, with the diary's table, which counts how often each name was written and takes none that begins
/// with `smudge`.
pub(crate) async fn diary_store(at: &TestDb) -> Db {
    let db = store(at).await;
    let mut tx = db.begin().await.expect("begins");
    on!(&mut tx, c => {
        const DIARY: &str = "CREATE TABLE diary \
            (line BIGINT NOT NULL, name TEXT NOT NULL PRIMARY KEY, times BIGINT NOT NULL DEFAULT 1, \
            CONSTRAINT clean CHECK (name NOT LIKE 'smudge%'))";
        sqlx::query(DIARY).execute(&mut *c).await.expect("creates");
        sqlx::query("CREATE TABLE forgotten (incarnation BIGINT NOT NULL)").execute(c).await.expect("creates");
    });
    tx.commit().await.expect("commits");
    db
}

pub(crate) async fn diary(db: &Db) -> Vec<String> {
    let mut tx = db.read().await.expect("begins");
    on!(&mut tx, c => sqlx::query("SELECT name FROM diary ORDER BY line").fetch_all(c).await.expect("reads")
        .iter().map(|row| row.get(0)).collect())
}

/// The names that were written more than once.
pub(crate) async fn repeated(db: &Db) -> Vec<String> {
    const REPEATED: &str = "SELECT name FROM diary WHERE times > 1 ORDER BY line";
    let mut tx = db.read().await.expect("begins");
    on!(&mut tx, c => sqlx::query(REPEATED).fetch_all(c).await.expect("reads").iter().map(|row| row.get(0)).collect())
}

/// The incarnations of the snapshots that were loaded, once there is one: what a snapshot tells is written before its end
/// is.
pub(crate) async fn until_snapshot(db: &Db) -> Vec<i64> {
    let reading = async {
        loop {
            let mut tx = db.read().await.expect("begins");
            let loaded: Vec<i64> = on!(&mut tx, c => sqlx::query("SELECT incarnation FROM forgotten").fetch_all(c)
                .await.expect("reads").iter().map(|row| row.get(0)).collect());
            if !loaded.is_empty() {
                return loaded;
            }
            drop(tx);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("no snapshot was loaded")
}

/// Waits until a condition holds that background work makes true.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "in vain: {what}");
}

pub(crate) async fn until_lines(db: &Db, count: usize) -> Vec<String> {
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

pub(crate) fn follow(diary: &Arc<Diary>, source: &Source, db: &Db) -> (JoinHandle<()>, CancellationToken) {
    follow_by(diary, source, db, &feed())
}

/// The same, keeping this feed fresh.
pub(crate) fn follow_by(
    diary: &Arc<Diary>,
    source: &Source,
    db: &Db,
    feed: &Feed,
) -> (JoinHandle<()>, CancellationToken) {
    let shutdown = CancellationToken::new();
    let following = Following {
        feed: feed.clone(),
        transport: source.transport.clone(),
        db: db.clone(),
        clock: clock(),
        entropy: Entropy::system(),
        shutdown: shutdown.clone(),
    };
    (tokio::spawn(run(Arc::clone(diary), following)), shutdown)
}

pub(crate) fn names(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}
