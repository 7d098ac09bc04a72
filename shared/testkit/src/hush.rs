//! [`Hush`]: a service's events that can fall silent.

use std::sync::Arc;

use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::event::v1::event_service_server::{EventService, EventServiceServer};
use bursar_proto::event::v1::{SnapshotRequest, SnapshotResponse, WatchRequest, WatchResponse};
use bursar_rpc::Transport;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// A service's events on their way to those who follow them, until they fall silent. Clones are one.
#[derive(Clone)]
pub struct Hush {
    way: Transport,
    silent: Arc<watch::Sender<bool>>,
}

impl Hush {
    /// Over the routes that have the events.
    pub fn over(routes: Routes) -> Self {
        Self { way: Transport::routes(routes), silent: Arc::new(watch::Sender::new(false)) }
    }

    /// What takes the place of the service's own events.
    pub fn service(&self) -> EventServiceServer<Self> {
        EventServiceServer::new(self.clone())
    }

    /// Ends every stream; from now on none begins, as if the service were away or did not let anybody in.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Everything is as before.
    pub fn speak(&self) {
        self.silent.send_replace(false);
    }

    fn heard(&self) -> Result<(), Status> {
        if *self.silent.borrow() { Err(Status::unavailable("silent")) } else { Ok(()) }
    }

    fn until_silent<T: Send + 'static>(
        &self,
        stream: impl futures::Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> BoxStream<'static, Result<T, Status>> {
        let mut silent = self.silent.subscribe();
        let end = async move {
            let _ = silent.wait_for(|silent| *silent).await;
        };
        stream.take_until(end).boxed()
    }
}

impl std::fmt::Debug for Hush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hush(silent: {})", *self.silent.borrow())
    }
}

#[tonic::async_trait]
impl EventService for Hush {
    type SnapshotStream = BoxStream<'static, Result<SnapshotResponse, Status>>;
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.heard()?;
        let mut client = EventServiceClient::new(self.way.clone());
        let stream = client.watch(request.into_inner()).await?.into_inner();
        Ok(Response::new(self.until_silent(stream)))
    }

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        self.heard()?;
        let mut client = EventServiceClient::new(self.way.clone());
        let stream = client.snapshot(request.into_inner()).await?.into_inner();
        Ok(Response::new(self.until_silent(stream)))
    }
}
