//! One private server: its files, its start and its certain end.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

use super::programs::Programs;
use crate::engines::TestDb;

/// Unix socket paths end at 107 bytes, so the server's directory is not under a long `TMPDIR`.
const PARENT: &str = "/tmp";
const USER: &str = "bursar";
const START_LIMIT: Duration = Duration::from_mins(1);

/// Runs the server and outlives the test process by as long as it takes to stop it: the read ends when the process does,
/// however it does, because the kernel then closes the pipe.
const WATCHDOG: &str = r#"
postgres=$1; directory=$2; shift 2
"$postgres" -D "$directory/data" -k "$directory" "$@" >"$directory/log" 2>&1 </dev/null &
server=$!
read -r _
kill -QUIT "$server" 2>/dev/null
wait "$server" 2>/dev/null
cd /
rm -rf "$directory"
"#;

/// Whether a commit is on the disk before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `fsync` off: right for every test that does not crash the database itself.
    Fast,
    /// As in production.
    Durable,
}

/// A running private PostgreSQL; dropping it stops the server and removes its files.
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    watchdog: Child,
    databases: AtomicU32,
}

impl Server {
    pub(super) fn start(programs: &Programs, durability: Durability) -> io::Result<Self> {
        // A template that another process is just removing, or that a cleaner of /tmp has holed, is not worth
        // failing for: the second try makes the files anew.
        Self::try_start(programs, durability, true).or_else(|_| Self::try_start(programs, durability, false))
    }

    fn try_start(programs: &Programs, durability: Durability, cached: bool) -> io::Result<Self> {
        let directory = directory(programs)?;
        if cached {
            let template = template(programs)?;
            copy(programs, &template, &directory.join("data"))?;
        } else {
            initdb(programs, &directory.join("data"))?;
        }
        let mut command = programs.command("/bin/sh", &directory);
        command.arg("-c").arg(WATCHDOG).arg("watchdog").arg(programs.path("postgres")).arg(&directory);
        for setting in settings(durability) {
            command.arg("-c").arg(setting);
        }
        // A group of its own: Ctrl-C reaches the tests, and the server stops after them.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let watchdog = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { directory, watchdog, databases: AtomicU32::new(0) };
        server.await_ready()?;
        Ok(server)
    }

    /// The server says in its pid file when it takes connections.
    fn await_ready(&self) -> io::Result<()> {
        let pid_file = self.directory.join("data/postmaster.pid");
        let start = Instant::now();
        loop {
            let status = fs::read_to_string(&pid_file).unwrap_or_default();
            if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            if log.contains("FATAL") || start.elapsed() > START_LIMIT {
                return Err(io::Error::other(format!("not ready after {:?}; its log: {log}", start.elapsed())));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A fresh, empty database.
    pub async fn create_database(&self) -> TestDb {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        let mut connection = self.connect().await;
        sqlx::query(AssertSqlSafe(create))
            .execute(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("cannot create the database {name}: {error}\n{}", self.log()));
        connection.close().await.expect("the administrator's connection closes");
        TestDb::postgres(format!("postgres://{USER}@localhost/{name}?host={}", self.directory.display()))
    }

    /// Gives a directory to the server's user.
    pub fn own(&self, directory: &Path) {
        let owner = fs::metadata(self.directory.join("data")).expect("the server's files");
        let (uid, gid) = (Some(owner.uid()), Some(owner.gid()));
        std::os::unix::fs::chown(directory, uid, gid).expect("the server's user is another one only for root");
    }

    /// A database whose tables are in this directory, which must be empty and the server's own.
    pub async fn create_database_in(&self, directory: &Path) -> TestDb {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let mut connection = self.connect().await;
        for statement in [
            format!("CREATE TABLESPACE space_{number} LOCATION '{}'", directory.display()),
            format!("CREATE DATABASE test_{number} TEMPLATE template0 TABLESPACE space_{number}"),
        ] {
            let made = sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await;
            made.unwrap_or_else(|error| {
                panic!("cannot create a database in a place of its own: {error}\n{}", self.log())
            });
        }
        connection.close().await.expect("the administrator's connection closes");
        TestDb::postgres(format!("postgres://{USER}@localhost/test_{number}?host={}", self.directory.display()))
    }

    async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::new().socket(&self.directory).username(USER).database("postgres");
        PgConnection::connect_with(&options)
            .await
            .unwrap_or_else(|error| panic!("cannot connect to the private PostgreSQL: {error}\n{}", self.log()))
    }

    /// What the server has logged so far, for a failure's output.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

fn settings(durability: Durability) -> impl Iterator<Item = &'static str> {
    let common = [
        "listen_addresses=",
        "max_connections=300",
        "max_wal_size=1GB",
        "autovacuum_naptime=10min",
        "log_min_messages=warning",
        "log_min_error_statement=panic",
    ];
    let fast = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
    common.into_iter().chain(fast.into_iter().filter(move |_| durability == Durability::Fast))
}

/// A new directory that belongs to the server's user.
fn directory(programs: &Programs) -> io::Result<PathBuf> {
    let directory = tempfile::Builder::new().prefix("bursar-pg-").tempdir_in(PARENT)?;
    programs.give(directory.path())?;
    Ok(directory.keep())
}

/// The files of a new server, made once per version and user on this machine: `initdb` takes a second, a copy does not.
fn template(programs: &Programs) -> io::Result<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let template = Path::new(PARENT).join(format!("bursar-pg-template-{}", programs.key()));
    // /tmp is everybody's: files that somebody else has put there are not used.
    if fs::symlink_metadata(&template).is_ok_and(|found| found.is_dir() && found.uid() == programs.owner()) {
        return Ok(template);
    }
    let directory = directory(programs)?;
    let data = directory.join("data");
    initdb(programs, &data)?;
    // Of several processes that get here together the first wins; the others use its files.
    let renamed = fs::rename(&data, &template);
    fs::remove_dir_all(&directory)?;
    if renamed.is_err() && !template.is_dir() { renamed.map(|()| template) } else { Ok(template) }
}

fn initdb(programs: &Programs, data: &Path) -> io::Result<()> {
    let mut command = programs.command(programs.path("initdb"), data.parent().unwrap_or(Path::new("/")));
    command.arg("-D").arg(data).args(["--username", USER, "--auth=trust", "--encoding=UTF8", "--no-sync"]);
    if programs.major() >= 15 {
        // A language's sort order, as most installations have: a query that forgets COLLATE "C" shows here.
        command.args(["--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]);
    } else {
        command.arg("--locale=C");
    }
    run(&mut command)
}

fn copy(programs: &Programs, from: &Path, to: &Path) -> io::Result<()> {
    let mut command = programs.command("/bin/cp", to.parent().unwrap_or(Path::new("/")));
    run(command.arg("-R").arg("-p").arg(from).arg(to))
}

fn run(command: &mut std::process::Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?} failed: {said}")))
}
