//! Giving money back: of what was returned by itself, and of what somebody refunds. The books say so at once, the provider is asked
//! by a job.

use bursar_db::Tx;
use bursar_id::PaymentId;
use bursar_jobs::Kind;
use bursar_money::Price;
use serde::{Deserialize, Serialize};

use super::cashier::Cashier;
use crate::domain::{News, Payment, PaymentState, SetAside};
use crate::error::Error;
use crate::store::payments;

/// Giving money back.
pub(crate) const REFUND: Kind<Refund> = Kind::new("billing.payment-refund");

/// Which money to give back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refund {
    /// Of which payment.
    pub(crate) payment: PaymentId,
    /// How much, in millionths of the currency's unit.
    pub(crate) micros: i64,
    /// By what the provider recognises a repetition.
    pub(crate) key: String,
}

impl Cashier {
    /// Has the money sent back of a payment that is returned, once it is there; what a dispute had taken of it once that is won.
    pub(super) async fn send_back(&self, tx: &mut Tx, payment: &mut Payment) -> Result<(), Error> {
        if !payment.returned || payment.state != PaymentState::Paid {
            return Ok(());
        }
        let rest = payment.refundable();
        let total = payment.refunded.checked_add(rest).map_err(|_| Error::Failed)?;
        if !payment.learn(&News::Refunded(total)) {
            return Ok(());
        }
        self.refund_later(tx, payment.id, rest, &format!("{}:returned:{}", payment.id, total.micros())).await
    }

    /// Keeps what the provider tells of a payment's money that is booked nowhere: from then on nobody refunds that.
    pub(super) async fn keep_aside(&self, id: PaymentId, more: SetAside) -> Result<(), Error> {
        let mut tx = self.till.db.begin().await?;
        let mut payment = payments::lock(&mut tx, id).await?.ok_or(Error::NotFound("payment"))?;
        if payment.keep_aside(more) {
            // What is back goes back where nothing was sold for it.
            self.send_back(&mut tx, &mut payment).await?;
            payments::update(&mut tx, &payment).await?;
        }
        tx.commit().await?;
        self.jobs.wake();
        Ok(())
    }

    /// Has the provider give money back, once for each key.
    pub(super) async fn refund_later(
        &self,
        tx: &mut Tx,
        payment: PaymentId,
        amount: Price,
        key: &str,
    ) -> Result<(), Error> {
        if amount.is_zero() {
            return Ok(());
        }
        let refund = Refund { payment, micros: amount.micros(), key: key.to_owned() };
        Ok(self.jobs.enqueue(tx, REFUND, &refund, self.till.clock.now(), Some(key)).await?)
    }

    /// Gives money back; the provider knows a repetition by its key.
    pub(crate) async fn give_back(&self, refund: &Refund) -> Result<(), Error> {
        let found = payments::get(&mut self.till.db.read().await?, refund.payment).await?;
        let Some(payment) = found else { return Ok(()) };
        let Some(reference) = payment.reference else {
            // Somebody has to see to it: the books say that it was given back.
            tracing::error!(payment = %refund.payment, "a refund has no payment at the provider that it could be of");
            return Err(Error::Hopeless("it has no payment there"));
        };
        let amount = Price::from_micros(payment.amount.currency(), refund.micros).map_err(|_| Error::Failed)?;
        Ok(self.till.payments.give_back(&reference, amount, &refund.key).await?)
    }
}

#[cfg(test)]
mod tests {
    use bursar_testkit::{engines, personal};

    use super::*;
    use crate::usecase::canceling::CancelAt;
    use crate::usecase::canceling::tests::cancel;
    use crate::usecase::shop::Shop;

    fn usd(dollars: i64) -> Price {
        format!("{dollars}.00 USD").parse().unwrap()
    }

    engines! {
        async fn what_is_set_aside_of_what_goes_back_goes_back_once_it_is_there(db: TestDb) {
            let (shop, owner) = (Shop::open(&db, "2026-01-31T10:00:00Z").await, personal(1));
            let waiting = shop.subscribe(owner, "business", "sandbox_pending", "").await.unwrap();
            cancel(&shop, owner, CancelAt::Now).await.unwrap();
            let id: PaymentId = waiting.payment_id.parse().unwrap();
            let heard = async |news: &[News]| {
                let told = SetAside::told(Some("dp_2"), news).unwrap();
                shop.payments.cashier.keep_aside(id, told).await.unwrap();
                shop.payments.known(id).await.unwrap()
            };
            let begun = heard(&[News::Disputed(usd(30))]).await;
            assert_eq!((begun.aside.len(), begun.refunded), (1, usd(0)));
            shop.payments.told(id, News::Paid).await.unwrap();
            for news in [&[News::Disputed(usd(30))][..], &[News::Disputed(usd(30))]] {
                assert_eq!(heard(news).await.refunded, usd(70), "nobody pays twice for what a bank may take");
            }
            for _ in 0..2 {
                assert_eq!(heard(&[News::Disputed(usd(30)), News::DisputeWon]).await.refunded, usd(100));
            }
            assert_eq!(shop.count("jobs WHERE kind = 'billing.payment-refund'").await, 2);
        }
    }
}
