//! Tables of cases: one line a command, in columns `second | command | answer`.
//!
//! | command | means |
//! |---|---|
//! | `grant a 10 [source] [prio=1] [from=5] [until=9]` | a lot named `a` |
//! | `charge c 7 [by=2]` | a charge named `c` |
//! | `hold h 5 ttl=60` | a hold named `h` |
//! | `capture h 3 c [excess]`, `release h` | settling it |
//! | `refund c 2 r`, `refund c all r` | a refund named `r` |
//! | `void a`, `sweep` | |
//! | `lot a`, `balance` | looks and changes nothing |
//!
//! A last word `#k` is the request id. Every table runs twice, as one batch and with the state loaded
//! before every command, and is audited at the end of both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bursar_id::{Id, LotId};
use bursar_money::Credits;
use bursar_time::Span;

use super::world::{World, at, attribution, id, key};
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
    let mut world = World::new();
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

/// Gives the things of a table their ids, in the order in which their names appear.
#[derive(Default)]
struct Names(BTreeMap<String, u64>);

impl Names {
    fn id<K>(&mut self, name: &str) -> Id<K> {
        let next = self.0.len() as u64 + 100;
        id(*self.0.entry(name.to_owned()).or_insert(next))
    }

    fn of(&self, lot: LotId) -> &str {
        let named = self.0.iter().find(|(_, number)| id::<bursar_id::kinds::Lot>(**number) == lot);
        named.map_or("?", |(name, _)| name)
    }
}

fn run(world: &mut World, names: &mut Names, second: u64, text: &str) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let request_id = words.last().and_then(|word| word.strip_prefix('#')).map(key);
    if request_id.is_some() {
        words.pop();
    }
    if ["lot", "balance"].contains(&words[0]) {
        world.write();
    }
    if words[0] == "lot" {
        let lot: LotId = names.id(words[1]);
        return render_lot(&world.store.lots[&lot]);
    }
    if words[0] == "balance" {
        let sweep = Request::new(None, Command::Sweep);
        world.run(&sweep, at(second)).unwrap();
        world.write();
        let lots = world.store.lots.values().filter(|lot| lot.is_live()).cloned().collect();
        let state = AccountState::new(super::world::owner(), world.store.account, lots).unwrap();
        return render_balance(&state, names, second);
    }
    let command = parse(&words, names);
    let request = Request::new(request_id, command);
    match world.run(&request, at(second)) {
        Ok(outcome) => render(&outcome, names),
        Err(refusal) => render_refusal(refusal),
    }
}

fn amount(word: &str) -> Credits {
    word.parse().unwrap_or_else(|error| panic!("{word}: {error}"))
}

fn option(words: &[&str], name: &str) -> Option<u64> {
    let value = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.parse().unwrap())
}

fn parse(words: &[&str], names: &mut Names) -> Command {
    match words[0] {
        "grant" => Command::Grant(GrantCommand {
            lot: names.id(words[1]),
            amount: amount(words[2]),
            source: words.get(3).and_then(|word| word.to_uppercase().parse().ok()).unwrap_or(LotSource::Pack),
            priority: option(words, "prio").map_or(0, |it| i32::try_from(it).unwrap()),
            effective_at: option(words, "from").map(at),
            expires_at: option(words, "until").map(at),
            note: None,
        }),
        "charge" => Command::Charge(ChargeCommand {
            charge: names.id(words[1]),
            amount: amount(words[2]),
            pricing: Pricing::Named,
            attribution: attribution(option(words, "by").unwrap_or(1)),
            occurred_at: None,
        }),
        "hold" => Command::Hold(HoldCommand {
            hold: names.id(words[1]),
            amount: amount(words[2]),
            ttl: Span::from_secs(option(words, "ttl").unwrap_or(3600)),
            attribution: attribution(1),
        }),
        "capture" => Command::Capture(CaptureCommand {
            hold: names.id(words[1]),
            amount: amount(words[2]),
            charge: names.id(words[3]),
            allow_excess: words.contains(&"excess"),
        }),
        "release" => Command::Release { hold: names.id(words[1]) },
        "refund" => Command::Refund(RefundCommand {
            charge: names.id(words[1]),
            amount: (words[2] != "all").then(|| amount(words[2])),
            refund: names.id(words[3]),
        }),
        "void" => Command::Void(VoidCommand { lot: names.id(words[1]), note: None }),
        "sweep" => Command::Sweep,
        other => panic!("no such command: {other}"),
    }
}

fn render(outcome: &Outcome, names: &Names) -> String {
    let (mut text, replayed) = match outcome {
        Outcome::Charged(it) => (
            format!("charged {}{}, left {}", it.charge.amount, list(&it.charge.allocations, names), it.balance_after),
            it.replayed,
        ),
        Outcome::Held(it) => (
            format!("held {}{}, left {}", it.hold.amount, list(&it.hold.earmarks, names), it.balance_after),
            it.replayed,
        ),
        Outcome::Released(it) => {
            let state = it.hold.state.as_str().to_lowercase();
            (format!("{state} {}, left {}", it.hold.amount, it.balance_after), it.replayed)
        }
        Outcome::Refunded(it) => {
            let lost = if it.refund.lost.is_zero() { String::new() } else { format!(" lost {}", it.refund.lost) };
            let lots = list(&it.refund.allocations, names);
            (format!("refunded {}{lots}{lost}, left {}", it.refund.amount, it.balance_after), it.replayed)
        }
        Outcome::Granted(it) => (format!("granted {}, left {}", it.lot.granted, it.balance_after), it.replayed),
        Outcome::Voided(it) => (format!("voided {}, left {}", it.amount, it.balance_after), it.replayed),
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

fn render_refusal(refusal: Refusal) -> String {
    match refusal {
        Refusal::InsufficientCredits { available, required } => format!("short: {required} of {available}"),
        Refusal::CaptureAboveHold { held, requested } => {
            format!("above hold: {requested} of {held}")
        }
        Refusal::RefundAboveCharge { left, .. } => format!("above charge: {left} left"),
        Refusal::HoldExpired { .. } => "HoldExpired".to_owned(),
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

fn render_balance(state: &AccountState, names: &Names, second: u64) -> String {
    let balance = state.balance(at(second));
    let mut text = format!("{} + {} held, spent {}", balance.available, balance.held, balance.spent_this_period);
    if let Some(expiry) = balance.next_expiry {
        write!(text, ", {} expire at {}", expiry.amount, expiry.at.since(at(0)).as_secs()).unwrap();
    }
    text.push_str(", order");
    for lot in state.spendable_lots(at(second)) {
        write!(text, " {}", names.of(lot.id)).unwrap();
    }
    text
}
