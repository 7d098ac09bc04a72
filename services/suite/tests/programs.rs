//! The programs seen from outside: what they print, with which code they end, how soon they are ready, how
//! little they need, and that they always stop.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs,
    io::Read as _,
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use bursar_runtime::Service;
use bursar_testkit::{Plan, Ports, Program, Topology};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// How long a program may take that only has to read its settings.
const SOON: Duration = Duration::from_secs(20);
/// The longest that a stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// The most memory of a suite that does nothing, its code aside.
const IDLE_KIB: u64 = 56 * 1024;

fn bursar() -> Program {
    Program::new(env!("CARGO_BIN_EXE_bursar"))
}

#[test]
fn exit_codes_tell_a_mistake_from_a_failure() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let below_a_file = file.join("data").display().to_string();
    let ports = Ports::free();
    // Arguments, exit code, what is printed.
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--check-config"], 0, "the configuration is good"),
        (&["--print-config"], 0, "billing_store = \"sqlite://data/billing.db\""),
        (&["--version"], 0, "bursar "),
        (&["--no-such-flag"], 2, "--no-such-flag"),
        (&["no-such-command"], 2, "no-such-command"),
        (&["--mode", "production", "--test-clock"], 2, "refused in production mode"),
        (&["--port-base", "65533"], 2, "port_base"),
        (&["--billing-store", "mysql://x"], 2, "--billing-store"),
        (&["--config", "/no/such/file"], 2, "/no/such/file"),
        (&["--data-dir", &below_a_file], 1, "--data-dir"),
        (&["healthcheck"], 1, "readyz"),
    ];
    for (arguments, code, text) in cases {
        let program = bursar().env("BURSAR_PORT_BASE", ports.base().to_string());
        let (status, log) = program.args(arguments.iter().copied()).run(SOON);
        assert_eq!(status.code(), Some(*code), "{arguments:?}:\n{log}");
        assert!(log.contains(text), "{arguments:?}: no {text:?} in:\n{log}");
    }
    let (status, log) = bursar().env("BURSAR_DATADIR", "x").arg("--check-config").run(SOON);
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("BURSAR_DATADIR; did you mean BURSAR_DATA_DIR?"), "{log}");
}

#[test]
fn a_logo_that_is_no_picture_is_refused_at_the_start_by_its_settings_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, logo) = (dir.path().join("data").display().to_string(), dir.path().join("logo.png"));
    fs::write(&logo, "no picture").expect("written");
    let ports = Ports::free();
    for arguments in [&["--check-config"][..], &["--data-dir", data.as_str()]] {
        let program = bursar().env("BURSAR_PORT_BASE", ports.base().to_string());
        let program = program.env("BURSAR_INVOICES__LOGO_FILE", logo.display().to_string());
        let (status, log) = program.args(arguments.iter().copied()).run(SOON);
        assert!(!status.success(), "{arguments:?}:\n{log}");
        assert!(log.contains("invoices.logo_file: "), "{arguments:?} does not name the setting:\n{log}");
    }
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_touched() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let ports = Ports::free();
    let _squatter = TcpListener::bind(("127.0.0.1", ports.nth(3))).expect("a free port");
    let (status, log) = bursar().args(["--port-base", &ports.base().to_string(), "--data-dir"]).arg(&data).run(SOON);
    assert_eq!(status.code(), Some(1), "{log}");
    for piece in
        [&format!("127.0.0.1:{}", ports.nth(Service::Billing.port_offset())), "billing", "in use", "--port-base"]
    {
        assert!(log.contains(piece), "no {piece:?} in:\n{log}");
    }
    assert!(!data.exists(), "a program that could not start has made its data directory");
}

#[tokio::test]
async fn a_suite_is_ready_soon_small_and_stops_whoever_is_connected() {
    let mut suite = Plan::new(Topology::Suite).start().await;
    let ready = suite.started_in();
    let idle = suite.processes()[0].memory_kib();
    println!("ready in {ready:?}, {} KiB idle", idle.unwrap_or_default());
    assert!(ready < Duration::from_secs(10), "ready only after {ready:?}");
    assert!(idle.is_none_or(|kib| kib < IDLE_KIB), "{idle:?} KiB idle");

    let billing = format!("127.0.0.1:{}", suite.port(Service::Billing));
    for piece in ["Bursar is ready", &billing, "bursar demo", "grpcurl", "operator.json"] {
        suite.processes()[0].says(piece, SOON).await;
    }

    // Callers that never speak, on every port, and one that watches for ever.
    let every = Service::ALL.map(|service| suite.port(service));
    let silent: Vec<_> = every
        .iter()
        .chain([&suite.operations_port()])
        .map(|port| TcpStream::connect(("127.0.0.1", *port)).expect("connects"))
        .collect();
    let channel = Endpoint::from_shared(suite.url(Service::Billing)).expect("a URL");
    let channel = channel.connect().await.expect("connects");
    let request = HealthCheckRequest::default();
    let mut watch = HealthClient::new(channel).watch(request).await.expect("a stream").into_inner();
    watch.message().await.expect("an answer");
    let begin = Instant::now();
    let stopped = tokio::task::spawn_blocking(move || {
        let status = suite.stop(STOPS_WITHIN);
        (status, suite.processes()[0].log())
    });
    let (status, log) = stopped.await.expect("it stops");
    assert!(status[0].success(), "{status:?}\n{log}");
    println!("stopped in {:?}", begin.elapsed());
    // A stop that was asked for is nothing to warn of.
    let complaints = ["leaving background tasks", "did not close", "cutting connections", "cannot get a service token"];
    for complaint in complaints.into_iter().chain([" WARN ", " ERROR "]) {
        assert!(!log.contains(complaint), "{complaint:?} in:\n{log}");
    }
    for mut stream in silent {
        let _ = stream.read(&mut [0]);
    }
    while let Ok(Some(_)) = watch.message().await {}
}

/// SIGHUP asks to read files anew, but not where it says that the terminal is gone: nobody would know of a suite that goes on.
#[tokio::test]
async fn a_suite_ends_with_the_terminal_that_it_was_started_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let ports = Ports::free();
    let command = format!(
        "exec {} --port-base {} --data-dir {}",
        env!("CARGO_BIN_EXE_bursar"),
        ports.base(),
        dir.path().join("data").display()
    );
    // util-linux's `script` is the terminal.
    let mut terminal = Program::new("script").args(["--quiet", "--command", &command, "/dev/null"]).spawn();
    terminal.ready(ports.base()).await;
    terminal.kill();
    let gone = Instant::now();
    while TcpStream::connect(("127.0.0.1", ports.base())).is_ok() {
        assert!(gone.elapsed() < STOPS_WITHIN, "it goes on without its terminal");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_second_suite_on_the_same_ports_leaves_the_first_alone() {
    let suite = Plan::new(Topology::Suite).start().await;
    let base = suite.operations_port().to_string();
    let data = suite.data_dir().to_owned();
    let second =
        tokio::task::spawn_blocking(move || bursar().args(["--port-base", &base, "--data-dir"]).arg(&data).run(SOON));
    let (status, log) = second.await.expect("it ends");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("is another bursar running?"), "{log}");
    let (code, _) = bursar_testkit::get(suite.operations_port(), "/readyz").expect("an answer");
    assert_eq!(code, 200);
}

#[tokio::test]
async fn a_database_newer_than_the_program_is_refused_untouched() {
    let mut suite = Plan::new(Topology::Suite).start().await;
    suite.stop(STOPS_WITHIN);
    let path = suite.data_dir().join("billing.db");
    from_the_future(&path).await;
    let before = fs::read(&path).expect("the store");
    let (base, data) = (suite.operations_port().to_string(), suite.data_dir().to_owned());
    let again =
        tokio::task::spawn_blocking(move || bursar().args(["--port-base", &base, "--data-dir"]).arg(&data).run(SOON));
    let (status, log) = again.await.expect("it ends");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("billing") && log.contains("newer"), "{log}");
    assert!(before == fs::read(&path).expect("the store"), "the store was changed");
}

/// Makes a store look as if a later version of the program had migrated it.
async fn from_the_future(path: &Path) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut store = SqliteConnection::connect_with(&options).await.expect("opens");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .execute(&mut store)
    .await
    .expect("marked");
    store.close().await.expect("closes");
}
