//! The operations port: plain HTTP for probes and scrapers. No business goes over it.
//!
//! `/livez` says that the process runs its event loop, and asks nobody: a database that is away must not
//! get every pod restarted. `/readyz` asks. `/metrics` is for Prometheus.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Registry, TEXT_FORMAT};
use tokio_util::sync::CancellationToken;

use crate::{http_port, listen::Incoming, readiness::Readiness, telemetry::Telemetry};

#[derive(Clone)]
struct Operations {
    readiness: Readiness,
    registry: Registry,
}

/// Serves until `end` is cancelled.
pub(crate) async fn serve(incoming: Incoming, readiness: Readiness, registry: Registry, end: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Operations { readiness, registry });
    // Nobody who is slow keeps the program from ending.
    tokio::select! {
        () = end.cancelled() => {}
        () = http_port::serve(incoming, router, end.clone()) => {}
    }
}

async fn readyz(State(operations): State<Operations>) -> Response {
    let answer = operations.readiness.ask().await;
    let code = if answer.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, answer.text).into_response()
}

async fn metrics(State(operations): State<Operations>) -> Response {
    match Telemetry::page(&operations.registry) {
        Ok(page) => ([(CONTENT_TYPE, TEXT_FORMAT)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
