//! Password hashing: Argon2id off the async threads, a few at a time, in a queue where nobody can take all the places.
//!
//! One hash takes 19 MiB and some 20 ms of a core, so those at work are bounded by the cores (`cores`), and those waiting by a
//! number of their own (`places`): a flood is refused instead of using up the memory. Everything that a hash holds (its place,
//! its core, its memory) is held by the work itself and given back when the work is done, not when its caller hangs up.

mod argon;
mod cores;
mod memory;
mod places;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::Block;
use bursar_rpc::Origin;
use bursar_runtime::Heavy;
use bursar_secret::{Entropy, Secret};

use crate::Error;
use cores::Cores;
use memory::Memory;
use places::Places;
pub use places::{Place, Purpose};

/// Cores that hash at once at most; the others are left to everything else.
const MOST_CORES: usize = 8;

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Hasher(Arc<Inner>);

struct Inner {
    entropy: Entropy,
    cores: Arc<Cores>,
    places: Arc<Places>,
    threads: Heavy,
    memory: Memory,
    /// What unknown addresses are checked against, so that they cost what known ones do.
    nobody: String,
}

/// What came of checking a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is the one behind the stored hash.
    pub matches: bool,
    /// A hash of the same password by today's parameters, when the stored one is weaker.
    pub stronger: Option<String>,
}

impl Hasher {
    /// Makes a hasher in which so many hashes may be at work or wait; hashes one random password, so it takes a few
    /// milliseconds.
    pub fn new(entropy: Entropy, most: usize) -> Result<Self, Error> {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_CORES);
        Self::on_cores(entropy, most, cores)
    }

    fn on_cores(entropy: Entropy, most: usize, cores: usize) -> Result<Self, Error> {
        let memory = Memory::default();
        let nobody = memory.lend(|blocks| argon::hash(&entropy.bytes::<32>(), &entropy.bytes::<16>(), blocks))?;
        Ok(Self(Arc::new(Inner {
            entropy,
            cores: Arc::new(Cores::new(cores)),
            places: Arc::new(Places::new(most)),
            threads: Heavy::start("hashing", cores).map_err(Error::internal)?,
            memory,
            nobody,
        })))
    }

    /// Takes a place for one hash; [`Error::Overloaded`] when there is none for this origin and this purpose.
    pub fn join(&self, origin: Origin, purpose: Purpose) -> Result<Place, Error> {
        Places::join(&self.0.places, origin, purpose)
    }

    /// The PHC string of a password with a fresh salt.
    pub async fn hash(&self, place: Place, password: Secret) -> Result<String, Error> {
        let salt = self.0.entropy.bytes::<16>();
        self.work(place, move |blocks| argon::hash(password.expose().as_bytes(), &salt, blocks)).await
    }

    /// Whether the password is the one behind `stored`. Without a stored hash it is not, after the same work.
    pub async fn verify(&self, place: Place, password: Secret, stored: Option<String>) -> Result<Verdict, Error> {
        let known = stored.is_some();
        let against = stored.unwrap_or_else(|| self.0.nobody.clone());
        let salt = self.0.entropy.bytes::<16>();
        let verify = move |blocks: &mut Vec<Block>| {
            let password = password.expose().as_bytes();
            let (matches, weak) = argon::verify(password, &against, blocks)?;
            let matches = matches && known;
            let stronger = if matches && weak { Some(argon::hash(password, &salt, blocks)?) } else { None };
            Ok(Verdict { matches, stronger })
        };
        self.work(place, verify).await
    }

    /// Does the work when it is its turn at a core. Whoever stops waiting before gives the place back; once begun, the work
    /// itself holds what it took.
    async fn work<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = Cores::turn(&self.0.cores, place.purpose(), place.site()).await;
        let inner = Arc::clone(&self.0);
        let done = self.0.threads.run(move || {
            let held = (place, core);
            let done = inner.memory.lend(work);
            drop(held);
            done
        });
        done.await.map_err(Error::internal)?
    }
}

#[cfg(test)]
mod tests;
