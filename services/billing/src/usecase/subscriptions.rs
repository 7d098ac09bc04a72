//! Subscribing to a plan, and what an owner's plan allows.

use std::sync::Arc;

use bursar_events::Outbox;
use bursar_id::{Id, OwnerId, RequestId, SubscriptionId};
use bursar_money::Price;
use bursar_proto::event::v1::SubscriptionChanged;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation, Mutations};
use bursar_secret::Entropy;

use super::access::{Access, Allowed};
use super::orders::{self, Order, Till, admit, up_to_date};
use crate::domain::{
    Actor, Catalog, Command, GrantCommand, LotSource, Note, Origin, Paid, Plan, ProductId, Request, RequestName, Scope,
    Subscription,
};
use crate::error::Error;
use crate::lane::Job;
use crate::payment::Settlement;
use crate::store::subscriptions;

/// Subscriptions.
#[derive(Clone)]
pub(crate) struct SubscriptionUseCases {
    pub(crate) access: Access,
    pub(crate) till: Till,
    pub(crate) entropy: Entropy,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) outbox: Outbox,
    pub(crate) mutations: Mutations<Outbox>,
}

/// What an owner's plan allows now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entitlements {
    pub(crate) plan: ProductId,
    pub(crate) seats: u32,
    pub(crate) organizations: bool,
    pub(crate) single_sign_on: bool,
}

impl SubscriptionUseCases {
    /// Takes the first month's payment, begins the subscription and grants the month's allowance. The provider is asked
    /// between two mutations: the first looks whether anything stands against it.
    pub(crate) async fn subscribe(&self, owner: OwnerId, asked: &Asked<Order>) -> Result<Answer<Subscription>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let looked = self.check(&mut m, owner, asked, standing).await;
        if let Looked::Before(answer) = self.mutations.look(m, looked).await? {
            return Ok(answer);
        }
        let (_, price) = self.for_sale(&asked.command()?.product)?;
        let id = Id::from_parts(self.till.clock.now().as_millis(), self.entropy.bytes());
        let settlement = self.till.pay(asked, price, &id.to_string())?;
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.book(&mut m, (id, owner), asked, standing, &settlement).await;
        let booked = self.mutations.end(m, done).await;
        self.till.after(booked, &settlement)
    }

    /// What can be known before any money is taken: the caller's standing, the answer that the request got before
    /// (however long ago), that the plan is not for sale, or that the owner has one. In one transaction that holds the
    /// request's id, so a twin's subscription is not taken for another's.
    async fn check(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<Order>,
        standing: Result<Allowed, Error>,
    ) -> Result<Option<()>, Error> {
        let Some(order) = orders::open(m, owner, asked, standing, subscriptions::kept).await? else { return Ok(None) };
        self.till.may_sell_to(m.tx(), owner).await?;
        self.for_sale(&order.product)?;
        match subscriptions::live(m.tx(), owner).await? {
            Some(live) => Err(already(&live)),
            None => Ok(Some(())),
        }
    }

    /// One transaction: the subscription, its first allowance, the request's answer and the event.
    async fn book(
        &self,
        m: &mut Mutation,
        (id, owner): (SubscriptionId, OwnerId),
        asked: &Asked<Order>,
        standing: Result<Allowed, Error>,
        settlement: &Settlement,
    ) -> Result<Done<Subscription, Payload>, Error> {
        let allowed = admit(m, owner, standing)?;
        let Some(order) = m.open(asked).await? else { return Ok(Done::Replay) };
        up_to_date(&allowed)?;
        let Settlement::Paid { reference } = settlement else {
            return Err(Error::PaymentDeclined);
        };
        let (plan, price) = self.for_sale(&order.product)?;
        let paid = Paid { method: order.method.as_str().to_owned(), reference: reference.clone() };
        let new = Subscription::begin(id, owner, (plan, price), paid, m.now());
        m.about(&new.id);
        if !subscriptions::insert(m.tx(), &new, asked.keep(&new).as_ref()).await? {
            let live = subscriptions::live(m.tx(), owner).await?;
            return Err(live.as_ref().map_or(Error::Failed, already));
        }
        self.till.demand_sale_to(m.tx(), owner).await?;
        let request = self.allowance(&new)?.for_member(allowed.spender);
        self.till.book(m.tx(), &Job { owner, actor: allowed.actor, request }).await?;
        let event = changed(&new, &new.plan, new.seats);
        Ok(Done::New(new, vec![event]))
    }

    /// A plan that can be subscribed to, and what a month of it costs.
    fn for_sale(&self, id: &str) -> Result<(&Plan, Price), Error> {
        let plan = self.catalog.plan(id).ok_or_else(|| Error::PlanNotFound(id.to_owned()))?;
        match plan.price {
            Some(price) if id != Catalog::FREE => Ok((plan, price)),
            _ => Err(Error::PlanNotForSale(id.to_owned())),
        }
    }

    /// What grants the allowance of the subscription's month and begins the month on the account. However often and
    /// whenever it is booked, the month has one lot, with the month's own dates. A plan without credits grants no lot and
    /// begins no month of its own: what is spent then goes on by the month before it, or by the calendar.
    pub(super) fn allowance(&self, of: &Subscription) -> Result<Request, Error> {
        if of.credits.is_zero() {
            return Ok(Request::unnamed(Command::Sweep));
        }
        let number = of.month.number;
        let id = RequestId::parse(format!("{}:{number}", of.id)).map_err(|_| Error::Failed)?;
        // A plan that is no longer in the catalog has lost its scope with it.
        let scope = self.catalog.plan(of.plan.as_str()).map_or_else(Scope::default, |plan| plan.scope.clone());
        let command = Command::Grant(GrantCommand {
            amount: of.credits,
            source: LotSource::Allowance,
            priority: 0,
            scope,
            effective_at: Some(of.month.start),
            expires_at: Some(of.month.end),
            origin: Origin { subscription: Some((of.id, number)), paid: Some(of.price), ..Origin::default() },
            note: Note::parse(of.plan.as_str()).ok(),
            begins: Some((of.started_at, number)),
        });
        Ok(Request::new(Some(RequestName::new(&Actor::Job, id)), self.entropy.bytes(), command))
    }

    /// The owner's subscription, or the one that ended last.
    pub(crate) async fn get(&self, owner: OwnerId) -> Result<Subscription, Error> {
        let mut tx = self.till.db.read().await?;
        subscriptions::latest(&mut tx, owner).await?.ok_or(Error::NotFound("subscription"))
    }

    /// What the owner's plan allows; without a subscription it is the free plan.
    pub(crate) async fn entitlements(&self, owner: OwnerId) -> Result<Entitlements, Error> {
        let mut tx = self.till.db.read().await?;
        let live = subscriptions::live(&mut tx, owner).await?;
        let (id, seats) = match &live {
            Some(subscription) => (subscription.plan.as_str(), Some(subscription.seats)),
            None => (Catalog::FREE, None),
        };
        let plan = self.catalog.plan(id);
        // A plan that is no longer in the catalog keeps its seats; nobody can say which features it had.
        let free = self.free()?;
        Ok(Entitlements {
            plan: live.map_or_else(|| free.id.clone(), |subscription| subscription.plan),
            seats: seats.unwrap_or(free.seats),
            organizations: plan.is_some_and(|plan| plan.organization),
            single_sign_on: plan.is_some_and(|plan| plan.single_sign_on),
        })
    }

    /// The event that tells of a subscription that ended: the owner is on the free plan.
    pub(super) fn ended(&self, ended: &Subscription) -> Result<Payload, Error> {
        let free = self.free()?;
        Ok(changed(ended, &free.id, free.seats))
    }

    fn free(&self) -> Result<&Plan, Error> {
        // Every catalog has one: it is not accepted without.
        self.catalog.plan(Catalog::FREE).ok_or(Error::Failed)
    }
}

pub(super) fn already(live: &Subscription) -> Error {
    Error::AlreadySubscribed { plan: live.plan.to_string() }
}

/// What other services learn: the plan that holds for the owner now.
pub(super) fn changed(subscription: &Subscription, plan: &ProductId, seats: u32) -> Payload {
    Payload::SubscriptionChanged(SubscriptionChanged {
        owner: subscription.owner.to_string(),
        plan_id: plan.to_string(),
        seats,
        state: subscription.state.to_string(),
    })
}

#[cfg(test)]
mod tests;
