//! What Stripe tells by webhooks. Of an event is kept what is needed to act on it: no address and no name is among that.

use std::collections::BTreeMap;
use std::fmt;

use bursar_id::{OwnerId, PaymentId, PaymentMethodId};
use bursar_money::Price;
use serde::{Deserialize, Serialize};

use super::{BY, METHOD, OWNER, PAYMENT, REFUND, price, shapes, token};
use crate::domain::News;

/// The longest id and type of an event.
const LONGEST_NAME: usize = 128;
/// The longest value of a note on an object.
const LONGEST_NOTE: usize = 128;

/// A body that is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no event")]
pub(crate) struct NoEvent;

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its id, `evt_…`: the same however often it comes.
    pub(crate) id: String,
    /// Its type.
    pub(crate) kind: String,
    /// What is kept of it.
    pub(crate) kept: Kept,
}

/// What is kept of an event.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Its object, for [`Notice::read`].
    Object(String),
    /// Nothing: its type is none that matters here, or it is about something of somebody else's.
    Nothing,
    /// Nothing: its type matters, and its object is not as it is known.
    Unreadable,
}

/// What an event means here.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Nothing: it is about something of somebody else's on the same account, or about nothing that happened.
    NotOurs,
    /// Something became of a payment.
    Payment {
        /// The payment, where the event names it.
        payment: Option<PaymentId>,
        /// Stripe's name for it.
        reference: String,
        /// What is heard of it, in this order.
        news: Vec<News>,
        /// How much was paid, where that is the news.
        paid: Option<Price>,
        /// Stripe's name for the dispute that the news are of, if they are of one.
        dispute: Option<String>,
    },
    /// A customer has entered a card.
    Method {
        /// The id that it has here.
        id: PaymentMethodId,
        /// Whose it is.
        owner: OwnerId,
        /// Who adds it.
        by: String,
        /// Stripe's names for it and its customer.
        token: String,
    },
    /// A card is shown otherwise from now on: its bank has replaced it, or it has another date.
    Card {
        /// Stripe's names for it and its customer.
        token: String,
    },
    /// What was given back has not reached its customer.
    RefundFailed {
        /// Stripe's name for the payment.
        reference: String,
        /// Whether it was given back from here, and not in the dashboard or by somebody else.
        is_ours: bool,
    },
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A card is saved by what an object says.
        f.write_str(match self {
            Self::Object(_) => "Object(..)",
            Self::Nothing => "Nothing",
            Self::Unreadable => "Unreadable",
        })
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("NotOurs"),
            Self::Payment { payment, reference, news, paid, dispute } => f
                .debug_struct("Payment")
                .field("payment", payment)
                .field("reference", reference)
                .field("news", news)
                .field("paid", paid)
                .field("dispute", dispute)
                .finish(),
            Self::Method { id, owner, by, token: _ } => {
                f.debug_struct("Method").field("id", id).field("owner", owner).field("by", by).finish_non_exhaustive()
            }
            Self::Card { token: _ } => f.debug_struct("Card").finish_non_exhaustive(),
            Self::RefundFailed { reference, is_ours } => {
                f.debug_struct("RefundFailed").field("reference", reference).field("is_ours", is_ours).finish()
            }
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    object: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: serde_json::Value,
}

/// What is read, and kept, of the objects that events are about.
#[derive(Serialize, Deserialize)]
struct Object {
    id: String,
    status: Option<String>,
    currency: Option<String>,
    amount: Option<i64>,
    amount_received: Option<i64>,
    amount_refunded: Option<i64>,
    payment_intent: Option<String>,
    payment_method: Option<String>,
    customer: Option<String>,
    last_payment_error: Option<Failed>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    code: Option<String>,
    decline_code: Option<String>,
}

/// The types that matter.
const KNOWN: [&str; 13] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.requires_action",
    "payment_intent.processing",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.closed",
    "refund.failed",
    "setup_intent.succeeded",
    "payment_method.updated",
    "payment_method.automatically_updated",
];

/// Whether somebody's text may be kept as an event's id or type.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(fits)
}

impl Event {
    /// Reads a body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, NoEvent> {
        let envelope: Envelope = serde_json::from_slice(body).map_err(|_| NoEvent)?;
        if envelope.object != "event" || !is_name(&envelope.id) || !is_name(&envelope.kind) {
            return Err(NoEvent);
        }
        let kept = if KNOWN.contains(&envelope.kind.as_str()) {
            keep(&envelope.kind, envelope.data.object)
        } else {
            Kept::Nothing
        };
        Ok(Self { id: envelope.id, kind: envelope.kind, kept })
    }
}

fn keep(kind: &str, object: serde_json::Value) -> Kept {
    let Ok(mut object) = serde_json::from_value::<Object>(object) else { return Kept::Unreadable };
    if let Some(notes) = &mut object.metadata {
        let known = [PAYMENT, OWNER, METHOD, BY, REFUND];
        notes.retain(|name, note| known.contains(&name.as_str()) && note.len() <= LONGEST_NOTE);
    }
    let Ok(text) = serde_json::to_string(&object) else { return Kept::Unreadable };
    match Notice::read(kind, &text) {
        Some(Notice::NotOurs) => Kept::Nothing,
        Some(_) => Kept::Object(text),
        None => Kept::Unreadable,
    }
}

impl Notice {
    /// Reads what was kept of an event of this type; `None`: it says nothing that could be known.
    pub(crate) fn read(kind: &str, kept: &str) -> Option<Self> {
        let object: Object = serde_json::from_str(kept).ok()?;
        match kind {
            "setup_intent.succeeded" => return object.method(),
            "payment_method.updated" | "payment_method.automatically_updated" => return Some(object.card()),
            "refund.failed" => {
                let is_ours = object.metadata.is_some_and(|notes| notes.contains_key(REFUND));
                let of = object.payment_intent;
                return Some(of.map_or(Self::NotOurs, |reference| Self::RefundFailed { reference, is_ours }));
            }
            _ => {}
        }
        let currency = object.currency.as_deref().unwrap_or_default();
        let amount = |counted: Option<i64>| price(counted?, currency).filter(|it| !it.is_negative());
        let (news, paid) = match kind {
            "payment_intent.succeeded" => (vec![News::Paid], Some(amount(object.amount_received)?)),
            "payment_intent.payment_failed" => (vec![News::Declined(object.why())], None),
            "payment_intent.canceled" => (vec![News::Canceled], None),
            "payment_intent.requires_action" => (vec![News::RequiresAction], None),
            "payment_intent.processing" => (vec![News::Pending], None),
            "charge.refunded" => (vec![News::Refunded(amount(object.amount_refunded)?)], None),
            "charge.dispute.created" | "charge.dispute.funds_withdrawn" | "charge.dispute.closed" => {
                (dispute(object.status.as_deref()?, amount(object.amount)?), None)
            }
            _ => return None,
        };
        let is_dispute = kind.starts_with("charge.dispute.");
        let dispute = is_dispute.then(|| object.id.clone());
        let intent = if kind.starts_with("payment_intent.") { Some(object.id.clone()) } else { object.payment_intent };
        // A charge or a dispute without an intent is nothing that was begun here.
        let Some(reference) = intent.filter(|_| !news.is_empty()) else { return Some(Self::NotOurs) };
        let payment = object.metadata.as_ref().and_then(|notes| notes.get(PAYMENT)).and_then(|id| id.parse().ok());
        // A charge has the marks of its intent. A dispute has none: whose it is, its payment says.
        if payment.is_none() && !is_dispute {
            return Some(Self::NotOurs);
        }
        Some(Self::Payment { payment, reference, news, paid, dispute })
    }
}

impl Object {
    fn why(&self) -> String {
        let said = self.last_payment_error.as_ref();
        shapes::word(said.and_then(|it| it.decline_code.as_deref().or(it.code.as_deref())))
    }

    /// What became of entering a card. One that is not marked as ours was entered for somebody else.
    fn method(self) -> Option<Notice> {
        let notes = self.metadata.unwrap_or_default();
        let note = |name: &str| notes.get(name).map(String::as_str);
        let (Some(id), Some(owner)) = (note(METHOD), note(OWNER)) else { return Some(Notice::NotOurs) };
        Some(Notice::Method {
            id: id.parse().ok()?,
            owner: owner.parse().ok()?,
            by: note(BY).unwrap_or_default().to_owned(),
            token: token(&self.customer?, &self.payment_method?).ok()?,
        })
    }

    /// Which card it is. One without a customer is nobody's here.
    fn card(self) -> Notice {
        let token = self.customer.and_then(|customer| token(&customer, &self.id).ok());
        token.map_or(Notice::NotOurs, |token| Notice::Card { token })
    }
}

/// What a dispute means. An inquiry takes no money, and may end without becoming one; that a dispute is over says what it was
/// about, too, as it may be heard of before that it began.
fn dispute(status: &str, amount: Price) -> Vec<News> {
    match status {
        "won" => vec![News::Disputed(amount), News::DisputeWon],
        "lost" => vec![News::Disputed(amount), News::DisputeLost],
        inquiry if inquiry.starts_with("warning_") => Vec::new(),
        _ => vec![News::Disputed(amount)],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PAY: &str = "pay_00000000000000000000000001";

    fn read(kind: &str, object: &Value) -> Option<Notice> {
        let body = json!({"id": "evt_1", "object": "event", "type": kind, "data": {"object": object}});
        match Event::read(body.to_string().as_bytes()).unwrap().kept {
            Kept::Object(kept) => {
                let notice = Notice::read(kind, &kept);
                assert_ne!(notice, Some(Notice::NotOurs), "of what is not ours nothing is kept");
                notice
            }
            Kept::Nothing => Some(Notice::NotOurs),
            Kept::Unreadable => None,
        }
    }

    fn news(kind: &str, object: &Value) -> Vec<News> {
        match read(kind, object) {
            Some(Notice::Payment { news, .. }) => news,
            other => panic!("{kind}: {other:?}"),
        }
    }

    #[test]
    fn no_name_of_a_card_is_printed() {
        let (id, owner) = (bursar_testkit::id(1), bursar_testkit::personal(1));
        let token = || "cus_hush:pm_hush".to_owned();
        let kept = Kept::Object(json!({"payment_method": "pm_hush", "customer": "cus_hush"}).to_string());
        let notices =
            [Notice::Method { id, owner, by: String::new(), token: token() }, Notice::Card { token: token() }];
        let event = Event { id: "evt_1".to_owned(), kind: "setup_intent.succeeded".to_owned(), kept };
        let printed = format!("{event:?} {notices:?}");
        assert!(!printed.contains("hush") && printed.contains("evt_1") && printed.contains("Method"), "{printed}");
    }

    #[test]
    fn what_an_event_means() {
        let usd = |text: &str| format!("{text} USD").parse::<Price>().unwrap();
        let intent = |more: Value| {
            let mut object =
                json!({"id": "pi_1", "currency": "usd", "amount": 2000, "metadata": {"bursar_payment": PAY}});
            object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            object
        };
        let error = json!({"last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"}});
        let paid = intent(json!({"amount_received": 2000}));
        assert_eq!(news("payment_intent.succeeded", &paid), [News::Paid]);
        assert_eq!(
            news("payment_intent.payment_failed", &intent(error)),
            [News::Declined("insufficient_funds".to_owned())]
        );
        assert_eq!(news("payment_intent.canceled", &intent(json!({}))), [News::Canceled]);
        assert_eq!(news("payment_intent.requires_action", &intent(json!({}))), [News::RequiresAction]);
        assert_eq!(news("payment_intent.processing", &intent(json!({}))), [News::Pending]);
        let charge = json!({
            "id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 500, "currency": "usd",
            "metadata": {"bursar_payment": PAY},
        });
        assert_eq!(news("charge.refunded", &charge), [News::Refunded(usd("5.00"))]);
        let dispute = |status: &str| json!({"id": "dp_1", "payment_intent": "pi_1", "amount": 2000, "currency": "usd", "status": status});
        let open = News::Disputed(usd("20.00"));
        assert_eq!(news("charge.dispute.created", &dispute("needs_response")), std::slice::from_ref(&open));
        assert_eq!(news("charge.dispute.closed", &dispute("won")), [open.clone(), News::DisputeWon]);
        assert_eq!(news("charge.dispute.closed", &dispute("lost")), [open, News::DisputeLost]);
        let inquiry = dispute("warning_needs_response");
        assert_eq!(read("charge.dispute.created", &inquiry), Some(Notice::NotOurs), "it takes no money");
    }

    #[test]
    fn a_card_that_is_shown_otherwise_and_a_refund_that_failed_are_told_by_their_names() {
        let card = json!({"id": "pm_1", "customer": "cus_1", "card": {"exp_year": 2040}, "metadata": {}});
        let nobodys = json!({"id": "pm_1", "customer": null});
        for kind in ["payment_method.updated", "payment_method.automatically_updated"] {
            assert_eq!(read(kind, &card), Some(Notice::Card { token: "cus_1:pm_1".to_owned() }));
            assert_eq!(read(kind, &nobodys), Some(Notice::NotOurs));
        }
        for (marks, is_ours) in [(json!({}), false), (json!({"bursar_refund": "key"}), true)] {
            let refund = json!({"id": "re_1", "payment_intent": "pi_1", "status": "failed", "metadata": marks});
            let failed = Notice::RefundFailed { reference: "pi_1".to_owned(), is_ours };
            assert_eq!(read("refund.failed", &refund), Some(failed), "{refund}");
        }
        assert_eq!(read("refund.failed", &json!({"id": "re_1", "payment_intent": null})), Some(Notice::NotOurs));
    }

    #[test]
    fn what_is_not_ours_is_nothing_and_what_is_unlike_is_unreadable() {
        let bare = json!({"id": "pi_1", "currency": "usd", "amount_received": 1});
        assert_eq!(read("payment_intent.succeeded", &bare), Some(Notice::NotOurs));
        assert_eq!(read("setup_intent.succeeded", &json!({"id": "seti_1"})), Some(Notice::NotOurs));
        let charge = json!({"id": "ch_1", "amount_refunded": 1, "currency": "usd"});
        let of_theirs = json!({"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 1, "currency": "usd"});
        for charge in [charge, of_theirs] {
            assert_eq!(read("charge.refunded", &charge), Some(Notice::NotOurs), "{charge}");
        }
        let marked = json!({"bursar_payment": PAY});
        for object in [
            json!({}),
            json!({"id": "pi_1", "metadata": marked}),
            json!({"id": "pi_1", "metadata": marked, "currency": "usd", "amount_received": -1}),
            json!({"id": "pi_1", "metadata": marked, "currency": "x", "amount_received": 1}),
            json!({"id": "pi_1", "metadata": marked, "currency": "usd", "amount_received": "1"}),
        ] {
            assert_eq!(read("payment_intent.succeeded", &object), None, "{object}");
        }
    }

    #[test]
    fn nothing_is_kept_that_says_who_somebody_is() {
        let object = json!({
            "id": "pi_1", "currency": "usd", "amount_received": 1, "receipt_email": "grace@example.com",
            "metadata": {"bursar_payment": PAY, "name": "Grace"}, "shipping": {"name": "Grace"},
        });
        let body =
            json!({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "data": {"object": object}});
        let Kept::Object(kept) = Event::read(body.to_string().as_bytes()).unwrap().kept else { panic!() };
        assert!(!kept.to_lowercase().contains("grace"), "{kept}");
    }

    #[test]
    fn rubbish_is_no_event() {
        let long = "x".repeat(129);
        let event = |id: &str, kind: &str| json!({"id": id, "object": "event", "type": kind, "data": {"object": {}}});
        for body in [
            String::new(),
            "null".to_owned(),
            "[]".to_owned(),
            "<html>".to_owned(),
            json!({"id": "evt_1"}).to_string(),
            json!({"id": "cus_1", "object": "customer", "type": "x", "data": {"object": {}}}).to_string(),
            event("", "x").to_string(),
            event("evt_1", "").to_string(),
            event("evt\n1", "x").to_string(),
            event(&long, "x").to_string(),
            "[".repeat(100_000),
        ] {
            assert_eq!(Event::read(body.as_bytes()), Err(NoEvent));
        }
        let unknown = Event::read(event("evt_1", "invoice.paid").to_string().as_bytes()).unwrap();
        assert_eq!(unknown.kept, Kept::Nothing);
    }

    /// What is kept of whatever body has a name within bounds, and can be read again.
    #[test]
    fn fuzz_webhooks() {
        let notes = json!({PAYMENT: PAY, "more": "of somebody else's"});
        let intent =
            json!({"id": "pi_1", "currency": "usd", "amount": 2000, "amount_received": 2000, "metadata": notes});
        let dispute =
            json!({"id": "dp_1", "payment_intent": "pi_1", "amount": 2000, "currency": "usd", "status": "lost"});
        let card = json!({"id": "pm_1", "customer": "cus_1"});
        let events = [
            ("payment_intent.succeeded", &intent),
            ("payment_intent.payment_failed", &intent),
            ("charge.dispute.closed", &dispute),
            ("payment_method.updated", &card),
            ("customer.created", &card),
        ];
        let body = |(kind, object): (&str, &Value)| json!({"id": "evt_1", "object": "event", "type": kind, "data": {"object": object}});
        let samples = events.map(|event| body(event).to_string());
        bursar_fuzz::fuzz("webhooks", &samples, |bytes| {
            let Ok(event) = Event::read(bytes) else { return };
            assert!(is_name(&event.id) && is_name(&event.kind), "{event:?}");
            if let Kept::Object(kept) = &event.kept {
                let notice = Notice::read(&event.kind, kept);
                assert!(notice.is_some_and(|it| it != Notice::NotOurs), "kept for nothing: {event:?}");
            }
        });
    }
}
