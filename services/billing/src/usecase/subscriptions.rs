//! Subscribing to a plan, and what an owner's plan allows.

use std::sync::Arc;

use bursar_events::Outbox;
use bursar_id::{Id, OwnerId, SubscriptionId};
use bursar_money::Price;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{PlanFeatures, SubscriptionChanged};
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation, Mutations, Stored};
use bursar_secret::Entropy;

use super::access::{Access, Allowed};
use super::agreements::{self, Agreement, Which};
use super::boundary::Looks;
use super::cashier::{Beginning, Cashier};
use super::catalogs::CatalogHandle;
use super::orders::{self, Order, Till, enter};
use crate::domain::{Assortment, Bought, Catalog, Entitlements, Payment, Plan, Subscription};
use crate::error::Error;
use crate::payment::{Settlement, thing_of_request};
use crate::store::{contracts, payments, subscriptions};

/// Subscriptions.
#[derive(Clone)]
pub(crate) struct SubscriptionUseCases {
    pub(crate) access: Access,
    pub(crate) till: Till,
    pub(crate) cashier: Cashier,
    pub(crate) entropy: Entropy,
    pub(crate) catalog: CatalogHandle,
    pub(crate) outbox: Outbox,
    pub(crate) mutations: Mutations<Outbox>,
    /// Who looks after whose renewal, with whoever spends.
    pub(crate) looks: Arc<Looks>,
}

impl SubscriptionUseCases {
    /// Subscribes an owner to a plan that is for sale ([`SubscriptionUseCases::begin_by`]).
    pub(crate) async fn subscribe(&self, owner: OwnerId, asked: &Asked<Order>) -> Result<Answer<Subscription>, Error> {
        // What was canceled ends with its period, and makes room for another one.
        let standing = self.admitted(asked.caller(), owner).await;
        self.begin_by(owner, asked, standing).await
    }

    /// Takes the first month's payment, begins the subscription and grants the month's allowance; where the payment is not
    /// settled at once, the subscription is INCOMPLETE until it is. The provider is asked between two mutations: the first
    /// looks whether anything stands against it. For whoever stands like this, after what is due is renewed
    /// ([`SubscriptionUseCases::admitted`]).
    pub(super) async fn begin_by<C, T>(
        &self,
        owner: OwnerId,
        asked: &Asked<C>,
        standing: Result<Allowed, Error>,
    ) -> Result<Answer<T>, Error>
    where
        C: Agreement,
        T: Stored + From<Subscription> + Send,
    {
        let mut m = self.mutations.begin(asked).await?;
        let looked = self.check(&mut m, owner, asked, standing).await;
        if let Looked::Before(answer) = self.mutations.look(m, looked).await? {
            return Ok(answer);
        }
        let payment = self.begin(owner, asked).await?;
        let heard = self.cashier.ask_in_a_call(&payment).await?;
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.book(&mut m, (owner, &payment), asked, standing, heard.as_ref()).await;
        let booked = self.mutations.end(m, done).await;
        self.cashier.end_of_a_call(payment.id, heard.as_ref(), booked).await
    }

    /// What can be known before any money is taken: the caller's standing, the answer that the request got before
    /// (however long ago), that the plan is not for sale, that the owner has one, or nothing to pay it with. In one
    /// transaction that holds the request's id, so a twin's subscription is not taken for another's.
    async fn check<C: Agreement>(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<C>,
        standing: Result<Allowed, Error>,
    ) -> Result<Option<()>, Error> {
        let Some(order) = orders::open(m, owner, asked, standing, subscriptions::kept).await? else { return Ok(None) };
        self.till.may_sell_to(m.tx(), owner).await?;
        order.terms(&self.catalog.current())?;
        if let Some(live) = subscriptions::live(m.tx(), owner).await?
            && !self.is_its_own(m, asked, &live).await?
        {
            return Err(already(&live));
        }
        let now = m.now();
        let method = agreements::payer(order, m.tx(), owner, now).await?;
        self.cashier.means(m.tx(), owner, &method).await?;
        Ok(Some(()))
    }

    /// Whether a subscription is what this very request has begun: its payment was settled meanwhile, or the answer was lost.
    async fn is_its_own<C>(&self, m: &mut Mutation, asked: &Asked<C>, live: &Subscription) -> Result<bool, Error> {
        let last = payments::last_attempt(m.tx(), thing_of_request(asked.key(), "")).await?;
        Ok(last.is_some_and(|last| last.bought.subscription() == Some(live.id)))
    }

    /// Writes down what is to be paid; or finds what the same request began before.
    async fn begin<C: Agreement>(&self, owner: OwnerId, asked: &Asked<C>) -> Result<Payment, Error> {
        let order = asked.command()?;
        let terms = order.terms(&self.catalog.current())?;
        let now = self.till.clock.now();
        let method = agreements::payer(order, &mut self.till.db.read().await?, owner, now).await?;
        let subscription: SubscriptionId = Id::from_parts(now.as_millis(), self.entropy.bytes());
        let bought = Bought::Start {
            subscription,
            plan: terms.plan,
            credits: terms.credits,
            seats: terms.seats,
            interval: terms.interval,
            features: terms.features,
            included: terms.included,
            rollover: terms.rollover,
            grant_in_grace: terms.grant_in_grace,
            contract: order.contract().and_then(Which::waited).map(str::to_owned),
        };
        let new = Beginning {
            owner,
            bought,
            amount: terms.price,
            seats: None,
            method,
            thing: thing_of_request(asked.key(), &subscription.to_string()),
            tried_before: order.contract().map_or(0, Which::attempts),
            started_by: asked.caller().actor(),
        };
        self.cashier.begin(new).await
    }

    /// One transaction: what the provider said, the subscription, its first allowance, the request's answer and the event.
    async fn book<C, T>(
        &self,
        m: &mut Mutation,
        (owner, payment): (OwnerId, &Payment),
        asked: &Asked<C>,
        standing: Result<Allowed, Error>,
        heard: Option<&Settlement>,
    ) -> Result<Done<T, Payload>, Error>
    where
        C: Agreement,
        T: Stored + From<Subscription>,
    {
        let Some((order, allowed)) = enter(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
        let (payment, events) = self.cashier.settle(m.tx(), payment.id, heard, allowed.spender).await?;
        if payment.came_to_nothing() {
            return Err(Error::PaymentDeclined);
        }
        let id = payment.bought.subscription().ok_or(Error::Failed)?;
        let begun = subscriptions::find(m.tx(), owner, id).await?;
        let new = begun.or_else(|| Subscription::incomplete(&payment)).ok_or(Error::Failed)?;
        agreements::takes_effect(order.contract(), Some(&payment), m.tx(), owner).await?;
        m.about(&new.id);
        let made = T::from(new);
        orders::made(m, payment.id, asked, (made, events)).await
    }

    /// A plan that can be subscribed to, and what an interval of it costs.
    pub(super) fn for_sale(sold: &Assortment, id: &str) -> Result<(Plan, Price), Error> {
        let plan = sold.catalog().plan(id).ok_or_else(|| Error::PlanNotFound(id.to_owned()))?;
        match plan.price {
            Some(price) if id != Catalog::FREE => Ok((plan.clone(), price)),
            _ => Err(Error::PlanNotForSale(id.to_owned())),
        }
    }

    /// The owner's subscription: the one that goes on, else the one that waits for its first payment, else the one that
    /// ended last.
    pub(crate) async fn get(&self, owner: OwnerId) -> Result<Subscription, Error> {
        let mut tx = self.till.db.read().await?;
        let latest = subscriptions::latest(&mut tx, owner).await?;
        if let Some(live) = latest.as_ref().filter(|it| it.ended_at.is_none()) {
            return Ok(live.clone());
        }
        let waiting = payments::waiting_starts(&mut tx, owner, 1).await?;
        let incomplete = waiting.first().and_then(Subscription::incomplete);
        incomplete.or(latest).ok_or(Error::NotFound("subscription"))
    }

    /// What the owner's plan allows; without a subscription it is the free plan.
    pub(crate) async fn entitlements(&self, owner: OwnerId) -> Result<Entitlements, Error> {
        match subscriptions::live(&mut self.till.db.read().await?, owner).await? {
            Some(live) => Ok(Entitlements::by(&self.catalog.current(), &live)),
            None => self.free(),
        }
    }

    /// Ends the owner's subscription now, if there is one: who has it is gone. Where that may be taken back (`revivable`), so
    /// is this ([`super::standings`]). What is left of its allowance stays until it expires: nobody spends it; what nobody has paid
    /// for does not. What was paid for the month after it goes back.
    pub(super) async fn end_now(&self, owner: OwnerId, revivable: bool) -> Result<(), Error> {
        // Nor does a contract begin that waits.
        let mut tx = self.till.db.begin().await?;
        contracts::forget(&mut tx, owner).await?;
        tx.commit().await?;
        let Some(live) = subscriptions::live(&mut self.till.db.read().await?, owner).await? else { return Ok(()) };
        let ended = live.ended(self.till.clock.now());
        let mut tx = self.till.db.begin().await?;
        self.cashier.give_up_dues(&mut tx, &live).await?;
        let is_ended = if revivable {
            subscriptions::end_with_owner(&mut tx, &ended).await?
        } else {
            subscriptions::end(&mut tx, &ended).await?
        };
        if !is_ended {
            // Renewed meanwhile: what it is now is looked at again.
            return Err(Error::Unavailable);
        }
        Box::pin(self.cashier.void_grace(&mut tx, &live)).await?;
        let event = self.ended(&ended)?;
        self.outbox.commit(tx, vec![event]).await?;
        self.cashier.jobs.wake();
        tracing::info!(subscription = %ended.id, "its owner is gone: the subscription ended");
        Ok(())
    }

    /// The event that tells of a subscription that ended: the owner is on the free plan.
    pub(super) fn ended(&self, ended: &Subscription) -> Result<Payload, Error> {
        Ok(told(ended, &self.free()?))
    }

    fn free(&self) -> Result<Entitlements, Error> {
        // Every catalog has such a plan: it is not accepted without.
        Entitlements::free(self.catalog.current().catalog()).ok_or(Error::Failed)
    }
}

pub(super) fn already(live: &Subscription) -> Error {
    Error::AlreadySubscribed { plan: live.plan.to_string() }
}

/// What other services learn of a subscription that holds: what its owner's plan allows now. Where an earlier program has not kept
/// what the plan includes, what is sold says it.
pub(super) fn changed(subscription: &Subscription, sold: &Assortment) -> Payload {
    told(subscription, &Entitlements::by(sold, subscription))
}

fn told(subscription: &Subscription, allowed: &Entitlements) -> Payload {
    let names = allowed.features.list().map(|feature| feature.as_str().to_owned()).collect();
    Payload::SubscriptionChanged(SubscriptionChanged {
        owner: subscription.owner.to_string(),
        plan_id: allowed.plan.to_string(),
        seats: allowed.seats,
        state: subscription.state.to_string(),
        features: Some(PlanFeatures { names }),
    })
}

#[cfg(test)]
mod tests;
