//! What keeps a single service's program from starting: each a clear error on standard error, and nothing touched.
//! The suite's own program is tried in `tests/programs.rs`.

use std::{fs, net::TcpListener, time::Duration};

use bursar_runtime::Service;
use bursar_testkit::{Ports, Program, postgres};
use sqlx::{Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::programs;

/// How long a program may take that cannot start.
const SOON: Duration = Duration::from_secs(30);

fn program(service: Service, ports: &Ports) -> Program {
    programs::build();
    Program::named(service.program()).args(["--mode", "development", "--port-base"]).arg(ports.base().to_string())
}

#[test]
fn a_mistake_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, wrong_key) = (dir.path().join("file"), dir.path().join("wrong.toml"));
    fs::write(&file, "").expect("written");
    fs::write(&wrong_key, "[limits]\ndeadlines = \"1s\"\n").expect("written");
    let (wrong_key, below_a_file) = (wrong_key.display().to_string(), file.join("data").display().to_string());
    let data = dir.path().join("data");
    for service in Service::ALL {
        let ports = Ports::free();
        let store = service.store_variable();
        // Arguments, exit code, what is said.
        let cases: [(&[&str], i32, &[&str]); 4] = [
            (&["--config", &wrong_key], 2, &["deadlines", &wrong_key]),
            (&["--data-dir", &below_a_file], 1, &["--data-dir", &below_a_file]),
            (&["--mode", "production", "--test-clock"], 2, &["test_clock"]),
            (&["verify-everything"], 2, &["verify-everything"]),
        ];
        for (arguments, code, said) in cases {
            // --mode cannot be given twice.
            let program = match arguments.first() {
                Some(&"--mode") => Program::named(service.program()),
                _ => program(service, &ports),
            };
            let (status, log) = program.args(arguments.iter().copied()).run(SOON);
            assert_eq!(status.code(), Some(code), "bursar-{service} {arguments:?}:\n{log}");
            for piece in said {
                assert!(log.contains(piece), "bursar-{service} {arguments:?}: no {piece:?} in:\n{log}");
            }
        }
        let (status, log) = program(service, &ports).env(&store, "mysql://here").run(SOON);
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains(&store) || log.contains("_store"), "{log}");

        let _squatter = TcpListener::bind(("127.0.0.1", ports.nth(service.port_offset()))).expect("a free port");
        let (status, log) = program(service, &ports).arg("--data-dir").arg(&data).run(SOON);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("in use") && log.contains(&ports.nth(service.port_offset()).to_string()), "{log}");
        assert!(!data.exists(), "bursar-{service} could not start and has made its data directory");
    }
}

#[tokio::test]
async fn a_postgres_database_newer_than_the_program_is_refused_untouched() {
    for service in Service::ALL {
        let Some(store) = postgres::database().await else {
            return;
        };
        let dir = tempfile::tempdir().expect("a directory");
        let variable = service.store_variable();
        let run = async |command: &str| {
            let program =
                program(service, &Ports::free()).env(&variable, store.url()).arg("--data-dir").arg(dir.path());
            let program = program.arg(command);
            tokio::task::spawn_blocking(move || program.run(SOON)).await.expect("it ends")
        };
        let (status, log) = run("migrate").await;
        assert!(status.success(), "{log}");
        let mut connection = PgConnection::connect(store.url()).await.expect("opens");
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, '', 0)",
        )
        .execute(&mut connection)
        .await
        .expect("marked");
        for command in ["serve", "migrate"] {
            let (status, log) = run(command).await;
            assert_eq!(status.code(), Some(1), "bursar-{service} {command}:\n{log}");
            assert!(log.contains(service.name()) && log.contains("newer"), "bursar-{service} {command}:\n{log}");
        }
        let count: (i64,) = sqlx::query_as("SELECT count(*) FROM _sqlx_migrations WHERE version = 9999")
            .fetch_one(&mut connection)
            .await
            .expect("counted");
        assert_eq!(count.0, 1, "bursar-{service} has changed what it does not know");
    }
}

#[tokio::test]
async fn dead_letters_are_listed_and_tried_again() {
    const DEAD: &str = "INSERT INTO jobs (id, kind, sealed, attempts, lease, leased, asked, due_at, enqueued_at, failure, \
        dead_at) VALUES ('job_0000000000000000000000000q', 'mail', x'00', 46, 46, 0, 1, 0, 0, 'the server answered 550', 1)";
    let dir = tempfile::tempdir().expect("a directory");
    let run = async |arguments: &[&str]| {
        let program = program(Service::Identity, &Ports::free()).arg("--data-dir").arg(dir.path()).args(arguments);
        tokio::task::spawn_blocking(move || program.run(SOON)).await.expect("it ends")
    };
    let (status, log) = run(&["migrate"]).await;
    assert!(status.success(), "{log}");
    let options = SqliteConnectOptions::new().filename(dir.path().join("identity.db"));
    let mut store = SqliteConnection::connect_with(&options).await.expect("opens");
    sqlx::query(DEAD).execute(&mut store).await.expect("inserted");
    let retry = ["jobs", "--retry", "job_0000000000000000000000000q"];
    // Arguments, exit code, what is printed.
    let cases: [(&[&str], i32, &str); 5] = [
        (&["jobs"], 0, "after 46 attempts: the server answered 550\n1 dead letters"),
        (&["jobs", "--retry", "usr_0000000000000000000000000q"], 2, "job_"),
        (&retry, 0, "will be tried again"),
        (&retry, 1, "is no dead letter"),
        (&["jobs"], 0, "0 dead letters"),
    ];
    for (arguments, code, said) in cases {
        let (status, log) = run(arguments).await;
        assert_eq!(status.code(), Some(code), "{arguments:?}:\n{log}");
        assert!(log.contains(said), "{arguments:?}: no {said:?} in:\n{log}");
    }
}
