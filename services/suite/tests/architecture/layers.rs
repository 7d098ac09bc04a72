//! What each layer of a service may know, and that all services have one shape.

use std::{collections::BTreeSet, fs, iter};

use bursar_runtime::Service;

use crate::sources::{Source, assert_none, complain, first_word, has_word, root, rust};

fn layer(name: &str) -> impl Iterator<Item = &'static Source> {
    rust().iter().filter(move |source| source.layer() == Some(name) && !source.is_test)
}

#[test]
fn the_domain_is_pure() {
    const BANNED: [&str; 13] = [
        "sqlx",
        "tonic",
        "tokio",
        "tracing",
        "async",
        "await",
        "Clock",
        "Entropy",
        "bursar_db",
        "bursar_rpc",
        "bursar_proto",
        "bursar_runtime",
        "bursar_events",
    ];
    assert!(layer("domain").count() >= 3, "each service has a domain");
    assert_none(&complain(layer("domain"), |line| {
        first_word(line, &BANNED).map(|word| format!("`{word}` in a pure rule"))
    }));
}

#[test]
fn the_domain_imports_values_only() {
    const VALUES: [&str; 19] = [
        "std",
        "core",
        "super",
        "self",
        "bursar_document",
        "bursar_email",
        "bursar_id",
        // What its words say of a membership, and which of two holds, are values.
        "bursar_members",
        "bursar_money",
        "bursar_text",
        "bursar_time",
        "sha2",
        "serde",
        "serde_json",
        // A schema is a value, too: it fetches nothing here.
        "jsonschema",
        "jiff",
        "hex",
        "thiserror",
        "crate",
    ];
    assert_none(&complain(layer("domain"), |line| {
        let statement = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let path = statement.strip_prefix("use ")?;
        let start = path.split([':', ';', ' ']).next().unwrap_or_default();
        // A re-export of a module of the domain's own starts with that module's lower-case name.
        let own = statement != line.trim_start();
        if !own && !VALUES.contains(&start) {
            return Some(format!("the domain imports `{start}`"));
        }
        let inside = path.strip_prefix("crate::")?;
        (!inside.starts_with("domain")).then(|| format!("the domain imports `crate::{inside}`"))
    }));
}

/// A use case takes commands and gives outcomes; how its service's own API says so is the handlers' affair. (Events are
/// told, and other services asked, in the words of the protos.)
#[test]
fn use_cases_do_not_speak_their_own_api() {
    for service in ["billing", "identity", "organization"] {
        let (folder, own) = (format!("services/{service}"), format!("bursar_proto::{service}"));
        let files = layer("usecase").filter(|source| source.is_in(&folder));
        assert_none(&complain(files, |line| {
            let word = ["prost", own.as_str()].into_iter().find(|word| has_word(line, word))?;
            Some(format!("a use case knows `{word}`"))
        }));
    }
}

#[test]
fn calls_go_down_the_layers_only() {
    let above: [(&str, &[&str]); 4] = [
        ("domain", &["store", "usecase", "grpc", "consume", "jobs", "config"]),
        ("store", &["usecase", "grpc", "consume", "jobs", "lane"]),
        ("usecase", &["grpc", "consume", "jobs"]),
        ("grpc", &["store", "consume", "jobs"]),
    ];
    for (name, banned) in above {
        assert_none(&complain(layer(name), |line| {
            let used = banned.iter().find(|upper| has_word(line, &format!("crate::{upper}")))?;
            // A use case may answer with what is stored, and a handler then converts it: types may be named.
            let row = name == "grpc" && *used == "store" && names_types_only(line);
            (!row).then(|| format!("{name} knows `crate::{used}`"))
        }));
    }
}

/// Whether an import brings in types and no functions or modules.
fn names_types_only(import: &str) -> bool {
    let last = import.rsplit("::").next().unwrap_or_default();
    let mut names = last.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty());
    import.trim_start().starts_with("use ") && names.all(|name| name.starts_with(char::is_uppercase))
}

/// What is done later, or again and again, is a job: it survives its process, and is done once over all replicas.
#[test]
fn no_service_has_a_loop_of_its_own() {
    const WAITS: [&str; 4] = ["sleep(", "sleep_until(", "time::interval(", "time::interval_at("];
    let services = rust().iter().filter(|source| source.layer().is_some() && !source.is_test);
    assert_none(&complain(services, |line| {
        let wait = WAITS.iter().find(|wait| line.contains(*wait))?;
        Some(format!("`{wait}`: make it a job"))
    }));
}

#[test]
fn services_have_one_shape() {
    const FILES: [&str; 10] =
        ["config.rs", "consume.rs", "domain", "error.rs", "grpc", "jobs.rs", "lib.rs", "main.rs", "store", "usecase"];
    const GRPC: [&str; 2] = ["mod.rs", "status.rs"];
    /// Parts that a service needs and the others have no use for.
    const OWN: [(Service, &str); 6] = [
        (Service::Organization, "content"),
        (Service::Organization, "kinds"),
        (Service::Billing, "catalog"),
        (Service::Billing, "document"),
        (Service::Billing, "lane"),
        (Service::Billing, "payment"),
    ];
    let mut breaches = Vec::new();
    for service in Service::ALL {
        let folder = format!("services/{service}/src");
        let mut found = names(&folder);
        found.retain(|name| !OWN.contains(&(service, name)));
        let expected: BTreeSet<String> = FILES.iter().map(|&name| name.to_owned()).collect();
        for name in expected.symmetric_difference(&found) {
            let what = if found.contains(name) { "is not part of the common shape" } else { "is missing" };
            breaches.push(format!("{folder}/{name} {what}"));
        }
        let grpc = names(&format!("{folder}/grpc"));
        let missing = GRPC.iter().filter(|name| !grpc.contains(**name));
        breaches.extend(missing.map(|name| format!("{folder}/grpc/{name} is missing")));
    }
    assert_none(&breaches);
}

/// The folders with a set of migrations for each engine.
fn migrations() -> impl Iterator<Item = String> {
    let services = Service::ALL.into_iter().map(|service| format!("services/{service}/migrations"));
    iter::once("shared/db/migrations".to_owned()).chain(services)
}

#[test]
fn both_engines_have_the_same_migrations() {
    for folder in migrations() {
        let of = |engine: &str| names(&format!("{folder}/{engine}"));
        assert_eq!(of("sqlite"), of("postgres"), "{folder}");
    }
}

/// `NNNN_words.sql` or `NNNN_serves_MMMM_words.sql`: numbered without gaps, and no migration serves an older program than
/// the one before it does, since only the newest one's word counts.
#[test]
fn migrations_say_whom_they_serve() {
    for folder in migrations() {
        let mut served = 0;
        for (number, name) in (1..).zip(names(&format!("{folder}/sqlite"))) {
            let words: Vec<&str> = name.trim_end_matches(".sql").split('_').collect();
            assert_eq!(words[0], format!("{number:04}"), "{folder}/{name}");
            let oldest = match words[1] {
                "serves" => words[2].parse().unwrap_or_else(|_| panic!("{folder}/{name}: whom does it serve?")),
                _ => number,
            };
            assert!(served <= oldest && oldest <= number, "{folder}/{name} serves {oldest}, one before it {served}");
            served = oldest;
        }
    }
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
