//! `PreviewChange`, `ChangePlan` and `SetSeats`: what is due and what comes of it, whom they refuse, what becomes of money that
//! comes late, and many at once. Their rules beside the turn of the month are tested beside the use cases.

use std::collections::BTreeSet;

use bursar_billing::finance::report;
use bursar_id::{OwnerId, Role};
use bursar_members::Standing;
use bursar_money::Credits;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{CancelAt, InvoiceLineKind, PaymentPurpose, PaymentState, SubscriptionState};
use bursar_proto::google::r#type::Money;
use bursar_proto::testing::v1 as testing;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, TestDb, audited, engines, id, refused, rounds};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::moving::{lots, moving, plan_of, subscription, the_end, told_since};
use crate::races::at_once;
use crate::words::{Under, buy, cancel, change_to, resume, set_seats, spend, subscribe};
use crate::world::{BUILT_IN, Person, World, until};

/// Beside Business, which costs 100 dollars for 1,500 credits and 10 people, and 10 dollars for 150 credits and one more.
const PLANS: &str = include_str!("plans.toml");

async fn selling(db: TestDb) -> World {
    World::selling(db, &format!("{BUILT_IN}{PLANS}")).await
}

/// An organization on Business since now, with its owner.
async fn on_business(world: &World, n: u64) -> (OwnerId, Person) {
    let (team, boss) = world.organization_with(n, "300").await;
    boss.subscribe(subscribe(team, "business")).await.expect("subscribed");
    (team, boss)
}

/// Half of the owner's period is over.
async fn half(world: &World, owner: OwnerId) {
    let end = the_end(&subscription(world, owner).await);
    world.passes(Span::from_micros(end.since(world.now()).as_micros() / 2).unwrap());
}

fn usd(cents: i64) -> Money {
    let nanos = i32::try_from(cents % 100).unwrap() * 10_000_000;
    Money { currency_code: "USD".to_owned(), units: cents / 100, nanos }
}

fn preview(owner: OwnerId, plan: &str, seats: u32) -> pb::PreviewChangeRequest {
    pb::PreviewChangeRequest { owner: owner.to_string(), plan_id: plan.to_owned(), seats, ..Default::default() }
}

async fn payments(world: &World, owner: OwnerId) -> Vec<pb::Payment> {
    let list = pb::ListPaymentsRequest { owner: owner.to_string(), page_size: 1_000, ..Default::default() };
    world.operator().list_payments(list).await.expect("payments").payments
}

/// From now on the owner's subscription is paid with this.
async fn pays_with(world: &World, owner: OwnerId, method: &str) {
    let sql = format!("UPDATE subscriptions SET payment_method = '{method}' WHERE owner = '{owner}'");
    assert_eq!(world.by_hand(&sql).await.unwrap(), 1);
}

async fn settle(world: &World, payment: &pb::Payment, outcome: testing::Outcome) -> pb::Payment {
    let (payment_id, outcome) = (payment.id.clone(), outcome.into());
    let request = testing::SettleRequest { payment_id, outcome, amount: None };
    world.nobody().0.sandbox().settle(request).await.unwrap().into_inner().payment.expect("a payment")
}

/// The lines of an invoice: kind, description, quantity, amount in cents.
async fn invoice(world: &World, owner: OwnerId, payment: &pb::Payment) -> Vec<(InvoiceLineKind, String, u32, i64)> {
    let get = pb::GetInvoiceRequest { owner: owner.to_string(), invoice_id: payment.invoice_id.clone() };
    let found = world.operator().get_invoice(get).await.expect("an invoice").invoice.expect("an invoice");
    assert_eq!((&found.total, &found.payment_id), (&payment.amount, &payment.id));
    let cents = |money: &Option<Money>| {
        let money = money.as_ref().unwrap();
        money.units * 100 + i64::from(money.nanos / 10_000_000)
    };
    let lines: Vec<_> =
        found.lines.iter().map(|it| (it.kind(), it.description.clone(), it.quantity, cents(&it.amount))).collect();
    assert_eq!(lines.iter().map(|it| it.3).sum::<i64>(), cents(&found.subtotal), "{lines:?}");
    lines
}

/// How many cents were paid for the owner's subscription and not given back.
async fn kept(world: &World, owner: OwnerId) -> i64 {
    let cents =
        |money: &Option<Money>| money.as_ref().map_or(0, |it| it.units * 100 + i64::from(it.nanos / 10_000_000));
    let all = payments(world, owner).await;
    let ours = all.iter().filter(|it| it.state() == PaymentState::Paid && it.purpose() != PaymentPurpose::Purchase);
    ours.map(|it| cents(&it.amount) - cents(&it.refunded)).sum()
}

engines! {
    async fn a_change_that_a_dispute_has_taken_comes_back_where_the_month_moved(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let (team, _) = world.organization_with(2, "1").await;
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        let added = ana.set_seats(set_seats(ana.owner, 14)).await.unwrap().payment.unwrap();
        settle(&world, &added, testing::Outcome::Disputed).await;
        assert_eq!(world.available(ana.owner).await, "1500", "nothing is left of its lot");
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.unwrap();
        assert_eq!(world.available(team).await, "1501");
        settle(&world, &added, testing::Outcome::DisputeWon).await;
        assert_eq!((world.available(team).await, world.available(ana.owner).await), ("2101".to_owned(), "0".to_owned()));
        for owner in [ana.owner, team] {
            world.audit(owner).await;
        }
    }

    async fn what_is_shown_beforehand_is_what_is_paid_and_given(db: TestDb) {
        let world = selling(db).await;
        let (team, boss) = on_business(&world, 1).await;
        boss.purchase_pack(buy(team, "starter")).await.unwrap();
        half(&world, team).await;
        let mut cursor = String::new();
        told_since(&world, &mut cursor).await;
        let shown = boss.preview_change(preview(team, "pro", 22)).await.unwrap();
        let begun = subscription(&world, team).await;
        // 224 dollars more a month, 24 of them for two seats: half of that.
        let expected = pb::PreviewChangeResponse {
            due: Some(usd(11_200)),
            tax: Some(usd(0)),
            total: Some(usd(11_200)),
            credits: "2000".to_owned(),
            effective_at: Some(bursar_rpc::convert::to_timestamp(world.now())),
            next_price: Some(usd(32_400)),
            next_credits: "5500".to_owned(),
            seats: 22,
            waived: Some(usd(0)),
        };
        assert_eq!(shown, expected);
        assert_eq!(subscription(&world, team).await, begun, "nothing has changed");
        let request = pb::ChangePlanRequest { seats: 22, expected_due: shown.due, ..change_to(team, "pro") };
        let changed = boss.change_plan(request).await.unwrap();
        let (is, payment) = (changed.subscription.unwrap(), changed.payment.unwrap());
        let expected = pb::Subscription {
            plan_id: "pro".to_owned(),
            price: Some(usd(32_400)),
            credits: "5500".to_owned(),
            seats: 22,
            ..begun.clone()
        };
        assert_eq!((&is, &subscription(&world, team).await), (&expected, &expected));
        assert_eq!((payment.purpose(), payment.state(), payment.amount.clone()), (PaymentPurpose::Change, PaymentState::Paid, Some(usd(11_200))));
        assert_eq!(payment.subscription_id, is.id);
        let lines = invoice(&world, team, &payment).await;
        let seats = (InvoiceLineKind::Seats, "2 more seats".to_owned(), 1, 1_200);
        assert_eq!(lines, [(InvoiceLineKind::Subscription, "Change to Pro".to_owned(), 1, 10_000), seats]);
        let end = the_end(&begun).as_unix_secs();
        let [goodwill, pack] = ["Goodwill 300 (300+0) never", "Pack 300 (300+0) never"].map(str::to_owned);
        let expected = [goodwill, format!("Allowance 1500 (1500+0) {end}"), pack, format!("Allowance 2000 (2000+0) {end}")];
        assert_eq!(lots(&world, team).await, expected);
        assert_eq!(plan_of(&world, team).await, ("pro".to_owned(), 22));
        let told = [(team.to_string(), "pro".to_owned(), "ACTIVE".to_owned())];
        assert_eq!(told_since(&world, &mut cursor).await, told);

        // The next month costs what was shown, seat by seat.
        world.passes(the_end(&begun).since(world.now()));
        boss.charged(spend(team, "1")).await;
        let renewed = payments(&world, team).await.remove(0);
        let seats = (InvoiceLineKind::Seats, "Extra seats".to_owned(), 2, 2_400);
        let plan = (InvoiceLineKind::Subscription, "Pro".to_owned(), 1, 30_000);
        assert_eq!((renewed.purpose(), invoice(&world, team, &renewed).await), (PaymentPurpose::Renewal, vec![plan, seats]));
        assert_eq!(world.available(team).await, "6099");
        world.audit(team).await;
    }

    async fn seats_alone_and_what_costs_less_have_no_line_for_the_plan_or_none_at_all(db: TestDb) {
        let world = selling(db).await;
        let (team, boss) = on_business(&world, 1).await;
        half(&world, team).await;
        let one = boss.set_seats(set_seats(team, 11)).await.unwrap();
        let line = (InvoiceLineKind::Seats, "1 more seat".to_owned(), 1, 500);
        assert_eq!(invoice(&world, team, &one.payment.unwrap()).await, [line]);
        assert_eq!((plan_of(&world, team).await, world.available(team).await), (("business".to_owned(), 11), "1875".to_owned()));
        let fewer = boss.set_seats(set_seats(team, 10)).await.unwrap();
        let waits = fewer.subscription.as_ref().unwrap().pending_change.clone().unwrap();
        let end = fewer.subscription.as_ref().unwrap().current_period_end;
        let expected = pb::PendingChange { plan_id: "business".into(), seats: 10, price: Some(usd(10_000)), credits: "1500".into(), effective_at: end, interval: pb::PlanInterval::Month.into(), ..Default::default() };
        assert_eq!((fewer.payment, waits), (None, expected));
        assert_eq!(plan_of(&world, team).await, ("business".to_owned(), 11), "until the period ends");
        let mut cursor = String::new();
        told_since(&world, &mut cursor).await;
        world.passes(the_end(&subscription(&world, team).await).since(world.now()));
        boss.charged(spend(team, "1")).await;
        assert_eq!(plan_of(&world, team).await, ("business".to_owned(), 10));
        let told = [(team.to_string(), "business".to_owned(), "ACTIVE".to_owned())];
        assert_eq!((told_since(&world, &mut cursor).await, subscription(&world, team).await.pending_change), (told.to_vec(), None));
        world.audit(team).await;
    }

    async fn something_else_is_due_than_expected_is_refused_with_what_it_is(db: TestDb) {
        let world = selling(db).await;
        let (team, boss) = on_business(&world, 1).await;
        half(&world, team).await;
        let expecting = |due: Option<Money>| pb::ChangePlanRequest { expected_due: due, ..change_to(team, "pro") };
        let euros = Money { currency_code: "EUR".to_owned(), ..usd(10_000) };
        for due in [usd(9_999), usd(10_001), usd(0), euros] {
            let refusal = refused(boss.change_plan(expecting(Some(due.clone())).under("r")).await, Code::Aborted, "DUE_CHANGED");
            assert_eq!(refusal.metadata["due"], "100.00 USD");
            let asked = pb::PreviewChangeRequest { expected_due: Some(due), ..preview(team, "pro", 0) };
            refused(boss.preview_change(asked).await, Code::Aborted, "DUE_CHANGED");
        }
        let cheaper = pb::ChangePlanRequest { expected_due: Some(usd(1)), ..change_to(team, "solo") };
        let refusal = refused(boss.change_plan(cheaper).await, Code::Aborted, "DUE_CHANGED");
        assert_eq!(refusal.metadata["due"], "0.00 USD");
        let seats = pb::SetSeatsRequest { expected_due: Some(usd(501)), ..set_seats(team, 11) };
        refused(boss.set_seats(seats).await, Code::Aborted, "DUE_CHANGED");
        assert_eq!(payments(&world, team).await.len(), 1, "nobody was asked for money");
        boss.change_plan(expecting(Some(usd(10_000))).under("r")).await.unwrap();
        assert_eq!(plan_of(&world, team).await.0, "pro");
        // A minute later less is due, and the answer is the first one.
        world.passes(Span::HOUR);
        let again = boss.change_plan(expecting(Some(usd(10_000))).under("r")).await.unwrap();
        assert_eq!(again.payment.unwrap().amount, Some(usd(10_000)));
    }

    async fn the_customer_is_told_what_to_do_and_it_changes_when_the_money_comes(db: TestDb) {
        let world = selling(db).await;
        let (team, boss) = on_business(&world, 1).await;
        pays_with(&world, team, "sandbox_requires_action").await;
        let before = subscription(&world, team).await;
        let mut cursor = String::new();
        told_since(&world, &mut cursor).await;
        let open = boss.set_seats(set_seats(team, 12).under("r")).await.unwrap();
        let payment = open.payment.clone().unwrap();
        assert_eq!((open.subscription.as_ref(), payment.state()), (Some(&before), PaymentState::RequiresAction));
        assert!(payment.action.as_ref().unwrap().url.starts_with("https://"));
        assert_eq!((subscription(&world, team).await, told_since(&world, &mut cursor).await), (before.clone(), vec![]));
        let paid = settle(&world, &payment, testing::Outcome::Paid).await;
        assert_eq!((paid.state(), paid.refunded.clone()), (PaymentState::Paid, Some(usd(0))));
        assert_eq!((plan_of(&world, team).await.1, told_since(&world, &mut cursor).await.len()), (12, 1));
        let again = boss.set_seats(set_seats(team, 12).under("r")).await.unwrap();
        assert_eq!((again.subscription, again.payment), (open.subscription, Some(paid)), "the payment as it is now");
        refused(boss.set_seats(set_seats(team, 13).under("r")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");

        // Whoever asks for another change waits for this one no more; and nobody does after the period has turned.
        let first = boss.set_seats(set_seats(team, 13)).await.unwrap().payment.unwrap();
        let second = boss.set_seats(set_seats(team, 14)).await.unwrap().payment.unwrap();
        assert_eq!(payments(&world, team).await.iter().find(|it| it.id == first.id).unwrap().state(), PaymentState::Canceled);
        pays_with(&world, team, "sandbox_ok").await;
        world.passes(the_end(&before).since(world.now()));
        boss.charged(spend(team, "1")).await;
        for late in [first, second] {
            let late = settle(&world, &late, testing::Outcome::Paid).await;
            assert_eq!((late.state(), late.refunded, late.lot_id), (PaymentState::Paid, late.amount, String::new()));
        }
        assert_eq!(plan_of(&world, team).await.1, 12);
        world.audit(team).await;
    }

    async fn a_declined_change_changes_nothing_and_is_tried_again_under_its_id(db: TestDb) {
        let world = selling(db).await;
        let (team, boss) = on_business(&world, 1).await;
        pays_with(&world, team, "sandbox_declined").await;
        let before = (subscription(&world, team).await, lots(&world, team).await);
        refused(boss.change_plan(change_to(team, "pro").under("r")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        refused(boss.set_seats(set_seats(team, 11).under("s")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        assert_eq!((subscription(&world, team).await, lots(&world, team).await), before);
        let declined = payments(&world, team).await.remove(0);
        pays_with(&world, team, "sandbox_ok").await;
        boss.change_plan(change_to(team, "pro").under("r")).await.unwrap();
        let late = settle(&world, &declined, testing::Outcome::Paid).await;
        assert_eq!((late.purpose(), late.refunded), (PaymentPurpose::Change, late.amount), "the other one has changed it");
        assert_eq!(plan_of(&world, team).await, ("pro".to_owned(), 20));
        world.audit(team).await;
    }

    async fn they_are_refused_in_the_same_order(db: TestDb) {
        let world = selling(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        world.hears(team, id(20), Some(Role::Admin), 1).await;
        world.hears(team, id(30), Some(Role::Member), 1).await;
        let (admin, member) = (world.member(20, team, Role::Admin, 1), world.member(30, team, Role::Member, 1));
        let stranger = world.person(90);
        let bad = || pb::ChangePlanRequest { seats: 100_001, ..change_to(team, "free") }.under(&"x".repeat(129));
        let no_seats = || set_seats(team, 0).under(&"x".repeat(129));
        let denied = Code::PermissionDenied;
        refused(stranger.change_plan(bad()).await, denied, "NOT_A_MEMBER");
        refused(stranger.set_seats(no_seats()).await, denied, "NOT_A_MEMBER");
        refused(stranger.preview_change(preview(team, "free", 0)).await, denied, "NOT_A_MEMBER");
        refused(member.change_plan(bad()).await, denied, "ROLE_NOT_ALLOWED");
        refused(member.set_seats(no_seats()).await, denied, "ROLE_NOT_ALLOWED");
        refused(member.preview_change(preview(team, "free", 0)).await, denied, "ROLE_NOT_ALLOWED");
        refused(world.product().change_plan(bad()).await, denied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(world.product().set_seats(no_seats()).await, denied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(world.product().preview_change(preview(team, "", 0)).await, denied, "SERVICE_ROLE_NOT_ALLOWED");
        let invalid = Code::InvalidArgument;
        assert_eq!(refused(admin.change_plan(bad()).await, invalid, "INVALID_FIELDS").fields, ["plan_id", "request_id", "seats"]);
        assert_eq!(refused(admin.set_seats(no_seats()).await, invalid, "INVALID_FIELDS").fields, ["request_id", "seats"]);
        assert_eq!(refused(admin.preview_change(preview(team, "free", 0)).await, invalid, "INVALID_FIELDS").fields, ["plan_id"]);
        let nobodys = pb::ChangePlanRequest { owner: "nobody".to_owned(), ..change_to(team, "pro") };
        assert_eq!(refused(admin.change_plan(nobodys).await, invalid, "INVALID_FIELDS").fields, ["owner"]);
        let failed = Code::FailedPrecondition;
        refused(admin.change_plan(change_to(team, "golden").under("r")).await, Code::NotFound, "PLAN_NOT_FOUND");
        refused(admin.change_plan(change_to(team, "enterprise").under("r")).await, failed, "PLAN_NOT_FOR_SALE");
        refused(admin.change_plan(change_to(team, "pro").under("r")).await, failed, "NO_SUBSCRIPTION");
        refused(admin.set_seats(set_seats(team, 11).under("s")).await, failed, "NO_SUBSCRIPTION");
        refused(admin.preview_change(preview(team, "pro", 0)).await, failed, "NO_SUBSCRIPTION");
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        let few = pb::ChangePlanRequest { seats: 19, ..change_to(team, "pro") };
        assert_eq!(refused(admin.change_plan(few).await, invalid, "INVALID_FIELDS").fields, ["seats"]);
        assert_eq!(refused(admin.set_seats(set_seats(team, 9)).await, invalid, "INVALID_FIELDS").fields, ["seats"]);
        let more = pb::ChangePlanRequest { seats: 2, ..change_to(team, "solo") };
        refused(admin.change_plan(more).await, failed, "SEATS_NOT_FOR_SALE");
        admin.cancel(cancel(team, CancelAt::PeriodEnd)).await.unwrap();
        refused(admin.change_plan(change_to(team, "pro")).await, failed, "SUBSCRIPTION_CANCELED");
        refused(admin.set_seats(set_seats(team, 10)).await, failed, "SUBSCRIPTION_CANCELED");
        admin.resume(resume(team)).await.unwrap();
        // A refusal has burned no id; a repetition gets the first answer, whatever was done since.
        let first = admin.change_plan(change_to(team, "pro").under("r")).await.unwrap();
        admin.set_seats(set_seats(team, 21).under("s")).await.unwrap();
        assert_eq!(admin.change_plan(change_to(team, "pro").under("r")).await.unwrap(), first);
        assert_eq!(plan_of(&world, team).await, ("pro".to_owned(), 21), "it was not done again");
        refused(admin.change_plan(change_to(team, "solo").under("r")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        refused(admin.change_plan(change_to(team, "solo").under("s")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        world.operator().change_plan(change_to(team, "solo")).await.expect("an operator may");

        let rows = audited(&world.store).await;
        let about = |rpc: &str| {
            let of = rows.iter().filter(|row| row.method.ends_with(rpc));
            of.map(|row| row.reason.clone().unwrap_or_else(|| row.outcome.to_string())).collect::<BTreeSet<_>>()
        };
        let refusals = ["INVALID_FIELDS", "NO_SUBSCRIPTION", "ROLE_NOT_ALLOWED", "SUBSCRIPTION_CANCELED"];
        let others = ["PLAN_NOT_FOUND", "PLAN_NOT_FOR_SALE", "REQUEST_ID_REUSED", "SEATS_NOT_FOR_SALE"];
        let both = |more: &[&str]| ["DONE"].iter().chain(&refusals).chain(more).map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!((about("/ChangePlan"), about("/SetSeats")), (both(&others), both(&[])));
        assert_eq!(about("/PreviewChange"), BTreeSet::from(["ROLE_NOT_ALLOWED".to_owned()]), "only who may not look");
        let done: Vec<_> = rows.iter().filter(|row| row.method.ends_with("/SetSeats") && row.reason.is_none()).collect();
        assert_eq!(done[0].target, Some(subscription(&world, team).await.id));
        for (standing, version, reason) in [(Standing::Suspended, 1, "ORGANIZATION_SUSPENDED"), (Standing::Deleted, 2, "ORGANIZATION_DELETED")] {
            world.stands(team, standing, version).await;
            refused(world.operator().change_plan(change_to(team, "pro")).await, denied, reason);
            refused(world.operator().set_seats(set_seats(team, 30)).await, denied, reason);
            refused(world.operator().preview_change(preview(team, "pro", 0)).await, denied, reason);
        }
    }

    async fn what_is_past_due_is_paid_first(db: TestDb) {
        let world = selling(db).await;
        let (team, boss) = on_business(&world, 1).await;
        pays_with(&world, team, "sandbox_declined").await;
        world.passes(the_end(&subscription(&world, team).await).since(world.now()));
        let past_due = async || subscription(&world, team).await.state() == SubscriptionState::PastDue;
        until("the renewal is declined", past_due).await;
        for (plan, seats) in [("pro", 0), ("solo", 0), ("business", 0)] {
            let request = pb::ChangePlanRequest { seats, ..change_to(team, plan) };
            refused(boss.change_plan(request).await, Code::FailedPrecondition, "SUBSCRIPTION_PAST_DUE");
        }
        refused(boss.preview_change(preview(team, "", 11)).await, Code::FailedPrecondition, "SUBSCRIPTION_PAST_DUE");
        assert_eq!(plan_of(&world, team).await, ("business".to_owned(), 10));
    }

    async fn whoever_changes_it_at_the_boundary_is_told_to_come_again_for_a_second_at_most(db: TestDb) {
        let world = selling(db).await;
        let (team, boss) = on_business(&world, 1).await;
        pays_with(&world, team, "sandbox_pending").await;
        world.passes(the_end(&subscription(&world, team).await).since(world.now()));
        for (code, reason, again) in [
            (Code::Unavailable, "RENEWAL_DUE", true),
            (Code::FailedPrecondition, "SUBSCRIPTION_PAST_DUE", false),
        ] {
            let told = [
                refused(boss.change_plan(change_to(team, "pro")).await, code, reason),
                refused(boss.set_seats(set_seats(team, 11)).await, code, reason),
                refused(boss.preview_change(preview(team, "", 11)).await, code, reason),
            ];
            assert!(told.iter().all(|it| it.retryable == again), "{told:?}");
            world.passes(Span::SECOND);
        }
    }

    async fn a_month_with_changes_adds_up_for_finance(db: TestDb) {
        let world = selling(db).await;
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        half(&world, ana.owner).await;
        ana.change_plan(change_to(ana.owner, "pro")).await.unwrap();
        ana.charged(spend(ana.owner, "1600")).await;
        let first = world.now().start_of_month();
        let month = (first, first.add_months_anchored(1));
        let mut csv = Vec::new();
        let told = report(&world.store, Some(ana.owner), (month, month.1), &mut csv).await.unwrap();
        // 1,500 credits for 100 dollars and 2,000 for another 100: 1,600 are spent, the older first.
        let sums = told.sums["USD"];
        assert_eq!((sums.earned, sums.left_value, sums.left), (105_000_000, 95_000_000, 1_900_000_000), "{}", String::from_utf8_lossy(&csv));
        assert_eq!((told.lots, told.differences), (2, Vec::<String>::new()));
        let payment = payments(&world, ana.owner).await.remove(0);
        let refund = pb::RefundPaymentRequest { owner: ana.owner.to_string(), payment_id: payment.id, ..Default::default() };
        world.operator().refund_payment(refund).await.unwrap();
        assert_eq!(world.available(ana.owner).await, "0");
        assert_eq!(plan_of(&world, ana.owner).await.0, "pro", "what was refunded changes no plan");
        world.audit(ana.owner).await;
    }

    async fn sixty_four_racers_on_one_change_make_it_once(db: TestDb) {
        let world = selling(db).await;
        for round in 1..=rounds() {
            let (team, boss) = on_business(&world, round).await;
            let answers = at_once((0..64).map(|_| {
                let boss = boss.clone();
                async move { boss.change_plan(change_to(team, "pro").under("r")).await.expect("changed") }
            }))
            .await;
            assert!(answers.iter().all(|it| *it == answers[0]), "64 equal answers");
            assert_eq!((payments(&world, team).await.len(), kept(&world, team).await), (2, 30_000));
            assert_eq!((plan_of(&world, team).await.0, world.available(team).await), ("pro".to_owned(), "5800".to_owned()));
            world.audit(team).await;
        }
    }

    async fn of_changes_at_once_each_cent_is_for_what_is_there(db: TestDb) {
        let world = selling(db).await;
        for round in 1..=3 {
            let (team, boss) = on_business(&world, round).await;
            let outcomes = at_once((0..64_u32).map(|n| {
                let boss = boss.clone();
                async move {
                    match n % 4 {
                        0 => boss.change_plan(change_to(team, "pro")).await.map(drop),
                        1 => boss.set_seats(set_seats(team, 21 + n % 8)).await.map(drop),
                        2 => boss.change_plan(change_to(team, "solo")).await.map(drop),
                        _ => boss.charge(spend(team, "1")).await.map(drop),
                    }
                }
            }))
            .await;
            let known = ["CHANGE_OVERTAKEN"];
            let reasons: BTreeSet<_> = outcomes.iter().filter_map(|it| it.as_ref().err()).map(|it| Refusal::of(it).reason).collect();
            assert!(reasons.iter().all(|it| known.contains(&it.as_str())), "{reasons:?}");
            // At the first instant of a month what was paid for it is its price.
            let is = subscription(&world, team).await;
            let price = is.price.unwrap().units * 100;
            until("what was paid for nothing goes back", async || kept(&world, team).await == price).await;
            let all = lots(&world, team).await;
            let allowances = all.iter().filter(|it| it.starts_with("Allowance")).filter_map(|it| it.split(' ').nth(1));
            let granted = Credits::checked_sum(allowances.map(|it| it.parse().unwrap())).unwrap();
            assert_eq!(granted.to_string(), is.credits);
            world.audit(team).await;
        }
    }

    async fn changing_cancelling_and_renewing_at_once_pay_for_what_is_given(db: TestDb) {
        let world = selling(db).await;
        for round in 1..=4_u64 {
            let (team, boss) = on_business(&world, round).await;
            let end = the_end(&subscription(&world, team).await);
            // Racers are there before, at and after the turn of the month.
            world.passes(end.since(world.now()).saturating_sub(Span::HOUR));
            let outcomes: Vec<Result<(), Status>> = at_once((0..64_u64).map(|n| {
                let (boss, clock) = (boss.clone(), world.clock.clone());
                async move {
                    match (n + round) % 6 {
                        _ if n == 20 => { clock.advance(Span::HOUR).unwrap(); Ok(()) }
                        0 => boss.change_plan(change_to(team, "pro")).await.map(drop),
                        1 => boss.set_seats(set_seats(team, 11)).await.map(drop),
                        2 => boss.change_plan(change_to(team, "solo")).await.map(drop),
                        3 if n.is_multiple_of(4) => boss.cancel(cancel(team, CancelAt::PeriodEnd)).await.map(drop),
                        3 => boss.resume(resume(team)).await.map(drop),
                        _ => boss.charge(spend(team, "1")).await.map(drop),
                    }
                }
            }))
            .await;
            let known = ["CHANGE_OVERTAKEN", "SUBSCRIPTION_CANCELED", "NO_SUBSCRIPTION", "NOT_CANCELED", "RENEWAL_DUE", "INVALID_FIELDS", "SEATS_NOT_FOR_SALE"];
            let reasons: BTreeSet<_> = outcomes.iter().filter_map(|it| it.as_ref().err()).map(|it| Refusal::of(it).reason).collect();
            assert!(reasons.iter().all(|it| known.contains(&it.as_str())), "{reasons:?}");
            let stands = async || {
                let it = subscription(&world, team).await;
                it.state() == SubscriptionState::Ended || the_end(&it) > world.now()
            };
            until("it has ended, or is renewed", stands).await;
            // Whatever was paid was delivered with a lot or an invoice, or went back.
            let settled = async || {
                let all = payments(&world, team).await;
                all.iter().filter(|it| it.state() == PaymentState::Paid).all(|it| it.invoice_id.is_empty() == (it.refunded == it.amount))
            };
            until("what was paid for nothing goes back", settled).await;
            world.audit(team).await;
        }
    }
}
