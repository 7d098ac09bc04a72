//! For whom a task takes connections of the store: one that a service spawns does not know, so it is told, or it is said here
//! why it works for the program.

use std::collections::BTreeSet;

use crate::sources::{Source, assert_none, rust};

/// What begins a task, or has one done on other threads.
const BEGINNING: [&str; 3] = ["spawn(", "spawn_on(", "see_through("];

/// So many lines before it may say for whom.
const BEFORE: usize = 4;

/// Those that are told nothing: the file, what stands on the line, and why.
const FOR_THE_PROGRAM: [(&str, &str, &str); 15] = [
    ("identity/src/lib.rs", "jobs::runner(", "it tells each kind of job"),
    ("identity/src/lib.rs", "bursar_events::run(FromOrganization", "it takes turns of its own"),
    ("identity/src/lib.rs", "bursar_events::run(mailing", "it takes turns of its own"),
    ("organization/src/lib.rs", "jobs::runner(", "it tells each kind of job"),
    ("organization/src/lib.rs", "bursar_events::run(consumer", "it takes turns of its own"),
    ("organization/src/lib.rs", "bursar_events::run(mailing", "it takes turns of its own"),
    ("billing/src/lib.rs", "runner.run(", "it tells each kind of job"),
    ("billing/src/lib.rs", "bursar_events::run(teams", "it takes turns of its own"),
    ("billing/src/lib.rs", "bursar_events::run(people", "it takes turns of its own"),
    ("billing/src/lane/thread.rs", ".spawn(move ||", "a lane's thread: its store is its own (`Db::dedicated`)"),
    ("billing/src/lane/queue.rs", "run_uncombined(", "the baseline that is measured beside the lane"),
    ("billing/src/lane/run.rs", "aside.spawn(gathered)", "it waits for answers, and takes no connection"),
    ("billing/src/lane/aside.rs", "spawn_on(task", "the same"),
    ("billing/src/lane/run.rs", "close_dedicated()", "it closes connections, and takes none"),
    ("billing/src/lane/run.rs", "under_way.spawn(", "the baseline that is measured beside the lane"),
];

/// What a service begins beside its calls, as the file and the line, and whether it is told for whom.
fn begun() -> Vec<(&'static Source, usize, &'static str, bool)> {
    let is_service = |source: &&Source| source.layer().is_some() && !source.is_test;
    let mut begun = Vec::new();
    for source in rust().iter().filter(is_service) {
        let lines: Vec<(usize, &str)> = source.shipped().collect();
        for (place, (number, line)) in lines.iter().enumerate() {
            if line.contains("fn ") || !BEGINNING.iter().any(|begins| line.contains(begins)) {
                continue;
            }
            let told = lines[place.saturating_sub(BEFORE)..=place].iter().any(|(_, line)| line.contains(".scope("));
            begun.push((source, *number, line.trim(), told));
        }
    }
    begun
}

#[test]
fn each_task_that_a_service_spawns_is_told_for_whom_it_takes_connections() {
    let begun = begun();
    let told = begun.iter().filter(|(.., told)| *told).count();
    assert!(told >= 6, "sign-ins, reading that costs, what is sent, renewals, reloading, accounts apart: only {told}");
    let mut needed = BTreeSet::new();
    let mut breaches = Vec::new();
    for (source, number, line, told) in begun {
        let listed = |(file, text, _): &&(&str, &str, &str)| {
            source.path.strip_prefix("services/") == Some(*file) && line.contains(*text)
        };
        match FOR_THE_PROGRAM.iter().find(listed) {
            Some(entry) => {
                needed.insert(entry);
            }
            None if told => {}
            None => breaches.push(format!(
                "{}:{number}: `{line}` takes connections for nobody: `Asker::current().scope(…)`, or a line of the list",
                source.path
            )),
        }
    }
    let gone = FOR_THE_PROGRAM.iter().filter(|entry| !needed.contains(entry));
    breaches.extend(gone.map(|(file, text, _)| format!("services/{file}: `{text}` is no more")));
    assert_none(&breaches);
}
