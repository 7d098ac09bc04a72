//! Cards that are replaced while nobody knows what was taken with them; on both engines, with a fake of Stripe.

use bursar_id::ServiceAccountId;
use bursar_proto::billing::v1 as pb;
use bursar_testkit::stripe::{Astray, Card, FakeStripe, Mishap};
use bursar_testkit::{TestDb, credits, engines, personal};

use crate::domain::{AutoTopUp, News, Payment, PaymentState, ProductId, SettingsChange, SubscriptionState};
use crate::error::Error;
use crate::store::{methods, payments, settings};
use crate::usecase::asking::tests::{Till, enters};
use crate::usecase::cashier::Due;
use crate::usecase::renewals;
use crate::usecase::shelf::{LENIENT, now, payment, round};
use crate::usecase::shop::Shop;

const BEGUN: &str = "2026-01-15T12:00:00Z";
const BEFORE: &str = "2026-02-15T11:30:00Z";
const NEXT: &str = "2026-02-15T12:00:00Z";

/// What a month costs, in cents.
const MONTH: i64 = 10_000;

/// The card that an intent was to be paid with, or was.
fn paid_with(fake: &FakeStripe, intent: &str) -> String {
    let intent = fake.object(intent).unwrap();
    let name = |it: &str| intent[it].as_str().unwrap_or_default().to_owned();
    format!("{}:{}", name("customer"), name("payment_method"))
}

/// Asks for it, and delivers what is paid.
async fn paid(till: &Till, of: &Payment) -> Payment {
    let heard = till.cashier.ask(of).await.unwrap();
    assert_eq!(heard.as_ref().map(|it| &it.news), Some(&News::Paid));
    till.cashier.hear(of.id, heard.as_ref()).await.unwrap()
}

/// Begins the `n`-th pack, or finds what there is of it.
async fn begin(till: &Till, n: u8) -> Payment {
    till.begins(n, &till.owner.to_string()).await.unwrap()
}

/// Nobody hears what has become of what is asked.
async fn is_lost(till: &Till, of: &Payment, mishaps: &[Option<Mishap>]) {
    till.fake.fails(mishaps.iter().copied());
    let asked = till.cashier.ask(of).await;
    assert!(matches!(asked, Err(Error::Provider)), "{asked:?}");
    till.fake.recovers();
}

/// A person whose next month is due, by a card at a fake of Stripe.
async fn due(db: &TestDb) -> (Shop, FakeStripe) {
    let (mut shop, fake) = (Shop::open(db, BEGUN).await, FakeStripe::start().await);
    shop.subscribe(personal(1), "business", "sandbox_ok", "").await.unwrap();
    shop.pays_at(&fake, [personal(1)].into_iter()).await;
    shop.set(NEXT);
    (shop, fake)
}

/// The month is asked for, and nobody hears what has become of it.
async fn month_is_lost(shop: &Shop, fake: &FakeStripe, confirm: [Option<Mishap>; 2]) {
    fake.fails([None, None].into_iter().chain(confirm));
    assert_eq!(round(shop).await, (0, 1, 0));
    fake.recovers();
    assert_eq!(now(shop, personal(1)).await.failures, 0);
}

/// The last attempt at the last month.
async fn last(shop: &Shop) -> Payment {
    let all = payments::page(&mut shop.db.read().await.unwrap(), personal(1), None, 10).await.unwrap();
    all.into_iter().max_by_key(|it| (it.created_at, it.attempt)).unwrap()
}

/// The month has begun, and was paid once.
async fn assert_begun(shop: &Shop, fake: &FakeStripe) {
    let it = now(shop, personal(1)).await;
    assert_eq!((it.state, it.failures, it.month.number), (SubscriptionState::Active, 0, 1));
    assert_eq!((fake.takings(), shop.available(personal(1)).await), (MONTH, credits("1500")));
    shop.assert_sound(personal(1)).await;
}

const DOWN: Option<Mishap> = Some(Mishap::Down);
/// It is done, and what is said of it cannot be read.
const UNREAD: Option<Mishap> = Some(Mishap::Rubbish);

engines! {
    async fn what_was_not_taken_with_a_card_is_paid_with_the_one_in_its_place(db: TestDb) {
        let till = Till::open(&db).await;
        // Before it has an intent; with one whose name nobody has; before it is looked at, and before it is confirmed.
        let lost = [&[DOWN, DOWN][..], &[UNREAD], &[None, DOWN, DOWN], &[None, None, DOWN, DOWN]];
        for (n, mishaps) in (1..).zip(lost) {
            let first = begin(&till, n).await;
            is_lost(&till, &first, mishaps).await;
            let card = till.another_card().await;
            let next = begin(&till, n).await;
            assert_eq!((next.attempt, &next.method), (2, &card.id.to_string()), "{mishaps:?}");
            assert_eq!(begin(&till, n).await.id, next.id, "it is begun once");
            paid(&till, &next).await;
            let [(intent, _)] = &till.intents(&next)[..] else { panic!("one intent") };
            assert_eq!(paid_with(&till.fake, intent), card.token);
            // Whoever looks after the first one finds nothing to take.
            till.cashier.look_after(Due { payment: first.id }).await.unwrap();
            let given_up = payment(&till.shop, first.id).await;
            assert_eq!((given_up.state, given_up.returned), (PaymentState::Canceled, true));
            assert_eq!(till.fake.takings(), 2_000 * i64::from(n), "{mishaps:?}");
        }
        assert_eq!((till.shop.available(till.owner).await, till.shop.count("invoices").await), (credits("1200"), 4));
        till.shop.assert_sound(till.owner).await;
    }

    async fn what_had_been_taken_with_a_card_is_not_taken_with_the_one_in_its_place(db: TestDb) {
        let till = Till::open(&db).await;
        let first = begin(&till, 1).await;
        is_lost(&till, &first, &[None, None, UNREAD]).await;
        assert_eq!(till.fake.takings(), 2_000);
        till.another_card().await;
        // While its provider does not say so, nothing else is tried.
        till.fake.fails([DOWN, DOWN]);
        let silent = till.begins(1, &till.owner.to_string()).await;
        assert!(matches!(silent, Err(Error::Provider)), "{silent:?}");
        till.fake.recovers();
        assert_eq!(payment(&till.shop, first.id).await.state, PaymentState::Created);
        let found = begin(&till, 1).await;
        assert_eq!((found.id, found.state, found.fulfilled_at.is_some()), (first.id, PaymentState::Paid, true));
        assert_eq!(till.cashier.ask(&found).await.unwrap(), None, "nobody is asked again");
        assert_eq!((till.fake.takings(), till.shop.available(till.owner).await), (2_000, credits("300")));
        assert_eq!(till.shop.count("payments").await, 1);
        till.shop.assert_sound(till.owner).await;
    }

    async fn a_decline_that_was_not_heard_is_learnt_before_another_card_pays(db: TestDb) {
        let till = Till::open(&db).await;
        till.fake.becomes(till.token.split_once(':').unwrap().1, Card::Declined("insufficient_funds"));
        let first = begin(&till, 1).await;
        is_lost(&till, &first, &[None, None, UNREAD]).await;
        till.another_card().await;
        let next = begin(&till, 1).await;
        assert_eq!(next.attempt, 2);
        let declined = payment(&till.shop, first.id).await;
        assert_eq!((declined.state, declined.decline_code.as_deref()), (PaymentState::Declined, Some("insufficient_funds")));
        paid(&till, &next).await;
        assert_eq!((till.fake.takings(), till.shop.available(till.owner).await), (2_000, credits("300")));
    }

    async fn what_its_provider_does_not_know_is_paid_with_another_card(db: TestDb) {
        let till = Till::open(&db).await;
        let first = begin(&till, 1).await;
        is_lost(&till, &first, &[None, None, DOWN, DOWN]).await;
        let [(intent, _)] = &till.intents(&first)[..] else { panic!("one intent") };
        till.fake.loses(intent);
        till.another_card().await;
        // Where the key may be of another account, nobody knows whether it was paid.
        till.fake.is_astray(Some(Astray::Account));
        let silent = till.begins(1, &till.owner.to_string()).await;
        assert!(matches!(silent, Err(Error::Provider)), "{silent:?}");
        assert_eq!(payment(&till.shop, first.id).await.state, PaymentState::Created);
        till.fake.is_astray(None);
        let next = begin(&till, 1).await;
        assert_eq!(next.attempt, 2);
        let given_up = payment(&till.shop, first.id).await;
        assert_eq!((given_up.state, given_up.returned), (PaymentState::Canceled, true));
        paid(&till, &next).await;
        till.cashier.look_after(Due { payment: first.id }).await.unwrap();
        assert_eq!((till.fake.takings(), till.shop.available(till.owner).await), (2_000, credits("300")));
        till.shop.assert_sound(till.owner).await;
    }

    async fn who_asks_with_a_card_that_is_replaced_at_that_moment_takes_nothing(db: TestDb) {
        let till = Till::open(&db).await;
        // Nobody has asked yet, and the card that it was begun with is another one than pays now.
        let begun = begin(&till, 1).await;
        till.another_card().await;
        let next = begin(&till, 1).await;
        assert_ne!(next.id, begun.id);
        assert_eq!(till.cashier.ask(&begun).await.unwrap(), None);
        assert_eq!(till.intents(&begun), []);
        paid(&till, &next).await;
        // Somebody has the name and is about to confirm it.
        let first = begin(&till, 2).await;
        is_lost(&till, &first, &[None, DOWN, DOWN]).await;
        let late = payment(&till.shop, first.id).await;
        till.another_card().await;
        let next = begin(&till, 2).await;
        assert_eq!(till.cashier.ask(&late).await.unwrap(), None);
        assert!(matches!(&till.intents(&first)[..], [(_, status)] if status == "canceled"));
        paid(&till, &next).await;
        assert_eq!((till.fake.takings(), till.shop.available(till.owner).await), (4_000, credits("600")));
    }

    async fn a_card_that_was_entered_besides_changes_nothing(db: TestDb) {
        let till = Till::open(&db).await;
        let first = begin(&till, 1).await;
        is_lost(&till, &first, &[None, None, DOWN, DOWN]).await;
        // It is none that pays by default.
        till.another_card().await;
        let mut tx = till.shop.db.begin().await.unwrap();
        assert!(methods::make_default(&mut tx, till.owner, first.method.parse().unwrap()).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(begin(&till, 1).await.id, first.id);
        paid(&till, &first).await;
        let [(intent, _)] = &till.intents(&first)[..] else { panic!("one intent") };
        assert_eq!(paid_with(&till.fake, intent), till.token);
    }

    async fn who_subscribes_anew_after_an_answer_was_lost_pays_once(db: TestDb) {
        for (is_taken, confirm) in [(true, [UNREAD, None]), (false, [DOWN, DOWN])] {
            let store = db.another().await;
            let (mut shop, fake) = (Shop::open(&store, BEGUN).await, FakeStripe::start().await);
            let owner = personal(1);
            shop.pays_at(&fake, [owner].into_iter()).await;
            fake.fails([None, None].into_iter().chain(confirm));
            let lost = shop.subscribe(owner, "business", "", "r1").await;
            assert!(matches!(lost, Err(Error::Provider)), "{lost:?}");
            fake.recovers();
            let card = enters(&shop, (&fake, &shop.subscriptions.till.payments), owner).await;
            // Whoever asked is lost by now, and nobody has looked after it.
            shop.set("2026-01-15T12:01:00Z");
            let anew = shop.subscribe(owner, "business", "", "r2").await;
            if is_taken {
                assert!(matches!(anew, Err(Error::AlreadySubscribed { .. })), "{anew:?}");
            } else {
                assert_eq!(anew.unwrap().state(), pb::SubscriptionState::Active);
                assert_eq!(paid_with(&fake, last(&shop).await.reference.as_deref().unwrap()), card.token);
            }
            assert_eq!((fake.takings(), shop.available(owner).await), (MONTH, credits("1500")), "{is_taken}");
            assert_eq!(shop.count("jobs WHERE kind = 'billing.payment-refund'").await, 0, "nothing has to go back");
            shop.assert_sound(owner).await;
        }
    }

    async fn a_month_that_was_not_taken_with_a_card_is_paid_with_the_one_in_its_place(db: TestDb) {
        // By whoever renews it; or after the job that looks after its payment has found that.
        for is_by_job in [false, true] {
            let store = db.another().await;
            let (shop, fake) = due(&store).await;
            month_is_lost(&shop, &fake, [DOWN, DOWN]).await;
            let lost = last(&shop).await;
            let card = enters(&shop, (&fake, &shop.subscriptions.till.payments), personal(1)).await;
            if is_by_job {
                shop.subscriptions.cashier.look_after(Due { payment: lost.id }).await.unwrap();
                assert_eq!(fake.takings(), 0);
            }
            assert_eq!(round(&shop).await, (1, 0, 0));
            let given_up = payment(&shop, lost.id).await;
            assert_eq!((given_up.state, given_up.returned), (PaymentState::Canceled, true));
            let paid = last(&shop).await;
            assert_eq!(paid_with(&fake, paid.reference.as_deref().unwrap()), card.token);
            assert_eq!(shop.count("payments").await, 3, "one that was given up, and one for each month");
            assert_begun(&shop, &fake).await;
        }
    }

    async fn a_month_that_is_canceled_for_another_card_is_not_counted_whoever_hears_of_it_first(db: TestDb) {
        // Whoever has it canceled is lost before it is given up; or somebody else hears of that before.
        for is_heard in [false, true] {
            let store = db.another().await;
            let (shop, fake) = due(&store).await;
            month_is_lost(&shop, &fake, [DOWN, DOWN]).await;
            let lost = last(&shop).await;
            let card = enters(&shop, (&fake, &shop.subscriptions.till.payments), personal(1)).await;
            let cashier = &shop.subscriptions.cashier;
            let canceled = cashier.cancel_there(&lost).await.unwrap();
            assert_eq!(canceled.as_ref().map(|it| &it.news), Some(&News::Canceled));
            if is_heard {
                let heard = cashier.hear(lost.id, canceled.as_ref()).await.unwrap();
                assert_eq!((heard.state, heard.returned), (PaymentState::Canceled, false));
                assert_eq!(round(&shop).await, (0, 0, 0));
                assert_eq!(now(&shop, personal(1)).await.failures, 0);
            }
            assert_eq!(round(&shop).await, (1, 0, 0));
            let given_up = payment(&shop, lost.id).await;
            assert_eq!((given_up.state, given_up.returned), (PaymentState::Canceled, true));
            assert_eq!(paid_with(&fake, last(&shop).await.reference.as_deref().unwrap()), card.token);
            assert_begun(&shop, &fake).await;
        }
    }

    async fn a_month_that_is_canceled_while_its_card_is_the_same_counts(db: TestDb) {
        let (shop, fake) = due(&db).await;
        month_is_lost(&shop, &fake, [DOWN, DOWN]).await;
        shop.subscriptions.cashier.cancel_there(&last(&shop).await).await.unwrap();
        assert_eq!(round(&shop).await, (1, 0, 0));
        let it = now(&shop, personal(1)).await;
        assert_eq!((it.state, it.failures), (SubscriptionState::PastDue, 1));
    }

    async fn a_month_whose_card_is_replaced_is_granted_in_grace_while_its_provider_is_away(db: TestDb) {
        let (mut shop, fake) = (Shop::selling(&db, BEGUN, LENIENT).await, FakeStripe::start().await);
        let owner = personal(1);
        shop.subscribe(owner, "lenient", "sandbox_ok", "").await.unwrap();
        shop.pays_at(&fake, [owner].into_iter()).await;
        // Ahead nobody hears what has become of it.
        shop.set(BEFORE);
        fake.fails([None, None, DOWN, DOWN]);
        renewals::ahead::pay(&shop.subscriptions).await.unwrap();
        fake.recovers();
        assert!(last(&shop).await.reference.is_some());
        enters(&shop, (&fake, &shop.subscriptions.till.payments), owner).await;
        shop.set(NEXT);
        fake.fails([DOWN; 40]);
        for _ in 0..2 {
            assert_eq!(round(&shop).await, (0, 1, 0));
            assert_eq!(shop.available(owner).await, credits("1300"));
        }
        assert_eq!(now(&shop, owner).await.failures, 0);
        fake.recovers();
        assert_eq!(round(&shop).await, (1, 0, 0));
        let it = now(&shop, owner).await;
        assert_eq!((it.state, it.failures, it.month.number), (SubscriptionState::Active, 0, 1));
        assert_eq!((fake.takings(), shop.available(owner).await), (9_000, credits("1300")));
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_had_been_taken_with_a_card_is_not_taken_with_the_one_in_its_place(db: TestDb) {
        let (shop, fake) = due(&db).await;
        month_is_lost(&shop, &fake, [UNREAD, None]).await;
        assert_eq!(fake.takings(), MONTH);
        enters(&shop, (&fake, &shop.subscriptions.till.payments), personal(1)).await;
        assert_eq!(round(&shop).await, (1, 0, 0));
        assert_begun(&shop, &fake).await;
        assert_eq!(shop.count("payments").await, 2, "one for each month");
    }

    async fn a_top_up_that_was_not_taken_with_a_card_is_given_up_for_the_one_in_its_place(db: TestDb) {
        let till = Till::open(&db).await;
        let set = AutoTopUp {
            enabled: true,
            threshold: credits("1"),
            pack: ProductId::parse("starter").unwrap(),
            ceiling: "100.00 USD".parse().unwrap(),
            method: String::new(),
            set_by: till.owner.to_string(),
            stopped: None,
        };
        let change = SettingsChange { top_up: Some(Some(set)), ..SettingsChange::default() };
        let mut tx = till.shop.db.begin().await.unwrap();
        let before = settings::of(&mut tx, till.owner).await.unwrap();
        settings::put(&mut tx, till.owner, &before.with(&change), till.shop.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let by = ServiceAccountId::BILLING.to_string();
        for (n, is_replaced) in [(1, true), (2, false)] {
            let begun = till.begins(n, &by).await.unwrap();
            is_lost(&till, &begun, &[None, None, DOWN, DOWN]).await;
            if is_replaced {
                till.another_card().await;
            }
            till.cashier.look_after(Due { payment: begun.id }).await.unwrap();
            let after = payment(&till.shop, begun.id).await;
            let expected = if is_replaced { PaymentState::Canceled } else { PaymentState::Paid };
            assert_eq!((after.state, after.returned), (expected, is_replaced));
        }
        assert_eq!(till.fake.takings(), 2_000);
    }
}
