//! The service under test with its surroundings: a small identity, organization's events, a clock, people, and an
//! auditor who trusts nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bursar_db::{Db, Engine, Migrations, Tx, on};
use bursar_events::{Nothing, Outbox};
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_members::Policy;
use bursar_proto::billing::v1 as pb;
use bursar_proto::event::v1::OrganizationCreated;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::token::LONGEST_LIFE;
use bursar_rpc::{ServiceRole, Transport};
use bursar_runtime::{Each, Env, Peers, ReadyProbe, Service, Settings};
use bursar_secret::Entropy;
use bursar_testkit::{Client, Hush, Issuer, TestDb, audited, clock, id, sqlite};
use bursar_time::{Clock, Span, Timestamp};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::calls::Caller;
use crate::fakes::{Identity, Snapshot};
use crate::words::{audit_of, grant};

/// The built-in catalog.
pub(crate) const BUILT_IN: &str = include_str!("../../catalog.toml");

/// Has a billing with these settings sell by a catalog of this text. One file for each folder of data: two that share one sell by
/// the text that was written last.
pub(crate) fn sell(settings: &mut Settings, catalog: &str) {
    let path = settings.data_dir.join("catalog.toml");
    std::fs::write(&path, catalog).unwrap();
    settings.catalog_file = Some(path);
}

/// Everything a test needs.
pub(crate) struct World {
    pub(crate) clock: Clock,
    /// Billing's store as somebody with a database prompt sees it.
    pub(crate) store: Db,
    pub(crate) settings: Settings,
    pub(crate) issuer: Arc<Issuer>,
    nobody: Caller,
    /// What answers a payment provider's webhooks, where there is one.
    pub(crate) inbox: Option<axum::Router>,
    /// Whether the first billing is ready.
    pub(crate) ready: ReadyProbe,
    peers: Peers,
    pub(crate) organization: Outbox,
    /// What organization's snapshots tell.
    pub(crate) snapshot: Snapshot,
    pub(crate) organization_db: Db,
    pub(crate) people: Outbox,
    pub(crate) people_db: Db,
    /// Organization's events on their way to billing, and identity's.
    pub(crate) teams: Hush,
    pub(crate) deletions: Hush,
    /// How many events organization has told.
    pub(crate) told: AtomicU64,
    instances: AtomicU64,
    pub(crate) env: Env,
    _databases: [TestDb; 3],
    _data: tempfile::TempDir,
}

/// A user in one context.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) user: UserId,
    /// Whom the token acts for.
    pub(crate) owner: OwnerId,
    pub(crate) calls: Caller,
}

impl std::ops::Deref for Person {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.calls
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.env.shutdown.cancel();
        self.env.halt.cancel();
    }
}

impl World {
    pub(crate) async fn on(db: TestDb) -> Self {
        Self::with(db, |_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn with(db: TestDb, adjust: impl FnOnce(&mut Settings)) -> Self {
        let world = Self::untold(db, adjust).await;
        world.deploys(Policy::default(), 1).await;
        until("billing is ready", async || world.ready.check().await.is_ok()).await;
        world
    }

    /// The same by another clock.
    pub(crate) async fn by(db: TestDb, clock: Clock) -> Self {
        Self::by_with(db, clock, |_| ()).await
    }

    /// The same by another clock with other settings.
    pub(crate) async fn by_with(db: TestDb, clock: Clock, adjust: impl FnOnce(&mut Settings)) -> Self {
        let world = Self::untold_by(db, clock, adjust).await;
        world.deploys(Policy::default(), 1).await;
        until("billing is ready", async || world.ready.check().await.is_ok()).await;
        world
    }

    /// The same with a catalog of this text.
    pub(crate) async fn selling(db: TestDb, catalog: &str) -> Self {
        Self::selling_by(db, clock(), catalog).await
    }

    /// The same by another clock with a catalog of this text.
    pub(crate) async fn selling_by(db: TestDb, clock: Clock, catalog: &str) -> Self {
        Box::pin(Self::by_with(db, clock, |settings| sell(settings, catalog))).await
    }

    /// The same before organization has told of any policy.
    pub(crate) async fn untold(db: TestDb, adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::untold_by(db, clock(), adjust).await
    }

    async fn untold_by(db: TestDb, clock: Clock, adjust: impl FnOnce(&mut Settings)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let issuer = Arc::new(Issuer::new());
        let mut settings = Settings::for_test(data.path());
        settings.stores[Service::Billing] = db.store_url();
        // The machine may be busy: a race is not about how long it takes.
        settings.limits.deadline = Duration::from_mins(2);
        settings.postgres.acquire_timeout = Duration::from_mins(2);
        // The whole suite is run a second time as if the tables were distributed (scripts/test.sh).
        settings.billing.distributed = std::env::var_os("BURSAR_TEST_DISTRIBUTED").is_some();
        adjust(&mut settings);
        let (told_in, identity_tells_in) = (sqlite::file(), sqlite::file());
        let organization_db = told_in.open(&Migrations::SHARED).await;
        let organization = Outbox::new("organization", organization_db.clone(), clock.clone(), Entropy::seeded(1));
        let env = Env::for_test(clock.clone(), Entropy::seeded(2));
        let identity = Identity { issuer: Arc::clone(&issuer), clock: clock.clone() };
        let snapshot = Snapshot::default();
        let teams = Hush::over(Routes::new(organization.service(snapshot.clone(), CancellationToken::new())));
        let identity_db = identity_tells_in.open(&Migrations::SHARED).await;
        let people = Outbox::new("identity", identity_db.clone(), clock.clone(), Entropy::seeded(3));
        let deletions = Hush::over(Routes::new(people.service(Nothing, CancellationToken::new())));
        let peers = Peers::new(Each::new([
            Transport::routes(identity.routes().add_service(deletions.service())),
            Transport::routes(Routes::new(teams.service())),
            Transport::late().0,
        ]));
        bursar_billing::migrate(&settings, None).await.expect("migrates");
        let (nobody, ready, inbox) = Box::pin(launch(&settings, &peers, env.clone())).await;
        Self {
            store: bursar_billing::open(&settings).await.expect("opens"),
            nobody,
            inbox,
            ready,
            clock,
            settings,
            issuer,
            peers,
            organization,
            snapshot,
            organization_db,
            people,
            people_db: identity_db,
            teams,
            deletions,
            told: AtomicU64::new(0),
            instances: AtomicU64::new(1),
            env,
            _databases: [db, told_in, identity_tells_in],
            _data: data,
        }
    }

    /// One more billing on the same store. Its callers are made with [`World::through`].
    pub(crate) async fn another_instance(&self) -> Caller {
        self.instance_with(|_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn instance_with(&self, adjust: impl FnOnce(&mut Settings)) -> Caller {
        let mut settings = self.settings.clone();
        adjust(&mut settings);
        let number = 2 + self.instances.fetch_add(1, Ordering::Relaxed);
        let env = Env { entropy: Entropy::seeded(number), ..self.env.clone() };
        Box::pin(start(&settings, &self.peers, env)).await
    }

    /// One more billing on the same store by a clock of its own, ready or not.
    pub(crate) async fn instance_by(&self, clock: Clock) -> (Caller, ReadyProbe) {
        let number = 2 + self.instances.fetch_add(1, Ordering::Relaxed);
        let env = Env { entropy: Entropy::seeded(number), clock, ..self.env.clone() };
        let (caller, ready, _) = Box::pin(launch(&self.settings, &self.peers, env)).await;
        (caller, ready)
    }

    /// The same person at another instance.
    pub(crate) fn through(&self, instance: &Caller, person: &Person) -> Person {
        let token = self.token_of(person);
        Person { calls: Caller(instance.0.with_token(&token)), ..person.clone() }
    }

    /// How long a token lives: a test clock leaps by years, and what is good for so long is believed under one alone.
    fn life(&self) -> Span {
        if self.clock.is_test() { LONG } else { LONGEST_LIFE }
    }

    fn token_of(&self, person: &Person) -> String {
        let token = match person.owner {
            OwnerId::User(user) => self.issuer.user(user),
            OwnerId::Organization(organization) => self.issuer.member(person.user, organization, Role::Member),
        };
        token.lasting(self.life()).at(self.clock.now())
    }

    /// Nobody in particular.
    pub(crate) fn nobody(&self) -> &Caller {
        &self.nobody
    }

    /// The `n`-th person, at home.
    pub(crate) fn person(&self, n: u64) -> Person {
        let user = id(n);
        let token = self.issuer.user(user).lasting(self.life()).at(self.clock.now());
        Person { user, owner: OwnerId::User(user), calls: Caller(self.nobody.0.with_token(&token)) }
    }

    /// The `n`-th person in an organization, as a token of membership version `version` tells.
    pub(crate) fn member(&self, n: u64, organization: OwnerId, role: Role, version: u64) -> Person {
        let token = self.issuer.member(id(n), the(organization), role).version(version);
        let token = token.lasting(self.life()).at(self.clock.now());
        Person { user: id(n), owner: organization, calls: Caller(self.nobody.0.with_token(&token)) }
    }

    /// The `n`-th person in an organization that the token gives no role in.
    pub(crate) fn former_member(&self, n: u64, organization: OwnerId) -> Person {
        let token = self.issuer.member(id(n), the(organization), Role::Member).without_role();
        let token = token.lasting(self.life()).at(self.clock.now());
        Person { user: id(n), owner: organization, calls: Caller(self.nobody.0.with_token(&token)) }
    }

    pub(crate) fn operator(&self) -> Caller {
        self.service(ServiceRole::Operator)
    }

    /// A service at another instance.
    pub(crate) fn service_through(&self, instance: &Caller, role: ServiceRole) -> Caller {
        Caller(instance.0.with_token(&self.issuer.service(role, self.clock.now())))
    }

    /// The operator at another instance.
    pub(crate) fn operator_through(&self, instance: &Caller) -> Caller {
        self.service_through(instance, ServiceRole::Operator)
    }

    /// A back-end service of the product.
    pub(crate) fn product(&self) -> Caller {
        self.service(ServiceRole::Product)
    }

    pub(crate) fn service(&self, role: ServiceRole) -> Caller {
        Caller(self.nobody.0.with_token(&self.issuer.service(role, self.clock.now())))
    }

    /// The product, calling for a person.
    pub(crate) fn product_for(&self, person: &Person) -> Caller {
        Caller(self.product().0.for_user(&self.token_of(person)))
    }

    /// The `n`-th person, at home, with so many credits that never expire.
    pub(crate) async fn person_with(&self, n: u64, amount: &str) -> Person {
        let person = self.person(n);
        self.operator().granted(grant(person.owner, amount)).await;
        person
    }

    /// The `n`-th organization with the `n`-th person as its owner, known to billing, with so many credits.
    pub(crate) async fn organization_with(&self, n: u64, amount: &str) -> (OwnerId, Person) {
        let organization: OrganizationId = id(1_000 + n);
        let owner = OwnerId::Organization(organization);
        let user: UserId = id(n);
        self.tell(Payload::OrganizationCreated(OrganizationCreated {
            organization_id: organization.to_string(),
            owner_user_id: user.to_string(),
            ..Default::default()
        }))
        .await;
        self.hears(owner, user, Some(Role::Owner), 1).await;
        self.operator().granted(grant(owner, amount)).await;
        (owner, self.member(n, owner, Role::Owner, 1))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The present time and a span.
    pub(crate) fn in_(&self, span: Span) -> Timestamp {
        self.now().saturating_add(span)
    }

    pub(crate) fn passes(&self, span: Span) {
        self.clock.advance(span).expect("time moves on");
    }

    /// Runs SQL as somebody with a database prompt would.
    pub(crate) async fn by_hand(&self, sql: &str) -> Result<u64, sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.store {
            Db::Sqlite { write, .. } => Ok(sqlx::raw_sql(sql).execute(write.pool()).await?.rows_affected()),
            Db::Postgres(pool) => Ok(sqlx::raw_sql(sql).execute(pool.pool()).await?.rows_affected()),
        }
    }

    /// The owner as SQL writes it.
    pub(crate) fn literal(&self, owner: OwnerId) -> String {
        let hex = owner.to_bytes().map(|byte| format!("{byte:02x}")).concat();
        match self.engine() {
            Engine::Sqlite => format!("X'{hex}'"),
            Engine::Postgres => format!("'\\x{hex}'::bytea"),
        }
    }

    /// The stored bytes of a ledger entry.
    pub(crate) async fn body(&self, owner: OwnerId, seq: i64) -> Vec<u8> {
        let read = "SELECT body FROM ledger_entries WHERE owner = $1 AND seq = $2";
        let mut tx = self.store.read().await.unwrap();
        let body: Result<(Vec<u8>,), bursar_db::DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(read).bind(bytes(owner)).bind(seq).fetch_one(c).await?)) }
                .await;
        body.unwrap().0
    }

    /// Puts other bytes in their place.
    pub(crate) async fn set_body(&self, owner: OwnerId, seq: i64, body: &[u8]) {
        let write = "UPDATE ledger_entries SET body = $3 WHERE owner = $1 AND seq = $2";
        let mut tx = self.store.begin().await.unwrap();
        let written: Result<u64, bursar_db::DbError> = async {
            Ok(on!(&mut tx, c => sqlx::query(write).bind(bytes(owner)).bind(seq).bind(body).execute(c).await?.rows_affected()))
        }
        .await;
        assert_eq!(written.unwrap(), 1);
        tx.commit().await.unwrap();
    }

    /// One number out of the store; `$1` is the owner.
    pub(crate) async fn number(&self, sql: &'static str, owner: OwnerId) -> i64 {
        let mut tx = self.store.read().await.unwrap();
        let number: Result<(i64,), bursar_db::DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(bytes(owner)).fetch_one(c).await?)) }.await;
        number.unwrap_or_else(|error| panic!("{sql}: {error}")).0
    }

    /// One number out of the store.
    pub(crate) async fn scalar(&self, sql: &'static str) -> i64 {
        let mut tx = self.store.read().await.unwrap();
        let number: Result<(i64,), bursar_db::DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?)) }.await;
        number.unwrap_or_else(|error| panic!("{sql}: {error}")).0
    }

    /// How many answers are kept under request ids, besides what rows keep themselves.
    pub(crate) async fn answers_kept(&self) -> i64 {
        self.scalar("SELECT COUNT(*) FROM requests").await
    }

    /// The number of the account's last ledger entry; 0 for an account that does not exist.
    pub(crate) async fn seq(&self, owner: OwnerId) -> i64 {
        self.number("SELECT COALESCE(MAX(seq), 0) FROM ledger_entries WHERE owner = $1", owner).await
    }

    /// Keeps every batch with this account waiting until the transaction ends.
    pub(crate) async fn block(&self, owner: OwnerId) -> Tx {
        // On SQLite any writing transaction does.
        let mut tx = self.store.begin().await.unwrap();
        if let Tx::Postgres(t) = &mut tx {
            let lock = sqlx::query("SELECT 1 FROM accounts WHERE owner = $1 FOR UPDATE").bind(bytes(owner));
            lock.execute(&mut **t).await.unwrap();
        }
        tx
    }

    pub(crate) fn engine(&self) -> Engine {
        self.store.engine()
    }

    /// The balance as the operator sees it.
    pub(crate) async fn balance(&self, owner: OwnerId) -> pb::GetBalanceResponse {
        self.operator().get_balance(crate::words::balance_of(owner)).await.expect("a balance")
    }

    /// What the account can spend now.
    pub(crate) async fn available(&self, owner: OwnerId) -> String {
        self.balance(owner).await.available
    }

    /// Whatever happened, the books must agree with one another: in the service's own words and in SQL's.
    pub(crate) async fn audit(&self, owner: OwnerId) {
        let verdict = self.operator().verify_ledger(audit_of(owner)).await.expect("verifies");
        assert!(verdict.valid, "{owner}: {:?}", verdict.first_bad);
        for (what, sql) in [
            ("lots that do not conserve", BAD_LOTS),
            ("available less what remains in the lots", AVAILABLE),
            ("held less what is held in the lots", HELD),
            ("open holds less the account's number of them", OPEN_HOLDS),
            ("gaps in the ledger", GAPS),
            ("hours of usage less everything charged", HOURS),
            ("rolled up days less their hours", DAYS),
        ] {
            assert_eq!(self.number(sql, owner).await, 0, "{owner}: {what}");
        }
        assert_eq!(self.seq(owner).await.unsigned_abs(), verdict.entries, "{owner}: every entry was verified");
    }
}

const BAD_LOTS: &str =
    "SELECT COUNT(*) FROM lots WHERE owner = $1 AND (granted <> spent + remaining + held + expired + voided
    OR remaining < 0 OR held < 0 OR spent < 0 OR expired < 0 OR voided < 0)";
const AVAILABLE: &str = "SELECT CAST(COALESCE((SELECT available FROM accounts WHERE owner = $1), 0)
    - COALESCE((SELECT SUM(remaining) FROM lots WHERE owner = $1), 0) AS BIGINT)";
const HELD: &str = "SELECT CAST(COALESCE((SELECT held FROM accounts WHERE owner = $1), 0)
    - COALESCE((SELECT SUM(held) FROM lots WHERE owner = $1), 0) AS BIGINT)";
const OPEN_HOLDS: &str = "SELECT CAST((SELECT COUNT(*) FROM holds WHERE owner = $1 AND state = 'OPEN')
    - COALESCE((SELECT open_holds FROM accounts WHERE owner = $1), 0) AS BIGINT)";
const GAPS: &str = "SELECT COALESCE(MAX(seq), 0) - COUNT(*) FROM ledger_entries WHERE owner = $1";
const HOURS: &str = "SELECT CAST(COALESCE((SELECT SUM(charged) FROM usage_hours WHERE owner = $1), 0)
    - COALESCE((SELECT charged FROM accounts WHERE owner = $1), 0) AS BIGINT)";
const DAYS: &str = "SELECT CAST(COALESCE((SELECT SUM(charged) - SUM(refunded) FROM usage_days WHERE owner = $1), 0)
    - COALESCE((SELECT SUM(charged) - SUM(refunded) FROM usage_hours WHERE owner = $1
        AND starts_at < (SELECT through FROM usage_rollups WHERE owner = $1)), 0) AS BIGINT)";

/// Longer than any test's clock runs.
const LONG: Span = Span::from_days(40_000);

/// Starts a billing and waits until it is ready.
async fn start(settings: &Settings, peers: &Peers, env: Env) -> Caller {
    let (caller, ready, _) = Box::pin(launch(settings, peers, env)).await;
    until("billing is ready", async || ready.check().await.is_ok()).await;
    caller
}

/// Starts a billing; says how to ask whether it is ready, and what answers webhooks.
async fn launch(settings: &Settings, peers: &Peers, env: Env) -> (Caller, ReadyProbe, Option<axum::Router>) {
    let started = Box::pin(bursar_billing::start(settings, peers.clone(), env)).await.expect("starts");
    let billing = Transport::routes(started.routes);
    let caller = Caller(Client::new(peers.to(Service::Identity), peers.to(Service::Organization), billing));
    (caller, started.ready, started.inbox)
}

/// The stored form of an owner.
pub(crate) fn bytes(owner: OwnerId) -> Vec<u8> {
    owner.to_bytes().to_vec()
}

pub(crate) fn the(owner: OwnerId) -> OrganizationId {
    owner.organization().expect("an organization")
}

/// Waits until a condition holds that the service's background work makes true.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    bursar_testkit::until(Duration::from_mins(1), what, holds)
}

/// Demands that organization is told of every row of the audit log.
pub(crate) async fn all_rows_are_told(world: &World) {
    let told = world.scalar("SELECT COUNT(*) FROM outbox WHERE type = 'audit.recorded'").await;
    assert_eq!(usize::try_from(told).ok(), Some(audited(&world.store).await.len()));
}
