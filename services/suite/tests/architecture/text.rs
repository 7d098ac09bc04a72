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

/// A guarantee without a test is none: each that the pages about security name is there, and every kind of fault has one.
#[test]
fn the_tests_that_hold_each_guarantee_exist() {
    let mut missing = Vec::new();
    for (page, fewest) in [("SECURITY.md", 100), ("docs/trust.md", 100)] {
        let text = std::fs::read_to_string(root().join(page)).expect(page);
        let mut found = 0;
        for (line, next) in text.lines().zip(text.lines().skip(1).chain([""])) {
            let is_row = line.starts_with("| ") && !next.starts_with("|---");
            let names = if is_row { names_of_row(line) } else { names_in_prose(line) };
            if is_row && names.is_empty() {
                missing.push(format!("{page}: no test: {line}"));
            }
            for name in names {
                found += 1;
                if !rust().iter().any(|source| declares_test(&source.text, name)) {
                    missing.push(format!("{page}: {name} is no test"));
                }
            }
        }
        assert!(found >= fewest, "{page}: only {found} tests are named");
        let is_there = |kind: char| page == "SECURITY.md" || text.contains(&format!("\n| {kind} | "));
        missing
            .extend(('A'..='R').filter(|kind| !is_there(*kind)).map(|kind| format!("{page}: nothing of kind {kind}")));
    }
    assert_none(&missing);
}

/// What stands between backticks in the last column.
fn names_of_row(row: &str) -> Vec<&str> {
    let tests = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    tests.split('`').skip(1).step_by(2).collect()
}

/// Of what stands between backticks elsewhere, what only a test is called: a sentence. Settings and fields have fewer words.
fn names_in_prose(line: &str) -> Vec<&str> {
    let is_sentence = |name: &&str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(fits) && name.matches('_').count() >= 3
    };
    line.split('`').skip(1).step_by(2).filter(is_sentence).collect()
}

/// Whether a source declares a test of this name: a function with a test's attribute, or one that is written or named
/// in a block of a macro that makes tests of what it is given. A helper's name, or one in a comment, holds nothing, and a test
/// that is not run holds nothing either.
fn declares_test(text: &str, name: &str) -> bool {
    let mut end: Option<String> = None;
    let (mut has_attribute, mut is_ignored) = (false, false);
    for line in text.lines() {
        let code = line.trim();
        let declares = end.is_some() && is_given(code, name) || has_attribute && function_of(code) == Some(name);
        if end.as_deref() == Some(line) {
            end = None;
        } else if declares && !is_ignored {
            return true;
        } else if end.is_none() && is_makers_block(code) {
            let indentation = &line[..line.len() - line.trim_start().len()];
            end = Some(format!("{indentation}}}"));
        }
        // Between the attribute and the function there are others, and comments.
        let goes_on = code.starts_with("#[") || code.starts_with("//");
        has_attribute = is_test_attribute(code) || has_attribute && goes_on;
        is_ignored = code.starts_with("#[ignore") || is_ignored && goes_on;
    }
    false
}

/// Whether a block begins here whose macro makes tests: one for each engine or topology.
fn is_makers_block(code: &str) -> bool {
    let makers = ["engines! {", "behaviours! {"];
    makers.iter().any(|maker| code.strip_suffix(maker).is_some_and(|path| path.is_empty() || path.ends_with("::")))
}

/// Whether a line of such a block declares the function, or names it, with its module or without.
fn is_given(code: &str, name: &str) -> bool {
    let named = code.strip_suffix(',').map(|path| path.rsplit("::").next().unwrap_or(path));
    function_of(code) == Some(name) || named == Some(name)
}

/// The function that is declared on a line.
fn function_of(code: &str) -> Option<&str> {
    let (before, rest) = code.split_once("fn ")?;
    let (name, _) = rest.split_once('(')?;
    matches!(before, "" | "async ").then_some(name)
}

fn is_test_attribute(code: &str) -> bool {
    ["#[test]", "#[tokio::test]", "#[tokio::test("].iter().any(|attribute| code.starts_with(attribute))
}

#[test]
fn a_test_is_told_from_what_is_none() {
    let block = |inner: &str| format!("bursar_testkit::engines! {{\n{inner}\n}}\n");
    let named = |inner: &str| format!("mod a {{\n    behaviours! {{\n{inner}\n    }}\n}}\n");
    for (text, is_test) in [
        ("#[test]\nfn wanted() {}".to_owned(), true),
        ("#[tokio::test(flavor = \"multi_thread\")]\n// Why.\n#[expect(x)]\nasync fn wanted() {}".to_owned(), true),
        ("#[test]\n#[ignore]\nfn other() {}\n\n#[test]\nfn wanted() {}".to_owned(), true),
        (block("    async fn wanted(db: TestDb) {"), true),
        (named("        pool::wanted,"), true),
        (named("        wanted,"), true),
        // What is not run.
        ("#[test]\n// Why.\n#[ignore]\nfn wanted() {}".to_owned(), false),
        ("#[ignore = \"slow\"]\n#[tokio::test]\nasync fn wanted() {}".to_owned(), false),
        (block("    #[ignore = \"slow\"]\n    async fn wanted(db: TestDb) {"), false),
        // Helpers, and what ships.
        ("fn wanted() {}".to_owned(), false),
        ("pub(crate) async fn wanted(world: World) {}".to_owned(), false),
        ("#[test]\nfn other() {}\n\nfn wanted() {}".to_owned(), false),
        ("#[test]\nfn other() {\n    fn wanted() {}\n}".to_owned(), false),
        (block("    async fn other(db: TestDb) {\n        wanted();\n    }") + "async fn wanted(db: TestDb) {}", false),
        // Names that only begin or end alike, and what is only spoken of.
        ("#[test]\nfn wanted_by_nobody() {}".to_owned(), false),
        ("#[test]\nfn un_wanted() {}".to_owned(), false),
        (named("        pool::un_wanted,"), false),
        ("/// bursar_testkit::engines! {\n///     async fn wanted(db: TestDb) {".to_owned(), false),
        ("#[test]\n// fn wanted() {}\nfn other() {}".to_owned(), false),
    ] {
        assert_eq!(declares_test(&text, "wanted"), is_test, "{text}");
    }
}
