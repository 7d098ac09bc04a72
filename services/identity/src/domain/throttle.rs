//! How often something may be tried: a leaky bucket that needs one instant per bucket and no timer.

use bursar_time::{CLOCKS_APART, Span, Timestamp};

/// A bucket that holds `capacity` attempts and leaks one every `leak`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Attempts that fit at once.
    pub capacity: u32,
    /// How long one attempt takes to drain.
    pub leak: Span,
}

/// What a bucket says to one more attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fits; the bucket is empty again at this instant.
    Admit(Timestamp),
    /// It does not fit; it will after this span.
    Wait(Span),
}

impl Throttle {
    /// Wrong passwords for one account from one place: ten at once, then one a minute.
    pub const GUESS: Self = Self { capacity: 10, leak: Span::from_secs(60) };
    /// Wrong passwords for one account from all places of one network where it never succeeded: as many as from one of them, so
    /// that one holder's many places do no more.
    pub const NETWORK_GUESS: Self = Self::GUESS;
    /// Wrong passwords for one account from all places where it never succeeded: it takes ten networks at work together to fill
    /// it, and then it is closed to newcomers only. It drains six a minute, and a network may add one a minute: six of them keep
    /// it full.
    pub const ACCOUNT: Self = Self { capacity: 100, leak: Span::from_secs(10) };
    /// Wrong passwords, or secrets, from one place: a hundred at once, then one in three seconds, so that an office behind
    /// one address is not locked out by one colleague.
    pub const PLACE: Self = Self { capacity: 100, leak: Span::from_secs(3) };
    /// Wrong passwords, or secrets, from all places of one network: ten of them fill it.
    pub const NETWORK: Self = Self { capacity: 1_000, leak: Span::from_millis(300) };
    /// Sign-ups from one place: a class that begins together, then one in ten seconds.
    pub const SIGN_UPS: Self = Self { capacity: 200, leak: Span::from_secs(10) };
    /// Sign-ups from all places of one network: ten of them fill it.
    pub const NETWORK_SIGN_UPS: Self = Self { capacity: 2_000, leak: Span::SECOND };
    /// Sign-ups through one service that does not say where its callers are: so many that its people do not meet, and no more,
    /// so that its form does not mail strangers without a bound.
    pub const SERVICE_SIGN_UPS: Self = Self { capacity: 10_000, leak: Span::SECOND };
    /// Mails to one address that somebody in one network can cause: five at once, then one in ten minutes.
    pub const MAIL: Self = Self { capacity: 5, leak: Span::from_mins(10) };
    /// Mails to one address that strangers everywhere can cause: it takes ten networks to fill it.
    pub const MAILS: Self = Self { capacity: 50, leak: Span::from_mins(1) };
    /// Mails about one thing that billing tells of: one, and it is remembered for a day that there was one.
    pub const ONCE: Self = Self { capacity: 1, leak: Span::DAY };
    /// Mails about one person's invoices, which may go to anybody's address: twenty at once, then two an
    /// hour.
    pub const INVOICES: Self = Self { capacity: 20, leak: Span::from_mins(30) };
    /// Mails about the limits of one person's own account: a hundred at once, and no more than two hundred within a day.
    pub const LIMIT_ALERTS: Self = Self { capacity: 100, leak: Span::from_secs(864) };
    /// Mails about its allowances: thirty at once, and no more than sixty within a day.
    pub const ALLOWANCE_ALERTS: Self = Self { capacity: 30, leak: Span::from_mins(48) };

    /// So many at once, and as many an hour from then on; beside them fit `more`, which drain like them.
    pub fn hourly(most: u32, more: u32) -> Self {
        let leak = Span::from_std(Span::HOUR.to_std() / most.max(1));
        Self { capacity: most.saturating_add(more), leak }
    }

    /// Asks for one more attempt of a bucket that is empty at `drained_at` (`None`: never used). An instant that lies
    /// further ahead than a full bucket takes to drain, and than clocks may be apart, was written by a wrong clock, and says
    /// nothing.
    pub fn admit(&self, drained_at: Option<Timestamp>, now: Timestamp) -> Verdict {
        self.admit_leaving(0, drained_at, now)
    }

    /// The same for an attempt that has to leave room for so many others.
    pub fn admit_leaving(&self, room: u32, drained_at: Option<Timestamp>, now: Timestamp) -> Verdict {
        let holds = |attempts: u32| self.leak.saturating_mul(u64::from(attempts));
        let full = holds(self.capacity);
        let drained_at = drained_at.filter(|at| at.since(now) <= full.saturating_add(CLOCKS_APART));
        let drained = drained_at.map_or(now, |at| at.max(now)).saturating_add(self.leak);
        let over = drained.since(now).saturating_sub(holds(self.capacity.saturating_sub(room)));
        if over.is_zero() { Verdict::Admit(drained) } else { Verdict::Wait(over) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_secs(seconds).expect("a time")
    }

    #[test]
    fn ten_at_once_then_one_a_minute() {
        let now = at(1_000);
        let mut drained = None;
        for attempt in 1..=10 {
            let Verdict::Admit(at) = Throttle::GUESS.admit(drained, now) else { panic!("attempt {attempt} refused") };
            drained = Some(at);
        }
        assert_eq!(Throttle::GUESS.admit(drained, now), Verdict::Wait(Span::from_secs(60)));
        assert_eq!(Throttle::GUESS.admit(drained, at(1_059)), Verdict::Wait(Span::from_secs(1)));
        assert!(matches!(Throttle::GUESS.admit(drained, at(1_060)), Verdict::Admit(_)));
    }

    #[test]
    fn ten_networks_fill_an_accounts_bucket_and_six_keep_it_full() {
        let (account, network) = (Throttle::ACCOUNT, Throttle::NETWORK_GUESS);
        assert_eq!(account.capacity, 10 * network.capacity);
        assert_eq!(account.leak.saturating_mul(6), network.leak);
    }

    /// A day's alerts are as many as an organization's.
    #[test]
    fn so_many_alerts_fit_into_a_day() {
        for (throttle, most) in [(Throttle::LIMIT_ALERTS, 200), (Throttle::ALLOWANCE_ALERTS, 60)] {
            let (mut drained, mut mailed) = (None, 0);
            for second in (0..24 * 60 * 60).step_by(16) {
                while let Verdict::Admit(at) = throttle.admit(drained, at(second)) {
                    drained = Some(at);
                    mailed += 1;
                }
            }
            // The one that fits at the very end of the day belongs to the next.
            assert_eq!(mailed, most - 1);
        }
    }

    /// What is asked for again finds room where something new does not, and makes none for that.
    #[test]
    fn who_leaves_room_is_refused_before_who_does_not() {
        let (now, throttle) = (at(1_000), Throttle::hourly(60, 5));
        assert_eq!(throttle, Throttle { capacity: 65, leak: Span::from_mins(1) });
        let mut drained = None;
        for (room, admitted) in [(5, 60), (0, 5), (5, 0)] {
            let mut count = 0;
            while let Verdict::Admit(at) = throttle.admit_leaving(room, drained, now) {
                (drained, count) = (Some(at), count + 1);
            }
            assert_eq!(count, admitted, "leaving room for {room}");
        }
        assert_eq!(throttle.admit(drained, now), Verdict::Wait(Span::from_mins(1)));
        assert_eq!(throttle.admit_leaving(5, drained, now), Verdict::Wait(Span::from_mins(6)));
        assert!(matches!(throttle.admit_leaving(5, drained, at(1_000 + 6 * 60)), Verdict::Admit(_)));
    }

    #[test]
    fn a_drained_bucket_is_as_good_as_new() {
        assert_eq!(Throttle::MAIL.admit(Some(at(10)), at(5_000)), Throttle::MAIL.admit(None, at(5_000)));
    }

    /// Kind K: nobody is throttled for 400 days because a clock was ahead for seconds.
    #[test]
    fn what_a_clock_that_was_ahead_wrote_throttles_nobody() {
        let now = at(1_000);
        let full = Throttle::GUESS.leak.saturating_mul(10);
        let bucket = |ahead| Throttle::GUESS.admit(Some(now.saturating_add(ahead)), now);
        assert_eq!(bucket(full), Verdict::Wait(Throttle::GUESS.leak), "full, by this clock");
        let apart = full.saturating_add(CLOCKS_APART);
        assert!(matches!(bucket(apart), Verdict::Wait(_)), "full, by a clock that is a little ahead");
        for ahead in [apart.saturating_add(Span::SECOND), Span::HOUR, Span::from_days(400)] {
            assert_eq!(bucket(ahead), Throttle::GUESS.admit(None, now), "{ahead}");
        }
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_capacity_and_what_leaked(gaps in proptest::collection::vec(0_i64..120, 1..200)) {
            let (mut now, mut drained, mut admitted) = (0, None, 0_i64);
            for gap in gaps {
                now += gap;
                if let Verdict::Admit(at) = Throttle::GUESS.admit(drained, at(now)) {
                    drained = Some(at);
                    admitted += 1;
                }
                prop_assert!(admitted <= 10 + now / 60);
            }
        }
    }
}
