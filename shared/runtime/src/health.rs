//! `grpc.health.v1.Health` of one port, as its specification has it: who watches a name that nobody answers to is told
//! `SERVICE_UNKNOWN` and goes on watching. The library's own service refuses.

use std::time::Duration;

use bursar_rpc::Problem;
use futures::{StreamExt as _, future, stream};
use tonic::{Request, Response, Status};
use tonic_health::{
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
        health_server::HealthServer,
    },
    server::{HealthReporter, HealthService},
};

use crate::{
    open_streams::{self, Bounds, OpenStream},
    places::Places,
};

/// A request is a name.
const MESSAGE_MAX: usize = 16 * 1024;

/// A watch ends after this, and its caller begins another, where connections are not to live for longer.
const LONGEST: Duration = Duration::from_hours(1);

/// A watch ends some time after its connection should have, which keeps nobody on one that reached its age long ago. Never
/// before: callers take the end of a watch for news that the service is away, and leave the connection for a moment.
fn bounds(connection_age: Duration) -> Bounds {
    let longest = LONGEST.max(connection_age.saturating_mul(2));
    Bounds { longest, idle: longest, answers: usize::MAX }
}

/// Answers what a reporter was told.
pub(crate) struct PortHealthService {
    reported: HealthService,
    streams: Places,
    bounds: Bounds,
}

/// The service over a reporter; so many may watch, on connections that live for so long.
pub(crate) fn server(
    reporter: HealthReporter,
    streams: Places,
    connection_age: Duration,
) -> HealthServer<PortHealthService> {
    let told = HealthService::from_health_reporter(reporter);
    let service = PortHealthService { reported: told, streams, bounds: bounds(connection_age) };
    HealthServer::new(service).max_decoding_message_size(MESSAGE_MAX)
}

type Answers = OpenStream<HealthCheckResponse>;

#[tonic::async_trait]
impl Health for PortHealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let answer = self.reported.check(request).await;
        answer.map_err(|_| Problem::not_found("service").into())
    }

    type WatchStream = Answers;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Answers>, Status> {
        let place = open_streams::enter(&self.streams, &request)?;
        if let Ok(known) = self.reported.watch(request).await {
            return Ok(Response::new(open_streams::bounded(known.into_inner(), self.bounds, place)));
        }
        let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
        let told = stream::once(future::ready(Ok(unknown)));
        // Which names there are is fixed, so nothing follows; the stream ends when the port's own do.
        let port = self.reported.watch(Request::new(HealthCheckRequest { service: String::new() })).await;
        let end = port.map(|port| port.into_inner().filter(|_| future::ready(false)));
        let answers = told.chain(stream::iter(end).flatten());
        Ok(Response::new(open_streams::bounded(answers, self.bounds, place)))
    }
}
