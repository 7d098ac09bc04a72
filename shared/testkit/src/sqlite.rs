//! SQLite for a test: a file in a directory of its own.

use crate::engines::{Outcome, TestDb, block_on};

/// The URL of a database file that does not exist yet, in a temporary directory that goes when the value is dropped.
pub fn file() -> TestDb {
    let directory = tempfile::Builder::new()
        .prefix("bursar-sqlite-")
        .tempdir()
        .expect("a temporary directory for a SQLite file");
    let url = format!("sqlite://{}", directory.path().join("test.db").display());
    TestDb::sqlite(url, directory)
}

/// Runs one test body on SQLite; [`engines!`](crate::engines) calls this.
pub fn run<F, Fut>(body: F)
where
    F: FnOnce(TestDb) -> Fut,
    Fut: Future,
    Fut::Output: Outcome,
{
    block_on(body(file())).check();
}
