//! Mails to people about their own accounts, when billing tells that so much of a limit or of the allowance is used, or that the
//! automatic top-up was switched off. They go to an address that was proven, and to nobody who is about to go.

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, UserId};
use bursar_members::{CreditUnit, policies};
use bursar_notices::{Addressee, Alert, LimitMail, More, Reader, Whose, allowance_alert, limit_alert, top_up_stopped};
use bursar_proto::event::v1::{AllowanceAlert, LimitAlert, TopUpStopped};
use bursar_rpc::convert::{optional_timestamp, required_timestamp};
use bursar_time::Timestamp;

use super::Identity;
use super::attempts::Bucket;
use crate::store::users::{self, UserRow};

impl Identity {
    /// Mails that so much of a limit is used, in the transaction that takes note of its event. Of a window that is over nobody
    /// needs to hear.
    pub(crate) async fn mail_limit_alert(&self, tx: &mut Tx, user: UserId, alert: &LimitAlert) -> Result<(), DbError> {
        let now = self.now();
        let Some(percent) = alert.reached(now) else { return Ok(()) };
        let Some(email) = proven(tx, user).await? else { return Ok(()) };
        let began = required_timestamp(alert.starts_at).map_or(0, Timestamp::as_micros);
        // A limit that was set anew is another one, as far as its reader cares.
        let crossing = format!("{}:{}:{began}:{}:{percent}", alert.limit_id, alert.member, alert.amount);
        let Some(more) = due(tx, &crossing, Bucket::LimitAlerts(user), now).await? else { return Ok(()) };
        let (addressee, unit) = (own(email), credit_unit(tx).await?);
        let about = LimitMail { alert, member: None, sees: true, more };
        let mail = limit_alert(self.reader(&addressee, unit), &about);
        bursar_mail::queue_bulk(&self.0.jobs, tx, now, &mail, OwnerId::User(user)).await
    }

    /// Mails that so much of the period's allowance is used, likewise.
    pub(crate) async fn mail_allowance_alert(
        &self,
        tx: &mut Tx,
        user: UserId,
        alert: &AllowanceAlert,
    ) -> Result<(), DbError> {
        let now = self.now();
        let Some(percent) = alert.reached(now) else { return Ok(()) };
        let Some(email) = proven(tx, user).await? else { return Ok(()) };
        let ends = required_timestamp(alert.period_ends_at).map_or(0, Timestamp::as_micros);
        let crossing = format!("{user}:{ends}:{}:{percent}", alert.granted);
        let Some(more) = due(tx, &crossing, Bucket::AllowanceAlerts(user), now).await? else { return Ok(()) };
        let (addressee, unit) = (own(email), credit_unit(tx).await?);
        let mail = allowance_alert(self.reader(&addressee, unit), alert, more);
        bursar_mail::queue_bulk(&self.0.jobs, tx, now, &mail, OwnerId::User(user)).await
    }

    /// Mails that the top-up was switched off, in the transaction that takes note of its event, which may be told again. It is
    /// switched on again by hand each time, so nobody is told often.
    pub(crate) async fn mail_stopped_top_up(
        &self,
        tx: &mut Tx,
        user: UserId,
        stopped: &TopUpStopped,
    ) -> Result<(), DbError> {
        let now = self.now();
        let Some(email) = proven(tx, user).await? else { return Ok(()) };
        // One that does not say when it was is taken for another one.
        if let Some(at) = optional_timestamp(stopped.at).ok().flatten()
            && !Bucket::StoppedTopUp(user, at).fits(tx, now).await?
        {
            return Ok(());
        }
        let (addressee, unit) = (own(email), credit_unit(tx).await?);
        let mail = top_up_stopped(self.reader(&addressee, unit), stopped);
        bursar_mail::queue(&self.0.jobs, tx, now, &mail, OwnerId::User(user)).await
    }

    fn reader<'a>(&'a self, addressee: &'a Addressee, unit: CreditUnit) -> Reader<'a> {
        Reader { addressee, product: &self.0.config.product, unit }
    }
}

/// The address of somebody who may be told of the own account. Nobody is who has not proven the address, or is about to go.
pub(super) async fn proven(tx: &mut Tx, user: UserId) -> Result<Option<String>, DbError> {
    Ok(told(users::by_id(tx, user).await?))
}

/// The same; nobody ends the account until the transaction has ended.
pub(super) async fn proven_and_held(tx: &mut Tx, user: UserId) -> Result<Option<String>, DbError> {
    Ok(told(users::by_id_locked(tx, user).await?))
}

fn told(user: Option<UserRow>) -> Option<String> {
    let user = user.filter(|user| user.email_verified_at.is_some() && user.leaving_since.is_none());
    user.map(|user| user.email)
}

fn own(email: String) -> Addressee {
    Addressee { to: email, whose: Whose::Own }
}

/// What credits are called: a person's own account goes by the deployment's policies.
async fn credit_unit(tx: &mut Tx) -> Result<CreditUnit, DbError> {
    Ok(policies::of(tx, &[]).await?.deployment().unwrap_or_default().credit_unit)
}

/// Whether more is mailed, if what was reached is to be: not if it was within a day, nor if it would be one too many of these. An
/// event may be told again, and billing tells anew when less was used meanwhile.
async fn due(tx: &mut Tx, crossing: &str, all: Bucket<'_>, now: Timestamp) -> Result<Option<More>, DbError> {
    let this = Bucket::Alert(crossing);
    if !this.fits(tx, now).await? {
        return Ok(None);
    }
    if !all.fits(tx, now).await? {
        // It is not mailed, so it is not remembered as if it were.
        this.give_back(tx).await?;
        return Ok(None);
    }
    // From time to time there is room for one.
    Ok(Some(if all.has_room(tx, now).await? { More::Mailed } else { More::Fewer }))
}
