//! Payments whose provider was asked and has not answered, where their owner has put another card in the place of the one that
//! was to pay since.
//!
//! Asked again, such a payment is asked for with what it was asked with before: nobody is asked for one payment's money with two
//! cards. So the other card pays another attempt at the same thing, and not before it is certain that the first one takes
//! nothing any more:
//!
//! | what is known of the first | what is done | then |
//! |---|---|---|
//! | it has no name: no money was asked for | it is given up; whoever asks at this moment finds that, and takes nothing | the next attempt |
//! | it has one | its provider cancels it, and says what had been taken before | canceled or declined: the next attempt; paid: it is delivered |
//! | it has one that the provider does not know, though it knows its customer | nothing: it counts as canceled | the next attempt |
//! | it has one, and the provider does not say | nothing | it is asked again, later |
//!
//! Until it is known that nothing had been taken, it is not given up: what had been is delivered, and does not go back. Whoever else
//! hears that it is canceled before it is given up, or after whoever canceled it was lost, does not count that either
//! ([`Cashier::give_up_replaced`]).
//!
//! So it goes, too, where somebody subscribes, or changes a subscription, by another request after the answer to one was lost.

use bursar_db::Tx;
use bursar_id::{PaymentId, ServiceAccountId};

use super::cashier::{Beginning, Cashier, MOST_OPEN, PATIENCE};
use super::subscriptions::already;
use crate::domain::{Bought, News, Payment, PaymentState, Purpose};
use crate::error::Error;
use crate::payment::{INVOICE, PaymentMethod, Settlement};
use crate::store::{payments, settings, subscriptions};

impl Cashier {
    /// A payment that somebody wants by this method, as it is now: where nobody knows what has become of it and another card
    /// stands in the place of the one that it was to be paid with, that is learnt first. Where it has come to nothing then, the next
    /// attempt takes its place. A provider that is asked nothing answers the same at once, whatever was asked before.
    ///
    /// # Errors
    /// The provider does not say: it may have been paid.
    pub(super) async fn as_of_now(&self, payment: Payment, method: &PaymentMethod) -> Result<Payment, Error> {
        if self.is_replaced(&payment, method).await? { self.resolved(&payment).await } else { Ok(payment) }
    }

    /// The same by the method that it is for, for the job, which nobody has told another one. What a contract begins with is asked
    /// for by the contract's own.
    pub(super) async fn as_of_now_for_the_job(&self, payment: Payment) -> Result<Payment, Error> {
        if payment.bought.contract().is_some() {
            return Ok(payment);
        }
        let method = self.method_for_the_job(&payment).await?;
        self.as_of_now(payment, &method).await
    }

    /// Whoever subscribes anew, or changes a subscription, under another request learns first what has become of what was begun
    /// before and never answered, once whoever asked for that is lost: nobody pays twice, nor waits for what goes back.
    ///
    /// # Errors
    /// That had been paid, and is delivered now; or the provider does not say.
    pub(super) async fn learn_of_lost(&self, new: &Beginning) -> Result<(), Error> {
        let mut tx = self.till.db.read().await?;
        let waiting = match new.bought.purpose() {
            _ if self.till.payments.pays_at_once() => return Ok(()),
            Purpose::Subscription => payments::waiting_starts(&mut tx, new.owner, i64::from(MOST_OPEN)).await?,
            Purpose::Change => payments::waiting_changes(&mut tx, new.owner, i64::from(MOST_OPEN)).await?,
            Purpose::Purchase | Purpose::Renewal => return Ok(()),
        };
        drop(tx);
        let now = self.till.clock.now();
        let is_lost = |it: &Payment| {
            let is_anothers = it.thing != new.thing && it.bought.contract().is_none();
            is_anothers && it.state == PaymentState::Created && it.created_at.saturating_add(PATIENCE) <= now
        };
        for lost in waiting.iter().filter(|it| is_lost(it)) {
            if self.resolved(lost).await?.fulfilled_at.is_some() {
                let live = subscriptions::live(&mut self.till.db.read().await?, new.owner).await?;
                let is_start = new.bought.purpose() == Purpose::Subscription;
                return Err(live.filter(|_| is_start).map_or(Error::ChangeOvertaken, |live| already(&live)));
            }
        }
        Ok(())
    }

    /// A payment of which nobody knew what has become, as it is once that is known; where nothing had been taken, nothing is any
    /// more.
    async fn resolved(&self, payment: &Payment) -> Result<Payment, Error> {
        if let Some(named) = self.give_up_unnamed(payment.id).await? {
            let heard = self.cancel_there(&named).await?;
            match heard {
                // Declined by nobody: it uses up no attempt.
                Some(Settlement { news: News::Canceled, .. }) => self.abandon(payment.id, heard.as_ref()).await?,
                heard => self.hear(payment.id, heard.as_ref()).await?,
            };
        }
        let mut tx = self.till.db.read().await?;
        payments::get(&mut tx, payment.id).await?.ok_or(Error::Failed)
    }

    /// A month's payment, locked, that its provider says is canceled: where another card is to pay, it was canceled for that, by
    /// whoever is about to give it up ([`Cashier::as_of_now`]), or was stopped before. Given up it uses up no attempt, whoever hears of
    /// it first. `false`: it is as it was.
    pub(super) async fn give_up_replaced(
        &self,
        tx: &mut Tx,
        payment: &mut Payment,
        method: &PaymentMethod,
    ) -> Result<bool, Error> {
        let is_for_that = payment.state == PaymentState::Canceled && !self.till.payments.pays_at_once();
        if !is_for_that || !self.has_another(tx, payment, method).await? {
            return Ok(false);
        }
        self.give_up(tx, payment, None).await?;
        Ok(true)
    }

    async fn method_for_the_job(&self, payment: &Payment) -> Result<PaymentMethod, Error> {
        let tops_up = matches!(payment.bought, Bought::Pack { .. })
            && payment.started_by == ServiceAccountId::BILLING.to_string();
        if tops_up {
            // It was to be paid with what is set there, and may have been with the default of that time.
            let set = settings::of(&mut self.till.db.read().await?, payment.owner).await?.top_up;
            if let Some(set) = set.filter(|it| it.enabled) {
                return Ok(PaymentMethod::from_stored(&set.method));
            }
        }
        Ok(PaymentMethod::from_stored(&payment.method))
    }

    /// Whether nobody knows what has become of a payment, and by this method another card would pay it now than it was asked for
    /// with, or would be. Where none can pay, the one that there was stays.
    async fn is_replaced(&self, payment: &Payment, method: &PaymentMethod) -> Result<bool, Error> {
        if payment.state != PaymentState::Created || payment.returned || self.till.payments.pays_at_once() {
            return Ok(false);
        }
        self.has_another(&mut self.till.db.read().await?, payment, method).await
    }

    /// Whether by this method another card would pay a payment now than it was asked for with, or would have been.
    async fn has_another(&self, tx: &mut Tx, payment: &Payment, method: &PaymentMethod) -> Result<bool, Error> {
        let Ok(present) = self.token(tx, payment, method).await? else { return Ok(false) };
        let before = match payments::asked_with(tx, payment.id).await? {
            Some(asked) => Ok(asked),
            None => self.token(tx, payment, &PaymentMethod::from_stored(&payment.method)).await?,
        };
        // What is paid by invoice is asked of nobody.
        Ok(before.as_deref() != Ok(INVOICE) && before.as_deref() != Ok(present.as_str()))
    }

    /// Gives up a payment that has no name at its provider: no money was asked for, and none will be. `Some`: it has one, and is
    /// as it was.
    async fn give_up_unnamed(&self, id: PaymentId) -> Result<Option<Payment>, Error> {
        let mut tx = self.till.db.begin().await?;
        let mut payment = payments::lock(&mut tx, id).await?.ok_or(Error::NotFound("payment"))?;
        if payment.state != PaymentState::Created || payment.returned {
            // Somebody else has heard of it.
            return Ok(None);
        }
        if payment.reference.is_some() {
            return Ok(Some(payment));
        }
        let unasked = Settlement { reference: None, news: News::Canceled };
        self.give_up(&mut tx, &mut payment, Some(&unasked)).await?;
        tx.commit().await?;
        self.jobs.wake();
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
