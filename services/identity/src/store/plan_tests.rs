//! Every statement is understood by both engines, and none reads a table, or an index of one, from end to end.

use bursar_db::{Db, Engine, PoolOptions, Tx};
use bursar_testkit::TestDb;
use bursar_testkit::plans::{analyze, fill, none_is_forgotten, numbers, plan, scans};
use sqlx::{Executor as _, SqlSafeStr as _};

use super::{
    MIGRATIONS, belongings, branches, keys, listing, options, places, preferences, prune, service_accounts, sessions,
    suspensions, throttles, users, verifications,
};

/// Statements that both engines run.
const BOTH: &[(&str, &str)] = bursar_testkit::statements![
    users::INSERT,
    users::BY_ID,
    users::BY_EMAIL,
    users::SET_DISPLAY_NAME,
    users::SET_VERIFIED,
    users::COUNT_SIGN_UP,
    users::STRENGTHEN,
    users::PERISHED,
    users::AHEAD,
    users::STAYED,
    users::STAYED_AHEAD,
    users::DELETE,
    users::LEAVE,
    users::STAY,
    users::LET_GO,
    users::IS_LET_GO,
    users::IS_LEAVING,
    users::LEAVING_AFTER,
    users::STAYED_AFTER,
    users::REMEMBER_DELETED,
    users::NAMED_AFTER,
    users::DELETED_AFTER,
    verifications::INSERT,
    verifications::TAKE,
    verifications::COUNT_LIVE,
    verifications::DELETE_OF,
    sessions::INSERT,
    sessions::BY_ID,
    sessions::LIVE_OF,
    sessions::END,
    sessions::END_ALL,
    sessions::TOUCH,
    listing::ALL,
    listing::UNPROVEN,
    listing::LEAVING,
    listing::SUSPENDED,
    listing::BY_ADDRESS,
    suspensions::OF,
    suspensions::BEGIN,
    suspensions::END,
    suspensions::LIVE_AFTER,
    branches::INSERT,
    branches::TOKEN,
    branches::LIVE,
    branches::RETIRE,
    branches::LEAVE,
    branches::TRIM,
    branches::ENTER,
    branches::ENTER_ONLY,
    preferences::OF,
    preferences::SET,
    places::IS_KNOWN,
    places::NOTE,
    places::TRIM,
    places::FORGET,
    throttles::LOCK,
    throttles::LOOK,
    throttles::SET,
    throttles::GIVE_BACK,
    keys::INSERT,
    keys::ALL,
    keys::DELETE,
    service_accounts::INSERT,
    service_accounts::BY_ID,
    service_accounts::AFTER,
    service_accounts::SET_SECRET,
    service_accounts::DISABLE,
    prune::VERIFICATIONS_AHEAD,
    prune::PLACES,
    prune::PLACES_AHEAD,
];

/// Statements with locks, which SQLite neither has nor needs, and with lists.
const POSTGRES: &[(&str, &str)] = bursar_testkit::statements![
    users::BY_IDS_POSTGRES,
    users::BY_ID_LOCKED,
    users::PERISHED_LOCKED,
    users::AHEAD_LOCKED,
    users::STAYED_LOCKED,
    users::STAYED_AHEAD_LOCKED,
    sessions::BY_ID_LOCKED,
    service_accounts::BY_ID_LOCKED,
    branches::LEFT_POSTGRES,
    belongings::TOKENS_POSTGRES,
    belongings::SESSIONS_POSTGRES,
    belongings::VERIFICATIONS_POSTGRES,
    prune::REFRESH_TOKENS_POSTGRES,
    prune::SESSIONS_POSTGRES,
    prune::SESSIONS_AHEAD_POSTGRES,
    prune::ENDED_SESSIONS_POSTGRES,
    prune::VERIFICATIONS_POSTGRES,
    prune::THROTTLES_POSTGRES,
    prune::TOKENS_OF_SESSIONS_POSTGRES,
    prune::TOKENS_OF_SESSIONS_AHEAD_POSTGRES,
    prune::TOKENS_OF_ENDED_SESSIONS_POSTGRES,
];

/// Statements with lists, as SQLite takes them, and what is done without locks there.
const SQLITE: &[(&str, &str)] = bursar_testkit::statements![
    users::BY_IDS_SQLITE,
    branches::LEFT_SQLITE,
    belongings::TOKENS_SQLITE,
    belongings::SESSIONS_SQLITE,
    belongings::VERIFICATIONS_SQLITE,
    prune::REFRESH_TOKENS,
    prune::SESSIONS,
    prune::SESSIONS_AHEAD,
    prune::ENDED_SESSIONS,
    prune::VERIFICATIONS,
    prune::THROTTLES,
    prune::TOKENS_OF_SESSIONS_SQLITE,
    prune::TOKENS_OF_SESSIONS_AHEAD_SQLITE,
    prune::TOKENS_OF_ENDED_SESSIONS_SQLITE,
];

/// Rows of each table.
const ROWS: u32 = 4_000;

/// What reads a whole table, and may: there are a few keys, and each replica wants all of them.
const WHOLE: [&str; 1] = [keys::ALL];

/// Each table's columns, and the `n`-th row: everybody has one of each, but for refresh tokens, of which a session has twenty, and
/// one of them is live. Of 50 people one has not proven the address, one is about to leave, and one is suspended.
const TABLES: [(&str, &str); 11] = [
    (
        "users (id, email, email_key, email_verified_at, password_hash, display_name, version, created_at, updated_at, \
         leaving_since, departures)",
        "'usr_' || n, 'x' || n, 'x' || n, CASE WHEN n % 50 > 0 THEN n END, 'x', 'X', 1, n, n, \
         CASE WHEN n % 50 = 1 THEN n END, CASE WHEN n % 50 < 3 THEN 1 ELSE 0 END",
    ),
    ("deleted_users (id, deleted_at)", "'usr_d' || n, n"),
    ("email_verifications (digest, user_id, email_key, expires_at)", "DIGEST, 'usr_' || n, 'x' || n, n"),
    (
        "sessions (id, user_id, context, user_agent, created_at, last_used_at, expires_at, ended_at, end_reason)",
        "'ses_' || n, 'usr_' || n, 'usr_' || n, 'x', n, n, n, CASE WHEN n % 50 = 0 THEN n END, \
         CASE WHEN n % 50 = 0 THEN 'REVOKED' END",
    ),
    (
        "refresh_tokens (digest, session_id, branch, authenticated_at, methods, issued_at, expires_at, rotated_at)",
        "DIGEST, 'ses_' || ((n + 19) / 20), SHORT, n, 'pwd', n, n, CASE WHEN n % 20 > 0 THEN n END",
    ),
    ("throttles (bucket, drained_at)", "'mail:' || n, n"),
    (
        "signing_keys (generation, kid, public_key, sealed_private, created_at, signs_from)",
        "n, 'k' || n, DIGEST, DIGEST, n, n",
    ),
    (
        "service_accounts (id, display_name, role, secret_digest, created_at, rotated_at)",
        "'sva_' || n, 'X', 'product', DIGEST, n, n",
    ),
    ("sign_in_places (user_id, place, last_at)", "'usr_' || n, SHORT, n"),
    ("suspensions (user_id, since, reason, version)", "'usr_' || n, CASE WHEN n % 50 = 2 THEN n END, 'x', 1"),
    ("preferences (user_id, document, changed_at)", "'usr_' || n, '{}', n"),
];

/// A store as the service opens it, with thousands of rows in every table, so that its plans go by indexes as far as there are
/// any: a table of this size would be read whole rather than searched.
async fn filled(db: &TestDb) -> Db {
    db.open(&MIGRATIONS).await.close().await;
    let db = Db::open(&db.store_url(), &MIGRATIONS, &options(PoolOptions::default())).await.expect("opened");
    let bytes = |length: u32| match db.engine() {
        Engine::Sqlite => format!("CAST(printf('%0{length}d', n) AS BLOB)"),
        Engine::Postgres => format!("convert_to(lpad(CAST(n AS TEXT), {length}, '0'), 'UTF8')"),
    };
    let (digest, short, people) = (bytes(32), bytes(16), numbers(1, ROWS));
    let row = |row: &str| row.replace("DIGEST", &digest).replace("SHORT", &short);
    let statements: Vec<String> = TABLES
        .iter()
        .map(|(table, each)| format!("INSERT INTO {table} {people} SELECT {} FROM c", row(each)))
        .collect();
    fill(&db, &statements).await;
    analyze(&db, "").await;
    db
}

/// The statements that an engine runs.
fn of(engine: Engine) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    BOTH.iter().chain(if engine == Engine::Sqlite { SQLITE } else { POSTGRES })
}

#[test]
fn no_statement_is_forgotten() {
    none_is_forgotten(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store"), &[BOTH, POSTGRES, SQLITE], &[]);
}

bursar_testkit::engines! {
    async fn every_statement_prepares(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        for (name, statement) in of(db.engine()) {
            let mut tx = db.begin().await.unwrap();
            let prepared = match &mut tx {
                Tx::Sqlite(t) => (&mut **t).prepare(statement.into_sql_str()).await.map(|_| ()),
                Tx::Postgres(t) => (&mut **t).prepare(statement.into_sql_str()).await.map(|_| ()),
            };
            assert!(prepared.is_ok(), "{name}: {prepared:?}");
        }
    }

    async fn no_statement_scans_a_table(db: TestDb) {
        let db = filled(&db).await;
        let mut flaws = Vec::new();
        for (name, statement) in of(db.engine()) {
            let plan = plan(&db, statement).await;
            let scans = scans(&db, &plan, &[]).await;
            if scans.is_empty() == WHOLE.contains(statement) {
                flaws.push(format!("{name}: {scans:#?}\n{plan}"));
            }
        }
        assert!(flaws.is_empty(), "{}", flaws.join("\n\n"));
    }

    /// Kind: a branch that is refreshed for months is no slower to move, to leave or to refresh than on its first day.
    async fn what_changes_a_branch_passes_over_none_of_its_rotated_tokens(db: TestDb) {
        let db = filled(&db).await;
        let live = [
            branches::LIVE, branches::RETIRE, branches::LEAVE, branches::TRIM, branches::ENTER, branches::ENTER_ONLY,
        ];
        for statement in live {
            let plan = plan(&db, statement).await;
            assert!(plan.contains("refresh_tokens_live"), "{statement}:\n{plan}");
            assert!(!plan.contains("refresh_tokens_branch"), "{statement}:\n{plan}");
        }
    }

    async fn the_check_itself_sees_a_scan(db: TestDb) {
        let db = filled(&db).await;
        for statement in [
            "SELECT email FROM users WHERE email = $1",
            "SELECT id FROM sessions WHERE last_used_at < $1 ORDER BY id",
            "SELECT place FROM sign_in_places WHERE place = $1",
        ] {
            let plan = plan(&db, statement).await;
            assert!(!scans(&db, &plan, &[]).await.is_empty(), "{statement}:\n{plan}");
        }
    }
}
