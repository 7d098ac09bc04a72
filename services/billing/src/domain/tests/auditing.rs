//! The verifier: it accepts every ledger the engine writes and catches every change to one.

use bursar_id::OwnerId;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::forging::forge;
use super::random::{Pair, steps};
use super::world::{Store, credits, id, owner};
use crate::domain::*;

type Change = fn(&mut EntryRow);

/// Every column of a stored entry, changed by one.
fn changes() -> Vec<(&'static str, Change)> {
    fn bump(value: &mut Option<i64>) {
        *value = Some(value.unwrap_or(0) + 1);
    }
    fn swap(value: &mut Option<String>, a: &str, b: &str) {
        *value = Some(if value.as_deref() == Some(a) { b } else { a }.to_owned());
    }
    const ID: &str = "00000000000000000000000000";
    vec![
        ("seq", |row| row.seq += 1),
        ("kind", |row| {
            row.kind = if row.kind == "VOID" { "EXPIRE" } else { "VOID" }.to_owned();
        }),
        ("at", |row| row.at += 1),
        ("amount", |row| row.amount += 1),
        ("available_after", |row| row.available_after += 1),
        ("held_after", |row| row.held_after += 1),
        ("operation_id", |row| {
            swap(&mut row.operation_id, &format!("lot_{ID}"), &format!("chg_{ID}"));
        }),
        ("subject", |row| {
            swap(&mut row.subject, &format!("lot_{ID}"), &format!("chg_{ID}"));
        }),
        ("member", |row| {
            swap(&mut row.member, &format!("usr_{ID}"), "nobody");
        }),
        ("project", |row| {
            swap(&mut row.project, "film", "book");
        }),
        ("model", |row| swap(&mut row.model, "veo", "sora")),
        ("quantity", |row| bump(&mut row.quantity)),
        ("labels", |row| {
            swap(&mut row.labels, r#"{"a":"b"}"#, r#"{"a":"c"}"#);
        }),
        ("occurred_at", |row| bump(&mut row.occurred_at)),
        ("expires_at", |row| bump(&mut row.expires_at)),
        ("source", |row| swap(&mut row.source, "PACK", "GOODWILL")),
        ("priority", |row| {
            row.priority = Some(row.priority.unwrap_or(0) + 1);
        }),
        ("effective_at", |row| bump(&mut row.effective_at)),
        ("note", |row| swap(&mut row.note, "x", "y")),
        ("request_key", |row| {
            swap(&mut row.request_key, "a b", "a c");
        }),
        ("body_hash", |row| row.body_hash ^= 1),
        ("postings", |row| {
            row.postings = if row.postings == "[]" { format!(r#"[["lot_{ID}",0,0,0,0,0]]"#) } else { "[]".to_owned() };
        }),
        ("hash", |row| row.hash[0] ^= 1),
    ]
}

/// Audits rows as `bursar-billing verify` does.
fn audit(store: &Store, rows: &[EntryRow]) -> Result<Audit, BadLedger> {
    let mut verifier = Verifier::new(owner());
    for row in rows {
        match Entry::try_from(row.clone()) {
            Ok(entry) => verifier.push(&entry)?,
            Err(error) => return Err(verifier.unreadable(error)),
        }
    }
    let lots: Vec<_> = store.lots.values().cloned().collect();
    let holds: Vec<_> = store.holds.values().cloned().collect();
    verifier.finish(&store.account, &lots, &holds)
}

proptest! {
    #![proptest_config(Config { cases: 40, ..Config::default() })]

    #[test]
    fn any_change_to_any_column_of_any_entry_is_found_there(
        steps in steps(),
        which in any::<prop::sample::Index>(),
    ) {
        let store = Pair::run(&steps).world.store;
        let rows: Vec<EntryRow> = store.entries.iter().map(EntryRow::from).collect();
        prop_assume!(!rows.is_empty());
        prop_assert!(audit(&store, &rows).is_ok());
        let index = which.index(rows.len());
        for (column, change) in changes() {
            let mut changed = rows.clone();
            change(&mut changed[index]);
            let Err(bad) = audit(&store, &changed) else {
                return Err(TestCaseError::fail(format!("{column} of {:?}", rows[index])));
            };
            let found = if column == "seq" { bad.seq - 1 } else { bad.seq };
            prop_assert_eq!(found, store.entries[index].seq, "{}: {}", column, bad);
        }
    }

    #[test]
    fn a_missing_a_doubled_or_a_swapped_entry_is_found(
        steps in steps(),
        which in any::<prop::sample::Index>(),
    ) {
        let store = Pair::run(&steps).world.store;
        let rows: Vec<EntryRow> = store.entries.iter().map(EntryRow::from).collect();
        prop_assume!(rows.len() >= 2);
        let index = which.index(rows.len() - 1);
        let (mut missing, mut doubled, mut swapped) = (rows.clone(), rows.clone(), rows.clone());
        missing.remove(index);
        doubled.insert(index, rows[index].clone());
        swapped.swap(index, index + 1);
        let cut = &rows[..rows.len() - 1];
        for bad in [&missing[..], &doubled, &swapped, cut] {
            prop_assert!(audit(&store, bad).is_err());
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
        let index = which.index(store.entries.len());
        let more = |amount: bursar_money::Credits| {
            bursar_money::Credits::from_micro(amount.micro() + by).unwrap()
        };
        let mut amount = store.entries.clone();
        amount[index].amount = more(amount[index].amount);
        let mut available = store.entries.clone();
        available[index].available_after = more(available[index].available_after);
        let mut postings = store.entries.clone();
        if let Some(posting) = postings[index].postings.first_mut() {
            posting.remaining += by;
        } else {
            postings.remove(index);
        }
        for mut forged in [amount, available, postings] {
            let mut store = store.clone();
            forge(&mut forged, &mut store);
            store.entries = forged;
            let bad = store.verify().unwrap_err();
            prop_assert_ne!(bad.flaw, Flaw::HashMismatch);
        }
    }
}

type Spoil = Box<dyn Fn(&mut Store)>;

/// A ledger to spoil: one of everything.
fn ledger() -> Store {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    loop {
        let tree = proptest::strategy::Strategy::new_tree(&steps(), &mut runner).unwrap();
        let store = Pair::run(&proptest::strategy::ValueTree::current(&tree)).world.store;
        let open = store.holds.values().any(|hold| hold.state == HoldState::Open);
        if store.lots.len() > 2 && open && store.entries.len() > 20 {
            return store;
        }
    }
}

#[test]
fn a_row_beside_the_ledger_that_was_changed_by_hand_is_found() {
    let good = ledger();
    assert!(good.verify().is_ok());
    let lot = *good.lots.keys().next().unwrap();
    let open = good.holds.values().find(|hold| hold.state == HoldState::Open).unwrap().id;
    let spoiled: Vec<(Flaw, Spoil)> = vec![
        (Flaw::HeadMismatch, Box::new(|it| it.account.available = credits(1))),
        (Flaw::HeadMismatch, Box::new(|it| it.account.held = credits(1))),
        (Flaw::HeadMismatch, Box::new(|it| it.account.head.seq += 1)),
        (Flaw::HeadMismatch, Box::new(|it| it.account.head.hash[31] ^= 1)),
        (Flaw::LotMismatch(lot), Box::new(move |it| it.lots.get_mut(&lot).unwrap().spent = credits(1))),
        (Flaw::LotMismatch(lot), Box::new(move |it| it.lots.get_mut(&lot).unwrap().granted = credits(1))),
        (Flaw::LotMismatch(lot), Box::new(move |it| it.lots.get_mut(&lot).unwrap().priority += 1)),
        (Flaw::LotMismatch(lot), Box::new(move |it| it.lots.get_mut(&lot).unwrap().number += 1)),
        (Flaw::LotMissing(lot), Box::new(move |it| drop(it.lots.remove(&lot)))),
        (Flaw::StoredHoldMismatch(open), Box::new(move |it| drop(it.holds.remove(&open)))),
        (Flaw::StoredHoldMismatch(open), Box::new(move |it| it.holds.get_mut(&open).unwrap().amount = credits(1))),
        (
            Flaw::StoredHoldMismatch(open),
            Box::new(move |it| it.holds.get_mut(&open).unwrap().state = HoldState::Released),
        ),
    ];
    for (flaw, spoil) in spoiled {
        let mut store = good.clone();
        spoil(&mut store);
        assert_eq!(store.verify().map_err(|bad| bad.flaw), Err(flaw));
    }
}

#[test]
fn a_ledger_cannot_be_passed_off_as_another_owners() {
    let store = ledger();
    let mut verifier = Verifier::new(OwnerId::Organization(id(2)));
    let bad = verifier.push(&store.entries[0]).unwrap_err();
    assert_eq!((bad.seq, bad.flaw), (1, Flaw::HashMismatch));
}

#[test]
fn nothing_is_booked_on_top_of_rows_that_contradict_one_another() {
    let store = ledger();
    let lots: Vec<Lot> = store.lots.values().cloned().collect();
    assert!(AccountState::new(owner(), store.account, lots.clone()).is_ok());
    let mut account = store.account;
    account.available = credits(1_000);
    assert!(AccountState::new(owner(), account, lots.clone()).is_err());
    let mut lots = lots;
    lots[0].spent = credits(1_000);
    assert!(AccountState::new(owner(), store.account, lots).is_err());
}
