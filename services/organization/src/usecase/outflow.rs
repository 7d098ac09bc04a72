//! Bytes on their way to whoever asked for them, written by a task of their own: whoever takes nothing any more is given up,
//! and holds nothing. How it ended is told apart from the bytes, so that an end that is none can always be told from one.

use std::future::Future;
use std::time::Duration;

use bursar_db::DbError;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::Error;
use crate::domain::Refusal;

/// Bytes on their way.
#[derive(Debug)]
pub struct Outflow {
    bytes: mpsc::Receiver<Bytes>,
    end: oneshot::Receiver<Result<(), Error>>,
}

impl Outflow {
    /// The bytes; an error is the last there is, and without one they are whole.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        let end = stream::once(async {
            let ended = self.end.await.unwrap_or(Err(Error::Internal("what was on its way broke off")));
            ended.err().map(Err)
        });
        ReceiverStream::new(self.bytes).map(Ok).chain(end.filter_map(std::future::ready))
    }
}

/// How long whoever asked may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For one part.
    pub(super) idle: Duration,
    /// For all of it.
    pub(super) limit: Duration,
    /// What it is called when that is over.
    pub(super) over: Refusal,
}

/// Where the bytes are put in.
#[derive(Debug)]
pub(super) struct Inlet {
    taker: mpsc::Sender<Bytes>,
    patience: Patience,
}

impl Inlet {
    /// Sends a part; waits until the one before it is taken.
    pub(super) async fn send(&self, part: Bytes) -> Result<(), Broken> {
        let taken = tokio::time::timeout(self.patience.idle, self.taker.send(part)).await;
        taken.map_err(|_| Error::from(self.patience.over))?.map_err(|_| Broken::Left)
    }
}

/// Why bytes were not sent to their end.
#[derive(Debug)]
pub(super) enum Broken {
    /// Whoever asked for them is not there any more.
    Left,
    /// Something failed.
    Failed(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<DbError> for Broken {
    fn from(error: DbError) -> Self {
        Self::Failed(error.into())
    }
}

/// Begins to send what `write` puts in.
pub(super) fn begin<F>(patience: Patience, write: impl FnOnce(Inlet) -> F) -> Outflow
where
    F: Future<Output = Result<(), Broken>> + Send + 'static,
{
    let (taker, bytes) = mpsc::channel(1);
    let (tell, end) = oneshot::channel();
    let writing = write(Inlet { taker, patience });
    tokio::spawn(async move {
        let ended = match tokio::time::timeout(patience.limit, writing).await {
            Ok(Ok(()) | Err(Broken::Left)) => Ok(()),
            Ok(Err(Broken::Failed(error))) => Err(error),
            Err(_) => Err(patience.over.into()),
        };
        // Whoever has left does not listen.
        let _ = tell.send(ended);
    });
    Outflow { bytes, end }
}
