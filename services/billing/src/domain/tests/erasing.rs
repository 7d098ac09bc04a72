//! Erasure: what goes, what stays, and what the audit says of what is missing.

use std::sync::Arc;

use super::script::world_of;
use super::world::{Store, id};
use crate::domain::*;

/// An entry of each kind with details: member 1's, member 2's and nobody's.
const LEDGER: &str = "
    0 | grant a 90 pack note=x #a      | granted 90, left 90
    0 | grant b 10 pack note=x         | granted 10, left 100
    1 | charge c 1 by=1 label=x        | charged 1 = a:1, left 99
    2 | charge d 1 by=2 #d             | charged 1 = a:1, left 98
    3 | hold h 1 by=1 label=x          | held 1 = a:1, left 97
    3 | hold i 1 by=2 #i               | held 1 = a:1, left 96
    4 | capture h 1 e #e               | charged 1 = a:1, left 96
    5 | release i #r                   | released 1, left 97
    6 | refund c 1 f #f                | refunded 1 = a:1, left 98
    7 | void b #v                      | voided 10, left 88
    8 | charge g 1 by=1                | charged 1 = a:1, left 87
";

/// The details of all entries, in one page.
fn details(store: &Store) -> Vec<(u64, Arc<Details>)> {
    (1..=store.entries.len() as u64).filter_map(|seq| Some((seq, store.details_of(seq)?))).collect()
}

fn keep(store: &mut Store, details: &[(u64, Arc<Details>)]) {
    let pages = DetailsPage::pages(details).into_iter().map(|(last, page)| (last, page.to_bytes()));
    store.details = pages.collect();
}

fn without(store: &Store, seq: u64) -> Store {
    let mut less = store.clone();
    let kept: Vec<_> = details(store).into_iter().filter(|(it, _)| *it != seq).collect();
    keep(&mut less, &kept);
    less
}

#[test]
fn erasing_takes_all_of_one_members_details_and_nothing_else() {
    let whose = |seq: u64| match seq {
        1 | 2 | 10 => Some(None),
        3 | 5 | 7 | 9 => Some(Some(1)),
        4 | 6 | 8 => Some(Some(2)),
        _ => None,
    };
    for (erase, member) in [("erase 1", Some(1)), ("erase 2", Some(2)), ("erase notes", None)] {
        let table = format!(
            "{LEDGER}\n 9 | {erase} #x | erased before 12\n 9 | charge z 1 by=1 label=x | charged 1 = a:1, left 86"
        );
        let store = world_of(&table).store;
        for seq in 1..=11 {
            let there = whose(seq).is_some_and(|it| it != member);
            assert_eq!(store.details_of(seq).is_some(), there, "{erase}: entry {seq}");
        }
        assert!(store.details_of(12).is_some() && store.details_of(13).is_some(), "{erase}: what comes after stays");
        let count = (1..=11).filter(|seq| whose(*seq) == Some(member)).count();
        assert_eq!(store.verify().unwrap().erased, count as u64, "{erase}");
        let label = |hold: &Hold| !hold.labels.is_empty();
        assert_eq!(store.holds.values().any(label), member != Some(1), "{erase}: the holds' labels");
        assert_eq!(store.lots.values().any(|lot| lot.note.is_some()), member.is_some(), "{erase}: the lots' notes");
    }
}

/// What is missing is a flaw where nothing excuses it, at the entry that lacks it.
#[test]
fn details_that_nobody_erased_are_missed() {
    let store = world_of(LEDGER).store;
    let all = details(&store);
    assert_eq!(all.len(), 10);
    for (seq, _) in &all {
        let bad = without(&store, *seq).verify().unwrap_err();
        assert_eq!((bad.seq, bad.flaw), (*seq, Flaw::DetailsMissing));
    }
}

/// Only the erasure that takes them excuses them, and only if it comes after.
#[test]
fn an_erasure_excuses_nothing_but_what_it_takes() {
    // Of a refund the ledger does not say whose it is: any member's erasure excuses it.
    let cases = [
        ("erase 1", vec![3, 5, 7, 9]),
        ("erase 2", vec![4, 6, 8, 9]),
        ("erase 3", vec![9]),
        ("erase notes", vec![1, 2, 10]),
    ];
    for (erase, excused) in cases {
        let full = world_of(LEDGER).store;
        let mut after = world_of(&format!("{LEDGER}\n 9 | {erase} | erased before 12")).store;
        keep(&mut after, &details(&full));
        let mut before = world_of(&format!("0 | {erase} | erased before 1\n{LEDGER}")).store;
        let shifted: Vec<_> = details(&before);
        keep(&mut before, &shifted);
        for (seq, _) in details(&full) {
            let flaw = without(&after, seq).verify().map(|audit| audit.erased).map_err(|bad| (bad.seq, bad.flaw));
            let expected = if excused.contains(&seq) { Ok(1) } else { Err((seq, Flaw::DetailsMissing)) };
            assert_eq!(flaw, expected, "{erase} after entry {seq}");
            let bad = without(&before, seq + 1).verify().unwrap_err();
            assert_eq!((bad.seq, bad.flaw), (seq + 1, Flaw::DetailsMissing), "{erase} before entry {seq}");
        }
    }
}

type Change = fn(&mut Details);

#[test]
fn details_that_were_changed_exchanged_or_invented_are_found() {
    let store = world_of(LEDGER).store;
    let changes: [(&str, Change); 5] = [
        ("salt", |it| it.salt[0] ^= 1),
        ("member", |it| it.member = Some(id(7))),
        ("request", |it| it.request = None),
        ("labels", |it| it.labels = Labels::parse([("k".to_owned(), "v".to_owned())].into()).unwrap()),
        ("note", |it| it.note = Note::parse("other").ok()),
    ];
    for (what, change) in changes {
        for (seq, _) in details(&store) {
            let mut all = details(&store);
            let (_, one) = all.iter_mut().find(|(it, _)| *it == seq).unwrap();
            let before = Arc::clone(one);
            change(Arc::make_mut(one));
            if *one == before {
                continue;
            }
            let mut spoiled = store.clone();
            keep(&mut spoiled, &all);
            let bad = spoiled.verify().unwrap_err();
            assert_eq!((bad.seq, bad.flaw), (seq, Flaw::DetailsMismatch), "{what}");
        }
    }
    let mut invented = details(&store);
    let (_, first) = invented[0].clone();
    invented.push((11, first));
    let mut spoiled = store.clone();
    keep(&mut spoiled, &invented);
    let bad = spoiled.verify().unwrap_err();
    assert_eq!((bad.seq, bad.flaw), (11, Flaw::DetailsMismatch), "details of an entry that had none");
}

/// No byte of a page can be changed without anybody noticing.
#[test]
fn any_change_to_any_byte_of_a_page_is_found() {
    let store = world_of(LEDGER).store;
    for (last, bytes) in &store.details {
        for place in 0..bytes.len() {
            for flip in [1, 2, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[place] ^= flip;
                if DetailsPage::from_bytes(&changed).is_err() {
                    continue;
                }
                let mut spoiled = store.clone();
                spoiled.details.insert(*last, changed);
                assert!(spoiled.verify().is_err(), "byte {place} of page {last}");
            }
        }
    }
}

/// Whoever still has erased details can be proven right.
#[test]
fn an_erased_entry_still_proves_what_its_details_were() {
    let kept = world_of(LEDGER).store;
    let mut erased = world_of(&format!("{LEDGER}\n 9 | erase 1 | erased before 12")).store;
    assert_eq!(erased.entries[..11], kept.entries[..], "erasing changes no entry");
    assert_eq!(erased.verify().unwrap().erased, 4);
    keep(&mut erased, &details(&kept));
    assert_eq!(erased.verify().unwrap().erased, 0);
}
