//! What a page costs is a walk along one index from where it begins, for the first page as for the last, however long the list.
//! Shown by plans, and on PostgreSQL by the blocks that a page touches, too: never by a clock.

use bursar_db::{Db, PoolOptions};
use bursar_testkit::plans::{analyze, explained, fill, numbers, plan};

use super::{MIGRATIONS, audit, invitations, items, memberships, options, projects};

/// Members of one organization.
const MEMBERS: u32 = 10_000;
/// Items of one library.
const ITEMS: u32 = 100_000;
/// Rows of the audit log, unless `BURSAR_TEST_AUDIT_ROWS` says otherwise: a million take a minute.
const AUDIT_ROWS: u32 = 100_000;
/// How many rows are written at once: no statement may take long.
const PORTION: u32 = 50_000;
/// How many rows a page asks for.
const PAGE: u32 = 101;

fn audit_rows() -> u32 {
    let said = std::env::var("BURSAR_TEST_AUDIT_ROWS").ok();
    said.map_or(AUDIT_ROWS, |rows| rows.parse().expect("BURSAR_TEST_AUDIT_ROWS: a number"))
}

/// Fills a table with so many rows, by a statement that begins so and ends so, a portion at a time.
pub(super) async fn fill_up(db: &Db, rows: u32, (insert, select): (&str, &str)) {
    for first in (1..=rows).step_by(PORTION as usize) {
        let last = rows.min(first + PORTION - 1);
        fill(db, &[format!("{insert} {} {select}", numbers(first, last))]).await;
    }
}

/// Half of the members are somebody else's. Of each organization one is the owner, and the last of a page's length are Admins.
async fn fill_members(db: &Db) {
    let people = numbers(1, MEMBERS);
    let mut statements = vec![format!(
        "INSERT INTO users (id, display_name) {people} SELECT 'usr_' || CAST(1000000 + n AS TEXT), 'X' FROM c"
    )];
    for organization in ["org_1", "org_2"] {
        statements.extend([
            format!(
                "INSERT INTO slugs (slug, organization_id, taken_at) VALUES ('{organization}', '{organization}', 0)"
            ),
            format!(
                "INSERT INTO organizations (id, name, slug, owner_user_id, version, created_at, updated_at) \
                 VALUES ('{organization}', 'X', '{organization}', 'usr_1000001', 1, 0, 0)"
            ),
            format!(
                "INSERT INTO memberships (organization_id, user_id, role, state, email, email_key, version, joined_at, \
                 changed_at) {people} SELECT '{organization}', 'usr_' || CAST(1000000 + n AS TEXT), \
                 CASE WHEN n = 1 THEN 'OWNER' WHEN n > {MEMBERS} - {PAGE} THEN 'ADMIN' ELSE 'MEMBER' END, \
                 'ACTIVE', 'x', 'x', 1, n, n FROM c"
            ),
        ]);
    }
    fill(db, &statements).await;
    analyze(db, "users, memberships").await;
}

/// One organization with its owner, of which PostgreSQL knows that there is no more.
async fn fill_tiny(db: &Db) {
    let owner = match db {
        Db::Sqlite { .. } => "zeroblob(17)",
        Db::Postgres(_) => "decode(repeat('00', 17), 'hex')",
    };
    let standing =
        format!("INSERT INTO standings (owner, standing, incarnation, version) VALUES ({owner}, 'SUSPENDED', 1, 1)");
    let statements = [
        "INSERT INTO users (id, display_name) VALUES ('usr_1', 'X')",
        "INSERT INTO slugs (slug, organization_id, taken_at) VALUES ('x', 'org_1', 0)",
        "INSERT INTO organizations (id, name, slug, owner_user_id, version, created_at, updated_at) \
         VALUES ('org_1', 'X', 'x', 'usr_1', 1, 0, 0)",
        "INSERT INTO memberships (organization_id, user_id, role, state, email, email_key, version, joined_at, changed_at) \
         VALUES ('org_1', 'usr_1', 'OWNER', 'ACTIVE', 'x', 'x', 1, 0, 0)",
    ];
    fill(db, &statements.map(str::to_owned)).await;
    fill(db, &[standing]).await;
    analyze(db, "outbox_head, organizations, memberships, standings").await;
}

/// All of one kind but some, all under one item and in one project; as many are somebody else's.
async fn fill_items(db: &Db) {
    let insert = "INSERT INTO items (id, owner, kind, name, document, parent, project, secrets_set, bytes, created_by, version, \
                  created_at, updated_at)";
    let statements = [
        "INSERT INTO libraries (owner, bytes) VALUES ('org_1', 1), ('org_2', 1)".to_owned(),
        format!("{insert} VALUES ('itm_0', 'org_1', 'agent', 'X', '{{}}', NULL, NULL, '', 1, 'usr_1', 1, 0, 0)"),
    ];
    fill(db, &statements).await;
    let select = "SELECT 'itm_' || CAST(1000000 + n AS TEXT), CASE n % 2 WHEN 0 THEN 'org_1' ELSE 'org_2' END, 'chat', 'X', '{}', \
                  CASE n % 2 WHEN 0 THEN 'itm_0' END, 'prj_1', '', 1, 'usr_1', 1, n, n FROM c";
    fill_up(db, 2 * ITEMS, (insert, select)).await;
    analyze(db, "items").await;
}

/// Half of them are somebody else's; the organizations are there.
async fn fill_projects_and_invitations(db: &Db) {
    let all = numbers(1, 2 * MEMBERS);
    let owner = "CASE n % 2 WHEN 0 THEN 'org_1' ELSE 'org_2' END";
    let digest = match db {
        Db::Sqlite { .. } => "CAST(printf('%032d', n) AS BLOB)",
        Db::Postgres(_) => "convert_to(lpad(CAST(n AS TEXT), 32, '0'), 'UTF8')",
    };
    let statements = [
        format!(
            "INSERT INTO projects (id, owner, name, description, created_by, assigned_to, version, created_at, updated_at) \
             {all} SELECT 'prj_' || CAST(1000000 + n AS TEXT), {owner}, 'X', '', 'usr_1', 'usr_1', 1, n, n FROM c"
        ),
        format!(
            "INSERT INTO invitations (id, organization_id, email, email_key, role, state, token_digest, lifetime, invited_by, \
             created_at, expires_at) {all} SELECT 'inv_' || CAST(1000000 + n AS TEXT), {owner}, 'x', 'x', 'MEMBER', 'EXPIRED', \
             {digest}, 1, 'usr_1', n, n FROM c"
        ),
    ];
    fill(db, &statements).await;
    analyze(db, "projects, invitations").await;
}

/// Half of the rows are somebody else's.
async fn fill_audit(db: &Db, rows: u32) {
    let insert = "INSERT INTO audit (id, at, owner, actor, method, outcome)";
    let select = "SELECT 'aud_0000000000000' || CAST(1000000000000 + n AS TEXT), n, \
                  CASE n % 2 WHEN 0 THEN 'org_1' ELSE 'org_2' END, 'usr_1', 'a.B/C', 'DONE' FROM c";
    fill_up(db, 2 * rows, (insert, select)).await;
    analyze(db, "audit").await;
}

/// The statement walks along this index (PostgreSQL's name for it and SQLite's), from a place in it back to the owner's first.
pub(super) async fn walks_back(db: &Db, statement: &str, (postgres, sqlite): (&str, &str), key: &str) {
    let plan = plan(db, statement).await;
    let walks = match db {
        Db::Sqlite { .. } => {
            let any = vec!["?"; key.split(',').count()].join(",");
            plan.contains(&format!("INDEX {sqlite} (({key})>({any}) AND ({key})<({any}))"))
        }
        Db::Postgres(_) => {
            let key = key.replace(',', ", ");
            plan.contains(&format!("Backward using {postgres} on"))
                && plan.contains(&format!("Index Cond: ((ROW({key}) < ROW($1, "))
                && plan.contains(&format!(" AND (ROW({key}) >= ROW($1, "))
        }
    };
    assert!(walks && !plan.contains("Sort") && !plan.contains("B-TREE"), "{statement}:\n{plan}");
}

/// How many blocks a page touches on PostgreSQL.
async fn blocks(db: &Db, statement: &str, parameters: &str) -> u64 {
    let said = explained(db, "ANALYZE, BUFFERS, COSTS OFF, TIMING OFF", statement, parameters).await;
    let line = said.lines().find(|line| line.contains("Buffers: shared")).unwrap_or_else(|| panic!("{said}"));
    let of = |what: &str| -> u64 {
        let digits = line.split(what).nth(1).unwrap_or("0");
        digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|it| it.parse().ok()).unwrap_or_default()
    };
    let found = of("hit=") + of("read=");
    assert!(found > 0 && said.contains(&format!("rows={PAGE} ")), "a whole page: {said}");
    found
}

/// The last page touches no more than twice what the first one does, and some.
async fn costs_the_same(db: &Db, statement: &str, first: &str, last: &str) {
    if matches!(db, Db::Postgres(_)) {
        let (first, last) = (blocks(db, statement, first).await, blocks(db, statement, last).await);
        assert!(last <= 2 * first + 16 && last < 1_000, "{statement}: {first} blocks, then {last}");
    }
}

bursar_testkit::engines! {
    /// PostgreSQL keeps a plan until it has gathered new statistics, however much has come meanwhile.
    async fn no_check_of_access_goes_by_a_plan_that_was_made_for_a_tiny_table(db: TestDb) {
        db.open(&MIGRATIONS).await.close().await;
        let db = Db::open(&db.store_url(), &MIGRATIONS, &options(PoolOptions::default())).await.expect("opened");
        fill_tiny(&db).await;
        let plan = plan(&db, memberships::PLACE_NOW).await;
        let walks = match &db {
            Db::Sqlite { .. } => !plan.contains("SCAN"),
            Db::Postgres(_) => {
                !plan.contains("Seq Scan")
                    && plan.contains("using organizations_pkey on organizations")
                    && plan.contains("using standings_pkey on standings")
                    && plan.contains("Index Cond: ((organization_id = $1) AND (user_id = $2))")
            }
        };
        assert!(walks, "{plan}");
    }

    async fn each_page_of_the_audit_log_is_a_walk_along_one_index(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let rows = audit_rows();
        fill_audit(&db, rows).await;
        for statement in [audit::LIST, audit::EDGE] {
            let plan = plan(&db, statement).await;
            let walks = match &db {
                Db::Sqlite { .. } => plan.contains("INDEX audit_listed ((owner,at,id)>(?,?,?) AND (owner,at,id)<(?,?,?))"),
                Db::Postgres(_) => {
                    plan.contains("using audit_listed on audit")
                        && plan.contains("Index Cond: ((ROW(owner, at, id) < ROW($1, $2, $3)) AND (ROW(owner, at, id) >= ROW($1,")
                }
            };
            assert!(walks && !plan.contains("Sort") && !plan.contains("B-TREE"), "{statement}:\n{plan}");
        }
        let page = |before: u32| format!("'org_1', {before}, '', 0, '', '', '', '', '', '', '', {PAGE}");
        costs_the_same(&db, audit::LIST, &page(2 * rows + 1), &page(2 * PAGE + 1)).await;
    }

    async fn each_page_of_members_is_a_walk_along_one_index(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        fill_members(&db).await;
        let plan = plan(&db, memberships::LIST).await;
        let walks = match &db {
            Db::Sqlite { .. } => plan.contains("INDEX memberships_joined (organization_id=? AND (joined_at,user_id)>(?,?))"),
            Db::Postgres(_) => {
                plan.contains("using memberships_joined on memberships")
                    && plan.contains("Index Cond: ((organization_id = $1) AND (ROW(joined_at, user_id) > ROW($2, $3)))")
            }
        };
        assert!(walks && !plan.contains("Sort") && !plan.contains("B-TREE"), "{plan}");
        let page = |after: u32| format!("'org_1', {after}, 'usr_~', {PAGE}");
        costs_the_same(&db, memberships::LIST, &page(0), &page(MEMBERS - PAGE)).await;
    }

    /// However many others joined before and between them.
    async fn each_page_of_the_members_of_a_role_is_a_walk_along_one_index(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        fill_members(&db).await;
        let plan = plan(&db, memberships::LIST_OF_ROLE).await;
        let walks = match &db {
            Db::Sqlite { .. } => {
                plan.contains("INDEX memberships_of_role (organization_id=? AND role=? AND (joined_at,user_id)>(?,?))")
            }
            Db::Postgres(_) => {
                plan.contains("using memberships_of_role on memberships")
                    && plan.contains("(organization_id = $1) AND (role = $5) AND (ROW(joined_at, user_id) > ROW($2, $3))")
            }
        };
        assert!(walks && !plan.contains("Sort") && !plan.contains("B-TREE"), "{plan}");
        let page = |role: &str| format!("'org_1', 0, '', {PAGE}, '{role}'");
        costs_the_same(&db, memberships::LIST_OF_ROLE, &page("MEMBER"), &page("ADMIN")).await;
    }

    async fn each_page_of_items_is_a_walk_along_one_index(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        fill_items(&db).await;
        for (statement, by, index, key) in [
            (items::KEYS, "", "items_owner", "owner,id"),
            (items::KEYS_OF_KIND, ", 'chat'", "items_kind", "owner,kind,id"),
            (items::KEYS_OF_PARENT, ", 'itm_0'", "items_children", "owner,parent,id"),
            (items::KEYS_OF_PROJECT, ", 'prj_1'", "items_project", "owner,project,id"),
        ] {
            // SQLite names the index of a constraint by its place.
            let named = if index == "items_owner" { "sqlite_autoindex_items_2" } else { index };
            walks_back(&db, statement, (index, named), key).await;
            let page = |before: &str| format!("'org_1', '{before}', {PAGE}{by}");
            let last = format!("itm_{}", 1_000_000 + 2 * PAGE + 1);
            costs_the_same(&db, statement, &page(items::LAST), &page(&last)).await;
        }
    }

    async fn each_page_of_projects_and_invitations_is_a_walk_along_one_index(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        fill_members(&db).await;
        fill_projects_and_invitations(&db).await;
        walks_back(&db, projects::LIST, ("projects_owner", "projects_owner"), "owner,id").await;
        let page = |before: &str| format!("'org_1', '{before}', {PAGE}");
        let last = format!("prj_{}", 1_000_000 + 2 * PAGE + 1);
        costs_the_same(&db, projects::LIST, &page(projects::LAST), &page(&last)).await;
        let index = "invitations_organization";
        for statement in [invitations::LIST, invitations::EDGE] {
            walks_back(&db, statement, (index, index), "organization_id,id").await;
        }
        let page = |before: &str| format!("'org_1', '{before}', '', '', 0, {PAGE}");
        let last = format!("inv_{}", 1_000_000 + 2 * PAGE + 1);
        costs_the_same(&db, invitations::LIST, &page(invitations::LAST), &page(&last)).await;
    }
}
