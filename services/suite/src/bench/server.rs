//! What is under load: a second process of this same program with a data directory of its own, replicas of billing
//! beside it, or a deployment that runs already.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use bursar_db::{Engine, StoreUrl};
use bursar_runtime::Service;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::target::Target;

/// How long a suite may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that the callers share.
const CHANNELS: usize = 8;
/// The kernel's clock ticks per second, in which `/proc` counts CPU time.
const TICKS: u64 = 100;

/// What is under load.
pub(crate) struct Server {
    target: Target,
    /// Where its mail and its operator's file are.
    data: PathBuf,
    /// Addresses of billing's replicas, the target's own first.
    billing: Vec<String>,
    /// The processes that were started for this; none where a running deployment is loaded.
    own: Option<Own>,
}

struct Own {
    suite: Child,
    /// The first of the suite's ports, and whether its billing combines requests.
    base: u16,
    combine: bool,
    /// The most resident memory that a suite had which was started before this one, in bytes.
    peak_before: u64,
    /// Further billing services on the same store.
    replicas: Vec<Child>,
    /// The billing store that was asked for, and what it is kept in.
    store: Option<String>,
    engine: Engine,
    _data: TempDir,
}

/// What the server's process has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// CPU time in user and kernel mode.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu) }
    }
}

impl Server {
    /// Starts a suite whose billing keeps its data in `store` and combines requests or not.
    pub(crate) async fn start(store: Option<&str>, combine: bool) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let base = free_ports()?;
        let suite = launch(data.path(), base, store, combine, None).await?;
        let engine = store.map(str::parse::<StoreUrl>).transpose()?.map_or(Engine::Sqlite, |url| url.engine());
        let path = data.path().to_owned();
        let (replicas, store) = (Vec::new(), store.map(str::to_owned));
        let own = Own { suite, base, combine, peak_before: 0, replicas, store, engine, _data: data };
        Ok(Self { own: Some(own), ..Self::at(Target::local(base), path) })
    }

    /// A deployment that runs already, whose operator's file and mail are in `data`.
    pub(crate) fn at(target: Target, data: PathBuf) -> Self {
        Self { billing: vec![target.url(Service::Billing)], target, data, own: None }
    }

    /// What the figures are of, for the report's head.
    pub(crate) fn describe(&self) -> String {
        match &self.own {
            None => format!("the deployment at {}", self.target),
            Some(own) => {
                let cores = std::thread::available_parallelism().map_or(0, usize::from);
                format!("{}, {cores} cores shared by client, server and database; durable commits", own.engine)
            }
        }
    }

    /// Whether it was started for this.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Whether [`Self::add_replica`] can work: a store that several processes may share, and processes of one's own.
    pub(crate) fn can_have_replicas(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.engine == Engine::Postgres)
    }

    /// Starts one more billing service on the same store, beside the suite's: the program `bursar-billing`, which must
    /// have been built beside this one.
    pub(crate) async fn add_replica(&mut self) -> anyhow::Result<()> {
        let own = self.own.as_mut().context("a running deployment has the replicas it has")?;
        let store = own.store.as_ref().context("replicas need a store of their own")?;
        let (program, base) = (std::env::current_exe()?.with_file_name(Service::Billing.program()), free_ports()?);
        let mut command = Command::new(&program);
        command.args(["serve", "--mode", "development", "--log-filter", "warn", "--data-dir"]).arg(&self.data);
        command.args(["--port-base", &base.to_string()]).env(Service::Billing.store_variable(), store);
        for peer in [Service::Identity, Service::Organization] {
            command.arg(format!("--{}", peer.url_key().replace('_', "-"))).arg(self.target.url(peer));
        }
        let replica = command.stdout(Stdio::null()).kill_on_drop(true).spawn();
        let mut replica = replica.with_context(|| format!("cannot start {}", program.display()))?;
        wait_until_ready(&mut replica, base).await?;
        own.replicas.push(replica);
        self.billing.push(Target::local(base).url(Service::Billing));
        Ok(())
    }

    /// Stops the suite and starts it again on the same data, with so many places in billing's queue, or as many as it has by
    /// itself. Gives whether it did: a running deployment is left as it is.
    pub(crate) async fn restart(&mut self, places: Option<usize>) -> anyhow::Result<bool> {
        self.stop_replicas().await?;
        let peak_before = self.peak_memory()?;
        let Some(own) = &mut self.own else { return Ok(false) };
        stop(&mut own.suite).await?;
        own.peak_before = peak_before;
        own.suite = launch(&self.data, own.base, own.store.as_deref(), own.combine, places).await?;
        Ok(true)
    }

    /// Where its mail and its operator's file are.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// A connection to one of the services.
    pub(crate) async fn connect(&self, service: Service) -> anyhow::Result<Channel> {
        connect(self.target.url(service)).await
    }

    /// Connections to billing for callers to share, in turn to each of its replicas.
    pub(crate) async fn billing(&self) -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::with_capacity(CHANNELS);
        for url in self.billing.iter().cycle().take(CHANNELS) {
            channels.push(connect(url.clone()).await?);
        }
        Ok(channels)
    }

    /// CPU time used so far by all processes of its own; zero where a running deployment is loaded.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let mut cpu = Duration::ZERO;
        for process in self.processes() {
            let stat = proc(process, "stat")?;
            // The second field is the program's name in parentheses; utime and stime are the 14th and 15th.
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
            cpu += Duration::from_millis(ticks * 1_000 / TICKS);
        }
        Ok(Usage { cpu })
    }

    /// The suite's resident memory in bytes; zero where a running deployment is loaded.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.memory_field("VmRSS:")
    }

    /// The most resident memory that the suite ever had, in bytes; zero where a running deployment is loaded.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        let before = self.own.as_ref().map_or(0, |own| own.peak_before);
        Ok(self.memory_field("VmHWM:")?.max(before))
    }

    fn memory_field(&self, name: &str) -> anyhow::Result<u64> {
        let Some(own) = &self.own else {
            return Ok(0);
        };
        let status = proc(&own.suite, "status")?;
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        Ok(line.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0) * 1_024)
    }

    fn processes(&self) -> impl Iterator<Item = &Child> {
        self.own.iter().flat_map(|own| std::iter::once(&own.suite).chain(&own.replicas))
    }

    /// Stops the replicas that were added, as an operator would.
    pub(crate) async fn stop_replicas(&mut self) -> anyhow::Result<()> {
        self.billing.truncate(1);
        for mut replica in self.own.iter_mut().flat_map(|own| own.replicas.drain(..)) {
            stop(&mut replica).await?;
        }
        Ok(())
    }

    /// Stops every process that was started for this and waits for it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_replicas().await?;
        match self.own {
            Some(mut own) => stop(&mut own.suite).await,
            None => Ok(()),
        }
    }
}

async fn connect(url: String) -> anyhow::Result<Channel> {
    let connected = Endpoint::new(url.clone())?.tcp_nodelay(true).connect().await;
    connected.with_context(|| format!("cannot connect to {url}"))
}

/// Starts a suite and waits until it is ready.
async fn launch(
    data: &Path,
    base: u16,
    store: Option<&str>,
    combine: bool,
    places: Option<usize>,
) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--data-dir").arg(data).args(["--port-base", &base.to_string()]);
    command.args(["--log-filter", "warn"]).env("BURSAR_BILLING__COMBINE", combine.to_string());
    if let Some(places) = places {
        command.env("BURSAR_BILLING__QUEUE_MAX", places.to_string());
    }
    if let Some(store) = store {
        command.arg("--billing-store").arg(store);
    }
    let mut suite = command.stdout(Stdio::null()).kill_on_drop(true).spawn().context("cannot start a suite")?;
    wait_until_ready(&mut suite, base).await?;
    Ok(suite)
}

fn proc(process: &Child, file: &str) -> anyhow::Result<String> {
    let pid = process.id().context("a server has ended by itself")?;
    Ok(std::fs::read_to_string(format!("/proc/{pid}/{file}"))?)
}

async fn stop(process: &mut Child) -> anyhow::Result<()> {
    let pid = process.id().context("a server has ended by itself")?;
    Command::new("kill").arg(pid.to_string()).status().await?;
    let status = tokio::time::timeout(PATIENCE, process.wait()).await.context("a server does not stop")??;
    anyhow::ensure!(status.success(), "a server ended with {status}");
    Ok(())
}

async fn wait_until_ready(process: &mut Child, base: u16) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(status) = process.try_wait()? {
            anyhow::bail!("a server ended with {status} before it was ready");
        }
        if is_ready(base).await.unwrap_or(false) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("a server was not ready within {} seconds", PATIENCE.as_secs())
}

async fn is_ready(base: u16) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, base)).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// Four free ports in a row, the first of which is the base.
fn free_ports() -> anyhow::Result<u16> {
    let free = |port: u16| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok();
    (20_000..60_000)
        .step_by(10)
        .find(|base| (0..4).all(|offset| free(base + offset)))
        .context("there are no four free ports in a row")
}
