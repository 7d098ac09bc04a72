//! Mails to people whose own automatic top-up was switched off, when billing tells so.

use bursar_db::{DbError, Tx};
use bursar_id::UserId;
use bursar_members::policies;
use bursar_proto::event::v1::TopUpStopped;

use super::{Identity, mails};
use crate::store::users;

impl Identity {
    /// Mails it to the person, in the transaction that takes note of its event. Nobody is told who has not proven the address,
    /// or is about to go. It is switched on again by hand each time, so nobody is told often.
    pub(crate) async fn mail_stopped_top_up(
        &self,
        tx: &mut Tx,
        user: UserId,
        stopped: &TopUpStopped,
    ) -> Result<(), DbError> {
        let Some(user) = users::by_id(tx, user).await? else { return Ok(()) };
        if user.email_verified_at.is_none() || user.leaving_since.is_some() {
            return Ok(());
        }
        // A person's own account goes by the deployment's policies.
        let unit = policies::of(tx, &[]).await?.deployment().unwrap_or_default().credit_unit;
        let mail = mails::top_up_stopped(&user.email, stopped, unit, &self.0.config);
        bursar_mail::queue(&self.0.jobs, tx, self.0.clock.now(), &mail).await
    }
}
