//! When use of a period's allowance reaches what the account's managers want to be told of.

use std::collections::BTreeSet;

use bursar_id::{ChargeId, HoldId, LotId};
use bursar_time::Span;
use proptest::prelude::*;

use super::world::{World, at, credits, id, rules, work};
use crate::domain::*;

/// How long a period lasts, in seconds.
const PERIOD: u64 = 10_000;

fn wanted(percents: &[u32]) -> PercentSet {
    PercentSet::from(&AlertPercents::new(percents).unwrap())
}

/// An account whose managers want to be told, and the second that it is.
struct Play {
    world: World,
    now: u64,
}

impl Play {
    fn wanting(percents: &[u32]) -> Self {
        let mut play = Self { world: World::new(rules()), now: 0 };
        play.choose(percents);
        play
    }

    /// As the use case does: what is used is counted anew, and what is remembered counts no more.
    fn choose(&mut self, percents: &[u32]) {
        self.world.forget();
        let account = &mut self.world.store.account;
        account.alert_at = wanted(percents);
        account.allowance = None;
        account.terms += 1;
    }

    fn ask(&mut self, command: Command) -> Result<Outcome, Refusal> {
        self.world.ask(self.now, command)
    }

    fn grant(&mut self, command: GrantCommand) -> LotId {
        match self.ask(Command::Grant(command)) {
            Ok(Outcome::Granted(it)) => it.lot.id,
            other => panic!("{other:?}"),
        }
    }

    /// What a subscription grants for the period with a number: when it begins, or at once.
    fn allowance(&mut self, amount: u32, number: u32) -> LotId {
        let start = u64::from(number) * PERIOD;
        self.grant(GrantCommand {
            effective_at: Some(at(start)),
            expires_at: Some(at(start + PERIOD)),
            origin: Origin { subscription: Some((id(9), number)), ..Origin::default() },
            ..GrantCommand::new(credits(amount), LotSource::Allowance)
        })
    }

    fn pack(&mut self, amount: u32) {
        self.grant(GrantCommand::new(credits(amount), LotSource::Pack));
    }

    fn charge(&mut self, amount: u32) -> Option<ChargeId> {
        let cost = Cost::Amount(credits(amount));
        let charge = ChargeCommand { cost, attribution: work(1), labels: Labels::default(), occurred_at: None };
        match self.ask(Command::Charge(charge)) {
            Ok(Outcome::Charged(it)) => Some(it.charge.id),
            Err(Refusal::InsufficientCredits { .. }) => None,
            other => panic!("{other:?}"),
        }
    }

    fn hold(&mut self, amount: u32, seconds: u64) -> Option<HoldId> {
        let (amount, ttl) = (credits(amount), Span::from_secs(seconds));
        let hold = HoldCommand { amount, ttl, attribution: work(1), labels: Labels::default() };
        match self.ask(Command::Hold(hold)) {
            Ok(Outcome::Held(it)) => Some(it.hold.id),
            Err(Refusal::InsufficientCredits { .. }) => None,
            other => panic!("{other:?}"),
        }
    }

    fn capture(&mut self, hold: HoldId, amount: u32) -> Option<ChargeId> {
        let cost = Some(Cost::Amount(credits(amount)));
        match self.ask(Command::Capture(CaptureCommand { hold, cost, allow_excess: true })) {
            Ok(Outcome::Charged(it)) => Some(it.charge.id),
            Err(Refusal::InsufficientCredits { .. } | Refusal::HoldSettled | Refusal::HoldExpired { .. }) => None,
            other => panic!("{other:?}"),
        }
    }

    fn refund(&mut self, charge: ChargeId, amount: u32) {
        let refund = Command::Refund(RefundCommand { charge, amount: Some(credits(amount)) });
        match self.ask(refund) {
            Ok(_) | Err(Refusal::RefundAboveCharge { .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    /// What was told since it was looked last: percentages, used, granted.
    fn told(&mut self) -> Vec<(Vec<u32>, String, String)> {
        self.world.write();
        let told = std::mem::take(&mut self.world.store.allowance_alerts);
        told.into_iter().map(|it| (it.percents, Total(it.used).to_string(), Total(it.granted).to_string())).collect()
    }
}

fn alert(percents: &[u32], used: &str, granted: &str) -> Vec<(Vec<u32>, String, String)> {
    vec![(percents.to_vec(), used.to_owned(), granted.to_owned())]
}

#[test]
fn whatever_uses_it_reaches_it_and_packs_count_on_neither_side() {
    let mut play = Play::wanting(&[50, 80, 100]);
    play.pack(1_000);
    play.allowance(100, 0);
    assert_eq!(play.told(), [], "nothing is used");
    let first = play.charge(50).unwrap();
    assert_eq!(play.told(), alert(&[50], "50", "100"));
    let held = play.hold(30, 60).unwrap();
    assert_eq!(play.told(), alert(&[80], "80", "100"), "what is reserved cannot be spent otherwise");
    play.capture(held, 30).unwrap();
    assert_eq!(play.told(), [], "it was told when it was reserved");
    let rest = play.charge(500).unwrap();
    assert_eq!(play.told(), alert(&[100], "100", "100"), "the packs pay the rest");
    play.charge(100).unwrap();
    assert_eq!(play.told(), []);
    // The pack gets its part back first.
    play.refund(rest, 480);
    assert_eq!(play.told(), []);
    play.refund(first, 50);
    play.charge(40).unwrap();
    assert_eq!(play.told(), alert(&[80], "90", "100"), "it fell below 80 and not below 50");
}

#[test]
fn what_a_hold_gives_back_arms_it_again_a_few_times() {
    let mut play = Play::wanting(&[50, 100]);
    play.allowance(100, 0);
    for _ in 0..20 {
        let held = play.hold(60, 60).unwrap();
        play.ask(Command::Release { hold: held }).unwrap();
    }
    assert_eq!(play.told().len(), 1 + Allowance::RETOLD as usize);
    // One that lapses gives back as well.
    play.hold(60, 60).unwrap();
    play.now += 60;
    play.charge(40).unwrap();
    assert_eq!(play.told(), []);
    let all = play.hold(60, 60).unwrap();
    assert_eq!(play.told(), alert(&[100], "100", "100"), "what is reached for the first time is told");
    play.capture(all, 10).unwrap();
    play.allowance(50, 0);
    play.charge(25).unwrap();
    assert_eq!(play.told(), alert(&[50], "75", "150"), "of more than there was it is the first time");
}

#[test]
fn each_period_has_an_allowance_of_its_own_and_an_upgrade_is_a_part_of_it() {
    let mut play = Play::wanting(&[80]);
    play.pack(1_000);
    play.allowance(100, 0);
    play.charge(80).unwrap();
    assert_eq!(play.told(), alert(&[80], "80", "100"));
    play.now = 5_000;
    play.allowance(200, 0);
    assert_eq!(play.told(), [], "more is less of it");
    play.charge(160).unwrap();
    assert_eq!(play.told(), alert(&[80], "240", "300"));
    let late = play.hold(50, PERIOD).unwrap();
    play.now = PERIOD;
    play.allowance(100, 1);
    play.capture(late, 50).unwrap();
    assert_eq!(play.told(), [], "that was the last period's");
    play.charge(79).unwrap();
    assert_eq!(play.told(), []);
    play.world.forget();
    play.charge(1).unwrap();
    assert_eq!(play.told(), alert(&[80], "80", "100"));
    // Between the end of one and the next that comes late packs pay, and what is granted for a period that is over is no
    // allowance.
    play.now = 3 * PERIOD + 1;
    play.charge(500).unwrap();
    play.allowance(100, 2);
    play.charge(10).unwrap();
    assert_eq!(play.told(), []);
    play.allowance(100, 3);
    play.charge(100).unwrap();
    assert_eq!(play.told(), alert(&[80], "100", "100"));
}

#[test]
fn without_an_allowance_or_anybody_who_wants_to_be_told_nobody_is() {
    let mut packs = Play::wanting(&[1, 100]);
    packs.pack(100);
    packs.charge(100).unwrap();
    assert_eq!(packs.told(), []);

    // What an operator calls an allowance belongs to no subscription.
    let mut operators = Play::wanting(&[1, 100]);
    let by_hand = GrantCommand::new(credits(100), LotSource::Allowance);
    operators.grant(GrantCommand { expires_at: Some(at(PERIOD)), ..by_hand });
    operators.charge(100).unwrap();
    assert_eq!(operators.told(), []);

    let mut nobody = Play::wanting(&[]);
    nobody.allowance(100, 0);
    nobody.charge(100).unwrap();
    assert_eq!((nobody.told(), nobody.world.store.account.allowance), (Vec::new(), None));

    // What was voided was never used.
    let mut canceled = Play::wanting(&[50]);
    let lot = canceled.allowance(100, 0);
    canceled.charge(40).unwrap();
    let held = canceled.hold(9, 60).unwrap();
    canceled.ask(Command::Void(VoidCommand { lot, note: None })).unwrap();
    canceled.pack(100);
    canceled.charge(50).unwrap();
    canceled.capture(held, 30).unwrap();
    assert_eq!(canceled.told(), []);
}

#[test]
fn another_choice_holds_for_what_is_reached_from_then_on() {
    let mut play = Play::wanting(&[50]);
    play.allowance(100, 0);
    let first = play.charge(60).unwrap();
    assert_eq!(play.told(), alert(&[50], "60", "100"));
    play.choose(&[55, 60, 70]);
    play.charge(1).unwrap();
    assert_eq!(play.told(), [], "what is reached already is not told");
    play.charge(9).unwrap();
    assert_eq!(play.told(), alert(&[70], "70", "100"));
    play.refund(first, 12);
    play.charge(2).unwrap();
    assert_eq!(play.told(), alert(&[60], "60", "100"), "less was used meanwhile");
    play.choose(&[]);
    play.charge(40).unwrap();
    play.choose(&[100]);
    assert_eq!(play.charge(1), None, "nothing is left");
    assert_eq!(play.told(), []);
}

#[test]
fn what_a_program_of_before_has_booked_is_counted_from_the_lots() {
    let mut play = Play::wanting(&[50, 80]);
    play.allowance(100, 0);
    play.charge(10).unwrap();
    play.world.forget();
    // It leaves the number as it was after another entry, which is read as none.
    play.world.store.account.allowance = None;
    play.allowance(100, 0);
    play.charge(90).unwrap();
    assert_eq!(play.told(), alert(&[50], "100", "200"));
}

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Renew(u32),
    Upgrade(u32),
    Pack(u32),
    Charge(u32),
    Hold(u32, u64),
    Capture(usize, u32),
    Release(usize),
    Refund(usize, u32),
    Choose(Vec<u32>),
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || any::<prop::sample::Index>().prop_map(|it| it.index(1_000));
    let step = prop_oneof![
        2 => prop_oneof![1_u64..200, 1_000_u64..7_000].prop_map(Step::Pass),
        2 => (1_u32..400).prop_map(Step::Renew),
        1 => (1_u32..200).prop_map(Step::Upgrade),
        1 => (1_u32..200).prop_map(Step::Pack),
        8 => (1_u32..150).prop_map(Step::Charge),
        5 => (1_u32..150, 1_u64..3_000).prop_map(|(amount, ttl)| Step::Hold(amount, ttl)),
        3 => (which(), 1_u32..200).prop_map(|(which, amount)| Step::Capture(which, amount)),
        3 => which().prop_map(Step::Release),
        4 => (which(), 1_u32..150).prop_map(|(which, amount)| Step::Refund(which, amount)),
        1 => prop::collection::btree_set(1_u32..101, 0..6).prop_map(|it| Step::Choose(it.into_iter().collect())),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..80)
}

/// What is to be told, by adding up the lots after each step.
struct Naive {
    wanted: BTreeSet<u32>,
    /// The period that was granted last, if any was.
    period: Option<u32>,
    /// Which percentages are reached, and which were since something was granted.
    reached: BTreeSet<u32>,
    ever: BTreeSet<u32>,
    retold: u32,
}

impl Naive {
    /// Used and granted of the last period.
    fn sums(&self, world: &World) -> (i64, i64) {
        let of_it = |lot: &&Lot| lot.terms.origin.subscription.map(|(_, number)| number) == self.period;
        let lots = world.store.lots.values().filter(|lot| lot.terms.source == LotSource::Allowance).filter(of_it);
        lots.fold((0, 0), |(used, granted), lot| {
            (used + lot.spent.micro() + lot.held.micro(), granted + lot.granted.micro())
        })
    }

    fn reached(&self, world: &World) -> BTreeSet<u32> {
        let (used, granted) = self.sums(world);
        let reached = |percent: &u32| granted > 0 && used * 100 >= granted * i64::from(*percent);
        (1..=100).filter(reached).collect()
    }

    /// Something was granted: what is reached then is told to nobody.
    fn granted(&mut self, world: &World, period: u32) {
        if self.period != Some(period) {
            (self.period, self.retold) = (Some(period), 0);
        }
        self.reached = self.reached(world);
        self.ever = self.reached.clone();
    }

    fn chosen(&mut self, percents: &[u32]) {
        self.wanted = percents.iter().copied().collect();
        self.ever = self.reached.clone();
        self.retold = 0;
    }

    /// Something else was done.
    fn told(&mut self, world: &World) -> Vec<(Vec<u32>, String, String)> {
        let now = self.reached(world);
        let mut told: Vec<u32> = now.difference(&self.reached).copied().filter(|it| self.wanted.contains(it)).collect();
        let first: Vec<u32> = told.iter().copied().filter(|it| !self.ever.contains(it)).collect();
        if told != first {
            if self.retold < 8 {
                self.retold += 1;
            } else {
                told = first;
            }
        }
        self.ever.extend(&now);
        self.reached = now;
        let (used, granted) = self.sums(world);
        if told.is_empty() { Vec::new() } else { alert(&told, &Total(used).to_string(), &Total(granted).to_string()) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens in whatever order, and wherever the account is loaded anew.
    #[test]
    fn it_is_told_as_the_lots_say(steps in steps()) {
        let mut play = Play::wanting(&[50, 80, 100]);
        play.pack(300);
        let (mut holds, mut charges): (Vec<HoldId>, Vec<ChargeId>) = (Vec::new(), Vec::new());
        let (wanted, none) = (BTreeSet::from([50, 80, 100]), BTreeSet::new());
        let mut naive = Naive { wanted, period: None, reached: none.clone(), ever: none, retold: 0 };
        for step in steps {
            // What is due is booked by itself, so that each step is one entry.
            play.ask(Command::Sweep).unwrap();
            prop_assert_eq!(play.told(), naive.told(&play.world), "what is due before {:?}", step);
            let present = u32::try_from(play.now / PERIOD).unwrap();
            match step.clone() {
                Step::Pass(seconds) => play.now += seconds,
                Step::Renew(amount) => if naive.period.is_none_or(|it| it < present) {
                    play.allowance(amount, present);
                    play.world.write();
                    naive.granted(&play.world, present);
                },
                Step::Upgrade(amount) => if naive.period == Some(present) {
                    play.allowance(amount, present);
                    play.world.write();
                    naive.granted(&play.world, present);
                },
                Step::Pack(amount) => play.pack(amount),
                Step::Charge(amount) => charges.extend(play.charge(amount)),
                Step::Hold(amount, seconds) => holds.extend(play.hold(amount, seconds)),
                Step::Capture(which, amount) => if let Some(hold) = holds.get(which % holds.len().max(1)).copied() {
                    charges.extend(play.capture(hold, amount));
                },
                Step::Release(which) => if let Some(hold) = holds.get(which % holds.len().max(1)).copied() {
                    drop(play.ask(Command::Release { hold }));
                },
                Step::Refund(which, amount) => if let Some(charge) = charges.get(which % charges.len().max(1)).copied() {
                    play.refund(charge, amount);
                },
                Step::Choose(percents) => {
                    play.choose(&percents);
                    naive.chosen(&percents);
                },
                Step::Forget => play.world.forget(),
            }
            prop_assert_eq!(play.told(), naive.told(&play.world), "{:?}", step);
        }
    }
}
