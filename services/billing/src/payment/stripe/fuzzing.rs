//! Answers of Stripe's with edits: whatever it says, it is read, refused or unreadable, and what is kept of it has bounds.

use http::StatusCode;
use serde_json::json;

use super::shapes::{NextAction, Redirect};
use super::wire::read;
use super::*;

/// What it may say with an answer.
const STATUSES: [StatusCode; 5] = [
    StatusCode::OK,
    StatusCode::PAYMENT_REQUIRED,
    StatusCode::UNAUTHORIZED,
    StatusCode::CONFLICT,
    StatusCode::INTERNAL_SERVER_ERROR,
];

/// One answer of each form that there is.
fn samples() -> Vec<String> {
    let error = json!({"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"});
    let intent = |status: &str| {
        json!({
            "id": "pi_1", "object": "payment_intent", "status": status, "amount": 2000, "amount_received": 2000,
            "currency": "usd", "client_secret": "pi_1_secret_x", "last_payment_error": error,
            "next_action": {"type": "redirect_to_url", "redirect_to_url": {"url": "https://hooks.example.com/3ds"}},
        })
    };
    let card = json!({"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040});
    let refund = |key: &str| json!({"id": "re_1", "status": "succeeded", "metadata": {"bursar_refund": key}});
    [
        intent("succeeded"),
        intent("requires_payment_method"),
        intent("requires_action"),
        json!({"id": "cus_1", "object": "customer", "deleted": true}),
        json!({"id": "cs_1", "object": "checkout.session", "url": "https://checkout.example.com/c/pay/cs_1"}),
        json!({"id": "pm_1", "object": "payment_method", "customer": "cus_1", "card": card}),
        json!({"object": "list", "data": [refund("a"), refund("b")], "has_more": true}),
        json!({ "error": error }),
        json!({"error": {"type": "idempotency_error"}}),
    ]
    .map(|answer| answer.to_string())
    .to_vec()
}

/// A word that may be kept, and shown to people.
fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(fits)
}

/// What was answered, if it is an object. Whatever is said instead has bounds.
fn object<T: serde::de::DeserializeOwned>(status: StatusCode, body: &[u8]) -> Option<T> {
    match read::<T>(status, body) {
        Ok(Ok(object)) => {
            assert!(status.is_success(), "{status} is an object");
            Some(object)
        }
        Ok(Err(refusal)) => {
            assert!(is_word(&refusal.word()), "{refusal:?}");
            None
        }
        Err(trouble) => {
            assert!(trouble.to_string().len() <= 256, "{trouble}");
            None
        }
    }
}

#[test]
fn fuzz_answers() {
    let asked: Price = "20.00 USD".parse().expect("a price");
    let samples = samples();
    let (first, last) = (samples[0].as_bytes(), samples[6].as_bytes());
    let intent = read::<Intent>(StatusCode::OK, first).expect("an answer").unwrap_or_else(|_| panic!("an intent"));
    assert_eq!(settled(&intent, asked).map(|it| it.news), Ok(News::Paid));
    assert!(object::<Refunds>(StatusCode::OK, last).is_some_and(|page| page.data.len() == 2 && page.has_more));
    bursar_fuzz::fuzz("answers of the payment provider", &samples, |bytes| {
        for status in STATUSES {
            if let Some(intent) = object::<Intent>(status, bytes) {
                match settled(&intent, asked).map(|settlement| settlement.news) {
                    Ok(News::Paid) => assert_eq!(price(intent.amount_received, &intent.currency), Some(asked)),
                    Ok(News::Declined(word)) => assert!(is_word(&word), "{word}"),
                    _ => {}
                }
                let next = intent.next_action.and_then(|NextAction { redirect_to_url }| redirect_to_url);
                let _ = next.and_then(|Redirect { url }| url);
            }
            if let Some(made) = object::<Made>(status, bytes) {
                // It stands in a path, of which it may be one part and no more.
                let path = segment(&made.id).map(|id| format!("/v1/customers/{id}"));
                assert!(path.is_err() || path.is_ok_and(|path| path.split(['/', '?', '#']).count() == 4));
            }
            if let Some(Ok(Some(card))) = object::<Method>(status, bytes).map(|found| shown(found, "cus_1")) {
                let digits = card.last4.len() <= 4 && card.brand.len() <= 64;
                assert!(digits && (1..=12).contains(&card.exp_month), "{card:?}");
            }
            object::<Session>(status, bytes);
            object::<Refunds>(status, bytes);
        }
    });
}
