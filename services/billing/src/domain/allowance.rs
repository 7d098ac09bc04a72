//! How much of the present period's allowance is used, and who wants to be told at which percentages of it.
//!
//! The allowance is all that a subscription has granted for one of its periods, in one or several lots: an upgrade adds to it, and
//! so does what was rolled over into it.
//! What is used of it is what was spent and what open holds reserve, as in limits: nothing else can spend that any more, and
//! whoever is told only of what is captured is told too late. Packs and whatever else is granted count on neither side.
//!
//! The number is kept with the account's row, so that a charge costs a comparison and no statement. It says after which entry
//! of the ledger it is the number: a program that knows nothing of it leaves it behind, and then it is counted anew from the
//! lots. Only accounts whose managers want to be told have one.

use bursar_id::SubscriptionId;
use bursar_time::Timestamp;

use super::codec::{Malformed, Reader, Unreadable, Writer};
use super::entry::Posting;
use super::limits::Used;
use super::lot::{Lot, LotSource};
use super::profile::AlertPercents;
use super::state::AccountState;

/// Some percentages from 1 to 100, small enough to be a part of an account's row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PercentSet(u128);

impl PercentSet {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those above one percentage and not above another, ascending.
    fn between(self, above: u8, upto: u8) -> Vec<u32> {
        let has = |percent: &u32| (self.0 >> percent) & 1 == 1;
        (u32::from(above) + 1..=u32::from(upto.min(100))).filter(has).collect()
    }
}

impl From<&AlertPercents> for PercentSet {
    fn from(percents: &AlertPercents) -> Self {
        let known = percents.as_slice().iter().filter(|percent| **percent <= 100);
        Self(known.fold(0, |set, percent| set | (1_u128 << percent)))
    }
}

/// Which period of which subscription an allowance is for. A change with a new anchor counts periods anew, so their ends
/// tell them apart, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AllowancePeriod {
    subscription: SubscriptionId,
    number: u32,
    ends_at: Timestamp,
}

impl AllowancePeriod {
    /// Whose allowance a lot is a part of; `None`: it is no subscription's.
    fn of(lot: &Lot) -> Option<Self> {
        let (subscription, number) = lot.terms.origin.subscription?;
        let ends_at = lot.terms.expires_at?;
        (lot.terms.source == LotSource::Allowance).then_some(Self { subscription, number, ends_at })
    }
}

impl Lot {
    /// Whether it is a part of an allowance whose period is over at `now`: older lots belong to no present one.
    pub fn is_former_allowance(&self, now: Timestamp) -> bool {
        AllowancePeriod::of(self).is_some() && self.is_expired_at(now)
    }
}

/// Use of the present allowance reached some percentages of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowanceAlert {
    /// Which, ascending: at least one.
    pub percents: Vec<u32>,
    /// How much is used now, in micro-credits.
    pub used: i64,
    /// How much was granted for the period, in micro-credits.
    pub granted: i64,
    /// When the period ends.
    pub ends_at: Timestamp,
}

/// How much of the present allowance is used. Amounts are totals in micro-credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// `None` where nothing was granted for the present period.
    period: Option<AllowancePeriod>,
    granted: i64,
    used: i64,
    /// The highest percentage that was reached since something was granted: what is above it is reached for the first time.
    peak: u8,
    /// How often it was told in the period that something was reached again.
    retold: u32,
}

impl Allowance {
    /// How often alerts of one period are told again, however often use goes down and up. What is reached for the first time
    /// is told besides.
    pub const RETOLD: u32 = Used::RETOLD;

    const FORMAT: u8 = 1;

    /// How many percent are used, rounded down.
    fn level(&self) -> u8 {
        if self.granted <= 0 {
            return 0;
        }
        let percent = i128::from(self.used) * 100 / i128::from(self.granted);
        u8::try_from(percent.clamp(0, 100)).unwrap_or(100)
    }

    fn includes(&self, lot: &Lot) -> bool {
        self.period.is_some() && AllowancePeriod::of(lot) == self.period
    }

    /// Counts a lot that is granted, where it is a subscription's for a period that is not over at `now`: one for another
    /// period begins with nothing used. What is reached of an allowance that has grown is reached for the first time.
    fn grant(&mut self, lot: &Lot, now: Timestamp) {
        let Some(period) = AllowancePeriod::of(lot).filter(|_| !lot.is_expired_at(now)) else { return };
        if self.period != Some(period) {
            *self = Self { period: Some(period), ..Self::default() };
        }
        self.granted = self.granted.saturating_add(lot.granted.micro());
        self.peak = self.level();
    }

    /// Counts `delta` micro-credits more, or less, and says what is to be told of it.
    fn count(&mut self, delta: i64, wanted: PercentSet) -> Option<AllowanceAlert> {
        let before = self.level();
        self.used = self.used.saturating_add(delta).max(0);
        let after = self.level();
        let mut percents = wanted.between(before, after);
        let first = wanted.between(before.max(self.peak), after);
        if percents.len() > first.len() {
            if self.retold < Self::RETOLD {
                self.retold += 1;
            } else {
                percents = first;
            }
        }
        self.peak = self.peak.max(after);
        let ends_at = self.period?.ends_at;
        let (used, granted) = (self.used, self.granted);
        (!percents.is_empty()).then_some(AllowanceAlert { percents, used, granted, ends_at })
    }

    /// The stored form: what is so after the ledger's entry number `after`.
    pub fn to_bytes(&self, after: u64) -> Vec<u8> {
        let mut out = Writer::with_capacity(64);
        out.byte(Self::FORMAT);
        out.uint(after);
        out.option(self.period, |out, period| {
            out.id(period.subscription);
            out.uint(u64::from(period.number));
            out.time(period.ends_at);
        });
        out.int(self.granted);
        out.int(self.used);
        out.byte(self.peak);
        out.uint(u64::from(self.retold));
        out.finish()
    }

    /// Reads the stored form of an account whose last entry is number `after`; `None` where that is to be counted anew: an
    /// older program has booked since, or a later one has written it.
    pub fn from_bytes(bytes: &[u8], after: u64) -> Option<Self> {
        let (counted_after, allowance) = Self::read(bytes).ok()?;
        (counted_after == after).then_some(allowance)
    }

    fn read(bytes: &[u8]) -> Result<(u64, Self), Unreadable> {
        Reader::whole(bytes, Self::FORMAT, |input| {
            let after = input.uint("after")?;
            let period = input.option("period", |it| {
                let subscription = it.id("subscription")?;
                let number = u32::try_from(it.uint("number")?).map_err(|_| Malformed("number"))?;
                Ok(AllowancePeriod { subscription, number, ends_at: it.time("ends_at")? })
            })?;
            let (granted, used) = (input.int("granted")?, input.int("used")?);
            let peak = input.byte("peak")?;
            let retold = u32::try_from(input.uint("retold")?).map_err(|_| Malformed("retold"))?;
            Ok((after, Self { period, granted, used, peak, retold }))
        })
    }
}

/// Loading.
impl AccountState {
    /// Whether somebody wants to be told of the allowance, and it is not known how much of it is used: load that before
    /// anything is decided ([`AccountState::load_allowance`]).
    pub fn lacks_allowance(&self) -> bool {
        !self.account.alert_at.is_empty() && self.account.allowance.is_none()
    }

    /// Counts what is used of the allowance at `now`. `lots` are the account's, oldest first: all that were granted for the
    /// present period at least, live or not. What they have reached is told to nobody.
    pub fn load_allowance<'a>(&mut self, lots: impl IntoIterator<Item = &'a Lot>, now: Timestamp) {
        let now = self.time(now);
        let mut counted = Allowance::default();
        for lot in lots {
            counted.grant(lot, now);
            if counted.includes(lot) {
                counted.used = counted.used.saturating_add(lot.spent.micro()).saturating_add(lot.held.micro());
            }
        }
        counted.peak = counted.level();
        self.account.allowance = Some(counted);
    }
}

/// Deciding.
impl AccountState {
    /// Counts a lot that is granted at `now`.
    pub(super) fn count_granted(&mut self, lot: &Lot, now: Timestamp) {
        if let Some(allowance) = &mut self.account.allowance {
            allowance.grant(lot, now);
        }
    }

    /// Counts what was taken from the present allowance, or given back to it.
    pub(super) fn count_allowance(&mut self, postings: &[Posting]) {
        let Some(mut allowance) = self.account.allowance else { return };
        let of_it = |posting: &&Posting| self.lot(posting.lot).is_some_and(|lot| allowance.includes(lot));
        let delta: i64 = postings.iter().filter(of_it).map(|it| it.spent.saturating_add(it.held)).sum();
        if delta != 0 {
            self.allowance_alerts.extend(allowance.count(delta, self.account.alert_at));
            self.account.allowance = Some(allowance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(percents: &[u32]) -> PercentSet {
        PercentSet::from(&AlertPercents::new(percents).unwrap())
    }

    fn of(granted: i64) -> Allowance {
        let period = AllowancePeriod {
            subscription: SubscriptionId::from_parts(7, [7; 10]),
            number: 3,
            ends_at: "2026-02-15T12:00:00Z".parse().unwrap(),
        };
        Allowance { period: Some(period), granted, ..Allowance::default() }
    }

    #[test]
    fn percentages_are_reached_exactly_and_told_in_order() {
        let wanted = set(&[1, 50, 80, 100]);
        for (granted, steps) in [
            (1_000, vec![(9, vec![]), (1, vec![1]), (489, vec![]), (1, vec![50]), (500, vec![80, 100])]),
            // A third of a percent too little is too little.
            (3, vec![(1, vec![1]), (1, vec![50]), (1, vec![80, 100])]),
            (i64::MAX, vec![(i64::MAX / 2, vec![1]), (1, vec![50]), (i64::MAX / 2, vec![80, 100])]),
            (0, vec![(5, vec![])]),
            (1, vec![(1, vec![1, 50, 80, 100]), (-1, vec![]), (1, vec![1, 50, 80, 100])]),
        ] {
            let mut allowance = of(granted);
            for (delta, told) in steps {
                let (alert, told): (_, Vec<u32>) = (allowance.count(delta, wanted), told);
                assert_eq!(alert.map(|it| it.percents).unwrap_or_default(), told, "{granted}: {delta}");
            }
        }
    }

    #[test]
    fn what_is_reached_again_is_told_a_few_times_and_what_is_reached_first_always() {
        let wanted = set(&[50, 80]);
        let mut allowance = of(100);
        assert_eq!(allowance.count(60, wanted).unwrap().percents, [50]);
        for round in 1..20 {
            assert_eq!(allowance.count(-20, wanted), None);
            assert_eq!(allowance.count(20, wanted).is_some(), round <= Allowance::RETOLD, "{round}");
        }
        assert_eq!(allowance.count(-20, wanted), None);
        assert_eq!(allowance.count(50, wanted).unwrap().percents, [80]);
        assert_eq!(allowance.count(-90, wanted), None);
        assert_eq!(allowance.count(90, wanted), None);
        assert_eq!(allowance.count(-90, PercentSet::default()), None);
    }

    #[test]
    fn what_is_stored_is_read_again_after_the_same_entry_alone() {
        for allowance in [Allowance::default(), Allowance { used: 5, peak: 50, retold: 2, ..of(10) }] {
            let bytes = allowance.to_bytes(9);
            assert_eq!(Allowance::from_bytes(&bytes, 9), Some(allowance));
            assert_eq!(Allowance::from_bytes(&bytes, 10), None, "somebody has booked since");
            for cut in 0..bytes.len() {
                assert_eq!(Allowance::from_bytes(&bytes[..cut], 9), None);
            }
            let mut newer = bytes.clone();
            newer[0] = Allowance::FORMAT + 1;
            assert_eq!(Allowance::from_bytes(&newer, 9), None);
        }
    }

    #[test]
    fn a_set_has_what_the_managers_chose() {
        assert!(set(&[]).is_empty() && !set(&[100]).is_empty());
        assert_eq!(set(&[100, 1, 50]).between(0, 100), [1, 50, 100]);
        assert_eq!(set(&[100, 1, 50]).between(1, 99), [50]);
        assert_eq!(set(&[100, 1, 50]).between(60, 50), [0_u32; 0]);
    }
}
