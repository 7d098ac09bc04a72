//! The one face that is not gRPC: where the payment provider tells by itself what has happened (`POST /webhooks/stripe`).
//!
//! Nothing is believed that is not signed, and nothing is read that is too long or too slow. 200 says that an event is
//! stored; any other answer has the provider send it again.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use bursar_secret::Secret;
use bursar_time::Clock;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::payment::stripe::event::Event;
use crate::payment::stripe::signature;
use crate::usecase::inbox::Inbox;

/// Where events are taken.
const PATH: &str = "/webhooks/stripe";
/// The longest body.
pub(crate) const LONGEST: usize = 256 * 1024;
/// How long a body may take to come.
const WITHIN: Duration = Duration::from_secs(10);
/// How many events are taken at a time.
const AT_ONCE: usize = 128;

/// What takes events.
#[derive(Clone)]
struct Porter {
    inbox: Inbox,
    secrets: Arc<[Secret]>,
    clock: Clock,
    places: Arc<Semaphore>,
    came: Counter<u64>,
}

/// The routes of the inbox.
pub(crate) fn routes(inbox: Inbox, secrets: Vec<Secret>, clock: Clock, meter: &Meter) -> Router {
    let came = meter
        .u64_counter("billing.webhooks")
        .with_unit("{request}")
        .with_description("What came to the inbox for payment webhooks, by what was answered.")
        .build();
    let porter = Porter { inbox, secrets: secrets.into(), clock, places: Arc::new(Semaphore::new(AT_ONCE)), came };
    Router::new().route(PATH, post(receive)).with_state(porter)
}

async fn receive(State(porter): State<Porter>, request: Request) -> StatusCode {
    let answer = porter.take(request).await.unwrap_or_else(|refused| refused);
    porter.came.add(1, &[KeyValue::new("http.response.status_code", i64::from(answer.as_u16()))]);
    answer
}

impl Porter {
    async fn take(&self, request: Request) -> Result<StatusCode, StatusCode> {
        let _place = self.places.try_acquire().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let (head, body) = request.into_parts();
        let body = timeout(WITHIN, to_bytes(body, LONGEST)).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
        let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        let header = head.headers.get("stripe-signature").and_then(|it| it.to_str().ok()).unwrap_or_default();
        signature::verify(header, &body, &self.secrets, self.clock.now()).map_err(|why| {
            tracing::warn!(%why, "a webhook was refused");
            StatusCode::BAD_REQUEST
        })?;
        let event = Event::read(&body).map_err(|why| {
            tracing::error!(%why, "a webhook of the payment provider cannot be read");
            StatusCode::BAD_REQUEST
        })?;
        match self.inbox.receive(&event).await {
            Ok(()) => Ok(StatusCode::OK),
            Err(error) => {
                tracing::warn!(%error, event = event.id, "an event could not be stored: the provider sends it again");
                Err(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    }
}
