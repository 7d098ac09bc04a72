//! What is done at a place: whether a call is in work there.
//!
//! A call is in work while this side has something to do for it, be that to wait for the store or for something to tell. What of its
//! answer is ready is its caller's to take, and counts for a look or two only ([`Desk::look`]): over HTTP/2 each stream has a window
//! of its own, and whoever gives it none could keep an answer waiting for ever. It is in work again as soon as more of it is
//! asked for. What the connection has to send already is nobody's work: who takes that slowly is cut where the connection gives way.
//!
//! Calls begin and end without a word to the port, whose places all connections share: it asks when one shall give way, and is
//! told of those alone that it has found in work ([`Desk::heed`]).

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

/// The moments of one port, each later than those before it. No two are the same.
#[derive(Clone, Default)]
pub(crate) struct Moments(Arc<AtomicU64>);

impl Moments {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What is done at one place.
pub(crate) struct Desk {
    moments: Moments,
    calls: Mutex<Calls>,
    /// Changed with the calls.
    looks: AtomicU64,
    /// Cancelled when the place shall give way, or is given back.
    pub(crate) told: CancellationToken,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is this side's turn.
    Working,
    /// It is its caller's turn, to take what has been ready since there were so many looks.
    Ready(u64),
}

/// Those that are in work.
struct Calls {
    working: usize,
    /// Of those that are ready: since the last look.
    fresh: usize,
    /// And since the one before it.
    stale: usize,
    /// Since when there are none.
    idle: Option<u64>,
    /// Whether somebody is to be told once there are none.
    heeded: bool,
}

impl Desk {
    pub(crate) fn new(moments: &Moments) -> Self {
        let calls = Calls { working: 0, fresh: 0, stale: 0, idle: Some(moments.next()), heeded: false };
        let (calls, looks, told) = (Mutex::new(calls), AtomicU64::new(0), CancellationToken::new());
        Self { moments: moments.clone(), calls, looks, told }
    }

    /// Since when no call is in work; `None` while one is.
    pub(crate) fn idle(&self) -> Option<u64> {
        self.calls().idle
    }

    /// The same for whoever is to be told once none is: by the first of [`end`](Self::end) and [`look`](Self::look) that leaves none.
    pub(crate) fn heed(&self) -> Option<u64> {
        let mut calls = self.calls();
        calls.heeded = calls.idle.is_none();
        calls.idle
    }

    /// A call begins, at [`Stage::Working`].
    pub(crate) fn begin(&self) {
        self.change(|calls, _| calls.working += 1);
    }

    /// It is this side's turn for a call.
    pub(crate) fn works(&self, stage: &mut Stage) {
        if *stage != Stage::Working {
            self.change(|calls, looks| {
                calls.leave(*stage, looks);
                calls.working += 1;
                *stage = Stage::Working;
            });
        }
    }

    /// Something of a call's answer is ready, and everything before that was taken.
    pub(crate) fn offers(&self, stage: &mut Stage) {
        // A look meanwhile may count as before it.
        if *stage != Stage::Ready(self.looks.load(Ordering::Relaxed)) {
            self.change(|calls, looks| {
                calls.leave(*stage, looks);
                calls.fresh += 1;
                *stage = Stage::Ready(looks);
            });
        }
    }

    /// A call has ended. Says whether somebody is to be told that none is left.
    pub(crate) fn end(&self, stage: Stage) -> bool {
        self.change(|calls, looks| calls.leave(stage, looks))
    }

    /// Counts no call as in work whose answer has been ready, and nothing of it taken, since the look before the last. Says whether
    /// somebody is to be told that none is left.
    pub(crate) fn look(&self) -> bool {
        self.change(|calls, looks| {
            calls.stale = mem::take(&mut calls.fresh);
            self.looks.store(looks.wrapping_add(1), Ordering::Relaxed);
        })
    }

    /// Changes which calls there are, after so many looks. Says whether somebody is to be told that there are none.
    fn change(&self, change: impl FnOnce(&mut Calls, u64)) -> bool {
        let mut calls = self.calls();
        change(&mut calls, self.looks.load(Ordering::Relaxed));
        let is_idle = calls.working == 0 && calls.fresh == 0 && calls.stale == 0;
        let ends = is_idle && calls.idle.is_none();
        if is_idle != calls.idle.is_some() {
            calls.idle = is_idle.then(|| self.moments.next());
        }
        ends && calls.heeded
    }

    /// Counting cannot be left half-way.
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    /// One is no more where it was, after so many looks.
    const fn leave(&mut self, stage: Stage, looks: u64) {
        let left = match stage {
            Stage::Working => &mut self.working,
            Stage::Ready(since) => match looks.wrapping_sub(since) {
                0 => &mut self.fresh,
                1 => &mut self.stale,
                // It has not been counted any more.
                _ => return,
            },
        };
        *left = left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> Desk {
        Desk::new(&Moments::default())
    }

    #[test]
    fn what_is_ready_and_not_taken_is_in_work_until_the_second_look() {
        let (desk, mut stage) = (desk(), Stage::Working);
        desk.begin();
        desk.offers(&mut stage);
        desk.look();
        assert_eq!(desk.heed(), None, "it has just become ready");
        assert!(desk.look());
        let idle = desk.heed();
        assert!(idle.is_some(), "nobody takes it");
        desk.end(stage);
        assert_eq!(desk.idle(), idle, "it has not counted any more");
    }

    #[test]
    fn what_waits_for_this_side_is_in_work_however_long() {
        let (desk, stage) = (desk(), Stage::Working);
        desk.begin();
        for _ in 0..10 {
            desk.look();
            assert_eq!(desk.idle(), None);
        }
        desk.end(stage);
        assert!(desk.idle().is_some());
    }

    #[test]
    fn what_is_taken_now_and_then_is_in_work_and_so_is_what_is_taken_at_last() {
        let (desk, mut stage) = (desk(), Stage::Working);
        desk.begin();
        for _ in 0..10 {
            desk.offers(&mut stage);
            desk.look();
            assert_eq!(desk.idle(), None, "some has been taken");
        }
        desk.look();
        assert!(desk.idle().is_some());
        desk.works(&mut stage);
        for _ in 0..3 {
            assert_eq!(desk.idle(), None, "all is taken, and the next is to be made");
            desk.look();
        }
        desk.end(stage);
        assert!(desk.idle().is_some());
    }

    #[test]
    fn one_call_is_enough_to_be_in_work() {
        let (desk, mut first, second) = (desk(), Stage::Working, Stage::Working);
        desk.begin();
        desk.begin();
        desk.offers(&mut first);
        desk.look();
        desk.look();
        assert_eq!(desk.idle(), None, "the other is in work");
        desk.end(second);
        let before = desk.idle();
        assert!(before.is_some());
        desk.offers(&mut first);
        assert_eq!(desk.idle(), None, "some of the first is taken");
        desk.end(first);
        assert!(desk.idle() > before, "it has been idle since a later moment");
    }

    #[test]
    fn whoever_has_found_a_call_in_work_is_told_and_nobody_else() {
        let (desk, stage) = (desk(), Stage::Working);
        assert!(desk.heed().is_some());
        desk.begin();
        assert!(!desk.end(stage), "nobody has found it in work");
        desk.begin();
        desk.begin();
        assert_eq!(desk.heed(), None);
        assert!(!desk.end(stage), "one is left");
        assert!(desk.end(stage));
        desk.begin();
        assert!(desk.end(stage), "whoever was told has not asked again");
        assert!(desk.heed().is_some());
        desk.begin();
        assert!(!desk.end(stage));
    }
}
