//! Subscribing, on both engines.

use bursar_proto::billing::v1 as pb;
use bursar_testkit::{at, credits, engines, organization, personal};

use crate::domain::SubscriptionState;
use crate::error::Error;
use crate::usecase::shop::Shop;

const JANUARY_31: &str = "2026-01-31T10:00:00Z";

engines! {
    async fn subscribing_grants_the_first_month(db: TestDb) {
        let shop = Shop::open(&db, JANUARY_31).await;
        let owner = personal(1);
        let answer = shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();

        let found = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((found.id.to_string(), found.plan.as_str()), (answer.id, "business"));
        assert_eq!((found.state, found.seats, found.credits), (SubscriptionState::Active, 10, credits("1500")));
        assert_eq!(found.price.to_string(), "100.00 USD");
        assert_eq!((found.started_at, found.month.start), (at(JANUARY_31), at(JANUARY_31)));
        assert_eq!(found.month.end, at("2026-02-28T10:00:00Z"));

        let month = "ALLOWANCE 1500 (1500) 2026-01-31T10:00:00Z 2026-02-28T10:00:00Z";
        assert_eq!(shop.lot_lines(owner).await, [month]);
        let entitled = shop.subscriptions.entitlements(owner).await.unwrap();
        assert_eq!((entitled.plan.as_str(), entitled.seats), ("business", 10));
        assert!(entitled.features.organizations && !entitled.features.single_sign_on, "{entitled:?}");
        assert_eq!(shop.count("outbox").await, 3, "others learn of it, of its invoice and of who did it");
        shop.assert_sound(owner).await;
    }

    async fn without_a_subscription_the_plan_is_free(db: TestDb) {
        let shop = Shop::open(&db, JANUARY_31).await;
        let entitled = shop.subscriptions.entitlements(organization(1)).await.unwrap();
        assert_eq!((entitled.plan.as_str(), entitled.seats), ("free", 5));
        assert!(!entitled.features.organizations && !entitled.features.single_sign_on, "{entitled:?}");
        let none = shop.subscriptions.get(organization(1)).await;
        assert!(matches!(none, Err(Error::NotFound("subscription"))), "{none:?}");
    }

    async fn one_request_id_subscribes_once(db: TestDb) {
        let shop = Shop::open(&db, JANUARY_31).await;
        let owner = personal(1);
        let racers = (0..16).map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.subscribe(owner, "business", "sandbox_ok", "r1").await })
        });
        let mut answers = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            answers.push(racer.await.unwrap().unwrap());
        }
        let again = shop.subscribe(owner, "business", "sandbox_ok", "r1").await.unwrap();
        assert!(answers.iter().all(|answer| *answer == again), "one answer for all: {answers:?}");
        assert_eq!(shop.lots(owner).await.len(), 1);
        assert_eq!(shop.count("subscriptions").await, 1);
        assert_eq!((shop.count("outbox").await, shop.count("audit").await), (3, 1));

        let other = shop.subscribe(owner, "enterprise", "sandbox_ok", "r1").await;
        assert!(is_reused(&other), "another request under the id: {other:?}");
    }

    async fn a_repetition_without_an_answer_is_told_what_became_of_it(db: TestDb) {
        let shop = Shop::open(&db, JANUARY_31).await;
        let owner = personal(1);
        let first = shop.subscribe(owner, "business", "sandbox_ok", "r1").await.unwrap();
        shop.subscriptions.end_now(owner, false).await.unwrap();
        for lost in [
            "DELETE FROM requests",
            "UPDATE payments SET request = NULL, request_hash = NULL, first_answer = NULL",
            "UPDATE subscriptions SET request = NULL, request_hash = NULL, first_answer = NULL",
        ] {
            shop.sql(lost).await;
        }
        let again = shop.subscribe(owner, "business", "sandbox_ok", "r1").await.unwrap();
        assert_eq!((again.id.clone(), again.state()), (first.id, pb::SubscriptionState::Ended));
        assert_eq!(shop.count("payments").await, 1);
    }

    async fn refusals_write_nothing(db: TestDb) {
        let shop = Shop::open(&db, JANUARY_31).await;
        let owner = personal(1);
        let plan = |error: &Error| match error {
            Error::PlanNotForSale(plan) => format!("not for sale: {plan}"),
            Error::PlanNotFound(plan) => format!("not found: {plan}"),
            other => other.to_string(),
        };
        let cases = [
            ("free", "sandbox_ok", "not for sale: free"),
            ("enterprise", "sandbox_ok", "not for sale: enterprise"),
            ("gold", "sandbox_ok", "not found: gold"),
        ];
        for (id, method, said) in cases {
            let error = shop.subscribe(owner, id, method, "r1").await.unwrap_err();
            assert_eq!(plan(&error), said, "{id} {method}");
        }
        for table in ["subscriptions", "accounts", "lots", "requests", "payments", "jobs"] {
            assert_eq!(shop.count(table).await, 0, "{table} is untouched");
        }
        let declined = shop.subscribe(owner, "business", "sandbox_declined", "r1").await.unwrap_err();
        assert_eq!(plan(&declined), "the payment was declined");
        for table in ["subscriptions", "lots", "ledger_entries", "requests"] {
            assert_eq!(shop.count(table).await, 0, "{table} is untouched");
        }
        assert_eq!((shop.count("audit").await, shop.count("outbox").await), (4, 4), "but somebody tried, and that is told");
        shop.subscribe(owner, "business", "sandbox_ok", "r1").await.expect("a refusal does not burn the id");
    }

    async fn one_plan_at_a_time(db: TestDb) {
        let shop = Shop::open(&db, JANUARY_31).await;
        let owner = personal(1);
        let racers = (0..8).map(|racer| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.subscribe(owner, "business", "sandbox_ok", &format!("r{racer}")).await })
        });
        let mut winners = 0;
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                Ok(_) => winners += 1,
                Err(Error::AlreadySubscribed { plan }) => assert_eq!(plan, "business"),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(winners, 1);
        assert_eq!(shop.available(owner).await, credits("1500"));
        let second = shop.subscribe(owner, "business", "sandbox_ok", "").await;
        assert!(matches!(second, Err(Error::AlreadySubscribed { .. })), "{second:?}");
        shop.subscribe(personal(2), "business", "sandbox_ok", "").await.expect("another owner may");
    }

    async fn who_is_no_member_subscribes_nobody(db: TestDb) {
        let shop = Shop::open(&db, JANUARY_31).await;
        let refused = shop.subscribe(organization(1), "business", "sandbox_ok", "r1").await;
        assert!(matches!(refused, Err(Error::NotAMember)), "{refused:?}");
        for table in ["subscriptions", "lots", "audit"] {
            assert_eq!(shop.count(table).await, 0, "{table} is untouched");
        }
    }

    async fn forty_days_later_a_repetition_still_gets_the_first_answer(db: TestDb) {
        let shop = Shop::open(&db, JANUARY_31).await;
        let owner = personal(1);
        let first = shop.subscribe(owner, "business", "sandbox_ok", "r1").await.unwrap();
        shop.set("2026-03-12T10:00:00Z");
        shop.forget_requests().await;
        shop.sql("UPDATE subscriptions SET plan_id = 'enterprise', seats = 25, period_number = 1").await;
        assert_eq!(shop.subscribe(owner, "business", "sandbox_ok", "r1").await.unwrap(), first, "whatever became of it");
        let other = shop.subscribe(owner, "enterprise", "sandbox_ok", "r1").await;
        assert!(is_reused(&other), "{other:?}");
        assert_eq!((shop.count("subscriptions").await, shop.lots(owner).await.len()), (1, 2), "the month that was due is there");
    }
}

fn is_reused<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Problem(problem)) if problem.reason() == "REQUEST_ID_REUSED")
}
