//! Buying packs: credits that never expire, once for each payment.

use std::sync::Arc;

use bursar_events::Outbox;
use bursar_id::{Id, OwnerId, PurchaseId, RequestId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation, Mutations, Page, PageRequest};
use bursar_secret::Entropy;

use super::access::{Access, Allowed};
use super::orders::{self, Order, Till, admit, up_to_date};
use crate::domain::{
    Actor, Catalog, Command, GrantCommand, LotSource, Note, Origin, Outcome, Pack, Purchase, PurchaseState, Request,
    RequestName, Sale, Salt,
};
use crate::error::Error;
use crate::lane::Job;
use crate::payment::Settlement;
use crate::store::purchases;

/// Purchases.
#[derive(Clone)]
pub(crate) struct PurchaseUseCases {
    pub(crate) access: Access,
    pub(crate) till: Till,
    pub(crate) entropy: Entropy,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) mutations: Mutations<Outbox>,
}

impl PurchaseUseCases {
    /// Takes the payment and grants the pack's credits to `owner`, bought by the caller. The provider is asked between
    /// two mutations: the first looks whether anything stands against it.
    pub(crate) async fn purchase(&self, owner: OwnerId, asked: &Asked<Order>) -> Result<Answer<Purchase>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let looked = self.check(&mut m, owner, asked, standing).await;
        if let Looked::Before(answer) = self.mutations.look(m, looked).await? {
            return Ok(answer);
        }
        let order = asked.command()?;
        let pack = self.pack(&order.product)?;
        let at = self.till.clock.now();
        let id = Id::from_parts(at.as_millis(), self.entropy.bytes());
        let payment_method = order.method.as_str().to_owned();
        let sale = Sale { id, owner, payment_method, buyer: asked.caller().actor(), at };
        let settlement = self.till.pay(asked, pack.price, &id.to_string())?;
        let sold = match &settlement {
            Settlement::Declined { reference } => {
                self.remember(&Purchase::declined(pack, sale, reference.clone())).await?;
                None
            }
            Settlement::Paid { reference } => Some((sale, reference.clone())),
        };
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.book(&mut m, owner, asked, standing, sold).await;
        let booked = self.mutations.end(m, done).await;
        self.till.after(booked, &settlement)
    }

    /// What can be known before any money is taken: the caller's standing, the answer that the request got before
    /// (however long ago), and that there is no such pack.
    async fn check(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<Order>,
        standing: Result<Allowed, Error>,
    ) -> Result<Option<()>, Error> {
        let Some(order) = orders::open(m, owner, asked, standing, purchases::kept).await? else { return Ok(None) };
        self.till.may_sell_to(m.tx(), owner).await?;
        self.pack(&order.product)?;
        Ok(Some(()))
    }

    /// One transaction: the purchase, its credits and the request's answer; `None` was declined. A payment that has
    /// credited before credits nothing more, and the answer is the purchase it was for.
    async fn book(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<Order>,
        standing: Result<Allowed, Error>,
        sold: Option<(Sale, String)>,
    ) -> Result<Done<Purchase, Payload>, Error> {
        let allowed = admit(m, owner, standing)?;
        let Some(order) = m.open(asked).await? else { return Ok(Done::Replay) };
        up_to_date(&allowed)?;
        let (sale, reference) = sold.ok_or(Error::PaymentDeclined)?;
        self.till.demand_sale_to(m.tx(), owner).await?;
        let pack = self.pack(&order.product)?;
        let request = credit(pack, &sale, &reference, self.entropy.bytes())?.for_member(allowed.spender);
        let Outcome::Granted(granted) = self.till.book(m.tx(), &Job { owner, actor: Actor::Job, request }).await?
        else {
            return Err(Error::Failed);
        };
        let paid = Purchase::paid(pack, sale, reference, granted.lot.id);
        let sold = if purchases::insert(m.tx(), &paid, asked.keep(&paid).as_ref()).await? {
            paid
        } else {
            // The payment has credited before: the lot is the one that it granted then.
            let known = purchases::by_reference(m.tx(), paid.owner, &paid.payment_reference).await?;
            known.filter(|known| known.state == PurchaseState::Paid).ok_or(Error::Failed)?
        };
        m.about(&sold.id);
        Ok(Done::New(sold, Vec::new()))
    }

    fn pack(&self, id: &str) -> Result<&Pack, Error> {
        self.catalog.pack(id).ok_or_else(|| Error::PackNotFound(id.to_owned()))
    }

    /// Keeps a declined attempt for the owner's list.
    async fn remember(&self, declined: &Purchase) -> Result<(), Error> {
        let mut tx = self.till.db.begin().await?;
        purchases::insert(&mut tx, declined, None).await?;
        Ok(tx.commit().await?)
    }

    /// One of the owner's purchases.
    pub(crate) async fn get(&self, owner: OwnerId, id: PurchaseId) -> Result<Purchase, Error> {
        let mut tx = self.till.db.read().await?;
        purchases::find(&mut tx, owner, id).await?.ok_or(Error::NotFound("purchase"))
    }

    /// The owner's purchases, the latest first.
    pub(crate) async fn list(&self, owner: OwnerId, page: &PageRequest<PurchaseId>) -> Result<Page<Purchase>, Error> {
        let mut tx = self.till.db.read().await?;
        let rows = purchases::page(&mut tx, owner, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |purchase| purchase.id)?)
    }
}

/// What grants a pack's credits: at once and for ever, and once for each payment. Its name is the program's own, so that
/// nobody can take it.
fn credit(pack: &Pack, sold: &Sale, reference: &str, salt: Salt) -> Result<Request, Error> {
    let id = RequestId::parse(format!("pack:{reference}")).map_err(|_| Error::Failed)?;
    let command = Command::Grant(GrantCommand {
        amount: pack.credits,
        source: LotSource::Pack,
        priority: 0,
        scope: pack.scope.clone(),
        effective_at: None,
        expires_at: None,
        origin: Origin { purchase: Some(sold.id), paid: Some(pack.price), ..Origin::default() },
        note: Note::parse(pack.id.as_str()).ok(),
        begins: None,
    });
    Ok(Request::new(Some(RequestName::new(&Actor::Job, id)), salt, command))
}

#[cfg(test)]
mod tests;
