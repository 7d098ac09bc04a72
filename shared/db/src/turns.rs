//! Whose turn is next, among those who wait.
//!
//! Whoever waits takes turns with the others, each turn as long as the work that it is given to: who sends a thousand requests
//! at once waits as long for the second thousand as everybody else takes for theirs. This is start-time fair queueing (Goyal,
//! Vin and Cheng, 1996) with the clock of self-clocked fair queueing (Golestani, 1994): time is where the turns that were given
//! end. So whoever has nothing left to wait with can be forgotten, and stands behind all who waited meanwhile when it comes
//! again. Within one of them the order is the order of arrival.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

/// What one of them waits with, and when its next turn begins.
#[derive(Debug)]
struct Queue<T> {
    turn: u64,
    waiting: VecDeque<T>,
}

/// What waits, by whose it is.
#[derive(Debug)]
pub struct Turns<K, T> {
    of: HashMap<K, Queue<T>>,
    order: BTreeSet<(u64, K)>,
    /// When the last of the turns that were given ends, in work.
    now: u64,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self { of: HashMap::new(), order: BTreeSet::new(), now: 0 }
    }
}

impl<K: Copy + Ord + Hash, T> Turns<K, T> {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Adds something behind what `whose` waits with already.
    pub fn push(&mut self, whose: K, what: T) {
        if let Some(queue) = self.of.get_mut(&whose) {
            queue.waiting.push_back(what);
            return;
        }
        self.order.insert((self.now, whose));
        self.of.insert(whose, Queue { turn: self.now, waiting: VecDeque::from([what]) });
    }

    /// Whose turn is next, of those for whom there is room.
    pub fn next(&self, has_room: impl Fn(K) -> bool) -> Option<K> {
        self.order.iter().map(|(_, whose)| *whose).find(|whose| has_room(*whose))
    }

    /// Whether anybody else waits than this one.
    pub fn has_others(&self, than: K) -> bool {
        self.of.len() > usize::from(self.of.contains_key(&than))
    }

    /// Takes the first of what `whose` waits with; `takes` says how much work it is.
    pub fn pop(&mut self, whose: K, takes: impl FnOnce(&T) -> u64) -> Option<T> {
        let queue = self.of.get_mut(&whose)?;
        self.order.remove(&(queue.turn, whose));
        let what = queue.waiting.pop_front();
        queue.turn = queue.turn.saturating_add(what.as_ref().map_or(0, takes));
        self.now = self.now.max(queue.turn);
        if queue.waiting.is_empty() {
            self.of.remove(&whose);
        } else {
            self.order.insert((queue.turn, whose));
        }
        what
    }

    /// Takes out what nobody waits for any more: `place` says where it stands beside what it is shown, in the order in which it
    /// came. `None`: it has had its turn.
    pub fn take_out(&mut self, whose: K, place: impl FnMut(&T) -> Ordering) -> Option<T> {
        let queue = self.of.get_mut(&whose)?;
        let found = queue.waiting.binary_search_by(place).ok()?;
        let what = queue.waiting.remove(found);
        if queue.waiting.is_empty() {
            self.order.remove(&(queue.turn, whose));
            self.of.remove(&whose);
        }
        what
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has the turns that are left, in their order, where each is as long as another.
    fn order(turns: &mut Turns<u8, u32>) -> Vec<(u8, u32)> {
        let next = || {
            let whose = turns.next(|_| true)?;
            Some((whose, turns.pop(whose, |_| 1)?))
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn who_waits_with_much_takes_turns_with_the_others() {
        let mut turns = Turns::default();
        (0..4).for_each(|number| turns.push(1, number));
        (10..12).for_each(|number| turns.push(2, number));
        turns.push(3, 20);
        assert!(turns.has_others(1) && turns.has_others(9));
        assert_eq!(order(&mut turns), [(1, 0), (2, 10), (3, 20), (1, 1), (2, 11), (1, 2), (1, 3)]);
        assert!(turns.is_empty());
    }

    #[test]
    fn whoever_comes_later_is_a_round_behind_and_not_behind_all() {
        let mut turns = Turns::default();
        (0..1_000).for_each(|number| turns.push(1, number));
        (0..100).for_each(|number| assert_eq!(turns.pop(1, |_| 1), Some(number)));
        turns.push(2, 7);
        let order = order(&mut turns);
        assert!(
            order.iter().position(|it| *it == (2, 7)).is_some_and(|before| before <= 1),
            "one of the other's at most"
        );
        assert_eq!(order.len(), 901);
    }

    #[test]
    fn what_is_given_up_has_no_turn_and_leaves_nothing_behind() {
        let mut turns = Turns::default();
        (0..4).for_each(|number| turns.push(1, number));
        turns.push(2, 9);
        assert_eq!(turns.take_out(1, |number| number.cmp(&2)), Some(2));
        assert_eq!(turns.take_out(1, |number| number.cmp(&2)), None, "it is gone");
        assert_eq!(turns.take_out(2, |number| number.cmp(&9)), Some(9));
        assert_eq!(turns.take_out(2, |number| number.cmp(&9)), None, "whose it was is forgotten");
        assert!(!turns.has_others(1));
        assert_eq!(order(&mut turns), [(1, 0), (1, 1), (1, 3)]);
        assert!(turns.of.is_empty() && turns.order.is_empty());
    }
}
