//! The sandbox: a provider for development that does what it is told to by the name of the payment method, and moves no
//! money. Its later news are played by `bursar.testing.v1.SandboxService`.

use bursar_id::{PaymentId, PaymentMethodId};
use bursar_money::Price;
use bursar_time::Timestamp;

use super::{Action, PaymentMethodError, Settlement, Setup, ToPay};
use crate::domain::{Card, News, PaymentState};

/// Every payment with it succeeds.
const OK: &str = "sandbox_ok";
/// Every payment with it is declined.
const DECLINED: &str = "sandbox_declined";
/// Every payment with it waits until its outcome is played.
const PENDING: &str = "sandbox_pending";
/// Every payment with it waits for the customer.
const REQUIRES_ACTION: &str = "sandbox_requires_action";

/// Where nobody is: a name that no resolver knows.
const SITE: &str = "https://sandbox.invalid";

/// How many years a card of the sandbox lasts.
const CARD_YEARS: u32 = 5;

pub(super) fn token(text: &str) -> Result<String, PaymentMethodError> {
    match text {
        OK | DECLINED | PENDING | REQUIRES_ACTION => Ok(text.to_owned()),
        _ => Err(PaymentMethodError::NotOfSandbox),
    }
}

/// The answer follows from the payment alone, so the same payment always gets the same one.
pub(super) fn pay(to_pay: &ToPay<'_>) -> Settlement {
    let news = match to_pay.token {
        OK => News::Paid,
        PENDING => News::Pending,
        REQUIRES_ACTION => News::RequiresAction,
        _ => News::Declined("card_declined".to_owned()),
    };
    tracing::debug!(amount = %to_pay.amount, key = %to_pay.key, ?news, "a sandbox payment");
    Settlement { reference: Some(format!("sandbox_{}", to_pay.key)), news }
}

pub(super) fn give_back(reference: &str, amount: Price, key: &str) {
    tracing::info!(reference, %amount, key, "the sandbox gave a payment back");
}

pub(super) fn action(payment: PaymentId, state: PaymentState) -> Option<Action> {
    let url = format!("{SITE}/payments/{payment}");
    (state == PaymentState::RequiresAction).then(|| Action { url, client_secret: format!("sandbox_secret_{payment}") })
}

/// Nobody goes there and comes back; where to may say more than a log should.
pub(super) fn begin_setup(id: PaymentMethodId, _return_url: &str, now: Timestamp) -> Setup {
    let year = now.to_rfc3339().get(..4).and_then(|year| year.parse::<u32>().ok()).unwrap_or_default();
    let card = Card {
        brand: "sandbox".to_owned(),
        last4: "4242".to_owned(),
        exp_month: 12,
        exp_year: year.saturating_add(CARD_YEARS),
    };
    tracing::debug!(%id, "the sandbox saved a payment method");
    Setup {
        action: Action { url: format!("{SITE}/setup/{id}"), client_secret: format!("sandbox_secret_{id}") },
        done: Some((OK.to_owned(), card)),
    }
}

#[cfg(test)]
mod tests {
    use bursar_id::{Id, OwnerId, PaymentId};
    use bursar_money::{Currency, Price};
    use bursar_proto::billing::v1::PurchasePackRequest;
    use bursar_rpc::{Caller, IdempotencyKey};

    use crate::domain::{News, PaymentState, SavedMethod};
    use crate::payment::{PaymentMethod, PaymentMethodError, Payments, ToPay, sandbox, thing, thing_of_request};

    const SANDBOX: Payments = Payments::Sandbox;

    #[test]
    fn it_knows_four_methods_and_saved_ones() {
        for name in ["sandbox_ok", "sandbox_declined", "sandbox_pending", "sandbox_requires_action"] {
            assert_eq!(SANDBOX.method(name), Ok(PaymentMethod::Named(name.to_owned())));
        }
        let id = Id::from_parts(1, [1; 10]);
        assert_eq!(SANDBOX.method(&id.to_string()), Ok(PaymentMethod::Saved(id)));
        assert_eq!(SANDBOX.method(""), Ok(PaymentMethod::Default));
        let long = "x".repeat(129);
        let cases = [
            ("sandbox_OK", PaymentMethodError::NotOfSandbox),
            ("pm_card_visa", PaymentMethodError::NotOfSandbox),
            ("pay_00000000000000000000000001", PaymentMethodError::NotOfSandbox),
            (long.as_str(), PaymentMethodError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(SANDBOX.method(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_repeated_payment_has_the_same_reference() {
        let pay = |key: u8, token: &str| {
            let key = PaymentId::from_parts(u64::from(key), [key; 10]);
            sandbox::pay(&ToPay { key, amount: Price::zero(Currency::USD), token, attended: true, given_up: false })
        };
        let first = pay(1, "sandbox_ok");
        let named = first.reference.as_deref().is_some_and(|it| it.starts_with("sandbox_pay_"));
        assert!(first.news == News::Paid && named, "{first:?}");
        assert_eq!(pay(1, "sandbox_ok"), first);
        assert_ne!(pay(2, "sandbox_ok").reference, first.reference);
        assert!(matches!(pay(1, "sandbox_declined").news, News::Declined(_)));
        assert_eq!(pay(1, "sandbox_pending").news, News::Pending);
        assert_eq!(pay(1, "sandbox_requires_action").news, News::RequiresAction);
    }

    #[test]
    fn what_takes_money_is_in_no_log() {
        let key = PaymentId::from_parts(1, [1; 10]);
        let action = SANDBOX.known_action(key, PaymentState::RequiresAction).unwrap();
        let setup = sandbox::begin_setup(Id::from_parts(1, [1; 10]), "https://x", bursar_time::Timestamp::MIN);
        let (token, card) = setup.done.clone().unwrap();
        let saved = SavedMethod {
            id: Id::from_parts(1, [1; 10]),
            owner: OwnerId::User(Id::from_parts(1, [1; 10])),
            token: token.clone(),
            card,
            is_default: true,
            added_by: String::new(),
            created_at: bursar_time::Timestamp::MIN,
            serves_until: None,
        };
        let to_pay = ToPay { key, amount: Price::zero(Currency::USD), token: &token, attended: true, given_up: false };
        for said in [format!("{action:?}"), format!("{setup:?}"), format!("{saved:?}"), format!("{to_pay:?}")] {
            let silent = ["sandbox_ok", "sandbox_secret", "https", "4242"].iter().all(|secret| !said.contains(secret));
            assert!(silent, "{said}");
        }
    }

    #[test]
    fn only_who_has_something_to_do_is_told_what() {
        let id = PaymentId::from_parts(1, [1; 10]);
        for state in PaymentState::ALL {
            let action = SANDBOX.known_action(id, *state);
            assert_eq!(action.is_some(), *state == PaymentState::RequiresAction, "{state}");
            assert!(action.is_none_or(|it| it.url.contains(&id.to_string())));
        }
    }

    #[test]
    fn a_request_id_makes_the_thing_that_is_paid_for() {
        let key = |id: &str, pack: &str, attempt: &str| {
            let body = PurchasePackRequest { pack_id: pack.to_owned(), ..PurchasePackRequest::default() };
            let request = IdempotencyKey::new(&Caller::Anonymous, "PurchasePack", id, &body).unwrap();
            thing_of_request(Some(&request), attempt)
        };
        assert_eq!(key("1", "starter", "a"), key("1", "starter", "b"), "a retry is the same payment");
        assert_ne!(key("1", "starter", "a"), key("1", "premium", "a"), "another purchase is not");
        assert_ne!(key("1", "starter", "a"), key("2", "starter", "a"), "another id is not");
        assert_ne!(key("", "starter", "a"), key("", "starter", "b"), "without an id every attempt is new");
        assert_ne!(thing("sub_1:1"), thing("sub_1:2"));
    }
}
