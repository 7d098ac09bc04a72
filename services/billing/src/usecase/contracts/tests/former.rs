//! Contracts that were to be paid with a card that serves no more.

use bursar_testkit::{at, engines, personal};

use super::{BEGIN, HALF, NEXT, costing, falls_due, months_turn, payment, payments_of, set, stands, waits};
use crate::error::Error;
use crate::usecase::shop::Shop;

engines! {
    async fn a_card_that_stops_before_a_contract_begins_does_not_pay_it(db: TestDb) {
        let (shop, owner) = (Shop::open(&db, BEGIN).await, personal(1));
        let card: &'static str = shop.saves(owner, "sandbox_ok").await.id.to_string().leak();
        set(&shop, owner, costing("700.00 USD").by(card).from(NEXT)).await.unwrap();
        shop.sql(format!("UPDATE payment_methods SET serves_until = {}", at(HALF).as_micros()).leak()).await;
        let refused = set(&shop, owner, costing("900.00 USD").by(card).from(NEXT)).await;
        assert!(matches!(refused, Err(Error::PaymentMethodExpired)), "{refused:?}");
        // What was named while it served on is refused at its time.
        shop.set(NEXT);
        falls_due(&shop, owner).await;
        assert_eq!((waits(&shop, owner).await.unwrap().attempts, payments_of(&shop, owner).await), (1, Vec::new()));
    }

    async fn where_the_only_card_stops_what_follows_is_paid_by_invoice(db: TestDb) {
        let (shop, owner) = (Shop::open(&db, BEGIN).await, personal(1));
        let card: &'static str = shop.saves(owner, "sandbox_ok").await.id.to_string().leak();
        shop.subscribe(owner, "business", "", "").await.unwrap();
        shop.set(HALF);
        shop.sql(format!("UPDATE payment_methods SET serves_until = {}", at(NEXT).as_micros()).leak()).await;
        let named = set(&shop, owner, costing("50.00 USD").by(card)).await;
        assert!(matches!(named, Err(Error::PaymentMethodExpired)), "{named:?}");
        set(&shop, owner, costing("50.00 USD")).await.unwrap();
        months_turn(&shop, NEXT).await;
        assert_eq!(stands(&shop, owner).await.0, "enterprise 30 50.00 USD 5500");
        let last = payment(&shop, &payments_of(&shop, owner).await[0].to_string()).await;
        assert_eq!((last.method.as_str(), last.fulfilled_at), ("invoice", Some(at(NEXT))));
        shop.assert_sound(owner).await;
    }
}
