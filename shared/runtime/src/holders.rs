//! Who holds the places of a port, and which of them gives way to somebody who holds clearly fewer.
//!
//! Where hardly any are free ([`SCARCE`]), whoever would be refused has one of another's instead if that has clearly too many: if
//! one more of its own is at most half of what the one has that holds most, and that has more than an equal part of all. This is
//! how max-min fairness comes about (nobody has more at the cost of one who has less), in steps that are wide enough: whoever gives
//! has more left than whoever takes had, so no place goes to and fro, and nobody who comes again and again pushes anybody below an
//! equal part. Where more are free, whoever is refused has as many as are free, which is enough.
//!
//! Whoever has not opened its connection yet (a handshake, the first bytes) has shown nothing but an address, and of those somebody
//! may have many. So what has not opened gives way first, without an equal part that would be kept for it, and makes nobody's
//! equal part smaller: one is a part of what all have who have opened any.
//!
//! What gives way is what does nothing at this moment, the longest first. What has a call in work never does, however many its
//! holder has: a call that is cut may be a charge of which nobody knows whether it was made. An answer that is ready and that
//! nobody takes is no work for long ([`Desk`]), so places are held by work for no longer than calls may take and answers are
//! taken. Those who hold most and have nothing idle are passed over.
//!
//! Calls that begin and end do not change any of this: what is kept here of when a place became idle may have been so before, never
//! later than it is so. Whoever looks for one that gives way asks the place itself ([`Desk`]), and puts right what has changed.
//!
//! Each step costs the logarithm of how many there are, and as much for each place where calls were since the last; everything kept
//! is bounded by the places.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use bursar_rpc::{Site, has_room};
use tokio_util::sync::CancellationToken;

use crate::desk::{Desk, Moments};

/// Few are free where it is at most this part of all: one in so many.
const SCARCE: usize = 16;

/// The places of one port by who holds them. Numbers of places, and the moments since when they are idle, never come again.
pub(crate) struct Holders {
    most: usize,
    /// How many may be on their way out at a time, beside the others.
    reserve: usize,
    /// Without those that are on their way out.
    taken: usize,
    leaving: usize,
    next: u64,
    moments: Moments,
    places: HashMap<u64, Held>,
    sites: HashMap<Site, Holding>,
    /// How many sites have one that has opened.
    opened: usize,
    /// Those that have an idle place that has not opened, by how many they have in all; of as many, the one with the longest idle
    /// place last.
    silent: BTreeMap<Rank, Site>,
    /// The same of idle places that have opened.
    idle: BTreeMap<Rank, Site>,
}

/// How many somebody has in all, and since when the longest idle one of them is.
type Rank = (usize, Reverse<u64>);

/// One place.
struct Held {
    site: Site,
    /// Whether it never gives way.
    stays: bool,
    opened: bool,
    /// What is done there.
    desk: Arc<Desk>,
    /// Since when no call is in work, as far as it has been looked at. `None`: one was, and its desk tells when none is; or it does
    /// not give way (any more).
    idle: Option<u64>,
    leaves: bool,
}

/// What one site has, without what is on its way out.
#[derive(Default)]
struct Holding {
    taken: usize,
    /// How many of them have opened.
    opened: usize,
    /// Its idle places that have not, by since when.
    silent: BTreeMap<u64, u64>,
    /// Its idle places that have.
    idle: BTreeMap<u64, u64>,
}

impl Holding {
    /// Its idle places that have opened, or those that have not.
    const fn idle(&mut self, opened: bool) -> &mut BTreeMap<u64, u64> {
        if opened { &mut self.idle } else { &mut self.silent }
    }

    /// Where it stands among those that have an idle place, with these.
    fn rank(&self, idle: &BTreeMap<u64, u64>) -> Option<Rank> {
        idle.first_key_value().map(|(since, _)| (self.taken, Reverse(*since)))
    }

    /// Where it stands among all.
    fn standing(&self) -> Standing {
        Standing { silent: self.rank(&self.silent), idle: self.rank(&self.idle), opened: self.opened > 0 }
    }
}

/// Where a site stands among the others.
struct Standing {
    silent: Option<Rank>,
    idle: Option<Rank>,
    opened: bool,
}

/// A place that somebody has got.
pub(crate) struct Entered {
    pub(crate) number: u64,
    /// What is done there.
    pub(crate) desk: Arc<Desk>,
    /// The one that gives way to it.
    pub(crate) instead: Option<Giver>,
}

/// A place that gives way, and is to be told so.
pub(crate) struct Giver {
    /// Whose it was.
    pub(crate) site: Site,
    pub(crate) told: CancellationToken,
}

impl Holders {
    /// Of so many places, all free. So many that have given way may be open beside them; without any nobody gives way.
    pub(crate) fn new(most: usize, reserve: usize) -> Self {
        Self {
            most,
            reserve,
            taken: 0,
            leaving: 0,
            next: 0,
            moments: Moments::default(),
            places: HashMap::new(),
            sites: HashMap::new(),
            opened: 0,
            silent: BTreeMap::new(),
            idle: BTreeMap::new(),
        }
    }

    /// One more place for a site, a free one or another's; `None` if it has as many as it may. One that brings everybody's may
    /// have all of them, and none of its own gives way.
    pub(crate) fn enter(&mut self, site: Site, brings_all: bool) -> Option<Entered> {
        let own = if brings_all { 0 } else { self.sites.get(&site).map_or(0, |holding| holding.taken) };
        let instead = if has_room(own, 1, self.most.saturating_sub(self.taken)) {
            None
        } else {
            let has_opened = self.sites.get(&site).is_some_and(|holding| holding.opened > 0);
            let number = self.gives_way(own, self.opened + usize::from(!has_opened))?;
            Some(self.send_off(number)?)
        };
        let number = self.number();
        let desk = Arc::new(Desk::new(&self.moments));
        let idle = if brings_all { None } else { desk.idle() };
        self.change(site, |holding| {
            holding.taken += 1;
            holding.silent.extend(idle.map(|since| (since, number)));
        });
        self.taken += 1;
        let held = Held { site, stays: brings_all, opened: false, desk: Arc::clone(&desk), idle, leaves: false };
        self.places.insert(number, held);
        Some(Entered { number, desk, instead })
    }

    /// Whether anybody who came could have a place, free or another's.
    pub(crate) fn may_enter(&mut self) -> bool {
        self.taken < self.most || self.gives_way(0, self.opened + 1).is_some()
    }

    /// A place has opened.
    pub(crate) fn open(&mut self, number: u64) {
        let Some(held) = self.places.get_mut(&number).filter(|held| !held.opened && !held.leaves) else { return };
        held.opened = true;
        let (site, idle) = (held.site, held.idle);
        self.change(site, |holding| {
            holding.opened += 1;
            if let Some(since) = idle {
                holding.silent.remove(&since);
                holding.idle.insert(since, number);
            }
        });
    }

    /// What is kept of a place may not be so any more.
    pub(crate) fn settle(&mut self, number: u64) {
        let Some(held) = self.places.get_mut(&number) else { return };
        let now = if held.stays || held.leaves { None } else { held.desk.heed() };
        let before = mem::replace(&mut held.idle, now);
        if before != now {
            let (site, opened) = (held.site, held.opened);
            self.change(site, |holding| {
                let idle = holding.idle(opened);
                if let Some(since) = before {
                    idle.remove(&since);
                }
                idle.extend(now.map(|since| (since, number)));
            });
        }
    }

    /// A place is given back.
    pub(crate) fn leave(&mut self, number: u64) {
        let Some(held) = self.places.remove(&number) else { return };
        if held.leaves {
            self.leaving = self.leaving.saturating_sub(1);
        } else {
            self.release(held.site, held.opened, held.idle);
        }
    }

    /// The place that gives way to somebody who has so many, where so many have one that has opened (whoever comes among them).
    fn gives_way(&mut self, own: usize, sites: usize) -> Option<u64> {
        let left = self.most.saturating_sub(self.taken);
        if self.leaving >= self.reserve || left > self.most / SCARCE {
            return None;
        }
        let keeps = self.most / sites.max(1);
        self.longest_idle(false, own, 0).or_else(|| self.longest_idle(true, own, keeps))
    }

    /// The longest idle place of those that have opened, or have not, of whoever has most in all and has any: if that is clearly more
    /// than so many, and more than it keeps.
    fn longest_idle(&mut self, opened: bool, own: usize, keeps: usize) -> Option<u64> {
        loop {
            let ranks = if opened { &self.idle } else { &self.silent };
            let ((taken, Reverse(since)), site) = ranks.last_key_value()?;
            if *taken / 2 <= own || *taken <= keeps {
                return None;
            }
            let (since, site) = (*since, *site);
            let number = *self.sites.get_mut(&site)?.idle(opened).get(&since)?;
            if self.places.get(&number)?.desk.heed() == Some(since) {
                return Some(number);
            }
            // It comes later by now, or not at all: the next time round another one is first.
            self.settle(number);
        }
    }

    /// It counts for nobody from now on.
    fn send_off(&mut self, number: u64) -> Option<Giver> {
        let held = self.places.get_mut(&number)?;
        held.leaves = true;
        let (site, opened, idle, told) = (held.site, held.opened, held.idle.take(), held.desk.told.clone());
        self.release(site, opened, idle);
        self.leaving += 1;
        Some(Giver { site, told })
    }

    /// A site has one place less, which had opened or not and was idle since then.
    fn release(&mut self, site: Site, opened: bool, idle: Option<u64>) {
        self.taken = self.taken.saturating_sub(1);
        self.change(site, |holding| {
            holding.taken = holding.taken.saturating_sub(1);
            holding.opened = holding.opened.saturating_sub(usize::from(opened));
            if let Some(since) = idle {
                holding.idle(opened).remove(&since);
            }
        });
    }

    /// Changes what a site has, and where that stands among the others. Whoever has nothing any more is not remembered.
    fn change(&mut self, site: Site, change: impl FnOnce(&mut Holding)) {
        let holding = self.sites.entry(site).or_default();
        let before = holding.standing();
        change(holding);
        let (after, is_empty) = (holding.standing(), holding.taken == 0);
        if is_empty {
            self.sites.remove(&site);
        }
        place(&mut self.silent, site, before.silent, after.silent);
        place(&mut self.idle, site, before.idle, after.idle);
        self.opened = (self.opened + usize::from(after.opened)).saturating_sub(usize::from(before.opened));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether nobody is remembered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let nothing = self.places.is_empty() && self.sites.is_empty() && self.silent.is_empty() && self.idle.is_empty();
        nothing && self.taken == 0 && self.leaving == 0 && self.opened == 0
    }
}

/// Places a site anew among the others.
fn place(ranks: &mut BTreeMap<Rank, Site>, site: Site, before: Option<Rank>, after: Option<Rank>) {
    if before != after {
        if let Some(rank) = before {
            ranks.remove(&rank);
        }
        ranks.extend(after.map(|rank| (rank, site)));
    }
}

#[cfg(test)]
mod tests;
