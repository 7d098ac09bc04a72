//! What other services' events do here. Organization's: memberships and policies are remembered, and the branch that creates
//! an organization is moved into it. Billing's: what is used of the limits and the allowance of a person's own
//! account is mailed to the person, that its top-up was switched off, too, and invoices to whom they are for.

use bursar_db::{DbError, Tx};
use bursar_events::{Consumer, Unapplied};
use bursar_id::{OrganizationId, OwnerId, SessionId, UserId};
use bursar_members::{Members, projection};
use bursar_notices::Issued;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, OrganizationCreated};
use bursar_proto::event_type;

use crate::usecase::{Identity, news};

/// Applies organization's events to identity's store.
#[derive(Clone, Debug)]
pub struct FromOrganization {
    /// Told of each event that was applied.
    pub members: Members,
}

impl Consumer for FromOrganization {
    const NAME: &'static str = "identity's memberships and contexts";
    const WHOLE: &'static [&'static str] = &projection::WHOLE;

    fn types() -> &'static [&'static str] {
        const TYPES: [&str; 5] = {
            let [memberships, policies, standings, deployment] = projection::TYPES;
            [event_type::ORGANIZATION_CREATED, memberships, policies, standings, deployment]
        };
        &TYPES
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        match &event.payload {
            Some(Payload::OrganizationCreated(created)) => enter(tx, created).await,
            None if event.r#type == event_type::ORGANIZATION_CREATED => Err(Unapplied::unreadable("it has no payload")),
            _ => projection::learn(tx, event).await.map(drop),
        }
    }

    async fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
        projection::forget_before(tx, incarnation).await
    }

    fn applied(&self) {
        self.members.announce();
    }
}

/// Applies billing's events to identity's store.
#[derive(Clone)]
pub struct FromBilling {
    /// By whom people are told.
    pub identity: Identity,
}

impl Consumer for FromBilling {
    const NAME: &'static str = "identity's mails about people's own accounts";
    /// Each tells of something that happened.
    const WHOLE: &'static [&'static str] = &[];

    fn types() -> &'static [&'static str] {
        &[event_type::LIMIT_ALERT, event_type::ALLOWANCE_ALERT, event_type::TOP_UP_STOPPED, event_type::INVOICE_ISSUED]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        // Of an organization's organization tells.
        match &event.payload {
            Some(Payload::LimitAlert(alert)) => {
                let owner: OwnerId = alert.owner.parse().map_err(Unapplied::unreadable)?;
                let Some(user) = owner.user() else { return Ok(()) };
                Ok(self.identity.mail_limit_alert(tx, user, alert).await?)
            }
            Some(Payload::AllowanceAlert(alert)) => {
                let owner: OwnerId = alert.owner.parse().map_err(Unapplied::unreadable)?;
                let Some(user) = owner.user() else { return Ok(()) };
                Ok(self.identity.mail_allowance_alert(tx, user, alert).await?)
            }
            Some(Payload::TopUpStopped(stopped)) => {
                let owner: OwnerId = stopped.owner.parse().map_err(Unapplied::unreadable)?;
                let Some(user) = owner.user() else { return Ok(()) };
                Ok(self.identity.mail_stopped_top_up(tx, user, stopped).await?)
            }
            Some(Payload::InvoiceIssued(issued)) => {
                let owner: OwnerId = issued.owner.parse().map_err(Unapplied::unreadable)?;
                let Some(owner) = owner.user() else { return Ok(()) };
                let issued = Issued { owner, invoice: issued.invoice_id.clone() };
                Ok(bursar_notices::note(&self.identity, tx, &issued).await?)
            }
            Some(_) => Ok(()),
            None => Err(Unapplied::unreadable("it has no payload known here")),
        }
    }

    /// What was mailed was mailed.
    async fn forget_before(&self, _tx: &mut Tx, _incarnation: u64) -> Result<(), DbError> {
        Ok(())
    }

    /// Mail goes out as soon as it is queued.
    fn applied(&self) {
        self.identity.parts().jobs.wake();
    }
}

async fn enter(tx: &mut Tx, created: &OrganizationCreated) -> Result<(), Unapplied> {
    if created.created_by_session_id.is_empty() {
        return Ok(());
    }
    let organization: OrganizationId = created.organization_id.parse().map_err(Unapplied::unreadable)?;
    let owner: UserId = created.owner_user_id.parse().map_err(Unapplied::unreadable)?;
    let session: SessionId = created.created_by_session_id.parse().map_err(Unapplied::unreadable)?;
    let branch = match created.created_by_branch.as_str() {
        "" => None,
        text => Some(text.parse().map_err(Unapplied::unreadable)?),
    };
    Ok(news::organization_created(tx, organization, owner, session, branch).await?)
}
