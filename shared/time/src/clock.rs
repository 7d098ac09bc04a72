//! [`Clock`]: where the time comes from, the system's or a test's.

use std::fmt;
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::watch;

use crate::{Span, Timestamp};

/// The latest time that any system clock of this process has shown, in microseconds.
static LATEST: AtomicI64 = AtomicI64::new(i64::MIN);

/// A source of time. Clones of a test clock are one clock: setting one sets all.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    /// The value is the time; it stands still until somebody moves it.
    Test(Arc<watch::Sender<Timestamp>>),
}

/// Why a clock was not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClockError {
    /// It is the system's clock.
    #[error("this is the system's clock: only a test clock can be moved")]
    NotATestClock,
    /// The new time is before the clock's.
    #[error("time never goes back: the clock shows {now}")]
    Backwards {
        /// The clock's time.
        now: Timestamp,
    },
    /// The new time is after the year 9999.
    #[error("must be between the years 1 and 9999")]
    OutOfRange,
}

impl Clock {
    /// The system's time. Within this process it never goes back, even if the system's does.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `start` until it is moved.
    pub fn test(start: Timestamp) -> Self {
        Self(Source::Test(Arc::new(watch::Sender::new(start))))
    }

    /// Whether it is a test clock.
    pub const fn is_test(&self) -> bool {
        matches!(self.0, Source::Test(_))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now(),
            Source::Test(time) => *time.borrow(),
        }
    }

    /// Sets a test clock to `to` and wakes all who wait on it. Setting it to its own time is no error.
    pub fn set(&self, to: Timestamp) -> Result<(), ClockError> {
        self.step(|now| if to < now { Err(ClockError::Backwards { now }) } else { Ok(to) })?;
        Ok(())
    }

    /// Moves a test clock forward, wakes all who wait on it, and gives the new time.
    pub fn advance(&self, by: Span) -> Result<Timestamp, ClockError> {
        self.step(|now| now.checked_add(by).ok_or(ClockError::OutOfRange))
    }

    fn step(&self, next: impl FnOnce(Timestamp) -> Result<Timestamp, ClockError>) -> Result<Timestamp, ClockError> {
        let Source::Test(time) = &self.0 else {
            return Err(ClockError::NotATestClock);
        };
        let mut outcome = Err(ClockError::NotATestClock);
        // Reading and writing under one lock, so that two setters cannot turn the time back.
        time.send_if_modified(|now| {
            outcome = next(*now);
            match outcome {
                Ok(to) => std::mem::replace(now, to) != to,
                Err(_) => false,
            }
        });
        outcome
    }

    /// Tells of every jump of a test clock from now on; for the system's clock there are none.
    pub fn subscribe(&self) -> ClockChanges {
        ClockChanges(match &self.0 {
            Source::System => None,
            Source::Test(time) => Some(time.subscribe()),
        })
    }

    /// Ends at the first jump after this **call** (not after the first poll): take it before looking at
    /// the time, and no jump is missed. Never ends for the system's clock.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut changes = self.subscribe();
        async move { changes.changed().await }
    }

    /// Waits for `span` of real time, or until a test clock jumps, whichever comes first.
    ///
    /// For whoever then looks again what is due: it does not promise that the time has come.
    pub fn sleep(&self, span: Span) -> impl Future<Output = ()> + Send + 'static {
        let changed = self.changed();
        async move {
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(span.to_std()) => {}
            }
        }
    }

    /// Waits until the clock shows `until` or later; a test clock only gets there by being moved.
    pub fn sleep_until(&self, until: Timestamp) -> impl Future<Output = ()> + Send + 'static {
        let clock = self.clone();
        let mut changes = self.subscribe();
        async move {
            loop {
                let left = until.since(clock.now());
                if left.is_zero() {
                    return;
                }
                if clock.is_test() {
                    changes.changed().await;
                } else {
                    tokio::time::sleep(left.to_std()).await;
                }
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::System => f.write_str("Clock(system)"),
            Source::Test(time) => write!(f, "Clock(test, {})", *time.borrow()),
        }
    }
}

/// The jumps of a clock, from [`Clock::subscribe`]. It keeps no clock alive.
#[derive(Debug)]
pub struct ClockChanges(Option<watch::Receiver<Timestamp>>);

impl ClockChanges {
    /// Ends when the clock has jumped since the subscription or since this last ended; several jumps
    /// may end it once. Never ends for the system's clock, nor once a test clock is gone.
    pub async fn changed(&mut self) {
        let moved = match &mut self.0 {
            Some(time) => time.changed().await.is_ok(),
            None => false,
        };
        if !moved {
            pending::<()>().await;
        }
    }
}

fn system_now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else takes")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    // A system clock before 1970 is a broken one: it shows 1970.
    let micros = since_epoch.map_or(0, |since| Span::from_std(since).as_micros());
    let latest = LATEST.fetch_max(micros, Ordering::Relaxed);
    Timestamp::clamped(micros.max(latest))
}
