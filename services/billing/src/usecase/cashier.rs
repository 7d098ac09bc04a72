//! Taking payments: from the intention to the money, whoever loses which answer.
//!
//! | step | where | if it is lost after this |
//! |---|---|---|
//! | a payment is written down, with what is bought ([`Cashier::begin`]) | a transaction | the same request, or the job, asks the provider |
//! | with what it is paid is written down, and the provider is asked under its id ([`Cashier::ask`]) | a transaction, then none | asked again it says the same |
//! | what it says is learnt, what was bought is delivered ([`Cashier::settle`]) | one transaction, the caller's or the job's | it is found done |
//!
//! Who asks for a payment that was not answered, and has another card by now, learns first what has become of it
//! (`unanswered.rs`). Later news (a provider's, the sandbox's) go the third step's way ([`Cashier::hear`]). Where nothing may be sold for it
//! any more the payment is **returned** ([`Cashier::abandon`]): what is paid, now or later, goes back.
//!
//! What fulfilling a payment means is in `fulfilment.rs`.

use bursar_db::Tx;
use bursar_events::Outbox;
use bursar_id::{Id, OwnerId, PaymentId};
use bursar_jobs::{Jobs, Kind};
use bursar_money::Price;
use bursar_proto::event::v1::event::Payload;
use bursar_secret::Entropy;
use bursar_time::{Span, Timestamp, lasts};
use serde::{Deserialize, Serialize};

use super::bills::issued;
use super::catalogs::CatalogHandle;
use super::contracts::Superseded;
use super::orders::Till;
use super::removals::Removals;
use super::rollovers;
use crate::domain::{
    Bill, Bought, Dispute, News, Payment, PaymentState, Purchase, PurchaseState, Purpose, Refusal, SeatsPart, Spender,
    TakenBack,
};
use crate::error::Error;
use crate::payment::{PaymentMethod, Settlement, Thing};
use crate::store::{methods, payments, purchases};

/// Looking after a payment whose caller may have lost it.
pub(crate) const PAYMENT: Kind<Due> = Kind::new("billing.payment");

/// How long a payment is its caller's alone; then the job looks after it.
pub(super) const PATIENCE: Span = Span::from_mins(1);

/// How many payments of an owner may be open at a time.
pub(super) const MOST_OPEN: u32 = 100;

/// How long somebody waits for a payment that is open: then it is canceled, and what is paid of it afterwards goes back.
/// Renewals have their own time.
const OPEN_FOR: Span = Span::from_days(7);

/// Which payment to look after.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Due {
    /// The payment.
    pub(crate) payment: PaymentId,
}

/// A payment that is to begin.
pub(super) struct Beginning {
    /// For whose account.
    pub(super) owner: OwnerId,
    /// What is bought.
    pub(super) bought: Bought,
    /// How much it costs, net.
    pub(super) amount: Price,
    /// What of that is for seats beside a plan's own.
    pub(super) seats: Option<SeatsPart>,
    /// With what it is to be paid.
    pub(super) method: PaymentMethod,
    /// What is paid for.
    pub(super) thing: Thing,
    /// Where a contract that has waited begins with it: how often that had been tried in vain before.
    pub(super) tried_before: u32,
    /// Who begins it.
    pub(super) started_by: String,
}

/// What there is of a thing that is to be paid.
pub(super) enum Attempt {
    /// A payment that has not come to nothing.
    Known(Box<Payment>),
    /// Nothing: this attempt at it is the next.
    Next(u32),
}

/// Takes payments and delivers what they buy.
#[derive(Clone)]
pub(crate) struct Cashier {
    pub(crate) till: Till,
    pub(crate) entropy: Entropy,
    pub(crate) catalog: CatalogHandle,
    pub(crate) outbox: Outbox,
    pub(crate) jobs: Jobs,
}

impl Cashier {
    /// The name under which a payment method is stored with what it pays, if it may pay now.
    pub(super) async fn means(&self, tx: &mut Tx, owner: OwnerId, method: &PaymentMethod) -> Result<String, Error> {
        self.means_at(tx, owner, method, self.till.clock.now()).await
    }

    /// The same of what is to be paid at `at`: whether it serves then is known, and whether it has expired by now.
    pub(super) async fn means_at(
        &self,
        tx: &mut Tx,
        owner: OwnerId,
        method: &PaymentMethod,
        at: Timestamp,
    ) -> Result<String, Error> {
        let saved = match method {
            PaymentMethod::Named(name) => return Ok(name.clone()),
            PaymentMethod::Saved(id) => {
                methods::find(tx, owner, *id).await?.ok_or(Error::NotFound("payment method"))?
            }
            PaymentMethod::Default => methods::default(tx, owner, at).await?.ok_or(Error::PaymentMethodRequired)?,
        };
        if saved.card.is_expired_at(self.till.clock.now()) || !saved.serves_at(at) {
            return Err(Error::PaymentMethodExpired);
        }
        Ok(saved.id.to_string())
    }

    /// Writes a payment down before anybody is asked for money; or finds the one that was begun for the same thing, unless
    /// that has come to nothing.
    pub(super) async fn begin(&self, new: Beginning) -> Result<Payment, Error> {
        Box::pin(self.learn_of_lost(&new)).await?;
        let now = self.till.clock.now();
        let mut tx = self.till.db.begin().await?;
        let attempt = match self.attempt(&mut tx, new.thing).await? {
            Attempt::Known(payment) => {
                tx.commit().await?;
                let payment = Box::pin(self.as_of_now(*payment, &new.method)).await?;
                if payment.came_to_nothing() {
                    return Box::pin(self.begin(new)).await;
                }
                return Ok(payment);
            }
            Attempt::Next(attempt) => attempt,
        };
        self.demand_uncounted(&mut tx, &new).await?;
        let method = self.means(&mut tx, new.owner, &new.method).await?;
        let superseded = self.supersede(&mut tx, &new).await?;
        let bill = self.bill(&mut tx, new.owner, &new.bought, (new.amount, new.seats.as_ref())).await?;
        // One at a time: only so many may be open.
        self.till.demand_sale_to(&mut tx, new.owner).await?;
        self.put_off_superseded(&mut tx, new.owner, &superseded).await?;
        if payments::open(&mut tx, new.owner).await? >= i64::from(MOST_OPEN) {
            return Err(Error::TooManyOpenPayments(MOST_OPEN));
        }
        let thing = new.thing;
        let payment = self.created(new, bill, (method, attempt), now);
        if !payments::insert(&mut tx, &payment).await? {
            // A twin was faster: its payment is the one.
            drop(tx);
            let mut tx = self.till.db.read().await?;
            return payments::last_attempt(&mut tx, thing).await?.ok_or(Error::Failed);
        }
        if let Some(purchase) = Purchase::of(&payment) {
            purchases::insert(&mut tx, &purchase).await?;
        }
        self.look_later(&mut tx, payment.id, now).await?;
        tx.commit().await?;
        Ok(payment)
    }

    /// Has a payment looked after that its caller may lose.
    pub(super) async fn look_later(&self, tx: &mut Tx, payment: PaymentId, now: Timestamp) -> Result<(), Error> {
        let (due, key) = (Due { payment }, payment.to_string());
        Ok(self.jobs.enqueue(tx, PAYMENT, &due, now.saturating_add(PATIENCE), Some(&key)).await?)
    }

    /// The attempt at a thing that is to be paid. Where the last one came to nothing, the next one takes its place: should
    /// the last one be paid after all, its money goes back, so that nobody pays twice for one thing.
    pub(super) async fn attempt(&self, tx: &mut Tx, thing: Thing) -> Result<Attempt, Error> {
        let Some(last) = payments::last_attempt(tx, thing).await? else { return Ok(Attempt::Next(1)) };
        if !last.came_to_nothing() {
            return Ok(Attempt::Known(Box::new(last)));
        }
        let mut last = payments::lock(tx, last.id).await?.ok_or(Error::Failed)?;
        if !last.came_to_nothing() {
            return Ok(Attempt::Known(Box::new(last)));
        }
        if !last.returned {
            last.returned = true;
            payments::update(tx, &last).await?;
        }
        Ok(Attempt::Next(last.attempt.saturating_add(1)))
    }

    /// A payment of which nothing is known yet.
    pub(super) fn created(
        &self,
        new: Beginning,
        bill: Bill,
        (method, attempt): (String, u32),
        now: Timestamp,
    ) -> Payment {
        let none = Price::zero(new.amount.currency());
        Payment {
            id: Id::from_parts(now.as_millis(), self.entropy.bytes()),
            owner: new.owner,
            bought: new.bought,
            amount: bill.total,
            bill: Some(bill),
            state: PaymentState::Created,
            refunded: none,
            dispute: Dispute::None,
            disputed: none,
            aside: Vec::new(),
            decline_code: None,
            method,
            reference: None,
            thing: new.thing,
            attempt,
            fulfilled_at: None,
            returned: false,
            lot: None,
            invoice: None,
            taken_back: TakenBack::default(),
            moved: None,
            months: Vec::new(),
            started_by: new.started_by,
            created_at: now,
        }
    }

    /// Whoever subscribes anew does not wait for the subscription that was not paid, and who changes one not for another change:
    /// if that is paid after all, the money goes back.
    async fn supersede(&self, tx: &mut Tx, new: &Beginning) -> Result<Superseded, Error> {
        let mut superseded = Superseded::default();
        let mut waiting = match new.bought.purpose() {
            Purpose::Subscription => payments::waiting_starts(tx, new.owner, i64::from(MOST_OPEN)).await?,
            Purpose::Change => payments::waiting_changes(tx, new.owner, i64::from(MOST_OPEN)).await?,
            Purpose::Purchase | Purpose::Renewal => return Ok(superseded),
        };
        // Somebody's own call asks for it at this moment. A contract's stays as it was written down until its money is there.
        waiting.retain(|it| it.state != PaymentState::Created || it.bought.contract().is_some());
        self.give_up_these(tx, waiting, &mut superseded).await?;
        Ok(superseded)
    }

    /// Learns what was heard of a payment and does what follows from it, in the caller's transaction: what was bought is
    /// delivered, and what was taken back is taken back here, too. Learning it again changes nothing.
    ///
    /// # Errors
    /// A refusal where nothing may be sold for it: drop the transaction and [`Cashier::abandon`] the payment.
    pub(super) async fn settle(
        &self,
        tx: &mut Tx,
        id: PaymentId,
        heard: Option<&Settlement>,
        spender: Option<Spender>,
    ) -> Result<(Payment, Vec<Payload>), Error> {
        rollovers::lock_older(tx, id, self.till.clock.now()).await?;
        let mut payment = payments::lock(tx, id).await?.ok_or(Error::NotFound("payment"))?;
        let before = payment.clone();
        note(&mut payment, heard);
        let mut events = self.fulfil(tx, &mut payment, spender).await?;
        self.send_back(tx, &mut payment).await?;
        self.follow_money(tx, &mut payment).await?;
        let invoice = payment.invoice.filter(|_| before.invoice.is_none());
        events.extend(invoice.map(|id| issued(payment.owner, id)));
        events.extend(self.credit(tx, &payment).await?.map(|id| issued(payment.owner, id)));
        if payment != before {
            self.follow_state(tx, &payment).await?;
            events.extend(self.follow_top_up(tx, &before, &payment).await?);
            self.follow_contract(tx, (&before, &payment), &Error::PaymentDeclined).await?;
            payments::update(tx, &payment).await?;
        }
        Ok((payment, events))
    }

    /// The same in a transaction of its own; a payment for which nothing may be sold is returned.
    pub(super) async fn hear(&self, id: PaymentId, heard: Option<&Settlement>) -> Result<Payment, Error> {
        let mut tx = self.till.db.begin().await?;
        match self.settle(&mut tx, id, heard, None).await {
            Ok((payment, events)) => {
                self.outbox.commit(tx, events).await?;
                self.jobs.wake();
                Ok(payment)
            }
            Err(Error::Refused(refusal)) if !is_the_end(&refusal) => {
                tx.rollback().await?;
                self.hear_only(id, heard, refusal).await
            }
            Err(refused) if is_certain(&refused) => {
                tx.rollback().await?;
                let abandoned = self.abandon(id, heard).await?;
                if abandoned.fulfilled_at.is_some() {
                    return Err(refused);
                }
                tracing::warn!(payment = %id, %refused, "nothing may be sold for a payment: it goes back");
                Ok(abandoned)
            }
            Err(error) => Err(error),
        }
    }

    /// Learns what was heard of a payment for which nothing may be delivered at present: a month is begun once its owner is
    /// active again and the account has room for it, whatever else was bought goes back.
    async fn hear_only(&self, id: PaymentId, heard: Option<&Settlement>, refusal: Refusal) -> Result<Payment, Error> {
        let mut tx = self.till.db.begin().await?;
        let mut payment = payments::lock(&mut tx, id).await?.ok_or(Error::NotFound("payment"))?;
        if payment.fulfilled_at.is_some() {
            return Err(refusal.into());
        }
        if payment.bought.purpose() == Purpose::Renewal {
            note(&mut payment, heard);
            payments::update(&mut tx, &payment).await?;
        } else {
            let before = payment.clone();
            self.give_up(&mut tx, &mut payment, heard).await?;
            // A contract that was to begin with it would be paid and given back again and again.
            self.follow_contract(&mut tx, (&before, &payment), &refusal.into()).await?;
        }
        tx.commit().await?;
        self.jobs.wake();
        Ok(payment)
    }

    /// Keeps that a payment was declined, or canceled: the refusal of the call that it was for keeps nothing.
    pub(super) async fn keep_a_decline(&self, payment: &Payment, heard: Option<&Settlement>) -> Result<(), Error> {
        if heard.is_some_and(|heard| matches!(heard.news, News::Declined(_) | News::Canceled)) {
            self.hear(payment.id, heard).await?;
        }
        Ok(())
    }

    /// Nothing may be sold for a payment: what is paid of it, now or later, goes back. One that is fulfilled stays.
    pub(super) async fn abandon(&self, id: PaymentId, heard: Option<&Settlement>) -> Result<Payment, Error> {
        let mut tx = self.till.db.begin().await?;
        let mut payment = payments::lock(&mut tx, id).await?.ok_or(Error::NotFound("payment"))?;
        if payment.fulfilled_at.is_some() {
            return Ok(payment);
        }
        self.give_up(&mut tx, &mut payment, heard).await?;
        tx.commit().await?;
        self.jobs.wake();
        Ok(payment)
    }

    /// The same in the caller's transaction, of a payment that is locked and not fulfilled. Where the provider was asked and
    /// its answer is not known, the payment waits for that: the job asks again, and sends back what was taken. What waits for its
    /// customer there is canceled there, too.
    pub(super) async fn give_up(
        &self,
        tx: &mut Tx,
        payment: &mut Payment,
        heard: Option<&Settlement>,
    ) -> Result<(), Error> {
        payment.returned = true;
        let waited = payment.state != PaymentState::Canceled && heard.is_none_or(|it| it.news != News::Canceled);
        note(payment, heard);
        let unheard = payment.state == PaymentState::Created && payments::asked_with(tx, payment.id).await?.is_some();
        if !unheard && payment.state != PaymentState::Declined {
            payment.learn(&News::Canceled);
        }
        let waits_there = waited && payment.state == PaymentState::Canceled && payment.reference.is_some();
        if unheard || (waits_there && !self.till.payments.pays_at_once()) {
            // It may have been looked after before it was asked for.
            self.look_later(tx, payment.id, self.till.clock.now()).await?;
        }
        self.send_back(tx, payment).await?;
        self.follow_state(tx, payment).await?;
        self.look_at_top_up(tx, payment).await?;
        Ok(payments::update(tx, payment).await?)
    }

    /// Gives up everything that waits for a payment of an owner who is gone.
    pub(super) async fn give_up_all(&self, owner: OwnerId) -> Result<(), Error> {
        loop {
            let waiting = payments::waiting(&mut self.till.db.read().await?, owner, i64::from(MOST_OPEN)).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            for payment in waiting {
                self.abandon(payment.id, None).await?;
            }
        }
    }

    /// What has the provider forget payment methods.
    pub(crate) fn removals(&self) -> Removals {
        let till = &self.till;
        Removals {
            db: till.db.clone(),
            payments: till.payments.clone(),
            jobs: self.jobs.clone(),
            clock: till.clock.clone(),
        }
    }

    /// What a purchase shows of its payment.
    async fn follow_state(&self, tx: &mut Tx, payment: &Payment) -> Result<(), Error> {
        let Some(purchase) = payment.bought.purchase() else { return Ok(()) };
        let state = match payment.state {
            PaymentState::Paid if payment.fulfilled_at.is_some() => PurchaseState::Paid,
            PaymentState::Paid | PaymentState::Canceled => PurchaseState::Canceled,
            PaymentState::Declined => PurchaseState::Declined,
            PaymentState::Created | PaymentState::Pending | PaymentState::RequiresAction => PurchaseState::Pending,
        };
        Ok(purchases::settle(tx, (payment.owner, purchase), state, payment.lot).await?)
    }

    /// Looks after a payment whose caller may have lost it, and after one that stays open; doing it again changes nothing.
    pub(crate) async fn look_after(&self, Due { payment }: Due) -> Result<(), Error> {
        let found = payments::get(&mut self.till.db.read().await?, payment).await?;
        let Some(mut found) = found else { return Ok(()) };
        let heard = match Box::pin(self.as_of_now_for_the_job(found.clone())).await {
            Ok(now) => {
                found = now;
                match self.ask(&found).await {
                    Ok(None) => self.look_at(&found).await,
                    asked => asked,
                }
            }
            Err(error) => Err(error),
        };
        let waits = found.is_open() && found.bought.purpose() != Purpose::Renewal;
        let over = !lasts(found.created_at.saturating_add(OPEN_FOR), OPEN_FOR, self.till.clock.now());
        if waits && heard.as_ref().is_err_and(|error| over || matches!(error, Error::Hopeless(_))) {
            // Nobody waits for it any more; the job goes on asking, and sends back what was taken, or is shown.
            self.time_is_over(payment).await?;
        }
        let heard = heard?;
        if heard.is_some() || found.is_to_be_fulfilled() {
            found = self.hear(payment, heard.as_ref()).await?;
        }
        if found.is_open() && found.bought.purpose() != Purpose::Renewal {
            self.wait_for(&found).await?;
        }
        Ok(())
    }

    /// Nobody waits for ever: whatever is open when its time is over is given up, and what was begun by a clock that was far ahead.
    async fn wait_for(&self, open: &Payment) -> Result<(), Error> {
        let until = open.created_at.saturating_add(OPEN_FOR);
        if !lasts(until, OPEN_FOR, self.till.clock.now()) {
            return self.time_is_over(open.id).await;
        }
        let (due, key) = (Due { payment: open.id }, format!("{}:open", open.id));
        let mut tx = self.till.db.begin().await?;
        self.jobs.enqueue(&mut tx, PAYMENT, &due, until, Some(&key)).await?;
        Ok(tx.commit().await?)
    }

    /// Gives up what is open still; a contract that was to begin with it is asked for again, as after a decline.
    async fn time_is_over(&self, id: PaymentId) -> Result<(), Error> {
        let mut tx = self.till.db.begin().await?;
        let found = payments::lock(&mut tx, id).await?.ok_or(Error::NotFound("payment"))?;
        if !found.is_open() {
            return Ok(());
        }
        let mut payment = found.clone();
        self.give_up(&mut tx, &mut payment, None).await?;
        self.follow_contract(&mut tx, (&found, &payment), &Error::PaymentDeclined).await?;
        tx.commit().await?;
        self.jobs.wake();
        Ok(())
    }
}

/// Learns what a provider said. Nobody waits for a payment that is returned.
pub(super) fn note(payment: &mut Payment, heard: Option<&Settlement>) {
    payment.hear(heard.map(|heard| (heard.reference.as_deref(), &heard.news)));
    if payment.returned && matches!(payment.state, PaymentState::Pending | PaymentState::RequiresAction) {
        payment.learn(&News::Canceled);
    }
}

/// Whether a refusal stands for good: the owner is gone, or may have no credits here. Whoever is suspended may come back,
/// and an account that is full may have room again.
fn is_the_end(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::OrganizationDeleted | Refusal::OrganizationRequired | Refusal::NotAMember)
}

/// Whether it is certain that nothing was sold and nothing will be. Where it is not (the store did not answer), the same
/// payment is found again; what was declined may be paid after all, and is then delivered.
pub(super) fn is_certain(error: &Error) -> bool {
    match error {
        Error::PaymentDeclined
        | Error::Store(_)
        | Error::Unavailable
        | Error::Provider
        | Error::Hopeless(_)
        | Error::Overloaded
        | Error::NewerFormat
        | Error::Failed => false,
        Error::Problem(problem) => problem.is_refusal(),
        _ => true,
    }
}
