//! How much of an account's limits is used: what decisions check and count.
//!
//! Use is kept by subject and window, not by limit: a hard and a warning limit of the same subject share it, and so do
//! every member's limit and a member's own. It is absolute, and written with the entry that changes it. Whoever sets a
//! limit has every window counted that an open hold counts in, however long that is over ([`REACH`]). What is over for longer
//! only a refund can be about, and nobody counts it.

use std::collections::HashMap;
use std::sync::Arc;

use bursar_id::{ApiKeyId, LimitId};
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use super::attribution::Attribution;
use super::limit::{Limit, LimitMode, LimitSet, LimitSubject, LimitWindow, Moment, Open, Subject};
use super::refusal::{Inconsistent, Refusal};
use super::rules::Rules;
use super::subscription::Month;

/// Which use: of what, and in which window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UseKey {
    /// Of what.
    pub subject: Subject,
    /// Over which time.
    pub window: LimitWindow,
    /// When that time begins.
    pub starts_at: Timestamp,
}

/// How much was used in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// When the window ends.
    pub ends_at: Timestamp,
    /// Charged and reserved, less what was given back, in micro-credits. A total: it may be above what one amount can be.
    pub used: i64,
    /// The most that it was since one of its limits was set: what it reaches above that it reaches for the first time.
    pub peak: i64,
    /// How often it was told that use reached again what it had reached before: at most [`Used::RETOLD`] times.
    pub retold: u32,
}

impl Used {
    /// How often alerts of one window are told again, however often use goes down and up. What is reached for the first
    /// time is told besides.
    pub const RETOLD: u32 = 8;

    /// So much, and never more until now.
    pub fn of(used: i64, ends_at: Timestamp) -> Self {
        Self { ends_at, used, peak: used, retold: 0 }
    }
}

/// How long after its end something may still count in a window: as long as a hold may last, and a while for clocks that
/// differ.
pub const REACH: Span = Rules::MAX_HOLD.saturating_add(Span::HOUR);

/// Use reached some percentages of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitAlert {
    /// The limit as it was then.
    pub limit: Limit,
    /// Whose use reached it: for every member's limit a member.
    pub subject: Subject,
    /// Which percentages, in order: at least one.
    pub percents: Vec<u16>,
    /// How much is used now, in micro-credits.
    pub used: i64,
    /// In which window.
    pub open: Open,
}

/// A hard limit that a request would go above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The limit.
    pub limit: LimitId,
    /// What it is about.
    pub subject: LimitSubject,
    /// How much of it is used, in micro-credits.
    pub used: i64,
    /// How much may be.
    pub amount: Credits,
    /// When the window ends.
    pub resets_at: Timestamp,
}

/// What counts: some work, by which key, and when it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made<'a> {
    pub(super) work: &'a Attribution,
    pub(super) key: Option<ApiKeyId>,
    pub(super) moment: Moment,
}

/// The time of a decision, and the windows that are open then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Timestamp,
    period: Month,
    /// In the order of [`LimitWindow::ALL`].
    open: [Open; 4],
}

impl Now {
    pub(super) fn open(&self, window: LimitWindow) -> Open {
        let [hour, day, month, period] = self.open;
        match window {
            LimitWindow::Hour => hour,
            LimitWindow::Day => day,
            LimitWindow::Month => month,
            LimitWindow::Period => period,
        }
    }
}

/// How much use of single subjects a state that waits for the next requests goes on remembering.
const REMEMBERED: usize = 4_096;

/// The limits of one account while requests are decided.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    set: Arc<LimitSet>,
    used: HashMap<UseKey, Counted>,
    alerts: Vec<LimitAlert>,
    /// The day and the month that were open last: a calendar is too slow to be asked for each charge.
    calendar: Option<[Open; 2]>,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    value: Used,
    changed: bool,
}

/// Loading and reading.
impl Limits {
    /// The limits, with nothing known of their use.
    pub(super) fn of(set: Arc<LimitSet>) -> Self {
        Self { set, ..Self::default() }
    }

    /// The windows that are open at a time, in a billing period.
    pub(super) fn now(&self, at: Timestamp, period: Month) -> Now {
        let open = |window: LimitWindow| window.open(at, period, self.set.zone());
        let [day, month] = match self.calendar {
            Some(open) if open.iter().all(|it| it.contains(at)) => open,
            _ => [open(LimitWindow::Day), open(LimitWindow::Month)],
        };
        Now { at, period, open: [open(LimitWindow::Hour), day, month, open(LimitWindow::Period)] }
    }

    /// The same, remembered.
    pub(super) fn turn(&mut self, at: Timestamp, period: Month) -> Now {
        let now = self.now(at, period);
        self.calendar = Some([now.open(LimitWindow::Day), now.open(LimitWindow::Month)]);
        now
    }

    /// Which limits there are.
    pub fn set(&self) -> &LimitSet {
        &self.set
    }

    /// How much was used of what is named, as far as that is known.
    pub fn used(&self, key: &UseKey) -> Option<Used> {
        self.used.get(key).map(|counted| counted.value)
    }

    /// All use that is known.
    pub fn all_used(&self) -> impl Iterator<Item = (&UseKey, Used)> {
        self.used.iter().map(|(key, counted)| (key, counted.value))
    }

    /// Adds what is stored. What is known already stays as it is.
    pub(super) fn load(&mut self, key: UseKey, value: Used) {
        self.used.entry(key).or_insert(Counted { value, changed: false });
    }

    /// Of a window that something may still count in, and that has no stored use, nothing was used: that is open, or was
    /// never asked for by programs that counted open windows alone.
    pub(super) fn know(&mut self, key: UseKey, now: Now) {
        let open = now.open(key.window);
        let ended = || match key.window {
            LimitWindow::Period => open.end_of_other(key.starts_at),
            window => window.open(key.starts_at, now.period, self.set.zone()).ends_at,
        };
        let ends_at = if key.starts_at == open.starts_at { open.ends_at } else { ended() };
        if ends_at > now.at.saturating_sub(REACH) {
            self.load(key, Used::of(0, ends_at));
        }
    }

    /// Which use a decision about this needs; with the window where that is open.
    pub(super) fn keys(&self, made: Made<'_>, now: Now) -> Vec<(UseKey, Option<Open>)> {
        let mut keys: Vec<(UseKey, Option<Open>)> = Vec::new();
        for (limit, subject) in self.set.applying(made.work, made.key) {
            let (key, open) = self.key(limit.window, subject, made.moment, now);
            if !keys.iter().any(|(known, _)| *known == key) {
                keys.push((key, open));
            }
        }
        keys
    }

    /// Whether everything is known that a decision about new work needs.
    pub(super) fn suffice(&self, made: Made<'_>, now: Now) -> bool {
        self.set.is_empty() || self.keys(made, now).iter().all(|(key, _)| self.used.contains_key(key))
    }

    fn key(&self, window: LimitWindow, subject: Subject, made: Moment, now: Now) -> (UseKey, Option<Open>) {
        let open = now.open(window);
        let starts_at = match window {
            LimitWindow::Period => made.period,
            // What is made now counts in what is open now.
            _ if made.at == now.at => open.starts_at,
            _ => window.start_of(made, self.set.zone()),
        };
        (UseKey { subject, window, starts_at }, (starts_at == open.starts_at).then_some(open))
    }

    /// Forgets what windows were over at `at`, and half of the rest if that is much.
    pub(super) fn rest(&mut self, at: Timestamp) {
        self.used.retain(|_, counted| counted.value.ends_at > at);
        if self.used.len() > REMEMBERED {
            let mut keep = false;
            self.used.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }

    /// What must be written, in order, and what is to be told.
    pub(super) fn take(&mut self) -> (Vec<(UseKey, Used)>, Vec<LimitAlert>) {
        let mut changed: Vec<(UseKey, Used)> = Vec::new();
        for (key, counted) in &mut self.used {
            if std::mem::take(&mut counted.changed) {
                changed.push((key.clone(), counted.value));
            }
        }
        changed.sort_by(|(a, _), (b, _)| a.cmp(b));
        (changed, std::mem::take(&mut self.alerts))
    }
}

/// Deciding.
impl Limits {
    /// Whether `amount` more may be used.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`]: of several limits that one which lasts longest, and of those the first.
    pub(super) fn admit(&self, made: Made<'_>, amount: Credits, now: Now) -> Result<(), Refusal> {
        let mut reached: Option<Reached> = None;
        for (limit, subject) in self.set.applying(made.work, made.key) {
            let (key, _) = self.key(limit.window, subject, made.moment, now);
            let known = self.used(&key).ok_or(Inconsistent("how much of a limit is used was not loaded"))?;
            let Used { ends_at: resets_at, used, .. } = known;
            let fits = i128::from(used) + i128::from(amount.micro()) <= i128::from(limit.amount.micro());
            if fits || limit.mode == LimitMode::Warn {
                continue;
            }
            let this =
                Reached { limit: limit.id, subject: limit.subject.clone(), used, amount: limit.amount, resets_at };
            let rank = |it: &Reached| (std::cmp::Reverse(it.resets_at), it.limit);
            if reached.as_ref().is_none_or(|other| rank(&this) < rank(other)) {
                reached = Some(this);
            }
        }
        reached.map_or(Ok(()), |reached| Err(Refusal::LimitReached(Box::new(reached))))
    }

    /// Counts `delta` micro-credits more, or less, where they belong.
    pub(super) fn count(&mut self, made: Made<'_>, delta: i64, now: Now) {
        if delta == 0 || self.set.is_empty() {
            return;
        }
        let set = Arc::clone(&self.set);
        let mut touched: Vec<(UseKey, Open, Used, i64)> = Vec::new();
        for (key, open) in self.keys(made, now) {
            let Some(counted) = self.used.get_mut(&key) else { continue };
            let before = counted.value;
            counted.value.used = before.used.saturating_add(delta).max(0);
            counted.value.peak = before.peak.max(counted.value.used);
            counted.changed |= counted.value != before;
            // Nobody is alerted of a window that is over.
            touched.extend(open.map(|open| (key, open, before, counted.value.used)));
        }
        let mut retold: Vec<UseKey> = Vec::new();
        for (limit, subject) in set.applying(made.work, made.key) {
            let here = |(key, ..): &&(UseKey, Open, Used, i64)| key.window == limit.window && key.subject == subject;
            let Some((key, open, before, after)) = touched.iter().find(here) else { continue };
            let mut percents = limit.alerts.crossed(limit.amount, before.used, *after);
            let first = limit.alerts.crossed(limit.amount, before.peak, *after);
            if percents.len() > first.len() {
                if before.retold < Used::RETOLD {
                    retold.push(key.clone());
                } else {
                    percents = first;
                }
            }
            if !percents.is_empty() {
                self.alerts.push(LimitAlert { limit: limit.clone(), subject, percents, used: *after, open: *open });
            }
        }
        retold.sort_unstable();
        retold.dedup();
        for key in retold {
            if let Some(counted) = self.used.get_mut(&key) {
                counted.value.retold += 1;
            }
        }
    }
}
