//! HTTP to buckets. Nothing waits for ever.

use std::time::Duration;

use bursar_runtime::{HttpsClient, https_client};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Incoming};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::time::timeout;

/// How long it may take to send a request and to get the head of its answer: a segment at a megabit a second.
const ANSWERED_WITHIN: Duration = Duration::from_secs(45);
/// How long the next bytes of an answer may keep whoever waits for them.
const NEXT_WITHIN: Duration = Duration::from_secs(15);

/// Makes requests. Cheap to clone: all clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Wire(HttpsClient<HttpRequestBody>);

impl Wire {
    /// Reads the system's authorities.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(https_client()?))
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Wire {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answered = timeout(ANSWERED_WITHIN, self.0.request(request)).await;
            let answer = answered.map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))?.map_err(|error| {
                // Whatever was on its way then is put, read or removed by its name: it can be asked for again.
                let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
                HttpError::new(kind, error)
            })?;
            Ok(answer.map(|body| HttpResponseBody::new(punctual(body))))
        })
    }
}

/// The body of an answer, of which the next bytes come in time. Whoever does not ask for them may take as long as they like.
fn punctual(body: Incoming) -> impl Body<Data = Bytes, Error = HttpError> + Send + Sync + 'static {
    StreamBody::new(stream::try_unfold(body, |mut body| async move {
        let next = timeout(NEXT_WITHIN, body.frame()).await;
        let Some(frame) = next.map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))? else { return Ok(None) };
        let frame = frame.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        Ok(Some((frame, body)))
    }))
}
