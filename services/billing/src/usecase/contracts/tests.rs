//! Contracts: what begins, changes or waits by them, at which time, how it is paid and what stays theirs. On both engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Asked, Call, Caller, Permission};
use bursar_testkit::{TestDb, at, credits, engines, id, organization, personal};
use bursar_time::Span;

use super::{Deal, Due, SetContract, begin};
use crate::domain::{
    ChangeError, Contract, ContractError, Features, News, Payment, PaymentState, Refusal, SubscriptionState,
};
use crate::error::Error;
use crate::payment::Payments;
use crate::store::{contracts::Waiting, payments};
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::changing::tests::change;
use crate::usecase::moving::Moved;
use crate::usecase::payments::RefundOrder;
use crate::usecase::refunds::Refund;
use crate::usecase::renewals;
use crate::usecase::shelf::now;
use crate::usecase::shop::Shop;

mod former;
mod moved;
mod open;

/// A month of 31 days begins; half of it is over on the 16th at noon.
const BEGIN: &str = "2026-01-01T00:00:00Z";
const HALF: &str = "2026-01-16T12:00:00Z";
const NEXT: &str = "2026-02-01T00:00:00Z";
const LATER: &str = "2026-02-10T00:00:00Z";
const MARCH: &str = "2026-03-01T00:00:00Z";

const SIGNING_ON: Features = Features { organizations: false, single_sign_on: true };

/// What an operator sets: 5,500 credits for thirty people, and single sign-on.
#[derive(Debug, Clone, Copy)]
pub(in crate::usecase) struct Wish {
    plan: &'static str,
    price: &'static str,
    features: Features,
    method: &'static str,
    starts_at: Option<&'static str>,
}

pub(in crate::usecase) fn costing(price: &'static str) -> Wish {
    Wish { plan: "enterprise", price, features: SIGNING_ON, method: "", starts_at: None }
}

impl Wish {
    fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub(in crate::usecase) fn from(self, at: &'static str) -> Self {
        Self { starts_at: Some(at), ..self }
    }
}

/// Sets it under a request id.
async fn set_under(shop: &Shop, owner: OwnerId, wish: Wish, id: &str) -> Result<pb::SetContractResponse, Error> {
    let Wish { plan, price, features, method, starts_at } = wish;
    let body = pb::SetContractRequest {
        owner: owner.to_string(),
        plan_id: plan.to_owned(),
        payment_method: format!("{price}/{method}/{starts_at:?}"),
        ..Default::default()
    };
    let contract = Contract {
        plan: plan.to_owned(),
        credits: credits("5500"),
        seats: 30,
        price: price.parse().unwrap(),
        features,
    };
    let method = Payments::Sandbox.method_of_contract(method).unwrap();
    let set = SetContract { deal: Deal::New(contract), method, starts_at: starts_at.map(at) };
    let call = Call::new(Caller::operator(Permission::Operate), "bursar.billing.v1.SubscriptionService/SetContract");
    let asked = Asked::read(call, id, &body, |_, _| Some(set));
    Ok(Box::pin(shop.subscriptions.set_contract(owner, &asked)).await?.message()?)
}

pub(in crate::usecase) async fn set(shop: &Shop, owner: OwnerId, wish: Wish) -> Result<pb::SetContractResponse, Error> {
    set_under(shop, owner, wish, "").await
}

/// Plan, seats, price and credits of what there is, and of what comes next.
async fn stands(shop: &Shop, owner: OwnerId) -> (String, String) {
    let it = now(shop, owner).await;
    let line = |it: crate::domain::Terms| format!("{} {} {} {}", it.plan, it.seats, it.price, it.credits);
    (line(it.terms()), line(it.next_terms()))
}

async fn features(shop: &Shop, owner: OwnerId) -> (String, Features) {
    let entitled = shop.subscriptions.entitlements(owner).await.unwrap();
    (entitled.plan.to_string(), entitled.features)
}

async fn payment(shop: &Shop, id: &str) -> Payment {
    shop.payments.known(id.parse().unwrap()).await.unwrap()
}

/// The payment of the owner's month.
async fn last(shop: &Shop, owner: OwnerId) -> Payment {
    payment(shop, &now(shop, owner).await.payment_reference).await
}

/// The owner's payments, the newest first.
async fn payments_of(shop: &Shop, owner: OwnerId) -> Vec<PaymentId> {
    let page = payments::page(&mut shop.db.read().await.unwrap(), owner, None, 100).await.unwrap();
    page.into_iter().map(|it| it.id).collect()
}

fn paid_by(answer: &pb::SetContractResponse) -> String {
    answer.payment.as_ref().unwrap().id.clone()
}

async fn waits(shop: &Shop, owner: OwnerId) -> Option<Waiting> {
    shop.subscriptions.contract_of(owner).await.unwrap()
}

fn due(owner: OwnerId, it: &Waiting) -> Due {
    Due { owner, id: it.id.clone(), attempts: it.attempts }
}

/// Does what the job does that is due for what waits.
async fn falls_due(shop: &Shop, owner: OwnerId) {
    let waits = waits(shop, owner).await.expect("a contract waits");
    Box::pin(begin(&shop.subscriptions, &due(owner, &waits))).await.unwrap();
}

async fn months_turn(shop: &Shop, now: &str) {
    shop.set(now);
    let round = renewals::round(&shop.subscriptions).await.unwrap();
    assert_eq!((round.failed, round.held), (0, 0));
}

/// A person on Business since the month began.
async fn subscribed(db: &TestDb, owner: OwnerId) -> Shop {
    let shop = Shop::open(db, BEGIN).await;
    shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
    shop
}

engines! {
    async fn it_begins_a_subscription_that_renews_by_invoice_whatever_the_catalog_says(db: TestDb) {
        let owner = personal(1);
        let mut shop = Shop::open(&db, BEGIN).await;
        let answer = set(&shop, owner, costing("900.00 USD")).await.unwrap();
        assert_eq!(stands(&shop, owner).await.0, "enterprise 30 900.00 USD 5500");
        let begun = now(&shop, owner).await;
        assert_eq!((begun.state, begun.features, begun.payment_method.as_str()), (SubscriptionState::Active, Some(SIGNING_ON), "invoice"));
        assert_eq!(features(&shop, owner).await, ("enterprise".to_owned(), SIGNING_ON), "not what the plan includes");
        let paid = payment(&shop, &paid_by(&answer)).await;
        assert_eq!((paid.state, paid.reference), (PaymentState::Paid, Some(format!("invoice:{}", paid.id))));
        assert_eq!(shop.lot_lines(owner).await, [format!("ALLOWANCE 5500 (5500) {BEGIN} {NEXT}")]);
        let said = answer.subscription.unwrap();
        assert_eq!((said.by_contract, said.features, said.contract), (true, vec![i32::from(pb::Feature::SingleSignOn)], None));
        let other = include_str!("../../../catalog.toml").replace("seats = 100\n", "seats = 3\n");
        let other = other.replace("features = [\"organizations\", \"single_sign_on\"]", "features = []");
        for (month, catalog) in [(NEXT, other.clone()), (MARCH, other.replace("\"enterprise\"", "\"grand\""))] {
            shop.sells(&catalog);
            months_turn(&shop, month).await;
            assert_eq!((stands(&shop, owner).await.0.as_str(), features(&shop, owner).await.1), ("enterprise 30 900.00 USD 5500", SIGNING_ON));
            let month = last(&shop, owner).await;
            assert_eq!((month.state, month.reference), (PaymentState::Paid, Some(format!("invoice:{}", month.id))));
            assert_eq!(shop.available(owner).await, credits("5500"));
        }
        assert_eq!((shop.count("payments").await, shop.count("invoices").await), (3, 3), "one each");
        shop.assert_sound(owner).await;
    }

    async fn a_refund_of_what_was_paid_by_invoice_moves_no_money(db: TestDb) {
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        let answer = set(&shop, owner, costing("900.00 USD")).await.unwrap();
        let paid = payment(&shop, &paid_by(&answer)).await;
        let order = RefundOrder { payment: paid.id, amount: None };
        let call = Call::new(Caller::operator(Permission::Operate), "bursar.billing.v1.PaymentService/RefundPayment");
        let asked = Asked::read(call, "", &(), |(), _| Some(order));
        shop.payments.refund(owner, &asked).await.unwrap();
        assert_eq!((last(&shop, owner).await.refunded, shop.available(owner).await), (paid.amount, credits("0")));
        assert_eq!(shop.count("invoices WHERE kind = 'CREDIT_NOTE'").await, 1);
        let refund = Refund { payment: paid.id, micros: paid.amount.micros(), key: "k".to_owned() };
        shop.payments.cashier.give_back(&refund).await.expect("there is nothing to give back at a provider");
        shop.assert_sound(owner).await;
    }

    async fn what_costs_more_is_the_subscription_at_once_for_the_rest_of_the_month(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        shop.set(HALF);
        let answer = set(&shop, owner, costing("300.00 USD")).await.unwrap();
        assert_eq!(stands(&shop, owner).await.0, "enterprise 30 300.00 USD 5500");
        let paid = payment(&shop, &paid_by(&answer)).await;
        assert_eq!((paid.amount.to_string(), paid.method.as_str(), paid.bought.credits()), ("100.00 USD".to_owned(), "sandbox_ok", credits("2000")));
        assert_eq!(features(&shop, owner).await, ("enterprise".to_owned(), SIGNING_ON));
        let more = change(&shop, owner, "", 31).await;
        assert!(matches!(more, Err(Error::NoSuchChange(ChangeError::NoSeats))), "{more:?}");
        // Back to what is for sale: with the next month, and nothing of the contract is left.
        change(&shop, owner, "business", 0).await.unwrap();
        months_turn(&shop, NEXT).await;
        assert_eq!(stands(&shop, owner).await.0, "business 10 100.00 USD 1500");
        let business = Features { organizations: true, single_sign_on: false };
        assert_eq!((now(&shop, owner).await.features, features(&shop, owner).await.1), (None, business));
        shop.assert_sound(owner).await;
    }

    async fn what_costs_no_more_waits_for_the_next_month_with_what_pays_it(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        shop.set(HALF);
        let answer = set(&shop, owner, costing("80.00 USD").by("invoice")).await.unwrap();
        let pending = answer.subscription.unwrap().pending_change.unwrap();
        assert_eq!((answer.payment, pending.plan_id.as_str(), pending.by_contract), (None, "enterprise", true));
        assert_eq!(pending.features, [i32::from(pb::Feature::SingleSignOn)]);
        assert_eq!((features(&shop, owner).await.0.as_str(), now(&shop, owner).await.payment_method.as_str()), ("business", "sandbox_ok"));
        months_turn(&shop, NEXT).await;
        assert_eq!(stands(&shop, owner).await.0, "enterprise 30 80.00 USD 5500");
        assert_eq!((last(&shop, owner).await.method.as_str(), now(&shop, owner).await.payment_method.as_str()), ("invoice", "invoice"));
        assert_eq!(features(&shop, owner).await.1, SIGNING_ON);
        // Nothing that is for sale is paid by invoice.
        let unpaid = change(&shop, owner, "business", 0).await;
        assert!(matches!(unpaid, Err(Error::PaymentMethodRequired)), "{unpaid:?}");
        let card = shop.saves(owner, "sandbox_ok").await;
        let paid = change(&shop, owner, "business", 0).await.unwrap().payment.unwrap();
        assert_eq!(payment(&shop, &paid.id).await.method, card.id.to_string());
        months_turn(&shop, MARCH).await;
        assert_eq!((stands(&shop, owner).await.0.as_str(), last(&shop, owner).await.reference.unwrap().starts_with("sandbox_")), ("business 10 100.00 USD 1500", true));
        shop.assert_sound(owner).await;
    }

    async fn what_begins_later_waits_for_its_time_and_only_the_last_that_was_set_begins(db: TestDb) {
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        let early = set(&shop, owner, costing("700.00 USD").from(NEXT)).await.unwrap();
        assert_eq!((early.subscription, early.payment), (None, None));
        let replaced = waits(&shop, owner).await.unwrap();
        set(&shop, owner, costing("900.00 USD").from(LATER)).await.unwrap();
        assert_eq!((shop.count("contracts").await, shop.count("jobs WHERE kind = 'billing.contract'").await), (1, 2));
        assert!(matches!(shop.subscriptions.get(owner).await, Err(Error::NotFound("subscription"))));
        shop.set(NEXT);
        Box::pin(begin(&shop.subscriptions, &due(owner, &replaced))).await.unwrap();
        assert_eq!((shop.count("payments").await, shop.count("contracts").await), (0, 1), "of one that was replaced nothing comes");
        shop.set(LATER);
        let last = waits(&shop, owner).await.unwrap();
        for _ in 0..2 {
            Box::pin(begin(&shop.subscriptions, &due(owner, &last))).await.unwrap();
        }
        assert_eq!((stands(&shop, owner).await.0.as_str(), now(&shop, owner).await.started_at), ("enterprise 30 900.00 USD 5500", at(LATER)));
        assert_eq!((shop.count("payments").await, shop.count("contracts").await, shop.lots(owner).await.len()), (1, 0, 1), "once");
        // Whatever is set for now takes the place of what waits.
        set(&shop, owner, costing("950.00 USD").from(MARCH)).await.unwrap();
        set(&shop, owner, costing("1000.00 USD")).await.unwrap();
        assert_eq!((stands(&shop, owner).await.0.as_str(), shop.count("contracts").await), ("enterprise 30 1000.00 USD 5500", 0));
        shop.assert_sound(owner).await;
    }

    async fn a_month_that_begins_with_it_is_paid_by_it_whoever_comes_first(db: TestDb) {
        let [job, renewal] = [1, 2].map(personal);
        let shop = subscribed(&db, job).await;
        shop.subscribe(renewal, "business", "sandbox_ok", "").await.unwrap();
        for owner in [job, renewal] {
            let answer = set(&shop, owner, costing("50.00 USD").from(NEXT)).await.unwrap();
            let said = answer.subscription.unwrap().contract.unwrap();
            assert_eq!(said.starts_at.unwrap().seconds, at(NEXT).as_unix_secs());
        }
        shop.set(NEXT);
        falls_due(&shop, job).await;
        months_turn(&shop, NEXT).await;
        for owner in [job, renewal] {
            assert_eq!(stands(&shop, owner).await.0, "enterprise 30 50.00 USD 5500");
            let month = last(&shop, owner).await;
            assert_eq!((month.amount.to_string(), month.method.as_str(), now(&shop, owner).await.month.number), ("50.00 USD".to_owned(), "sandbox_ok", 1));
            assert_eq!((features(&shop, owner).await.1, shop.available(owner).await), (SIGNING_ON, credits("5500")));
            shop.assert_sound(owner).await;
        }
        assert_eq!((shop.count("contracts").await, shop.count("payments").await), (0, 4), "and nobody has paid for Business a second time");
    }

    async fn after_a_leap_it_begins_with_the_first_month_after_its_date(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        set(&shop, owner, costing("50.00 USD").from(LATER)).await.unwrap();
        months_turn(&shop, "2026-04-15T00:00:00Z").await;
        assert_eq!((stands(&shop, owner).await.0.as_str(), now(&shop, owner).await.month.number), ("enterprise 30 50.00 USD 5500", 3));
        let [dear, cheap] = ["100000000", "50000000"].map(|micros| format!("payments WHERE amount = {micros}"));
        assert_eq!((shop.count(dear.leak()).await, shop.count(cheap.leak()).await), (2, 2), "January and February, then March and April");
        shop.assert_sound(owner).await;
    }

    async fn what_is_declined_is_tried_again_every_day_and_given_up_in_the_end(db: TestDb) {
        let shop = Shop::open(&db, BEGIN).await;
        let [lucky, unlucky] = [1, 2].map(personal);
        for owner in [lucky, unlucky] {
            set(&shop, owner, costing("900.00 USD").by("sandbox_declined").from(NEXT)).await.unwrap();
        }
        shop.set(NEXT);
        let first = waits(&shop, lucky).await.unwrap();
        falls_due(&shop, lucky).await;
        assert_eq!(waits(&shop, lucky).await.unwrap().attempts, 1);
        Box::pin(begin(&shop.subscriptions, &due(lucky, &first))).await.unwrap();
        assert_eq!(shop.count("payments").await, 1, "each attempt is made once");
        let tomorrow = format!("jobs WHERE kind = 'billing.contract' AND due_at = {}", at(NEXT).saturating_add(Span::DAY).as_micros());
        assert_eq!(shop.count(tomorrow.leak()).await, 1);
        assert_eq!(shop.count("audit WHERE outcome = 'REFUSED' AND reason = 'PAYMENT_DECLINED'").await, 1);
        shop.sql("UPDATE contracts SET payment_method = 'sandbox_ok' WHERE attempts = 1").await;
        shop.set("2026-02-02T00:00:00Z");
        falls_due(&shop, lucky).await;
        assert_eq!((stands(&shop, lucky).await.0.as_str(), waits(&shop, lucky).await), ("enterprise 30 900.00 USD 5500", None));
        for attempt in 1..=31 {
            falls_due(&shop, unlucky).await;
            assert_eq!(waits(&shop, unlucky).await.map(|it| it.attempts), (attempt < 31).then_some(attempt));
        }
        assert_eq!(shop.count("payments WHERE state = 'DECLINED'").await, 32);
        assert!(matches!(shop.subscriptions.get(unlucky).await, Err(Error::NotFound(_))));
    }

    async fn what_stands_in_its_way_is_said_and_passes(db: TestDb) {
        let [marked, late, away] = [1, 2, 3].map(personal);
        let shop = subscribed(&db, marked).await;
        for owner in [late, away] {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        }
        let wrong = |plan| Wish { plan, ..costing("300.00 USD") };
        for at in [None, Some(NEXT)] {
            let none = set(&shop, away, Wish { starts_at: at, ..wrong("golden") }).await;
            assert!(matches!(none, Err(Error::NoSuchContract(ContractError::NoPlan(_)))), "{none:?}");
            let sold = set(&shop, away, Wish { starts_at: at, ..wrong("business") }).await;
            assert!(matches!(sold, Err(Error::NoSuchContract(ContractError::NotByContract(_)))), "{sold:?}");
            let euros = set(&shop, away, Wish { starts_at: at, ..costing("300.00 EUR") }).await;
            assert!(matches!(euros, Err(Error::NoSuchContract(ContractError::Currency(_)))), "{euros:?}");
            let nobodys: PaymentId = id(77);
            let nobodys: &'static str = nobodys.to_string().replace("pay_", "pmt_").leak();
            let card = set(&shop, away, Wish { starts_at: at, ..costing("300.00 USD").by(nobodys) }).await;
            assert!(matches!(card, Err(Error::NotFound("payment method"))), "{card:?}");
        }
        shop.stands(away, Standing::Suspended).await;
        for wish in [costing("300.00 USD"), costing("50.00 USD"), costing("300.00 USD").from(NEXT)] {
            let refused = set(&shop, away, wish).await;
            assert!(matches!(refused, Err(Error::Refused(Refusal::UserSuspended))), "{refused:?}");
        }
        cancel(&shop, marked, CancelAt::PeriodEnd).await.unwrap();
        let refused = set(&shop, marked, costing("300.00 USD")).await;
        assert!(matches!(refused, Err(Error::SubscriptionCanceled)), "{refused:?}");
        set(&shop, marked, costing("300.00 USD").from(HALF)).await.unwrap();
        set(&shop, late, costing("300.00 USD").from(LATER)).await.unwrap();
        shop.set(HALF);
        falls_due(&shop, marked).await;
        assert_eq!((now(&shop, marked).await.plan.as_str(), waits(&shop, marked).await.unwrap().attempts), ("business", 1));
        shop.sql("UPDATE subscriptions SET payment_method = 'sandbox_declined' WHERE cancel_at_period_end = 0").await;
        months_turn(&shop, NEXT).await;
        let refused = set(&shop, late, costing("300.00 USD")).await;
        assert!(matches!(refused, Err(Error::SubscriptionPastDue)), "{refused:?}");
        // What ended makes room.
        falls_due(&shop, marked).await;
        assert_eq!((stands(&shop, marked).await.0.as_str(), now(&shop, marked).await.started_at), ("enterprise 30 300.00 USD 5500", at(NEXT)));
    }

    async fn whoever_is_gone_loses_what_waits(db: TestDb) {
        let shop = Shop::open(&db, BEGIN).await;
        let (deleted, gone) = (organization(1), personal(2));
        for owner in [deleted, gone] {
            set(&shop, owner, costing("300.00 USD").from(NEXT)).await.unwrap();
        }
        assert_eq!(shop.count("contracts").await, 2);
        shop.stands(deleted, Standing::Deleted).await;
        shop.settles(deleted).await;
        assert_eq!((waits(&shop, deleted).await, shop.count("contracts").await), (None, 1));
        shop.gone(id(2)).await;
        shop.sees_off(id(2)).await;
        assert_eq!(shop.count("contracts").await, 0);
        for owner in [deleted, gone] {
            assert!(set(&shop, owner, costing("300.00 USD").from(NEXT)).await.is_err());
        }
    }

    async fn it_moves_with_the_subscription_and_so_does_what_waits(db: TestDb) {
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        set(&shop, owner, costing("300.00 USD")).await.unwrap();
        assert_eq!(shop.moves(id(1), id(8)).await, Moved::PlanRequired, "the plan would include organizations, the contract does not");
        let both = Features { organizations: true, single_sign_on: true };
        set(&shop, owner, Wish { features: both, ..costing("400.00 USD") }).await.unwrap();
        set(&shop, owner, costing("500.00 USD").from(LATER)).await.unwrap();
        let team = OwnerId::Organization(id(9));
        let Moved::To(moved) = shop.moves(id(1), id(9)).await else { panic!("it includes organizations") };
        assert_eq!((moved.features, moved.payment_method.as_str()), (Some(both), "invoice"));
        assert_eq!((features(&shop, team).await.1, features(&shop, owner).await.0.as_str()), (both, "free"));
        assert_eq!((waits(&shop, team).await.is_some(), waits(&shop, owner).await), (true, None));
        months_turn(&shop, NEXT).await;
        assert_eq!((stands(&shop, team).await.0.as_str(), features(&shop, team).await.1), ("enterprise 30 400.00 USD 5500", both));
        let persons = payments_of(&shop, owner).await;
        shop.set(LATER);
        falls_due(&shop, team).await;
        assert_eq!(stands(&shop, team).await.0, "enterprise 30 500.00 USD 5500");
        assert_eq!((payments_of(&shop, owner).await, features(&shop, owner).await.0.as_str()), (persons, "free"));
    }

    async fn what_is_to_pay_the_next_month_moves_too(db: TestDb) {
        let (owner, team) = (personal(1), OwnerId::Organization(id(9)));
        let shop = Shop::open(&db, BEGIN).await;
        let both = Features { organizations: true, single_sign_on: true };
        set(&shop, owner, Wish { features: both, ..costing("400.00 USD") }).await.unwrap();
        let card: &'static str = shop.saves(owner, "sandbox_ok").await.id.to_string().leak();
        set(&shop, owner, Wish { features: both, ..costing("300.00 USD") }.by(card)).await.unwrap();
        let Moved::To(_) = shop.moves(id(1), id(9)).await else { panic!("it includes organizations") };
        months_turn(&shop, NEXT).await;
        assert_eq!((now(&shop, team).await.state, now(&shop, team).await.month.number), (SubscriptionState::Active, 1));
        assert!(last(&shop, team).await.reference.unwrap().starts_with("sandbox_"));
    }

    async fn what_is_not_paid_at_once_waits_until_it_is(db: TestDb) {
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        set(&shop, owner, costing("900.00 USD").by("sandbox_pending").from(NEXT)).await.unwrap();
        shop.set(NEXT);
        let it = waits(&shop, owner).await.unwrap();
        assert!(Box::pin(begin(&shop.subscriptions, &due(owner, &it))).await.is_err(), "it is looked at again");
        assert_eq!(waits(&shop, owner).await, Some(it));
        shop.payments.told(payments_of(&shop, owner).await[0], News::Declined("no".to_owned())).await.unwrap();
        shop.sql("UPDATE contracts SET payment_method = 'sandbox_ok'").await;
        falls_due(&shop, owner).await;
        assert_eq!((stands(&shop, owner).await.0.as_str(), waits(&shop, owner).await), ("enterprise 30 900.00 USD 5500", None));
        shop.assert_sound(owner).await;
    }

    async fn what_begins_with_a_month_is_not_paid_ahead_by_the_terms_before(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        set(&shop, owner, costing("50.00 USD").from(NEXT)).await.unwrap();
        let before = shop.count("payments").await;
        shop.set("2026-01-31T23:30:00Z");
        assert!(!renewals::ahead::pay(&shop.subscriptions).await.unwrap());
        assert_eq!(shop.count("payments").await, before);
        months_turn(&shop, NEXT).await;
        assert_eq!((shop.count("payments").await, last(&shop, owner).await.amount.to_string()), (before + 1, "50.00 USD".to_owned()));
    }

    async fn no_seats_are_sold_to_a_contract_whatever_the_catalog_sells_now(db: TestDb) {
        let owner = personal(1);
        let mut shop = Shop::open(&db, BEGIN).await;
        set(&shop, owner, costing("300.00 USD")).await.unwrap();
        let sold = "price = \"500.00 USD\"\ncredits = \"5000\"\nseat_price = \"9.00 USD\"\n";
        shop.sells(&include_str!("../../../catalog.toml").replace("contract = true\n", sold));
        let refused = change(&shop, owner, "", 31).await;
        assert!(matches!(refused, Err(Error::NoSuchChange(ChangeError::NoSeats))), "{refused:?}");
    }

    async fn nobody_is_asked_for_nothing(db: TestDb) {
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        let answer = set(&shop, owner, costing("0.00 USD").by("sandbox_declined")).await.unwrap();
        let paid = payment(&shop, &paid_by(&answer)).await;
        assert_eq!((paid.state, paid.reference, paid.invoice.is_some()), (PaymentState::Paid, None, true));
        months_turn(&shop, NEXT).await;
        assert_eq!((stands(&shop, owner).await.0.as_str(), shop.available(owner).await), ("enterprise 30 0.00 USD 5500", credits("5500")));
        shop.assert_sound(owner).await;
    }

    async fn one_answer_for_one_request_also_where_its_money_comes_later(db: TestDb) {
        let shop = Shop::open(&db, BEGIN).await;
        let [new, present] = [1, 2].map(personal);
        shop.subscribe(present, "business", "sandbox_ok", "").await.unwrap();
        let wish = costing("300.00 USD").by("sandbox_pending");
        for (owner, state, plan) in [(new, pb::SubscriptionState::Incomplete, "enterprise"), (present, pb::SubscriptionState::Active, "business")] {
            let open = set_under(&shop, owner, wish, "r").await.unwrap();
            let said = open.subscription.clone().unwrap();
            assert_eq!((said.state(), said.plan_id.as_str()), (state, plan));
            assert_eq!(set_under(&shop, owner, wish, "r").await.unwrap(), open);
            assert!(set_under(&shop, owner, costing("301.00 USD"), "r").await.is_err(), "another one under its id");
            shop.payments.told(paid_by(&open).parse().unwrap(), News::Paid).await.unwrap();
            assert_eq!((stands(&shop, owner).await.0.as_str(), features(&shop, owner).await.1), ("enterprise 30 300.00 USD 5500", SIGNING_ON));
            assert_eq!(set_under(&shop, owner, wish, "r").await.unwrap(), open, "the first answer stands");
            assert_eq!(now(&shop, owner).await.payment_method, "sandbox_pending");
            shop.assert_sound(owner).await;
        }
        let later = set_under(&shop, new, costing("400.00 USD").from(NEXT), "later").await.unwrap();
        shop.set(LATER);
        assert_eq!(set_under(&shop, new, costing("400.00 USD").from(NEXT), "later").await.unwrap(), later);
        assert_eq!(shop.count("payments").await, 4, "when its time has come, the month's own is all that is paid");
    }
}
