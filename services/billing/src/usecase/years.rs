//! Subscriptions that are paid by the year: how a year begins, and how its months do, which nobody pays a second time.
//!
//! The year's payment has a lot for each month that has begun. What refunds and disputes have taken of it by then they take of
//! each new lot as well, in the same transaction; once all of it is gone for good, nothing is granted any more.

use bursar_db::Tx;

use super::cashier::Cashier;
use super::fulfilment::{Delivered, keep_alerts, lock_holders};
use super::subscriptions::{SubscriptionUseCases, changed};
use crate::domain::{Command, GrantCommand, Month, Origin, PaidLot, Payment, Request, Spender, Subscription, Terms};
use crate::error::Error;
use crate::store::{accounts, payments, settings, years};

/// Begins the next month of a subscription, which is paid for: what it is then; `None` where somebody else was first.
pub(super) async fn go_on(
    subscriptions: &SubscriptionUseCases,
    from: &Subscription,
) -> Result<Option<Subscription>, Error> {
    let till = &subscriptions.till;
    let next = from.gone_on().ok_or(Error::Failed)?;
    let mut tx = till.db.begin().await?;
    // A payment's row is locked first, then the subscription's, then the account's.
    let payment = match from.payment() {
        Some(id) => payments::lock(&mut tx, id).await?,
        None => None,
    };
    if !years::advance(&mut tx, &next, from).await? {
        return Ok(None);
    }
    if let Some(payment) = &payment {
        lock_holders(&mut tx, payment, from.owner).await?;
    }
    let account = till.demand_sale_to(&mut tx, from.owner).await?;
    let settings = settings::of(&mut tx, from.owner).await?;
    keep_alerts(&mut tx, (from.owner, &account), &settings).await?;
    subscriptions.cashier.begin_paid_month(&mut tx, &next, payment).await?;
    tx.commit().await?;
    subscriptions.cashier.jobs.wake();
    Ok(Some(next))
}

impl Cashier {
    /// Grants the allowance of a month that is paid for already, and takes of it what was taken back of its payment.
    async fn begin_paid_month(&self, tx: &mut Tx, of: &Subscription, payment: Option<Payment>) -> Result<(), Error> {
        // Where a plan has no credits, no month of its own begins, as of a plan by the month.
        if payment.as_ref().is_some_and(Payment::is_gone) && !of.credits.is_zero() {
            accounts::lock(tx, &[of.owner]).await?;
            let (anchor, number) = of.counted();
            return Ok(accounts::begin_period(tx, of.owner, anchor, &Month { number, ..of.month }).await?);
        }
        let request = self.paid_month(of, payment.as_ref())?;
        let Some((mut payment, lot)) = payment.zip(self.booked(tx, of, request).await?) else { return Ok(()) };
        payment.months.push(PaidLot::new(of.owner, lot, of.credits));
        self.follow_money(tx, &mut payment).await?;
        Ok(payments::update(tx, &payment).await?)
    }

    /// What grants the allowance of a month that is paid for already, wherever it was when that was paid.
    pub(super) fn paid_month(&self, of: &Subscription, payment: Option<&Payment>) -> Result<Request, Error> {
        if of.credits.is_zero() {
            return Ok(Request::unnamed(Command::Sweep));
        }
        let from = payment.map(|it| it.owner).filter(|owner| *owner != of.owner);
        let month = self.grant_of_month(of, payment.map(|it| it.id));
        let origin = Origin { moved_from: from, ..month.origin };
        self.named(&format!("{}:{}", of.id, of.month.number), Command::Grant(GrantCommand { origin, ..month }))
    }

    /// Has a subscription that was paid by the month begin anew with a year, which a payment is for.
    pub(super) async fn deliver_year(
        &self,
        tx: &mut Tx,
        (live, to): (&Subscription, &Terms),
        payment: &Payment,
        spender: Option<Spender>,
    ) -> Result<Delivered, Error> {
        let new = live.begun_anew(to, payment.id.to_string(), self.till.clock.now());
        if !years::advance(tx, &new, live).await? {
            return Err(Error::ChangeOvertaken);
        }
        let account = self.till.demand_sale_to(tx, payment.owner).await?;
        let lot = self.begin_month(tx, (&new, &account), payment.id, spender).await?;
        Ok((lot, Some(new.paid_period()), vec![changed(&new, &new.plan, new.seats)]))
    }
}

#[cfg(test)]
pub(super) mod tests;
