//! Reading a library: kinds, single items, and lists of them.

use std::ops::Bound;

use bursar_id::{ItemId, OwnerId};
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Caller, Problem};

use super::super::Organization;
use super::super::access::demand_served;
use super::{Item, ItemFilter};
use crate::Error;
use crate::domain::kind::Kind;
use crate::store::items::{self, By, ItemKey};

/// The most bytes of rows that one page reads; one item is read at least.
const PAGE_BYTES: i64 = 2 * 1024 * 1024;

impl Organization {
    /// The deployment's kinds, by name.
    pub fn list_kinds(&self, page: &PageRequest<String>) -> Result<Page<Kind>, Error> {
        let after = page.after().map_or(Bound::Unbounded, |name| Bound::Excluded(name.as_str()));
        let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let kinds = self.0.kinds.after(after).take(limit).cloned().collect();
        Ok(page.page(kinds, |kind| kind.name.clone())?)
    }

    /// An item, without what is secret.
    pub async fn get_item(&self, caller: &Caller, id: Result<ItemId, Problem>) -> Result<Item, Error> {
        let mut tx = self.0.db.read().await?;
        let row = self.item_to_read(&mut tx, caller, id).await?;
        self.shown(row)
    }

    /// An item of a context in which the caller has written it: `None` where it is gone, or the context is closed at the moment.
    pub async fn item_as_is(&self, owner: OwnerId, id: ItemId) -> Result<Option<Item>, Error> {
        let mut tx = self.0.db.read().await?;
        match demand_served(&mut tx, owner).await {
            Err(Error::Refused(_)) => return Ok(None),
            served => served?,
        }
        items::by_id(&mut tx, owner, id).await?.map(|row| self.shown(row)).transpose()
    }

    /// The items of a context, the latest first. Reads one page's keys and no more than `PAGE_BYTES` of rows, whatever
    /// of them the filters leave.
    pub async fn list_items(
        &self,
        caller: &Caller,
        owner: OwnerId,
        asked: Result<(ItemFilter, PageRequest<ItemId>), Problem>,
    ) -> Result<Page<Item>, Error> {
        let mut tx = self.0.db.read().await?;
        self.look_into(&mut tx, caller, owner).await?;
        let (filter, page) = asked?;
        let mut keys = items::keys(&mut tx, owner, &by(&filter), page.after().copied(), page.limit()).await?;
        let size = page.size() as usize;
        let more = keys.len() > size;
        keys.truncate(size);
        let read = portion(&keys, PAGE_BYTES, |key| fits(&filter, key));
        let wanted: Vec<ItemId> = read.iter().filter(|key| fits(&filter, key)).map(|key| key.id).collect();
        let last = read.last().map(|key| key.id).filter(|_| more || read.len() < keys.len());
        let rows = items::by_ids(&mut tx, owner, &wanted).await?;
        let shown = rows.into_iter().map(|row| self.shown(row)).collect::<Result<Vec<_>, _>>()?;
        Ok(page.page_before(shown, |item| item.id, last)?)
    }
}

/// The first of these keys, so many that the rows of those which are `wanted` have no more than `most` bytes; of one row, however
/// many.
pub(in crate::usecase) fn portion(keys: &[ItemKey], most: i64, wanted: impl Fn(&ItemKey) -> bool) -> &[ItemKey] {
    let (mut bytes, mut any) = (0_i64, false);
    let past = keys.iter().position(|key| {
        if !wanted(key) {
            return false;
        }
        bytes = bytes.saturating_add(key.bytes);
        std::mem::replace(&mut any, true) && bytes > most
    });
    keys.split_at(past.unwrap_or(keys.len())).0
}

/// The filter that leaves the fewest items, as far as can be known.
fn by(filter: &ItemFilter) -> By<'_> {
    match filter {
        ItemFilter { parent: Some(parent), .. } => By::Parent(*parent),
        ItemFilter { project: Some(project), .. } => By::Project(*project),
        ItemFilter { kind: Some(kind), .. } => By::Kind(kind),
        ItemFilter { .. } => By::Owner,
    }
}

fn fits(filter: &ItemFilter, key: &ItemKey) -> bool {
    filter.kind.as_ref().is_none_or(|kind| *kind == key.kind)
        && filter.parent.is_none_or(|parent| key.parent == Some(parent))
        && filter.project.is_none_or(|project| key.project == Some(project))
}
