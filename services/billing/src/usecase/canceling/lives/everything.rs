//! A random life in which everything happens that can happen to a subscription: plans by the month, by the year, rolling over,
//! granted before they are paid and by contract, changes, moves, cards that are declined, refunds and disputes of what was paid for
//! them, suspension and return, while something is reserved. What becomes of the plan and its credits is other tests' affair: here
//! packs are what they were, but for what is spent or reserved of them and what they pay of a debt when they are bought. On both
//! engines.

use std::collections::BTreeSet;

use bursar_id::HoldId;
use bursar_members::Standing;
use bursar_secret::Entropy;
use bursar_testkit::{TestDb, at, each_life, engines, id, personal};
use bursar_time::{Span, Timestamp};

use super::super::CancelAt;
use super::super::tests::{cancel, resume};
use super::START;
use crate::domain::{
    Actor, Attribution, Command, Dispute, HoldCommand, Labels, Lot, LotSource, News, Outcome, Payment, Purpose, Request,
};
use crate::error::Error;
use crate::lane::Job;
use crate::store::{accounts, payments, subscriptions};
use crate::usecase::changing::tests::change;
use crate::usecase::contracts::tests::{costing, set};
use crate::usecase::moving::Moved;
use crate::usecase::renewals;
use crate::usecase::shelf::LENIENT;
use crate::usecase::shop::Shop;
use crate::usecase::years::tests::PLANS;

const SOLD: [&str; 5] = ["business", "yearly", "rolling", "yearly-pro", "lenient"];

/// How long something is reserved: never as long as time passes.
const TTL: Span = Span::from_mins(750);

/// In millionths.
const CREDIT: i64 = 1_000_000;
const PACK: i64 = 300 * CREDIT;

/// What is reserved of packs, in millionths, and until when.
struct Reserved {
    hold: HoldId,
    packs: i64,
    until: Timestamp,
}

/// A life, and what is to be left of its packs, in millionths.
struct Life {
    shop: Shop,
    now: Timestamp,
    suspended: bool,
    packs: i64,
    bought: i64,
    reserved: Vec<Reserved>,
    /// Something that was reserved has lapsed, and nobody has booked that yet, as far as is known.
    lapsed: bool,
    /// To how many organizations a plan has moved.
    moved: u64,
    /// What was not refused, so far.
    happened: BTreeSet<&'static str>,
}

impl Life {
    /// Whether it was done. Much is refused in such a life; what fails is a fault.
    fn done<T>(&mut self, what: &'static str, answer: Result<T, Error>) -> bool {
        match answer {
            Ok(_) => {
                self.happened.insert(what);
                true
            }
            Err(error) => {
                assert!(!matches!(error, Error::Failed | Error::Store(_)), "{what}: {error:?}");
                false
            }
        }
    }

    async fn buy(&mut self) {
        let mut tx = self.shop.db.read().await.unwrap();
        let account = accounts::find(&mut tx, personal(1)).await.unwrap();
        drop(tx);
        let owed = account.map_or(0, |account| account.debt.micro());
        let answer = self.shop.buy(personal(1), "starter", "sandbox_ok", "").await;
        if self.done("a pack", answer) {
            self.bought += PACK;
            self.packs += PACK - owed.min(PACK);
        }
    }

    /// How much can be taken of so much, and how much of that packs give: what expires goes first.
    async fn taken(&mut self, amount: i64) -> Option<(i64, i64)> {
        if self.suspended {
            return None;
        }
        if self.lapsed {
            // Whoever takes something books what has lapsed, and here only that.
            let hold = self.hold(1).await?;
            self.release(hold).await;
            self.lapsed = false;
        }
        let lots = self.shop.lots(personal(1)).await;
        let others = lots.iter().filter(|lot| lot.terms.source != LotSource::Pack && lot.is_spendable_at(self.now));
        let others: i64 = others.map(|lot| lot.remaining.micro()).sum();
        let amount = amount.min((others + self.packs) / CREDIT);
        (amount > 0).then(|| (amount, (amount * CREDIT - others).max(0)))
    }

    async fn charge(&mut self, amount: i64) {
        if let Some((amount, packs)) = self.taken(amount).await {
            self.shop.spend(personal(1), &amount.to_string()).await;
            self.packs -= packs;
        }
    }

    async fn reserve(&mut self, amount: i64) {
        if let Some((amount, packs)) = self.taken(amount).await {
            let hold = self.hold(amount).await.expect("it is there");
            self.packs -= packs;
            self.reserved.push(Reserved { hold, packs, until: self.now.saturating_add(TTL) });
            self.happened.insert("a hold");
        }
    }

    async fn give_up(&mut self) {
        if self.suspended || self.reserved.is_empty() {
            return;
        }
        let Reserved { hold, packs, .. } = self.reserved.swap_remove(0);
        self.release(hold).await;
        self.packs += packs;
    }

    /// `None`: there is not so much.
    async fn hold(&self, amount: i64) -> Option<HoldId> {
        let command = Command::Hold(HoldCommand {
            amount: amount.to_string().parse().unwrap(),
            ttl: TTL,
            attribution: Attribution { member: id(1), project: None, model: None },
            labels: Labels::default(),
        });
        match self.book(Request::unnamed(command).with_renewal_settled()).await? {
            Outcome::Held(held) => Some(held.hold.id),
            other => panic!("it was no hold: {other:?}"),
        }
    }

    async fn release(&self, hold: HoldId) {
        self.book(Request::unnamed(Command::Release { hold })).await.expect("it is reserved");
    }

    /// `None`: it is refused.
    async fn book(&self, request: Request) -> Option<Outcome> {
        let mut tx = self.shop.db.begin().await.unwrap();
        let job = Job { owner: personal(1), actor: Actor::Job, request };
        match self.shop.subscriptions.till.book(&mut tx, &job).await {
            Ok(outcome) => {
                tx.commit().await.unwrap();
                Some(outcome)
            }
            Err(Error::Refused(_)) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The plan moves to an organization that has none, unless it is due. What is reserved stays.
    async fn move_away(&mut self) {
        let live = subscriptions::live(&mut self.shop.db.read().await.unwrap(), personal(1)).await.unwrap();
        let is_due = live.is_none_or(|it| it.is_due(self.now) || it.next_retry_at.is_some());
        if is_due || self.suspended {
            return;
        }
        self.moved += 1;
        if let Moved::To(_) = Box::pin(self.shop.moves(id(1), id(self.moved))).await {
            self.happened.insert("a move");
        }
    }

    /// What was paid for a period or a change goes back, if nothing of it has: all of it or half of it, by a refund or by a dispute.
    /// Where a bank takes some back that was refunded before, a won dispute may grant anew what packs have paid; that is no pack's.
    async fn give_back(&mut self, chance: &Entropy) {
        let page = payments::page(&mut self.shop.db.read().await.unwrap(), personal(1), None, 100).await.unwrap();
        let stays = |it: &Payment| it.refunded.is_zero() && it.dispute == Dispute::None;
        let is_used = |it: &Payment| it.fulfilled_at.is_some() && it.bought.purpose() != Purpose::Purchase;
        let paid: Vec<_> = page.into_iter().filter(|it| stays(it) && is_used(it)).collect();
        if paid.is_empty() {
            return;
        }
        let nth = usize::try_from(chance.u64_below(u64::try_from(paid.len()).unwrap())).unwrap();
        let (id, all) = (paid[nth].id, paid[nth].amount);
        let news = match chance.u64_below(4) {
            0 => vec![News::Refunded(all.share(1, 2).floor_to_minor())],
            1 => vec![News::Refunded(all)],
            2 => vec![News::Disputed(all), News::DisputeWon],
            _ => vec![News::Disputed(all), News::DisputeLost],
        };
        for news in news {
            let answer = self.shop.payments.told(id, news).await;
            self.done("money that goes back", answer);
        }
    }

    async fn stand(&mut self, standing: Standing) {
        self.suspended = standing == Standing::Suspended;
        self.shop.stands(personal(1), standing).await;
        self.shop.settles(personal(1)).await;
    }

    /// Time passes, and the renewals have run.
    async fn leap(&mut self, span: Span) {
        self.now = self.now.saturating_add(span);
        self.shop.clock.set(self.now).unwrap();
        let now = self.now;
        for lapsed in self.reserved.extract_if(.., |it| it.until <= now) {
            self.packs += lapsed.packs;
            self.lapsed = true;
            self.happened.insert("a lapse");
        }
        while renewals::round(&self.shop.subscriptions).await.unwrap().done > 0 {}
    }

    /// Something is reserved or given up, or the plan moves; says what.
    async fn reserve_or_move(&mut self, amount: i64, which: u64) -> &'static str {
        match which {
            0..3 => {
                self.reserve(amount).await;
                "a hold"
            }
            3 => {
                self.give_up().await;
                "a release"
            }
            _ => {
                self.move_away().await;
                "a move"
            }
        }
    }

    /// Something happens; says what.
    async fn step(&mut self, chance: &Entropy) -> &'static str {
        let amount = 1 + i64::try_from(chance.u64_below(900)).unwrap();
        let plan = SOLD[usize::try_from(chance.u64_below(5)).unwrap()];
        if self.suspended && amount % 3 == 0 {
            self.stand(Standing::Active).await;
            return "a return";
        }
        match chance.u64_below(25) {
            0 => {
                self.buy().await;
                "a pack"
            }
            1..4 => {
                let answer = self.shop.subscribe(personal(1), plan, "sandbox_ok", "").await;
                self.done("a subscription", answer);
                "subscribing"
            }
            4..7 => {
                self.charge(amount).await;
                "a charge"
            }
            7 | 8 => {
                let answer = change(&self.shop, personal(1), plan, 0).await;
                self.done("a change", answer);
                "another plan"
            }
            9 | 10 => {
                let price = if amount % 2 == 0 { "900.00 USD" } else { "50.00 USD" };
                let answer = set(&self.shop, personal(1), costing(price)).await;
                self.done("a contract", answer);
                "a contract"
            }
            11 | 12 => {
                let when = if amount % 3 == 0 { CancelAt::PeriodEnd } else { CancelAt::Now };
                let answer = cancel(&self.shop, personal(1), when).await;
                self.done("a cancellation", answer);
                "cancelling"
            }
            13 => {
                let answer = resume(&self.shop, personal(1)).await;
                self.done("a resumption", answer);
                "taking it back"
            }
            14 => {
                self.shop.pays_with(if amount % 3 == 0 { "sandbox_declined" } else { "sandbox_ok" }).await;
                "another card"
            }
            15 | 16 => {
                self.give_back(chance).await;
                "money that goes back"
            }
            17 => {
                self.stand(Standing::Suspended).await;
                "a suspension"
            }
            18 => {
                self.leap(Span::from_days(chance.u64_below(120))).await;
                "a season"
            }
            19..24 => self.reserve_or_move(amount, chance.u64_below(5)).await,
            _ => {
                self.leap(Span::from_hours(1 + chance.u64_below(400))).await;
                "some days"
            }
        }
    }

    async fn compare(&self, what: &str) {
        let mut packs = self.shop.lots(personal(1)).await;
        packs.retain(|lot| lot.terms.source == LotSource::Pack);
        let sum = |of: fn(&Lot) -> i64| packs.iter().map(of).sum::<i64>();
        let reserved = self.reserved.iter().map(|it| it.packs).sum::<i64>();
        let (remaining, held) = (sum(|lot| lot.remaining.micro()), sum(|lot| lot.held.micro()));
        assert_eq!(remaining + held, self.packs + reserved, "packs, with what is reserved, after {what}");
        if !self.lapsed {
            assert_eq!((remaining, held), (self.packs, reserved), "packs, and what is reserved of them, after {what}");
        }
        assert_eq!(sum(|lot| lot.granted.micro()), self.bought, "packs that were bought, after {what}");
        let lost = sum(|lot| lot.voided.micro() + lot.expired.micro());
        assert_eq!(lost, 0, "no pack expires or is voided: after {what}");
    }
}

/// One life of so many steps, which begins with a pack and a year that moves away while something is reserved of both.
async fn live(shop: Shop, seed: u64, steps: usize) {
    let chance = Entropy::seeded(seed);
    let now = at(START);
    let (reserved, happened) = (Vec::new(), BTreeSet::new());
    let mut life =
        Life { shop, now, suspended: false, packs: 0, bought: 0, reserved, lapsed: false, moved: 0, happened };
    life.buy().await;
    life.shop.subscribe(personal(1), "yearly", "sandbox_ok", "").await.unwrap();
    life.reserve(1_700).await;
    assert_eq!(life.packs, 100 * CREDIT, "of the pack what the month does not have");
    life.move_away().await;
    life.compare("the move").await;
    life.leap(Span::DAY).await;
    life.compare("the lapse").await;
    life.charge(1_700).await;
    assert_eq!(life.packs, 0, "what has lapsed is the pack's again, and nothing else is there");
    life.compare("the charge").await;
    life.buy().await;
    life.shop.subscribe(personal(1), "lenient", "sandbox_ok", "").await.unwrap();
    for step in 0..steps {
        let what = life.step(&chance).await;
        life.compare(&format!("{what}, step {step} of life {seed}")).await;
    }
    let all = [
        "a pack",
        "a subscription",
        "a change",
        "a contract",
        "a cancellation",
        "money that goes back",
        "a hold",
        "a lapse",
        "a move",
    ];
    for what in all {
        assert!(life.happened.contains(what), "there was {what}: {:?}", life.happened);
    }
    life.shop.assert_sound(personal(1)).await;
}

/// The lives of this seed and of those after it, as many as a test has.
async fn lives(db: TestDb, seed: u64) {
    let life = async |db: &TestDb, nth: u64| {
        let plans = format!("{PLANS}{LENIENT}");
        Box::pin(live(Shop::selling(db, START, &plans).await, seed + nth, 190)).await;
    };
    Box::pin(each_life(db, life)).await;
}

engines! {
    async fn packs_are_untouched_whatever_happens(db: TestDb) {
        Box::pin(lives(db, 21)).await;
    }
}
