//! One identity service on one store, everything around it, and the people in it.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_db::Db;
use bursar_id::UserId;
use bursar_identity::Config;
use bursar_members::{CreditUnit, Policy, policies};
use bursar_proto::identity::v1::{
    CreateServiceAccountRequest, RefreshRequest, SignInRequest, SignInResponse, SignUpRequest, SwitchContextRequest,
    TokenSet,
};
use bursar_rpc::{KeySet, LateRoutes, Limits, StackDeps, Suspended, Transport};
use bursar_runtime::{Each, Env, Peers, ReadyProbe, Service, Settings};
use bursar_secret::Entropy;
use bursar_testkit::{Client, Mailbox, Operator, PASSWORD, Person, TestDb, clock};
use bursar_time::{Clock, Span};
use serde_json::Value;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Request, Response, Status};

use crate::billing::FakeBilling;
use crate::organization::FakeOrganization;

/// How long something that happens by itself may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon what organization tells must hold.
pub(crate) const SOON: Duration = Duration::from_secs(2);

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) mailbox: Mailbox,
    pub(crate) organization: FakeOrganization,
    pub(crate) billing: FakeBilling,
    pub(crate) anybody: Client,
    pub(crate) db: Db,
    /// Whether identity is ready, and what it shows.
    pub(crate) ready: ReadyProbe,
    peers: Peers,
    directory: tempfile::TempDir,
    _ring: Ring,
}

/// The ring that identity and the two fakes are to one another: opened in the end, or the store's connections would
/// outlive the test, and all tests' together the server's room for them.
struct Ring(LateRoutes);

impl Drop for Ring {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl World {
    /// Starts identity on a fresh store.
    pub(crate) async fn start(db: &TestDb) -> Self {
        Self::start_with(db, |_| ()).await
    }

    /// The same, with other settings.
    pub(crate) async fn start_with(db: &TestDb, adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::start_by(db, clock(), adjust).await
    }

    /// The same by another clock.
    pub(crate) async fn start_by(db: &TestDb, clock: Clock, adjust: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::for_test(directory.path());
        settings.stores[Service::Identity] = db.store_url();
        adjust(&mut settings);
        let env = Env::for_test(clock.clone(), Entropy::system());
        bursar_identity::migrate(&settings, None).await.unwrap();
        let db = db.open(&bursar_identity::store::MIGRATIONS).await;
        let (organization, billing) = (FakeOrganization::new(&env).await, FakeBilling::new(&env, db.clone()));
        let (identity, late) = Transport::late();
        let routes = organization.routes(&env, identity.clone());
        let books = billing.routes(&env, identity.clone());
        let peers = Peers::new(Each::new([identity.clone(), Transport::routes(routes), Transport::routes(books)]));
        let started = bursar_identity::start(&settings, peers.clone(), env.clone()).await.unwrap();
        assert!(late.set(started.routes));
        Self {
            ready: started.ready,
            _ring: Ring(late),
            env,
            clock,
            mailbox: Mailbox::new(directory.path()),
            anybody: Client::new(identity.clone(), peers.to(Service::Organization), identity),
            organization,
            billing,
            db,
            peers,
            settings,
            directory,
        }
    }

    /// Starts one more replica on the same store; calls to it come from nowhere else.
    pub(crate) async fn replica(&self) -> Client {
        self.replica_with(|_| ()).await
    }

    /// One more replica by a clock of its own, ready or not.
    pub(crate) async fn replica_by(&self, clock: Clock) -> (Client, ReadyProbe) {
        let env = Env { clock, ..self.env.clone() };
        let started = bursar_identity::start(&self.settings, self.peers.clone(), env).await.unwrap();
        let identity = Transport::routes(started.routes);
        (Client::new(identity.clone(), self.peers.to(Service::Organization), identity), started.ready)
    }

    /// Like [`Self::replica`], with other rules.
    pub(crate) async fn replica_with(&self, adjust: impl FnOnce(&mut Config)) -> Client {
        let mut config = Config::of(&self.settings);
        adjust(&mut config);
        let started =
            bursar_identity::start_with(&self.settings, config, self.peers.clone(), self.env.clone()).await.unwrap();
        let identity = Transport::routes(started.routes);
        Client::new(identity.clone(), self.peers.to(Service::Organization), identity)
    }

    pub(crate) fn peers(&self) -> Peers {
        self.peers.clone()
    }

    /// A path in the data directory.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Moves the clock.
    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Span::from_secs(seconds)).unwrap();
    }

    /// Somebody who has signed up, verified and signed in.
    pub(crate) async fn join(&self, name: &str) -> Person {
        Person::join(&self.anybody, &self.mailbox, name).await
    }

    /// Asks to sign up with the usual password.
    pub(crate) async fn sign_up(&self, email: &str) {
        self.anybody.users().sign_up(sign_up(email)).await.unwrap();
    }

    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Result<Response<SignInResponse>, Status> {
        let request = credentials(email, password);
        self.anybody.sessions().sign_in(request).await
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<TokenSet, Status> {
        let request = RefreshRequest { refresh_token: refresh_token.to_owned() };
        let answer = self.anybody.sessions().refresh(request).await?;
        Ok(answer.into_inner().tokens.unwrap())
    }

    /// Refreshes until the role is this, which it must be soon; the branch stays where it is.
    pub(crate) async fn refreshed_until(&self, tokens: TokenSet, wanted: Option<&str>) -> TokenSet {
        let (start, owner, held) = (Instant::now(), tokens.owner.clone(), tokio::sync::Mutex::new(tokens));
        becomes(wanted.map(str::to_owned), || async {
            let mut tokens = held.lock().await;
            *tokens = self.refresh(&tokens.refresh_token).await.unwrap();
            assert_eq!(tokens.owner, owner, "the branch stays where it is");
            role(&tokens)
        })
        .await;
        assert!(start.elapsed() < SOON, "{wanted:?} only after {:?}", start.elapsed());
        held.into_inner()
    }

    /// One number out of the store; `$1` is a text.
    pub(crate) async fn count(&self, sql: &'static str, of: &str) -> i64 {
        let mut tx = self.db.read().await.unwrap();
        let count: Result<(i64,), bursar_db::DbError> =
            async { Ok(bursar_db::on!(&mut tx, c => sqlx::query_as(sql).bind(of.to_owned()).fetch_one(c).await?)) }
                .await;
        count.unwrap().0
    }

    /// One text out of the store; `$1` is a text, too.
    pub(crate) async fn text(&self, sql: &'static str, of: &str) -> String {
        let mut tx = self.db.read().await.unwrap();
        let text: Result<(String,), bursar_db::DbError> =
            async { Ok(bursar_db::on!(&mut tx, c => sqlx::query_as(sql).bind(of.to_owned()).fetch_one(c).await?)) }
                .await;
        text.unwrap().0
    }

    /// The operator's client, made from `operator.json` as an operator would.
    pub(crate) async fn operator(&self) -> Client {
        self.anybody.as_operator(&Operator::of(self.directory.path())).await
    }

    /// A service of the product's.
    pub(crate) async fn product(&self, operator: &Client) -> Client {
        let (display_name, role) = ("Product".to_owned(), "product".to_owned());
        let request = CreateServiceAccountRequest { display_name, role, ..Default::default() };
        let made = operator.service_accounts().create_service_account(request).await.unwrap().into_inner();
        self.anybody.as_operator(&Operator { client_id: made.client_id, client_secret: made.client_secret }).await
    }

    /// Organization tells that credits are called words here, and identity knows.
    pub(crate) async fn calls_credits_words(&self) {
        let policy = Policy { credit_unit: CreditUnit::WORDS, ..Policy::default() };
        self.organization.decides_for_all(policy, 1).await;
        let known = async || policies::of_now(&self.db, &[]).await.unwrap().deployment();
        becomes(Some(policy), known).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.env.shutdown.cancel();
        self.env.halt.cancel();
    }
}

/// Goes into a context with a client's token.
pub(crate) async fn switch(client: &Client, owner: &str) -> Result<TokenSet, Status> {
    let request = SwitchContextRequest { owner: owner.to_owned() };
    Ok(client.contexts().switch_context(request).await?.into_inner().tokens.unwrap())
}

/// What a fake of another service stands behind the stack with, believing the tokens that identity signs.
pub(crate) fn deps(env: &Env, identity: Transport) -> StackDeps {
    StackDeps {
        keys: KeySet::remote(identity, &env.clock),
        clock: env.clock.clone(),
        entropy: env.entropy.clone(),
        meter: env.meter.clone(),
        limits: Limits::default(),
        suspended: Suspended::default(),
    }
}

/// The role that a pair of tokens gives.
pub(crate) fn role(tokens: &TokenSet) -> Option<String> {
    claims(&tokens.access_token).get("role").map(|role| role.as_str().unwrap().to_owned())
}

/// A request to sign up with the usual password.
pub(crate) fn sign_up(email: &str) -> SignUpRequest {
    SignUpRequest { email: email.to_owned(), password: PASSWORD.to_owned(), display_name: "Somebody".to_owned() }
}

/// A request to sign in.
pub(crate) fn credentials(email: &str, password: &str) -> SignInRequest {
    SignInRequest { email: email.to_owned(), password: password.to_owned(), ..SignInRequest::default() }
}

/// A request that seems to come from a network address.
pub(crate) fn from_address<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let remote = SocketAddr::new(address.parse().unwrap(), 4711);
    request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr: Some(remote) });
    request
}

/// The id of a person.
pub(crate) fn user(person: &Person) -> UserId {
    person.user.parse().unwrap()
}

/// What a JWT says, without checking it.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The head of a JWT.
pub(crate) fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, n: usize) -> Value {
    let text = token.split('.').nth(n).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// Asks until the answer is what it must become; fails with the last one.
pub(crate) async fn becomes<T, F>(expected: T, mut ask: impl FnMut() -> F)
where
    T: PartialEq + std::fmt::Debug,
    F: Future<Output = T>,
{
    let start = Instant::now();
    loop {
        let found = ask().await;
        if found == expected {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "is {found:?}, must become {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
