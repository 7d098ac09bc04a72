//! What was paid for a lot, and what has become of that by the beginning and the end of a month.

use std::collections::HashMap;

use bursar_db::Tx;
use bursar_id::{LotId, PaymentId};
use bursar_money::{Currency, Price};
use bursar_time::Timestamp;

use super::super::grace::paid_late;
use super::Moved;
use crate::domain::{GivenBack, Lot, PaidLot, Parts, Payment, Station, Worth};
use crate::error::Error;
use crate::store::invoices;

/// What had become of a lot's money by an instant, in millionths of the currency's unit; or by how much that has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Money {
    /// Paid for the credits that are the owner's.
    pub(super) paid: i64,
    /// What of that stands with the lot of the month before as paid, too, and as breakage.
    pub(super) rolled_over: i64,
    /// Gone back, by refunds and lost disputes.
    pub(super) given_back: i64,
    /// Of what was spent.
    pub(super) earned: i64,
    /// Of what expired or was voided.
    pub(super) breakage: i64,
    /// Of what is left.
    pub(super) left: i64,
}

impl Money {
    /// By how much each has grown since.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            paid: self.paid - before.paid,
            rolled_over: self.rolled_over - before.rolled_over,
            given_back: self.given_back - before.given_back,
            earned: self.earned - before.earned,
            breakage: self.breakage - before.breakage,
            left: self.left - before.left,
        }
    }
}

/// What is known of a lot at one end of the month.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Timestamp,
    /// What of its money had gone back by then.
    back: GivenBack,
    /// What refunds and disputes had voided of it by then, in micro-credits.
    taken: i64,
}

/// What was paid for a lot, and how much of it is another owner's or went back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis {
    /// For all of its credits, whoever has them now.
    paid: Option<Price>,
    /// How many micro-credits of it have moved to another owner by the month's end, and when.
    moved: Option<(i64, Timestamp)>,
    /// It was granted for what had rolled over.
    rolled: bool,
    /// Since when it is paid, where it was granted before that.
    paid_since: Option<Timestamp>,
    /// The month's beginning and its end.
    ends: [End; 2],
}

impl Basis {
    /// As it is at a month's beginning and end, by what paid for it of these `payments`. What moved is known by the payment, however the program that moved it divided the
    /// money: the first ones did not.
    pub(super) async fn of(
        tx: &mut Tx,
        lot: &Lot,
        (moved, payments): (&Moved, &HashMap<PaymentId, Payment>),
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Self, Error> {
        let origin = &lot.terms.origin;
        let rolled = lot.is_rolled_over() && origin.moved_from.is_none();
        let ends = [from, to].map(|at| End { at, back: GivenBack::default(), taken: 0 });
        let whole = Self { paid: origin.paid, moved: None, rolled, paid_since: None, ends };
        let late = if lot.is_granted_early() { paid_late(tx, lot).await? } else { None };
        let paid_since = late.as_ref().and_then(|it| it.fulfilled_at).filter(|at| *at < to);
        if lot.is_granted_early() && paid_since.is_none() {
            // Nobody has paid for it yet.
            return Ok(Self { paid: None, ..whole });
        }
        let whole = Self { paid_since, ..whole };
        let payment = late.as_ref().or_else(|| origin.payment.and_then(|id| payments.get(&id)));
        let (Some(payment), Some(paid)) = (payment, origin.paid) else { return Ok(whole) };
        let found = payment.lots().into_iter().find_map(|its| {
            let place = its.stations().iter().position(|it| it.lot == lot.id)?;
            Some((its, place))
        });
        let Some((its, place)) = found else { return Ok(whole) };
        let stations: Vec<Station> = its.stations();
        let Some(here) = stations.get(place).copied() else { return Ok(whole) };
        let before = place.checked_sub(1).and_then(|it| stations.get(it));
        let gone = stations.get(place + 1).filter(|it| it.owner != here.owner);
        let gone = gone.map(|it| (it.credits.micro(), made_at(it.lot))).filter(|(_, at)| *at < to);
        let rolled = before.is_some_and(|it| it.owner == here.owner);
        // What was not divided has all of the money. A year's later months were divided always, whatever that came to.
        let first_moved = place == 1 && !rolled && payment.lot == Some(its.lot);
        let undivided = first_moved && paid == payment.net();
        let along = Worth::moving_along(paid, its.credits.micro(), here.credits.micro());
        let paid = if undivided { along } else { paid };
        let mut basis = Self { paid: Some(paid), moved: gone, rolled, paid_since, ends };
        let [within, after] = [&moved.taken_within, &moved.taken_after].map(|it| it.get(&lot.id).copied());
        let taken = here.taken_back.voided.micro().saturating_sub(after.unwrap_or(0));
        let [begin, end] = &mut basis.ends;
        (begin.taken, end.taken) = (taken.saturating_sub(within.unwrap_or(0)), taken);
        if !payment.given_back().is_zero() {
            // Of what earlier programs noted nowhere, the ledger knows when its credits were taken last.
            let unnoted = [within.is_none() && after.is_none(), after.is_none()];
            for (end, unnoted) in basis.ends.iter_mut().zip(unnoted) {
                let gross = gone_back(tx, payment, end.at, unnoted).await?;
                end.back = part_of(payment, (&its, place), (paid, gross), end.at);
            }
        }
        Ok(basis)
    }

    /// In which currency it was paid.
    pub(super) fn currency(&self) -> Option<Currency> {
        self.paid.map(Price::currency)
    }

    /// What had become of the money where these were the lot's parts at the beginning and at the end; `None` where nobody knows
    /// what was paid.
    pub(super) fn money(&self, lot: &Lot, begin: Parts, end: Parts) -> Option<(Money, Money)> {
        let paid = self.paid?;
        let [before, now] = &self.ends;
        Some((self.at(paid, lot, begin, before), self.at(paid, lot, end, now)))
    }

    fn at(&self, paid: Price, lot: &Lot, parts: Parts, end: &End) -> Money {
        if parts == Parts::default() || self.paid_since.is_some_and(|it| it >= end.at) {
            // What was not granted, or not paid, yet is worth nothing yet.
            return Money::default();
        }
        let (granted, none) = (lot.granted.micro(), Price::zero(paid.currency()));
        let gone = self.moved.filter(|(_, since)| *since < end.at).map(|(credits, _)| credits);
        let own = gone.map_or(parts, |credits| parts.without_moved(credits));
        let along = gone.map_or(none, |credits| Worth::moving_along(paid, granted, credits));
        let own_paid = paid.checked_sub(along).unwrap_or(paid).micros();
        let may_come_back =
            lot.terms.expires_at.is_none_or(|it| it >= end.at) && lot.voided_at.is_none_or(|it| it >= end.at);
        let given_back = end.back.money.clamp(0, own_paid.max(0));
        let worth = if given_back == 0 {
            Worth::of(paid, granted, &own.kept(end.taken, 0, may_come_back))
        } else {
            let kept = Price::from_micros(paid.currency(), own_paid - given_back).unwrap_or(none);
            Worth::kept(kept, &own.kept(end.taken, end.back.credits, may_come_back))
        };
        // What it was granted for had lapsed: that was no breakage after all.
        let rolled_over = if self.rolled { paid.micros() } else { 0 };
        Money {
            paid: own_paid,
            rolled_over,
            given_back,
            earned: worth.spent.micros(),
            breakage: worth.expired.micros() + worth.voided.micros() - rolled_over,
            left: worth.left.micros(),
        }
    }
}

/// How much of a payment had gone back by an instant, gross: what its credit notes said by then, and, if it is `unnoted`, what they
/// never said.
async fn gone_back(tx: &mut Tx, payment: &Payment, at: Timestamp, unnoted: bool) -> Result<Price, Error> {
    let (mut noted, mut by_then) = (0, 0);
    if let Some(invoice) = payment.invoice {
        let of = (payment.owner, invoice);
        noted = invoices::credited_before(tx, of, Timestamp::MAX).await?;
        by_then = invoices::credited_before(tx, of, at).await?;
    }
    let rest = payment.given_back().micros().saturating_sub(noted).max(0);
    let gross = by_then.saturating_add(if unnoted { rest } else { 0 });
    Price::from_micros(payment.amount.currency(), gross).map_err(|_| Error::Failed)
}

/// What of a lot's money, and how many of its credits, so much of its payment was, where it is the one at this place of those that
/// had its credits.
fn part_of(
    payment: &Payment,
    (its, place): (&PaidLot, usize),
    (paid, gross): (Price, Price),
    at: Timestamp,
) -> GivenBack {
    let hops = its.hops().iter().filter(|hop| made_at(hop.lot) < at).count();
    if place > hops || gross.is_zero() {
        return GivenBack::default();
    }
    let known = its.with_hops(hops);
    let parts = payment.parts_given_back(&known, gross);
    let lots: Vec<(i64, i64)> =
        known.stations().iter().zip(parts).map(|(it, part)| (it.credits.micro(), part.micro())).collect();
    let Some((came, credits)) = lots.get(place).copied() else { return GivenBack::default() };
    let money = if place == 0 {
        let all = paid.share(unsigned(net(payment, gross)), unsigned(payment.net()));
        GivenBack::of_first(paid, all, &lots)
    } else {
        let goes_on = lots.get(place + 1).map_or(0, |(credits, _)| *credits);
        GivenBack::of_later(paid, came, goes_on, credits)
    };
    GivenBack { money, credits }
}

/// What of so much of a payment is no tax: what all of its credit notes together say that come to that.
fn net(payment: &Payment, gross: Price) -> Price {
    let none = Price::zero(gross.currency());
    let credited = payment.bill.as_ref().and_then(|bill| bill.credit(none, gross, "").ok());
    credited.map_or(gross, |it| it.subtotal)
}

fn unsigned(price: Price) -> u64 {
    u64::try_from(price.micros()).unwrap_or(0)
}

/// When a lot was granted.
pub(super) fn made_at(lot: LotId) -> Timestamp {
    let micros = i64::try_from(lot.timestamp_millis()).ok().and_then(|it| it.checked_mul(1_000));
    micros.and_then(|it| Timestamp::from_micros(it).ok()).unwrap_or(Timestamp::EPOCH)
}
