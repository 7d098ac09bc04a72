//! What makes billing's tables distributable by owner: every statement of the credit path for one owner names its
//! server. Shown on hash-partitioned copies of the tables, where a partition stands for a server.

use bursar_db::{Db, Engine};
use bursar_testkit::engines;
use sqlx::AssertSqlSafe;

use super::{MIGRATIONS, sql, sql_one};

/// The tables that are distributed, with the columns of their keys.
const TABLES: [(&str, &str); 12] = [
    ("accounts", "owner"),
    ("lots", "owner, number"),
    ("ledger_entries", "owner, seq"),
    ("entry_details", "owner, last_seq"),
    ("holds", "owner, number"),
    ("usage_hours", "owner, starts_at, member, project, model"),
    ("usage_days", "owner, starts_at, member, project, model"),
    ("usage_rollups", "owner"),
    ("usage_meters", "owner, starts_at, model, meter"),
    ("limits", "owner, id"),
    ("limit_uses", "owner, subject, span, starts_at"),
    ("projects", "owner, id"),
];

/// The statements for one owner: those of `sql_one`, and those of `sql` that never were for more.
const STATEMENTS: [(&str, &str); 54] = [
    ("OPEN_ACCOUNT", sql_one::OPEN_ACCOUNT),
    ("LOCK_ACCOUNT", sql_one::LOCK_ACCOUNT),
    ("LIVE_LOTS", sql_one::LIVE_LOTS),
    ("LOTS_NAMED", sql_one::LOTS_NAMED),
    ("ENTRIES_BY_KEY", sql_one::ENTRIES_BY_KEY),
    ("ENTRIES_BY_SEQ", sql_one::ENTRIES_BY_SEQ),
    ("LAST_REFUNDS", sql_one::LAST_REFUNDS),
    ("DETAILS_PAGES", sql_one::DETAILS_PAGES),
    ("OVERDUE_HOLDS", sql_one::OVERDUE_HOLDS),
    ("HOLDS_NAMED", sql_one::HOLDS_NAMED),
    ("NEXT_DEADLINE", sql_one::NEXT_DEADLINE),
    ("LIMITS_OF", sql_one::LIMITS_OF),
    ("LIMITS_USED", sql_one::LIMITS_USED),
    ("APPEND_ENTRIES", sql_one::APPEND_ENTRIES),
    ("KEEP_DETAILS", sql_one::KEEP_DETAILS),
    ("SAVE_LOTS", sql_one::SAVE_LOTS),
    ("SAVE_HOLDS", sql_one::SAVE_HOLDS),
    ("ADD_HOURS", sql_one::ADD_HOURS),
    ("ADD_METERS", sql_one::ADD_METERS),
    ("SAVE_LIMITS_USED", sql_one::SAVE_LIMITS_USED),
    ("SAVE_ACCOUNT", sql_one::SAVE_ACCOUNT),
    ("READ_ACCOUNT", sql::READ_ACCOUNT),
    ("NO_RENEWAL", sql::NO_RENEWAL),
    ("BEGIN_PERIOD", sql::BEGIN_PERIOD),
    ("RAISE_TERMS", sql::RAISE_TERMS),
    ("SET_STANDING", sql::SET_STANDING),
    ("SET_TOP_UP", sql::SET_TOP_UP),
    ("SET_ALERTS", sql::SET_ALERTS),
    ("LOTS_PAGE", sql::LOTS_PAGE),
    ("LOTS_AFTER", sql::LOTS_AFTER),
    ("ERASE_LOT_NOTES", sql::ERASE_LOT_NOTES),
    ("ENTRIES_BEFORE", sql::ENTRIES_BEFORE),
    ("ENTRIES_AFTER", sql::ENTRIES_AFTER),
    ("TIME_OF_ENTRY", sql::TIME_OF_ENTRY),
    ("DETAILS_FROM", sql::DETAILS_FROM),
    ("REPLACE_DETAILS", sql::REPLACE_DETAILS.postgres),
    ("LAPSED_HOLDS", sql::LAPSED_HOLDS),
    ("OPEN_HOLDS", sql::OPEN_HOLDS),
    ("FORGET_USES", sql::FORGET_USES.postgres),
    ("ERASE_HOLD_LABELS", sql::ERASE_HOLD_LABELS),
    ("ERASE_ALL_HOLD_LABELS", sql::ERASE_ALL_HOLD_LABELS),
    ("HASH_OF_ENTRY", sql::HASH_OF_ENTRY),
    ("HOURS_FROM", sql::HOURS_FROM),
    ("DAYS_FROM", sql::DAYS_FROM),
    ("TOTALS_OF_HOUR", sql::TOTALS_OF_HOUR),
    ("TOTALS_OF_DAY", sql::TOTALS_OF_DAY),
    ("METERS_FROM", sql::METERS_FROM),
    ("ROLLED_UP", sql::ROLLED_UP),
    ("FIRST_HOUR", sql::FIRST_HOUR),
    ("FIRST_DAY", sql::FIRST_DAY),
    ("ROLL_UP_DAY", sql::ROLL_UP_DAY),
    ("NOTE_ROLL_UP", sql::NOTE_ROLL_UP),
    ("PROJECT_USED", sql::PROJECT_USED),
    ("MODEL_USED", sql::MODEL_USED),
];

#[test]
fn no_statement_for_one_owner_is_forgotten() {
    let declared = include_str!("sql_one.rs")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("pub(crate) const ")?.split_once(':')?.0));
    let listed = STATEMENTS.iter().map(|(name, _)| *name).take_while(|name| *name != "READ_ACCOUNT");
    assert!(declared.eq(listed), "those of sql_one.rs, in their order");
}

/// What such an engine was seen to refuse, or to send everywhere.
#[test]
fn no_statement_for_one_owner_has_what_cannot_be_sent_to_one_server() {
    for (name, text) in STATEMENTS {
        assert!(!text.contains("LATERAL"), "{name}");
        let inner = text.split('(').skip(1).filter_map(|part| part.split_once(')'));
        assert!(inner.into_iter().all(|(inside, _)| !inside.contains("LIMIT")), "{name}: a LIMIT in a subquery");
        let owned = text.contains("owner = $1") || text.contains("SELECT $1, u.*") || text.contains("VALUES ($1,");
        assert!(owned, "{name}: {text}");
        let after = |word: &str, table: &str| {
            text.split(word).skip(1).any(|rest| rest.split(char::is_whitespace).next() == Some(table))
        };
        let names = |table: &str| ["FROM ", "INTO ", "UPDATE "].iter().any(|word| after(word, table));
        let tables = TABLES.iter().filter(|(table, _)| names(table)).count();
        assert!(tables == 1 || name == "ROLL_UP_DAY", "{name}: {tables} tables");
    }
}

/// A value for each parameter, by the type that the statement gives it; the owner's first.
fn values(text: &str) -> String {
    let mut values = vec!["'\\x0001'::bytea".to_owned()];
    for number in 2..=20 {
        let begin = format!("${number}");
        let Some((_, rest)) = text.split_once(&begin) else { break };
        let of_type = rest.strip_prefix("::").map(|it| it.split([',', ')', ' ']).next().unwrap_or_default());
        values.push(match of_type {
            Some("uuid[]") => "'{00000000-0000-0000-0000-000000000001}'".to_owned(),
            Some("bigint[]") => "'{1}'".to_owned(),
            Some("text[]") => "'{OPEN}'".to_owned(),
            Some("bytea[]") => "'{\"\\\\x01\"}'".to_owned(),
            _ if is_bytes(text, number) => "'\\x01'".to_owned(),
            _ if is_member(text, &begin) => "'00000000-0000-0000-0000-000000000001'".to_owned(),
            _ => number.to_string(),
        });
    }
    values.join(", ")
}

fn is_member(text: &str, parameter: &str) -> bool {
    let compared =
        ["member = ", "member <= ", "(member, project, model) >= (", "(starts_at, member, project, model) >= ($3, "];
    compared.iter().any(|it| text.contains(&format!("{it}{parameter}")))
}

fn is_bytes(text: &str, number: usize) -> bool {
    let opening = text.starts_with("INSERT INTO accounts") && number == 2;
    opening || ["head_hash", "page", " allowance"].iter().any(|column| text.contains(&format!("{column} = ${number}")))
}

async fn partitioned(db: &Db) {
    let Db::Postgres(pool) = db else { return };
    for (table, key) in TABLES {
        let whole =
            format!("CREATE TABLE parts.{table} (LIKE public.{table}, PRIMARY KEY ({key})) PARTITION BY HASH (owner)");
        sqlx::raw_sql(AssertSqlSafe(whole)).execute(pool.pool()).await.unwrap();
        for part in 0..4 {
            let part = format!(
                "CREATE TABLE parts.{table}_{part} PARTITION OF parts.{table} FOR VALUES WITH (MODULUS 4, REMAINDER {part})"
            );
            sqlx::raw_sql(AssertSqlSafe(part)).execute(pool.pool()).await.unwrap();
        }
    }
}

engines! {
    async fn each_statement_for_one_owner_touches_one_partition(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        if db.engine() == Engine::Sqlite {
            return; // It has one file, and no partitions.
        }
        let Db::Postgres(pool) = &db else { unreachable!() };
        sqlx::raw_sql("CREATE SCHEMA parts").execute(pool.pool()).await.unwrap();
        partitioned(&db).await;
        let mut connection = pool.acquire().await.unwrap();
        let begin = "SET search_path = parts; SET plan_cache_mode = force_custom_plan; SET enable_seqscan = off";
        sqlx::raw_sql(begin).execute(&mut connection).await.unwrap();
        for (name, text) in STATEMENTS {
            let prepare = AssertSqlSafe(format!("PREPARE it AS {text}"));
            sqlx::raw_sql(prepare).execute(&mut connection).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            let explain = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE it ({})", values(text)));
            let lines: Vec<(String,)> = sqlx::query_as(explain).fetch_all(&mut connection).await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            sqlx::raw_sql("DEALLOCATE it").execute(&mut connection).await.unwrap();
            let plan: Vec<String> = lines.into_iter().map(|(line,)| line).collect();
            let read: std::collections::BTreeSet<u8> = plan.iter().flat_map(|line| parts_named(line)).collect();
            let inserts = plan.iter().any(|line| line.contains("Insert on"));
            // What is inserted goes where the one owner's rows go; it is not planned.
            assert!(read.len() == 1 || (inserts && read.len() <= 1), "{name}: {read:?}\n{}", plan.join("\n"));
        }
    }
}

/// The partitions that a line of a plan names.
fn parts_named(line: &str) -> Vec<u8> {
    let named = |table: &str| {
        let (_, rest) = line.split_once(&format!(" on {table}_")).or_else(|| line.split_once(&format!(" {table}_")))?;
        rest.bytes().next().filter(u8::is_ascii_digit)
    };
    TABLES.iter().filter_map(|(table, _)| named(table)).collect()
}
