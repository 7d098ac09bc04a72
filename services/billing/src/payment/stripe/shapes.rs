//! What Stripe answers: of each object what is read here, whatever else it has.

use bursar_secret::Secret;
use serde::Deserialize;

/// A payment intent.
#[derive(Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) amount_received: i64,
    pub(super) currency: String,
    pub(super) client_secret: Option<Secret>,
    pub(super) next_action: Option<NextAction>,
    pub(super) last_payment_error: Option<Refusal>,
}

/// What the customer has to do.
#[derive(Deserialize)]
pub(super) struct NextAction {
    pub(super) redirect_to_url: Option<Redirect>,
}

/// Where the customer has to go.
#[derive(Deserialize)]
pub(super) struct Redirect {
    pub(super) url: Option<String>,
}

/// Something that was made, of which nothing but its id matters.
#[derive(Deserialize)]
pub(super) struct Made {
    pub(super) id: String,
}

/// A page of Stripe's on which a customer enters a card.
#[derive(Deserialize)]
pub(super) struct Session {
    pub(super) url: Option<String>,
}

/// A payment method.
#[derive(Deserialize)]
pub(super) struct Method {
    pub(super) customer: Option<String>,
    pub(super) card: Option<CardShape>,
}

/// What is told of a card.
#[derive(Deserialize)]
pub(super) struct CardShape {
    pub(super) brand: String,
    pub(super) last4: String,
    pub(super) exp_month: u32,
    pub(super) exp_year: u32,
}

/// Some of the refunds of a payment.
#[derive(Deserialize)]
pub(super) struct Refunds {
    pub(super) data: Vec<RefundShape>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// A refund.
#[derive(Deserialize)]
pub(super) struct RefundShape {
    pub(super) id: String,
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) metadata: RefundMetadata,
}

/// What was written on a refund.
#[derive(Default, Deserialize)]
pub(super) struct RefundMetadata {
    pub(super) bursar_refund: Option<String>,
}

/// An answer that says no.
#[derive(Deserialize)]
pub(super) struct Refused {
    pub(super) error: Refusal,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Refusal {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) code: Option<String>,
    pub(super) decline_code: Option<String>,
}

/// What is wrong, beside an error of the card, with a payment's own amount or card: no other account, key or version would have
/// it paid.
const OF_THE_PAYMENT: [&str; 15] = [
    "amount_too_large",
    "amount_too_small",
    "authentication_required",
    "card_declined",
    "charge_exceeds_source_limit",
    "expired_card",
    "payment_intent_authentication_failure",
    "payment_intent_incompatible_payment_method",
    "payment_intent_mandate_invalid",
    "payment_intent_payment_attempt_failed",
    "payment_method_currency_mismatch",
    "payment_method_customer_decline",
    "payment_method_not_available",
    "payment_method_provider_decline",
    "payment_method_unexpected_state",
];

/// The longest word for a decline that is kept.
const WORD: usize = 64;

impl Refusal {
    /// Stripe's word for it: the bank's where it gave one, the kind of error where there is no other.
    pub(super) fn word(&self) -> String {
        // An error of a card without a word is a decline.
        let kind = (self.kind != "card_error").then_some(&*self.kind);
        let words = [self.decline_code.as_deref(), self.code.as_deref(), kind];
        word(words.into_iter().flatten().find(|it| !it.is_empty()))
    }

    /// Whether it is certain that this payment will not be paid with this card: its bank has said so, or Stripe in its place, in
    /// whatever word, or it is wrong with the payment's amount or the card. Whatever else is refused may be the deployment's fault: a
    /// key, a version of the API, a field.
    pub(super) fn is_decline(&self) -> bool {
        let is_of_bank = self.kind == "card_error" || self.decline_code.as_deref().is_some_and(|it| !it.is_empty());
        is_of_bank || self.code.as_deref().is_some_and(|code| OF_THE_PAYMENT.contains(&code))
    }

    /// Whether something is not there, be it removed or never of this account.
    pub(super) fn is_missing(&self) -> bool {
        self.code.as_deref() == Some("resource_missing")
    }
}

/// A decline in a word of bounded length, of small letters, digits and underscores.
pub(super) fn word(said: Option<&str>) -> String {
    let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_';
    let word: String = said.unwrap_or_default().chars().filter(fits).take(WORD).collect();
    if word.is_empty() { "card_declined".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decline_has_the_banks_word_or_stripes() {
        let said = |code: Option<&str>, decline: Option<&str>| {
            let text = |it: Option<&str>| it.map(str::to_owned);
            Refusal { kind: String::new(), code: text(code), decline_code: text(decline) }.word()
        };
        let long = "x".repeat(65);
        let cases: [(Option<&str>, Option<&str>, &str); 6] = [
            (Some("card_declined"), Some("insufficient_funds"), "insufficient_funds"),
            (Some("expired_card"), None, "expired_card"),
            (None, None, "card_declined"),
            (Some(""), None, "card_declined"),
            (Some("<b>no</b>\n"), None, "bnob"),
            (Some(&long), None, &long[..64]),
        ];
        for (code, decline, expected) in cases {
            assert_eq!(said(code, decline), expected);
        }
        for (kind, expected) in [("api_error", "api_error"), ("card_error", "card_declined"), ("", "card_declined")] {
            let refusal = refused(kind, "");
            assert_eq!(refusal.word(), expected, "{kind}");
        }
    }

    fn refused(kind: &str, code: &str) -> Refusal {
        let text = |it: &str| Some(it.to_owned());
        Refusal { kind: kind.to_owned(), code: text(code), decline_code: None }
    }

    #[test]
    fn a_decline_is_what_is_wrong_with_the_payment_or_its_card_and_nothing_else() {
        let invalid = "invalid_request_error";
        // A decline, or about something that is not there; of whatever is neither nobody knows whose fault it is.
        let cases = [
            ("card_error", "", (true, false)),
            ("card_error", "a_word_of_tomorrow", (true, false)),
            (invalid, "amount_too_small", (true, false)),
            (invalid, "amount_too_large", (true, false)),
            (invalid, "payment_method_unexpected_state", (true, false)),
            (invalid, "resource_missing", (false, true)),
            (invalid, "parameter_unknown", (false, false)),
            (invalid, "parameter_missing", (false, false)),
            (invalid, "testmode_charges_only", (false, false)),
            ("rate_limit_error", "", (false, false)),
            ("api_error", "", (false, false)),
            (invalid, "a_word_of_tomorrow", (false, false)),
            ("an_error_of_tomorrow", "", (false, false)),
            (invalid, "", (false, false)),
            ("", "", (false, false)),
        ];
        for (kind, code, expected) in cases {
            let it = refused(kind, code);
            assert_eq!((it.is_decline(), it.is_missing()), expected, "{kind} {code}");
        }
        let of_bank = Refusal { decline_code: Some("a_word_of_tomorrow".to_owned()), ..refused(invalid, "") };
        assert!(of_bank.is_decline());
    }
}
