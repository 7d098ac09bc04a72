//! A program with one small service, to look at from outside.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bursar_proto::event::v1::{
    Heartbeat, SnapshotRequest, SnapshotResponse, WatchRequest, WatchResponse,
    event_service_server::{EventService, EventServiceServer},
    watch_response::Item,
};
use bursar_runtime::{
    Env, Listeners, Program, ReadyProbe, Service, Settings, Signals, Started, Telemetry, serve_on, surroundings,
};
use bursar_testkit::Ports;
use bursar_time::Clock;
use futures::{Stream, StreamExt as _, stream};
use opentelemetry::metrics::Meter;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tonic_reflection::pb::{v1, v1alpha};

/// The service that the program runs.
pub(crate) const EVENTS: &str = "bursar.event.v1.EventService";

/// Settings with ports of their own.
pub(crate) fn settings() -> (Settings, Ports) {
    let ports = Ports::free();
    let mut settings = Settings::for_test(std::env::temp_dir());
    settings.port_base = ports.base();
    settings.operations_port = ports.base();
    settings.limits.drain = Duration::from_millis(10);
    (settings, ports)
}

/// A channel to a port on loopback.
pub(crate) fn channel(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned()).expect("a URL").connect_lazy()
}

/// What happens at `/webhooks/slow`.
#[derive(Clone, Default)]
pub(crate) struct Slow {
    /// Somebody asks.
    pub(crate) began: Arc<Notify>,
    /// They are answered.
    pub(crate) go_on: Arc<Notify>,
}

/// A running program.
pub(crate) struct Running {
    url: String,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) closed: Arc<AtomicBool>,
    /// How often it has read its files anew.
    pub(crate) reloads: Arc<AtomicUsize>,
    pub(crate) slow: Slow,
    pub(crate) signals: Signals,
    pub(crate) meter: Meter,
    pub(crate) clock: Clock,
    pub(crate) env: Env,
    became_ready: Option<oneshot::Receiver<()>>,
    program: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Starts it with billing's name and port. When `ready`, waits until it is.
    pub(crate) async fn start(settings: Settings, ports: &Ports, ready: bool) -> Self {
        Box::pin(Self::start_after(&[], settings, ports, ready)).await
    }

    /// The same in one program with others, which start before it and do nothing.
    pub(crate) async fn start_after(others: &[Service], settings: Settings, ports: &Ports, ready: bool) -> Self {
        let telemetry = Telemetry::build(Program::Single(Service::Billing), &settings).expect("telemetry");
        let env = surroundings(&settings, &telemetry);
        let services = [others, &[Service::Billing]].concat();
        let listeners = Listeners::bind(&settings, &services).await.expect("free ports");
        let (is_ready, closed) = (Arc::new(AtomicBool::new(ready)), Arc::new(AtomicBool::new(false)));
        let (reloads, slow) = (Arc::new(AtomicUsize::new(0)), Slow::default());
        let (tell, became_ready) = oneshot::channel();
        let signals = Signals::default();
        let wire = {
            let (ready, closed, reloads) = (Arc::clone(&is_ready), Arc::clone(&closed), Arc::clone(&reloads));
            let (others, slow) = (others.to_vec(), slow.clone());
            async move |_: &Settings, env: Env| {
                let others = others.into_iter().map(|other| Started::new(other, Routes::default()));
                let mut all: Vec<_> = others.collect();
                all.push(started(&env, ready, closed, reloads, slow));
                Ok(all)
            }
        };
        let registry = telemetry.registry();
        let (its_env, its_signals) = (env.clone(), signals.clone());
        let meter = telemetry.meter();
        let program = tokio::spawn(async move {
            let on_ready = || {
                let _ = tell.send(());
            };
            let served = serve_on(&settings, its_env, registry, listeners, its_signals, wire, on_ready).await;
            telemetry.shutdown().await;
            served
        });
        let mut running = Self {
            url: format!("http://127.0.0.1:{}", ports.nth(3)),
            ready: is_ready,
            closed,
            reloads,
            slow,
            signals,
            meter,
            clock: env.clock.clone(),
            env,
            became_ready: Some(became_ready),
            program,
        };
        if ready {
            running.wait_until_ready().await;
        } else {
            running.wait_until_open().await;
        }
        running
    }

    /// Starts it and waits for its end, for a program that should not start.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub(crate) async fn try_start(settings: Settings) -> anyhow::Result<()> {
        let program = Program::Single(Service::Billing);
        let telemetry = Telemetry::build(program, &settings)?;
        let env = surroundings(&settings, &telemetry);
        let listeners = Listeners::bind(&settings, program.services()).await?;
        let wire = async |_: &Settings, env: Env| {
            let flags = || Arc::new(AtomicBool::new(true));
            Ok(vec![started(&env, flags(), flags(), Arc::default(), Slow::default())])
        };
        let serving = serve_on(&settings, env, telemetry.registry(), listeners, Signals::default(), wire, || {});
        tokio::time::timeout(Duration::from_secs(20), serving).await?
    }

    async fn wait_until_ready(&mut self) {
        let ready = self.became_ready.take().expect("waits once");
        tokio::time::timeout(Duration::from_secs(20), ready).await.expect("in time").expect("ready");
    }

    /// The gRPC port answers, whatever it answers.
    async fn wait_until_open(&self) {
        let endpoint = Endpoint::from_shared(self.url.clone()).expect("a URL");
        while endpoint.connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the program has said that it is ready.
    pub(crate) async fn became_ready(&self) {
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel(&self.url));
        let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
        let mut answers = health.watch(request).await.expect("a stream").into_inner();
        while let Some(answer) = answers.next().await {
            if answer.expect("health").status == 1 {
                return;
            }
        }
        panic!("it never became ready");
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Tells it to stop and waits for its end.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.signals.gracefully.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.program).await.expect("it stops").expect("no panic")
    }
}

fn started(
    env: &Env,
    ready: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    reloads: Arc<AtomicUsize>,
    slow: Slow,
) -> Started {
    let events = Events { shutdown: env.shutdown.clone() };
    let slowly = async move || {
        slow.began.notify_one();
        slow.go_on.notified().await;
        "at last\n"
    };
    let webhooks = axum::Router::new()
        .route("/webhooks/stripe", axum::routing::get(async || "here\n"))
        .route("/webhooks/slow", axum::routing::get(slowly));
    Started::new(Service::Billing, Routes::new(EventServiceServer::new(events)))
        .answering([EVENTS])
        .ready_when(ReadyProbe::new(move || {
            let ready = ready.load(Ordering::SeqCst);
            async move { if ready { Ok(()) } else { Err(anyhow::anyhow!("the store sleeps")) } }
        }))
        .reloading(move || {
            reloads.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        })
        .receiving(Some(webhooks))
        .closing(async move { closed.store(true, Ordering::SeqCst) })
}

/// Streams one heartbeat and then nothing: until shutdown if the cursor says `polite`, else for ever.
struct Events {
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl EventService for Events {
    type SnapshotStream = stream::Empty<Result<SnapshotResponse, Status>>;

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Ok(Response::new(stream::empty()))
    }

    type WatchStream = std::pin::Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let heartbeat = WatchResponse { item: Some(Item::Heartbeat(Heartbeat::default())), ..WatchResponse::default() };
        let first = stream::once(std::future::ready(Ok(heartbeat)));
        let polite = request.into_inner().cursor == "polite";
        let shutdown = self.shutdown.clone();
        let rest = stream::once(async move {
            if !polite {
                std::future::pending::<()>().await;
            }
            shutdown.cancelled_owned().await;
            Err(Status::unavailable("the program stops"))
        });
        Ok(Response::new(Box::pin(first.chain(rest))))
    }
}

/// The services that reflection v1 lists, sorted.
pub(crate) async fn services(url: &str) -> Vec<String> {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(url));
    let answer = client.server_reflection_info(stream::iter([request])).await.expect("reflection");
    let answer = answer.into_inner().next().await.expect("an answer").expect("a list");
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => sorted(list.service.into_iter().map(|one| one.name)),
        other => panic!("no list: {other:?}"),
    }
}

/// The services that reflection v1alpha lists, sorted.
pub(crate) async fn services_alpha(url: &str) -> Vec<String> {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(url));
    let answer = client.server_reflection_info(stream::iter([request])).await.expect("reflection");
    let answer = answer.into_inner().next().await.expect("an answer").expect("a list");
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => sorted(list.service.into_iter().map(|one| one.name)),
        other => panic!("no list: {other:?}"),
    }
}

/// How many files reflection sends for a symbol.
pub(crate) async fn describes(url: &str, symbol: &str) -> usize {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(symbol.to_owned())),
    };
    let mut client = ServerReflectionClient::new(channel(url));
    let answer = client.server_reflection_info(stream::iter([request])).await.expect("reflection");
    let answer = answer.into_inner().next().await.expect("an answer").expect("files");
    match answer.message_response {
        Some(MessageResponse::FileDescriptorResponse(files)) => files.file_descriptor_proto.len(),
        other => panic!("no files: {other:?}"),
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
