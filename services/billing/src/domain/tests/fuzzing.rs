//! Stored bytes of every form, with edits: what is read is written the same, and an audit of it comes to an end.

use bursar_id::OwnerId;
use bursar_money::Credits;

use super::golden::Golden;
use crate::domain::entry_body::Place;
use crate::domain::state::Draft;
use crate::domain::*;

/// A row of the golden ledger with another body.
fn with_body(row: &StoredEntry, body: &[u8]) -> StoredEntry {
    StoredEntry { body: body.to_vec(), ..row.clone() }
}

#[test]
fn fuzz_entry_bodies() {
    let rows = Golden::format_1().entries();
    let samples: Vec<Vec<u8>> = rows.iter().map(|entry| entry.body.clone()).collect();
    bursar_fuzz::fuzz("entry bodies", &samples, |bytes| {
        let stored = with_body(&rows[0], bytes);
        if let Ok(entry) = Entry::from_stored(stored.clone()) {
            assert_eq!(entry.write(), bytes, "two spellings of one entry");
            assert_eq!(entry.to_stored(), stored);
        }
    });
}

/// Somebody with the database's rights puts an entry of their own into a ledger, hashed as it should be.
#[test]
fn fuzz_forged_ledgers() {
    let golden = Golden::format_1();
    let (rows, ledger) = (golden.entries(), golden.ledger());
    let (key, account, lots, holds) = (golden.key(), golden.account(), golden.lots(), golden.holds());
    let samples: Vec<Vec<u8>> = rows.iter().map(|entry| entry.body.clone()).collect();
    bursar_fuzz::fuzz("forged ledgers", &samples, |bytes| {
        let at = bytes.iter().fold(0, |sum: usize, byte| sum.wrapping_mul(31) + usize::from(*byte)) % rows.len();
        let Ok(read) = Entry::from_stored(with_body(&rows[at], bytes)) else { return };
        let mut verifier = Verifier::new(golden.owner, key);
        for entry in &ledger[..at] {
            verifier.push(entry).expect("what was written verifies");
        }
        let previous = at.checked_sub(1).map_or(LedgerHead::genesis_hash(golden.owner), |before| ledger[before].hash);
        let forged = sealed(golden.owner, previous, read);
        let _ = verifier.push(&forged);
        // A judge who accepts it goes on, and so does one who does not look at the answer.
        for entry in &ledger[at + 1..] {
            let _ = verifier.push(entry);
        }
        let _ = verifier.finish(&account, &lots, &holds);
    });
}

fn sealed(owner: OwnerId, previous: [u8; 32], read: Entry) -> Entry {
    let place = Place {
        owner,
        previous,
        seq: read.seq,
        at: read.at,
        available_after: read.available_after,
        spendable_after: read.spendable_after,
        held_after: read.held_after,
        actor: read.actor,
    };
    let draft = Draft {
        amount: read.amount,
        event: read.event,
        postings: read.postings,
        request_key: read.request_key,
        details: None,
    };
    Entry::seal(&place, draft)
}

#[test]
fn fuzz_terms() {
    let golden = Golden::format_1();
    let lots = golden.lots().into_iter().map(|lot| lot.terms.to_bytes());
    let samples: Vec<Vec<u8>> = lots.chain(golden.holds().into_iter().map(|hold| hold.terms.to_bytes())).collect();
    bursar_fuzz::fuzz("terms", &samples, |bytes| {
        if let Ok(terms) = LotTerms::from_bytes(bytes) {
            assert_eq!(terms.to_bytes(), bytes, "two spellings of a lot's terms");
        }
        if let Ok(terms) = HoldTerms::from_bytes(bytes) {
            assert_eq!(terms.to_bytes(), bytes, "two spellings of a hold's terms");
            assert!(terms.amount <= Credits::MAX);
        }
    });
}

#[test]
fn fuzz_details() {
    let samples: Vec<Vec<u8>> = Golden::format_1().details().into_iter().map(|(_, page)| page).collect();
    bursar_fuzz::fuzz("details", &samples, |bytes| {
        if let Ok(page) = DetailsPage::from_bytes(bytes) {
            assert_eq!(page.to_bytes(), bytes, "two spellings of one page");
        }
    });
}
