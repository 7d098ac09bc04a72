//! Who gives way, compared with what somebody finds who looks at each place.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use bursar_rpc::Origin;
use proptest::prelude::*;

use super::*;
use crate::desk::Stage;

fn site(number: u8) -> Site {
    Origin::at(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))).site()
}

/// One place, as whoever looks at each of them sees it.
struct Seen {
    number: u64,
    site: u8,
    opened: bool,
    calls: usize,
    /// The step since which it has been idle.
    since: usize,
    desk: Arc<Desk>,
}

impl Seen {
    fn leaves(&self) -> bool {
        self.desk.told.is_cancelled()
    }
}

/// A call ends.
fn end(holders: &mut Holders, number: u64, desk: &Desk) {
    let might = holders.may_enter();
    if desk.end(Stage::Working) {
        holders.settle(number);
    } else {
        assert!(might || !holders.may_enter(), "whoever waits is not told that there is a place");
    }
}

/// How many a site has that are not on their way out.
fn taken(all: &[Seen], site: u8) -> usize {
    all.iter().filter(|seen| seen.site == site && !seen.leaves()).count()
}

/// How many sites have one that has opened, with whoever comes.
fn sites(all: &[Seen], newcomer: u8) -> usize {
    let there = all.iter().filter(|seen| seen.opened && !seen.leaves()).map(|seen| seen.site);
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
    let is_scarce = (most + leaving - all.len()) * SCARCE <= most;
    if leaving >= reserve || !is_scarce {
        return None;
    }
    // What has not opened gives way before what has.
    let equal = most / sites(all, newcomer);
    let gives = [(false, 0), (true, equal)].into_iter().find_map(|(opened, keeps)| {
        let idle = all.iter().filter(|seen| seen.opened == opened && seen.calls == 0 && !seen.leaves());
        let first = idle.max_by_key(|seen| (taken(all, seen.site), Reverse(seen.since)))?;
        let much = taken(all, first.site);
        (2 * (own + 1) <= much && much > keeps).then_some(first)
    });
    gives.map(|seen| Room::Instead(seen.number))
}

#[derive(Clone, Debug)]
enum Step {
    Comes(u8),
    Opens(usize),
    Begins(usize),
    Ends(usize),
    Leaves(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u8..6).prop_map(Step::Comes),
        4 => any::<usize>().prop_map(Step::Opens),
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
        assert!(left >= equal || !leaver.opened, "{left} of {} are less than {equal}", leaver.site);
        assert!(left > taken(all, number), "whoever gives has as many as whoever takes");
    }
    all.push(Seen { number: entered.number, site: number, opened: false, calls: 0, since: now, desk: entered.desk });
}

/// The one that is meant of those there are.
fn pick(all: &[Seen], index: usize) -> Option<usize> {
    index.checked_rem(all.len())
}

fn step(holders: &mut Holders, all: &mut Vec<Seen>, step: &Step, now: usize) {
    match step {
        Step::Comes(number) => comes(holders, all, *number, now),
        Step::Opens(index) => {
            if let Some(seen) = pick(all, *index).and_then(|index| all.get_mut(index)) {
                seen.opened = true;
                holders.open(seen.number);
            }
        }
        Step::Begins(index) => {
            if let Some(seen) = pick(all, *index).and_then(|index| all.get_mut(index)) {
                seen.calls += 1;
                seen.desk.begin();
            }
        }
        Step::Ends(index) => {
            let busy = pick(all, *index).and_then(|index| all.get_mut(index)).filter(|seen| seen.calls > 0);
            if let Some(seen) = busy {
                seen.calls -= 1;
                seen.since = now;
                end(holders, seen.number, &seen.desk);
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

/// So many of each site, one after the other, as far as they may, none of which has opened.
fn silent(most: usize, reserve: usize, of: &[(u8, usize)]) -> (Holders, Vec<Entered>) {
    let mut holders = Holders::new(most, reserve);
    let all = of.iter().flat_map(|(number, many)| std::iter::repeat_n(*number, *many));
    let entered = all.map(|number| holders.enter(site(number), false).expect("room")).collect();
    (holders, entered)
}

/// The same where all have opened.
fn held(most: usize, reserve: usize, of: &[(u8, usize)]) -> (Holders, Vec<Entered>) {
    let (mut holders, entered) = silent(most, reserve, of);
    for held in &entered {
        holders.open(held.number);
    }
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
            let told: Vec<_> =
                all.iter().filter(|held| held.desk.told.is_cancelled()).map(|held| held.number).collect();
            assert_eq!(told, [all.first().expect("one").number], "the longest idle one");
        }
    }
}

#[test]
fn what_has_a_call_in_work_gives_way_to_nobody() {
    let (mut holders, all) = held(4, 1, &[(1, 2), (2, 1), (3, 1)]);
    let [first, second, ..] = all.as_slice() else { panic!("four") };
    first.desk.begin();
    second.desk.begin();
    assert!(!holders.may_enter());
    assert!(holders.enter(site(4), false).is_none(), "everything of the one with most is in work");
    first.desk.begin();
    end(&mut holders, first.number, &first.desk);
    assert!(holders.enter(site(4), false).is_none(), "one of two calls is in work");
    end(&mut holders, second.number, &second.desk);
    assert!(holders.may_enter());
    let entered = holders.enter(site(4), false).expect("one is idle");
    entered.instead.expect("nothing is free").told.cancel();
    assert!(second.desk.told.is_cancelled() && !first.desk.told.is_cancelled());
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

#[test]
fn what_has_not_opened_gives_way_first_and_takes_nothing_of_an_equal_part() {
    let (mut holders, all) = silent(8, 8, &[(1, 4), (2, 2), (3, 1), (4, 1)]);
    all.iter().take(4).for_each(|held| holders.open(held.number));
    let first = holders.enter(site(5), false).expect("one of two that have not opened gives way");
    assert_eq!(first.instead.expect("nothing is free").site, site(2), "the first has more, and has opened them");
    assert!(holders.enter(site(6), false).is_none(), "the first has an equal part of two who open: four of eight");
    assert!(!holders.may_enter());
    all.iter().skip(5).for_each(|held| holders.open(held.number));
    let second = holders.enter(site(6), false).expect("more have opened theirs by now");
    assert_eq!(second.instead.expect("nothing is free").site, site(1), "of five who open theirs each has one at least");
}
