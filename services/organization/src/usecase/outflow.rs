//! Bytes on their way to whoever asked for them, written by a task of their own: whoever takes nothing any more is given up,
//! and holds nothing. How it ended is told apart from the bytes, so that an end that is none can always be told from one.
//!
//! It takes longer than anybody's standing is sure to last: of content each further segment is preceded by another look.

use std::future::Future;
use std::time::Duration;

use bursar_db::{Asker, DbError};
use bursar_time::Span;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::Error;
use crate::content::{ContentError, Contents};
use crate::domain::Refusal;
use crate::store::contents::ContentRow;

/// The longest that anybody reads: so long an object is kept that is nobody's any more.
pub(super) const LONGEST: Span = Span::from_hours(3);

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
    /// For all of it; never more than [`LONGEST`].
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
    // What it looks up meanwhile is looked up for whoever takes it.
    tokio::spawn(Asker::current().scope(async move {
        let ended = match tokio::time::timeout(patience.limit.min(LONGEST.to_std()), writing).await {
            Ok(Ok(()) | Err(Broken::Left)) => Ok(()),
            Ok(Err(Broken::Failed(error))) => Err(error),
            Err(_) => Err(patience.over.into()),
        };
        // Whoever has left does not listen.
        let _ = tell.send(ended);
    }));
    Outflow { bytes, end }
}

/// Whether whoever began to take something may still have it.
pub(super) type Look = Box<dyn Fn() -> BoxFuture<'static, Result<(), Error>> + Send>;

/// The bytes of a content from an offset on, one segment after the other. Whoever asks for them has looked just now; `look`
/// does so again before each further segment.
pub(super) fn content(
    contents: &Contents,
    row: &ContentRow,
    offset: u64,
    look: Look,
) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
    let (size, length) = (row.size.unsigned_abs(), row.segment.unsigned_abs().max(1));
    let (contents, object) = (contents.clone(), row.object.clone());
    let segments = stream::try_unfold(offset, move |at| {
        let (contents, object) = (contents.clone(), object.clone());
        let looking = (offset < at && at < size).then(&look);
        async move {
            if at >= size {
                return Ok::<_, Error>(None);
            }
            if let Some(looking) = looking {
                looking.await?;
            }
            let segment = u32::try_from(at / length).map_err(|_| Error::Internal("a segment beyond all bounds"))?;
            let found = contents.read(&object, segment, at % length).await?;
            let end = (at - at % length).saturating_add(length).min(size);
            Ok(Some((whole(found, end - at), end)))
        }
    });
    segments.try_flatten()
}

/// The bytes of a segment, which must be so many.
fn whole(
    found: BoxStream<'static, Result<Bytes, ContentError>>,
    length: u64,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::try_unfold((found, length), |(mut found, left)| async move {
        let wrong = Error::Internal("a segment is not as long as it was written");
        match found.next().await {
            Some(bytes) => {
                let bytes = bytes?;
                let left = left.checked_sub(bytes.len() as u64).ok_or(wrong)?;
                Ok(Some((bytes, (found, left))))
            }
            None if left == 0 => Ok(None),
            None => Err(wrong),
        }
    })
}
