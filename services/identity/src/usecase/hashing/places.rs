//! The places of those who wait for their password to be hashed, and of those whose password is being hashed.
//!
//! One origin has a quarter of them at most for its sign-ups and a quarter for its sign-ins, and sign-ups altogether have a
//! half: one client's flood fills its own places, and whoever has an account gets in while strangers sign up, also from
//! behind the same address. Each of these stands in a line of its own, and no more of a line stand in front of the cores
//! than there are cores: a newcomer waits for a few hashes and not for a flood.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_rpc::Origin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// What a password is hashed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To check it.
    SignIn,
    /// To keep it.
    SignUp,
}

/// All places.
pub(super) struct Places {
    most: usize,
    cores: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    sign_ups: usize,
    lines: HashMap<Key, Line>,
}

/// Which line: whose, and for what.
type Key = (String, Purpose);

/// Those of one origin with one purpose.
struct Line {
    length: usize,
    turns: Arc<Semaphore>,
}

/// A place, given back when dropped.
pub struct Place {
    places: Arc<Places>,
    key: Key,
    turns: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(most: usize, cores: usize) -> Self {
        Self { most, cores, taken: Mutex::default() }
    }

    pub(super) fn join(places: &Arc<Self>, origin: Origin, purpose: Purpose) -> Result<Place, Error> {
        let key = (origin.to_string(), purpose);
        let mut taken = places.taken();
        let in_line = taken.lines.get(&key).map_or(0, |line| line.length);
        let sign_ups = if purpose == Purpose::SignUp { taken.sign_ups } else { 0 };
        let share = |part: usize| places.most.div_ceil(part);
        if taken.all >= places.most || sign_ups >= share(2) || in_line >= share(4) {
            return Err(Error::Overloaded);
        }
        taken.all += 1;
        taken.sign_ups += usize::from(purpose == Purpose::SignUp);
        let cores = places.cores;
        let line = taken.lines.entry(key.clone());
        let line = line.or_insert_with(|| Line { length: 0, turns: Arc::new(Semaphore::new(cores)) });
        line.length += 1;
        let turns = Arc::clone(&line.turns);
        drop(taken);
        Ok(Place { places: Arc::clone(places), key, turns })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The counts are right between any two statements that can panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places are taken.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.taken().all
    }
}

impl Place {
    pub(super) fn purpose(&self) -> Purpose {
        self.key.1
    }

    /// Waits until few enough of the same line stand in front of the cores.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.turns).acquire_owned().await.map_err(Error::internal)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        taken.sign_ups -= usize::from(self.key.1 == Purpose::SignUp);
        if let Entry::Occupied(mut line) = taken.lines.entry(self.key.clone()) {
            line.get_mut().length -= 1;
            if line.get().length == 0 {
                line.remove();
            }
        }
    }
}
