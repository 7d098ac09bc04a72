//! [`RefusedCalls`]: of which refused calls of members, of those that would change something, the audit log has heard. Each of
//! them has a row until there are many that are alike; from then on rows tell how many. Whoever calls what is refused as fast as
//! can be adds a few rows to the log: a log that a member can fill is read by nobody.
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

/// So many kinds of calls of one person are counted apart in an hour; all others together. One person takes no room from others.
const KINDS: usize = 200;

/// How many kinds of calls are remembered (some 5 kB each at most). When there are more, those whose hour is over are forgotten,
/// and if that is none, the one whose hour began first.
const REMEMBERED: usize = 4_096;

/// Refused calls of this hour, in this process. Cheap to clone; all clones remember the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedCalls(Arc<Mutex<Known>>);

/// By person, and by kind.
#[derive(Debug, Default)]
struct Known(HashMap<String, HashMap<Kind, Hour>>);

/// What was refused and why, whatever it was to be done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// This.
    Of {
        /// In whose context.
        owner: Option<OwnerId>,
        /// The person, or one of the person's keys.
        actor: String,
        /// By which RPC.
        method: String,
        /// Why.
        reason: Option<String>,
    },
    /// Whatever is not counted apart.
    Others,
}

/// How often in an hour.
#[derive(Debug)]
struct Hour {
    since: Timestamp,
    /// By what it was to be done to.
    targets: HashMap<Option<String>, Count>,
    /// Of all other targets.
    others: Count,
}

/// How often, and how much of that is told.
#[derive(Debug, Default)]
struct Count {
    times: u64,
    /// A row could not be written: the next one tells of it.
    owed: bool,
}

impl RefusedCalls {
    /// The row to be written for this refusal; `None` where those before it tell enough.
    pub(crate) fn told(&self, row: &AuditRow) -> Option<AuditRow> {
        let mut known = self.known();
        let count = known.hour(row).count(row);
        count.times = count.times.saturating_add(1);
        let owed = std::mem::take(&mut count.owed);
        match count.times {
            many if owed || is_doubled(many) => Some(AuditRow { reason: Some(counted(row, many)), ..row.clone() }),
            1..=EACH => Some(row.clone()),
            _ => None,
        }
    }

    /// The row could not be written: the next one that is alike has one, which says how many there were.
    pub(crate) fn take_back(&self, row: &AuditRow) {
        let mut known = self.known();
        let Some(kinds) = known.0.get_mut(person(row)) else { return };
        let kind = Some(Kind::of(row)).filter(|kind| kinds.contains_key(kind)).unwrap_or(Kind::Others);
        if let Some(hour) = kinds.get_mut(&kind) {
            hour.count(row).owed = true;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Where those that are of this one's kind are counted.
    fn hour(&mut self, row: &AuditRow) -> &mut Hour {
        let (who, kind) = (person(row), self.kind(row));
        if !self.0.get(who).is_some_and(|kinds| kinds.contains_key(&kind)) {
            self.make_room(row.at);
        }
        let kinds = self.0.entry(who.to_owned()).or_default();
        let hour = kinds.entry(kind).or_insert_with(|| Hour::since(row.at));
        if !is_of_the_hour(hour.since, row.at) {
            *hour = Hour::since(row.at);
        }
        hour
    }

    /// As what this one counts.
    fn kind(&mut self, row: &AuditRow) -> Kind {
        let kind = Kind::of(row);
        let Some(kinds) = self.0.get_mut(person(row)) else { return kind };
        if kinds.len() < KINDS || kinds.contains_key(&kind) {
            return kind;
        }
        kinds.retain(|_, hour| is_of_the_hour(hour.since, row.at));
        if kinds.len() < KINDS { kind } else { Kind::Others }
    }

    /// So that one more fits.
    fn make_room(&mut self, now: Timestamp) {
        if self.len() < REMEMBERED {
            return;
        }
        for kinds in self.0.values_mut() {
            kinds.retain(|_, hour| is_of_the_hour(hour.since, now));
        }
        if self.len() >= REMEMBERED
            && let Some((who, kind)) = self.oldest()
            && let Some(kinds) = self.0.get_mut(&who)
        {
            kinds.remove(&kind);
        }
        self.0.retain(|_, kinds| !kinds.is_empty());
    }

    /// Whose hour began first.
    fn oldest(&self) -> Option<(String, Kind)> {
        let all = self.0.iter().flat_map(|(who, kinds)| kinds.iter().map(move |(kind, hour)| (hour.since, who, kind)));
        all.min_by_key(|(since, ..)| *since).map(|(_, who, kind)| (who.clone(), kind.clone()))
    }

    fn len(&self) -> usize {
        self.0.values().map(HashMap::len).sum()
    }
}

impl Kind {
    fn of(row: &AuditRow) -> Self {
        Self::Of { owner: row.owner, actor: row.actor.clone(), method: row.method.clone(), reason: row.reason.clone() }
    }
}

impl Hour {
    fn since(since: Timestamp) -> Self {
        Self { since, targets: HashMap::new(), others: Count::default() }
    }

    /// Where those that are like this one are counted.
    fn count(&mut self, row: &AuditRow) -> &mut Count {
        let apart = self.targets.len() < TARGETS || self.targets.contains_key(&row.target);
        if apart { self.targets.entry(row.target.clone()).or_default() } else { &mut self.others }
    }
}

/// Who is behind it: the person whose key, or for whom a service, it was.
fn person(row: &AuditRow) -> &str {
    row.on_behalf_of.as_deref().unwrap_or(&row.actor)
}

fn is_doubled(count: u64) -> bool {
    count > EACH && count.is_multiple_of(EACH) && (count / EACH).is_power_of_two()
}

/// The reason of a row that tells of many: `ROLE_NOT_ALLOWED (40)`.
fn counted(row: &AuditRow, count: u64) -> String {
    format!("{} ({count})", row.reason.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use bursar_db::audit::Outcome;
    use bursar_id::{AuditId, Id, UserId};
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
            // Another key of the same person's.
            AuditRow { actor: "key_1".to_owned(), on_behalf_of: Some("usr_2".to_owned()), ..one.clone() },
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
        assert_eq!(reasons(&refused, &one, 19), ["ROLE_NOT_ALLOWED (21)"]);
        assert_eq!(reasons(&refused, &one, 1), ["ROLE_NOT_ALLOWED (40)"]);
        refused.take_back(&row(2, 1, 0));
    }

    #[test]
    fn what_could_not_be_written_while_others_came_is_told_by_the_next_one() {
        let refused = RefusedCalls::default();
        let one = row(1, 1, 0);
        assert_eq!(reasons(&refused, &one, 10).len(), 10);
        // The tenth fails only after others, of which none has a row.
        assert_eq!(reasons(&refused, &one, 5), Vec::<String>::new());
        refused.take_back(&one);
        assert_eq!(reasons(&refused, &one, 4), ["ROLE_NOT_ALLOWED (16)"]);
        assert_eq!(reasons(&refused, &one, 1), ["ROLE_NOT_ALLOWED (20)"]);
        // That of what is not counted apart as well.
        for target in 2..=TARGETS {
            refused.told(&row(1, target, 0));
        }
        let other = row(1, TARGETS + 1, 0);
        assert_eq!(reasons(&refused, &other, 11).len(), 10);
        refused.take_back(&other);
        assert_eq!(reasons(&refused, &other, 8), ["ROLE_NOT_ALLOWED (12)"]);
    }

    /// The rows of one person's who is refused in each of so many organizations eleven times, within an hour.
    fn rows_of(refused: &RefusedCalls, organizations: usize) -> usize {
        let of = |n| AuditRow { owner: Some(OwnerId::Organization(Id::from_parts(n, [0; 10]))), ..row(1, 1, 0) };
        let all = (0..u64::try_from(organizations).unwrap()).map(of);
        all.map(|row| reasons(refused, &row, 11).len()).sum()
    }

    #[test]
    fn whoever_is_refused_in_many_ways_adds_no_more_than_that() {
        let refused = RefusedCalls::default();
        let (ben, many) = (row(2, 1, 0), REMEMBERED + KINDS);
        assert_eq!(reasons(&refused, &ben, 10).len(), 10);
        // Each of the first has ten rows; of all others there are ten, and one at each doubling.
        let others = u64::try_from((many - KINDS) * 11).unwrap();
        let doubled = usize::try_from((others / EACH).ilog2()).unwrap();
        assert_eq!(rows_of(&refused, many), KINDS * 10 + 10 + doubled);
        assert_eq!(refused.known().len(), KINDS + 2);
        assert_eq!(reasons(&refused, &ben, 9), Vec::<String>::new(), "of others it is known what was told");
        // In another hour others may come first.
        let later = row(1, 1, 60);
        assert_eq!(refused.told(&later), Some(later.clone()));
        assert_eq!(refused.known().len(), 2, "of this hour, and another person's");
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
        assert_eq!(refused.known().len(), REMEMBERED);
    }

    #[test]
    fn where_there_is_no_more_room_the_oldest_one_is_forgotten() {
        let refused = RefusedCalls::default();
        for actor in 0..REMEMBERED {
            // The second one's hour began first.
            assert_eq!(reasons(&refused, &row(actor, 1, u64::from(actor != 1)), 10).len(), 10);
        }
        refused.told(&row(REMEMBERED, 1, 2));
        assert_eq!(refused.known().len(), REMEMBERED);
        assert_eq!(
            reasons(&refused, &row(0, 1, 2), 9),
            Vec::<String>::new(),
            "it is known what was told of the others"
        );
        assert_eq!(reasons(&refused, &row(1, 1, 2), 1), ["ROLE_NOT_ALLOWED"], "it begins at one again");
    }
}
