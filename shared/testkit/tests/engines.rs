//! One test body runs on both engines, each time in a database of its own.

use bursar_testkit::{Engine, TestDb};
use sqlx::{Connection, PgConnection, SqliteConnection};

/// Fails in a database that has the table already.
async fn create_table(db: &TestDb) -> Result<(), sqlx::Error> {
    const CREATE: &str = "CREATE TABLE t (x BIGINT NOT NULL)";
    match db.engine() {
        Engine::Sqlite => {
            let mut connection = SqliteConnection::connect(&format!("{}?mode=rwc", db.url())).await?;
            sqlx::query(CREATE).execute(&mut connection).await?;
        }
        Engine::Postgres => {
            let mut connection = PgConnection::connect(db.url()).await?;
            sqlx::query(CREATE).execute(&mut connection).await?;
        }
    }
    Ok(())
}

bursar_testkit::engines! {
    async fn a_database_starts_empty(db: TestDb) -> Result<(), sqlx::Error> {
        create_table(&db).await
    }

    /// The same table again: this would fail if two tests shared a database.
    async fn another_test_has_another_database(db: TestDb) -> Result<(), sqlx::Error> {
        create_table(&db).await
    }

    async fn a_body_may_return_nothing(db: TestDb) {
        create_table(&db).await.expect("a table in an empty database");
    }
}
