//! What telemetry writes and sends. It is installed once in a process and writes to standard error, so
//! each case runs this test's own program again as a child.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::{
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::Uri, response::IntoResponse};
use bursar_runtime::{LogFormat, Program, Settings, Telemetry};
use bursar_testkit::Ports;
use tonic::{service::Routes, transport::Server};

/// Tells the child which case to play: `text`, `json` or `panic`, and the collector's URL if there is one.
const CASE: &str = "BURSAR_TEST_TELEMETRY";

/// Not a test of its own: what the child does.
#[test]
fn child() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    let (case, collector) = case.split_once(' ').unwrap_or((&case, ""));
    let mut settings = Settings::for_test(std::env::temp_dir());
    settings.log.format = if case == "text" { LogFormat::Text } else { LogFormat::Json };
    settings.otlp_endpoint = (!collector.is_empty()).then(|| collector.to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let telemetry = Telemetry::build(Program::Suite, &settings).expect("telemetry");
        telemetry.install(Program::Suite, &settings).expect("installs");
        tracing::info!("outside");
        let span = tracing::info_span!("call", rpc.method = "Charge");
        span.in_scope(|| tracing::info!(amount = "12.5", "inside"));
        drop(span);
        if case == "panic" {
            let task = tokio::spawn(async { std::hint::black_box(None::<u8>).expect("something is broken") });
            task.await.expect_err("it panics");
        }
        telemetry.meter().u64_counter("test.calls").build().add(1, &[]);
        telemetry.shutdown().await;
    });
}

fn play(case: &str) -> Output {
    let program = std::env::current_exe().expect("this program");
    let output =
        Command::new(program).args(["--exact", "child", "--nocapture"]).env(CASE, case).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn line<'a>(log: &'a str, containing: &str) -> &'a str {
    let found = log.lines().find(|line| line.contains(containing));
    found.unwrap_or_else(|| panic!("no line with {containing:?} in:\n{log}"))
}

#[test]
fn text_lines_end_with_the_trace() {
    let output = play("text");
    let log = String::from_utf8_lossy(&output.stderr);
    let inside = line(&log, "inside");
    let (_, ids) = inside.split_once(" trace_id=").expect("a trace id");
    let (trace, span) = ids.split_once(" span_id=").expect("a span id");
    assert_eq!((trace.len(), span.len()), (32, 16), "{inside}");
    assert!(inside.contains("amount=\"12.5\"") && inside.contains("Charge"), "{inside}");
    assert!(!line(&log, "outside").contains("trace_id"), "{log}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("inside"), "logs go to standard error");
}

#[test]
fn json_lines_are_objects_with_the_trace() {
    let output = play("json");
    let log = String::from_utf8_lossy(&output.stderr);
    let inside: serde_json::Value = serde_json::from_str(line(&log, "inside")).expect("JSON");
    assert_eq!(inside["message"], "inside");
    assert_eq!(inside["amount"], "12.5");
    assert_eq!(inside["span"]["rpc.method"], "Charge");
    assert_eq!(inside["trace_id"].as_str().map(str::len), Some(32), "{inside}");
    assert_eq!(inside["span_id"].as_str().map(str::len), Some(16), "{inside}");
    let outside: serde_json::Value = serde_json::from_str(line(&log, "outside")).expect("JSON");
    assert!(outside.get("trace_id").is_none(), "{outside}");
}

#[test]
fn panics_are_logged_with_their_place() {
    let output = play("panic");
    let log = String::from_utf8_lossy(&output.stderr);
    let panic: serde_json::Value = serde_json::from_str(line(&log, "panicked")).expect("JSON");
    assert_eq!(panic["level"], "ERROR");
    assert!(panic["panic"].as_str().is_some_and(|text| text.contains("something is broken")), "{panic}");
    assert!(panic["place"].as_str().is_some_and(|place| place.contains("telemetry.rs")), "{panic}");
}

/// Remembers which RPCs of a collector were called, and answers each with an empty message.
async fn collect(State(called): State<Arc<Mutex<Vec<String>>>>, uri: Uri) -> impl IntoResponse {
    called.lock().expect("no panic").push(uri.path().to_owned());
    // One empty gRPC message.
    ([("content-type", "application/grpc"), ("grpc-status", "0")], [0_u8; 5].as_slice())
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_and_metrics_reach_the_collector() {
    let called = Arc::new(Mutex::new(Vec::new()));
    let ports = Ports::free();
    let address = ([127, 0, 0, 1], ports.base()).into();
    let router = Router::new().fallback(collect).with_state(Arc::clone(&called));
    let server = tokio::spawn(Server::builder().add_routes(Routes::from(router)).serve(address));
    let case = format!("json http://{address}");
    tokio::task::spawn_blocking(move || play(&case)).await.expect("plays");
    server.abort();
    let called = called.lock().expect("no panic");
    for service in ["trace.v1.TraceService", "metrics.v1.MetricsService"] {
        let path = format!("/opentelemetry.proto.collector.{service}/Export");
        assert!(called.contains(&path), "no {path} in {called:?}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_delays_the_end_only_briefly() {
    let ports = Ports::free();
    let mut settings = Settings::for_test(std::env::temp_dir());
    settings.otlp_endpoint = Some(format!("http://127.0.0.1:{}", ports.base()));
    let telemetry = Telemetry::build(Program::Suite, &settings).expect("telemetry");
    let begin = std::time::Instant::now();
    telemetry.shutdown().await;
    assert!(begin.elapsed().as_millis() < 1500, "took {:?}", begin.elapsed());
}
