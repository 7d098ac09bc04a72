//! `SetContract` over the wire: whom it refuses and why, what it answers once and again, and what the jobs make of it. Its rules
//! are tested beside the use cases.

use std::collections::BTreeSet;

use bursar_id::OwnerId;
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{CancelAt, Feature, InvoiceLineKind, PaymentState, SubscriptionState};
use bursar_proto::google::r#type::Money;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{audited, engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::moving::{plan_of, subscription, the_end};
use crate::words::{Under, buy, cancel, change_to, lots_of, set_seats, spend, subscribe};
use crate::world::{World, until};

fn usd(units: i64) -> Money {
    Money { currency_code: "USD".to_owned(), units, nanos: 0 }
}

/// 20,000 credits for sixty people with single sign-on, for so many dollars.
pub(crate) fn contract(owner: OwnerId, dollars: i64) -> pb::SetContractRequest {
    pb::SetContractRequest {
        owner: owner.to_string(),
        plan_id: "enterprise".to_owned(),
        credits: "20000".to_owned(),
        seats: 60,
        price: Some(usd(dollars)),
        features: vec![Feature::SingleSignOn.into()],
        ..Default::default()
    }
}

pub(crate) fn paid_with(method: &str, request: pb::SetContractRequest) -> pb::SetContractRequest {
    pb::SetContractRequest { payment_method: method.to_owned(), ..request }
}

/// In so long.
pub(crate) fn later(world: &World, span: Span, request: pb::SetContractRequest) -> pb::SetContractRequest {
    pb::SetContractRequest { starts_at: Some(to_timestamp(world.in_(span))), ..request }
}

async fn entitled(world: &World, owner: OwnerId) -> (String, u32, Vec<Feature>) {
    let get = pb::GetEntitlementsRequest { owner: owner.to_string() };
    let it = world.service(ServiceRole::Organization).get_entitlements(get).await.expect("entitlements");
    (it.plan_id.clone(), it.seats, it.features().collect())
}

engines! {
    async fn an_enterprise_has_what_was_agreed_and_pays_its_invoices(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        boss.purchase_pack(buy(team, "starter")).await.unwrap();
        let request = contract(team, 900).under("c1");
        let answer = world.operator().set_contract(request.clone()).await.unwrap();
        let agreed = answer.contract.clone().unwrap();
        assert_eq!((agreed.plan_id.as_str(), agreed.credits.as_str(), agreed.seats, agreed.price), ("enterprise", "20000", 60, Some(usd(900))));
        assert_eq!((agreed.features, agreed.starts_at), (vec![i32::from(Feature::SingleSignOn)], None));
        let begun = answer.subscription.clone().unwrap();
        assert_eq!((begun.state(), begun.credits.as_str(), begun.seats, begun.price.clone()), (SubscriptionState::Active, "20000", 60, Some(usd(900))));
        assert_eq!((begun.by_contract, begun.features.clone(), begun.contract.clone()), (true, vec![i32::from(Feature::SingleSignOn)], None));
        let paid = answer.payment.clone().unwrap();
        assert_eq!((paid.state(), paid.payment_method.as_str(), paid.amount.clone()), (PaymentState::Paid, "invoice", Some(usd(900))));
        assert_eq!(world.operator().set_contract(request).await.unwrap(), answer, "a repetition gets the first answer");
        refused(world.operator().set_contract(contract(team, 901).under("c1")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(entitled(&world, team).await, ("enterprise".to_owned(), 60, vec![Feature::SingleSignOn]));
        assert_eq!(world.available(team).await, "20301");
        // The next month by itself, as any other: one payment and one invoice more, and the packs are there.
        world.passes(the_end(&begun).since(world.now()));
        boss.charged(spend(team, "1")).await;
        assert_eq!(world.available(team).await, "20300");
        let list = pb::ListInvoicesRequest { owner: team.to_string(), ..Default::default() };
        let invoices = boss.list_invoices(list).await.unwrap().invoices;
        let lines: Vec<_> = invoices.iter().flat_map(|it| &it.lines).map(|it| (it.kind(), it.description.as_str())).collect();
        let month = (InvoiceLineKind::Subscription, "Enterprise");
        assert_eq!((lines[0], lines[1], lines.len()), (month, month, 3));
        assert_eq!(entitled(&world, team).await.2, [Feature::SingleSignOn]);
        let refund = pb::RefundPaymentRequest { owner: team.to_string(), payment_id: paid.id, ..Default::default() };
        assert_eq!(world.operator().refund_payment(refund).await.unwrap().payment.unwrap().refunded, Some(usd(900)));
        world.audit(team).await;
    }

    async fn it_begins_at_its_date_by_itself(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        let (other, _) = world.organization_with(2, "1").await;
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        for (owner, span) in [(team, Span::from_days(10)), (other, Span::from_days(10))] {
            world.operator().set_contract(later(&world, span, contract(owner, 800))).await.unwrap();
        }
        let request = later(&world, Span::from_days(5), contract(team, 900));
        let answer = world.operator().set_contract(request.clone()).await.unwrap();
        let waits = answer.contract.clone();
        assert_eq!((waits.clone().unwrap().starts_at, answer.payment), (request.starts_at, None));
        assert_eq!(answer.subscription.unwrap().contract, waits);
        assert_eq!(subscription(&world, team).await.contract, waits, "it took the place of the one before");
        assert_eq!(plan_of(&world, team).await, ("business".to_owned(), 10));
        world.passes(Span::from_days(5));
        until("the contract begins", async || plan_of(&world, team).await.0 == "enterprise").await;
        assert_eq!(entitled(&world, team).await, ("enterprise".to_owned(), 60, vec![Feature::SingleSignOn]));
        let is = subscription(&world, team).await;
        assert_eq!((is.price.clone(), is.contract.clone()), (Some(usd(900)), None));
        assert_eq!(plan_of(&world, other).await.0, "free");
        world.passes(Span::from_days(5));
        until("the other one begins", async || plan_of(&world, other).await.0 == "enterprise").await;
        assert_eq!(subscription(&world, team).await, is, "what was replaced does nothing");
        let lots = boss.list_lots(lots_of(team)).await.unwrap().lots;
        assert_eq!(lots.len(), 3, "what it had, the month of Business, and what the contract adds: once");
        let rows = audited(&world.store).await;
        let done = rows.iter().filter(|row| row.method.ends_with("/SetContract") && row.reason.is_none());
        assert_eq!(done.count(), 5, "three were set, and two began");
        for owner in [team, other] {
            world.audit(owner).await;
        }
    }

    async fn operators_alone_set_it_and_everything_that_is_wrong_is_said(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        let bad = || {
            let features = vec![Feature::Unspecified.into()];
            paid_with("cash", pb::SetContractRequest { seats: 0, features, ..contract(team, -1) }).under(&"x".repeat(129))
        };
        let (denied, invalid, failed) = (Code::PermissionDenied, Code::InvalidArgument, Code::FailedPrecondition);
        refused(world.nobody().set_contract(bad()).await, Code::Unauthenticated, "TOKEN_MISSING");
        for person in [&boss, &world.person(9)] {
            refused(person.set_contract(bad()).await, denied, "CALLER_NOT_ALLOWED");
        }
        for role in [ServiceRole::Product, ServiceRole::Organization, ServiceRole::Identity] {
            refused(world.service(role).set_contract(bad()).await, denied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        let operator = world.operator();
        let fields = refused(operator.set_contract(bad()).await, invalid, "INVALID_FIELDS").fields;
        assert_eq!(fields, ["features", "payment_method", "price", "request_id", "seats"]);
        let nobodys = pb::SetContractRequest { owner: String::new(), ..contract(team, 900) };
        assert_eq!(refused(operator.set_contract(nobodys).await, invalid, "INVALID_FIELDS").fields, ["owner"]);
        let far = later(&world, Span::from_days(3_660), contract(team, 900));
        assert_eq!(refused(operator.set_contract(far).await, invalid, "INVALID_FIELDS").fields, ["starts_at"]);
        let golden = pb::SetContractRequest { plan_id: "golden".to_owned(), ..contract(team, 900) };
        refused(operator.set_contract(golden).await, Code::NotFound, "PLAN_NOT_FOUND");
        let business = pb::SetContractRequest { plan_id: "business".to_owned(), ..contract(team, 900) };
        refused(operator.set_contract(business).await, failed, "PLAN_NOT_BY_CONTRACT");
        let euros = pb::SetContractRequest { price: Some(Money { currency_code: "EUR".to_owned(), ..usd(9) }), ..contract(team, 9) };
        refused(operator.set_contract(euros).await, failed, "CURRENCY_MISMATCH");
        let declined = paid_with("sandbox_declined", contract(team, 900)).under("r");
        refused(operator.set_contract(declined).await, failed, "PAYMENT_DECLINED");
        // By invoice pays nobody who is not told by an operator.
        let plan = pb::SubscribeRequest { payment_method: "invoice".into(), ..subscribe(team, "business") };
        assert_eq!(refused(boss.subscribe(plan.clone()).await, invalid, "INVALID_FIELDS").fields, ["payment_method"]);
        assert_eq!(refused(operator.subscribe(plan).await, invalid, "INVALID_FIELDS").fields, ["payment_method"]);
        let pack = pb::PurchasePackRequest { payment_method: "invoice".into(), ..buy(team, "starter") };
        assert_eq!(refused(boss.purchase_pack(pack).await, invalid, "INVALID_FIELDS").fields, ["payment_method"]);
        assert_eq!(plan_of(&world, team).await.0, "free");

        boss.subscribe(subscribe(team, "business")).await.unwrap();
        boss.cancel(cancel(team, CancelAt::PeriodEnd)).await.unwrap();
        refused(operator.set_contract(contract(team, 900)).await, failed, "SUBSCRIPTION_CANCELED");
        boss.cancel(cancel(team, CancelAt::Now)).await.unwrap();
        operator.set_contract(contract(team, 900)).await.unwrap();
        refused(boss.set_seats(set_seats(team, 61)).await, failed, "SEATS_NOT_FOR_SALE");
        boss.change_plan(change_to(team, "business")).await.expect("back to what is for sale");
        let rows = audited(&world.store).await;
        let reasons: BTreeSet<_> = rows.iter().filter(|it| it.method.ends_with("/SetContract")).filter_map(|it| it.reason.clone()).collect();
        let expected = ["CURRENCY_MISMATCH", "INVALID_FIELDS", "PAYMENT_DECLINED", "PLAN_NOT_BY_CONTRACT", "PLAN_NOT_FOUND", "SUBSCRIPTION_CANCELED"];
        assert_eq!(reasons, BTreeSet::from(expected.map(str::to_owned)));
        for (standing, version, reason) in [(Standing::Suspended, 1, "ORGANIZATION_SUSPENDED"), (Standing::Deleted, 2, "ORGANIZATION_DELETED")] {
            world.stands(team, standing, version).await;
            for request in [contract(team, 950), later(&world, Span::DAY, contract(team, 950))] {
                refused(operator.set_contract(request).await, denied, reason);
            }
        }
    }
}
