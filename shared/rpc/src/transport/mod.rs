//! [`Transport`]: the way from a generated client to a service, in this process or over the network.
//!
//! Whichever it is, a call made while serving another one carries on its deadline, its call id and
//! its trace, and a transport [with tokens](Transport::with_tokens) adds the service's own credentials.

pub mod channel;
mod complaint;
pub mod context;
mod late;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Service, ServiceExt};

pub use channel::{AddressError, PeerTls};
pub use context::CallContext;
pub use late::LateRoutes;

use crate::Problem;
use crate::peer::ServiceTokens;
use crate::problem::reason;
use complaint::Complaint;
use context::{CALL_ID, GRPC_TIMEOUT, TRACEPARENT, format_timeout, parse_timeout};

/// How long a unary call may take that no deadline comes with, such as one of a background task. A stream, whichever side sends
/// it, may take as long as its sender and the server's own limits let it.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a generated client sends its calls: `SomeServiceClient::new(transport.clone())`. Cheap to
/// clone.
#[derive(Clone)]
pub struct Transport {
    target: Target,
    tokens: Option<ServiceTokens>,
}

#[derive(Clone)]
enum Target {
    Channel(Channel, Arc<Complaint>),
    Routes(Routes),
    Late(LateRoutes),
}

impl Transport {
    /// Over the network to one endpoint, connected on first use.
    pub fn channel(endpoint: &Endpoint) -> Self {
        Self::over(endpoint.connect_lazy())
    }

    /// Over the network to `http://host:port` or `https://host:port`, connected on first use with keep-alive, and
    /// balanced over every address of the host's name. Trusts the authorities that the system knows. Must be called
    /// inside a Tokio runtime.
    pub fn connect(address: &str) -> Result<Self, AddressError> {
        Self::connect_with(address, &PeerTls::public())
    }

    /// The same, with whom to trust and what to show where the address is `https://`.
    pub fn connect_with(address: &str, tls: &PeerTls) -> Result<Self, AddressError> {
        channel::connect(address, tls).map(Self::over)
    }

    /// Over a channel that somebody made.
    pub fn over(channel: Channel) -> Self {
        Self { target: Target::Channel(channel, Arc::default()), tokens: None }
    }

    /// To routes in this process.
    pub fn routes(routes: Routes) -> Self {
        Self { target: Target::Routes(routes.prepare()), tokens: None }
    }

    /// To routes in this process that will be set later; until then calls answer `UNAVAILABLE`.
    pub fn late() -> (Self, LateRoutes) {
        let late = LateRoutes::default();
        (Self { target: Target::Late(late.clone()), tokens: None }, late)
    }

    /// The same way, with the service's own token in `authorization` of every call that has none.
    #[must_use]
    pub fn with_tokens(mut self, tokens: ServiceTokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    async fn send(self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let timeout = hand_on(&mut request)?;
        let calling = async {
            let tokens = self.tokens.as_ref().filter(|_| !request.headers().contains_key(AUTHORIZATION));
            let Some(tokens) = tokens else {
                return self.target.call(request).await;
            };
            let bearer = tokens.bearer().await?;
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
            let answered = self.target.call(request).await;
            if answered.as_ref().is_ok_and(refuses_our_token) {
                tokens.refused(&bearer);
            }
            answered
        };
        match timeout {
            None => calling.await,
            Some(timeout) => tokio::time::timeout(timeout, calling)
                .await
                .unwrap_or_else(|_| Err(Problem::deadline_exceeded().into())),
        }
    }
}

impl Target {
    async fn call(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        match self {
            Self::Channel(channel, complaint) => {
                let answered = channel.oneshot(request).await.map_err(|error| channel_status(error, &complaint))?;
                Ok(answered
                    .map(|body| Body::new(body.map_err(|status| if is_severed(&status) { away() } else { status }))))
            }
            Self::Routes(routes) => in_process(routes, request).await,
            Self::Late(late) => match late.get() {
                Some(routes) => in_process(routes, request).await,
                None => Err(Problem::unavailable(
                    reason::PEER_UNAVAILABLE,
                    "the service is starting or stopping; try again",
                )
                .with_retry_after(Duration::from_millis(100))
                .into()),
            },
        }
    }
}

/// Whether a peer did not believe the token of the call: it says so in the answer's headers, before any message. A user's
/// token that was handed on, or a password, says nothing about ours: whoever sends a bad one must not use ours up.
fn refuses_our_token(response: &Response<Body>) -> bool {
    let Some(status) = Status::from_header_map(response.headers()) else { return false };
    let about_user = |info: tonic_types::ErrorInfo| info.metadata.contains_key("header");
    status.code() == Code::Unauthenticated
        && matches!(
            crate::problem::reason_of(&status).as_deref(),
            Some(reason::TOKEN_INVALID | reason::TOKEN_EXPIRED | reason::TOKEN_MISSING)
        )
        && !status.get_details_error_info().is_some_and(about_user)
}

async fn in_process(routes: Routes, request: Request<Body>) -> Result<Response<Body>, Status> {
    routes.oneshot(request).await.map_err(|never: Infallible| match never {})
}

/// What a failed channel means to its caller: tonic calls its own expired timer CANCELLED, and a connection that ended
/// before the call was sent, too (a server that does not believe its caller's certificate says so by hanging up). A peer
/// that cannot be reached must be recognizable as one to try again.
fn channel_status(error: tonic::transport::Error, complaint: &Complaint) -> Status {
    if causes(&error).any(<dyn Error>::is::<tonic::TimeoutExpired>) {
        return Problem::deadline_exceeded().into();
    }
    complaint.of(&error);
    if is_severed(&error) {
        return away();
    }
    let status = Status::from_error(Box::new(error));
    match status.code() {
        Code::Unknown | Code::Cancelled => away(),
        _ => status,
    }
}

/// Whether a connection ended under a call, which says nothing about the call: a peer that stops says `GOAWAY` with
/// `NO_ERROR` to what it will not answer any more (RFC 9113, 6.8), which tonic calls INTERNAL; one that is killed says nothing.
fn is_severed(error: &(dyn Error + 'static)) -> bool {
    let of_h2 = |h2: &h2::Error| h2.is_io() || (h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR));
    causes(error).any(|cause| cause.downcast_ref::<h2::Error>().is_some_and(of_h2) || cause.is::<std::io::Error>())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn away() -> Status {
    Problem::unavailable(reason::PEER_UNAVAILABLE, "the peer cannot be reached").into()
}

/// Puts deadline, call id and trace of the call being served into a request of its own. Returns how
/// long to wait for the answer's headers; `None` for a stream, of whichever side, that nobody gave a deadline.
fn hand_on(request: &mut Request<Body>) -> Result<Option<Duration>, Status> {
    let context = CallContext::current();
    let own = parse_timeout(request.headers());
    let left = context.as_ref().map(|context| context.deadline.saturating_duration_since(tokio::time::Instant::now()));
    let streams = bursar_proto::access::rule(request.uri().path())
        .is_some_and(|rule| rule.server_streaming || rule.client_streaming);
    let timeout = match (own, left) {
        (Some(own), Some(left)) => Some(own.min(left)),
        (None, None) if !streams => Some(DEFAULT_TIMEOUT),
        (own, left) => own.or(left),
    };
    if let Some(timeout) = timeout {
        if timeout.is_zero() {
            return Err(Problem::deadline_exceeded().into());
        }
        if let Some(value) = format_timeout(timeout) {
            request.headers_mut().insert(GRPC_TIMEOUT, value);
        }
    }
    let headers = request.headers_mut();
    if let Some(context) = context {
        headers.entry(CALL_ID).or_insert(context.call_id);
        if let Some(trace) = context.traceparent {
            headers.entry(TRACEPARENT).or_insert(trace);
        }
    }
    crate::stack::trace::inject(headers);
    Ok(timeout)
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Each call waits for its own clone of the target, within its own deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.target {
            Target::Channel(..) => "Transport::channel",
            Target::Routes(_) => "Transport::routes",
            Target::Late(_) => "Transport::late",
        })
    }
}

/// `Bearer …` as a header value that is never logged.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, Status> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Status::from(Problem::internal(&"a token is no header value")))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_of_one_message_each_way_has_a_deadline_that_nobody_gave() {
        let library = "/bursar.organization.v1.LibraryService/";
        let table = [
            ("GetItem", None, Some(DEFAULT_TIMEOUT)),
            ("GetItem", Some(5), Some(Duration::from_secs(5))),
            ("UploadContent", None, None),
            ("UploadContent", Some(5), Some(Duration::from_secs(5))),
            ("DownloadContent", None, None),
            ("DownloadContent", Some(5), Some(Duration::from_secs(5))),
        ];
        for (method, own, expected) in table {
            let mut request = Request::builder().uri(format!("{library}{method}"));
            if let Some(own) = own.map(Duration::from_secs) {
                request = request.header(GRPC_TIMEOUT, format_timeout(own).expect("a header"));
            }
            let mut request = request.body(Body::empty()).expect("a request");
            let timeout = hand_on(&mut request).expect("there is time");
            assert_eq!(timeout, expected, "{method} {own:?}");
            assert_eq!(parse_timeout(request.headers()), expected, "the server is told, too: {method} {own:?}");
        }
    }
}
