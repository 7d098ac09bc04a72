//! What of a month that is over is there for one more (`domain/rollover.rs`): it is granted in the transaction that begins the
//! next month, which happens once, and before that month's allowance.
//!
//! How much that is stands in the ledger: what lapsed of each lot when its month ended, whoever booked that and when. So it is the
//! same however late a month begins, and where several are made up for, each rolls over into the next. Whatever holds had reserved
//! then lapses with them, as it would without a rollover.
//!
//! Each lot that something is left of goes on as one of its own, with its payment's note of that: what refunds and disputes take
//! of a payment they take of what has rolled over first, which was not spent, as of what has moved to an organization. What an open
//! dispute withholds at the boundary goes on as well and is withheld there, so that a bank gives it back where it can be spent; and
//! of what lapsed there and was taken back before the next month could begin, nothing is left.
//!
//! Only a plan with a rollover pays for all that: of others nothing is asked.

use std::collections::{BTreeSet, HashMap};

use bursar_db::{DbError, Tx};
use bursar_id::{LotId, OwnerId, PaymentId};
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use super::accounts::first_at;
use super::cashier::Cashier;
use super::entries::readable;
use super::fulfilment::plus;
use super::grace;
use crate::domain::{
    Command, Entry, Event, GrantCommand, Lot, Note, Origin, Payment, Purpose, Request, Rules, Subscription, Worth,
    rolled_over,
};
use crate::error::Error;
use crate::store::{accounts, ledger, lots, payments, subscriptions};

/// How many lots or entries are read at a time.
const PAGE: i64 = 500;

/// By how much the clocks of two replicas differ at most, by far.
const SLACK: Span = Span::from_days(1);

/// What has paid for what may roll over of the month that a subscription is in: none where nothing does.
pub(super) async fn payments_of(tx: &mut Tx, of: &Subscription) -> Result<BTreeSet<PaymentId>, DbError> {
    if of.rollover.is_none() {
        return Ok(BTreeSet::new());
    }
    paid_for_month(tx, of).await
}

/// What has paid for the lots of the month that a subscription is in, whatever is left of them: of an earlier month's payment what
/// was rolled over, though its plan may have no rollover any more.
pub(super) async fn paid_for_month(tx: &mut Tx, of: &Subscription) -> Result<BTreeSet<PaymentId>, DbError> {
    let mut paid = BTreeSet::new();
    for lot in lots_of_month(tx, of).await? {
        paid.extend(grace::paid_with(tx, &lot).await?);
    }
    Ok(paid)
}

/// Locks what has paid for what rolls over when this payment begins a month. What has paid for the month before is older, and
/// whoever moves a subscription locks both in their order, so this comes before the payment itself is locked.
pub(super) async fn lock_older(tx: &mut Tx, id: PaymentId, now: Timestamp) -> Result<(), DbError> {
    let Some(payment) = payments::get(tx, id).await? else { return Ok(()) };
    if payment.bought.purpose() != Purpose::Renewal || payment.fulfilled_at.is_some() {
        return Ok(());
    }
    let live = subscriptions::live(tx, payment.owner).await?;
    let Some(over) = live.filter(|it| it.month.end <= now) else { return Ok(()) };
    let older = payments_of(tx, &over).await?.into_iter().filter(|it| *it < id).collect();
    lock(tx, older).await.map(drop)
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
        let withheld: HashMap<LotId, Credits> = paid_with.iter().flat_map(Payment::all_withheld).collect();
        let left = left(tx, from, &withheld).await?;
        // The new month's allowance finds a place in any case.
        let taken = lots::live(tx, &[from.owner]).await?.len().saturating_add(1);
        let room = Rules::MAX_LIVE_LOTS.saturating_sub(taken);
        let mut rolled = HashMap::new();
        // The newest last: so they are spent, and lapse, in the order in which they were paid for.
        for ((lot, lapsed), credits) in rolled_over(cap, room, left).into_iter().rev() {
            let payment = grace::paid_with(tx, &lot).await?;
            let request = self.rolling((from, next), (&lot, payment), credits)?;
            let new = self.booked(tx, next, request).await?.ok_or(Error::Failed)?;
            rolled.insert(lot.id, Rolled { lot: new, credits, lapsed });
        }
        let mut noted = Vec::new();
        for mut payment in paid_with {
            let Some(along) = note(&mut payment, next.owner, &rolled)? else { continue };
            if !along.is_zero() {
                self.follow_money(tx, &mut payment).await?;
            }
            payments::update(tx, &payment).await?;
            noted.push(payment);
        }
        Ok(noted)
    }

    /// What grants so many credits of a lot for one more month, under a name that they alone have.
    fn rolling(
        &self,
        (from, next): (&Subscription, &Subscription),
        (lot, payment): (&Lot, Option<PaymentId>),
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
            origin: Origin { subscription: Some((next.id, number)), payment, paid, ..terms.origin },
            note: Note::parse("rolled over").ok(),
            begins: None,
        });
        self.named(&format!("{}:{number}:rollover:{}", next.id, lot.id), command)
    }
}

/// The lots of what the month includes that a subscription is in, whatever is left of them, the newest first.
pub(super) async fn lots_of_month(tx: &mut Tx, of: &Subscription) -> Result<Vec<Lot>, DbError> {
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

/// What of a lot has become another one's.
struct Rolled {
    lot: LotId,
    credits: Credits,
    /// How many of the first one's lapsed when its month ended.
    lapsed: Credits,
}

/// Notes with a payment what of its lots has rolled over, if anything has: how much of that is to be taken back there.
fn note(payment: &mut Payment, owner: OwnerId, rolled: &HashMap<LotId, Rolled>) -> Result<Option<Credits>, Error> {
    let (mut lots, mut taken) = (payment.lots(), None);
    for lot in &mut lots {
        let Some(Rolled { lot: new, credits, lapsed }) = rolled.get(&lot.present()) else { continue };
        // What lapsed and was taken back since is taken back of what it has become, and so is what is withheld.
        let gone = lot.taken_of_nobody().min(*lapsed).min(*credits);
        let along = plus(gone, credits.saturating_sub(*lapsed))?;
        lot.go_on((owner, *new), *credits, along);
        taken = Some(plus(taken.unwrap_or(Credits::ZERO), along)?);
    }
    if taken.is_some() {
        payment.note_lots(lots);
    }
    Ok(taken)
}

/// What is left of a month's lots, the newest first: of each what lapsed when the month ended, and that with what is withheld of
/// it. What came to nothing later had been held then, or spent.
async fn left(
    tx: &mut Tx,
    of: &Subscription,
    withheld: &HashMap<LotId, Credits>,
) -> Result<Vec<((Lot, Credits), Credits)>, Error> {
    let mut lots = lots_of_month(tx, of).await?;
    // Where a month was granted before its payment, what was rolled over into it came later, and is older all the same.
    lots.sort_by_key(Lot::is_rolled_over);
    lots.retain(|lot| !lot.expired.is_zero() || withheld.contains_key(&lot.id));
    let has_lapsed = || lots.iter().filter(|lot| !lot.expired.is_zero());
    let mut known: HashMap<LotId, Credits> = HashMap::new();
    // One that was granted when its month was over lapsed with the next entry.
    let next: Vec<_> = has_lapsed().map(|lot| (of.owner, lot.number.saturating_add(1))).collect();
    if !next.is_empty() {
        known.extend(ledger::by_seq(tx, &next).await?.iter().filter_map(|(_, entry)| lapse(entry)));
    }
    if has_lapsed().any(|lot| !known.contains_key(&lot.id)) {
        at_the_boundary(tx, of, &mut known).await?;
    }
    let of = |credits: Option<&Credits>| credits.copied().unwrap_or(Credits::ZERO);
    let left = lots.into_iter().map(|lot| {
        let (lapsed, withheld) = (of(known.get(&lot.id)), of(withheld.get(&lot.id)));
        Ok(((lot, lapsed), plus(lapsed, withheld)?))
    });
    left.collect()
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
