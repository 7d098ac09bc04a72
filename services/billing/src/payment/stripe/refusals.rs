//! What it means for a payment that Stripe refuses it.
//!
//! | what Stripe refuses | what it counts as |
//! |---|---|
//! | in a bank's word, or one that is about this payment's amount or card ([`Refusal::is_decline`]) | a decline |
//! | since the card is not there any more, or not its customer's, whatever the word | a decline |
//! | in a word about who asks, or how: a field, the key, the account, the version, how often ([`Refusal::is_of_us`]) | a fault |
//! | in any other word, and by the same key the card can be read and is its customer's | a decline; a fault while more than [`FEW`] customers are refused so and nobody is paid for |
//!
//! A **decline** is this payment's alone: a month is past due by it, is tried again and lapses, and a purchase ends and frees its
//! request. So nobody keeps a plan for good because Stripe has said no in a word that this program does not know.
//!
//! A **fault** is the deployment's, and it waits: everybody's payments would fail by it, and whoever's plan lapsed by a wrong key
//! would have lost it by nothing of theirs. However long it lasts, no plan ends, no top-up stops and no card is lost by it. What is
//! asked for in a call, or by a top-up, is given up after a week; a month stays due, and from the day of its last retry on operators
//! are shown it as *late* (`usecase/renewals/waiting.rs`), for whom it is to put right.
//!
//! A word that nobody knows may be the deployment's fault, too, such as an account that may not charge for now. One customer's odd
//! answer is not told from that by its word, but by who else gets it: what only a few are refused in counts against these few, and
//! what many are refused in, with nobody paid for in between, counts against nobody any more, those few included, until a payment
//! comes through or a bank says no. Each process counts for itself: of what is wrong with a deployment as a whole at most
//! a few for each replica and start are past due.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::shapes::{Intent, Made, Refusal};
use super::wire::{Said, segment};
use super::{Stripe, names, refused, settled};
use crate::domain::News;
use crate::payment::{Settlement, ToPay, Trouble};

/// Why a card is declined that was taken from its customer.
const DETACHED: &str = "payment_method_missing";

/// Of how many customers what Stripe refuses in words that nobody knows may be their own affair.
const FEW: usize = 3;

/// Who was refused in such words since somebody's payment was last decided by its bank: one more than a few at most.
#[derive(Default)]
pub(super) struct Oddities(Mutex<BTreeSet<String>>);

impl fmt::Debug for Oddities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oddities").finish_non_exhaustive()
    }
}

impl Oddities {
    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more was refused so. Whether that is still a few customers' affair.
    fn is_of_few(&self, customer: &str) -> bool {
        let mut known = self.known();
        if known.len() <= FEW {
            known.insert(customer.to_owned());
        }
        known.len() <= FEW
    }

    /// A bank has decided somebody's payment: whatever others are refused for, the deployment can take money.
    pub(super) fn forget(&self) {
        self.known().clear();
    }
}

impl Stripe {
    /// What it means that a payment is refused: see above.
    pub(super) async fn unpaid(
        &self,
        to_pay: &ToPay<'_>,
        reference: Option<&str>,
        no: Refusal,
    ) -> Result<Settlement, Trouble> {
        if no.is_decline() {
            if no.is_of_bank() {
                self.oddities.forget();
            }
            return Ok(declined(reference, no.word()));
        }
        if no.is_of_us() {
            return Err(refused(no));
        }
        let (customer, _) = names(to_pay.token)?;
        if no.is_of_method() {
            self.demand_customer(customer).await?;
            return Ok(declined(reference, no.word()));
        }
        // Of a card that was taken from its customer Stripe may say no more than that the request is invalid.
        if self.card(to_pay.token).await?.is_none() {
            return Ok(declined(reference, DETACHED.to_owned()));
        }
        if !self.oddities.is_of_few(customer) {
            return Err(refused(no));
        }
        tracing::error!(
            payment = %to_pay.key,
            why = no.word(),
            "the payment provider refuses a payment for a reason that is not known here: it counts as a decline"
        );
        match reference {
            // Nobody knows what such a word leaves behind: what was taken after all, its intent says.
            Some(reference) => self.unpaid_by_its_intent(to_pay, reference, &no).await,
            None => Ok(declined(None, no.word())),
        }
    }

    async fn unpaid_by_its_intent(
        &self,
        to_pay: &ToPay<'_>,
        reference: &str,
        no: &Refusal,
    ) -> Result<Settlement, Trouble> {
        let intent: Said<Intent> = self.wire.get(&format!("/v1/payment_intents/{}", segment(reference)?)).await?;
        match intent {
            Ok(intent) if intent.status != "requires_confirmation" => settled(&intent, to_pay.amount),
            Ok(_) => Ok(declined(Some(reference), no.word())),
            Err(missing) if missing.is_missing() => Ok(declined(Some(reference), no.word())),
            Err(other) => Err(refused(other)),
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bursar_secret::Secret;
    use bursar_testkit::stripe::{Card, FakeStripe};

    use super::*;
    use crate::payment::stripe::{Account, token};
    use crate::payment::{Prepared, ToSave};

    #[test]
    fn what_few_are_refused_for_is_theirs_and_what_many_are_is_nobodys_until_a_bank_decides() {
        let odd = Oddities::default();
        for n in 0..FEW {
            for _ in 0..2 {
                assert!(odd.is_of_few(&format!("cus_{n}")), "{n}");
            }
        }
        for n in (0..FEW + 10).rev() {
            assert!(!odd.is_of_few(&format!("cus_{n}")), "{n}");
        }
        assert_eq!(odd.known().len(), FEW + 1, "no more are remembered");
        assert!(!format!("{odd:?}").contains("cus_"), "{odd:?}");
        odd.forget();
        assert!(odd.is_of_few("cus_9"));
    }

    #[tokio::test]
    async fn what_was_taken_although_it_was_refused_is_paid() {
        let fake = FakeStripe::start().await;
        let (key, timeout) = (Secret::from(FakeStripe::KEY), Duration::from_secs(10));
        let return_url = "https://example.com/back".to_owned();
        let stripe = Stripe::new(Account { url: fake.url(), key, timeout, return_url }).unwrap();
        let new = ToSave { id: bursar_testkit::id(1), owner: bursar_testkit::personal(1), by: "usr_x" };
        let setup = stripe.begin_setup(new, "https://example.com/done").await.unwrap();
        let method = fake.enters(&setup.action.url, Card::Good);
        let customer = fake.all("customer")[0]["id"].as_str().unwrap().to_owned();
        let (token, amount) = (token(&customer, &method).unwrap(), "20.00 USD".parse().unwrap());
        let to_pay = ToPay { key: bursar_testkit::id(1), amount, token: &token, attended: true, given_up: false };
        let no = || Refusal {
            kind: "invalid_request_error".to_owned(),
            code: Some("a_word_of_tomorrow".to_owned()),
            decline_code: None,
            param: None,
        };
        let Ok(Prepared::Reference(intent)) = stripe.prepare(&to_pay).await else { panic!("it can be paid") };
        let said = stripe.unpaid(&to_pay, Some(&intent), no()).await.map(|it| it.news);
        assert_eq!(said, Ok(News::Declined("a_word_of_tomorrow".to_owned())), "nothing was taken");
        fake.arrives(&intent, true);
        assert_eq!(stripe.unpaid(&to_pay, Some(&intent), no()).await.map(|it| it.news), Ok(News::Paid));
        let of_us = Refusal { code: Some("parameter_unknown".to_owned()), ..no() };
        assert!(matches!(stripe.unpaid(&to_pay, Some(&intent), of_us).await, Err(Trouble::Refused(_))));
    }
}
