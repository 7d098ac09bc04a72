//! What the tests of this crate share: a key that signs, and a service whose answers a test decides.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_db::Asker;
use bursar_id::{OwnerId, Role, ServiceAccountId, UserId};
use bursar_proto::event::v1 as event;
use bursar_proto::event::v1::event_service_server::{EventService, EventServiceServer};
use bursar_proto::identity::v1 as identity;
use bursar_proto::identity::v1::context_service_server::{ContextService, ContextServiceServer};
use bursar_proto::testing::v1 as testing;
use bursar_proto::testing::v1::clock_service_server::{ClockService, ClockServiceServer};
use bursar_rpc::token::{AccessClaims, ServiceClaims, StandardClaims, sign};
use bursar_rpc::{
    AuthMethods, Branch, Caller, KeySet, Limits, MAX_MESSAGE, PublicKeys, ServiceRole, StackDeps, Suspended, Transport,
    stack,
};
use bursar_secret::Entropy;
use bursar_time::{Clock, Span, Timestamp};
use ed25519_dalek::Signer as _;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use futures::Stream;
use futures::future::BoxFuture;
use jsonwebtoken::EncodingKey;
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

pub const START: i64 = 1_790_000_000_000_000;

pub fn start() -> Timestamp {
    Timestamp::from_micros(START).expect("a time")
}

/// Somebody who signs tokens.
pub struct Issuer {
    pub kid: &'static str,
    key: EncodingKey,
    signing: SigningKey,
    public: [u8; 32],
}

impl Issuer {
    pub fn new(kid: &'static str, seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let der = key.to_pkcs8_der().expect("PKCS#8");
        let public = key.verifying_key().to_bytes();
        Self { kid, key: EncodingKey::from_ed_der(der.as_bytes()), signing: key, public }
    }

    pub fn ours() -> Self {
        Self::new("k1", 1)
    }

    pub fn public(&self) -> (String, [u8; 32]) {
        (self.kid.to_owned(), self.public)
    }

    pub fn keys(&self) -> KeySet {
        KeySet::fixed(PublicKeys::new([self.public()]))
    }

    pub fn sign<C: serde::Serialize>(&self, claims: &C) -> String {
        sign(&self.key, self.kid, claims).expect("signed")
    }

    /// A token with a right signature and any header.
    pub fn sign_under(&self, header: &serde_json::Value, claims: &impl serde::Serialize) -> String {
        let claims = serde_json::to_vec(claims).expect("claims");
        self.sign_bytes(header.to_string().as_bytes(), &claims)
    }

    /// A right signature over whatever is no header and no claims.
    pub fn sign_bytes(&self, header: &[u8], claims: &[u8]) -> String {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.signing.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", part(&signature))
    }

    pub fn user(&self) -> String {
        self.sign(&user_claims())
    }

    pub fn service(&self, role: ServiceRole) -> String {
        self.sign(&ServiceClaims::new(account(), role, start(), Span::from_secs(300)))
    }
}

pub fn user_id() -> UserId {
    UserId::from_parts(START.unsigned_abs() / 1_000, [7; 10])
}

pub fn account() -> ServiceAccountId {
    ServiceAccountId::from_parts(START.unsigned_abs() / 1_000, [8; 10])
}

pub fn user_claims() -> AccessClaims {
    let organization = bursar_id::OrganizationId::from_parts(1, [9; 10]);
    AccessClaims {
        sub: user_id(),
        sid: bursar_id::SessionId::from_parts(1, [3; 10]),
        bid: Some(Branch::from_bytes([4; 16])),
        ctx: OwnerId::Organization(organization),
        role: Some(Role::Admin),
        mv: 4,
        mvi: 2,
        auth_time: Some(start().as_unix_secs() - 60),
        amr: AuthMethods::PASSWORD,
        act: None,
        key: None,
        email: "ada@example.com".to_owned(),
        email_verified: true,
        standard: StandardClaims::lasting(start(), Span::from_secs(300)),
    }
}

/// The claims of a user with other standard claims.
#[derive(serde::Serialize)]
pub struct AccessClaimsWith(AccessClaims);

impl AccessClaimsWith {
    pub fn of(standard: StandardClaims) -> Self {
        Self(AccessClaims { standard, ..user_claims() })
    }
}

type Answer = BoxFuture<'static, Result<String, Status>>;

/// A service that answers every RPC by asking a test's function, with the text it gives.
#[derive(Clone)]
pub struct Probe(Arc<dyn Fn(Caller) -> Answer + Send + Sync>);

impl Probe {
    pub fn new<F, Fut>(answer: F) -> Self
    where
        F: Fn(Caller) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, Status>> + Send + 'static,
    {
        Self(Arc::new(move |caller| Box::pin(answer(caller))))
    }

    /// Reports who called.
    pub fn reporting() -> (Self, UnboundedReceiver<Caller>) {
        let (sender, callers) = tokio::sync::mpsc::unbounded_channel();
        let probe = Self::new(move |caller| {
            sender.send(caller).expect("received");
            async { Ok(String::new()) }
        });
        (probe, callers)
    }

    /// Answers who called.
    pub fn who() -> Self {
        Self::new(|caller| async move { Ok(format!("{} {:?}", caller.scope(), caller.permission())) })
    }

    /// Its routes without the stack.
    pub fn bare(self) -> Routes {
        Routes::new(ClockServiceServer::new(self.clone()))
            .add_service(
                ContextServiceServer::new(self.clone())
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE),
            )
            .add_service(EventServiceServer::new(self))
    }

    /// Its routes behind the stack.
    pub fn routes(self, issuer: &Issuer) -> Routes {
        stack(self.bare(), deps(issuer.keys(), Limits::default()))
    }
}

pub fn deps(keys: KeySet, limits: Limits) -> StackDeps {
    StackDeps {
        suspended: Suspended::default(),
        keys,
        clock: Clock::test(start()),
        entropy: Entropy::seeded(1),
        meter: opentelemetry::global::meter("test"),
        limits,
    }
}

#[tonic::async_trait]
impl ClockService for Probe {
    async fn get(&self, request: Request<testing::GetRequest>) -> Result<Response<testing::GetResponse>, Status> {
        (self.0)(Caller::of(&request)?).await?;
        Ok(Response::new(testing::GetResponse::default()))
    }
    async fn set(&self, _: Request<testing::SetRequest>) -> Result<Response<testing::SetResponse>, Status> {
        panic!("a handler that panics");
    }
    async fn advance(&self, _: Request<testing::AdvanceRequest>) -> Result<Response<testing::AdvanceResponse>, Status> {
        Err(Status::unknown("not used"))
    }
}

#[tonic::async_trait]
impl ContextService for Probe {
    async fn list_contexts(
        &self,
        request: Request<identity::ListContextsRequest>,
    ) -> Result<Response<identity::ListContextsResponse>, Status> {
        let text = (self.0)(Caller::of(&request)?).await?;
        Ok(Response::new(identity::ListContextsResponse { next_page_token: text, ..Default::default() }))
    }
    async fn switch_context(
        &self,
        _: Request<identity::SwitchContextRequest>,
    ) -> Result<Response<identity::SwitchContextResponse>, Status> {
        Err(Status::unknown("not used"))
    }
}

#[tonic::async_trait]
impl EventService for Probe {
    type SnapshotStream = futures::stream::Empty<Result<event::SnapshotResponse, Status>>;

    async fn snapshot(&self, _: Request<event::SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Ok(Response::new(futures::stream::empty()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<event::WatchResponse, Status>> + Send>>;

    /// Sends one message; a request for the type `panic` panics then, one for `endless` waits forever, and one for `asker` says
    /// for whom it takes connections.
    async fn watch(&self, request: Request<event::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request)?;
        let types = request.into_inner().types;
        let cursor = (self.0)(caller).await?;
        let first = event::WatchResponse { cursor, item: None };
        let endless = types.iter().any(|name| name == "endless");
        let panics = types.iter().any(|name| name == "panic");
        let asks = types.iter().any(|name| name == "asker");
        Ok(Response::new(Box::pin(futures::stream::unfold(0, move |sent| {
            let first = first.clone();
            async move {
                match sent {
                    0 => Some((Ok(first), 1)),
                    1 if asks => {
                        let cursor = format!("{:?}", Asker::current());
                        Some((Ok(event::WatchResponse { cursor, item: None }), 2))
                    }
                    _ if panics => {
                        // Lets the first message go out by itself.
                        tokio::task::yield_now().await;
                        panic!("a stream that panics")
                    }
                    _ if endless => std::future::pending().await,
                    _ => None,
                }
            }
        }))))
    }
}

/// Serves routes on a port of its own until the test ends.
pub async fn listen(routes: Routes) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    address
}

pub fn network(address: SocketAddr) -> Transport {
    Transport::connect(&format!("http://{address}")).expect("an address")
}

/// The same routes over the network and in process.
pub async fn both_ways(routes: Routes) -> [(&'static str, Transport); 2] {
    let address = listen(routes.clone()).await;
    [("network", network(address)), ("in process", Transport::routes(routes))]
}

/// A request with headers.
pub fn with<T>(message: T, headers: &[(&'static str, String)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().expect("a header"));
    }
    request.set_timeout(Duration::from_secs(20));
    request
}

pub fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

pub fn for_user(token: &str) -> (&'static str, String) {
    ("bursar-user-authorization", format!("Bearer {token}"))
}
