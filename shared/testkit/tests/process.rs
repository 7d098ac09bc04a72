//! Programs are started, watched and stopped, and never outlive the test process.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::BufRead,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bursar_testkit::{Ports, Program, get, sqlite};

const SOON: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_program_prints_and_how_it_ends_is_seen() {
    let program = shell("echo out; echo err >&2; echo \"$GIVEN\"; exit 3").env("GIVEN", "value");
    let (status, log) = program.run(SOON);
    assert_eq!(status.code(), Some(3));
    assert_eq!(log, "out\nerr\nvalue\n");
}

#[test]
fn a_program_is_stopped_gently_or_not() {
    let polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
    let mut process = shell(polite).spawn();
    wait_until("it is up", || process.log().contains("up"));
    assert!(process.memory_kib().is_some_and(|kib| kib > 0), "a running program occupies memory");
    assert!(process.stop(SOON).success(), "{}", process.log());
    assert!(process.log().ends_with("bye\n"), "{}", process.log());

    let mut process = shell(polite).spawn();
    wait_until("it is up", || process.log().contains("up"));
    process.kill();
    assert_eq!(process.log(), "up\n", "a killed program says nothing more");
}

#[test]
fn the_settings_of_whoever_runs_the_tests_are_not_passed_on() {
    // This process's environment cannot be changed safely, so a second one is given the variable.
    let (status, log) = Program::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "helper_prints_the_settings", "--nocapture"])
        .env("BURSAR_PORT_BASE", "1")
        .env("TESTKIT_HELPER", "1")
        .run(SOON);
    assert!(status.success(), "{log}");
    assert!(log.contains("settings=[]"), "{log}");
}

/// Not a test of its own: the one above runs it in another process.
#[test]
fn helper_prints_the_settings() {
    if std::env::var_os("TESTKIT_HELPER").is_none() {
        return;
    }
    let (_, log) = shell("echo \"settings=[$BURSAR_PORT_BASE]\"").run(SOON);
    println!("{log}");
}

#[test]
fn a_killed_test_process_takes_its_programs_and_files_along() {
    let mut holder = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "helper_holds_a_program", "--nocapture"])
        .env("TESTKIT_HELPER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the holder starts");
    let output = std::io::BufReader::new(holder.stdout.take().expect("its output"));
    let mut lines = output.lines().map_while(Result::ok);
    let url =
        lines.find_map(|line| line.strip_prefix("url=sqlite://").map(str::to_owned)).expect("a database's address");
    let file = Path::new(&url).parent().expect("its directory").to_owned();
    assert!(file.exists(), "{} is there", file.display());
    let id = lines.find_map(|line| line.strip_prefix("held=").map(str::to_owned)).expect("the program's id");
    assert!(Path::new("/proc").join(&id).exists() || !Path::new("/proc/self").exists(), "{id} runs");
    holder.kill().expect("SIGKILL");
    holder.wait().expect("the holder has ended");
    wait_until("the program is gone", || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // Killed but not yet collected by its new parent is gone, too.
        stat.is_empty() || stat.contains(") Z ")
    });
    wait_until("the files are gone", || !file.exists());
}

/// Not a test of its own: the one above runs it in another process.
#[test]
fn helper_holds_a_program() {
    if std::env::var_os("TESTKIT_HELPER").is_none() {
        return;
    }
    let process = shell("exec sleep 60").spawn();
    let database = sqlite::file();
    println!("\nurl={}\nheld={}", database.url(), process.id());
    std::thread::sleep(Duration::from_mins(1));
}

#[test]
fn an_http_answer_is_read() {
    use std::io::{Read, Write};
    let ports = Ports::free();
    let listener = TcpListener::bind(("127.0.0.1", ports.base())).expect("a free port is free");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 1024];
        let read = stream.read(&mut request).expect("a request");
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\nnot yet").expect("an answer");
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    assert_eq!(get(ports.base(), "/readyz").expect("an answer"), (503, "not yet".to_owned()));
    let request = server.join().expect("the server ends");
    assert!(request.starts_with("GET /readyz HTTP/1.1\r\n"), "{request}");
}
