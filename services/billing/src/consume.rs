//! What organization's events do here: memberships are remembered, and an organization's account opens
//! with it.

use bursar_db::{DbError, Tx};
use bursar_events::Consumer;
use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, MembershipChanged, OrganizationCreated};
use bursar_proto::event_type;
use bursar_rpc::convert;
use bursar_time::Clock;

use crate::domain::Membership;
use crate::store::{accounts, members};
use crate::usecase::access::Access;

/// Applies organization's events to billing's store.
pub(crate) struct FromOrganization {
    pub(crate) clock: Clock,
    pub(crate) access: Access,
}

impl Consumer for FromOrganization {
    const NAME: &'static str = "billing's memberships and accounts";

    fn types() -> &'static [&'static str] {
        &[event_type::ORGANIZATION_CREATED, event_type::MEMBERSHIP_CHANGED]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), DbError> {
        match &event.payload {
            Some(Payload::OrganizationCreated(created)) => self.open(tx, created).await,
            Some(Payload::MembershipChanged(changed)) => learn(tx, changed).await,
            _ => Ok(()),
        }
    }

    fn applied(&self) {
        self.access.announce();
    }
}

impl FromOrganization {
    async fn open(&self, tx: &mut Tx, created: &OrganizationCreated) -> Result<(), DbError> {
        let organization: OrganizationId = read(&created.organization_id)?;
        let now = self.clock.now();
        let month = now.start_of_month();
        let period = (month, month.add_months_anchored(1));
        accounts::open(tx, &[OwnerId::Organization(organization)], now, period).await
    }
}

async fn learn(tx: &mut Tx, changed: &MembershipChanged) -> Result<(), DbError> {
    let organization: OrganizationId = read(&changed.organization_id)?;
    let user: UserId = read(&changed.user_id)?;
    let role = convert::optional_role(changed.role).map_err(|error| malformed(&error))?;
    members::save(tx, organization, user, Membership { role, version: changed.version }).await
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, DbError> {
    text.parse().map_err(|error| malformed(&error))
}

fn malformed(error: &dyn std::fmt::Display) -> DbError {
    DbError::corrupt(format!("an event of organization is malformed: {error}"))
}
