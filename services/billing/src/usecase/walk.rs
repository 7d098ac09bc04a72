//! Where rounds over all accounts have come to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bursar_id::OwnerId;

/// After how much a round leaves the rest to the next one: an attempt at a job that takes more than a minute is cut off, and has
/// failed.
pub(crate) const ENOUGH: Duration = Duration::from_secs(30);

/// Each round goes on where the one before ended, or was cut off, so that whoever takes long stands in nobody's way. Another
/// replica begins with the first owner again.
#[derive(Debug, Default)]
pub(crate) struct Walk(Mutex<Place>);

/// How far a walk is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// The last owner who was come to; `None` before the first.
    pub(crate) last: Option<OwnerId>,
    /// How many were come to in vain.
    pub(crate) failed: usize,
}

impl Place {
    /// At an owner who has failed until the walk is [`Self::past`] it, so that one is left behind at which a round is cut off.
    pub(crate) fn at(self, owner: OwnerId) -> Self {
        Self { last: Some(owner), failed: self.failed.saturating_add(1) }
    }

    /// Past an owner at which nothing failed.
    pub(crate) fn past(self, owner: OwnerId) -> Self {
        Self { last: Some(owner), ..self }
    }
}

impl Walk {
    /// How far it is.
    pub(crate) fn place(&self) -> Place {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has come here.
    pub(crate) fn is_at(&self, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// It begins anew. Says how many it has come to in vain.
    pub(crate) fn ends(&self) -> usize {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).failed
    }
}
