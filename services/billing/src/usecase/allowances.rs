//! What is left of a month's allowance when its subscription leaves the account, or ends, before the month does.

use bursar_db::{DbError, Tx};
use bursar_id::{LotId, OwnerId};
use bursar_money::Credits;

use super::orders::Till;
use crate::domain::{Lot, Outcome, Refusal, Subscription};
use crate::error::Error;
use crate::lane::{Job, Refused};
use crate::store::lots;

/// The lots at an owner's of what the month that is paid for last included.
pub(super) async fn of_month(tx: &mut Tx, owner: OwnerId, of: &Subscription) -> Result<Vec<Lot>, DbError> {
    let live = lots::live(tx, &[owner]).await?;
    Ok(live.into_iter().map(|(_, lot)| lot).filter(|lot| of.includes(lot)).collect())
}

/// A lot of the owner's, whatever is left of it.
pub(super) async fn find(till: &Till, tx: &mut Tx, owner: OwnerId, lot: LotId) -> Result<Lot, Error> {
    let number = till.batcher.rules().key.seq(owner, lot).ok_or(Error::Failed)?;
    let found = lots::named(tx, &[(owner, number)]).await?;
    found.into_iter().next().map(|(_, lot)| lot).ok_or(Error::Failed)
}

/// Carries out what voids one of them; says how much was left of it. What holds have reserved stays theirs until they end,
/// and what comes back then is void.
pub(super) async fn void_rest(till: &Till, tx: &mut Tx, job: &Job) -> Result<Credits, Error> {
    match till.batcher.apply(tx, job).await? {
        Ok(Outcome::Voided(voided)) => Ok(voided.amount),
        // By the ledger's own time it has expired.
        Err(Refused::Rule(Refusal::LotEmpty)) => Ok(Credits::ZERO),
        Ok(_) => Err(Error::Failed),
        Err(refused) => Err(refused.into()),
    }
}
