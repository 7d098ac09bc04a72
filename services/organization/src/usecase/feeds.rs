//! How far the last word of another service goes: the one place where organization decides that.
//!
//! - **Of people** identity tells: who is gone, who is suspended. What identity has told and nobody here could read
//!   ([`bursar_events::aside`]) may be just that. So of whom something is set aside nobody knows here whether they still may:
//!   that person alone changes nothing, takes no content home, comes to own or to answer for nothing and is written for by
//!   nobody ([`Organization::demand_certain`]), until the event is read, made up for or dropped. How long ago identity was
//!   heard does not matter: who leaves does so by a call that asks here, and a token lives for minutes.
//! - **Of plans** billing tells: how many seats there are. Where billing was not heard for `max_staleness`, or ever, or
//!   something that it told of the organization could not be read, its last word serves nobody who wants a seat: billing is
//!   asked, and where it does not answer the seat is refused ([`Organization::is_plan_old`]). Where it never told anything there
//!   is no last word, and nothing to be old.
//!
//! Whatever rests on neither goes on: reading (an organization is shown by the last word, old or not), what a service does for
//! nobody, declining an invitation, removing people.

use bursar_events::Feed;
use bursar_id::{OrganizationId, OwnerId, UserId};

use super::Organization;
use crate::Error;

/// What this process has heard of the services that it follows.
#[derive(Clone, Debug)]
pub struct Feeds {
    /// Identity's events.
    pub people: Feed,
    /// Billing's events.
    pub plans: Feed,
}

impl Organization {
    /// Demands that all that identity told of a person could be read here.
    pub(super) fn demand_certain(&self, user: UserId) -> Result<(), Error> {
        let people = &self.0.feeds.people;
        if people.doubts(OwnerId::User(user)) { Err(Error::FeedStale(people.source())) } else { Ok(()) }
    }

    /// Whether what is known of an organization's plan may be out of date.
    pub(super) fn is_plan_old(&self, organization: OrganizationId) -> bool {
        let plans = &self.0.feeds.plans;
        plans.is_stale() || plans.doubts(OwnerId::Organization(organization))
    }
}
