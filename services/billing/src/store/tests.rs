//! Every statement of the service, on both engines: the database accepts it, and answers it by an index.

use bursar_db::{Db, Engine, PoolOptions};
use bursar_testkit::plans::texts;
use bursar_testkit::{TestDb, engines};
use sqlx::AssertSqlSafe;

use super::sql::{self, Both};
use super::{
    MIGRATIONS, accounts, catalogs, contracts, former, included, invoices, limits, methods, payments, projects,
    purchases, refused_moves, settings, sql_write, subscriptions, top_ups, waivers, webhooks, whereabouts, years,
};

/// A statement in the words of the engines that it is for.
struct Statement {
    file: &'static str,
    name: &'static str,
    sqlite: Option<&'static str>,
    postgres: Option<&'static str>,
}

impl Statement {
    fn of(file: &'static str, name: &'static str, Both { sqlite, postgres }: Both) -> Self {
        Self { file, name, sqlite: Some(sqlite), postgres: Some(postgres) }
    }

    fn on(&self, engine: Engine) -> Option<&'static str> {
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
            Statement { file: "sql.rs", name: stringify!($name), sqlite: Some(sqlite), postgres: Some(postgres) }
        }),+]
    };
}

/// `sqlite!(NAME)`: a statement of `sql_write` that is for SQLite alone.
macro_rules! sqlite {
    ($($name:ident)+) => {
        [$(Statement { file: "sql_write.rs", name: stringify!($name), sqlite: Some(sql_write::$name), postgres: None }),+]
    };
}

fn all() -> Vec<Statement> {
    let credits = statements!(
        OPEN_ACCOUNTS LOCK_ACCOUNTS READ_ACCOUNT DUE_ACCOUNTS OWNERS_AFTER OWNERS_AMONG NEXT_WITH_ENTRIES NEXT_WITH_LOTS NEXT_WITH_PAYMENTS NEXT_WITH_PURCHASES NEXT_WITH_INVOICES
        NEXT_WITH_DETAILS NEXT_WITH_HOLDS NEXT_WITH_HOURS NEXT_WITH_DAYS NEXT_WITH_METERS NEXT_WITH_USES NEXT_WITH_SUBSCRIPTIONS LEFT_OF_ACCOUNT
        HEADS_AFTER NO_RENEWAL BEGIN_PERIOD RAISE_TERMS SET_STANDING SET_TOP_UP SET_ALERTS INACTIVE_AFTER RAISE_ALL_TERMS
        LIVE_LOTS LOTS_NAMED LOTS_PAGE LOTS_AFTER ERASE_LOT_NOTES
        ENTRIES_BY_KEY ENTRIES_BY_SEQ LAST_REFUNDS ENTRIES_BEFORE ENTRIES_AFTER TIME_OF_ENTRY HASH_OF_ENTRY
        DETAILS_OF DETAILS_FROM REPLACE_DETAILS
        OVERDUE_HOLDS LAPSED_HOLDS OPEN_HOLDS HOLDS_NAMED NEXT_DEADLINES LIMITS_OF LIMITS_USED FORGET_USES ERASE_HOLD_LABELS ERASE_ALL_HOLD_LABELS
        HOURS_FROM DAYS_FROM TOTALS_OF_HOUR TOTALS_OF_DAY METERS_FROM ROLLED_UP FIRST_HOUR FIRST_DAY ROLL_UP_DAY NOTE_ROLL_UP
        PROJECT_USED MODEL_USED OPERATION_KEY KEEP_OPERATION_KEY
    );
    let batch = |name, text| Statement { file: "sql_write.rs", name, sqlite: None, postgres: Some(text) };
    let batches =
        [batch("WRITE_BATCH", sql_write::WRITE_BATCH), batch("WRITE_BATCH_LIMITED", sql_write::WRITE_BATCH_LIMITED)];
    let locked = Statement { file: "accounts.rs", name: "LOCKED", sqlite: None, postgres: Some(accounts::LOCKED) };
    let writes =
        sqlite!(APPEND_ENTRIES KEEP_DETAILS SAVE_LOTS SAVE_HOLDS ADD_HOURS ADD_METERS SAVE_LIMITS_USED SAVE_ACCOUNTS);
    credits.into_iter().chain(batches).chain([locked]).chain(writes).chain(listed()).chain(in_two_words()).collect()
}

/// What a module of the store lists: in the same words on both engines, or for PostgreSQL alone.
fn listed() -> impl Iterator<Item = Statement> {
    let modules: [(&'static str, &'static [(&'static str, &'static str)]); 19] = [
        ("due.rs", &super::due::STATEMENTS),
        ("subscriptions.rs", &subscriptions::STATEMENTS),
        ("purchases.rs", &purchases::STATEMENTS),
        ("payments.rs", &payments::STATEMENTS),
        ("methods.rs", &methods::STATEMENTS),
        ("refused_moves.rs", &refused_moves::STATEMENTS),
        ("catalogs.rs", &catalogs::STATEMENTS),
        ("invoices.rs", &invoices::STATEMENTS),
        ("settings.rs", &settings::STATEMENTS),
        ("top_ups.rs", &top_ups::STATEMENTS),
        ("years.rs", &years::STATEMENTS),
        ("waivers.rs", &waivers::STATEMENTS),
        ("webhooks.rs", &webhooks::STATEMENTS),
        ("whereabouts.rs", &whereabouts::STATEMENTS),
        ("contracts.rs", &contracts::STATEMENTS),
        ("former.rs", &former::STATEMENTS),
        ("included.rs", &included::STATEMENTS),
        ("limits.rs", &limits::STATEMENTS),
        ("projects.rs", &projects::STATEMENTS),
    ];
    let same = |file, (name, text): (&'static str, &'static str)| Statement {
        file,
        name,
        sqlite: (!name.ends_with("_POSTGRES")).then_some(text),
        postgres: Some(text),
    };
    modules.into_iter().flat_map(move |(file, of)| of.iter().map(move |&it| same(file, it)))
}

/// What the engines have words of their own for.
fn in_two_words() -> [Statement; 6] {
    [
        Statement::of("subscriptions.rs", "LIVE_OF", subscriptions::LIVE_OF),
        Statement::of("subscriptions.rs", "RESUMED_OF", subscriptions::RESUMED_OF),
        Statement::of("whereabouts.rs", "STAYS", whereabouts::STAYS),
        Statement::of("whereabouts.rs", "RETURNS", whereabouts::RETURNS),
        Statement::of("projects.rs", "LEARN", projects::LEARN),
        Statement::of("projects.rs", "FORGET", projects::FORGET),
    ]
}

#[test]
fn no_statement_is_forgotten() {
    let sources = [
        ("sql.rs", include_str!("sql.rs")),
        ("sql_write.rs", include_str!("sql_write.rs")),
        ("subscriptions.rs", include_str!("subscriptions.rs")),
        ("purchases.rs", include_str!("purchases.rs")),
        ("payments.rs", include_str!("payments.rs")),
        ("methods.rs", include_str!("methods.rs")),
        ("refused_moves.rs", include_str!("refused_moves.rs")),
        ("catalogs.rs", include_str!("catalogs.rs")),
        ("contracts.rs", include_str!("contracts.rs")),
        ("former.rs", include_str!("former.rs")),
        ("included.rs", include_str!("included.rs")),
        ("invoices.rs", include_str!("invoices.rs")),
        ("settings.rs", include_str!("settings.rs")),
        ("top_ups.rs", include_str!("top_ups.rs")),
        ("waivers.rs", include_str!("waivers.rs")),
        ("webhooks.rs", include_str!("webhooks.rs")),
        ("whereabouts.rs", include_str!("whereabouts.rs")),
        ("accounts.rs", include_str!("accounts.rs")),
        ("details.rs", include_str!("details.rs")),
        ("holds.rs", include_str!("holds.rs")),
        ("installation.rs", include_str!("installation.rs")),
        ("ledger.rs", include_str!("ledger.rs")),
        ("limits.rs", include_str!("limits.rs")),
        ("lots.rs", include_str!("lots.rs")),
        ("projects.rs", include_str!("projects.rs")),
        ("usage.rs", include_str!("usage.rs")),
        ("write.rs", include_str!("write.rs")),
        ("years.rs", include_str!("years.rs")),
    ];
    let all = all();
    for (file, source) in sources {
        let listed: Vec<_> = all.iter().filter(|it| it.file == file).map(|it| it.name).collect();
        let written: Vec<_> = texts(source).filter(|name| *name != "AFTER_ALL").collect();
        assert_eq!(listed, written, "the statements of {file}, in their order");
    }
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
        Db::Sqlite { write, .. } => sqlx::raw_sql(text).execute(write.pool()).await.map(|_| ()),
        Db::Postgres(pool) => sqlx::raw_sql(text).execute(pool.pool()).await.map(|_| ()),
    }
    .unwrap_or_else(|error| panic!("{error}: {statement}"));
}

/// The lines of a statement's plan: on PostgreSQL the one it has for whatever parameters, as a service's connections
/// come to use it.
async fn plan(db: &Db, statement: &Statement) -> Vec<String> {
    let Some(text) = statement.on(db.engine()) else {
        return Vec::new();
    };
    let name = format!("{} of {}", statement.name, statement.file);
    match db {
        Db::Sqlite { write, .. } => {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
            let rows: Result<Vec<(i64, i64, i64, String)>, _> = sqlx::query_as(explain).fetch_all(write.pool()).await;
            rows.unwrap_or_else(|error| panic!("{name}: {error}")).into_iter().map(|(.., detail)| detail).collect()
        }
        Db::Postgres(pool) => {
            let mut connection = pool.acquire().await.unwrap();
            let nulls = vec!["NULL"; parameters(text)].join(", ");
            let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
            let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE it AS {text}");
            sqlx::raw_sql(AssertSqlSafe(prepare))
                .execute(&mut connection)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let explain = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE it{arguments}"));
            let lines: Result<Vec<(String,)>, _> = sqlx::query_as(explain).fetch_all(&mut connection).await;
            sqlx::raw_sql("DEALLOCATE it").execute(&mut connection).await.unwrap();
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
    let leading: Vec<(String, String)> = sqlx::query_as(LEADING_COLUMNS).fetch_all(pool.pool()).await.unwrap();
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

/// Some thousands of rows in every table that a caller waits for: 4,000 owners, and one with a long ledger. `OWNER[…]` and
/// `UUID[…]` are bytes made of a text.
const ROWS: [&str; 22] = [
    "INSERT INTO accounts (owner, seq, head_hash, last_at, available, held, debt, open_holds, terms, charged, period_anchor, period_number, period_spent,
            next_due, opened_at)
     SELECT OWNER['o' || i], 5, HASH, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, CASE WHEN i % 2 = 0 THEN i END, 0 FROM numbers",
    "INSERT INTO lots (owner, number, id, terms, granted, remaining, held, spent, expired, voided, live)
     SELECT OWNER['o' || (i % 1000)], i, UUID['l' || i], HASH, 2, i % 2, 0, 2 - i % 2, 0, 0, i % 2 > 0 FROM numbers",
    "INSERT INTO ledger_entries (owner, seq, at, request_key, refunds, body, hash)
     SELECT OWNER[CASE WHEN i % 2 = 0 THEN 'o1' ELSE 'o' || (i % 1000) END], i, i, UUID['r' || i],
            CASE WHEN i % 3 = 0 THEN UUID['c' || (i / 2)] END, HASH, HASH FROM numbers",
    "INSERT INTO entry_details (owner, last_seq, page) SELECT OWNER['o' || (i % 100)], i, HASH FROM numbers",
    "INSERT INTO holds (owner, number, id, state, deadline, captured, member, terms)
     SELECT OWNER['o' || (i % 1000)], i, UUID['h' || i], CASE WHEN i % 4 = 0 THEN 'OPEN' ELSE 'RELEASED' END, i, 0, UUID['m'], HASH FROM numbers",
    "INSERT INTO usage_hours (owner, starts_at, member, project, model, charged, refunded, charges)
     SELECT OWNER['o' || (i % 1000)], i, UUID['m'], 'p', '', 1, 0, 1 FROM numbers",
    "INSERT INTO usage_days (owner, starts_at, member, project, model, charged, refunded, charges)
     SELECT OWNER['o' || (i % 1000)], i, UUID['m'], 'p', '', 1, 0, 1 FROM numbers",
    "INSERT INTO usage_meters (owner, starts_at, model, meter, quantity, charged) SELECT OWNER['o' || (i % 1000)], i, 'm', 't', 1, 1 FROM numbers",
    "INSERT INTO limits (owner, id, subject, span, mode, amount, alerts, zone, set_at, set_by)
     SELECT OWNER['o' || (i % 1000)], UUID['l' || i], OWNER['s' || i], 1, 1, 1, '', 'UTC', 0, 'u' FROM numbers",
    "INSERT INTO limit_uses (owner, subject, span, starts_at, ends_at, used)
     SELECT OWNER['o' || (i % 1000)], OWNER['s' || i], 1, i, i + 1, 1 FROM numbers",
    "INSERT INTO subscriptions (owner, id, plan_id, state, credits, seats, currency, price, payment_method, payment_reference,
            started_at, period_number, period_start, period_end, ended_at)
     SELECT 'o' || i, 's' || i, 'business', CASE WHEN i % 2 = 0 THEN 'ENDED' ELSE 'ACTIVE' END, 1, 1, 'USD', 1, 'x', 'x', 0, 0, 0, i,
            CASE WHEN i % 2 = 0 THEN 1 END FROM numbers",
    "INSERT INTO purchases (owner, id, pack_id, state, credits, currency, price, payment_method, payment_reference, lot_id, buyer, created_at)
     SELECT 'o' || (i % 100), 'p' || i, 'starter', 'PAID', 1, 'USD', 1, 'x', 'x' || i, 'l' || i, 'u', 0 FROM numbers",
    "INSERT INTO payments (id, owner, purpose, state, thing, attempt, currency, amount, method, reference, product, credits, purchase_id,
            started_by, created_at)
     SELECT 'p' || i, 'o' || (i % 1000), 'PURCHASE', CASE WHEN i % 100 = 0 THEN 'PENDING' ELSE 'PAID' END,
            CAST(CAST(1000000000000000 + i AS TEXT) AS BYTES), 1, 'USD', 1, 'x', 'r' || i, 'starter', 1, 'u' || i, 'u', 0 FROM numbers",
    "INSERT INTO payment_methods (owner, id, token, brand, last4, exp_month, exp_year, is_default, added_by, created_at)
     SELECT 'o' || (i % 1000), 'm' || i, 'x', 'x', '0', 1, 2026, CASE WHEN i <= 1000 THEN 1 ELSE 0 END, 'u', 0 FROM numbers",
    "INSERT INTO account_settings (owner, version, billing_profile, time_zone, allowance_alert_percents, updated_at)
     SELECT 'o' || i, 1, '{}', 'UTC', '[]', 0 FROM numbers",
    "INSERT INTO invoice_accounts (owner, prefix, documents) SELECT 'o' || i, 'P' || i, 40 FROM numbers",
    "INSERT INTO invoice_series (owner, kind, year, last) SELECT 'o' || i, 'INVOICE', 2026, 1 FROM numbers",
    "INSERT INTO invoices (owner, id, kind, number, position, original, payment_id, currency, total, issued_at, body, profile, owner_gone)
     SELECT 'o' || (i % 100), 'i' || i, CASE WHEN i % 4 = 0 THEN 'CREDIT_NOTE' ELSE 'INVOICE' END, 'n' || i, i,
            CASE WHEN i % 4 = 0 THEN 'i' || (i - 1) END, 'x' || i, 'USD', 1, i, '{}', '{}', CASE WHEN i % 50 = 0 THEN 1 ELSE 0 END FROM numbers",
    "INSERT INTO catalogs (version, digest, format, body, first_used_at)
     SELECT i, CAST('d' || i AS BYTES), 1, '{}', 0 FROM numbers",
    "INSERT INTO top_ups (owner, crossing, declines, attempted_at, capped_until) SELECT 'o' || i, 1, 0, i, NULL FROM numbers",
    "INSERT INTO top_up_payments (payment_id, owner, began_at, currency, net, set_by, told, counted)
     SELECT 'p' || i, 'o' || (i % 1000), i, 'USD', 1, 'u', 1, 0 FROM numbers",
    "INSERT INTO webhooks (id, kind, state, body, deliveries, problem, received_at, settled_at)
     SELECT 'e' || i, 'x', CASE WHEN i % 100 = 0 THEN 'ASIDE' ELSE 'DONE' END, NULL, 1, NULL, i, i FROM numbers",
];

/// Spells `WORD[…]` as `before…after`.
fn bytes(text: &str, word: &str, before: &str, after: &str) -> String {
    let begin = format!("{word}[");
    let mut parts = text.split(begin.as_str());
    let mut spelled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inside, rest) = part.split_once(']').expect("a closing bracket");
        spelled.extend([before, inside, after, rest]);
    }
    spelled
}

/// A store as a service opens it, with so many rows in every table. PostgreSQL gathers statistics by itself, SQLite never does.
async fn filled(db: &TestDb, rows: u32) -> Db {
    let migrated = db.open(&MIGRATIONS).await;
    let type_of_bytes = match db.engine() {
        Engine::Sqlite => "BLOB",
        Engine::Postgres => "BYTEA",
    };
    let hash = match db.engine() {
        Engine::Sqlite => "zeroblob(32)",
        Engine::Postgres => "decode(repeat('00', 32), 'hex')",
    };
    run(&migrated, "CREATE TABLE numbers (i BIGINT)").await;
    let count =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n");
    run(&migrated, &format!("INSERT INTO numbers (i) {count}")).await;
    for rows in ROWS {
        let rows = rows.replace("HASH", hash).replace("BYTES", type_of_bytes);
        let spelled = match db.engine() {
            Engine::Sqlite => bytes(&bytes(&rows, "OWNER", "CAST(", " AS BLOB)"), "UUID", "CAST(", " AS BLOB)"),
            Engine::Postgres => bytes(&bytes(&rows, "OWNER", "convert_to(", ", 'UTF8')"), "UUID", "md5(", ")::uuid"),
        };
        run(&migrated, &spelled).await;
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
        flaws.retain(|flaw| flaw.contains(" of sql.rs:") || flaw.contains(" of sql_write.rs:"));
        assert!(flaws.is_empty(), "{}", flaws.join("\n\n"));
    }

    // What a page is looked for in begins where the last page ended. So these lists need no place among what is costly.
    async fn pages_of_lots_and_of_open_holds_begin_where_the_last_one_ended(db: TestDb) {
        let db = filled(&db, 4_000).await;
        let ranges = [
            ("LOTS_PAGE", "(owner=? AND number<?)", "Index Cond: ((owner = $1) AND (number < $2))"),
            ("OPEN_HOLDS", "(owner=? AND (deadline,number)>(?,?))", "Index Cond: ((owner = $1) AND (deadline >= $2))"),
        ];
        for (name, on_sqlite, on_postgres) in ranges {
            let statement = all().into_iter().find(|it| it.name == name).unwrap();
            let plan = plan(&db, &statement).await.join("\n");
            let range = if db.engine() == Engine::Sqlite { on_sqlite } else { on_postgres };
            assert!(plan.contains(range), "{name}:\n{plan}");
        }
    }

    async fn the_check_itself_sees_a_scan(db: TestDb) {
        let db = filled(&db, 4_000).await;
        let whole = [
            "SELECT note FROM lots WHERE note = $1",
            "SELECT COUNT(*) FROM ledger_entries",
            "SELECT owner FROM accounts ORDER BY owner",
            "SELECT charged FROM usage_hours WHERE model = $1",
        ];
        for text in whole {
            let statement = Statement { file: "the test", name: text, sqlite: Some(text), postgres: Some(text) };
            let plan = plan(&db, &statement).await;
            assert!(!scans(&db, &plan).await.is_empty(), "{text}:\n{}", plan.join("\n"));
        }
    }
}
