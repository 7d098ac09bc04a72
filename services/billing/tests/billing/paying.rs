//! Payments and payment methods over gRPC: who sees and does what, what bad input gets, and what the customer is told.
//! Their rules in detail are tested beside their use cases.

use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{EntryKind, PaymentPurpose, PaymentState, PurchaseState};
use bursar_proto::google::r#type::Money;
use bursar_proto::testing::v1 as testing;
use bursar_testkit::{Refusal, engines, id, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::moving::{subscription, the_end};
use crate::selling::packs;
use crate::words::{Under, balance_of, entries_of, spend, subscribe};
use crate::world::World;

fn buy(owner: OwnerId, method: &str) -> pb::PurchasePackRequest {
    let (pack_id, payment_method) = ("starter".to_owned(), method.to_owned());
    pb::PurchasePackRequest { owner: owner.to_string(), pack_id, payment_method, request_id: String::new() }
}

fn usd(units: i64) -> Money {
    Money { currency_code: "USD".to_owned(), units, nanos: 0 }
}

async fn settle(world: &World, payment_id: &str, outcome: testing::Outcome) -> Result<pb::Payment, Status> {
    settle_part(world, payment_id, outcome, None).await
}

async fn settle_part(
    world: &World,
    payment_id: &str,
    outcome: testing::Outcome,
    amount: Option<Money>,
) -> Result<pb::Payment, Status> {
    let request = testing::SettleRequest { payment_id: payment_id.to_owned(), outcome: outcome.into(), amount };
    Ok(world.nobody().0.sandbox().settle(request).await?.into_inner().payment.expect("a payment"))
}

async fn save(world: &World, owner: OwnerId, method: &str, (month, year): (u32, u32)) -> pb::PaymentMethod {
    let request = testing::SaveMethodRequest {
        owner: owner.to_string(),
        payment_method: method.to_owned(),
        exp_month: month,
        exp_year: year,
    };
    world.nobody().0.sandbox().save_method(request).await.unwrap().into_inner().payment_method.unwrap()
}

fn setup(owner: OwnerId) -> pb::BeginSetupRequest {
    let return_url = "https://example.com/done".to_owned();
    pb::BeginSetupRequest { owner: owner.to_string(), return_url, request_id: String::new() }
}

fn of(owner: OwnerId, payment: &pb::Payment) -> pb::GetPaymentRequest {
    pb::GetPaymentRequest { owner: owner.to_string(), payment_id: payment.id.clone() }
}

async fn methods(who: &Caller, owner: OwnerId) -> Vec<(String, bool)> {
    let request = pb::ListPaymentMethodsRequest { owner: owner.to_string(), ..Default::default() };
    let methods = who.list_payment_methods(request).await.unwrap().payment_methods;
    methods.into_iter().map(|it| (it.id, it.default)).collect()
}

engines! {
    async fn the_customer_is_told_what_to_do_and_gets_what_was_bought(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let answer = ana.purchase_pack(buy(ana.owner, "sandbox_requires_action").under("r1")).await.unwrap();
        let (purchase, payment) = (answer.purchase.unwrap(), answer.payment.unwrap());
        assert_eq!((purchase.state(), payment.state()), (PurchaseState::Pending, PaymentState::RequiresAction));
        assert_eq!((payment.purpose(), &payment.purchase_id), (PaymentPurpose::Purchase, &purchase.id));
        let action = payment.action.clone().unwrap();
        assert!(action.url.starts_with("https://") && !action.client_secret.is_empty(), "{action:?}");
        assert_eq!(payment.amount, Some(usd(20)));

        let paid = settle(&world, &payment.id, testing::Outcome::Paid).await.unwrap();
        assert_eq!((paid.state(), paid.action.clone()), (PaymentState::Paid, None));
        assert_eq!(world.available(ana.owner).await, "300");
        assert_eq!(ana.get_payment(of(ana.owner, &payment)).await.unwrap().payment, Some(paid.clone()));
        let again = ana.purchase_pack(buy(ana.owner, "sandbox_requires_action").under("r1")).await.unwrap();
        assert_eq!((again.purchase, again.payment), (Some(purchase.clone()), Some(paid)), "the payment as it is now");
        let get = pb::GetPurchaseRequest { purchase_id: purchase.id.clone(), owner: String::new() };
        let now = ana.get_purchase(get).await.unwrap().purchase.unwrap();
        assert_eq!((now.state(), now.payment_id), (PurchaseState::Paid, payment.id));
        world.audit(ana.owner).await;
    }

    async fn a_declined_payment_frees_the_request_and_is_listed(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        refused(ana.purchase_pack(buy(ana.owner, "sandbox_declined").under("r1")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        world.passes(Span::SECOND);
        ana.purchase_pack(buy(ana.owner, "sandbox_ok").under("r1")).await.unwrap();
        let mut request = pb::ListPaymentsRequest { owner: ana.owner.to_string(), page_size: 1, ..Default::default() };
        let mut states = Vec::new();
        loop {
            let page = ana.list_payments(request.clone()).await.unwrap();
            states.extend(page.payments.iter().map(|it| (it.state(), it.decline_code.clone())));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(states, [(PaymentState::Paid, String::new()), (PaymentState::Declined, "card_declined".to_owned())]);
    }

    async fn a_payment_that_was_declined_at_once_and_is_paid_after_all_delivers(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        refused(ana.purchase_pack(buy(ana.owner, "sandbox_declined")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        let request = pb::ListPaymentsRequest { owner: ana.owner.to_string(), ..Default::default() };
        let declined = ana.list_payments(request).await.unwrap().payments.remove(0);
        assert_eq!(declined.state(), PaymentState::Declined);
        let paid = settle(&world, &declined.id, testing::Outcome::Paid).await.unwrap();
        assert_eq!((paid.state(), paid.refunded), (PaymentState::Paid, Some(usd(0))));
        assert_eq!(world.available(ana.owner).await, "300");
        world.audit(ana.owner).await;
    }

    async fn an_open_renewal_is_waited_for_a_second_and_then_packs_pay(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        ana.purchase_pack(buy(ana.owner, "sandbox_ok")).await.unwrap();
        let waits = pb::SubscribeRequest { payment_method: "sandbox_pending".to_owned(), ..subscribe(ana.owner, "business") };
        let first = ana.subscribe(waits).await.unwrap().payment.unwrap();
        settle(&world, &first.id, testing::Outcome::Paid).await.unwrap();
        world.passes(the_end(&subscription(&world, ana.owner).await).since(world.now()));
        for millis in [999, 1] {
            let told = refused(ana.charge(spend(ana.owner, "10").under("c1")).await, Code::Unavailable, "RENEWAL_DUE");
            assert!(told.retryable, "it says when to come again");
            assert_eq!(packs(&world, ana.owner).await, ["300"]);
            world.passes(Span::from_millis(millis));
        }
        ana.charged(spend(ana.owner, "10").under("c1")).await;
        assert_eq!(packs(&world, ana.owner).await, ["290"]);
        let list = pb::ListPaymentsRequest { owner: ana.owner.to_string(), ..Default::default() };
        let renewal = ana.list_payments(list).await.unwrap().payments.remove(0);
        assert_eq!((renewal.purpose(), renewal.state()), (PaymentPurpose::Renewal, PaymentState::Pending));
        settle(&world, &renewal.id, testing::Outcome::Paid).await.unwrap();
        ana.charged(spend(ana.owner, "10").under("c2")).await;
        assert_eq!(packs(&world, ana.owner).await, ["290"], "the allowance is there");
        world.audit(ana.owner).await;
    }

    async fn an_operator_refunds_what_was_paid_and_no_more(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let payment = ana.purchase_pack(buy(ana.owner, "sandbox_ok")).await.unwrap().payment.unwrap();
        ana.charged(spend(ana.owner, "100")).await;
        let refund = |amount: Option<Money>| pb::RefundPaymentRequest {
            payment_id: payment.id.clone(),
            owner: ana.owner.to_string(),
            amount,
            request_id: String::new(),
        };
        refused(ana.refund_payment(refund(None)).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(world.product().refund_payment(refund(None)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        let part_of_a_cent = Money { nanos: 1_000_000, ..usd(1) };
        let other = Money { currency_code: "usd".to_owned(), ..usd(1) };
        for amount in [usd(0), usd(-1), Money { nanos: -1, ..usd(1) }, part_of_a_cent, other] {
            let bad = refused(operator.refund_payment(refund(Some(amount))).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["amount"]);
        }
        for amount in [usd(21), usd(9_000_000_000), Money { currency_code: "EUR".to_owned(), ..usd(1) }] {
            refused(operator.refund_payment(refund(Some(amount))).await, Code::FailedPrecondition, "REFUND_ABOVE_PAYMENT");
        }
        let half = operator.refund_payment(refund(Some(usd(10))).under("f1")).await.unwrap();
        assert_eq!(operator.refund_payment(refund(Some(usd(10))).under("f1")).await.unwrap(), half, "once");
        assert_eq!(half.payment.unwrap().refunded, Some(usd(10)));
        assert_eq!(world.available(ana.owner).await, "50");
        operator.refund_payment(refund(None)).await.unwrap();
        assert_eq!(world.available(ana.owner).await, "0");
        refused(operator.refund_payment(refund(None)).await, Code::FailedPrecondition, "REFUND_ABOVE_PAYMENT");
        let entries = ana.list_ledger_entries(entries_of(ana.owner)).await.unwrap().entries;
        let debts: Vec<_> = entries.iter().filter(|it| it.kind() == EntryKind::Debt).map(|it| &*it.amount).collect();
        assert_eq!(debts, ["150", "150"]);
        ana.purchase_pack(buy(ana.owner, "sandbox_ok")).await.unwrap();
        assert_eq!(world.available(ana.owner).await, "200", "the next pack pays what was spent");
        assert_eq!(ana.get_balance(balance_of(ana.owner)).await.unwrap().available, "200");
        world.audit(ana.owner).await;
    }

    async fn what_a_bank_has_taken_is_not_refunded_too(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let payment = ana.purchase_pack(buy(ana.owner, "sandbox_ok")).await.unwrap().payment.unwrap();
        let refund = || pb::RefundPaymentRequest {
            payment_id: payment.id.clone(),
            owner: ana.owner.to_string(),
            amount: None,
            request_id: String::new(),
        };
        for outcome in [testing::Outcome::Disputed, testing::Outcome::DisputeLost] {
            settle(&world, &payment.id, outcome).await.unwrap();
            refused(operator.refund_payment(refund()).await, Code::FailedPrecondition, "REFUND_ABOVE_PAYMENT");
        }
        assert_eq!(world.available(ana.owner).await, "0");
        let won = ana.purchase_pack(buy(ana.owner, "sandbox_ok")).await.unwrap().payment.unwrap();
        for outcome in [testing::Outcome::Disputed, testing::Outcome::DisputeWon] {
            settle(&world, &won.id, outcome).await.unwrap();
        }
        let back = operator.refund_payment(pb::RefundPaymentRequest { payment_id: won.id, ..refund() }).await.unwrap();
        assert_eq!(back.payment.unwrap().refunded, Some(usd(20)));
        world.audit(ana.owner).await;
    }

    async fn what_nobody_may_settle(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let payment = ana.purchase_pack(buy(ana.owner, "sandbox_pending")).await.unwrap().payment.unwrap();
        let unknown = bursar_id::PaymentId::from_parts(1, [1; 10]).to_string();
        refused(settle(&world, &unknown, testing::Outcome::Paid).await, Code::NotFound, "NOT_FOUND");
        for wrong in ["", "pay_", &ana.owner.to_string()] {
            refused(settle(&world, wrong, testing::Outcome::Paid).await, Code::InvalidArgument, "INVALID_FIELDS");
        }
        refused(settle(&world, &payment.id, testing::Outcome::Unspecified).await, Code::InvalidArgument, "INVALID_FIELDS");
        let part_of_a_cent = Money { nanos: 1_000_000, ..usd(1) };
        let other = Money { currency_code: "EUR".to_owned(), ..usd(5) };
        for amount in [usd(0), usd(-5), usd(21), usd(i64::MAX), part_of_a_cent, other] {
            let told = settle_part(&world, &payment.id, testing::Outcome::Refunded, Some(amount)).await;
            assert_eq!(refused(told, Code::InvalidArgument, "INVALID_FIELDS").fields, ["amount"]);
        }
        let bad = pb::RefundPaymentRequest { owner: ana.owner.to_string(), payment_id: payment.id.clone(), ..Default::default() };
        refused(world.operator().refund_payment(bad).await, Code::FailedPrecondition, "PAYMENT_NOT_PAID");
        let still = ana.get_payment(of(ana.owner, &payment)).await.unwrap().payment;
        assert_eq!(still, Some(payment), "nothing has changed");
    }

    async fn a_saved_method_pays_until_it_expires_or_is_removed(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (world.person(1), world.person(2));
        refused(ana.purchase_pack(buy(ana.owner, "")).await, Code::FailedPrecondition, "PAYMENT_METHOD_REQUIRED");
        let begun = ana.begin_setup(setup(ana.owner).under("s1")).await.unwrap();
        assert!(!begun.action.clone().unwrap().client_secret.is_empty());
        let first = begun.payment_method.unwrap();
        assert!(first.default, "the first is the default");
        let again = ana.begin_setup(setup(ana.owner).under("s1")).await.unwrap();
        assert_eq!((again.payment_method, again.action.unwrap().client_secret), (Some(first.clone()), String::new()));
        world.passes(Span::SECOND);
        // The clock of the tests begins in January 2026.
        let short = save(&world, ana.owner, "sandbox_ok", (1, 2026)).await;
        assert_eq!(methods(&ana, ana.owner).await, [(short.id.clone(), false), (first.id.clone(), true)]);
        for method in ["", &first.id, &short.id] {
            let paid = ana.purchase_pack(buy(ana.owner, method)).await.unwrap().payment.unwrap();
            assert_eq!(paid.payment_method, if method.is_empty() { &*first.id } else { method });
        }
        // Another owner's is one that does not exist.
        refused(ben.purchase_pack(buy(ben.owner, &first.id)).await, Code::NotFound, "NOT_FOUND");
        let theirs = |id: &str| pb::SetDefaultPaymentMethodRequest {
            owner: ben.owner.to_string(), payment_method_id: id.to_owned(), request_id: String::new(),
        };
        refused(ben.set_default_payment_method(theirs(&first.id)).await, Code::NotFound, "NOT_FOUND");
        let remove = |owner: OwnerId, id: &str| pb::RemovePaymentMethodRequest {
            owner: owner.to_string(), payment_method_id: id.to_owned(), request_id: String::new(),
        };
        refused(ben.remove_payment_method(remove(ben.owner, &first.id)).await, Code::NotFound, "NOT_FOUND");

        let prefer = pb::SetDefaultPaymentMethodRequest {
            owner: ana.owner.to_string(), payment_method_id: short.id.clone(), request_id: String::new(),
        };
        assert!(ana.set_default_payment_method(prefer.clone()).await.unwrap().payment_method.unwrap().default);
        let once = pb::SetDefaultPaymentMethodRequest { request_id: "p1".to_owned(), ..prefer.clone() };
        let preferred = ana.set_default_payment_method(once.clone()).await.unwrap();
        assert_eq!(ana.set_default_payment_method(once).await.unwrap(), preferred, "a repetition");
        let (again, other) = (ana.begin_setup(setup(ana.owner).under("s1")).await.unwrap().payment_method, first.clone());
        assert_eq!(again, Some(pb::PaymentMethod { default: false, ..other }), "a repetition shows it as it is");
        assert_eq!(methods(&ana, ana.owner).await, [(short.id.clone(), true), (first.id.clone(), false)]);
        world.passes(Span::from_days(20));
        for method in ["", &short.id] {
            refused(ana.purchase_pack(buy(ana.owner, method)).await, Code::FailedPrecondition, "PAYMENT_METHOD_EXPIRED");
        }
        refused(ana.set_default_payment_method(prefer).await, Code::FailedPrecondition, "PAYMENT_METHOD_EXPIRED");
        ana.remove_payment_method(remove(ana.owner, &first.id).under("d1")).await.unwrap();
        ana.remove_payment_method(remove(ana.owner, &first.id).under("d1")).await.expect("a repetition");
        refused(ana.remove_payment_method(remove(ana.owner, &first.id)).await, Code::NotFound, "NOT_FOUND");
        let gone = ana.begin_setup(setup(ana.owner).under("s1")).await.unwrap().payment_method;
        assert_eq!(gone, Some(pb::PaymentMethod { id: first.id.clone(), ..Default::default() }), "and nothing of one that is gone");
        refused(ana.purchase_pack(buy(ana.owner, &first.id)).await, Code::NotFound, "NOT_FOUND");
    }

    async fn of_many_who_save_at_once_one_is_the_default_and_only_so_many_are_saved(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let mut racers = Vec::new();
        for _ in 0..24 {
            let ana = ana.clone();
            racers.push(tokio::spawn(async move { ana.begin_setup(setup(ana.owner)).await }));
        }
        let mut saved = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(_) => saved += 1,
                error => {
                    refused(error, Code::ResourceExhausted, "TOO_MANY_PAYMENT_METHODS");
                }
            }
        }
        let there = methods(&ana, ana.owner).await;
        assert_eq!((saved, there.len(), there.iter().filter(|(_, default)| *default).count()), (20, 20, 1));
    }

    async fn only_so_many_methods_are_saved(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        for _ in 0..20 {
            ana.begin_setup(setup(ana.owner)).await.unwrap();
        }
        refused(ana.begin_setup(setup(ana.owner)).await, Code::ResourceExhausted, "TOO_MANY_PAYMENT_METHODS");
        for url in ["", "javascript:alert(1)", &format!("https://example.com/{}", "x".repeat(2_048))] {
            let request = pb::BeginSetupRequest { return_url: url.to_owned(), ..setup(ana.owner) };
            assert_eq!(refused(ana.begin_setup(request).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["return_url"]);
        }
    }

    async fn members_do_not_see_payments_and_others_find_none(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        world.hears(team, id(3), Some(Role::Member), 1).await;
        let (member, stranger) = (world.member(3, team, Role::Member, 1), world.person(9));
        let payment = boss.purchase_pack(buy(team, "sandbox_ok")).await.unwrap().payment.unwrap();
        let list = pb::ListPaymentsRequest { owner: team.to_string(), ..Default::default() };
        let cards = pb::ListPaymentMethodsRequest { owner: team.to_string(), ..Default::default() };
        let reason = |outcome: Result<(), Status>| outcome.map_or_else(|status| Refusal::of(&status).reason, |()| "OK".to_owned());
        for (who, expected) in [(&boss, "OK"), (&member, "ROLE_NOT_ALLOWED"), (&stranger, "NOT_A_MEMBER")] {
            assert_eq!(reason(who.get_payment(of(team, &payment)).await.map(drop)), expected);
            assert_eq!(reason(who.list_payments(list.clone()).await.map(drop)), expected);
            assert_eq!(reason(who.list_payment_methods(cards.clone()).await.map(drop)), expected);
            assert_eq!(reason(who.begin_setup(setup(team)).await.map(drop)), expected);
        }
        let mine = pb::GetPaymentRequest { owner: stranger.owner.to_string(), payment_id: payment.id.clone() };
        refused(stranger.get_payment(mine).await, Code::NotFound, "NOT_FOUND");
        let page_token = "rubbish".to_owned();
        refused(boss.list_payments(pb::ListPaymentsRequest { page_token, ..list }).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
}
