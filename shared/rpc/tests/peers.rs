//! Calling other services: routes that come late, peers that are away, tokens, keys, trying again.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bursar_proto::event::v1::WatchRequest;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::identity::v1::context_service_client::ContextServiceClient;
use bursar_proto::identity::v1::key_service_server::{KeyService, KeyServiceServer};
use bursar_proto::identity::v1::{GetJwksRequest, GetJwksResponse, Jwk, ListContextsRequest};
use bursar_proto::testing::v1::GetRequest;
use bursar_proto::testing::v1::clock_service_client::ClockServiceClient;
use bursar_rpc::problem::reason_of;
use bursar_rpc::token::{ServiceClaims, StandardClaims};
use bursar_rpc::{KeySet, Limits, Problem, ServiceRole, ServiceTokens, Transport, on_behalf, retry, stack};
use bursar_secret::Entropy;
use bursar_time::{Clock, Span};
use common::{Issuer, Probe, account, bearer, deps, start, user_claims, with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

#[tokio::test]
async fn a_late_transport_works_from_the_moment_it_is_set() {
    let (transport, late) = Transport::late();
    let mut client = ClockServiceClient::new(transport.clone());
    let status = client.get(GetRequest::default()).await.expect_err("not yet");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason_of(&status).as_deref(), Some("PEER_UNAVAILABLE"));
    assert!(late.set(Probe::who().routes(&Issuer::ours())));
    client.get(GetRequest::default()).await.expect("now");
    assert!(!late.set(Routes::default()), "only once");
    client.get(GetRequest::default()).await.expect("still the first routes");
}

#[tokio::test]
async fn late_routes_that_nobody_sets_are_worth_trying_again() {
    let (transport, late) = Transport::late();
    let attempts = AtomicU32::new(0);
    let entropy = Entropy::seeded(1);
    let answer = retry(&entropy, || {
        if attempts.fetch_add(1, Ordering::SeqCst) == 1 {
            late.set(Probe::who().routes(&Issuer::ours()));
        }
        let mut client = ClockServiceClient::new(transport.clone());
        async move { client.get(GetRequest::default()).await }
    });
    answer.await.expect("set before the second attempt");
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_peer_that_is_away_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let mut client = ClockServiceClient::new(common::network(address));
    let status = client.get(GetRequest::default()).await.expect_err("nobody listens");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

/// Answers the first call with these HTTP/2 frames, as a peer does that stops or dies, and hangs up.
async fn hanging_up(frames: &'static [&'static [u8]]) -> SocketAddr {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut caller, _) = listener.accept().await.expect("a caller");
        caller.write_all(SETTINGS).await.expect("told");
        caller.read_exact(&mut [0; PREFACE]).await.expect("a preface");
        loop {
            let mut head = [0; 9];
            caller.read_exact(&mut head).await.expect("a frame's head");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            caller.read_exact(&mut vec![0; length as usize]).await.expect("a frame");
            if head[3] == HEADERS {
                break;
            }
        }
        for frame in frames {
            caller.write_all(frame).await.expect("told");
        }
        caller.shutdown().await.expect("hung up");
        // Until the caller has read it all.
        tokio::io::copy(&mut caller, &mut tokio::io::sink()).await.ok();
    });
    address
}

/// An empty `SETTINGS` frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// `GOAWAY`: no stream was or will be answered; `NO_ERROR`.
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// `HEADERS` of the first stream that say 200 (8 in HPACK's static table) and no more.
const STATUS_200: &[u8] = &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88];

#[tokio::test]
async fn a_peer_that_stops_or_dies_under_a_call_is_unavailable() {
    let table: [(&str, &[&[u8]]); 3] = [
        ("stops before the answer", &[GOAWAY]),
        ("dies before the answer", &[]),
        ("dies within the answer", &[STATUS_200]),
    ];
    for (what, frames) in table {
        let mut client = ClockServiceClient::new(common::network(hanging_up(frames).await));
        let status = client.get(GetRequest::default()).await.expect_err(what);
        assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}");
        assert_eq!(reason_of(&status).as_deref(), Some("PEER_UNAVAILABLE"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_unavailable_is_tried_again_and_not_for_ever() {
    let expired = Problem::unauthenticated("TOKEN_EXPIRED", "");
    let table: [(Status, u32); 5] = [
        (Status::unavailable(""), 5),
        (Problem::unavailable("STORE_UNAVAILABLE", "").into(), 5),
        (expired.into(), 2),
        (Status::aborted(""), 1),
        (Status::deadline_exceeded(""), 1),
    ];
    for (status, expected) in table {
        let mut attempts = 0;
        let result: Result<(), Status> = retry(&Entropy::seeded(7), || {
            attempts += 1;
            std::future::ready(Err(status.clone()))
        })
        .await;
        assert_eq!(result.expect_err("never succeeds").code(), status.code());
        assert_eq!(attempts, expected, "{status}");
    }
}

#[tokio::test]
async fn trying_again_ends_with_the_callers_deadline() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let probe = Probe::new(move |_| {
        let counter = Arc::clone(&counter);
        async move {
            retry(&Entropy::seeded(7), || {
                counter.fetch_add(1, Ordering::SeqCst);
                // The peer asks for a pause that is longer than the caller waits.
                let away = Problem::unavailable("STORE_UNAVAILABLE", "");
                std::future::ready(Err(away.with_retry_after(Duration::from_secs(2)).into()))
            })
            .await
        }
    });
    let mut client = ClockServiceClient::new(Transport::routes(probe.routes(&Issuer::ours())));
    let mut request = Request::new(GetRequest::default());
    request.set_timeout(Duration::from_secs(1));
    let status = client.get(request).await.expect_err("away");
    assert_eq!(status.code(), Code::Unavailable, "the real reason, not a timeout: {status}");
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
}

/// Tokens that are signed here, and how many were.
fn tokens(issuer: Issuer, clock: Clock) -> (ServiceTokens, Arc<AtomicU32>) {
    let signed = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&signed);
    let sign = move |now| {
        counter.fetch_add(1, Ordering::SeqCst);
        let claims = ServiceClaims::new(account(), ServiceRole::Billing, now, Span::from_secs(300));
        let until = claims.standard.expires_at().expect("a time");
        Ok((issuer.sign(&claims), until))
    };
    (ServiceTokens::local(sign, clock), signed)
}

#[tokio::test]
async fn a_services_token_is_used_again_until_it_is_about_to_expire() {
    let clock = Clock::test(start());
    let (tokens, signed) = tokens(Issuer::ours(), clock.clone());
    let (probe, mut callers) = Probe::reporting();
    let mut deps = deps(Issuer::ours().keys(), Limits::default());
    deps.clock = clock.clone();
    let transport = Transport::routes(stack(probe.bare(), deps)).with_tokens(tokens.clone());
    let mut client = EventServiceClient::new(transport);
    let mut call = async || {
        client.watch(WatchRequest::default()).await.expect("admitted");
        callers.recv().await.expect("a caller")
    };
    for _ in 0..3 {
        let caller = call().await;
        let service = caller.service().expect("a service");
        assert_eq!((service.account, service.role), (account(), ServiceRole::Billing));
    }
    assert_eq!(signed.load(Ordering::SeqCst), 1);
    clock.advance(Span::from_secs(271)).expect("forward");
    call().await.service().expect("a service");
    assert_eq!(signed.load(Ordering::SeqCst), 2, "less than half a minute was left");
    // A test clock may leap far beyond any token.
    clock.advance(Span::from_days(40)).expect("forward");
    call().await.service().expect("a service");
    assert_eq!(signed.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_used_again() {
    let clock = Clock::test(start());
    // Signed with keys that the peer does not know.
    let (tokens, signed) = tokens(Issuer::new("elsewhere", 9), clock.clone());
    let (probe, _callers) = Probe::reporting();
    let mut deps = deps(Issuer::ours().keys(), Limits::default());
    deps.clock = clock.clone();
    let transport = Transport::routes(stack(probe.bare(), deps)).with_tokens(tokens);
    let mut client = EventServiceClient::new(transport);
    let mut call = async || client.watch(WatchRequest::default()).await.expect_err("refused").code();
    assert_eq!(call().await, Code::Unauthenticated);
    // Neither is the next one got at once: a peer that refuses everything does not cost a token a call.
    for _ in 0..3 {
        assert_eq!(call().await, Code::Unavailable);
    }
    assert_eq!(signed.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(call().await, Code::Unauthenticated);
    // A test clock that leaps is not time that passes.
    clock.advance(Span::HOUR).expect("forward");
    assert_eq!(call().await, Code::Unavailable);
    assert_eq!(signed.load(Ordering::SeqCst), 2, "the refused one was replaced, once");
}

#[tokio::test]
async fn a_users_bad_token_does_not_use_up_the_services_own() {
    let clock = Clock::test(start());
    let (tokens, signed) = tokens(Issuer::ours(), clock.clone());
    let (probe, mut callers) = Probe::reporting();
    let mut deps = deps(Issuer::ours().keys(), Limits::default());
    deps.clock = clock.clone();
    let transport = Transport::routes(stack(probe.bare(), deps)).with_tokens(tokens);
    let mut client = EventServiceClient::new(transport);
    for _ in 0..3 {
        clock.advance(Span::from_secs(2)).expect("forward");
        let handed_on = with(WatchRequest::default(), &[common::for_user("garbage")]);
        let status = client.watch(handed_on).await.expect_err("refused");
        assert_eq!(reason_of(&status).as_deref(), Some("TOKEN_INVALID"));
        client.watch(WatchRequest::default()).await.expect("the service's own is as good as before");
        callers.recv().await.expect("a caller").service().expect("a service");
    }
    assert_eq!(signed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_service_acts_for_the_user_who_called_it() {
    let clock = Clock::test(start());
    let (behind, mut callers) = Probe::reporting();
    let (tokens, _) = tokens(Issuer::ours(), clock);
    let back = Transport::routes(behind.routes(&Issuer::ours())).with_tokens(tokens);
    let front = Probe::new(move |_| {
        let mut client = EventServiceClient::new(back.clone());
        async move {
            client.watch(on_behalf(Request::new(WatchRequest::default()))).await?;
            client.watch(WatchRequest::default()).await?;
            Ok(String::new())
        }
    });
    let transport = Transport::routes(front.routes(&Issuer::ours()));
    let mut client = ContextServiceClient::new(transport);
    let request = with(ListContextsRequest::default(), &[bearer(&Issuer::ours().user())]);
    client.list_contexts(request).await.expect("answered");
    let caller = callers.recv().await.expect("on behalf");
    assert_eq!(caller.service().expect("a service").account, account());
    assert_eq!(caller.user().expect("for a user").user, user_claims().sub);
    assert_eq!(caller.actor(), user_claims().sub.to_string());
    let caller = callers.recv().await.expect("for itself");
    assert!(caller.user().is_err(), "a user is named only where it was asked for: {caller:?}");

    // Somebody else's token beside one's own is not handed on: the call does not even begin.
    let other = Issuer::ours().sign(&bursar_rpc::token::AccessClaims { sub: other_user(), ..user_claims() });
    let both = [bearer(&Issuer::ours().user()), common::for_user(&other)];
    let refused = client.list_contexts(with(ListContextsRequest::default(), &both)).await.expect_err("refused");
    assert_eq!(reason_of(&refused).as_deref(), Some("CALLER_NOT_ALLOWED"));
    // From a service the user's is, and not the service's own.
    let product = Issuer::ours().service(ServiceRole::Product);
    let handed_on = [bearer(&product), common::for_user(&other)];
    client.list_contexts(with(ListContextsRequest::default(), &handed_on)).await.expect("answered");
    let caller = callers.recv().await.expect("on behalf");
    assert_eq!(caller.user().expect("for a user").user, other_user());
}

/// Somebody who has called nobody.
fn other_user() -> bursar_id::UserId {
    bursar_id::UserId::from_parts(9, [9; 10])
}

/// Identity's keys, which a test changes, and how often they were asked for.
#[derive(Clone, Default)]
struct Keys {
    published: Arc<std::sync::Mutex<Vec<Jwk>>>,
    asked: Arc<AtomicU32>,
}

impl Keys {
    fn publish(&self, issuer: &Issuer) {
        use base64::Engine as _;
        let (kid, key) = issuer.public();
        self.published.lock().expect("lock").push(Jwk {
            kid,
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key),
            ..Jwk::default()
        });
    }
}

#[tonic::async_trait]
impl KeyService for Keys {
    async fn get_jwks(&self, _: Request<GetJwksRequest>) -> Result<Response<GetJwksResponse>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let keys = self.published.lock().expect("lock").clone();
        Ok(Response::new(GetJwksResponse { keys }))
    }
}

fn fresh(issuer: &Issuer, seconds: u64) -> String {
    let standard = StandardClaims::lasting(start(), Span::from_secs(seconds));
    issuer.sign(&common::AccessClaimsWith::of(standard))
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_when_a_new_one_signs() {
    let (first, second, stranger) = (Issuer::new("k1", 1), Issuer::new("k2", 2), Issuer::new("k3", 3));
    let (identity, late) = Transport::late();
    let transport = Transport::routes(stack(
        Probe::who().bare(),
        deps(KeySet::remote(identity, &Clock::system()), Limits::default()),
    ));
    let call = async |token: String| {
        let request = with(ListContextsRequest::default(), &[bearer(&token)]);
        let answer = ContextServiceClient::new(transport.clone()).list_contexts(request).await;
        answer.map(|_| ()).map_err(|status| reason_of(&status).unwrap_or_default())
    };
    assert_eq!(call(first.user()).await, Err("KEYS_UNAVAILABLE".to_owned()), "not the caller's fault");

    let keys = Keys::default();
    keys.publish(&first);
    late.set(Routes::new(KeyServiceServer::new(keys.clone())));
    // After a failed fetch nobody asks for a while; then all of them at once.
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    let together = loop {
        let together = futures::future::join_all((0..50).map(|n| call(fresh(&first, 100 + n)))).await;
        if together.iter().all(Result::is_ok) || tokio::time::Instant::now() > until {
            break together;
        }
    };
    assert!(together.iter().all(Result::is_ok), "{together:?}");
    assert_eq!(keys.asked.load(Ordering::SeqCst), 1, "fifty callers, one fetch");

    keys.publish(&second);
    assert_eq!(call(second.user()).await, Ok(()), "a new key is known at once");
    assert_eq!(keys.asked.load(Ordering::SeqCst), 2);

    for n in 0..50 {
        let asked = keys.asked.load(Ordering::SeqCst);
        let refused = call(fresh(&stranger, 100 + n)).await;
        // Whether there is such a key is known only where it was asked for.
        let reason = if keys.asked.load(Ordering::SeqCst) > asked { "TOKEN_INVALID" } else { "KEYS_UNAVAILABLE" };
        assert_eq!(refused, Err(reason.to_owned()), "an unknown key, attempt {n}");
    }
    let asked = keys.asked.load(Ordering::SeqCst);
    assert!((3..=2 + 5).contains(&asked), "made-up key ids caused {asked} fetches");
    assert_eq!(call(first.user()).await, Ok(()), "the known ones still count");
}

/// A product behind which somebody makes up key ids, and somebody else has a token of a key that is new.
#[tokio::test]
async fn made_up_key_ids_stop_nobody_elses_new_key() {
    let (first, stranger, new) = (Issuer::new("k1", 1), Issuer::new("k3", 3), Issuer::new("k4", 4));
    let keys = Keys::default();
    keys.publish(&first);
    let identity = Transport::routes(Routes::new(KeyServiceServer::new(keys.clone())));
    let transport = Transport::routes(stack(
        Probe::who().bare(),
        deps(KeySet::remote(identity, &Clock::system()), Limits::default()),
    ));
    let product = first.service(ServiceRole::Product);
    let call = async |token: &str, address: &str| {
        let headers = [bearer(&product), common::for_user(token), ("bursar-client-address", address.to_owned())];
        let request = with(ListContextsRequest::default(), &headers);
        ContextServiceClient::new(transport.clone()).list_contexts(request).await.map(|_| ())
    };
    let (theirs, others) = ("203.0.113.5", "198.51.100.9");
    let mut refused = Vec::new();
    for n in 0..20 {
        let status = call(&fresh(&stranger, 100 + n), theirs).await.expect_err("refused");
        refused.push((status.code(), reason_of(&status).unwrap_or_default()));
    }
    assert_eq!(refused.first(), Some(&(Code::Unauthenticated, "TOKEN_INVALID".to_owned())));
    assert_eq!(refused.last(), Some(&(Code::Unavailable, "KEYS_UNAVAILABLE".to_owned())));

    keys.publish(&new);
    let status = call(&new.user(), theirs).await.expect_err("nothing was asked");
    assert_eq!(reason_of(&status).as_deref(), Some("KEYS_UNAVAILABLE"), "a right token is not called invalid");
    let info = tonic_types::StatusExt::get_details_retry_info(&status).expect("it says when to come again");
    assert!(info.retry_delay.is_some_and(|delay| delay <= Duration::from_secs(5)), "{info:?}");
    call(&new.user(), others).await.expect("who has made up nothing finds the new key");
    call(&new.user(), theirs).await.expect("which is everybody's from then on");

    // What is over proves nothing, whoever has signed it.
    let asked = keys.asked.load(Ordering::SeqCst);
    let past = StandardClaims::lasting(start().saturating_sub(Span::from_secs(600)), Span::from_secs(300));
    for _ in 0..3 {
        let over = stranger.sign(&common::AccessClaimsWith::of(past.clone()));
        let status = call(&over, "192.0.2.1").await.expect_err("refused");
        assert_eq!(reason_of(&status).as_deref(), Some("TOKEN_EXPIRED"));
    }
    assert_eq!(keys.asked.load(Ordering::SeqCst), asked, "a key that is gone is not asked for");
}

#[tokio::test]
async fn keys_of_this_process_rotate_without_fetching() {
    let (first, second) = (Issuer::new("k1", 1), Issuer::new("k2", 2));
    let keys = |issuers: &[&Issuer]| bursar_rpc::PublicKeys::new(issuers.iter().map(|i| i.public()));
    let (publish, published) = tokio::sync::watch::channel(keys(&[&first]));
    let routes = stack(Probe::who().bare(), deps(KeySet::local(published), Limits::default()));
    let transport = Transport::routes(routes);
    let call = async |token: String| {
        let request = with(ListContextsRequest::default(), &[bearer(&token)]);
        ContextServiceClient::new(transport.clone()).list_contexts(request).await.is_ok()
    };
    assert!(call(first.user()).await);
    assert!(!call(second.user()).await, "not published yet");
    publish.send_replace(keys(&[&first, &second]));
    assert!(call(second.user()).await, "published");
}
