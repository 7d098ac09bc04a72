//! How an engine goes about a store's statements: their plans, and whether a list that is swept has all of them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use bursar_db::{Db, on};
use sqlx::AssertSqlSafe;

/// Statements of a store with their names, `statements![users::INSERT, users::BY_ID]`; those of an array by their places.
#[macro_export]
macro_rules! statements {
    ($($module:ident::$name:ident $([$place:literal])?),+ $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name $([$place])?)),+]
    };
}

/// PostgreSQL's indexes with the column that each begins with.
const LEADING_COLUMNS: &str = "SELECT c.relname::text, a.attname::text FROM pg_index AS i \
    JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_attribute AS a ON a.attrelid = i.indexrelid AND a.attnum = 1";

/// Numbers `n` from one to the other.
pub fn numbers(first: u32, last: u32) -> String {
    format!("WITH RECURSIVE c (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last})")
}

/// Fills tables, in one transaction.
pub async fn fill(db: &Db, statements: &[String]) {
    let mut tx = db.begin().await.expect("a transaction");
    for statement in statements {
        on!(&mut tx, c => sqlx::query(AssertSqlSafe(statement.as_str())).execute(c).await.expect("filled").rows_affected());
    }
    tx.commit().await.expect("committed");
}

/// Has PostgreSQL look at what is in these tables now; without a name, in all.
pub async fn analyze(db: &Db, tables: &str) {
    if let Db::Postgres(pool) = db {
        let mut connection = pool.acquire().await.expect("a connection");
        let analyze = AssertSqlSafe(format!("ANALYZE {tables}"));
        sqlx::raw_sql(analyze).execute(&mut connection).await.expect("looked at");
    }
}

/// The plan of a statement: on PostgreSQL the one it has for whatever parameters.
pub async fn plan(db: &Db, statement: &str) -> String {
    match db {
        Db::Sqlite { write, .. } => {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(explain).fetch_all(write.pool()).await.expect("explained");
            rows.into_iter().map(|(.., detail)| detail).collect::<Vec<_>>().join("\n")
        }
        Db::Postgres(_) => {
            let count = (1..=99).take_while(|n| statement.contains(&format!("${n}"))).count();
            explained(db, "COSTS OFF", statement, &vec!["NULL"; count].join(", ")).await
        }
    }
}

/// What PostgreSQL says of a statement with these parameters, whose plan does not depend on them.
pub async fn explained(db: &Db, options: &str, statement: &str, parameters: &str) -> String {
    let Db::Postgres(pool) = db else { panic!("PostgreSQL alone explains itself so") };
    let mut connection = pool.acquire().await.expect("a connection");
    let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE it AS {statement}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.expect("prepared");
    let given = if parameters.is_empty() { String::new() } else { format!(" ({parameters})") };
    let explain = AssertSqlSafe(format!("EXPLAIN ({options}) EXECUTE it{given}"));
    let explained = sqlx::query_as(explain).persistent(false).fetch_all(&mut connection).await;
    // This one alone: the connection remembers others.
    sqlx::raw_sql("DEALLOCATE it").execute(&mut connection).await.expect("forgotten");
    let lines: Vec<(String,)> = explained.expect("explained");
    lines.into_iter().map(|(line,)| line).collect::<Vec<_>>().join("\n")
}

/// What in a plan reads a table, or an index, from end to end; `found` are SQLite's words for reading what the statement has
/// found before.
pub async fn scans(db: &Db, plan: &str, found: &[&str]) -> Vec<String> {
    let lines: Vec<&str> = plan.lines().collect();
    let Db::Postgres(pool) = db else {
        let whole = |line: &&&str| {
            let given = line.contains("VIRTUAL TABLE") || line.contains("CONSTANT ROW") || found.contains(*line);
            line.starts_with("SCAN ") && !given
        };
        return lines.iter().filter(whole).map(|line| (*line).to_owned()).collect();
    };
    let mut connection = pool.acquire().await.expect("a connection");
    let leading: Vec<(String, String)> =
        sqlx::query_as(LEADING_COLUMNS).fetch_all(&mut connection).await.expect("the indexes");
    let whole = |(place, line): (usize, &&str)| {
        let name = ["Scan using ", "Scan Backward using ", "Bitmap Index Scan on "]
            .into_iter()
            .find_map(|node| line.split_once(node)?.1.split_whitespace().next());
        let Some(name) = name else {
            return line.contains("Seq Scan on").then(|| (*line).to_owned());
        };
        // A condition on a later column alone is found by reading the whole index.
        let (_, column) = leading.iter().find(|(index, _)| index == name).expect("an index of this database");
        let begins = [' ', ',', '('].map(|next| format!("({column}{next}"));
        let mut details = lines[place + 1..].iter().take_while(|line| !line.contains("->"));
        let narrowed =
            details.any(|line| line.contains("Index Cond:") && begins.iter().any(|begin| line.contains(begin)));
        (!narrowed).then(|| (*line).to_owned())
    };
    lines.iter().enumerate().filter_map(whole).collect()
}

/// The names of the texts that a source declares outside of its functions, in their order.
pub fn texts(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let seen = ["pub(crate) ", "pub(super) ", "pub "].into_iter().find_map(|seen| line.strip_prefix(seen));
        let (name, kind) = seen.unwrap_or(line).strip_prefix("const ")?.split_once(':')?;
        ["&str", "[&str", "Both"].iter().any(|text| kind.trim_start().starts_with(text)).then_some(name)
    })
}

/// Demands that these lists (of [`statements!`](crate::statements)) have each statement of a store's folder, and that no
/// statement stands where it is run, where no list has it. `others` are the texts that are no statements.
#[track_caller]
pub fn none_is_forgotten(store: &str, lists: &[&[(&str, &str)]], others: &[&str]) {
    let mut declared = BTreeSet::new();
    for (module, source) in sources(Path::new(store)) {
        declared.extend(texts(&source).map(|name| format!("{module}::{name}")));
        let dense: String = source.split_whitespace().collect();
        for run in ["query(\"", "query_as(\"", "query_scalar(\""] {
            assert!(!dense.contains(run), "{module}: a statement without a name");
        }
    }
    let names = lists.iter().flat_map(|list| list.iter()).map(|(name, _)| *name).chain(others.iter().copied());
    let listed: BTreeSet<String> = names.map(str::to_owned).collect();
    let forgotten: Vec<&String> = declared.difference(&listed).collect();
    assert!(forgotten.is_empty(), "in no list: {forgotten:?}");
    let gone: Vec<&String> = listed.difference(&declared).collect();
    assert!(gone.is_empty(), "in a list, and nowhere else: {gone:?}");
}

/// The sources of a folder that are no tests, each with its module's name.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a file").path();
        let module = path.file_stem().and_then(OsStr::to_str).expect("a name").to_owned();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && !module.ends_with("tests") {
            found.push((module, std::fs::read_to_string(&path).expect("a source")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_whoever_sees_them_and_nothing_else_is_one() {
        let source = "pub(super) const A: &str = \"x\";\nconst B: &str =\npub const C: [&str; 2] = [];\n\
                      pub(crate) const D: Both = Both {};\nconst E: i64 = 1;\n    const F: &str = \"in a function\";\n\
                      const LISTED: [(&str, &str); 1] = [];\n// const G: &str\nfn h(x: &str) {}\n";
        assert_eq!(texts(source).collect::<Vec<_>>(), ["A", "B", "C", "D"]);
    }

    #[test]
    fn a_forgotten_statement_one_that_is_gone_and_one_without_a_name_are_each_found() {
        let folder = tempfile::tempdir().unwrap();
        let (users, tests) = (folder.path().join("users.rs"), folder.path().join("users_tests.rs"));
        std::fs::write(&users, "const INSERT: &str = \"x\";\nconst LAST: &str = \"~\";\n").unwrap();
        std::fs::write(&tests, "const OTHER: &str = \"x\";\n").unwrap();
        let outcome = |lists: &[&[(&str, &str)]], others: &[&str]| {
            let store = folder.path().to_str().unwrap();
            std::panic::catch_unwind(|| none_is_forgotten(store, lists, others)).is_ok()
        };
        let listed: &[(&str, &str)] = &[("users::INSERT", "x")];
        assert!(outcome(&[listed], &["users::LAST"]));
        assert!(!outcome(&[], &["users::LAST"]), "forgotten");
        assert!(!outcome(&[listed, &[("users::GONE", "x")]], &["users::LAST"]), "gone");
        std::fs::write(&users, "const INSERT: &str = \"x\";\nfn f() { sqlx::query_as(\n    \"SELECT 1\") }\n").unwrap();
        assert!(!outcome(&[listed], &[]), "without a name");
    }
}
