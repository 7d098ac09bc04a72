//! The places in the queues, and how many of them one owner may take.
//!
//! Whoever comes first must not take them all: an owner may wait with as many requests as there are places left for
//! everybody else ([`has_room`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_id::OwnerId;
use bursar_rpc::has_room;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::job::{Job, Overloaded};

type Taken = HashMap<OwnerId, usize>;

/// All places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

/// Places that some requests have; given back when it is dropped.
pub(super) struct Place {
    of: Vec<(OwnerId, usize)>,
    taken: Arc<Mutex<Taken>>,
    _all: OwnedSemaphorePermit,
}

impl Places {
    /// So many places.
    pub(super) fn new(count: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS))), taken: Arc::default() }
    }

    /// A place for each of the jobs, or for none of them.
    ///
    /// # Errors
    /// There are not so many left, or one of the owners would have more than its share.
    pub(super) fn take(&self, jobs: &[Job]) -> Result<Place, Overloaded> {
        let of = count(jobs);
        let mut taken = lock(&self.taken);
        let left = self.all.available_permits();
        let may = |(owner, more): &(OwnerId, usize)| has_room(taken.get(owner).copied().unwrap_or(0), *more, left);
        let permits = u32::try_from(jobs.len()).map_err(|_| Overloaded)?;
        if !of.iter().all(may) {
            return Err(Overloaded);
        }
        let all = Arc::clone(&self.all).try_acquire_many_owned(permits).map_err(|_| Overloaded)?;
        for (owner, more) in &of {
            *taken.entry(*owner).or_default() += more;
        }
        Ok(Place { of, taken: Arc::clone(&self.taken), _all: all })
    }
}

/// How many of the jobs each owner has.
fn count(jobs: &[Job]) -> Vec<(OwnerId, usize)> {
    if let [job] = jobs {
        return vec![(job.owner, 1)];
    }
    let mut of: BTreeMap<OwnerId, usize> = BTreeMap::new();
    for job in jobs {
        *of.entry(job.owner).or_default() += 1;
    }
    of.into_iter().collect()
}

/// Counting cannot be left half-way.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        for (owner, fewer) in &self.of {
            if let Some(count) = taken.get_mut(owner) {
                *count = count.saturating_sub(*fewer);
                if *count == 0 {
                    taken.remove(owner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bursar_testkit::id;

    use super::*;
    use crate::domain::{Actor, Command, Request};

    fn jobs(owner: u64, count: usize) -> Vec<Job> {
        let job = Job { owner: OwnerId::User(id(owner)), actor: Actor::Job, request: Request::unnamed(Command::Sweep) };
        vec![job; count]
    }

    #[test]
    fn one_owner_leaves_room_for_the_others() {
        let places = Places::new(12);
        let mut kept: Vec<Place> = (0..6).map(|_| places.take(&jobs(1, 1)).ok().unwrap()).collect();
        assert!(places.take(&jobs(1, 1)).is_err(), "half of them");
        kept.push(places.take(&jobs(2, 3)).ok().unwrap());
        assert!(places.take(&jobs(2, 1)).is_err(), "half of what is left");
        kept.push(places.take(&jobs(3, 1)).ok().unwrap());
        assert!(places.take(&[jobs(4, 1), jobs(2, 1)].concat()).is_err(), "all or nothing");
        kept.push(places.take(&jobs(4, 1)).ok().unwrap());
        drop(kept);
        assert!(lock(&places.taken).is_empty(), "everything was given back");
        assert!(places.take(&jobs(1, 13)).is_err());
        assert!(places.take(&jobs(1, 12)).is_ok(), "when nobody waits, one request may take all");
    }

    #[test]
    fn a_single_place_is_a_place() {
        let places = Places::new(1);
        let place = places.take(&jobs(1, 1));
        assert!(place.is_ok());
        assert!(places.take(&jobs(2, 1)).is_err());
    }
}
