//! What Stripe is asked for while its customer is not there: automatic top-ups, and contracts that operators set. A bank that
//! wants to see its customer declines. Renewals are in `stripe.rs`.

use bursar_testkit::stripe::{Card, Mishap};
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::contracts::{contract, later};
use crate::moving::plan_of;
use crate::stripe_desk::{Desk, payments};
use crate::topping_up::{set, starter};
use crate::words::{grant, spend};
use crate::world::{Person, until};

/// What a bank says that wants to see its customer.
const WANTED: &str = "authentication_required";

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
}
