//! What was paid for a lot, and what has become of that by the beginning and the end of a month.

use bursar_id::{LotId, PaymentId};
use bursar_money::{Currency, Price};
use bursar_time::Timestamp;

use super::Moved;
use super::known::{self, Known, net};
use crate::domain::{GivenBack, Lot, PaidLot, Parts, Payment, Station, Worth};
use crate::error::Error;

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
    /// With what.
    payment: Option<PaymentId>,
    /// It is the first lot that had these credits, by what the payment says.
    first: bool,
    /// How many micro-credits of it have moved to another owner, and when.
    moved: Option<(i64, Timestamp)>,
    /// It was granted for what had rolled over.
    rolled: bool,
    /// Since when it is paid, where it was granted before that.
    paid_since: Option<Timestamp>,
    /// The month's beginning and its end, and how it is now.
    ends: [End; 3],
}

impl Basis {
    /// As it is at a month's beginning and end, and now. What moved is known by the payment, however the program that moved it
    /// divided the money: the first ones did not.
    pub(super) fn of(
        lot: &Lot,
        (moved, known): (&Moved, &Known),
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Self, Error> {
        let origin = &lot.terms.origin;
        let ends = [from, to, Timestamp::MAX].map(|at| End { at, back: GivenBack::default(), taken: 0 });
        let payment = known.payment_of(lot);
        let is_early = lot.is_granted_early();
        let paid_since = payment.and_then(|it| it.fulfilled_at).filter(|_| is_early);
        // What nobody has paid for yet has no price.
        let paid = origin.paid.filter(|_| !is_early || paid_since.is_some());
        let rolled = lot.is_rolled_over() && origin.moved_from.is_none();
        let id = payment.map(|it| it.id).or(origin.payment);
        let whole = Self { paid, payment: id, first: false, moved: None, rolled, paid_since, ends };
        let (Some(payment), Some(paid)) = (payment, paid) else { return Ok(whole) };
        let found = payment.lots().into_iter().find_map(|its| {
            let place = its.stations().iter().position(|it| it.lot == lot.id)?;
            Some((its, place))
        });
        let Some((its, place)) = found else { return Ok(whole) };
        let stations: Vec<Station> = its.stations();
        let Some(here) = stations.get(place).copied() else { return Ok(whole) };
        let before = place.checked_sub(1).and_then(|it| stations.get(it));
        let gone = stations.get(place + 1).filter(|it| it.owner != here.owner);
        let gone = gone.map(|it| (it.credits.micro(), made_at(it.lot)));
        let rolled = before.is_some_and(|it| it.owner == here.owner);
        // What was not divided has all of the money. A year's later months were divided always, whatever that came to.
        let first_moved = place == 1 && !rolled && payment.lot == Some(its.lot);
        let undivided = first_moved && paid == payment.net();
        let along = Worth::moving_along(paid, its.credits.micro(), here.credits.micro());
        let paid = if undivided { along } else { paid };
        let mut basis = Self { paid: Some(paid), first: place == 0, moved: gone, rolled, ..whole };
        let [within, after] = [&moved.taken_within, &moved.taken_after].map(|it| it.get(&lot.id).copied());
        let now = here.taken_back.voided.micro();
        let end = now.saturating_sub(after.unwrap_or(0));
        let taken = [end.saturating_sub(within.unwrap_or(0)), end, now];
        for (end, (taken, unnoted)) in basis.ends.iter_mut().zip(taken.into_iter().zip(moved.is_back(payment.id))) {
            end.taken = taken;
            if !payment.given_back().is_zero() {
                let gross = gone_back((payment, known.notes_of(payment)), end.at, unnoted)?;
                end.back = part_of(payment, (&its, place), (paid, gross), end.at);
            }
        }
        Ok(basis)
    }

    /// Whether it is paid since the month only, and was granted before.
    fn is_paid_later(&self) -> bool {
        let [_, end, _] = &self.ends;
        self.paid_since.is_some_and(|since| since >= end.at)
    }

    /// With what it was paid by the month's end.
    pub(super) fn payment(&self) -> Option<PaymentId> {
        self.payment.filter(|_| !self.is_paid_later())
    }

    /// Whether it is the first lot that had its credits.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// What of its money had gone back at the month's beginning and its end, and has by now.
    pub(super) fn given_back(&self, lot: &Lot) -> [i64; 3] {
        let granted_at = made_at(lot.id);
        self.ends.each_ref().map(|end| {
            let is_there = granted_at < end.at && self.paid_since.is_none_or(|since| since < end.at);
            self.paid.filter(|_| is_there).map_or(0, |paid| self.own(paid, lot, end).1)
        })
    }

    /// In which currency it was paid.
    pub(super) fn currency(&self) -> Option<Currency> {
        self.paid.filter(|_| !self.is_paid_later()).map(Price::currency)
    }

    /// What had become of the money where these were the lot's parts at the beginning and at the end; `None` where nobody knows
    /// what was paid.
    pub(super) fn money(&self, lot: &Lot, begin: Parts, end: Parts) -> Option<(Money, Money)> {
        let paid = self.paid.filter(|_| !self.is_paid_later())?;
        let [before, now, _] = &self.ends;
        Some((self.at(paid, lot, begin, before), self.at(paid, lot, end, now)))
    }

    fn at(&self, paid: Price, lot: &Lot, parts: Parts, end: &End) -> Money {
        if parts == Parts::default() || self.paid_since.is_some_and(|it| it >= end.at) {
            // What was not granted, or not paid, yet is worth nothing yet.
            return Money::default();
        }
        let (granted, none) = (lot.granted.micro(), Price::zero(paid.currency()));
        let own = self.gone(end).map_or(parts, |credits| parts.without_moved(credits));
        let may_come_back =
            lot.terms.expires_at.is_none_or(|it| it >= end.at) && lot.voided_at.is_none_or(|it| it >= end.at);
        let (own_paid, given_back) = self.own(paid, lot, end);
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

    /// How many of its micro-credits were another owner's by an end of the month.
    fn gone(&self, end: &End) -> Option<i64> {
        self.moved.filter(|(_, since)| *since < end.at).map(|(credits, _)| credits)
    }

    /// What of the money is for the credits that are the owner's by an end of the month, and what of that had gone back.
    fn own(&self, paid: Price, lot: &Lot, end: &End) -> (i64, i64) {
        let none = Price::zero(paid.currency());
        let along = self.gone(end).map_or(none, |credits| Worth::moving_along(paid, lot.granted.micro(), credits));
        let own_paid = paid.checked_sub(along).unwrap_or(paid).micros();
        (own_paid, end.back.money.clamp(0, own_paid.max(0)))
    }
}

/// How much of a payment had gone back by an instant, gross: what its credit notes said by then, and, if it is `unnoted`, what they
/// never said.
pub(super) fn gone_back(
    (payment, notes): (&Payment, &[(Timestamp, i64)]),
    at: Timestamp,
    unnoted: bool,
) -> Result<Price, Error> {
    let (in_all, by_then) = (known::before(notes, Timestamp::MAX), known::before(notes, at));
    let rest = payment.given_back().micros().saturating_sub(in_all).max(0);
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

fn unsigned(price: Price) -> u64 {
    u64::try_from(price.micros()).unwrap_or(0)
}

/// When a lot was granted.
pub(super) fn made_at(lot: LotId) -> Timestamp {
    let micros = i64::try_from(lot.timestamp_millis()).ok().and_then(|it| it.checked_mul(1_000));
    micros.and_then(|it| Timestamp::from_micros(it).ok()).unwrap_or(Timestamp::EPOCH)
}
