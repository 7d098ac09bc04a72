//! [`Clock`]: where the time comes from, the system's or a test's.

use std::fmt;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;
use tokio::sync::watch;

use crate::doubt::{Doubt, Reading, Trust};
use crate::system::System;
use crate::{Span, Timestamp};

/// A source of time. Clones are one clock: setting one sets all, and what is found out about one holds for all.
#[derive(Clone)]
pub struct Clock {
    source: Source,
    trust: Arc<Trust>,
}

#[derive(Clone)]
enum Source {
    System(Arc<System>),
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
    /// The system's time. When the system's clock is set back, this one goes on from where it was, at the pace of real
    /// time, until the system's has caught up ([`Clock::follow_system`]).
    pub fn system() -> Self {
        Self::of(Source::System(Arc::new(System::new())))
    }

    /// A clock that shows `start` until it is moved.
    pub fn test(start: Timestamp) -> Self {
        Self::of(Source::Test(Arc::new(watch::Sender::new(start))))
    }

    fn of(source: Source) -> Self {
        Self { source, trust: Arc::default() }
    }

    /// Whether it is a test clock.
    pub const fn is_test(&self) -> bool {
        matches!(self.source, Source::Test(_))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System(system) => system.now(),
            Source::Test(time) => *time.borrow(),
        }
    }

    /// The time, with the moment at which it was read.
    pub fn read(&self) -> Reading {
        let at = Instant::now();
        Reading { shown: self.now(), at }
    }

    /// The same clock, about which something else may be found out: each service compares it with its own store.
    #[must_use]
    pub fn judged_apart(&self) -> Self {
        Self::of(self.source.clone())
    }

    /// Whether `now` was read so long ago that what has come since may look as if a clock far ahead had written it
    /// ([`latest_beginning`](crate::latest_beginning)): a test clock was moved, or the machine stood still. Whoever deletes by that
    /// asks behind it and before it takes effect: what it has seen by then was written before.
    pub fn is_long_past(&self, now: Timestamp) -> bool {
        self.now().since(now) > Span::HOUR
    }

    /// The time, for whoever decides something by it or writes it down; or why this clock is not to be decided by.
    pub fn believed(&self) -> Result<Timestamp, Doubt> {
        let now = self.now();
        match self.doubt_of(now) {
            Some(doubt) => Err(doubt),
            None => Ok(now),
        }
    }

    /// Why nothing is to be decided by this clock, if there is a reason. A test clock is always believed.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt_of(self.now())
    }

    /// Why nothing is to be decided by what was just read, if there is a reason.
    pub fn doubt_about(&self, reading: Reading) -> Option<Doubt> {
        self.doubt_of(reading.shown)
    }

    fn doubt_of(&self, now: Timestamp) -> Option<Doubt> {
        if self.is_test() { None } else { self.trust.doubt(now) }
    }

    /// Says what was found out: nothing is decided by this clock until it is confirmed.
    pub fn distrust(&self, doubt: Doubt) {
        self.trust.refuse(doubt);
    }

    /// Says that the clock was right when this was read. From there on it is doubted as soon as it differs by more than
    /// `tolerance` from how much time has really passed.
    pub fn confirm(&self, reading: Reading, tolerance: Span) {
        self.trust.confirm(reading, tolerance);
    }

    /// By how much the system's clock itself is ahead of this one (negative: behind), in microseconds; zero unless it was
    /// set back.
    pub fn system_lead(&self) -> i64 {
        match &self.source {
            Source::System(system) => system.lead(),
            Source::Test(_) => 0,
        }
    }

    /// Shows what the system's clock shows, also where that means to go back: for when it turned out that what this one
    /// goes on from was wrong.
    pub fn follow_system(&self) {
        if let Source::System(system) = &self.source {
            system.follow();
        }
    }

    /// Has the system's clock seem to be this many microseconds ahead (negative: behind) of what it is, from now on: a
    /// wrong clock, for tests. For a test clock it does nothing.
    pub fn skew(&self, micros: i64) {
        if let Source::System(system) = &self.source {
            system.skew(micros);
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
        let Source::Test(time) = &self.source else {
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
        ClockChanges(match &self.source {
            Source::System(_) => None,
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
        match &self.source {
            Source::System(_) => f.write_str("Clock(system)"),
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
