//! What everybody may send before a call's message: headers of every sort, alone, twice and beside one another.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use bursar_rpc::{Caller, Limits, ServiceRole, stack};
use common::{Issuer, Probe, account, deps, user_id};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tower::Service as _;
use tracing::span::{Attributes, Id, Record};

/// An RPC for everybody, one for users and one for services.
const RPCS: [&str; 3] = [
    "/bursar.testing.v1.ClockService/Get",
    "/bursar.identity.v1.ContextService/ListContexts",
    "/bursar.event.v1.EventService/Watch",
];
/// An empty message, as the wire has it.
const MESSAGE: [u8; 5] = [0; 5];
/// Whoever may connect in a test's network.
const PROXY: &str = "10.0.0.1:1";

/// Somebody who listens to every span, so that the trace that a caller sends is read.
struct Listens;

impl tracing::Subscriber for Listens {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The headers that lines say, as far as HTTP has them.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let cut = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..cut], line.get(cut + 1..).unwrap_or_default());
        let named = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii()));
        if let (Ok(name), Ok(value)) = named {
            headers.append(name, value);
        }
    }
    headers
}

/// A service behind the stack, and whom it has let in.
struct Gate {
    routes: Routes,
    admitted: Arc<Mutex<Option<Caller>>>,
    time: tokio::runtime::Runtime,
}

impl Gate {
    fn new(issuer: &Issuer) -> Self {
        let admitted: Arc<Mutex<Option<Caller>>> = Arc::default();
        let seen = Arc::clone(&admitted);
        let probe = Probe::new(move |caller| {
            *seen.lock().expect("a lock") = Some(caller);
            async { Ok(String::new()) }
        });
        let limits = Limits { trusted_proxies: "10.0.0.0/8".parse().expect("a network"), ..Limits::default() };
        let time = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { routes: stack(probe.bare(), deps(issuer.keys(), limits)), admitted, time }
    }

    /// Calls with these headers; gives whom it was let in as, if it was, and what the answer says before its own message.
    fn call(&self, rpc: &'static str, headers: &HeaderMap) -> (Option<Caller>, HeaderMap) {
        let mut request = Request::post(rpc).body(Body::from(MESSAGE.to_vec())).expect("a request");
        *request.headers_mut() = headers.clone();
        let remote_addr: Option<SocketAddr> = PROXY.parse().ok();
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr });
        let mut routes = self.routes.clone();
        let answer = self.time.block_on(async { routes.call(request).await });
        let answer = answer.unwrap_or_else(|never| match never {});
        (self.admitted.lock().expect("a lock").take(), answer.headers().clone())
    }
}

/// Whether the first of these headers is this token's.
fn bears(headers: &HeaderMap, name: &str, token: &str) -> bool {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split_once(' ')).is_some_and(|(_, said)| said.trim_start_matches(' ') == token)
}

#[test]
fn fuzz_headers() {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let issuer = Issuer::ours();
    let (user, product) = (issuer.user(), issuer.service(ServiceRole::Product));
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ntracestate: a=b,c=d";
    let samples = [
        format!("authorization: Bearer {user}\nx-request-id: a-1\n{trace}"),
        format!("authorization: Bearer {product}\nbursar-client-address: 2001:db8::1%eth0\ngrpc-timeout: 20S"),
        format!(
            "authorization: bearer {product}\nbursar-user-authorization: Bearer {user}\nbursar-client-address: 203.0.113.5"
        ),
        format!("x-forwarded-for: 203.0.113.5, 10.0.0.7, [2001:db8::1]:80\ngrpc-timeout: 99999999H\n{trace}"),
        "authorization: Basic YTpi\nbursar-client-address: \nuser-agent: a\ncontent-type: application/grpc+proto\n\
         grpc-encoding: gzip\ngrpc-accept-encoding: identity,deflate,gzip\nte: trailers\ngrpc-timeout: 0n"
            .to_owned(),
    ];
    let gate = Gate::new(&issuer);
    let good = samples.iter().map(|sample| RPCS.map(|rpc| gate.call(rpc, &headers(sample.as_bytes())).0.is_some()));
    let expected = [[true, true, false], [true, false, true], [true, true, true], [true, false, false], [false; 3]];
    assert_eq!(good.collect::<Vec<_>>(), expected, "which of them get in");
    tracing::subscriber::with_default(Listens, || {
        bursar_fuzz::fuzz("headers", &samples, |bytes| {
            let headers = headers(bytes);
            for rpc in RPCS {
                let (admitted, answer) = gate.call(rpc, &headers);
                let id = answer.get("x-request-id").map(HeaderValue::as_bytes).unwrap_or_default();
                assert!((1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic), "{rpc}: {answer:?}");
                let Some(caller) = admitted else {
                    assert!(answer.contains_key("grpc-status"), "{rpc}: neither let in nor refused: {answer:?}");
                    continue;
                };
                let is_services = bears(&headers, "authorization", &product);
                if let Some(service) = caller.service() {
                    assert!(is_services && service.account == account(), "{rpc}: {headers:?} is {caller:?}");
                }
                if let Ok(person) = caller.user() {
                    let named = if is_services { "bursar-user-authorization" } else { "authorization" };
                    let proven = bears(&headers, named, &user) && person.user == user_id();
                    assert!(proven, "{rpc}: {headers:?} is {caller:?}");
                }
            }
        });
    });
}
