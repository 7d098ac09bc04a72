//! Places at a pool's connections, for which everybody takes turns.
//!
//! A pool gives its connections to whoever came first, so one caller's thousands of cheap calls would have everybody else wait
//! behind them until their time is over. So there are as many places as connections, and a connection is taken by who has a
//! place: those who wait for one take turns by who they are ([`Asker`]), and whoever comes waits for a round of the others. It is
//! the connection that is scarce, and only while it is taken: hashing a password or asking another service takes no place.
//!
//! A place is given back with its connection, and by whoever gives up. How many wait is bounded by those who let calls in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::{Asker, Turns};

/// Somebody who waits for a place.
#[derive(Debug)]
struct Waiter {
    number: u64,
    told: oneshot::Sender<()>,
}

/// Nobody waits while a place is free.
#[derive(Debug)]
struct State {
    free: u32,
    waiting: Turns<Asker, Waiter>,
    /// How many ever waited.
    numbers: u64,
    /// How many wait now.
    waits: u64,
}

impl State {
    /// Gives the place of somebody who needs it no more to the next.
    fn pass_on(&mut self) {
        let next = self.waiting.next(|_| true);
        if let Some(waiter) = next.and_then(|next| self.waiting.pop(next, |_| 1)) {
            self.waits = self.waits.saturating_sub(1);
            // Whoever has just given up passes it on when its place is dropped.
            let _ = waiter.told.send(());
        } else {
            self.free = self.free.saturating_add(1);
        }
    }
}

/// The places of one pool. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Mutex<State>>);

/// How many wait for a connection of a store. It keeps none open.
#[derive(Debug, Clone)]
pub struct Crowd(pub(crate) Vec<Places>);

impl Crowd {
    /// How many wait now, of this process.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|places| places.state().waits).sum()
    }
}

/// A place that somebody has, or waits for; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: Asker,
    /// Under which it waited; `None`: there was one at once.
    number: Option<u64>,
    places: Places,
}

impl Places {
    /// As many as a pool has connections.
    pub(crate) fn new(connections: u32) -> Self {
        Self(Arc::new(Mutex::new(State { free: connections.max(1), waiting: Turns::default(), numbers: 0, waits: 0 })))
    }

    /// A place, once it is this one's turn.
    pub(crate) async fn take(&self, of: Asker) -> Place {
        let (place, turn) = self.enter(of);
        if let Some(turn) = turn {
            // Whoever would tell is there as long as the place is.
            let _ = turn.await;
        }
        place
    }

    fn enter(&self, of: Asker) -> (Place, Option<oneshot::Receiver<()>>) {
        let mut state = self.state();
        if let Some(free) = state.free.checked_sub(1) {
            state.free = free;
            return (Place { of, number: None, places: self.clone() }, None);
        }
        state.numbers += 1;
        state.waits += 1;
        let number = state.numbers;
        let (told, turn) = oneshot::channel();
        state.waiting.push(of, Waiter { number, told });
        (Place { of, number: Some(number), places: self.clone() }, Some(turn))
    }

    /// Counting cannot be left half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        let waits = |number: u64| state.waiting.take_out(self.of, |waiter| waiter.number.cmp(&number));
        if self.number.and_then(waits).is_some() {
            state.waits = state.waits.saturating_sub(1);
        } else {
            state.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Asker = Asker::Caller(1);
    const BEN: Asker = Asker::Caller(2);
    const CLEO: Asker = Asker::Caller(3);

    type Waiting = Vec<(Place, Option<oneshot::Receiver<()>>)>;

    fn enter(places: &Places, all: impl IntoIterator<Item = Asker>) -> Waiting {
        all.into_iter().map(|of| places.enter(of)).collect()
    }

    /// Who is served, in which order, where each gives its place back before the next has it.
    fn served(mut waiting: Waiting) -> Vec<Asker> {
        let is_told = |(_, turn): &mut (Place, Option<oneshot::Receiver<()>>)| {
            turn.as_mut().is_none_or(|turn| turn.try_recv().is_ok())
        };
        let mut order = Vec::new();
        while let Some(next) = waiting.iter_mut().position(is_told) {
            let (place, _) = waiting.remove(next);
            order.push(place.of);
        }
        order
    }

    #[test]
    fn who_has_hundreds_waiting_leaves_another_waiting_for_a_round() {
        let places = Places::new(1);
        let mut all = enter(&places, std::iter::repeat_n(ADA, 500));
        all.extend(enter(&places, [BEN, BEN, CLEO, Asker::Program]));
        assert_eq!(places.state().waits, 503);
        let order = served(all);
        assert_eq!(places.state().waits, 0);
        assert_eq!(order.len(), 504, "everybody is served");
        let place = |of| order.iter().position(|it| *it == of).unwrap();
        assert_eq!(order[..2], [ADA, Asker::Program], "of two whose turn it is, the program is first");
        assert!(place(BEN) <= 4 && place(CLEO) <= 4, "{:?}", &order[..8]);
        assert_eq!(order[..9].iter().filter(|it| **it == BEN).count(), 2, "and its second call in the second round");
        assert!(order[9..].iter().all(|it| *it == ADA));
    }

    #[test]
    fn there_are_as_many_places_as_connections_and_all_are_given_back() {
        let places = Places::new(3);
        let all = enter(&places, [ADA, ADA, ADA, ADA, BEN]);
        assert_eq!(all.iter().filter(|(_, turn)| turn.is_none()).count(), 3, "who is alone may have all of them");
        drop(all);
        let state = places.state();
        assert!(state.free == 3 && state.waiting.is_empty(), "{state:?}");
    }

    #[test]
    fn who_gives_up_while_it_waits_or_is_just_told_keeps_no_place() {
        let places = Places::new(1);
        let mut all = enter(&places, [ADA, ADA, BEN, CLEO]);
        drop(all.remove(1));
        drop(all.remove(0));
        // Ben has been told, and hangs up before he hears of it.
        let (ben, turn) = all.remove(0);
        drop(turn);
        drop(ben);
        assert!(all[0].1.as_mut().is_some_and(|turn| turn.try_recv().is_ok()), "the next one has it");
        drop(all);
        let state = places.state();
        assert!(state.free == 1 && state.waiting.is_empty() && state.waits == 0, "{state:?}");
    }

    #[tokio::test]
    async fn a_place_is_waited_for_and_a_wait_that_is_given_up_is_forgotten() {
        let places = Places::new(1);
        let first = places.take(ADA).await;
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, places.take(BEN)).await;
        assert!(given_up.is_err());
        assert!(places.state().waiting.is_empty());
        let second = tokio::spawn({
            let places = places.clone();
            async move { places.take(BEN).await.of }
        });
        drop(first);
        assert_eq!(second.await.unwrap(), BEN);
        assert_eq!(places.state().free, 1);
    }
}
