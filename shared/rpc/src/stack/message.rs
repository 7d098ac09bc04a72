//! The request's message, which has to come: a call that nobody finishes sending keeps its place in work for a few seconds.
//! What has come of it counts (`weight.rs`), and what it takes once it is read (`growth.rs`), before anybody looks at it.
//!
//! The bound of time is for messages that come by themselves. Whoever sends a stream has as long as streams may take, and what
//! is between its chunks is for its handler to bound.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};

use super::growth::Growing;
use super::methods::Access;
use super::weight::{self, Come, Longest};
use super::{Call, Limits};
use crate::Problem;
use crate::problem::reason;

/// So many bytes are waited for a second longer: who sends much over a thin line is not who sends nothing.
const BYTES_A_SECOND: u32 = 32 * 1024;

/// The same request, whose message has to come in time if it comes by itself, and whose bytes count.
pub(super) fn bounded(request: Request<Body>, call: &Call, limits: &Limits) -> Request<Body> {
    let Access::Rule(rule) = call.method.access else { return request };
    if request.body().is_end_stream() {
        return request;
    }
    let until = call.started + limits.message_deadline;
    let growing = call.method.grows.map(Growing::new);
    request.map(|body| {
        let bounded = if rule.client_streaming { Bounded::many(body) } else { Bounded::one(body, until) };
        Body::new(Bounded { growing, ..bounded })
    })
}

/// A body that is waited for until some time, and has so much in memory.
struct Bounded {
    body: Body,
    come: Come,
    /// What it takes beside that once it is read; `None`: nothing.
    growing: Option<Growing>,
    /// Until when it is waited for. `None`: as long as its call lasts.
    until: Option<Instant>,
    /// Made when something is waited for, which with most calls nothing is: the message came with the call.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    /// Of one message that comes by itself.
    fn one(body: Body, until: Instant) -> Self {
        Self { body, come: Come::One(0), growing: None, until: Some(until), timer: None }
    }

    /// Of a stream of messages.
    fn many(body: Body) -> Self {
        Self { body, come: Come::Many(Longest::default()), growing: None, until: None, timer: None }
    }

    /// Some of it has come: it may stay in memory, and gives time for the rest.
    fn take(&mut self, data: &Bytes) -> Result<(), Problem> {
        if let Some(until) = &mut self.until {
            let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
            *until += Duration::from_secs(1).saturating_mul(bytes) / BYTES_A_SECOND;
        }
        let come = self.come.take(data);
        let grown = self.growing.as_mut().map_or(Ok(0), |growing| growing.take(data))?;
        weight::hold(come, grown)
    }

    /// Ends it: nothing comes after that.
    fn refused(&mut self, problem: Problem) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.body = Body::empty();
        Poll::Ready(Some(Err(axum::Error::new(Status::from(problem)))))
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            return match data.map_or(Ok(()), |data| this.take(data)) {
                Ok(()) => Poll::Ready(frame),
                Err(problem) => this.refused(problem),
            };
        }
        let Some(until) = this.until else { return Poll::Pending };
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(context));
        this.refused(late())
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The handler has not run, so nothing took effect.
fn late() -> Problem {
    Problem::new(Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED, "the request's message did not come in time")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use bursar_id::UserId;
    use bursar_proto::billing::v1::{BatchChargeRequest, ChargeRequest, Usage};
    use futures::StreamExt as _;
    use http_body_util::BodyExt as _;
    use prost::Message as _;

    use super::super::shapes::grows;
    use super::super::shed::{By, InFlight};
    use super::super::weight::{Weight, counted};
    use super::*;
    use crate::MAX_MESSAGE;
    use crate::caller::Party;
    use crate::stack::MESSAGE_MEMORY_MAX;

    /// A batch with as many charges, meters and labels as the rules allow, about as long as a message may be.
    fn largest() -> Vec<u8> {
        let charge = ChargeRequest {
            usage: vec![Usage { meter: "m".repeat(40), quantity: "1".repeat(14) }; 32],
            labels: (0..32).map(|number| (format!("label-{number:02}"), "x".repeat(40))).collect(),
            ..ChargeRequest::default()
        };
        BatchChargeRequest { charges: vec![charge; 1_000] }.encode_to_vec()
    }

    /// Whether a message that comes in frames has room where the messages of all calls may have so many bytes.
    async fn has_room(message: &[u8], most_bytes: usize) -> bool {
        let head = u32::try_from(message.len()).expect("short").to_be_bytes();
        let sent = Bytes::from([&[0][..], &head, message].concat());
        let frames: Vec<_> = sent.chunks(16 * 1024).map(|frame| Ok::<_, Infallible>(sent.slice_ref(frame))).collect();
        let body = Bounded {
            growing: grows("/bursar.billing.v1.CreditService/BatchCharge").map(Growing::new),
            ..Bounded::one(Body::from_stream(futures::stream::iter(frames)), Instant::now() + Duration::from_hours(1))
        };
        let in_flight = Arc::new(InFlight::new(1, most_bytes));
        let weight = Weight::none(&in_flight, By::Known(Party::Person(UserId::from_parts(1, [1; 10]))));
        counted(Some(weight), body.collect()).await.is_ok()
    }

    #[tokio::test]
    async fn the_largest_message_that_the_rules_allow_has_room_in_what_a_program_has_at_least() {
        let message = largest();
        assert!((MAX_MESSAGE * 3 / 4..MAX_MESSAGE).contains(&message.len()), "{}", message.len());
        assert!(has_room(&message, 2 * MESSAGE_MEMORY_MAX).await, "who is alone has half of it");
        assert!(!has_room(&message, 4 * MAX_MESSAGE).await, "it counts with its parts");
    }

    /// A body that never ends: so many bytes again and again.
    fn drip(bytes: usize, every: Duration) -> Body {
        Body::from_stream(futures::stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(every).await;
            Ok::<_, Infallible>(Bytes::from(vec![0; bytes]))
        }))
    }

    /// How many parts of it come in time, of so many.
    async fn come(body: Body, most: usize) -> usize {
        let until = Instant::now() + Duration::from_secs(5);
        let mut body = Bounded::one(body, until);
        for come in 0..most {
            if let Err(error) = body.frame().await.expect("it never ends") {
                let status = Status::from_error(error.into());
                assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
                let told = crate::problem::reason_of(&status);
                assert_eq!(told.as_deref(), Some(reason::DEADLINE_EXCEEDED));
                assert!(body.frame().await.is_none(), "nothing comes after that");
                return come;
            }
        }
        most
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_waited_for_as_long_as_it_comes() {
        let (kib, millis) = (1_024, Duration::from_millis);
        assert_eq!(come(Body::from_stream(futures::stream::pending::<Result<Bytes, Infallible>>()), 9).await, 0);
        assert_eq!(come(drip(1, millis(900)), 99).await, 5, "a byte now and then gives no more time");
        assert_eq!(come(drip(64 * kib, millis(1_900)), 99).await, 99, "a thin line, but all of it");
        assert_eq!(come(drip(16 * kib, millis(900)), 99).await, 11, "too thin a line");
    }
}
