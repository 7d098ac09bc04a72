//! How the lists are found, on both engines.

use bursar_db::{Engine, Tx};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::{ALL, BY_ADDRESS, LEAVING, SUSPENDED, UNPROVEN};
use crate::store::MIGRATIONS;

/// How an engine goes about a statement.
async fn plan(tx: &mut Tx, statement: &str) -> String {
    let lines: Vec<String> = match tx {
        Tx::Sqlite(t) => {
            let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
            let plan = plan.fetch_all(&mut **t).await.unwrap();
            plan.iter().map(|row| row.get("detail")).collect()
        }
        Tx::Postgres(t) => {
            // Of an empty table it would read all, and sort that.
            t.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off").await.unwrap();
            let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {statement}"))).bind("a");
            let plan = if statement == BY_ADDRESS { plan.bind("").bind("b") } else { plan };
            let plan = plan.bind(10_i64).fetch_all(&mut **t).await.unwrap();
            plan.iter().map(|row| row.get(0)).collect()
        }
    };
    lines.join("\n")
}

bursar_testkit::engines! {
    async fn no_list_is_sorted_and_none_walks_through_those_who_are_not_in_it(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let of_engine = |sqlite, postgres| if db.engine() == Engine::Sqlite { sqlite } else { postgres };
        for (statement, index) in [
            (ALL, of_engine("sqlite_autoindex_users_1 (id>?)", "users_pkey")),
            (UNPROVEN, "users_unproven"),
            (LEAVING, "users_leaving"),
            (SUSPENDED, "suspensions_live"),
            (BY_ADDRESS, of_engine("sqlite_autoindex_users_2 (email_key>? AND email_key<?)", "users_email_key")),
        ] {
            let mut tx = db.begin().await.unwrap();
            let plan = plan(&mut tx, statement).await;
            assert!(plan.contains(index), "{statement}:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("Sort") && !plan.contains("Seq Scan"), "{statement}:\n{plan}");
        }
    }
}
