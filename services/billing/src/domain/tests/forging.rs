//! The verifier against a forger who knows how the chain is hashed: one ledger, one change at a
//! time, and what must be found.

use std::sync::Arc;

use bursar_id::LotId;
use bursar_money::Credits;

use super::script::world_of;
use super::world::{Store, at, id, owner};
use crate::domain::entry_body::Place;
use crate::domain::state::Draft;
use crate::domain::*;

/// One of every kind of entry, one a line.
const LEDGER: &str = "
    0  | grant a 10 pack until=50             | granted 10, left 10
    1  | grant b 10                           | granted 10, left 20
    2  | charge c seconds=8 with=veo label=x  | charged 4 = a:4, left 16
    3  | hold h 8                             | held 8 = a:6 b:2, left 8
    4  | capture h 5 d                        | charged 5 = a:5, left 11
    5  | hold i 3 #i                          | held 3 = a:1 b:2, left 8
    6  | release i                            | released 3, left 11
    7  | refund c 1 r                         | refunded 1 = a:1, left 12
    8  | hold j 1 ttl=10                      | held 1 = a:1, left 11
    18 | sweep                                | booked 1
    50 | sweep                                | booked 1
    51 | erase 2                              | erased before 12
    52 | void b                               | voided 10, left 0
";
const GRANT: usize = 0;
const SECOND_GRANT: usize = 1;
const CHARGE: usize = 2;
const HOLD: usize = 3;
const CAPTURE: usize = 4;
const SECOND_HOLD: usize = 5;
const RELEASE: usize = 6;
const REFUND: usize = 7;
const LAST_HOLD: usize = 8;
const LAPSE: usize = 9;
const EXPIRE: usize = 10;
const ERASE: usize = 11;
const VOID: usize = 12;

/// Writes the ledger anew as somebody would who changes it and knows how it is made.
pub(super) fn forge(entries: &[Entry], store: &mut Store) {
    let mut previous = LedgerHead::genesis_hash(owner());
    store.entries.clear();
    for entry in entries {
        let place = Place {
            owner: owner(),
            previous,
            seq: entry.seq,
            at: entry.at,
            available_after: entry.available_after,
            spendable_after: entry.spendable_after,
            held_after: entry.held_after,
            actor: entry.actor,
        };
        let draft = Draft {
            amount: entry.amount,
            event: entry.event.clone(),
            postings: entry.postings.clone(),
            request_key: entry.request_key,
            details: entry.details.clone(),
        };
        let sealed = Entry::seal(&place, draft);
        previous = sealed.hash;
        store.entries.push(sealed.to_stored());
    }
    store.account.head.hash = previous;
}

type Change = fn(&mut [Entry]);

/// What is changed, the entry where it must be found, and as what.
type Forgery = (&'static str, Change, usize, Flaw);

fn lot_of(entry: &Entry) -> LotId {
    entry.postings[0].lot
}

fn lots() -> (LotId, LotId) {
    let good = world_of(LEDGER).store.ledger();
    (lot_of(&good[GRANT]), lot_of(&good[SECOND_GRANT]))
}

fn hold_of(entry: &Entry) -> bursar_id::HoldId {
    match (entry.event.made(), entry.event.subject()) {
        (Some(OperationId::Hold(hold)), _) | (_, Some(OperationId::Hold(hold))) => hold,
        _ => panic!("{:?} has no hold", entry.event),
    }
}

fn set_hold(entry: &mut Entry, to: bursar_id::HoldId) {
    match &mut entry.event {
        Event::Capture(CaptureEvent { hold, .. }) | Event::Release { hold } | Event::HoldLapsed { hold } => *hold = to,
        _ => panic!("settles no hold"),
    }
}

fn terms(entry: &mut Entry) -> &mut LotTerms {
    match &mut entry.event {
        Event::Grant { terms, .. } => Arc::make_mut(terms),
        _ => panic!("grants nothing"),
    }
}

fn deadline(entry: &mut Entry) -> &mut bursar_time::Timestamp {
    match &mut entry.event {
        Event::Hold(hold) => &mut hold.deadline,
        _ => panic!("holds nothing"),
    }
}

/// Entries that are about something else than they say.
fn misnamed() -> Vec<Forgery> {
    let (a, _) = lots();
    let nowhere = |operation| Flaw::WrongId(operation);
    vec![
        ("an earlier time", |it| it[CHARGE].at = at(0), CHARGE, Flaw::TimeRunsBack),
        (
            "an id from elsewhere",
            |it| {
                if let Event::Charge(charge) = &mut it[CHARGE].event {
                    charge.charge = id(9);
                }
            },
            CHARGE,
            nowhere(OperationId::Charge(id(9))),
        ),
        (
            "the id of another entry",
            |it| {
                let first = hold_of(&it[HOLD]);
                if let Event::Hold(hold) = &mut it[SECOND_HOLD].event {
                    hold.hold = first;
                }
            },
            SECOND_HOLD,
            nowhere(OperationId::Hold(hold_of(&world_of(LEDGER).store.entry(HOLD as u64 + 1)))),
        ),
        (
            "a lot twice",
            |it| {
                it[SECOND_GRANT].event = it[GRANT].event.clone();
                it[SECOND_GRANT].postings = it[GRANT].postings.clone();
            },
            SECOND_GRANT,
            nowhere(OperationId::Lot(a)),
        ),
    ]
}

/// Entries that move other lots than they are about, or what they never do.
fn misshapen() -> Vec<Forgery> {
    let (a, b) = lots();
    vec![
        (
            "a charge as a void",
            |it| it[CHARGE].event = Event::Void { lot: it[CHARGE].postings[0].lot },
            CHARGE,
            Flaw::WrongPosting(a),
        ),
        (
            "another lot's expiry",
            |it| it[EXPIRE].event = Event::Expire { lot: it[SECOND_GRANT].postings[0].lot },
            EXPIRE,
            Flaw::WrongPosting(a),
        ),
        (
            "a grant that moves another lot, too",
            |it| {
                let more = it[GRANT].postings[0];
                it[SECOND_GRANT].postings.push(more);
            },
            SECOND_GRANT,
            Flaw::WrongPosting(a),
        ),
        (
            "a grant that moves its lot twice",
            |it| {
                let mut more = it[SECOND_GRANT].postings[0];
                more.remaining = 1;
                it[SECOND_GRANT].postings[0].remaining -= 1;
                it[SECOND_GRANT].postings.push(more);
            },
            SECOND_GRANT,
            Flaw::WrongPosting(b),
        ),
        (
            "an erasure that moves credits",
            |it| it[ERASE].postings = it[EXPIRE].postings.clone(),
            ERASE,
            Flaw::WrongPosting(a),
        ),
    ]
}

/// Credits that move as they never do.
fn misplaced() -> Vec<Forgery> {
    let (a, _) = lots();
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
            "meters that cost something else",
            |it| {
                if let Event::Charge(ChargeEvent { metered: Some(metered), .. }) = &mut it[CHARGE].event {
                    metered.components[0].amount = Credits::whole(3);
                }
            },
            CHARGE,
            Flaw::AmountMismatch,
        ),
        ("a lot from nowhere", |it| it[CHARGE].postings[0].lot = id(9), CHARGE, Flaw::UnknownLot(id(9))),
        (
            "more than there is",
            |it| {
                it[CHARGE].postings[0].remaining *= 3;
                it[CHARGE].postings[0].spent *= 3;
                it[CHARGE].amount = Credits::whole(12);
                if let Event::Charge(charge) = &mut it[CHARGE].event {
                    charge.metered = None;
                }
            },
            CHARGE,
            Flaw::LotOverdrawn(a),
        ),
        (
            "less spendable than there is",
            |it| it[SECOND_GRANT].spendable_after = Credits::whole(19),
            SECOND_GRANT,
            Flaw::BalanceMismatch { available: Credits::whole(20), spendable: Credits::whole(20), held: Credits::ZERO },
        ),
    ]
}

/// Entries that say of their charge, their key or their work what cannot be.
fn untrue() -> Vec<Forgery> {
    let (a, b) = lots();
    let Event::Refund(refund) = world_of(LEDGER).store.entry(REFUND as u64 + 1).event else {
        panic!("refunds nothing")
    };
    vec![
        (
            "a refund that hides another one",
            |it| {
                if let Event::Refund(refund) = &mut it[REFUND].event {
                    refund.refunded_after = Credits::whole(2);
                }
            },
            REFUND,
            Flaw::RefundMismatch(refund.charge),
        ),
        (
            "a charge by somebody else's key",
            |it| {
                if let Event::Charge(charge) = &mut it[CHARGE].event {
                    charge.key = Some(id(9));
                }
            },
            CHARGE,
            Flaw::KeyMismatch,
        ),
        (
            "a hold by somebody else's key",
            |it| {
                if let Event::Hold(hold) = &mut it[HOLD].event {
                    hold.key = Some(id(9));
                }
            },
            HOLD,
            Flaw::KeyMismatch,
        ),
        (
            "a charge of a lot that is for other work",
            |it| terms(&mut it[GRANT]).scope = Scope::new([super::world::model("kling")], []).unwrap(),
            CHARGE,
            Flaw::WrongScope(a),
        ),
        (
            "a hold on a lot that is for other work",
            |it| terms(&mut it[SECOND_GRANT]).scope = Scope::new([], [super::world::project("film")]).unwrap(),
            HOLD,
            Flaw::WrongScope(b),
        ),
    ]
}

/// Lots and holds outside their time.
fn untimely() -> Vec<Forgery> {
    let (a, b) = lots();
    let hold = |place: usize| hold_of(&world_of(LEDGER).store.entry(place as u64 + 1));
    vec![
        ("a later expiry", |it| terms(&mut it[GRANT]).expires_at = Some(at(60)), EXPIRE, Flaw::WrongTime(a)),
        ("an earlier expiry", |it| terms(&mut it[GRANT]).expires_at = Some(at(2)), CHARGE, Flaw::WrongTime(a)),
        (
            "a later beginning",
            |it| {
                terms(&mut it[GRANT]).effective_at = at(3);
                it[GRANT].spendable_after = Credits::ZERO;
                it[SECOND_GRANT].spendable_after = Credits::whole(10);
            },
            CHARGE,
            Flaw::WrongTime(a),
        ),
        (
            "a void of an expired lot",
            |it| {
                terms(&mut it[SECOND_GRANT]).expires_at = Some(at(52));
            },
            VOID,
            Flaw::WrongTime(b),
        ),
        ("a capture of another hold", |it| set_hold(&mut it[CAPTURE], id(9)), CAPTURE, Flaw::HoldMismatch(id(9))),
        (
            "a lapse of a hold that was released",
            |it| {
                let released = hold_of(&it[RELEASE]);
                set_hold(&mut it[LAPSE], released);
            },
            LAPSE,
            Flaw::HoldMismatch(hold(RELEASE)),
        ),
        ("a capture at the deadline", |it| *deadline(&mut it[HOLD]) = at(4), CAPTURE, Flaw::HoldMismatch(hold(HOLD))),
        (
            "a release after the deadline",
            |it| *deadline(&mut it[SECOND_HOLD]) = at(5),
            RELEASE,
            Flaw::HoldMismatch(hold(SECOND_HOLD)),
        ),
        (
            "a lapse before the deadline",
            |it| *deadline(&mut it[LAST_HOLD]) = at(19),
            LAPSE,
            Flaw::HoldMismatch(hold(LAST_HOLD)),
        ),
    ]
}

fn all_forgeries() -> Vec<Forgery> {
    [misnamed(), misshapen(), misplaced(), untrue(), untimely()].concat()
}

#[test]
fn a_forged_chain_still_has_to_tell_a_possible_story() {
    let good = world_of(LEDGER).store;
    let kinds: Vec<EntryKind> = good.ledger().iter().map(Entry::kind).collect();
    for (index, kind) in [
        (GRANT, EntryKind::Grant),
        (CHARGE, EntryKind::Charge),
        (HOLD, EntryKind::Hold),
        (CAPTURE, EntryKind::Capture),
        (RELEASE, EntryKind::Release),
        (REFUND, EntryKind::Refund),
        (LAPSE, EntryKind::HoldLapsed),
        (EXPIRE, EntryKind::Expire),
        (ERASE, EntryKind::Erase),
        (VOID, EntryKind::Void),
    ] {
        assert_eq!(kinds[index], kind, "{kinds:?}");
    }
    let mut same = good.clone();
    forge(&good.ledger(), &mut same);
    assert_eq!(same.entries, good.entries, "a forger who changes nothing writes the same");
    for (what, change, found, flaw) in all_forgeries() {
        let mut store = good.clone();
        let mut entries = store.ledger();
        change(&mut entries);
        forge(&entries, &mut store);
        let bad = store.verify().expect_err(what);
        assert_eq!((bad.seq, bad.flaw), (found as u64 + 1, flaw), "{what}");
    }
}

/// A void that takes nothing, because all is held, still has its time.
#[test]
fn a_void_that_takes_nothing_cannot_be_put_anywhere() {
    let good = world_of(
        "
        0  | grant a 10 pack until=50   | granted 10, left 10
        1  | hold h 10 ttl=100          | held 10 = a:10, left 0
        2  | void a                     | voided 0, left 0
        ",
    )
    .store;
    assert!(good.verify().is_ok());
    let lot = lot_of(&good.entry(1));
    let twice: Change = |it| it[2].seq = 4;
    let late: Change = |it| it[2].at = at(50);
    for (what, change, found) in [("twice", twice, 4), ("after it expired", late, 3)] {
        let mut entries = good.ledger();
        change(&mut entries);
        if what == "twice" {
            entries.insert(2, good.entry(3));
        }
        let mut store = good.clone();
        forge(&entries, &mut store);
        let bad = store.verify().expect_err(what);
        assert_eq!((bad.seq, bad.flaw), (found, Flaw::WrongTime(lot)), "{what}");
    }
}

/// What cannot be given back to its lot is void in a lot that was voided, and otherwise expired.
#[test]
fn what_is_lost_of_a_lot_is_lost_as_the_lot_was() {
    let good = world_of(
        "
        0  | grant a 10 pack until=50   | granted 10, left 10
        0  | grant b 10 pack until=60   | granted 10, left 20
        1  | charge c 10                | charged 10 = a:10, left 10
        2  | charge d 4                 | charged 4 = b:4, left 6
        3  | void b                     | voided 6, left 0
        51 | refund c 1 r               | refunded 1 = a:1 lost 1, left 0
        52 | refund d 1 s               | refunded 1 = b:1 lost 1, left 0
        ",
    )
    .store;
    assert!(good.verify().is_ok());
    let swap: fn(&mut Posting) = |posting| std::mem::swap(&mut posting.expired, &mut posting.voided);
    for (what, entry) in [("expired as void", 6), ("void as expired", 7)] {
        let mut entries = good.ledger();
        let posting = &mut entries[entry - 1].postings[0];
        let lot = posting.lot;
        swap(posting);
        let mut store = good.clone();
        forge(&entries, &mut store);
        let bad = store.verify().expect_err(what);
        assert_eq!((bad.seq, bad.flaw), (entry as u64, Flaw::WrongTime(lot)), "{what}");
    }
}
