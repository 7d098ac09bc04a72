//! Random command sequences: the engine and the naive model must agree on every answer, every lot,
//! every hold, every usage figure and every line of the ledger. Failures shrink.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a model counts to a few hundred"
)]

use std::collections::BTreeSet;

use bursar_id::{Id, kinds};
use bursar_money::Credits;
use bursar_time::Span;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::model::Model;
use super::words::{Answer, Ask, HoldIs, merge};
use super::world::{World, at, attribution, id, key};
use crate::domain::*;

const LOTS: u64 = 1_000;
const HOLDS: u64 = 2_000;
const CHARGES: u64 = 3_000;

/// One random step. References are raw numbers, resolved against what exists when it runs.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Seconds since the step before.
    wait: i64,
    /// Whether everything so far is written before it, and whether the state is then loaded anew.
    write: bool,
    reload: bool,
    key: Option<u8>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Charge {
        amount: u64,
        member: u64,
    },
    Hold {
        amount: u64,
        ttl: i64,
        member: u64,
    },
    Capture {
        hold: usize,
        amount: u64,
        excess: bool,
    },
    Release {
        hold: usize,
    },
    Refund {
        charge: usize,
        amount: Option<u64>,
    },
    Grant {
        amount: u64,
        priority: i32,
        free: bool,
        effective: Option<i64>,
        lasts: Option<i64>,
    },
    Void {
        lot: usize,
    },
    Sweep,
    /// Repeats an earlier keyed request.
    Retry {
        nth: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let grant =
        (0..20_u64, 0..3_i32, any::<bool>(), prop::option::of(-10..10_i64), prop::option::weighted(0.7, -3..30_i64));
    let what = prop_oneof![
        4 => grant.prop_map(|(amount, priority, free, effective, lasts)| {
            What::Grant { amount, priority, free, effective, lasts }
        }),
        8 => (0..12_u64, 1..3_u64).prop_map(|(amount, member)| What::Charge { amount, member }),
        6 => (0..12_u64, 0..15_i64, 1..3_u64)
            .prop_map(|(amount, ttl, member)| What::Hold { amount, ttl, member }),
        5 => (0..9_usize, 0..14_u64, any::<bool>())
            .prop_map(|(hold, amount, excess)| What::Capture { hold, amount, excess }),
        3 => (0..9_usize).prop_map(|hold| What::Release { hold }),
        5 => (0..9_usize, prop::option::of(0..9_u64))
            .prop_map(|(charge, amount)| What::Refund { charge, amount }),
        1 => (0..9_usize).prop_map(|lot| What::Void { lot }),
        1 => Just(What::Sweep),
        3 => (0..9_usize).prop_map(|nth| What::Retry { nth }),
    ];
    let wait = prop_oneof![3 => Just(0), 3 => 0..4_i64, 1 => 0..20_i64];
    let key = prop::option::weighted(0.4, 0..12_u8);
    (wait, any::<[bool; 2]>(), key, what).prop_map(|(wait, [write, reload], key, what)| Step {
        wait,
        write,
        reload,
        key,
        what,
    })
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

/// The engine and the model side by side.
pub(super) struct Pair {
    pub(super) world: World,
    model: Model,
    now: i64,
    /// Keyed requests so far, for retries.
    asked: Vec<(u8, Ask)>,
    pub(super) answers: Vec<Answer>,
}

impl Pair {
    pub(super) fn run(steps: &[Step]) -> Self {
        // Begins at second 100, so that grants may have begun before.
        let mut pair =
            Self { world: World::new(), model: Model::default(), now: 100, asked: Vec::new(), answers: Vec::new() };
        for step in steps {
            pair.step(step);
        }
        pair.world.forget();
        pair.compare();
        pair
    }

    fn step(&mut self, step: &Step) {
        self.now += step.wait;
        if step.write {
            self.world.write();
            self.compare();
        }
        if step.reload {
            self.world.forget();
        }
        let (key, ask) = match &step.what {
            What::Retry { nth } if self.asked.is_empty() => (Some(*nth as u8), Ask::Sweep),
            What::Retry { nth } => {
                // Counted from the end: a recent request is retried most often.
                let index = self.asked.len() - 1 - nth % self.asked.len();
                let (key, ask) = self.asked[index].clone();
                (Some(key), ask)
            }
            what => (step.key, self.resolve(what)),
        };
        let request = self.request(key, &ask);
        let expected = self.model.ask(self.now, key, &ask);
        let answer = answer(self.world.run(&request, at(self.now as u64)));
        assert_eq!(answer, expected, "{ask:?} at {} with key {key:?}", self.now);
        self.answers.push(answer);
        if let Some(key) = key {
            self.asked.push((key, ask));
        }
    }

    /// One more than there are stands for something that does not exist.
    fn resolve(&self, what: &What) -> Ask {
        match *what {
            What::Charge { amount, member } => Ask::Charge { amount, member },
            What::Hold { amount, ttl, member } => Ask::Hold { amount, ttl, member },
            What::Capture { hold, amount, excess } => {
                Ask::Capture { hold: recent(hold, self.model.hold_count()), amount, excess }
            }
            What::Release { hold } => Ask::Release { hold: recent(hold, self.model.hold_count()) },
            What::Refund { charge, amount } => {
                Ask::Refund { charge: recent(charge, self.model.charge_count()), amount }
            }
            What::Grant { amount, priority, free, effective, lasts } => {
                let effective = effective.map(|offset| self.now + offset);
                let expires = lasts.map(|lasts| effective.unwrap_or(self.now) + lasts);
                Ask::Grant { amount, priority, free, effective, expires }
            }
            What::Void { lot } => Ask::Void { lot: recent(lot, self.model.lot_count()) },
            What::Sweep | What::Retry { .. } => Ask::Sweep,
        }
    }

    /// The same question in the engine's words; what it may make gets the next number.
    fn request(&self, asked_as: Option<u8>, ask: &Ask) -> Request {
        let charge = id(CHARGES + self.model.charge_count() as u64);
        let second = |second: i64| at(second as u64);
        let command = match *ask {
            Ask::Charge { amount, member } => Command::Charge(ChargeCommand {
                charge,
                amount: units(amount),
                pricing: Pricing::Named,
                attribution: attribution(member),
                occurred_at: None,
            }),
            Ask::Hold { amount, ttl, member } => Command::Hold(HoldCommand {
                hold: id(HOLDS + self.model.hold_count() as u64),
                amount: units(amount),
                ttl: Span::from_secs(ttl as u64),
                attribution: attribution(member),
            }),
            Ask::Capture { hold, amount, excess } => Command::Capture(CaptureCommand {
                hold: id(HOLDS + hold as u64),
                charge,
                amount: units(amount),
                allow_excess: excess,
            }),
            Ask::Release { hold } => Command::Release { hold: id(HOLDS + hold as u64) },
            Ask::Refund { charge, amount } => Command::Refund(RefundCommand {
                charge: id(CHARGES + charge as u64),
                refund: id(self.answers.len() as u64),
                amount: amount.map(units),
            }),
            Ask::Grant { amount, priority, free, effective, expires } => Command::Grant(GrantCommand {
                lot: id(LOTS + self.model.lot_count() as u64),
                amount: units(amount),
                source: if free { LotSource::Promotion } else { LotSource::Allowance },
                priority,
                effective_at: effective.map(second),
                expires_at: expires.map(second),
                note: None,
            }),
            Ask::Void { lot } => Command::Void(VoidCommand { lot: id(LOTS + lot as u64), note: None }),
            Ask::Sweep => Command::Sweep,
        };
        Request::new(asked_as.map(|number| key(&format!("k{number}"))), command)
    }

    fn compare(&self) {
        let store = &self.world.store;
        let ledger = store.entries.iter().map(|entry| {
            let second = entry.at.since(at(0)).as_secs() as i64;
            let after = (entry.available_after.micro() as u64, entry.held_after.micro() as u64);
            (entry.kind.as_str(), second, entry.amount.micro() as u64, after.0, after.1)
        });
        assert_eq!(ledger.collect::<Vec<_>>(), self.model.ledger, "the ledger");
        assert_eq!(store.lots.len(), self.model.lot_count(), "number of lots");
        for (index, lot) in store.lots.values().enumerate() {
            let parts = [lot.remaining, lot.held, lot.spent, lot.expired, lot.voided];
            let parts = parts.map(|part| part.micro() as u64);
            assert_eq!(parts, self.model.lot_parts(index), "lot {index}: {lot:?}");
        }
        assert_eq!(store.holds.len(), self.model.hold_count(), "number of holds");
        for (index, hold) in store.holds.values().enumerate() {
            assert_eq!(hold_is(hold.state), self.model.hold_is(index), "hold {index}");
        }
        for member in 1..3 {
            let of_member = store.usage.iter().filter(|(key, _)| key.member == id(member));
            let net: i64 = of_member.map(|(_, it)| it.charged - it.refunded).sum();
            assert_eq!(net as u64, self.model.spent_by(member), "usage of member {member}");
        }
        let spent = store.account.period.spent.micro() as u64;
        assert_eq!(spent, self.model.spent_in_period, "spent in the period");
    }
}

fn recent(raw: usize, count: usize) -> usize {
    // Mostly something recent, now and then something that does not exist.
    if raw == 8 || count == 0 { count } else { count - 1 - raw % count }
}

fn units(amount: u64) -> Credits {
    Credits::from_micro(amount as i64).unwrap()
}

fn count(amount: Credits) -> u64 {
    amount.micro() as u64
}

fn hold_is(state: HoldState) -> HoldIs {
    match state {
        HoldState::Open => HoldIs::Open,
        HoldState::Captured => HoldIs::Captured,
        HoldState::Released => HoldIs::Released,
        HoldState::Lapsed => HoldIs::Lapsed,
    }
}

fn lots(allocations: &[Allocation]) -> Vec<(usize, u64)> {
    let index = |lot: Id<kinds::Lot>| (lot.timestamp_millis() - LOTS) as usize;
    merge(allocations.iter().map(|it| (index(it.lot), count(it.amount))))
}

/// The engine's answer in the model's words.
fn answer(result: Result<Outcome, Refusal>) -> Answer {
    match result {
        Ok(Outcome::Charged(it)) => {
            Answer::Charged { lots: lots(&it.charge.allocations), left: count(it.balance_after), again: it.replayed }
        }
        Ok(Outcome::Held(it)) => {
            Answer::Held { lots: lots(&it.hold.earmarks), left: count(it.balance_after), again: it.replayed }
        }
        Ok(Outcome::Released(it)) => {
            Answer::Released { is: hold_is(it.hold.state), left: count(it.balance_after), again: it.replayed }
        }
        Ok(Outcome::Refunded(it)) => Answer::Refunded {
            lots: lots(&it.refund.allocations),
            lost: count(it.refund.lost),
            left: count(it.balance_after),
            again: it.replayed,
        },
        Ok(Outcome::Granted(it)) => Answer::Granted { left: count(it.balance_after), again: it.replayed },
        Ok(Outcome::Voided(it)) => {
            Answer::Voided { amount: count(it.amount), left: count(it.balance_after), again: it.replayed }
        }
        Ok(Outcome::Swept { .. }) => Answer::Swept,
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::RequestIdReused => Answer::Reused,
        Refusal::HoldNotFound | Refusal::ChargeNotFound | Refusal::LotNotFound => Answer::NotFound,
        Refusal::HoldSettled => Answer::Settled,
        Refusal::HoldExpired { .. } => Answer::Expired,
        Refusal::LotVoided => Answer::LotVoided,
        Refusal::LotExpired => Answer::LotExpired,
        Refusal::ZeroAmount => Answer::Zero,
        Refusal::HoldTimeOutOfRange => Answer::HoldTime,
        Refusal::EmptyValidity => Answer::EmptyValidity,
        Refusal::CaptureAboveHold { .. } => Answer::AboveHold,
        Refusal::RefundAboveCharge { left, .. } => Answer::AboveCharge { left: count(left) },
        Refusal::InsufficientCredits { available, required } => {
            Answer::Short { available: count(available), required: count(required) }
        }
        Refusal::BalanceTooLarge | Refusal::Inconsistent(_) => panic!("{refusal}"),
    }
}

proptest! {
    #![proptest_config(Config { cases: 400, ..Config::default() })]

    #[test]
    fn the_engine_does_what_the_naive_model_does(steps in steps()) {
        let pair = Pair::run(&steps);
        let audit = pair.world.store.verify();
        prop_assert!(audit.is_ok(), "{}", audit.unwrap_err());
    }
}

/// A random test is worth what it reaches.
#[test]
fn random_sequences_reach_every_kind_of_entry_and_every_answer() {
    let mut runner = TestRunner::deterministic();
    let (mut kinds, mut answers) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..150 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let pair = Pair::run(&steps);
        kinds.extend(pair.world.store.entries.iter().map(|entry| entry.kind));
        answers.extend(pair.answers.iter().map(|answer| {
            let text = format!("{answer:?}");
            let again = text.contains("again: true");
            (text.split([' ', '{']).next().unwrap().to_owned(), again)
        }));
    }
    assert_eq!(kinds, EntryKind::ALL.into_iter().collect(), "kinds of entries");
    let again = answers.iter().filter(|(_, again)| *again).count();
    let distinct: BTreeSet<_> = answers.iter().map(|(name, _)| name).collect();
    assert_eq!((distinct.len(), again), (19, 6), "answers and replayed answers: {answers:?}");
}
