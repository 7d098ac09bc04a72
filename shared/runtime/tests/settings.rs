//! Where settings come from, which of them wins, and what is refused in which words.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "support/given.rs"]
mod given;
#[path = "settings/secrets.rs"]
mod secrets;

use std::time::Duration;

use bursar_runtime::{
    AuditSettings, BillingSettings, InvitationSettings, LibrarySettings, LogFormat, Mode, OrganizationSettings,
    Program, Service, Settings, TokenSettings,
};
use given::{fit_for_production, read};

fn suite(given: &str) -> Result<Settings, String> {
    read(Program::Suite, given)
}

#[test]
fn defaults_need_nothing() {
    let settings = suite("").expect("defaults");
    assert_eq!(settings.mode, Mode::Development);
    let operations = settings.operations_listener().to_string();
    assert_eq!(operations, "127.0.0.1:7400");
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

const DAY: Duration = Duration::from_hours(24);

/// What nobody sets is what the product says of itself, in words, to whoever reads about it. Each section is taken apart
/// whole, so that none gets a bound that stands nowhere here.
#[test]
fn bounds_that_nobody_sets_are_those_of_the_product() {
    let dir = tempfile::tempdir().expect("a directory");
    let production = fit_for_production(dir.path());
    let single = |service| read(Program::Single(service), &production).expect("what production needs");
    let suites =
        ["", "--preset=flik", "--preset=flexsite", "--preset=employees"].map(|given| suite(given).expect(given));
    for settings in suites.into_iter().chain(Service::ALL.map(single)) {
        has_the_lives_of_tokens(&settings.tokens);
        has_the_bounds_of_organizations(&settings.organizations, &settings.invitations);
        has_the_bounds_of_libraries(&settings.library);
        has_the_bounds_of_accounts(&settings.billing);
        let limits = &settings.limits;
        assert_eq!((limits.connections, limits.streams_per_connection), (4_096, 1_024), "a port, and one connection");
        let AuditSettings { retention } = settings.audit;
        assert_eq!(retention, 400 * DAY, "the audit log");
        assert_eq!(settings.invoice_retention, 3_653 * DAY, "ten years");
        assert_eq!(settings.max_staleness, Duration::from_mins(5), "as long as an access token lives");
    }
}

fn has_the_lives_of_tokens(tokens: &TokenSettings) {
    let TokenSettings {
        access_ttl,
        service_ttl,
        refresh_ttl,
        session_age,
        refresh_grace,
        max_refreshes_per_hour,
        verification_ttl,
    } = *tokens;
    assert_eq!(access_ttl, Duration::from_mins(5), "an access token");
    assert_eq!(service_ttl, Duration::from_mins(5), "a service's token");
    assert_eq!((refresh_ttl, session_age), (30 * DAY, 180 * DAY), "a session that is not used, and one that is");
    assert_eq!(refresh_grace, Duration::from_secs(10), "a refresh token that was rotated");
    assert_eq!(max_refreshes_per_hour, 1_200, "refreshes of one session");
    assert_eq!(verification_ttl, DAY, "a mailed verification");
}

fn has_the_bounds_of_organizations(organizations: &OrganizationSettings, invitations: &InvitationSettings) {
    let OrganizationSettings { max_created_per_day } = *organizations;
    assert_eq!(max_created_per_day, 50, "organizations of one person in a day");
    let InvitationSettings {
        ttl,
        max_pending,
        max_per_day,
        max_per_day_at_first,
        max_per_day_by_sender,
        max_per_day_to_address,
        max_per_day_by_origin,
    } = *invitations;
    assert_eq!((ttl, max_pending), (7 * DAY, 100), "an invitation");
    assert_eq!((max_per_day_at_first, max_per_day), (50, 200), "of one organization, in its first week and later");
    assert_eq!((max_per_day_to_address, max_per_day_by_sender), (5, 200), "to one address, and by one sender");
    assert_eq!(max_per_day_by_origin, 500, "of new organizations, from one network address");
}

fn has_the_bounds_of_libraries(library: &LibrarySettings) {
    let LibrarySettings { quota_bytes, upload_bytes, idle_timeout, export_contents } = *library;
    assert_eq!((quota_bytes, upload_bytes), (10 << 30, 5 << 30), "a library, and one upload");
    assert_eq!(idle_timeout, Duration::from_secs(30), "an upload that stops");
    assert_eq!(export_contents, 100_000, "an export");
}

fn has_the_bounds_of_accounts(billing: &BillingSettings) {
    let BillingSettings {
        lanes,
        batch_max,
        queue_max,
        combine,
        warm_accounts,
        hold_ttl_max,
        open_holds_max,
        limits_max,
        top_up_cooldown,
        distributed,
    } = *billing;
    assert_eq!((lanes, batch_max, queue_max, warm_accounts), (0, 1_024, 32_768, 16_384), "the engine");
    assert_eq!((combine, distributed), (true, false), "the engine");
    assert_eq!((open_holds_max, hold_ttl_max), (10_000, DAY), "holds");
    assert_eq!(limits_max, 100, "limits of an account");
    assert_eq!(top_up_cooldown, Duration::from_hours(1), "a top-up by itself");
}

#[test]
fn a_single_service_is_made_for_production() {
    let billing = Program::Single(Service::Billing);
    let dir = tempfile::tempdir().expect("a directory");
    let settings = read(billing, &fit_for_production(dir.path())).expect("what production needs");
    assert_eq!(settings.mode, Mode::Production);
    assert_eq!(settings.log.format, LogFormat::Json);
    let address = settings.service_address(Service::Billing).to_string();
    assert_eq!(address, "0.0.0.0:7403");
    let settings = read(billing, "--mode development").expect("development");
    assert_eq!(settings.log.format, LogFormat::Text);
    let address = settings.service_address(Service::Billing).to_string();
    assert_eq!(address, "127.0.0.1:7403");
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_defaults() {
    let file = "port_base = 1000\n[limits]\ndeadline = \"5s\"\nin_flight = 10\n";
    let env = "BURSAR_PORT_BASE=2000\nBURSAR_LIMITS__DEADLINE=6s\n";
    let flags = "--port-base 3000\n";
    // Given; port base, deadline in seconds, calls in flight.
    let cases = [
        (String::new(), 7400, 30, 65_536),
        (file.to_owned(), 1000, 5, 10),
        (format!("{file}{env}"), 2000, 6, 10),
        (format!("{flags}{env}{file}"), 3000, 6, 10),
        (format!("{flags}{env}"), 3000, 6, 65_536),
        (flags.to_owned(), 3000, 30, 65_536),
    ];
    for (given, port, deadline, in_flight) in cases {
        let settings = suite(&given).expect(&given);
        let billing = settings.peer_url(Service::Billing);
        assert_eq!(settings.port_base, port, "{given}");
        assert_eq!(settings.operations_port, port, "{given}");
        assert_eq!(billing, format!("http://127.0.0.1:{}", port + 3));
        assert_eq!(settings.limits.deadline.as_secs(), deadline, "{given}");
        assert_eq!(settings.limits.in_flight, in_flight, "{given}");
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
    let env = "
        BURSAR_DATA_DIR=42
        BURSAR_TEST_CLOCK=true
        BURSAR_LISTEN_ADDRESS=::1
        BURSAR_BILLING_STORE=postgres://bursar@db/billing
        BURSAR_LOG__FILTER=warn
        BURSAR_TOKENS__ACCESS_TTL=90s
        BURSAR_OTLP_ENDPOINT=
    ";
    let flags = "
        --data-dir=x --test-clock --listen-address=::1 --log-filter=warn
        --billing-store=postgres://bursar@db/billing
        BURSAR_TOKENS__ACCESS_TTL=90s
    ";
    for (given, dir) in [(file, "/var/lib/bursar"), (env, "42"), (flags, "x")] {
        let settings = suite(given).expect(dir);
        let identity = settings.store(Service::Identity).to_string();
        let address = settings.service_address(Service::Identity).to_string();
        assert_eq!(settings.data_dir.to_str(), Some(dir));
        assert_eq!(identity, format!("sqlite://{dir}/identity.db"));
        assert_eq!(settings.master_key_file, settings.data_dir.join("master.key"));
        assert!(settings.test_clock && settings.otlp_endpoint.is_none());
        assert_eq!(address, "[::1]:7401");
        assert_eq!(settings.store(Service::Billing).to_string(), "postgres://bursar@db/billing");
        assert_eq!(settings.log.filter, "warn");
        assert_eq!(settings.tokens.access_ttl, Duration::from_secs(90));
    }
    for given in ["max_staleness = \"90s\"", "BURSAR_MAX_STALENESS=90s", "--max-staleness=90s"] {
        assert_eq!(suite(given).expect(given).max_staleness, Duration::from_secs(90), "{given}");
    }
    assert_eq!(suite("").expect("defaults").max_staleness, Duration::from_mins(5));
    let off = suite("BURSAR_TEST_CLOCK=true\n--test-clock=false").expect("off");
    assert!(!off.test_clock, "a flag can take back what the environment says");
}

#[test]
fn a_preset_is_a_set_of_defaults_that_settings_override() {
    use bursar_members::{
        AdminBilling, CreditUnit, DeletionGrace, OrganizationCreation, PersonalWorkspace, Policy, SecondFactor,
        Transfer, UsageVisibility,
    };
    let policies = |given: &str| suite(given).expect(given).policies;
    assert_eq!(policies(""), Policy::default());
    assert_eq!(policies("--preset standard"), Policy::default());
    let at_once = Policy { deletion_grace: DeletionGrace::NONE, ..Policy::default() };
    let paid = OrganizationCreation::PaidPlan;
    let flik = Policy { admin_billing: AdminBilling::None, organization_creation: paid, ..at_once };
    let flexsite = Policy { personal_workspace: PersonalWorkspace::Off, ..at_once };
    let employees = Policy { usage_visibility: UsageVisibility::Nobody, credit_unit: CreditUnit::WORDS, ..at_once };
    assert_eq!(policies("--preset flik"), flik);
    assert_eq!(policies("BURSAR_PRESET=flexsite"), flexsite);
    assert_eq!(policies("preset = 'employees'"), employees);
    assert_eq!(policies("--preset=flik\nBURSAR_PRESET=employees"), flik, "the flag is stronger");
    let mixed = policies("--preset flik\n[policies]\nusage_visibility = 'EVERYONE'");
    assert_eq!(mixed, Policy { usage_visibility: UsageVisibility::Everyone, ..flik });
    let taken_back = policies("--preset flexsite\nBURSAR_POLICIES__PERSONAL_WORKSPACE=ON");
    assert_eq!(taken_back, at_once);
    let own = policies(
        "BURSAR_POLICIES__TRANSFER=NOMINEE_ACCEPTS
        BURSAR_POLICIES__CREDIT_UNIT__PLURAL=tokens
        [policies]
        second_factor = 'REQUIRED'
        deletion_grace = '30d'
        credit_unit = { singular = 'token' }",
    );
    assert_eq!((own.transfer, own.second_factor), (Transfer::NomineeAccepts, SecondFactor::Required));
    assert_eq!(
        (own.deletion_grace.span().as_secs(), own.organization_creation),
        (30 * 86_400, Policy::default().organization_creation)
    );
    assert_eq!([own.credit_unit.singular, own.credit_unit.plural].map(String::from), ["token", "tokens"]);
}

/// What is given, and every piece that the refusal must contain.
#[test]
fn messages_have_the_time_and_room_that_is_set_and_calls_in_work_are_no_closer_bound_than_billings_queue() {
    let given = suite(
        "BURSAR_LIMITS__MESSAGE_DEADLINE=7s\nBURSAR_LIMITS__IN_FLIGHT=65536\nBURSAR_LIMITS__MESSAGE_BYTES=109051904",
    )
    .expect("settings");
    assert_eq!(given.stack_limits().message_deadline, std::time::Duration::from_secs(7));
    assert_eq!(given.stack_limits().max_message_bytes, 104 * 1024 * 1024);
    let defaults = suite("").expect("defaults");
    assert!(defaults.limits.in_flight >= 2 * defaults.billing.queue_max, "one service may wait with half of them");
}

const REFUSALS: &[(&str, &[&str])] = &[
    ("BURSAR_LIMITS__MESSAGE_DEADLINE=0s", &["limits.message_deadline"]),
    ("--max-staleness 14s", &["max_staleness: 14s is out of range, use 15s to 1h"]),
    ("prot_base = 1", &["unknown key `prot_base` in DIR/bursar.toml", "mean port_base?"]),
    ("[mail]\nsmtpurl = 'x'", &["unknown key `mail.smtpurl` in DIR/bursar.toml", "mail.smtp_url?"]),
    ("[nonsense]\na = 1", &["unknown key `nonsense`"]),
    ("BURSAR_PORT_BAES=1", &["unknown environment variable BURSAR_PORT_BAES", "BURSAR_PORT_BASE?"]),
    ("BURSAR_LIMITS__DEADLIN=1s", &["BURSAR_LIMITS__DEADLIN;", "BURSAR_LIMITS__DEADLINE?"]),
    ("BURSAR_A=1\nBURSAR_B=2\nc = 3", &["BURSAR_A", "BURSAR_B", "`c`"]),
    ("--prot-base 1", &["--prot-base", "--port-base"]),
    ("BURSAR_PORT_BASE=many", &["environment variable BURSAR_PORT_BASE", "many"]),
    ("BURSAR_PORT_BASE=70000", &["BURSAR_PORT_BASE", "70000"]),
    ("preset = 'tests'", &["`preset` in DIR/bursar.toml", "tests", "flexsite"]),
    ("--preset nobody", &["nobody", "flik", "employees"]),
    ("[policies]\npersonal_workspace = 'MAYBE'", &["policies.personal_workspace", "MAYBE"]),
    ("[policies]\nsecond_factor = 'NEVER'", &["policies.second_factor", "NEVER"]),
    ("BURSAR_POLICIES__DELETION_GRACE=3661d", &["POLICIES__DELETION_GRACE", "must not be longer than 3660d"]),
    ("[policies]\ndeletion_grace = 'soon'", &["`policies.deletion_grace`", "a length of time such as 7d"]),
    ("[policies.credit_unit]\nsingular = 'token'", &["`policies.credit_unit.singular` in DIR", "plural is not set"]),
    (
        "--preset employees\nBURSAR_POLICIES__CREDIT_UNIT__PLURAL=tokens",
        &["BURSAR_POLICIES__CREDIT_UNIT__PLURAL", "policies.credit_unit.singular is not set"],
    ),
    ("[policies.credit_unit]\nsingular = 'token'\nplural = ''", &["policies.credit_unit", "must not be empty"]),
    ("[policies]\ncredit_units = 'words'", &["unknown key `policies.credit_units`", "policies.credit_unit"]),
    ("mode = 'test'", &["`mode` in DIR/bursar.toml", "test", "development"]),
    ("log = 3", &["`log` in DIR/bursar.toml"]),
    ("[limits]\ndeadline = '5'", &["`limits.deadline`", "`5` is not a span of time"]),
    ("port_base = ", &["DIR/bursar.toml line 1 is not TOML"]),
    ("--config /does/not/exist", &["cannot read /does/not/exist"]),
    ("--billing-store mysql://x", &["flag --billing-store", "sqlite:// or postgres://"]),
    ("--port-base 65533", &["port_base", "65533"]),
    ("--port-base 0", &["port_base", "out of range"]),
    ("--operations-port 7402", &["operations_port", "organization"]),
    ("BURSAR_LIMITS__SHUTDOWN=30s", &["limits.shutdown", "1s to 9s"]),
    ("BURSAR_LIMITS__DRAIN=8s", &["limits.drain"]),
    ("BURSAR_LIMITS__IN_FLIGHT=0", &["limits.in_flight", "at least 1"]),
    ("BURSAR_LIMITS__CONNECTIONS=0", &["limits.connections", "at least 1"]),
    (
        "BURSAR_LIMITS__IN_FLIGHT=65536\nBURSAR_LIMITS__MESSAGE_BYTES=109051903",
        &["limits.message_bytes: 109051903 is out of range, use 109051904 or more"],
    ),
    ("BURSAR_TOKENS__ACCESS_TTL=6m", &["tokens.access_ttl", "5m"]),
    ("BURSAR_ORGANIZATIONS__MAX_CREATED_PER_DAY=0", &["organizations.max_created_per_day", "at least 1"]),
    ("BURSAR_INVITATIONS__TTL=31d", &["invitations.ttl", "30d"]),
    ("BURSAR_INVITATIONS__MAX_PER_DAY_BY_ORIGIN=0", &["invitations.max_per_day_by_origin", "at least 1"]),
    (
        "[invitations]\nmax_per_day_by_sender = 10001\nmax_per_day_to_address = 10001\nmax_per_day_by_origin = 1001",
        &[
            "invitations.max_per_day_by_sender: 10001 is out of range, use 1 to 10000",
            "invitations.max_per_day_to_address: 10001 is out of range, use 1 to 10000",
            "invitations.max_per_day_by_origin: 1001 is out of range, use 1 to 1000",
        ],
    ),
    ("[billing]\ntop_up_cooldown = '59s'", &["billing.top_up_cooldown: 59s is out of range, use 1m to 30d"]),
    ("BURSAR_AUDIT__RETENTION=23h", &["audit.retention", "1d"]),
    ("BURSAR_TOKENS__MAX_REFRESHES_PER_HOUR=599", &["tokens.max_refreshes_per_hour: 599", "600 to 36000"]),
    ("BURSAR_TOKENS__MAX_REFRESHES_PER_HOUR=36001", &["tokens.max_refreshes_per_hour: 36001 is out of range"]),
    ("BURSAR_LIBRARY__EXPORT_CONTENTS=0", &["library.export_contents", "1 to 1000000"]),
    ("BURSAR_LIBRARY__EXPORT_CONTENTS=1000001", &["library.export_contents: 1000001 is out of range"]),
    ("[invoices]\nissuer = '''1\n2\n3\n4\n5\n6\n7\n8\n9'''", &["invoices.issuer", "8 lines"]),
    ("BURSAR_INVOICE_RETENTION=23h", &["invoice_retention", "1d"]),
    ("BURSAR_AUDIT__RETENTION=3661d", &["audit.retention", "3660d"]),
    ("BURSAR_IDENTITY_URL=identity", &["identity_url", "http://HOST:PORT"]),
    ("BURSAR_OTLP_ENDPOINT=https://x", &["otlp_endpoint", "http://"]),
    ("BURSAR_MAIL__PRODUCT=", &["mail.product", "1 to 100 bytes"]),
    ("BURSAR_LOG__FILTER=a=b=c", &["log.filter"]),
    ("BURSAR_MAIL__SMTP_URL_FILE=/no/such", &["BURSAR_MAIL__SMTP_URL_FILE", "/no/such"]),
    ("[tls]\nkey_file = '/k'", &["tls.certificate_file", "where tls.key_file is"]),
    ("[tls]\nclient_ca_file = '/c'", &["tls.certificate_file", "where tls.client_ca_file is"]),
    ("BURSAR_OPERATIONS_TLS__CERTIFICATE_FILE=/c", &["operations_tls.key_file", "operations_tls.certificate_file is"]),
    ("[inbox_tls]\ncertificate_file = '/c'", &["inbox_tls.key_file", "where inbox_tls.certificate_file is"]),
    ("BURSAR_PAYMENTS__PROVIDER=cash", &["BURSAR_PAYMENTS__PROVIDER", "cash", "sandbox", "stripe"]),
    ("BURSAR_PAYMENTS__PROVIDER=stripe", &["payments.stripe.secret_key", "payments.stripe.webhook_secret"]),
    (
        "[payments]\nprovider = 'stripe'\n[payments.stripe]\nsecret_key = 'pk_live_hidden'\nwebhook_secret = 'hidden'\n\
         former_webhook_secret = 'hidden'\napi_url = 'stripe'\nreturn_url = 'app'\ntimeout = '61s'",
        &[
            "payments.stripe.secret_key",
            "payments.stripe.webhook_secret",
            "payments.stripe.former_webhook_secret",
            "payments.stripe.api_url: `stripe`",
            "payments.stripe.return_url: `app`",
            "payments.stripe.timeout: 61s is out of range, use 1s to 1m",
        ],
    ),
    ("BURSAR_PAYMENTS__STRIPE__INBOX_ADDRESS=here", &["BURSAR_PAYMENTS__STRIPE__INBOX_ADDRESS"]),
    ("[peer_tls]\ncertificate_file = '/c'", &["peer_tls.key_file", "where peer_tls.certificate_file is"]),
    (
        "[tls]\ncertificate_file = '/c'\nkey_file = '/k'\n[peer_tls]\nca_file = '/a'",
        &[
            "tls.certificate_file: /c: No such file",
            "tls.key_file: /k: No such file",
            "peer_tls.ca_file: /a: No such file",
        ],
    ),
    ("BURSAR_MAX_CLOCK_DIFFERENCE=10ms", &["max_clock_difference", "1s to 30s"]),
    ("BURSAR_TLS_RELOAD=10ms", &["tls_reload", "100ms to 1h"]),
];

#[test]
fn what_is_wrong_is_refused_with_its_name() {
    for (given, pieces) in REFUSALS {
        let refusal = suite(given).expect_err(given);
        for piece in *pieces {
            assert!(refusal.contains(piece), "{given:?}: no {piece:?} in {refusal:?}");
        }
    }
}

#[test]
fn variables_of_others_are_left_alone() {
    suite(
        "BURSAR_REQUIRE_POSTGRES=1
        BURSAR_REQUIRE_ADVISORIES=1
        BURSAR_TEST_SEED=7
        BURSAR_CONFIG=elsewhere
        BURSAR_IDENTITY_SERVICE_HOST=10.0.0.1
        BURSAR_IDENTITY_SERVICE_PORT=7401
        BURSAR_IDENTITY_SERVICE_PORT_GRPC=7401
        BURSAR_IDENTITY_PORT=tcp://10.0.0.1:7401
        BURSAR_IDENTITY_PORT_7401_TCP=tcp://10.0.0.1:7401
        BURSAR_IDENTITY_PORT_7401_TCP_ADDR=10.0.0.1
        BURSAR_SERVICE_HOST=10.0.0.1
        BURSAR_PORT=tcp://10.0.0.1:7401
        BURSARX=1",
    )
    .expect("none of these is a setting");
    suite("BURSAR_PORT=7400").expect_err("a mistake");
}

#[test]
fn the_printed_configuration_reads_back() {
    let given = "--port-base=9000 --data-dir=/x --test-clock";
    let printed = suite(given).expect("settings").to_redacted_toml().expect("TOML");
    let again = suite(&printed).expect("reads back").to_redacted_toml();
    assert_eq!(again.expect("TOML"), printed);
}
