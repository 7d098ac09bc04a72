//! The stores of a deployment: read and changed by hand, and what programs find in them: whether they agree, as `bursar fsck`
//! finds, and what billing's tells.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use bursar_runtime::Service;
use bursar_testkit::{Deployment, Program};
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection, SqliteConnection};

/// How long one check may take.
pub(crate) const SOON: Duration = Duration::from_mins(1);
/// How long a program may take that reads one small store.
const COMMAND: Duration = Duration::from_secs(30);

/// A connection to one service's store, beside the service's own.
#[derive(Debug)]
pub(crate) enum Store {
    /// A file.
    Sqlite(SqliteConnection),
    /// A database of the server's.
    Postgres(PgConnection),
}

impl Store {
    /// Opens it.
    pub(crate) async fn of(deployment: &Deployment, service: Service) -> Self {
        if let Some(url) = deployment.store(service) {
            return Self::Postgres(PgConnection::connect(url).await.expect("connects"));
        }
        let file = deployment.data_dir().join(format!("{service}.db"));
        let options = SqliteConnectOptions::new().filename(file).busy_timeout(SOON);
        Self::Sqlite(SqliteConnection::connect_with(&options).await.expect("opens"))
    }

    /// Changes something, which must be there to be changed.
    pub(crate) async fn change(&mut self, sql: &str) {
        let changed = match self {
            Self::Sqlite(c) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(c).await.expect(sql).rows_affected(),
            Self::Postgres(c) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(c).await.expect(sql).rows_affected(),
        };
        assert!(changed > 0, "nothing was changed by {sql}");
    }

    /// The first row that a query about one id (`$1`) gives.
    pub(crate) async fn row<T>(&mut self, sql: &'static str, id: &str) -> T
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        match self {
            Self::Sqlite(c) => sqlx::query_as(sql).bind(id).fetch_one(c).await.expect(sql),
            Self::Postgres(c) => sqlx::query_as(sql).bind(id).fetch_one(c).await.expect(sql),
        }
    }

    /// The number that a query about one id (`$1`) gives.
    pub(crate) async fn count(&mut self, sql: &'static str, id: &str) -> i64 {
        let (count,) = self.row(sql, id).await;
        count
    }
}

/// How many files there are of the library's content, whatever they are.
pub(crate) fn content_files(deployment: &Deployment) -> usize {
    fn count(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
    }
    count(&deployment.data_dir().join("content"))
}

/// Runs a check of the stores of a deployment: the exit code, and the lines.
pub(crate) async fn fsck(deployment: &Deployment, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let mut program =
        Program::new(env!("CARGO_BIN_EXE_bursar")).args(["fsck", "--data-dir"]).arg(deployment.data_dir());
    for service in Service::ALL {
        if let Some(store) = deployment.store(service) {
            program = program.env(service.store_variable(), store);
        }
    }
    let program = program.args(arguments.iter().copied());
    let (status, log) = tokio::task::spawn_blocking(move || program.run(SOON)).await.expect("it ends");
    (status.code(), log.lines().map(str::to_owned).collect())
}

/// Runs a command of billing's program on the data of a suite: how it ended, and what was said.
pub(crate) async fn billing(data: &Path, arguments: &[&str]) -> (ExitStatus, String) {
    let program = Program::named(Service::Billing.program()).args(["--mode", "development", "--data-dir"]);
    let program = program.arg(data).args(arguments);
    tokio::task::spawn_blocking(move || program.run(COMMAND)).await.expect("it ends")
}

/// They agree.
#[track_caller]
pub(crate) fn clean((code, lines): (Option<i32>, Vec<String>)) {
    assert_eq!((code, lines.as_slice()), (Some(0), ["0 differences".to_owned()].as_slice()));
}
