//! The span of an RPC, its place in the caller's trace, and the one line that is logged about it.

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use opentelemetry::global;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt as _;
use tonic::{Code, Status};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Call;
use crate::problem::reason_of;
use crate::transport::context::TRACEPARENT;

/// The span of a call, in the caller's trace if it sent one. Costs nothing when nobody listens.
pub(super) fn span(call: &Call, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: "bursar_rpc",
        "rpc",
        otel.name = call.method.name,
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system.name = "grpc",
        rpc.method = call.method.name,
        rpc.response.status_code = field::Empty,
        call_id = call.id.to_str().unwrap_or_default(),
    );
    if !span.is_disabled() && headers.contains_key(TRACEPARENT) {
        let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
        // An error means that nobody exports traces, and then there is no parent to have.
        let _ = span.set_parent(parent);
    }
    span
}

/// Notes the outcome on the span and in the log: failures of the server at WARN, refusals at INFO,
/// everything else at DEBUG.
pub(super) fn ended<B>(span: &Span, call: &Call, response: &Response<B>) {
    let code = code_of(response);
    let status = response.extensions().get::<Status>();
    outcome(span, call, code, status);
}

/// The same for an answer of which only the code (and perhaps the status) is left.
pub(super) fn outcome(span: &Span, call: &Call, code: Code, status: Option<&Status>) {
    let name = code_name(code);
    // A service that stops ends its streams with UNAVAILABLE, so that their readers come back: no fault of anybody's.
    let fault = is_fault(code) && !(code == Code::Unavailable && call.method.streams());
    if !span.is_disabled() {
        span.record("rpc.response.status_code", name);
        if fault {
            span.record("otel.status_code", "ERROR");
        }
    }
    if code == Code::Ok {
        tracing::debug!(target: "bursar_rpc", parent: span, elapsed = ?call.started.elapsed(), "answered");
        return;
    }
    let method = call.method.name;
    let call_id = call.id.to_str().unwrap_or_default();
    let reason = status.and_then(reason_of).unwrap_or_default();
    let message = status.map(Status::message).unwrap_or_default();
    let elapsed = call.started.elapsed();
    if fault {
        tracing::warn!(target: "bursar_rpc", parent: span, method, call_id, code = name, reason, message, ?elapsed, "failed");
    } else {
        // The sentence may repeat what the caller sent; code and reason do not.
        tracing::info!(target: "bursar_rpc", parent: span, method, call_id, code = name, reason, ?elapsed, "refused");
    }
}

/// The code in an answer's headers; absent means that the call is going well so far.
pub(super) fn code_of<B>(response: &Response<B>) -> Code {
    response.headers().get(Status::GRPC_STATUS).map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

/// Whether a code means that the server failed, rather than that it refused.
fn is_fault(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable | Code::DataLoss)
}

/// The code's name in the specification, as telemetry wants it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Puts the present span's trace into the headers of a call to somebody else.
pub(crate) fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    if context.span().span_context().is_valid() {
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut HeadersMut(headers));
        });
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
