//! What becomes of the cards that Stripe keeps: they are replaced, expire, and are removed.

use bursar_id::PaymentMethodId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::PaymentState;
use bursar_testkit::stripe::{Astray, Card, Mishap};
use bursar_testkit::{engines, id, refused};
use bursar_time::Span;
use serde_json::json;
use tonic::Code;

use crate::stripe_desk::{Desk, buy, methods, payments};
use crate::words::Under;
use crate::world::{Person, until};

async fn removes(who: &Person) {
    let saved = methods(who, who.owner).await.remove(0);
    let (owner, request_id) = (who.owner.to_string(), String::new());
    let remove = pb::RemovePaymentMethodRequest { owner, payment_method_id: saved.id, request_id };
    who.remove_payment_method(remove).await.unwrap();
}

engines! {
    async fn a_card_that_its_bank_replaces_pays_on(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        desk.fake.renews(&card, (1, 2020));
        desk.delivers().await;
        refused(ana.purchase_pack(buy(ana.owner)).await, Code::FailedPrecondition, "PAYMENT_METHOD_EXPIRED");
        assert_eq!(desk.fake.all("payment_intent").len(), 0, "nobody was asked for anything");
        // What is told late says what is so now.
        desk.fake.renews(&card, (2, 2020));
        desk.fake.renews(&card, (11, 2040));
        let mut told = desk.fake.webhooks();
        told.reverse();
        desk.delivers_these(&told).await;
        let saved = methods(&ana, ana.owner).await.remove(0);
        assert_eq!((&*saved.last4, saved.exp_month, saved.exp_year, saved.default), ("4242", 11, 2040, true));
        let paid = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        assert_eq!((paid.state(), &*desk.world.available(ana.owner).await), (PaymentState::Paid, "300"));
        let before = desk.count("IGNORED").await;
        let nobodys = json!({"id": "pm_other", "object": "payment_method", "customer": "cus_other", "metadata": {}});
        desk.delivers_these(&[desk.fake.event("payment_method.updated", &nobodys)]).await;
        assert_eq!((desk.count("IGNORED").await, desk.count("ASIDE").await), (before + 1, 0));
        assert!(!desk.fake.asked().iter().any(|it| it.contains("pm_other")), "nobody asks about it");
    }

    async fn a_card_that_expires_between_intent_and_capture_takes_nothing(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        // The intent is made and looked at; that it is to be paid nobody hears, twice.
        desk.fake.fails([None, None, Some(Mishap::Down), Some(Mishap::Down)]);
        let unavailable = "PAYMENT_PROVIDER_UNAVAILABLE";
        refused(ana.purchase_pack(buy(ana.owner).under("r1")).await, Code::Unavailable, unavailable);
        desk.fake.becomes(&card, Card::Declined("expired_card"));
        refused(ana.purchase_pack(buy(ana.owner).under("r1")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        let all = payments(&ana, ana.owner).await;
        assert_eq!((all.len(), all[0].state(), &*all[0].decline_code), (1, PaymentState::Declined, "expired_card"));
        desk.delivers().await;
        assert_eq!((desk.fake.takings(), &*desk.world.available(ana.owner).await), (0, "0"));
        desk.fake.becomes(&card, Card::Good);
        desk.world.passes(Span::SECOND);
        let paid = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap().payment.unwrap();
        assert_eq!((paid.state(), desk.fake.takings()), (PaymentState::Paid, 2_000));
        assert_eq!(desk.world.available(ana.owner).await, "300");
        desk.world.audit(ana.owner).await;
    }

    async fn a_card_that_two_pay_with_stays_until_both_have_removed_it(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        let ben = desk.world.person(2);
        // As a subscription leaves it that has moved.
        let copy = format!(
            "INSERT INTO payment_methods
                (owner, id, token, brand, last4, exp_month, exp_year, is_default, added_by, created_at)
             SELECT '{}', '{}', token, brand, last4, exp_month, exp_year, 1, added_by, created_at FROM payment_methods",
            ben.owner,
            PaymentMethodId::to_string(&id(7))
        );
        assert_eq!(desk.world.by_hand(&copy).await.unwrap(), 1);
        removes(&ana).await;
        let waiting = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment-method-removal'";
        until("the job has looked", async || desk.world.scalar(waiting).await == 0).await;
        assert!(!desk.fake.object(&card).unwrap()["customer"].is_null());
        let paid = ben.purchase_pack(buy(ben.owner)).await.unwrap().payment.unwrap();
        assert_eq!(paid.state(), PaymentState::Paid);
        removes(&ben).await;
        until("it is forgotten", async || desk.fake.all("customer").is_empty()).await;
        assert!(desk.fake.object(&card).unwrap()["customer"].is_null());
    }

    async fn a_card_that_is_removed_while_what_stripe_refuses_is_the_deployment_is_forgotten_later(db: TestDb) {
        let desk = Desk::open(db).await;
        let ana = desk.world.person(1);
        for how in [Astray::Version, Astray::Account] {
            let card = desk.saves(&ana, ana.owner, Card::Good).await;
            desk.fake.is_astray(Some(how));
            removes(&ana).await;
            let failed =
                "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment-method-removal' AND failure IS NOT NULL";
            until("it is tried in vain", async || desk.world.scalar(failed).await == 1).await;
            assert!(!desk.fake.object(&card).unwrap()["customer"].is_null(), "{how:?}");
            desk.fake.is_astray(None);
            until("it is forgotten", async || {
                desk.world.passes(Span::from_mins(10));
                desk.fake.all("customer").is_empty()
            })
            .await;
            assert!(desk.fake.object(&card).unwrap()["customer"].is_null());
        }
    }

    async fn a_card_that_was_removed_in_the_dashboard_is_a_decline(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        desk.fake.removes(&card);
        refused(ana.purchase_pack(buy(ana.owner)).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        let all = payments(&ana, ana.owner).await;
        assert_eq!((all.len(), all[0].state(), &*all[0].decline_code), (1, PaymentState::Declined, "resource_missing"));
    }

    async fn a_card_that_was_taken_from_its_customer_is_a_decline_whatever_stripe_says(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        // Once before there is an intent, and once when that waits to be paid.
        let (ben, other) = desk.person_with(2, Card::Good).await;
        desk.fake.fails([None, None, Some(Mishap::Down), Some(Mishap::Down)]);
        let unavailable = "PAYMENT_PROVIDER_UNAVAILABLE";
        refused(ben.purchase_pack(buy(ben.owner).under("r1")).await, Code::Unavailable, unavailable);
        for (who, card) in [(&ana, &card), (&ben, &other)] {
            desk.fake.detaches(card);
            refused(who.purchase_pack(buy(who.owner).under("r1")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
            let all = payments(who, who.owner).await;
            let last = all.first().expect("a payment");
            assert_eq!((all.len(), last.state(), &*last.decline_code), (1, PaymentState::Declined, "payment_method_missing"));
        }
        assert_eq!(desk.fake.takings(), 0);
        assert_eq!(desk.fake.all("customer").len(), 2, "they are there still");
    }
}
