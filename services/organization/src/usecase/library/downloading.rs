//! Giving out an item's content, from any offset on.

use std::time::Duration;

use bursar_id::ItemId;
use bursar_rpc::{Caller, Problem};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::super::Organization;
use super::Content;
use crate::Error;
use crate::content::{Contents, Place};
use crate::domain::Refusal;
use crate::store::contents::{self, ContentRow};

/// The most bytes of one part.
const PART: usize = 256 * 1024;
/// How long it may take altogether; what is missing then is fetched from there on.
const LIMIT: Duration = Duration::from_hours(1);

/// Content on its way.
#[derive(Debug)]
pub struct Download {
    /// What it is.
    pub content: Content,
    /// Its bytes from the offset on; an error is the last there is.
    pub parts: mpsc::Receiver<Result<Bytes, Error>>,
}

impl Organization {
    /// Begins to give out an item's content from an offset on.
    pub async fn download_content(
        &self,
        caller: &Caller,
        asked: Result<(ItemId, u64), Problem>,
    ) -> Result<Download, Error> {
        let mut tx = self.0.db.read().await?;
        let id = asked.as_ref().map(|(id, _)| *id).map_err(Problem::clone);
        let row = self.item_to_read(&mut tx, caller, id).await?;
        let (id, offset) = asked?;
        let found = contents::of_item(&mut tx, row.owner, id).await?.ok_or(Refusal::ContentNotFound)?;
        drop(tx);
        if offset > found.size.unsigned_abs() {
            let what = format!("is past the end: the content has {} bytes", found.size);
            return Err(Problem::invalid_field("offset", what).into());
        }
        let place = self.0.downloads.take(row.owner).ok_or(Refusal::TooManyTransfers)?;
        let (sender, parts) = mpsc::channel(1);
        let content = Content { size: found.size, media_type: found.media_type.clone(), sha256: found.sha256.clone() };
        // Apart from the call, so that a caller who takes nothing any more is given up.
        tokio::spawn(send(self.0.contents.clone(), found, offset, sender, place, self.0.config.library.idle));
        Ok(Download { content, parts })
    }
}

/// Reads and sends until the end, an error, or nobody is there any more.
async fn send(
    contents: Contents,
    row: ContentRow,
    offset: u64,
    sender: mpsc::Sender<Result<Bytes, Error>>,
    _place: Place,
    idle: Duration,
) {
    let sent = tokio::time::timeout(LIMIT, send_from(&contents, &row, offset, &sender, idle)).await;
    let outcome = sent.unwrap_or(Err(Refusal::DownloadStalled.into()));
    if let Err(error) = outcome {
        // Whoever takes nothing gets no error either, but the end of the stream as of one that broke off.
        let _ = tokio::time::timeout(idle, sender.send(Err(error))).await;
    }
}

async fn send_from(
    contents: &Contents,
    row: &ContentRow,
    offset: u64,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
    idle: Duration,
) -> Result<(), Error> {
    let (size, length) = (row.size.unsigned_abs(), row.segment.unsigned_abs().max(1));
    let mut at = offset;
    while at < size {
        let segment = u32::try_from(at / length).map_err(|_| Error::Internal("a segment beyond all bounds"))?;
        let mut stream = contents.read(&row.object, segment, at % length).await?;
        let before = at;
        while let Some(bytes) = stream.next().await {
            let mut bytes = bytes?;
            at = at.saturating_add(bytes.len() as u64);
            while !bytes.is_empty() {
                let part = bytes.split_to(bytes.len().min(PART));
                let taken = tokio::time::timeout(idle, sender.send(Ok(part))).await;
                if taken.map_err(|_| Refusal::DownloadStalled)?.is_err() {
                    return Ok(());
                }
            }
        }
        if at == before || (at < size && !at.is_multiple_of(length)) {
            return Err(Error::Internal("a segment is shorter than it was written"));
        }
    }
    Ok(())
}
