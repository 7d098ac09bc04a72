//! The work of an upload, done by a task of its own: it has the upload's place and the room that is reserved, and not whoever
//! waits for it. A call that is given up ends nothing that is under way in the object store, which may take its time or say
//! nothing, so what it held is given back when that has ended: no more are at work than there are places, and nothing is
//! removed from a bucket while it is still being written there.

use bursar_db::Asker;
use bursar_time::Span;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::Organization;
use crate::Error;
use crate::content::{ContentError, Place};
use crate::store::objects;

/// How long an upload counts as under way without a sign of life: for longer than a segment may take in a bucket, so whoever writes
/// one gives none meanwhile. A folder that hangs for longer has its room back before its bytes are written, and a list of it shows them.
pub(super) const LEASE: Span = Span::from_mins(5);
/// How often it gives one.
pub(super) const RENEW_EVERY: Span = Span::from_secs(30);

/// A segment that is to be written, and whom to tell of it.
struct Word {
    segment: u32,
    bytes: Bytes,
    told: oneshot::Sender<Result<(), ContentError>>,
}

/// Has an object written by its task, which goes on when this is dropped: until what was begun has ended.
pub(super) struct Writer {
    words: mpsc::Sender<Word>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Begins to write an object, which was noted, in a place.
    pub(super) fn begin(organization: &Organization, object: &str, place: Place) -> Self {
        let (words, said) = mpsc::channel(1);
        let (organization, object) = (organization.clone(), object.to_owned());
        let task = tokio::spawn(Asker::current().scope(async move {
            organization.write_as_said(&object, said).await;
            organization.abandon(&object).await;
            drop(place);
        }));
        Self { words, task }
    }

    /// Writes a segment.
    pub(super) async fn write(&self, segment: u32, bytes: Bytes) -> Result<(), Error> {
        const ENDED: Error = Error::Internal("what writes an upload ended too early");
        let (told, written) = oneshot::channel();
        self.words.send(Word { segment, bytes, told }).await.map_err(|_| ENDED)?;
        Ok(written.await.map_err(|_| ENDED)??)
    }

    /// Ends it, and gives back what it held: the place, and the room unless the object is somebody's content by now.
    pub(super) async fn end(self) {
        drop(self.words);
        if self.task.await.is_err() {
            tracing::error!("what writes an upload panicked: its room lapses");
        }
    }
}

impl Organization {
    /// Writes what is said of an object until nothing is said any more.
    async fn write_as_said(&self, object: &str, mut said: mpsc::Receiver<Word>) {
        while let Some(Word { segment, bytes, told }) = said.recv().await {
            // Whoever has left before it was begun needs it no more.
            if !told.is_closed() {
                let _ = told.send(self.0.contents.write(object, segment, bytes).await);
            }
        }
    }

    /// Says that an upload is under way; false if it has lapsed.
    pub(super) async fn renew(&self, object: &str) -> Result<bool, Error> {
        let now = self.believed()?;
        let mut tx = self.0.db.begin().await?;
        let renewed = objects::renew(&mut tx, object, now.saturating_add(LEASE), now).await?;
        tx.commit().await?;
        Ok(renewed)
    }

    /// Gives the room of an upload back at once, unless its object is somebody's content; if that fails, or the clock is not
    /// believed, it lapses.
    async fn abandon(&self, object: &str) {
        let abandoned = async {
            let now = self.believed()?;
            let mut tx = self.0.db.begin().await?;
            objects::abandon(&mut tx, object, now).await?;
            tx.commit().await
        };
        if let Err(error) = abandoned.await {
            tracing::warn!(%error, "an upload that failed keeps its room until it lapses");
        }
    }
}
