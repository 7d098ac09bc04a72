//! Buying packs, on both engines.

use bursar_rpc::{ListKey, PageKey, PageRequest};
use bursar_testkit::{credits, engines, personal};

use crate::domain::PurchaseState;
use crate::error::Error;
use crate::usecase::shop::Shop;

const NOON: &str = "2026-01-15T12:00:00Z";

engines! {
    async fn a_pack_is_bought_for_ever(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let answer = shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        assert_eq!(shop.lot_lines(owner).await, ["PACK 300 (300) 2026-01-15T12:00:00Z never"]);

        let purchase = shop.purchases.get(owner, answer.id.parse().unwrap()).await.unwrap().purchase;
        assert_eq!(purchase.state, PurchaseState::Paid);
        assert_eq!((purchase.pack.as_str(), purchase.price.to_string().as_str()), ("starter", "20.00 USD"));
        assert_eq!((purchase.credits, purchase.lot), (credits("300"), Some(answer.lot_id.parse().unwrap())));
        let foreign = shop.purchases.get(personal(2), purchase.id).await;
        assert!(matches!(foreign, Err(Error::NotFound("purchase"))), "{foreign:?}");

        shop.set("2126-01-15T12:00:00Z");
        assert_eq!(shop.available(owner).await, credits("300"), "after a hundred years");
        shop.assert_sound(owner).await;
    }

    async fn one_request_id_buys_once(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let racers = (0..16).map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.buy(owner, "starter", "sandbox_ok", "r1").await })
        });
        let mut answers = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            answers.push(racer.await.unwrap().unwrap());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "one answer for all: {answers:?}");
        assert_eq!(shop.available(owner).await, credits("300"));
        let other = shop.buy(owner, "premium", "sandbox_ok", "r1").await;
        assert!(is_reused(&other), "{other:?}");

        shop.buy(owner, "starter", "sandbox_ok", "r2").await.unwrap();
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        assert_eq!(shop.available(owner).await, credits("1200"), "other ids and none are other purchases");
    }

    async fn forty_days_later_a_repetition_still_gets_the_first_answer(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let first = shop.buy(owner, "starter", "sandbox_ok", "r1").await.unwrap();
        shop.set("2026-02-24T12:00:00Z");
        shop.forget_requests().await;
        let second = shop.buy(owner, "starter", "sandbox_ok", "r1").await.unwrap();
        assert_eq!(second, first);
        let other = shop.buy(owner, "premium", "sandbox_ok", "r1").await;
        assert!(is_reused(&other), "{other:?}");
        assert_eq!(shop.available(owner).await, credits("300"));
        assert_eq!(shop.count("purchases").await, 1);
    }

    async fn a_payment_credits_once_whatever_is_known_of_its_request(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let first = shop.buy(owner, "starter", "sandbox_ok", "r1").await.unwrap();
        shop.sql("DELETE FROM requests").await;
        shop.sql("UPDATE payments SET request = NULL, request_hash = NULL, first_answer = NULL").await;
        let second = shop.buy(owner, "starter", "sandbox_ok", "r1").await.unwrap();
        assert_eq!(second, first, "the payment is the same one for ever");
        assert_eq!(shop.available(owner).await, credits("300"));
        assert_eq!(shop.count("purchases").await, 1);
    }

    async fn a_declined_payment_grants_nothing_and_is_listed(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let declined = shop.buy(owner, "starter", "sandbox_declined", "r1").await;
        assert!(matches!(declined, Err(Error::PaymentDeclined)), "{declined:?}");
        let again = shop.buy(owner, "starter", "sandbox_declined", "r1").await;
        assert!(matches!(again, Err(Error::PaymentDeclined)), "{again:?}");
        let missing = shop.buy(owner, "bucket", "sandbox_ok", "r1").await;
        assert!(matches!(missing, Err(Error::PackNotFound(ref pack)) if pack == "bucket"), "{missing:?}");
        assert_eq!(shop.available(owner).await, credits("0"));

        let page = PageRequest::parse(10, "", list()).unwrap();
        let listed = shop.purchases.list(owner, &page).await.unwrap().rows;
        let states: Vec<_> = listed.iter().map(|it| (it.purchase.state, it.purchase.lot)).collect();
        assert_eq!(states, [(PurchaseState::Declined, None); 2], "two payments that were declined");

        shop.buy(owner, "starter", "sandbox_ok", "r1").await.expect("a declined payment does not burn the id");
        assert_eq!(shop.available(owner).await, credits("300"));
    }

    async fn lists_begin_with_the_latest(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        for (day, pack) in [(15, "starter"), (16, "standard"), (17, "premium"), (18, "starter"), (19, "standard")] {
            shop.set(&format!("2026-01-{day}T12:00:00Z"));
            shop.buy(owner, pack, "sandbox_ok", "").await.unwrap();
        }
        shop.buy(personal(2), "premium", "sandbox_ok", "").await.unwrap();
        let (mut seen, mut token) = (Vec::new(), String::new());
        for size in [2, 2, 1] {
            let page = PageRequest::parse(2, &token, list()).unwrap();
            let page = shop.purchases.list(owner, &page).await.unwrap();
            assert_eq!(page.rows.len(), size);
            seen.extend(page.rows.iter().map(|it| it.purchase.pack.to_string()));
            token = page.next_page_token;
        }
        assert_eq!(seen, ["standard", "starter", "premium", "standard", "starter"]);
        assert_eq!(token, "");
    }
}

fn list() -> ListKey {
    PageKey::new(bursar_secret::Secret::new([7; 32])).list("ListPurchases", [])
}

fn is_reused<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Problem(problem)) if problem.reason() == "REQUEST_ID_REUSED")
}
