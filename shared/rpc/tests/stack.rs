//! Deadlines, panics, overload, request ids and measurements, over a real server and in process.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::convert::Infallible;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bursar_id::UserId;
use bursar_proto::event::v1::WatchRequest;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::identity::v1::ListContextsRequest;
use bursar_proto::identity::v1::context_service_client::ContextServiceClient;
use bursar_proto::testing::v1::clock_service_client::ClockServiceClient;
use bursar_proto::testing::v1::{GetRequest, SetRequest};
use bursar_rpc::problem::reason_of;
use bursar_rpc::token::AccessClaims;
use bursar_rpc::{CallContext, Limits, Problem, ServiceRole, Transport, stack};
use bytes::Bytes;
use common::{Issuer, Probe, bearer, both_ways, deps, for_user, listen, network, user_claims, with};
use futures::StreamExt as _;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tokio::sync::{Notify, Semaphore};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;

fn stuck() -> Probe {
    Probe::new(|_| std::future::pending())
}

fn get_within(millis: u64) -> Request<GetRequest> {
    let mut request = Request::new(GetRequest::default());
    request.set_timeout(Duration::from_millis(millis));
    request
}

/// A client that is not ours: tonic's own, with tonic's own timer.
async fn plain(routes: tonic::service::Routes) -> ClockServiceClient<Channel> {
    let address = listen(routes).await;
    let endpoint = Endpoint::try_from(format!("http://{address}")).expect("a uri");
    ClockServiceClient::new(endpoint.connect().await.expect("connected"))
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_deadline_exceeded() {
    let client = plain(stuck().routes(&Issuer::ours())).await;
    let calls = (0..10).map(|_| {
        let mut client = client.clone();
        async move { client.get(get_within(500)).await.expect_err("never answered") }
    });
    let statuses = futures::future::join_all(calls).await;
    // tonic's own timers answer CANCELLED on either side. The client's may win on a busy machine (such a
    // status has a source); the server's never, because what the server says comes from ours.
    let answered: Vec<_> = statuses.iter().filter(|status| status.source().is_none()).collect();
    assert!(!answered.is_empty(), "the server never answered in time: {statuses:?}");
    for status in answered {
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert_eq!(reason_of(status).as_deref(), Some("DEADLINE_EXCEEDED"));
    }
}

#[tokio::test]
async fn a_call_without_a_deadline_has_the_default_and_no_more_than_the_maximum() {
    let limits = Limits {
        default_deadline: Duration::from_millis(50),
        max_deadline: Duration::from_millis(100),
        ..Limits::default()
    };
    let routes = stack(stuck().bare(), deps(Issuer::ours().keys(), limits));
    let mut client = plain(routes).await;
    for request in [Request::new(GetRequest::default()), get_within(60_000)] {
        let answer = tokio::time::timeout(Duration::from_secs(20), client.get(request)).await;
        let status = answer.expect("the server gave up").expect_err("never answered");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    }
}

#[tokio::test]
async fn what_is_left_of_the_deadline_is_passed_on() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let back = Probe::new(move |_| {
        sender.send(CallContext::current().expect("a call")).expect("received");
        async { Ok(String::new()) }
    });
    for (way, behind) in both_ways(back.routes(&Issuer::ours())).await {
        let front = Probe::new(move |_| {
            let mut client = ClockServiceClient::new(behind.clone());
            // No deadline of its own.
            async move { client.get(GetRequest::default()).await.map(|_| String::new()) }
        });
        let mut client = plain(front.routes(&Issuer::ours())).await;
        let mut request = get_within(4_000);
        request.metadata_mut().insert("x-request-id", "one-two".parse().expect("ascii"));
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        request.metadata_mut().insert("traceparent", trace.parse().expect("ascii"));
        let sent = tokio::time::Instant::now();
        client.get(request).await.expect("answered");
        let context = seen.recv().await.expect("the second hop was reached");
        assert!(context.deadline <= sent + Duration::from_secs(4), "{way}: longer than the caller waits");
        assert!(context.deadline > sent, "{way}");
        assert_eq!(context.call_id, "one-two", "{way}");
        assert_eq!(context.traceparent.expect("a trace"), trace, "{way}");
    }
}

#[tokio::test]
async fn a_second_hop_that_is_stuck_is_deadline_exceeded_too() {
    for (way, behind) in both_ways(stuck().routes(&Issuer::ours())).await {
        let front = Probe::new(move |_| {
            let mut client = ClockServiceClient::new(behind.clone());
            async move { client.get(GetRequest::default()).await.map(|_| String::new()) }
        });
        let mut client = plain(front.routes(&Issuer::ours())).await;
        let status = client.get(get_within(300)).await.expect_err("never answered");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{way}: {status}");
    }
}

#[tokio::test]
async fn a_panic_is_internal_and_the_server_lives() {
    let issuer = Issuer::ours();
    for (way, transport) in both_ways(Probe::who().routes(&issuer)).await {
        let mut client = ClockServiceClient::new(transport.clone());
        let status = client.set(SetRequest::default()).await.expect_err("a panic");
        assert_eq!(status.code(), Code::Internal, "{way}");
        assert_eq!(status.message(), "internal error", "{way}: the panic's text stays inside");
        assert_eq!(reason_of(&status).as_deref(), Some("INTERNAL"), "{way}");
        client.get(GetRequest::default()).await.expect("the server lives");

        let mut events = EventServiceClient::new(transport);
        let request = with(
            WatchRequest { types: vec!["panic".to_owned()], ..WatchRequest::default() },
            &[bearer(&issuer.service(ServiceRole::Billing))],
        );
        let mut stream = events.watch(request).await.expect("a stream").into_inner();
        assert!(stream.message().await.expect("before the panic").is_some(), "{way}");
        let status = stream.message().await.expect_err("the panic");
        assert_eq!(status.code(), Code::Internal, "{way}: {status}");
        client.get(GetRequest::default()).await.expect("the server still lives");
    }
}

/// A probe that says when a call has arrived, and answers when it is told to.
fn gate() -> (Probe, Arc<Semaphore>, Arc<Notify>) {
    let (arrived, open) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (arriving, opening) = (Arc::clone(&arrived), Arc::clone(&open));
    let probe = Probe::new(move |_| {
        arriving.add_permits(1);
        let opening = Arc::clone(&opening);
        async move {
            opening.notified().await;
            Ok(String::new())
        }
    });
    (probe, arrived, open)
}

#[tokio::test]
async fn an_overloaded_server_refuses_and_stays_healthy() {
    let (probe, arrived, open) = gate();
    // One caller may have as many as are left.
    let limits = Limits { max_in_flight: 4, ..Limits::default() };
    let (_, health) = tonic_health::server::health_reporter();
    let routes = probe.bare().add_service(health);
    let transport = network(listen(stack(routes, deps(Issuer::ours().keys(), limits))).await);
    let client = ClockServiceClient::new(transport.clone());
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.get(GetRequest::default()).await })
        })
        .collect();
    let _ = arrived.acquire_many(2).await.expect("two calls in work");

    let status = client.clone().get(GetRequest::default()).await.expect_err("a third");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason_of(&status).as_deref(), Some("OVERLOADED"));
    let retry = tonic_types::StatusExt::get_details_retry_info(&status).expect("RetryInfo");
    assert!(retry.retry_delay.is_some());
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(transport).check(request).await.expect("a busy server is alive");

    open.notify_waiters();
    for call in busy {
        call.await.expect("joined").expect("answered");
    }
    let mut again = client.clone();
    let call = tokio::spawn(async move { again.get(GetRequest::default()).await });
    let _ = arrived.acquire_many(3).await.expect("room again");
    open.notify_waiters();
    call.await.expect("joined").expect("answered");
}

/// By a clock that moves only while everybody waits.
#[tokio::test(start_paused = true)]
async fn a_refusal_for_now_waits_a_moment_and_keeps_its_place_meanwhile() {
    let full = Probe::new(|_| async { Err(Problem::exhausted("OVERLOADED", "no room").into()) });
    // One caller may have one of two.
    let limits = Limits { max_in_flight: 2, ..Limits::default() };
    let client = ClockServiceClient::new(Transport::routes(stack(full.bare(), deps(Issuer::ours().keys(), limits))));
    let ask = || {
        let mut client = client.clone();
        async move {
            let began = tokio::time::Instant::now();
            let status = client.get(GetRequest::default()).await.expect_err("no room");
            assert_eq!(reason_of(&status).as_deref(), Some("OVERLOADED"));
            began.elapsed()
        }
    };
    for _ in 0..2 {
        let (waited, at_the_door) = tokio::join!(ask(), ask());
        assert!(waited >= Duration::from_millis(100), "{waited:?}");
        assert_eq!(at_the_door, Duration::ZERO, "its place is taken");
    }
}

#[tokio::test]
async fn one_callers_waiting_calls_leave_room_for_others() {
    let issuer = Issuer::ours();
    let (probe, arrived, open) = gate();
    let limits = Limits { max_in_flight: 8, ..Limits::default() };
    let transport = network(listen(stack(probe.bare(), deps(issuer.keys(), limits))).await);
    let list = |headers: &[(&'static str, String)]| {
        let (mut client, request) =
            (ContextServiceClient::new(transport.clone()), with(ListContextsRequest::default(), headers));
        tokio::spawn(async move { client.list_contexts(request).await })
    };
    let ada = bearer(&issuer.user());
    let ben = bearer(&issuer.sign(&AccessClaims { sub: UserId::from_parts(1, [5; 10]), ..user_claims() }));
    let through_a_service = [bearer(&issuer.service(ServiceRole::Product)), for_user(&issuer.user())];

    let mut waiting: Vec<_> = (0..4).map(|_| list(std::slice::from_ref(&ada))).collect();
    let _ = arrived.acquire_many(4).await.expect("as many as are left");
    for headers in [std::slice::from_ref(&ada), &through_a_service] {
        let status = list(headers).await.expect("joined").expect_err("one more than are left");
        assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
    }
    waiting.push(list(std::slice::from_ref(&ben)));
    let _ = arrived.acquire_many(5).await.expect("somebody else has room");

    // Of whoever hangs up the handler is dropped, and the place with it.
    waiting.swap_remove(0).abort();
    let again = loop {
        let mut again = list(std::slice::from_ref(&ada));
        tokio::select! {
            permits = arrived.acquire_many(6) => {
                drop(permits.expect("room again"));
                break again;
            }
            answer = &mut again => {
                let status = answer.expect("joined").expect_err("the server has not heard of it yet");
                assert_eq!(reason_of(&status).as_deref(), Some("OVERLOADED"));
            }
        }
    };
    waiting.push(again);
    open.notify_waiters();
    for call in waiting {
        call.await.expect("joined").expect("answered");
    }
    let more: Vec<_> = (0..4).map(|_| list(std::slice::from_ref(&ada))).collect();
    let _ = arrived.acquire_many(10).await.expect("what was answered has no place any more");
    open.notify_waiters();
    for call in more {
        call.await.expect("joined").expect("answered");
    }
}

#[tokio::test]
async fn messages_in_work_have_so_many_bytes_of_one_caller_and_of_all() {
    const KIB: usize = 1024;
    let issuer = Issuer::ours();
    let (probe, arrived, open) = gate();
    let limits = Limits { max_message_bytes: 512 * KIB, ..Limits::default() };
    let transport = network(listen(stack(probe.bare(), deps(issuer.keys(), limits))).await);
    let list = |who: &(&'static str, String), bytes: usize| {
        let page_token = "x".repeat(bytes);
        let request =
            with(ListContextsRequest { page_token, ..ListContextsRequest::default() }, std::slice::from_ref(who));
        let mut client = ContextServiceClient::new(transport.clone());
        tokio::spawn(async move { client.list_contexts(request).await })
    };
    let ada = bearer(&issuer.user());
    let ben = bearer(&issuer.sign(&AccessClaims { sub: UserId::from_parts(1, [5; 10]), ..user_claims() }));

    // Each takes 128 KiB, and of what is left after two of them she has no more.
    let mut waiting: Vec<_> = (0..2).map(|_| list(&ada, 100 * KIB)).collect();
    let _ = arrived.acquire_many(2).await.expect("as much as is left");
    let status = list(&ada, 100 * KIB).await.expect("joined").expect_err("more than is left");
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
    assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some(), "she is to come again");
    waiting.push(list(&ada, 100));
    let _ = arrived.acquire_many(3).await.expect("small ones go with their places");
    waiting.push(list(&ben, 100 * KIB));
    let _ = arrived.acquire_many(4).await.expect("somebody else has room");

    // They count until their calls have ended, whoever has read them.
    open.notify_waiters();
    for call in waiting {
        call.await.expect("joined").expect("answered");
    }
    let again: Vec<_> = (0..2).map(|_| list(&ada, 100 * KIB)).collect();
    let _ = arrived.acquire_many(6).await.expect("what was answered has nothing in memory");
    open.notify_waiters();
    for call in again {
        call.await.expect("joined").expect("answered");
    }
}

/// The answer to a call whose message begins with these bytes and never ends.
async fn begun(channel: Channel, bytes: &'static [u8]) -> Status {
    let begins = futures::stream::iter([Ok::<_, Infallible>(Bytes::from_static(bytes))]);
    let body = axum::body::Body::from_stream(begins.chain(futures::stream::pending()));
    let request = http::Request::post("/bursar.testing.v1.ClockService/Get")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(body))
        .expect("a request");
    let answer = channel.oneshot(request).await.expect("an answer");
    Status::from_header_map(answer.headers()).expect("refused at once")
}

#[tokio::test]
async fn messages_that_never_come_leave_room_for_others() {
    let issuer = Issuer::ours();
    let limits = Limits { max_in_flight: 8, message_deadline: Duration::from_hours(1), ..Limits::default() };
    let routes = stack(Probe::who().bare(), deps(issuer.keys(), limits));
    let address = listen(routes.clone()).await;
    let channel = Endpoint::try_from(format!("http://{address}")).expect("a uri").connect().await.expect("connected");
    let flood = (0..5).map(|_| tokio::spawn(begun(channel.clone(), &[0])));
    let (refused, _, waiting) = futures::future::select_all(flood).await;
    let status = refused.expect("joined");
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));

    let request = || with(ListContextsRequest::default(), &[bearer(&issuer.user())]);
    let mut on_the_same = ContextServiceClient::new(channel);
    on_the_same.list_contexts(request()).await.expect("who has a token is not the stranger behind the same address");
    let mut on_another = ContextServiceClient::new(network(address));
    on_another.list_contexts(request()).await.expect("others have room");
    let mut elsewhere = ClockServiceClient::new(Transport::routes(routes));
    elsewhere.get(GetRequest::default()).await.expect("and so have strangers elsewhere");
    assert!(waiting.iter().all(|call| !call.is_finished()), "all of that while they wait");
}

#[tokio::test]
async fn a_message_that_does_not_come_ends_its_call_and_gives_its_place_back() {
    let limits = Limits {
        max_in_flight: 1,
        message_deadline: Duration::from_millis(50),
        default_deadline: Duration::from_hours(1),
        max_deadline: Duration::from_hours(1),
        ..Limits::default()
    };
    let address = listen(stack(Probe::who().bare(), deps(Issuer::ours().keys(), limits))).await;
    let channel = Endpoint::try_from(format!("http://{address}")).expect("a uri").connect().await.expect("connected");
    // A part of a message's head, a part of a message, and a message behind which the call goes on.
    let beginnings: [&'static [u8]; 3] = [&[0, 0], &[0, 0, 0, 0, 2, 8], &[0, 0, 0, 0, 0]];
    for bytes in beginnings {
        let answer = tokio::time::timeout(Duration::from_secs(20), begun(channel.clone(), bytes)).await;
        let status = answer.expect("the server gave up");
        assert_eq!(reason_of(&status).as_deref(), Some("DEADLINE_EXCEEDED"), "{bytes:?}: {status}");
        assert_eq!(status.message(), "the request's message did not come in time", "{bytes:?}");
        ClockServiceClient::new(channel.clone()).get(GetRequest::default()).await.expect("its place is free");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_makes_room() {
    struct Gone(Arc<AtomicBool>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let gone = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&gone);
    let probe = Probe::new(move |_| {
        let mark = Gone(Arc::clone(&mark));
        async move {
            let _mark = mark;
            std::future::pending::<Result<String, Status>>().await
        }
    });
    let mut client = ClockServiceClient::new(Transport::routes(probe.routes(&Issuer::ours())));
    let call = tokio::time::timeout(Duration::from_millis(20), client.get(GetRequest::default())).await;
    assert!(call.is_err(), "given up by the caller");
    assert!(gone.load(Ordering::SeqCst), "the handler was dropped with the call");
}

#[tokio::test]
async fn every_answer_carries_its_call_id() {
    for (way, transport) in both_ways(Probe::who().routes(&Issuer::ours())).await {
        let mut client = ClockServiceClient::new(transport.clone());
        let request = with(GetRequest::default(), &[("x-request-id", "abc-123".to_owned())]);
        let answer = client.get(request).await.expect("answered");
        assert_eq!(answer.metadata().get("x-request-id").expect("an id"), "abc-123", "{way}");
        let mut ids = Vec::new();
        for _ in 0..2 {
            let answer = client.get(GetRequest::default()).await.expect("answered");
            ids.push(answer.metadata().get("x-request-id").expect("an id").clone());
        }
        assert_ne!(ids[0], ids[1], "{way}: made-up ids differ");
        let refused = ContextServiceClient::new(transport)
            .list_contexts(ListContextsRequest::default())
            .await
            .expect_err("no token");
        assert!(refused.metadata().contains_key("x-request-id"), "{way}: refusals, too");
    }
}

/// The counted calls: method, code and how many.
fn counted(exporter: &InMemoryMetricExporter) -> Vec<(String, String, u64)> {
    let mut rows = Vec::new();
    let finished = exporter.get_finished_metrics().expect("exported");
    if let Some(resource) = finished.last() {
        for metric in resource.scope_metrics().flat_map(ScopeMetrics::metrics) {
            assert_eq!((metric.name(), metric.unit()), ("rpc.server.call.duration", "s"));
            let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else {
                panic!("not a histogram of seconds")
            };
            for point in histogram.data_points() {
                let label = |name: &str| {
                    let found = point.attributes().find(|label| label.key.as_str() == name);
                    found.map(|label| label.value.to_string()).unwrap_or_default()
                };
                assert_eq!(label("rpc.system.name"), "grpc");
                let row = (label("rpc.method"), label("rpc.response.status_code"), point.count());
                rows.push(row);
            }
        }
    }
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_measured_by_method_and_code_and_streams_at_their_end() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let issuer = Issuer::ours();
    let mut deps = deps(issuer.keys(), Limits::default());
    deps.meter = provider.meter("test");
    let transport = Transport::routes(stack(Probe::who().bare(), deps));

    let mut clock = ClockServiceClient::new(transport.clone());
    clock.get(GetRequest::default()).await.expect("answered");
    clock.set(SetRequest::default()).await.expect_err("a panic");
    ContextServiceClient::new(transport.clone())
        .list_contexts(ListContextsRequest::default())
        .await
        .expect_err("no token");
    let token = issuer.service(ServiceRole::Billing);
    let watch =
        |kind: &str| with(WatchRequest { types: vec![kind.to_owned()], ..Default::default() }, &[bearer(&token)]);
    let mut events = EventServiceClient::new(transport);
    let mut ends = events.watch(watch("")).await.expect("a stream").into_inner();
    while ends.message().await.expect("a message").is_some() {}
    let mut left = events.watch(watch("endless")).await.expect("a stream").into_inner();
    left.message().await.expect("a message");
    let open = events.watch(watch("endless")).await.expect("a stream");
    drop(left);

    provider.force_flush().expect("flushed");
    let row = |method: &str, code: &str| (method.to_owned(), code.to_owned(), 1);
    let expected = vec![
        row("bursar.event.v1.EventService/Watch", "CANCELLED"),
        row("bursar.event.v1.EventService/Watch", "OK"),
        row("bursar.identity.v1.ContextService/ListContexts", "UNAUTHENTICATED"),
        row("bursar.testing.v1.ClockService/Get", "OK"),
        row("bursar.testing.v1.ClockService/Set", "INTERNAL"),
    ];
    assert_eq!(counted(&exporter), expected, "and nothing of the stream that is still open");
    drop(open);
}
