//! SQLite for a test: a file in a directory of its own.

use std::path::Path;

use crate::{
    engines::{Outcome, TestDb, block_on},
    reaper,
};

/// The URL of a database file that does not exist yet, in a temporary directory that goes when the value is dropped.
pub fn file() -> TestDb {
    let directory = reaper::directory("sqlite-");
    let url = format!("sqlite://{}", directory.path().join("test.db").display());
    TestDb::sqlite(url, Some(directory))
}

/// The same in a directory that somebody else looks after, such as a [`SmallDisk`](crate::SmallDisk).
pub fn file_in(directory: &Path) -> TestDb {
    TestDb::sqlite(format!("sqlite://{}", directory.join("test.db").display()), None)
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
