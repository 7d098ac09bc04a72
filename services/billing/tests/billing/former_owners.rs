//! What the payment methods of a former owner pay, over the wire. The rule in detail is tested beside its use case.

use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{PaymentState, SubscriptionState};
use bursar_proto::google::r#type::Money;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{engines, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::calls::Caller;
use crate::moving::{subscription, the_end};
use crate::topping_up::set;
use crate::words::subscribe;
use crate::world::{World, until};

async fn saves(who: &Caller, owner: OwnerId) -> pb::PaymentMethod {
    let return_url = "https://example.com/done".to_owned();
    let setup = pb::BeginSetupRequest { owner: owner.to_string(), return_url, request_id: String::new() };
    who.begin_setup(setup).await.unwrap().payment_method.unwrap()
}

/// The owner's payment methods, the latest first.
async fn methods(who: &Caller, owner: OwnerId) -> Vec<pb::PaymentMethod> {
    let list = pb::ListPaymentMethodsRequest { owner: owner.to_string(), ..Default::default() };
    who.list_payment_methods(list).await.unwrap().payment_methods
}

fn buy(owner: OwnerId, method: &str) -> pb::PurchasePackRequest {
    let (pack_id, payment_method) = ("starter".to_owned(), method.to_owned());
    pb::PurchasePackRequest { owner: owner.to_string(), pack_id, payment_method, request_id: String::new() }
}

fn prefer(owner: OwnerId, method: &str) -> pb::SetDefaultPaymentMethodRequest {
    let (owner, payment_method_id) = (owner.to_string(), method.to_owned());
    pb::SetDefaultPaymentMethodRequest { owner, payment_method_id, request_id: String::new() }
}

fn topping_up(method: &str) -> pb::AutoTopUp {
    pb::AutoTopUp {
        enabled: true,
        threshold: "1".to_owned(),
        pack_id: "starter".to_owned(),
        monthly_ceiling: Some(Money { currency_code: "USD".to_owned(), units: 100, nanos: 0 }),
        payment_method: method.to_owned(),
        stopped_by: String::new(),
    }
}

async fn stands(world: &World, owner: OwnerId) -> SubscriptionState {
    subscription(world, owner).await.state()
}

engines! {
    async fn a_former_owners_card_pays_until_the_period_ends_and_no_longer(db: TestDb) {
        let world = World::on(db).await;
        let (team, ana) = world.organization_with(1, "1").await;
        world.hears(team, id(2), Some(Role::Admin), 1).await;
        let hers = saves(&ana, team).await;
        assert_eq!((hers.default, hers.serves_until), (true, None));
        let business = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(team, "business") };
        ana.subscribe(business).await.unwrap();
        let end = the_end(&subscription(&world, team).await);
        world.passes(Span::from_days(3));
        world.hears(team, id(1), Some(Role::Admin), 2).await;
        world.hears(team, id(2), Some(Role::Owner), 2).await;
        let ben = world.member(2, team, Role::Owner, 2);
        let stops = pb::PaymentMethod { serves_until: Some(to_timestamp(end)), ..hers.clone() };
        assert_eq!(methods(&ben, team).await, [stops]);
        for method in ["", &hers.id] {
            let paid = ben.purchase_pack(buy(team, method)).await.unwrap().payment.unwrap();
            assert_eq!((paid.state(), &paid.payment_method), (PaymentState::Paid, &hers.id));
        }

        world.passes(end.since(world.now()));
        until("nothing pays its next month", async || stands(&world, team).await == SubscriptionState::PastDue).await;
        let list = pb::ListPaymentsRequest { owner: team.to_string(), ..Default::default() };
        let last = ben.list_payments(list).await.unwrap().payments.remove(0);
        assert_eq!((last.state(), &*last.decline_code), (PaymentState::Declined, "payment_method_missing"));
        for (method, reason) in [("", "PAYMENT_METHOD_REQUIRED"), (&*hers.id, "PAYMENT_METHOD_EXPIRED")] {
            refused(ben.purchase_pack(buy(team, method)).await, Code::FailedPrecondition, reason);
            let topped_up = ben.update_account_settings(set(team, topping_up(method))).await;
            refused(topped_up, Code::FailedPrecondition, reason);
        }
        let preferred = ben.set_default_payment_method(prefer(team, &hers.id)).await;
        refused(preferred, Code::FailedPrecondition, "PAYMENT_METHOD_EXPIRED");

        let his = saves(&ben, team).await;
        assert_eq!((his.default, his.serves_until), (true, None));
        world.passes(Span::from_days(1));
        until("the other card pays it", async || stands(&world, team).await == SubscriptionState::Active).await;
        let next = the_end(&subscription(&world, team).await);
        world.hears(team, id(2), Some(Role::Admin), 3).await;
        world.hears(team, id(1), Some(Role::Owner), 3).await;
        let ana = world.member(1, team, Role::Owner, 3);
        let now: Vec<_> = methods(&ana, team).await.into_iter().map(|it| (it.id, it.serves_until)).collect();
        assert_eq!(now, [(his.id, Some(to_timestamp(next))), (hers.id.clone(), None)]);
        ana.set_default_payment_method(prefer(team, &hers.id)).await.expect("it serves again");
        ana.purchase_pack(buy(team, "")).await.expect("it pays again");
        world.audit(team).await;
    }
}
