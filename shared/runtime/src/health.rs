//! `grpc.health.v1.Health` of one port, as its specification has it: who watches a name that nobody answers to is told
//! `SERVICE_UNKNOWN` and goes on watching. The library's own service refuses.

use std::pin::Pin;

use bursar_rpc::Problem;
use futures::{Stream, StreamExt as _, future, stream};
use tonic::{Request, Response, Status};
use tonic_health::{
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
        health_server::HealthServer,
    },
    server::{HealthReporter, HealthService},
};

/// A request is a name.
const MESSAGE_MAX: usize = 16 * 1024;

/// Answers what a reporter was told.
#[derive(Debug)]
pub(crate) struct PortHealthService(HealthService);

/// The service over a reporter.
pub(crate) fn server(reporter: HealthReporter) -> HealthServer<PortHealthService> {
    let service = PortHealthService(HealthService::from_health_reporter(reporter));
    HealthServer::new(service).max_decoding_message_size(MESSAGE_MAX)
}

type Answers = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for PortHealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let answer = self.0.check(request).await;
        answer.map_err(|_| Problem::not_found("service").into())
    }

    type WatchStream = Answers;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Answers>, Status> {
        if let Ok(known) = self.0.watch(request).await {
            return Ok(Response::new(Box::pin(known.into_inner())));
        }
        let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
        let told = stream::once(future::ready(Ok(unknown)));
        // Which names there are is fixed, so nothing follows; the stream ends when the port's own do.
        let port = self.0.watch(Request::new(HealthCheckRequest { service: String::new() })).await;
        let end = port.map(|port| port.into_inner().filter(|_| future::ready(false)));
        Ok(Response::new(Box::pin(told.chain(stream::iter(end).flatten()))))
    }
}
