//! Places for what costs as much as an account is old or as a report is long: audits, searches through a ledger, usage,
//! documents.
//!
//! Few are carried out at a time, so that the others' calls find connections and cores; each owner has one turn at a time,
//! and of those who wait only so many may, of one owner, of one caller and of all.
//!
//! A caller is a person, with whatever token and through whatever service, or a service for itself. A person has one turn at
//! a time and a fixed share of those who wait: who belongs to many organizations is no reason to wait for. A service asks
//! for everybody, so it may have every turn, and may wait with as many calls as there are places left for everybody else;
//! what it asks about one owner counts for that owner. So of the places some are left for whoever has none. What jobs read that costs
//! as much has turns, too, as if all of them were one person.
//!
//! The callers take turns, as owners do in a lane ([`bursar_db::Turns`]): whoever asks for much at once has one more call at
//! most carried out before the first of whoever comes meanwhile. Within a caller the order is the order of arrival, but for owners
//! who have their turn already.
//!
//! What has its turn is carried out on threads that the system favours less than those which everything else runs on
//! ([`Heavy`]): an entry that is read, checked and shown takes tens of microseconds, and a page of them a core for as long as
//! dozens of charges take.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_db::Asker;
use bursar_id::OwnerId;
use bursar_rpc::{Caller, Party, has_room};
use bursar_runtime::Heavy;
use tokio::sync::oneshot;

use crate::error::Error;

/// How many are carried out side by side.
const SIDE_BY_SIDE: usize = 2;

/// How many calls about one owner may wait or be under way.
const OF_ONE: usize = 8;

/// How many calls of one person may wait or be under way.
const OF_PERSON: usize = 16;

/// How many calls may wait or be under way.
const OF_ALL: usize = 256;

/// Whose call it is. `None`: the program's own jobs, which are one together, as are those whom nobody knows, and who are let in
/// nowhere.
type By = Option<Party>;

/// How many of a caller's calls may wait or be under way, however many places are left.
fn share(by: By) -> usize {
    match by {
        Some(Party::Service(_)) => OF_ALL,
        Some(Party::Person(_)) | None => OF_PERSON,
    }
}

/// How many of them are carried out side by side.
fn turns(by: By) -> usize {
    match by {
        Some(Party::Service(_)) => SIDE_BY_SIDE,
        Some(Party::Person(_)) | None => 1,
    }
}

/// A call that waits for its turn.
struct Waiter {
    number: u64,
    owner: OwnerId,
    told: oneshot::Sender<()>,
}

/// One owner's calls, and whether one of them is under way.
#[derive(Default)]
struct OfOwner {
    calls: usize,
    has_turn: bool,
}

/// One caller's calls, how many of them are under way, and when its next turn begins.
#[derive(Default)]
struct OfCaller {
    calls: usize,
    under_way: usize,
    turn: u64,
    waiting: VecDeque<Waiter>,
}

#[derive(Default)]
struct Calls {
    owners: HashMap<OwnerId, OfOwner>,
    callers: HashMap<By, OfCaller>,
    all: usize,
    under_way: usize,
    /// How many there ever were.
    numbers: u64,
    /// When the last of the turns that were given ends, in calls carried out.
    now: u64,
}

impl Calls {
    /// Has a call wait under a number of its own. `None`: too many wait already.
    fn enter(&mut self, by: By, owner: OwnerId) -> Option<(u64, oneshot::Receiver<()>)> {
        let of_owner = self.owners.get(&owner).map_or(0, |it| it.calls);
        let of_caller = self.callers.get(&by).map_or(0, |it| it.calls);
        let left = OF_ALL.saturating_sub(self.all);
        if of_owner >= OF_ONE || of_caller >= share(by) || !has_room(of_caller, 1, left) {
            return None;
        }
        self.all += 1;
        self.numbers += 1;
        self.owners.entry(owner).or_default().calls += 1;
        let (told, turn) = oneshot::channel();
        let caller = self.callers.entry(by).or_default();
        caller.calls += 1;
        if caller.waiting.is_empty() {
            caller.turn = self.now;
        }
        caller.waiting.push_back(Waiter { number: self.numbers, owner, told });
        Some((self.numbers, turn))
    }

    /// Takes out a call that has been carried out, or that nobody waits for any more.
    fn leave(&mut self, by: By, owner: OwnerId, number: u64) {
        self.all = self.all.saturating_sub(1);
        let mut had_turn = false;
        if let Some(caller) = self.callers.get_mut(&by) {
            let waiting = caller.waiting.len();
            caller.waiting.retain(|waiter| waiter.number != number);
            had_turn = caller.waiting.len() == waiting;
            caller.under_way = caller.under_way.saturating_sub(usize::from(had_turn));
            caller.calls = caller.calls.saturating_sub(1);
            if caller.calls == 0 {
                self.callers.remove(&by);
            }
        }
        self.under_way = self.under_way.saturating_sub(usize::from(had_turn));
        if let Some(known) = self.owners.get_mut(&owner) {
            known.has_turn &= !had_turn;
            known.calls = known.calls.saturating_sub(1);
            if known.calls == 0 {
                self.owners.remove(&owner);
            }
        }
    }

    /// Gives as many turns as there are.
    fn give_turns(&mut self) {
        while self.give_turn().is_some() {}
    }

    fn give_turn(&mut self) -> Option<()> {
        let (by, place) = self.next()?;
        let caller = self.callers.get_mut(&by)?;
        let waiter = caller.waiting.remove(place)?;
        caller.under_way += 1;
        caller.turn = caller.turn.saturating_add(1);
        self.now = self.now.max(caller.turn);
        self.under_way += 1;
        self.owners.entry(waiter.owner).or_default().has_turn = true;
        // Whoever has just given up gives the turn back when its place is dropped.
        let _ = waiter.told.send(());
        Some(())
    }

    /// Whose turn is next, and with which of its calls; of those who could have it at the same time, who came first.
    fn next(&self) -> Option<(By, usize)> {
        if self.under_way >= SIDE_BY_SIDE {
            return None;
        }
        let may = |waiter: &Waiter| self.owners.get(&waiter.owner).is_none_or(|it| !it.has_turn);
        let first = |(by, caller): (&By, &OfCaller)| {
            if caller.under_way >= turns(*by) {
                return None;
            }
            let place = caller.waiting.iter().position(may)?;
            Some((caller.turn, caller.waiting.get(place)?.number, *by, place))
        };
        self.callers.iter().filter_map(first).min().map(|(_, _, by, place)| (by, place))
    }
}

/// The places, and the threads for what has one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Costly {
    calls: Arc<Mutex<Calls>>,
    threads: Heavy,
}

/// A place that a costly call has, or waits for; given back when it is dropped. The work has it, not who waits for the work:
/// reading keeps it with its transaction ([`bursar_db::Tx::keeping`]), whose last statement may still be under way when the
/// caller has hung up; what is drawn or written has it on its own thread.
pub(crate) struct Place {
    by: By,
    owner: OwnerId,
    number: u64,
    calls: Arc<Mutex<Calls>>,
}

impl Costly {
    /// All places free.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        Ok(Self { calls: Arc::default(), threads: Heavy::start("costly", SIDE_BY_SIDE)? })
    }

    /// Reads for a call by `caller` about `owner`, once it has a place, which the reading holds, and not who waits for it. Of
    /// whoever hangs up it ends at its next step.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait already, of this owner, of this caller or of all.
    pub(crate) async fn read<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        caller: &Caller,
        owner: OwnerId,
        reading: impl FnOnce(Place) -> F,
    ) -> Result<T, Error> {
        self.read_by(caller.party(), owner, reading).await
    }

    /// The same for a job: all of them have turns as one caller, so that none stands in the way of calls.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn read_for_job<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        owner: OwnerId,
        reading: impl FnOnce(Place) -> F,
    ) -> Result<T, Error> {
        self.read_by(None, owner, reading).await
    }

    async fn read_by<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        by: By,
        owner: OwnerId,
        reading: impl FnOnce(Place) -> F,
    ) -> Result<T, Error> {
        let place = self.place_of(by, owner).await?;
        // It takes connections for the caller, also on threads of its own.
        let reading = Asker::current().scope(reading(place));
        self.threads.see_through(reading).await.ok_or(Error::Failed)?
    }

    /// Writes for a call by `caller` about `owner` what takes a core as long as it takes, once it has a place.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        caller: &Caller,
        owner: OwnerId,
        writing: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.place(caller, owner).await?;
        let held = move || {
            let _place = place;
            writing()
        };
        self.threads.run(held).await.map_err(|_| Error::Failed)
    }

    /// Waits for a place for a call by `caller` about `owner`.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait already, of this owner, of this caller or of all.
    async fn place(&self, caller: &Caller, owner: OwnerId) -> Result<Place, Error> {
        self.place_of(caller.party(), owner).await
    }

    async fn place_of(&self, by: By, owner: OwnerId) -> Result<Place, Error> {
        let (place, turn) = self.enter(by, owner)?;
        turn.await.map_err(|_| Error::Failed)?;
        Ok(place)
    }

    fn enter(&self, by: By, owner: OwnerId) -> Result<(Place, oneshot::Receiver<()>), Error> {
        let mut calls = lock(&self.calls);
        let (number, turn) = calls.enter(by, owner).ok_or(Error::Overloaded)?;
        calls.give_turns();
        Ok((Place { by, owner, number, calls: Arc::clone(&self.calls) }, turn))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls);
        calls.leave(self.by, self.owner, self.number);
        calls.give_turns();
    }
}

/// Counting cannot be left half-way.
fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl Costly {
    /// For a test, which has threads.
    pub(crate) fn new() -> Self {
        Self::start().unwrap()
    }

    /// A place that a test keeps.
    pub(crate) async fn kept(&self, caller: &Caller, owner: OwnerId) -> Place {
        self.place(caller, owner).await.ok().unwrap()
    }

    /// How many calls about an owner wait or are under way.
    pub(crate) fn calls_about(&self, owner: OwnerId) -> usize {
        lock(&self.calls).owners.get(&owner).map_or(0, |it| it.calls)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use bursar_rpc::{Permission, ServiceCaller, ServiceRole};
    use bursar_testkit::id;

    use super::*;
    use crate::usecase::shop::manager;

    fn owner(number: u64) -> OwnerId {
        OwnerId::User(id(number))
    }

    /// A person, at home.
    fn person(number: u64) -> Caller {
        manager(owner(number))
    }

    /// The product's service, for itself or for a person.
    fn service(person: Option<Caller>) -> Caller {
        let on_behalf_of = person.and_then(|caller| caller.user().ok().cloned());
        let (role, permission) = (ServiceRole::Product, Permission::ViewBilling);
        Caller::Service(ServiceCaller { account: id(7), role, on_behalf_of, permission })
    }

    async fn is_ready<T>(call: &mut std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await
    }

    /// As many calls as one caller may have wait, about these owners in turn.
    fn all_of(costly: &Costly, caller: &Caller, owners: &[OwnerId]) -> Vec<Place> {
        let each = owners.iter().cycle().take(OF_ALL * 2);
        each.filter_map(|owner| costly.enter(caller.party(), *owner).ok()).map(|(place, _)| place).collect()
    }

    #[tokio::test]
    async fn one_owners_calls_take_one_place() {
        let (costly, [ana, ben, cleo, dan]) = (Costly::new(), [1, 2, 3, 4].map(person));
        let first = costly.place(&ana, owner(1)).await.ok().unwrap();
        let mut second = pin!(costly.place(&ben, owner(1)));
        assert!(!is_ready(&mut second).await, "one at a time");
        let _other = costly.place(&cleo, owner(2)).await.ok().unwrap();
        let mut third = pin!(costly.place(&dan, owner(3)));
        assert!(!is_ready(&mut third).await, "two in all");
        drop(first);
        assert!(!is_ready(&mut third).await, "somebody else waited first");
        assert!(is_ready(&mut second).await, "whoever waited first has the place that is free again");
        assert!(is_ready(&mut third).await, "and then whoever waited next");
    }

    #[tokio::test]
    async fn only_so_many_wait_and_whoever_gives_up_counts_no_more() {
        let (costly, ana, ben) = (Costly::new(), person(1), person(2));
        let _first = costly.place(&ana, owner(1)).await.ok().unwrap();
        let mut waiting: Vec<_> = (1..OF_ONE).map(|_| Box::pin(costly.place(&ana, owner(1)))).collect();
        for call in &mut waiting {
            assert!(!is_ready(&mut call.as_mut()).await);
        }
        assert!(matches!(costly.place(&ana, owner(1)).await, Err(Error::Overloaded)));
        assert!(matches!(costly.place(&ben, owner(1)).await, Err(Error::Overloaded)), "whoever asks");
        assert!(costly.place(&ben, owner(2)).await.is_ok(), "others may");
        waiting.pop();
        assert!(!is_ready(&mut Box::pin(costly.place(&ana, owner(1))).as_mut()).await, "there is room to wait again");
    }

    #[test]
    fn one_caller_leaves_room_for_the_others() {
        let (costly, owners): (_, Vec<OwnerId>) = (Costly::new(), (100..400).map(owner).collect());
        let hers = all_of(&costly, &person(1), &owners);
        assert_eq!(hers.len(), OF_PERSON);
        assert!(all_of(&costly, &service(Some(person(1))), &owners).is_empty(), "she is the same through a service");
        let theirs = all_of(&costly, &service(None), &owners);
        assert_eq!(theirs.len(), (OF_ALL - OF_PERSON) / 2, "as many as are left");
        for number in 2..10 {
            assert!(costly.enter(person(number).party(), owner(number)).is_ok(), "{number} finds room");
        }
        let others: Vec<_> = (2..10).map(|number| all_of(&costly, &person(number), &owners)).collect();
        assert!(others.iter().all(|of_one| !of_one.is_empty()), "however many there are");
        drop((hers, theirs, others));
        let calls = lock(&costly.calls);
        assert!(calls.callers.is_empty() && calls.owners.is_empty(), "nobody is remembered");
        assert_eq!((calls.all, calls.under_way), (0, 0), "everything was given back");
    }

    #[test]
    fn callers_take_turns_however_much_one_of_them_asks() {
        let (costly, ana, ben) = (Costly::new(), Some(Party::Person(id(1))), Some(Party::Person(id(2))));
        let _keeper = costly.enter(Some(Party::Service(id(7))), owner(9)).ok().unwrap();
        let asked = [(ana, 1), (ana, 2), (ana, 3), (ana, 4), (ben, 5), (ben, 6)];
        let enter = |(by, of)| (by, costly.enter(by, owner(of)).ok().unwrap());
        let mut waiting: Vec<_> = asked.into_iter().map(enter).collect();
        let mut order = Vec::new();
        while let Some(next) = waiting.iter_mut().position(|(_, (_, turn))| turn.try_recv().is_ok()) {
            order.push(waiting.remove(next).0);
        }
        assert_eq!(order, [ana, ana, ben, ana, ben, ana]);
    }

    #[test]
    fn a_person_has_one_turn_at_a_time_and_a_service_as_many_as_there_are() {
        let has_turns = |by: By| {
            let costly = Costly::new();
            let mut calls = [1, 2, 3].map(|of| costly.enter(by, owner(of)).ok().unwrap());
            calls.iter_mut().filter_map(|(_, turn)| turn.try_recv().ok()).count()
        };
        assert_eq!(has_turns(person(1).party()), 1);
        assert_eq!(has_turns(service(Some(person(1))).party()), 1);
        assert_eq!(has_turns(service(None).party()), SIDE_BY_SIDE);
    }
}

#[cfg(test)]
mod hanging_up;
