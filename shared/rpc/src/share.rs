//! How much of what all share one of them may take.

/// Whether somebody who has taken so much of what all share may take so much more, while so much of it is left.
///
/// Whoever comes first must not take all of it: each may have as much as is left for everybody else. One who is busy gets
/// half, two get a third each, and a newcomer finds room as soon as something of what those have comes back: none of them may
/// take it again before. These are the dynamic thresholds of shared buffers (Choudhury and Hahne, 1998) with a factor of one.
///
/// It bounds what one may take, not what many may: where nothing comes back (a stream is kept), each takes half of what those before
/// it have left, and a dozen have nearly all. (Of connections, which are kept as well, one gives way then: `shared/runtime`'s
/// `holders.rs`.)
#[inline]
#[must_use]
pub const fn has_room(taken: usize, more: usize, left: usize) -> bool {
    match taken.checked_add(more) {
        Some(all) => all <= left,
        None => false,
    }
}

/// The same for one of several who share what somebody may take (a place, of a network that one holder may have): `own` is what
/// this one has of the `taken`. Together they may have no more than anybody, and each may have as much of it as the others could
/// still take. Who is alone in it gets a third of everything.
#[inline]
#[must_use]
pub const fn has_room_within(own: usize, taken: usize, more: usize, left: usize) -> bool {
    has_room(taken, more, left) && has_room(own, more, left.saturating_sub(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_may_have_as_much_as_is_left() {
        let table = [
            // Taken, more, left.
            (0, 1, 0, false),
            (0, 1, 1, true),
            (0, 12, 12, true),
            (0, 13, 12, false),
            (5, 1, 7, true),
            (6, 1, 6, false),
            (6, 0, 6, true),
            (3, 2, 4, false),
            (usize::MAX, 1, usize::MAX, false),
        ];
        for (taken, more, left, expected) in table {
            assert_eq!(has_room(taken, more, left), expected, "{more} more than {taken} of {left}");
        }
    }

    /// How much each has once none of them may have more, where they come one after the other.
    fn shares(of: usize, all: usize) -> Vec<usize> {
        let mut taken = vec![0; of];
        for turn in (0..of).cycle().take(all * of) {
            let left = all - taken.iter().sum::<usize>();
            taken[turn] += usize::from(has_room(taken[turn], 1, left));
        }
        taken
    }

    /// How many take everything, one after the other, where nothing comes back.
    fn takers(all: usize) -> usize {
        let (mut left, mut takers) = (all, 0);
        while has_room(0, 1, left) {
            let mut taken = 0;
            while has_room(taken, 1, left) {
                (taken, left) = (taken + 1, left - 1);
            }
            takers += 1;
        }
        takers
    }

    #[test]
    fn it_bounds_what_one_takes_and_not_what_a_dozen_do() {
        assert_eq!([4_096, 512].map(takers), [13, 10]);
    }

    #[test]
    fn one_gets_half_two_get_a_third_each_and_a_newcomer_finds_room() {
        assert_eq!(shares(1, 12), [6]);
        assert_eq!(shares(2, 12), [4, 4]);
        assert_eq!(shares(3, 12), [3, 3, 3]);
        for busy in 1..12 {
            let left = 12 - shares(busy, 12).iter().sum::<usize>();
            assert!(has_room(0, 1, left), "beside {busy}");
        }
    }

    #[test]
    fn many_who_are_one_have_no_more_than_anybody_and_one_of_them_leaves_room_to_the_others() {
        let (mut left, mut taken) = (30, Vec::new());
        for _ in 0..30 {
            let mut own = 0;
            while has_room_within(own, taken.iter().sum::<usize>() + own, 1, left) {
                (own, left) = (own + 1, left - 1);
            }
            taken.push(own);
        }
        assert_eq!(taken[..4], [10, 4, 1, 0], "each leaves something to the next, while there is something");
        assert_eq!((taken.iter().sum::<usize>(), left), (15, 15), "a half, however many they are");
        assert!(!has_room_within(0, 15, 1, 15) && has_room(0, 1, 15), "others have room");
        assert!(!has_room_within(usize::MAX, usize::MAX, 1, usize::MAX));
    }
}
