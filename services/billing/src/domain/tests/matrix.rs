//! Who may do what: actor × operation × who placed the hold. The last column is the answer.

use bursar_members::Standing;
use bursar_money::Credits;

use super::script::actor;
use super::world::{World, at, credits, rules, service, work};
use crate::domain::*;

/// An account with credits, a charge and a hold that `placer` placed.
struct Scene {
    world: World,
    hold: bursar_id::HoldId,
    charge: bursar_id::ChargeId,
    lot: bursar_id::LotId,
}

fn grant() -> Command {
    Command::Grant(GrantCommand::new(credits(10), LotSource::Pack))
}

fn charge() -> Command {
    let cost = Cost::Amount(credits(1));
    Command::Charge(ChargeCommand { cost, attribution: work(1), labels: Labels::default(), occurred_at: None })
}

fn hold() -> Command {
    let (amount, ttl) = (credits(1), bursar_time::Span::HOUR);
    Command::Hold(HoldCommand { amount, ttl, attribution: work(1), labels: Labels::default() })
}

fn scene(placer: &str, spending: Spending) -> Scene {
    let mut world = World::new(rules());
    let mut run = |who: &Actor, command: Command| world.run(&Request::unnamed(command), who, at(0)).unwrap();
    let Outcome::Granted(granted) = run(&service(1), grant()) else { panic!("no grant") };
    let Outcome::Charged(charged) = run(&actor(placer), charge()) else { panic!("no charge") };
    let Outcome::Held(held) = run(&actor(placer), hold()) else { panic!("no hold") };
    world.change_rules(|rules| rules.spending = spending);
    Scene { world, hold: held.hold.id, charge: charged.charge.id, lot: granted.lot.id }
}

fn command(scene: &Scene, operation: &str) -> Command {
    let (hold, lot) = (scene.hold, scene.lot);
    match operation {
        "charge" => charge(),
        "hold" => self::hold(),
        "capture" => Command::Capture(CaptureCommand { hold, cost: None, allow_excess: false }),
        "release" => Command::Release { hold },
        "refund" => Command::Refund(RefundCommand { charge: scene.charge, amount: None }),
        "grant" => grant(),
        "void" => Command::Void(VoidCommand { lot, note: None }),
        "erase" => Command::Erase { member: None },
        "sweep" => Command::Sweep,
        other => panic!("no such operation: {other}"),
    }
}

fn answer(actor_text: &str, operation: &str, placer: &str, spending: Spending) -> &'static str {
    let mut scene = scene(placer, spending);
    let command = command(&scene, operation);
    let who = actor(actor_text);
    match scene.world.run(&Request::unnamed(command), &who, at(1)) {
        Ok(_) => {
            scene.world.forget();
            let last = scene.world.store.entry(scene.world.store.entries.len() as u64);
            if operation != "sweep" {
                assert_eq!(last.actor, who, "the entry says who acted");
            }
            "done"
        }
        Err(Refusal::HoldNotYours) => "not yours",
        Err(Refusal::RefundByServicesOnly) => "services refund",
        Err(Refusal::SpendingByServicesOnly) => "services spend",
        Err(other) => panic!("{actor_text} {operation} {placer}: {other}"),
    }
}

const ACTORS: [&str; 10] = ["u1", "u2", "k1", "k2", "o1/u1", "o1/u2", "s1", "s2", "s1/u1", "job"];

/// Settling: who (a row) what (its words) placed by whom (a column of [`ACTORS`]): `+` done, `-` not yours.
const SETTLING: [(&str, &str); 10] = [
    // u1 u2 k1 k2 o1/u1 o1/u2 s1 s2 s1/u1 job
    ("u1", "+ - + - + - - - - -"),
    ("u2", "- + - + - + - - - -"),
    ("k1", "+ - + - + - - - - -"),
    ("k2", "- + - + - + - - - -"),
    ("o1/u1", "+ - + - + - - - - -"),
    ("o1/u2", "- + - + - + - - - -"),
    ("s1", "+ + + + + + + + + +"),
    ("s2", "+ + + + + + + + + +"),
    ("s1/u1", "+ + + + + + + + + +"),
    ("job", "+ + + + + + + + + +"),
];

/// A user's power reaches what that user's own tokens placed; a service's reaches everything.
#[test]
fn who_may_settle_a_hold_depends_on_who_placed_it() {
    for (who, row) in SETTLING {
        let columns: Vec<&str> = row.split(' ').collect();
        assert_eq!(columns.len(), ACTORS.len());
        for (placer, mark) in ACTORS.into_iter().zip(columns) {
            let expected = if mark == "+" { "done" } else { "not yours" };
            for operation in ["capture", "release"] {
                // Whether users may spend makes no difference to what they have reserved.
                for spending in [Spending::UsersAndServices, Spending::Services] {
                    let said = answer(who, operation, placer, spending);
                    assert_eq!(said, expected, "{who} {operation} what {placer} placed, {spending:?}");
                }
            }
        }
    }
}

/// What does not depend on who placed anything: actor, then charge and hold where users and services spend, the same
/// where services alone do, and refund.
#[test]
fn who_may_spend_and_refund() {
    const CASES: [(&str, &str, &str, &str); 10] = [
        ("u1", "done", "services spend", "services refund"),
        ("u2", "done", "services spend", "services refund"),
        ("k1", "done", "services spend", "services refund"),
        ("k2", "done", "services spend", "services refund"),
        ("o1/u1", "done", "services spend", "services refund"),
        ("o1/u2", "done", "services spend", "services refund"),
        ("s1", "done", "done", "done"),
        ("s2", "done", "done", "done"),
        ("s1/u1", "done", "done", "done"),
        ("job", "done", "done", "done"),
    ];
    assert_eq!(CASES.map(|(who, ..)| who), ACTORS);
    for (who, everybody, services, refund) in CASES {
        for placer in ACTORS {
            for operation in ["charge", "hold"] {
                assert_eq!(answer(who, operation, placer, Spending::UsersAndServices), everybody, "{who} {operation}");
                assert_eq!(answer(who, operation, placer, Spending::Services), services, "{who} {operation}");
            }
            for spending in [Spending::UsersAndServices, Spending::Services] {
                assert_eq!(answer(who, "refund", placer, spending), refund, "{who} refunds what {placer} charged");
            }
        }
    }
}

/// Who may grant, void and erase is the RPCs' own business: the engine books it under the actor's name.
#[test]
fn everybody_who_gets_this_far_may_keep_the_books() {
    for who in ACTORS {
        for operation in ["grant", "void", "erase", "sweep"] {
            for spending in [Spending::UsersAndServices, Spending::Services] {
                assert_eq!(answer(who, operation, "s1", spending), "done", "{who} {operation}");
            }
        }
    }
}

/// What actors may do with an account whose owner stands as [`Standing::ALL`] says, one after the other: `+` done, or the
/// refusal. By actors (users and whoever acts for them, services, the program) and operations.
const STANDINGS: [(&[&str], &[&str], &str); 7] = [
    (&["u1", "k1", "o1/u1", "s1/u1"], &OPERATIONS, "+ pending suspended deleted stranger"),
    (&["s1", "job"], &["charge", "hold", "excess"], "+ pending suspended deleted deleted"),
    (&["s1", "job"], &["capture", "release"], "+ + + + +"),
    (&["s1"], &["grant"], "+ + + + deleted"),
    (&["job"], &["grant"], "+ + suspended deleted deleted"),
    (&["s1", "job"], &["refund", "void", "erase"], "+ + + + +"),
    (&["job"], &["sweep"], "+ + + + +"),
];

const OPERATIONS: [&str; 8] = ["charge", "hold", "excess", "capture", "release", "grant", "void", "erase"];

/// How a request is answered whose account's owner stands so, and what it leaves in the lots.
fn under(standing: Standing, actor_text: &str, operation: &str) -> &'static str {
    let mut scene = scene(actor_text, Spending::UsersAndServices);
    scene.world.forget();
    scene.world.store.account.standing = standing;
    let command = match operation {
        "excess" => {
            let cost = Some(Cost::Amount(credits(2)));
            Command::Capture(CaptureCommand { hold: scene.hold, cost, allow_excess: true })
        }
        _ => command(&scene, operation),
    };
    let answer = scene.world.run(&Request::unnamed(command), &actor(actor_text), at(1));
    scene.world.forget();
    scene.world.store.verify().expect("the books are in order");
    let left = scene.world.store.lots.values().any(|lot| lot.remaining > Credits::ZERO || lot.voided_at.is_none());
    assert!(operation == "void" || left == (standing != Standing::Purged), "{actor_text} {operation} {standing:?}");
    match answer {
        Ok(_) => "+",
        Err(Refusal::OrganizationPending) => "pending",
        Err(Refusal::OrganizationSuspended) => "suspended",
        Err(Refusal::OrganizationDeleted) => "deleted",
        Err(Refusal::NotAMember) => "stranger",
        Err(other) => panic!("{actor_text} {operation} {standing:?}: {other}"),
    }
}

#[test]
fn what_may_be_done_depends_on_how_the_owner_stands() {
    for (actors, operations, expected) in STANDINGS {
        for who in actors {
            for operation in operations {
                let said = Standing::ALL.map(|standing| under(standing, who, operation));
                assert_eq!(said.join(" "), expected, "{who} {operation}: {:?}", Standing::ALL);
            }
        }
    }
}

/// What comes back to a purged owner is gone at once, though its lot was used up before; a person who is suspended is told so.
#[test]
fn what_is_refunded_to_a_purged_owner_is_gone() {
    let mut scene = scene("s1", Spending::UsersAndServices);
    let rest = |amount| ChargeCommand {
        cost: Cost::Amount(amount),
        attribution: work(1),
        labels: Labels::default(),
        occurred_at: None,
    };
    scene.world.ask(1, Command::Charge(rest(credits(8)))).unwrap();
    scene.world.ask(1, Command::Release { hold: scene.hold }).unwrap();
    scene.world.ask(1, Command::Charge(rest(credits(1)))).unwrap();
    scene.world.forget();
    scene.world.store.account.standing = Standing::Purged;
    let refund = Command::Refund(RefundCommand { charge: scene.charge, amount: None });
    scene.world.ask(2, refund).unwrap();
    scene.world.forget();
    let lot = &scene.world.store.lots[&scene.lot];
    assert_eq!((lot.remaining, lot.voided, lot.spent), (Credits::ZERO, credits(1), credits(9)));
    scene.world.store.verify().unwrap();
    let person = bursar_id::OwnerId::User(super::world::id(1));
    assert_eq!(Refusal::of_standing(person, Standing::Suspended), Some(Refusal::UserSuspended));
    assert_eq!(Refusal::of_standing(person, Standing::Active), None);
}

/// Its neighbours in a batch wait for each request: the lots of a purged account are voided some at a time.
#[test]
fn one_request_voids_so_many_lots_of_a_purged_owner_and_no_more() {
    let mut world = World::new(rules());
    for _ in 0..350 {
        world.run(&Request::unnamed(grant()), &service(1), at(0)).unwrap();
    }
    world.forget();
    world.store.account.standing = Standing::Purged;
    for expected in [100, 100, 100, 50, 0] {
        let swept = world.run(&Request::unnamed(Command::Sweep), &Actor::Job, at(1)).unwrap();
        assert_eq!(swept, Outcome::Swept { booked: expected });
        world.forget();
    }
    assert!(world.store.lots.values().all(|lot| lot.remaining.is_zero() && lot.voided == credits(10)));
    world.store.verify().unwrap();
}

/// Nobody would erase any more what is said of a purged owner's account: it is not kept, and a request is known again by
/// what its entry says.
#[test]
fn what_is_done_with_a_purged_owners_account_keeps_no_details() {
    for purged in [false, true] {
        let mut scene = scene("s1", Spending::UsersAndServices);
        let under = |name: &str, command| {
            let name = RequestName::new(&service(1), name.parse().unwrap());
            Request::new(Some(name), [7; 16], command)
        };
        let refund = |amount| Command::Refund(RefundCommand { charge: scene.charge, amount: Some(amount) });
        let (half, rest) = (Credits::from_micro(500_000).unwrap(), Credits::from_micro(400_000).unwrap());
        scene.world.forget();
        scene.world.store.account.standing = if purged { Standing::Purged } else { Standing::Active };
        let said = [
            under("refund", refund(half)),
            under("settle", Command::Capture(CaptureCommand { hold: scene.hold, cost: None, allow_excess: false })),
            under("erase", Command::Erase { member: None }),
        ];
        for request in &said {
            scene.world.run(request, &service(1), at(1)).unwrap();
            scene.world.forget();
        }
        assert_eq!(scene.world.store.details.is_empty(), purged);
        let booked = scene.world.store.entries.len();
        for request in &said {
            scene.world.run(request, &service(1), at(1)).unwrap();
            scene.world.forget();
        }
        assert_eq!(scene.world.store.entries.len(), booked, "a repetition books nothing");
        let another = scene.world.run(&under("refund", refund(rest)), &service(1), at(1));
        assert_eq!(another, Err(Refusal::RequestIdReused));
        scene.world.store.verify().unwrap();
    }
}

/// A key is written down with the charge or hold that it made.
#[test]
fn what_a_key_made_names_the_key() {
    for (who, key) in [("k2", Some(super::world::id(2))), ("u2", None), ("s1/u2", None)] {
        let mut scene = scene(who, Spending::UsersAndServices);
        scene.world.forget();
        let named = scene.world.store.ledger().into_iter().filter_map(|entry| match entry.event {
            Event::Charge(it) => Some(it.key),
            Event::Hold(it) => Some(it.key),
            _ => None,
        });
        assert_eq!(named.collect::<Vec<_>>(), [key, key], "{who}");
    }
}
