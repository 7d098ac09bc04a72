//! Looking into everything that a store has.

use bursar_db::{Db, Tx, on};
use sqlx::AssertSqlSafe;

/// Every column of every table.
async fn columns(tx: &mut Tx) -> Vec<(String, String)> {
    const SQLITE: &str = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c \
        WHERE t.type = 'table'";
    const POSTGRES: &str = "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) \
        FROM information_schema.columns WHERE table_schema = current_schema()";
    match tx {
        Tx::Sqlite(t) => sqlx::query_as(SQLITE).fetch_all(&mut **t).await.expect("the columns can be read"),
        Tx::Postgres(t) => sqlx::query_as(POSTGRES).fetch_all(&mut **t).await.expect("the columns can be read"),
    }
}

/// The columns of a store, of whatever type, in which a text stands, as it is or among other bytes.
///
/// # Panics
/// When they cannot be read, or are too few to be all.
pub async fn columns_with(db: &Db, text: &str) -> Vec<String> {
    let (plain, bytes) = (format!("%{text}%"), format!("%{}%", hex::encode(text)));
    let mut tx = db.read().await.expect("the store can be read");
    let columns = columns(&mut tx).await;
    assert!(columns.len() > 50, "only {columns:?}");
    let mut found = Vec::new();
    for (table, column) in columns {
        let value = match &tx {
            // As digits: a text ends at its first zero byte there, and a message may begin with one.
            Tx::Sqlite(_) => format!(r#"lower(hex("{column}"))"#),
            // Bytes are digits there anyway.
            Tx::Postgres(_) => format!(r#"CAST("{column}" AS TEXT)"#),
        };
        let count = format!(r#"SELECT COUNT(*) FROM "{table}" WHERE {value} LIKE $1 OR {value} LIKE $2"#);
        let rows: i64 = on!(&mut tx, c => sqlx::query_scalar(AssertSqlSafe(count.as_str()))
            .bind(&plain)
            .bind(&bytes)
            .fetch_one(c)
            .await
            .expect("the rows can be counted"));
        if rows > 0 {
            found.push(format!("{table}.{column}"));
        }
    }
    found
}
