//! Every statement of the service, on both engines: the database accepts it, and answers it by an index.

use bursar_db::{Db, Engine, PoolOptions};
use bursar_testkit::{TestDb, engines};
use sqlx::AssertSqlSafe;

use super::sql::{self, Both};
use super::{MIGRATIONS, purchases, subscriptions};

/// A statement in both engines' words.
struct Statement {
    file: &'static str,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

impl Statement {
    fn on(&self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }
}

trait Words {
    fn words(self) -> (&'static str, &'static str);
}

impl Words for Both {
    fn words(self) -> (&'static str, &'static str) {
        (self.sqlite, self.postgres)
    }
}

impl Words for &'static str {
    fn words(self) -> (&'static str, &'static str) {
        (self, self)
    }
}

macro_rules! statements {
    ($($name:ident)+) => {
        [$({
            let (sqlite, postgres) = sql::$name.words();
            Statement { file: "sql.rs", name: stringify!($name), sqlite, postgres }
        }),+]
    };
}

fn all() -> Vec<Statement> {
    let credits = statements!(
        OPEN_ACCOUNTS LOCK_ACCOUNTS READ_ACCOUNT DUE_ACCOUNTS OWNERS_AFTER SAVE_ACCOUNTS
        LIVE_LOTS LOTS_NAMED LOTS_PAGE LOTS_AFTER OWNER_OF_LOT SAVE_LOTS
        ENTRIES_BY_KEY ENTRIES_BY_OPERATION REFUNDS_OF OWNER_OF_OPERATION ENTRIES_BEFORE ENTRIES_AFTER TIME_OF_ENTRY APPEND_ENTRIES
        OVERDUE_HOLDS OPEN_HOLDS HOLDS_NAMED OWNER_OF_HOLD NEXT_DEADLINES SAVE_HOLDS
        ADD_USAGE USAGE_SUMS USAGE_BETWEEN
    );
    let same = |file| move |(name, text)| Statement { file, name, sqlite: text, postgres: text };
    let subscriptions = subscriptions::STATEMENTS.into_iter().map(same("subscriptions.rs"));
    let purchases = purchases::STATEMENTS.into_iter().map(same("purchases.rs"));
    credits.into_iter().chain(subscriptions).chain(purchases).collect()
}

#[test]
fn no_statement_is_forgotten() {
    let sources = [
        ("sql.rs", include_str!("sql.rs")),
        ("subscriptions.rs", include_str!("subscriptions.rs")),
        ("purchases.rs", include_str!("purchases.rs")),
        ("accounts.rs", include_str!("accounts.rs")),
        ("holds.rs", include_str!("holds.rs")),
        ("ledger.rs", include_str!("ledger.rs")),
        ("lots.rs", include_str!("lots.rs")),
        ("usage.rs", include_str!("usage.rs")),
    ];
    let all = all();
    for (file, source) in sources {
        let listed: Vec<_> = all.iter().filter(|it| it.file == file).map(|it| it.name).collect();
        let written: Vec<_> = source.lines().filter_map(constant).filter(|name| *name != "AFTER_ALL").collect();
        assert_eq!(listed, written, "the statements of {file}, in their order");
    }
}

/// The name of the text constant that a line declares.
fn constant(line: &str) -> Option<&str> {
    let declaration = line.strip_prefix("pub(crate) ").unwrap_or(line).strip_prefix("const ")?;
    let (name, kind) = declaration.split_once(':')?;
    (kind.trim_start().starts_with("&str") || kind.trim_start().starts_with("Both")).then_some(name)
}

/// How many parameters a statement has.
fn parameters(text: &str) -> usize {
    let numbers = text.split('$').skip(1).filter_map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    });
    numbers.max().unwrap_or(0)
}

async fn run(db: &Db, statement: &str) {
    let text = AssertSqlSafe(statement.to_owned());
    match db {
        Db::Sqlite { write, .. } => sqlx::raw_sql(text).execute(write).await.map(|_| ()),
        Db::Postgres(pool) => sqlx::raw_sql(text).execute(pool).await.map(|_| ()),
    }
    .unwrap_or_else(|error| panic!("{error}: {statement}"));
}

/// The lines of a statement's plan: on PostgreSQL the one it has for whatever parameters, as a service's connections
/// come to use it.
async fn plan(db: &Db, statement: &Statement) -> Vec<String> {
    let text = statement.on(db.engine());
    let name = format!("{} of {}", statement.name, statement.file);
    match db {
        Db::Sqlite { write, .. } => {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
            let rows: Result<Vec<(i64, i64, i64, String)>, _> = sqlx::query_as(explain).fetch_all(write).await;
            rows.unwrap_or_else(|error| panic!("{name}: {error}")).into_iter().map(|(.., detail)| detail).collect()
        }
        Db::Postgres(pool) => {
            let mut connection = pool.acquire().await.unwrap();
            let nulls = vec!["NULL"; parameters(text)].join(", ");
            let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
            let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE it AS {text}");
            sqlx::raw_sql(AssertSqlSafe(prepare))
                .execute(&mut *connection)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let explain = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE it{arguments}"));
            let lines: Result<Vec<(String,)>, _> = sqlx::query_as(explain).fetch_all(&mut *connection).await;
            sqlx::raw_sql("DEALLOCATE it").execute(&mut *connection).await.unwrap();
            lines.unwrap_or_else(|error| panic!("{name}: {error}")).into_iter().map(|(line,)| line).collect()
        }
    }
}

/// What in a plan reads a table, or an index, from end to end.
async fn scans(db: &Db, plan: &[String]) -> Vec<String> {
    let Db::Postgres(pool) = db else {
        // The rows that a statement is given are a virtual table.
        let whole = |line: &&String| {
            line.starts_with("SCAN ") && !line.contains("VIRTUAL TABLE") && !line.contains("CONSTANT ROW")
        };
        return plan.iter().filter(whole).cloned().collect();
    };
    let leading: Vec<(String, String)> = sqlx::query_as(LEADING_COLUMNS).fetch_all(pool).await.unwrap();
    let whole = |(place, line): (usize, &String)| {
        let name = ["Scan using ", "Scan Backward using ", "Bitmap Index Scan on "]
            .into_iter()
            .find_map(|node| line.split_once(node)?.1.split_whitespace().next());
        let Some(name) = name else {
            return line.contains("Seq Scan on").then(|| line.clone());
        };
        // A condition on a later column alone is found by reading the whole index.
        let (_, column) = leading.iter().find(|(index, _)| index == name).expect("an index of this database");
        let details = plan[place + 1..].iter().take_while(|line| !line.contains("->"));
        let narrowed = details.into_iter().any(|it| it.contains("Index Cond:") && it.contains(&format!("({column} ")));
        (!narrowed).then(|| line.clone())
    };
    plan.iter().enumerate().filter_map(whole).collect()
}

/// PostgreSQL's indexes with the column that each begins with.
const LEADING_COLUMNS: &str = "SELECT c.relname::text, a.attname::text FROM pg_index AS i
     JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_attribute AS a ON a.attrelid = i.indexrelid AND a.attnum = 1";

/// Some thousands of rows in every table that a caller waits for: 4,000 owners, and one with a long ledger.
const ROWS: [&str; 7] = [
    "INSERT INTO accounts (owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, next_due, opened_at)
     SELECT 'o' || i, 5, HASH, 1, 1, 0, 1, 0, 0, CASE WHEN i % 2 = 0 THEN i END, 0 FROM numbers",
    "INSERT INTO lots (owner, id, number, source, priority, granted, remaining, held, spent, expired, voided, effective_at, expires_at, live)
     SELECT 'o' || (i % 1000), 'l' || i, i, 'PROMOTION', 0, 2, i % 2, 0, 2 - i % 2, 0, 0, 0, 9, i % 2 > 0 FROM numbers",
    "INSERT INTO ledger_entries (owner, seq, kind, at, amount, available_after, held_after, operation_id, subject, request_key, body_hash, postings, hash)
     SELECT CASE WHEN i % 2 = 0 THEN 'o1' ELSE 'o' || (i % 1000) END, i, CASE WHEN i % 3 = 0 THEN 'REFUND' ELSE 'CHARGE' END,
            i, 1, 1, 0, 'c' || i, 'c' || (i / 2), 'r' || i, 0, '[]', HASH FROM numbers",
    "INSERT INTO holds (owner, id, state, amount, captured, earmarks, deadline, created_at)
     SELECT 'o' || (i % 1000), 'h' || i, CASE WHEN i % 4 = 0 THEN 'OPEN' ELSE 'RELEASED' END, 1, 0, '[]', i, 0 FROM numbers",
    "INSERT INTO usage_totals (owner, grain, starts_at, member, project, model, charged, refunded, charges, quantity)
     SELECT 'o' || (i % 1000), CASE WHEN i % 2 = 0 THEN 'DAY' ELSE 'HOUR' END, i, 'm', 'p', '', 1, 0, 1, 0 FROM numbers",
    "INSERT INTO subscriptions (owner, id, plan_id, state, credits, seats, currency, price, payment_method, payment_reference,
            started_at, period_number, period_start, period_end, ended_at)
     SELECT 'o' || i, 's' || i, 'business', CASE WHEN i % 2 = 0 THEN 'ENDED' ELSE 'ACTIVE' END, 1, 1, 'USD', 1, 'x', 'x', 0, 0, 0, i,
            CASE WHEN i % 2 = 0 THEN 1 END FROM numbers",
    "INSERT INTO purchases (owner, id, pack_id, state, credits, currency, price, payment_method, payment_reference, lot_id, buyer, created_at)
     SELECT 'o' || (i % 100), 'p' || i, 'starter', 'PAID', 1, 'USD', 1, 'x', 'x' || i, 'l' || i, 'u', 0 FROM numbers",
];

/// A store as a service opens it, with so many rows in every table. PostgreSQL gathers statistics by itself, SQLite never does.
async fn filled(db: &TestDb, rows: u32) -> Db {
    let migrated = db.open(&MIGRATIONS).await;
    let hash = match db.engine() {
        Engine::Sqlite => "zeroblob(32)",
        Engine::Postgres => "decode(repeat('00', 32), 'hex')",
    };
    run(&migrated, "CREATE TABLE numbers (i BIGINT)").await;
    let count =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n");
    run(&migrated, &format!("INSERT INTO numbers (i) {count}")).await;
    for rows in ROWS {
        run(&migrated, &rows.replace("HASH", hash)).await;
    }
    if db.engine() == Engine::Postgres {
        run(&migrated, "ANALYZE").await;
    }
    migrated.close().await;
    let options = PoolOptions { index_plans: true, ..PoolOptions::default() };
    Db::open(&db.store_url(), &MIGRATIONS, &options).await.unwrap()
}

/// The statements whose plans read a whole table or index.
async fn flaws(db: &Db) -> Vec<String> {
    let mut flaws = Vec::new();
    for statement in all() {
        let plan = plan(db, &statement).await;
        let scans = scans(db, &plan).await;
        if !scans.is_empty() {
            flaws.push(format!("{} of {}: {scans:#?}\n{}", statement.name, statement.file, plan.join("\n")));
        }
    }
    flaws
}

engines! {
    async fn the_database_accepts_every_statement(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        for statement in all() {
            plan(&db, &statement).await;
        }
    }

    async fn no_statement_scans_a_table(db: TestDb) {
        let flaws = flaws(&filled(&db, 4_000).await).await;
        assert!(flaws.is_empty(), "{}", flaws.join("\n\n"));
    }

    // PostgreSQL keeps a plan until it has gathered new statistics: what callers wait for in numbers must not go by a
    // plan that was good for two rows. (Subscriptions are few, and so are their callers.)
    async fn no_plan_that_was_made_while_the_tables_were_tiny_scans_them(db: TestDb) {
        let mut flaws = flaws(&filled(&db, 2).await).await;
        flaws.retain(|flaw| flaw.contains(" of sql.rs:"));
        assert!(flaws.is_empty(), "{}", flaws.join("\n\n"));
    }

    async fn the_check_itself_sees_a_scan(db: TestDb) {
        let db = filled(&db, 4_000).await;
        let whole = [
            "SELECT note FROM lots WHERE note = $1",
            "SELECT COUNT(*) FROM ledger_entries",
            "SELECT owner FROM accounts ORDER BY owner",
            "SELECT quantity FROM usage_totals WHERE model = $1",
        ];
        for text in whole {
            let statement = Statement { file: "the test", name: text, sqlite: text, postgres: text };
            let plan = plan(&db, &statement).await;
            assert!(!scans(&db, &plan).await.is_empty(), "{text}:\n{}", plan.join("\n"));
        }
    }
}
