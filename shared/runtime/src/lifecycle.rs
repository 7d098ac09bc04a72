//! A program's life: start, serve, be ready, stop. Stopping always ends, whatever callers do.
//!
//! Stopping takes these steps, with a time limit on each and one on all of them
//! (`limits.shutdown`, below 10 seconds):
//!
//! 1. readiness and gRPC health say no, and calls are still answered, until the word has spread
//!    (`limits.drain`);
//! 2. endless streams end, listeners close, connections are asked to finish;
//! 3. what is still open is cut: a connection that never spoke, a stream that nobody reads;
//! 4. background tasks end, stores close.

use std::{future::Future, io::IsTerminal as _, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use bursar_secret::Entropy;
use bursar_time::{Clock, Monotonic};
use prometheus::Registry;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Env, Listeners, Service, Settings, Started,
    contract::Reload,
    grpc, grpc_port, http_port,
    listen::{Ending, Incoming},
    operations,
    places::{Kind, Places},
    readiness::{self, PortHealth, Readiness},
    telemetry::Telemetry,
    tls::PortTls,
};

/// What a running program is told from outside.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Asks for a graceful stop.
    pub gracefully: CancellationToken,
    /// Skips whatever graceful step is under way.
    pub at_once: CancellationToken,
    /// Asks to read files anew: once for however many that ask before it is done.
    pub reload: Arc<Notify>,
}

impl Signals {
    /// Stops gracefully at the first SIGTERM or SIGINT, and at once at the second; reads files anew at SIGHUP. A program that
    /// was started at a terminal is told by SIGHUP, too, that the terminal is gone, and then stops: nobody would know of it.
    pub fn of_process() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
        let at_terminal = std::io::stdin().is_terminal();
        let signals = Self::default();
        let told = signals.clone();
        tokio::spawn(async move {
            for stop in [told.gracefully, told.at_once] {
                let signal = loop {
                    tokio::select! {
                        _ = terminate.recv() => break "SIGTERM",
                        _ = interrupt.recv() => break "SIGINT",
                        _ = hangup.recv() => {}
                    }
                    if at_terminal && !std::io::stdin().is_terminal() {
                        break "SIGHUP, and the terminal is gone";
                    }
                    told.reload.notify_one();
                };
                tracing::info!(signal, "told to stop");
                stop.cancel();
            }
        });
        Ok(signals)
    }
}

/// Surroundings for a program with these settings: the system's clock and randomness, or a test clock
/// that starts at the system's time.
pub fn surroundings(settings: &Settings, telemetry: &Telemetry) -> Env {
    let clock = Clock::system();
    Env {
        clock: if settings.test_clock { Clock::test(clock.now()) } else { clock },
        monotonic: Monotonic::system(),
        entropy: Entropy::system(),
        shutdown: CancellationToken::new(),
        halt: CancellationToken::new(),
        tasks: TaskTracker::new(),
        meter: telemetry.meter(),
    }
}

/// Runs services on listeners until told to stop.
///
/// `wire` starts the services; meanwhile the operations port already answers (alive, not ready).
/// `on_ready` runs once, when every service has been ready and its health says so. Returns once
/// everything has stopped; an error means that starting failed or a server ended by itself.
pub async fn serve<W, R>(
    settings: &Settings,
    env: Env,
    registry: Registry,
    listeners: Listeners,
    signals: Signals,
    wire: W,
    on_ready: R,
) -> anyhow::Result<()>
where
    W: AsyncFnOnce(&Settings, Env) -> anyhow::Result<Vec<Started>>,
    R: FnOnce(),
{
    let tls = PortTls::load(settings, &env)?;
    let mut host = Host::new(settings, env, registry, listeners, tls);
    let started = tokio::select! {
        started = wire(settings, host.env.clone()) => started,
        () = signals.gracefully.cancelled() => {
            tracing::info!("stopped while starting");
            Ok(Vec::new())
        }
    };
    let outcome = match started {
        Ok(started) if started.is_empty() => Ok(()),
        Ok(started) => match host.open(started, &signals).await {
            Ok(ready) => host.run(&signals, ready, on_ready).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    host.stop(&signals).await;
    outcome
}

/// Everything that runs, and the switches that end it.
struct Host<'a> {
    settings: &'a Settings,
    env: Env,
    readiness: Readiness,
    /// Cuts every connection.
    cut: CancellationToken,
    listeners: Vec<(Service, tokio::net::TcpListener)>,
    inbox: Option<tokio::net::TcpListener>,
    tls: PortTls,
    servers: JoinSet<Service>,
    closing: Vec<(Service, futures::future::BoxFuture<'static, ()>)>,
    /// Ends the operations port, which outlives everything else.
    operations_end: CancellationToken,
    operations: tokio::task::JoinHandle<()>,
}

impl<'a> Host<'a> {
    fn new(settings: &'a Settings, env: Env, registry: Registry, listeners: Listeners, tls: PortTls) -> Self {
        let readiness = Readiness::default();
        let operations_end = CancellationToken::new();
        let operations = tokio::spawn(operations::serve(
            Incoming::new(
                listeners.operations,
                tls.operations.clone(),
                Ending { shutdown: operations_end.clone(), cut: operations_end.clone() },
                places(settings.limits.connections.min(http_port::CONNECTIONS_MAX), "operations", &env),
            ),
            readiness.clone(),
            registry,
            operations_end.clone(),
        ));
        Self {
            settings,
            env,
            readiness,
            cut: CancellationToken::new(),
            listeners: listeners.services,
            inbox: listeners.inbox,
            tls,
            servers: JoinSet::new(),
            closing: Vec::new(),
            operations_end,
            operations,
        }
    }

    /// Serves what has started. The receiver turns true when all of it is ready.
    async fn open(&mut self, services: Vec<Started>, signals: &Signals) -> anyhow::Result<watch::Receiver<bool>> {
        let mut ports = Vec::with_capacity(services.len());
        let mut probes = Vec::with_capacity(services.len());
        let mut reloads = Vec::with_capacity(services.len());
        for started in services {
            let service = started.service;
            let place = self
                .listeners
                .iter()
                .position(|(of, _)| *of == service)
                .ok_or_else(|| anyhow!("{service} has no listener"))?;
            let (_, listener) = self.listeners.swap_remove(place);
            let health = PortHealth::new(service, &started.health_services).await;
            let connections = self.settings.limits.connections;
            let routes = grpc::routes(&started, &health, &self.settings.limits, &self.env)?;
            let server = grpc::server(&self.settings.limits, &self.env.entropy);
            let ending = Ending { shutdown: self.env.shutdown.clone(), cut: self.cut.clone() };
            let its_places = places(connections, service.name(), &self.env);
            let incoming = Incoming::new(listener, self.tls.grpc.clone(), ending.clone(), its_places)
                .of_http2(self.settings.limits.deadline);
            let end = ending.shutdown.clone();
            self.servers.spawn(async move {
                grpc_port::serve(server, routes, incoming, end).await;
                service
            });
            ports.push(health);
            probes.push((service, started.ready));
            reloads.extend(started.reload);
            // Taken by the service that answers there: those before it leave it where it is.
            if let Some(router) = started.inbox
                && let Some(listener) = self.inbox.take()
            {
                let most = connections.min(http_port::CONNECTIONS_MAX);
                let proxies = self.settings.trusted_proxies.clone();
                let its_places = Places::behind(proxies, most, Kind::Connections, "inbox", &self.env.meter);
                let incoming = Incoming::new(listener, self.tls.inbox.clone(), ending.clone(), its_places);
                let end = ending.shutdown;
                self.servers.spawn(async move {
                    http_port::serve(incoming, router, end).await;
                    service
                });
            }
            self.closing.push((service, started.close));
        }
        self.readiness.started(probes);
        let (tell, ready) = watch::channel(false);
        let end = self.env.shutdown.clone();
        self.env.tasks.spawn(readiness::follow(self.readiness.clone(), ports, tell, end));
        self.env.tasks.spawn(reload(reloads, Arc::clone(&signals.reload), self.env.shutdown.clone()));
        Ok(ready)
    }

    /// Waits until told to stop. An error if a server ends before.
    async fn run<R: FnOnce()>(
        &mut self,
        signals: &Signals,
        mut ready: watch::Receiver<bool>,
        on_ready: R,
    ) -> anyhow::Result<()> {
        let mut on_ready = Some(on_ready);
        loop {
            tokio::select! {
                // In this order: a server that ends because of the stop has not ended by itself.
                biased;
                () = signals.gracefully.cancelled() => return Ok(()),
                became = ready.wait_for(|ready| *ready), if on_ready.is_some() => {
                    if let (Ok(_), Some(tell)) = (became, on_ready.take()) {
                        tracing::info!("ready");
                        tell();
                    }
                }
                ended = self.servers.join_next() => return Err(match ended {
                    Some(Ok(service)) => anyhow!("the server of {service} ended by itself"),
                    Some(Err(error)) => anyhow::Error::new(error).context("a server panicked"),
                    None => anyhow!("nothing is served"),
                }),
            }
        }
    }

    async fn stop(mut self, signals: &Signals) {
        let limit = self.settings.limits.shutdown;
        let begin = Instant::now();
        self.readiness.drain();
        if !self.servers.is_empty() && signals.gracefully.is_cancelled() {
            unless(&signals.at_once, sleep(self.settings.limits.drain)).await;
        }
        self.env.shutdown.cancel();
        let servers = &mut self.servers;
        let finished = unless(
            &signals.at_once,
            timeout_at(begin + limit * 6 / 8, async { while servers.join_next().await.is_some() {} }),
        )
        .await;
        if !matches!(finished, Some(Ok(()))) {
            tracing::warn!("cutting connections that are still open");
        }
        self.cut.cancel();
        self.env.halt.cancel();
        let _ = timeout_at(Instant::now() + Duration::from_millis(250), async {
            while servers.join_next().await.is_some() {}
        })
        .await;
        servers.abort_all();
        self.env.tasks.close();
        if timeout_at(begin + limit * 7 / 8, self.env.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.env.tasks.len(), "leaving background tasks behind");
        }
        for (service, close) in std::mem::take(&mut self.closing) {
            if timeout_at(begin + limit, close).await.is_err() {
                tracing::warn!(%service, "its store did not close in time");
            }
        }
        self.operations_end.cancel();
        let _ = self.operations.await;
        tracing::info!(milliseconds = begin.elapsed().as_millis(), "stopped");
    }
}

/// The connections that a port bears.
fn places(most: usize, port: &'static str, env: &Env) -> Places {
    Places::new(most, Kind::Connections, port, &env.meter)
}

/// Has the services read their files anew whenever that is asked for, until draining begins. What is asked for while they
/// started, or while they are at it, is done afterwards.
async fn reload(services: Vec<Reload>, asked: Arc<Notify>, end: CancellationToken) {
    loop {
        // Where both came, it drains.
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            () = asked.notified() => {}
        }
        let reloading = async {
            tracing::info!(services = services.len(), "told to read files anew: certificates are followed without");
            futures::future::join_all(services.iter().map(|reload| reload())).await;
        };
        if unless(&end, reloading).await.is_none() {
            return;
        }
    }
}

/// What `work` gives, unless `token` is cancelled first.
async fn unless<F: Future>(token: &CancellationToken, work: F) -> Option<F::Output> {
    tokio::select! {
        output = work => Some(output),
        () = token.cancelled() => None,
    }
}
