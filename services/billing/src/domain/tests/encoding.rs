//! The stored forms: whatever can be said survives, has one spelling, and what nobody wrote is not read.

use std::sync::Arc;

use bursar_id::{Id, OwnerId, Uuid};
use bursar_money::{Credits, Price, Quantity};
use bursar_time::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::world::{KEY, at, id, owner, service};
use crate::domain::entry_body::Place;
use crate::domain::state::Draft;
use crate::domain::*;

fn ids<K: bursar_id::Kind>() -> impl Strategy<Value = Id<K>> {
    any::<[u8; 16]>().prop_map(|bytes| Id::from_uuid(Uuid::from_bytes(bytes)))
}

fn amounts() -> impl Strategy<Value = Credits> {
    let most = Credits::MAX.micro();
    prop_oneof![Just(0), Just(most), 0..1_000_000_i64, 0..=most].prop_map(|micro| Credits::from_micro(micro).unwrap())
}

fn times() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()).prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zäß0-9/._-]{1,12}", "[a-z]{128}", "[a-z]( |'|\"|\\\\|字){0,9}[a-z]"]
}

fn maybe<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::of(strategy)
}

fn models() -> impl Strategy<Value = ModelName> {
    texts().prop_map(|text| ModelName::parse(&text).unwrap())
}

fn projects() -> impl Strategy<Value = ProjectName> {
    texts().prop_map(|text| ProjectName::parse(&text).unwrap())
}

fn actors() -> impl Strategy<Value = Actor> {
    prop_oneof![
        (ids(), ids()).prop_map(|(user, session)| Actor::User { user, session }),
        ids().prop_map(|service| Actor::Service { service }),
        (ids(), ids(), ids()).prop_map(|(service, user, session)| Actor::ServiceOnBehalf { service, user, session }),
        (ids(), ids()).prop_map(|(key, user)| Actor::ApiKey { key, user }),
        (ids(), ids(), ids()).prop_map(|(operator, user, session)| Actor::OperatorOnBehalf { operator, user, session }),
        Just(Actor::Job),
    ]
}

fn work() -> impl Strategy<Value = Attribution> {
    (ids(), maybe(projects()), maybe(models())).prop_map(|(member, project, model)| Attribution {
        member,
        project,
        model,
    })
}

fn metered() -> impl Strategy<Value = Metered> {
    let quantities = prop_oneof![1..9_i64, 1..=Quantity::MAX.millionths()];
    let component = (texts(), quantities, amounts(), amounts()).prop_map(|(meter, quantity, rate, amount)| Component {
        meter: MeterName::parse(&meter).unwrap(),
        quantity: Quantity::from_millionths(quantity).unwrap(),
        rate,
        amount,
    });
    (prop::collection::vec(component, 1..5), 1..=u32::MAX).prop_map(|(components, version)| Metered {
        components,
        catalog_version: CatalogVersion::new(version).unwrap(),
    })
}

fn origins() -> impl Strategy<Value = Origin> {
    let owners = prop_oneof![ids().prop_map(OwnerId::User), ids().prop_map(OwnerId::Organization)];
    let prices = ("[A-Z]{3}", -1_000_000_000_i64..=1_000_000_000_000)
        .prop_map(|(currency, micros)| Price::from_micros(currency.parse().unwrap(), micros).unwrap());
    (maybe(ids()), maybe((ids(), any::<u32>())), maybe(ids()), maybe(owners), maybe(prices)).prop_map(
        |(purchase, subscription, payment, moved_from, paid)| Origin {
            purchase,
            subscription,
            payment,
            moved_from,
            paid,
        },
    )
}

fn terms() -> impl Strategy<Value = LotTerms> {
    let scope = (prop::collection::btree_set(models(), 0..4), prop::collection::btree_set(projects(), 0..4))
        .prop_map(|(models, projects)| Scope::new(models, projects).unwrap_or_default());
    let sources = prop::sample::select(LotSource::ALL.as_slice());
    (sources, any::<i32>(), scope, times(), maybe(times()), origins()).prop_map(
        |(source, priority, scope, effective_at, expires_at, origin)| LotTerms {
            source,
            priority,
            scope,
            effective_at,
            expires_at,
            origin,
        },
    )
}

fn events() -> impl Strategy<Value = Event> {
    let charge = (ids(), work(), maybe(metered()), maybe(times()), maybe(ids()), times()).prop_map(
        |(charge, attribution, metered, occurred_at, key, period)| {
            Event::Charge(ChargeEvent { charge, attribution, metered, occurred_at, key, period })
        },
    );
    let hold =
        (ids(), work(), times(), maybe(ids()), times()).prop_map(|(hold, attribution, deadline, key, period)| {
            Event::Hold(HoldEvent { hold, attribution, deadline, key, period })
        });
    prop_oneof![
        (ids(), terms()).prop_map(|(lot, terms)| Event::Grant { lot, terms: Arc::new(terms) }),
        charge,
        hold,
        (ids(), ids(), maybe(metered())).prop_map(|(charge, hold, metered)| Event::Capture(CaptureEvent {
            charge,
            hold,
            metered
        })),
        ids().prop_map(|hold| Event::Release { hold }),
        ids().prop_map(|hold| Event::HoldLapsed { hold }),
        (ids(), ids(), amounts()).prop_map(|(refund, charge, refunded_after)| {
            Event::Refund(RefundEvent { refund, charge, refunded_after })
        }),
        ids().prop_map(|lot| Event::Expire { lot }),
        ids().prop_map(|lot| Event::Void { lot }),
        maybe(ids()).prop_map(|member| Event::Erase { member }),
    ]
}

fn postings() -> impl Strategy<Value = Vec<Posting>> {
    let most = Credits::MAX.micro();
    let delta = || prop_oneof![4 => Just(0), 2 => -9..9_i64, 1 => -most..=most, 1 => Just(most), 1 => Just(-most)];
    let one = (ids(), delta(), delta(), delta(), delta(), delta()).prop_map(
        |(lot, remaining, held, spent, expired, voided)| Posting { lot, remaining, held, spent, expired, voided },
    );
    prop::collection::vec(one, 0..4)
}

fn details() -> impl Strategy<Value = Details> {
    let request = ("[!-~]{1,40}", any::<[u8; 16]>())
        .prop_map(|(id, print)| NamedRequest { id: id.parse().unwrap(), fingerprint: Fingerprint(print) });
    let labels = prop::collection::btree_map("[a-zA-Z0-9._/-]{1,9}", "[ -~äß]{0,9}", 0..5)
        .prop_map(|labels| Labels::parse(labels).unwrap());
    let note = "[ -~äß字]{0,20}".prop_map(|text| Note::parse(&text).unwrap());
    (maybe(ids()), maybe(request), labels, maybe(note), any::<[u8; 16]>())
        .prop_map(|(member, request, labels, note, salt)| Details { member, request, labels, note, salt })
}

/// Any entry, whether or not an engine would write it.
fn entries() -> impl Strategy<Value = Entry> {
    let place = (0..i64::MAX.unsigned_abs(), times(), actors(), any::<[u8; 32]>());
    let balances = (amounts(), amounts(), amounts(), amounts());
    let rest = (events(), postings(), maybe(any::<[u8; 16]>()), maybe(details()));
    (place, balances, rest).prop_map(|((seq, at, actor, previous), (amount, one, other, held_after), rest)| {
        let (available_after, spendable_after) = (one.max(other), one.min(other));
        let place = Place { owner: owner(), previous, seq, at, available_after, spendable_after, held_after, actor };
        let (event, postings, key, details) = rest;
        let request_key = key.and_then(|key| RequestKey::from_bytes(&key));
        Entry::seal(&place, Draft { amount, event, postings, request_key, details: details.map(Arc::new) })
    })
}

proptest! {
    #![proptest_config(Config { cases: 100, ..Config::default() })]

    #[test]
    fn every_entry_survives_being_stored(entry in entries()) {
        let mut read = Entry::from_stored(entry.to_stored()).unwrap();
        prop_assert_eq!(&read.write(), &entry.body);
        read.details.clone_from(&entry.details);
        prop_assert_eq!(read, entry);
    }

    /// Whatever can be read at all is what this program would write: there is no second spelling.
    #[test]
    fn a_body_has_one_spelling(
        entry in entries(),
        place in any::<prop::sample::Index>(),
        byte: u8,
        insert: bool,
    ) {
        let mut stored = entry.to_stored();
        let place = place.index(stored.body.len());
        if insert {
            stored.body.insert(place, byte);
        } else {
            stored.body[place] = byte;
        }
        let body = stored.body.clone();
        if let Ok(read) = Entry::from_stored(stored) {
            prop_assert_eq!(read.write(), body);
        }
    }

    #[test]
    fn a_part_of_an_entry_is_none(entry in entries(), cut in any::<prop::sample::Index>()) {
        let mut stored = entry.to_stored();
        stored.body.truncate(cut.index(stored.body.len()));
        prop_assert!(matches!(Entry::from_stored(stored).unwrap_err().why, Unreadable::Malformed(_)));
        let mut longer = entry.to_stored();
        longer.body.push(0);
        prop_assert_eq!(Entry::from_stored(longer).unwrap_err().why, Unreadable::Malformed("end"));
    }

    /// Bytes of a later program are not this one's to judge, whatever they are.
    #[test]
    fn a_newer_format_is_newer_and_not_broken(entry in entries(), format in 3..=255_u8, rest: Vec<u8>) {
        for body in [[&[format], &entry.body[1..]].concat(), [&[format][..], &rest].concat()] {
            let error = Entry::from_stored(StoredEntry { body, ..entry.to_stored() }).unwrap_err();
            prop_assert_eq!(error.why, Unreadable::NewerFormat);
        }
        let body = [&[0], &entry.body[1..]].concat();
        let error = Entry::from_stored(StoredEntry { body, ..entry.to_stored() }).unwrap_err();
        prop_assert_eq!(error.why, Unreadable::Malformed("format"));
    }

    #[test]
    fn terms_of_lots_and_holds_survive_being_stored(
        terms in terms(),
        amount in amounts(),
        earmarks in prop::collection::vec((ids(), amounts()), 0..4),
        attribution in work(),
        placed_by in actors(),
        times in (times(), times()),
    ) {
        prop_assert_eq!(LotTerms::from_bytes(&terms.to_bytes()), Ok(terms.clone()));
        let earmarks = earmarks.into_iter().map(|(lot, amount)| Allocation { lot, amount }).collect();
        let (created_at, period) = times;
        let hold = HoldTerms { amount, earmarks, attribution, placed_by, created_at, period };
        prop_assert_eq!(HoldTerms::from_bytes(&hold.to_bytes()), Ok(hold.clone()));
        for bytes in [terms.to_bytes(), hold.to_bytes()] {
            let cut = &bytes[..bytes.len() - 1];
            let longer = [&bytes[..], &[0]].concat();
            let newer = [&[2], &bytes[1..]].concat();
            for bad in [cut, &longer, &newer, &[]] {
                prop_assert!(LotTerms::from_bytes(bad).is_err() && HoldTerms::from_bytes(bad).is_err());
            }
        }
    }

    #[test]
    fn pages_of_details_survive_being_stored(
        steps in prop::collection::vec(1..9_u64, 0..150),
        some in prop::collection::vec(details(), 1..4),
    ) {
        let mut seq = 0;
        let next = |(step, details): (u64, &Details)| {
            seq += step;
            (seq, Arc::new(details.clone()))
        };
        let all: Vec<(u64, Arc<Details>)> = steps.into_iter().zip(some.iter().cycle()).map(next).collect();
        let mut read = Vec::new();
        for (last, page) in DetailsPage::pages(&all) {
            let again = DetailsPage::from_bytes(&page.to_bytes()).unwrap();
            prop_assert_eq!(&again, &page);
            let span = last - page.entries()[0].0;
            prop_assert!(span < PAGE_ENTRIES, "{} entries apart", span);
            prop_assert_eq!(page.entries().last().map(|(seq, _)| *seq), Some(last));
            for (seq, details) in page.entries() {
                prop_assert_eq!(page.of(*seq), Some(details));
            }
            read.extend_from_slice(again.entries());
        }
        prop_assert_eq!(read, all);
    }

    /// A digest says which details it is of, and so does every byte of a page.
    #[test]
    fn no_two_details_share_a_digest(one in details(), other in details(), byte in any::<prop::sample::Index>()) {
        prop_assert_eq!(one == other, one.digest() == other.digest());
        let (_, page) = DetailsPage::pages(&[(7, Arc::new(one.clone()))]).remove(0);
        let mut bytes = page.to_bytes();
        let byte = byte.index(bytes.len());
        bytes[byte] ^= 1;
        if let Ok(changed) = DetailsPage::from_bytes(&bytes) {
            prop_assert!(changed.of(7).is_none_or(|details| details.digest() != one.digest()));
            prop_assert_eq!(changed.to_bytes(), bytes);
        }
    }
}

#[test]
fn what_no_program_wrote_is_unreadable_and_says_where() {
    let draft = |event| Draft::new(event, Credits::ONE, Vec::new());
    let place = Place {
        owner: owner(),
        previous: [0; 32],
        seq: 1,
        at: at(0),
        available_after: Credits::ZERO,
        spendable_after: Credits::ZERO,
        held_after: Credits::ZERO,
        actor: Actor::Job,
    };
    let good = Entry::seal(&place, draft(Event::Erase { member: None })).to_stored();
    // Format, kind, amount (three bytes), available, waiting, held, actor, details, postings, member.
    assert_eq!(hex::encode(&good.body), "010ac0843d000000060000 00".replace(' ', ""));
    let cases = [
        ("kind 0", 1, 0, "kind"),
        ("kind 11, which is kept for debts", 1, 11, "kind"),
        ("a longer spelling of an amount", 4, 0xbd, "amount"),
        ("more waits than there is", 6, 1, "spendable_after"),
        ("no actor", 8, 0, "actor"),
        ("actor 7", 8, 7, "actor"),
        ("half a flag", 9, 2, "details"),
        ("more postings than bytes", 10, 200, "postings"),
        ("a member that is not there", 11, 1, "member"),
    ];
    for (what, byte, value, field) in cases {
        let mut bad = good.clone();
        bad.body[byte] = value;
        let why = Entry::from_stored(bad).unwrap_err().why;
        assert_eq!(why, Unreadable::Malformed(field), "{what}");
    }
    let columns = [
        ("seq", StoredEntry { seq: -1, ..good.clone() }),
        ("at", StoredEntry { at: i64::MIN, ..good.clone() }),
        ("request_key", StoredEntry { request_key: Some(vec![0; 17]), ..good.clone() }),
        ("hash", StoredEntry { hash: vec![0; 33], ..good }),
    ];
    for (field, bad) in columns {
        assert_eq!(Entry::from_stored(bad).unwrap_err().why, Unreadable::Malformed(field));
    }
}

#[test]
fn what_is_no_page_is_unreadable() {
    let details = Details {
        member: None,
        request: None,
        labels: Labels::parse([("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())].into()).unwrap(),
        note: None,
        salt: [5; 16],
    };
    let details = Arc::new(details);
    let (_, page) = DetailsPage::pages(&[(1, Arc::clone(&details)), (2, details)]).remove(0);
    let good = page.to_bytes();
    assert_eq!(DetailsPage::from_bytes(&good).as_ref(), Ok(&page));
    let changed = |place: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[place] = value;
        DetailsPage::from_bytes(&bytes)
    };
    let malformed = |field| Err(Unreadable::Malformed(field));
    assert_eq!(changed(0, 2), Err(Unreadable::NewerFormat));
    assert_eq!(changed(0, 0), malformed("format"));
    assert_eq!(changed(2, 2), malformed("entries"), "an entry twice");
    assert_eq!(changed(2, 3), malformed("entries"), "entries out of order");
    assert_eq!(changed(1, 1), malformed("end"), "fewer than there are");
    // Format, count, number, salt, no member, no request, two labels, the first one's key.
    assert_eq!(good[21], 2);
    assert_eq!(changed(23, b'd'), malformed("labels"), "labels out of order");
    assert_eq!(changed(23, b'c'), malformed("labels"), "a label twice");
    assert_eq!(changed(23, b' '), malformed("labels"), "a key that is no word");
    for cut in 0..good.len() {
        assert!(DetailsPage::from_bytes(&good[..cut]).is_err(), "{cut} bytes");
    }
}

/// What the ledger's entries made is found by id: each id leads to its entry, and to no other.
#[test]
fn the_ids_that_a_ledger_gives_lead_to_its_entries() {
    let world = super::script::world_of(
        "
        0 | grant a 9             | granted 9, left 9
        0 | charge c 1            | charged 1 = a:1, left 8
        0 | hold h 1              | held 1 = a:1, left 7
        0 | capture h 1 d         | charged 1 = a:1, left 7
        0 | refund d 1 r          | refunded 1 = a:1, left 8
        ",
    );
    for entry in world.store.ledger() {
        let (at, leads_to) = match entry.event.made().unwrap() {
            OperationId::Charge(id) => (id.timestamp_millis(), KEY.seq(owner(), id)),
            OperationId::Hold(id) => (id.timestamp_millis(), KEY.seq(owner(), id)),
            OperationId::Refund(id) => (id.timestamp_millis(), KEY.seq(owner(), id)),
            OperationId::Lot(id) => (id.timestamp_millis(), KEY.seq(owner(), id)),
        };
        assert_eq!((at, leads_to), (entry.at.as_millis(), Some(entry.seq)));
        assert_eq!(entry.actor, service(1));
    }
    let Some(OperationId::Charge(charge)) = world.store.entry(2).event.made() else { panic!("no charge") };
    let as_hold = bursar_id::HoldId::from_uuid(charge.as_uuid());
    assert_eq!(KEY.seq(owner(), as_hold), None, "a charge's id is no hold's");
    assert_eq!(KEY.seq(OwnerId::Organization(id(2)), charge), None, "nor another owner's");
}
