//! Mails to people about their own accounts, when billing tells that the automatic top-up was switched off. They
//! go to an address that was proven, and to nobody who is about to go.

use bursar_db::{DbError, Tx};
use bursar_id::UserId;
use bursar_members::{CreditUnit, policies};
use bursar_notices::{Addressee, Reader, Whose, top_up_stopped};
use bursar_proto::event::v1::TopUpStopped;

use super::Identity;
use crate::store::users;

impl Identity {
    /// Mails that the top-up was switched off, in the transaction that takes note of its event. It is switched on again by hand
    /// each time, so nobody is told often.
    pub(crate) async fn mail_stopped_top_up(
        &self,
        tx: &mut Tx,
        user: UserId,
        stopped: &TopUpStopped,
    ) -> Result<(), DbError> {
        let Some(email) = proven(tx, user).await? else { return Ok(()) };
        let (addressee, unit) = (own(email), credit_unit(tx).await?);
        let mail = top_up_stopped(self.reader(&addressee, unit), stopped);
        bursar_mail::queue(&self.0.jobs, tx, self.now(), &mail).await
    }

    fn reader<'a>(&'a self, addressee: &'a Addressee, unit: CreditUnit) -> Reader<'a> {
        Reader { addressee, product: &self.0.config.product, unit }
    }
}

/// The address of somebody who may be told of the own account. Nobody is who has not proven the address, or is about to go.
pub(super) async fn proven(tx: &mut Tx, user: UserId) -> Result<Option<String>, DbError> {
    let user = users::by_id(tx, user).await?;
    let user = user.filter(|user| user.email_verified_at.is_some() && user.leaving_since.is_none());
    Ok(user.map(|user| user.email))
}

fn own(email: String) -> Addressee {
    Addressee { to: email, whose: Whose::Own }
}

/// What credits are called: a person's own account goes by the deployment's policies.
async fn credit_unit(tx: &mut Tx) -> Result<CreditUnit, DbError> {
    Ok(policies::of(tx, &[]).await?.deployment().unwrap_or_default().credit_unit)
}
