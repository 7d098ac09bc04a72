//! What the other services' events do here. Identity's: names are remembered and who is suspended, and whoever deleted the
//! account is seen off.
//! Billing's: what a plan allows is remembered, what is used of limits and of the allowance is mailed to those who manage
//! billing, that a top-up was switched off to whoever had switched it on, and invoices to whom they are for. Both services':
//! what they did is written into the audit log, which lists everybody's.

use bursar_db::{DbError, Tx};
use bursar_events::{Consumer, Unapplied, audit};
use bursar_id::{OwnerId, UserId};
use bursar_jobs::Jobs;
use bursar_members::{projection, standings};
use bursar_notices::Issued;
use bursar_proto::event::v1::Event;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event_type;
use bursar_time::Clock;

use crate::domain::departure::Departure;
use crate::store::{seats, users};
use crate::usecase::seats::{has_no_plan, word};
use crate::usecase::{Organization, departures};

/// Applies identity's events to organization's store.
#[derive(Clone, Debug)]
pub struct FromIdentity {
    /// By which deletions are dated.
    pub clock: Clock,
    /// Where departures are enqueued.
    pub jobs: Jobs,
}

impl Consumer for FromIdentity {
    const NAME: &'static str = "organization's people";
    /// A name is told whole, and so is whether somebody is suspended.
    const WHOLE: &'static [&'static str] = &[event_type::USER_UPDATED, event_type::USER_STANDING_CHANGED];

    fn types() -> &'static [&'static str] {
        &[
            event_type::USER_UPDATED,
            event_type::USER_DELETED,
            event_type::USER_STAYING,
            event_type::USER_STANDING_CHANGED,
            event_type::AUDIT_RECORDED,
        ]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        match &event.payload {
            Some(Payload::UserUpdated(updated)) => {
                users::rename(tx, user(&updated.user_id)?, &updated.display_name).await?;
            }
            Some(Payload::AuditRecorded(told)) => audit::learn(tx, told).await?,
            Some(Payload::UserDeleted(deleted)) => {
                let user = user(&deleted.user_id)?;
                departures::depart(tx, &self.jobs, user, self.clock.now()).await?;
                standings::forget(tx, OwnerId::User(user)).await?;
            }
            Some(Payload::UserStaying(staying)) => {
                let over = Departure { incarnation: event.incarnation, number: staying.number };
                departures::stay(tx, user(&staying.user_id)?, over).await?;
            }
            Some(Payload::UserStandingChanged(_)) => {
                projection::learn_person(tx, event).await?;
            }
            None if Self::types().contains(&event.r#type.as_str()) => {
                return Err(Unapplied::unreadable("it has no payload known here"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whom a restored identity does not know any more stays known here, as what they made does: nothing tells them from
    /// people who signed up since the backup and are told of later. Departures it begins anew, or knows nothing of. Who is
    /// suspended it knows.
    async fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
        users::stay_before(tx, incarnation).await?;
        projection::forget_people_before(tx, incarnation).await
    }

    fn applied(&self) {
        self.jobs.wake();
    }
}

/// Applies billing's events to organization's store.
#[derive(Clone, Default)]
pub struct FromBilling {
    /// By whom alerts are mailed; without, nobody is.
    pub mailing: Option<Organization>,
}

impl Consumer for FromBilling {
    const NAME: &'static str = "organization's audit log and seats";
    /// What a plan allows is told whole.
    const WHOLE: &'static [&'static str] = &[event_type::SUBSCRIPTION_CHANGED];

    fn types() -> &'static [&'static str] {
        &[
            event_type::AUDIT_RECORDED,
            event_type::SUBSCRIPTION_CHANGED,
            event_type::LIMIT_ALERT,
            event_type::ALLOWANCE_ALERT,
            event_type::TOP_UP_STOPPED,
            event_type::INVOICE_ISSUED,
        ]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        match &event.payload {
            Some(Payload::AuditRecorded(told)) => audit::learn(tx, told).await,
            Some(Payload::SubscriptionChanged(changed)) => {
                let owner: OwnerId = changed.owner.parse().map_err(Unapplied::unreadable)?;
                // A personal plan has no seats that matter here.
                let Some(organization) = owner.organization() else { return Ok(()) };
                if has_no_plan(tx, organization).await? {
                    return Ok(());
                }
                let told = word(changed).map_err(Unapplied::unreadable)?;
                Ok(seats::tell(tx, organization, &told, event.incarnation).await?)
            }
            Some(Payload::LimitAlert(alert)) => {
                let owner: OwnerId = alert.owner.parse().map_err(Unapplied::unreadable)?;
                let (Some(organization), Some(mailing)) = (owner.organization(), &self.mailing) else { return Ok(()) };
                Ok(mailing.mail_alert(tx, organization, alert).await?)
            }
            Some(Payload::AllowanceAlert(alert)) => {
                let owner: OwnerId = alert.owner.parse().map_err(Unapplied::unreadable)?;
                let (Some(organization), Some(mailing)) = (owner.organization(), &self.mailing) else { return Ok(()) };
                Ok(mailing.mail_allowance_alert(tx, organization, alert).await?)
            }
            Some(Payload::TopUpStopped(stopped)) => {
                let owner: OwnerId = stopped.owner.parse().map_err(Unapplied::unreadable)?;
                // Of a person's own account identity tells the person.
                let (Some(organization), Some(mailing)) = (owner.organization(), &self.mailing) else { return Ok(()) };
                Ok(mailing.mail_stopped_top_up(tx, organization, stopped).await?)
            }
            Some(Payload::InvoiceIssued(issued)) => {
                let owner: OwnerId = issued.owner.parse().map_err(Unapplied::unreadable)?;
                let (Some(organization), Some(mailing)) = (owner.organization(), &self.mailing) else { return Ok(()) };
                let issued = Issued { owner: organization, invoice: issued.invoice_id.clone() };
                Ok(bursar_notices::note(mailing, tx, &issued).await?)
            }
            Some(_) => Ok(()),
            None => Err(Unapplied::unreadable("it has no payload known here")),
        }
    }

    /// Mail goes out as soon as it is queued.
    fn applied(&self) {
        if let Some(mailing) = &self.mailing {
            mailing.parts().jobs.wake();
        }
    }

    /// What was done stays done, whatever a backup knows of it. Whose plan it does not tell of is on the free one; what that
    /// allows is known again when somebody asks.
    async fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
        seats::forget_before(tx, incarnation).await
    }
}

fn user(text: &str) -> Result<UserId, Unapplied> {
    text.parse().map_err(Unapplied::unreadable)
}
