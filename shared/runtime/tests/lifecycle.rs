//! A program around a service of the test's own: what its ports answer, and that it always stops.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bursar_proto::{
    event::v1::{WatchRequest, event_service_client::EventServiceClient},
    testing::v1::{AdvanceRequest, GetRequest, SetRequest, clock_service_client::ClockServiceClient},
};
use bursar_runtime::{Listeners, PaymentProvider, ReadyProbe, Service};
use bursar_testkit::get;
use futures::StreamExt as _;
use support::{EVENTS, Running, channel, settings};
use tokio::io::AsyncReadExt as _;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

async fn health(url: &str, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel(url)).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

/// Asks the operations port from a thread that may block.
async fn ask(port: u16, path: &'static str) -> (u16, String) {
    let answer = tokio::task::spawn_blocking(move || get(port, path)).await.expect("no panic");
    answer.unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[tokio::test]
async fn probes_follow_readiness() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, false).await;
    let url = running.url();
    assert_eq!(ask(ports.base(), "/livez").await, (200, "alive\n".to_owned()));
    let (code, text) = ask(ports.base(), "/readyz").await;
    assert_eq!((code, text.as_str()), (503, "billing: not ready: the store sleeps\n"));
    assert_eq!(health(&url, "").await, Ok(ServingStatus::NotServing));
    assert_eq!(health(&url, EVENTS).await, Ok(ServingStatus::NotServing));
    assert_eq!(health(&url, "no.such.Service").await, Err(Code::NotFound));

    running.ready.store(true, Ordering::SeqCst);
    running.became_ready().await;
    assert_eq!(ask(ports.base(), "/readyz").await, (200, "billing: ready\n".to_owned()));
    assert_eq!(health(&url, "").await, Ok(ServingStatus::Serving));
    assert_eq!(health(&url, EVENTS).await, Ok(ServingStatus::Serving));

    // A store that goes away takes readiness with it, and liveness not.
    let request = HealthCheckRequest { service: EVENTS.to_owned() };
    let mut watch = HealthClient::new(channel(&url)).watch(request).await.expect("watch").into_inner();
    let mut next = async || watch.next().await.map(|answer| answer.expect("health").status());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    running.ready.store(false, Ordering::SeqCst);
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(ask(ports.base(), "/readyz").await.0, 503);
    assert_eq!(ask(ports.base(), "/livez").await.0, 200);
    running.stop().await.expect("stops");
    assert_eq!(next().await, None, "a watcher's stream ends with the program");
}

#[tokio::test]
async fn webhooks_have_a_port_of_their_own_where_there_are_any() {
    let (settings, ports) = settings();
    let running = Running::start(settings.clone(), &ports, true).await;
    let closed = tokio::task::spawn_blocking({
        let port = ports.nth(4);
        move || get(port, "/webhooks/stripe")
    });
    closed.await.expect("no panic").expect_err("nobody listens");
    running.stop().await.expect("stops");

    let mut settings = settings;
    settings.payments.provider = PaymentProvider::Stripe;
    // As in the suite: those that start before have no webhooks, and the port is not theirs to close.
    let others = [Service::Identity, Service::Organization];
    let running = Running::start_after(&others, settings.clone(), &ports, true).await;
    assert_eq!(ask(ports.nth(4), "/webhooks/stripe").await, (200, "here\n".to_owned()));
    let refusal = Listeners::bind(&settings, &[]).await.expect_err("in use").to_string();
    assert!(!refusal.contains("webhooks"), "who takes no payments has no inbox: {refusal}");
    running.stop().await.expect("stops");

    let _taken = tokio::net::TcpListener::bind(("127.0.0.1", ports.nth(4))).await.expect("free");
    let refusal = Listeners::bind(&settings, Service::Billing.alone()).await.expect_err("in use").to_string();
    for piece in ["payment webhooks", "in use", "payments.stripe.inbox_address"] {
        assert!(refusal.contains(piece), "no {piece} in {refusal}");
    }
}

#[tokio::test]
async fn a_stop_waits_for_a_webhook_that_has_begun() {
    let (mut settings, ports) = settings();
    settings.payments.provider = PaymentProvider::Stripe;
    let running = Running::start(settings, &ports, true).await;
    let asking = tokio::spawn(ask(ports.nth(4), "/webhooks/slow"));
    running.slow.began.notified().await;
    running.signals.gracefully.cancel();
    running.env.shutdown.cancelled().await;
    // There is nothing else to wait for: were it not for the webhook, all would be cut at once.
    let halted = tokio::time::timeout(Duration::from_millis(500), running.env.halt.cancelled()).await;
    halted.expect_err("cut while a webhook was answered");
    running.slow.go_on.notify_one();
    assert_eq!(asking.await.expect("no panic"), (200, "at last\n".to_owned()));
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn metrics_are_served() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    running.meter.u64_counter("test.calls").build().add(3, &[]);
    let seconds = running.meter.f64_histogram("test.duration").with_unit("s").build();
    seconds.record(0.004, &[]);
    let (code, page) = ask(ports.base(), "/metrics").await;
    assert_eq!(code, 200);
    for line in ["test_calls_total 3", "test_duration_seconds_bucket{le=\"0.005\"} 1", "target_info{"] {
        assert!(page.contains(line), "no {line} in:\n{page}");
    }
    assert_eq!(ask(ports.base(), "/nothing").await.0, 404);
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn reflection_lists_what_a_port_serves() {
    let (mut settings, ports) = settings();
    settings.test_clock = true;
    let running = Running::start(settings, &ports, true).await;
    let expected =
        [EVENTS, "bursar.testing.v1.ClockService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
    assert_eq!(support::services(&running.url()).await, expected);
    let expected =
        [EVENTS, "bursar.testing.v1.ClockService", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"];
    assert_eq!(support::services_alpha(&running.url()).await, expected);
    assert!(support::describes(&running.url(), EVENTS).await > 0, "the file of {EVENTS}");
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn the_test_clock_moves_forward_only() {
    let (mut settings, ports) = settings();
    settings.test_clock = true;
    let running = Running::start(settings, &ports, true).await;
    let mut clock = ClockServiceClient::new(channel(&running.url()));
    let start = clock.get(GetRequest {}).await.expect("the time").into_inner().now.expect("a time");
    let by = prost_types::Duration { seconds: 86_400, nanos: 0 };
    let moved = clock.advance(AdvanceRequest { by: Some(by) }).await.expect("moves").into_inner();
    assert_eq!(moved.now.expect("a time").seconds, start.seconds + 86_400);
    assert_eq!(running.clock.now().as_unix_secs(), start.seconds + 86_400);
    let back = clock.set(SetRequest { now: Some(start) }).await.expect_err("never back");
    assert_eq!(back.code(), Code::FailedPrecondition);
    assert_eq!(bursar_rpc::problem::reason_of(&back).as_deref(), Some("CLOCK_CANNOT_GO_BACK"));
    for by in [
        None,
        Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 }),
    ] {
        let refused = clock.advance(AdvanceRequest { by }).await.expect_err("no span");
        assert_eq!(refused.code(), Code::InvalidArgument, "{by:?}");
    }
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn without_a_test_clock_there_is_no_clock_service() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    let refused = ClockServiceClient::new(channel(&running.url())).get(GetRequest {}).await;
    assert_eq!(refused.expect_err("unknown").code(), Code::Unimplemented);
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let (settings, ports) = settings();
    let _squatter = tokio::net::TcpListener::bind(("127.0.0.1", ports.nth(3))).await.expect("free");
    let refusal = Listeners::bind(&settings, &Service::ALL).await.expect_err("in use").to_string();
    for piece in [&format!("127.0.0.1:{}", ports.nth(3)), "billing", "in use", "--port-base"] {
        assert!(refusal.contains(piece), "no {piece} in {refusal}");
    }
    // The ports that were taken before the one that failed are free again.
    Listeners::bind(&settings, &[Service::Identity, Service::Organization]).await.expect("free");
    let _squatter = tokio::net::TcpListener::bind(("127.0.0.1", ports.base())).await.expect("free");
    let refusal = Listeners::bind(&settings, &[]).await.expect_err("in use").to_string();
    assert!(refusal.contains("operations") && refusal.contains("--operations-port"), "{refusal}");
}

#[tokio::test]
async fn silent_connections_and_polite_streams_do_not_delay_stopping() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", ports.nth(3))).await.expect("connects");
    let mut operations = tokio::net::TcpStream::connect(("127.0.0.1", ports.base())).await.expect("connects");
    let request = WatchRequest { cursor: "polite".to_owned(), types: Vec::new() };
    let mut client = EventServiceClient::new(channel(&running.url()));
    let mut events = client.watch(request).await.expect("a stream").into_inner();
    events.next().await.expect("an answer").expect("a heartbeat");
    let begin = Instant::now();
    running.stop().await.expect("stops");
    assert!(begin.elapsed() < Duration::from_millis(1500), "took {:?}", begin.elapsed());
    assert!(events.next().await.is_none_or(|end| end.is_err()), "the stream ends");
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
    let _ = operations.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn a_stream_that_never_ends_is_cut_within_the_limit() {
    let (mut settings, ports) = settings();
    settings.limits.shutdown = Duration::from_secs(2);
    let running = Running::start(settings, &ports, true).await;
    let request = WatchRequest { cursor: "endless".to_owned(), types: Vec::new() };
    let mut client = EventServiceClient::new(channel(&running.url()));
    let mut events = client.watch(request).await.expect("a stream").into_inner();
    events.next().await.expect("an answer").expect("a heartbeat");
    let closed = running.closed.clone();
    let begin = Instant::now();
    running.stop().await.expect("stops");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(1400), "callers get their time: {took:?}");
    assert!(took < Duration::from_millis(2500), "took {took:?}");
    assert!(closed.load(Ordering::SeqCst), "the store was closed");
    assert!(events.next().await.is_none_or(|end| end.is_err()), "the connection was cut");
}

#[tokio::test]
async fn calls_are_answered_while_the_word_spreads() {
    let (mut settings, ports) = settings();
    settings.limits.drain = Duration::from_millis(700);
    let running = Running::start(settings, &ports, true).await;
    let (url, signals) = (running.url(), running.signals.clone());
    signals.gracefully.cancel();
    // Not ready at once, and still serving.
    let (code, text) = ask(ports.base(), "/readyz").await;
    assert_eq!((code, text.as_str()), (503, "draining\n"));
    assert_eq!(ask(ports.base(), "/livez").await.0, 200);
    assert_eq!(health(&url, "").await, Ok(ServingStatus::NotServing));
    running.stop().await.expect("stops");
    assert_eq!(health(&url, "").await, Err(Code::Unavailable), "nobody listens any more");
}

#[tokio::test]
async fn told_twice_it_stops_at_once() {
    let (mut settings, ports) = settings();
    settings.limits.drain = Duration::from_secs(3);
    let running = Running::start(settings, &ports, true).await;
    let begin = Instant::now();
    running.signals.gracefully.cancel();
    running.signals.at_once.cancel();
    running.stop().await.expect("stops");
    assert!(begin.elapsed() < Duration::from_secs(1), "took {:?}", begin.elapsed());
}

#[tokio::test]
async fn files_are_read_anew_as_often_as_asked_and_nothing_else_happens() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    let reloads = async |expected: usize| {
        tokio::time::timeout(Duration::from_secs(20), async {
            while running.reloads.load(Ordering::SeqCst) < expected {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .expect("in time");
        assert_eq!(running.reloads.load(Ordering::SeqCst), expected);
    };
    for expected in 1..=3 {
        running.signals.reload.notify_one();
        reloads(expected).await;
    }
    assert_eq!(ask(ports.base(), "/readyz").await.0, 200, "it serves on");
    // While it drains nobody's files are read any more.
    running.env.shutdown.cancel();
    running.signals.reload.notify_one();
    let counted = running.reloads.clone();
    running.stop().await.expect("stops");
    assert_eq!(counted.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn background_work_ends_before_the_store_closes() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    let (env, closed) = (running.env.clone(), running.closed.clone());
    let worker = env.tasks.spawn(async move {
        env.shutdown.cancelled().await;
        env.halt.cancelled().await;
        closed.load(Ordering::SeqCst)
    });
    running.stop().await.expect("stops");
    assert!(!worker.await.expect("no panic"), "the store was closed while work went on");
}

#[tokio::test]
async fn a_probe_that_hangs_counts_as_not_ready() {
    let probe = ReadyProbe::new(std::future::pending);
    let refusal = probe.check().await.expect_err("hangs").to_string();
    assert!(refusal.contains("2 seconds"), "{refusal}");
}
