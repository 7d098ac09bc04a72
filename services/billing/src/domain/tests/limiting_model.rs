//! Limits against a list of everything that was ever spent: random work, by random people, at random instants, under
//! limits that are set at any time, in calendar months and in those of subscriptions that begin, renew and move in. And what is
//! told of that.

use std::collections::{BTreeMap, BTreeSet};

use bursar_id::{ChargeId, HoldId, LimitId};
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};
use jiff::Zoned;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::holding::looked;
use super::world::{World, credits, id, model, project, rules};
use crate::domain::*;

const ZONE: &str = "Europe/Berlin";

/// At which percentages every limit is told of.
const PERCENTS: [u16; 3] = [50, 90, 100];

/// Something that counts, as a plain list has it.
#[derive(Debug, Clone)]
struct Spent {
    at: Timestamp,
    /// When the billing period began that it counts in.
    period: Timestamp,
    member: u64,
    project: Option<u8>,
    model: Option<u8>,
    key: Option<u64>,
    /// What it comes to now: charged or reserved, less what was given back.
    amount: i64,
    hold: Option<(HoldId, Timestamp)>,
    charge: Option<ChargeId>,
}

/// What happens next. With `Begin` a subscription begins, or moves in so many seconds after its month has begun; with `Renew` its
/// month is booked, however late and often.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Charge { member: u64, project: Option<u8>, model: Option<u8>, key: Option<u64>, amount: i64 },
    Hold { member: u64, project: Option<u8>, model: Option<u8>, key: Option<u64>, amount: i64, ttl: u64 },
    Capture { which: usize, amount: i64 },
    Release { which: usize },
    Refund { which: usize, amount: i64 },
    Limit { subject: u8, window: usize, amount: i64, warn: bool },
    Unlimit { which: usize },
    Begin { ago: u64 },
    Renew,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let work = || (1_u64..3, prop::option::of(0_u8..2), prop::option::of(0_u8..2), prop::option::of(1_u64..3));
    let amount = || 1_i64..9_000_000;
    let step = prop_oneof![
        3 => prop_oneof![0_u64..600, 600_u64..40_000, 40_000_u64..1_000_000].prop_map(Step::Pass),
        6 => (work(), amount()).prop_map(|((member, project, model, key), amount)| {
            Step::Charge { member, project, model, key, amount }
        }),
        4 => (work(), amount(), 1_u64..86_400).prop_map(|((member, project, model, key), amount, ttl)| {
            Step::Hold { member, project, model, key, amount, ttl }
        }),
        3 => (any::<prop::sample::Index>(), amount()).prop_map(|(which, amount)| {
            Step::Capture { which: which.index(1_000), amount }
        }),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Release { which: which.index(1_000) }),
        3 => (any::<prop::sample::Index>(), amount()).prop_map(|(which, amount)| {
            Step::Refund { which: which.index(1_000), amount }
        }),
        2 => (0_u8..6, 0_usize..4, 0_i64..40_000_000, any::<bool>()).prop_map(|(subject, window, amount, warn)| {
            Step::Limit { subject, window, amount, warn }
        }),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::Unlimit { which: which.index(1_000) }),
        1 => prop_oneof![Just(0_u64), 1_u64..90_000, 90_000_u64..28 * 86_400].prop_map(|ago| Step::Begin { ago }),
        1 => Just(Step::Renew),
    ];
    prop::collection::vec(step, 1..60)
}

fn name(n: u8) -> String {
    format!("n{n}")
}

fn subject(n: u8) -> LimitSubject {
    LimitSubject::One(match n {
        0 => return LimitSubject::EveryMember,
        1 => Subject::Member(id(1)),
        2 => Subject::Member(id(2)),
        3 => Subject::Project(project(&name(0))),
        4 => Subject::Model(model(&name(0))),
        _ => Subject::Key(id(1)),
    })
}

fn utc(at: Timestamp) -> Zoned {
    jiff::Timestamp::from_microsecond(at.as_micros()).unwrap().to_zoned(TimeZone::UTC)
}

/// How many months of a subscription that began at `anchor` are over, and when the one that `now` is in began.
fn month_of(anchor: Timestamp, now: Timestamp) -> (u32, Timestamp) {
    let (first, now) = (utc(anchor), utc(now));
    let begins = |months: u32| first.checked_add(jiff::Span::new().months(months)).unwrap();
    let number = (0..1_200).take_while(|months| begins(*months) <= now).last().unwrap();
    (number, Timestamp::from_micros(begins(number).timestamp().as_microsecond()).unwrap())
}

/// In which window something counts: by the dates that a calendar on the wall shows.
fn place(window: LimitWindow, of: &Spent) -> i64 {
    let local = || utc(of.at).with_time_zone(TimeZone::get(ZONE).unwrap()).date();
    let month = |date: jiff::civil::Date| i64::from(date.year()) * 100 + i64::from(date.month());
    match window {
        LimitWindow::Hour => of.at.as_unix_secs().div_euclid(3_600),
        LimitWindow::Day => month(local()) * 100 + i64::from(local().day()),
        LimitWindow::Month => month(local()),
        LimitWindow::Period => of.period.as_micros(),
    }
}

fn together(window: LimitWindow, one: &Spent, other: &Spent) -> bool {
    place(window, one) == place(window, other)
}

/// Whose use of some work a limit is about, if of anybody's.
fn whose(limit: &LimitSubject, of: &Spent) -> Option<Subject> {
    match limit {
        LimitSubject::EveryMember => Some(Subject::Member(id(of.member))),
        LimitSubject::One(subject) => does(subject, of).then(|| subject.clone()),
    }
}

fn does(subject: &Subject, of: &Spent) -> bool {
    match subject {
        Subject::Member(user) => id(of.member) == *user,
        Subject::Project(it_is) => of.project.is_some_and(|n| name(n) == it_is.as_str()),
        Subject::Model(it_is) => of.model.is_some_and(|n| name(n) == it_is.as_str()),
        Subject::Key(key) => of.key.is_some_and(|n| id(n) == *key),
    }
}

/// What is told of a limit: at which percentages, and how much is used then.
type Told = (LimitId, Vec<u16>, i64);

/// The list, and what it says.
#[derive(Default)]
struct List {
    spent: Vec<Spent>,
    limits: Vec<Limit>,
    /// How many limits were ever set.
    made: u64,
    /// Since when the months of a subscription are counted, if there ever was one.
    anchor: Option<Timestamp>,
    /// The most that was used in a window since a limit about it was set, and how often something was told of that again.
    heard: BTreeMap<(Subject, LimitWindow, i64), (i64, u32)>,
    /// What is to be told.
    told: Vec<Told>,
}

impl List {
    /// When the billing period began that is open.
    fn period(&self, now: Timestamp) -> Timestamp {
        if let Some(anchor) = self.anchor {
            return month_of(anchor, now).1;
        }
        let first = utc(now).date().first_of_month().to_zoned(TimeZone::UTC).unwrap();
        Timestamp::from_micros(first.timestamp().as_microsecond()).unwrap()
    }

    fn sum(&self, subject: &Subject, window: LimitWindow, of: &Spent) -> i64 {
        let counted = self.spent.iter().filter(|it| does(subject, it) && together(window, it, of));
        counted.map(|it| it.amount).sum()
    }

    /// What is used in the window that `of` is in, of whatever `limit` says of the work of `of`; `None` if that is none of it.
    fn used(&self, limit: &Limit, of: &Spent) -> Option<i64> {
        let own = |other: &&Limit| {
            other.subject == LimitSubject::One(Subject::Member(id(of.member)))
                && (other.window, other.mode) == (limit.window, limit.mode)
        };
        if limit.subject == LimitSubject::EveryMember && self.limits.iter().any(|it| own(&it)) {
            return None;
        }
        whose(&limit.subject, of).map(|subject| self.sum(&subject, limit.window, of))
    }

    /// Makes a change of what `of` comes to, and notes what is to be told of it at `now`: what is reached for the first time since a
    /// limit was set, and eight times what is reached again.
    fn change(&mut self, of: &Spent, now: &Spent, make: impl FnOnce(&mut Self)) {
        let open = |limit: &Limit| together(limit.window, of, now);
        let limits: Vec<Limit> =
            self.limits.iter().filter(|it| open(it) && self.used(it, of).is_some()).cloned().collect();
        let before: Vec<i64> = limits.iter().filter_map(|it| self.used(it, of)).collect();
        make(self);
        let (mut retold, mut peaks) = (BTreeSet::new(), BTreeMap::new());
        for (limit, before) in limits.iter().zip(before) {
            let after = self.used(limit, of).unwrap();
            let key = (whose(&limit.subject, of).unwrap(), limit.window, place(limit.window, of));
            let (peak, times) = self.heard.get(&key).copied().unwrap_or_default();
            let reaches = |used: i64, percent: u16| used * 100 >= limit.amount.micro() * i64::from(percent);
            let crossed = |from: i64| PERCENTS.into_iter().filter(move |it| !reaches(from, *it) && reaches(after, *it));
            let (mut percents, first): (Vec<u16>, Vec<u16>) = (crossed(before).collect(), crossed(peak).collect());
            if percents.len() > first.len() {
                if times < 8 {
                    retold.insert(key.clone());
                } else {
                    percents = first;
                }
            }
            if !percents.is_empty() {
                self.told.push((limit.id, percents, after));
            }
            peaks.insert(key, peak.max(after));
        }
        for (key, peak) in peaks {
            let times = self.heard.get(&key).map_or(0, |it| it.1) + u32::from(retold.contains(&key));
            self.heard.insert(key, (peak, times));
        }
    }

    /// A limit is set: what is reached by now is told to nobody, and what is reached again anew.
    fn rearm(&mut self, limit: &Limit, now: Timestamp) {
        for n in 1..6 {
            let of = self.probe(n, now);
            let LimitSubject::One(subject) = subject(n) else { continue };
            let is_about = match &limit.subject {
                LimitSubject::EveryMember => matches!(subject, Subject::Member(_)),
                LimitSubject::One(one) => *one == subject,
            };
            if is_about {
                let used = self.sum(&subject, limit.window, &of);
                self.heard.insert((subject, limit.window, place(limit.window, &of)), (used, 0));
            }
        }
    }

    /// Nothing that would be spent now by whatever the `n`-th subject is.
    fn probe(&self, n: u8, now: Timestamp) -> Spent {
        let (member, project, model, key) = match n {
            1 => (1, None, None, None),
            2 => (2, None, None, None),
            3 => (1, Some(0), None, None),
            4 => (1, None, Some(0), None),
            _ => (1, None, None, Some(1)),
        };
        let (period, amount, hold, charge) = (self.period(now), 0, None, None);
        Spent { at: now, period, member, project, model, key, amount, hold, charge }
    }

    /// Whether so much more fits, as a part of `of`, under all hard limits that speak of it.
    fn fits(&self, of: &Spent, more: i64) -> bool {
        let mut hard = self.limits.iter().filter(|limit| limit.mode == LimitMode::Hard);
        hard.all(|limit| self.used(limit, of).is_none_or(|used| used + more <= limit.amount.micro()))
    }

    fn lapse(&mut self, now: Timestamp) {
        for it in &mut self.spent {
            if it.hold.is_some_and(|(_, deadline)| deadline <= now) {
                (it.hold, it.amount) = (None, 0);
            }
        }
    }
}

fn attribution(of: &Spent) -> Attribution {
    let (project, model) = (of.project.map(|n| project(&name(n))), of.model.map(|n| model(&name(n))));
    Attribution { member: id(of.member), project, model }
}

fn actor(of: &Spent) -> Actor {
    match of.key {
        Some(n) => Actor::ApiKey { key: id(n), user: id(of.member) },
        None => super::world::service(1),
    }
}

fn micro(amount: i64) -> Credits {
    Credits::from_micro(amount).unwrap()
}

#[track_caller]
fn agree(list: &List, outcome: &Result<Outcome, Refusal>, fits: bool, what: &str) -> bool {
    match outcome {
        Ok(_) => assert!(fits, "{what}: the list says that a limit is reached"),
        Err(Refusal::LimitReached(it)) => {
            assert!(!fits, "{what}: the list says that it fits: {it:?} {:?}", list.limits);
        }
        Err(other) => panic!("{what}: {other}"),
    }
    fits
}

/// The engine's account beside the list.
struct Game {
    world: World,
    list: List,
    now: Timestamp,
}

/// What new work is for.
type Work = (u64, Option<u8>, Option<u8>, Option<u64>);

impl Game {
    fn at(now: Timestamp) -> Self {
        let mut game = Self { world: World::new(rules()), list: List::default(), now };
        game.world.store.account = Account::open(super::world::owner(), now);
        let grant = GrantCommand::new(credits(1_000_000), LotSource::Pack);
        game.ask(Command::Grant(grant), &Actor::Job).unwrap();
        game
    }

    fn ask(&mut self, command: Command, actor: &Actor) -> Result<Outcome, Refusal> {
        self.world.run(&Request::unnamed(command).with_renewal_settled(), actor, self.now)
    }

    fn spent(&self, (member, project, model, key): Work, amount: i64) -> Spent {
        let period = self.list.period(self.now);
        let (at, hold, charge) = (self.now, None, None);
        Spent { at, period, member, project, model, key, amount, hold, charge }
    }

    /// It is on the list.
    fn spend(&mut self, new: Spent) {
        let now = self.list.probe(1, self.now);
        self.list.change(&new.clone(), &now, |list| list.spent.push(new));
    }

    fn charge(&mut self, work: Work, amount: i64) {
        let mut new = self.spent(work, amount);
        let (cost, attribution) = (Cost::Amount(micro(amount)), attribution(&new));
        let command = ChargeCommand { cost, attribution, labels: Labels::default(), occurred_at: None };
        let outcome = self.ask(Command::Charge(command), &actor(&new));
        if agree(&self.list, &outcome, self.list.fits(&new, amount), "charge")
            && let Ok(Outcome::Charged(it)) = outcome
        {
            new.charge = Some(it.charge.id);
            self.spend(new);
        }
    }

    fn hold(&mut self, work: Work, amount: i64, ttl: u64) {
        let mut new = self.spent(work, amount);
        let (ttl, attribution) = (Span::from_secs(ttl), attribution(&new));
        let command = HoldCommand { amount: micro(amount), ttl, attribution, labels: Labels::default() };
        let outcome = self.ask(Command::Hold(command), &actor(&new));
        if agree(&self.list, &outcome, self.list.fits(&new, amount), "hold")
            && let Ok(Outcome::Held(it)) = outcome
        {
            new.hold = Some((it.hold.id, it.hold.deadline));
            self.spend(new);
        }
    }

    /// One of those things for which this holds.
    fn one(&self, which: usize, may: impl Fn(&Spent) -> bool) -> Option<usize> {
        let may: Vec<usize> = (0..self.list.spent.len()).filter(|it| may(&self.list.spent[*it])).collect();
        may.get(which % may.len().max(1)).copied()
    }

    fn capture(&mut self, which: usize, amount: i64) {
        let Some(which) = self.one(which, |it| it.hold.is_some()) else { return };
        let of = self.list.spent[which].clone();
        let more = (amount - of.amount).max(0);
        let (hold, cost) = (of.hold.unwrap().0, Some(Cost::Amount(micro(amount))));
        let command = Command::Capture(CaptureCommand { hold, cost, allow_excess: true });
        let outcome = self.ask(command, &super::world::service(1));
        if agree(&self.list, &outcome, more == 0 || self.list.fits(&of, more), "capture")
            && let Ok(Outcome::Charged(it)) = outcome
        {
            let now = self.list.probe(1, self.now);
            let settled = Spent { amount, hold: None, charge: Some(it.charge.id), ..of.clone() };
            self.list.change(&of, &now, |list| list.spent[which] = settled);
        }
    }

    fn release(&mut self, which: usize) {
        let Some(which) = self.one(which, |it| it.hold.is_some()) else { return };
        let (hold, _) = self.list.spent[which].hold.unwrap();
        self.ask(Command::Release { hold }, &super::world::service(1)).unwrap();
        (self.list.spent[which].hold, self.list.spent[which].amount) = (None, 0);
    }

    fn refund(&mut self, which: usize, amount: i64) {
        let Some(which) = self.one(which, |it| it.charge.is_some() && it.amount > 0) else { return };
        let of = self.list.spent[which].clone();
        let amount = amount.min(of.amount);
        let refund = RefundCommand { charge: of.charge.unwrap(), amount: Some(micro(amount)) };
        self.ask(Command::Refund(refund), &super::world::service(1)).unwrap();
        self.list.spent[which].amount -= amount;
    }

    fn limit(&mut self, n: u8, window: usize, amount: i64, warn: bool) {
        let (subject, window) = (subject(n), LimitWindow::ALL[window]);
        let mode = if warn { LimitMode::Warn } else { LimitMode::Hard };
        self.ask(Command::Sweep, &Actor::Job).unwrap();
        let same = |it: &Limit| (&it.subject, it.window, it.mode) == (&subject, window, mode);
        self.list.limits.retain(|it| !same(it));
        self.list.made += 1;
        let (id, alerts) = (id(self.list.made), Percents::parse(&PERCENTS.map(u32::from)).unwrap());
        let limit = Limit { id, subject, window, mode, amount: micro(amount), alerts };
        self.list.rearm(&limit, self.now);
        self.list.limits.push(limit);
        self.world.limit(self.list.limits.clone(), ZONE.parse().unwrap(), self.now);
    }

    /// What is over for so long that nothing can count in it any more is forgotten.
    fn pass(&mut self, time: Span) {
        self.now = self.now.checked_add(time).unwrap();
        self.world.forget();
        let until = self.now.saturating_sub(REACH);
        self.world.store.used.retain(|_, used| used.ends_at > until);
    }

    fn unlimit(&mut self, which: usize) {
        if self.list.limits.is_empty() {
            return;
        }
        self.list.limits.remove(which % self.list.limits.len());
        self.world.limit(self.list.limits.clone(), ZONE.parse().unwrap(), self.now);
    }

    fn begin(&mut self, ago: u64) {
        let anchor = self.now.saturating_sub(Span::from_secs(ago));
        self.book((anchor, 0));
        self.list.anchor = Some(anchor);
    }

    fn renew(&mut self) {
        if let Some(anchor) = self.list.anchor {
            self.book((anchor, month_of(anchor, self.now).0));
        }
    }

    /// What a subscription books with its month.
    fn book(&mut self, begins: (Timestamp, u32)) {
        let grant = GrantCommand { begins: Some(begins), ..GrantCommand::new(credits(1), LotSource::Allowance) };
        self.ask(Command::Grant(grant), &Actor::Job).unwrap();
    }

    fn step(&mut self, step: &Step) {
        self.list.lapse(self.now);
        match *step {
            Step::Pass(seconds) => self.pass(Span::from_secs(seconds)),
            Step::Charge { member, project, model, key, amount } => self.charge((member, project, model, key), amount),
            Step::Hold { member, project, model, key, amount, ttl } => {
                self.hold((member, project, model, key), amount, ttl);
            }
            Step::Capture { which, amount } => self.capture(which, amount),
            Step::Release { which } => self.release(which),
            Step::Refund { which, amount } => self.refund(which, amount),
            Step::Limit { subject, window, amount, warn } => self.limit(subject, window, amount, warn),
            Step::Unlimit { which } => self.unlimit(which),
            Step::Begin { ago } => self.begin(ago),
            Step::Renew => self.renew(),
        }
        self.list.lapse(self.now);
        compare(&mut self.world, &self.list, self.now);
        let told = std::mem::take(&mut self.world.store.alerts).into_iter();
        let told: Vec<Told> = told.map(|it| (it.limit.id, it.percents, it.used)).collect();
        assert_eq!(told, std::mem::take(&mut self.list.told), "{step:?}");
    }
}

/// What is used of each limit now, as the engine and as the list has it.
fn compare(world: &mut World, list: &List, now: Timestamp) {
    let seen = looked(world, now);
    world.run(&Request::unnamed(Command::Sweep), &Actor::Job, now).unwrap();
    world.write();
    let set = &world.store.limits;
    for limit in &list.limits {
        let open = limit.window.open(now, world.store.account.period.at(now).month, set.zone());
        for n in 0..6 {
            let LimitSubject::One(subject) = subject(n) else { continue };
            if !set.governs(limit, &subject) {
                continue;
            }
            let of = list.probe(n, now);
            let key = UseKey { subject, window: limit.window, starts_at: open.starts_at };
            let used = world.store.used.get(&key).map_or(0, |it| it.used);
            assert_eq!(Some(used), list.used(limit, &of), "{limit:?} of {key:?}");
            let seen = seen.limits().used(&key).map_or(0, |it| it.used);
            assert_eq!(seen, used, "before what is due is booked, and after: {limit:?} of {key:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn limits_count_as_a_list_of_everything_does(steps in steps(), begin in 0_u64..400 * 86_400) {
        // A year with both changes of the clock, from any of its instants on.
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut game = Game::at(start.checked_add(Span::from_secs(begin)).unwrap());
        for step in &steps {
            game.step(step);
        }
    }
}
