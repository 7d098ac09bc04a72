//! Idempotency: the same request again gets the same answer, whatever has changed since.

use std::collections::BTreeMap;

use bursar_money::{Credits, Quantity};
use bursar_time::Span;

use super::script::{actor, check};
use super::world::{World, at, credits, id, model, name, project, rules, work};
use crate::domain::*;

#[test]
fn every_kind_of_request_replays_its_first_answer() {
    check(
        "
        0  | grant a 20 pack until=50 #g  | granted 20, left 20
        0  | charge c 5 #c                | charged 5 = a:5, left 15
        0  | hold h 4 ttl=10 #h           | held 4 = a:4, left 11
        0  | hold i 4 ttl=10 #i           | held 4 = a:4, left 7
        1  | capture h 3 d #d             | charged 3 = a:3, left 8
        1  | release i #r                 | released 4, left 12
        1  | refund c 2 e #e              | refunded 2 = a:2, left 14
        1  | void a #v                    | voided 14, left 0
        90 | grant b 20 pack until=50 #g  | granted 20, left 20, again
        90 | charge x 5 #c                | charged 5 = a:5, left 15, again
        90 | hold y 4 ttl=10 #h           | held 4 = a:4, left 11, again
        90 | capture h 3 z #d             | charged 3 = a:3, left 8, again
        90 | release i #r                 | released 4, left 12, again
        90 | refund c 2 w #e              | refunded 2 = a:2, left 14, again
        90 | void a #v                    | voided 14, left 0, again
        90 | balance                      | 0 + 0 held, spent 6, order
        ",
    );
}

#[test]
fn the_id_of_another_request_is_refused_before_anything_else() {
    check(
        "
        0 | grant a 5 #k        | granted 5, left 5
        0 | charge c 0 #k       | RequestIdReused
        0 | charge c 99 #k      | RequestIdReused
        0 | refund nope 1 r #k  | RequestIdReused
        0 | capture nope 1 r #k | RequestIdReused
        0 | grant b 6 #k        | RequestIdReused
        0 | grant b 5 pack prio=1 #k | RequestIdReused
        0 | charge c 1 by=1 #m  | charged 1 = a:1, left 4
        0 | charge c 1 by=2 #m  | RequestIdReused
        ",
    );
}

#[test]
fn a_refusal_does_not_burn_the_id() {
    check(
        "
        0 | charge c 5 #k     | short: 5 of 0
        0 | grant a 4         | granted 4, left 4
        0 | charge c 5 #k     | short: 5 of 4
        0 | charge c 3 #k     | charged 3 = a:3, left 1
        0 | charge c 5 #k     | RequestIdReused
        ",
    );
}

fn charge(change: impl FnOnce(&mut ChargeCommand)) -> Command {
    let cost = Cost::Amount(credits(1));
    let mut command = ChargeCommand { cost, attribution: work(1), labels: Labels::default(), occurred_at: None };
    change(&mut command);
    Command::Charge(command)
}

fn hold(change: impl FnOnce(&mut HoldCommand)) -> Command {
    let (amount, ttl) = (credits(1), Span::HOUR);
    let mut command = HoldCommand { amount, ttl, attribution: work(1), labels: Labels::default() };
    change(&mut command);
    Command::Hold(command)
}

fn capture(change: impl FnOnce(&mut CaptureCommand)) -> Command {
    let mut command = CaptureCommand { hold: id(1), cost: None, allow_excess: false };
    change(&mut command);
    Command::Capture(command)
}

fn grant(change: impl FnOnce(&mut GrantCommand)) -> Command {
    let mut command = GrantCommand::new(credits(1), LotSource::Pack);
    change(&mut command);
    Command::Grant(command)
}

fn label(key: &str, value: &str) -> Labels {
    Labels::parse(BTreeMap::from([(key.to_owned(), value.to_owned())])).unwrap()
}

fn used(meters: &[(Option<&str>, i64)]) -> Cost {
    let one = |(meter, quantity): &(Option<&str>, i64)| MeterUse {
        meter: meter.map(|name| MeterName::parse(name).unwrap()),
        quantity: Quantity::from_millionths(*quantity).unwrap(),
    };
    Cost::Metered(meters.iter().map(one).collect())
}

/// Each differs from every other in one thing that a caller chooses.
fn different_requests() -> Vec<Command> {
    let mut all = vec![
        charge(|_| {}),
        charge(|it| it.cost = Cost::Amount(credits(2))),
        charge(|it| it.attribution.member = id(2)),
        charge(|it| it.attribution.project = Some(project("veo"))),
        charge(|it| it.attribution.model = Some(model("veo"))),
        charge(|it| it.occurred_at = Some(at(1))),
        charge(|it| it.labels = label("a", "bc")),
        charge(|it| it.labels = label("ab", "c")),
        charge(|it| it.labels = label("a", "")),
        charge(|it| it.cost = used(&[])),
        charge(|it| it.cost = used(&[(None, 1)])),
        charge(|it| it.cost = used(&[(Some("a"), 1)])),
        charge(|it| it.cost = used(&[(Some("b"), 1)])),
        charge(|it| it.cost = used(&[(Some("a"), 2)])),
        charge(|it| it.cost = used(&[(Some("a"), 1), (Some("b"), 1)])),
        charge(|it| it.cost = used(&[(Some("b"), 1), (Some("a"), 1)])),
        hold(|_| {}),
        hold(|it| it.amount = credits(2)),
        hold(|it| it.ttl = Span::MINUTE),
        hold(|it| it.attribution.member = id(2)),
        hold(|it| it.labels = label("a", "")),
        capture(|_| {}),
        capture(|it| it.hold = id(2)),
        capture(|it| it.cost = Some(Cost::Amount(credits(1)))),
        capture(|it| it.cost = Some(used(&[(None, 1)]))),
        capture(|it| it.allow_excess = true),
        Command::Release { hold: id(1) },
        Command::Release { hold: id(2) },
        Command::Sweep,
    ];
    all.extend([None, Some(Credits::ZERO), Some(credits(1))].map(|amount| {
        let charge = id(1);
        Command::Refund(RefundCommand { charge, amount })
    }));
    all.push(Command::Refund(RefundCommand { charge: id(2), amount: None }));
    all.extend([
        grant(|_| {}),
        grant(|it| it.amount = credits(2)),
        grant(|it| it.source = LotSource::Goodwill),
        grant(|it| it.priority = 1),
        grant(|it| it.scope = Scope::new([model("a")], []).unwrap()),
        grant(|it| it.scope = Scope::new([], [project("a")]).unwrap()),
        grant(|it| it.effective_at = Some(at(1))),
        grant(|it| it.expires_at = Some(at(1))),
        grant(|it| it.note = Note::parse("a").ok()),
        Command::Void(VoidCommand { lot: id(1), note: None }),
        Command::Void(VoidCommand { lot: id(2), note: None }),
        Command::Void(VoidCommand { lot: id(1), note: Note::parse("a").ok() }),
        Command::Erase { member: None },
        Command::Erase { member: Some(id(1)) },
    ]);
    all
}

/// Every field that a caller chooses makes another request; what the server adds does not.
#[test]
fn the_fingerprint_covers_what_the_caller_chose_and_nothing_else() {
    let all = different_requests();
    let prints: Vec<Fingerprint> =
        all.iter().map(|command| Request::new(None, [0; 16], command.clone()).fingerprint).collect();
    for (one, print) in prints.iter().enumerate() {
        for (other, second) in prints.iter().enumerate().skip(one + 1) {
            assert_ne!(print, second, "{:?} and {:?}", all[one], all[other]);
        }
    }
    let salted = Request::new(Some(name("k")), [9; 16], all[0].clone());
    assert_eq!(salted.fingerprint, prints[0], "neither name nor salt");
    let bought = grant(|it| it.origin.purchase = Some(id(1)));
    let plain = all.iter().position(|it| *it == grant(|_| {})).unwrap();
    assert_eq!(Request::new(None, [0; 16], bought).fingerprint, prints[plain], "nor where the program says it is from");
    let begun = grant(|it| it.begins = Some((at(0), 3)));
    assert_eq!(Request::unnamed(begun).fingerprint, Request::unnamed(grant(|_| {})).fingerprint, "nor the month");
}

#[test]
fn two_actors_may_choose_the_same_request_id() {
    // The service with and without a user is one caller, and so are a user's token and a user's key.
    let cases = [
        ("s1", 1),
        ("s2", 2),
        ("s1/u1", 1),
        ("s1/u2", 1),
        ("u1", 3),
        ("u2", 4),
        ("k1", 3),
        ("o1/u1", 1),
        ("o3/u1", 5),
        ("job", 6),
        ("s1", 1),
    ];
    let mut world = World::new(rules());
    let mut lots = BTreeMap::new();
    for (who, caller) in cases {
        let who = actor(who);
        let request = Request::new(Some(RequestName::new(&who, "k".parse().unwrap())), [1; 16], grant(|_| {}));
        let Ok(Outcome::Granted(it)) = world.run(&request, &who, at(0)) else { panic!("{who:?}") };
        assert_eq!(it.replayed, lots.contains_key(&caller), "{who:?}");
        assert_eq!(*lots.entry(caller).or_insert(it.lot.id), it.lot.id, "{who:?}");
    }
    world.forget();
    assert_eq!(world.store.lots.len(), 6);
}

/// Once its details are gone, the entry's own words decide whether a request is the same.
#[test]
fn a_replay_outlives_the_erasure_of_its_fingerprint() {
    check(
        "
        0  | grant a 20 pack until=50 note=x #g      | granted 20, left 20
        0  | charge c 5 label=x by=2 #c              | charged 5 = a:5, left 15
        0  | hold h 4 ttl=10 label=x by=2 #h         | held 4 = a:4, left 11
        0  | hold i 4 ttl=10 by=2 #i                 | held 4 = a:4, left 7
        1  | capture h 3 d #d                        | charged 3 = a:3, left 8
        1  | release i #r                            | released 4, left 12
        1  | refund c 2 e #e                         | refunded 2 = a:2, left 14
        1  | void a #v                               | voided 14, left 0
        2  | charge c 6 label=x by=2 #c              | RequestIdReused
        2  | erase 2 #x                              | erased before 9
        2  | erase notes #y                          | erased before 10
        2  | erase 2 #x                              | erased before 9, again
        2  | erase 3 #x                              | RequestIdReused
        2  | erase notes #y                          | erased before 10, again
        90 | grant b 20 pack until=50 note=x #g      | granted 20, left 20, again
        90 | charge x 5 label=x by=2 #c              | charged 5 = a:5, left 15, again
        90 | charge x 5 label=y by=2 #c              | charged 5 = a:5, left 15, again
        90 | charge x 6 label=x by=2 #c              | RequestIdReused
        90 | charge x 5 label=x by=1 #c              | RequestIdReused
        90 | charge x seconds=10 with=veo by=2 #c    | RequestIdReused
        90 | hold y 4 ttl=10 label=x by=2 #h         | held 4 = a:4, left 11, again
        90 | hold y 5 ttl=10 label=x by=2 #h         | RequestIdReused
        90 | hold y 4 ttl=11 label=x by=2 #h         | RequestIdReused
        90 | capture h 3 z #d                        | charged 3 = a:3, left 8, again
        90 | capture h 2 z #d                        | RequestIdReused
        90 | capture h all z #d                      | RequestIdReused
        90 | capture i 3 z #d                        | RequestIdReused
        90 | release i #r                            | released 4, left 12, again
        90 | release h #r                            | RequestIdReused
        90 | refund c 2 w #e                         | refunded 2 = a:2, left 14, again
        90 | refund c 1 w #e                         | RequestIdReused
        90 | void a #v                               | voided 14, left 0, again
        90 | charge c 5 #v                           | RequestIdReused
        90 | grant b 21 pack until=50 #g             | RequestIdReused
        90 | grant b 20 pack until=51 #g             | RequestIdReused
        90 | grant b 20 promotion until=50 #g        | RequestIdReused
        90 | grant b 20 pack until=50 for=veo #g     | RequestIdReused
        ",
    );
}

/// Whoever left learns nothing; whoever is named is looked at only when something is to be done.
#[test]
fn own_standing_comes_before_the_replay_and_the_named_members_after_it() {
    check(
        "
        0 | grant a 20                             | granted 20, left 20
        0 | charge c 1 named=1 #k                  | NotAMember
        0 | told 1 in 1                            |
        0 | charge c 1 named=1 #k                  | charged 1 = a:1, left 19
        0 | charge d 1 as=u1 token=1 #k            | charged 1 = a:1, left 18
        1 | told 1 out 2                           |
        1 | charge c 1 named=1 #k                  | charged 1 = a:1, left 19, again
        1 | charge c 2 named=1 #k                  | RequestIdReused
        1 | charge c 1 named=1 #m                  | NotAMember
        1 | charge d 1 as=u1 token=1 #k            | NotAMember
        1 | charge d 2 as=u1 token=1 #k            | NotAMember
        1 | charge d 1 as=s1/u1 token=1 #k         | NotAMember
        1 | release nothing as=u1 token=1          | NotAMember
        1 | charge d 1 as=u1 token=3 #k            | charged 1 = a:1, left 18, again
        1 | charge e 1 as=u1 token=3 #m            | charged 1 = a:1, left 17
        1 | told 1 in 4                            |
        1 | charge f 1 as=u1 token=-3              | charged 1 = a:1, left 16
        1 | charge f 1 as=u1 token=-5              | NotAMember
        ",
    );
}

#[test]
fn where_services_spend_a_users_own_token_does_not() {
    check(
        "
        0 | grant a 20                             | granted 20, left 20
        0 | hold h 1 as=u1                         | held 1 = a:1, left 19
        0 | hold i 1 as=u1                         | held 1 = a:1, left 18
        0 | charge c 1 as=u1 #k                    | charged 1 = a:1, left 17
        0 | spending services                      |
        0 | charge c 1 as=u1 #k                    | charged 1 = a:1, left 17, again
        0 | charge d 0 as=u1                       | SpendingByServicesOnly
        0 | charge d =1 as=u1                      | SpendingByServicesOnly
        0 | hold j 99 as=u1                        | SpendingByServicesOnly
        0 | charge d 1 as=k1                       | SpendingByServicesOnly
        0 | hold j 1 as=o1/u1                      | SpendingByServicesOnly
        0 | charge d 1 as=s1/u1                    | charged 1 = a:1, left 16
        0 | charge e 1 as=s1                       | charged 1 = a:1, left 15
        0 | capture h 1 f as=u1                    | charged 1 = a:1, left 15
        0 | release i as=u1                        | released 1, left 16
        0 | spending all                           |
        0 | charge g 1 as=u1                       | charged 1 = a:1, left 15
        ",
    );
}
