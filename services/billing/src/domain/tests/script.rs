//! Tables of cases: one line a command, in columns `second | command | answer`.
//!
//! | command | means |
//! |---|---|
//! | `grant a 10 [source] [prio=1] [from=5] [until=9] [for=veo,kling] [at=film]` | a lot named `a` |
//! | `charge c 7 [by=2] [in=film] [with=veo]` | a charge named `c` |
//! | `hold h 5 ttl=60 [by=2] [in=film] [with=veo]` | a hold named `h` |
//! | `capture h 3 c [excess]`, `capture h all c`, `release h` | settling it |
//! | `refund c 2 r`, `refund c all r` | a refund named `r` |
//! | `void a`, `sweep`, `erase 1`, `erase notes` | |
//! | `lot a`, `balance [with=veo] [in=film]` | looks and changes nothing |
//! | `told 1 in 3`, `told 1 out 4`, `spending services`, `spending all` | what holds from now on |
//!
//! `seconds=8,images=2` stands for an amount by meters. `as=` says who acts: `s1` (a service, the default), `u1` (a
//! user), `s1/u1` (on behalf), `k1` (user 1's key), `o1/u1` (an operator), `job`. `token=3` is the user's own word of
//! being a member in version 3, `token=-3` of being none; `named=1` a member whom a service names. A last word `#k` is
//! the request id. Every table runs twice, as one batch and with the state loaded before every command, and is audited
//! at the end of both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bursar_id::{Id, LotId, Uuid};
use bursar_time::Span;

use super::world::{World, at, id, membership, model, project, rules};
use crate::domain::*;

/// Runs a table and compares every answer.
pub(super) fn check(table: &str) {
    for reload in [false, true] {
        let world = play(table, reload);
        if let Err(bad) = world.store.verify() {
            panic!("{bad}\n{table}");
        }
    }
}

/// The account as a table leaves it, written.
pub(super) fn world_of(table: &str) -> World {
    play(table, true)
}

fn play(table: &str, reload: bool) -> World {
    let mut names = Names::default();
    let mut world = World::new(rules());
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [second, command, expected] = columns.try_into().expect(line);
        if reload {
            world.forget();
        }
        let answer = run(&mut world, &mut names, second.parse().expect(line), command);
        assert_eq!(answer, expected, "in line: {line} (reload: {reload})");
    }
    world.forget();
    world
}

/// The ids that the things of a table got when they were made.
#[derive(Default)]
struct Names(BTreeMap<String, Uuid>);

impl Names {
    /// What nothing was given yet is an id that leads nowhere.
    fn id<K>(&self, name: &str) -> Id<K> {
        self.0.get(name).map_or_else(|| id(9), |uuid| Id::from_uuid(*uuid))
    }

    fn of(&self, lot: LotId) -> &str {
        self.0.iter().find(|(_, uuid)| **uuid == lot.as_uuid()).map_or("?", |(name, _)| name)
    }

    fn learn(&mut self, words: &[&str], outcome: &Outcome) {
        let (place, uuid) = match outcome {
            Outcome::Charged(it) => (if words[0] == "capture" { 3 } else { 1 }, it.charge.id.as_uuid()),
            Outcome::Held(it) => (1, it.hold.id.as_uuid()),
            Outcome::Refunded(it) => (3, it.refund.id.as_uuid()),
            Outcome::Granted(it) => (1, it.lot.id.as_uuid()),
            _ => return,
        };
        self.0.insert(words[place].to_owned(), uuid);
    }
}

fn run(world: &mut World, names: &mut Names, second: u64, text: &str) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let request_id = words.last().and_then(|word| word.strip_prefix('#'));
    if request_id.is_some() {
        words.pop();
    }
    match words[0] {
        "lot" => {
            world.write();
            return render_lot(&world.store.lots[&names.id::<bursar_id::kinds::Lot>(words[1])]);
        }
        "balance" => return render_balance(world, names, second, &words),
        "told" => {
            let (user, version) = (words[1].parse().unwrap(), words[3].parse().unwrap());
            world.store.members.insert(id(user), membership(words[2] == "in", version));
            return String::new();
        }
        "spending" => {
            let spending = if words[1] == "services" { Spending::Services } else { Spending::UsersAndServices };
            world.change_rules(|rules| rules.spending = spending);
            return String::new();
        }
        _ => {}
    }
    let actor = text_option(&words, "as").map_or_else(|| super::world::service(1), actor);
    let name = request_id.map(|name| RequestName::new(&actor, name.parse().unwrap()));
    let request = Request::new(name, [1; 16], parse(&words, names)).for_member(spender(&words, &actor));
    match world.run(&request, &actor, at(second)) {
        Ok(outcome) => {
            names.learn(&words, &outcome);
            render(&outcome, names)
        }
        Err(refusal) => render_refusal(&refusal),
    }
}

fn text_option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn option(words: &[&str], name: &str) -> Option<u64> {
    text_option(words, name).map(|value| value.parse().unwrap())
}

/// Who `u1`, `s1`, `s1/u1`, `k1`, `o1/u1` and `job` are.
pub(super) fn actor(text: &str) -> Actor {
    if text == "job" {
        return Actor::Job;
    }
    let number = |text: &str| text[1..].parse::<u64>().unwrap();
    let (first, second) = text.split_once('/').map_or((text, None), |(one, two)| (one, Some(number(two))));
    let number = number(first);
    match (&first[..1], second) {
        ("u", None) => Actor::User { user: id(number), session: id(number) },
        ("k", None) => Actor::ApiKey { key: id(number), user: id(number) },
        ("s", None) => Actor::Service { service: id(number) },
        ("s", Some(user)) => Actor::ServiceOnBehalf { service: id(number), user: id(user), session: id(user) },
        ("o", Some(user)) => Actor::OperatorOnBehalf { operator: id(number), user: id(user), session: id(user) },
        _ => panic!("no such actor: {text}"),
    }
}

fn spender(words: &[&str], actor: &Actor) -> Option<Spender> {
    if let Some(user) = option(words, "named") {
        return Some(Spender { user: id(user), token: None });
    }
    let word: i64 = text_option(words, "token")?.parse().unwrap();
    let user = match actor {
        Actor::ServiceOnBehalf { user, .. } => *user,
        _ => actor.as_user().expect("a token is a user's"),
    };
    Some(Spender { user, token: Some(membership(word > 0, word.unsigned_abs())) })
}

fn parse(words: &[&str], names: &Names) -> Command {
    match words[0] {
        "grant" => Command::Grant(GrantCommand {
            amount: words[2].parse().unwrap(),
            source: words.get(3).and_then(|word| source(word)).unwrap_or(LotSource::Pack),
            priority: option(words, "prio").map_or(0, |it| i32::try_from(it).unwrap()),
            scope: scope(words),
            effective_at: option(words, "from").map(at),
            expires_at: option(words, "until").map(at),
            origin: Origin::default(),
            note: text_option(words, "note").map(|text| Note::parse(text).unwrap()),
            begins: None,
        }),
        "charge" => Command::Charge(ChargeCommand {
            cost: cost(words[2]),
            attribution: attribution(words),
            labels: labels(words),
            occurred_at: None,
        }),
        "hold" => Command::Hold(HoldCommand {
            amount: words[2].parse().unwrap(),
            ttl: Span::from_secs(option(words, "ttl").unwrap_or(3600)),
            attribution: attribution(words),
            labels: labels(words),
        }),
        "capture" => Command::Capture(CaptureCommand {
            hold: names.id(words[1]),
            cost: (words[2] != "all").then(|| cost(words[2])),
            allow_excess: words.contains(&"excess"),
        }),
        "release" => Command::Release { hold: names.id(words[1]) },
        "refund" => Command::Refund(RefundCommand {
            charge: names.id(words[1]),
            amount: (words[2] != "all").then(|| words[2].parse().unwrap()),
        }),
        "void" => Command::Void(VoidCommand { lot: names.id(words[1]), note: None }),
        "erase" => Command::Erase { member: (words[1] != "notes").then(|| id(words[1].parse().unwrap())) },
        "sweep" => Command::Sweep,
        other => panic!("no such command: {other}"),
    }
}

fn source(word: &str) -> Option<LotSource> {
    LotSource::ALL.into_iter().find(|source| source.as_str() == word.to_uppercase())
}

fn scope(words: &[&str]) -> Scope {
    let list = |name| text_option(words, name).into_iter().flat_map(|list| list.split(','));
    Scope::new(list("for").map(model), list("at").map(project)).unwrap_or_default()
}

fn attribution(words: &[&str]) -> Attribution {
    Attribution {
        member: id(option(words, "by").unwrap_or(1)),
        project: text_option(words, "in").map(project),
        model: text_option(words, "with").map(model),
    }
}

fn labels(words: &[&str]) -> Labels {
    let label = text_option(words, "label").map(|value| ("say".to_owned(), value.to_owned()));
    Labels::parse(label.into_iter().collect()).unwrap()
}

/// An amount, or usage such as `seconds=8,=2`.
fn cost(word: &str) -> Cost {
    if !word.contains('=') {
        return Cost::Amount(word.parse().unwrap_or_else(|error| panic!("{word}: {error}")));
    }
    let one = |text: &str| {
        let (meter, quantity) = text.split_once('=').unwrap();
        let meter = (!meter.is_empty()).then(|| MeterName::parse(meter).unwrap());
        MeterUse { meter, quantity: quantity.parse().unwrap() }
    };
    Cost::Metered(word.split(',').map(one).collect())
}

fn render(outcome: &Outcome, names: &Names) -> String {
    let (mut text, replayed) = match outcome {
        Outcome::Charged(it) => {
            let lots = list(&it.charge.allocations, names);
            (format!("charged {}{lots}, left {}", it.charge.amount, it.balance_after), it.replayed)
        }
        Outcome::Held(it) => {
            let lots = list(&it.hold.terms.earmarks, names);
            (format!("held {}{lots}, left {}", it.hold.terms.amount, it.balance_after), it.replayed)
        }
        Outcome::Released(it) => {
            let state = it.hold.state.as_str().to_lowercase();
            (format!("{state} {}, left {}", it.hold.terms.amount, it.balance_after), it.replayed)
        }
        Outcome::Refunded(it) => {
            let lost = if it.refund.lost.is_zero() { String::new() } else { format!(" lost {}", it.refund.lost) };
            let lots = list(&it.refund.allocations, names);
            (format!("refunded {}{lots}{lost}, left {}", it.refund.amount, it.balance_after), it.replayed)
        }
        Outcome::Granted(it) => (format!("granted {}, left {}", it.lot.granted, it.balance_after), it.replayed),
        Outcome::Voided(it) => (format!("voided {}, left {}", it.amount, it.balance_after), it.replayed),
        Outcome::Erased(it) => (format!("erased before {}", it.entry), it.replayed),
        Outcome::TakenAway(it) => (format!("voided {}, owed {}", it.voided, it.owed), false),
        Outcome::Restored(it) => {
            (format!("forgiven {}, returned {}, paid before {}", it.forgiven, it.returned, it.paid_before), false)
        }
        Outcome::Swept { booked } => (format!("booked {booked}"), false),
    };
    if replayed {
        text.push_str(", again");
    }
    text
}

fn list(allocations: &[Allocation], names: &Names) -> String {
    let mut text = String::from(" =");
    for allocation in allocations {
        write!(text, " {}:{}", names.of(allocation.lot), allocation.amount).unwrap();
    }
    text
}

fn render_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::InsufficientCredits { available, required } => format!("short: {required} of {available}"),
        Refusal::CaptureAboveHold { held, requested } => format!("above hold: {requested} of {held}"),
        Refusal::RefundAboveCharge { left, .. } => format!("above charge: {left} left"),
        Refusal::HoldExpired { .. } => "HoldExpired".to_owned(),
        Refusal::HoldTimeOutOfRange { .. } => "HoldTimeOutOfRange".to_owned(),
        Refusal::Rate(error) => format!("no price: {error}"),
        other => format!("{other:?}"),
    }
}

fn render_lot(lot: &Lot) -> String {
    let parts = [
        ("left", lot.remaining),
        ("held", lot.held),
        ("spent", lot.spent),
        ("expired", lot.expired),
        ("voided", lot.voided),
    ];
    let parts: Vec<_> = parts.iter().filter(|(_, it)| !it.is_zero()).map(|(name, it)| format!("{it} {name}")).collect();
    format!("{} = {}", lot.granted, parts.join(" + "))
}

fn render_balance(world: &mut World, names: &Names, second: u64, words: &[&str]) -> String {
    let work = attribution(words);
    let (balance, order) = world.balance(at(second), work.model.as_ref(), work.project.as_ref());
    let mut text = format!(
        "{} + {} held, spent {}",
        balance.available,
        balance.held,
        bursar_money::Credits::from_micro(balance.spent_this_period).unwrap()
    );
    if let Some(expiry) = balance.next_expiry {
        write!(text, ", {} expire at {}", expiry.amount, expiry.at.since(at(0)).as_secs()).unwrap();
    }
    text.push_str(", order");
    for lot in order {
        write!(text, " {}", names.of(lot)).unwrap();
    }
    text
}
