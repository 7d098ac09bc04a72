//! Asking a provider for a payment's money. With what it is asked is written down before: whoever lost its answer asks the
//! same again, whatever has become of the owner's cards meanwhile. That another card pays instead is another attempt's affair
//! (`unanswered.rs`). Whoever may buy nothing any more is asked for nothing.

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, PaymentId, UserId};
use bursar_time::Timestamp;

use super::cashier::{Cashier, is_certain};
use super::renewals::passes;
use crate::domain::{Bought, News, Payment, PaymentState, Purpose, SavedMethod};
use crate::error::Error;
use crate::payment::{AskedFor, PaymentMethod, Prepared, Settlement, ToPay};
use crate::store::{methods, payments, subscriptions};

/// The decline code of a saved method that cannot pay any more.
const EXPIRED: &str = "expired_card";
/// The decline code of one that was removed.
const MISSING: &str = "payment_method_missing";

/// Whether a payment's provider is asked.
enum Means {
    /// With this, by the provider's own name; and the payment as it is.
    Token(String, Box<Payment>),
    /// Nobody was asked: what was named cannot pay any more.
    Declined(&'static str),
    /// No: something is known of it, or nothing may be sold for it.
    None,
}

impl Cashier {
    /// Asks the provider for a payment's money, if it has not been asked or its answer was lost.
    pub(super) async fn ask(&self, payment: &Payment) -> Result<Option<Settlement>, Error> {
        if payment.state != PaymentState::Created {
            return Ok(None);
        }
        let (token, payment) = match self.means_of(payment.id).await? {
            Means::Token(token, payment) => (token, payment),
            Means::Declined(code) => {
                let said = Settlement { reference: None, news: News::Declined(code.to_owned()) };
                // Where somebody else has it named, they asked with another card, and hear how it ends.
                return Ok((!Box::pin(self.declined_unasked(payment.id, &said)).await?).then_some(said));
            }
            Means::None => return Ok(None),
        };
        let to_pay = ToPay {
            key: payment.id,
            amount: payment.amount,
            token: &token,
            attended: is_attended(&payment),
            given_up: payment.returned,
        };
        let reference = match payment.reference {
            Some(reference) => Some(reference),
            None => match self.till.payments.prepare(&to_pay).await? {
                Prepared::Nothing => None,
                Prepared::Reference(reference) => match self.name(payment.id, &reference).await? {
                    Some(reference) => Some(reference),
                    None => return Ok(None),
                },
                Prepared::Ended(said) => {
                    let is_declined = matches!(said.news, News::Declined(_));
                    if is_declined && Box::pin(self.declined_unasked(payment.id, &said)).await? {
                        // Somebody else has it named, and asks for it: what becomes of it is said of that.
                        return Box::pin(self.ask(&payment)).await;
                    }
                    return Ok(Some(said));
                }
            },
        };
        Ok(Some(self.till.payments.pay(&to_pay, reference.as_deref()).await?))
    }

    /// Learns that a payment was declined before any money was asked for, in a transaction of its own: whoever has an intent made
    /// for it at the same time finds it declined as they write down its name, and asks for nothing ([`Cashier::name`]). `true`:
    /// somebody was faster, and may be asking for its money by now; then nothing was learnt.
    async fn declined_unasked(&self, id: PaymentId, said: &Settlement) -> Result<bool, Error> {
        let mut tx = self.till.db.begin().await?;
        let (payment, events) = self.settle(&mut tx, id, Some(said), None).await?;
        if payment.reference.is_some() {
            tx.rollback().await?;
            return Ok(true);
        }
        self.outbox.commit(tx, events).await?;
        self.jobs.wake();
        Ok(false)
    }

    /// The same during the call that the payment is for. That it was declined or canceled is kept: the call's refusal keeps nothing.
    pub(super) async fn ask_in_a_call(&self, payment: &Payment) -> Result<Option<Settlement>, Error> {
        let heard = self.ask(payment).await?;
        self.keep_a_decline(payment, heard.as_ref()).await?;
        Ok(heard)
    }

    /// What came of booking what the call's payment buys: where it is certain that nothing was sold, the money goes back.
    pub(super) async fn end_of_a_call<T>(
        &self,
        payment: PaymentId,
        heard: Option<&Settlement>,
        booked: Result<T, Error>,
    ) -> Result<T, Error> {
        if booked.as_ref().is_err_and(is_certain) {
            self.abandon(payment, heard).await?;
        }
        booked
    }

    /// Asks the provider what has become of a payment that is open, as what it tells by itself may be lost; and has it cancel one
    /// that was given up, which its customer could still finish.
    pub(super) async fn look_at(&self, payment: &Payment) -> Result<Option<Settlement>, Error> {
        if payment.returned && payment.state == PaymentState::Canceled {
            return self.cancel_there(payment).await;
        }
        let Some(reference) = &payment.reference else { return Ok(None) };
        if payment.is_open() && payment.state != PaymentState::Created {
            let token = self.asked_with(payment.id).await?;
            let asked = AskedFor { reference, token: token.as_deref(), amount: payment.amount };
            return Ok(self.till.payments.look(asked).await?);
        }
        Ok(None)
    }

    /// Has the provider cancel a payment that it has a name for, and learns from it what had been taken before.
    pub(super) async fn cancel_there(&self, payment: &Payment) -> Result<Option<Settlement>, Error> {
        let Some(reference) = &payment.reference else { return Ok(None) };
        let token = self.asked_with(payment.id).await?;
        let asked = AskedFor { reference, token: token.as_deref(), amount: payment.amount };
        Ok(self.till.payments.cancel(asked).await?)
    }

    /// With what a payment was asked for.
    async fn asked_with(&self, id: PaymentId) -> Result<Option<String>, DbError> {
        payments::asked_with(&mut self.till.db.read().await?, id).await
    }

    /// Writes down what the provider calls a payment, before it takes any money. Of two who ask at once, the first one's stands.
    /// `None`: it was given up meanwhile, or somebody else has heard how it ended, and nobody may take money for it any more. Given
    /// up later it is canceled by that name, so no money is asked for unseen.
    async fn name(&self, id: PaymentId, reference: &str) -> Result<Option<String>, Error> {
        let mut tx = self.till.db.begin().await?;
        payments::name(&mut tx, id, reference).await?;
        let named = payments::get(&mut tx, id).await?.ok_or(Error::Failed)?;
        tx.commit().await?;
        if named.state != PaymentState::Created || named.returned {
            return Ok(None);
        }
        named.reference.map(Some).ok_or(Error::Failed)
    }

    /// With what a payment is paid, written down before anybody is asked.
    async fn means_of(&self, id: PaymentId) -> Result<Means, Error> {
        let mut tx = self.till.db.begin().await?;
        let mut payment = payments::lock(&mut tx, id).await?.ok_or(Error::NotFound("payment"))?;
        if payment.state != PaymentState::Created {
            return Ok(Means::None);
        }
        if let Some(token) = payments::asked_with(&mut tx, id).await? {
            return Ok(Means::Token(token, Box::new(payment)));
        }
        if payment.returned {
            return Ok(Means::None);
        }
        match self.till.may_sell_to(&mut tx, payment.owner).await {
            Ok(()) => {}
            // It stays due, and is asked for once that is over.
            Err(Error::Refused(refusal)) if passes(&refusal) && payment.bought.purpose() == Purpose::Renewal => {
                return Ok(Means::None);
            }
            Err(Error::Refused(_)) => {
                self.give_up(&mut tx, &mut payment, None).await?;
                tx.commit().await?;
                return Ok(Means::None);
            }
            Err(error) => return Err(error),
        }
        let token = match self.token(&mut tx, &payment, &PaymentMethod::from_stored(&payment.method)).await? {
            Ok(token) => token,
            Err(code) => return Ok(Means::Declined(code)),
        };
        payments::ask_with(&mut tx, id, &token).await?;
        tx.commit().await?;
        Ok(Means::Token(token, Box::new(payment)))
    }

    /// The provider's name for what pays a payment by this method; or why that cannot pay any more.
    pub(super) async fn token(
        &self,
        tx: &mut Tx,
        payment: &Payment,
        method: &PaymentMethod,
    ) -> Result<Result<String, &'static str>, Error> {
        if let PaymentMethod::Named(name) = method {
            return Ok(Ok(name.clone()));
        }
        if payment.amount.is_zero() {
            // Nobody is asked for nothing.
            return Ok(Ok(String::new()));
        }
        let at = self.paid_at(tx, payment).await?;
        let payer = payer(tx, payment.owner, method, at).await?;
        Ok(token_of(payer.as_ref(), self.till.clock.now()).map(str::to_owned))
    }

    /// When a payment counts as paid, as to what serves then: a period that is asked for ahead from its beginning on.
    async fn paid_at(&self, tx: &mut Tx, payment: &Payment) -> Result<Timestamp, DbError> {
        let now = self.till.clock.now();
        let Bought::Renewal { subscription, period, .. } = &payment.bought else { return Ok(now) };
        let live = subscriptions::live(tx, payment.owner).await?.filter(|it| it.id == *subscription);
        let next = live.map(|it| it.next_month()).filter(|it| it.number == *period);
        Ok(next.map_or(now, |it| it.start.max(now)))
    }
}

/// The provider's name for the saved method that is to pay; or why none can pay any more.
pub(super) fn token_of(payer: Option<&SavedMethod>, now: Timestamp) -> Result<&str, &'static str> {
    match payer {
        None => Err(MISSING),
        Some(it) if it.card.is_expired_at(now) => Err(EXPIRED),
        Some(it) => Ok(&it.token),
    }
}

/// Whether somebody is there who can do what a bank asks of them: who buys something, not whom the program renews or tops up.
fn is_attended(payment: &Payment) -> bool {
    !matches!(payment.bought, Bought::Renewal { .. }) && payment.started_by.starts_with(UserId::PREFIX)
}

/// The saved method that pays at `at` where this one was to; the default where that was removed, and another one where it
/// serves no more.
pub(super) async fn payer(
    tx: &mut Tx,
    owner: OwnerId,
    was: &PaymentMethod,
    at: Timestamp,
) -> Result<Option<SavedMethod>, DbError> {
    Ok(payer_among(&methods::of_owners(tx, &[owner]).await?, was, at).cloned())
}

/// The same among all that its owner has saved. In the place of one that has stopped serving comes what can pay still, the
/// default first, then the latest.
pub(super) fn payer_among<'a>(saved: &'a [SavedMethod], was: &PaymentMethod, at: Timestamp) -> Option<&'a SavedMethod> {
    let named = match was {
        PaymentMethod::Saved(id) => saved.iter().find(|it| it.id == *id),
        PaymentMethod::Named(_) | PaymentMethod::Default => None,
    };
    let first = named.or_else(|| saved.iter().find(|it| it.is_default))?;
    if first.serves_at(at) {
        return Some(first);
    }
    let others = saved.iter().filter(|it| it.serves_at(at));
    others.max_by_key(|it| (!it.card.is_expired_at(at), it.is_default, it.id))
}

#[cfg(test)]
pub(super) mod tests;
