//! [`System`]: the system's clock, as far as it goes forward.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::{Span, Timestamp};

/// What the system's clock may go back without being said to have been set back: it is being adjusted.
const ADJUSTED: i64 = Span::SECOND.as_micros();

/// The system's clock. When it is set back, time goes on from where it was, as it really passes.
pub(crate) struct System {
    born: Instant,
    /// What the clock showed when this one was made or last followed, less how old this one was then, in microseconds: with
    /// the time that has really passed since it gives the least that is shown.
    base: AtomicI64,
    /// The latest time that was shown.
    latest: AtomicI64,
    skew: AtomicI64,
}

impl System {
    pub(crate) fn new() -> Self {
        let system =
            Self { born: Instant::now(), base: AtomicI64::new(0), latest: AtomicI64::new(0), skew: AtomicI64::new(0) };
        system.follow();
        system
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (wall, least) = (self.wall(), self.least());
        let shown = if wall < least - ADJUSTED { least } else { wall };
        let latest = self.latest.fetch_max(shown, Ordering::Relaxed);
        // What was shown last is not gone back behind, unless that was a leap which was taken back.
        let shown = if latest > shown && latest - shown <= ADJUSTED { latest } else { shown };
        if latest - shown > ADJUSTED {
            self.latest.store(shown, Ordering::Relaxed);
        }
        Timestamp::clamped(shown)
    }

    /// By how much the system's clock is ahead of what is shown.
    pub(crate) fn lead(&self) -> i64 {
        self.wall() - self.now().as_micros()
    }

    pub(crate) fn follow(&self) {
        let wall = self.wall();
        self.base.store(wall - self.age(), Ordering::Relaxed);
        self.latest.store(wall, Ordering::Relaxed);
    }

    pub(crate) fn skew(&self, micros: i64) {
        self.skew.store(micros, Ordering::Relaxed);
    }

    fn least(&self) -> i64 {
        self.base.load(Ordering::Relaxed) + self.age()
    }

    fn age(&self) -> i64 {
        Span::from_std(self.born.elapsed()).as_micros()
    }

    fn wall(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else takes")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        // A system clock before 1970 is a broken one: it shows 1970.
        let micros = since_epoch.map_or(0, |since| Span::from_std(since).as_micros());
        micros.saturating_add(self.skew.load(Ordering::Relaxed))
    }
}
