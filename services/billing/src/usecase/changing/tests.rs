//! Changing subscriptions: what is due and when, what waits, what overtakes it, and what becomes of its money. On both engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Asked, Call, Caller, Permission};
use bursar_testkit::{TestDb, at, credits, engines, id, organization, personal};
use bursar_time::Span;

use super::Change;
use crate::domain::{ChangeError, News, PaymentState, Refusal, SubscriptionState, Terms};
use crate::error::Error;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::{cancel, resume};
use crate::usecase::cashier::Due;
use crate::usecase::shelf::{now, payment, round};
use crate::usecase::shop::Shop;

/// A month of 31 days begins; half of it is over on the 16th at noon.
pub(super) const BEGIN: &str = "2026-01-01T00:00:00Z";
const HALF: &str = "2026-01-16T12:00:00Z";
pub(super) const NEXT: &str = "2026-02-01T00:00:00Z";

/// What is told, but for invoices, each of which is told of.
const BUT_INVOICES: &str = "outbox WHERE type <> 'invoice.issued'";

/// Beside Business, which costs 100 dollars for 1,500 credits and 10 people, and 10 dollars for 150 credits and one more.
pub(super) const PLANS: &str = include_str!("../../../tests/billing/plans.toml");

pub(super) fn wanted(plan: &str, seats: u32) -> Change {
    let plan = (!plan.is_empty()).then(|| plan.to_owned());
    Change { plan, seats: (seats > 0).then_some(seats), expected: None }
}

/// Changes the plan (empty: the present one) and the seats (0: as the plan says), under a request id.
pub(super) async fn change_under(
    shop: &Shop,
    owner: OwnerId,
    (plan, seats): (&str, u32),
    request_id: &str,
) -> Result<pb::ChangePlanResponse, Error> {
    let body =
        pb::ChangePlanRequest { owner: owner.to_string(), plan_id: plan.to_owned(), seats, ..Default::default() };
    let call =
        Call::new(Caller::operator(Permission::ManageBilling), "bursar.billing.v1.SubscriptionService/ChangePlan");
    let asked = Asked::read(call, request_id, &body, |_, _| Some(wanted(plan, seats)));
    Ok(shop.subscriptions.change(owner, &asked).await?.message()?)
}

pub(in crate::usecase) async fn change(
    shop: &Shop,
    owner: OwnerId,
    plan: &str,
    seats: u32,
) -> Result<pb::ChangePlanResponse, Error> {
    change_under(shop, owner, (plan, seats), "").await
}

/// Plan, seats and price, and the same of what waits.
pub(super) async fn stands(shop: &Shop, owner: OwnerId) -> (String, Option<String>) {
    let it = now(shop, owner).await;
    let line = |it: &Terms| format!("{} {} {} {}", it.plan, it.seats, it.price, it.credits);
    (line(&it.terms()), it.pending.as_ref().map(line))
}

fn paid_by(answer: &pb::ChangePlanResponse) -> PaymentId {
    answer.payment.as_ref().unwrap().id.parse().unwrap()
}

/// All of it went back, and nothing came of it.
pub(super) async fn assert_returned(shop: &Shop, id: PaymentId) {
    let it = payment(shop, id).await;
    assert_eq!((it.state, it.returned, it.refunded), (PaymentState::Paid, true, it.amount));
    assert_eq!((it.fulfilled_at, it.lot, it.invoice), (None, None, None));
}

/// A person with a pack, on Business since the month began.
pub(super) async fn subscribed(db: &TestDb, owner: OwnerId) -> Shop {
    let shop = Shop::selling(db, BEGIN, PLANS).await;
    shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
    shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
    shop
}

engines! {
    async fn what_costs_more_happens_at_once_for_the_rest_of_the_month(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        shop.set(HALF);
        shop.spend(owner, "600").await;
        let answer = change(&shop, owner, "pro", 0).await.unwrap();
        let is = now(&shop, owner).await;
        assert_eq!(stands(&shop, owner).await, ("pro 20 300.00 USD 5500".to_owned(), None));
        assert_eq!((is.started_at, is.month.number, is.month.end), (at(BEGIN), 0, at(NEXT)), "the anchor stays");
        let it = payment(&shop, paid_by(&answer)).await;
        assert_eq!((it.state, it.amount.to_string(), it.bought.credits()), (PaymentState::Paid, "100.00 USD".into(), credits("2000")));
        let added = format!("ALLOWANCE 2000 (2000) {HALF} {NEXT}");
        assert_eq!(shop.lot_lines(owner).await[1..], [format!("ALLOWANCE 1500 (900) {BEGIN} {NEXT}"), added]);
        assert_eq!((it.lot, shop.available(owner).await), (Some(shop.lots(owner).await[2].id), credits("3200")));
        let entitled = shop.subscriptions.entitlements(owner).await.unwrap();
        assert_eq!((entitled.plan.as_str(), entitled.seats, entitled.features.single_sign_on), ("pro", 20, true));
        shop.set(NEXT);
        assert_eq!((round(&shop).await, shop.available(owner).await), ((1, 0, 0), credits("5800")));
        assert_eq!((now(&shop, owner).await.price.to_string(), shop.count("payments").await), ("300.00 USD".to_owned(), 4));
        shop.assert_sound(owner).await;
    }

    async fn what_costs_less_waits_for_the_next_month_and_can_be_replaced_and_taken_back(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        shop.set(HALF);
        let planned = change(&shop, owner, "solo", 0).await.unwrap();
        let waits = planned.subscription.unwrap().pending_change.unwrap();
        assert_eq!((&*waits.plan_id, waits.seats, &*waits.credits, waits.effective_at.unwrap().seconds), ("solo", 1, "100", at(NEXT).as_unix_secs()));
        let business = "business 10 100.00 USD 1500".to_owned();
        let solo = Some("solo 1 10.00 USD 100".to_owned());
        assert_eq!(stands(&shop, owner).await, (business.clone(), solo.clone()));
        assert_eq!((planned.payment, shop.count("payments").await, shop.lots(owner).await.len()), (None, 2, 2));
        assert_eq!(shop.subscriptions.entitlements(owner).await.unwrap().plan.as_str(), "business");
        change(&shop, owner, "business", 0).await.unwrap();
        assert_eq!(stands(&shop, owner).await, (business.clone(), None), "taken back");
        let changes = now(&shop, owner).await.changes;
        change(&shop, owner, "business", 10).await.unwrap();
        assert_eq!(now(&shop, owner).await.changes, changes, "to what there is it is no change");
        change(&shop, owner, "solo", 0).await.unwrap();
        change(&shop, owner, "", 12).await.unwrap();
        assert_eq!(stands(&shop, owner).await, ("business 12 120.00 USD 1800".to_owned(), None), "replaced by what costs more");
        change(&shop, owner, "", 11).await.unwrap();
        assert_eq!(stands(&shop, owner).await.1, Some("business 11 110.00 USD 1650".to_owned()));
        change(&shop, owner, "solo", 0).await.unwrap();
        assert_eq!(stands(&shop, owner).await.1, solo, "replaced by what costs less still");
        let before = shop.count(BUT_INVOICES).await;
        shop.set(NEXT);
        assert_eq!(round(&shop).await, (1, 0, 0));
        assert_eq!(stands(&shop, owner).await, ("solo 1 10.00 USD 100".to_owned(), None));
        assert_eq!((shop.count(BUT_INVOICES).await - before, shop.available(owner).await), (1, credits("400")), "and told");
        shop.set("2026-03-01T00:00:00Z");
        assert_eq!((round(&shop).await, shop.available(owner).await), ((1, 0, 0), credits("400")));
        shop.assert_sound(owner).await;
    }

    async fn seats_keep_the_price_they_were_sold_at(db: TestDb) {
        let owner = personal(1);
        let mut shop = subscribed(&db, owner).await;
        let [few, none, odd] = [("", 9), ("solo", 2), ("", 1)];
        for (plan, seats) in [few, odd] {
            let refused = change(&shop, owner, plan, seats).await;
            assert!(matches!(refused, Err(Error::NoSuchChange(_))), "{refused:?}");
        }
        let refused = change(&shop, owner, none.0, none.1).await;
        assert!(matches!(refused, Err(Error::NoSuchChange(ChangeError::NoSeats))), "{refused:?}");
        change(&shop, owner, "", 12).await.unwrap();
        assert_eq!(stands(&shop, owner).await.0, "business 12 120.00 USD 1800");
        let dearer = include_str!("../../../catalog.toml")
            .replace("price = \"100.00 USD\"\ncredits = \"1500\"\nseats = 10\nseat_price = \"10.00 USD\"", "price = \"150.00 USD\"\ncredits = \"1500\"\nseats = 8\nseat_price = \"50.00 USD\"");
        shop.sells(&dearer);
        change(&shop, owner, "", 13).await.unwrap();
        assert_eq!(stands(&shop, owner).await.0, "business 13 130.00 USD 1950", "what somebody has stays as it is");
        change(&shop, owner, "", 10).await.unwrap();
        shop.set(NEXT);
        round(&shop).await;
        assert_eq!(stands(&shop, owner).await.0, "business 10 100.00 USD 1500");
        change(&shop, owner, "", 11).await.unwrap();
        assert_eq!(stands(&shop, owner).await.0, "business 11 150.00 USD 1650", "and begins anew");
        shop.sells(&dearer.replace("USD", "EUR"));
        let refused = change(&shop, owner, "", 10).await;
        assert!(refused.is_ok(), "what one has already is changed by its own terms: {refused:?}");
        shop.sells(&dearer.replace("id = \"business\"", "id = \"team\"").replace("USD", "EUR"));
        let refused = change(&shop, owner, "team", 0).await;
        assert!(matches!(refused, Err(Error::NoSuchChange(ChangeError::Currency))), "{refused:?}");
        change(&shop, owner, "business", 12).await.expect("a plan that is sold no more goes on");
        shop.assert_sound(owner).await;
    }

    async fn seats_of_a_plan_that_is_paid_otherwise_by_now_are_not_sold(db: TestDb) {
        let owner = personal(1);
        let mut shop = subscribed(&db, owner).await;
        let by_the_year = include_str!("../../../catalog.toml").replace("id = \"business\"", "id = \"business\"\ninterval = \"year\"");
        shop.sells(&by_the_year);
        let refused = change(&shop, owner, "", 11).await;
        assert!(matches!(refused, Err(Error::NoSuchChange(ChangeError::NoSeats))), "a year's price for a month: {refused:?}");
    }

    async fn nothing_changes_until_it_is_paid(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        shop.set(HALF);
        let before = now(&shop, owner).await;
        shop.pays_with("sandbox_pending").await;
        let open = change_under(&shop, owner, ("pro", 0), "r1").await.unwrap();
        assert_eq!(stands(&shop, owner).await, ("business 10 100.00 USD 1500".to_owned(), None));
        assert_eq!(open.subscription.as_ref().unwrap().plan_id, "business");
        assert_eq!(change_under(&shop, owner, ("pro", 0), "r1").await.unwrap(), open, "one answer");
        assert_eq!(shop.count("payments").await, 3);
        let paid = shop.payments.told(paid_by(&open), News::Paid).await.unwrap();
        assert_eq!((paid.state, paid.returned), (PaymentState::Paid, false));
        assert_eq!((stands(&shop, owner).await.0, now(&shop, owner).await.changes), ("pro 20 300.00 USD 5500".to_owned(), before.changes + 1));
        shop.payments.told(paid_by(&open), News::Paid).await.unwrap();
        assert_eq!((shop.lots(owner).await.len(), shop.count("invoices").await), (3, 3), "once");
        shop.assert_sound(owner).await;
    }

    async fn a_declined_change_changes_nothing_and_frees_its_id(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        shop.pays_with("sandbox_declined").await;
        let before = now(&shop, owner).await;
        for _ in 0..2 {
            let declined = change_under(&shop, owner, ("pro", 0), "r1").await;
            assert!(matches!(declined, Err(Error::PaymentDeclined)), "{declined:?}");
        }
        assert_eq!((now(&shop, owner).await, shop.lots(owner).await.len()), (before, 2));
        shop.pays_with("sandbox_ok").await;
        change_under(&shop, owner, ("pro", 0), "r1").await.unwrap();
        assert_eq!(stands(&shop, owner).await.0, "pro 20 300.00 USD 5500");
        assert_eq!((shop.count("payments").await, shop.count("payments WHERE state = 'DECLINED'").await), (5, 2));
        shop.assert_sound(owner).await;
    }

    async fn money_that_comes_after_something_else_goes_back(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let [turned, marked, ended, replaced, planned] = [1, 2, 3, 4, 5].map(personal);
        let mut open = Vec::new();
        for owner in [turned, marked, ended, replaced, planned] {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
            shop.pays_with("sandbox_pending").await;
            open.push(paid_by(&change(&shop, owner, "pro", 0).await.unwrap()));
        }
        shop.pays_with("sandbox_ok").await;
        cancel(&shop, marked, CancelAt::PeriodEnd).await.unwrap();
        resume(&shop, marked).await.unwrap();
        cancel(&shop, ended, CancelAt::Now).await.unwrap();
        change(&shop, replaced, "", 11).await.unwrap();
        change(&shop, planned, "solo", 0).await.unwrap();
        let canceled = [payment(&shop, open[1]).await, payment(&shop, open[2]).await, payment(&shop, open[3]).await, payment(&shop, open[4]).await];
        assert!(canceled.iter().all(|it| it.state == PaymentState::Canceled), "{canceled:?}");
        shop.set(NEXT);
        round(&shop).await;
        for id in &open {
            shop.payments.told(*id, News::Paid).await.unwrap();
            assert_returned(&shop, *id).await;
        }
        assert_eq!(shop.count("jobs WHERE kind = 'billing.payment-refund'").await, 5);
        let plans = ["business 10 100.00 USD 1500", "business 10 100.00 USD 1500", "business 10 100.00 USD 1500", "business 11 110.00 USD 1650", "solo 1 10.00 USD 100"];
        for (owner, plan) in [turned, marked, ended, replaced, planned].into_iter().zip(plans) {
            assert_eq!(stands(&shop, owner).await.0, plan);
            shop.assert_sound(owner).await;
        }
    }

    async fn of_two_changes_that_are_paid_one_is_made_and_the_other_goes_back(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        let cashier = &shop.subscriptions.cashier;
        let ask = |plan: &'static str, request: &'static str| {
            let body = pb::ChangePlanRequest { plan_id: plan.to_owned(), ..Default::default() };
            let call = Call::new(Caller::operator(Permission::ManageBilling), "bursar.billing.v1.SubscriptionService/ChangePlan");
            Asked::read(call, request, &body, |_, _| Some(wanted(plan, if plan.is_empty() { 12 } else { 0 })))
        };
        let mut begun = Vec::new();
        for (plan, request) in [("pro", "a"), ("", "b")] {
            let payment = shop.subscriptions.begin_change(owner, &ask(plan, request)).await.unwrap();
            let heard = cashier.ask(&payment).await.unwrap();
            begun.push((payment.id, heard));
        }
        cashier.hear(begun[1].0, begun[1].1.as_ref()).await.unwrap();
        cashier.hear(begun[0].0, begun[0].1.as_ref()).await.unwrap();
        assert_eq!(stands(&shop, owner).await.0, "business 12 120.00 USD 1800");
        assert_returned(&shop, begun[0].0).await;
        let late = change_under(&shop, owner, ("pro", 0), "").await.unwrap();
        assert_eq!((payment(&shop, paid_by(&late)).await.amount.to_string(), stands(&shop, owner).await.0), ("180.00 USD".to_owned(), "pro 20 300.00 USD 5500".to_owned()));
        shop.assert_sound(owner).await;
    }

    async fn what_nobody_waited_for_is_finished_by_the_job(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        let call = Call::new(Caller::operator(Permission::ManageBilling), "bursar.billing.v1.SubscriptionService/ChangePlan");
        let body = pb::ChangePlanRequest { owner: owner.to_string(), plan_id: "pro".to_owned(), ..Default::default() };
        let asked = Asked::read(call, "r1", &body, |_, _| Some(wanted("pro", 0)));
        let begun = shop.subscriptions.begin_change(owner, &asked).await.unwrap();
        assert_eq!(begun.state, PaymentState::Created);
        shop.payments.cashier.look_after(Due { payment: begun.id }).await.unwrap();
        assert_eq!(stands(&shop, owner).await.0, "pro 20 300.00 USD 5500");
        let answer = change_under(&shop, owner, ("pro", 0), "r1").await.unwrap();
        assert_eq!((paid_by(&answer), answer.subscription.unwrap().plan_id), (begun.id, "pro".to_owned()), "it is its own");
        assert_eq!(shop.count("payments").await, 3);
        shop.assert_sound(owner).await;
    }

    async fn only_what_is_paid_for_and_goes_on_is_changed(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let [none, waits, marked, due, late, away] = [1, 2, 3, 4, 5, 6].map(personal);
        shop.subscribe(waits, "business", "sandbox_pending", "").await.unwrap();
        for owner in [marked, due, late, away] {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        }
        cancel(&shop, marked, CancelAt::PeriodEnd).await.unwrap();
        shop.stands(away, Standing::Suspended).await;
        for owner in [none, waits] {
            assert!(matches!(change(&shop, owner, "pro", 0).await, Err(Error::NoSubscription)));
        }
        for (plan, seats) in [("pro", 0), ("solo", 0), ("", 10), ("", 12)] {
            let refused = change(&shop, marked, plan, seats).await;
            assert!(matches!(refused, Err(Error::SubscriptionCanceled)), "{refused:?}");
            let refused = change(&shop, away, plan, seats).await;
            assert!(matches!(refused, Err(Error::Refused(Refusal::UserSuspended))), "{refused:?}");
        }
        for (plan, reason) in [("golden", "golden"), ("enterprise", "by contract"), ("free", "not for sale")] {
            let refused = change(&shop, due, plan, 0).await.unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        shop.pays_with("sandbox_declined").await;
        shop.set(NEXT);
        assert!(matches!(change(&shop, due, "solo", 0).await, Err(Error::SubscriptionPastDue)), "tried by who comes first");
        round(&shop).await;
        let refused = change(&shop, late, "solo", 0).await;
        assert!(matches!(refused, Err(Error::SubscriptionPastDue)), "{refused:?}");
        assert_eq!(now(&shop, late).await.state, SubscriptionState::PastDue);
    }

    async fn a_month_that_was_not_paid_is_tried_again_on_what_was_planned(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        change(&shop, owner, "solo", 0).await.unwrap();
        shop.pays_with("sandbox_declined").await;
        shop.set(NEXT);
        assert_eq!(round(&shop).await, (1, 0, 0));
        let past_due = now(&shop, owner).await;
        assert_eq!((past_due.state, past_due.plan.as_str(), past_due.pending.is_some()), (SubscriptionState::PastDue, "business", true));
        shop.pays_with("sandbox_ok").await;
        shop.set("2026-02-02T00:00:00Z");
        assert_eq!(round(&shop).await, (1, 0, 0));
        assert_eq!(stands(&shop, owner).await, ("solo 1 10.00 USD 100".to_owned(), None));
        assert_eq!(shop.lot_lines(owner).await[2], format!("ALLOWANCE 100 (100) {NEXT} 2026-03-01T00:00:00Z"));
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_is_paid_by_other_terms_goes_back_and_is_asked_for_anew(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        let from = now(&shop, owner).await;
        shop.set(NEXT);
        // By another replica's clock the month is not over yet.
        let dues = shop.subscriptions.cashier.dues(&from).await.unwrap();
        let heard = shop.subscriptions.cashier.ask(&dues).await.unwrap();
        shop.sql("UPDATE subscriptions SET changes = changes + 1, pending_change = '{\"plan\":\"solo\",\"price\":\"10.00 USD\",\"credits\":\"100\",\"seats\":1,\"extra\":null}'").await;
        shop.subscriptions.cashier.hear(dues.id, heard.as_ref()).await.unwrap();
        assert_returned(&shop, dues.id).await;
        assert_eq!(round(&shop).await, (1, 0, 0));
        assert_eq!(stands(&shop, owner).await, ("solo 1 10.00 USD 100".to_owned(), None));
        shop.assert_sound(owner).await;
    }

    async fn it_moves_with_what_waits_and_what_was_added(db: TestDb) {
        let (owner, team) = (personal(1), organization(1));
        let shop = subscribed(&db, owner).await;
        shop.set(HALF);
        let answer = change(&shop, owner, "", 14).await.unwrap();
        let added = paid_by(&answer);
        change(&shop, owner, "", 11).await.unwrap();
        shop.spend(owner, "1600").await;
        let before = stands(&shop, owner).await;
        shop.moves(id(1), id(1)).await;
        assert_eq!(stands(&shop, team).await, before);
        assert_eq!(before.1, Some("business 11 110.00 USD 1650".to_owned()));
        assert_eq!(shop.available(team).await, credits("200"), "300 were added, 100 of them are spent");
        let moved = payment(&shop, added).await.moved.unwrap();
        assert_eq!((moved.owner, moved.credits), (team, credits("200")));
        let dollars = payment(&shop, added).await.amount;
        shop.payments.told(added, News::Refunded(dollars)).await.unwrap();
        assert_eq!((shop.available(team).await, shop.available(owner).await), (credits("0"), credits("300")), "each owes its own");
        shop.set(NEXT);
        assert_eq!(round(&shop).await, (1, 0, 0));
        assert_eq!(stands(&shop, team).await, ("business 11 110.00 USD 1650".to_owned(), None));
        shop.assert_sound(owner).await;
        shop.assert_sound(team).await;
    }

    async fn what_is_canceled_and_resumed_keeps_what_waits(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        change(&shop, owner, "solo", 0).await.unwrap();
        let waits = stands(&shop, owner).await;
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        resume(&shop, owner).await.unwrap();
        assert_eq!(stands(&shop, owner).await, waits);
        shop.stands(owner, Standing::Deleted).await;
        shop.settles(owner).await;
        assert_eq!(now(&shop, owner).await.pending, None, "what is over becomes nothing");
        shop.stands(owner, Standing::Active).await;
        shop.settles(owner).await;
        assert_eq!(stands(&shop, owner).await, waits);
        shop.set(NEXT);
        assert_eq!((round(&shop).await, stands(&shop, owner).await.0), ((1, 0, 0), "solo 1 10.00 USD 100".to_owned()));
    }

    async fn what_comes_to_less_than_a_cent_is_made_for_nothing(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        shop.clock.set(at(NEXT).saturating_sub(Span::SECOND)).unwrap();
        let answer = change(&shop, owner, "", 11).await.unwrap();
        assert_eq!((answer.payment, shop.count("payments").await), (None, 2));
        assert_eq!(stands(&shop, owner).await, ("business 11 110.00 USD 1650".to_owned(), None));
        let lots = shop.lots(owner).await;
        assert_eq!((lots.len(), lots[2].granted, lots[2].terms.origin.payment), (3, credits("0.000056"), None));
        shop.assert_sound(owner).await;
    }

    async fn programs_that_do_not_know_of_it_begin_no_month_and_keep_no_money(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        assert_eq!(shop.renewed_by_an_older_program().await, 1, "what stays as it is they renew");
        change(&shop, owner, "solo", 0).await.unwrap();
        assert_eq!(shop.renewed_by_an_older_program().await, 0, "what waits for its change they do not, and see that they have not");
        shop.pays_with("sandbox_pending").await;
        let open = change(&shop, owner, "pro", 0).await.unwrap();
        // They know of no change: to them it is the month that has begun.
        shop.sql("UPDATE payments SET change = NULL WHERE change IS NOT NULL").await;
        shop.payments.told(paid_by(&open), News::Paid).await.unwrap();
        assert_returned(&shop, paid_by(&open)).await;
        assert_eq!(stands(&shop, owner).await.0, "business 10 100.00 USD 1500");
    }
}
