//! What production refuses: every development convenience, all of them at once, each by the setting that ends it.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "support/given.rs"]
mod given;

use std::fs;
use std::path::PathBuf;

use bursar_runtime::{Program, Service};
use given::{fit_for_production, read};

const SINGLES: [Program; 3] =
    [Program::Single(Service::Identity), Program::Single(Service::Organization), Program::Single(Service::Billing)];
const PROGRAMS: [Program; 4] = [Program::Suite, SINGLES[0], SINGLES[1], SINGLES[2]];

/// The settings that a refusal names, one for each problem, in order.
fn named(refusal: &str) -> Vec<String> {
    let problems = refusal.lines().filter_map(|line| line.strip_prefix("  - "));
    let key = |problem: &str| problem.split([':', ' ']).next().unwrap_or_default().to_owned();
    problems.map(key).collect()
}

/// Reads settings for production mode, and gives the settings that are refused.
fn refused(program: Program, given: &str) -> Vec<String> {
    let mode = if given.contains("--mode") { "" } else { "BURSAR_MODE=production\n" };
    read(program, &format!("{mode}{given}")).map_or_else(|refusal| named(&refusal), |_| Vec::new())
}

/// What each program does that the others do not, with everybody on every address and the clock a test's.
const OF_EACH: [(Program, &[&str]); 4] = [
    (
        Program::Suite,
        &[
            "test_clock",
            "allow_sandbox_payments",
            "mail.smtp_url",
            "mail.from",
            "mail.link_base_url",
            "identity_store",
            "organization_store",
            "billing_store",
            "listen_address",
            "operations_address",
        ],
    ),
    (
        SINGLES[0],
        &[
            "test_clock",
            "mail.smtp_url",
            "mail.from",
            "mail.link_base_url",
            "identity_store",
            "service_secrets.identity_file",
            "service_secrets.organization_file",
            "service_secrets.billing_file",
            "listen_address",
            "operations_address",
            "organization_url",
            "billing_url",
        ],
    ),
    (
        SINGLES[1],
        &[
            "test_clock",
            "mail.smtp_url",
            "mail.from",
            "mail.link_base_url",
            "organization_store",
            "service_secrets.organization_file",
            "listen_address",
            "operations_address",
            "identity_url",
            "billing_url",
        ],
    ),
    (
        SINGLES[2],
        &[
            "test_clock",
            "allow_sandbox_payments",
            "billing_store",
            "service_secrets.billing_file",
            "listen_address",
            "operations_address",
            "identity_url",
            "organization_url",
        ],
    ),
];

#[test]
fn every_development_convenience_is_refused_at_once() {
    let common = ["master_key_file"];
    let given = "--test-clock
        BURSAR_LISTEN_ADDRESS=0.0.0.0
        BURSAR_OPERATIONS_ADDRESS=::
        BURSAR_IDENTITY_URL=http://identity:7401
        BURSAR_ORGANIZATION_URL=http://10.0.0.7:7402
        BURSAR_BILLING_URL=http://billing:7403";
    for (program, own) in OF_EACH {
        let mut expected: Vec<&str> = common.iter().chain(own).copied().collect();
        let mut found = refused(program, given);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{}", program.name());
        let development = format!("--mode=development\n{given}");
        assert_eq!(refused(program, &development), Vec::<String>::new(), "{} in development", program.name());
    }
}

#[test]
fn a_single_service_has_nothing_that_production_takes_by_default() {
    for program in SINGLES {
        let found = refused(program, "");
        for key in ["master_key_file", "listen_address", "operations_address"] {
            assert!(found.iter().any(|found| found == key), "{}: no {key} in {found:?}", program.name());
        }
    }
}

/// What is changed of settings that are fit; the programs that then refuse them; the setting they name; what allows it.
const ONE_AT_A_TIME: &[(&str, &[Program], &str, &str)] = &[
    ("--test-clock", &PROGRAMS, "test_clock", ""),
    ("BURSAR_ALLOW_SANDBOX_PAYMENTS=false", &[PROGRAMS[0], SINGLES[2]], "allow_sandbox_payments", ""),
    (
        "BURSAR_PAYMENTS__PROVIDER=stripe\nBURSAR_PAYMENTS__STRIPE__SECRET_KEY=sk_test_x\nBURSAR_ALLOW_SANDBOX_PAYMENTS=false
        BURSAR_PAYMENTS__STRIPE__RETURN_URL=https://app.test
        BURSAR_PAYMENTS__STRIPE__WEBHOOK_SECRET=whsec_x\nBURSAR_PAYMENTS__STRIPE__INBOX_ADDRESS=127.0.0.1:9",
        &[PROGRAMS[0], SINGLES[2]],
        "payments.stripe.secret_key",
        "--allow-sandbox-payments",
    ),
    (
        "BURSAR_PAYMENTS__PROVIDER=stripe\nBURSAR_PAYMENTS__STRIPE__SECRET_KEY=rk_live_x\nBURSAR_ALLOW_SANDBOX_PAYMENTS=false
        BURSAR_PAYMENTS__STRIPE__RETURN_URL=https://app.test
        BURSAR_PAYMENTS__STRIPE__WEBHOOK_SECRET=whsec_x\nBURSAR_PAYMENTS__STRIPE__INBOX_ADDRESS=10.0.0.1:9",
        &[PROGRAMS[0], SINGLES[2]],
        "payments.stripe.inbox_address",
        "--allow-plaintext",
    ),
    (
        "BURSAR_PAYMENTS__PROVIDER=stripe\nBURSAR_PAYMENTS__STRIPE__SECRET_KEY=sk_live_x
        BURSAR_PAYMENTS__STRIPE__RETURN_URL=https://app.test
        BURSAR_PAYMENTS__STRIPE__WEBHOOK_SECRET=whsec_x\nBURSAR_PAYMENTS__STRIPE__INBOX_ADDRESS=127.0.0.1:9
        BURSAR_PAYMENTS__STRIPE__API_URL=http://stripe.test",
        &[PROGRAMS[0], SINGLES[2]],
        "payments.stripe.api_url",
        "--allow-plaintext",
    ),
    (
        "BURSAR_PAYMENTS__PROVIDER=stripe\nBURSAR_PAYMENTS__STRIPE__SECRET_KEY=sk_live_x
        BURSAR_PAYMENTS__STRIPE__RETURN_URL=http://localhost:3000
        BURSAR_PAYMENTS__STRIPE__WEBHOOK_SECRET=whsec_x\nBURSAR_PAYMENTS__STRIPE__INBOX_ADDRESS=127.0.0.1:9",
        &[PROGRAMS[0], SINGLES[2]],
        "payments.stripe.return_url",
        "",
    ),
    ("BURSAR_MAIL__SMTP_URL=", &[PROGRAMS[0], SINGLES[0], SINGLES[1]], "mail.smtp_url", ""),
    (
        "BURSAR_MAIL__SMTP_URL=smtp://mail.test:25",
        &[PROGRAMS[0], SINGLES[0], SINGLES[1]],
        "mail.smtp_url",
        "--allow-plaintext",
    ),
    (
        "BURSAR_MAIL__SMTP_URL=smtp://user:hidden@mail.test:587?tls=opportunistic",
        &[PROGRAMS[0], SINGLES[0], SINGLES[1]],
        "mail.smtp_url",
        "--allow-plaintext",
    ),
    ("BURSAR_MAIL__FROM=Bursar <no-reply@bursar.localhost>", &MAILING, "mail.from", ""),
    ("BURSAR_MAIL__FROM=no-reply@mail.example.com", &MAILING, "mail.from", ""),
    ("BURSAR_MAIL__LINK_BASE_URL=http://localhost:3000", &MAILING, "mail.link_base_url", ""),
    ("BURSAR_MAIL__LINK_BASE_URL=https://[::1]:3000/app", &MAILING, "mail.link_base_url", ""),
    ("BURSAR_MAIL__LINK_BASE_URL=https://app.example.com", &MAILING, "mail.link_base_url", ""),
    ("BURSAR_MAIL__LINK_BASE_URL=http://app.acme.test", &MAILING, "mail.link_base_url", "--allow-plaintext"),
    ("BURSAR_MAIL__LINK_BASE_URL=http://app.acme.test", &MAILING, "mail.link_base_url", "--allow-plaintext-links"),
    ("BURSAR_S3__ENDPOINT=http://minio.test:9000", &[PROGRAMS[0], SINGLES[1]], "s3.endpoint", "--allow-plaintext"),
    ("BURSAR_S3__ENDPOINT=minio.test", &[PROGRAMS[0], SINGLES[1]], "s3.endpoint", ""),
    ("BURSAR_S3__ACCESS_KEY_ID=", &[PROGRAMS[0], SINGLES[1]], "s3.access_key_id", ""),
    ("BURSAR_S3__SECRET_ACCESS_KEY=", &[PROGRAMS[0], SINGLES[1]], "s3.secret_access_key", ""),
    (
        "BURSAR_CONTENT_URL=gs://acme-content\nBURSAR_GCS__ENDPOINT=http://gcs.test",
        &[PROGRAMS[0], SINGLES[1]],
        "gcs.endpoint",
        "--allow-plaintext",
    ),
    (
        "BURSAR_CONTENT_URL=az://acme-content\nBURSAR_AZURE__ACCOUNT=acme\nBURSAR_AZURE__ENDPOINT=http://azure.test",
        &[PROGRAMS[0], SINGLES[1]],
        "azure.endpoint",
        "--allow-plaintext",
    ),
    ("BURSAR_BILLING_STORE=sqlite://b.db", &[PROGRAMS[0], SINGLES[2]], "billing_store", "--allow-sqlite"),
    ("BURSAR_DATA_DIR=/no/such\nBURSAR_MASTER_KEY_FILE=/no/such/master.key", &PROGRAMS, "master_key_file", ""),
    ("BURSAR_MASTER_KEY_FILE=/no/such.key", &PROGRAMS, "master_key_file", ""),
    ("BURSAR_MASTER_KEY_FILE=FOLDER/short", &PROGRAMS, "master_key_file", ""),
    (
        "BURSAR_SERVICE_SECRETS__BILLING_FILE=FOLDER/short",
        &[PROGRAMS[0], SINGLES[0], SINGLES[2]],
        "service_secrets.billing_file",
        "",
    ),
    ("BURSAR_OPERATOR_FILE=FOLDER/operator.json", &[PROGRAMS[0], SINGLES[0]], "operator_file", ""),
    (
        "BURSAR_SERVICE_SECRETS__ORGANIZATION_FILE=/no/such",
        &[PROGRAMS[0], SINGLES[0], SINGLES[1]],
        "service_secrets.organization_file",
        "",
    ),
    (
        "BURSAR_LISTEN_ADDRESS=10.0.0.1\nBURSAR_TLS__CERTIFICATE_FILE=\nBURSAR_TLS__KEY_FILE=",
        &PROGRAMS,
        "listen_address",
        "--allow-plaintext",
    ),
    (
        "BURSAR_OPERATIONS_ADDRESS=::\nBURSAR_OPERATIONS_TLS__CERTIFICATE_FILE=\nBURSAR_OPERATIONS_TLS__KEY_FILE=",
        &PROGRAMS,
        "operations_address",
        "--allow-plaintext-operations",
    ),
    (
        "BURSAR_OPERATIONS_ADDRESS=::\nBURSAR_OPERATIONS_TLS__CERTIFICATE_FILE=\nBURSAR_OPERATIONS_TLS__KEY_FILE=",
        &PROGRAMS,
        "operations_address",
        "--allow-plaintext",
    ),
    (
        "BURSAR_IDENTITY_STORE=postgres://bursar@db.test/identity",
        &[PROGRAMS[0], SINGLES[0]],
        "identity_store",
        "--allow-plaintext",
    ),
    (
        "BURSAR_BILLING_STORE=postgres://bursar@db.test/billing?sslmode=prefer",
        &[PROGRAMS[0], SINGLES[2]],
        "billing_store",
        "--allow-plaintext",
    ),
    (
        "BURSAR_BILLING_STORE=postgres://bursar@db.test/billing?sslmode=disable",
        &[PROGRAMS[0], SINGLES[2]],
        "billing_store",
        "--allow-plaintext-store",
    ),
    ("BURSAR_OTLP_ENDPOINT=http://collector.test:4317", &PROGRAMS, "otlp_endpoint", "--allow-plaintext"),
    ("BURSAR_OTLP_ENDPOINT=http://collector.test:4317", &PROGRAMS, "otlp_endpoint", "--allow-plaintext-collector"),
    ("BURSAR_BILLING_URL=http://billing:7403", &SINGLES_BUT_BILLING, "billing_url", "--allow-plaintext"),
];
/// Whoever sends mail.
const MAILING: [Program; 3] = [PROGRAMS[0], SINGLES[0], SINGLES[1]];
const SINGLES_BUT_BILLING: [Program; 2] = [SINGLES[0], SINGLES[1]];

#[test]
fn each_convenience_is_refused_by_whom_it_concerns_and_by_its_setting_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let fit = fit_for_production(dir.path());
    fs::write(dir.path().join("short"), "hunter2").expect("written");
    let operator = r#"{"client_id": "svc_0000000000e008000000000001", "client_secret": "hunter2"}"#;
    fs::write(dir.path().join("operator.json"), operator).expect("written");
    for program in PROGRAMS {
        assert_eq!(refused(program, &fit), Vec::<String>::new(), "{}", program.name());
    }
    for (change, by, key, allowance) in ONE_AT_A_TIME {
        let change = change.replace("FOLDER", &dir.path().display().to_string());
        // A variable that is given again replaces what was given first.
        let given = format!("{fit}{change}");
        for program in PROGRAMS {
            let expected = if by.contains(&program) { vec![(*key).to_owned()] } else { Vec::new() };
            assert_eq!(refused(program, &given), expected, "{}: {change}", program.name());
            if !allowance.is_empty() {
                let allowed = refused(program, &format!("{given}\n{allowance}"));
                assert_eq!(allowed, Vec::<String>::new(), "{}: {change} {allowance}", program.name());
            }
        }
    }
}

#[test]
fn letters_come_from_the_product_and_lead_to_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let fit = fit_for_production(dir.path());
    for given in [
        "BURSAR_MAIL__FROM=no-reply@acme.io",
        "BURSAR_MAIL__FROM=Localhost <no-reply@localhost.io>",
        "BURSAR_MAIL__LINK_BASE_URL=https://acme.io/app",
        "BURSAR_MAIL__LINK_BASE_URL=https://localhost.acme.io",
    ] {
        assert_eq!(refused(PROGRAMS[0], &format!("{fit}{given}")), Vec::<String>::new(), "{given}");
    }
    // What nobody has set is refused as well as what somebody has set wrongly, both at once.
    let unset: Vec<&str> =
        fit.lines().filter(|line| !line.contains("MAIL__FROM") && !line.contains("LINK_BASE_URL")).collect();
    assert_eq!(refused(PROGRAMS[0], &unset.join("\n")), ["mail.from", "mail.link_base_url"]);
    assert_eq!(refused(SINGLES[2], &unset.join("\n")), Vec::<String>::new(), "billing sends no mail");
}

#[test]
fn an_allowance_for_probes_allows_no_plaintext_calls() {
    let dir = tempfile::tempdir().expect("a directory");
    let fit = fit_for_production(dir.path());
    let given = format!("{fit}BURSAR_TLS__CERTIFICATE_FILE=\nBURSAR_TLS__KEY_FILE=\n--allow-plaintext-operations");
    assert_eq!(refused(SINGLES[2], &given), ["listen_address"]);
}

#[test]
fn an_allowance_for_one_way_allows_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let fit = fit_for_production(dir.path());
    let plain = format!(
        "{fit}BURSAR_LISTEN_ADDRESS=10.0.0.1\nBURSAR_TLS__CERTIFICATE_FILE=\nBURSAR_TLS__KEY_FILE=
        BURSAR_OPERATIONS_ADDRESS=::
        BURSAR_OPERATIONS_TLS__CERTIFICATE_FILE=\nBURSAR_OPERATIONS_TLS__KEY_FILE=
        BURSAR_ORGANIZATION_STORE=postgres://bursar@db.test/organization?sslmode=prefer
        BURSAR_OTLP_ENDPOINT=http://collector.test:4317
        BURSAR_S3__ENDPOINT=http://minio.test:9000
        BURSAR_MAIL__SMTP_URL=smtp://mail.test:25
        BURSAR_MAIL__LINK_BASE_URL=http://app.acme.test
        BURSAR_BILLING_URL=http://billing:7403"
    );
    let all = [
        "mail.link_base_url",
        "listen_address",
        "operations_address",
        "organization_store",
        "otlp_endpoint",
        "s3.endpoint",
        "mail.smtp_url",
        "billing_url",
    ];
    let without = |one: &str| all.into_iter().filter(|key| *key != one).collect::<Vec<_>>();
    for (allowance, lifts) in [
        ("", ""),
        ("--allow-plaintext-store", "organization_store"),
        ("--allow-plaintext-collector", "otlp_endpoint"),
        ("--allow-plaintext-operations", "operations_address"),
        ("--allow-plaintext-links", "mail.link_base_url"),
    ] {
        assert_eq!(refused(SINGLES[1], &format!("{plain}\n{allowance}")), without(lifts), "{allowance}");
    }
    assert_eq!(refused(SINGLES[1], &format!("{plain}\n--allow-plaintext")), Vec::<String>::new());
}

#[test]
fn loopback_needs_no_encryption() {
    let dir = tempfile::tempdir().expect("a directory");
    let fit = fit_for_production(dir.path());
    let plain = "BURSAR_TLS__CERTIFICATE_FILE=\nBURSAR_TLS__KEY_FILE=\nBURSAR_OPERATIONS_TLS__CERTIFICATE_FILE=\n\
                 BURSAR_OPERATIONS_TLS__KEY_FILE=";
    for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        let given = format!(
            "{fit}{plain}\nBURSAR_LISTEN_ADDRESS={address}\nBURSAR_OPERATIONS_ADDRESS={address}
            BURSAR_IDENTITY_URL=http://localhost:1\nBURSAR_ORGANIZATION_URL=http://[::1]:1"
        );
        assert_eq!(refused(SINGLES[2], &given), Vec::<String>::new(), "{address}");
    }
}

#[test]
fn mail_leaves_encrypted_or_to_this_machine() {
    let dir = tempfile::tempdir().expect("a directory");
    let fit = fit_for_production(dir.path());
    for server in [
        "smtps://user:hidden@mail.test:465",
        "smtp://user:hidden@mail.test:587?tls=required",
        "smtp://localhost:25",
        "smtp://user:hidden@127.0.0.1",
        "smtp://[::1]:25",
    ] {
        let given = format!("{fit}BURSAR_MAIL__SMTP_URL={server}");
        assert_eq!(refused(PROGRAMS[0], &given), Vec::<String>::new(), "{server}");
    }
    // Whose name only looks like this machine's.
    for server in ["smtp://localhost.test:25", "smtp://127.0.0.1@mail.test:25"] {
        let given = format!("{fit}BURSAR_MAIL__SMTP_URL={server}");
        assert_eq!(refused(PROGRAMS[0], &given), ["mail.smtp_url"], "{server}");
    }
}

#[test]
fn what_is_stored_and_traced_leaves_encrypted_or_to_this_machine() {
    let dir = tempfile::tempdir().expect("a directory");
    let fit = fit_for_production(dir.path());
    for given in [
        "BURSAR_BILLING_STORE=postgres://bursar:hidden@db.test/billing?sslmode=require",
        "BURSAR_BILLING_STORE=postgres://bursar:hidden@db.test/billing?ssl-mode=verify-ca",
        "BURSAR_BILLING_STORE=postgres://bursar:hidden@localhost/billing?sslmode=disable",
        "BURSAR_BILLING_STORE=postgres://bursar:hidden@[::1]:5432/billing?sslmode=disable",
        "BURSAR_BILLING_STORE=postgres:///billing?host=/run/postgresql&user=bursar&sslmode=prefer",
        "BURSAR_OTLP_ENDPOINT=http://localhost:4317",
        "BURSAR_OTLP_ENDPOINT=http://[::1]:4317",
    ] {
        assert_eq!(refused(SINGLES[2], &format!("{fit}{given}")), Vec::<String>::new(), "{given}");
    }
    for (given, key) in [
        ("BURSAR_BILLING_STORE=postgres://bursar:hidden@db.test/billing?sslmode=disable", "billing_store"),
        ("BURSAR_BILLING_STORE=postgres://bursar:hidden@db.test/billing?sslmode=allow", "billing_store"),
        ("BURSAR_BILLING_STORE=postgres://bursar:hidden@10.0.0.7/billing?ssl-mode=prefer", "billing_store"),
        (
            "BURSAR_BILLING_STORE=postgres://bursar:hidden@localhost/billing?host=db.test&sslmode=prefer",
            "billing_store",
        ),
        ("BURSAR_OTLP_ENDPOINT=http://10.0.0.7:4317", "otlp_endpoint"),
        ("BURSAR_OTLP_ENDPOINT=http://localhost.test:4317", "otlp_endpoint"),
    ] {
        let given = format!("{fit}{given}");
        assert_eq!(refused(SINGLES[2], &given), [key], "{given}");
        let refusal = read(SINGLES[2], &given).expect_err("refused");
        assert!(!refusal.contains("hidden"), "{refusal}");
    }
}

#[test]
fn a_key_that_a_program_made_itself_is_refused_however_its_path_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().canonicalize().expect("it is there");
    fs::create_dir(folder.join("beside")).expect("made");
    let fit = fit_for_production(&folder);
    // From the root, which is so many folders up.
    let here = std::env::current_dir().expect("a folder").canonicalize().expect("it is there");
    let root: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = root.join(folder.strip_prefix("/").expect("an absolute path"));
    let roundabout = folder.join("beside").join("..");
    for (data, key) in [(&folder, &folder), (&folder, &relative), (&relative, &folder), (&folder, &roundabout)] {
        let (data, key) = (data.display(), key.join("master.key"));
        let given = format!("{fit}BURSAR_DATA_DIR={data}\nBURSAR_MASTER_KEY_FILE={}", key.display());
        assert_eq!(refused(SINGLES[2], &given), ["master_key_file"], "{data} {}", key.display());
    }
}

#[test]
fn what_is_refused_is_never_quoted() {
    let dir = tempfile::tempdir().expect("a directory");
    let fit = fit_for_production(dir.path());
    let short = dir.path().join("short");
    fs::write(&short, "hunter2").expect("written");
    let given = format!(
        "{fit}BURSAR_SERVICE_SECRETS__BILLING_FILE={0}\nBURSAR_MASTER_KEY_FILE={0}\nBURSAR_TLS__KEY_FILE={0}",
        short.display()
    );
    let refusal = read(SINGLES[2], &given).expect_err("refused");
    assert_eq!(named(&refusal), ["tls.key_file", "master_key_file", "service_secrets.billing_file"], "{refusal}");
    assert!(!refusal.contains("hunter2"), "{refusal}");
}
