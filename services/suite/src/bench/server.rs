//! The suite under load: a second process of this same program, with a data directory of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use bursar_db::{Engine, StoreUrl};
use bursar_proto::identity::v1 as identity;
use bursar_proto::identity::v1::service_account_service_client::ServiceAccountServiceClient;
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

/// A running suite.
pub(crate) struct Server {
    process: Child,
    data: TempDir,
    base: u16,
    engine: Engine,
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
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--data-dir").arg(data.path()).args(["--port-base", &base.to_string()]);
        command.args(["--log-filter", "warn"]).env("BURSAR_BILLING__COMBINE", combine.to_string());
        if let Some(store) = store {
            command.arg("--billing-store").arg(store);
        }
        let process = command.stdout(Stdio::null()).kill_on_drop(true).spawn().context("cannot start a suite")?;
        let engine = store.map(str::parse::<StoreUrl>).transpose()?.map_or(Engine::Sqlite, |url| url.engine());
        let mut server = Self { process, data, base, engine };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// What the server's billing store is kept in.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// Where its mail and its operator's file are.
    pub(crate) fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// A connection to one of the services.
    pub(crate) async fn connect(&self, service: Service) -> anyhow::Result<Channel> {
        Ok(Endpoint::new(Target::local(self.base).url(service))?.tcp_nodelay(true).connect().await?)
    }

    /// Connections to billing for callers to share.
    pub(crate) async fn billing(&self) -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::with_capacity(CHANNELS);
        for _ in 0..CHANNELS {
            channels.push(self.connect(Service::Billing).await?);
        }
        Ok(channels)
    }

    /// The operator's token.
    pub(crate) async fn operator(&self) -> anyhow::Result<String> {
        let text = std::fs::read_to_string(self.data().join("operator.json"))?;
        let file: serde_json::Value = serde_json::from_str(&text)?;
        let field = |name: &str| file.get(name).and_then(|it| it.as_str()).unwrap_or_default().to_owned();
        let (client_id, client_secret) = (field("client_id"), field("client_secret"));
        let request = identity::IssueServiceTokenRequest { client_id, client_secret };
        let mut client = ServiceAccountServiceClient::new(self.connect(Service::Identity).await?);
        Ok(client.issue_service_token(request).await?.into_inner().access_token)
    }

    /// CPU time used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let stat = std::fs::read_to_string(self.proc("stat")?)?;
        // The second field is the program's name in parentheses; utime and stime are the 14th and 15th.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
        Ok(Usage { cpu: Duration::from_millis(ticks * 1_000 / TICKS) })
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        Ok(line.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0) * 1_024)
    }

    /// Stops the suite as an operator would and waits for it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.process.id().context("the suite has ended by itself")?;
        Command::new("kill").arg(pid.to_string()).status().await?;
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.context("the suite does not stop")??;
        anyhow::ensure!(status.success(), "the suite ended with {status}");
        Ok(())
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let pid = self.process.id().context("the suite has ended by itself")?;
        Ok(format!("/proc/{pid}/{file}"))
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait()? {
                anyhow::bail!("the suite ended with {status} before it was ready");
            }
            if is_ready(self.base).await.unwrap_or(false) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("the suite was not ready within {} seconds", PATIENCE.as_secs())
    }
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
