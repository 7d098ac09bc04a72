//! Whether this program could answer calls now, asked in one place for `/readyz` and for gRPC health.

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{ReadyProbe, Service};

/// How often readiness is asked on behalf of gRPC health watchers.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// In how many rounds in a row a serving port must fail before its health says so. A probe that waits
/// for a connection of a busy pool is no reason to send every caller away.
const FAILURES_TOLD: u32 = 3;
/// How often while the program has not been ready yet.
const ASK_AT_START_EVERY: Duration = Duration::from_millis(20);

/// The readiness of every service in this program. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Readiness {
    probes: Arc<OnceLock<Vec<(Service, ReadyProbe)>>>,
    draining: CancellationToken,
}

/// One answer: the text says what is missing.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ready: bool,
    pub(crate) text: String,
}

impl Readiness {
    /// Says that every service has started. Before this, nothing is ready.
    pub(crate) fn started(&self, probes: Vec<(Service, ReadyProbe)>) {
        let _ = self.probes.set(probes);
    }

    /// Says that the program is stopping. After this, nothing is ready.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Asks every service at once.
    pub(crate) async fn ask(&self) -> Answer {
        if self.draining.is_cancelled() {
            return Answer { ready: false, text: "draining\n".to_owned() };
        }
        let Some(probes) = self.probes.get() else {
            return Answer { ready: false, text: "starting\n".to_owned() };
        };
        let outcomes = join_all(probes.iter().map(|(_, probe)| probe.check())).await;
        let mut answer = Answer { ready: true, text: String::new() };
        for ((service, probe), outcome) in probes.iter().zip(outcomes) {
            let note = probe.note().map(|note| format!(" ({note})")).unwrap_or_default();
            let _ = match outcome {
                Ok(()) => writeln!(answer.text, "{service}: ready{note}"),
                Err(error) => {
                    answer.ready = false;
                    writeln!(answer.text, "{service}: not ready: {error:#}{note}")
                }
            };
        }
        answer
    }
}

/// The health of one port: its service by every name it answers to, and `""` for the port as a whole.
pub(crate) struct PortHealth {
    service: Service,
    names: Vec<&'static str>,
    reporter: HealthReporter,
}

impl PortHealth {
    /// Nothing serves yet.
    pub(crate) async fn new(service: Service, names: &[&'static str]) -> Self {
        let reporter = HealthReporter::new();
        let names: Vec<_> = std::iter::once("").chain(names.iter().copied()).collect();
        let health = Self { service, names, reporter };
        health.set(ServingStatus::NotServing).await;
        health
    }

    pub(crate) fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }

    async fn set(&self, status: ServingStatus) {
        for name in &self.names {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Forgets every name, which ends the streams of those who watch them.
    async fn end(mut self) {
        for name in std::mem::take(&mut self.names) {
            self.reporter.clear_service_status(name).await;
        }
    }
}

/// Keeps gRPC health in step with readiness until `shutdown`, then ends the watchers' streams. `ready`
/// becomes true once every service has been ready.
pub(crate) async fn follow(
    readiness: Readiness,
    ports: Vec<PortHealth>,
    ready: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let mut told: Vec<Told> = ports.iter().map(|_| Told::default()).collect();
    while !shutdown.is_cancelled() {
        let now = one_round(&readiness, &ports, &mut told).await;
        if now {
            ready.send_if_modified(|was| !std::mem::replace(was, true));
        }
        let pause = if *ready.borrow() { ASK_EVERY } else { ASK_AT_START_EVERY };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = readiness.draining.cancelled(), if told.iter().any(|told| told.serving) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    for port in ports {
        port.end().await;
    }
}

/// What a port's health says, and what speaks against it.
#[derive(Default)]
struct Told {
    serving: bool,
    failures: u32,
}

/// Asks each port's service and tells its health, if it changed. True if all are ready.
async fn one_round(readiness: &Readiness, ports: &[PortHealth], told: &mut [Told]) -> bool {
    let probes = readiness.probes.get().map(Vec::as_slice).unwrap_or_default();
    let outcomes = join_all(ports.iter().map(async |port| {
        let probe = probes.iter().find(|(service, _)| *service == port.service);
        match probe {
            Some((_, probe)) => tokio::select! {
                biased;
                () = readiness.draining.cancelled() => false,
                outcome = probe.check() => outcome.is_ok(),
            },
            None => false,
        }
    }))
    .await;
    let draining = readiness.draining.is_cancelled();
    for ((port, told), ready) in ports.iter().zip(told.iter_mut()).zip(&outcomes) {
        told.failures = if *ready { 0 } else { told.failures + 1 };
        let serving = !draining && (*ready || (told.serving && told.failures < FAILURES_TOLD));
        if told.serving != serving {
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            port.set(status).await;
            tracing::info!(service = %port.service, serving, "health changed");
            told.serving = serving;
        }
    }
    !draining && outcomes.iter().all(|ready| *ready)
}
