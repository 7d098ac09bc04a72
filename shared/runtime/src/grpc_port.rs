//! A gRPC port: each connection has a server of its own, so that one can be asked to end by itself, and is known to be idle while
//! none of its calls is in work ([`Places`](crate::places::Places)).

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, body::Body, service::Routes, transport::Server};
use tower::Service;

use crate::{
    connection::Connection,
    listen::Incoming,
    places::{Call, Work},
};

/// How the paths begin of what is no work: health and reflection. Whoever watches health does so for an hour, and waits.
const BESIDE: &str = "/grpc.";

/// Serves until `end` is cancelled; what has begun by then is answered.
pub(crate) async fn serve(server: Server, routes: Routes, mut incoming: Incoming, end: CancellationToken) {
    let open = TaskTracker::new();
    let routes = routes.prepare();
    loop {
        let connection = tokio::select! {
            biased;
            () = end.cancelled() => break,
            connection = incoming.accept() => connection,
        };
        open.spawn(attend(server.clone(), routes.clone(), connection, end.clone()));
    }
    drop(incoming);
    open.close();
    open.wait().await;
}

/// Serves one connection until it is closed. It is asked to finish at the end, or when it shall give way.
async fn attend(server: Server, routes: Routes, connection: Connection, end: CancellationToken) {
    let work = connection.work();
    let (counted, looked_on) = (Counted { routes, work: work.clone() }, work.clone());
    let told = async move {
        tokio::select! {
            () = end.cancelled() => {}
            () = work.told() => {}
        }
    };
    let one = stream::iter([Ok::<_, io::Error>(connection)]).chain(stream::pending());
    let outcome = tokio::select! {
        ended = server.serve_with_incoming_shutdown(counted, one, told) => ended,
        () = looked_on.look_on() => return,
    };
    // Anybody can cause this, so it is no warning.
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection of HTTP/2 broke");
    }
}

/// The routes for one connection, which has a call in work until the connection has the last of its answer to send, or nobody takes it.
#[derive(Clone)]
struct Counted {
    routes: Routes,
    work: Work,
}

impl Service<Request<Body>> for Counted {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let is_work = !request.uri().path().starts_with(BESIDE);
        let call = is_work.then(|| self.work.begin());
        Answering { answer: self.routes.call(request), call }
    }
}

/// The answer to come.
struct Answering {
    answer: <Routes as Service<Request<Body>>>::Future,
    call: Option<Call>,
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx))?;
        let mut call = self.call.take();
        if let Some(call) = &mut call {
            call.offers();
        }
        Poll::Ready(Ok(answer.map(|body| Answer { body, call })))
    }
}

/// What is answered. Whoever asks for more of it has a use for that: everything before was taken, or is the connection's to send.
struct Answer {
    body: Body,
    call: Option<Call>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(call) = &mut self.call {
            if frame.is_pending() { call.works() } else { call.offers() }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
