//! Subscribing to a plan, and what an owner's plan allows.

use std::sync::Arc;

use bursar_events::Outbox;
use bursar_id::{Id, OwnerId, RequestId};
use bursar_money::Price;
use bursar_proto::event::v1::SubscriptionChanged;
use bursar_proto::event::v1::event::Payload;
use bursar_secret::Entropy;
use prost::Message;

use super::access::{Access, Allowed};
use super::orders::{Order, Till};
use crate::domain::{
    Catalog, Command, GrantCommand, LotSource, Note, Paid, Plan, ProductId, Request, RequestKey, Subscription,
};
use crate::error::Error;
use crate::lane::{Job, Spender};
use crate::payment::Settlement;
use crate::store::subscriptions;

/// The scope of the request keys under which allowances are granted.
const SCOPE: &str = "sub";

/// Subscriptions.
#[derive(Clone)]
pub(crate) struct SubscriptionUseCases {
    pub(crate) access: Access,
    pub(crate) till: Till,
    pub(crate) entropy: Entropy,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) outbox: Outbox,
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
    /// Takes the first month's payment, begins the subscription and grants the month's allowance. `answer` is what is
    /// stored under the request's id and given again to a repetition.
    pub(crate) async fn subscribe<R: Message + Default>(
        &self,
        allowed: Allowed,
        order: Order,
        answer: impl FnOnce(&Subscription) -> R,
    ) -> Result<R, Error> {
        if let Some(answer) = self.check(&order, allowed.owner).await? {
            return Ok(answer);
        }
        let (plan, price) = self.for_sale(&order.product)?;
        let now = self.till.clock.now();
        let id = Id::from_parts(now.as_millis(), self.entropy.bytes());
        let Settlement::Paid { reference } = self.till.pay(&order, price, &id.to_string()) else {
            return Err(Error::PaymentDeclined);
        };
        let paid = Paid { method: order.method.as_str().to_owned(), reference: reference.clone() };
        let new = Subscription::begin(id, allowed.owner, (plan, price), paid, now);
        let booked = self.book(&order, &new, allowed.spender, answer).await;
        self.till.after(booked, &reference)
    }

    /// What can be known before any money is taken: the answer that the request got before, that the plan is not for
    /// sale, or that the owner has one. In one transaction that holds the request's id, so a twin's subscription is not taken for another's.
    async fn check<R: Message + Default>(&self, order: &Order, owner: OwnerId) -> Result<Option<R>, Error> {
        let mut tx = self.till.db.begin().await?;
        let answer = self.till.claim(&mut tx, &order.key).await?;
        if answer.is_none() {
            self.for_sale(&order.product)?;
            if let Some(live) = subscriptions::live(&mut tx, owner).await? {
                return Err(already(&live));
            }
        }
        // A new id is claimed again in the transaction that books the sale.
        tx.rollback().await?;
        Ok(answer)
    }

    /// One transaction: the subscription, its first allowance, the request's answer and the event.
    async fn book<R: Message + Default>(
        &self,
        order: &Order,
        new: &Subscription,
        spender: Option<Spender>,
        answer: impl FnOnce(&Subscription) -> R,
    ) -> Result<R, Error> {
        let mut tx = self.till.db.begin().await?;
        if let Some(answer) = self.till.claim(&mut tx, &order.key).await? {
            return Ok(answer);
        }
        if !subscriptions::insert(&mut tx, new).await? {
            let live = subscriptions::live(&mut tx, new.owner).await?;
            return Err(live.as_ref().map_or(Error::Failed, already));
        }
        let job = Job { member: spender, ..self.allowance(new)? };
        self.till.book(&mut tx, &job).await?;
        let answer = answer(new);
        order.key.settle(&mut tx, &answer).await?;
        self.outbox.commit(tx, vec![changed(new, &new.plan, new.seats)]).await?;
        Ok(answer)
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
    /// whenever it is booked, the month has one lot, with the month's own dates.
    pub(super) fn allowance(&self, of: &Subscription) -> Result<Job, Error> {
        let now = self.till.clock.now();
        let lot = Id::from_parts(now.as_millis(), self.entropy.bytes());
        let key = RequestId::parse(format!("{}:{}", of.id, of.month.number)).map_err(|_| Error::Failed)?;
        let command = if of.credits.is_zero() {
            Command::Sweep
        } else {
            Command::Grant(GrantCommand {
                lot,
                amount: of.credits,
                source: LotSource::Allowance,
                priority: 0,
                effective_at: Some(of.month.start),
                expires_at: Some(of.month.end),
                note: Note::parse(of.plan.as_str()).ok(),
            })
        };
        Ok(Job {
            owner: of.owner,
            member: None,
            acting: None,
            // A month that is over already leaves the account's period alone.
            period: of.month.contains(now).then_some((of.month.start, of.month.end)),
            request: Request::new(Some(RequestKey::new(SCOPE, &key)), command),
        })
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

fn already(live: &Subscription) -> Error {
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
