//! One test body, both databases.

use std::fmt::Debug;

use bursar_db::{Db, Engine, Migrations, PoolOptions, StoreUrl};
use tokio::runtime::{Builder, Runtime};

/// An empty database of a test's own, on either engine. Dropping it removes a SQLite file; a PostgreSQL database goes
/// with its server when the test process ends.
#[derive(Debug)]
pub struct TestDb {
    engine: Engine,
    url: String,
    _directory: Option<tempfile::TempDir>,
}

impl TestDb {
    pub(crate) fn sqlite(url: String, directory: Option<tempfile::TempDir>) -> Self {
        Self { engine: Engine::Sqlite, url, _directory: directory }
    }

    pub(crate) fn postgres(url: String) -> Self {
        Self { engine: Engine::Postgres, url, _directory: None }
    }

    /// Which engine this database is on.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The store's URL, as a service's `--…-store` flag takes it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same, as a service's settings hold it.
    pub fn store_url(&self) -> StoreUrl {
        self.url.parse().expect("the test kit makes good addresses")
    }

    /// One more empty database on the same engine.
    pub async fn another(&self) -> Self {
        match self.engine {
            Engine::Sqlite => crate::sqlite::file(),
            Engine::Postgres => crate::postgres::database().await.expect("PostgreSQL is there: this database is on it"),
        }
    }

    /// Opens the database and brings it to the schema of `migrations`.
    pub async fn open(&self, migrations: &Migrations) -> Db {
        let options = PoolOptions::default();
        let db = Db::open(&self.store_url(), migrations, &options).await;
        let db = db.unwrap_or_else(|error| panic!("cannot open {}: {error}", self.url));
        let migrated = db.migrate(migrations).await;
        migrated.unwrap_or_else(|error| panic!("cannot migrate {}: {error}", self.url));
        db
    }
}

/// Runs a test body on an empty database of each engine that there is, where [`engines!`](crate::engines) does not write the test:
/// it blocks on what it does there, as a target of fuzzing.
pub fn on_each_engine(body: impl Fn(&Runtime, &TestDb)) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a tokio runtime for the test");
    let postgres = runtime.block_on(crate::postgres::database());
    for store in [Some(crate::sqlite::file()), postgres].into_iter().flatten() {
        body(&runtime, &store);
    }
}

/// What a test body may return: nothing, or a `Result` whose error fails the test.
pub trait Outcome {
    /// Panics with the error, if there is one.
    fn check(self);
}

impl Outcome for () {
    fn check(self) {}
}

impl<E: Debug> Outcome for Result<(), E> {
    fn check(self) {
        if let Err(error) = self {
            panic!("the test returned an error: {error:?}");
        }
    }
}

/// Runs a test body on a runtime of its own, with two worker threads so that tasks really overlap.
pub(crate) fn block_on<F>(future: F) -> F::Output
where
    F: Future,
{
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime for the test")
        .block_on(future)
}

/// Makes two tests of each `async fn name(db: TestDb)`: `sqlite::name` and `postgres::name`. The body may return `()` or
/// a `Result<(), E: Debug>`. Use it at most once in a module, with all its tests inside; attributes such as
/// `#[ignore = "…"]` go on both tests.
///
/// ```text
/// bursar_testkit::engines! {
///     async fn a_lot_is_never_negative(db: TestDb) {
///         let db = db.open(&MIGRATIONS).await;
///     }
/// }
/// ```
#[macro_export]
macro_rules! engines {
    ($($(#[$attribute:meta])* async fn $name:ident($db:ident : TestDb) $(-> $outcome:ty)? $body:block)+) => {
        $(
        #[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
        async fn $name($db: $crate::TestDb) $(-> $outcome)? $body
        )+
        mod sqlite {
            $(#[test] $(#[$attribute])* fn $name() { $crate::sqlite::run(super::$name); })+
        }
        mod postgres {
            $(#[test] $(#[$attribute])* fn $name() { $crate::postgres::run(super::$name); })+
        }
    };
}
