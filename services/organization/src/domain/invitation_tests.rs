//! The life of an invitation by tables.

use super::*;
use Refusal::{
    AlreadyAMember, EmailNotVerified, InvitationEmailMismatch, InvitationExpired, InvitationRevoked, InvitationSettled,
    InviterNoLongerAuthorized,
};
use bursar_time::BELIEVED_AHEAD;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_unix_secs(secs).expect("a time")
}

#[test]
fn the_deadline_counts_by_itself() {
    for (state, now, expected) in [
        (State::Pending, 99, State::Pending),
        (State::Pending, 100, State::Expired),
        (State::Accepted, 100, State::Accepted),
        (State::Declined, 100, State::Declined),
        (State::Revoked, 100, State::Revoked),
        (State::Expired, 99, State::Expired),
    ] {
        assert_eq!(state.at(at(now), at(100), Span::HOUR), expected, "{state} at {now}");
    }
}

/// Kind K: an invitation that a clock dated which was 400 days ahead cannot be accepted for 400 days.
#[test]
fn a_deadline_that_only_a_clock_far_ahead_could_set_is_over() {
    let now = at(100);
    let last = now.saturating_add(LONGEST).saturating_add(BELIEVED_AHEAD);
    for (state, deadline, expected) in [
        (State::Pending, last, State::Pending),
        (State::Pending, last.saturating_add(Span::SECOND), State::Expired),
        (State::Pending, last.saturating_add(Span::from_days(400)), State::Expired),
        (State::Accepted, last.saturating_add(Span::from_days(400)), State::Accepted),
    ] {
        assert_eq!(state.at(now, deadline, LONGEST), expected, "{state} until {deadline}");
    }
    let month = now.saturating_add(LONGEST);
    assert_eq!(State::Pending.at(now, month, Span::HOUR), State::Expired, "by its own lifetime, not by the longest");
}

#[test]
fn each_state_allows_what_the_picture_says() {
    type Verdict = Result<bool, Refusal>;
    let table: [(State, Verdict, Verdict, Verdict); 5] = [
        (State::Pending, Ok(false), Ok(false), Ok(true)),
        (State::Accepted, Err(InvitationSettled), Err(InvitationSettled), Err(InvitationSettled)),
        (State::Declined, Ok(true), Err(InvitationSettled), Err(InvitationSettled)),
        (State::Revoked, Err(InvitationRevoked), Ok(true), Err(InvitationRevoked)),
        (State::Expired, Err(InvitationExpired), Ok(false), Ok(false)),
    ];
    for (state, decline, revoke, resend) in table {
        assert_eq!(state.decline(), decline, "declining {state}");
        assert_eq!(state.revoke(), revoke, "revoking {state}");
        assert_eq!(state.resend(), resend, "resending {state}");
        assert_eq!(state.as_str().parse(), Ok(state));
    }
}

#[test]
fn only_the_holder_of_the_address_accepts_and_once() {
    let ada = UserId::from_parts(1, [0; 10]);
    let good = Acceptance {
        state: State::Pending,
        invited_key: "ada@x.org",
        accepted_by: None,
        user: ada,
        email_key: "ada@x.org".to_owned(),
        email_verified: true,
        is_member: false,
        inviter_may: true,
    };
    let with = |change: fn(&mut Acceptance<'_>)| {
        let mut case = good.clone();
        change(&mut case);
        case
    };
    let accepted = |change: fn(&mut Acceptance<'_>)| {
        let mut case = good.clone();
        (case.state, case.accepted_by, case.is_member) = (State::Accepted, Some(ada), true);
        change(&mut case);
        case
    };
    let table = [
        (good.clone(), Ok(false)),
        (with(|it| it.email_verified = false), Err(EmailNotVerified)),
        (with(|it| it.inviter_may = false), Err(InviterNoLongerAuthorized)),
        (accepted(|it| it.inviter_may = false), Ok(true)),
        (with(|it| it.email_key = "eve@x.org".to_owned()), Err(InvitationEmailMismatch)),
        (with(|it| (it.email_key, it.state) = ("eve@x.org".to_owned(), State::Revoked)), Err(InvitationEmailMismatch)),
        (with(|it| it.state = State::Expired), Err(InvitationExpired)),
        (with(|it| it.state = State::Revoked), Err(InvitationRevoked)),
        (with(|it| it.state = State::Declined), Err(InvitationSettled)),
        (accepted(|_| ()), Ok(true)),
        (accepted(|it| it.is_member = false), Err(InvitationSettled)),
        (accepted(|it| it.accepted_by = Some(UserId::from_parts(2, [0; 10]))), Err(InvitationSettled)),
        (with(|it| it.is_member = true), Err(AlreadyAMember)),
    ];
    for (case, expected) in table {
        assert_eq!(case.decide(), expected, "{case:?}");
    }
}

#[test]
fn lives_have_bounds() {
    let default = Span::from_days(7);
    for (asked, expected) in [
        (None, Ok(default)),
        (Some(SHORTEST), Ok(SHORTEST)),
        (Some(LONGEST), Ok(LONGEST)),
        (Some(Span::ZERO), Err(LifetimeError)),
        (Some(SHORTEST.saturating_sub(Span::MILLISECOND)), Err(LifetimeError)),
        (Some(LONGEST.saturating_add(Span::MILLISECOND)), Err(LifetimeError)),
    ] {
        assert_eq!(lifetime(asked, default), expected, "{asked:?}");
    }
}

#[test]
fn of_what_an_address_may_get_one_sends_three_fifths() {
    let caps = |to_address_per_day| Caps {
        pending: 1,
        per_day: 1,
        per_day_at_first: 1,
        by_sender_per_day: 1,
        to_address_per_day,
        by_origin_per_day: 1,
    };
    for (all, by_one) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (10, 6), (u32::MAX, 2_576_980_377)] {
        assert_eq!(caps(all).to_address_by_one_per_day(), by_one, "of {all}");
        assert_eq!(by_one < all, all >= 3, "of {all} something is left for others, from three on");
    }
}

#[test]
fn seats_and_caps_are_never_exceeded() {
    let caps = Caps {
        pending: 3,
        per_day: 10,
        per_day_at_first: 5,
        by_sender_per_day: 9,
        to_address_per_day: 9,
        by_origin_per_day: 9,
    };
    let table = [
        (1, 0, 5, Ok(())),
        (3, 1, 5, Ok(())),
        (3, 2, 5, Err(Refusal::SeatLimitReached { seats: 5, used: 5 })),
        // The plan shrank.
        (8, 0, 5, Err(Refusal::SeatLimitReached { seats: 5, used: 8 })),
        (1, 0, 0, Err(Refusal::SeatLimitReached { seats: 0, used: 1 })),
        (1, 3, 99, Err(Refusal::TooManyPending { limit: 3, retry_after: Span::HOUR })),
    ];
    let none =
        Counts { members: 1, pending: 0, sent: 0, until_expiry: Span::HOUR, until_fewer: Span::MINUTE, is_new: false };
    for (members, pending, seats, expected) in table {
        let counts = Counts { members, pending, ..none };
        assert_eq!(caps.reserve(counts, seats), expected, "{members} members, {pending} pending, {seats} seats");
    }
    let sent = |sent, is_new| caps.send(Counts { sent, is_new, ..none });
    let too_many = Err(Refusal::TooManyToday { retry_after: Span::MINUTE });
    assert_eq!(sent(9, false), Ok(()));
    assert_eq!(sent(10, false), too_many);
    assert_eq!(sent(4, true), Ok(()));
    assert_eq!(sent(5, true), too_many);
    assert_eq!(convert(4, 5), Ok(()));
    assert_eq!(convert(5, 5), Err(Refusal::SeatLimitReached { seats: 5, used: 5 }));
}
