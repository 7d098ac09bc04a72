//! Places for what takes long, so many at once and so many of one owner's: nobody waits for whoever is slow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bursar_id::OwnerId;

/// The places that there are. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    of_one: usize,
    taken: Mutex<HashMap<OwnerId, usize>>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    owner: OwnerId,
}

impl Places {
    /// So many places at once, of which one owner may have `of_one`.
    pub(crate) fn new(most: usize, of_one: usize) -> Self {
        Self(Arc::new(Inner { most, of_one, taken: Mutex::default() }))
    }

    /// A place for something of this owner's, if there is one.
    pub(crate) fn take(&self, owner: OwnerId) -> Option<Place> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&owner).copied().unwrap_or_default();
        if all >= self.0.most || own >= self.0.of_one {
            return None;
        }
        taken.insert(owner, own + 1);
        Some(Place { places: self.clone(), owner })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.owner) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_id::UserId;

    #[test]
    fn one_owner_leaves_places_to_others() {
        let [ada, ben] = [1, 2].map(|n| OwnerId::User(UserId::from_parts(n, [0; 10])));
        let places = Places::new(3, 2);
        let first = places.take(ada).expect("free");
        let _second = places.take(ada).expect("free");
        assert!(places.take(ada).is_none(), "as many as one may have");
        let _third = places.take(ben).expect("free");
        assert!(places.take(ben).is_none(), "as many as there are");
        drop(first);
        assert!(places.take(ada).is_some(), "given back");
    }
}
