//! Random lives of an account whose plan and seats change, against a model as naive as can be: what is due and what is granted is
//! exact to the cent and to the millionth, and packs are touched by nothing but spending. On both engines.

use bursar_money::Credits;
use bursar_rpc::{PageKey, PageRequest};
use bursar_secret::{Entropy, Secret};
use bursar_testkit::{TestDb, at, each_life, engines, personal};
use bursar_time::{Span, Timestamp};

use super::tests::{PLANS, change};
use crate::domain::{ChangeError, Lot, LotSource, PaymentState, Purpose, Subscription, SubscriptionState, Terms};
use crate::error::Error;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::{cancel, resume};
use crate::usecase::renewals;
use crate::usecase::shop::Shop;

const START: &str = "2026-01-31T10:00:00Z";

/// When a month that was not paid is tried again: so many days after its boundary.
const TRIES: [u64; 5] = [0, 1, 3, 5, 7];

/// Id, dollars, credits and seats of a plan, and dollars and credits of a seat more where those are sold.
type Sold = (&'static str, u64, u64, u64, Option<(u64, u64)>);

const SOLD: [Sold; 3] =
    [("solo", 10, 100, 1, None), ("business", 100, 1_500, 10, Some((10, 150))), ("pro", 300, 5_500, 20, Some((12, 0)))];

/// A plan of those, and for how many people.
type Has = (usize, u64);

fn dollars((plan, seats): Has) -> u64 {
    let (_, price, _, own, more) = SOLD[plan];
    price + (seats - own) * more.map_or(0, |(price, _)| price)
}

fn month_of((plan, seats): Has) -> u64 {
    let (_, _, credits, own, more) = SOLD[plan];
    credits + (seats - own) * more.map_or(0, |(_, credits)| credits)
}

/// A plan in the model.
#[derive(Debug)]
struct Plan {
    anchor: Timestamp,
    month: u32,
    has: Has,
    planned: Option<Has>,
    pays: bool,
    failures: usize,
    marked: bool,
}

impl Plan {
    fn start(&self) -> Timestamp {
        self.anchor.add_months_anchored(self.month)
    }

    fn end(&self) -> Timestamp {
        self.anchor.add_months_anchored(self.month + 1)
    }

    /// The part of an amount that is left of the month.
    fn rest(&self, amount: u64, now: Timestamp) -> u64 {
        let span = |from: Timestamp| u128::try_from(self.end().as_micros() - from.as_micros()).unwrap();
        u64::try_from(u128::from(amount) * span(now) / span(self.start())).unwrap()
    }
}

/// A life, and what the model says of it: credits in millionths, money in cents.
struct Life {
    shop: Shop,
    now: Timestamp,
    plan: Option<Plan>,
    allowance: u64,
    packs: u64,
    granted: u64,
    bought: u64,
    paid: u64,
}

impl Life {
    async fn buy(&mut self) {
        self.shop.buy(personal(1), "starter", "sandbox_ok", "").await.unwrap();
        self.packs += 300_000_000;
        self.bought += 300_000_000;
    }

    fn grant(&mut self, millionths: u64) {
        self.allowance += millionths;
        self.granted += millionths;
    }

    async fn subscribe(&mut self, plan: usize) {
        let answer = self.shop.subscribe(personal(1), SOLD[plan].0, "sandbox_ok", "").await;
        if self.plan.is_some() {
            assert!(matches!(answer, Err(Error::AlreadySubscribed { .. })), "{answer:?}");
            return;
        }
        answer.unwrap();
        let has = (plan, SOLD[plan].3);
        self.plan =
            Some(Plan { anchor: self.now, month: 0, has, planned: None, pays: true, failures: 0, marked: false });
        self.allowance = 0;
        self.grant(month_of(has) * 1_000_000);
        self.paid += dollars(has) * 100;
    }

    /// From now on the card pays, or is declined.
    async fn pays(&mut self, pays: bool) {
        self.shop.pays_with(if pays { "sandbox_ok" } else { "sandbox_declined" }).await;
        if let Some(plan) = &mut self.plan {
            plan.pays = pays;
        }
    }

    async fn charge(&mut self, amount: u64) {
        let amount = amount.min((self.allowance + self.packs) / 1_000_000);
        if amount > 0 {
            self.shop.spend(personal(1), &amount.to_string()).await;
            let first = (amount * 1_000_000).min(self.allowance);
            self.allowance -= first;
            self.packs -= amount * 1_000_000 - first;
        }
    }

    /// To a plan, or within the present one; for so many people, or as many as the plan says.
    async fn change(&mut self, other: Option<usize>, seats: u64) {
        let id = other.map_or("", |plan| SOLD[plan].0);
        let answer = change(&self.shop, personal(1), id, u32::try_from(seats).unwrap()).await;
        let Some(plan) = &mut self.plan else {
            assert!(matches!(answer, Err(Error::NoSubscription)), "{answer:?}");
            return;
        };
        if plan.failures > 0 {
            assert!(matches!(answer, Err(Error::SubscriptionPastDue)), "{answer:?}");
            return;
        }
        if plan.marked {
            assert!(matches!(answer, Err(Error::SubscriptionCanceled)), "{answer:?}");
            return;
        }
        let (to, present) = (other.unwrap_or(plan.has.0), plan.has);
        let (_, _, _, own, more) = SOLD[to];
        let seats = match seats {
            0 if to == present.0 => present.1,
            0 => own,
            seats => seats,
        };
        if seats < own {
            assert!(matches!(answer, Err(Error::NoSuchChange(ChangeError::BelowPlan { .. }))), "{answer:?}");
            return;
        }
        if seats > own && more.is_none() {
            assert!(matches!(answer, Err(Error::NoSuchChange(ChangeError::NoSeats))), "{answer:?}");
            return;
        }
        let to = (to, seats);
        if dollars(to) <= dollars(present) {
            answer.unwrap();
            plan.planned = (to != present).then_some(to);
            return;
        }
        let due = plan.rest((dollars(to) - dollars(present)) * 100, self.now);
        if due > 0 && !plan.pays {
            assert!(matches!(answer, Err(Error::PaymentDeclined)), "{answer:?}");
            return;
        }
        assert_eq!(answer.unwrap().payment.is_some(), due > 0);
        let credits = plan.rest(month_of(to).saturating_sub(month_of(present)) * 1_000_000, self.now);
        (plan.has, plan.planned) = (to, None);
        self.paid += due;
        self.grant(credits);
    }

    async fn cancel(&mut self, when: CancelAt) {
        let answer = cancel(&self.shop, personal(1), when).await;
        let Some(plan) = &mut self.plan else {
            assert!(matches!(answer, Err(Error::NoSubscription)), "{answer:?}");
            return;
        };
        answer.unwrap();
        if when == CancelAt::PeriodEnd && plan.failures == 0 {
            plan.marked = true;
        } else {
            (self.plan, self.allowance) = (None, 0);
        }
    }

    async fn resume(&mut self) {
        let answer = resume(&self.shop, personal(1)).await;
        match &mut self.plan {
            None => assert!(matches!(answer, Err(Error::NoSubscription)), "{answer:?}"),
            Some(plan) if !plan.marked => assert!(matches!(answer, Err(Error::NotCanceled)), "{answer:?}"),
            Some(plan) => {
                answer.unwrap();
                plan.marked = false;
            }
        }
    }

    /// Time passes, and the renewals have run.
    async fn leap(&mut self, span: Span) {
        self.now = self.now.saturating_add(span);
        self.shop.clock.set(self.now).unwrap();
        while renewals::round(&self.shop.subscriptions).await.unwrap().done > 0 {}
        while let Some(plan) = &mut self.plan {
            let next = plan.end().saturating_add(Span::from_days(TRIES[plan.failures]));
            if self.now < next {
                break;
            }
            self.allowance = 0;
            plan.failures = if plan.pays || plan.marked { 0 } else { plan.failures + 1 };
            if plan.marked || plan.failures == TRIES.len() {
                self.plan = None;
            } else if plan.pays {
                plan.has = plan.planned.take().unwrap_or(plan.has);
                plan.month += 1;
                let (granted, goes_on) = (month_of(plan.has) * 1_000_000, self.now < plan.end());
                self.paid += dollars(plan.has) * 100;
                self.granted += granted;
                self.allowance = if goes_on { granted } else { 0 };
            }
        }
    }

    /// Something happens; says what.
    async fn step(&mut self, chance: &Entropy) -> &'static str {
        let amount = 1 + chance.u64_below(900);
        let plan = usize::try_from(chance.u64_below(3)).unwrap();
        match chance.u64_below(20) {
            0 => {
                self.buy().await;
                "a pack"
            }
            1 | 2 => {
                self.subscribe(plan).await;
                "subscribing"
            }
            3..6 => {
                self.charge(amount).await;
                "a charge"
            }
            6..9 => {
                self.change(Some(plan), 0).await;
                "another plan"
            }
            9 => {
                self.change(Some(plan), 1 + chance.u64_below(25)).await;
                "another plan with seats"
            }
            10..13 => {
                self.change(None, 8 + chance.u64_below(20)).await;
                "seats"
            }
            13 => {
                self.cancel(if amount.is_multiple_of(3) { CancelAt::Now } else { CancelAt::PeriodEnd }).await;
                "cancelling"
            }
            14 => {
                self.resume().await;
                "taking it back"
            }
            15 => {
                self.pays(!amount.is_multiple_of(3)).await;
                "another card"
            }
            16 => {
                self.leap(Span::from_days(chance.u64_below(70))).await;
                "a season"
            }
            _ => {
                self.leap(Span::from_secs(1 + chance.u64_below(700_000))).await;
                "some days"
            }
        }
    }

    async fn compare(&self, what: &str) {
        let sum =
            |lots: &[Lot], of: fn(&Lot) -> Credits| lots.iter().map(|lot| of(lot).micro().unsigned_abs()).sum::<u64>();
        let lots = self.shop.lots(personal(1)).await;
        let (allowances, packs): (Vec<_>, Vec<_>) =
            lots.into_iter().partition(|lot| lot.terms.source == LotSource::Allowance);
        assert_eq!(sum(&packs, |lot| lot.remaining), self.packs, "packs after {what}");
        assert_eq!(sum(&packs, |lot| lot.granted), self.bought, "packs that were bought, after {what}");
        let lost = sum(&packs, |lot| lot.voided) + sum(&packs, |lot| lot.expired);
        assert_eq!(lost, 0, "no pack expires or is voided: after {what}");
        assert_eq!(sum(&allowances, |lot| lot.granted), self.granted, "what was granted, after {what}");
        let spendable: Vec<_> = allowances.into_iter().filter(|lot| lot.is_spendable_at(self.now)).collect();
        assert_eq!(sum(&spendable, |lot| lot.remaining), self.allowance, "the allowance after {what}");
        self.compare_plan(what).await;
        self.compare_money(what).await;
    }

    async fn compare_plan(&self, what: &str) {
        let found = self.shop.subscriptions.get(personal(1)).await.ok();
        let live = found.filter(|it| it.state != SubscriptionState::Ended);
        let has = |terms: &Terms| {
            let plan = SOLD.iter().position(|sold| sold.0 == terms.plan.as_str()).unwrap();
            let has = (plan, u64::from(terms.seats));
            let shown = (terms.price.micros().unsigned_abs(), terms.credits.micro().unsigned_abs());
            assert_eq!(shown, (dollars(has) * 1_000_000, month_of(has) * 1_000_000), "{terms:?} after {what}");
            has
        };
        let shown = live.as_ref().map(|it: &Subscription| {
            let past_due = it.state == SubscriptionState::PastDue;
            let planned = it.pending.as_ref().map(has);
            (past_due, it.month.number, it.cancel_at_period_end, has(&it.terms()), planned)
        });
        let expected =
            self.plan.as_ref().map(|plan| (plan.failures > 0, plan.month, plan.marked, plan.has, plan.planned));
        assert_eq!(shown, expected, "the plan after {what}");
    }

    /// Each cent that was paid was paid for something, and has an invoice.
    async fn compare_money(&self, what: &str) {
        let (mut paid, mut invoices, mut token) = (0, 0, String::new());
        loop {
            let key = PageKey::new(Secret::new([7; 32])).list("ListPayments", []);
            let page = PageRequest::parse(1_000, &token, key).unwrap();
            let page = self.shop.payments.list(personal(1), &page).await.unwrap();
            for payment in page.rows.iter().filter(|it| it.state == PaymentState::Paid) {
                assert!(payment.fulfilled_at.is_some() && payment.invoice.is_some(), "{payment:?} after {what}");
                invoices += 1;
                if payment.bought.purpose() != Purpose::Purchase {
                    paid += payment.amount.minor_units().unwrap().unsigned_abs();
                }
            }
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(paid, self.paid, "what was paid, after {what}");
        assert_eq!(self.shop.count("invoices").await, invoices, "one invoice for each payment, after {what}");
    }
}

/// One life of so many steps.
async fn live(shop: Shop, seed: u64, steps: usize) {
    let chance = Entropy::seeded(seed);
    let now = at(START);
    let mut life = Life { shop, now, plan: None, allowance: 0, packs: 0, granted: 0, bought: 0, paid: 0 };
    life.buy().await;
    for step in 0..steps {
        let what = life.step(&chance).await;
        life.compare(&format!("{what}, step {step} of life {seed}: {:?}", life.plan)).await;
    }
    life.shop.assert_sound(personal(1)).await;
}

/// The lives of this seed and of those after it, as many as a test has: each of the three tests has its own.
async fn lives(db: TestDb, seed: u64) {
    let life = async |db: &TestDb, nth: u64| {
        Box::pin(live(Shop::selling(db, START, PLANS).await, seed + 3 * nth, 150)).await;
    };
    Box::pin(each_life(db, life)).await;
}

engines! {
    async fn what_is_granted_and_paid_is_exact_whatever_changes_a(db: TestDb) {
        Box::pin(lives(db, 11)).await;
    }

    async fn what_is_granted_and_paid_is_exact_whatever_changes_b(db: TestDb) {
        Box::pin(lives(db, 12)).await;
    }

    async fn what_is_granted_and_paid_is_exact_whatever_changes_c(db: TestDb) {
        Box::pin(lives(db, 13)).await;
    }
}
