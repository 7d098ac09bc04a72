//! Giving out an item's content, from any offset on.

use std::pin::pin;
use std::time::Duration;

use bursar_id::ItemId;
use bursar_rpc::{Caller, Problem};
use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};

use super::super::Organization;
use super::super::access::acting;
use super::super::outflow::{self, Broken, Inlet, Look, Outflow, Patience};
use super::Content;
use crate::Error;
use crate::domain::Refusal;
use crate::store::contents;

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
    /// Begins to give out an item's content from an offset on. Whoever may not read there any more gets no further segment,
    /// nor does a person of whom nobody knows whether that is so.
    pub async fn download_content(
        &self,
        caller: &Caller,
        asked: Result<(ItemId, u64), Problem>,
    ) -> Result<Download, Error> {
        let mut tx = self.0.db.read().await?;
        let id = asked.as_ref().map(|(id, _)| *id).map_err(Problem::clone);
        let row = self.item_to_read(&mut tx, caller, id).await?;
        let (id, offset) = asked?;
        if let Some(user) = acting(caller)? {
            self.demand_certain(user.user)?;
        }
        let found = contents::of_item(&mut tx, row.owner, id).await?.ok_or(Refusal::ContentNotFound)?;
        drop(tx);
        if offset > found.size.unsigned_abs() {
            let what = format!("is past the end: the content has {} bytes", found.size);
            return Err(Problem::invalid_field("offset", what).into());
        }
        let place = self.0.downloads.take(row.owner).ok_or(Refusal::TooManyTransfers)?;
        let content = Content { size: found.size, media_type: found.media_type.clone(), sha256: found.sha256.clone() };
        let patience = Patience { idle: self.0.config.library.idle, limit: LIMIT, over: Refusal::DownloadStalled };
        let (this, caller, owner) = (self.clone(), caller.clone(), row.owner);
        let look: Look = Box::new(move || {
            let (this, caller) = (this.clone(), caller.clone());
            async move { this.look_again(&caller, owner).await }.boxed()
        });
        let bytes = outflow::content(&self.0.contents, &found, offset, look);
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
