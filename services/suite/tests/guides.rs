//! The walk-throughs of the three products' guides (`bursar demo --guide`), played against Bursar in one process and in three,
//! on SQLite and on PostgreSQL. A step that does not give what it should, a sentence of the guide that no step shows, and a
//! step that the checklist does not name all end it with 1. They run with a test clock, by which a month passes; without one,
//! too, the guide that lets it pass comes to its end.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use bursar_testkit::{Engine, Program, Topology};
use support::stores::{clean, fsck};

/// How long a guide may take in a debug build on a busy machine.
const STORY: Duration = Duration::from_mins(3);

/// What is told where no month can pass.
const NO_CLOCK: &str = "This suite has no test clock";
/// What is told of the next month.
const A_MONTH_LATER: &str = "✓ the month is on one invoice for the team";

fn demo(guide: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_bursar")).args(["demo", "--guide", guide])
}

/// Plays a guide against a deployment that runs with these arguments: the exit code and what was told. When all of it went
/// well, the three stores agree.
async fn play(guide: &str, arguments: &[&str], topology: Topology, engine: Engine) -> Option<(Option<i32>, String)> {
    let plan = support::world::plan_on(topology, engine).await?;
    let plan = arguments.iter().fold(plan, |plan, argument| plan.arg(*argument));
    let deployment = plan.start().await;
    let target = format!("127.0.0.1:{}", deployment.operations_port());
    let program = demo(guide).args(["--target", &target, "--data-dir"]).arg(deployment.data_dir());
    let (status, log) = tokio::task::spawn_blocking(move || program.run(STORY)).await.expect("it ends");
    if status.success() {
        clean(fsck(&deployment, &[]).await);
    }
    Some((status.code(), log))
}

/// It ended well, and showed every sentence that it can.
fn is_whole(code: Option<i32>, log: &str) {
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("sentences about what the product does") && log.contains("Every step gave"), "{log}");
    assert!(!log.contains('✗'), "{log}");
}

async fn plays_to_its_end(guide: &str, topology: Topology, engine: Engine) {
    let arguments = ["--preset", guide, "--test-clock"];
    if let Some((code, log)) = play(guide, &arguments, topology, engine).await {
        is_whole(code, &log);
        assert!(!log.contains(NO_CLOCK), "{log}");
        assert_eq!(log.contains(A_MONTH_LATER), guide == "flik", "{log}");
    }
}

/// Makes of each guide a test for each way that Bursar runs.
macro_rules! guides {
    ($($guide:ident)+) => {$(
        mod $guide {
            guides!(@plays $guide
                in_one_process_on_sqlite: Suite, Sqlite;
                in_one_process_on_postgresql: Suite, Postgres;
                in_three_processes_on_sqlite: Split, Sqlite;
                in_three_processes_on_postgresql: Split, Postgres;
            );
        }
    )+};
    (@plays $guide:ident $($name:ident: $topology:ident, $engine:ident;)+) => {$(
        #[tokio::test]
        async fn $name() {
            let (topology, engine) = (bursar_testkit::Topology::$topology, bursar_testkit::Engine::$engine);
            super::plays_to_its_end(stringify!($guide), topology, engine).await;
        }
    )+};
}

guides! { flexsite employees flik }

#[tokio::test]
async fn a_month_that_cannot_pass_is_left_out() {
    let played = play("flik", &["--preset", "flik"], Topology::Suite, Engine::Sqlite).await;
    let (code, log) = played.expect("one process needs nothing");
    is_whole(code, &log);
    assert!(log.contains(NO_CLOCK) && !log.contains(A_MONTH_LATER), "{log}");
}

#[tokio::test]
async fn a_suite_with_another_preset_is_told_how_to_start() {
    let played = play("flexsite", &["--preset", "standard"], Topology::Suite, Engine::Sqlite).await;
    let (code, log) = played.expect("one process needs nothing");
    assert_eq!(code, Some(1), "{log}");
    for piece in ["personal_workspace = PERSONAL_WORKSPACE_ON", "start it with --preset flexsite"] {
        assert!(log.contains(piece), "no {piece:?} in:\n{log}");
    }
}

/// Plays a guide with a suite of its own, whatever the surroundings say, and gives what was told: nothing is left of it.
fn brings_its_own(guide: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let (status, log) = demo(guide).env("TMPDIR", dir.path()).env("BURSAR_PRESET", "standard").run(STORY);
    is_whole(status.code(), &log);
    assert!(log.contains(&format!("--preset {guide}")), "{log}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("readable").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    log
}

#[test]
fn flexsite_brings_a_suite_of_its_own_with_its_preset() {
    brings_its_own("flexsite");
}

#[test]
fn the_employees_bring_a_suite_of_their_own_with_its_preset() {
    brings_its_own("employees");
}

#[test]
fn flik_brings_a_suite_of_its_own_in_which_a_month_passes() {
    let log = brings_its_own("flik");
    assert!(log.contains(A_MONTH_LATER) && !log.contains(NO_CLOCK), "{log}");
    assert!(log.contains("✓ the team spends what Enterprise has brought"), "{log}");
}

#[test]
fn what_does_not_go_together_is_refused() {
    for arguments in [["--guide", "nonsense"].as_slice(), &["--guide", "flexsite", "--preset", "employees"]] {
        let (status, log) =
            Program::new(env!("CARGO_BIN_EXE_bursar")).arg("demo").args(arguments.iter().copied()).run(STORY);
        assert_eq!(status.code(), Some(2), "{arguments:?}: {log}");
    }
    let (status, log) = Program::new(env!("CARGO_BIN_EXE_bursar")).args(["demo", "--help"]).run(STORY);
    assert_eq!(status.code(), Some(0), "{log}");
    for piece in ["--guide <PRODUCT>", "--target <HOST:PORT-BASE>", "flexsite"] {
        assert!(log.contains(piece), "no {piece:?} in:\n{log}");
    }
}
