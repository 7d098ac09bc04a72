//! Giving out an item's content, from any offset on.

use std::pin::pin;
use std::time::Duration;

use bursar_id::ItemId;
use bursar_rpc::{Caller, Problem};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::super::Organization;
use super::super::outflow::{self, Broken, Inlet, Outflow, Patience};
use super::Content;
use crate::Error;
use crate::content::{ContentError, Contents};
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
    /// Its bytes from the offset on.
    pub bytes: Outflow,
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
        let content = Content { size: found.size, media_type: found.media_type.clone(), sha256: found.sha256.clone() };
        let patience = Patience { idle: self.0.config.library.idle, limit: LIMIT, over: Refusal::DownloadStalled };
        let bytes = bytes_from(&self.0.contents, &found, offset);
        let bytes = outflow::begin(patience, |inlet| async move {
            let sent = send(bytes, &inlet).await;
            drop(place);
            sent
        });
        Ok(Download { content, bytes })
    }
}

async fn send(bytes: impl Stream<Item = Result<Bytes, Error>>, inlet: &Inlet) -> Result<(), Broken> {
    let mut bytes = pin!(bytes);
    while let Some(found) = bytes.next().await {
        let mut found = found?;
        while !found.is_empty() {
            inlet.send(found.split_to(found.len().min(PART))).await?;
        }
    }
    Ok(())
}

/// The bytes of a content from an offset on, one segment after the other.
pub(in crate::usecase) fn bytes_from(
    contents: &Contents,
    row: &ContentRow,
    offset: u64,
) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
    let (size, length) = (row.size.unsigned_abs(), row.segment.unsigned_abs().max(1));
    let (contents, object) = (contents.clone(), row.object.clone());
    let segments = stream::try_unfold(offset, move |at| {
        let (contents, object) = (contents.clone(), object.clone());
        async move {
            if at >= size {
                return Ok::<_, Error>(None);
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
