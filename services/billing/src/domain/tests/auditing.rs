//! The verifier: it accepts every ledger the engine writes and catches every change to one.

use bursar_id::OwnerId;
use bursar_money::Credits;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::forging::forge;
use super::pair::Pair;
use super::script::world_of;
use super::steps::steps;
use super::world::{KEY, Store, credits, id, owner};
use crate::domain::*;

type Change = fn(&mut StoredEntry);

/// Every column of a stored entry but its body, changed.
fn changes() -> Vec<(&'static str, Change)> {
    vec![
        ("seq", |row| row.seq += 1),
        ("seq, backwards", |row| row.seq -= 1),
        ("seq, below zero", |row| row.seq = -row.seq),
        ("at", |row| row.at += 1),
        ("at, beyond all time", |row| row.at = i64::MAX),
        ("request_key", |row| {
            row.request_key = if row.request_key.is_some() { None } else { Some(vec![0; 16]) };
        }),
        ("request_key, one bit", |row| match &mut row.request_key {
            Some(key) => key[15] ^= 1,
            None => row.request_key = Some(vec![1; 16]),
        }),
        ("request_key, cut", |row| row.request_key = Some(vec![0; 15])),
        ("hash", |row| row.hash[31] ^= 1),
        ("hash, cut", |row| row.hash.truncate(31)),
        ("body, cut", |row| row.body.truncate(row.body.len() - 1)),
        ("body, longer", |row| row.body.push(0)),
        ("body, empty", |row| row.body.clear()),
    ]
}

/// An audit of all entries before number `seq`.
fn audit_before(store: &Store, seq: usize) -> Verifier {
    let mut verifier = Verifier::new(owner(), KEY);
    for entry in &store.ledger()[..seq - 1] {
        verifier.push(entry).unwrap();
    }
    verifier
}

/// What the audit says of one row after it.
fn judge(verifier: &Verifier, store: &Store, row: &StoredEntry) -> Result<(), BadLedger> {
    let mut entry = Entry::from_stored(row.clone()).map_err(|error| verifier.unreadable(error))?;
    entry.details = store.details_of(entry.seq);
    verifier.clone().push(&entry)
}

proptest! {
    #![proptest_config(Config { cases: 40, ..Config::default() })]

    #[test]
    fn any_change_to_any_column_of_any_entry_is_found_there(
        steps in steps(),
        which in any::<prop::sample::Index>(),
    ) {
        let store = Pair::run(&steps).world.store;
        prop_assume!(!store.entries.is_empty());
        let index = which.index(store.entries.len());
        for (column, change) in changes() {
            let mut changed = store.entries.clone();
            change(&mut changed[index]);
            let Err(bad) = store.verify_rows(&changed) else {
                return Err(TestCaseError::fail(format!("{column} of {:?}", store.entries[index])));
            };
            if !column.starts_with("seq") {
                prop_assert_eq!(bad.seq, index as u64 + 1, "{}: {}", column, bad);
            }
        }
    }

    #[test]
    fn any_change_to_any_byte_of_any_body_is_found_there(
        steps in steps(),
        which in any::<prop::sample::Index>(),
        other in 1..=255_u8,
    ) {
        let store = Pair::run(&steps).world.store;
        prop_assume!(!store.entries.is_empty());
        let seq = which.index(store.entries.len()) + 1;
        let verifier = audit_before(&store, seq);
        let row = &store.entries[seq - 1];
        prop_assert!(judge(&verifier, &store, row).is_ok());
        for place in 0..row.body.len() {
            for flip in [1, 0x80, other] {
                let mut changed = row.clone();
                changed.body[place] ^= flip;
                let bad = judge(&verifier, &store, &changed);
                prop_assert!(bad.is_err(), "byte {} of {}", place, hex::encode(&row.body));
            }
        }
    }

    #[test]
    fn a_missing_a_doubled_or_a_swapped_entry_is_found(
        steps in steps(),
        which in any::<prop::sample::Index>(),
    ) {
        let store = Pair::run(&steps).world.store;
        let rows = &store.entries;
        prop_assume!(rows.len() >= 2);
        let index = which.index(rows.len() - 1);
        let (mut missing, mut doubled, mut swapped) = (rows.clone(), rows.clone(), rows.clone());
        missing.remove(index);
        doubled.insert(index, rows[index].clone());
        swapped.swap(index, index + 1);
        let cut = &rows[..rows.len() - 1];
        for bad in [&missing[..], &doubled, &swapped, cut] {
            prop_assert!(store.verify_rows(bad).is_err());
        }
    }

    /// A forger who also repairs the hashes still has to make the figures add up.
    #[test]
    fn figures_that_do_not_add_up_are_found_under_a_forged_chain(
        steps in steps(),
        which in any::<prop::sample::Index>(),
        by in 1..5_i64,
    ) {
        let store = Pair::run(&steps).world.store;
        prop_assume!(!store.entries.is_empty());
        let ledger = store.ledger();
        let index = which.index(ledger.len());
        let more = |amount: Credits| Credits::from_micro(amount.micro() + by).unwrap();
        let forged = |change: &dyn Fn(&mut Entry)| {
            let mut entries = ledger.clone();
            change(&mut entries[index]);
            entries
        };
        let mut postings = ledger.clone();
        if let Some(posting) = postings[index].postings.first_mut() {
            posting.remaining += by;
        } else {
            postings.remove(index);
        }
        for entries in [
            forged(&|it| it.amount = more(it.amount)),
            forged(&|it| it.available_after = more(it.available_after)),
            forged(&|it| it.held_after = more(it.held_after)),
            forged(&|it| {
                // The stored form says what of it cannot be spent: neither more than all nor the same.
                it.spendable_after = it.spendable_after.checked_sub(Credits::from_micro(by).unwrap())
                    .unwrap_or_else(|| { it.available_after = more(it.available_after); it.available_after });
            }),
            postings,
        ] {
            let mut store = store.clone();
            forge(&entries, &mut store);
            let bad = store.verify().unwrap_err();
            prop_assert_ne!(bad.flaw, Flaw::HashMismatch);
        }
    }
}

fn label(key: &str, value: &str) -> Labels {
    Labels::parse([(key.to_owned(), value.to_owned())].into()).unwrap()
}

type Spoil = Box<dyn Fn(&mut Store)>;

/// A ledger to spoil: one of everything, and a hold that is open.
fn ledger() -> Store {
    let table = "
        0  | grant a 10 pack until=500            | granted 10, left 10
        1  | grant b 10 promotion for=veo note=x  | granted 10, left 20
        2  | grant c 10 pack from=9               | granted 10, left 20
        3  | charge d seconds=8 with=veo label=x  | charged 4 = a:4, left 16
        4  | hold h 8 with=veo                    | held 8 = a:6 b:2, left 8
        5  | capture h 5 e                        | charged 5 = a:5, left 11
        6  | refund d 1 r                         | refunded 1 = a:1, left 12
        7  | hold i 1 ttl=10                      | held 1 = a:1, left 11
        8  | hold j 1                             | held 1 = a:1, left 10
        17 | sweep                                | booked 1
        18 | release j #j                         | released 1, left 22
        19 | hold k 4 by=2                        | held 4 = a:2 c:2, left 18
        20 | void b                               | voided 10, left 8
        21 | erase notes                          | erased before 14
    ";
    world_of(table).store
}

#[test]
fn a_row_beside_the_ledger_that_was_changed_by_hand_is_found() {
    fn lot_terms(lot: &mut Lot) -> &mut LotTerms {
        std::sync::Arc::make_mut(&mut lot.terms)
    }
    fn hold_terms(hold: &mut Hold) -> &mut HoldTerms {
        std::sync::Arc::make_mut(&mut hold.terms)
    }
    let good = ledger();
    assert!(good.verify().is_ok());
    let lot = *good.lots.keys().next().unwrap();
    let open = good.holds.values().find(|hold| hold.state == HoldState::Open).unwrap().id;
    let change_lot = |change: fn(&mut Lot)| -> (Flaw, Spoil) {
        (Flaw::LotMismatch(lot), Box::new(move |it| change(it.lots.get_mut(&lot).unwrap())))
    };
    let change_hold = |change: fn(&mut Hold)| -> (Flaw, Spoil) {
        (Flaw::StoredHoldMismatch(open), Box::new(move |it| change(it.holds.get_mut(&open).unwrap())))
    };
    let change_account = |change: fn(&mut Account)| -> (Flaw, Spoil) {
        (Flaw::HeadMismatch, Box::new(move |it| change(&mut it.account)))
    };
    let spoiled: Vec<(Flaw, Spoil)> = vec![
        change_account(|it| it.available = credits(1)),
        change_account(|it| it.held = credits(1)),
        change_account(|it| it.charged += 1),
        change_account(|it| it.open_holds += 1),
        change_account(|it| it.head.seq += 1),
        change_account(|it| it.head.hash[31] ^= 1),
        change_account(|it| it.head.at = super::world::at(1_000)),
        change_lot(|it| it.spent = credits(1)),
        change_lot(|it| it.granted = credits(1)),
        change_lot(|it| it.number += 1),
        change_lot(|it| lot_terms(it).priority += 1),
        change_lot(|it| lot_terms(it).expires_at = Some(super::world::at(5_000))),
        change_lot(|it| lot_terms(it).scope = Scope::new([super::world::model("other")], []).unwrap()),
        change_lot(|it| lot_terms(it).origin.payment = Some(id(1))),
        change_lot(|it| it.voided_at = Some(super::world::at(1_001))),
        (Flaw::LotMissing(lot), Box::new(move |it| drop(it.lots.remove(&lot)))),
        (Flaw::StoredHoldMismatch(open), Box::new(move |it| drop(it.holds.remove(&open)))),
        change_hold(|it| hold_terms(it).amount = credits(1)),
        change_hold(|it| hold_terms(it).attribution.member = id(9)),
        change_hold(|it| it.deadline = super::world::at(5_000)),
        change_hold(|it| it.state = HoldState::Released),
        change_hold(|it| it.number += 1),
        change_hold(|it| hold_terms(it).attribution.model = Some(super::world::model("kling"))),
        change_hold(|it| hold_terms(it).attribution.project = Some(super::world::project("film"))),
        change_hold(|it| hold_terms(it).earmarks[0].amount = credits(1)),
        change_hold(|it| hold_terms(it).earmarks.swap(0, 1)),
        change_hold(|it| hold_terms(it).placed_by = super::world::service(2)),
        change_hold(|it| it.labels = label("a", "b")),
        change_lot(|it| it.note = Some(Note::parse("not what was said").unwrap())),
    ];
    for (number, (flaw, spoil)) in spoiled.into_iter().enumerate() {
        let mut store = good.clone();
        spoil(&mut store);
        assert_eq!(store.verify().map_err(|bad| bad.flaw), Err(flaw), "change {number}");
    }
}

#[test]
fn a_ledger_cannot_be_passed_off_as_another_owners() {
    let store = ledger();
    let mut verifier = Verifier::new(OwnerId::Organization(id(2)), KEY);
    let bad = verifier.push(&store.entry(1)).unwrap_err();
    assert_eq!((bad.seq, bad.flaw), (1, Flaw::HashMismatch));
}

#[test]
fn nothing_is_booked_on_top_of_rows_that_contradict_one_another() {
    let store = ledger();
    let rules = std::sync::Arc::new(super::world::rules());
    let lots: Vec<Lot> = store.lots.values().cloned().collect();
    let load = |account: Account, lots: Vec<Lot>| AccountState::new(owner(), account, lots, rules.clone());
    assert!(load(store.account, lots.clone()).is_ok());
    let mut account = store.account;
    account.available = credits(1_000);
    assert!(load(account, lots.clone()).is_err());
    let mut lots = lots;
    lots[0].spent = credits(1_000);
    assert!(load(store.account, lots).is_err());
}
