//! How an organization or a person stands: whether anybody may act for it.

use bursar_proto::organization::v1::OrganizationState;

/// How an owner stands. Whoever was never told of is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Used.
    #[default]
    Active,
    /// An organization that is being created: nobody can use it yet.
    Pending,
    /// Stopped by an operator: nobody can use it, and what it has stays.
    Suspended,
    /// An organization that its owner has deleted: nobody can use it, and the owner may take that back for a while.
    Deleted,
    /// An organization that is gone for good.
    Purged,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Active, Self::Pending, Self::Suspended, Self::Deleted, Self::Purged];

    /// The word for it in the stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Pending => "PENDING",
            Self::Suspended => "SUSPENDED",
            Self::Deleted => "DELETED",
            Self::Purged => "PURGED",
        }
    }

    /// The standing with this word; `None` for a word that is none of theirs.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == word)
    }

    /// How the API says it: a state, and whether the organization is gone for good.
    pub const fn to_state(self) -> (OrganizationState, bool) {
        match self {
            Self::Active => (OrganizationState::Active, false),
            Self::Pending => (OrganizationState::Pending, false),
            Self::Suspended => (OrganizationState::Suspended, false),
            Self::Deleted => (OrganizationState::Deleted, false),
            Self::Purged => (OrganizationState::Deleted, true),
        }
    }

    /// What the API said; `None` for a state that is not known here.
    pub fn of_state(state: i32, purged: bool) -> Option<Self> {
        let state = OrganizationState::try_from(state).ok()?;
        Self::ALL.into_iter().find(|standing| standing.to_state() == (state, purged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standing_survives_the_store_and_the_api() {
        for standing in Standing::ALL {
            assert_eq!(Standing::of_word(standing.as_str()), Some(standing));
            let (state, purged) = standing.to_state();
            assert_eq!(Standing::of_state(state.into(), purged), Some(standing));
        }
    }

    #[test]
    fn what_is_not_known_is_no_standing() {
        assert_eq!(Standing::of_word("GONE"), None);
        for (state, purged) in [(0, false), (77, false), (OrganizationState::Active.into(), true)] {
            assert_eq!(Standing::of_state(state, purged), None, "{state} {purged}");
        }
    }
}
