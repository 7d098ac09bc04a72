//! Places for what costs as much as an account is old or as a report is long: audits, searches through a ledger, usage.
//!
//! Few are carried out at a time, so that the others' calls find connections and cores; each owner has one turn at a time,
//! and of those who wait only so many may, of one owner and of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_id::OwnerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// How many are carried out side by side.
pub(crate) const SIDE_BY_SIDE: usize = 2;

/// How many calls about one owner may wait or be under way.
const OF_ONE: usize = 8;

/// How many calls may wait or be under way.
const OF_ALL: usize = 256;

/// One owner's calls, and the turn that they take.
struct Owner {
    calls: usize,
    turn: Arc<Semaphore>,
}

#[derive(Default)]
struct Calls {
    of: HashMap<OwnerId, Owner>,
    all: usize,
}

/// The places. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Costly {
    calls: Arc<Mutex<Calls>>,
    places: Arc<Semaphore>,
}

/// A place that a costly call has; given back when it is dropped, with the call.
pub(crate) struct Place {
    _turn: OwnedSemaphorePermit,
    _one_of_all: OwnedSemaphorePermit,
    _counted: Counted,
}

/// A call that is counted until it is dropped.
struct Counted {
    owner: OwnerId,
    calls: Arc<Mutex<Calls>>,
}

impl Costly {
    pub(crate) fn new() -> Self {
        Self { calls: Arc::default(), places: Arc::new(Semaphore::new(SIDE_BY_SIDE)) }
    }

    /// Waits for a place for a call about `owner`.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait already, of this owner or of all.
    pub(crate) async fn place(&self, owner: OwnerId) -> Result<Place, Error> {
        let (counted, turn) = self.count(owner)?;
        let closed = |_| Error::Failed;
        let turn = turn.acquire_owned().await.map_err(closed)?;
        let one_of_all = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        Ok(Place { _turn: turn, _one_of_all: one_of_all, _counted: counted })
    }

    fn count(&self, owner: OwnerId) -> Result<(Counted, Arc<Semaphore>), Error> {
        let mut calls = lock(&self.calls);
        let of_one = calls.of.get(&owner).map_or(0, |it| it.calls);
        if of_one >= OF_ONE || calls.all >= OF_ALL {
            return Err(Error::Overloaded);
        }
        calls.all += 1;
        let known = calls.of.entry(owner).or_insert_with(|| Owner { calls: 0, turn: Arc::new(Semaphore::new(1)) });
        known.calls += 1;
        Ok((Counted { owner, calls: Arc::clone(&self.calls) }, Arc::clone(&known.turn)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls);
        calls.all = calls.all.saturating_sub(1);
        if let Some(known) = calls.of.get_mut(&self.owner) {
            known.calls = known.calls.saturating_sub(1);
            if known.calls == 0 {
                calls.of.remove(&self.owner);
            }
        }
    }
}

/// Counting cannot be left half-way.
fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use bursar_testkit::id;

    use super::*;

    fn owner(number: u64) -> OwnerId {
        OwnerId::User(id(number))
    }

    async fn is_ready<T>(call: &mut std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn one_owners_calls_take_one_place() {
        let costly = Costly::new();
        let first = costly.place(owner(1)).await.ok().unwrap();
        let mut second = pin!(costly.place(owner(1)));
        assert!(!is_ready(&mut second).await, "one at a time");
        let _other = costly.place(owner(2)).await.ok().unwrap();
        let mut third = pin!(costly.place(owner(3)));
        assert!(!is_ready(&mut third).await, "two in all");
        drop(first);
        assert!(is_ready(&mut third).await, "whoever waited first has the place that is free again");
    }

    #[tokio::test]
    async fn only_so_many_wait_and_whoever_gives_up_counts_no_more() {
        let costly = Costly::new();
        let _first = costly.place(owner(1)).await.ok().unwrap();
        let mut waiting: Vec<_> = (1..OF_ONE).map(|_| Box::pin(costly.place(owner(1)))).collect();
        for call in &mut waiting {
            assert!(!is_ready(&mut call.as_mut()).await);
        }
        assert!(matches!(costly.place(owner(1)).await, Err(Error::Overloaded)));
        assert!(costly.place(owner(2)).await.is_ok(), "others may");
        waiting.pop();
        assert!(!is_ready(&mut Box::pin(costly.place(owner(1))).as_mut()).await, "there is room to wait again");
    }
}
