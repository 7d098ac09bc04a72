//! [`TokenCache`]: tokens that were verified already, by their SHA-256; bounded, the oldest goes first.
//!
//! Checking an `EdDSA` signature costs more than everything else the stack does for a call. What is kept
//! is a digest, so a copy of the process's memory holds no token that could be used.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::token::Verified;

/// The digest of a token.
pub(crate) type Digest = [u8; 32];

/// Few callers wait for one another with this many locks.
const SHARDS: usize = 16;

/// Verified tokens; see the module.
pub(crate) struct TokenCache {
    shards: [Mutex<Shard>; SHARDS],
    per_shard: usize,
}

#[derive(Default)]
struct Shard {
    tokens: HashMap<Digest, Verified>,
    order: VecDeque<Digest>,
}

impl TokenCache {
    /// A cache of about `capacity` tokens; at least one for each shard.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { shards: Default::default(), per_shard: (capacity / SHARDS).max(1) }
    }

    /// The key of a token.
    pub(crate) fn digest(token: &str) -> Digest {
        Sha256::digest(token.as_bytes()).into()
    }

    /// What the token proved when it was verified; the caller compares the times.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Verified> {
        self.shard(digest, |shard| shard.tokens.get(digest).cloned())
    }

    /// Remembers a token, and forgets the oldest one of its shard when that is full.
    pub(crate) fn insert(&self, digest: Digest, verified: &Verified) {
        self.shard(&digest, |shard| {
            if let Entry::Vacant(vacant) = shard.tokens.entry(digest) {
                vacant.insert(verified.clone());
                shard.order.push_back(digest);
            }
            if shard.order.len() > self.per_shard
                && let Some(oldest) = shard.order.pop_front()
            {
                shard.tokens.remove(&oldest);
            }
        });
    }

    fn shard<T>(&self, digest: &Digest, work: impl FnOnce(&mut Shard) -> T) -> T {
        let [first, ..] = *digest;
        let shard = &self.shards[usize::from(first) % SHARDS];
        // A shard is consistent between any two statements, so a panic elsewhere does not spoil it.
        work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("per_shard", &self.per_shard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Caller;
    use bursar_time::Timestamp;

    #[test]
    fn it_never_grows_beyond_its_capacity_and_keeps_the_latest() {
        let cache = TokenCache::new(160);
        let expires_at = Timestamp::from_micros(1).expect("a time");
        let verified = Verified { caller: Caller::Anonymous, not_before: None, expires_at };
        for n in 0..5_000 {
            let digest = TokenCache::digest(&n.to_string());
            cache.insert(digest, &verified);
            cache.insert(digest, &verified);
            assert!(cache.get(&digest).is_some(), "token {n} was just verified");
        }
        let kept: usize = cache.shards.iter().map(|shard| shard.lock().expect("lock").tokens.len()).sum();
        assert_eq!(kept, 160, "16 shards of 10");
        assert!(cache.get(&TokenCache::digest("0")).is_none(), "the oldest is gone");
    }
}
