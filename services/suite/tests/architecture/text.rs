//! What every file must be: short enough, finished, introduced and well named.

use std::collections::BTreeMap;

use crate::sources::{assert_none, root, rust, sources};

const MAX_LINES: usize = 500;

#[test]
fn files_are_short_enough_to_read() {
    let long = sources(&["rs", "proto", "sql", "sh", "yaml"]).into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > MAX_LINES).then(|| format!("{}: {lines} lines, more than {MAX_LINES}", source.path))
    });
    assert_none(&long.collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_undone() {
    // Put together here, so that this file does not find itself.
    let marks = [["to", "do!("], ["unimple", "mented!("], ["TO", "DO"], ["FIX", "ME"], ["HA", "CK:"]];
    let marks: Vec<String> = marks.iter().map(|halves| halves.concat()).collect();
    let mut breaches = Vec::new();
    for source in sources(&["rs", "proto", "sql", "sh", "yaml", "toml", "md"]) {
        for (index, line) in source.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(mark.as_str())) {
                breaches.push(format!("{}:{}: `{mark}`", source.path, index + 1));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn every_file_says_what_lives_in_it() {
    let silent = rust().iter().filter(|source| !source.text.starts_with("//!"));
    let breaches: Vec<String> =
        silent.map(|source| format!("{}: no module documentation at the top", source.path)).collect();
    assert_none(&breaches);
}

#[test]
fn names_say_something() {
    const VAGUE: [&str; 6] = ["common", "utils", "util", "helpers", "misc", "types"];
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    // `tests/common` is Rust's own name for what several test programs share.
    for source in rust().iter().filter(|source| !source.is_test) {
        for part in source.path.split('/') {
            let name = part.strip_suffix(".rs").unwrap_or(part);
            if VAGUE.contains(&name) {
                found.insert(&source.path, name);
            }
        }
    }
    let breaches: Vec<String> = found.iter().map(|(path, name)| format!("{path}: `{name}` says nothing")).collect();
    assert_none(&breaches);
}

/// A guarantee without a test is none: each that `SECURITY.md` names is there.
#[test]
fn the_tests_that_hold_each_guarantee_exist() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).expect("SECURITY.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| from |"));
    let mut missing = Vec::new();
    let mut found = 0;
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            missing.push(format!("no test: {row}"));
        }
        for name in names {
            found += 1;
            let declaration = format!("fn {name}(");
            if !rust().iter().any(|source| source.text.contains(&declaration)) {
                missing.push(format!("SECURITY.md: {name} is no test"));
            }
        }
    }
    assert!(found > 20, "only {found} tests are named");
    assert_none(&missing);
}
