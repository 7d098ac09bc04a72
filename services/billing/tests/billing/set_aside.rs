//! Money that Stripe tells of and that is booked nowhere, about a second dispute or in another currency: nobody refunds it, and the
//! month's report does not add up without it.

use bursar_billing::finance::{MonthReport, report};
use bursar_billing::inbox;
use bursar_proto::billing::v1 as pb;
use bursar_proto::google::r#type::Money;
use bursar_testkit::stripe::Card;
use bursar_testkit::{at, engines, refused};
use serde_json::json;
use tonic::Code;

use crate::stripe_desk::{Desk, buy};
use crate::world::Person;

async fn told(desk: &Desk, who: &Person) -> MonthReport {
    let from = at("2026-01-01T00:00:00Z");
    let month = (from, from.add_months_anchored(1));
    report(&desk.world.store, Some(who.owner), (month, desk.world.now()), Vec::new()).await.unwrap()
}

/// What of the books in a currency is set aside, and what does not add up.
fn aside(told: &MonthReport, currency: &str) -> (i64, i64) {
    told.books.get(currency).map_or((0, 0), |books| (books.set_aside, books.difference()))
}

/// A refund of so many dollars, or of what is left.
fn refund(of: &pb::Payment, dollars: Option<i64>) -> pb::RefundPaymentRequest {
    let amount = dollars.map(|units| Money { currency_code: "USD".to_owned(), units, nanos: 0 });
    pb::RefundPaymentRequest { owner: of.owner.clone(), payment_id: of.id.clone(), amount, request_id: String::new() }
}

/// Somebody has seen to whatever is set aside.
async fn drops_all(desk: &Desk) {
    let store = &desk.world.store;
    for it in inbox::aside(store).await.unwrap() {
        inbox::discard(store, &it.id, desk.world.now()).await.unwrap();
    }
    assert_eq!(desk.count("ASIDE").await, 0);
}

engines! {
    async fn what_a_second_dispute_takes_nobody_refunds_and_the_books_differ_by_it(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        desk.fake.disputes(&desk.intent(), 500);
        desk.delivers().await;
        let report = told(&desk, &ana).await;
        assert_eq!((aside(&report, "USD"), report.differences), ((0, 0), Vec::<String>::new()));
        let second = desk.fake.disputes(&desk.intent(), 700);
        desk.delivers().await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.count("ASIDE").await), ("225", 2));
        for (status, said) in [("", "disputed"), ("lost", "gone")] {
            if !status.is_empty() {
                desk.fake.decides(&second, status);
                desk.delivers().await;
            }
            let report = told(&desk, &ana).await;
            let line = format!("{} {}: 7.00 USD of it is {said} by {second}, which was set aside: no note says so", ana.owner, payment.id);
            assert_eq!((aside(&report, "USD"), report.differences), ((7_000_000, 7_000_000), vec![line]));
            assert!(report.books["USD"].to_string().ends_with("set aside 7; difference 7"));
            // Of 20 dollars 5 are disputed, and these 7 besides.
            let operator = desk.world.operator();
            refused(operator.refund_payment(refund(&payment, Some(9))).await, Code::FailedPrecondition, "REFUND_ABOVE_PAYMENT");
            // That somebody has seen it brings no money back.
            drops_all(&desk).await;
        }
        desk.world.operator().refund_payment(refund(&payment, None)).await.unwrap();
        desk.delivers().await;
        let get = pb::GetPaymentRequest { owner: ana.owner.to_string(), payment_id: payment.id.clone() };
        let now = ana.get_payment(get).await.unwrap().payment.unwrap();
        assert_eq!(now.refunded.map(|it| it.units), Some(8));
        assert_eq!(aside(&told(&desk, &ana).await, "USD"), (7_000_000, 7_000_000));
        desk.world.audit(ana.owner).await;
    }

    async fn what_a_second_dispute_leaves_after_all_may_be_refunded_and_the_books_add_up(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        let first = desk.fake.disputes(&desk.intent(), 500);
        let second = desk.fake.disputes(&desk.intent(), 700);
        for dispute in [first, second] {
            desk.fake.decides(&dispute, "won");
        }
        // In whatever order it is told.
        let mut webhooks = desk.fake.webhooks();
        webhooks.reverse();
        desk.delivers_these(&webhooks).await;
        let report = told(&desk, &ana).await;
        assert_eq!((aside(&report, "USD"), report.differences), ((0, 0), Vec::<String>::new()));
        desk.world.operator().refund_payment(refund(&payment, Some(20))).await.unwrap();
        assert_eq!(desk.world.available(ana.owner).await, "0");
        desk.world.audit(ana.owner).await;
    }

    async fn of_what_is_taken_in_another_currency_nothing_is_refunded_and_its_books_differ(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        let dispute = |status: &str| json!({
            "id": "dp_other", "object": "dispute", "payment_intent": desk.intent(), "amount": 300, "currency": "eur",
            "status": status,
        });
        desk.delivers_these(&[desk.fake.event("charge.dispute.created", &dispute("needs_response"))]).await;
        let report = told(&desk, &ana).await;
        assert_eq!((aside(&report, "EUR"), aside(&report, "USD"), report.differences.len()), ((3_000_000, 3_000_000), (0, 0), 1));
        let operator = desk.world.operator();
        refused(operator.refund_payment(refund(&payment, Some(1))).await, Code::FailedPrecondition, "REFUND_ABOVE_PAYMENT");
        // What somebody gives back in the dashboard is booked all the same.
        desk.fake.refunds(&desk.intent(), 400);
        desk.delivers().await;
        assert_eq!(desk.world.available(ana.owner).await, "240");
        desk.delivers_these(&[desk.fake.event("charge.dispute.closed", &dispute("won"))]).await;
        let report = told(&desk, &ana).await;
        assert_eq!((aside(&report, "EUR"), report.differences), ((0, 0), Vec::<String>::new()));
        operator.refund_payment(refund(&payment, Some(16))).await.unwrap();
        desk.world.audit(ana.owner).await;
    }
}
