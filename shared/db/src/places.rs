//! Places at a pool's connections, for which everybody takes turns.
//!
//! A pool gives its connections to whoever came first, so one caller's thousands of cheap calls would have everybody else wait
//! behind them until their time is over. So there are as many places as connections, and a connection is taken by who has a
//! place: those who wait for one take turns by who they are ([`Asker`]), and whoever comes waits for a round of the others. It is
//! the connection that is scarce, and only while it is taken: hashing a password or asking another service takes no place.
//!
//! A service asks for everybody, and the program works for everybody. Where each of them was one among all callers, fifty accounts
//! would leave the product one turn of fifty. So they stand before the callers ([`Group`]), and take turns among themselves; however
//! many of them wait, one turn of so many is a caller's ([`IN_A_ROW`]).
//!
//! A place is given back with its connection, and by whoever gives up. How many wait is bounded by those who let calls in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::{Database, Error, Pool};
use tokio::sync::oneshot;

use crate::{Asker, Turns};

/// Somebody who waits for a place.
#[derive(Debug)]
struct Waiter {
    number: u64,
    told: oneshot::Sender<()>,
}

/// How many turns those have before whom nobody else's work comes to a stop, until a caller has one. As many as leave ten thousand
/// renewals that are due in one moment waiting no longer beside hundreds of readers than where all stood in one queue.
const IN_A_ROW: u32 = 16;

/// Those who take turns with one another, and stand before others.
#[derive(Debug)]
struct Group {
    waiting: Turns<Asker, Waiter>,
    /// How many turns it has had since one of those behind it had the last one.
    in_a_row: u32,
    /// How many it may have then, while anybody waits behind it.
    most: u32,
}

impl Group {
    fn new(most: u32) -> Self {
        Self { waiting: Turns::default(), in_a_row: 0, most }
    }

    /// Whose turn is next, of these groups, each of which stands before those behind it.
    fn next(groups: &mut [Self]) -> Option<Waiter> {
        let (group, behind) = groups.split_first_mut()?;
        if (group.waiting.is_empty() || group.in_a_row >= group.most)
            && let Some(waiter) = Self::next(behind)
        {
            group.in_a_row = 0;
            return Some(waiter);
        }
        let next = group.waiting.next(|_| true)?;
        group.in_a_row = group.in_a_row.saturating_add(1);
        group.waiting.pop(next, |_| 1)
    }
}

/// Nobody waits while a place is free.
#[derive(Debug)]
struct State {
    free: u32,
    /// Who has the store to itself; what works for everybody; the callers.
    groups: [Group; 3],
    /// How many ever waited.
    numbers: u64,
    /// How many wait now.
    waits: u64,
}

impl State {
    /// Gives the place of somebody who needs it no more to the next.
    fn pass_on(&mut self) {
        if let Some(waiter) = Group::next(&mut self.groups) {
            self.waits = self.waits.saturating_sub(1);
            // Whoever has just given up passes it on when its place is dropped.
            let _ = waiter.told.send(());
        } else {
            self.free = self.free.saturating_add(1);
        }
    }

    /// Those with whom this one takes turns.
    fn with(&mut self, of: Asker) -> &mut Turns<Asker, Waiter> {
        let [own, everybodys, callers] = &mut self.groups;
        let group = match of {
            Asker::Dedicated => own,
            Asker::Program(..) | Asker::Service(_) => everybodys,
            Asker::Caller(_) => callers,
        };
        &mut group.waiting
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
        let groups = [1, IN_A_ROW, u32::MAX].map(Group::new);
        Self(Arc::new(Mutex::new(State { free: connections.max(1), groups, numbers: 0, waits: 0 })))
    }

    /// A place of this pool's, once it is this one's turn. Whoever waits is told at once that the pool is closed, as those are who
    /// wait for a connection.
    pub(crate) async fn take<DB: Database>(&self, of: Asker, pool: &Pool<DB>) -> Result<Place, Error> {
        let (place, turn) = self.enter(of);
        if let Some(turn) = turn {
            // Whoever would tell is there as long as the place is.
            let _ = pool.close_event().do_until(turn).await?;
        }
        Ok(place)
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
        state.with(of).push(of, Waiter { number, told });
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
        let waits = |number: u64| state.with(self.of).take_out(self.of, |waiter| waiter.number.cmp(&number));
        if self.number.and_then(waits).is_some() {
            state.waits = state.waits.saturating_sub(1);
        } else {
            state.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

    use super::*;

    const ADA: Asker = Asker::Caller(1);
    const BEN: Asker = Asker::Caller(2);
    const CLEO: Asker = Asker::Caller(3);

    const PRODUCT: Asker = Asker::Service(1);

    type Waiting = Vec<(Place, Option<oneshot::Receiver<()>>)>;

    fn enter(places: &Places, all: impl IntoIterator<Item = Asker>) -> Waiting {
        all.into_iter().map(|of| places.enter(of)).collect()
    }

    fn nobody_waits(state: &State) -> bool {
        state.groups.iter().all(|group| group.waiting.is_empty())
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
        all.extend(enter(&places, [BEN, BEN, CLEO, Asker::PROGRAM]));
        assert_eq!(places.state().waits, 503);
        let order = served(all);
        assert_eq!(places.state().waits, 0);
        assert_eq!(order.len(), 504, "everybody is served");
        let place = |of| order.iter().position(|it| *it == of).unwrap();
        assert_eq!(order[..2], [ADA, Asker::PROGRAM], "the program is before the callers");
        assert!(place(BEN) <= 4 && place(CLEO) <= 4, "{:?}", &order[..8]);
        assert_eq!(order[..9].iter().filter(|it| **it == BEN).count(), 2, "and its second call in the second round");
        assert!(order[9..].iter().all(|it| *it == ADA));
    }

    /// Lets each of fifty callers wait with ten calls where there is one place, and gives that back once.
    fn fifty_callers(places: &Places) -> Waiting {
        let mut all = enter(places, [Asker::Caller(0)]);
        all.extend(enter(places, (0..500).map(|number| Asker::Caller(number % 50))));
        all
    }

    /// Gives the place of the one who has it to the next, and says who that is.
    fn pass_on(waiting: &mut Waiting) -> Asker {
        let has = |(_, turn): &(Place, Option<oneshot::Receiver<()>>)| turn.is_none();
        drop(waiting.remove(waiting.iter().position(has).unwrap()));
        let is_told = |(_, turn): &mut (Place, Option<oneshot::Receiver<()>>)| {
            turn.as_mut().is_some_and(|turn| turn.try_recv().is_ok())
        };
        let next = waiting.iter_mut().position(is_told).unwrap();
        let (place, turn) = &mut waiting[next];
        *turn = None;
        place.of
    }

    #[test]
    fn a_service_that_asks_for_everybody_waits_for_no_round_of_the_callers() {
        let places = Places::new(1);
        let mut all = fifty_callers(&places);
        for round in 0..100 {
            all.extend(enter(&places, [PRODUCT]));
            assert_eq!(pass_on(&mut all), PRODUCT, "round {round}: its one call is next");
            assert!(matches!(pass_on(&mut all), Asker::Caller(_)), "round {round}: the callers go on");
        }
        all.extend(enter(&places, std::iter::repeat_n(PRODUCT, 200)));
        let mut callers = 0;
        for _ in 0..200 {
            callers += usize::from(pass_on(&mut all) != PRODUCT);
        }
        assert!((1..=200 / 16).contains(&callers), "one turn of so many is a caller's, and no more: {callers}");
    }

    #[test]
    fn whoever_looks_whether_the_store_is_there_does_not_stand_behind_the_programs_own_crowd() {
        let places = Places::new(1);
        let job = Asker::program("a job");
        let mut all = enter(&places, std::iter::repeat_n(job, 300));
        all.extend(enter(&places, [ADA, Asker::program("readiness"), PRODUCT]));
        let next = [(); 3].map(|()| pass_on(&mut all));
        assert!(next.contains(&Asker::program("readiness")) && next.contains(&PRODUCT), "{next:?}");
        let next = [(); 14].map(|()| pass_on(&mut all));
        assert!(next.contains(&ADA), "a caller has a turn as well: {next:?}");
    }

    #[test]
    fn renewals_have_the_most_of_the_turns_where_many_are_due_and_leave_the_others_some() {
        let places = Places::new(1);
        let mut all = enter(&places, (0..1_000_u32).map(|owner| Asker::spread("renewals", &owner)));
        all.extend(enter(&places, std::iter::repeat_n(PRODUCT, 300)));
        all.extend(enter(&places, (0..300).map(Asker::Caller)));
        let next: Vec<Asker> = (0..400).map(|_| pass_on(&mut all)).collect();
        let renewals = next.iter().filter(|it| matches!(it, Asker::Program("renewals", _))).count();
        assert!(renewals * 10 >= next.len() * 8, "{renewals} of {}", next.len());
        let others = |of: fn(&Asker) -> bool| next.iter().filter(|it| of(it)).count();
        assert!(others(|it| *it == PRODUCT) >= 15, "the product goes on");
        assert!(others(|it| matches!(it, Asker::Caller(_))) >= 15, "and so do callers");
    }

    #[test]
    fn who_has_the_store_to_itself_has_every_second_turn_and_no_more() {
        let places = Places::new(1);
        let mut all = fifty_callers(&places);
        all.extend(enter(&places, (0..100).map(|_| Asker::Dedicated)));
        let next: Vec<Asker> = (0..100).map(|_| pass_on(&mut all)).collect();
        assert_eq!(next.iter().filter(|it| **it == Asker::Dedicated).count(), 50);
    }

    #[test]
    fn there_are_as_many_places_as_connections_and_all_are_given_back() {
        let places = Places::new(3);
        let all = enter(&places, [ADA, ADA, ADA, ADA, BEN]);
        assert_eq!(all.iter().filter(|(_, turn)| turn.is_none()).count(), 3, "who is alone may have all of them");
        drop(all);
        let state = places.state();
        assert!(state.free == 3 && nobody_waits(&state), "{state:?}");
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
        assert!(state.free == 1 && nobody_waits(&state) && state.waits == 0, "{state:?}");
    }

    fn pool() -> SqlitePool {
        SqlitePool::connect_lazy_with(SqliteConnectOptions::new())
    }

    #[tokio::test]
    async fn a_place_is_waited_for_and_a_wait_that_is_given_up_is_forgotten() {
        let (places, pool) = (Places::new(1), pool());
        let first = places.take(ADA, &pool).await.unwrap();
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, places.take(BEN, &pool)).await;
        assert!(given_up.is_err());
        assert!(nobody_waits(&places.state()));
        let second = tokio::spawn({
            let places = places.clone();
            async move { places.take(BEN, &pool).await.unwrap().of }
        });
        drop(first);
        assert_eq!(second.await.unwrap(), BEN);
        assert_eq!(places.state().free, 1);
    }
}
