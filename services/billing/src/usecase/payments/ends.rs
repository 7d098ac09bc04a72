//! Money that finds nobody, or somebody else: payments of people who are gone, of subscriptions that have ended or moved, of
//! askers who were lost, and what banks decide afterwards. On both engines.

use bursar_id::{OwnerId, PaymentId, UserId};
use bursar_members::Standing;
use bursar_money::Credits;
use bursar_testkit::{at, credits, engines, id, organization, personal};

use super::tests::{bought, open_renewal, payment_of, usd};
use crate::domain::{Dispute, News, PaymentState, SubscriptionState};
use crate::error::Error;
use crate::usecase::cashier::Due;
use crate::usecase::refunds::Refund;
use crate::usecase::renewals;
use crate::usecase::shelf::{debt, payment, told};
use crate::usecase::shop::Shop;

const NOON: &str = "2026-01-15T12:00:00Z";
const NEXT: &str = "2026-02-15T12:00:00Z";

/// The person whose own account `personal(1)` is.
fn ana() -> UserId {
    id(1)
}

/// A pack that is not paid yet, and as it stands when nobody has asked for it, or nobody has the answer.
async fn begun(shop: &Shop, owner: OwnerId, asked: bool) -> PaymentId {
    let id = payment_of(&shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap());
    shop.sql("UPDATE payments SET state = 'CREATED', reference = NULL, method = 'sandbox_ok' WHERE state = 'PENDING'")
        .await;
    if asked {
        shop.sql("UPDATE payments SET asked_with = 'sandbox_ok' WHERE state = 'CREATED'").await;
    }
    id
}

async fn refunds(shop: &Shop) -> i64 {
    shop.count("jobs WHERE kind = 'billing.payment-refund'").await
}

engines! {
    async fn what_is_paid_when_its_person_is_gone_goes_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let pack = payment_of(&shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap());
        let start = shop.subscribe(owner, "business", "sandbox_pending", "").await.unwrap();
        shop.gone(ana()).await;
        let start: PaymentId = start.payment_id.parse().unwrap();
        for (n, id) in (1..).zip([pack, start]) {
            let paid = told(&shop, id, News::Paid).await;
            assert_eq!((paid.state, paid.returned, paid.refunded), (PaymentState::Paid, true, paid.amount));
            assert_eq!(refunds(&shop).await, n);
        }
        shop.sees_off(ana()).await;
        let none = shop.subscriptions.get(owner).await;
        assert!(matches!(none, Err(Error::NotFound("subscription"))), "{none:?}");
        shop.set("2026-02-24T12:00:00Z");
        assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().done, 0);
        assert_eq!((shop.lots(owner).await.len(), shop.count("invoices").await), (0, 0));
        shop.assert_sound(owner).await;
    }

    async fn who_is_gone_is_asked_for_nothing_and_what_was_asked_goes_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let asked = begun(&shop, owner, true).await;
        let begun = begun(&shop, owner, false).await;
        let open = shop.subscribe(owner, "business", "sandbox_pending", "").await.unwrap();
        shop.gone(ana()).await;
        shop.payments.cashier.look_after(Due { payment: begun }).await.unwrap();
        let canceled = payment(&shop, begun).await;
        assert_eq!((canceled.state, canceled.returned, canceled.reference), (PaymentState::Canceled, true, None));
        shop.sql("DELETE FROM jobs").await;
        shop.sees_off(ana()).await;
        assert_eq!(shop.count("jobs WHERE kind = 'billing.payment'").await, 1, "somebody asks again");
        assert_eq!(payment(&shop, open.payment_id.parse().unwrap()).await.state, PaymentState::Canceled);
        assert_eq!(payment(&shop, asked).await.state, PaymentState::Created, "what became of it is not known");
        shop.payments.cashier.look_after(Due { payment: asked }).await.unwrap();
        let paid = payment(&shop, asked).await;
        assert_eq!((paid.state, paid.refunded, refunds(&shop).await), (PaymentState::Paid, usd(20), 1));
        assert_eq!(shop.lots(owner).await.len(), 0);
    }

    async fn a_month_that_was_paid_in_suspension_goes_back_where_nobody_returns(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let renewal = open_renewal(&shop, owner).await;
        shop.stands(owner, Standing::Suspended).await;
        assert_eq!(told(&shop, renewal.id, News::Paid).await.state, PaymentState::Paid);
        shop.stands(owner, Standing::Deleted).await;
        for _ in 0..2 {
            shop.settles(owner).await;
        }
        let back = payment(&shop, renewal.id).await;
        assert_eq!((back.returned, back.refunded, refunds(&shop).await), (true, usd(100), 1));
        assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, SubscriptionState::Ended);
    }

    async fn what_a_bank_had_taken_of_a_payment_that_goes_back_goes_back_once_it_is_won(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let renewal = open_renewal(&shop, owner).await;
        shop.stands(owner, Standing::Suspended).await;
        told(&shop, renewal.id, News::Paid).await;
        told(&shop, renewal.id, News::Disputed(usd(60))).await;
        shop.stands(owner, Standing::Deleted).await;
        shop.settles(owner).await;
        let back = payment(&shop, renewal.id).await;
        assert_eq!((back.returned, back.refunded, refunds(&shop).await), (true, usd(40), 1));
        for _ in 0..2 {
            told(&shop, renewal.id, News::DisputeWon).await;
        }
        let back = payment(&shop, renewal.id).await;
        assert_eq!((back.refunded, refunds(&shop).await), (usd(100), 2));
    }

    async fn a_month_that_was_paid_for_and_not_heard_of_begins_or_goes_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        for n in [1, 2] {
            shop.subscribe(personal(n), "business", "sandbox_ok", "").await.unwrap();
        }
        shop.set(NEXT);
        let mut lost = Vec::new();
        for n in [1, 2] {
            let from = shop.subscriptions.get(personal(n)).await.unwrap();
            let cashier = &shop.subscriptions.cashier;
            let dues = cashier.dues(&from).await.unwrap();
            assert!(cashier.ask(&dues).await.unwrap().is_some(), "the money is taken, and whoever asked is lost");
            lost.push(dues.id);
        }
        shop.stands(personal(2), Standing::Deleted).await;
        shop.settles(personal(2)).await;
        for payment in lost.clone() {
            shop.payments.cashier.look_after(Due { payment }).await.unwrap();
        }
        assert_eq!(shop.subscriptions.get(personal(1)).await.unwrap().month.number, 1);
        assert!(payment(&shop, lost[0]).await.fulfilled_at.is_some());
        let back = payment(&shop, lost[1]).await;
        assert_eq!((back.returned, back.refunded, refunds(&shop).await), (true, usd(100), 1));
        assert_eq!(shop.lots(personal(2)).await.len(), 1);
        assert_eq!(shop.count("payments").await, 4, "one for each month");
    }

    async fn a_decline_that_nobody_heard_counts_once_and_before_there_is_another_attempt(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.pays_with("sandbox_declined").await;
        shop.set(NEXT);
        let from = shop.subscriptions.get(owner).await.unwrap();
        let cashier = &shop.subscriptions.cashier;
        let dues = cashier.dues(&from).await.unwrap();
        cashier.look_after(Due { payment: dues.id }).await.unwrap();
        assert_eq!(payment(&shop, dues.id).await.state, PaymentState::Declined);
        for _ in 0..2 {
            renewals::round(&shop.subscriptions).await.unwrap();
        }
        let past_due = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((past_due.state, past_due.failures), (SubscriptionState::PastDue, 1));
        assert_eq!(cashier.dues(&from).await.unwrap().id, dues.id, "whoever comes late asks for nothing new");
        assert_eq!(shop.count("payments").await, 2, "it was asked for once");
    }

    async fn payments_are_listed_by_when_they_began(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.pays_with("sandbox_declined").await;
        let mut began = Vec::new();
        for day in ["15", "16", "18"] {
            shop.set(&format!("2026-02-{day}T12:00:00Z"));
            renewals::round(&shop.subscriptions).await.unwrap();
            bought(&shop, owner).await;
            began.extend([shop.clock.now(); 2]);
        }
        began.insert(0, at(NOON));
        began.reverse();
        let mut tx = shop.db.read().await.unwrap();
        let (mut listed, mut last) = (Vec::new(), None);
        while let Some(next) = crate::store::payments::page(&mut tx, owner, last, 1).await.unwrap().pop() {
            listed.push(next.created_at);
            last = Some((next.created_at, next.id));
        }
        assert_eq!(listed, began);
    }

    async fn a_refund_of_what_no_provider_knows_is_not_done_in_silence(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let id = begun(&shop, personal(1), false).await;
        told(&shop, id, News::Paid).await;
        let refund = Refund { payment: id, micros: usd(20).micros(), key: "k".to_owned() };
        let failed = shop.payments.cashier.give_back(&refund).await;
        assert!(matches!(failed, Err(Error::Hopeless(_))), "{failed:?}");
        let known = Refund { payment: bought(&shop, personal(1)).await, ..refund };
        shop.payments.cashier.give_back(&known).await.unwrap();
    }

    async fn a_month_that_finds_no_room_stays_paid_and_its_plan_stays(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        let room = Credits::MAX.saturating_sub(credits("1500"));
        shop.grants(owner, room).await;
        shop.spend(owner, "1500").await;
        shop.grants(owner, credits("1500")).await;
        shop.set(NEXT);
        for _ in 0..2 {
            assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().done, 0);
        }
        let from = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((from.state, from.month.number, from.failures), (SubscriptionState::Active, 0, 0));
        assert_eq!((shop.count("payments").await, refunds(&shop).await), (2, 0), "it is paid once, and kept");
        shop.spend(owner, "1500").await;
        assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().done, 1);
        assert_eq!(shop.subscriptions.get(owner).await.unwrap().month.number, 1);
        shop.assert_sound(owner).await;
    }

    async fn what_was_asked_for_is_asked_again_whatever_became_of_the_card(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        shop.saves(owner, "sandbox_ok").await;
        shop.subscribe(owner, "business", "", "").await.unwrap();
        shop.set(NEXT);
        let (cashier, from) = (&shop.payments.cashier, shop.subscriptions.get(owner).await.unwrap());
        let dues = cashier.dues(&from).await.unwrap();
        let taken = cashier.ask(&dues).await.unwrap();
        assert_eq!(taken.as_ref().map(|it| &it.news), Some(&News::Paid), "and whoever asked is lost");
        shop.sql("UPDATE payment_methods SET removed_at = 1, is_default = 0").await;
        shop.saves(owner, "sandbox_declined").await;
        assert_eq!(cashier.ask(&dues).await.unwrap(), taken);
        cashier.look_after(Due { payment: dues.id }).await.unwrap();
        assert_eq!(payment(&shop, dues.id).await.state, PaymentState::Paid);
        assert_eq!(shop.available(owner).await, credits("1500"));
        assert_eq!(shop.count("payments WHERE asked_with IS NOT NULL").await, 0, "what is known is asked no more");
    }

    async fn the_next_attempt_takes_the_place_of_the_last(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        shop.saves(owner, "sandbox_declined").await;
        let declined = shop.buy(owner, "starter", "", "r1").await;
        assert!(matches!(declined, Err(Error::PaymentDeclined)), "{declined:?}");
        shop.sql("UPDATE payment_methods SET token = 'sandbox_ok'").await;
        let paid = payment_of(&shop.buy(owner, "starter", "", "r1").await.unwrap());
        assert_eq!(payment(&shop, paid).await.attempt, 2);
        let mut tx = shop.db.read().await.unwrap();
        let all = crate::store::payments::page(&mut tx, owner, None, 10).await.unwrap();
        drop(tx);
        let first = all.into_iter().find(|it| it.attempt == 1).unwrap();
        let late = told(&shop, first.id, News::Paid).await;
        assert_eq!((late.returned, late.refunded), (true, usd(20)));
        assert_eq!(shop.available(owner).await, credits("300"), "who pays twice gets it once, and the money back");
    }

    async fn a_dispute_that_is_won_counts_however_its_owner_stands(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        for (n, standing, expected) in [(1, Standing::Suspended, "500"), (2, Standing::Deleted, "500"), (3, Standing::Purged, "0")] {
            let owner = personal(n);
            let id = bought(&shop, owner).await;
            shop.spend(owner, "100").await;
            told(&shop, id, News::Disputed(usd(20))).await;
            bought(&shop, owner).await;
            assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("200"), "0".to_owned()));
            shop.stands(owner, standing).await;
            for _ in 0..2 {
                assert_eq!(told(&shop, id, News::DisputeWon).await.dispute, Dispute::Won);
            }
            assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits(expected), "0".to_owned()), "{standing:?}");
            shop.assert_sound(owner).await;
        }
    }

    async fn only_so_many_payments_are_open_and_not_for_ever(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let first = payment_of(&shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap());
        let mut racers = Vec::new();
        for n in 0..104 {
            let shop = shop.clone();
            racers.push(tokio::spawn(async move { shop.buy(owner, "starter", "sandbox_requires_action", &format!("r{n}")).await }));
        }
        let mut refused = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(_) => {}
                Err(Error::TooManyOpenPayments(100)) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!((shop.count("payments").await, refused), (100, 5));
        let one_more = shop.subscribe(owner, "business", "sandbox_ok", "").await;
        assert!(matches!(one_more, Err(Error::TooManyOpenPayments(100))), "{one_more:?}");

        shop.payments.cashier.look_after(Due { payment: first }).await.unwrap();
        assert_eq!(payment(&shop, first).await.state, PaymentState::Pending, "its time is not over");
        assert_eq!(shop.count("jobs WHERE unique_key LIKE '%:open'").await, 1);
        shop.set("2026-01-22T12:00:00Z");
        shop.payments.cashier.look_after(Due { payment: first }).await.unwrap();
        assert_eq!(payment(&shop, first).await.state, PaymentState::Canceled);
        bought(&shop, owner).await;
        let late = told(&shop, first, News::Paid).await;
        assert_eq!((late.returned, late.refunded), (true, usd(20)));
        assert_eq!(shop.available(owner).await, credits("300"));
    }

    async fn what_has_moved_is_taken_back_where_it_is(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (owner, team) = (personal(1), organization(1));
        let started = shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        let id: PaymentId = started.payment_id.parse().unwrap();
        told(&shop, id, News::Refunded(usd(10))).await;
        shop.spend(owner, "350").await;
        shop.moves(ana(), bursar_testkit::id(1)).await;
        assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("1000")));
        // What was unspent goes first, wherever it is; what was spent before is owed by whoever has spent it.
        told(&shop, id, News::Refunded(usd(50))).await;
        assert_eq!((shop.available(team).await, debt(&shop, owner).await), (credits("400"), "0".to_owned()));
        shop.spend(team, "100").await;
        told(&shop, id, News::Disputed(usd(50))).await;
        assert_eq!((shop.available(team).await, debt(&shop, team).await), (credits("0"), "100".to_owned()));
        assert_eq!(debt(&shop, owner).await, "350");
        told(&shop, id, News::DisputeWon).await;
        assert_eq!((shop.available(team).await, debt(&shop, team).await), (credits("300"), "0".to_owned()));
        assert_eq!(debt(&shop, owner).await, "0");
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
    }

    async fn what_a_dispute_had_taken_before_a_move_comes_back_where_the_month_went(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        // Of 1,500 credits for 100 dollars: so much refunded before, so much spent, so much disputed, what a pack then pays of the
        // debt; what moves and what has come back, there and here.
        let cases = [
            (0, "0", 100, false, ("0", "1500"), "0"),
            (0, "300", 40, false, ("600", "1200"), "0"),
            (0, "500", 100, false, ("0", "1000"), "0"),
            (0, "200", 100, true, ("0", "1300"), "300"),
            (0, "1500", 100, true, ("0", "0"), "300"),
            (20, "600", 80, false, ("0", "600"), "0"),
            (20, "0", 40, false, ("600", "1200"), "0"),
        ];
        for (n, (refunded, spent, disputed, pack, (moves, back), here)) in (1..).zip(cases) {
            let (owner, team) = (personal(n), organization(n));
            let started = shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
            let payment: PaymentId = started.payment_id.parse().unwrap();
            if refunded > 0 {
                told(&shop, payment, News::Refunded(usd(refunded))).await;
            }
            if spent != "0" {
                shop.spend(owner, spent).await;
            }
            told(&shop, payment, News::Disputed(usd(disputed))).await;
            if pack {
                bought(&shop, owner).await;
            }
            shop.moves(id(n), id(n)).await;
            assert_eq!(shop.available(team).await, credits(moves), "{n}");
            for owner in [owner, team] {
                shop.assert_sound(owner).await;
            }
            told(&shop, payment, News::DisputeWon).await;
            assert_eq!((shop.available(team).await, debt(&shop, team).await), (credits(back), "0".to_owned()), "{n}");
            assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits(here), "0".to_owned()), "{n}");
            // And goes from there, if the money goes back after all.
            told(&shop, payment, News::Refunded(usd(100))).await;
            assert_eq!(shop.available(team).await, credits("0"), "{n}");
            for owner in [owner, team] {
                shop.assert_sound(owner).await;
            }
        }
    }

    async fn what_a_lost_dispute_had_taken_before_a_move_stays_away(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (owner, team) = (personal(1), organization(1));
        let started = shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        let payment: PaymentId = started.payment_id.parse().unwrap();
        told(&shop, payment, News::Disputed(usd(60))).await;
        shop.moves(ana(), id(1)).await;
        told(&shop, payment, News::DisputeLost).await;
        assert_eq!((shop.available(team).await, shop.available(owner).await), (credits("600"), credits("0")));
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
    }

    async fn a_card_moves_with_its_subscription(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (owner, team) = (personal(1), organization(1));
        let hers = shop.saves(owner, "sandbox_ok").await;
        shop.subscribe(owner, "business", "", "").await.unwrap();
        shop.moves(ana(), id(1)).await;
        shop.sql("UPDATE payment_methods SET removed_at = 1, is_default = 0 WHERE owner LIKE 'usr%'").await;
        shop.set(NEXT);
        assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().done, 1);
        let renewed = shop.subscriptions.get(team).await.unwrap();
        assert_eq!((renewed.state, renewed.month.number), (SubscriptionState::Active, 1));
        let mut tx = shop.db.read().await.unwrap();
        let theirs = crate::store::methods::default(&mut tx, team, at(NEXT)).await.unwrap().expect("the organization's own");
        assert_eq!((theirs.id.to_string(), theirs.token), (renewed.payment_method, hers.token));
        assert_ne!(theirs.id, hers.id);
    }
}
