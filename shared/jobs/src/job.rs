//! What a job is: its kind, and the terms on which its kind is worked on.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bursar_time::Span;

/// A kind of job whose payload is a `P`. Its name stands in the database and in metrics, and never changes: jobs outlive
/// the program that enqueued them. For the same reason a payload's form only grows (`#[serde(default)]`).
pub struct Kind<P> {
    name: &'static str,
    payload: PhantomData<fn(P) -> P>,
}

impl<P> Kind<P> {
    /// The kind with this name, for example `organization.departure`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, payload: PhantomData }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<P> Clone for Kind<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Kind<P> {}

impl<P> fmt::Debug for Kind<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({})", self.name)
    }
}

/// On which terms a kind of job is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long one attempt may take; then it has failed. A job whose replica died is taken again a little later than
    /// this, so keep it short.
    pub limit: Duration,
    /// How many jobs of the kind one replica works on at once; at least 1.
    pub at_once: usize,
    /// A job that has failed so often is a dead letter.
    pub attempts: u32,
    /// The wait before the second attempt at most; it doubles with each.
    pub first_wait: Span,
    /// The longest wait between two attempts.
    pub longest_wait: Span,
}

impl Terms {
    /// A minute for an attempt, two jobs at once, and a bit more than a day of attempts.
    pub const DEFAULT: Self = Self {
        limit: Duration::from_mins(1),
        at_once: 2,
        attempts: 46,
        first_wait: Span::from_secs(10),
        longest_wait: Span::HOUR,
    };

    /// The same, with attempts for a month and more: for what would stay half done for ever if it were given up, however long
    /// something stands in its way.
    pub const PATIENT: Self = Self { attempts: 1_000, ..Self::DEFAULT };
}

impl Default for Terms {
    fn default() -> Self {
        Self::DEFAULT
    }
}
