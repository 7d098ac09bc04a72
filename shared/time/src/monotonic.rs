//! [`Monotonic`]: how long this process has run, whatever any clock says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time that only passes: what spans are measured by that no wrong clock, and no leap of a test clock, may stretch.
/// Clones of a test's are one.
#[derive(Clone)]
pub struct Monotonic(Source);

#[derive(Clone)]
enum Source {
    System(Instant),
    /// Microseconds; it stands still until somebody moves it.
    Test(Arc<AtomicU64>),
}

impl Monotonic {
    /// The system's, from now on.
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// One that stands still until it is moved.
    pub fn test() -> Self {
        Self(Source::Test(Arc::new(AtomicU64::new(0))))
    }

    /// How much of it has passed since it began.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System(began) => began.elapsed(),
            Source::Test(micros) => Duration::from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Lets a test's pass. The system's passes by itself: it is left as it is.
    pub fn advance(&self, by: Duration) {
        if let Source::Test(micros) = &self.0 {
            micros.fetch_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Monotonic({:?})", self.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tests_time_passes_when_it_is_told_to_and_the_systems_by_itself() {
        let time = Monotonic::test();
        let clone = time.clone();
        assert_eq!(time.elapsed(), Duration::ZERO);
        clone.advance(Duration::from_secs(3));
        assert_eq!(time.elapsed(), Duration::from_secs(3));
        let system = Monotonic::system();
        let before = system.elapsed();
        system.advance(Duration::from_hours(1));
        let after = system.elapsed();
        assert!(before <= after && after < Duration::from_hours(1), "{before:?}, {after:?}");
    }
}
