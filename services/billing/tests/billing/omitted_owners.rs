//! A user may leave the owner out of everything that is about something in an account: it is the token's context then.

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_testkit::{engines, id, refused};
use tonic::Code;

use crate::words::{Under, buy, limit, limits_of, subscribe};
use crate::world::World;

/// An order that leaves the owner out.
fn starter() -> pb::PurchasePackRequest {
    let pb::PurchasePackRequest { pack_id, payment_method, .. } = buy(OwnerId::User(id(9)), "starter");
    pb::PurchasePackRequest { pack_id, payment_method, ..Default::default() }
}

engines! {
    async fn a_user_may_leave_the_owner_out_of_all_that_is_bought_listed_and_set(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let own = ana.owner.to_string();
        let owner = String::new;

        let bought = ana.purchase_pack(starter()).await.unwrap();
        assert_eq!((bought.purchase.unwrap().owner, bought.payment.unwrap().owner), (own.clone(), own.clone()));
        let began = pb::SubscribeRequest { owner: owner(), ..subscribe(ana.owner, "business") };
        assert_eq!(ana.subscribe(began).await.unwrap().subscription.unwrap().owner, own);
        let canceled = pb::CancelRequest { at: pb::CancelAt::PeriodEnd.into(), ..Default::default() };
        assert_eq!(ana.cancel(canceled).await.unwrap().subscription.unwrap().owner, own);
        assert_eq!(ana.resume(pb::ResumeRequest::default()).await.unwrap().subscription.unwrap().owner, own);
        let everybody = limit(ana.owner, "every", pb::LimitWindow::Day, "5");
        let set = ana.set_limit(pb::SetLimitRequest { owner: owner(), ..everybody }).await.unwrap().limit.unwrap();
        assert_eq!(set.owner, own);

        let found = ana.get_subscription(pb::GetSubscriptionRequest::default()).await.unwrap();
        assert_eq!(found.subscription.unwrap().owner, own);
        assert_eq!(ana.list_purchases(pb::ListPurchasesRequest::default()).await.unwrap().purchases.len(), 1);
        assert_eq!(ana.list_payments(pb::ListPaymentsRequest::default()).await.unwrap().payments.len(), 2);
        ana.list_payment_methods(pb::ListPaymentMethodsRequest::default()).await.unwrap();
        let listed = ana.list_limits(pb::ListLimitsRequest { owner: owner(), ..limits_of(ana.owner) }).await.unwrap();
        assert_eq!(listed.limits.len(), 1);
        ana.delete_limit(pb::DeleteLimitRequest { limit_id: set.id, ..Default::default() }).await.unwrap();

        // A service has no context: it says whose it is.
        let nobodys = world.operator().list_payments(pb::ListPaymentsRequest::default()).await;
        assert_eq!(refused(nobodys, Code::InvalidArgument, "INVALID_FIELDS").fields, ["owner"]);
    }

    async fn the_same_request_without_an_owner_in_another_context_is_another_one(db: TestDb) {
        let world = World::on(db).await;
        let (team, at_work) = world.organization_with(1, "500").await;
        let at_home = world.person(1);
        let here = at_home.purchase_pack(starter().under("once")).await.unwrap().purchase.unwrap();
        let there = at_work.purchase_pack(starter().under("once")).await.unwrap().purchase.unwrap();
        assert_eq!((&here.owner, &there.owner), (&at_home.owner.to_string(), &team.to_string()));
        // To name the context is to ask the same again.
        let named = at_home.purchase_pack(buy(at_home.owner, "starter").under("once")).await.unwrap().purchase.unwrap();
        assert_eq!(named.id, here.id);
    }
}
