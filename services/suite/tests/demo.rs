//! `bursar demo` as a newcomer runs it.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of a test fail by panicking")]

use std::{fs, path::Path, time::Duration};

use bursar_testkit::{Plan, Ports, Program, Topology};

/// How long the whole story may take in a debug build on a busy machine.
const STORY: Duration = Duration::from_mins(2);

fn demo() -> Program {
    Program::new(env!("CARGO_BIN_EXE_bursar")).arg("demo")
}

/// What every performance shows.
#[track_caller]
fn tells_the_story(log: &str) {
    for piece in [
        "Ada signs up",
        "AcceptInvitation",
        "INSUFFICIENT_CREDITS",
        "NOT_A_MEMBER",
        "PreviewChange",
        "12 seats, and credits for them at once",
        "ChangePlan",
        "12 seats until then",
        "InvoiceService/ListInvoices",
        "InvoiceService/RenderInvoice",
        "Every step gave",
    ] {
        assert!(log.contains(piece), "no {piece:?} in:\n{log}");
    }
    assert!(!log.contains('✗'), "{log}");
    let chart: Vec<_> = log.lines().filter(|line| line.contains('█')).collect();
    assert_eq!(chart.len(), 2, "a bar for each member:\n{log}");
    let columns = |line: &str| line.chars().position(|c| c == '█');
    assert_eq!(columns(chart[0]), columns(chart[1]), "aligned bars:\n{log}");
    assert!(chart[0].contains("Ada") && chart[0].contains("720"), "{log}");
    assert!(chart[1].contains("Ben") && chart[1].contains("660.5"), "{log}");
}

/// A renewal that is declined, its recovery, and the pack that nothing of it touches.
#[track_caller]
fn overcomes_a_decline(log: &str) {
    let lines = [
        ("the renewal is declined", "PAST_DUE, still on Business"),
        ("what became of its payment", "DECLINED: card_declined, and no invoice"),
        ("the pack after the decline", "exactly as before: all of its 1500"),
        ("what can be spent without a paid month", "1500: pack 1500, and no allowance"),
        ("work goes on; the pack pays for it", "100 credits, 1400 left"),
        ("the renewal is paid", "ACTIVE again"),
        ("the month's allowance is there", "2900: a new allowance 1500, then pack 1400"),
        ("the pack after the recovery", "untouched: 1400"),
        ("one for each payment, for the whole team", "5 paid; 2 declined, without one"),
    ];
    let mut rest = log.lines();
    for (step, result) in lines {
        let line = rest.find(|line| line.contains(step)).unwrap_or_else(|| panic!("no {step:?} in its place:\n{log}"));
        assert!(line.contains('✓') && line.contains(result), "no {result:?} in {line:?}");
    }
}

/// The invoice lies in `folder` after the demo has ended, as a PDF and under its number. It is removed.
#[track_caller]
fn leaves_an_invoice(log: &str, folder: &Path) {
    let told: Vec<_> = log.lines().filter_map(|line| line.split_once("stays when the demo is over: ")).collect();
    let [(_, path)] = told[..] else { panic!("one path:\n{log}") };
    let path = Path::new(path);
    let content = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(content.starts_with(b"%PDF-") && content.len() > 4_000, "{} bytes", content.len());
    assert_eq!(path.parent(), Some(folder));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number = name.strip_prefix("bursar-invoice-").and_then(|rest| rest.strip_suffix(".pdf"));
    let number = number.unwrap_or_else(|| panic!("{name:?} names no invoice"));
    let line = log.lines().find(|line| line.contains("InvoiceService/RenderInvoice")).unwrap_or_default();
    assert!(!number.is_empty() && line.contains(number), "{number} is not in {line:?}");
    fs::remove_file(path).expect("it can be removed");
}

#[test]
fn it_brings_a_suite_of_its_own_and_leaves_nothing_but_an_invoice_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let (status, log) = demo().env("TMPDIR", dir.path()).run(STORY);
    assert_eq!(status.code(), Some(0), "{log}");
    tells_the_story(&log);
    assert!(log.contains("119.5 expired"), "a month passes:\n{log}");
    overcomes_a_decline(&log);
    leaves_an_invoice(&log, dir.path());
    let left: Vec<_> = fs::read_dir(dir.path()).expect("readable").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn it_plays_against_a_running_suite_and_again() {
    let suite = Plan::new(Topology::Suite).start().await;
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let target = format!("127.0.0.1:{}", suite.operations_port());
        let program = demo().args(["--target", &target, "--data-dir"]).arg(suite.data_dir()).env("TMPDIR", dir.path());
        let (status, log) = tokio::task::spawn_blocking(move || program.run(STORY)).await.expect("it ends");
        assert_eq!(status.code(), Some(0), "{log}");
        tells_the_story(&log);
        assert!(log.contains("no test clock"), "{log}");
        leaves_an_invoice(&log, dir.path());
    }
}

#[test]
fn a_step_that_fails_is_named() {
    let nowhere = format!("127.0.0.1:{}", Ports::free().base());
    let (status, log) = demo().args(["--target", &nowhere]).run(STORY);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("step 1, “Ada signs up” (UserService/SignUp)"), "{log}");
    let (status, log) = demo().args(["--target", "nonsense"]).run(STORY);
    assert_eq!(status.code(), Some(2), "{log}");
}
