//! [`Entropy`]: where random bytes come from.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A source of random bytes. Clones of a seeded source share one sequence.
#[derive(Clone)]
pub struct Entropy(Source);

#[derive(Clone)]
enum Source {
    System,
    Seeded(Arc<Mutex<StdRng>>),
}

impl Entropy {
    /// Cryptographically secure bytes: `ChaCha` per thread, seeded and reseeded by the operating system.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// The same bytes in every run of the same program. For tests only: whoever knows the seed knows
    /// every token.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// Fills `out` with random bytes.
    pub fn fill(&self, out: &mut [u8]) {
        match &self.0 {
            Source::System => {
                #[expect(clippy::disallowed_methods, reason = "this is the source that everybody takes")]
                let mut rng = rand::rng();
                rng.fill_bytes(out);
            }
            Source::Seeded(rng) => {
                // A panic between two fills leaves the generator whole, so a poisoned lock is no harm.
                rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(out);
            }
        }
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A random number below `bound`, each as likely as the others; 0 if `bound` is 0.
    pub fn u64_below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // The numbers from `limit` on would favour the small remainders: draw again instead. At most
        // every second draw is lost, on average far fewer.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let number = u64::from_le_bytes(self.bytes());
            if number < limit {
                return number % bound;
            }
        }
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Entropy(system)",
            Source::Seeded(_) => "Entropy(seeded)",
        })
    }
}
