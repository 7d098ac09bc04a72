//! No statement reads a table, or an index of one, from end to end: shown by the plans that a store makes as the service opens it.

use bursar_db::{Db, Engine, PoolOptions};
use bursar_testkit::TestDb;
use bursar_testkit::plans::{analyze, fill, numbers, plan, scans};

use super::page_tests::{fill_up, walks_back};
use super::tests::{BOTH, POSTGRES, SQLITE};
use super::{MIGRATIONS, items, options, organizations, projects, seats};

/// Rows of each table.
const ROWS: u32 = 4_000;
/// Items of one library among so many small ones.
const ITEMS: u32 = 20_000;

/// What reads a whole table or index, and may: nobody waits for it.
const WHOLE: [&str; 3] = [
    // An operator's command.
    organizations::OWNERLESS,
    // The index has those alone that are untold.
    projects::TELL,
    // Once after billing was restored from a backup.
    seats::FORGET_BEFORE,
];

/// What SQLite calls what a statement has found before, in the words of the statements.
const FOUND: [&str; 2] = ["SCAN b", "SCAN counted"];

/// Each table's columns, and the `n`-th row: everybody has an organization, and all of it one of each.
const TABLES: [(&str, &str); 21] = [
    (
        "users (id, display_name, deleted_at, departing_since, departure)",
        "'usr_' || n, 'X', CASE WHEN n % 50 = 0 THEN n END, CASE WHEN n % 50 = 0 THEN n END, 1",
    ),
    ("slugs (slug, organization_id, taken_at, former_since)", "'s' || n, 'org_' || n, 0, NULL"),
    (
        "organizations (id, name, slug, owner_user_id, version, created_at, updated_at, state, deleted_at)",
        "'org_' || n, 'X' || n, 's' || n, 'usr_' || n, 1, n, n, \
         CASE WHEN n % 50 = 0 THEN 'DELETED' ELSE 'ACTIVE' END, CASE WHEN n % 50 = 0 THEN n END",
    ),
    (
        "memberships (organization_id, user_id, role, state, email, email_key, version, joined_at, changed_at)",
        "'org_' || n, 'usr_' || n, 'OWNER', 'ACTIVE', 'x' || n, 'x' || n, 1, n, n",
    ),
    (
        "invitations (id, organization_id, email, email_key, role, state, token_digest, lifetime, invited_by, \
         accepted_by, created_at, expires_at)",
        "'inv_' || n, 'org_' || n, 'x' || n, 'x' || n, 'MEMBER', \
         CASE n % 2 WHEN 0 THEN 'PENDING' ELSE 'ACCEPTED' END, DIGEST, 1, 'usr_1', \
         CASE n % 2 WHEN 1 THEN 'usr_' || n END, n, n",
    ),
    ("invitation_mails (organization_id, sent_at, mails)", "'org_' || n, n, 1"),
    (
        "projects (id, owner, name, description, created_by, assigned_to, version, created_at, updated_at, told)",
        "'prj_' || n, 'org_' || n, 'X', '', 'usr_' || n, 'usr_' || n, 1, n, n, CASE WHEN n % 50 = 0 THEN 0 ELSE 1 END",
    ),
    ("mail_counts (subject, sent, last_at)", "'by:' || n, DIGEST, n"),
    ("avatars (organization_id, size, media_type, etag, content)", "'org_' || n, 1, 'x', 'x', DIGEST"),
    ("libraries (owner, bytes)", "'org_' || n, 1"),
    (
        "items (id, owner, kind, name, document, parent, project, secrets_set, bytes, created_by, version, \
         created_at, updated_at)",
        "'itm_' || n, 'org_' || n, 'chat', 'X', '{}', NULL, 'prj_1', '', 1, 'usr_1', 1, n, n",
    ),
    ("organization_seats (organization_id, seats, incarnation, version)", "'org_' || n, 1, 1, 1"),
    ("objects (id, uploader, size, segment, refs, lease_until)", "'o' || n, 'usr_' || n, 1, 1, n % 2, n"),
    ("contents (owner, sha256, object, size, items)", "'org_' || n, DIGEST, 'o' || n, 1, 1"),
    ("item_contents (owner, item, sha256, size, media_type)", "'org_' || n, 'itm_' || n, DIGEST, 1, 'x'"),
    ("foundings (organization_id, creator, session, branch, actor, method)", "'org_' || n, 'x', 'x', 'x', 'x', 'x'"),
    (
        "nominations (organization_id, nominee_user_id, nominated_by, nominated_until)",
        "'org_' || n, 'usr_' || n, 'usr_1', n",
    ),
    ("preferences (organization_id, user_id, document, version, changed_at)", "'org_' || n, 'usr_' || n, '{}', 1, n"),
    ("erasures (owner, root)", "'org_' || n, 'itm_' || n"),
    (
        "requests (scope, request_id, method, body_hash, response, created_at)",
        "'usr_' || n || '/org_' || n, 'r' || n, 'a.B/C', DIGEST, DIGEST, n",
    ),
    ("audit (id, at, owner, actor, method, outcome)", "'aud_' || n, n, 'org_' || n, 'usr_1', 'a.B/C', 'DONE'"),
];

/// A store as the service opens it, with thousands of rows in every table, of which PostgreSQL has not gathered statistics.
async fn filled(db: &TestDb) -> Db {
    db.open(&MIGRATIONS).await.close().await;
    let db = Db::open(&db.store_url(), &MIGRATIONS, &options(PoolOptions::default())).await.expect("opened");
    let digest = match db.engine() {
        Engine::Sqlite => "CAST(printf('%032d', n) AS BLOB)",
        Engine::Postgres => "convert_to(lpad(CAST(n AS TEXT), 32, '0'), 'UTF8')",
    };
    let people = numbers(1, ROWS);
    let statements: Vec<String> = TABLES
        .iter()
        .map(|(table, row)| format!("INSERT INTO {table} {people} SELECT {} FROM c", row.replace("DIGEST", digest)))
        .collect();
    fill(&db, &statements).await;
    db
}

bursar_testkit::engines! {
    async fn no_statement_scans_a_table(db: TestDb) {
        let db = filled(&db).await;
        analyze(&db, "").await;
        let own = if db.engine() == Engine::Sqlite { SQLITE } else { POSTGRES };
        let mut flaws = Vec::new();
        for (name, statement) in BOTH.iter().chain(own) {
            let plan = plan(&db, statement).await;
            let scans = scans(&db, &plan, &FOUND).await;
            if scans.is_empty() == WHOLE.contains(statement) {
                flaws.push(format!("{name}: {scans:#?}\n{plan}"));
            }
        }
        assert!(flaws.is_empty(), "{}", flaws.join("\n\n"));
    }

    /// Right after much has come, of which PostgreSQL knows nothing yet.
    async fn what_stands_under_nothing_is_found_without_reading_the_whole_library(db: TestDb) {
        let db = filled(&db).await;
        let insert = "INSERT INTO items (id, owner, kind, name, document, parent, secrets_set, bytes, created_by, version, \
                      created_at, updated_at)";
        let select = "SELECT 'itm_' || CAST(1000000 + n AS TEXT), 'org_1', 'chat', 'X', '{}', 'itm_1', '', 1, 'usr_1', 1, n, n \
                      FROM c";
        fill_up(&db, ITEMS, (insert, select)).await;
        walks_back(&db, items::LEAVES, ("items_owner", "sqlite_autoindex_items_2"), "owner,id").await;
    }

    async fn the_check_itself_sees_a_scan(db: TestDb) {
        let db = filled(&db).await;
        analyze(&db, "").await;
        for statement in [
            "SELECT name FROM items WHERE name = $1",
            "SELECT owner FROM items WHERE id <> $1 ORDER BY owner, id",
            "SELECT user_id FROM memberships WHERE user_id = $1 AND role IS NULL",
        ] {
            let plan = plan(&db, statement).await;
            assert!(!scans(&db, &plan, &FOUND).await.is_empty(), "{statement}:\n{plan}");
        }
    }
}
