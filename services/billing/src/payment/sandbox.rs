//! The sandbox: a provider for development that settles at once, declines when told to, and moves no money.

use super::{Payment, PaymentMethod, PaymentMethodError, Settlement};

/// Every payment with it succeeds.
const OK: &str = "sandbox_ok";
/// Every payment with it is declined.
const DECLINED: &str = "sandbox_declined";

pub(super) fn method(text: &str) -> Result<PaymentMethod, PaymentMethodError> {
    match text {
        OK | DECLINED => Ok(PaymentMethod(text.to_owned())),
        _ => Err(PaymentMethodError::NotOfSandbox),
    }
}

/// The answer follows from the payment alone, so the same payment always gets the same one.
pub(super) fn pay(payment: &Payment<'_>) -> Settlement {
    let accepted = payment.method.as_str() == OK;
    tracing::debug!(amount = %payment.amount, key = %payment.key, accepted, "a sandbox payment");
    if accepted {
        Settlement::Paid { reference: format!("sandbox_{}", payment.key) }
    } else {
        Settlement::Declined { reference: format!("sandbox_declined_{}", payment.key) }
    }
}

pub(super) fn give_back(reference: &str) {
    tracing::info!(reference, "the sandbox gave a payment back");
}

#[cfg(test)]
mod tests {
    use bursar_money::{Currency, Price};
    use bursar_proto::billing::v1::PurchasePackRequest;
    use bursar_rpc::{Caller, IdempotencyKey};

    use crate::payment::{Payment, PaymentKey, PaymentMethodError, Payments, Settlement};

    const SANDBOX: Payments = Payments::Sandbox;

    #[test]
    fn it_knows_two_methods() {
        assert!(SANDBOX.method("sandbox_ok").is_ok());
        assert!(SANDBOX.method("sandbox_declined").is_ok());
        let long = "x".repeat(129);
        let cases = [
            ("", PaymentMethodError::NotOfSandbox),
            ("sandbox_OK", PaymentMethodError::NotOfSandbox),
            ("pm_card_visa", PaymentMethodError::NotOfSandbox),
            (long.as_str(), PaymentMethodError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(SANDBOX.method(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_repeated_payment_has_the_same_reference() {
        let pay = |key: PaymentKey, method: &str| {
            let method = SANDBOX.method(method).unwrap();
            let amount = Price::zero(Currency::USD);
            SANDBOX.pay(&Payment { key, amount, method: &method })
        };
        let first = pay(PaymentKey::of("sub_1:1"), "sandbox_ok");
        assert!(matches!(&first, Settlement::Paid { reference } if reference.starts_with("sandbox_")), "{first:?}");
        assert_eq!(pay(PaymentKey::of("sub_1:1"), "sandbox_ok"), first);
        assert_ne!(pay(PaymentKey::of("sub_1:2"), "sandbox_ok"), first);
        let declined = pay(PaymentKey::of("sub_1:1"), "sandbox_declined");
        assert!(matches!(declined, Settlement::Declined { .. }), "{declined:?}");
    }

    #[test]
    fn a_request_id_makes_the_key() {
        let key = |id: &str, pack: &str, attempt: &str| {
            let body = PurchasePackRequest { pack_id: pack.to_owned(), ..PurchasePackRequest::default() };
            let request = IdempotencyKey::new(&Caller::Anonymous, "PurchasePack", id, &body).unwrap();
            PaymentKey::of_request(Some(&request), attempt)
        };
        assert_eq!(key("1", "starter", "a"), key("1", "starter", "b"), "a retry is the same payment");
        assert_ne!(key("1", "starter", "a"), key("1", "premium", "a"), "another purchase is not");
        assert_ne!(key("1", "starter", "a"), key("2", "starter", "a"), "another id is not");
        assert_ne!(key("", "starter", "a"), key("", "starter", "b"), "without an id every attempt is new");
    }
}
