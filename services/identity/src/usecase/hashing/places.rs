//! The places of those who wait for their password to be hashed, and of those whose password is being hashed.
//!
//! Whoever comes first must not take them all. A site (of IPv6 a /48, since one customer may have all of it) may have as many for
//! its sign-ins as are left for everybody else, and within it a place as many as are left for its others; the same goes for its
//! sign-ups, which altogether have a half ([`has_room`], [`has_room_within`]). So one client's flood fills its own places,
//! whatever addresses of its network it comes from, and whoever has an account gets in while strangers sign up, also from
//! behind the same address.
//!
//! That bounds what one site takes, and not what hundreds do. So an eighth of all places is kept for those who sign in where the
//! account succeeded before, shared in the same way: strangers, from however many sites they come, do not keep them out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_rpc::{Origin, Site, has_room, has_room_within};

use crate::Error;

/// What a password is hashed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To check it at a place where the account succeeded before.
    Known,
    /// To check it anywhere else.
    SignIn,
    /// To keep it.
    SignUp,
}

/// All places.
pub(super) struct Places {
    /// Those for everybody.
    most: usize,
    /// Those for sign-ups, of them.
    for_sign_ups: usize,
    /// Those for who was there before, beside them.
    kept: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    known: usize,
    sign_ins: usize,
    sign_ups: usize,
    of_sites: HashMap<(Site, Purpose), usize>,
    /// Of each place in a site that has others.
    within: HashMap<(Origin, Purpose), usize>,
}

impl Taken {
    fn of(&mut self, purpose: Purpose) -> &mut usize {
        match purpose {
            Purpose::Known => &mut self.known,
            Purpose::SignIn => &mut self.sign_ins,
            Purpose::SignUp => &mut self.sign_ups,
        }
    }
}

/// A place, given back when dropped.
pub struct Place {
    places: Arc<Places>,
    origin: Origin,
    /// Of which it was taken.
    taken_for: Purpose,
    purpose: Purpose,
}

impl Places {
    pub(super) fn new(all: usize) -> Self {
        // Of a single one nothing can be kept.
        let kept = all.div_ceil(8).min(all.saturating_sub(1));
        Self { most: all - kept, for_sign_ups: all.div_ceil(2), kept, taken: Mutex::default() }
    }

    pub(super) fn join(places: &Arc<Self>, origin: Origin, purpose: Purpose) -> Result<Place, Error> {
        let (site, within) = (origin.site(), origin.within_site());
        let mut taken = places.taken();
        let left = places.left(&taken, purpose);
        let of_site = taken.of_sites.get(&(site, purpose)).copied().unwrap_or(0);
        let may = match within {
            None => has_room(of_site, 1, left),
            Some(place) => {
                let own = taken.within.get(&(place, purpose)).copied().unwrap_or(0);
                has_room_within(own, of_site, 1, left)
            }
        };
        if !may {
            return Err(Error::Overloaded);
        }
        *taken.of(purpose) += 1;
        taken.of_sites.insert((site, purpose), of_site + 1);
        if let Some(place) = within {
            *taken.within.entry((place, purpose)).or_default() += 1;
        }
        drop(taken);
        Ok(Place { places: Arc::clone(places), origin, taken_for: purpose, purpose })
    }

    /// How many of those for this purpose nobody has.
    fn left(&self, taken: &Taken, purpose: Purpose) -> usize {
        let of_all = self.most.saturating_sub(taken.sign_ins + taken.sign_ups);
        match purpose {
            Purpose::Known => self.kept.saturating_sub(taken.known),
            Purpose::SignIn => of_all,
            Purpose::SignUp => of_all.min(self.for_sign_ups.saturating_sub(taken.sign_ups)),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The counts are right between any two statements that can panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places are taken.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let taken = self.taken();
        taken.known + taken.sign_ins + taken.sign_ups
    }

    /// Whether nobody has any, and nobody is remembered.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.count() == 0 && self.taken().of_sites.is_empty() && self.taken().within.is_empty()
    }
}

impl Place {
    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(super) fn site(&self) -> Site {
        self.origin.site()
    }

    /// It turned out to be a sign-in at a place where the account succeeded before: it has its turn among those.
    #[must_use]
    pub fn known(mut self) -> Self {
        self.purpose = Purpose::Known;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let purpose = self.taken_for;
        let mut taken = self.places.taken();
        *taken.of(purpose) -= 1;
        one_less(&mut taken.of_sites, (self.origin.site(), purpose));
        if let Some(place) = self.origin.within_site() {
            one_less(&mut taken.within, (place, purpose));
        }
    }
}

/// Whoever has none any more is not remembered.
fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, of: K) {
    if let Entry::Occupied(mut count) = counts.entry(of) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
