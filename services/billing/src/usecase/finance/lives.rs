//! Random lives of which finance is told month by month: plans by the month and by the year, seats that bring no credits, what rolls
//! over and what is granted before its payment, packs that pay debts, refunds and disputes, cards that are declined, ends, moves with
//! and without anything left, and owners who are deleted and come back. Against a model as naive as can be, which knows payments
//! alone: all lines of a month are what there was, and what was paid, less what went back, was earned and was breakage in it; and over
//! all months what was paid and what went back are the payments. Once it is over, a month is told the same for ever, to the byte. On
//! both engines.

use std::collections::{BTreeMap, BTreeSet};

use bursar_id::OwnerId;
use bursar_members::Standing;
use bursar_money::Currency;
use bursar_secret::Entropy;
use bursar_testkit::{TestDb, at, each_life, engines, id, organization, personal};
use bursar_time::{Span, Timestamp};

use super::{FinanceError, Money, MonthReport, Sums, count, report};
use crate::domain::{Dispute, News, Payment, PaymentState};
use crate::error::Error;
use crate::store::{payments, subscriptions};
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::{cancel, resume};
use crate::usecase::changing::tests::change;
use crate::usecase::renewals;
use crate::usecase::shelf::LENIENT;
use crate::usecase::shop::Shop;

/// The last day of a month, as its years' months begin.
const START: &str = "2027-10-31T10:00:00Z";

const SOLD: [&str; 6] = ["business", "yearly", "yearly-pro", "rolling", "lenient", "seated"];

const PLANS: &str = r#"
[[plans]]
id = "yearly"
name = "By the year, with seats that bring no credits"
interval = "year"
price = "1000.00 USD"
credits = "1500"
seats = 10
seat_price = "70.00 USD"
features = ["organizations"]

[[plans]]
id = "yearly-pro"
name = "Pro, by the year, with a rollover"
interval = "year"
price = "3000.01 USD"
credits = "5500"
rollover = "700"
seats = 10
seat_price = "100.00 USD"
credits_per_seat = "150"
features = ["organizations"]

[[plans]]
id = "rolling"
name = "Rolling"
price = "100.00 USD"
credits = "1500"
rollover = "500"
seats = 10
features = ["organizations"]

[[plans]]
id = "seated"
name = "Seats that bring no credits"
price = "33.33 USD"
credits = "100"
seats = 10
seat_price = "1.11 USD"
"#;

struct Life {
    shop: Shop,
    now: Timestamp,
    /// Somebody, and the organizations to which a subscription has moved.
    owners: Vec<OwnerId>,
    /// What was not refused, so far.
    happened: BTreeSet<&'static str>,
    /// By when they began, the months that are over as they were told first.
    over: BTreeMap<Timestamp, String>,
}

impl Life {
    /// Much is refused in such a life; what fails is a fault.
    fn done<T>(&mut self, what: &'static str, answer: Result<T, Error>) {
        match answer {
            Ok(_) => {
                self.happened.insert(what);
            }
            Err(error) => assert!(!matches!(error, Error::Failed | Error::Store(_)), "{what}: {error:?}"),
        }
    }

    fn somebody(&self, chance: &Entropy) -> OwnerId {
        self.owners[index(chance, self.owners.len())]
    }

    async fn charge(&mut self, owner: OwnerId, amount: i64) {
        let amount = amount.min(self.shop.available(owner).await.micro() / 1_000_000);
        if amount > 0 {
            self.shop.spend(owner, &amount.to_string()).await;
        }
    }

    /// All payments that were paid, of everybody.
    async fn paid(&self) -> Vec<Payment> {
        let (mut tx, mut all) = (self.shop.db.read().await.unwrap(), Vec::new());
        for owner in &self.owners {
            all.extend(payments::page(&mut tx, *owner, None, 1_000).await.unwrap());
        }
        all.retain(|it| it.state == PaymentState::Paid);
        all
    }

    /// Those of them that were delivered.
    async fn delivered(&self) -> Vec<Payment> {
        let mut paid = self.paid().await;
        paid.retain(|it| it.fulfilled_at.is_some());
        paid
    }

    /// Some of a payment goes back, or the rest of it, by a refund; or a bank decides about it.
    async fn give_back(&mut self, chance: &Entropy) {
        let paid = self.delivered().await;
        if paid.is_empty() {
            return;
        }
        let it = &paid[index(chance, paid.len())];
        let rest = it.refundable();
        let so_far = |share: u64| it.refunded.checked_add(rest.share(share, 10).floor_to_minor()).unwrap();
        let news = match chance.u64_below(6) {
            0 | 1 => vec![News::Refunded(so_far(1 + chance.u64_below(9)))],
            2 | 3 => vec![News::Refunded(it.refunded.checked_add(rest).unwrap())],
            _ if it.dispute != Dispute::None => Vec::new(),
            4 => vec![News::Disputed(rest), News::DisputeWon],
            _ => vec![News::Disputed(rest.share(1, 2).floor_to_minor()), News::DisputeLost],
        };
        for news in news {
            let answer = self.shop.payments.told(it.id, news).await;
            self.done("money that goes back", answer);
        }
    }

    /// What somebody has moves to an organization of its own, unless it is due. Sometimes nothing is left of it.
    async fn moves(&mut self, chance: &Entropy) {
        let spends_all = chance.u64_below(2) == 0;
        let live = subscriptions::live(&mut self.shop.db.read().await.unwrap(), personal(1)).await.unwrap();
        let stays = |plan: &str| ["business", "seated"].contains(&plan);
        if live.is_some_and(|it| !it.is_due(self.now) && it.next_retry_at.is_none() && !stays(it.plan.as_str())) {
            let (nth, left) = (u64::try_from(self.owners.len()).unwrap(), self.shop.available(personal(1)).await);
            if spends_all && !left.is_zero() {
                self.shop.spend(personal(1), &left.to_string()).await;
            }
            Box::pin(self.shop.moves(id(1), id(nth))).await;
            self.owners.push(organization(nth));
            self.happened.insert("a move");
        }
    }

    /// Somebody is deleted, and is back after some days: what had ended goes on, if it is paid for still.
    async fn deletes(&mut self, owner: OwnerId, chance: &Entropy) {
        self.shop.stands(owner, Standing::Deleted).await;
        self.shop.settles(owner).await;
        self.leap(Span::from_days(chance.u64_below(25))).await;
        self.shop.stands(owner, Standing::Active).await;
        self.shop.settles(owner).await;
        // What has begun meanwhile is made up for.
        self.leap(Span::HOUR).await;
    }

    /// Time passes, never more than a month at once, and the renewals have run.
    async fn leap(&mut self, span: Span) {
        self.now = self.now.saturating_add(span);
        self.shop.clock.set(self.now).unwrap();
        while renewals::round(&self.shop.subscriptions).await.unwrap().done > 0 {}
        Box::pin(self.tells_what_is_over()).await;
    }

    /// The months that are over since the last time are told for the first time.
    async fn tells_what_is_over(&mut self) {
        let mut from = at(START).start_of_month();
        loop {
            let month = (from, from.add_months_anchored(1));
            if month.1 > self.now {
                return;
            }
            if !self.over.contains_key(&from) {
                let (_, text) = self.told(month).await;
                self.over.insert(from, text);
            }
            from = month.1;
        }
    }

    /// Something happens; says what.
    async fn step(&mut self, chance: &Entropy) -> &'static str {
        let (owner, plan) = (self.somebody(chance), SOLD[index(chance, SOLD.len())]);
        match chance.u64_below(25) {
            0 | 1 => {
                let answer = self.shop.buy(personal(1), "starter", "sandbox_ok", "").await;
                self.done("a pack", answer);
                "a pack"
            }
            2..5 => {
                let answer = self.shop.subscribe(personal(1), plan, "sandbox_ok", "").await;
                self.done("a subscription", answer);
                "subscribing"
            }
            5..8 => {
                self.charge(owner, 1 + i64::try_from(chance.u64_below(900)).unwrap()).await;
                "a charge"
            }
            8 => {
                let answer = change(&self.shop, owner, plan, 0).await;
                self.done("a change", answer);
                "another plan"
            }
            9 | 10 => {
                let seats = 10 + u32::try_from(chance.u64_below(8)).unwrap();
                let answer = change(&self.shop, owner, "", seats).await;
                self.done("seats", answer);
                "seats"
            }
            11 => {
                let when = if chance.u64_below(2) == 0 { CancelAt::PeriodEnd } else { CancelAt::Now };
                let answer = cancel(&self.shop, owner, when).await;
                self.done("a cancellation", answer);
                "cancelling"
            }
            12 => {
                let answer = resume(&self.shop, owner).await;
                self.done("a resumption", answer);
                "taking it back"
            }
            13 => {
                self.shop.pays_with(if chance.u64_below(2) == 0 { "sandbox_declined" } else { "sandbox_ok" }).await;
                "another card"
            }
            14..17 => {
                self.give_back(chance).await;
                "money that goes back"
            }
            17 => {
                self.moves(chance).await;
                "a move"
            }
            18 => {
                Box::pin(self.deletes(owner, chance)).await;
                "a deletion"
            }
            19 | 20 => {
                self.leap(Span::from_hours(1 + chance.u64_below(100))).await;
                "some days"
            }
            _ => {
                self.leap(Span::from_days(chance.u64_below(25))).await;
                "some weeks"
            }
        }
    }

    /// What a month says by now, and as it is written.
    async fn told(&self, month: (Timestamp, Timestamp)) -> (MonthReport, String) {
        let mut csv = Vec::new();
        let told = report(&self.shop.db, None, (month, self.now), &mut csv).await.unwrap();
        (told, String::from_utf8(csv).unwrap())
    }

    /// Every month so far adds up, and all of them are the payments. What is over is as it was.
    async fn adds_up(&self, when: &str) {
        let mut from = at(START).start_of_month();
        let (mut opening, mut paid, mut back, mut sent_back) = (0, 0, 0, 0);
        while from <= self.now {
            let month = (from, from.add_months_anchored(1));
            let (told, text) = self.told(month).await;
            if let Some(first) = self.over.get(&from) {
                assert_eq!(differing(first, &text), Vec::<&str>::new(), "{from}, {when}");
                assert!(*first == text, "in another order: {from}, {when}");
            }
            sent_back = told.books.values().map(|it| it.sent_back).sum::<i64>();
            assert_eq!(told.differences, Vec::<String>::new(), "{from}, {when}");
            assert!(told.books.values().all(|it| it.difference() == 0), "{from}, {when}: {:?}", told.books);
            let of = |of: fn(&Sums) -> i64| told.sums.values().chain(told.not_granted.values()).map(of).sum::<i64>();
            let closing = of(|it| it.left_value);
            let flows = of(|it| it.paid) - of(|it| it.given_back) - of(|it| it.earned) - of(|it| it.breakage);
            assert_eq!(opening + flows, closing, "{from}, {when}: {:?} {:?}", told.sums, told.not_granted);
            paid += of(|it| it.paid);
            back += of(|it| it.given_back);
            (opening, from) = (closing, month.1);
        }
        let (all, undelivered): (Vec<_>, Vec<_>) =
            self.paid().await.into_iter().partition(|it| it.fulfilled_at.is_some());
        let for_nothing = undelivered.iter().map(|it| it.given_back().micros()).sum::<i64>();
        assert_eq!(sent_back, for_nothing, "what was paid for nothing and went back, {when}");
        let net = |it: &Payment| it.net().micros();
        assert_eq!(paid, all.iter().map(net).sum::<i64>(), "what was paid, {when}");
        // There are no taxes here.
        let gone: i64 = all.iter().map(|it| it.given_back().micros()).sum();
        // Parts of what has moved or rolled over differ by the price of a millionth of a credit.
        let rounded = 100 * i64::try_from(all.len()).unwrap();
        assert!((back - gone).abs() <= rounded, "what went back, {when}: {back} of {gone}");
    }
}

/// The lines that only one of two reports has.
fn differing<'a>(one: &'a str, other: &'a str) -> Vec<&'a str> {
    let [one, other] = [one, other].map(|it| it.lines().collect::<BTreeSet<_>>());
    one.symmetric_difference(&other).copied().collect()
}

fn index(chance: &Entropy, bound: usize) -> usize {
    usize::try_from(chance.u64_below(u64::try_from(bound).unwrap())).unwrap()
}

/// One life of so many steps, which begins with a pack and a year.
async fn live(shop: Shop, seed: u64, steps: usize) {
    let chance = Entropy::seeded(seed);
    let (owners, happened, over) = (vec![personal(1)], BTreeSet::new(), BTreeMap::new());
    let mut life = Life { shop, now: at(START), owners, happened, over };
    life.shop.buy(personal(1), "starter", "sandbox_ok", "").await.unwrap();
    life.shop.subscribe(personal(1), "yearly", "sandbox_ok", "").await.unwrap();
    let mut last = Vec::new();
    for step in 1..=steps {
        last.push(Box::pin(life.step(&chance)).await);
        if step.is_multiple_of(20) {
            Box::pin(life.adds_up(&format!("by step {step} of life {seed}: {last:?}"))).await;
            last.clear();
        }
    }
    assert!(life.happened.contains("money that goes back"), "there was some: {:?}", life.happened);
    for owner in &life.owners {
        life.shop.assert_sound(*owner).await;
    }
}

/// The lives of this seed and of those after it, as many as a test has: each of the three tests has its own.
async fn lives(db: TestDb, seed: u64) {
    let life = async |db: &TestDb, nth: u64| {
        let plans = format!("{PLANS}{LENIENT}");
        Box::pin(live(Shop::selling(db, START, &plans).await, seed + 3 * nth, 120)).await;
    };
    Box::pin(each_life(db, life)).await;
}

#[test]
fn a_sum_that_cannot_be_counted_is_no_report_and_currencies_are_apart() {
    let (much, little) = (Money { left: i64::MAX, ..Money::default() }, Money { left: 1, ..Money::default() });
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    count(&mut sums, Currency::USD, 0, (&much, &Money::default())).unwrap();
    count(&mut sums, Currency::EUR, 0, (&little, &Money::default())).unwrap();
    assert_eq!((sums["USD"].left_value, sums["EUR"].left_value), (i64::MAX, 1));
    let beyond = count(&mut sums, Currency::USD, 0, (&little, &Money::default()));
    assert!(matches!(beyond, Err(FinanceError::TooMuch(currency)) if currency == "USD"));
    assert_eq!(sums["USD"].left_value, i64::MAX, "it stays what it was");
}

engines! {
    async fn all_lines_are_the_payments_whatever_happens_a(db: TestDb) {
        Box::pin(lives(db, 31)).await;
    }

    async fn all_lines_are_the_payments_whatever_happens_b(db: TestDb) {
        Box::pin(lives(db, 32)).await;
    }

    async fn all_lines_are_the_payments_whatever_happens_c(db: TestDb) {
        Box::pin(lives(db, 33)).await;
    }
}
