//! What organization's events do here: memberships are remembered, and whoever creates an organization is
//! moved into it.

use bursar_db::{DbError, Tx};
use bursar_events::Consumer;
use bursar_id::{OrganizationId, SessionId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, MembershipChanged, OrganizationCreated};
use bursar_proto::event_type;
use bursar_rpc::convert;

use crate::domain::membership::Membership;
use crate::usecase::news;

/// Applies organization's events to identity's store.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromOrganization;

impl Consumer for FromOrganization {
    const NAME: &'static str = "identity's memberships and contexts";

    fn types() -> &'static [&'static str] {
        &[event_type::ORGANIZATION_CREATED, event_type::MEMBERSHIP_CHANGED]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), DbError> {
        match &event.payload {
            Some(Payload::OrganizationCreated(created)) => enter(tx, created).await,
            Some(Payload::MembershipChanged(changed)) => learn(tx, changed).await,
            _ => Ok(()),
        }
    }
}

async fn enter(tx: &mut Tx, created: &OrganizationCreated) -> Result<(), DbError> {
    if created.created_by_session_id.is_empty() {
        return Ok(());
    }
    let organization: OrganizationId = read(&created.organization_id)?;
    let owner: UserId = read(&created.owner_user_id)?;
    let session: SessionId = read(&created.created_by_session_id)?;
    news::organization_created(tx, organization, owner, session).await
}

async fn learn(tx: &mut Tx, changed: &MembershipChanged) -> Result<(), DbError> {
    let organization: OrganizationId = read(&changed.organization_id)?;
    let user: UserId = read(&changed.user_id)?;
    let role = convert::optional_role(changed.role).map_err(|error| malformed(&error))?;
    let version = changed.version;
    news::membership_changed(tx, user, organization, Membership { role, version }).await
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, DbError> {
    text.parse().map_err(|error| malformed(&error))
}

fn malformed(error: &dyn std::fmt::Display) -> DbError {
    DbError::corrupt(format!("an event of organization is malformed: {error}"))
}
