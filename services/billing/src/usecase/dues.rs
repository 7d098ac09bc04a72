//! The payments of a subscription's later months. Nobody asks for them but the program: they are written down before anybody
//! is asked for money, like every other, and their ids follow from the month and the attempt.

use bursar_db::Tx;
use bursar_id::{Id, PaymentId, SubscriptionId};
use bursar_time::Timestamp;

use super::cashier::{Attempt, Beginning, Cashier, note};
use crate::domain::{Bill, Bought, Country, Payment, SeatsPart, Subscription};
use crate::error::Error;
use crate::payment::{INVOICE, PaymentMethod, Settlement, Thing, thing};
use crate::store::payments;

/// Who begins what nobody asked for.
const PROGRAM: &str = "bursar";

/// Attempts are counted from here.
const FIRST: u32 = 1;

impl Cashier {
    /// The payment of the month after the one that is paid for: the last attempt at it, or the next one where that came to
    /// nothing. It is written down, with what is to be paid, and the job looks after it should whoever asks for it be lost.
    pub(super) async fn dues(&self, from: &Subscription) -> Result<Payment, Error> {
        let thing = thing_after(from);
        let mut tx = self.till.db.begin().await?;
        let last = payments::last_attempt(&mut tx, thing).await?;
        // What went back uses up no attempt, so numbers alone do not say what was counted: all that was begun before this retry.
        let was_counted = |it: &Payment| from.next_retry_at.is_some_and(|retry| is_before(it, (from, retry)));
        if let Some(uncounted) = last.filter(|it| it.attempt > from.failures && !was_counted(it) && !it.returned) {
            tx.rollback().await?;
            let method = PaymentMethod::from_stored(from.next_method());
            let uncounted = Box::pin(self.as_of_now(uncounted, &method)).await?;
            // However it ended: it is looked at, and counted, before there is another one. But for what was given up as another
            // card is to pay.
            return if uncounted.returned { Box::pin(self.dues(from)).await } else { Ok(uncounted) };
        }
        let attempt = match self.attempt(&mut tx, thing).await? {
            Attempt::Known(payment) => return Ok(*payment),
            Attempt::Next(attempt) => attempt,
        };
        let payment = self.due(&mut tx, from, (thing, attempt)).await?;
        if !payments::insert(&mut tx, &payment).await? {
            // Somebody else was faster: that payment is the one.
            tx.rollback().await?;
            let mut tx = self.till.db.read().await?;
            return payments::last_attempt(&mut tx, thing).await?.ok_or(Error::Failed);
        }
        self.look_later(&mut tx, payment.id, payment.created_at).await?;
        tx.commit().await?;
        Ok(payment)
    }

    async fn due(&self, tx: &mut Tx, from: &Subscription, (thing, attempt): (Thing, u32)) -> Result<Payment, Error> {
        let new = beginning(from, thing);
        let bill = self.bill(tx, from.owner, &new.bought, (new.amount, new.seats.as_ref())).await?;
        Ok(self.written_down(from, new, bill, attempt))
    }

    /// The first attempt at the payment of the month after the one that is paid for, by an owner in this country; it is not
    /// written.
    pub(super) fn first_due(&self, from: &Subscription, country: Option<Country>) -> Result<Payment, Error> {
        let new = beginning(from, thing_after(from));
        let bill = self.bill_in(country, from.owner, &new.bought, (new.amount, new.seats.as_ref()))?;
        Ok(self.written_down(from, new, bill, FIRST))
    }

    fn written_down(&self, from: &Subscription, new: Beginning, bill: Bill, attempt: u32) -> Payment {
        let (method, now, thing) = (from.next_method().to_owned(), self.till.clock.now(), new.thing);
        let due = self.created(new, bill, (method, attempt), now);
        Payment { id: id_of(from.next_month().start.as_millis(), thing, attempt), ..due }
    }

    /// A payment with what was heard of it, locked; it is not written.
    pub(super) async fn heard(&self, tx: &mut Tx, id: PaymentId, heard: Option<&Settlement>) -> Result<Payment, Error> {
        let mut payment = payments::lock(tx, id).await?.ok_or(Error::NotFound("payment"))?;
        note(&mut payment, heard);
        Ok(payment)
    }

    /// A subscription ends, or is to be something else: whatever is, or was, paid for the month after the one it is in goes back,
    /// and what was declined counts for nothing. Before the subscription's row is touched: a payment's is locked first.
    pub(super) async fn give_up_dues(&self, tx: &mut Tx, from: &Subscription) -> Result<(), Error> {
        let Some(last) = payments::last_attempt(tx, thing_after(from)).await? else { return Ok(()) };
        let mut last = payments::lock(tx, last.id).await?.ok_or(Error::Failed)?;
        if last.returned || last.fulfilled_at.is_some() {
            return Ok(());
        }
        self.give_up(tx, &mut last, None).await
    }
}

/// Whether an attempt was begun before this retry: the one that was counted last was. Where a test clock stands still while it is
/// due at once, it was begun and counted at the moment of the retry, which is then later than it was to be.
fn is_before(attempt: &Payment, (from, retry): (&Subscription, Timestamp)) -> bool {
    let is_late = || {
        let counted = from.failures.checked_sub(1).map(|failures| Subscription { failures, ..from.clone() });
        counted.and_then(|it| it.not_paid(Timestamp::MIN)?.next_retry_at).is_some_and(|due| due < retry)
    };
    attempt.created_at < retry || (attempt.created_at == retry && is_late())
}

/// The payment of a subscription's next month as it is to begin.
fn beginning(from: &Subscription, thing: Thing) -> Beginning {
    let (month, terms) = (from.next_month(), from.next_terms());
    let seats = SeatsPart::of_whole(&terms);
    let bought =
        Bought::Renewal { subscription: from.id, plan: terms.plan, credits: terms.credits, period: month.number };
    Beginning {
        owner: from.owner,
        bought,
        amount: terms.price,
        seats,
        method: PaymentMethod::from_stored(from.next_method()),
        thing,
        tried_before: 0,
        started_by: PROGRAM.to_owned(),
    }
}

/// Whether a provider has to be asked for the money of a subscription's next month: not for what is paid for with its year, costs
/// nothing, or is paid by invoice.
pub(super) fn asks_provider(from: &Subscription) -> bool {
    !from.is_next_paid() && !from.next_terms().price.is_zero() && from.next_method() != INVOICE
}

/// What the next month of a subscription is as something to be paid.
pub(super) fn thing_after(from: &Subscription) -> Thing {
    thing_of_month(from.id, from.next_month().number)
}

/// What a month of a subscription is as something to be paid.
pub(super) fn thing_of_month(subscription: SubscriptionId, number: u32) -> Thing {
    thing(&format!("{subscription}:{number}"))
}

/// The id of an attempt at a thing, for ever the same: earlier programs ask for it before they write it down.
fn id_of(millis: u64, of: Thing, attempt: u32) -> PaymentId {
    let digest = thing(&format!("{}:{attempt}", hex::encode(of)));
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&digest[..10]);
    Id::from_parts(millis, bytes)
}
