//! The fake's HTTP: who may ask, under which key, and what goes wrong.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::{Body, Bytes},
    extract::State as Shared,
    http::{HeaderMap, Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{Astray, FakeStripe, Mishap, State};

/// A request's fields.
pub(super) type Fields = BTreeMap<String, String>;
/// A status and what is answered.
pub(super) type Answer = (u16, Value);

/// An answer that says no.
pub(super) fn no(status: u16, kind: &str, code: &str, message: &str) -> Answer {
    (status, json!({"error": {"type": kind, "code": code, "message": message}}))
}

/// Of a request that is malformed or about nothing.
pub(super) fn invalid(code: &str, message: &str) -> Answer {
    let status = if code == "resource_missing" { 404 } else { 400 };
    no(status, "invalid_request_error", code, message)
}

/// Answers one request.
pub(super) async fn answer(
    Shared(state): Shared<Arc<Mutex<State>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (mishap, (status, answer), replayed, gate) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.push(format!("{method} {}", uri.path()));
        let mishap = state.mishaps.pop_front().flatten();
        if mishap == Some(Mishap::Down) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let (answer, replayed) = state.keyed((&method, &uri), &headers, &body, mishap == Some(Mishap::Failed));
        (mishap, answer, replayed, state.gate.clone())
    };
    if let Some(gate) = gate {
        gate.wait().await;
    }
    let said = answer.to_string();
    match mishap {
        Some(Mishap::Slow) => std::future::pending::<()>().await,
        Some(Mishap::Rubbish) => return "<html>We will be back soon</html>".into_response(),
        Some(Mishap::Endless) => return " ".repeat(4 << 20).into_response(),
        Some(Mishap::Lost) => {
            let parts = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("the connection breaks"))];
            return Body::from_stream(futures::stream::iter(parts)).into_response();
        }
        Some(Mishap::Down | Mishap::Failed) | None => {}
    }
    let status = StatusCode::from_u16(status).expect("a status");
    let headers = [(CONTENT_TYPE.as_str(), "application/json"), ("idempotent-replayed", replayed)];
    (status, headers, said).into_response()
}

impl State {
    /// Does what was asked, unless it was under this key before, or `fails`. Whether it was, as the header says it.
    fn keyed(
        &mut self,
        (method, uri): (&Method, &Uri),
        headers: &HeaderMap,
        body: &[u8],
        fails: bool,
    ) -> (Answer, &'static str) {
        let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
        if header("authorization") != format!("Bearer {}", FakeStripe::KEY) || self.astray == Some(Astray::Key) {
            return (no(401, "invalid_request_error", "", "Invalid API Key provided"), "false");
        }
        if header("stripe-version") != FakeStripe::VERSION || self.astray == Some(Astray::Version) {
            return (invalid("", "Invalid Stripe API version"), "false");
        }
        if self.astray == Some(Astray::Account) && uri.path() != "/v1/customers" {
            return (invalid("resource_missing", "No such object; it is of another account"), "false");
        }
        let pays = uri.path().ends_with("/confirm") || uri.path() == "/v1/payment_intents";
        if let Some(Astray::Word(word)) = self.astray.filter(|_| pays && *method == Method::POST) {
            return (invalid(word, "It is refused"), "false");
        }
        let text = String::from_utf8_lossy(body);
        if !body.is_empty() && !header("content-type").starts_with("application/x-www-form-urlencoded") {
            return (invalid("", "Invalid request: the body is no form"), "false");
        }
        let print = format!("{method} {uri} {text}");
        let key = header("idempotency-key").to_owned();
        if let Some((before, status, answer)) = self.keys.get(&key) {
            if *before != print {
                let message =
                    "Keys for idempotent requests can only be used with the same parameters they were first used with.";
                return (no(400, "idempotency_error", "", message), "false");
            }
            return ((*status, answer.clone()), "true");
        }
        let path: Vec<&str> = uri.path().split('/').skip(2).collect();
        let fields = fields(if *method == Method::POST { &text } else { uri.query().unwrap_or_default() });
        let answer = if fails {
            no(500, "api_error", "", "An unknown error occurred")
        } else {
            self.route(method, &path, &fields)
        };
        if *method == Method::POST && !key.is_empty() {
            self.keys.insert(key, (print, answer.0, answer.1.clone()));
        }
        (answer, "false")
    }

    fn route(&mut self, method: &Method, path: &[&str], fields: &Fields) -> Answer {
        let verb = method.as_str();
        match (verb, path) {
            ("POST", ["customers"]) => self.create_customer(fields),
            ("DELETE", ["customers", id]) => self.delete_customer(id),
            ("POST", ["checkout", "sessions"]) => self.create_session(fields),
            ("POST", ["setup_intents"]) => self.create_setup(fields),
            ("POST", ["payment_methods", id, "detach"]) => self.detach(id),
            ("POST", ["payment_intents"]) => self.create_intent(fields),
            ("POST", ["payment_intents", id, "confirm"]) => self.confirm(id, fields),
            ("POST", ["payment_intents", id, "cancel"]) => self.cancel(id),
            ("POST", ["refunds"]) => self.refund(fields),
            ("GET", ["refunds"]) => self.list_refunds(fields),
            (
                "GET",
                ["customers" | "payment_methods" | "payment_intents" | "setup_intents" | "refunds" | "disputes", id]
                | ["checkout", "sessions", id],
            ) => self.retrieve(id),
            _ => no(404, "invalid_request_error", "", "Unrecognized request URL"),
        }
    }

    fn retrieve(&self, id: &str) -> Answer {
        self.objects.get(id).map_or_else(|| invalid("resource_missing", "No such object"), |it| (200, it.clone()))
    }
}

/// The fields of a form or a query.
fn fields(text: &str) -> Fields {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (plain(name), plain(value)))
        .collect()
}

fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let escaped = more.get(..2).filter(|_| *first == b'%').and_then(|digits| hex::decode(digits).ok());
        if let Some(byte) = escaped {
            bytes.extend(byte);
            rest = &more[2..];
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = more;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
