//! Idempotency: the same request again gets the same answer, whatever has changed since.

use std::collections::BTreeMap;
use std::sync::Arc;

use bursar_money::Quantity;

use super::script::check;
use super::world::{World, at, attribution, credits, id, key};
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

fn charge(amount: u32, pricing: Pricing, by: Arc<Attribution>, number: u64) -> Command {
    let amount = credits(amount);
    Command::Charge(ChargeCommand { charge: id(number), amount, pricing, attribution: by, occurred_at: None })
}

/// Every field that a caller chooses makes another request; what the server adds does not.
#[test]
fn the_fingerprint_covers_what_the_caller_chose_and_nothing_else() {
    let by = |change: fn(&mut Attribution)| {
        let mut attribution = Arc::unwrap_or_clone(attribution(1));
        change(&mut attribution);
        Arc::new(attribution)
    };
    let plain = body_hash(&charge(1, Pricing::Named, by(|_| {}), 1));
    assert_eq!(plain, body_hash(&charge(1, Pricing::Named, by(|_| {}), 2)), "a new charge id");

    let label = |key: &str, value: &str| Labels::parse(BTreeMap::from([(key.to_owned(), value.to_owned())])).unwrap();
    let mut others = vec![
        charge(2, Pricing::Named, by(|_| {}), 1),
        charge(1, Pricing::Named, by(|it| it.member = id(2)), 1),
        charge(1, Pricing::Named, by(|it| it.project = ProjectName::parse("film").ok()), 1),
        charge(1, Pricing::Named, by(|it| it.model = ModelName::parse("veo").ok()), 1),
        charge(1, Pricing::Named, by(|it| it.quantity = Some(Quantity::ONE)), 1),
    ];
    for labels in [label("a", "bc"), label("ab", "c"), label("a", "")] {
        let mut attribution = Arc::unwrap_or_clone(attribution(1));
        attribution.labels = labels;
        others.push(charge(1, Pricing::Named, Arc::new(attribution), 1));
    }
    let mut hashes: Vec<i64> = others.iter().map(body_hash).chain([plain]).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), others.len() + 1, "two different requests share a fingerprint");

    // The rate card's amount may change between two attempts.
    let priced = |amount| body_hash(&charge(amount, Pricing::RateCard, by(|_| {}), 1));
    assert_eq!(priced(1), priced(2));
}

#[test]
fn two_callers_may_choose_the_same_request_id() {
    let mut world = World::new();
    let grant = |lot| {
        Command::Grant(GrantCommand {
            lot: id(lot),
            amount: credits(1),
            source: LotSource::Pack,
            priority: 0,
            effective_at: None,
            expires_at: None,
            note: None,
        })
    };
    let other = RequestKey::new("svc_other", &"k".parse().unwrap());
    for (number, key) in [(1, key("k")), (2, other), (3, key("k"))] {
        world.run(&Request::new(Some(key), grant(number)), at(0)).unwrap();
    }
    world.forget();
    assert_eq!(world.store.lots.len(), 2, "the third was a replay of the first");
}
