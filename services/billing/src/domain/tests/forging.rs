//! The verifier against a forger who knows how the chain is hashed: one ledger, one change at a
//! time, and what must be found.

use bursar_money::Credits;

use super::script::world_of;
use super::world::{Store, at, id, owner};
use crate::domain::*;

/// One of every kind of entry, one a line.
const LEDGER: &str = "
    0  | grant a 10 pack until=50       | granted 10, left 10
    1  | grant b 10                     | granted 10, left 20
    2  | charge c 4                     | charged 4 = a:4, left 16
    3  | hold h 8                       | held 8 = a:6 b:2, left 8
    4  | capture h 5 d                  | charged 5 = a:5, left 11
    5  | hold i 3                       | held 3 = a:1 b:2, left 8
    6  | release i                      | released 3, left 11
    7  | refund c 1 r                   | refunded 1 = a:1, left 12
    8  | hold j 1 ttl=10                | held 1 = a:1, left 11
    18 | sweep                          | booked 1
    50 | sweep                          | booked 1
    51 | void b                         | voided 10, left 0
";
const GRANT: usize = 0;
const SECOND_GRANT: usize = 1;
const CHARGE: usize = 2;
const HOLD: usize = 3;
const CAPTURE: usize = 4;
const RELEASE: usize = 6;
const REFUND: usize = 7;
const LAPSE: usize = 9;
const EXPIRE: usize = 10;
const VOID: usize = 11;

/// Hashes the chain anew, as somebody would who changes a ledger and knows how it is made.
pub(super) fn forge(entries: &mut [Entry], store: &mut Store) {
    let mut previous = LedgerHead::genesis_hash(owner());
    for entry in entries {
        entry.hash = entry.digest(owner(), &previous, &mut Vec::new());
        previous = entry.hash;
    }
    store.account.head.hash = previous;
}

type Change = fn(&mut [Entry]);

/// What is changed, the entry where it must be found, and as what.
type Forgery = (&'static str, Change, usize, Flaw);

/// Entries that lack something.
fn incomplete() -> Vec<Forgery> {
    vec![
        ("an earlier time", |it| it[CHARGE].at = at(0), CHARGE, Flaw::TimeRunsBack),
        ("a charge without an id", |it| it[CHARGE].id = None, CHARGE, Flaw::Incomplete),
        ("a charge as a void", |it| it[CHARGE].kind = EntryKind::Void, CHARGE, Flaw::Incomplete),
        ("a release of nothing", |it| it[RELEASE].subject = None, RELEASE, Flaw::Incomplete),
        ("another lot's expiry", |it| it[EXPIRE].subject = Some(Subject::Lot(id(101))), EXPIRE, Flaw::Incomplete),
        ("a grant without terms", |it| it[GRANT].grant = None, GRANT, Flaw::Incomplete),
    ]
}

/// Credits that move as they never do.
fn misplaced() -> Vec<Forgery> {
    let a = id(100);
    vec![
        (
            "expired credits as voided",
            |it| {
                let posting = &mut it[EXPIRE].postings[0];
                posting.voided = std::mem::take(&mut posting.expired);
            },
            EXPIRE,
            Flaw::WrongPosting(a),
        ),
        (
            "a hold that spends",
            |it| {
                let posting = &mut it[HOLD].postings[0];
                posting.spent = std::mem::take(&mut posting.held);
            },
            HOLD,
            Flaw::WrongPosting(a),
        ),
        ("credits out of nothing", |it| it[REFUND].postings[0].remaining += 1, REFUND, Flaw::WrongPosting(a)),
        ("another figure", |it| it[CHARGE].amount = it[VOID].amount, CHARGE, Flaw::AmountMismatch),
        (
            "a lot twice",
            |it| {
                it[SECOND_GRANT].id = it[GRANT].id;
                it[SECOND_GRANT].postings[0].lot = it[GRANT].postings[0].lot;
            },
            SECOND_GRANT,
            Flaw::LotGrantedTwice(a),
        ),
        ("a lot from nowhere", |it| it[CHARGE].postings[0].lot = id(9), CHARGE, Flaw::UnknownLot(id(9))),
        (
            "more than there is",
            |it| {
                it[CHARGE].postings[0].remaining *= 3;
                it[CHARGE].postings[0].spent *= 3;
                it[CHARGE].amount = Credits::whole(12);
            },
            CHARGE,
            Flaw::LotOverdrawn(a),
        ),
    ]
}

/// Lots and holds outside their time.
fn untimely() -> Vec<Forgery> {
    let (a, b) = (id(100), id(101));
    vec![
        ("a later expiry", |it| it[GRANT].expires_at = Some(at(60)), EXPIRE, Flaw::WrongTime(a)),
        ("an earlier expiry", |it| it[GRANT].expires_at = Some(at(2)), CHARGE, Flaw::WrongTime(a)),
        (
            "a later beginning",
            |it| {
                if let Some(terms) = &mut it[GRANT].grant {
                    terms.effective_at = at(3);
                }
            },
            CHARGE,
            Flaw::WrongTime(a),
        ),
        ("a void of the other lot, too", |it| it[SECOND_GRANT].expires_at = Some(at(51)), VOID, Flaw::WrongTime(b)),
        (
            "a capture of another hold",
            |it| it[CAPTURE].subject = Some(Subject::Hold(id(9))),
            CAPTURE,
            Flaw::HoldMismatch(id(9)),
        ),
        (
            "a lapse of a hold that was released",
            |it| it[LAPSE].subject = it[RELEASE].subject,
            LAPSE,
            Flaw::HoldMismatch(id(105)),
        ),
    ]
}

#[test]
fn a_forged_chain_still_has_to_tell_a_possible_story() {
    let good = world_of(LEDGER).store;
    let kinds: Vec<EntryKind> = good.entries.iter().map(|entry| entry.kind).collect();
    for (index, kind) in [
        (GRANT, EntryKind::Grant),
        (CHARGE, EntryKind::Charge),
        (HOLD, EntryKind::Hold),
        (CAPTURE, EntryKind::Capture),
        (RELEASE, EntryKind::Release),
        (REFUND, EntryKind::Refund),
        (LAPSE, EntryKind::HoldLapsed),
        (EXPIRE, EntryKind::Expire),
        (VOID, EntryKind::Void),
    ] {
        assert_eq!(kinds[index], kind, "{kinds:?}");
    }
    for (what, change, found, flaw) in incomplete().into_iter().chain(misplaced()).chain(untimely()) {
        let mut store = good.clone();
        let mut entries = store.entries.clone();
        change(&mut entries);
        forge(&mut entries, &mut store);
        store.entries = entries;
        let bad = store.verify().expect_err(what);
        assert_eq!((bad.seq, bad.flaw), (found as u64 + 1, flaw), "{what}");
    }
}
