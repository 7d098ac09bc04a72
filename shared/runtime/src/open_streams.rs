//! Streams that ask for no account: who watches health or asks for reflection passes through no stack, so each of these streams
//! has a place, and an end.

use std::{pin::Pin, time::Duration};

use bursar_rpc::{Origin, Problem, reason};
use futures::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Status};

use crate::places::{Place, Places};

/// What a call answers with.
pub(crate) type OpenStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How long one stream may be open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// At most.
    pub(crate) longest: Duration,
    /// Without an answer.
    pub(crate) idle: Duration,
    /// And for how many answers.
    pub(crate) answers: usize,
}

/// A place for the stream of a call. It counts for the other end of the connection: a header could say anything.
pub(crate) fn enter<T>(places: &Places, request: &Request<T>) -> Result<Place, Problem> {
    let origin = request.remote_addr().map_or(Origin::Local, |peer| Origin::at(peer.ip()));
    places.take(origin).ok_or_else(|| {
        let sentence = "as many streams are open as the server takes, of this address or of all; try again later";
        Problem::exhausted(reason::OVERLOADED, sentence).with_retry_after(Duration::from_secs(1))
    })
}

/// The answers of a stream until it ends by itself, or reaches a bound: then its caller is told to open another.
pub(crate) fn bounded<T: Send + 'static>(
    answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
    bounds: Bounds,
    place: Place,
) -> OpenStream<T> {
    let end = Instant::now() + bounds.longest;
    let open = Open { answers: Box::pin(answers), left: bounds.answers, end, _place: place };
    Box::pin(stream::unfold(Some(open), move |open| async move {
        let mut open = open?;
        let until = open.end.min(Instant::now() + bounds.idle);
        match (timeout_at(until, open.answers.next()).await, open.left.checked_sub(1)) {
            (Ok(None), _) => None,
            (Ok(Some(answer)), Some(left)) => {
                open.left = left;
                Some((answer, Some(open)))
            }
            (Ok(Some(_)), None) | (Err(_), _) => Some((Err(over().into()), None)),
        }
    }))
}

/// A stream that is open.
struct Open<T> {
    answers: OpenStream<T>,
    /// So many answers more.
    left: usize,
    end: Instant,
    _place: Place,
}

fn over() -> Problem {
    let sentence = "the stream was open, or without a request, for as long as it may be; open another";
    Problem::unavailable(reason::STREAM_OVER, sentence)
}
