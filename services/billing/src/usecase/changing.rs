//! Changing a subscription: to another plan, to more seats or to fewer. What it takes is `domain/change.rs`'s to say.
//!
//! | what costs | and is due | becomes |
//! |---|---|---|
//! | more | something | a payment like every other (`cashier.rs`): it changes the subscription in the transaction that learns that it is paid (`fulfilment.rs`) |
//! | more | less than the smallest unit | that change at once |
//! | more | less than its provider takes | that change at once, without the credits that would come with it (`domain/waiving.rs`) |
//! | the same, or less | nothing | what waits for the next month (`pending`): the month begins on these terms, and is paid by them (`dues.rs`) |
//!
//! Whoever changes a subscription, or plans to, writes only where it stands as it was read: in the same month, not marked to end,
//! and changed as often (`changes`). So of two at once one is the change; the other is refused, and what was paid for it goes
//! back, as for whatever is paid after the month has turned, or after it was canceled. A later change replaces one that waits.
//! What is due is renewed first (`overdue.rs`).

use bursar_db::Tx;
use bursar_id::{OwnerId, PaymentId};
use bursar_money::Price;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, IdempotencyKey, Looked, Mutation, Stored};
use bursar_time::Timestamp;

use super::access::Allowed;
use super::agreements::{Aim, takes_effect};
use super::asking::payer;
use super::cashier::{Beginning, Cashier};
use super::contracts::Superseded;
use super::orders::{self, enter};
use super::subscriptions::{SubscriptionUseCases, changed};
use crate::domain::{
    Assortment, Bill, Bought, Payment, Quote, Refusal, Spender, Subscription, SubscriptionState, Terms,
};
use crate::error::Error;
use crate::payment::{INVOICE, PaymentMethod, Settlement, Thing, thing, thing_of_request};
use crate::store::{payments, subscriptions, waivers};

/// What is to become of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The plan's id; `None` for the present one.
    pub(crate) plan: Option<String>,
    /// For how many people in all; `None`: of another plan its own seats, of the present one as many as there are.
    pub(crate) seats: Option<u32>,
    /// What is expected to be due, net; `None` for anything.
    pub(crate) expected: Option<Price>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The subscription.
    pub(crate) subscription: Subscription,
    /// The payment, where something was due.
    pub(crate) payment: Option<PaymentId>,
}

/// What would come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preview {
    /// What it takes.
    pub(crate) quote: Quote,
    /// What would be paid for that, with taxes; `None` for nothing.
    pub(crate) bill: Option<Bill>,
    /// When it would take effect.
    pub(crate) at: Timestamp,
}

impl Aim for Change {
    fn terms(&self, sold: &Assortment, live: Option<&Subscription>, now: Timestamp) -> Result<Terms, Error> {
        let present = live.map(Subscription::terms);
        let other = self.plan.as_deref().filter(|id| present.as_ref().is_none_or(|it| it.plan.as_str() != *id));
        let other = other.map(|id| SubscriptionUseCases::for_sale(sold, id)).transpose()?;
        let (live, present) = live.zip(present).ok_or(Error::NoSubscription)?;
        demand_changeable(live, now)?;
        let base = match other {
            Some((plan, _)) => Terms::of(&plan).ok_or(Error::Failed)?,
            None => present,
        };
        // Of a plan that is no longer in the catalog, is paid at other intervals by now, or was agreed with one customer, the
        // catalog cannot say what seats cost.
        let listed = sold.catalog().plan(base.plan.as_str()).filter(|plan| plan.interval == base.interval);
        let offered = listed.filter(|_| base.features.is_none()).and_then(|plan| plan.extra_seat);
        Ok(base.for_seats(self.seats.unwrap_or(base.seats), offered)?)
    }

    fn expected(&self) -> Option<Price> {
        self.expected
    }
}

/// How a change goes on, as things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Something has to be paid, or was begun to be.
    Pay,
    /// It is written down.
    Write,
}

impl SubscriptionUseCases {
    /// What a change would take at this moment, as if what is due had been renewed.
    pub(crate) async fn preview(&self, owner: OwnerId, change: &Change) -> Result<Preview, Error> {
        let now = self.till.clock.now();
        let mut tx = self.till.db.read().await?;
        self.till.may_sell_to(&mut tx, owner).await?;
        let live = match subscriptions::live(&mut tx, owner).await? {
            Some(live) => self.as_if_renewed(&mut tx, live, now).await?,
            None => None,
        };
        let (live, quote) = self.quote_of(&mut tx, live, change, now).await?;
        let bill = if quote.due.is_zero() {
            None
        } else {
            let bought = bought(&live, &quote, None);
            Some(self.cashier.bill(&mut tx, owner, &bought, (quote.due, quote.seats_part.as_ref())).await?)
        };
        let at = if quote.at_once { now } else { live.paid_until() };
        Ok(Preview { quote, bill, at })
    }

    /// Changes the owner's subscription to what is for sale ([`SubscriptionUseCases::change_by`]).
    pub(crate) async fn change(&self, owner: OwnerId, asked: &Asked<Change>) -> Result<Answer<Changed>, Error> {
        let standing = self.admitted(asked.caller(), owner).await;
        self.change_by(owner, asked, standing).await
    }

    /// Changes the owner's subscription. A provider is asked between two mutations: the first looks whether anything stands
    /// against it. For whoever stands like this, after what is due is renewed ([`SubscriptionUseCases::admitted`]).
    pub(super) async fn change_by<C, T>(
        &self,
        owner: OwnerId,
        asked: &Asked<C>,
        standing: Result<Allowed, Error>,
    ) -> Result<Answer<T>, Error>
    where
        C: Aim,
        T: Stored + From<Changed> + Send,
    {
        let mut m = self.mutations.begin(asked).await?;
        let looked = self.look_at(&mut m, owner, asked, standing).await;
        let changed = match self.mutations.look(m, looked).await? {
            Looked::Before(answer) => return Ok(answer),
            Looked::On(Next::Pay) => Box::pin(self.pay_for(owner, asked)).await?,
            Looked::On(Next::Write) => {
                let standing = self.access.to(asked.caller(), owner).await;
                let mut m = self.mutations.begin(asked).await?;
                let done = self.write(&mut m, owner, asked, standing).await;
                self.mutations.end(m, done).await?
            }
        };
        self.cashier.jobs.wake();
        Ok(changed)
    }

    /// What can be known before any money is taken: the caller's standing, the answer that the request got before, and what
    /// stands against it. What this very request has begun goes on, whatever has become of the subscription by that.
    async fn look_at<C: Aim>(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<C>,
        standing: Result<Allowed, Error>,
    ) -> Result<Option<Next>, Error> {
        let Some(change) = orders::open(m, owner, asked, standing, subscriptions::kept).await? else { return Ok(None) };
        self.till.may_sell_to(m.tx(), owner).await?;
        let now = m.now();
        let quoted = self.quote(m.tx(), owner, change, now).await;
        // After that: what was made by a payment has that payment.
        if begun_by(m.tx(), asked, "").await?.is_some() {
            return Ok(Some(Next::Pay));
        }
        let (live, quote) = quoted?;
        if quote.due.is_zero() && quote.waived.is_zero() {
            return Ok(Some(Next::Write));
        }
        // Waived or not: nobody has more at once without the means to pay for it.
        let method = payer_of(m.tx(), &live, &quote.to, now).await?;
        self.cashier.means(m.tx(), owner, &method).await?;
        Ok(Some(if quote.due.is_zero() { Next::Write } else { Next::Pay }))
    }

    /// The owner's subscription, and what it takes to change it.
    async fn quote<C: Aim>(
        &self,
        tx: &mut Tx,
        owner: OwnerId,
        aim: &C,
        now: Timestamp,
    ) -> Result<(Subscription, Quote), Error> {
        let live = subscriptions::live(tx, owner).await?;
        self.quote_of(tx, live, aim, now).await
    }

    /// The same of a subscription that was read, or of none.
    async fn quote_of<C: Aim>(
        &self,
        tx: &mut Tx,
        live: Option<Subscription>,
        aim: &C,
        now: Timestamp,
    ) -> Result<(Subscription, Quote), Error> {
        // One look: a reload in between would sell a plan at the one catalog's price and its seats at the other's.
        let to = aim.terms(&self.catalog.current(), live.as_ref(), now);
        let live = live.ok_or(Error::NoSubscription);
        let (to, live) = match (to, live) {
            (Err(refused @ (Error::SubscriptionPastDue | Error::Refused(Refusal::RenewalDue))), Ok(live)) => {
                return Err(self.overdue(tx, &live, now).await?.unwrap_or(refused));
            }
            (to, live) => (to?, live?),
        };
        let to = self.cashier.paid_with(tx, &live, (to, aim.contract().map(|it| it.1))).await?;
        let quote = Quote::of(&live.terms(), to, (&live.month, &live.paid_period()), now)?;
        let quote = self.cashier.to_be_asked_for(tx, &live, quote).await?;
        match aim.expected() {
            Some(expected) if expected != quote.due => Err(Error::DueChanged { due: quote.due }),
            _ => Ok((live, quote)),
        }
    }

    /// Has a change paid, and made once it is.
    async fn pay_for<C, T>(&self, owner: OwnerId, asked: &Asked<C>) -> Result<Answer<T>, Error>
    where
        C: Aim,
        T: Stored + From<Changed> + Send,
    {
        let payment = self.begin_change(owner, asked).await?;
        let heard = self.cashier.ask_in_a_call(&payment).await?;
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.book_change(&mut m, (owner, &payment), asked, standing, heard.as_ref()).await;
        let booked = self.mutations.end(m, done).await;
        self.cashier.end_of_a_call(payment.id, heard.as_ref(), booked).await
    }

    /// Writes down what is to be paid; or finds what the same request began before.
    async fn begin_change<C: Aim>(&self, owner: OwnerId, asked: &Asked<C>) -> Result<Payment, Error> {
        let (change, now) = (asked.command()?, self.till.clock.now());
        let unique = hex::encode(self.entropy.bytes::<16>());
        let mut tx = self.till.db.read().await?;
        let quoted = self.quote(&mut tx, owner, change, now).await;
        if let Some(begun) = begun_by(&mut tx, asked, &unique).await? {
            let Ok((live, quote)) = &quoted else { return Ok(begun) };
            let method = payer_of(&mut tx, live, &quote.to, now).await?;
            tx.commit().await?;
            let begun = Box::pin(self.cashier.as_of_now(begun, &method)).await?;
            return if begun.came_to_nothing() { Box::pin(self.begin_change(owner, asked)).await } else { Ok(begun) };
        }
        let (live, quote) = quoted?;
        if quote.due.is_zero() {
            return Err(Error::ChangeOvertaken);
        }
        let method = payer_of(&mut tx, &live, &quote.to, now).await?;
        tx.commit().await?;
        let new = Beginning {
            owner,
            bought: bought(&live, &quote, change.contract().and_then(|(which, _)| which.waited())),
            amount: quote.due,
            seats: quote.seats_part,
            method,
            thing: thing_of(asked, &unique),
            tried_before: change.contract().map_or(0, |(which, _)| which.attempts()),
            started_by: asked.caller().actor(),
        };
        self.cashier.begin(new).await
    }

    /// One transaction: what the provider said, the change and its credits, the request's answer and the event.
    async fn book_change<C, T>(
        &self,
        m: &mut Mutation,
        (owner, payment): (OwnerId, &Payment),
        asked: &Asked<C>,
        standing: Result<Allowed, Error>,
        heard: Option<&Settlement>,
    ) -> Result<Done<T, Payload>, Error>
    where
        C: Aim,
        T: Stored + From<Changed>,
    {
        let Some((aim, allowed)) = enter(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
        let (payment, events) = self.cashier.settle(m.tx(), payment.id, heard, allowed.spender).await?;
        if payment.returned {
            return Err(Error::ChangeOvertaken);
        }
        if payment.came_to_nothing() {
            return Err(Error::PaymentDeclined);
        }
        let id = payment.bought.subscription().ok_or(Error::Failed)?;
        let subscription = subscriptions::find(m.tx(), owner, id).await?.ok_or(Error::Failed)?;
        m.about(&subscription.id);
        takes_effect(aim.contract().map(|it| it.0), Some(&payment), m.tx(), owner).await?;
        let made = T::from(Changed { subscription, payment: Some(payment.id) });
        orders::made(m, payment.id, asked, (made, events)).await
    }

    /// One transaction: what costs nothing now. The change, or what waits for the next month instead of what waited before.
    async fn write<C, T>(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<C>,
        standing: Result<Allowed, Error>,
    ) -> Result<Done<T, Payload>, Error>
    where
        C: Aim,
        T: Stored + From<Changed>,
    {
        let Some((aim, allowed)) = enter(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
        // A payment's row is locked first, then the subscription's, then the account's, then a contract's.
        let mut superseded = Superseded::default();
        self.cashier.give_up_changes(m.tx(), owner, &mut superseded).await?;
        let (changed, events) = self.written(m, owner, aim, allowed.spender).await?;
        self.cashier.put_off_superseded(m.tx(), owner, &superseded).await?;
        Ok(Done::New(T::from(changed), events))
    }

    /// What is written down, and what is told of it.
    async fn written<C: Aim>(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        aim: &C,
        spender: Option<Spender>,
    ) -> Result<(Changed, Vec<Payload>), Error> {
        let now = m.now();
        let (live, quote) = self.quote(m.tx(), owner, aim, now).await?;
        let contract = aim.contract().map(|it| it.0);
        m.about(&live.id);
        if !quote.due.is_zero() {
            return Err(Error::ChangeOvertaken);
        }
        let present = live.terms();
        if !quote.at_once {
            let planned = live.planning(quote.pending(&present));
            if planned.pending == live.pending {
                takes_effect(contract, None, m.tx(), owner).await?;
                return Ok((Changed { subscription: live, payment: None }, Vec::new()));
            }
            write_down(&self.cashier, m, &planned).await?;
            self.till.demand_sale_to(m.tx(), owner).await?;
            takes_effect(contract, None, m.tx(), owner).await?;
            return Ok((Changed { subscription: planned, payment: None }, Vec::new()));
        }
        let new = live.changed(&quote.to);
        write_down(&self.cashier, m, &new).await?;
        self.till.demand_sale_to(m.tx(), owner).await?;
        self.cashier.add_to_month(m.tx(), &new, quote.credits, None, spender).await?;
        if !quote.waived.is_zero() {
            waivers::waive(m.tx(), live.id, live.month.number, quote.waived).await?;
        }
        takes_effect(contract, None, m.tx(), owner).await?;
        let event = changed(&new, &self.catalog.current());
        Ok((Changed { subscription: new, payment: None }, vec![event]))
    }
}

impl Cashier {
    /// What it takes to change a subscription, where its provider does not take as little as that, with taxes, nor as what was waived
    /// in this month before and that together: then that is waived.
    async fn to_be_asked_for(&self, tx: &mut Tx, live: &Subscription, quote: Quote) -> Result<Quote, Error> {
        let least = self.till.payments.least(quote.due.currency());
        let asks_provider = quote.to.paid_with.as_deref().unwrap_or(&live.payment_method) != INVOICE;
        if !asks_provider || quote.due.micros() >= least.micros() || !quote.is_waivable(live) {
            return Ok(quote);
        }
        let bought = bought(live, &quote, None);
        let bill = self.bill(tx, live.owner, &bought, (quote.due, quote.seats_part.as_ref())).await?;
        let before = waivers::waived(tx, live.id, live.month.number).await?;
        let in_all = bill.total.micros().saturating_add(before);
        Ok(if in_all < least.micros() { quote.waiving() } else { quote })
    }
}

async fn write_down(cashier: &Cashier, m: &mut Mutation, new: &Subscription) -> Result<(), Error> {
    // Whatever was paid ahead was paid by other terms.
    cashier.give_up_dues(m.tx(), new).await?;
    if subscriptions::change(m.tx(), new).await? { Ok(()) } else { Err(Error::ChangeOvertaken) }
}

/// Only what is paid for and goes on is changed. Why what is due is not renewed takes a look: [`SubscriptionUseCases::overdue`].
pub(super) fn demand_changeable(live: &Subscription, now: Timestamp) -> Result<(), Error> {
    if live.state == SubscriptionState::PastDue {
        return Err(Error::SubscriptionPastDue);
    }
    if live.cancel_at_period_end {
        return Err(Error::SubscriptionCanceled);
    }
    if live.is_changeable(now) { Ok(()) } else { Err(Refusal::RenewalDue.into()) }
}

/// What a payment for a change buys, and which contract begins with it of those that have waited.
fn bought(live: &Subscription, quote: &Quote, contract: Option<&str>) -> Bought {
    Bought::Change {
        subscription: live.id,
        to: quote.to.clone(),
        credits: quote.credits,
        period: live.month.number,
        after: live.changes,
        contract: contract.map(str::to_owned),
    }
}

/// With what a change is paid: as the subscription's next period would be.
async fn payer_of(tx: &mut Tx, live: &Subscription, to: &Terms, now: Timestamp) -> Result<PaymentMethod, Error> {
    let method = PaymentMethod::from_stored(to.paid_with.as_deref().unwrap_or(&live.payment_method));
    if matches!(method, PaymentMethod::Named(_)) {
        return Ok(method);
    }
    let saved = payer(tx, live.owner, &method, now).await?;
    Ok(saved.map_or(PaymentMethod::Default, |saved| PaymentMethod::Saved(saved.id)))
}

/// The payment that this very request has begun before, unless that came to nothing.
async fn begun_by<C>(tx: &mut Tx, asked: &Asked<C>, unique: &str) -> Result<Option<Payment>, Error> {
    let last = payments::last_attempt(tx, thing_of(asked, unique)).await?;
    Ok(last.filter(|it| !it.came_to_nothing()))
}

/// What a request pays for: a change, whatever else was asked under its id.
fn thing_of<C>(asked: &Asked<C>, unique: &str) -> Thing {
    let method = asked.key().map_or("", IdempotencyKey::method);
    thing(&format!("{method}:{}", hex::encode(thing_of_request(asked.key(), unique))))
}

#[cfg(test)]
mod ahead;
#[cfg(test)]
mod least;
#[cfg(test)]
mod lives;
#[cfg(test)]
pub(super) mod tests;
