//! Changes that cost less than their provider takes: they are made for nothing, as was told beforehand. With a fake of Stripe, on
//! both engines.

use bursar_id::OwnerId;
use bursar_testkit::stripe::FakeStripe;
use bursar_testkit::{TestDb, credits, engines, personal};

use super::tests::{BEGIN, NEXT, change, stands, subscribed, wanted};
use crate::usecase::contracts::tests::{costing, set};
use crate::usecase::shelf::{now, round};
use crate::usecase::shop::Shop;

/// When one more seat, at 10 dollars a month, costs 50 cents; and a second later.
const JUST_ENOUGH: &str = "2026-01-30T10:48:00Z";
const TOO_LATE: &str = "2026-01-30T10:48:01Z";
/// Half a day before the month ends, and the next one.
const LATE: &str = "2026-01-31T12:00:00Z";
const LATE_AGAIN: &str = "2026-02-28T12:00:00Z";

/// People on Business since the month began, who pay by cards at Stripe.
async fn with_cards(db: &TestDb, fake: &FakeStripe, people: u64) -> Shop {
    let mut shop = subscribed(db, personal(1)).await;
    for n in 2..=people {
        shop.subscribe(personal(n), "business", "sandbox_ok", "").await.unwrap();
    }
    shop.pays_at(fake, (1..=people).map(personal)).await;
    shop
}

/// What is told beforehand: what is due and what is waived, net, and the credits that come.
async fn told(shop: &Shop, owner: OwnerId, seats: u32) -> (String, String, String) {
    let shown = shop.subscriptions.preview(owner, &wanted("", seats)).await.unwrap();
    assert_eq!(shown.bill.is_none(), shown.quote.due.is_zero(), "nothing is billed that is not due");
    (shown.quote.due.to_string(), shown.quote.waived.to_string(), shown.quote.credits.to_string())
}

fn three(due: &str, waived: &str, credits: &str) -> (String, String, String) {
    (due.to_owned(), waived.to_owned(), credits.to_owned())
}

/// The owner's subscription is for so many people, and nothing waits.
async fn assert_seats(shop: &Shop, owner: OwnerId, seats: u32) {
    let is = now(shop, owner).await;
    assert_eq!((is.seats, is.pending), (seats, None));
}

engines! {
    async fn what_is_less_than_stripe_takes_is_waived_as_was_told_and_the_change_is_made(db: TestDb) {
        let fake = FakeStripe::start().await;
        let (shop, owner) = (with_cards(&db, &fake, 1).await, personal(1));
        let before = (shop.count("payments").await, shop.count("invoices").await, shop.lot_lines(owner).await);
        shop.set(LATE);
        // The credits of seats that nobody has paid for come with none of them.
        for seats in 11..=13 {
            assert_eq!(told(&shop, owner, seats).await, three("0.00 USD", "0.16 USD", "0"));
            let answer = change(&shop, owner, "", seats).await.unwrap();
            assert_eq!(answer.payment, None);
            assert_seats(&shop, owner, seats).await;
        }
        // Half a dollar in all: nobody comes to more by little and little.
        let (due, waived, _) = told(&shop, owner, 14).await;
        assert_eq!((&*due, &*waived), ("0.16 USD", "0.00 USD"));
        let after = (shop.count("payments").await, shop.count("invoices").await, shop.lot_lines(owner).await);
        assert_eq!((after, fake.all("payment_intent").len()), (before, 0), "nobody was asked, and nothing was given");
        shop.set(NEXT);
        assert_eq!((round(&shop).await, fake.takings()), ((1, 0, 0), 13_000), "the next month costs what it costs");
        assert_eq!(stands(&shop, owner).await.0, "business 13 130.00 USD 1950");
        shop.set(LATE_AGAIN);
        assert_eq!(told(&shop, owner, 14).await.1, "0.17 USD", "of each month as much");
        // What was earned and what is left are of what was paid: nothing differs.
        shop.reported("2026-01").await;
        shop.assert_sound(owner).await;
    }

    async fn nothing_is_waived_for_whoever_could_not_pay_for_it(db: TestDb) {
        let fake = FakeStripe::start().await;
        let (mut shop, owner) = (subscribed(&db, personal(1)).await, personal(1));
        shop.pays_at(&fake, std::iter::empty()).await;
        shop.set(LATE);
        let refused = change(&shop, owner, "", 11).await.map(drop);
        assert!(refused.is_err(), "there is no card");
        assert_seats(&shop, owner, 10).await;
    }

    async fn exactly_what_stripe_takes_is_asked_for(db: TestDb) {
        let fake = FakeStripe::start().await;
        let shop = with_cards(&db, &fake, 2).await;
        shop.set(JUST_ENOUGH);
        assert_eq!(told(&shop, personal(1), 11).await, three("0.50 USD", "0.00 USD", "7.5"));
        let paid = change(&shop, personal(1), "", 11).await.unwrap().payment.unwrap();
        let paid = shop.payments.known(paid.id.parse().unwrap()).await.unwrap();
        assert_eq!((paid.amount.to_string(), fake.takings()), ("0.50 USD".to_owned(), 50));
        assert!(paid.invoice.is_some(), "one for each payment");
        shop.set(TOO_LATE);
        assert_eq!(told(&shop, personal(2), 11).await, three("0.00 USD", "0.49 USD", "0"));
        assert_eq!(change(&shop, personal(2), "", 11).await.unwrap().payment, None);
        for n in 1..=2 {
            assert_seats(&shop, personal(n), 11).await;
            shop.assert_sound(personal(n)).await;
        }
        assert_eq!((shop.available(personal(2)).await, fake.takings()), (credits("1500"), 50));
    }

    async fn what_taxes_raise_to_what_stripe_takes_is_asked_for(db: TestDb) {
        let fake = FakeStripe::start().await;
        let (shop, owner) = (with_cards(&db, &fake, 1).await, personal(1));
        shop.taxes(owner).await;
        shop.set(TOO_LATE);
        assert_eq!(told(&shop, owner, 11).await.0, "0.49 USD");
        change(&shop, owner, "", 11).await.unwrap().payment.expect("a payment");
        assert_eq!(fake.takings(), 58, "49 cents and their taxes");
        assert_seats(&shop, owner, 11).await;
        shop.assert_sound(owner).await;
    }

    async fn what_no_provider_is_asked_for_is_paid_however_little_it_is(db: TestDb) {
        let (mut shop, owner) = (Shop::open(&db, BEGIN).await, personal(1));
        set(&shop, owner, costing("900.00 USD")).await.unwrap();
        shop.fails();
        shop.set(LATE);
        let paid = set(&shop, owner, costing("910.00 USD")).await.unwrap().payment.unwrap();
        let paid = shop.payments.known(paid.id.parse().unwrap()).await.unwrap();
        assert_eq!((paid.amount.to_string(), &*paid.method), ("0.16 USD".to_owned(), "invoice"));
        assert_eq!((now(&shop, owner).await.price.to_string(), shop.count("invoices").await), ("910.00 USD".to_owned(), 2));
        shop.assert_sound(owner).await;
    }
}
