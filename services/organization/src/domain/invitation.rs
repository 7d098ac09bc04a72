//! The life of an invitation, and how many there may be.
//!
//! ```text
//! PENDING ─ accept ──→ ACCEPTED
//!    │ ├─── decline ─→ DECLINED
//!    │ └─── revoke ──→ REVOKED ←─ revoke ─┐
//!    └─ deadline ────→ EXPIRED ───────────┘
//!       ↑                 │
//!       └───── resend ────┘
//! ```
//!
//! The deadline counts by itself: a stored PENDING past it **is** expired, whether or not anybody has
//! written that down. So is one whose deadline lies where only a clock could put it that was far ahead.

use std::fmt;
use std::str::FromStr;

use bursar_id::UserId;
use bursar_time::{Span, Timestamp, lasts};

use super::Refusal;

/// The shortest life of an invitation.
pub const SHORTEST: Span = Span::HOUR;
/// The longest life of an invitation.
pub const LONGEST: Span = Span::from_days(30);

/// Where an invitation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Sent, and can be accepted.
    Pending,
    /// The address's holder became a member.
    Accepted,
    /// Whoever had the token said no.
    Declined,
    /// The organization took it back.
    Revoked,
    /// The deadline passed.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Accepted, Self::Declined, Self::Revoked, Self::Expired];

    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Accepted => "ACCEPTED",
            Self::Declined => "DECLINED",
            Self::Revoked => "REVOKED",
            Self::Expired => "EXPIRED",
        }
    }

    /// The state at `now` of an invitation that is stored as this and was sent for `lifetime`.
    #[must_use]
    pub fn at(self, now: Timestamp, expires_at: Timestamp, lifetime: Span) -> Self {
        match self {
            Self::Pending if !lasts(expires_at, lifetime, now) => Self::Expired,
            other => other,
        }
    }

    /// Whether it can be declined; `true` if it already is.
    pub fn decline(self) -> Result<bool, Refusal> {
        match self {
            Self::Pending => Ok(false),
            Self::Declined => Ok(true),
            Self::Accepted => Err(Refusal::InvitationSettled),
            Self::Revoked => Err(Refusal::InvitationRevoked),
            Self::Expired => Err(Refusal::InvitationExpired),
        }
    }

    /// Whether it can be taken back; `true` if it already is.
    pub fn revoke(self) -> Result<bool, Refusal> {
        match self {
            Self::Pending | Self::Expired => Ok(false),
            Self::Revoked => Ok(true),
            Self::Accepted | Self::Declined => Err(Refusal::InvitationSettled),
        }
    }

    /// Whether it can be sent again; `true` if it keeps the seat that it has.
    pub fn resend(self) -> Result<bool, Refusal> {
        match self {
            Self::Pending => Ok(true),
            Self::Expired => Ok(false),
            Self::Revoked => Err(Refusal::InvitationRevoked),
            Self::Accepted | Self::Declined => Err(Refusal::InvitationSettled),
        }
    }
}

/// A text that names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("names no state of an invitation")]
pub struct StateError;

impl FromStr for State {
    type Err = StateError;
    fn from_str(text: &str) -> Result<Self, StateError> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(StateError)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What decides whether somebody may accept an invitation.
#[derive(Clone, Debug)]
pub struct Acceptance<'a> {
    /// Where the invitation is in its life.
    pub state: State,
    /// The case-folded address that was invited.
    pub invited_key: &'a str,
    /// Who accepted it before, if anybody did.
    pub accepted_by: Option<UserId>,
    /// Who wants to accept it.
    pub user: UserId,
    /// That person's case-folded address.
    pub email_key: String,
    /// Whether that address is proven.
    pub email_verified: bool,
    /// Whether that person is a member now.
    pub is_member: bool,
    /// Whether the inviter may still make somebody this.
    pub inviter_may: bool,
}

impl Acceptance<'_> {
    /// Whether the invitation makes the person a member: `true` if exactly this has already happened, so
    /// that nothing is left to do. The address comes first: whoever it does not belong to learns nothing.
    pub fn decide(&self) -> Result<bool, Refusal> {
        if !self.email_verified {
            return Err(Refusal::EmailNotVerified);
        }
        if self.email_key != self.invited_key {
            return Err(Refusal::InvitationEmailMismatch);
        }
        match self.state {
            State::Accepted if self.is_member && self.accepted_by == Some(self.user) => Ok(true),
            State::Accepted | State::Declined => Err(Refusal::InvitationSettled),
            State::Revoked => Err(Refusal::InvitationRevoked),
            State::Expired => Err(Refusal::InvitationExpired),
            State::Pending if self.is_member => Err(Refusal::AlreadyAMember),
            State::Pending if !self.inviter_may => Err(Refusal::InviterNoLongerAuthorized),
            State::Pending => Ok(false),
        }
    }
}

/// How long an invitation can be accepted.
pub fn lifetime(asked: Option<Span>, default: Span) -> Result<Span, LifetimeError> {
    match asked.unwrap_or(default) {
        span if (SHORTEST..=LONGEST).contains(&span) => Ok(span),
        _ => Err(LifetimeError),
    }
}

/// A life that is too short or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be between one hour and 30 days")]
pub struct LifetimeError;

/// How many invitations there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Invitations of one organization that may be pending at once.
    pub pending: u32,
    /// Invitations that one organization may send within 24 hours, resent ones included.
    pub per_day: u32,
    /// The same while the organization is new.
    pub per_day_at_first: u32,
    /// Invitations that one person may send within 24 hours, for whatever organizations.
    pub by_sender_per_day: u32,
    /// Invitations that one address may get within 24 hours, from whatever organizations.
    pub to_address_per_day: u32,
    /// Invitations of new organizations that may be sent within 24 hours from one network address, by whomever.
    pub by_origin_per_day: u32,
}

impl Caps {
    /// Invitations that one address may get within 24 hours from one organization, and from one person: three of five, so that
    /// nobody keeps the others from inviting it. Of one or two that is all of them, so this holds from three on only.
    pub const fn to_address_by_one_per_day(&self) -> u32 {
        // All but two fifths, which are rounded down, so that of few there is one; divided first, so that it fits.
        self.to_address_per_day - self.to_address_per_day / 5 * 2 - self.to_address_per_day % 5 * 2 / 5
    }

    /// The same from all addresses of a network of which one holder may have many: ten of them fill it.
    pub const fn by_network_per_day(&self) -> u32 {
        self.by_origin_per_day.saturating_mul(10)
    }
}

/// What an organization has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Members.
    pub members: u32,
    /// Pending invitations.
    pub pending: u32,
    /// Invitations sent within the last 24 hours.
    pub sent: u32,
    /// How long until the first of the pending ones expires.
    pub until_expiry: Span,
    /// How long until the first of those sent is older than 24 hours.
    pub until_fewer: Span,
    /// Whether the organization is new.
    pub is_new: bool,
}

impl Caps {
    /// Whether one more mail may be sent.
    pub fn send(self, counts: Counts) -> Result<(), Refusal> {
        let most = if counts.is_new { self.per_day.min(self.per_day_at_first) } else { self.per_day };
        if counts.sent >= most {
            return Err(Refusal::TooManyToday { retry_after: counts.until_fewer });
        }
        Ok(())
    }

    /// Whether one more invitation may become pending and take a seat.
    pub fn reserve(self, counts: Counts, seats: u32) -> Result<(), Refusal> {
        if counts.pending >= self.pending {
            return Err(Refusal::TooManyPending { limit: self.pending, retry_after: counts.until_expiry });
        }
        let used = counts.members.saturating_add(counts.pending);
        if used >= seats {
            return Err(Refusal::SeatLimitReached { seats, used });
        }
        Ok(())
    }
}

/// Whether a reservation can become a membership. It holds a seat already, so only a plan that has shrunk
/// below the head count stands in the way.
pub fn convert(members: u32, seats: u32) -> Result<(), Refusal> {
    if members >= seats {
        return Err(Refusal::SeatLimitReached { seats, used: members });
    }
    Ok(())
}

/// Whether more is taken than the plan has seats for. Nobody is thrown out; but nobody is added, either.
pub fn over_limit(taken: u32, seats: Option<u32>) -> bool {
    seats.is_some_and(|seats| taken > seats)
}

#[cfg(test)]
#[path = "invitation_tests.rs"]
mod tests;
