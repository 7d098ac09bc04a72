//! What subscribing and buying a pack have in common: an order, its payment, and what becomes of the
//! payment when nothing could be sold after all.

use bursar_db::{Db, Tx};
use bursar_money::Price;
use bursar_rpc::{Claimed, RequestKey};
use bursar_time::Clock;
use prost::Message;

use crate::domain::Outcome;
use crate::error::Error;
use crate::lane::{Job, apply};
use crate::payment::{Payment, PaymentKey, PaymentMethod, Payments, Settlement};

/// What somebody wants to buy.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The plan's or pack's id.
    pub(crate) product: String,
    /// How it is to be paid.
    pub(crate) method: PaymentMethod,
    /// The request, so that it takes effect once.
    pub(crate) key: RequestKey,
}

/// Takes money and books what it bought.
#[derive(Clone)]
pub(crate) struct Till {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) payments: Payments,
}

impl Till {
    /// The answer that this request got before, if it did; asked before any money is taken.
    pub(super) async fn replayed<R: Message + Default>(&self, key: &RequestKey) -> Result<Option<R>, Error> {
        if key.id().is_none() {
            return Ok(None);
        }
        let mut tx = self.db.begin().await?;
        let answer = self.claim(&mut tx, key).await?;
        // A new id is not claimed yet: it will be in the transaction that books the sale.
        tx.rollback().await?;
        Ok(answer)
    }

    /// Claims the request's id in the transaction that books the sale; or the answer that its twin got meanwhile.
    pub(super) async fn claim<R: Message + Default>(&self, tx: &mut Tx, key: &RequestKey) -> Result<Option<R>, Error> {
        match key.claim(tx, self.clock.now()).await? {
            Claimed::New => Ok(None),
            Claimed::Replay(answer) => Ok(Some(answer)),
            Claimed::Reused => Err(Error::RequestIdReused),
        }
    }

    /// Takes the order's payment; `attempt` is the id of what it is to become.
    pub(super) fn pay(&self, order: &Order, amount: Price, attempt: &str) -> Settlement {
        let key = PaymentKey::of_request(&order.key, attempt);
        self.payments.pay(&Payment { key, amount, method: &order.method })
    }

    /// Gives the payment back if it is certain that nothing was sold. Where it is not (the store did not answer), the
    /// same request asked again is the same payment.
    pub(super) fn after<R>(&self, booked: Result<R, Error>, reference: &str) -> Result<R, Error> {
        match &booked {
            Ok(_) | Err(Error::Store(_)) => {}
            Err(_) => self.payments.give_back(reference),
        }
        booked
    }

    /// Carries out one request on an account as part of a larger transaction.
    pub(super) async fn book(&self, tx: &mut Tx, job: &Job) -> Result<Outcome, Error> {
        let answer = apply(tx, &self.clock, &[job]).await?.pop().ok_or(Error::Failed)?;
        Ok(answer?)
    }
}
