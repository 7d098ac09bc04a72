//! What no provider is asked for: a payment by invoice, and one of nothing.
//!
//! By invoice pays whoever has a contract that says so: operators alone name it (`SetContract`). The payment is paid when it
//! falls due; whoever sends the invoice sees to the money, and to giving it back.

use bursar_money::Price;

use super::{Settlement, ToPay};
use crate::domain::News;

/// The name under which it is stored with what it pays. No provider knows it.
pub(crate) const INVOICE: &str = "invoice";

/// What the references of payments by invoice begin with.
const REFERENCE: &str = "invoice:";

/// A payment that no provider is asked for; `None` for every other. Asked again it is the same.
pub(super) fn pay(to_pay: &ToPay<'_>) -> Option<Settlement> {
    let by_invoice = to_pay.token == INVOICE;
    let reference = by_invoice.then(|| format!("{REFERENCE}{}", to_pay.key));
    (by_invoice || to_pay.amount.is_zero()).then_some(Settlement { reference, news: News::Paid })
}

/// Whether a payment has moved no money at a provider, so that none goes back there.
pub(super) fn gives_back(reference: &str, amount: Price, key: &str) -> bool {
    let by_invoice = reference.starts_with(REFERENCE);
    if by_invoice {
        tracing::info!(reference, %amount, key, "a payment by invoice is to be given back: nobody but its sender does");
    }
    by_invoice
}

#[cfg(test)]
mod tests {
    use bursar_id::PaymentId;

    use super::*;
    use crate::payment::{PaymentMethod, Payments, Prepared};

    #[tokio::test]
    async fn no_provider_is_asked_for_an_invoice_and_for_nothing() {
        let key = PaymentId::from_parts(1, [1; 10]);
        let to_pay = |amount: &str, token: &'static str| ToPay {
            key,
            amount: amount.parse().unwrap(),
            token,
            attended: false,
            given_up: false,
        };
        let by_invoice = Settlement { reference: Some(format!("invoice:{key}")), news: News::Paid };
        let for_nothing = Settlement { reference: None, news: News::Paid };
        let cases = [
            ("20.00 USD", INVOICE, Some(&by_invoice)),
            ("0.00 USD", INVOICE, Some(&by_invoice)),
            ("0.00 USD", "sandbox_declined", Some(&for_nothing)),
            ("20.00 USD", "sandbox_declined", None),
            ("20.00 USD", "sandbox_ok", None),
        ];
        for (amount, token, expected) in cases {
            let to_pay = to_pay(amount, token);
            assert_eq!(pay(&to_pay).as_ref(), expected, "{amount} {token}");
            assert_eq!(Payments::Sandbox.prepare(&to_pay).await, Ok(Prepared::Nothing), "{amount} {token}");
            let paid = Payments::Sandbox.pay(&to_pay, None).await.unwrap();
            assert_eq!(Payments::Sandbox.pay_at_once(&to_pay).as_ref(), Some(&paid), "{amount} {token}");
            assert!(expected.is_none_or(|it| paid == *it), "{amount} {token}");
        }
        assert!(gives_back(&format!("invoice:{key}"), Price::zero(bursar_money::Currency::USD), "k"));
        assert!(!gives_back(&format!("sandbox_{key}"), Price::zero(bursar_money::Currency::USD), "k"));
    }

    #[test]
    fn nobody_but_an_operator_names_it() {
        let sandbox = Payments::Sandbox;
        assert!(sandbox.method(INVOICE).is_err() && sandbox.token(INVOICE).is_err());
        assert_eq!(sandbox.method_of_contract(INVOICE), Ok(PaymentMethod::Named(INVOICE.to_owned())));
        assert_eq!(sandbox.method_of_contract("sandbox_ok"), sandbox.method("sandbox_ok"));
        assert_eq!(sandbox.method_of_contract("cash"), sandbox.method("cash"));
        assert_eq!(sandbox.method_of_contract(""), Ok(PaymentMethod::Default));
    }
}
