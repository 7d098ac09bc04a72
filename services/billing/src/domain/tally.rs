//! What a window has seen before a limit was set: the ledger's entries, added up as decisions would have counted them.

use std::collections::{BTreeMap, HashMap, HashSet};

use bursar_id::{ApiKeyId, ChargeId, HoldId};
use bursar_money::Credits;
use bursar_time::{Span, Timestamp, Zone};

use super::attribution::Attribution;
use super::charge::Charge;
use super::entry::{Entry, Event};
use super::limit::{LimitSubject, LimitWindow, Moment, Open, Subject};
use super::limits::{REACH, UseKey, Used};
use super::subscription::Month;

/// What is added up: use of what, in which windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of what; with every member, of each.
    pub subject: LimitSubject,
    /// Over which time.
    pub window: LimitWindow,
    /// Which windows: that one which is open, and before it, the last first, whichever an open hold may count in.
    windows: Vec<Open>,
    /// From when on entries are needed.
    from: Timestamp,
}

/// How long before a billing period's start one may have begun that an open hold counts in: no month is longer, and whatever
/// came between was over within [`REACH`].
const PERIODS_BEFORE: Span = Span::from_days(31).saturating_add(REACH);

impl Asked {
    /// Use of `subject` in the window that is open at `now`, in the billing period `period`, and in those before it that
    /// something may still count in.
    pub fn of(subject: LimitSubject, window: LimitWindow, (now, period): (Timestamp, Month), zone: &Zone) -> Self {
        let since = now.saturating_sub(REACH);
        let mut open = window.open(now, period, zone);
        let mut windows = vec![open];
        if window == LimitWindow::Period {
            // Where the period before this one began the entries say. One that a plan which moved in has ended, with a month that had
            // begun long before, is read once an open hold is found that counts in it ([`Tally::reaches_back`]).
            let before = if open.starts_at > since { PERIODS_BEFORE } else { Span::ZERO };
            return Self { subject, window, windows, from: open.starts_at.saturating_sub(before) };
        }
        while open.starts_at > since {
            open = window.open(open.starts_at.saturating_sub(Span::MILLISECOND), period, zone);
            windows.push(open);
        }
        Self { subject, window, windows, from: open.starts_at }
    }

    /// When the window ends that begins then, if it is asked for.
    fn end_of(&self, starts_at: Timestamp) -> Option<Timestamp> {
        let known = self.windows.iter().find(|open| open.starts_at == starts_at).map(|open| open.ends_at);
        let other = || self.windows.first().map(|open| open.end_of_other(starts_at));
        known.or_else(|| (self.window == LimitWindow::Period).then(other).flatten())
    }
}

/// A hold that is open as far as the entries have been read.
#[derive(Debug, Clone)]
struct OpenHold {
    work: Attribution,
    key: Option<ApiKeyId>,
    moment: Moment,
    amount: Credits,
}

/// Adds entries up, in their order.
#[derive(Debug, Clone)]
pub struct Tally {
    asked: Vec<Asked>,
    zone: Zone,
    holds: HashMap<HoldId, OpenHold>,
    used: Vec<HashMap<(Subject, Timestamp), Used>>,
}

impl Tally {
    /// Nothing is read yet. Give it every entry from [`Tally::starts_at`] on.
    pub fn new(asked: Vec<Asked>, zone: Zone) -> Self {
        let used = vec![HashMap::new(); asked.len()];
        Self { asked, zone, holds: HashMap::new(), used }
    }

    /// What is added up.
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Whether it adds up just this, in days and months that begin there; from an earlier time on it is the same.
    pub fn is_for(&self, asked: &[Asked], zone: &Zone) -> bool {
        let same = |(ours, theirs): (&Asked, &Asked)| {
            (&ours.subject, ours.window, &ours.windows) == (&theirs.subject, theirs.window, &theirs.windows)
                && ours.from <= theirs.from
        };
        self.zone == *zone && self.asked.len() == asked.len() && self.asked.iter().zip(asked).all(same)
    }

    /// Whether a hold is open, as far as the entries have been read, that counts in a billing period which began before all that is
    /// read: a plan that moved in has ended that one, with a month that had begun within it. Then nothing is read any more, and
    /// every entry is to be given from the new [`Tally::starts_at`] on.
    pub fn reaches_back(&mut self) -> bool {
        let mut goes_back = false;
        for asked in self.asked.iter_mut().filter(|asked| asked.window == LimitWindow::Period) {
            let its = self.holds.values().filter(|hold| asked.subject.of(&hold.work, hold.key).is_some());
            if let Some(began) = its.map(|hold| hold.moment.period).min().filter(|began| *began < asked.from) {
                asked.from = began;
                goes_back = true;
            }
        }
        if goes_back {
            self.holds.clear();
            self.used.iter_mut().for_each(HashMap::clear);
        }
        goes_back
    }

    /// From when on entries are needed.
    pub fn starts_at(&self) -> Timestamp {
        self.asked.iter().map(|asked| asked.from).min().unwrap_or(Timestamp::MAX)
    }

    /// Adds the next entry. A refund's charge must be found: then [`Tally::refund`].
    pub fn push(&mut self, entry: &Entry) -> Option<ChargeId> {
        match &entry.event {
            Event::Charge(it) => {
                let moment = Moment { at: entry.at, period: it.period };
                self.add(&it.attribution, it.key, moment, entry.amount.micro());
            }
            Event::Hold(it) => {
                let moment = Moment { at: entry.at, period: it.period };
                self.add(&it.attribution, it.key, moment, entry.amount.micro());
                let hold = OpenHold { work: it.attribution.clone(), key: it.key, moment, amount: entry.amount };
                self.holds.insert(it.hold, hold);
            }
            Event::Capture(it) => self.settle(it.hold, entry.amount),
            Event::Release { hold } | Event::HoldLapsed { hold } => self.settle(*hold, Credits::ZERO),
            Event::Refund(it) => return Some(it.charge),
            Event::Grant { .. }
            | Event::Expire { .. }
            | Event::Void { .. }
            | Event::Erase { .. }
            | Event::Debt(_)
            | Event::DebtPaid { .. }
            | Event::DebtReversed(_) => {}
        }
        None
    }

    /// What was given back of a charge.
    pub fn refund(&mut self, charge: &Charge, amount: Credits) {
        self.add(&charge.attribution, charge.key, charge.counted, -amount.micro());
    }

    /// A hold that was made before everything that is read counts in no window that is asked for.
    fn settle(&mut self, hold: HoldId, spent: Credits) {
        if let Some(hold) = self.holds.remove(&hold) {
            self.add(&hold.work, hold.key, hold.moment, spent.micro() - hold.amount.micro());
        }
    }

    fn add(&mut self, work: &Attribution, key: Option<ApiKeyId>, moment: Moment, delta: i64) {
        for (asked, used) in self.asked.iter().zip(&mut self.used) {
            let Some(subject) = asked.subject.of(work, key) else { continue };
            let starts_at = asked.window.start_of(moment, &self.zone);
            if let Some(ends_at) = asked.end_of(starts_at) {
                // What nobody knows the end of was not over when this was made: it is kept for as long as something may count in it.
                let it = used.entry((subject, starts_at)).or_insert(Used::of(0, ends_at.max(moment.at)));
                *it = Used::of(it.used.saturating_add(delta).max(0), it.ends_at.max(moment.at));
            }
        }
    }

    /// What came of it: of the window that is open, of that before it, where a clock that is behind may still be, and of
    /// those that open holds count in. Nobody needs the others.
    pub fn finish(self) -> BTreeMap<UseKey, Used> {
        let Self { asked, zone, holds, used } = self;
        let mut all = BTreeMap::new();
        for (asked, mut used) in asked.into_iter().zip(used) {
            let place = |hold: &OpenHold| {
                asked.subject.of(&hold.work, hold.key).map(|it| (it, asked.window.start_of(hold.moment, &zone)))
            };
            let held: HashSet<(Subject, Timestamp)> = holds.values().filter_map(place).collect();
            // Of periods all that was read: where the one before began only the entries say.
            let last = asked.windows.get(1).map(|open| open.starts_at);
            used.retain(|at, _| last.is_none_or(|last| at.1 >= last) || held.contains(at));
            let window = asked.window;
            all.extend(used.into_iter().map(|((subject, at), used)| (UseKey { subject, window, starts_at: at }, used)));
        }
        all
    }
}
