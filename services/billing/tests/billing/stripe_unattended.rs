//! What Stripe is asked for while its customer is not there: automatic top-ups, and contracts that operators set. A bank that
//! wants to see its customer declines. Renewals are in `stripe.rs`.

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::SubscriptionState;
use bursar_testkit::stripe::{Astray, Card, Mishap, deliver};
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::contracts::{contract, later};
use crate::moving::plan_of;
use crate::stripe_desk::{Desk, methods, payments, setup};
use crate::topping_up::{set, starter};
use crate::words::{grant, spend, subscribe};
use crate::world::{Person, until};

/// What a bank says that wants to see its customer.
const WANTED: &str = "authentication_required";

/// How everything that is asked is refused, whatever the card.
const ASTRAY: [Astray; 2] = [Astray::Version, Astray::Account];

/// Everything is refused so, and something is asked for more often than it may be declined.
async fn goes_astray(desk: &Desk, how: Astray) {
    let asked = || desk.fake.asked().iter().filter(|it| *it == "POST /v1/payment_intents").count();
    let before = asked();
    desk.fake.is_astray(Some(how));
    until("it is asked for again and again", async || {
        desk.world.passes(Span::from_mins(10));
        asked() > before + 6
    })
    .await;
    let declined = "SELECT COUNT(*) FROM payments WHERE state = 'DECLINED'";
    assert_eq!(desk.world.scalar(declined).await, 0, "{how:?}");
}

/// From now on nothing is refused, and then the owner has so many credits.
async fn is_put_right(desk: &Desk, who: &Person, available: &str) {
    desk.fake.is_astray(None);
    until("it is paid", async || {
        desk.world.passes(Span::from_mins(10));
        desk.world.available(who.owner).await == available
    })
    .await;
    desk.delivers().await;
    assert_eq!(desk.count("ASIDE").await, 0);
}

/// Why each of the owner's payments was declined.
async fn declines(who: &Person) -> Vec<String> {
    payments(who, who.owner).await.into_iter().map(|it| it.decline_code).collect()
}

engines! {
    async fn a_top_up_is_paid_once_also_where_nobody_hears_that_it_is(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        world.operator().granted(grant(ana.owner, "150")).await;
        ana.update_account_settings(set(ana.owner, starter(1_000, ""))).await.unwrap();
        world.looked().await;
        assert_eq!(desk.fake.all("payment_intent").len(), 0, "there is enough");
        ana.charged(spend(ana.owner, "51")).await;
        until("a pack is bought", async || world.available(ana.owner).await == "399").await;
        world.tried(ana.owner, 1).await;
        desk.delivers().await;
        assert_eq!((desk.fake.takings(), &*world.available(ana.owner).await), (2_000, "399"));
        // The intent of the next one is made and looked at; that it is paid, nobody hears.
        world.passes(Span::HOUR);
        world.looked().await;
        desk.fake.fails([None, None, Some(Mishap::Rubbish)]);
        ana.charged(spend(ana.owner, "300")).await;
        until("the next one is paid", async || desk.fake.takings() == 4_000).await;
        world.passes(Span::from_mins(2));
        until("the job has asked", async || world.available(ana.owner).await == "399").await;
        world.tried(ana.owner, 2).await;
        desk.delivers().await;
        world.passes(Span::HOUR);
        world.looked().await;
        assert_eq!((desk.fake.takings(), &*world.available(ana.owner).await), (4_000, "399"));
        assert_eq!((desk.fake.all("payment_intent").len(), desk.count("ASIDE").await), (2, 0));
        world.audit(ana.owner).await;
    }

    async fn a_top_up_is_declined_where_the_bank_wants_its_customer_and_the_third_of_them_switches_it_off(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Challenged).await;
        ana.update_account_settings(set(ana.owner, starter(1_000, ""))).await.unwrap();
        for attempt in 1..4_usize {
            world.tried(ana.owner, attempt).await;
            // What the webhooks tell is known already, and counts once.
            desk.delivers().await;
            world.looked().await;
            assert_eq!(declines(&ana).await, vec![WANTED; attempt]);
            assert_eq!(world.top_up(ana.owner).await.enabled, attempt < 3, "after {attempt}");
            world.passes(Span::HOUR);
        }
        world.looked().await;
        assert_eq!(world.top_up(ana.owner).await.stopped_by, "PAYMENT_DECLINED");
        assert_eq!((declines(&ana).await.len(), world.stopped().await), (3, 1));
        assert_eq!((desk.fake.takings(), &*world.available(ana.owner).await, desk.count("ASIDE").await), (0, "0", 0));
        world.audit(ana.owner).await;
    }

    async fn a_contract_that_an_operator_sets_is_declined_where_the_bank_wants_its_customer(db: TestDb) {
        let desk = Desk::open(db).await;
        let (world, operator) = (&desk.world, desk.world.operator());
        let (ana, card) = desk.person_with(1, Card::Challenged).await;
        let now = operator.set_contract(contract(ana.owner, 900)).await;
        refused(now, Code::FailedPrecondition, "PAYMENT_DECLINED");
        assert_eq!(declines(&ana).await, [WANTED]);
        // So is one that begins by itself: it is asked for again tomorrow.
        operator.set_contract(later(world, Span::HOUR, contract(ana.owner, 900))).await.unwrap();
        world.passes(Span::HOUR);
        until("it is tried in vain", async || world.scalar("SELECT attempts FROM contracts").await == 1).await;
        assert_eq!(declines(&ana).await, [WANTED; 2]);
        desk.delivers().await;
        assert_eq!((&*plan_of(world, ana.owner).await.0, desk.fake.takings()), ("free", 0));
        desk.fake.becomes(&card, Card::Good);
        world.passes(Span::DAY);
        until("it begins", async || plan_of(world, ana.owner).await.0 == "enterprise").await;
        desk.delivers().await;
        assert_eq!((desk.fake.takings(), desk.count("ASIDE").await), (90_000, 0));
        world.audit(ana.owner).await;
    }

    async fn a_month_stays_due_while_what_stripe_refuses_is_the_deployment(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let request = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(ana.owner, "business") };
        ana.subscribe(request).await.unwrap();
        for how in ASTRAY {
            ana.charged(spend(ana.owner, "1000")).await;
            world.passes(Span::from_days(31));
            goes_astray(&desk, how).await;
            is_put_right(&desk, &ana, "1500").await;
            let get = pb::GetSubscriptionRequest { owner: ana.owner.to_string() };
            let live = ana.get_subscription(get).await.unwrap().subscription.unwrap();
            assert_eq!(live.state(), SubscriptionState::Active, "{how:?}");
        }
        world.audit(ana.owner).await;
    }

    async fn a_top_up_stays_on_while_what_stripe_refuses_is_the_deployment(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        world.operator().granted(grant(ana.owner, "150")).await;
        ana.update_account_settings(set(ana.owner, starter(1_000, ""))).await.unwrap();
        for (how, spent, available) in [(ASTRAY[0], "51", "399"), (ASTRAY[1], "300", "399")] {
            desk.fake.is_astray(Some(how));
            ana.charged(spend(ana.owner, spent)).await;
            goes_astray(&desk, how).await;
            assert!(world.top_up(ana.owner).await.enabled, "{how:?}");
            is_put_right(&desk, &ana, available).await;
        }
        assert_eq!((desk.fake.takings(), world.stopped().await), (4_000, 0));
        world.audit(ana.owner).await;
    }

    async fn a_card_that_is_entered_while_what_stripe_refuses_is_the_deployment_is_saved_later(db: TestDb) {
        let desk = Desk::open(db).await;
        let ana = desk.world.person(1);
        for (saved, how) in ASTRAY.into_iter().enumerate() {
            let page = ana.begin_setup(setup(ana.owner)).await.unwrap().action.unwrap().url;
            desk.fake.is_astray(Some(how));
            desk.fake.enters(&page, Card::Good);
            for webhook in desk.fake.webhooks() {
                assert_eq!(deliver(desk.inbox, &webhook, desk.seconds()).await, 200);
            }
            let failed = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.webhook' AND failure IS NOT NULL";
            until("it is tried in vain", async || desk.world.scalar(failed).await == 1).await;
            assert_eq!((desk.count("WAITING").await, methods(&ana, ana.owner).await.len()), (1, saved));
            desk.fake.is_astray(None);
            desk.gives_up().await;
            assert_eq!((methods(&ana, ana.owner).await.len(), desk.count("ASIDE").await), (saved + 1, 0), "{how:?}");
        }
    }
}
