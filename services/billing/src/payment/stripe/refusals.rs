//! What it means for a payment that Stripe refuses it.
//!
//! | what Stripe refuses | what it counts as |
//! |---|---|
//! | in a bank's word, or one that is about this payment's amount or card ([`Refusal::is_decline`]) | a decline |
//! | since the card, or the intent, is not there any more, and its customer is known by the same key | a decline |
//! | in whatever other word, of a card that is not its customer's any more | a decline |
//! | in whatever other word, of a card that is there; or the card cannot be looked at | trouble |
//!
//! A **decline** is this payment's alone: a month is past due by it, is tried again and lapses, and a purchase ends and frees its
//! request.
//!
//! **Trouble** waits, and nobody's plan ends by it, however long it lasts. What this program does not know may be one customer's
//! affair or the deployment's fault (a key, a field, a version of the API, an account that may not charge for now, in one currency
//! alone), and its word does not say which; nor does it say who else is refused so, as what a process remembers of others ends with
//! it, and with the first of them who is paid for. The two mistakes are not alike, either. A month that is not paid grants no
//! allowance (one month's, where its plan grants it in grace), so to wait costs what a plan gives beside it, its seats; a decline that
//! is none costs everybody their plan. So it is for somebody to look at, and bounded by that: each such answer is an error in the log, and a month of which nothing is known on
//! the day of its last retry is shown as *late* (`usecase/renewals/waiting.rs`). What was asked for in a call, or by a top-up, is
//! canceled after a week, which frees its request. Whoever enters another card, which pays from then on, pays with that
//! (`usecase/unanswered.rs`).

use super::shapes::{Made, Refusal};
use super::wire::Said;
use super::{AskedFor, Stripe, names, refused};
use crate::domain::News;
use crate::payment::{Settlement, Trouble};

/// Why a card is declined that was taken from its customer.
const DETACHED: &str = "payment_method_missing";

impl Stripe {
    /// What it means that a payment is refused that was to be paid with this: see above.
    pub(super) async fn unpaid(
        &self,
        token: &str,
        reference: Option<&str>,
        no: Refusal,
    ) -> Result<Settlement, Trouble> {
        if no.is_decline() {
            return Ok(declined(reference, no.word()));
        }
        if no.is_missing() {
            self.demand_customer(names(token)?.0).await?;
            return Ok(declined(reference, no.word()));
        }
        // Of a card that was taken from its customer Stripe may say no more than that the request is invalid.
        match self.card(token).await? {
            Some(_) => Err(refused(no)),
            None => Ok(declined(reference, DETACHED.to_owned())),
        }
    }

    /// What has become of a payment of which Stripe tells nothing. What is not there by the key that knows its customer nobody pays
    /// any more, and is asked about no more: who has entered another card waits for that.
    pub(super) async fn unknown(&self, asked: AskedFor<'_>, no: Refusal) -> Result<Settlement, Trouble> {
        let Some(token) = asked.token.filter(|_| no.is_missing()) else { return Err(refused(no)) };
        self.demand_customer(names(token)?.0).await?;
        tracing::error!(intent = asked.reference, "the payment provider does not know a payment that it has named");
        Ok(Settlement { reference: Some(asked.reference.to_owned()), news: News::Canceled })
    }

    /// That the account is the one where this customer was made, so that what is missing of theirs was removed: Stripe tells of a
    /// customer also after they were removed.
    pub(super) async fn demand_customer(&self, customer: &str) -> Result<(), Trouble> {
        let known: Said<Made> = self.wire.get(&format!("/v1/customers/{customer}")).await?;
        match known {
            Ok(_) => Ok(()),
            Err(no) if no.is_missing() => {
                Err(Trouble::Refused("its customer is of another account than the key".to_owned()))
            }
            Err(no) => Err(refused(no)),
        }
    }
}

/// It is not paid, and will not be, for a reason in a word.
fn declined(reference: Option<&str>, why: String) -> Settlement {
    Settlement { reference: reference.map(str::to_owned), news: News::Declined(why) }
}
