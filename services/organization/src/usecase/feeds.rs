//! How far the last word of another service goes: the one place where organization decides that.
//!
//! - **Of people** identity tells: who is gone, who is suspended ([`OF_PEOPLE`]). What identity has told of that and nobody here
//!   could read ([`bursar_events::aside`]) may be just that. So of whom such an event is set aside nobody knows here whether they
//!   still may: that person alone changes nothing, takes no content home, comes to own or to answer for nothing, is written
//!   for by nobody and makes nobody an Admin or an owner by an invitation or a nomination of before
//!   ([`Organization::demand_certain`]), until the event is read, made up for or dropped. How long ago identity was
//!   heard does not matter: who leaves does so by a call that asks here, and a token lives for minutes. Nor does what else
//!   identity tells: what somebody is called, or did.
//! - **Of plans** billing tells: how many seats there are. Where billing was not heard for `max_staleness`, or ever, or
//!   something that it told of the organization's plan ([`OF_PLANS`]) could not be read, its last word serves nobody who wants a seat: billing is
//!   asked, and where it does not answer the seat is refused ([`Organization::is_plan_old`]). Where it never told anything there
//!   is no last word, and nothing to be old.
//!
//! Whatever rests on neither goes on: reading (an organization is shown by the last word, old or not), what a service does for
//! nobody, declining an invitation, removing people.

use bursar_db::Tx;
use bursar_events::{Feed, aside};
use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_proto::event_type;

use super::Organization;
use crate::Error;

/// The events of identity's that tell whether people are here.
pub(crate) const OF_PEOPLE: &[&str] =
    &[event_type::USER_DELETED, event_type::USER_STAYING, event_type::USER_STANDING_CHANGED];

/// The events of billing's that tell what plans allow.
pub(crate) const OF_PLANS: &[&str] = &[event_type::SUBSCRIPTION_CHANGED];

/// What this process has heard of the services that it follows.
#[derive(Clone, Debug)]
pub struct Feeds {
    /// Identity's events.
    pub people: Feed,
    /// Billing's events.
    pub plans: Feed,
}

impl Organization {
    /// Demands that all could be read here that identity told of whether a person is here.
    pub(super) fn demand_certain(&self, user: UserId) -> Result<(), Error> {
        let people = &self.0.feeds.people;
        if people.doubts(OwnerId::User(user)) { Err(Error::FeedStale(people.source())) } else { Ok(()) }
    }

    /// The same by what the store says, for a command: it follows nobody.
    pub(super) async fn demand_certain_in_store(&self, tx: &mut Tx, user: UserId) -> Result<(), Error> {
        let source = self.0.feeds.people.source();
        let doubted = aside::concerns(tx, source, OF_PEOPLE, OwnerId::User(user)).await?;
        if doubted { Err(Error::FeedStale(source)) } else { Ok(()) }
    }

    /// Whether what is known of an organization's plan may be out of date.
    pub(super) fn is_plan_old(&self, organization: OrganizationId) -> bool {
        let plans = &self.0.feeds.plans;
        plans.is_stale() || plans.doubts(OwnerId::Organization(organization))
    }
}
