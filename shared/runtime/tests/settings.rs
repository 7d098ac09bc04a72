//! Where settings come from, which of them wins, and what is refused in which words.

use std::{fs, time::Duration};

use bursar_runtime::{LogFormat, Mode, Options, Program, Service, Settings};
use clap::Parser;

/// A program with nothing but the shared flags.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

/// What one case is given.
#[derive(Default)]
struct Given<'a> {
    file: Option<&'a str>,
    env: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

fn read(program: Program, given: &Given<'_>) -> Result<Settings, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut arguments = vec!["bursar".to_owned()];
    arguments.extend(given.flags.iter().map(|flag| (*flag).to_owned()));
    if let Some(text) = given.file {
        let path = dir.path().join("bursar.toml");
        fs::write(&path, text).expect("the file");
        arguments.extend(["--config".to_owned(), path.display().to_string()]);
    }
    let cli = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let env = given.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    cli.options
        .settings_with(program, env)
        .map_err(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
}

fn suite(given: &Given<'_>) -> Result<Settings, String> {
    read(Program::Suite, given)
}

#[test]
fn defaults_need_nothing() {
    let settings = suite(&Given::default()).expect("defaults");
    assert_eq!(settings.mode, Mode::Development);
    assert_eq!(settings.operations_listener().to_string(), "127.0.0.1:7400");
    for (service, address, store) in [
        (Service::Identity, "127.0.0.1:7401", "sqlite://data/identity.db"),
        (Service::Organization, "127.0.0.1:7402", "sqlite://data/organization.db"),
        (Service::Billing, "127.0.0.1:7403", "sqlite://data/billing.db"),
    ] {
        assert_eq!(settings.service_address(service).to_string(), address);
        assert_eq!(settings.store(service).to_string(), store);
        assert_eq!(settings.peer_url(service), format!("http://{address}"));
    }
    assert!(settings.catalog_file.is_none() && settings.otlp_endpoint.is_none());
    assert!(settings.mail.smtp_url.is_none() && !settings.test_clock);
}

#[test]
fn a_single_service_is_made_for_production() {
    let settings = read(Program::Single(Service::Billing), &Given::default()).expect("defaults");
    assert_eq!(settings.mode, Mode::Production);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.service_address(Service::Billing).to_string(), "0.0.0.0:7403");
    let flags = &["--mode", "development"];
    let settings = read(Program::Single(Service::Billing), &Given { flags, ..Given::default() });
    let settings = settings.expect("development");
    assert_eq!(settings.service_address(Service::Billing).to_string(), "127.0.0.1:7403");
    assert_eq!(settings.log.format, LogFormat::Text);
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_defaults() {
    let file = "port_base = 1000\n[limits]\ndeadline = \"5s\"\nin_flight = 10\n";
    let env: &[(&str, &str)] = &[("BURSAR_PORT_BASE", "2000"), ("BURSAR_LIMITS__DEADLINE", "6s")];
    let flags: &[&str] = &["--port-base", "3000"];
    // Given; port base, deadline in seconds, calls in flight.
    let cases = [
        (Given::default(), 7400, 30, 4096),
        (Given { file: Some(file), ..Given::default() }, 1000, 5, 10),
        (Given { file: Some(file), env, ..Given::default() }, 2000, 6, 10),
        (Given { file: Some(file), env, flags }, 3000, 6, 10),
        (Given { env, flags, ..Given::default() }, 3000, 6, 4096),
        (Given { flags, ..Given::default() }, 3000, 30, 4096),
    ];
    for (place, (given, port, deadline, in_flight)) in cases.into_iter().enumerate() {
        let settings = suite(&given).unwrap_or_else(|error| panic!("case {place}: {error}"));
        assert_eq!(settings.port_base, port, "case {place}");
        assert_eq!(settings.operations_port, port, "case {place}");
        assert_eq!(settings.peer_url(Service::Billing), format!("http://127.0.0.1:{}", port + 3));
        assert_eq!(settings.limits.deadline, Duration::from_secs(deadline), "case {place}");
        assert_eq!(settings.limits.in_flight, in_flight, "case {place}");
    }
}

#[test]
fn every_place_takes_every_kind_of_value() {
    let file = r#"
        data_dir = "/var/lib/bursar"
        test_clock = true
        listen_address = "::1"
        billing_store = "postgres://bursar@db/billing"
        [log]
        filter = "warn"
        [tokens]
        access_ttl = "90s"
    "#;
    let env: &[(&str, &str)] = &[
        ("BURSAR_DATA_DIR", "42"),
        ("BURSAR_TEST_CLOCK", "true"),
        ("BURSAR_LISTEN_ADDRESS", "::1"),
        ("BURSAR_BILLING_STORE", "postgres://bursar@db/billing"),
        ("BURSAR_LOG__FILTER", "warn"),
        ("BURSAR_TOKENS__ACCESS_TTL", "90s"),
        ("BURSAR_OTLP_ENDPOINT", ""),
    ];
    let flags: &[&str] = &[
        "--data-dir=x", "--test-clock", "--listen-address=::1", "--log-filter=warn",
        "--billing-store=postgres://bursar@db/billing",
    ];
    for (given, dir) in [
        (Given { file: Some(file), ..Given::default() }, "/var/lib/bursar"),
        (Given { env, ..Given::default() }, "42"),
        (Given { flags, env: &[("BURSAR_TOKENS__ACCESS_TTL", "90s")], ..Given::default() }, "x"),
    ] {
        let settings = suite(&given).expect(dir);
        assert_eq!(settings.data_dir.to_str(), Some(dir));
        assert_eq!(settings.identity_store.to_string(), format!("sqlite://{dir}/identity.db"));
        assert_eq!(settings.master_key_file, settings.data_dir.join("master.key"));
        assert!(settings.test_clock && settings.otlp_endpoint.is_none());
        assert_eq!(settings.service_address(Service::Identity).to_string(), "[::1]:7401");
        assert_eq!(settings.billing_store.to_string(), "postgres://bursar@db/billing");
        assert_eq!(settings.log.filter, "warn");
        assert_eq!(settings.tokens.access_ttl, Duration::from_secs(90));
    }
    let off = Given { env: &[("BURSAR_TEST_CLOCK", "true")], flags: &["--test-clock=false"], file: None };
    assert!(!suite(&off).expect("off").test_clock);
}

#[test]
fn what_is_wrong_is_refused_with_its_name() {
    // Given; every piece that the refusal must contain.
    let cases: &[(Given<'_>, &[&str])] = &[
        (Given { file: Some("prot_base = 1"), ..Given::default() }, &["unknown key `prot_base` in DIR/bursar.toml", "did you mean port_base?"]),
        (Given { file: Some("[mail]\nsmtpurl = \"x\""), ..Given::default() }, &["unknown key `mail.smtpurl` in DIR/bursar.toml", "mail.smtp_url?"]),
        (Given { file: Some("[nonsense]\na = 1\n"), ..Given::default() }, &["unknown key `nonsense`"]),
        (Given { env: &[("BURSAR_PORT_BAES", "1")], ..Given::default() }, &["unknown environment variable BURSAR_PORT_BAES", "did you mean BURSAR_PORT_BASE?"]),
        (Given { env: &[("BURSAR_LIMITS__DEADLIN", "1s")], ..Given::default() }, &["BURSAR_LIMITS__DEADLIN", "BURSAR_LIMITS__DEADLINE?"]),
        (Given { env: &[("BURSAR_A", "1"), ("BURSAR_B", "2")], file: Some("c = 3"), ..Given::default() }, &["BURSAR_A", "BURSAR_B", "`c`"]),
        (Given { flags: &["--prot-base", "1"], ..Given::default() }, &["--prot-base", "--port-base"]),
        (Given { env: &[("BURSAR_PORT_BASE", "many")], ..Given::default() }, &["environment variable BURSAR_PORT_BASE", "many"]),
        (Given { env: &[("BURSAR_PORT_BASE", "70000")], ..Given::default() }, &["BURSAR_PORT_BASE", "70000"]),
        (Given { file: Some("mode = \"test\""), ..Given::default() }, &["`mode` in DIR/bursar.toml", "test", "development"]),
        (Given { file: Some("log = 3"), ..Given::default() }, &["`log` in DIR/bursar.toml"]),
        (Given { file: Some("[limits]\ndeadline = \"5\""), ..Given::default() }, &["`limits.deadline`", "`5` is not a span of time"]),
        (Given { file: Some("port_base = \n"), ..Given::default() }, &["DIR/bursar.toml line 1 is not TOML"]),
        (Given { flags: &["--config", "/does/not/exist"], ..Given::default() }, &["cannot read /does/not/exist"]),
        (Given { flags: &["--billing-store", "mysql://x"], ..Given::default() }, &["flag --billing-store", "sqlite:// or postgres://"]),
        (Given { flags: &["--port-base", "65533"], ..Given::default() }, &["port_base", "65533"]),
        (Given { flags: &["--port-base", "0"], ..Given::default() }, &["port_base", "out of range"]),
        (Given { flags: &["--operations-port", "7402"], ..Given::default() }, &["operations_port", "organization"]),
        (Given { env: &[("BURSAR_LIMITS__SHUTDOWN", "30s")], ..Given::default() }, &["limits.shutdown", "1s to 9s"]),
        (Given { env: &[("BURSAR_LIMITS__DRAIN", "8s")], ..Given::default() }, &["limits.drain"]),
        (Given { env: &[("BURSAR_LIMITS__IN_FLIGHT", "0")], ..Given::default() }, &["limits.in_flight", "at least 1"]),
        (Given { env: &[("BURSAR_TOKENS__ACCESS_TTL", "6m")], ..Given::default() }, &["tokens.access_ttl", "5m"]),
        (Given { env: &[("BURSAR_INVITATIONS__TTL", "31d")], ..Given::default() }, &["invitations.ttl", "30d"]),
        (Given { env: &[("BURSAR_IDENTITY_URL", "identity")], ..Given::default() }, &["identity_url", "http://HOST:PORT"]),
        (Given { env: &[("BURSAR_OTLP_ENDPOINT", "https://x")], ..Given::default() }, &["otlp_endpoint", "http://"]),
        (Given { env: &[("BURSAR_LOG__FILTER", "a=b=c")], ..Given::default() }, &["log.filter"]),
        (Given { env: &[("BURSAR_MAIL__SMTP_URL_FILE", "/no/such")], ..Given::default() }, &["BURSAR_MAIL__SMTP_URL_FILE", "/no/such"]),
        (Given { flags: &["--mode", "production", "--test-clock"], ..Given::default() }, &["--test-clock", "refused in production mode"]),
    ];
    for (place, (given, pieces)) in cases.iter().enumerate() {
        let Err(refusal) = suite(given) else {
            panic!("case {place} was accepted, but should say {pieces:?}");
        };
        for piece in *pieces {
            assert!(refusal.contains(piece), "case {place}: no {piece:?} in {refusal:?}");
        }
    }
}

#[test]
fn a_test_clock_needs_development_mode() {
    let flags: &[&str] = &["--test-clock"];
    let single = Program::Single(Service::Billing);
    assert!(read(single, &Given { flags, ..Given::default() }).is_err(), "production by default");
    let flags: &[&str] = &["--test-clock", "--mode=development"];
    assert!(read(single, &Given { flags, ..Given::default() }).is_ok());
}

#[test]
fn variables_of_others_are_left_alone() {
    let env: &[(&str, &str)] = &[
        ("BURSAR_REQUIRE_POSTGRES", "1"),
        ("BURSAR_TEST_SEED", "7"),
        ("BURSAR_CONFIG", "elsewhere"),
        ("BURSAR_IDENTITY_SERVICE_HOST", "10.0.0.1"),
        ("BURSAR_IDENTITY_SERVICE_PORT", "7401"),
        ("BURSAR_IDENTITY_SERVICE_PORT_GRPC", "7401"),
        ("BURSAR_IDENTITY_PORT", "tcp://10.0.0.1:7401"),
        ("BURSAR_IDENTITY_PORT_7401_TCP", "tcp://10.0.0.1:7401"),
        ("BURSAR_IDENTITY_PORT_7401_TCP_ADDR", "10.0.0.1"),
        ("BURSAR_SERVICE_HOST", "10.0.0.1"),
        ("BURSAR_PORT", "tcp://10.0.0.1:7401"),
        ("BURSARX", "1"),
        ("HOME", "/root"),
    ];
    suite(&Given { env, ..Given::default() }).expect("none of these is a setting");
    suite(&Given { env: &[("BURSAR_PORT", "7400")], ..Given::default() }).expect_err("a mistake");
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store");
    let smtp = dir.path().join("smtp");
    fs::write(&store, "postgres://bursar:hidden@db/billing\n").expect("written");
    fs::write(&smtp, "smtps://bursar:hidden@mail:465\n").expect("written");
    let (store, smtp) = (store.display().to_string(), smtp.display().to_string());
    let toml = format!("billing_store_file = \"{store}\"\n[mail]\nsmtp_url_file = \"{smtp}\"\n");
    let env = [("BURSAR_BILLING_STORE_FILE", store.as_str()), ("BURSAR_MAIL__SMTP_URL_FILE", smtp.as_str())];
    for given in [
        Given { file: Some(&toml), ..Given::default() },
        Given { env: &env, ..Given::default() },
    ] {
        let settings = suite(&given).expect("secrets from files");
        let url = settings.mail.smtp_url.as_ref().expect("a mail server");
        assert_eq!(url.expose(), "smtps://bursar:hidden@mail:465");
        let printed = settings.to_redacted_toml().expect("TOML");
        assert!(printed.contains("postgres://bursar:***@db/billing"), "{printed}");
        assert!(printed.contains("smtp_url = \"[redacted]\""), "{printed}");
        assert!(!printed.contains("hidden"), "{printed}");
        assert!(!format!("{settings:?}").contains("hidden"), "{settings:?}");
    }
    // A stronger place may still say otherwise; one place may not say both.
    let stronger = Given { file: Some(&toml), env: &[("BURSAR_BILLING_STORE", "sqlite://b.db")], flags: &[] };
    assert_eq!(suite(&stronger).expect("env").billing_store.to_string(), "sqlite://b.db");
    let both = [env[0], ("BURSAR_BILLING_STORE", "sqlite://b.db")];
    let refusal = suite(&Given { env: &both, ..Given::default() }).expect_err("both");
    assert!(refusal.contains("BURSAR_BILLING_STORE") && refusal.contains("use one"), "{refusal}");
}

#[test]
fn a_malformed_secret_is_not_quoted() {
    for (given, key) in [
        (Given { env: &[("BURSAR_BILLING_STORE", "postgresq://bursar:hidden@db/x")], ..Given::default() }, "BURSAR_BILLING_STORE"),
        (Given { file: Some("billing_store = [\"hidden\"]"), ..Given::default() }, "billing_store"),
        (Given { file: Some("mail = { smtp_url = \"hidden"), ..Given::default() }, "line 1"),
    ] {
        let refusal = suite(&given).expect_err(key);
        assert!(refusal.contains(key) && !refusal.contains("hidden"), "{refusal}");
    }
}

#[test]
fn the_printed_configuration_reads_back() {
    let flags: &[&str] = &["--port-base=9000", "--data-dir=/x", "--test-clock"];
    let settings = suite(&Given { flags, ..Given::default() }).expect("settings");
    let printed = settings.to_redacted_toml().expect("TOML");
    let again = suite(&Given { file: Some(&printed), ..Given::default() }).expect("reads back");
    assert_eq!(again.to_redacted_toml().expect("TOML"), printed);
}
