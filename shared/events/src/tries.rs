//! How often an event is tried that the store does not take.
//!
//! Nothing overtakes an event, so one that is tried until it works has everybody else's wait for it. While the store is away
//! that is as it should be: it would take none of them. But where it is there, and refuses what this one event brings about
//! (a statement that always overruns, a row that never comes free), the event is tried for a bounded time and then set aside
//! like one that cannot be read.

use bursar_db::DbError;

use crate::consumer::Unapplied;

/// What may be spent on one event before it is set aside.
const PATIENCE: u32 = 30;

/// What a statement costs that was ended: everybody has waited for as long as one may take.
const OVERRUN: u32 = 10;

/// What it costs to have met somebody who lets go soon: it takes a second at most until the next try.
const MEETING: u32 = 1;

/// What was spent on one event.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    made: u32,
    spent: u32,
}

impl Tries {
    /// Why an event is to be set aside that was not applied; `None`: it is to be tried again. An error: it is not about this
    /// event, which waits.
    ///
    /// `doubted`: its owner is in doubt already. Then an overrun is not tried again: whoever has many such events would have
    /// everybody wait for each of them.
    pub(crate) fn judge(&mut self, unapplied: Unapplied, doubted: bool) -> Result<Option<String>, DbError> {
        let (error, cost) = match unapplied {
            Unapplied::Unreadable(problem) => return Ok(Some(problem)),
            Unapplied::Store(error) if error.is_about_the_data() => return Ok(Some(error.to_string())),
            Unapplied::Store(DbError::TimedOut) => (DbError::TimedOut, if doubted { PATIENCE } else { OVERRUN }),
            Unapplied::Store(error @ (DbError::Serialization | DbError::Locked)) => (error, MEETING),
            // What is not about the event would meet every other one, too, and set them all aside.
            Unapplied::Store(error) => return Err(error),
        };
        self.made = self.made.saturating_add(1);
        self.spent = self.spent.saturating_add(cost);
        Ok((self.spent >= PATIENCE).then(|| error.to_string()))
    }

    /// How often it was tried in vain.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use bursar_db::ConflictKind;

    use super::*;

    /// After how many tries an event is set aside that always ends like this; `None`: it waits.
    fn tries(ends: impl Fn() -> Unapplied, doubted: bool) -> Option<u32> {
        let mut tries = Tries::default();
        for count in 1..=100 {
            match tries.judge(ends(), doubted) {
                Ok(None) => assert_eq!(tries.made(), count),
                Ok(Some(_)) => return Some(count),
                Err(_) => return None,
            }
        }
        panic!("it is tried for ever");
    }

    #[test]
    fn what_is_about_one_event_is_tried_a_bounded_number_of_times_and_what_is_not_waits() {
        let conflict = || DbError::Conflict { kind: ConflictKind::Check, constraint: "clean".to_owned(), key: None };
        assert_eq!(tries(|| Unapplied::unreadable("it is torn"), false), Some(1));
        assert_eq!(tries(|| conflict().into(), false), Some(1), "no later try could be otherwise");
        assert_eq!(tries(|| DbError::TimedOut.into(), false), Some(3));
        assert_eq!(tries(|| DbError::TimedOut.into(), true), Some(1), "everybody has waited for others of its owner");
        for doubted in [false, true] {
            assert_eq!(tries(|| DbError::Locked.into(), doubted), Some(30));
            assert_eq!(tries(|| DbError::Serialization.into(), doubted), Some(30));
            let away = || DbError::Unavailable(sqlx::Error::PoolTimedOut).into();
            assert_eq!(tries(away, doubted), None, "the store takes nobody's");
            assert_eq!(tries(|| DbError::Other(sqlx::Error::WorkerCrashed).into(), doubted), None, "nobody can tell");
        }
    }

    #[test]
    fn what_ends_in_different_ways_has_one_patience() {
        let mut tries = Tries::default();
        for _ in 0..2 {
            assert_eq!(tries.judge(DbError::TimedOut.into(), false).expect("the store is there"), None);
        }
        for _ in 0..9 {
            assert_eq!(tries.judge(DbError::Locked.into(), false).expect("the store is there"), None);
        }
        let problem = tries.judge(DbError::Locked.into(), false).expect("the store is there");
        assert_eq!(problem, Some(DbError::Locked.to_string()), "what it was at last");
        assert_eq!(tries.made(), 12);
    }
}
