//! Giving money back: of what was returned by itself, and of what somebody refunds. The books say so at once, the provider is asked
//! by a job.

use bursar_db::Tx;
use bursar_id::PaymentId;
use bursar_jobs::Kind;
use bursar_money::Price;
use serde::{Deserialize, Serialize};

use super::cashier::Cashier;
use crate::domain::{News, Payment, PaymentState};
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
