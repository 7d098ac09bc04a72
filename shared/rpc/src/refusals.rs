//! [`RefusedCalls`]: of which refused calls, of those that would change something, the audit log has heard. Each of them has a
//! row until there are many that are alike; from then on rows tell how many. Whoever calls what is refused as fast as can be
//! adds a few rows to the log: a log that a member can fill is read by nobody.
//!
//! What is counted is always told: of all that are alike no more are untold than a row has told of. So nothing has to be
//! written later, and nothing is lost with the process but that the next ones begin at one again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_db::audit::AuditRow;
use bursar_id::OwnerId;
use bursar_time::Timestamp;

use crate::looks::is_of_the_hour;

/// Of those that are alike in an hour so many have a row each, and then the one with which they are twice as many, four times,
/// eight times …
const EACH: u64 = 10;

/// Of so many targets of a kind of call the refusals are counted apart in an hour; those of all others together.
const TARGETS: usize = 50;

/// How many kinds of calls are remembered (some 5 kB each at most). When it is full, those whose hour is over are forgotten,
/// and if that is none, all.
const REMEMBERED: usize = 4_096;

/// Refused calls of this hour, in this process. Cheap to clone; all clones remember the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedCalls(Arc<Mutex<HashMap<Kind, Hour>>>);

/// Who was refused what and why, whatever it was to be done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    owner: Option<OwnerId>,
    actor: String,
    on_behalf_of: Option<String>,
    method: String,
    reason: Option<String>,
}

/// How often in an hour.
#[derive(Debug)]
struct Hour {
    since: Timestamp,
    /// By what it was to be done to.
    targets: HashMap<Option<String>, u64>,
    /// Of all other targets.
    others: u64,
}

impl RefusedCalls {
    /// The row to be written for this refusal; `None` where those before it tell enough.
    pub(crate) fn told(&self, row: &AuditRow) -> Option<AuditRow> {
        let mut known = self.known();
        let kind = Kind::of(row);
        if known.len() >= REMEMBERED && !known.contains_key(&kind) {
            known.retain(|_, hour| is_of_the_hour(hour.since, row.at));
            if known.len() >= REMEMBERED {
                known.clear();
            }
        }
        let hour = known.entry(kind).or_insert_with(|| Hour::since(row.at));
        if !is_of_the_hour(hour.since, row.at) {
            *hour = Hour::since(row.at);
        }
        let count = hour.count(row);
        *count = count.saturating_add(1);
        match *count {
            1..=EACH => Some(row.clone()),
            many if is_doubled(many) => Some(AuditRow { reason: Some(counted(row, many)), ..row.clone() }),
            _ => None,
        }
    }

    /// The row could not be written: the next one has its number.
    pub(crate) fn take_back(&self, row: &AuditRow) {
        if let Some(hour) = self.known().get_mut(&Kind::of(row)) {
            let count = hour.count(row);
            *count = count.saturating_sub(1);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Kind, Hour>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
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

impl Hour {
    fn since(since: Timestamp) -> Self {
        Self { since, targets: HashMap::new(), others: 0 }
    }

    /// Where those that are like this one are counted.
    fn count(&mut self, row: &AuditRow) -> &mut u64 {
        let apart = self.targets.len() < TARGETS || self.targets.contains_key(&row.target);
        if apart { self.targets.entry(row.target.clone()).or_default() } else { &mut self.others }
    }
}

fn is_doubled(count: u64) -> bool {
    count.is_multiple_of(EACH) && (count / EACH).is_power_of_two()
}

/// The reason of a row that tells of many: `ROLE_NOT_ALLOWED (40)`.
fn counted(row: &AuditRow, count: u64) -> String {
    format!("{} ({count})", row.reason.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use bursar_db::audit::Outcome;
    use bursar_id::{AuditId, UserId};
    use bursar_time::Span;

    use super::*;

    fn row(actor: usize, target: usize, minutes: u64) -> AuditRow {
        AuditRow {
            id: AuditId::from_parts(minutes, [0; 10]),
            at: Timestamp::EPOCH.saturating_add(Span::from_mins(minutes)),
            owner: Some(OwnerId::User(UserId::from_parts(1, [0; 10]))),
            actor: format!("usr_{actor}"),
            on_behalf_of: None,
            method: "a/B".to_owned(),
            target: Some(format!("prj_{target}")),
            outcome: Outcome::Refused,
            reason: Some("ROLE_NOT_ALLOWED".to_owned()),
            request_id: None,
        }
    }

    /// The reasons of what is written of so many that are alike.
    fn reasons(refused: &RefusedCalls, row: &AuditRow, times: usize) -> Vec<String> {
        (0..times).filter_map(|_| refused.told(row)?.reason).collect()
    }

    #[test]
    fn of_many_that_are_alike_ten_are_told_and_then_how_many() {
        let refused = RefusedCalls::default();
        let told = reasons(&refused, &row(1, 1, 0), 1_000);
        let each = std::iter::repeat_n("ROLE_NOT_ALLOWED".to_owned(), 10);
        let counted = [20, 40, 80, 160, 320, 640].map(|count| format!("ROLE_NOT_ALLOWED ({count})"));
        assert_eq!(told, each.chain(counted).collect::<Vec<_>>());
        assert_eq!(reasons(&refused.clone(), &row(1, 1, 59), 279), Vec::<String>::new(), "within the hour");
        assert_eq!(reasons(&refused, &row(1, 1, 59), 1), ["ROLE_NOT_ALLOWED (1280)"]);
        assert_eq!(reasons(&refused, &row(1, 1, 60), 30).len(), 11, "the next hour");
    }

    #[test]
    fn what_differs_is_another() {
        let refused = RefusedCalls::default();
        let one = row(1, 1, 0);
        let others = [
            one.clone(),
            row(2, 1, 0),
            row(1, 2, 0),
            AuditRow { target: None, ..one.clone() },
            AuditRow { owner: None, ..one.clone() },
            AuditRow { method: "a/C".to_owned(), ..one.clone() },
            AuditRow { on_behalf_of: Some("usr_2".to_owned()), ..one.clone() },
            AuditRow { reason: Some("INVALID_FIELDS".to_owned()), ..one.clone() },
        ];
        for other in others {
            let told: Vec<_> = (0..100).filter_map(|_| refused.told(&other)).collect();
            assert_eq!(told.len(), 13, "{other:?}");
            assert!(told.iter().take(10).all(|row| *row == other), "{other:?}");
        }
        // Another id of the caller's makes it no other.
        let again = AuditRow { request_id: Some("r2".to_owned()), ..one };
        assert_eq!(refused.told(&again), None);
    }

    #[test]
    fn whoever_names_one_target_after_the_other_adds_no_more_than_that() {
        let refused = RefusedCalls::default();
        let told: Vec<_> = (0..10_000).filter_map(|target| refused.told(&row(1, target, 0))).collect();
        // The first fifty; of all others ten, and then at each doubling up to 5,120.
        assert_eq!(told.len(), 50 + 10 + 9);
        let last = told.last().unwrap();
        assert_eq!(last.reason.as_deref(), Some("ROLE_NOT_ALLOWED (5120)"));
        assert_eq!(last.target.as_deref(), Some("prj_5169"), "a row names what it was about");
        assert!(refused.told(&row(1, 3, 0)).is_some(), "what is counted apart goes on so");
    }

    #[test]
    fn what_could_not_be_written_is_told_by_the_next_one() {
        let refused = RefusedCalls::default();
        let one = row(1, 1, 0);
        assert_eq!(reasons(&refused, &one, 20).len(), 11);
        refused.take_back(&one);
        assert_eq!(reasons(&refused, &one, 1), ["ROLE_NOT_ALLOWED (20)"]);
        refused.take_back(&row(2, 1, 0));
    }

    #[test]
    fn a_clock_that_was_ahead_silences_nobody() {
        let refused = RefusedCalls::default();
        let ahead = row(1, 1, 400 * 24 * 60);
        assert_eq!(reasons(&refused, &ahead, 100).len(), 13);
        assert_eq!(refused.told(&row(1, 1, 0)), Some(row(1, 1, 0)));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let refused = RefusedCalls::default();
        for actor in 0..REMEMBERED {
            refused.told(&row(actor, 1, u64::try_from(actor % 2).unwrap()));
        }
        refused.told(&row(1, 1, 60));
        assert_eq!(refused.known().len(), REMEMBERED, "one that is known needs no room");
        refused.told(&row(REMEMBERED, 1, 60));
        assert_eq!(refused.known().len(), REMEMBERED / 2 + 1, "those whose hour is over are gone");
        for actor in REMEMBERED..2 * REMEMBERED {
            refused.told(&row(actor, 1, 60));
        }
        assert!(refused.known().len() <= REMEMBERED);
    }
}
