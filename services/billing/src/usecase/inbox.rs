//! The inbox: what the payment provider tells by itself.
//!
//! | step | where | if it is lost after this |
//! |---|---|---|
//! | an event is written down once, with the job that works it off (`Inbox::receive`) | a transaction | the job finds it |
//! | the provider hears that it arrived | none | it sends the event again: nothing more is written |
//! | what it means is done (`Inbox::work`) | the payment's own transaction | it is done again, and changes nothing |
//! | what became of it is written down | a transaction | the same |
//!
//! Events come late, twice and in any order; that is the payment's affair ([`crate::domain::Payment::learn`]). An event about
//! something that is not known here is tried again for hours, as it may be faster than what it is about; then it is **set
//! aside**: nobody loses money in silence. An operator looks at it (`bursar-billing webhooks`).
//!
//! What is told of a payment's money and can be booked nowhere, as it is about another dispute or in another currency, is kept with
//! the payment besides ([`SetAside`]): nobody refunds it, and the month's report does not add up without it. That stays so when the
//! event is dropped, until the bank decides for the merchant.

use bursar_db::Db;
use bursar_id::PaymentId;
use bursar_jobs::{Jobs, Kind, Terms};
use bursar_money::Price;
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::payments::PaymentUseCases;
use crate::domain::{News, Payment, SavedMethod, SetAside};
use crate::error::Error;
use crate::payment::Settlement;
use crate::payment::stripe::event::{Event, Kept, Notice};
use crate::store::webhooks::{self, NewWebhook, WebhookState};
use crate::store::{methods, payments};

pub use crate::store::webhooks::WebhookAside;

/// Working off an event.
pub(crate) const WEBHOOK: Kind<Webhook> = Kind::new("billing.webhook");

/// For some hours.
pub(crate) const TERMS: Terms =
    Terms { attempts: 14, first_wait: Span::from_secs(5), longest_wait: Span::HOUR, ..Terms::DEFAULT };

/// The most events that are listed.
const LISTED: i64 = 1_000;

/// Which event to work off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Webhook {
    /// The provider's id of it.
    pub(crate) id: String,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// What it means was done.
    Done,
    /// It means nothing here.
    Ignored,
    /// Somebody has to look at it.
    Aside(String),
    /// What it is about is not known here, yet.
    Unknown(&'static str),
}

/// Takes what the provider tells, and works it off.
#[derive(Clone)]
pub(crate) struct Inbox(pub(crate) PaymentUseCases);

impl Inbox {
    /// Writes an event down, once however often it comes. The provider may hear that it arrived once this has returned.
    pub(crate) async fn receive(&self, event: &Event) -> Result<(), Error> {
        let cashier = &self.0.cashier;
        let (state, body, problem) = match &event.kept {
            Kept::Object(body) => (WebhookState::Waiting, Some(body.as_str()), None),
            Kept::Nothing => (WebhookState::Ignored, None, None),
            Kept::Unreadable => (WebhookState::Aside, None, Some("what it is about cannot be read")),
        };
        if let Some(problem) = problem {
            tracing::error!(
                event = event.id,
                kind = event.kind,
                problem,
                "an event of the payment provider is set aside"
            );
        }
        let new = NewWebhook { id: &event.id, kind: &event.kind, state, body, problem };
        let now = cashier.till.clock.now();
        let mut tx = cashier.till.db.begin().await?;
        if webhooks::put(&mut tx, &new, now).await? {
            let job = Webhook { id: event.id.clone() };
            cashier.jobs.enqueue(&mut tx, WEBHOOK, &job, now, Some(&event.id)).await?;
        }
        tx.commit().await?;
        cashier.jobs.wake();
        Ok(())
    }

    /// Does what an event means, and writes down what became of it. `last`: it is not tried again.
    ///
    /// # Errors
    /// It may work later.
    pub(crate) async fn work(&self, Webhook { id }: &Webhook, last: bool) -> Result<(), Error> {
        let till = &self.0.cashier.till;
        let waiting = webhooks::waiting(&mut till.db.read().await?, id).await?;
        let Some((kind, body)) = waiting else { return Ok(()) };
        let end = match self.act(&kind, &body).await {
            Ok(End::Unknown(what)) if last => End::Aside(what.to_owned()),
            Ok(End::Unknown(what)) => return Err(Error::NotFound(what)),
            Err(error) if last => End::Aside(error.to_string()),
            outcome => outcome?,
        };
        let (state, problem) = match &end {
            End::Done => (WebhookState::Done, None),
            End::Aside(problem) => (WebhookState::Aside, Some(problem.as_str())),
            End::Ignored | End::Unknown(_) => (WebhookState::Ignored, None),
        };
        if let Some(problem) = problem {
            tracing::error!(event = id, kind, problem, "an event of the payment provider is set aside");
        }
        let mut tx = till.db.begin().await?;
        webhooks::settle(&mut tx, id, (state, problem), till.clock.now()).await?;
        Ok(tx.commit().await?)
    }

    async fn act(&self, kind: &str, body: &str) -> Result<End, Error> {
        match Notice::read(kind, body) {
            None => Ok(End::Aside("what it is about cannot be read".to_owned())),
            Some(Notice::NotOurs) => Ok(End::Ignored),
            Some(Notice::Payment { payment, reference, news, paid, dispute }) => {
                let known = self.find(payment, &reference).await?;
                let Some(known) = known else { return Ok(End::Unknown("payment")) };
                self.hear(&known, (reference, dispute), &news, paid).await
            }
            Some(Notice::Method { id, owner, by, token }) => {
                let new = |card, now| SavedMethod {
                    id,
                    owner,
                    token: token.clone(),
                    card,
                    is_default: false,
                    added_by: by,
                    created_at: now,
                    serves_until: None,
                };
                self.save(&token, new).await
            }
            Some(Notice::Card { token }) => self.show(&token).await,
            Some(Notice::RefundFailed { reference, is_ours }) => {
                let known = self.find(None, &reference).await?;
                // The books say that it went back, from here or in the dashboard: somebody has to see to it.
                let other = if is_ours { End::Unknown("payment") } else { End::Ignored };
                Ok(known.map_or(other, |known| {
                    End::Aside(format!("what was given back of {} has not reached its customer", known.id))
                }))
            }
        }
    }

    /// By its own id where the provider says that, or by the provider's name for it.
    async fn find(&self, payment: Option<PaymentId>, reference: &str) -> Result<Option<Payment>, Error> {
        let mut tx = self.0.cashier.till.db.read().await?;
        if let Some(named) = payments::named(&mut tx, reference).await? {
            return Ok(Some(named));
        }
        match payment {
            Some(id) => Ok(payments::get(&mut tx, id).await?),
            None => Ok(None),
        }
    }

    /// Learns what was heard of a payment, by the provider's names for it and for its dispute.
    async fn hear(
        &self,
        known: &Payment,
        (reference, dispute): (String, Option<String>),
        news: &[News],
        paid: Option<Price>,
    ) -> Result<End, Error> {
        if known.reference.as_ref().is_some_and(|it| *it != reference) {
            // One that was begun and not taken: whoever asked for it had lost the first one's name.
            let why = format!("it is about another attempt at {} than the one that is known", known.id);
            return Ok(if paid.is_some() { End::Aside(why) } else { End::Ignored });
        }
        if paid.is_some_and(|paid| paid != known.amount) {
            return Ok(End::Aside(format!("another amount was paid than {} of {}", known.amount, known.id)));
        }
        let is_foreign = |news: &News| news.amount().is_some_and(|it| it.currency() != known.amount.currency());
        if news.iter().any(is_foreign) {
            // An amount that cannot be counted would count for nothing.
            self.keep_aside(known, dispute.as_deref(), news).await?;
            return Ok(End::Aside(format!("it is about another currency than {} of {}", known.amount, known.id)));
        }
        if let Some(dispute) = dispute {
            let mut tx = self.0.cashier.till.db.begin().await?;
            let is_known = webhooks::take_dispute(&mut tx, known.id, &dispute).await?;
            tx.commit().await?;
            if !is_known {
                // A payment has one dispute's amount and decision: two of them together somebody has to see to.
                self.keep_aside(known, Some(&dispute), news).await?;
                return Ok(End::Aside(format!(
                    "it is about another dispute of {}, for all that is known of that",
                    known.id
                )));
            }
        }
        for news in news {
            let heard = Settlement { reference: Some(reference.clone()), news: news.clone() };
            self.0.cashier.hear(known.id, Some(&heard)).await?;
        }
        Ok(End::Done)
    }

    /// Keeps with a payment what cannot be booked of it.
    async fn keep_aside(&self, of: &Payment, dispute: Option<&str>, news: &[News]) -> Result<(), Error> {
        match SetAside::told(dispute, news) {
            Some(told) => self.0.cashier.keep_aside(of.id, told).await,
            None => Ok(()),
        }
    }

    /// Saves a card that a customer has entered. Where it can be nobody's any more, the provider forgets it, too.
    async fn save(
        &self,
        token: &str,
        new: impl FnOnce(crate::domain::Card, Timestamp) -> SavedMethod,
    ) -> Result<End, Error> {
        let till = &self.0.cashier.till;
        let Some(card) = till.payments.card(token).await? else { return Ok(End::Ignored) };
        match self.0.entered(new(card, till.clock.now())).await {
            Ok(_) => Ok(End::Done),
            Err(Error::Refused(refusal)) => self.refuse(token, &refusal.to_string()).await,
            Err(error @ Error::TooManyPaymentMethods(_)) => self.refuse(token, &error.to_string()).await,
            Err(error) => Err(error),
        }
    }

    /// Shows a card as the provider has it now, whatever was told when: a new date is what lets it pay on.
    async fn show(&self, token: &str) -> Result<End, Error> {
        let till = &self.0.cashier.till;
        // Nobody is asked about somebody else's card. One that is not known yet is read when it is saved.
        if !methods::is_saved(&mut till.db.read().await?, token).await? {
            return Ok(End::Ignored);
        }
        let Some(card) = till.payments.card(token).await? else { return Ok(End::Ignored) };
        let mut tx = till.db.begin().await?;
        let is_known = methods::show(&mut tx, token, &card).await?;
        tx.commit().await?;
        Ok(if is_known { End::Done } else { End::Ignored })
    }

    async fn refuse(&self, token: &str, why: &str) -> Result<End, Error> {
        tracing::warn!(why, "a payment method that a customer has entered is not saved");
        let mut tx = self.0.cashier.till.db.begin().await?;
        self.0.cashier.removals().later(&mut tx, [token.to_owned()]).await?;
        tx.commit().await?;
        self.0.cashier.jobs.wake();
        Ok(End::Done)
    }
}

/// What is set aside, the oldest first.
///
/// # Errors
/// The store failed.
pub async fn aside(db: &Db) -> Result<Vec<WebhookAside>, Error> {
    Ok(webhooks::aside(&mut db.read().await?, LISTED).await?)
}

/// Has the programs that run work an event off that was set aside. `false`: there is none such, or nothing is kept of it (then
/// the provider can send it again).
///
/// # Errors
/// The store failed.
pub async fn again(db: &Db, jobs: &Jobs, id: &str, now: Timestamp) -> Result<bool, Error> {
    let mut tx = db.begin().await?;
    if !webhooks::again(&mut tx, id, None).await? {
        return Ok(false);
    }
    jobs.enqueue(&mut tx, WEBHOOK, &Webhook { id: id.to_owned() }, now, Some(id)).await?;
    tx.commit().await?;
    Ok(true)
}

/// Has an event that was set aside be one that does not matter.
///
/// # Errors
/// The store failed, or no such event is set aside.
pub async fn discard(db: &Db, id: &str, now: Timestamp) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    webhooks::discard(&mut tx, id, now).await?;
    Ok(tx.commit().await?)
}
