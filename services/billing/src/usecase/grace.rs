//! Months that are granted before their payment, where the plan says so (`grant_in_grace`): a renewal that is not paid at once
//! takes nothing from whoever works.
//!
//! | when | what |
//! |---|---|
//! | a due month was asked for and is not paid | its allowance is granted from the boundary on, by its own name, with its origin and what is to be paid for it, and no payment |
//! | its payment comes | what was granted is the payment's lot: refunds and disputes take it back; nothing is granted any more |
//! | it comes no more: the last attempt fails, or the subscription is canceled | what is left is void, and nothing is owed |
//!
//! Which payment it became the lot of stands in that payment's row: the ledger's entry was written before. Whoever looks for it
//! has the account's lock, and has moved the subscription first or finds it where it was: so it is granted once, and found by
//! whoever begins or ends the month.

use std::collections::{BTreeSet, HashMap};
use std::slice;

use bursar_db::{DbError, Tx};
use bursar_id::{LotId, PaymentId};

use super::allowances;
use super::cashier::Cashier;
use super::dues::thing_of_month;
use super::fulfilment::keep_alerts;
use super::rollovers::lots_of_month;
use crate::domain::{Actor, Command, Lot, Note, Payment, Request, Subscription, VoidCommand};
use crate::error::Error;
use crate::lane::Job;
use crate::store::{accounts, payments, settings, subscriptions};

/// What has paid for a lot. One of a month that was granted before its payment does not say so itself.
pub(super) async fn paid_with(tx: &mut Tx, lot: &Lot) -> Result<Option<PaymentId>, DbError> {
    if lot.is_granted_early() {
        return Ok(paid_late_of(tx, slice::from_ref(lot)).await?.get(&lot.id).map(|it| it.id));
    }
    Ok(lot.terms.origin.payment)
}

/// What has paid for those of some lots that were granted before their payment, where that has come, by the lot: all of them are
/// asked for at once.
pub(super) async fn paid_late_of(tx: &mut Tx, lots: &[Lot]) -> Result<HashMap<LotId, Payment>, DbError> {
    let early = lots.iter().filter(|lot| lot.is_granted_early());
    let months = early.filter_map(|lot| lot.terms.origin.subscription);
    let things: BTreeSet<_> = months.map(|(subscription, number)| thing_of_month(subscription, number)).collect();
    if things.is_empty() {
        return Ok(HashMap::new());
    }
    let last = payments::last_attempts(tx, &Vec::from_iter(things)).await?;
    Ok(last.into_iter().filter_map(|it| Some((it.lot?, it))).collect())
}

impl Cashier {
    /// Grants the allowance of the month that follows the one that a subscription is in, which is over, before that is paid. Not
    /// where it is granted already, or somebody else has begun the month or ended the subscription.
    pub(super) async fn grant_in_grace(&self, tx: &mut Tx, from: &Subscription) -> Result<(), Error> {
        let next = from.renewed(String::new());
        let is_over = next.month.end <= self.till.clock.now();
        if !next.grant_in_grace || next.credits.is_zero() || is_over {
            return Ok(());
        }
        let account = match self.till.demand_sale_to(tx, from.owner).await {
            // Nobody gets for nothing what may not be sold.
            Err(Error::Refused(_)) => return Ok(()),
            locked => locked?,
        };
        let live = subscriptions::live(tx, from.owner).await?;
        let stays = live.is_some_and(|it| (it.id, it.month.number) == (from.id, from.month.number));
        if !stays || self.in_grace(tx, from).await?.is_some() {
            return Ok(());
        }
        let settings = settings::of(tx, from.owner).await?;
        keep_alerts(tx, (from.owner, &account), &settings).await?;
        let name = format!("{}:{}:grace", next.id, next.month.number);
        let request = self.named(&name, Command::Grant(self.grant_of_month(&next, None)))?;
        match self.booked(tx, &next, request).await {
            // Without room for one more lot: it comes with its payment, or with the next attempt.
            Err(Error::Refused(refusal)) => {
                tracing::warn!(subscription = %from.id, %refusal, "a month cannot be granted before its payment");
                Ok(())
            }
            booked => booked.map(drop),
        }
    }

    /// What was granted of the month that follows the one that a subscription is in, before its payment. The account is locked.
    pub(super) async fn in_grace(&self, tx: &mut Tx, from: &Subscription) -> Result<Option<Lot>, Error> {
        if !from.may_be_in_grace() {
            return Ok(None);
        }
        let lots = lots_of_month(tx, &from.renewed(String::new())).await?;
        Ok(lots.into_iter().find(|lot| lot.is_granted_early() && !lot.is_rolled_over()))
    }

    /// Takes away what is left of it: its payment comes no more. What was spent of it is owed by nobody.
    pub(super) async fn void_grace(&self, tx: &mut Tx, from: &Subscription) -> Result<(), Error> {
        if !from.may_be_in_grace() {
            return Ok(());
        }
        accounts::lock(tx, &[from.owner]).await?;
        let Some(lot) = self.in_grace(tx, from).await? else { return Ok(()) };
        let command = Command::Void(VoidCommand { lot: lot.id, note: Note::parse("not paid").ok() });
        let request = Request::new(None, self.entropy.bytes(), command);
        let job = Job { owner: from.owner, actor: Actor::Job, request };
        allowances::void_rest(&self.till, tx, &job).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
