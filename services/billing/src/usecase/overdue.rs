//! A subscription whose period is over, before it is changed: it is brought up to date, and where that cannot be, why.
//!
//! | its next period | what is said |
//! |---|---|
//! | is begun by whoever comes first | nothing: the change is decided on it |
//! | is not there in the second after the boundary: its payment is open, or its renewal failed | `RENEWAL_DUE`, to come again |
//! | waits for an operator (`renewals.rs`) | `RENEWAL_HELD` |
//! | is not there later: not paid, or not to be begun | `SUBSCRIPTION_PAST_DUE` |
//!
//! So whoever is told to come again is told so for a second at most. Everything else is final, and says what has to be done
//! first. Who only asks what a change would take renews nothing: it is decided as if that had been done.

use bursar_db::Tx;
use bursar_id::OwnerId;
use bursar_rpc::Caller;
use bursar_time::Timestamp;

use super::access::Allowed;
use super::boundary::{Due, Wants, is_fresh};
use super::contracts::begins_with_next;
use super::dues::thing_after;
use super::renewals::is_held_by;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::{Payment, Refusal, Subscription, SubscriptionState};
use crate::error::Error;
use crate::store::{contracts, payments, subscriptions};

/// How many periods are followed that nobody has begun yet: a century's months. Only a test clock leaps so far.
const MOST_FOLLOWED: u32 = 1_200;

impl SubscriptionUseCases {
    /// How a caller stands who changes what an owner has. What is due is renewed first for whoever may.
    pub(super) async fn admitted(&self, caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        let standing = self.access.to(caller, owner).await?;
        self.bring_up_to_date(owner).await;
        Ok(standing)
    }

    /// Renews the owner's subscription if its period is over, for as long as whoever spends would wait. Where that fails, or takes
    /// longer, it is found due.
    pub(super) async fn bring_up_to_date(&self, owner: OwnerId) {
        let looked = async {
            let live = subscriptions::live(&mut self.till.db.read().await?, owner).await?;
            if live.is_some_and(|it| it.is_due(self.till.clock.now())) {
                Box::pin(Due::of(self.clone()).renew_for(owner, Wants::Terms)).await?;
            }
            Ok::<(), Error>(())
        };
        match looked.await {
            Ok(()) | Err(Error::Refused(Refusal::RenewalDue)) => {}
            Err(error) => tracing::warn!(%owner, %error, "a renewal that something waits for failed"),
        }
    }

    /// Why a subscription's next period is not there although its own is over. `None` where it is not over; or it is not paid, and
    /// nothing may change that at any moment.
    pub(super) async fn overdue(
        &self,
        tx: &mut Tx,
        live: &Subscription,
        now: Timestamp,
    ) -> Result<Option<Error>, Error> {
        let is_fresh = is_fresh(live, now);
        if live.state == SubscriptionState::PastDue && is_fresh {
            let last = payments::last_attempt(tx, thing_after(live)).await?;
            let is_open = last.as_ref().is_some_and(Payment::is_open);
            return Ok(is_open.then(|| Refusal::RenewalDue.into()));
        }
        if live.state != SubscriptionState::Active || !live.is_due(now) {
            return Ok(None);
        }
        if is_fresh {
            return Ok(Some(Refusal::RenewalDue.into()));
        }
        let is_held = is_held_by(tx, &self.till.clock, live).await?;
        Ok(Some(if is_held { Error::RenewalHeld } else { Error::RenewalUnpaid }))
    }

    /// A subscription as whoever changes it finds it once its renewal is done, or has failed; nothing is written. `None` where it
    /// ends instead. As it is where nothing is due, or what is due cannot be done by whoever comes:
    /// [`SubscriptionUseCases::overdue`] says why.
    pub(super) async fn as_if_renewed(
        &self,
        tx: &mut Tx,
        live: Subscription,
        now: Timestamp,
    ) -> Result<Option<Subscription>, Error> {
        if live.state != SubscriptionState::Active || !live.is_due(now) {
            return Ok(Some(live));
        }
        if is_held_by(tx, &self.till.clock, &live).await? {
            return Ok(Some(live));
        }
        let last = payments::last_attempt(tx, thing_after(&live)).await?;
        // What is paid for already begins, and what was canceled ends, whatever is asked for.
        let asked_for = last.filter(|_| !live.is_next_paid() && !live.cancel_at_period_end);
        if asked_for.as_ref().is_some_and(Payment::is_open) {
            return Ok(Some(live));
        }
        if asked_for.as_ref().is_some_and(|it| !it.returned && it.came_to_nothing()) {
            // What was declined ahead counts at the boundary (`dues.rs`).
            return Ok(live.not_paid(now));
        }
        // What was asked for is begun as it was asked for (`contracts.rs`).
        let asked_for = asked_for.map(|it| it.thing);
        let mut waits = contracts::of(tx, live.owner).await?;
        let mut next = live;
        for _ in 0..MOST_FOLLOWED {
            if !next.is_due(now) {
                break;
            }
            let is_asked_for = asked_for == Some(thing_after(&next));
            let may_begin = !is_asked_for && !next.is_next_paid();
            if let Some(begins) = waits.take_if(|it| may_begin && begins_with_next(it, &next)) {
                next = next.planning(Some(begins.terms));
            }
            match next.followed() {
                Some(followed) => next = followed,
                None => return Ok(None),
            }
        }
        Ok(Some(next))
    }
}

#[cfg(test)]
pub(super) mod tests;
