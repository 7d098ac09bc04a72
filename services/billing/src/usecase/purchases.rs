//! Buying packs: credits that never expire, once for each payment.

use bursar_events::Outbox;
use bursar_id::{Id, OwnerId, PurchaseId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation, Mutations, Page, PageRequest};

use super::access::{Access, Allowed};
use super::cashier::{Beginning, Cashier};
use super::orders::{self, Order, enter};
use crate::domain::{Bought, Pack, Payment, Receipt};
use crate::error::Error;
use crate::payment::{Settlement, thing_of_request};
use crate::store::purchases;

/// Purchases.
#[derive(Clone)]
pub(crate) struct PurchaseUseCases {
    pub(crate) access: Access,
    pub(crate) cashier: Cashier,
    pub(crate) mutations: Mutations<Outbox>,
}

impl PurchaseUseCases {
    /// Takes the payment and grants the pack's credits to `owner`, bought by the caller; or begins to, where the payment is
    /// not settled at once. The provider is asked between two mutations: the first looks whether anything stands against it.
    pub(crate) async fn purchase(&self, owner: OwnerId, asked: &Asked<Order>) -> Result<Answer<Receipt>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
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
    /// (however long ago), that there is no such pack, or nothing to pay it with.
    async fn check(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<Order>,
        standing: Result<Allowed, Error>,
    ) -> Result<Option<()>, Error> {
        let Some(order) = orders::open(m, owner, asked, standing, purchases::kept).await? else { return Ok(None) };
        self.cashier.till.may_sell_to(m.tx(), owner).await?;
        self.pack(&order.product)?;
        self.cashier.means(m.tx(), owner, &order.method).await?;
        Ok(Some(()))
    }

    /// Writes down what is to be paid; or finds what the same request began before.
    async fn begin(&self, owner: OwnerId, asked: &Asked<Order>) -> Result<Payment, Error> {
        let order = asked.command()?;
        let pack = self.pack(&order.product)?;
        let purchase: PurchaseId =
            Id::from_parts(self.cashier.till.clock.now().as_millis(), self.cashier.entropy.bytes());
        let bought = Bought::Pack { purchase, pack: pack.id, credits: pack.credits, scope: pack.scope };
        let new = Beginning {
            owner,
            bought,
            amount: pack.price,
            seats: None,
            method: order.method.clone(),
            thing: thing_of_request(asked.key(), &purchase.to_string()),
            tried_before: 0,
            started_by: asked.caller().actor(),
        };
        self.cashier.begin(new).await
    }

    /// One transaction: what the provider said, the purchase's credits and the request's answer. A payment that was settled
    /// before credits nothing more.
    async fn book(
        &self,
        m: &mut Mutation,
        (owner, payment): (OwnerId, &Payment),
        asked: &Asked<Order>,
        standing: Result<Allowed, Error>,
        heard: Option<&Settlement>,
    ) -> Result<Done<Receipt, Payload>, Error> {
        let Some((_, allowed)) = enter(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
        let (payment, events) = self.cashier.settle(m.tx(), payment.id, heard, allowed.spender).await?;
        if payment.came_to_nothing() {
            return Err(Error::PaymentDeclined);
        }
        let purchase = payment.bought.purchase().ok_or(Error::Failed)?;
        let purchase = purchases::find(m.tx(), owner, purchase).await?.ok_or(Error::Failed)?;
        let receipt = Receipt::of(purchase, &payment);
        m.about(&receipt.purchase.id);
        orders::made(m, payment.id, asked, (receipt, events)).await
    }

    fn pack(&self, id: &str) -> Result<Pack, Error> {
        let sold = self.cashier.catalog.current();
        sold.catalog().pack(id).cloned().ok_or_else(|| Error::PackNotFound(id.to_owned()))
    }

    /// One of the owner's purchases.
    pub(crate) async fn get(&self, owner: OwnerId, id: PurchaseId) -> Result<Receipt, Error> {
        let mut tx = self.cashier.till.db.read().await?;
        purchases::receipt(&mut tx, owner, id).await?.ok_or(Error::NotFound("purchase"))
    }

    /// The owner's purchases, the latest first.
    pub(crate) async fn list(&self, owner: OwnerId, page: &PageRequest<PurchaseId>) -> Result<Page<Receipt>, Error> {
        let mut tx = self.cashier.till.db.read().await?;
        let rows = purchases::receipts(&mut tx, owner, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |receipt| receipt.purchase.id)?)
    }
}

#[cfg(test)]
mod tests;
