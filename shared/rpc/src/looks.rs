//! [`RefusedLooks`]: of which refused looks the audit log has heard. Whoever polls a page that is not for them leaves one row
//! in an hour there: a log that a member can fill is read by nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_db::audit::AuditRow;
use bursar_id::OwnerId;
use bursar_time::{Span, Timestamp};

/// For how long one row tells of all that are like it.
const TOLD_FOR: Span = Span::HOUR;

/// How many are remembered (some 200 bytes each). When it is full, those that are told of no longer are forgotten, and if
/// that is none, all.
const REMEMBERED: usize = 16_384;

/// Refused looks that were told of a moment ago, in this process. Cheap to clone; all clones remember the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedLooks(Arc<Mutex<HashMap<Look, Timestamp>>>);

/// Who looked at what: what one row tells of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Look {
    owner: Option<OwnerId>,
    actor: String,
    on_behalf_of: Option<String>,
    method: String,
    reason: Option<String>,
}

impl RefusedLooks {
    /// Whether this row is to be written: none that is like it was within an hour. From here on there is one.
    pub(crate) fn is_first(&self, row: &AuditRow) -> bool {
        let mut told = self.told();
        let look = Look::of(row);
        if told.get(&look).is_some_and(|since| is_of_the_hour(*since, row.at)) {
            return false;
        }
        if told.len() >= REMEMBERED {
            told.retain(|_, since| is_of_the_hour(*since, row.at));
        }
        if told.len() >= REMEMBERED {
            told.clear();
        }
        told.insert(look, row.at);
        true
    }

    /// The row could not be written: the next one is the first.
    pub(crate) fn forget(&self, row: &AuditRow) {
        self.told().remove(&Look::of(row));
    }

    fn told(&self) -> MutexGuard<'_, HashMap<Look, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something is of the hour that began with what was first, or of a moment before it. A clock that was ahead silences
/// nobody for longer.
pub(crate) fn is_of_the_hour(since: Timestamp, at: Timestamp) -> bool {
    at < since.saturating_add(TOLD_FOR) && since < at.saturating_add(TOLD_FOR)
}

impl Look {
    fn of(row: &AuditRow) -> Self {
        Self {
            owner: row.owner,
            actor: row.actor.clone(),
            on_behalf_of: row.on_behalf_of.clone(),
            method: row.method.clone(),
            reason: row.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bursar_db::audit::Outcome;
    use bursar_id::{AuditId, UserId};

    use super::*;

    fn row(n: u64, minutes: u64) -> AuditRow {
        AuditRow {
            id: AuditId::from_parts(n, [0; 10]),
            at: Timestamp::EPOCH.saturating_add(Span::from_secs(60 * minutes)),
            owner: Some(OwnerId::User(UserId::from_parts(1, [0; 10]))),
            actor: format!("usr_{n}"),
            on_behalf_of: None,
            method: "a/B".to_owned(),
            target: None,
            outcome: Outcome::Refused,
            reason: Some("ROLE_NOT_ALLOWED".to_owned()),
            request_id: None,
        }
    }

    #[test]
    fn the_first_in_an_hour_is_told_and_what_differs_is_another() {
        let looks = RefusedLooks::default();
        assert!(looks.is_first(&row(1, 0)));
        assert!(!looks.is_first(&row(1, 0)) && !looks.clone().is_first(&row(1, 59)));
        let others = [
            row(2, 1),
            AuditRow { owner: None, ..row(1, 1) },
            AuditRow { method: "a/C".to_owned(), ..row(1, 1) },
            AuditRow { on_behalf_of: Some("usr_2".to_owned()), ..row(1, 1) },
            AuditRow { reason: Some("SECOND_FACTOR_REQUIRED".to_owned()), ..row(1, 1) },
        ];
        for other in others {
            assert!(looks.is_first(&other) && !looks.is_first(&other), "{other:?}");
        }
        // The hour begins with the row that was written, however often somebody looked since.
        assert!(looks.is_first(&row(1, 60)) && !looks.is_first(&row(1, 119)) && looks.is_first(&row(1, 120)));
        looks.forget(&row(1, 120));
        assert!(looks.is_first(&row(1, 121)), "what could not be written was not told");
        // Times may come in another order; a clock that was ahead is another matter.
        assert!(!looks.is_first(&row(1, 120)) && looks.is_first(&row(1, 61)));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let looks = RefusedLooks::default();
        let many = u64::try_from(REMEMBERED).unwrap();
        assert!((0..many).all(|n| looks.is_first(&row(n, n % 2))));
        assert!(looks.is_first(&row(many, 60)), "one more, when half of them are told of no longer");
        assert_eq!(looks.told().len(), REMEMBERED / 2 + 1);
        assert!(!looks.is_first(&row(1, 60)), "the younger half is remembered");
        assert!((many + 1..2 * many).all(|n| looks.is_first(&row(n, 60))));
        assert!(looks.told().len() <= REMEMBERED);
    }
}
