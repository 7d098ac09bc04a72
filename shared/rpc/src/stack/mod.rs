//! [`stack`]: everything that happens to a call before and after its handler, in one place.
//!
//! From the outside in, as `serve` builds it up from the handler outwards:
//!
//! 1. **call id**: the caller's `x-request-id` or a new one; sent back, handed on, logged
//! 2. **trace**: a span for the RPC under the caller's trace; one log line (failures INFO or WARN)
//! 3. **metrics**: `rpc.server.call.duration`
//! 4. **load shed** → `RESOURCE_EXHAUSTED`, `OVERLOADED`: a place for who has sent it; never for health and reflection. What is
//!    refused for now while it has its place is told a moment later (`pace`)
//! 5. **panic** → INTERNAL, and the server lives
//! 6. **deadline** → `DEADLINE_EXCEEDED`; what is left is handed on by [`crate::Transport`]
//! 7. **authentication and access rule** → `UNAUTHENTICATED`, `PERMISSION_DENIED`; puts the
//!    [`crate::Caller`] into the request; the place is the caller's from there on, or the call is `OVERLOADED`, and so are its
//!    turns at the store's connections, from the handler to the end of its answer ([`bursar_db::Asker`])
//! 8. **message** that does not come → `DEADLINE_EXCEEDED`, long before the call's own deadline; one for which there is no
//!    memory left, of this caller's or of all → `RESOURCE_EXHAUSTED`, `OVERLOADED`; one that takes too much once it is read →
//!    `INVALID_ARGUMENT`, `MESSAGE_TOO_LARGE`
//! 9. **reasons** for what the gRPC library refuses by itself (garbled, oversized and compressed messages)
//!
//! In-process and network callers pass through the same stack. It costs three allocations, of which two are the bodies
//! that watch request and answer to their ends: the layers are functions around one future, not boxes around boxes.

mod auth;
mod call_id;
mod deadline;
mod growth;
mod message;
mod methods;
mod metrics;
mod pace;
mod panic;
mod reasons;
mod shapes;
mod shed;
pub(crate) mod trace;
mod watched;
mod weight;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bursar_db::Asker;
use bursar_secret::Entropy;
use bursar_time::Clock;
use http::{HeaderValue, Request, Response};
use opentelemetry::metrics::Meter;
use tokio::time::Instant;
use tonic::Status;
use tonic::service::Routes;
use tower::Service;
use tracing::Instrument as _;

pub use reasons::reasoned;

use crate::token::Verifier;
use crate::transport::context::CALL_ID;
use crate::unstated::Unstated;
use crate::{KeySet, Suspended, TrustedProxies};
use methods::{Method, Methods};

/// The most that one message may have in memory, as it comes over the wire and with what its lists and maps take once they are
/// read. A caller who is alone may have half of [`Limits::max_message_bytes`], so it should be at least twice as much.
pub const MESSAGE_MEMORY_MAX: usize = crate::MAX_MESSAGE + growth::MOST;

/// What the stack needs.
#[derive(Clone, Debug)]
pub struct StackDeps {
    /// The keys that verify tokens.
    pub keys: KeySet,
    /// The clock by which tokens expire.
    pub clock: Clock,
    /// Randomness for call ids.
    pub entropy: Entropy,
    /// Where the durations of calls are counted.
    pub meter: Meter,
    /// What is bounded.
    pub limits: Limits,
    /// Who is suspended; nobody, by default.
    pub suspended: Suspended,
}

/// The stack's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many calls may be in work at once, and of one caller as many as there are places left for everybody else; more are
    /// refused, not queued. Streams count until they begin to answer.
    pub max_in_flight: usize,
    /// How many bytes the messages of calls in work may have in memory, as they come over the wire and with what their lists and
    /// maps take once they are read, and of one caller as many as are left for everybody else; whoever sends more is refused. A
    /// kilobyte of it goes with each call in work, whatever it sends, and beside it the first 8 KiB of what its lists and maps
    /// take; of a stream its longest message counts.
    pub max_message_bytes: usize,
    /// The deadline of a call that comes without one.
    pub default_deadline: Duration,
    /// The longest deadline; a caller's longer one is shortened to it.
    pub max_deadline: Duration,
    /// Both of them for a call whose caller sends a stream, which lasts as long as there is something to send.
    pub stream_deadline: Duration,
    /// How long the message of a call may be on its way, where it comes by itself: a little longer for each of its bytes that
    /// has come.
    pub message_deadline: Duration,
    /// How many verified tokens are remembered.
    pub token_cache: usize,
    /// The proxies whose word on where a call came from is believed.
    pub trusted_proxies: TrustedProxies,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Twice as many as may wait in billing's queue: so many may one service ask, and the queue says who waits too long.
            max_in_flight: 65_536,
            // A quarter of the memory that a program has in `deploy`: what is made of a message takes memory, too.
            max_message_bytes: 128 * 1024 * 1024,
            default_deadline: Duration::from_secs(30),
            max_deadline: Duration::from_secs(30),
            stream_deadline: Duration::from_hours(1),
            message_deadline: Duration::from_secs(5),
            token_cache: 16_384,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

/// Puts the whole stack around a service's routes; see the module for what that is.
///
/// To be called once for the routes of one service: its bound on calls in work is shared by all of them.
pub fn stack(routes: Routes, deps: StackDeps) -> Routes {
    let shared = Arc::new(Shared::new(deps));
    let layer = tower::layer::layer_fn(move |inner| Stacked { shared: Arc::clone(&shared), inner });
    Routes::from(routes.into_axum_router().layer(layer)).prepare()
}

/// What all calls share.
struct Shared {
    methods: Methods,
    call_ids: call_id::CallIds,
    metrics: metrics::Metrics,
    in_flight: Arc<shed::InFlight>,
    verifier: Verifier,
    clock: Clock,
    limits: Limits,
    suspended: Suspended,
    unstated: Arc<Unstated>,
}

impl Shared {
    fn new(deps: StackDeps) -> Self {
        Self {
            methods: Methods::new(),
            call_ids: call_id::CallIds::new(&deps.entropy),
            metrics: metrics::Metrics::new(&deps.meter),
            unstated: Arc::new(Unstated::new(&deps.meter)),
            in_flight: Arc::new(shed::InFlight::new(deps.limits.max_in_flight, deps.limits.max_message_bytes)),
            verifier: Verifier::new(deps.keys, deps.limits.token_cache).by(&deps.clock),
            clock: deps.clock,
            limits: deps.limits,
            suspended: deps.suspended,
        }
    }
}

/// What is known of a call before anything is done about it.
struct Call {
    method: Method,
    id: HeaderValue,
    started: Instant,
    deadline: Instant,
}

impl Call {
    fn begin(shared: &Shared, request: &Request<Body>) -> Self {
        let started = Instant::now();
        let method = shared.methods.find(request.uri().path());
        Self {
            method,
            id: shared.call_ids.of(request.headers()),
            started,
            deadline: started + deadline::allowed(request.headers(), method, &shared.limits),
        }
    }
}

async fn serve<S>(shared: Arc<Shared>, inner: S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let call = Call::begin(&shared, &request);
    let span = trace::span(&call, request.headers());

    // Pinned here and handed on by reference: an async function that takes a future by value has room
    // for it twice, so each layer would double what is copied for a call.
    let (answer, asker) = match shed::enter(&shared, call.method, &request) {
        Err(overloaded) => (Err(Status::from(overloaded)), Asker::PROGRAM),
        Ok(mut place) => {
            let answer = {
                let request = message::bounded(request, &call, &shared.limits);
                let answer = pin!(auth::admitted(&shared, &call, &mut place, inner, request));
                let answer = pin!(deadline::enforced(&call, answer));
                panic::contained(answer).instrument(span.clone()).await
            };
            if place.as_ref().is_some_and(shed::Place::counts) {
                let moment = pace::before(&answer, call.deadline.saturating_duration_since(Instant::now()));
                if !moment.is_zero() {
                    tokio::time::sleep(moment).await;
                }
            }
            (answer, place.as_ref().map_or(Asker::PROGRAM, shed::Place::asker))
        }
    };

    let mut response = match answer {
        Ok(response) => watched::until_the_end(reasons::response_of(response), &shared, (&call, asker), &span),
        Err(status) => {
            let response = status.into_http();
            trace::ended(&span, &call, &response);
            shared.metrics.record(&call, trace::code_of(&response));
            response
        }
    };
    response.headers_mut().insert(CALL_ID, call.id);
    response
}

/// A service with the stack around it.
#[derive(Clone)]
struct Stacked<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> Service<Request<Body>> for Stacked<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The instance that was asked whether it is ready is the one that must be called.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(serve(shared, ready, request).await) })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).finish_non_exhaustive()
    }
}
