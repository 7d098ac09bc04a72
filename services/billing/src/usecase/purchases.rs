//! Buying packs: credits that never expire, once for each payment.

use std::sync::Arc;

use bursar_id::{Id, LotId, OwnerId, PurchaseId, RequestId};
use bursar_rpc::{Page, PageRequest};
use bursar_secret::Entropy;
use prost::Message;

use super::access::{Access, Allowed};
use super::orders::{Order, Till};
use crate::domain::{
    Catalog, Command, GrantCommand, LotSource, Note, Outcome, Pack, Purchase, PurchaseState, Request, RequestKey, Sale,
};
use crate::error::Error;
use crate::lane::{Job, Spender};
use crate::payment::Settlement;
use crate::store::purchases;

/// The scope of the request keys under which packs are granted.
const SCOPE: &str = "pur";

/// Purchases.
#[derive(Clone)]
pub(crate) struct PurchaseUseCases {
    pub(crate) access: Access,
    pub(crate) till: Till,
    pub(crate) entropy: Entropy,
    pub(crate) catalog: Arc<Catalog>,
}

impl PurchaseUseCases {
    /// Takes the payment and grants the pack's credits to `allowed.owner`, bought by `buyer`. `answer` is what is
    /// stored under the request's id and given again to a repetition.
    pub(crate) async fn purchase<R: Message + Default>(
        &self,
        allowed: Allowed,
        buyer: String,
        order: Order,
        answer: impl FnOnce(&Purchase) -> R,
    ) -> Result<R, Error> {
        if let Some(answer) = self.till.replayed(&order.key).await? {
            return Ok(answer);
        }
        let pack = self.catalog.pack(&order.product).ok_or_else(|| Error::PackNotFound(order.product.clone()))?;
        let at = self.till.clock.now();
        let id = Id::from_parts(at.as_millis(), self.entropy.bytes());
        let payment_method = order.method.as_str().to_owned();
        let sale = Sale { id, owner: allowed.owner, payment_method, buyer, at };
        match self.till.pay(&order, pack.price, &id.to_string()) {
            Settlement::Declined { reference } => {
                self.remember(&Purchase::declined(pack, sale, reference)).await?;
                Err(Error::PaymentDeclined)
            }
            Settlement::Paid { reference } => {
                let lot: LotId = Id::from_parts(at.as_millis(), self.entropy.bytes());
                let paid = Purchase::paid(pack, sale, reference.clone(), lot);
                let booked = self.book(&order, pack, paid, lot, allowed.spender, answer).await;
                self.till.after(booked, &reference)
            }
        }
    }

    /// One transaction: the purchase, its credits and the request's answer. A payment that has credited before credits
    /// nothing more, and the answer is the purchase it was for.
    async fn book<R: Message + Default>(
        &self,
        order: &Order,
        pack: &Pack,
        paid: Purchase,
        lot: LotId,
        spender: Option<Spender>,
        answer: impl FnOnce(&Purchase) -> R,
    ) -> Result<R, Error> {
        let mut tx = self.till.db.begin().await?;
        if let Some(answer) = self.till.claim(&mut tx, &order.key).await? {
            return Ok(answer);
        }
        let sold = if purchases::insert(&mut tx, &paid).await? {
            let job = Job { member: spender, ..credit(pack, &paid, lot)? };
            match self.till.book(&mut tx, &job).await? {
                Outcome::Granted(granted) if granted.lot.id == lot => paid,
                _ => return Err(Error::Failed),
            }
        } else {
            let known = purchases::by_reference(&mut tx, paid.owner, &paid.payment_reference).await?;
            known.filter(|known| known.state == PurchaseState::Paid).ok_or(Error::Failed)?
        };
        let answer = answer(&sold);
        order.key.settle(&mut tx, &answer).await?;
        tx.commit().await?;
        Ok(answer)
    }

    /// Keeps a declined attempt for the owner's list.
    async fn remember(&self, declined: &Purchase) -> Result<(), Error> {
        let mut tx = self.till.db.begin().await?;
        purchases::insert(&mut tx, declined).await?;
        Ok(tx.commit().await?)
    }

    /// One purchase. `owner` is whose the caller may see; `None` for callers who may see everybody's.
    pub(crate) async fn get(&self, owner: Option<OwnerId>, id: PurchaseId) -> Result<Purchase, Error> {
        let missing = || Error::NotFound("purchase");
        let mut tx = self.till.db.read().await?;
        let owner = match owner {
            Some(owner) => owner,
            None => purchases::owner_of(&mut tx, id).await?.ok_or_else(missing)?,
        };
        purchases::find(&mut tx, owner, id).await?.ok_or_else(missing)
    }

    /// The owner's purchases, the latest first.
    pub(crate) async fn list(&self, owner: OwnerId, page: &PageRequest<PurchaseId>) -> Result<Page<Purchase>, Error> {
        let mut tx = self.till.db.read().await?;
        let rows = purchases::page(&mut tx, owner, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |purchase| purchase.id)?)
    }
}

/// What grants a pack's credits: at once and for ever.
fn credit(pack: &Pack, paid: &Purchase, lot: LotId) -> Result<Job, Error> {
    let key = RequestId::parse(paid.id.to_string()).map_err(|_| Error::Failed)?;
    let command = Command::Grant(GrantCommand {
        lot,
        amount: pack.credits,
        source: LotSource::Pack,
        priority: 0,
        effective_at: None,
        expires_at: None,
        note: Note::parse(pack.id.as_str()).ok(),
    });
    Ok(Job::new(paid.owner, Request::new(Some(RequestKey::new(SCOPE, &key)), command)))
}

#[cfg(test)]
mod tests;
