//! Where SQL may stand.

use crate::sources::{Source, assert_none, complain, has_word, rust};

/// Folders whose sources may hold SQL: a service's store, and the shared crates that own tables or mirror types.
const SQL_HOMES: [&str; 5] = ["shared/db", "shared/events", "shared/jobs", "shared/members", "shared/testkit"];
/// Crates that teach sqlx their own types, and nothing else.
const SQL_TYPES: [&str; 3] = ["shared/id", "shared/money", "shared/time"];

fn may_hold_sql(source: &Source) -> bool {
    source.layer() == Some("store") || SQL_HOMES.iter().any(|home| source.is_in(home))
}

#[test]
fn sqlx_is_used_in_the_stores_only() {
    let others = rust().iter().filter(|source| {
        let types = SQL_TYPES.iter().any(|home| source.is_in(home));
        !may_hold_sql(source) && !types && !source.is_test
    });
    assert_none(&complain(others, |line| has_word(line, "sqlx").then(|| "`sqlx` outside a store".to_owned())));
}

#[test]
fn statements_stand_in_the_stores_only() {
    const STATEMENTS: [&str; 10] = [
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "WITH ",
        "CREATE TABLE ",
        "ALTER TABLE ",
        "DROP TABLE ",
        "BEGIN ",
        "PRAGMA ",
    ];
    let others = rust().iter().filter(|source| !may_hold_sql(source) && !source.is_test);
    assert_none(&complain(others, |line| {
        let quoted = |statement: &&&str| {
            let text = line.split('"').nth(1).unwrap_or_default();
            text.trim_start().starts_with(**statement)
        };
        let statement = STATEMENTS.iter().find(quoted)?;
        Some(format!("a `{}` statement outside a store", statement.trim_end()))
    }));
}
