//! How users are found, on both engines.

use bursar_db::{Engine, Tx};
use bursar_testkit::at;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::{AHEAD, AHEAD_LOCKED, PERISHED, PERISHED_LOCKED, STAYED, STAYED_AHEAD, STAYED_AHEAD_LOCKED, STAYED_LOCKED};
use crate::store::MIGRATIONS;

bursar_testkit::engines! {
    async fn who_perishes_first_is_found_by_an_index(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let (explain, statements) = match db.engine() {
            Engine::Sqlite => ("EXPLAIN QUERY PLAN", [PERISHED, AHEAD, STAYED, STAYED_AHEAD]),
            Engine::Postgres => {
                ("EXPLAIN (COSTS OFF)", [PERISHED_LOCKED, AHEAD_LOCKED, STAYED_LOCKED, STAYED_AHEAD_LOCKED])
            }
        };
        let now = at("2026-01-15T12:00:00Z");
        for statement in statements {
            let explain = AssertSqlSafe(format!("{explain} {statement}"));
            let mut tx = db.begin().await.unwrap();
            let lines: Vec<String> = match &mut tx {
                Tx::Sqlite(t) => {
                    let plan = sqlx::query(explain).bind(now).bind(now).bind(now).bind(10_i64).fetch_all(&mut **t).await.unwrap();
                    plan.iter().map(|row| row.get("detail")).collect()
                }
                Tx::Postgres(t) => {
                    // Of an empty table it would read all, and sort that.
                    t.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off").await.unwrap();
                    let plan = sqlx::query(explain).bind(now).bind(now).bind(now).bind(10_i64).fetch_all(&mut **t).await.unwrap();
                    plan.iter().map(|row| row.get(0)).collect()
                }
            };
            let plan = lines.join("\n");
            assert!(plan.contains("users_perishing"), "{statement}:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "{statement}:\n{plan}");
        }
    }
}
