//! PostgreSQL for a test, with nothing to set up: a private server for each test process, a fresh database for each
//! test.
//!
//! The server is found in `PATH` or under `/usr/lib/postgresql`, listens on a unix socket in a temporary directory only,
//! and ends with the test process however that ends. Where PostgreSQL is not installed, tests that need it say so on
//! standard error and pass without having run; with `BURSAR_REQUIRE_POSTGRES=1` they fail instead.

mod locks;
mod programs;
mod server;

use std::{io::Write, sync::OnceLock};

pub use locks::{somebody_waits, waiting_for_locks};
pub use server::{Durability, Server};

use crate::engines::{Outcome, TestDb, block_on};

/// What to do about a missing PostgreSQL, in one line.
const ADVICE: &str = "PostgreSQL's programs (initdb, postgres) are neither in PATH nor under /usr/lib/postgresql: \
     install them with `apt-get install postgresql` or run scripts/postgres.sh";

/// An empty database on this test process's shared server, or `None` where there is no PostgreSQL.
///
/// # Panics
/// When PostgreSQL is installed but does not start, or is missing while `BURSAR_REQUIRE_POSTGRES=1`.
pub async fn database() -> Option<TestDb> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    // Starting blocks for a moment: on a thread that may block, and once for all tests of the process.
    let server = tokio::task::spawn_blocking(|| SHARED.get_or_init(|| start(Durability::Fast)).as_ref())
        .await
        .expect("PostgreSQL starts");
    match server {
        Some(server) => Some(server.create_database().await),
        None => None,
    }
}

/// A server of the caller's own, for tests that stop or kill it; `None` where there is no PostgreSQL, as with
/// [`database`].
pub fn start(durability: Durability) -> Option<Server> {
    let Some(programs) = programs::find() else {
        missing();
        return None;
    };
    Some(Server::start(&programs, durability).unwrap_or_else(|error| panic!("PostgreSQL does not start: {error}")))
}

/// Runs one test body on PostgreSQL; [`engines!`](crate::engines) calls this.
pub fn run<F, Fut>(body: F)
where
    F: FnOnce(TestDb) -> Fut,
    Fut: Future,
    Fut::Output: Outcome,
{
    block_on(async {
        if let Some(db) = database().await {
            body(db).await.check();
        }
    });
}

/// Says once per process that PostgreSQL is missing; fails where it is required.
fn missing() {
    static SAID: OnceLock<()> = OnceLock::new();
    let required = std::env::var_os("BURSAR_REQUIRE_POSTGRES").is_some_and(|value| value == "1");
    assert!(!required, "BURSAR_REQUIRE_POSTGRES=1, but {ADVICE}");
    SAID.get_or_init(|| {
        // Written directly: the test runner hides what a passing test prints with `eprintln!`.
        let _ = writeln!(std::io::stderr(), "\nWARNING: tests on PostgreSQL did not run. {ADVICE}\n");
    });
}
