//! What a subscription begins with, or becomes: a plan that is for sale, or a contract.
//!
//! How it begins and changes is the same for both (`subscriptions.rs`, `changing.rs`); where the terms come from, and with what
//! they are paid, is not.

use bursar_db::{DbError, Tx};
use bursar_id::OwnerId;
use bursar_money::Price;
use bursar_time::Timestamp;

use super::asking;
use super::cashier::Cashier;
use super::orders::Order;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::{Assortment, Payment, Subscription, Terms};
use crate::error::Error;
use crate::payment::{INVOICE, PaymentMethod};
use crate::store::contracts::{self, Waiting};
use crate::store::methods;

/// What a subscription can begin with.
pub(crate) trait Agreement: Send + Sync {
    /// What it is then, by what is sold.
    ///
    /// # Errors
    /// There is no such plan, or none on such terms.
    fn terms(&self, sold: &Assortment) -> Result<Terms, Error>;

    /// How it is to be paid.
    fn method(&self) -> &PaymentMethod;

    /// Which contract it is; `None` where it is a plan's own terms.
    fn contract(&self) -> Option<Which<'_>> {
        None
    }
}

/// What a subscription can become.
pub(crate) trait Aim: Send + Sync {
    /// What it is then, by what is sold and what it is at present.
    ///
    /// # Errors
    /// There is no such plan, or none on such terms; no subscription, or none that can be changed now.
    fn terms(&self, sold: &Assortment, live: Option<&Subscription>, now: Timestamp) -> Result<Terms, Error>;

    /// What is expected to be due, net; `None` for anything.
    fn expected(&self) -> Option<Price> {
        None
    }

    /// Which contract it is, and how that is to be paid; `None` where it is a plan's own terms.
    fn contract(&self) -> Option<(Which<'_>, &PaymentMethod)> {
        None
    }
}

/// A contract that takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    /// One that is set now: it takes the place of whichever waits.
    New,
    /// One that has waited.
    Waited {
        /// Its id.
        id: &'a str,
        /// How often it had been tried in vain when whoever begins it looked.
        attempts: u32,
    },
}

impl Agreement for Order {
    fn terms(&self, sold: &Assortment) -> Result<Terms, Error> {
        let (plan, _) = SubscriptionUseCases::for_sale(sold, &self.product)?;
        Terms::of(&plan).ok_or(Error::Failed)
    }

    fn method(&self) -> &PaymentMethod {
        &self.method
    }
}

/// How a subscription that begins now is paid: a contract by invoice, where nothing is named and no default serves.
pub(super) async fn payer(
    of: &impl Agreement,
    tx: &mut Tx,
    owner: OwnerId,
    now: Timestamp,
) -> Result<PaymentMethod, DbError> {
    let method = of.method().clone();
    if of.contract().is_none() || method != PaymentMethod::Default || methods::default(tx, owner, now).await?.is_some()
    {
        return Ok(method);
    }
    Ok(PaymentMethod::Named(INVOICE.to_owned()))
}

impl<'a> Which<'a> {
    /// The one that waits, as it is.
    pub(super) fn of(waits: &'a Waiting) -> Self {
        Self::Waited { id: &waits.id, attempts: waits.attempts }
    }

    /// The id under which it has waited.
    pub(super) fn waited(self) -> Option<&'a str> {
        match self {
            Self::New => None,
            Self::Waited { id, .. } => Some(id),
        }
    }

    /// How often it had been tried in vain.
    pub(super) fn attempts(self) -> u32 {
        match self {
            Self::New => 0,
            Self::Waited { attempts, .. } => attempts,
        }
    }
}

/// A contract takes effect in this transaction: nothing waits for its owner any more. Does nothing where it is none.
///
/// # Errors
/// [`Error::ChangeOvertaken`] where another one has taken its place. [`Error::Unavailable`] where it waited and its payment is
/// open: it waits until that is paid, or comes to nothing and is asked for anew, and whoever began it looks again.
pub(super) async fn takes_effect(
    contract: Option<Which<'_>>,
    payment: Option<&Payment>,
    tx: &mut Tx,
    owner: OwnerId,
) -> Result<(), Error> {
    match contract {
        None => Ok(()),
        Some(Which::New) => Ok(contracts::forget(tx, owner).await?),
        Some(Which::Waited { .. }) if payment.is_some_and(Payment::is_open) => Err(Error::Unavailable),
        Some(Which::Waited { id, .. }) => {
            let waited = contracts::begun(tx, owner, id).await?;
            // What is delivered has removed it (`fulfilment.rs`).
            let has_begun = payment.is_some_and(|it| it.fulfilled_at.is_some() && it.bought.contract() == Some(id));
            if waited || has_begun { Ok(()) } else { Err(Error::ChangeOvertaken) }
        }
    }
}

impl Cashier {
    /// The terms that a subscription is to have, with what pays them from then on: what serves when they are next to be paid. A
    /// contract may name that, and is paid by invoice where nothing else pays; nothing but a contract is.
    pub(super) async fn paid_with(
        &self,
        tx: &mut Tx,
        live: &Subscription,
        (to, named): (Terms, Option<&PaymentMethod>),
    ) -> Result<Terms, Error> {
        let next = live.paid_until().max(self.till.clock.now());
        let paid_with = match named {
            None if to.features.is_none() && live.payment_method == INVOICE => Some(String::new()),
            None => None,
            Some(PaymentMethod::Default) => {
                let present = PaymentMethod::from_stored(&live.payment_method);
                let pays = matches!(present, PaymentMethod::Named(_))
                    || asking::payer(tx, live.owner, &present, next).await?.is_some();
                (!pays).then(|| INVOICE.to_owned())
            }
            Some(method) => Some(self.means_at(tx, live.owner, method, next).await?),
        };
        Ok(Terms { paid_with: paid_with.filter(|it| *it != live.payment_method), ..to })
    }
}
