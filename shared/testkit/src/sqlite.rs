//! SQLite for a test: a file in a directory of its own.

use std::path::Path;

use bursar_db::Db;

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

/// Lets a store's file have so many pages at most, as far as its writing connection goes: with fewer than there are it is full,
/// and what there is stays. Another connection in its place knows nothing of that.
///
/// # Panics
/// When the store is not SQLite.
pub async fn limit_pages(db: &Db, pages: u32) {
    let Db::Sqlite { write, .. } = db else { panic!("not SQLite") };
    let limit = format!("PRAGMA max_page_count = {pages}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(limit)).execute(write.pool()).await.expect("a limit");
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
