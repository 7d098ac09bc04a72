//! Sessions and their refresh tokens: when one is good, when its reuse is forgiven, when it is theft.
//!
//! A session holds branches, each with a context of its own; a branch is one chain of rotations. Using a token hands the branch to a
//! successor and retires every other live token of the branch. A retired token stays good for a short
//! grace, because two tabs or a retried call may hold it honestly; after that its use means that two
//! parties hold it, and the session ends. For that each is remembered until it would have expired: of fewer, a thief who
//! refreshes quickly would have the one forgotten that the holder comes back with. How many that are is bounded by how often
//! a session may be refreshed.

use bursar_id::{OrganizationId, OwnerId};
use bursar_time::{CLOCKS_APART, Span, Timestamp, has_begun};

/// How long refresh tokens and sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// How long a refresh token may lie unused.
    pub lifetime: Span,
    /// The same, in a branch whose client has moved on to another one.
    pub left_lifetime: Span,
    /// How old a session becomes, however much it is used.
    pub greatest_age: Span,
    /// How long a rotated token is still answered with a successor.
    pub grace: Span,
    /// Refreshes of one session at once, and as many an hour from then on.
    pub most_per_hour: u32,
}

impl RefreshPolicy {
    /// When a session that began then ends by itself, if nobody uses it from now on.
    pub fn session_end(&self, began: Timestamp, now: Timestamp) -> Timestamp {
        now.saturating_add(self.lifetime).min(began.saturating_add(self.greatest_age))
    }

    /// When a refresh token of such a session stops being good; `left`: its branch's client has moved on.
    pub fn token_end(&self, began: Timestamp, left: bool, now: Timestamp) -> Timestamp {
        let lifetime = if left { self.lifetime.min(self.left_lifetime) } else { self.lifetime };
        now.saturating_add(lifetime).min(self.session_end(began, now))
    }
}

/// Branches that a session may have; beginning one more ends the one that is longest unused.
pub const MOST_BRANCHES: i64 = 32;

/// A refresh token and its session, as the store knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshState {
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// When the token stops being good if nobody uses it.
    pub expires_at: Timestamp,
    /// When a successor took over, if one did.
    pub rotated_at: Option<Timestamp>,
    /// When the session ended, if it did.
    pub session_ended_at: Option<Timestamp>,
    /// When the session last gave a token.
    pub session_used_at: Timestamp,
    /// When the session ends by itself.
    pub session_expires_at: Timestamp,
}

/// What to do with a refresh token that somebody presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshDecision {
    /// First use: retire the branch's tokens, issue the successor.
    Rotate,
    /// Reuse within the grace: issue another successor, end nothing.
    Forgive,
    /// Reuse outside the grace: end this session.
    EndSession,
    /// Expired, or its session is over, or one of them was begun or prolonged by a clock that was far ahead: refuse, change
    /// nothing.
    Refuse,
}

/// Decides about a presented refresh token. How long it and its session last was decided when they were written, maybe by a
/// replica with another policy; this one says how long a reuse is forgiven.
pub fn decide_refresh(state: &RefreshState, policy: &RefreshPolicy, now: Timestamp) -> RefreshDecision {
    let lives = is_live(state.session_ended_at, state.session_used_at, state.session_expires_at, now);
    if !lives || !lasts_since(state.issued_at, state.expires_at, now) {
        return RefreshDecision::Refuse;
    }
    match state.rotated_at {
        None => RefreshDecision::Rotate,
        Some(at) if (at.saturating_sub(CLOCKS_APART)..=at.saturating_add(policy.grace)).contains(&now) => {
            RefreshDecision::Forgive
        }
        Some(_) => RefreshDecision::EndSession,
    }
}

/// Whether a branch goes into an organization that was created on it, when that is told: not if one that was created later
/// is told already. Where creating waits for a plan to move, the earlier one may be told after it. (A context that was
/// switched to belongs to another branch.)
pub fn goes_into(created: OrganizationId, present: Option<OwnerId>) -> bool {
    present.and_then(OwnerId::organization).is_none_or(|present| present < created)
}

/// Whether a session can still be used. One that a clock began or prolonged which was far ahead cannot, as in
/// [`decide_refresh`].
pub fn is_live(ended_at: Option<Timestamp>, used_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> bool {
    ended_at.is_none() && lasts_since(used_at, expires_at, now)
}

/// Whether what was given then still lasts: its end counts as it stands, but not what only a clock could give that was far
/// ahead, or it would be good until that clock's time has come.
fn lasts_since(given_at: Timestamp, end: Timestamp, now: Timestamp) -> bool {
    now < end && has_begun(given_at, now)
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its holder signed out.
    SignedOut,
    /// Its user revoked it from the list of sessions.
    Revoked,
    /// A rotated refresh token came back after the grace.
    TokenReused,
}

impl EndReason {
    /// The word the store keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "SIGNED_OUT",
            Self::Revoked => "REVOKED",
            Self::TokenReused => "TOKEN_REUSED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_time::BELIEVED_AHEAD;
    use proptest::prelude::*;

    const POLICY: RefreshPolicy = RefreshPolicy {
        lifetime: Span::from_days(30),
        left_lifetime: Span::DAY,
        greatest_age: Span::from_days(90),
        grace: Span::from_secs(10),
        most_per_hour: 1_200,
    };

    #[test]
    fn a_branch_goes_into_what_was_created_on_it_last() {
        let org = |n| OrganizationId::from_parts(n, [0; 10]);
        let user = OwnerId::User(bursar_id::UserId::from_parts(9, [0; 10]));
        for (present, goes) in [
            (None, true),
            (Some(user), true),
            (Some(OwnerId::Organization(org(1))), true),
            (Some(OwnerId::Organization(org(3))), false),
        ] {
            assert_eq!(goes_into(org(2), present), goes, "{present:?}");
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_secs(seconds).expect("a time")
    }

    fn state(rotated: Option<i64>, ended: Option<i64>) -> RefreshState {
        RefreshState {
            issued_at: at(0),
            expires_at: at(1_000),
            rotated_at: rotated.map(at),
            session_ended_at: ended.map(at),
            session_used_at: at(0),
            session_expires_at: at(2_000),
        }
    }

    #[test]
    fn a_presented_token_is_judged() {
        use RefreshDecision::{EndSession, Forgive, Refuse, Rotate};
        let cases = [
            ("first use", state(None, None), 500, Rotate),
            ("last instant before expiry", state(None, None), 999, Rotate),
            ("expired", state(None, None), 1_000, Refuse),
            ("reused at once", state(Some(500), None), 500, Forgive),
            ("reused in the last instant of the grace", state(Some(500), None), 510, Forgive),
            ("reused after the grace", state(Some(500), None), 511, EndSession),
            ("rotated by a clock that is a little ahead", state(Some(560), None), 500, Forgive),
            ("rotated by a clock that was far ahead", state(Some(561), None), 500, EndSession),
            ("reused after the grace of an ended session", state(Some(500), Some(600)), 700, Refuse),
            ("reused within the grace of an ended session", state(Some(500), Some(505)), 506, Refuse),
            ("fresh, but the session ended", state(None, Some(400)), 500, Refuse),
        ];
        for (name, state, now, expected) in cases {
            assert_eq!(decide_refresh(&state, &POLICY, at(now)), expected, "{name}");
        }
        let over = RefreshState { session_expires_at: at(500), ..state(None, None) };
        assert_eq!(decide_refresh(&over, &POLICY, at(500)), Refuse, "the session is over");
    }

    /// Kind K: nobody stays signed in for 430 days because a clock was 400 days ahead for a minute.
    #[test]
    fn what_a_clock_that_was_far_ahead_began_is_over() {
        let now = at(500);
        let cases = [
            ("by the same clock", Span::ZERO, true),
            ("by a clock that is a little ahead", CLOCKS_APART, true),
            ("by one that is as far ahead as one that decides may be", BELIEVED_AHEAD, true),
            ("by one that was further ahead", BELIEVED_AHEAD.saturating_add(Span::SECOND), false),
            ("by a clock that was 400 days ahead", Span::from_days(400), false),
        ];
        let decided = |state: &RefreshState| decide_refresh(state, &POLICY, now) == RefreshDecision::Rotate;
        for (name, ahead, good) in cases {
            let given = now.saturating_add(ahead);
            let end = given.saturating_add(POLICY.lifetime);
            assert_eq!(is_live(None, given, end, now), good, "{name}: the session");
            let session = RefreshState { session_used_at: given, session_expires_at: end, ..state(None, None) };
            assert_eq!(decided(&session), good, "{name}: a token of the session");
            let token =
                RefreshState { issued_at: given, expires_at: end, session_expires_at: end, ..state(None, None) };
            assert_eq!(decided(&token), good, "{name}: the token");
        }
        let far = now.saturating_add(Span::DAY);
        let reused = RefreshState { issued_at: far, expires_at: far, ..state(Some(100), None) };
        assert_eq!(decide_refresh(&reused, &POLICY, now), RefreshDecision::Refuse, "it ends no session either");
    }

    /// A setting that changes is rolled out while replicas with the old one go on: neither ends what the other wrote.
    #[test]
    fn what_a_replica_with_another_setting_gave_lasts_as_long_as_it_said() {
        let (now, long) = (at(500), Span::from_days(366));
        let given = RefreshState {
            issued_at: now,
            expires_at: now.saturating_add(long),
            session_used_at: now,
            session_expires_at: now.saturating_add(long),
            ..state(None, None)
        };
        for lifetime in [Span::HOUR, Span::from_days(30), long] {
            let policy = RefreshPolicy { lifetime, ..POLICY };
            assert_eq!(decide_refresh(&given, &policy, now), RefreshDecision::Rotate, "{lifetime}");
            let last = now.saturating_add(long).saturating_sub(Span::SECOND);
            assert_eq!(
                decide_refresh(&given, &policy, last),
                RefreshDecision::Rotate,
                "{lifetime}, to its last instant"
            );
            let over = now.saturating_add(long);
            assert_eq!(decide_refresh(&given, &policy, over), RefreshDecision::Refuse, "{lifetime}, and no longer");
        }
    }

    #[test]
    fn a_session_has_a_greatest_age_and_a_branch_that_was_left_ends_unused() {
        let day = |n: i64| at(n * 86_400);
        assert_eq!(POLICY.session_end(day(0), day(10)), day(40));
        assert_eq!(POLICY.session_end(day(0), day(70)), day(90));
        assert_eq!(POLICY.token_end(day(0), false, day(10)), day(40));
        assert_eq!(POLICY.token_end(day(0), true, day(10)), day(11));
        assert_eq!(POLICY.token_end(day(0), false, day(89)), day(90));
        let short = RefreshPolicy { lifetime: Span::HOUR, ..POLICY };
        assert_eq!(short.token_end(day(0), true, day(10)), at(10 * 86_400 + 3_600), "never longer than others");
    }

    proptest! {
        #[test]
        fn a_session_ends_only_for_a_rotated_token_after_the_grace(
            rotated in proptest::option::of(0_i64..1_200), ended in proptest::option::of(0_i64..1_200), now in 0_i64..2_500,
        ) {
            let decision = decide_refresh(&state(rotated, ended), &POLICY, at(now));
            if decision == RefreshDecision::EndSession {
                prop_assert!(rotated.is_some_and(|r| now > r + 10 || now < r - 60) && ended.is_none());
            }
            if ended.is_some() || now >= 1_000 {
                prop_assert_eq!(decision, RefreshDecision::Refuse);
            }
        }
    }
}
