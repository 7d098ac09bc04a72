//! Rollover: what is left of a month's allowance when the next month begins is there for that one more, at most as much as the
//! plan says.
//!
//! What is left is what lapsed at the boundary, lot by lot, and what an open dispute withheld then: what holds reserved then and
//! gave back later is not among it, nor what was refunded later. It is the same whoever came first after the boundary. The newest lots come first, so that what reaches the
//! cap was paid for last. Of each of them a new lot is granted, which keeps what its credits may pay for, the payment that paid for
//! them and their part of that; it expires with the new month, and rolls over with it, as long as it is not spent.
//!
//! Such a lot counts from when the month began that it comes from. So it is spent before the new allowance, and is known for
//! what it is by its time alone, which is longer than any month: no program of before has to read anything new.

use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use super::lot::{Lot, LotSource};
use super::subscription::Subscription;

/// Of how many lots something rolls over at most, the newest: an account has room for so many.
pub const MOST_ROLLED: usize = 100;

/// Longer than any month, and shorter than any two.
const LONGER_THAN_A_MONTH: Span = Span::from_days(40);

/// What of each of some lots is there for one more month, where this is left of them, the newest first: at most `cap` in all, and of
/// `most` lots.
pub fn rolled_over<T>(cap: Credits, most: usize, left: impl IntoIterator<Item = (T, Credits)>) -> Vec<(T, Credits)> {
    let (mut rolled, mut room) = (Vec::new(), cap);
    for (lot, credits) in left {
        let part = credits.min(room);
        room = room.saturating_sub(part);
        if !part.is_zero() && rolled.len() < most.min(MOST_ROLLED) {
            rolled.push((lot, part));
        }
    }
    rolled
}

impl Lot {
    /// Whether it has what was left of an earlier month.
    pub fn is_rolled_over(&self) -> bool {
        let terms = &self.terms;
        let is_long = |end: Timestamp| end.since(terms.effective_at) > LONGER_THAN_A_MONTH;
        terms.source == LotSource::Allowance
            && terms.origin.subscription.is_some()
            && terms.expires_at.is_some_and(is_long)
    }
}

impl Subscription {
    /// Whether a lot is what one of its months included: where there is anything left of it, the one that it is in, or one that
    /// was begun anew before its end.
    pub fn includes(&self, lot: &Lot) -> bool {
        lot.terms.origin.subscription.is_some_and(|(id, _)| id == self.id)
    }

    /// Whether a lot is what the month includes that it is in: the allowance, what was added to it, and what was rolled over.
    pub fn includes_now(&self, lot: &Lot) -> bool {
        lot.terms.source == LotSource::Allowance
            && lot.terms.origin.subscription == Some((self.id, self.month.number))
            && lot.terms.expires_at == Some(self.month.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(credits: &[u32]) -> Vec<(usize, Credits)> {
        credits.iter().map(|it| Credits::whole(*it)).enumerate().collect()
    }

    #[test]
    fn what_is_left_rolls_over_up_to_the_cap_and_the_newest_first() {
        // The cap, what is left of each lot, the newest first, and what rolls over of which.
        type Case = (u32, &'static [u32], &'static [(usize, u32)]);
        let cases: [Case; 9] = [
            (500, &[], &[]),
            (500, &[0], &[]),
            (500, &[1], &[(0, 1)]),
            (500, &[499], &[(0, 499)]),
            (500, &[500], &[(0, 500)]),
            (500, &[501], &[(0, 500)]),
            (500, &[1_500, 300], &[(0, 500)]),
            (500, &[300, 0, 100, 300], &[(0, 300), (2, 100), (3, 100)]),
            (2_000, &[1_500, 300], &[(0, 1_500), (1, 300)]),
        ];
        for (cap, left, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(lot, it)| (*lot, Credits::whole(*it))).collect();
            assert_eq!(rolled_over(Credits::whole(cap), MOST_ROLLED, whole(left)), expected, "{cap} of {left:?}");
        }
    }

    #[test]
    fn of_very_many_lots_the_newest_roll_over() {
        let many = whole(&[1; MOST_ROLLED + 7]);
        assert_eq!(rolled_over(Credits::MAX, usize::MAX, many.clone()), many[..MOST_ROLLED]);
        assert_eq!(rolled_over(Credits::MAX, 3, many.clone()), many[..3], "an account has room for no more");
        assert_eq!(rolled_over(Credits::MAX, 0, many), []);
    }

    proptest! {
        /// Against counting millionths one by one.
        #[test]
        fn it_is_what_counting_one_by_one_comes_to(cap in 0_i64..60, left in prop::collection::vec(0_i64..20, 0..8)) {
            let micro = |it: i64| Credits::from_micro(it).unwrap();
            let mut naive = vec![0_i64; left.len()];
            let mut room = cap;
            for (lot, credits) in left.iter().enumerate() {
                for _ in 0..*credits {
                    if room > 0 {
                        room -= 1;
                        naive[lot] += 1;
                    }
                }
            }
            let expected: Vec<_> =
                naive.iter().enumerate().filter(|(_, it)| **it > 0).map(|(lot, it)| (lot, micro(*it))).collect();
            let rolled = rolled_over(micro(cap), MOST_ROLLED, left.iter().map(|it| micro(*it)).enumerate());
            let sum = Credits::checked_sum(rolled.iter().map(|(_, it)| *it)).unwrap();
            prop_assert_eq!(sum, micro(cap.min(left.iter().sum())));
            prop_assert_eq!(rolled, expected);
        }
    }
}
