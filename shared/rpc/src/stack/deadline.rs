//! The time that a call may take.
//!
//! tonic's own timer answers CANCELLED, so this one runs a little shorter than the caller's: its answer
//! arrives before anybody else's timer fires. It stops counting when a stream begins to answer.

use std::future::Future;
use std::time::Duration;

use http::HeaderMap;
use tonic::Status;

use super::methods::Method;
use super::{Call, Limits};
use crate::Problem;
use crate::transport::context::parse_timeout;

/// The most that an answer is given to get ahead of the caller's own timer.
const HEAD_START: Duration = Duration::from_millis(50);

/// How long a call may take: what the caller allows (less a tenth, at most [`HEAD_START`]), or the
/// default; never more than the maximum. A caller who sends a stream has other bounds.
pub(super) fn allowed(headers: &HeaderMap, method: Method, limits: &Limits) -> Duration {
    let (default, most) = if method.is_sent_a_stream() {
        (limits.stream_deadline, limits.stream_deadline)
    } else {
        (limits.default_deadline, limits.max_deadline)
    };
    match parse_timeout(headers) {
        None => default.min(most),
        Some(timeout) => {
            let head_start = (timeout / 10).min(HEAD_START);
            timeout.saturating_sub(head_start).min(most)
        }
    }
}

/// Runs a call until its deadline.
pub(super) async fn enforced<T>(call: &Call, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout_at(call.deadline, answer).await.unwrap_or_else(|_| Err(Problem::deadline_exceeded().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::methods::Access;
    use crate::transport::context::{GRPC_TIMEOUT, format_timeout};

    #[test]
    fn the_callers_deadline_counts_up_to_the_maximum() {
        let limits = Limits {
            default_deadline: Duration::from_secs(20),
            max_deadline: Duration::from_secs(30),
            ..Limits::default()
        };
        let table = [
            (None, 20_000),
            (Some(100), 90),
            (Some(1_000), 950),
            (Some(10_000), 9_950),
            (Some(90_000), 30_000),
            (Some(0), 0),
        ];
        for (asked, given) in table {
            let mut headers = HeaderMap::new();
            if let Some(millis) = asked {
                let value = format_timeout(Duration::from_millis(millis)).expect("a header");
                headers.insert(GRPC_TIMEOUT, value);
            }
            let unary = Method { name: "a.Service/Method", access: Access::NoRule, grows: None };
            assert_eq!(allowed(&headers, unary, &limits), Duration::from_millis(given), "{asked:?} ms");
        }
        let path = "/bursar.organization.v1.LibraryService/UploadContent";
        let upload = Method {
            name: path,
            access: bursar_proto::access::rule(path).map_or(Access::NoRule, Access::Rule),
            grows: None,
        };
        let hour = Duration::from_hours(1);
        assert_eq!(allowed(&HeaderMap::new(), upload, &limits), hour, "a stream has bounds of its own");
    }
}
