//! What billing tells, with edits: a letter is written of it, whose subject is one line.

use bursar_members::CreditUnit;
use bursar_notices::{
    Addressee, Alert as _, LimitMail, More, Reader, Whose, allowance_alert, limit_alert, top_up_stopped,
};
use bursar_proto::event::v1::Event;
use bursar_proto::event::v1::event::Payload;
use bursar_testkit::{START, at, told};
use bursar_time::Span;
use prost::Message as _;

#[test]
fn fuzz_letters() {
    let addressee = Addressee { to: "ada@example.com".to_owned(), whose: Whose::Named("Acme".to_owned()) };
    let reader = Reader { addressee: &addressee, product: "Filmkit", unit: CreditUnit::CREDITS };
    // Before what the alerts are about is over.
    let now = at(START).saturating_sub(Span::HOUR);
    let letter = |event: &Event| match &event.payload {
        Some(Payload::LimitAlert(alert)) => {
            let about = LimitMail { alert, member: Some("Ben"), sees: true, more: More::Stopped };
            alert.reached(now).map(|_| limit_alert(reader, &about))
        }
        Some(Payload::AllowanceAlert(alert)) => {
            alert.reached(now).map(|_| allowance_alert(reader, alert, More::Mailed))
        }
        Some(Payload::TopUpStopped(stopped)) => Some(top_up_stopped(reader, stopped)),
        _ => None,
    };
    let events: Vec<Event> = told::one_of_each().into_iter().filter(|event| letter(event).is_some()).collect();
    assert_eq!(events.len(), 3, "one of each that a letter is written of");
    let samples: Vec<Vec<u8>> = events.iter().map(Event::encode_to_vec).collect();
    bursar_fuzz::fuzz("letters", &samples, |bytes| {
        let Some(mail) = Event::decode(bytes).ok().and_then(|event| letter(&event)) else { return };
        assert!(mail.to == addressee.to && !mail.subject.is_empty(), "{:?}", mail.subject);
        assert!(!mail.subject.contains(['\n', '\r']), "{:?}", mail.subject);
        // Each word stands a few times in either form, and in one with escapes.
        let most = 16 * 1024 + 64 * bytes.len();
        assert!(mail.text.len() <= most && mail.html.len() <= most, "{} bytes of {}", mail.html.len(), bytes.len());
    });
}
