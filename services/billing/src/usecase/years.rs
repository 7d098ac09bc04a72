//! Subscriptions that are paid by the year: how a year begins, and how its months do, which nobody pays a second time.
//!
//! The year's payment has a lot for each month that has begun, and so has the payment of each change since, with the credits
//! that this brought and a part of its money (`domain/month_part.rs`). What refunds and disputes have taken of a payment by then
//! they take of each new lot as well, in the same transaction; once all of it is gone for good, nothing is granted for it any
//! more.

use std::collections::BTreeSet;

use bursar_db::Tx;
use bursar_id::PaymentId;

use super::cashier::Cashier;
use super::fulfilment::{Delivered, keep_alerts, lock_holders};
use super::rollovers;
use super::subscriptions::{SubscriptionUseCases, changed};
use crate::domain::{
    Command, GrantCommand, Lot, Month, MonthPart, Origin, PaidLot, Payment, Request, Rules, Spender, Subscription,
    Terms,
};
use crate::error::Error;
use crate::store::{accounts, lots, payments, settings, years};

/// How many payments have lots of their own in each month of a year, the year's own and those of its first changes: an account
/// has room for so many lots. What later changes brought belongs to the year's own.
const MOST_PARTS: usize = 100;

/// What has paid for the months of a year: the year's own payment, and then those of what it was changed to since, as they
/// followed one another, whoever had it then.
struct PaidWith {
    payments: Vec<Payment>,
    /// Whether there are no more of them.
    all: bool,
}

/// Begins the next month of a subscription, which is paid for: what it is then; `None` where somebody else was first.
pub(super) async fn go_on(
    subscriptions: &SubscriptionUseCases,
    from: &Subscription,
) -> Result<Option<Subscription>, Error> {
    go_on_in(subscriptions, from, MOST_PARTS).await
}

/// The same with so many lots at most.
async fn go_on_in(
    subscriptions: &SubscriptionUseCases,
    from: &Subscription,
    most: usize,
) -> Result<Option<Subscription>, Error> {
    let till = &subscriptions.till;
    let next = from.gone_on().ok_or(Error::Failed)?;
    let mut tx = till.db.begin().await?;
    // Payments' rows are locked first, then the subscription's, then the accounts'. Whoever changes the subscription meanwhile
    // has it stand otherwise than it was read.
    let rolling = Box::pin(rollovers::payments_of(&mut tx, from)).await?;
    let (mut paid_with, rolling) = lock_payments(&mut tx, from, most, &rolling).await?;
    if !years::advance(&mut tx, &next, from).await? {
        return Ok(None);
    }
    let holders = paid_with.payments.iter().chain(&rolling).flat_map(Payment::holders).collect();
    lock_holders(&mut tx, holders, from.owner).await?;
    let account = till.demand_sale_to(&mut tx, from.owner).await?;
    let settings = settings::of(&mut tx, from.owner).await?;
    keep_alerts(&mut tx, (from.owner, &account), &settings).await?;
    for noted in Box::pin(subscriptions.cashier.roll_over(&mut tx, (from, &next), rolling)).await? {
        paid_with.payments.iter_mut().filter(|it| it.id == noted.id).for_each(|it| it.clone_from(&noted));
    }
    subscriptions.cashier.begin_paid_month(&mut tx, &next, paid_with).await?;
    tx.commit().await?;
    subscriptions.cashier.jobs.wake();
    Ok(Some(next))
}

/// What has paid for the months of a year, locked: at most so many payments, and of changes the first ones. And beside them what
/// has paid for what rolls over, which is locked with them.
async fn lock_payments(
    tx: &mut Tx,
    of: &Subscription,
    most: usize,
    rolling: &BTreeSet<PaymentId>,
) -> Result<(PaidWith, Vec<Payment>), Error> {
    let Some(own) = of.payment() else {
        let nothing = PaidWith { payments: Vec::new(), all: true };
        return Ok((nothing, rollovers::lock(tx, rolling.clone()).await?));
    };
    let mut changes = BTreeSet::new();
    if of.changes > 0
        && let Some(payment) = payments::get(tx, own).await?
    {
        // One more of each than there may be: then it is known that these are not all.
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        for owner in BTreeSet::from([payment.owner, of.owner]) {
            changes.extend(years::changes_since(tx, owner, (of.id, of.paid_from()), limit).await?);
        }
    }
    let all = changes.len() < most;
    let first = changes.into_iter().take(most.saturating_sub(1));
    // In the order in which whoever moves a subscription locks them.
    let paid: BTreeSet<_> = first.chain([own]).collect();
    let locked = rollovers::lock(tx, paid.union(rolling).copied().collect()).await?;
    let rolls = locked.iter().filter(|it| rolling.contains(&it.id)).cloned().collect();
    let mut payments: Vec<_> = locked.into_iter().filter(|it| paid.contains(&it.id)).collect();
    put_in_order(of, &mut payments);
    Ok((PaidWith { payments, all }, rolls))
}

/// As they were delivered, the year's own first.
fn put_in_order(of: &Subscription, payments: &mut [Payment]) {
    let own = of.payment();
    payments.sort_by_key(|it| (Some(it.id) != own, it.bought.month_after().1));
}

impl Cashier {
    /// Grants the allowance of a month that is paid for already, a lot for each payment that has paid for it, and takes of each
    /// what was taken back of its payment.
    async fn begin_paid_month(&self, tx: &mut Tx, of: &Subscription, paid_with: PaidWith) -> Result<(), Error> {
        let PaidWith { payments: paid_with, all } = paid_with;
        // Where a plan has no credits, no month of its own begins, as of a plan by the month.
        if of.credits.is_zero() {
            return self.booked(tx, of, Request::unnamed(Command::Sweep)).await.map(drop);
        }
        if paid_with.is_empty() {
            let whole = MonthPart { credits: of.credits, paid: of.paid_for_month() };
            let request = self.part_of_month(of, None, whole)?;
            return self.booked(tx, of, request).await.map(drop);
        }
        let room = if paid_with.len() > 1 { self.room(tx, of).await? } else { 1 };
        let parts = MonthPart::of_payments(of, &paid_with, all, room);
        let mut has_begun = false;
        for (mut payment, part) in paid_with.into_iter().zip(parts) {
            let Some(part) = part else { continue };
            let request = self.part_of_month(of, Some(&payment), part)?;
            let Some(lot) = self.booked(tx, of, request).await? else { continue };
            payment.months.push(PaidLot::new(of.owner, lot, part.credits));
            self.follow_money(tx, &mut payment).await?;
            payments::update(tx, &payment).await?;
            has_begun = true;
        }
        if has_begun {
            return Ok(());
        }
        accounts::lock(tx, &[of.owner]).await?;
        let (anchor, number) = of.counted();
        Ok(accounts::begin_period(tx, of.owner, anchor, &Month { number, ..of.month }).await?)
    }

    /// How many lots a month may have. One that finds no room for all of them is as it would be by one payment: better than none.
    async fn room(&self, tx: &mut Tx, of: &Subscription) -> Result<usize, Error> {
        let now = self.till.clock.now();
        // What is over is not there any more when the first of them is granted.
        let stays = |lot: &Lot| !lot.held.is_zero() || lot.terms.expires_at.is_none_or(|end| now < end);
        let taken = lots::live(tx, &[of.owner]).await?.iter().filter(|(_, lot)| stays(lot)).count();
        // Where there is none for the first either, the ledger says so.
        Ok(Rules::MAX_LIVE_LOTS.saturating_sub(taken).max(1))
    }

    /// What grants the allowance of a month that is paid for already by these, nothing of which was taken back: a request for
    /// each that has a lot in it, wherever the subscription was when that was paid.
    pub(super) fn paid_month(
        &self,
        of: &Subscription,
        mut paid_with: Vec<Payment>,
    ) -> Result<Vec<(Payment, Request)>, Error> {
        put_in_order(of, &mut paid_with);
        if of.credits.is_zero() {
            let own = paid_with.into_iter().take(1);
            return Ok(own.map(|it| (it, Request::unnamed(Command::Sweep))).collect());
        }
        let parts = MonthPart::of_payments(of, &paid_with, true, MOST_PARTS);
        let mut requests = Vec::with_capacity(paid_with.len());
        for (payment, part) in paid_with.into_iter().zip(parts) {
            let Some(part) = part else { continue };
            let request = self.part_of_month(of, Some(&payment), part)?;
            requests.push((payment, request));
        }
        Ok(requests)
    }

    /// What grants a part of it, under the month's name or, of a change since, under one that has its payment beside.
    fn part_of_month(&self, of: &Subscription, payment: Option<&Payment>, part: MonthPart) -> Result<Request, Error> {
        let from = payment.map(|it| it.owner).filter(|owner| *owner != of.owner);
        let id = payment.map(|it| it.id);
        let month = self.grant_of_month(of, id);
        let name = match id.filter(|it| of.payment() != Some(*it)) {
            None => format!("{}:{}", of.id, of.month.number),
            Some(change) => format!("{}:{}:{change}", of.id, of.month.number),
        };
        let origin = Origin { moved_from: from, paid: Some(part.paid), ..month.origin };
        self.named(&name, Command::Grant(GrantCommand { amount: part.credits, origin, ..month }))
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
        Ok((lot, Some(new.paid_period()), vec![changed(&new, &self.catalog.current())]))
    }
}

#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod upgrades;
