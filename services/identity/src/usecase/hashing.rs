//! Password hashing: Argon2id off the async threads, a few at a time, with a bounded queue.
//!
//! One hash takes 19 MiB and some 20 ms of a core, so the number at work is bounded by the cores and the
//! number waiting by a number of its own: a flood of sign-ins is refused instead of using up the memory.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use bursar_secret::{Entropy, Secret};
use tokio::sync::Semaphore;

use crate::Error;

/// OWASP's Password Storage Cheat Sheet, Argon2id: m = 19 MiB, t = 2, p = 1.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Hasher(Arc<Inner>);

struct Inner {
    entropy: Entropy,
    cores: Semaphore,
    waiting: AtomicUsize,
    /// Hashes that may be at work or wait for a core; more are refused as overload.
    max_waiting: usize,
    /// What unknown addresses are checked against, so that they cost what known ones do.
    nobody: String,
}

impl Hasher {
    /// Makes a hasher; hashes one random password, so it takes a few milliseconds.
    pub fn new(entropy: Entropy, max_waiting: usize) -> Result<Self, Error> {
        let nobody = hash(&entropy.bytes::<32>(), entropy.bytes::<16>())?;
        let cores = available_parallelism().map_or(1, NonZeroUsize::get).min(8);
        let (cores, waiting) = (Semaphore::new(cores), AtomicUsize::new(0));
        Ok(Self(Arc::new(Inner { entropy, cores, waiting, max_waiting, nobody })))
    }

    /// The PHC string of a password with a fresh salt.
    pub async fn hash(&self, password: Secret) -> Result<String, Error> {
        let salt = self.0.entropy.bytes::<16>();
        self.work(move || hash(password.expose().as_bytes(), salt)).await
    }

    /// Whether the password is the one behind `stored`. Without a stored hash the answer is `false`, after
    /// the same work.
    pub async fn verify(&self, password: Secret, stored: Option<String>) -> Result<bool, Error> {
        let known = stored.is_some();
        let against = stored.unwrap_or_else(|| self.0.nobody.clone());
        Ok(self.work(move || verify(password.expose().as_bytes(), &against)).await? && known)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _waiting = Waiting::join(&self.0.waiting, self.0.max_waiting)?;
        let _core = self.0.cores.acquire().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }
}

/// A place in the queue, given back when dropped (also by a caller who hangs up).
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize, most: usize) -> Result<Self, Error> {
        let place = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) < most { Ok(place) } else { Err(Error::Overloaded) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn argon() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(Error::internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8], salt: [u8; 16]) -> Result<String, Error> {
    Ok(argon()?.hash_password_with_salt(password, &salt).map_err(Error::internal)?.to_string())
}

fn verify(password: &[u8], stored: &str) -> Result<bool, Error> {
    let stored = PasswordHash::new(stored).map_err(|_| Error::internal("a stored password hash is malformed"))?;
    match argon()?.verify_password(password, &stored) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(Error::internal(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_and_no_other_passes() {
        let hasher = Hasher::new(Entropy::seeded(1), 2).unwrap();
        let stored = hasher.hash(Secret::from("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(hasher.verify(Secret::from("correct horse"), Some(stored.clone())).await.unwrap());
        assert!(!hasher.verify(Secret::from("correct horsf"), Some(stored.clone())).await.unwrap());
        assert_ne!(stored, hasher.hash(Secret::from("correct horse")).await.unwrap(), "salts differ");
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let hasher = Hasher::new(Entropy::seeded(1), 2).unwrap();
        assert!(!hasher.verify(Secret::from("anything"), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_flood_is_refused_and_passes() {
        let hasher = Hasher::new(Entropy::seeded(1), 2).unwrap();
        hasher.0.waiting.store(2, Ordering::Relaxed);
        let refused = hasher.verify(Secret::from("anything"), None).await;
        assert!(matches!(refused, Err(Error::Overloaded)), "{refused:?}");
        hasher.0.waiting.store(0, Ordering::Relaxed);
        assert!(hasher.verify(Secret::from("anything"), None).await.is_ok());
        assert_eq!(hasher.0.waiting.load(Ordering::Relaxed), 0, "every place was given back");
    }
}
