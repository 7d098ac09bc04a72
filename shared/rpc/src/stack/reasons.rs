//! Refusals that the gRPC library makes by itself, before a handler has run or after it has answered, in the words of
//! this API: every status has a reason ([`Problem`]), and what a caller sent wrong is the caller's fault.
//!
//! A status with an `ErrorInfo` is ours and passes as it is. The library's own are known by their codes and by how their
//! sentences begin; tests over the wire hold both. One that is not known stays a fault of the server's.

use axum::body::Body;
use http::{HeaderMap, HeaderName, Response};
use http_body_util::BodyExt as _;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::util::MapResponseLayer;

use crate::problem::reason;
use crate::{MAX_MESSAGE, Problem};

/// What the library begins with when it refuses a request's bytes.
const MALFORMED: [&str; 5] = [
    "failed to decode Protobuf message",
    "Unexpected EOF decoding stream",
    "Missing request message",
    "protocol error: received message with",
    "Error decompressing",
];
/// What it begins with when a request is larger than it may be.
const TOO_LARGE: &str = "Error, decoded message length too large";
/// What it begins with when an answer is.
const ANSWER_TOO_LARGE: &str = "Error, encoded message length too large";
/// What it begins with when it does not know the compression.
const COMPRESSED: &str = "Content is compressed with";
/// Which compressions would do; stands beside that refusal.
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// The most of the library's sentence that is repeated. It has names of fields, and nothing that was sent.
const DETAIL_MAX: usize = 200;

/// Gives reasons to the refusals of routes that the stack is not around (health, reflection, the test clock).
pub fn reasoned(routes: Routes) -> Routes {
    let begin_to_end = |response: Response<Body>| {
        response_of(response).map(|body| {
            Body::new(body.map_frame(|mut frame| {
                if let Some(trailers) = frame.trailers_mut() {
                    trailers_of(trailers);
                }
                frame
            }))
        })
    };
    Routes::from(routes.into_axum_router().layer(MapResponseLayer::new(begin_to_end))).prepare()
}

/// The same answer, with a reason if it is a refusal without one.
pub(super) fn response_of(response: Response<Body>) -> Response<Body> {
    let Some(status) = response.extensions().get::<Status>() else {
        return response;
    };
    match of(status) {
        Some(problem) => {
            let accepted = response.headers().get(ACCEPT_ENCODING).cloned();
            let mut response: Response<Body> = Status::from(problem).into_http();
            if let Some(accepted) = accepted {
                response.headers_mut().insert(ACCEPT_ENCODING, accepted);
            }
            response
        }
        None => response,
    }
}

/// The same for the end of an answer that has begun; the status that it carries then.
pub(super) fn trailers_of(trailers: &mut HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(trailers)?;
    let Some(problem) = of(&status) else { return Some(status) };
    let status = Status::from(problem);
    let mut replaced = HeaderMap::new();
    // A status of ours always fits into headers.
    status.add_header(&mut replaced).ok()?;
    *trailers = replaced;
    Some(status)
}

/// What a status without a reason says; `None` for one that has its reason, or is no refusal.
fn of(status: &Status) -> Option<Problem> {
    if status.code() == Code::Ok || !status.details().is_empty() {
        return None;
    }
    let sentence = status.message();
    Some(match status.code() {
        Code::Internal if MALFORMED.iter().any(|start| sentence.starts_with(start)) => malformed(sentence),
        Code::OutOfRange if sentence.starts_with(TOO_LARGE) => too_large(),
        Code::ResourceExhausted if sentence.starts_with("Error decompressing") => too_large(),
        Code::OutOfRange if sentence.starts_with(ANSWER_TOO_LARGE) => answer_too_large(),
        Code::Unimplemented if sentence.starts_with(COMPRESSED) => compressed(),
        Code::Unimplemented => no_such_rpc(),
        Code::Internal | Code::Unknown => Problem::internal(&format_args!("without a reason: {sentence}")),
        // The library gives no other; a handler that does says at least whose fault it is.
        _ => return None,
    })
}

/// What was sent is no message.
pub(super) fn malformed(sentence: &str) -> Problem {
    let detail: String = sentence.chars().take(DETAIL_MAX).collect();
    Problem::new(
        Code::InvalidArgument,
        reason::MESSAGE_MALFORMED,
        format!("the bytes of the request are no message of this RPC: {detail}"),
    )
}

fn too_large() -> Problem {
    Problem::new(
        Code::InvalidArgument,
        reason::MESSAGE_TOO_LARGE,
        format!("the request is larger than {MAX_MESSAGE} bytes"),
    )
    .with_metadata("limit_bytes", MAX_MESSAGE.to_string())
}

/// What has a bound by count keeps to one by bytes as well, so this is a fault of ours; the caller can still help itself.
fn answer_too_large() -> Problem {
    tracing::error!("an answer was larger than a message may be");
    Problem::exhausted(
        reason::ANSWER_TOO_LARGE,
        format!("the answer would be larger than {MAX_MESSAGE} bytes; ask for less at once"),
    )
    .with_metadata("limit_bytes", MAX_MESSAGE.to_string())
}

fn compressed() -> Problem {
    Problem::new(
        Code::Unimplemented,
        reason::COMPRESSION_UNSUPPORTED,
        "messages are taken as they are (grpc-encoding: identity), not compressed",
    )
}

/// There is no such RPC, or not on this port.
pub(super) fn no_such_rpc() -> Problem {
    Problem::new(Code::Unimplemented, reason::NO_SUCH_RPC, "there is no such RPC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::reason_of;

    #[test]
    fn each_refusal_of_the_librarys_has_a_reason_and_ours_stay_as_they_are() {
        use Code::{Internal, InvalidArgument, ResourceExhausted, Unimplemented, Unknown};
        let table = [
            (Internal, "failed to decode Protobuf message: x", InvalidArgument, reason::MESSAGE_MALFORMED),
            (Internal, "Missing request message.", InvalidArgument, reason::MESSAGE_MALFORMED),
            (Internal, "something else", Internal, reason::INTERNAL),
            (Code::OutOfRange, TOO_LARGE, InvalidArgument, reason::MESSAGE_TOO_LARGE),
            (Code::OutOfRange, ANSWER_TOO_LARGE, ResourceExhausted, reason::ANSWER_TOO_LARGE),
            (ResourceExhausted, "Error decompressing: size limit", InvalidArgument, reason::MESSAGE_TOO_LARGE),
            (Unimplemented, COMPRESSED, Unimplemented, reason::COMPRESSION_UNSUPPORTED),
            (Unimplemented, "", Unimplemented, reason::NO_SUCH_RPC),
            (Unknown, "what", Internal, reason::INTERNAL),
        ];
        for (code, sentence, given, reason) in table {
            let status: Status = of(&Status::new(code, sentence)).expect("told anew").into();
            assert_eq!((status.code(), reason_of(&status).as_deref()), (given, Some(reason)), "{code:?} {sentence}");
        }
        let ours = Status::from(Problem::internal(&"a cause"));
        for status in [Status::new(Code::Ok, ""), Status::new(Code::Cancelled, ""), Status::unavailable("gone"), ours] {
            assert!(of(&status).is_none(), "{status}");
        }
    }
}
