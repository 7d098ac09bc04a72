//! Starts Bursar's programs, watches them and stops them, gently or not.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::reaper;

/// How long a program may take to be ready; a debug build on a busy machine is slow.
const READY: Duration = Duration::from_mins(1);

/// A program to start, with its arguments and environment.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// A program by its path, for example `env!("CARGO_BIN_EXE_bursar")`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// A program of this workspace by its name, from the directory that the test itself was built into.
    ///
    /// # Panics
    /// When it has not been built: `cargo test --workspace` builds it, `cargo test -p` of another package does not.
    pub fn named(name: &str) -> Self {
        let test = std::env::current_exe().expect("the path of this test's program");
        let built = test.ancestors().skip(1).map(|folder| folder.join(name)).find(|path| path.is_file());
        let hint = format!("{name} is not built: run `cargo build -p {name}` or `cargo test --workspace`");
        Self::new(built.unwrap_or_else(|| panic!("{hint}")))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it. What it prints goes to a file that [`Process::log`] reads.
    pub fn spawn(&self) -> Process {
        let output = reaper::directory("log-");
        let log = output.path().join("log");
        let file = File::create(&log).expect("the log file");
        let mut command = Command::new(&self.path);
        // The settings of the person who runs the tests must not matter.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BURSAR_") {
                command.env_remove(name);
            }
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a second handle of the log")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", self.path.display()));
        reaper::watch(child.id());
        Process { name: self.name(), child, log, _output: output }
    }

    /// Runs it to its end, which must come within `limit`: exit status and everything it printed.
    pub fn run(&self, limit: Duration) -> (ExitStatus, String) {
        let mut process = self.spawn();
        let status = process.wait(limit);
        (status, process.log())
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A running program. Dropping it kills it; so does the end of the test process, however that ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    _output: tempfile::TempDir,
}

impl Process {
    /// Waits until `/readyz` on the operations port answers 200, and says how long that took.
    ///
    /// # Panics
    /// When the program ends or a minute passes, with its log.
    pub async fn ready(&mut self, operations_port: u16) -> Duration {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                panic!("{} ended with {status} instead of getting ready:\n{}", self.name, self.log());
            }
            let answer = get(operations_port, "/readyz");
            if answer.as_ref().is_ok_and(|(code, _)| *code == 200) {
                return start.elapsed();
            }
            assert!(start.elapsed() < READY, "{} is not ready: {answer:?}\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Asks it to stop and waits for its end, which must come within `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.terminate();
        self.wait(limit)
    }

    /// Kills it on the spot (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("a killed program ends");
        reaper::forget(self.child.id());
    }

    /// Sends a signal by its name, for example `INT`.
    pub fn signal(&self, name: &str) {
        // std has no safe call for this.
        let script = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("/bin/sh").arg("-c").arg(&script).status().expect("a shell");
        assert!(sent.success(), "{script} failed for {}", self.name);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`, with its log.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(start.elapsed() < limit, "{} still runs after {limit:?}:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its exit status, once it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("the state of a child process")?;
        reaper::forget(self.child.id());
        Some(status)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log once `piece` is in it: a program that is ready says so a moment later.
    ///
    /// # Panics
    /// When it has not printed it within `limit`, with its log.
    pub async fn says(&self, piece: &str, limit: Duration) -> String {
        let start = Instant::now();
        loop {
            let log = self.log();
            if log.contains(piece) {
                return log;
            }
            assert!(start.elapsed() < limit, "{} has not said {piece:?} after {limit:?}:\n{log}", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything it has printed, standard output and standard error in the order written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The memory that is its own in KiB: what it has allocated, without the program's code, which is shared and, in a debug
    /// build, most of what is resident. `None` where the system does not say.
    pub fn memory_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        };
        Some(kib("RssAnon:")? + kib("RssShmem:")?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        reaper::forget(self.child.id());
        if std::thread::panicking() {
            // Printed with the failing test's own output.
            #[allow(clippy::print_stderr, reason = "a failure's output")]
            {
                eprintln!("--- log of {} ---\n{}", self.name, self.log());
            }
        }
    }
}

/// One HTTP request to a port on loopback: the status code and the body.
pub fn get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    ask("GET", port, path, Duration::from_secs(5))
}

/// The same with another method, and no body; the server may let wait for so long.
pub(crate) fn ask(method: &str, port: u16, path: &str, patience: Duration) -> std::io::Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(patience))?;
    // In one piece, so that a server that reads once sees all of it.
    let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    let code = code.ok_or_else(|| std::io::Error::other(format!("no HTTP answer: {answer}")))?;
    Ok((code, body))
}

/// The operator's service account, as a program in development mode writes it at its first start.
#[derive(Clone)]
pub struct Operator {
    /// What `IssueServiceToken` takes as `client_id`.
    pub client_id: String,
    /// What it takes as `client_secret`.
    pub client_secret: String,
}

impl Operator {
    /// Reads `DATA_DIR/operator.json`.
    pub fn of(data_dir: &Path) -> Self {
        let path = data_dir.join("operator.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let value: serde_json::Value = serde_json::from_str(&text).expect("operator.json is JSON");
        let field =
            |name: &str| value[name].as_str().unwrap_or_else(|| panic!("operator.json has no {name}")).to_owned();
        Self { client_id: field("client_id"), client_secret: field("client_secret") }
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
