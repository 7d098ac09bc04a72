//! An answer is over when its last message is sent, not when it begins: its outcome is noted then. That holds for a single
//! message, too, because one that is larger than the wire takes is refused only while it is sent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bursar_db::Asker;
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status};
use tracing::Span;

use super::{Call, Shared, metrics::Metrics, panic, reasons, trace};

/// Notes a call's outcome: now if it was refused, or at the end of its answer.
pub(super) fn until_the_end(
    response: Response<Body>,
    shared: &Arc<Shared>,
    (call, asker): (&Call, Asker),
    span: &Span,
) -> Response<Body> {
    let code = trace::code_of(&response);
    if code != Code::Ok {
        trace::ended(span, call, &response);
        shared.metrics.record(call, code);
        return response;
    }
    let noting = Noting {
        call: Call { id: call.id.clone(), ..*call },
        metrics: shared.metrics.clone(),
        span: span.clone(),
        noted: false,
    };
    response.map(|body| Body::new(Watched { body, asker, noting }))
}

/// An answer's body; a caller that goes away in the middle of it counts as CANCELLED.
struct Watched {
    body: Body,
    /// For whom it takes connections of the store, where it is a stream.
    asker: Asker,
    noting: Noting,
}

struct Noting {
    call: Call,
    metrics: Metrics,
    span: Span,
    noted: bool,
}

impl Noting {
    fn end(&mut self, code: Code, status: Option<&Status>) {
        if !std::mem::replace(&mut self.noted, true) {
            trace::outcome(&self.span, &self.call, code, status);
            self.metrics.record(&self.call, code);
        }
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        self.end(Code::Cancelled, None);
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let (span, asker) = (this.noting.span.clone(), this.asker);
        let poll = || asker.step(|| Pin::new(&mut this.body).poll_frame(context));
        let polled = span.in_scope(|| catch_unwind(AssertUnwindSafe(poll)));
        let polled = match polled {
            Ok(polled) => polled,
            Err(panic) => {
                // The stream is broken: end it with a status rather than poll it again.
                this.body = Body::empty();
                let status = panic::status(&*panic);
                this.noting.end(Code::Internal, Some(&status));
                let mut trailers = HeaderMap::new();
                let _ = status.add_header(&mut trailers);
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        };
        let mut frame = ready!(polled);
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(status) = frame.trailers_mut().and_then(reasons::trailers_of) {
                    this.noting.end(status.code(), Some(&status));
                }
            }
            Some(Err(_)) => this.noting.end(Code::Unknown, None),
            None => this.noting.end(Code::Ok, None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
