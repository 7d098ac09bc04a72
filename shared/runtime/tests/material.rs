//! Keys and secrets: made once in a fresh data directory, never made where somebody said they are.

use std::{fs, os::unix::fs::PermissionsExt as _};

use bursar_runtime::{Mode, Program, Service, Settings};
use bursar_secret::Entropy;

#[test]
fn a_fresh_data_directory_gets_its_secrets_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings::for_test(dir.path().join("data"));
    let first = settings.service_secret(Service::Billing, &Entropy::seeded(1)).expect("made");
    let second = settings.service_secret(Service::Billing, &Entropy::seeded(2)).expect("read");
    let other = settings.service_secret(Service::Identity, &Entropy::seeded(3)).expect("made");
    assert_eq!(first, second, "the second start reads what the first made");
    assert_ne!(first, other);
    let sealed = settings.sealer(&Entropy::seeded(4)).expect("made").seal(&Entropy::seeded(5), b"mail", b"");
    let opened = settings.sealer(&Entropy::seeded(6)).expect("read").open(&sealed, b"");
    assert_eq!(opened.expect("the same key").expose(), b"mail");
    for file in [&settings.service_secrets[Service::Billing], &settings.master_key_file] {
        let mode = fs::metadata(file).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let left: Vec<_> = fs::read_dir(dir.path().join("data/secrets")).expect("a folder").collect();
    assert_eq!(left.len(), 2, "no drafts are left behind: {left:?}");
}

#[test]
fn racing_processes_agree_on_one_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings::for_test(dir.path());
    let secrets: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|seed| {
                let settings = &settings;
                scope.spawn(move || settings.service_secret(Service::Billing, &Entropy::seeded(seed)))
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic").expect("a secret")).collect()
    });
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
}

#[test]
fn a_configured_file_must_exist() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = Settings::for_test(dir.path());
    settings.master_key_file = dir.path().join("mounted.key");
    settings.service_secrets[Service::Billing] = dir.path().join("mounted.secret");
    let entropy = Entropy::seeded(1);
    let refusal = format!("{:#}", settings.sealer(&entropy).expect_err("missing"));
    assert!(refusal.contains("master_key_file") && refusal.contains("mounted.key"), "{refusal}");
    let refusal = settings.service_secret(Service::Billing, &entropy).expect_err("missing");
    let refusal = format!("{refusal:#}");
    assert!(refusal.contains("service_secrets.billing_file"), "{refusal}");
    fs::write(&settings.service_secrets[Service::Billing], "hidden").expect("written");
    let refusal = settings.service_secret(Service::Billing, &entropy).expect_err("no token");
    let refusal = format!("{refusal:#}");
    assert!(refusal.contains("mounted.secret") && !refusal.contains("hidden"), "{refusal}");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    // A file where a directory should be cannot be written into by anybody, root included.
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let settings = Settings::for_test(file.join("data"));
    let refusal = settings.prepare_data_dir(Program::Suite, &Entropy::seeded(1)).expect_err("no directory");
    let refusal = format!("{refusal:#}");
    assert!(refusal.contains("file/data") && refusal.contains("--data-dir"), "{refusal}");
}

#[test]
fn a_service_on_postgres_writes_nothing_in_production() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = Settings::for_test(dir.path().join("data"));
    settings.mode = Mode::Production;
    settings.stores[Service::Billing] = "postgres://bursar@db/billing".parse().expect("a store");
    let program = Program::Single(Service::Billing);
    settings.prepare_data_dir(program, &Entropy::seeded(1)).expect("nothing to prepare");
    assert!(!dir.path().join("data").exists());
}
