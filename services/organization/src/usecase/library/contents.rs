//! Which bytes an item has, and whether they still count for anybody: always under the library's lock.

use bursar_db::Tx;
use bursar_id::{ItemId, OwnerId};
use bursar_time::Timestamp;

use super::super::outflow::LONGEST;
use crate::Error;
use crate::domain::Refusal;
use crate::store::contents::{self, Attached, ContentRow};
use crate::store::objects;

/// Gives an item the bytes of a new object, or the same bytes where the owner has them already. Says how many more bytes the
/// library takes.
pub(super) async fn attach(tx: &mut Tx, attached: &Attached<'_>, object: &str, now: Timestamp) -> Result<i64, Error> {
    let had = contents::more(tx, attached.owner, attached.sha256).await?;
    if had {
        objects::abandon(tx, object, now).await?;
    } else {
        if !objects::adopt(tx, object, now).await? {
            return Err(Refusal::UploadLapsed.into());
        }
        contents::insert(tx, attached.owner, attached.sha256, object, attached.size).await?;
    }
    contents::attach(tx, attached).await?;
    Ok(if had { 0 } else { attached.size })
}

/// Takes their content from items. Says how many bytes fewer the library takes. An object that is nobody's any more is kept
/// for those who are still reading it.
pub(super) async fn detach(tx: &mut Tx, owner: OwnerId, items: &[ItemId], now: Timestamp) -> Result<i64, Error> {
    let mut freed = 0_i64;
    let mut detached = contents::detach(tx, owner, items).await?;
    // What owners share is locked in one order.
    detached.sort_unstable();
    for sha256 in detached {
        if let Some((object, size)) = contents::fewer(tx, owner, &sha256).await? {
            objects::release(tx, &object, now.saturating_add(LONGEST)).await?;
            freed = freed.saturating_add(size);
        }
    }
    Ok(freed)
}

/// Gives an item of another owner the same bytes: an address of that owner's own for the object in which they lie. Says how
/// many more bytes that library takes.
pub(super) async fn give(tx: &mut Tx, owner: OwnerId, item: ItemId, content: &ContentRow) -> Result<i64, Error> {
    let had = contents::more(tx, owner, &content.sha256).await?;
    if !had {
        // It is somebody's: the library from which it comes is locked.
        if !objects::share(tx, &content.object).await? {
            return Err(Error::Internal("an item's content is nobody's"));
        }
        contents::insert(tx, owner, &content.sha256, &content.object, content.size).await?;
    }
    let (sha256, size) = (content.sha256.as_slice(), content.size);
    contents::attach(tx, &Attached { owner, item, sha256, size, media_type: &content.media_type }).await?;
    Ok(if had { 0 } else { content.size })
}
