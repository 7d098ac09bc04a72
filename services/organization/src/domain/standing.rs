//! The life of an organization: whether its members find it as they left it, and how it ends.
//!
//! ```text
//! pending ──→ active ⇄ suspended
//!              │  ↑
//!       delete ↓  │ undelete, before purge_at
//!            deleted ── from purge_at on ──→ purging ──→ purged
//! ```
//!
//! Whoever moves an organization holds the lock on its row, so that of an undeletion and a purge exactly one begins.

use bursar_time::{Span, Timestamp, has_begun};

use super::Refusal;

/// How long after its deletion an organization's slugs stay taken (product.md, "Deleting").
pub const SLUGS_KEPT: Span = Span::from_days(90);

/// When an organization was deleted, and from when on what it had may be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When it was deleted.
    pub at: Timestamp,
    /// The end of the grace.
    pub purge_at: Timestamp,
}

impl Deletion {
    /// The end of the grace where it has to be another one, since a clock was far off when it was deleted. Erasing is for ever, so
    /// that makes it no sooner: what a clock deleted that was far ahead has a whole grace from `now` on, which then ends before it seems to
    /// have begun. Where such a one turns out to have begun after all, it was that clock which was behind: it has a whole grace
    /// from its beginning.
    fn ends_otherwise(self, now: Timestamp, grace: Span) -> Option<Timestamp> {
        match (has_begun(self.at, now), self.is_redated()) {
            // Never a shorter one than it was deleted with, whatever the policy is now.
            (false, false) => {
                let grace = grace.max(self.purge_at.since(self.at));
                Some(now.saturating_add(grace)).filter(|end| *end < self.at)
            }
            (true, true) => Some(self.at.saturating_add(grace)),
            _ => None,
        }
    }

    fn is_redated(self) -> bool {
        self.purge_at < self.at
    }

    /// Whether it can be taken back.
    fn is_open(self, now: Timestamp) -> bool {
        now < self.purge_at || (self.is_redated() && has_begun(self.at, now))
    }
}

/// Where an organization is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has its slug and its owner, and nobody can use it yet.
    Pending,
    /// It can be used.
    Active,
    /// An operator has closed it; everything stays.
    Suspended,
    /// Its owner has deleted it and may take that back.
    Deleted(Deletion),
    /// What it had is being erased; nothing brings it back.
    Purging(Deletion),
    /// Nothing is left of it but its id: to everybody it is like one that never was.
    Purged(Deletion),
}

/// What a purge that is due finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It begins, or goes on.
    Now(Standing),
    /// The grace lasts until then.
    Then(Timestamp),
    /// There is nothing to erase (any more).
    Never,
}

impl Standing {
    /// Whether a member may do here what the role allows.
    pub fn demand_open(self) -> Result<(), Refusal> {
        match self {
            Self::Active => Ok(()),
            Self::Suspended => Err(Refusal::OrganizationSuspended),
            Self::Deleted(_) | Self::Purging(_) => Err(Refusal::OrganizationDeleted),
            // What waits for its plan is as if it were not there: it may never be.
            Self::Pending | Self::Purged(_) => Err(Refusal::NotAMember),
        }
    }

    /// The same for having what is in it: with the personal token (`personal`) its owner (`own`) does so until the end of the
    /// grace.
    pub fn demand_kept(self, own: bool, personal: bool) -> Result<(), Refusal> {
        match self {
            Self::Deleted(_) if own && personal => Ok(()),
            other => other.demand_open(),
        }
    }

    /// The same for looking at it: its owner also sees what does not exist yet.
    pub fn demand_shown(self, own: bool, personal: bool) -> Result<(), Refusal> {
        match self {
            Self::Pending if own => Ok(()),
            other => other.demand_kept(own, personal),
        }
    }

    /// Its plan has come: it can be used. `None` where nothing is waited for (any more).
    pub fn opened(self) -> Option<Self> {
        match self {
            Self::Pending => Some(Self::Active),
            _ => None,
        }
    }

    /// Whether it stands in the way of an owner who deletes the account.
    pub fn is_owned(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Suspended)
    }

    /// Whether what it had is being erased, or has been: nobody is told anything of it any more.
    pub fn is_erased(self) -> bool {
        matches!(self, Self::Purging(_) | Self::Purged(_))
    }

    /// Deletes it at `now`, with this grace.
    pub fn delete(self, now: Timestamp, grace: Span) -> Result<Self, Refusal> {
        self.demand_open()?;
        Ok(Self::Deleted(Deletion { at: now, purge_at: now.saturating_add(grace) }))
    }

    /// Takes the deletion back at `now`.
    pub fn undelete(self, now: Timestamp) -> Result<Self, Refusal> {
        match self {
            Self::Deleted(deletion) if deletion.is_open(now) => Ok(Self::Active),
            Self::Deleted(_) | Self::Purging(_) => Err(Refusal::PurgeBegun),
            Self::Active => Err(Refusal::NotDeleted),
            Self::Suspended => Err(Refusal::OrganizationSuspended),
            Self::Pending | Self::Purged(_) => Err(Refusal::NotAMember),
        }
    }

    /// An operator closes it. Closed already is no change.
    pub fn suspend(self) -> Result<Self, Refusal> {
        self.demand_operable()?;
        Ok(Self::Suspended)
    }

    /// An operator opens it again. Open already is no change.
    pub fn unsuspend(self) -> Result<Self, Refusal> {
        self.demand_operable()?;
        Ok(Self::Active)
    }

    /// Whether operators close and open it.
    fn demand_operable(self) -> Result<(), Refusal> {
        match self {
            Self::Active | Self::Suspended => Ok(()),
            Self::Pending => Err(Refusal::OrganizationPending),
            Self::Deleted(_) | Self::Purging(_) => Err(Refusal::OrganizationDeleted),
            Self::Purged(_) => Err(Refusal::OrganizationNotFound),
        }
    }

    /// The same with another end of its grace, where a clock was far off that wrote the one it has; before a purge is asked for.
    pub fn redated(self, now: Timestamp, grace: Span) -> Option<Deletion> {
        match self {
            Self::Deleted(deletion) => {
                let end = deletion.ends_otherwise(now, grace)?;
                Some(Deletion { purge_at: end, ..deletion })
            }
            _ => None,
        }
    }

    /// What a purge finds at `now`.
    pub fn purge(self, now: Timestamp) -> Due {
        match self {
            Self::Deleted(deletion) if deletion.purge_at <= now => Due::Now(Self::Purging(deletion)),
            Self::Deleted(deletion) => Due::Then(deletion.purge_at),
            Self::Purging(_) => Due::Now(self),
            Self::Pending | Self::Active | Self::Suspended | Self::Purged(_) => Due::Never,
        }
    }

    /// The end, once nothing is left to erase; `None` where no purge was under way.
    pub fn purged(self) -> Option<Self> {
        match self {
            Self::Purging(deletion) => Some(Self::Purged(deletion)),
            _ => None,
        }
    }

    /// Its deletion, if it was deleted.
    pub fn deletion(self) -> Option<Deletion> {
        match self {
            Self::Deleted(deletion) | Self::Purging(deletion) | Self::Purged(deletion) => Some(deletion),
            Self::Pending | Self::Active | Self::Suspended => None,
        }
    }

    /// The word by which it is stored.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Deleted(_) => "DELETED",
            Self::Purging(_) => "PURGING",
            Self::Purged(_) => "PURGED",
        }
    }

    /// Reads what was stored; `None` is nothing that was.
    pub fn stored(word: &str, deletion: Option<Deletion>) -> Option<Self> {
        Some(match (word, deletion) {
            ("PENDING", None) => Self::Pending,
            ("ACTIVE", None) => Self::Active,
            ("SUSPENDED", None) => Self::Suspended,
            ("DELETED", Some(deletion)) => Self::Deleted(deletion),
            ("PURGING", Some(deletion)) => Self::Purging(deletion),
            ("PURGED", Some(deletion)) => Self::Purged(deletion),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        match Timestamp::from_unix_secs(seconds) {
            Ok(time) => time,
            Err(_) => Timestamp::MAX,
        }
    }

    /// Deleted at 100, with 50 seconds of grace.
    const DELETION: Deletion = Deletion { at: at(100), purge_at: at(150) };
    const ALL: [Standing; 6] = [
        Standing::Pending,
        Standing::Active,
        Standing::Suspended,
        Standing::Deleted(DELETION),
        Standing::Purging(DELETION),
        Standing::Purged(DELETION),
    ];

    type Moved = Result<Standing, Refusal>;

    /// Every move from every standing: delete, undelete before and at the end of the grace, suspend, unsuspend.
    fn moves(from: Standing) -> [Moved; 5] {
        [
            from.delete(at(100), Span::from_secs(50)),
            from.undelete(at(149)),
            from.undelete(at(150)),
            from.suspend(),
            from.unsuspend(),
        ]
    }

    #[test]
    fn organizations_move_by_the_table() {
        let pending = Err(Refusal::OrganizationPending);
        let suspended = Err(Refusal::OrganizationSuspended);
        let deleted = Err(Refusal::OrganizationDeleted);
        let (stranger, gone) = (Err(Refusal::NotAMember), Err(Refusal::OrganizationNotFound));
        let late = Err(Refusal::PurgeBegun);
        let to_deleted = Ok(Standing::Deleted(DELETION));
        let (to_active, to_suspended) = (Ok(Standing::Active), Ok(Standing::Suspended));
        let not_deleted = Err(Refusal::NotDeleted);
        let table = [
            [stranger, stranger, stranger, pending, pending],
            [to_deleted, not_deleted, not_deleted, to_suspended, to_active],
            [suspended, suspended, suspended, to_suspended, to_active],
            [deleted, to_active, late, deleted, deleted],
            [deleted, late, late, deleted, deleted],
            [stranger, stranger, stranger, gone, gone],
        ];
        for (from, expected) in ALL.into_iter().zip(table) {
            assert_eq!(moves(from), expected, "from {from:?}");
        }
    }

    #[test]
    fn what_is_not_open_is_refused_with_its_reason() {
        let cases = [
            (Err(Refusal::NotAMember), Ok(())),
            (Ok(()), Ok(())),
            (Err(Refusal::OrganizationSuspended), Err(Refusal::OrganizationSuspended)),
            (Err(Refusal::OrganizationDeleted), Ok(())),
            (Err(Refusal::OrganizationDeleted), Err(Refusal::OrganizationDeleted)),
            (Err(Refusal::NotAMember), Err(Refusal::NotAMember)),
        ];
        for (standing, (open, shown)) in ALL.into_iter().zip(cases) {
            assert_eq!(standing.demand_open(), open, "{standing:?}");
            assert_eq!(standing.demand_shown(false, true), open, "{standing:?}, to others");
            assert_eq!(standing.demand_kept(false, true), open, "{standing:?}, for others");
            let kept = if standing == Standing::Pending { open } else { shown };
            assert_eq!(standing.demand_kept(true, true), kept, "{standing:?}, for its owner");
            assert_eq!(standing.demand_kept(true, false), open, "{standing:?}, for its owner by another token");
            assert_eq!(standing.demand_shown(true, true), shown, "{standing:?}, to its owner");
            let elsewhere = if standing == Standing::Pending { shown } else { open };
            assert_eq!(standing.demand_shown(true, false), elsewhere, "{standing:?}, to its owner by another token");
        }
    }

    #[test]
    fn a_purge_begins_when_the_grace_is_over_and_goes_on_until_it_is_done() {
        let (deleted, purging) = (Standing::Deleted(DELETION), Standing::Purging(DELETION));
        assert_eq!(deleted.purge(at(149)), Due::Then(at(150)));
        assert_eq!(deleted.purge(at(150)), Due::Now(purging));
        assert_eq!(purging.purge(at(0)), Due::Now(purging), "whatever another clock says");
        for standing in [Standing::Pending, Standing::Active, Standing::Suspended, Standing::Purged(DELETION)] {
            assert_eq!(standing.purge(at(999)), Due::Never, "{standing:?}");
        }
        let opened = ALL.map(Standing::opened);
        assert_eq!(opened, [Some(Standing::Active), None, None, None, None, None]);
        let ends = ALL.map(Standing::purged);
        assert_eq!(ends, [None, None, None, None, Some(Standing::Purged(DELETION)), None]);
        let at_once = Standing::Active.delete(at(7), Span::ZERO).expect("deleted");
        assert!(matches!(at_once.purge(at(7)), Due::Now(_)), "without a grace at once");
    }

    /// Kind K: what a clock deleted that was 400 days ahead is kept for a grace, and none that was off then makes its purge come early.
    #[test]
    fn whatever_a_clock_was_a_deletion_has_a_whole_grace_by_the_right_one() {
        let day = |n: i64| at(n * 86_400);
        let grace = Span::from_days(30);
        let deleted = |at, purge_at| Standing::Deleted(Deletion { at, purge_at });
        let cases = [
            ("by a clock that is right", deleted(day(500), day(530)), day(500), None),
            ("a day later", deleted(day(500), day(530)), day(501), None),
            ("long due", deleted(day(500), day(530)), day(600), None),
            ("by one that was 400 days ahead", deleted(day(900), day(930)), day(500), Some(day(530))),
            ("which is done once", deleted(day(900), day(530)), day(501), None),
            ("by one that was ahead by less than a grace", deleted(day(520), day(550)), day(500), None),
            ("by a clock that is 400 days behind", deleted(day(500), day(530)), day(100), Some(day(130))),
            ("and found again by the right one", deleted(day(500), day(130)), day(501), Some(day(530))),
            ("with a longer grace than the policy has now", deleted(day(900), day(960)), day(500), Some(day(560))),
            ("without a grace", deleted(day(900), day(900)), day(500), Some(day(530))),
        ];
        for (name, standing, now, expected) in cases {
            let end = standing.redated(now, grace).map(|deletion| deletion.purge_at);
            assert_eq!(end, expected, "{name}");
        }
        let ahead = deleted(day(900), day(530));
        assert_eq!((ahead.purge(day(529)), ahead.undelete(day(529))), (Due::Then(day(530)), Ok(Standing::Active)));
        assert!(matches!(ahead.purge(day(530)), Due::Now(_)));
        assert_eq!(ahead.undelete(day(530)), Err(Refusal::PurgeBegun));
        let behind = deleted(day(500), day(130));
        assert_eq!(behind.undelete(day(501)), Ok(Standing::Active), "before a job finds it, too");
        for standing in [Standing::Active, Standing::Purging(Deletion { at: day(900), purge_at: day(930) })] {
            assert_eq!(standing.redated(day(500), grace), None, "{standing:?}");
        }
    }

    #[test]
    fn only_what_lives_is_owned() {
        assert_eq!(ALL.map(Standing::is_owned), [true, true, true, false, false, false]);
        assert_eq!(ALL.map(Standing::is_erased), [false, false, false, false, true, true]);
    }

    #[test]
    fn words_are_read_strictly() {
        for standing in ALL {
            assert_eq!(Standing::stored(standing.word(), standing.deletion()), Some(standing));
            let other = if standing.deletion().is_some() { None } else { Some(DELETION) };
            assert_eq!(Standing::stored(standing.word(), other), None, "{standing:?} with what it cannot have");
        }
        assert_eq!(Standing::stored("GONE", None), None);
    }
}
