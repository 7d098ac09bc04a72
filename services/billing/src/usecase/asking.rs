//! Asking a provider for a payment's money. With what it is asked is written down before: whoever lost its answer asks the
//! same again, whatever has become of the owner's cards meanwhile. Whoever may buy nothing any more is asked for nothing.

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, PaymentId};
use bursar_time::Timestamp;

use super::cashier::Cashier;
use super::renewals::passes;
use crate::domain::{News, Payment, PaymentState, Purpose, SavedMethod};
use crate::error::Error;
use crate::payment::{PaymentMethod, Settlement, ToPay};
use crate::store::{methods, payments};

/// The decline code of a saved method that cannot pay any more.
const EXPIRED: &str = "expired_card";
/// The decline code of one that was removed.
const MISSING: &str = "payment_method_missing";

/// Whether a payment's provider is asked.
enum Means {
    /// With this, by the provider's own name.
    Token(String),
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
        let token = match self.means_of(payment.id).await? {
            Means::Token(token) => token,
            Means::Declined(code) => {
                let news = News::Declined(code.to_owned());
                return Ok(Some(Settlement { reference: None, news }));
            }
            Means::None => return Ok(None),
        };
        let to_pay = ToPay { key: payment.id, amount: payment.amount, token: &token };
        Ok(Some(self.till.payments.pay(&to_pay).await))
    }

    /// With what a payment is paid, written down before anybody is asked.
    async fn means_of(&self, id: PaymentId) -> Result<Means, Error> {
        let mut tx = self.till.db.begin().await?;
        let mut payment = payments::lock(&mut tx, id).await?.ok_or(Error::NotFound("payment"))?;
        if payment.state != PaymentState::Created {
            return Ok(Means::None);
        }
        if let Some(token) = payments::asked_with(&mut tx, id).await? {
            return Ok(Means::Token(token));
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
        let token = match self.token(&mut tx, &payment).await? {
            Ok(token) => token,
            Err(code) => return Ok(Means::Declined(code)),
        };
        payments::ask_with(&mut tx, id, &token).await?;
        tx.commit().await?;
        Ok(Means::Token(token))
    }

    /// The provider's name for what a payment is paid with; or why that cannot pay any more.
    async fn token(&self, tx: &mut Tx, payment: &Payment) -> Result<Result<String, &'static str>, Error> {
        let method = PaymentMethod::from_stored(&payment.method);
        if let PaymentMethod::Named(name) = method {
            return Ok(Ok(name));
        }
        if payment.amount.is_zero() {
            // Nobody is asked for nothing.
            return Ok(Ok(String::new()));
        }
        let payer = payer(tx, payment.owner, &method).await?;
        Ok(token_of(payer.as_ref(), self.till.clock.now()).map(str::to_owned))
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

/// The saved method that pays where this one was to; the default where that was removed.
pub(super) async fn payer(tx: &mut Tx, owner: OwnerId, was: &PaymentMethod) -> Result<Option<SavedMethod>, DbError> {
    Ok(payer_among(&methods::of_owners(tx, &[owner]).await?, was).cloned())
}

/// The same among all that its owner has saved.
pub(super) fn payer_among<'a>(saved: &'a [SavedMethod], was: &PaymentMethod) -> Option<&'a SavedMethod> {
    let named = match was {
        PaymentMethod::Saved(id) => saved.iter().find(|it| it.id == *id),
        PaymentMethod::Named(_) | PaymentMethod::Default => None,
    };
    named.or_else(|| saved.iter().find(|it| it.is_default))
}
