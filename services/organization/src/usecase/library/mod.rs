//! Libraries: items of kinds, with documents in which some fields are secret.
//!
//! A user works in the token's own context. A service of the product's works for any owner, and names the member for whom
//! it writes. Whoever changes a library holds the lock on its row, so that what stands under what, what is left of the quota, and
//! what is being erased cannot change in between.

mod access;
mod changing;
mod collecting;
mod contents;
mod copying;
mod deleting;
mod documents;
mod downloading;
mod erasing;
mod makers;
mod making;
mod reading;
mod secrets;
mod templates;
mod uploading;
mod writing;

use bursar_document::Document;
use bursar_id::{ItemId, OwnerId, ProjectId, UserId};
use bursar_time::Timestamp;
use serde_json::{Map, Value};

use crate::domain::name::Name;

pub use downloading::Download;
pub use erasing::{ERASURE, Erasure};
pub(super) use reading::portion;
pub use secrets::Revealed;
pub use uploading::UploadStart;

/// An item, as it is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// The context it belongs to.
    pub owner: OwnerId,
    /// The name of its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its document, without what is secret.
    pub document: Map<String, Value>,
    /// The item under which it stands.
    pub parent: Option<ItemId>,
    /// The project to which it belongs.
    pub project: Option<ProjectId>,
    /// Its content, if it has any.
    pub content: Option<Content>,
    /// The names of the secret fields that are set.
    pub secrets_set: Vec<String>,
    /// Who made it, or for whom a service did.
    pub created_by: UserId,
    /// Counts the changes; the etag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What an item carries beside its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// How many bytes there are.
    pub size: i64,
    /// What they are.
    pub media_type: String,
    /// Their SHA-256.
    pub sha256: Vec<u8>,
}

/// What to copy.
#[derive(Clone, Debug)]
pub struct ItemCopy {
    /// The item.
    pub item: ItemId,
    /// The item of the target's under which the copy shall stand.
    pub to_parent: Option<ItemId>,
    /// What goes along of that which stands under it.
    pub children: Children,
    /// For whom a service copies.
    pub member: Option<UserId>,
}

/// What goes along with a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Children {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// These, which stand right under it, with everything under them.
    These(Vec<ItemId>),
}

/// An item to make.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// The name of its kind.
    pub kind: String,
    /// Its name.
    pub name: Name,
    /// Its document, with what is secret.
    pub document: Document,
    /// The item under which it shall stand.
    pub parent: Option<ItemId>,
    /// For whom a service makes it.
    pub member: Option<UserId>,
}

/// What to change about an item; `None` stays as it is.
#[derive(Clone, Debug)]
pub struct ItemChange {
    /// The item.
    pub item: ItemId,
    /// The new name.
    pub name: Option<Name>,
    /// The new document, with what is secret.
    pub document: Option<Document>,
    /// The state that the change is meant for.
    pub etag: String,
    /// For whom a service changes it.
    pub member: Option<UserId>,
}

/// What to delete.
#[derive(Clone, Debug)]
pub struct ItemDeletion {
    /// The item.
    pub item: ItemId,
    /// Whether what stands under it goes, too.
    pub with_children: bool,
    /// The state that the deletion is meant for.
    pub etag: String,
    /// For whom a service deletes it.
    pub member: Option<UserId>,
}

/// Which items are listed; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct ItemFilter {
    /// Those of this kind.
    pub kind: Option<String>,
    /// Those right under this item.
    pub parent: Option<ItemId>,
    /// Those of this project.
    pub project: Option<ProjectId>,
}
