//! What one call hands on to the calls that it makes: the time left, its call id, its trace.
//!
//! The stack puts a [`CallContext`] around each handler (a task-local); [`super::Transport`] reads it.
//! A task that a handler spawns starts without one, unless it is given [`CallContext::scope`].

use std::fmt;
use std::future::Future;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// The header with a call's id: taken over from the caller or made here, sent back, handed on, logged as `call_id`. It
/// only names a call in logs and traces; the API's `request_id` is a caller's key against doing something twice.
pub const CALL_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header with a call's trace (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with a user's token when a service acts for that user.
pub const USER_AUTHORIZATION: HeaderName = HeaderName::from_static("bursar-user-authorization");
/// The header with the time a call may take, in gRPC's own format.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

tokio::task_local! {
    static CURRENT: CallContext;
}

/// A user's token that was verified while a call was let in: the only thing that is handed on in a user's name. There is no
/// way to one but through the authentication of a call, so no header of a caller's is handed on as it came.
#[derive(Clone)]
pub struct VerifiedToken(HeaderValue);

impl VerifiedToken {
    /// Keeps a token that was verified; `None` for what no header can carry, which none is that was.
    pub(crate) fn new(verified: &str) -> Option<Self> {
        let mut value = HeaderValue::try_from(format!("Bearer {verified}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedToken(…)")
    }
}

/// The call being served: deadline, id, trace, and the user's token.
#[derive(Clone)]
pub struct CallContext {
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// The call's id.
    pub call_id: HeaderValue,
    /// The caller's trace, if it sent one.
    pub traceparent: Option<HeaderValue>,
    /// The token of the user who is calling or for whom a service is.
    pub user: Option<VerifiedToken>,
}

impl CallContext {
    /// The call being served by this task, if any.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs a future as a part of this call.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// How long the call being served may still take; `None` outside of a call.
    pub fn remaining() -> Option<Duration> {
        CURRENT.try_with(|context| context.deadline.saturating_duration_since(Instant::now())).ok()
    }
}

/// Names the user of the call being served in a request to another service, which then sees
/// `Caller::Service` acting on behalf of that user. Does nothing outside of a user's call.
pub fn on_behalf<T>(mut request: tonic::Request<T>) -> tonic::Request<T> {
    let token = CURRENT.try_with(|context| context.user.clone()).ok().flatten();
    if let Some(VerifiedToken(value)) = token
        && let Ok(text) = value.to_str()
        && let Ok(mut value) = text.parse::<tonic::metadata::AsciiMetadataValue>()
    {
        value.set_sensitive(true);
        request.metadata_mut().insert("bursar-user-authorization", value);
    }
    request
}

/// Reads a `grpc-timeout` header: at most eight digits and a unit. `None` if it is absent or garbled.
pub(crate) fn parse_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Writes a `grpc-timeout`: as fine as eight digits allow, rounded down.
pub(crate) fn format_timeout(timeout: Duration) -> Option<HeaderValue> {
    const MOST: u128 = 99_999_999;
    let text = [(timeout.as_micros(), 'u'), (timeout.as_millis(), 'm'), (u128::from(timeout.as_secs()), 'S')]
        .into_iter()
        .find(|(amount, _)| *amount <= MOST)
        .map_or_else(|| format!("{MOST}S"), |(amount, unit)| format!("{amount}{unit}"));
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(value).expect("ascii"));
        headers
    }

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let table = [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("3S", Some(Duration::from_secs(3))),
            ("40m", Some(Duration::from_millis(40))),
            ("50u", Some(Duration::from_micros(50))),
            ("60n", Some(Duration::from_nanos(60))),
            ("99999999H", Some(Duration::from_hours(99_999_999))),
            ("", None),
            ("S", None),
            ("5", None),
            ("+5S", None),
            ("-5S", None),
            ("123456789m", None),
            ("5x", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_timeout(&header(text)), expected, "{text:?}");
        }
        assert_eq!(parse_timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn timeouts_survive_writing_and_reading() {
        for timeout in [
            Duration::ZERO,
            Duration::from_micros(1),
            Duration::from_millis(250),
            Duration::from_secs(30),
            Duration::from_hours(24),
            Duration::from_secs(500_000_000),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, format_timeout(timeout).expect("header"));
            let read = parse_timeout(&headers).expect("readable");
            assert!(read <= timeout, "{read:?} is longer than {timeout:?}");
            if timeout < Duration::from_secs(99_999_999) {
                assert!(timeout.saturating_sub(read) < Duration::from_secs(1), "{read:?} against {timeout:?}");
            }
        }
    }
}
