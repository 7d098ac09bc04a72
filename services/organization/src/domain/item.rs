//! Where an item of a library may stand, who may delete it, and what it takes of the quota.

use std::fmt;

use bursar_id::{ItemId, ProjectId, Role, UserId};
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::kind::Kind;

/// The most items that one call copies (product.md, "Library"), and that one which deletes erases at once: a job erases what is
/// more.
pub const MAX_TOUCHED: u32 = 1_000;

/// What an item takes of the quota beside its document, in bytes: its row and its places in the indexes.
const ROW_BYTES: usize = 1024;

/// What is deleted with everything that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// An item, with everything under it.
    Item(ItemId),
    /// A project, with the items that are its.
    Project(ProjectId),
}

/// Its id.
impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(id) => fmt::Display::fmt(id, f),
            Self::Project(id) => fmt::Display::fmt(id, f),
        }
    }
}

/// Whether an item of this kind may stand under one of the kind `parent`.
pub fn under(kind: &Kind, parent: &str) -> Result<(), Refusal> {
    if kind.parents.contains(parent) { Ok(()) } else { Err(Refusal::ParentNotAllowed) }
}

/// Whether a person may delete items that these people made: in the personal context and for Owner and Admin all, for a
/// Member only their own.
pub fn delete(actor: UserId, role: Option<Role>, makers: impl IntoIterator<Item = UserId>) -> Result<(), Refusal> {
    let others = only_own(role) && makers.into_iter().any(|maker| maker != actor);
    if others { Err(Refusal::RoleNotAllowed) } else { Ok(()) }
}

/// Whether somebody deletes only what they made themselves.
pub fn only_own(role: Option<Role>) -> bool {
    role == Some(Role::Member)
}

/// What an item takes of the quota, in bytes.
pub fn bytes(document: usize, secrets: usize) -> i64 {
    i64::try_from(ROW_BYTES.saturating_add(document).saturating_add(secrets)).unwrap_or(i64::MAX)
}

/// What a library takes once `more` bytes come to the `taken` ones (fewer when negative).
pub fn within(quota: i64, taken: i64, more: i64) -> Result<i64, Refusal> {
    let then = taken.saturating_add(more).max(0);
    // Whoever is above a quota that was lowered may still make less of it.
    if more > 0 && then > quota { Err(Refusal::QuotaReached { quota }) } else { Ok(then) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_delete_their_own_and_managers_everything() {
        let [ada, ben] = [1, 2].map(|n| UserId::from_parts(n, [0; 10]));
        for (role, makers, may) in [
            (None, vec![ada], true),
            (Some(Role::Owner), vec![ben], true),
            (Some(Role::Admin), vec![ada, ben], true),
            (Some(Role::Member), vec![ada, ada], true),
            (Some(Role::Member), vec![ada, ben], false),
        ] {
            assert_eq!(delete(ada, role, makers.clone()).is_ok(), may, "{role:?} {makers:?}");
        }
    }

    #[test]
    fn a_quota_holds_for_what_comes_and_not_for_what_goes() {
        for (taken, more, expected) in
            [(0, 100, Some(100)), (0, 101, None), (100, 1, None), (200, -50, Some(150)), (200, 0, Some(200))]
        {
            assert_eq!(within(100, taken, more).ok(), expected, "{taken} + {more}");
        }
    }
}
