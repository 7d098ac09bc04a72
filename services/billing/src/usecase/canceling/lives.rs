//! Random lives of an account, against a model as naive as can be: whatever happens to its subscription, packs are touched by
//! nothing but spending, and nothing is paid for that was not given. On both engines.

mod everything;

use bursar_id::{HoldId, OwnerId};
use bursar_money::Credits;
use bursar_secret::Entropy;
use bursar_testkit::{TestDb, at, each_life, engines, id, organization, personal};
use bursar_time::{Span, Timestamp};

use super::CancelAt;
use super::tests::{cancel, resume};
use crate::domain::{Actor, Attribution, Command, HoldCommand, Labels, LotSource, Outcome, Request, SubscriptionState};
use crate::error::Error;
use crate::lane::Job;
use crate::usecase::renewals;
use crate::usecase::shop::Shop;

const START: &str = "2026-01-31T10:00:00Z";

/// When a month that was not paid is tried again: so many days after its boundary.
const TRIES: [u64; 5] = [0, 1, 3, 5, 7];

/// A plan in the model.
#[derive(Debug)]
struct Plan {
    anchor: Timestamp,
    month: u32,
    pays: bool,
    failures: usize,
    marked: bool,
}

impl Plan {
    fn end(&self) -> Timestamp {
        self.anchor.add_months_anchored(self.month + 1)
    }
}

/// What is reserved: of the allowance, if that is still the month's, and of packs.
#[derive(Debug)]
struct Reserved {
    hold: HoldId,
    allowance: u64,
    packs: u64,
}

/// A life, and what the model says of it.
struct Life {
    shop: Shop,
    owner: OwnerId,
    now: Timestamp,
    plan: Option<Plan>,
    allowance: u64,
    packs: u64,
    /// Packs that were bought, all in all; months that were paid for.
    bought: u64,
    months: usize,
    reserved: Vec<Reserved>,
    /// What stayed with the person when the plan moved away.
    left_behind: Option<(OwnerId, u64)>,
}

impl Life {
    async fn buy(&mut self) {
        match self.owner {
            OwnerId::User(_) => drop(self.shop.buy(self.owner, "starter", "sandbox_ok", "").await.unwrap()),
            OwnerId::Organization(_) => self.shop.grants(self.owner, Credits::from_micro(300_000_000).unwrap()).await,
        }
        self.packs += 300;
        self.bought += 300;
    }

    async fn subscribe(&mut self) {
        let answer = self.shop.subscribe(self.owner, "business", "sandbox_ok", "").await;
        if self.plan.is_some() {
            assert!(matches!(answer, Err(Error::AlreadySubscribed { .. })), "{answer:?}");
            return;
        }
        answer.unwrap();
        self.plan = Some(Plan { anchor: self.now, month: 0, pays: true, failures: 0, marked: false });
        self.allowance = 1_500;
        self.months += 1;
    }

    /// From now on the card pays, or is declined.
    async fn pays(&mut self, pays: bool) {
        self.shop.pays_with(if pays { "sandbox_ok" } else { "sandbox_declined" }).await;
        if let Some(plan) = &mut self.plan {
            plan.pays = pays;
        }
    }

    async fn charge(&mut self, amount: u64) {
        let amount = amount.min(self.allowance + self.packs);
        if amount > 0 {
            self.shop.spend(self.owner, &amount.to_string()).await;
            self.take(amount);
        }
    }

    /// The allowance goes first.
    fn take(&mut self, amount: u64) -> (u64, u64) {
        let allowance = amount.min(self.allowance);
        self.allowance -= allowance;
        self.packs -= amount - allowance;
        (allowance, amount - allowance)
    }

    async fn hold(&mut self, amount: u64) {
        let amount = amount.min(self.allowance + self.packs);
        if amount == 0 {
            return;
        }
        let command = Command::Hold(HoldCommand {
            amount: amount.to_string().parse().unwrap(),
            ttl: Span::DAY,
            attribution: Attribution { member: id(1), project: None, model: None },
            labels: Labels::default(),
        });
        let Outcome::Held(held) = self.book(Request::unnamed(command).with_renewal_settled()).await else {
            panic!("it was no hold")
        };
        let (allowance, packs) = self.take(amount);
        self.reserved.push(Reserved { hold: held.hold.id, allowance, packs });
    }

    async fn release(&mut self, nth: usize) {
        let Reserved { hold, allowance, packs } = self.reserved.swap_remove(nth);
        self.book(Request::unnamed(Command::Release { hold })).await;
        self.allowance += allowance;
        self.packs += packs;
    }

    async fn book(&self, request: Request) -> Outcome {
        let mut tx = self.shop.db.begin().await.unwrap();
        let job = Job { owner: self.owner, actor: Actor::Job, request };
        let outcome = self.shop.subscriptions.till.book(&mut tx, &job).await.unwrap();
        tx.commit().await.unwrap();
        outcome
    }

    /// The month's allowance is over: nothing comes back to it.
    fn forget_allowance(&mut self) {
        self.allowance = 0;
        self.reserved.iter_mut().for_each(|it| it.allowance = 0);
    }

    async fn cancel(&mut self, when: CancelAt) {
        let answer = cancel(&self.shop, self.owner, when).await;
        let Some(plan) = &mut self.plan else {
            assert!(matches!(answer, Err(Error::NoSubscription)), "{answer:?}");
            return;
        };
        answer.unwrap();
        if when == CancelAt::PeriodEnd && plan.failures == 0 {
            plan.marked = true;
        } else {
            self.plan = None;
            self.forget_allowance();
        }
    }

    async fn resume(&mut self) {
        let answer = resume(&self.shop, self.owner).await;
        match &mut self.plan {
            None => assert!(matches!(answer, Err(Error::NoSubscription)), "{answer:?}"),
            Some(plan) if !plan.marked => assert!(matches!(answer, Err(Error::NotCanceled)), "{answer:?}"),
            Some(plan) => {
                answer.unwrap();
                plan.marked = false;
            }
        }
    }

    /// The plan moves to an organization, and its life goes on there. Once, and only what is paid for.
    async fn move_away(&mut self) {
        let is_paid = self.plan.as_ref().is_some_and(|plan| plan.failures == 0);
        if self.left_behind.is_some() || !is_paid {
            return;
        }
        while !self.reserved.is_empty() {
            self.release(0).await;
        }
        self.shop.moves(id(1), id(1)).await;
        self.left_behind = Some((self.owner, self.packs));
        (self.owner, self.packs, self.bought) = (organization(1), 0, 0);
    }

    /// Time passes, and the renewals have run.
    async fn leap(&mut self, span: Span) {
        // What is reserved would come back by itself in between.
        while !self.reserved.is_empty() {
            self.release(0).await;
        }
        self.now = self.now.saturating_add(span);
        self.shop.clock.set(self.now).unwrap();
        while renewals::round(&self.shop.subscriptions).await.unwrap().done > 0 {}
        while let Some(plan) = &mut self.plan {
            let next = plan.end().saturating_add(Span::from_days(TRIES[plan.failures]));
            if self.now < next {
                break;
            }
            plan.failures = if plan.pays || plan.marked { 0 } else { plan.failures + 1 };
            let (pays, over) = (plan.pays, plan.marked || plan.failures == TRIES.len());
            self.forget_allowance();
            if over {
                self.plan = None;
            } else if pays {
                let plan = self.plan.as_mut().unwrap();
                plan.month += 1;
                self.months += 1;
                self.allowance = if self.now < plan.end() { 1_500 } else { 0 };
            }
        }
    }

    /// Something happens; says what.
    async fn step(&mut self, chance: &Entropy) -> Option<&'static str> {
        let amount = 1 + chance.u64_below(600);
        Some(match chance.u64_below(20) {
            0 => {
                self.buy().await;
                "a pack"
            }
            1..4 if self.left_behind.is_none() => {
                self.subscribe().await;
                "subscribing"
            }
            4..7 => {
                self.charge(amount).await;
                "a charge"
            }
            7..9 => {
                self.hold(amount).await;
                "a hold"
            }
            9 if !self.reserved.is_empty() => {
                self.release(0).await;
                "a release"
            }
            10 => {
                self.cancel(CancelAt::PeriodEnd).await;
                "cancelling at the end"
            }
            11 if amount.is_multiple_of(2) => {
                self.cancel(CancelAt::Now).await;
                "cancelling now"
            }
            12 => {
                self.resume().await;
                "taking it back"
            }
            13 | 14 => {
                self.pays(amount.is_multiple_of(2)).await;
                "another card"
            }
            15 if self.months > 6 => {
                self.move_away().await;
                "a move"
            }
            16 => {
                self.leap(Span::from_days(chance.u64_below(90))).await;
                "a season"
            }
            17..20 => {
                self.leap(Span::from_hours(1 + chance.u64_below(200))).await;
                "some days"
            }
            _ => return None,
        })
    }

    async fn compare(&self, what: &str) {
        let sum = |lots: &[crate::domain::Lot], of: fn(&crate::domain::Lot) -> Credits| {
            lots.iter().map(|lot| of(lot).micro() / 1_000_000).sum::<i64>().unsigned_abs()
        };
        let lots = self.shop.lots(self.owner).await;
        let (allowances, packs): (Vec<_>, Vec<_>) =
            lots.into_iter().partition(|lot| lot.terms.source == LotSource::Allowance);
        let held: u64 = self.reserved.iter().map(|it| it.packs).sum();
        assert_eq!(sum(&packs, |lot| lot.remaining), self.packs, "packs after {what}");
        assert_eq!(sum(&packs, |lot| lot.held), held, "packs that are held after {what}");
        assert_eq!(sum(&packs, |lot| lot.granted), self.bought, "packs that were bought, after {what}");
        let lost = sum(&packs, |lot| lot.voided) + sum(&packs, |lot| lot.expired);
        assert_eq!(lost, 0, "no pack expires or is voided: after {what}");
        let spendable: Vec<_> = allowances.into_iter().filter(|lot| lot.is_spendable_at(self.now)).collect();
        assert_eq!(sum(&spendable, |lot| lot.remaining), self.allowance, "the allowance after {what}");
        if let Some((person, packs)) = self.left_behind {
            let lots = self.shop.lots(person).await;
            let theirs: Vec<_> = lots.into_iter().filter(|lot| lot.terms.source == LotSource::Pack).collect();
            assert_eq!(sum(&theirs, |lot| lot.remaining), packs, "what stayed at home, after {what}");
        }
        self.compare_plan(what).await;
    }

    async fn compare_plan(&self, what: &str) {
        let found = self.shop.subscriptions.get(self.owner).await.ok();
        let live = found.filter(|it| it.state != SubscriptionState::Ended);
        let shown = live.map(|it| (it.state == SubscriptionState::PastDue, it.month.number, it.cancel_at_period_end));
        let expected = self.plan.as_ref().map(|plan| (plan.failures > 0, plan.month, plan.marked));
        assert_eq!(shown, expected, "the plan after {what}");
        let paid =
            "payments WHERE purpose <> 'PURCHASE' AND state = 'PAID' AND returned = 0 AND fulfilled_at IS NOT NULL";
        assert_eq!(
            self.shop.count(paid).await,
            i64::try_from(self.months).unwrap(),
            "months that were paid, after {what}"
        );
        let unused = "payments WHERE state = 'PAID' AND fulfilled_at IS NULL AND refunded < amount";
        assert_eq!(self.shop.count(unused).await, 0, "money for nothing, after {what}");
    }
}

/// One life of so many steps.
async fn live(shop: Shop, seed: u64, steps: usize) {
    let chance = Entropy::seeded(seed);
    let owner = personal(1);
    let mut life = Life {
        shop,
        owner,
        now: at(START),
        plan: None,
        allowance: 0,
        packs: 0,
        bought: 0,
        months: 0,
        reserved: Vec::new(),
        left_behind: None,
    };
    life.buy().await;
    for step in 0..steps {
        if let Some(what) = life.step(&chance).await {
            life.compare(&format!("{what}, step {step} of life {seed}: {:?}", life.plan)).await;
        }
    }
    life.shop.assert_sound(life.owner).await;
    life.shop.assert_sound(owner).await;
}

/// The lives of this seed and of those after it, as many as a test has: each of the three tests has its own.
async fn lives(db: TestDb, seed: u64) {
    let life = async |db: &TestDb, nth: u64| {
        Box::pin(live(Shop::open(db, START).await, seed + 3 * nth, 150)).await;
    };
    Box::pin(each_life(db, life)).await;
}

engines! {
    async fn packs_are_untouched_by_everything_that_happens_to_a_subscription_a(db: TestDb) {
        Box::pin(lives(db, 1)).await;
    }

    async fn packs_are_untouched_by_everything_that_happens_to_a_subscription_b(db: TestDb) {
        Box::pin(lives(db, 2)).await;
    }

    async fn packs_are_untouched_by_everything_that_happens_to_a_subscription_c(db: TestDb) {
        Box::pin(lives(db, 3)).await;
    }
}
