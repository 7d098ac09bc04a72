//! [`Doubt`]: why a clock is not to be decided by.

use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use thiserror::Error;

use crate::{Span, Timestamp};

/// Why nothing is to be decided by a clock; each message says it to an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Doubt {
    /// The store's own clock shows another time.
    #[error("this machine's clock is {by} {} the database's", if *.ahead { "ahead of" } else { "behind" })]
    Differs {
        /// By how much.
        by: Span,
        /// Whether it is this one that is ahead.
        ahead: bool,
    },
    /// It shows another time than before and what has really passed since.
    #[error("this machine's clock has leapt {} by {by}", if *.ahead { "forward" } else { "back" })]
    Leapt {
        /// By how much.
        by: Span,
        /// Whether forward.
        ahead: bool,
    },
    /// The store has been used until later than this.
    #[error(
        "this machine's clock shows {now}, and the store has been used until {used_until}: set the clock right, or start with \
         --test-clock if the store was used with one; if it was that clock that was wrong, say so with the command `clock --accept`"
    )]
    Behind {
        /// What the clock showed.
        now: Timestamp,
        /// The latest time at which the store was used.
        used_until: Timestamp,
    },
}

impl Doubt {
    /// By how much the clock seems to be wrong.
    pub fn by(&self) -> Span {
        match *self {
            Self::Differs { by, .. } | Self::Leapt { by, .. } => by,
            Self::Behind { now, used_until } => used_until.since(now),
        }
    }

    /// The same of two times: what the clock shows and what it should.
    pub(crate) fn leap(shown: Timestamp, expected: Timestamp) -> Self {
        let ahead = shown > expected;
        let by = if ahead { shown.since(expected) } else { expected.since(shown) };
        Self::Leapt { by, ahead }
    }
}

/// What a clock showed, and when: with it, it is judged by what was looked at and not by what it shows a moment later.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub(crate) shown: Timestamp,
    pub(crate) at: Instant,
}

impl Reading {
    /// What it showed.
    pub const fn shown(&self) -> Timestamp {
        self.shown
    }
}

/// What is known about a clock.
#[derive(Default)]
pub(crate) struct Trust(RwLock<Known>);

#[derive(Default, Clone, Copy)]
struct Known {
    doubt: Option<Doubt>,
    confirmed: Option<Confirmed>,
}

/// When a clock was found to be right, what it showed, and how far it may be from that and the time that has passed since.
#[derive(Clone, Copy)]
struct Confirmed {
    reading: Reading,
    tolerance: Span,
}

impl Trust {
    pub(crate) fn doubt(&self, now: Timestamp) -> Option<Doubt> {
        let known = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.doubt.is_some() {
            return known.doubt;
        }
        let Confirmed { reading, tolerance } = known.confirmed?;
        let expected = reading.shown.saturating_add(Span::from_std(reading.at.elapsed()));
        let leap = Doubt::leap(now, expected);
        (leap.by() > tolerance).then_some(leap)
    }

    pub(crate) fn refuse(&self, doubt: Doubt) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).doubt = Some(doubt);
    }

    pub(crate) fn confirm(&self, reading: Reading, tolerance: Span) {
        let confirmed = Some(Confirmed { reading, tolerance });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Known { doubt: None, confirmed };
    }
}
