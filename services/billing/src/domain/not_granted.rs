//! What of a payment's money is in no lot: of a year its months that have not begun, or never will; of what brings no credits all of
//! it.
//!
//! It is owed until its time comes. Then a month's part is in its lot, or was for the time alone, and is earned once that is over.
//! What ends before gives nothing back by itself: what is kept is breakage. Where it goes on after all, since its owner is back, that
//! is owed again from then on: what was told of a time in between stays so. What does go back is taken of what is owed first, and then
//! of what was earned, whose lots may be another payment's: they have the money of all that their month was paid with.

use bursar_time::Timestamp;

/// A part of the money: a month's, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// In millionths of the currency's unit, net of tax.
    pub money: i64,
    /// Since when it is in a lot.
    pub granted_at: Option<Timestamp>,
    /// When the time is over that it is for.
    pub over_at: Timestamp,
    /// Whether it is for the time alone: no credits come with it.
    pub for_time: bool,
}

/// What of a payment is in no lot, or was not from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotGranted {
    /// All of the money, in parts.
    pub shares: Vec<Share>,
    /// When what it is for ended before its time.
    pub ended_at: Option<Timestamp>,
    /// From when until when it had ended, each time that it went on after all.
    pub breaks: Vec<(Timestamp, Timestamp)>,
    /// How far time has come: what is over later is not over yet.
    pub now: Timestamp,
}

/// What has become by an instant of what is in no lot, in millionths of the currency's unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// How much is in no lot.
    pub paid: i64,
    /// What of that was earned: less than nothing where more has gone back than is in no lot.
    pub earned: i64,
    /// What of it was kept for nothing.
    pub breakage: i64,
    /// What of it is owed.
    pub left: i64,
}

impl NotGranted {
    /// How it stands at an instant, when so much of what is in no lot has gone back.
    pub fn at(&self, at: Timestamp, given_back: i64) -> Kept {
        let ended = self.ended_by(at);
        let passed = at.min(self.now);
        let served_until = ended.unwrap_or(passed);
        let (mut paid, mut served) = (0_i64, 0_i64);
        for share in self.shares.iter().filter(|it| it.granted_at.is_none_or(|since| since >= at)) {
            paid = paid.saturating_add(share.money);
            if share.for_time && share.over_at <= served_until {
                served = served.saturating_add(share.money);
            }
        }
        let kept = paid.saturating_sub(given_back);
        let earned = kept.min(served);
        let rest = kept.saturating_sub(earned);
        let is_over = ended.is_some() || self.shares.iter().all(|it| it.over_at <= passed);
        let (breakage, left) = if is_over { (rest, 0) } else { (0, rest) };
        Kept { paid, earned, breakage, left }
    }

    /// Since when it had ended before an instant, if it had: what happens at the instant itself had not happened yet.
    fn ended_by(&self, at: Timestamp) -> Option<Timestamp> {
        let during = |(end, back): &&(Timestamp, Timestamp)| *end < at && at <= *back;
        let break_off = self.breaks.iter().find(during).map(|(end, _)| *end);
        self.ended_at.filter(|end| *end < at).or(break_off)
    }

    /// What of it never will be in a lot, as things are: what went back of what is in none, or all of it once it has ended.
    pub fn never(&self, given_back: i64) -> i64 {
        let waits = self.shares.iter().filter(|it| it.granted_at.is_none());
        let paid = waits.fold(0_i64, |sum, it| sum.saturating_add(it.money));
        if self.ended_at.is_some() { paid } else { given_back.clamp(0, paid.max(0)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_unix_secs(number * 86_400).unwrap()
    }

    fn kept(paid: i64, earned: i64, breakage: i64, left: i64) -> Kept {
        Kept { paid, earned, breakage, left }
    }

    /// Three months of 30 days at 100 each, of which so many have begun.
    fn months(begun: i64, for_time: bool) -> NotGranted {
        let share = |n: i64| Share {
            money: 100,
            granted_at: (n < begun).then(|| day(30 * n)),
            over_at: day(30 * (n + 1)),
            for_time,
        };
        let shares = (0..3).map(share).collect();
        NotGranted { shares, ended_at: None, breaks: Vec::new(), now: Timestamp::MAX }
    }

    #[test]
    fn a_months_part_is_owed_until_its_lot_has_it() {
        let year = months(3, false);
        for (at, left) in [(0, 300), (1, 200), (30, 200), (31, 100), (61, 0), (91, 0)] {
            assert_eq!(year.at(day(at), 0), kept(left, 0, 0, left), "day {at}");
        }
    }

    #[test]
    fn what_goes_back_is_owed_no_more_and_never_comes() {
        let year = months(2, false);
        assert_eq!(year.at(day(40), 40), kept(100, 0, 0, 60));
        assert_eq!(year.at(day(40), 100), kept(100, 0, 0, 0));
        assert_eq!(year.at(day(40), 130), kept(100, -30, 0, 0), "30 of it are in lots, and earned there");
        assert_eq!([0, 40, 100, 130].map(|back| year.never(back)), [0, 40, 100, 100]);
    }

    #[test]
    fn what_is_kept_of_what_has_ended_is_breakage_from_then_on() {
        let year = NotGranted { ended_at: Some(day(35)), ..months(2, false) };
        assert_eq!(year.at(day(35), 0), kept(100, 0, 0, 100), "it ends at this instant, and had not before");
        assert_eq!(year.at(day(36), 0), kept(100, 0, 100, 0));
        assert_eq!(year.at(day(99), 25), kept(100, 0, 75, 0));
        assert_eq!((year.never(0), year.never(25)), (100, 100));
    }

    #[test]
    fn what_goes_on_after_all_is_owed_again_from_then_on() {
        let breaks = vec![(day(35), day(40)), (day(50), day(52))];
        let year = NotGranted { breaks: breaks.clone(), ..months(2, false) };
        for (at, is_over) in [(35, false), (36, true), (40, true), (41, false), (50, false), (51, true), (53, false)] {
            let expected = if is_over { kept(100, 0, 100, 0) } else { kept(100, 0, 0, 100) };
            assert_eq!(year.at(day(at), 0), expected, "day {at}");
        }
        assert_eq!(year.never(0), 0, "it comes as if nothing had been");
        let ended = NotGranted { ended_at: Some(day(60)), ..year };
        assert_eq!([52, 53, 60, 61].map(|at| ended.at(day(at), 0).breakage), [100, 0, 0, 100], "and ends for good");
        let seats = NotGranted { breaks, ..months(0, true) };
        assert_eq!(seats.at(day(38), 0), kept(300, 100, 200, 0));
        assert_eq!(seats.at(day(60), 0), kept(300, 200, 0, 100), "the month in between was served in the end");
    }

    #[test]
    fn what_is_for_the_time_alone_is_earned_month_by_month() {
        let seats = months(0, true);
        for (at, earned) in [(29, 0), (30, 100), (60, 200), (90, 300), (400, 300)] {
            assert_eq!(seats.at(day(at), 0), kept(300, earned, 0, 300 - earned), "day {at}");
        }
        assert_eq!(seats.at(day(60), 250), kept(300, 50, 0, 0), "what is owed goes back first");
        let early = NotGranted { now: day(59), ..seats.clone() };
        assert_eq!(early.at(day(60), 0), kept(300, 100, 0, 200), "the day is not there yet");
        let ended = NotGranted { ended_at: Some(day(45)), ..seats };
        assert_eq!(ended.at(day(90), 0), kept(300, 100, 200, 0), "the second month was not over");
    }

    proptest! {
        /// Against cents that each go their own way, whenever months begin, whatever goes back and whenever it ends.
        #[test]
        fn each_cent_is_in_one_place(
            parts in prop::collection::vec((0_i64..40, prop::option::of(0_i64..100), any::<bool>()), 1..13),
            ended in prop::option::of(0_i64..400),
            away in prop::option::of((0_i64..400, 0_i64..400)),
            at in 0_i64..500,
            back in 0_i64..300,
        ) {
            let share = |(n, (money, late, for_time)): (usize, &(i64, Option<i64>, bool))| {
                let begins = 30 * i64::try_from(n).unwrap();
                let granted_at = late.map(|late| day(begins + late));
                Share { money: *money, granted_at, over_at: day(begins + 30), for_time: *for_time }
            };
            let shares = parts.iter().enumerate().map(share).collect();
            let breaks = away.into_iter().map(|(from, to)| (day(from), day(to))).collect();
            let it = NotGranted { shares, ended_at: ended.map(day), breaks, now: day(at) };
            let away = away.filter(|(from, to)| *from < at && at <= *to).map(|(from, _)| from);
            let ended = ended.filter(|end| *end < at).or(away);
            let stands = it.at(day(at), back);
            // Cents that are in lots; of the others, those that were for a time that is over by now, and by the end.
            let in_lots: i64 = it.shares.iter().filter(|it| it.granted_at.is_some_and(|since| since < day(at))).map(|it| it.money).sum();
            let all: i64 = parts.iter().map(|it| it.0).sum();
            prop_assert_eq!(stands.paid + in_lots, all);
            prop_assert_eq!(stands.earned + stands.breakage + stands.left + back, stands.paid);
            prop_assert!(stands.left >= 0 && stands.breakage >= 0);
            prop_assert!(stands.left == 0 || stands.breakage == 0);
            let is_over = ended.is_some() || at >= 30 * i64::try_from(parts.len()).unwrap();
            prop_assert!(!is_over || stands.left == 0);
            prop_assert!(is_over || stands.breakage == 0);
            let cents = it.shares.iter().filter(|it| it.granted_at.is_none_or(|since| since >= day(at)));
            let served = cents.filter(|it| it.for_time && it.over_at <= day(ended.unwrap_or(at)));
            let served: i64 = served.map(|it| it.money).sum();
            prop_assert!(stands.earned <= served, "nothing else is earned");
            prop_assert!(stands.earned == served || stands.left + stands.breakage == 0, "what is owed goes back first");
        }
    }
}
