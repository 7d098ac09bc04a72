//! The private PostgreSQL never outlives the test process that started it.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bursar_testkit::postgres::{self, Durability};

/// The directory of the server's socket, out of a database's URL.
fn directory(url: &str) -> PathBuf {
    PathBuf::from(url.split_once("?host=").expect("a socket in the URL").1)
}

/// Not a test of its own: the next one runs it in another process and kills that.
#[test]
fn helper_holds_a_server() {
    if std::env::var_os("TESTKIT_HELPER").is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let db = runtime.block_on(postgres::database());
    println!("\nURL={}", db.map_or_else(|| "none".to_owned(), |db| db.url().to_owned()));
    std::thread::sleep(Duration::from_mins(1));
}

#[test]
fn a_killed_test_process_takes_its_server_along() {
    use std::io::BufRead;
    let mut holder = Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", "helper_holds_a_server", "--nocapture"])
        .env("TESTKIT_HELPER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the holder starts");
    let output = std::io::BufReader::new(holder.stdout.take().expect("its output"));
    let url = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("URL=").map(str::to_owned))
        .expect("the holder names its database");
    holder.kill().expect("SIGKILL");
    holder.wait().expect("the holder has ended");
    if url == "none" {
        return;
    }
    let directory = directory(&url);
    let start = Instant::now();
    while directory.exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "the server in {} outlived its test", directory.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_dropped_server_is_gone() {
    let Some(server) = postgres::start(Durability::Durable) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let db = runtime.block_on(server.create_database());
    let directory = directory(db.url());
    assert!(directory.exists(), "a running server has its files in {}", directory.display());
    drop(server);
    assert!(!directory.exists(), "{} was left behind", directory.display());
}
