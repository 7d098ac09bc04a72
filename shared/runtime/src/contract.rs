//! What a service and the program that runs it agree on: what a service is given when it starts
//! ([`Env`], [`Peers`]) and what it hands back ([`Started`], with its [`ReadyProbe`]).
//!
//! A service library exposes
//!
//! ```ignore
//! pub async fn start(settings: &Settings, peers: Peers, env: Env) -> anyhow::Result<Started>;
//! pub async fn migrate(settings: &Settings, restored_at: Option<Timestamp>) -> anyhow::Result<()>;
//! ```
//!
//! and knows nothing about ports, signals or the process it lives in. Nothing in here starts anything.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bursar_db::{Asker, Db, Migrations};
use bursar_rpc::{ServiceTokens, Transport};
use bursar_secret::Entropy;
use bursar_time::{Clock, Monotonic};
use futures::future::BoxFuture;
use opentelemetry::metrics::Meter;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use crate::{Each, Service, Settings};

/// What the surroundings give every service: time, randomness, where to count, when to stop.
#[derive(Clone)]
pub struct Env {
    /// The one clock of this process; a test clock when started with `--test-clock`.
    pub clock: Clock,
    /// What this process measures spans by that no clock may stretch, such as how old what it heard is.
    pub monotonic: Monotonic,
    /// The one source of randomness of this process.
    pub entropy: Entropy,
    /// Cancelled when draining begins: endless streams end and periodic work starts no new round.
    /// Whatever answers calls already accepted (a lane, a pool) must keep working until [`Env::halt`].
    pub shutdown: CancellationToken,
    /// Cancelled when the last call has been answered or cut off: everything ends now.
    pub halt: CancellationToken,
    /// Spawn every background task here, so that stopping waits for it (for a bounded time).
    pub tasks: TaskTracker,
    /// Where this process's metrics are made.
    pub meter: Meter,
}

impl Env {
    /// Surroundings for a test: counts nothing, lets [`Env::monotonic`] pass only when the test does, never stops unless
    /// the test cancels [`Env::shutdown`].
    pub fn for_test(clock: Clock, entropy: Entropy) -> Self {
        Self {
            clock,
            monotonic: Monotonic::test(),
            entropy,
            shutdown: CancellationToken::new(),
            halt: CancellationToken::new(),
            tasks: TaskTracker::new(),
            meter: opentelemetry::global::meter("bursar"),
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("test_clock", &self.clock.is_test())
            .field("draining", &self.shutdown.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// How a service reaches the others. The same generated client runs on either kind of transport, so a
/// service cannot tell whether its peers share its process.
#[derive(Clone)]
pub struct Peers(Each<Transport>);

impl Peers {
    /// Peers at the ends of these.
    pub const fn new(transports: Each<Transport>) -> Self {
        Self(transports)
    }

    /// The transport towards `service`.
    pub fn to(&self, service: Service) -> Transport {
        self.0[service].clone()
    }

    /// The tokens with which `service` calls the others: identity gives them for its secret.
    pub fn tokens(&self, service: Service, settings: &Settings, env: &Env) -> anyhow::Result<ServiceTokens> {
        let secret = settings.service_secret(service, &env.entropy)?;
        let account = service.account().to_string();
        Ok(ServiceTokens::remote(self.to(Service::Identity), account, secret, env.clock.clone()))
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

/// Asks a service whether it could answer calls now: its database reachable and migrated.
#[derive(Clone)]
pub struct ReadyProbe {
    check: Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>,
    /// What is shown besides.
    note: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl ReadyProbe {
    /// How long a probe may take before it counts as failed.
    pub const LIMIT: Duration = Duration::from_secs(2);

    /// A probe that runs `check` each time it is asked. The error's text is shown to operators at
    /// `/readyz`, so it must hold no secret.
    pub fn new<F, Fut>(check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { check: Arc::new(move || Box::pin(check())), note: None }
    }

    /// A probe of something that is always ready.
    pub fn always() -> Self {
        Self::new(|| std::future::ready(Ok(())))
    }

    /// A probe of a store: reachable, and its schema serves this program ([`Db::check_schema`]): a newer program that
    /// migrates first does not take the old ones out.
    pub fn store(db: Db, migrations: &'static Migrations) -> Self {
        Self::new(move || {
            let db = db.clone();
            async move {
                db.ping().await?;
                db.check_schema(migrations).await?;
                Ok(())
            }
        })
    }

    /// The same, ready only as long as the clock is one to decide by.
    #[must_use]
    pub fn on_time(self, clock: Clock) -> Self {
        self.and(move || {
            let doubt = clock.doubt();
            async move { doubt.map_or(Ok(()), |doubt| Err(anyhow::Error::new(doubt))) }
        })
    }

    /// The same, ready only when `more` is, too.
    #[must_use]
    pub fn and<F, Fut>(self, more: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let check = self.check;
        let both = move || -> BoxFuture<'static, anyhow::Result<()>> {
            let (first, second) = (check(), more());
            Box::pin(async move {
                first.await?;
                second.await
            })
        };
        Self { check: Arc::new(both), note: self.note }
    }

    /// The same, with a word that `/readyz` shows whether ready or not (how old a feed is). It must hold no secret.
    #[must_use]
    pub fn showing(mut self, note: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.note = Some(Arc::new(note));
        self
    }

    /// What is shown besides; `None` where there is nothing.
    pub fn note(&self) -> Option<String> {
        self.note.as_ref().map(|note| note())
    }

    /// Asks, waiting no longer than [`ReadyProbe::LIMIT`], and behind nobody else's crowd at the store's connections.
    pub async fn check(&self) -> anyhow::Result<()> {
        let checked = Asker::program("readiness").scope((self.check)());
        match tokio::time::timeout(Self::LIMIT, checked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("no answer within {} seconds", Self::LIMIT.as_secs())),
        }
    }
}

impl fmt::Debug for ReadyProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadyProbe")
    }
}

/// Has a service read its files anew.
pub(crate) type Reload = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A service that has started: everything needed to serve it, watch it and stop it.
pub struct Started {
    /// Which service this is.
    pub service: Service,
    /// Full names of the gRPC services it answers, for health checks
    /// (`bursar.billing.v1.CreditService`).
    pub health_services: Vec<&'static str>,
    /// Its routes, already behind the whole tower stack of `bursar_rpc::stack`.
    pub routes: Routes,
    /// Whether it could answer now.
    pub ready: ReadyProbe,
    /// What answers a payment provider's webhooks, over HTTP on a port of its own, where there is one.
    pub inbox: Option<axum::Router>,
    /// Reads its files anew, where it has such.
    pub(crate) reload: Option<Reload>,
    /// Runs last, after every call has ended: closes the database.
    pub close: BoxFuture<'static, ()>,
}

impl Started {
    /// A started service that is always ready and has nothing to close; refine it with the methods below.
    pub fn new(service: Service, routes: Routes) -> Self {
        Self {
            service,
            health_services: Vec::new(),
            routes,
            ready: ReadyProbe::always(),
            inbox: None,
            reload: None,
            close: Box::pin(std::future::ready(())),
        }
    }

    /// Names the gRPC services whose health follows this service's readiness.
    #[must_use]
    pub fn answering(mut self, services: impl IntoIterator<Item = &'static str>) -> Self {
        self.health_services.extend(services);
        self
    }

    /// Sets how readiness is asked.
    #[must_use]
    pub fn ready_when(mut self, probe: ReadyProbe) -> Self {
        self.ready = probe;
        self
    }

    /// Sets what answers a payment provider's webhooks.
    #[must_use]
    pub fn receiving(mut self, inbox: Option<axum::Router>) -> Self {
        self.inbox = inbox;
        self
    }

    /// Sets what is done when the program is told to read its files anew. It tells the log what came of it; whatever that is,
    /// the service goes on.
    #[must_use]
    pub fn reloading<F, Fut>(mut self, reload: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.reload = Some(Arc::new(move || Box::pin(reload())));
        self
    }

    /// Sets what runs after the last call has ended.
    #[must_use]
    pub fn closing(mut self, close: impl Future<Output = ()> + Send + 'static) -> Self {
        self.close = Box::pin(close);
        self
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started")
            .field("service", &self.service)
            .field("health_services", &self.health_services)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_does_not_stand_behind_the_programs_own_crowd() {
        let asks = || async {
            anyhow::ensure!(Asker::current() == Asker::program("readiness"), "{:?}", Asker::current());
            Ok(())
        };
        let asked = ReadyProbe::new(asks).and(asks).check().await;
        assert!(asked.is_ok(), "{asked:?}");
    }
}
