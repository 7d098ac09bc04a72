//! The commands of operators as programs: what their `--help` says, what they print, and with which code they end.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::panic, reason = "a test fails by panicking, and so do its helpers")]

#[path = "support/programs.rs"]
mod programs;

use std::{path::Path, time::Duration};

use bursar_id::{AuditId, OrganizationId, ServiceAccountId, SubscriptionId, UserId};
use bursar_runtime::Service;
use bursar_testkit::{Program, id};
use bursar_time::{Clock, Span};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// How long a command may take.
const SOON: Duration = Duration::from_secs(30);

/// A program with one service, and the data of a deployment in a directory of the test's own.
fn of(service: Service, data: &Path) -> Program {
    programs::build();
    Program::named(service.program()).args(["--mode", "development", "--data-dir"]).arg(data)
}

/// Runs a command, which must end with this code and have said all of this.
#[track_caller]
fn ends(service: Service, data: &Path, arguments: &[&str], code: i32, pieces: &[&str]) {
    let (status, log) = of(service, data).args(arguments.iter().copied()).run(SOON);
    assert_eq!(status.code(), Some(code), "{service} {arguments:?}:\n{log}");
    for piece in pieces {
        assert!(log.contains(piece), "{service} {arguments:?}: no {piece:?} in:\n{log}");
    }
    assert!(!log.contains("panicked"), "{service} {arguments:?}:\n{log}");
}

async fn store(data: &Path, service: Service) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(data.join(format!("{service}.db")));
    SqliteConnection::connect_with(&options).await.expect("opens")
}

#[test]
fn every_command_of_an_operator_says_what_it_is_for() {
    let dir = tempfile::tempdir().expect("a directory");
    for service in Service::ALL {
        let command = format!("{} clock", service.program());
        ends(service, dir.path(), &["clock", "--help"], 0, &[&command, "--accept", "This machine's clock is right"]);
        ends(
            service,
            dir.path(),
            &["--help"],
            0,
            &["clock", "what this machine's clock, the database's and the store say"],
        );
    }
    for service in Service::ALL {
        let pieces = ["--ownerless", "--owner <ID>", "--actor <ID>", "--from <TIME>", "--to <TIME>", "--after <ID>"];
        ends(service, dir.path(), &["audit", "--help"], 0, &pieces);
    }
    let cases: [(Service, &[&str], &[&str]); 5] = [
        (Service::Billing, &["renewals", "--help"], &["list", "resume", "more than one period behind"]),
        (Service::Billing, &["renewals", "list", "--help"], &["which subscriptions wait, since when"]),
        (Service::Billing, &["renewals", "resume", "--help"], &["--owner <ID>", "--all", "the time has really passed"]),
        (Service::Organization, &["ownerless", "--help"], &["list", "mend", "there should be none"]),
        (Service::Organization, &["ownerless", "mend", "--help"], &["<ORGANIZATION>", "org_…", "<USER>", "usr_…"]),
    ];
    for (service, arguments, pieces) in cases {
        ends(service, dir.path(), arguments, 0, pieces);
    }
}

#[test]
fn a_command_that_is_written_wrongly_ends_with_2_and_says_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let (organization, user): (OrganizationId, UserId) = (id(1), id(1));
    let (organization, user) = (organization.to_string(), user.to_string());
    let cases: [(Service, &[&str], &str); 10] = [
        (Service::Billing, &["renewals"], "Usage: bursar-billing renewals"),
        (Service::Billing, &["renewals", "resume"], "required arguments were not provided"),
        (Service::Billing, &["renewals", "resume", "--owner", "nobody"], "invalid value 'nobody' for '--owner <ID>'"),
        (Service::Billing, &["renewals", "resume", "--all", "--owner", &user], "cannot be used with"),
        (Service::Billing, &["renewals", "list", "--all"], "unexpected argument '--all'"),
        (Service::Identity, &["clock", "--accept=yes"], "unexpected value 'yes' for '--accept'"),
        (Service::Organization, &["ownerless"], "Usage: bursar-organization ownerless"),
        (Service::Organization, &["ownerless", "mend", &organization], "required arguments were not provided"),
        (Service::Organization, &["ownerless", "mend", &user, &organization], "for '<ORGANIZATION>'"),
        (Service::Organization, &["ownerless", "mend", &organization, "ada"], "invalid value 'ada' for '<USER>'"),
    ];
    for (service, arguments, piece) in cases {
        ends(service, dir.path(), arguments, 2, &[piece]);
    }
    assert!(dir.path().read_dir().expect("the directory").next().is_none(), "nothing was touched");
}

#[test]
fn the_clock_is_shown_and_accepted_and_a_store_that_was_never_migrated_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    for service in Service::ALL {
        ends(service, dir.path(), &["clock"], 1, &["error: ", "run its `migrate` command"]);
        ends(service, dir.path(), &["migrate"], 0, &[]);
        let shown = ["this machine's clock shows 20", "the store has been used until "];
        ends(service, dir.path(), &["clock"], 0, &shown);
        ends(service, dir.path(), &["clock", "--accept"], 0, &[shown[0], shown[1], "now it counts as used until 20"]);
    }
}

/// What an operator does to the deployment belongs to no organization, and what a person does to none either.
#[tokio::test]
async fn the_audit_log_is_read_whole_also_what_belongs_to_no_organization() {
    const INSERT: &str = "INSERT INTO audit (id, at, owner, actor, method, target, outcome) \
        VALUES ($1, $2, $3, $4, 'bursar.identity.v1.UserService/SuspendUser', $5, 'DONE')";
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    let (ada, operator): (UserId, ServiceAccountId) = (id(1), ServiceAccountId::OPERATOR);
    let (ada, operator, now) = (ada.to_string(), operator.to_string(), Clock::system().now());
    let row = |n: u8| AuditId::from_parts(now.as_millis(), [n; 10]).to_string();
    let (first, second, third) = (row(1), row(2), row(3));
    for service in Service::ALL {
        ends(service, data, &["audit"], 1, &["error: ", "run its `migrate` command"]);
        ends(service, data, &["migrate"], 0, &[]);
        ends(service, data, &["audit"], 0, &["0 rows"]);
        let mut opened = store(data, service).await;
        for (id, owner, actor) in [(&first, None, &operator), (&second, Some(&ada), &ada), (&third, None, &operator)] {
            let row = sqlx::query(INSERT).bind(id).bind(now.as_micros()).bind(owner).bind(actor).bind(&ada);
            row.execute(&mut opened).await.expect("a row");
        }
        opened.close().await.expect("closes");

        let line = |id: &str| format!("\"id\":\"{id}\"");
        ends(service, data, &["audit"], 0, &[&line(&first), &line(&second), &line(&third), "3 rows\n"]);
        let more = format!("1 rows; there may be more: --after {first}");
        ends(service, data, &["audit", "--ownerless", "--limit", "1"], 0, &[&line(&first), &more]);
        ends(service, data, &["audit", "--ownerless", "--after", &first], 0, &[&line(&third), "1 rows\n"]);
        ends(service, data, &["audit", "--owner", &ada], 0, &[&line(&second), "1 rows\n"]);
        ends(service, data, &["audit", "--actor", &operator], 0, &[&line(&first), &line(&third), "2 rows\n"]);
        ends(service, data, &["audit", "--to", "2020-01-01T00:00:00Z"], 0, &["0 rows\n"]);
        ends(service, data, &["audit", "--owner", &ada, "--ownerless"], 2, &["cannot be used with"]);
    }
}

#[tokio::test]
async fn renewals_that_are_held_are_listed_and_resumed() {
    const INSERT: &str = "INSERT INTO subscriptions (owner, id, plan_id, state, credits, seats, currency, price, \
        payment_method, payment_reference, started_at, period_number, period_start, period_end) \
        VALUES ($1, $2, 'business', 'ACTIVE', 0, 5, 'EUR', 0, 'sandbox_ok', '', $3, 0, $3, $4)";
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    ends(Service::Billing, data, &["renewals", "list"], 1, &["error: ", "run its `migrate` command"]);
    ends(Service::Billing, data, &["migrate"], 0, &[]);
    ends(Service::Billing, data, &["renewals", "list"], 0, &["0 subscriptions are more than one period behind at 20"]);
    ends(Service::Billing, data, &["renewals", "resume", "--all"], 0, &["0 subscriptions will be brought up to 20"]);

    let (late, other): (UserId, UserId) = (id(1), id(2));
    let subscription: SubscriptionId = id(3);
    let begun = Clock::system().now().saturating_sub(Span::from_days(100));
    let mut billing = store(data, Service::Billing).await;
    let row = sqlx::query(INSERT).bind(late.to_string()).bind(subscription.to_string());
    let row = row.bind(begun.as_micros()).bind(begun.saturating_add(Span::from_days(30)).as_micros());
    row.execute(&mut billing).await.expect("a subscription");
    billing.close().await.expect("closes");

    let (late, other, waits) = (late.to_string(), other.to_string(), format!("{late} {subscription}: due since 20"));
    ends(Service::Billing, data, &["renewals", "list"], 0, &[&waits, " periods\n", "1 subscriptions are"]);
    let nobody = format!("error: {other} has no subscription that is due");
    ends(Service::Billing, data, &["renewals", "resume", "--owner", &other], 1, &[&nobody]);
    ends(Service::Billing, data, &["renewals", "list"], 0, &["1 subscriptions are"]);
    let resumed = "1 subscriptions will be brought up to 20";
    ends(Service::Billing, data, &["renewals", "resume", "--owner", &late], 0, &[resumed]);
    ends(Service::Billing, data, &["renewals", "list"], 0, &["0 subscriptions are"]);
    ends(Service::Billing, data, &["renewals", "resume", "--all"], 0, &[resumed]);
}

#[tokio::test]
async fn ownerless_organizations_are_listed_and_mended() {
    const SEAT: &str = "INSERT INTO memberships (organization_id, user_id, role, state, email, email_key, version, \
        joined_at, changed_at) VALUES ($1, $2, $3, 'ACTIVE', '', '', 1, 1, 1)";
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    ends(Service::Organization, data, &["ownerless", "list"], 1, &["error: ", "run its `migrate` command"]);
    ends(Service::Organization, data, &["migrate"], 0, &[]);
    ends(Service::Organization, data, &["ownerless", "list"], 0, &["0 ownerless organizations"]);

    let (acme, gone, member): (OrganizationId, UserId, UserId) = (id(1), id(2), id(3));
    let (acme, gone, member) = (acme.to_string(), gone.to_string(), member.to_string());
    let mut organization = store(data, Service::Organization).await;
    let mut tx = organization.begin().await.expect("a transaction");
    for (user, deleted_at) in [(&gone, Some(1)), (&member, None)] {
        let row = sqlx::query("INSERT INTO users (id, display_name, deleted_at) VALUES ($1, '', $2)");
        row.bind(user).bind(deleted_at).execute(&mut *tx).await.expect("a user");
    }
    let row = sqlx::query(
        "INSERT INTO organizations (id, name, slug, owner_user_id, version, created_at, updated_at) \
         VALUES ($1, 'Acme', 'acme', $2, 1, 1, 1)",
    );
    row.bind(&acme).bind(&gone).execute(&mut *tx).await.expect("an organization");
    let row = sqlx::query("INSERT INTO slugs (slug, organization_id, taken_at) VALUES ('acme', $1, 1)");
    row.bind(&acme).execute(&mut *tx).await.expect("a slug");
    for (user, role) in [(&gone, "OWNER"), (&member, "MEMBER")] {
        sqlx::query(SEAT).bind(&acme).bind(user).bind(role).execute(&mut *tx).await.expect("a member");
    }
    tx.commit().await.expect("set");
    organization.close().await.expect("closes");

    let (other, stranger): (OrganizationId, UserId) = (id(4), id(5));
    let (other, stranger) = (other.to_string(), stranger.to_string());
    let found = format!("{acme}: its owner {gone} deleted the account");
    let found = [found.as_str(), "1 ownerless organizations"];
    ends(Service::Organization, data, &["ownerless", "list"], 0, &found);
    ends(Service::Organization, data, &["ownerless", "mend", &other, &member], 1, &["error: ", "organization"]);
    ends(Service::Organization, data, &["ownerless", "mend", &acme, &stranger], 1, &["error: no such member"]);
    ends(Service::Organization, data, &["ownerless", "mend", &acme, &gone], 1, &["error: "]);
    ends(Service::Organization, data, &["ownerless", "list"], 0, &found);
    ends(
        Service::Organization,
        data,
        &["ownerless", "mend", &acme, &member],
        0,
        &[&format!("{member} owns {acme} now")],
    );
    ends(Service::Organization, data, &["ownerless", "list"], 0, &["0 ownerless organizations"]);
    ends(Service::Organization, data, &["ownerless", "mend", &acme, &member], 1, &["error: has an owner"]);
}
