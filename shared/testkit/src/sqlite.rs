//! SQLite for a test: a file in a directory of its own.

use crate::{
    engines::{Outcome, TestDb, block_on},
    reaper,
};

/// The URL of a database file that does not exist yet, in a temporary directory that goes when the value is dropped.
pub fn file() -> TestDb {
    let directory = reaper::directory("sqlite-");
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
