//! What of a month that is over is there for one more (`domain/rollover.rs`): it is granted in the transaction that begins the
//! next month, which happens once, and before that month's allowance.
//!
//! How much that is stands in the ledger: what lapsed of each lot when its month ended, whoever booked that and when. So it is the
//! same however late a month begins, and where several are made up for, each rolls over into the next. Whatever holds had reserved
//! then lapses with them, as it would without a rollover.
//!
//! Each lot that something is left of goes on as one of its own, with its payment's note of that: what refunds and disputes take
//! of a payment they take of what has rolled over first, which was not spent, as of what has moved to an organization.
//!
//! Only a plan with a rollover pays for all that: of others nothing is asked.

use std::collections::{BTreeSet, HashMap};

use bursar_db::{DbError, Tx};
use bursar_id::{LotId, PaymentId};
use bursar_money::Credits;
use bursar_time::Span;

use super::accounts::first_at;
use super::cashier::Cashier;
use super::entries::readable;
use crate::domain::{
    Command, Entry, Event, GrantCommand, Lot, Note, Origin, Payment, Request, Subscription, Worth, rolled_over,
};
use crate::error::Error;
use crate::store::{accounts, ledger, lots, payments};

/// How many lots or entries are read at a time.
const PAGE: i64 = 500;

/// By how much the clocks of two replicas differ at most, by far.
const SLACK: Span = Span::from_days(1);

/// What has paid for what may roll over of the month that a subscription is in: none where nothing does.
pub(super) async fn payments_of(tx: &mut Tx, of: &Subscription) -> Result<BTreeSet<PaymentId>, DbError> {
    if of.rollover.is_none() {
        return Ok(BTreeSet::new());
    }
    let lots = lots_of_month(tx, of).await?;
    Ok(lots.iter().filter_map(|lot| lot.terms.origin.payment).collect())
}

/// These payments, locked, in the order in which everybody locks several.
pub(super) async fn lock(tx: &mut Tx, ids: BTreeSet<PaymentId>) -> Result<Vec<Payment>, DbError> {
    let mut locked = Vec::with_capacity(ids.len());
    for id in ids {
        locked.extend(payments::lock(tx, id).await?);
    }
    Ok(locked)
}

impl Cashier {
    /// Grants what of the month that is over is there for the one that follows. `paid_with` has paid for that, and is locked: gives
    /// those of which something has rolled over, as they are then. The subscription has been moved on, and the account is locked.
    pub(super) async fn roll_over(
        &self,
        tx: &mut Tx,
        (from, next): (&Subscription, &Subscription),
        paid_with: Vec<Payment>,
    ) -> Result<Vec<Payment>, Error> {
        let Some(cap) = from.rollover else { return Ok(Vec::new()) };
        // What has lapsed is booked, if nobody has come since.
        self.booked(tx, from, Request::unnamed(Command::Sweep)).await?;
        let lapsed = lapsed(tx, from).await?;
        let mut rolled = HashMap::new();
        // The newest last: so they are spent, and lapse, in the order in which they were paid for.
        for (lot, credits) in rolled_over(cap, lapsed).into_iter().rev() {
            let request = self.rolling((from, next), &lot, credits)?;
            let new = self.booked(tx, next, request).await?.ok_or(Error::Failed)?;
            rolled.insert(lot.id, (new, credits));
        }
        let mut noted = Vec::new();
        for mut payment in paid_with {
            let mut lots = payment.lots();
            let mut goes_on = false;
            for lot in &mut lots {
                if let Some((new, credits)) = rolled.get(&lot.present()) {
                    lot.go_on((next.owner, *new), *credits, Credits::ZERO);
                    goes_on = true;
                }
            }
            if goes_on {
                payment.note_lots(lots);
                payments::update(tx, &payment).await?;
                noted.push(payment);
            }
        }
        Ok(noted)
    }

    /// What grants so many credits of a lot for one more month, under a name that they alone have.
    fn rolling(
        &self,
        (from, next): (&Subscription, &Subscription),
        lot: &Lot,
        credits: Credits,
    ) -> Result<Request, Error> {
        let (terms, number) = (&lot.terms, next.month.number);
        let along = |paid| Worth::moving_along(paid, lot.granted.micro(), credits.micro());
        let paid = terms.origin.paid.map(along);
        let command = Command::Grant(GrantCommand {
            amount: credits,
            source: terms.source,
            priority: terms.priority,
            scope: terms.scope.clone(),
            effective_at: Some(from.month.start),
            expires_at: Some(next.month.end),
            origin: Origin { subscription: Some((next.id, number)), paid, ..terms.origin },
            note: Note::parse("rolled over").ok(),
            begins: None,
        });
        self.named(&format!("{}:{number}:rollover:{}", next.id, lot.id), command)
    }
}

/// The lots of what the month includes that a subscription is in, whatever is left of them, the newest first.
async fn lots_of_month(tx: &mut Tx, of: &Subscription) -> Result<Vec<Lot>, DbError> {
    // None of them was granted before the month began, by whichever clock.
    let since = of.month.start.saturating_sub(SLACK).as_millis();
    let (mut found, mut before) = (Vec::new(), i64::MAX);
    loop {
        let page = lots::page(tx, of.owner, before, PAGE).await?;
        let oldest = page.last().map(|lot| (lot.number, lot.id.timestamp_millis()));
        found.extend(page.into_iter().filter(|lot| of.includes_now(lot)));
        let Some((number, _)) = oldest.filter(|(_, granted)| *granted >= since) else { return Ok(found) };
        before = i64::try_from(number).unwrap_or(i64::MAX);
    }
}

/// How much of each of a month's lots lapsed when it ended, the newest first. What came to nothing later had been held then, or
/// spent.
async fn lapsed(tx: &mut Tx, of: &Subscription) -> Result<Vec<(Lot, Credits)>, Error> {
    let mut lots = lots_of_month(tx, of).await?;
    lots.retain(|lot| !lot.expired.is_zero());
    let mut known: HashMap<LotId, Credits> = HashMap::new();
    // One that was granted when its month was over lapsed with the next entry.
    let next: Vec<_> = lots.iter().map(|lot| (of.owner, lot.number.saturating_add(1))).collect();
    if !next.is_empty() {
        known.extend(ledger::by_seq(tx, &next).await?.iter().filter_map(|(_, entry)| lapse(entry)));
    }
    if lots.iter().any(|lot| !known.contains_key(&lot.id)) {
        at_the_boundary(tx, of, &mut known).await?;
    }
    Ok(lots.into_iter().filter_map(|lot| known.get(&lot.id).copied().map(|it| (lot, it))).collect())
}

/// Notes what lapsed when a month ended: before anything was booked after that.
async fn at_the_boundary(tx: &mut Tx, of: &Subscription, known: &mut HashMap<LotId, Credits>) -> Result<(), Error> {
    let (owner, end) = (of.owner, of.month.end);
    let Some(account) = accounts::find(tx, owner).await? else { return Ok(()) };
    let mut last = first_at(tx, owner, account.head.seq, end).await?.saturating_sub(1);
    loop {
        let rows = ledger::after(tx, owner, i64::try_from(last).unwrap_or(i64::MAX), PAGE).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for entry in readable(rows)? {
            if entry.at > end {
                return Ok(());
            }
            last = entry.seq;
            known.extend(lapse(&entry));
        }
    }
}

/// Of which lot an entry says how much has lapsed, and how much.
fn lapse(entry: &Entry) -> Option<(LotId, Credits)> {
    match &entry.event {
        Event::Expire { lot } => Some((*lot, entry.amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
