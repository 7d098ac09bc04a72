//! Who holds the places of a port, and which of them gives way to somebody who holds clearly fewer.
//!
//! Where hardly any are free ([`SCARCE`]), whoever would be refused has one of another's instead if that has clearly too many: if
//! one more of its own is at most half of what the one has that holds most, and that has more than an equal part of all. This is
//! how max-min fairness comes about (nobody has more at the cost of one who has less), in steps that are wide enough: whoever gives
//! has more left than whoever takes had, so no place goes to and fro, and nobody who comes again and again pushes anybody below an
//! equal part. Where more are free, whoever is refused has as many as are free, which is enough.
//!
//! What gives way is what does nothing at this moment, the longest first. What has a call in work never does, however many its
//! holder has: a call that is cut may be a charge of which nobody knows whether it was made, and places are held by work for no
//! longer than a call may take and a connection may be old. Those who hold most and have nothing idle are passed over.
//!
//! Each step costs the logarithm of how many there are, and everything kept is bounded by the places.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use bursar_rpc::{Site, has_room};
use tokio_util::sync::CancellationToken;

/// Few are free where it is at most this part of all: one in so many.
const SCARCE: usize = 16;

/// The places of one port by who holds them. Numbers of places, and of the moments since when they are idle, never come again.
pub(crate) struct Holders {
    most: usize,
    /// How many may be on their way out at a time, beside the others.
    reserve: usize,
    /// Without those that are on their way out.
    taken: usize,
    leaving: usize,
    next: u64,
    places: HashMap<u64, Held>,
    sites: HashMap<Site, Holding>,
    /// Those that have an idle place, by how many they have in all; of as many, the one with the longest idle place last.
    idle: BTreeMap<Rank, Site>,
}

/// How many somebody has, and since when the longest idle one of them is.
type Rank = (usize, Reverse<u64>);

/// One place.
struct Held {
    site: Site,
    /// Whether it never gives way.
    stays: bool,
    /// How many calls are in work there.
    calls: usize,
    /// Since when there have been none. `None`: there are some, or it does not give way (any more).
    idle: Option<u64>,
    leaves: bool,
    told: CancellationToken,
}

/// What one site has, without what is on its way out.
#[derive(Default)]
struct Holding {
    taken: usize,
    /// Its idle places, by since when.
    idle: BTreeMap<u64, u64>,
}

impl Holding {
    /// Where it stands among those that have an idle place.
    fn rank(&self) -> Option<Rank> {
        self.idle.first_key_value().map(|(since, _)| (self.taken, Reverse(*since)))
    }
}

/// A place that somebody has got.
pub(crate) struct Entered {
    pub(crate) number: u64,
    /// To be cancelled when it shall give way.
    pub(crate) told: CancellationToken,
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
        let (places, sites, idle) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        Self { most, reserve, taken: 0, leaving: 0, next: 0, places, sites, idle }
    }

    /// One more place for a site, a free one or another's; `None` if it has as many as it may. One that brings everybody's may
    /// have all of them, and none of its own gives way.
    pub(crate) fn enter(&mut self, site: Site, brings_all: bool) -> Option<Entered> {
        let own = if brings_all { 0 } else { self.sites.get(&site).map_or(0, |holding| holding.taken) };
        let instead = if has_room(own, 1, self.most.saturating_sub(self.taken)) {
            None
        } else {
            let sites = self.sites.len() + usize::from(!self.sites.contains_key(&site));
            let number = self.gives_way(own, sites)?;
            Some(self.send_off(number)?)
        };
        let number = self.number();
        let told = CancellationToken::new();
        let idle = if brings_all { None } else { Some(self.number()) };
        self.change(site, |holding| {
            holding.taken += 1;
            holding.idle.extend(idle.map(|since| (since, number)));
        });
        self.taken += 1;
        let held = Held { site, stays: brings_all, calls: 0, idle, leaves: false, told: told.clone() };
        self.places.insert(number, held);
        Some(Entered { number, told, instead })
    }

    /// Whether anybody who came could have a place, free or another's.
    pub(crate) fn may_enter(&self) -> bool {
        self.taken < self.most || self.gives_way(0, self.sites.len() + 1).is_some()
    }

    /// A call begins on a place.
    pub(crate) fn begin(&mut self, number: u64) {
        let Some(held) = self.places.get_mut(&number) else { return };
        held.calls += 1;
        if let Some(since) = held.idle.take() {
            let site = held.site;
            self.change(site, |holding| {
                holding.idle.remove(&since);
            });
        }
    }

    /// A call has ended there.
    pub(crate) fn end(&mut self, number: u64) {
        let since = self.number();
        let Some(held) = self.places.get_mut(&number) else { return };
        held.calls = held.calls.saturating_sub(1);
        if held.calls == 0 && !held.stays && !held.leaves {
            held.idle = Some(since);
            let site = held.site;
            self.change(site, |holding| {
                holding.idle.insert(since, number);
            });
        }
    }

    /// A place is given back.
    pub(crate) fn leave(&mut self, number: u64) {
        let Some(held) = self.places.remove(&number) else { return };
        if held.leaves {
            self.leaving = self.leaving.saturating_sub(1);
        } else {
            self.release(held.site, held.idle);
        }
    }

    /// The place that gives way to somebody who has so many, where so many have any (whoever comes among them).
    fn gives_way(&self, own: usize, sites: usize) -> Option<u64> {
        let left = self.most.saturating_sub(self.taken);
        if self.leaving >= self.reserve || left > self.most / SCARCE {
            return None;
        }
        let ((taken, _), site) = self.idle.last_key_value()?;
        let is_clear = *taken / 2 > own && *taken > self.most / sites.max(1);
        let holding = self.sites.get(site).filter(|_| is_clear)?;
        holding.idle.first_key_value().map(|(_, number)| *number)
    }

    /// It counts for nobody from now on.
    fn send_off(&mut self, number: u64) -> Option<Giver> {
        let held = self.places.get_mut(&number)?;
        held.leaves = true;
        let (site, idle, told) = (held.site, held.idle.take(), held.told.clone());
        self.release(site, idle);
        self.leaving += 1;
        Some(Giver { site, told })
    }

    /// A site has one place less, which was idle since then.
    fn release(&mut self, site: Site, idle: Option<u64>) {
        self.taken = self.taken.saturating_sub(1);
        self.change(site, |holding| {
            holding.taken = holding.taken.saturating_sub(1);
            if let Some(since) = idle {
                holding.idle.remove(&since);
            }
        });
    }

    /// Changes what a site has, and where that stands among the others. Whoever has nothing any more is not remembered.
    fn change(&mut self, site: Site, change: impl FnOnce(&mut Holding)) {
        let holding = self.sites.entry(site).or_default();
        let before = holding.rank();
        change(holding);
        let (after, is_empty) = (holding.rank(), holding.taken == 0);
        if is_empty {
            self.sites.remove(&site);
        }
        if before != after {
            if let Some(rank) = before {
                self.idle.remove(&rank);
            }
            if let Some(rank) = after {
                self.idle.insert(rank, site);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether nobody is remembered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let nothing = self.places.is_empty() && self.sites.is_empty() && self.idle.is_empty();
        nothing && self.taken == 0 && self.leaving == 0
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        net::{IpAddr, Ipv4Addr},
    };

    use bursar_rpc::Origin;
    use proptest::prelude::*;

    use super::*;

    fn site(number: u8) -> Site {
        Origin::at(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))).site()
    }

    /// One place, as whoever looks at each of them sees it.
    struct Seen {
        number: u64,
        site: u8,
        calls: usize,
        /// The step since which it has been idle.
        since: usize,
        told: CancellationToken,
    }

    impl Seen {
        fn leaves(&self) -> bool {
            self.told.is_cancelled()
        }
    }

    /// How many a site has that are not on their way out.
    fn taken(all: &[Seen], site: u8) -> usize {
        all.iter().filter(|seen| seen.site == site && !seen.leaves()).count()
    }

    /// How many sites have any, with whoever comes.
    fn sites(all: &[Seen], newcomer: u8) -> usize {
        let there = all.iter().filter(|seen| !seen.leaves()).map(|seen| seen.site);
        there.chain([newcomer]).collect::<BTreeSet<_>>().len()
    }

    /// Where one more finds a place.
    #[derive(Clone, Copy)]
    enum Room {
        Free,
        /// In place of the one with this number.
        Instead(u64),
    }

    /// What should come of one more of a site.
    fn expected(all: &[Seen], newcomer: u8, most: usize, reserve: usize) -> Option<Room> {
        let leaving = all.iter().filter(|seen| seen.leaves()).count();
        let own = taken(all, newcomer);
        if own + 1 + all.len() - leaving <= most {
            return Some(Room::Free);
        }
        let idle = all.iter().filter(|seen| seen.calls == 0 && !seen.leaves());
        let first = idle.max_by_key(|seen| (taken(all, seen.site), Reverse(seen.since)))?;
        let much = taken(all, first.site);
        let is_scarce = (most + leaving - all.len()) * SCARCE <= most;
        let keeps_its_part = much > most / sites(all, newcomer);
        let gives = leaving < reserve && is_scarce && 2 * (own + 1) <= much && keeps_its_part;
        gives.then_some(Room::Instead(first.number))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Comes(u8),
        Begins(usize),
        Ends(usize),
        Leaves(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0_u8..6).prop_map(Step::Comes),
            2 => any::<usize>().prop_map(Step::Begins),
            2 => any::<usize>().prop_map(Step::Ends),
            2 => any::<usize>().prop_map(Step::Leaves),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// One more of a site comes; what is told to give way then is what should.
    fn comes(holders: &mut Holders, all: &mut Vec<Seen>, number: u8, now: usize) {
        let expected = expected(all, number, holders.most, holders.reserve);
        assert!(expected.is_none() || holders.may_enter(), "whoever may come in is accepted");
        let entered = holders.enter(site(number), false);
        assert_eq!(entered.is_some(), expected.is_some(), "one more of {number}");
        let Some(entered) = entered else { return };
        let equal = holders.most / sites(all, number);
        let giver = entered.instead.map(|giver| {
            giver.told.cancel();
            giver.site
        });
        if let Some(Room::Instead(leaver)) = expected {
            let leaver = all.iter().find(|seen| seen.number == leaver).expect("it is there");
            assert!(leaver.leaves(), "another one gives way");
            assert_eq!(giver, Some(site(leaver.site)), "another one is said to");
            assert_eq!(leaver.calls, 0, "it does nothing");
            let left = taken(all, leaver.site);
            assert!(left >= equal, "{left} of {} are less than {equal}", leaver.site);
            assert!(left > taken(all, number), "whoever gives has as many as whoever takes");
        }
        all.push(Seen { number: entered.number, site: number, calls: 0, since: now, told: entered.told });
    }

    /// The one that is meant of those there are.
    fn pick(all: &[Seen], index: usize) -> Option<usize> {
        index.checked_rem(all.len())
    }

    fn step(holders: &mut Holders, all: &mut Vec<Seen>, step: &Step, now: usize) {
        match step {
            Step::Comes(number) => comes(holders, all, *number, now),
            Step::Begins(index) => {
                if let Some(seen) = pick(all, *index).and_then(|index| all.get_mut(index)) {
                    seen.calls += 1;
                    holders.begin(seen.number);
                }
            }
            Step::Ends(index) => {
                let busy = pick(all, *index).and_then(|index| all.get_mut(index)).filter(|seen| seen.calls > 0);
                if let Some(seen) = busy {
                    seen.calls -= 1;
                    seen.since = now;
                    holders.end(seen.number);
                }
            }
            Step::Leaves(index) => {
                if let Some(index) = pick(all, *index) {
                    holders.leave(all.swap_remove(index).number);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_gives_way_is_what_somebody_finds_who_looks_at_each(
            most in 1_usize..40,
            reserve in 0_usize..4,
            steps in steps(),
        ) {
            let (mut holders, mut all) = (Holders::new(most, reserve), Vec::new());
            for (now, next) in steps.iter().enumerate() {
                step(&mut holders, &mut all, next, now);
                let leaving = all.iter().filter(|seen| seen.leaves()).count();
                prop_assert!(all.len() - leaving <= most && leaving <= reserve, "too many are open");
                prop_assert_eq!((holders.taken, holders.leaving), (all.len() - leaving, leaving));
            }
            for seen in all {
                holders.leave(seen.number);
            }
            prop_assert!(holders.is_empty(), "nobody is remembered");
        }
    }

    /// So many of each site, one after the other, as far as they may.
    fn held(most: usize, reserve: usize, of: &[(u8, usize)]) -> (Holders, Vec<Entered>) {
        let mut holders = Holders::new(most, reserve);
        let all = of.iter().flat_map(|(number, many)| std::iter::repeat_n(*number, *many));
        let entered = all.map(|number| holders.enter(site(number), false).expect("room")).collect();
        (holders, entered)
    }

    /// Who has how many of eight, who comes, whether one gives way.
    type Case = (&'static [(u8, usize)], u8, bool);

    #[test]
    fn one_gives_way_to_whoever_has_clearly_fewer() {
        let table: [Case; 6] = [
            (&[(1, 4), (2, 2), (3, 1), (4, 1)], 5, true),
            (&[(1, 4), (2, 2), (3, 1), (4, 1)], 3, true),
            (&[(1, 4), (2, 2), (3, 1), (4, 1)], 2, false),
            (&[(1, 4), (2, 2), (3, 1), (4, 1)], 1, false),
            (&[(1, 2), (2, 2), (3, 2), (4, 1), (5, 1)], 4, false),
            (&[(1, 2), (2, 2), (3, 2), (4, 1), (5, 1)], 6, true),
        ];
        for (of, newcomer, gives) in table {
            let (mut holders, all) = held(8, 1, of);
            let entered = holders.enter(site(newcomer), false);
            assert_eq!(entered.is_some(), gives, "{newcomer} beside {of:?}");
            if let Some(entered) = entered {
                let giver = entered.instead.expect("nothing is free");
                assert_eq!(giver.site, site(1), "the one with most");
                giver.told.cancel();
                let told: Vec<_> = all.iter().filter(|held| held.told.is_cancelled()).map(|held| held.number).collect();
                assert_eq!(told, [all.first().expect("one").number], "the longest idle one");
            }
        }
    }

    #[test]
    fn what_has_a_call_in_work_gives_way_to_nobody() {
        let (mut holders, all) = held(4, 1, &[(1, 2), (2, 1), (3, 1)]);
        let [first, second, ..] = all.as_slice() else { panic!("four") };
        holders.begin(first.number);
        holders.begin(second.number);
        assert!(!holders.may_enter());
        assert!(holders.enter(site(4), false).is_none(), "everything of the one with most is in work");
        holders.begin(first.number);
        holders.end(first.number);
        assert!(holders.enter(site(4), false).is_none(), "one of two calls is in work");
        holders.end(second.number);
        assert!(holders.may_enter());
        let entered = holders.enter(site(4), false).expect("one is idle");
        entered.instead.expect("nothing is free").told.cancel();
        assert!(second.told.is_cancelled() && !first.told.is_cancelled());
    }

    #[test]
    fn only_so_many_are_on_their_way_out_at_a_time() {
        let (mut holders, all) = held(8, 1, &[(1, 4), (2, 2), (3, 1), (4, 1)]);
        let first = holders.enter(site(5), false).expect("one gives way");
        assert!(!holders.may_enter());
        assert!(holders.enter(site(6), false).is_none(), "the first is not gone yet");
        holders.leave(all.first().expect("one").number);
        assert!(first.instead.is_some());
        assert!(holders.enter(site(6), false).is_some(), "it is gone");
    }
}
