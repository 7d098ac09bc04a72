//! Payments as their owner and operators see them, and the payment methods that are saved.

use bursar_events::Outbox;
use bursar_id::{Id, OwnerId, PaymentId, PaymentMethodId};
use bursar_money::Price;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation, Mutations, Page, PageRequest};
use bursar_time::Timestamp;

use super::access::{Access, Allowed};
use super::cashier::Cashier;
use super::orders::{admit, enter};
use crate::domain::{News, Payment, PaymentState, SavedMethod};
use crate::error::Error;
use crate::payment::{Action, Settlement, Setup, ToSave};
use crate::store::{methods, payments};

/// How many payment methods an owner may have saved.
const MOST_METHODS: u32 = 20;

/// Payments and payment methods.
#[derive(Clone)]
pub(crate) struct PaymentUseCases {
    pub(crate) access: Access,
    pub(crate) cashier: Cashier,
    pub(crate) mutations: Mutations<Outbox>,
}

/// What of a payment an operator refunds.
#[derive(Debug, Clone)]
pub(crate) struct RefundOrder {
    /// The payment.
    pub(crate) payment: PaymentId,
    /// How much; `None` for all that is left.
    pub(crate) amount: Option<Price>,
}

/// A payment method that is on its way, or there already.
#[derive(Debug, Clone)]
pub(crate) struct BegunSetup {
    /// Where the customer enters it.
    pub(crate) action: Action,
    /// What was saved, where the provider needs nothing from the customer.
    pub(crate) saved: Option<SavedMethod>,
}

impl PaymentUseCases {
    /// One of the owner's payments.
    pub(crate) async fn get(&self, owner: OwnerId, id: PaymentId) -> Result<Payment, Error> {
        let mut tx = self.cashier.till.db.read().await?;
        payments::find(&mut tx, owner, id).await?.ok_or(Error::NotFound("payment"))
    }

    /// The owner's payments, the latest first.
    pub(crate) async fn list(
        &self,
        owner: OwnerId,
        page: &PageRequest<(Timestamp, PaymentId)>,
    ) -> Result<Page<Payment>, Error> {
        let mut tx = self.cashier.till.db.read().await?;
        let rows = payments::page(&mut tx, owner, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |payment| (payment.created_at, payment.id))?)
    }

    /// The owner's payment methods, the latest first.
    pub(crate) async fn methods(
        &self,
        owner: OwnerId,
        page: &PageRequest<PaymentMethodId>,
    ) -> Result<Page<SavedMethod>, Error> {
        let mut tx = self.cashier.till.db.read().await?;
        let rows = methods::page(&mut tx, owner, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |method| method.id)?)
    }

    /// One of the owner's payment methods, if it is saved still.
    pub(crate) async fn method(&self, owner: OwnerId, id: PaymentMethodId) -> Result<Option<SavedMethod>, Error> {
        Ok(methods::find(&mut self.cashier.till.db.read().await?, owner, id).await?)
    }

    /// Gives a payment or a part of it back: the credits it bought are taken back in the same commit, and the provider gives
    /// the money back afterwards.
    pub(crate) async fn refund(&self, owner: OwnerId, asked: &Asked<RefundOrder>) -> Result<Answer<Payment>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.take_back(&mut m, owner, asked, standing).await;
        let refunded = self.mutations.end(m, done).await?;
        self.cashier.jobs.wake();
        Ok(refunded)
    }

    async fn take_back(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<RefundOrder>,
        standing: Result<Allowed, Error>,
    ) -> Result<Done<Payment, Payload>, Error> {
        admit(m, owner, standing)?;
        let Some(order) = m.open(asked).await? else { return Ok(Done::Replay) };
        let found = payments::lock(m.tx(), order.payment).await?.filter(|it| it.owner == owner);
        let payment = found.ok_or(Error::NotFound("payment"))?;
        m.about(&payment.id);
        if payment.state != PaymentState::Paid || payment.returned {
            return Err(Error::PaymentNotPaid);
        }
        let left = payment.refundable();
        let amount = order.amount.unwrap_or(left);
        if amount.currency() != left.currency() || amount.micros() > left.micros() || amount.is_zero() {
            return Err(Error::RefundAbovePayment { left });
        }
        let total = payment.refunded.checked_add(amount).map_err(|_| Error::Failed)?;
        let heard = Settlement { reference: None, news: News::Refunded(total) };
        let (refunded, events) = self.cashier.settle(m.tx(), payment.id, Some(&heard), None).await?;
        let key = format!("{}:refunded:{}", payment.id, total.micros());
        self.cashier.refund_later(m.tx(), payment.id, amount, &key).await?;
        Ok(Done::New(refunded, events))
    }

    /// What the customer has to do about a payment now. Where the provider does not say, nothing: whoever asks for the payment
    /// again is told.
    pub(crate) async fn action(&self, payment: &Payment) -> Option<Action> {
        let reference = payment.reference.as_deref();
        let action = self.cashier.till.payments.action(payment.id, payment.state, reference).await;
        action.unwrap_or_else(|trouble| {
            tracing::warn!(%trouble, payment = %payment.id, "what its customer has to do is not known");
            None
        })
    }

    /// What a provider tells of a payment, whoever's it is: for the sandbox's service.
    pub(crate) async fn told(&self, id: PaymentId, news: News) -> Result<Payment, Error> {
        self.cashier.hear(id, Some(&Settlement { reference: None, news })).await
    }

    /// A payment, whoever's it is.
    pub(crate) async fn known(&self, id: PaymentId) -> Result<Payment, Error> {
        let mut tx = self.cashier.till.db.read().await?;
        payments::get(&mut tx, id).await?.ok_or(Error::NotFound("payment"))
    }

    /// Begins to save a payment method. The provider is asked between two mutations: the first looks whether anything
    /// stands against it.
    pub(crate) async fn begin_setup(&self, owner: OwnerId, asked: &Asked<String>) -> Result<Answer<BegunSetup>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let looked = self.may_save(&mut m, owner, asked, standing).await;
        if let Looked::Before(answer) = self.mutations.look(m, looked).await? {
            return Ok(answer);
        }
        let now = self.cashier.till.clock.now();
        let id = Id::from_parts(now.as_millis(), self.cashier.entropy.bytes());
        let by = asked.caller().actor();
        let new = ToSave { id, owner, by: &by };
        let setup = self.cashier.till.payments.begin_setup(new, asked.command()?, now).await?;
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.save(&mut m, (owner, id), asked, standing, setup).await;
        self.mutations.end(m, done).await
    }

    async fn may_save(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<String>,
        standing: Result<Allowed, Error>,
    ) -> Result<Option<()>, Error> {
        if enter(m, owner, asked, standing).await?.is_none() {
            return Ok(None);
        }
        has_room(m, owner).await.map(Some)
    }

    async fn save(
        &self,
        m: &mut Mutation,
        (owner, id): (OwnerId, PaymentMethodId),
        asked: &Asked<String>,
        standing: Result<Allowed, Error>,
        setup: Setup,
    ) -> Result<Done<BegunSetup, Payload>, Error> {
        if enter(m, owner, asked, standing).await?.is_none() {
            return Ok(Done::Replay);
        }
        self.cashier.till.demand_sale_to(m.tx(), owner).await?;
        has_room(m, owner).await?;
        m.about(&id);
        let Setup { action, done } = setup;
        let Some((token, card)) = done else { return Ok(Done::New(BegunSetup { action, saved: None }, Vec::new())) };
        let (added_by, created_at) = (asked.caller().actor(), m.now());
        let is_default = methods::default(m.tx(), owner, created_at).await?.is_none();
        let saved = SavedMethod { id, owner, token, card, is_default, added_by, created_at, serves_until: None };
        methods::insert(m.tx(), &saved).await?;
        Ok(Done::New(BegunSetup { action, saved: Some(saved) }, Vec::new()))
    }

    /// Saves a payment method that a customer has entered with the provider, or as if (for the sandbox's service). Doing it again
    /// changes nothing.
    pub(crate) async fn entered(&self, new: SavedMethod) -> Result<SavedMethod, Error> {
        let mut tx = self.cashier.till.db.begin().await?;
        self.cashier.till.demand_sale_to(&mut tx, new.owner).await?;
        if let Some(saved) = methods::find(&mut tx, new.owner, new.id).await? {
            return Ok(saved);
        }
        if methods::count(&mut tx, new.owner).await? >= i64::from(MOST_METHODS) {
            return Err(Error::TooManyPaymentMethods(MOST_METHODS));
        }
        let is_default = methods::default(&mut tx, new.owner, self.cashier.till.clock.now()).await?.is_none();
        let saved = SavedMethod { is_default, ..new };
        methods::insert(&mut tx, &saved).await?;
        tx.commit().await?;
        Ok(saved)
    }

    /// Makes a payment method the one that pays where none is named.
    pub(crate) async fn set_default(
        &self,
        owner: OwnerId,
        asked: &Asked<PaymentMethodId>,
    ) -> Result<Answer<SavedMethod>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.prefer(&mut m, owner, asked, standing).await;
        self.mutations.end(m, done).await
    }

    async fn prefer(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<PaymentMethodId>,
        standing: Result<Allowed, Error>,
    ) -> Result<Done<SavedMethod, Payload>, Error> {
        let Some((id, _)) = enter(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
        // One at a time: there is one default.
        self.cashier.till.demand_sale_to(m.tx(), owner).await?;
        let found = methods::find(m.tx(), owner, *id).await?.ok_or(Error::NotFound("payment method"))?;
        m.about(&found.id);
        if found.card.is_expired_at(m.now()) || !found.serves_at(m.now()) {
            return Err(Error::PaymentMethodExpired);
        }
        if !methods::make_default(m.tx(), owner, *id).await? {
            return Err(Error::NotFound("payment method"));
        }
        Ok(Done::New(SavedMethod { is_default: true, ..found }, Vec::new()))
    }

    /// Removes a payment method. What is renewed with it is paid with the default from then on.
    pub(crate) async fn remove(&self, owner: OwnerId, asked: &Asked<PaymentMethodId>) -> Result<Answer<()>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.forget(&mut m, owner, asked, standing).await;
        self.mutations.end(m, done).await
    }

    async fn forget(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<PaymentMethodId>,
        standing: Result<Allowed, Error>,
    ) -> Result<Done<(), Payload>, Error> {
        let Some((id, _)) = enter(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
        m.about(id);
        let removed = methods::remove(m.tx(), owner, *id).await?.ok_or(Error::NotFound("payment method"))?;
        self.cashier.removals().later(m.tx(), [removed]).await?;
        Ok(Done::New((), Vec::new()))
    }
}

/// Whether one more payment method may be saved.
async fn has_room(m: &mut Mutation, owner: OwnerId) -> Result<(), Error> {
    let count = methods::count(m.tx(), owner).await?;
    if count < i64::from(MOST_METHODS) { Ok(()) } else { Err(Error::TooManyPaymentMethods(MOST_METHODS)) }
}

#[cfg(test)]
mod ends;
#[cfg(test)]
mod tests;
