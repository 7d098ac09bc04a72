//! The golden ledger: an account as the first released program stored it, which every later program must read and
//! verify (`tests/golden/format-1.json`).
//!
//! The file holds columns as the stores have them: bodies, hashes, pages and terms in hex, times in microseconds,
//! amounts in micro-credits. It was written once and is never written anew: what reads it is what changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, LotId, OwnerId, UserId};
use bursar_members::Standing;
use bursar_money::Credits;
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::*;

/// The file, read when the tests are built.
pub(super) const FORMAT_1: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-1.json"));

/// Everything that is stored of the golden account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Golden {
    about: String,
    /// Whose account it is.
    pub(crate) owner: OwnerId,
    operation_key: String,
    account: AccountRow,
    entries: Vec<EntryRow>,
    details: Vec<PageRow>,
    lots: Vec<LotRow>,
    holds: Vec<HoldRow>,
    usage: Vec<UsageRow>,
    meters: Vec<MeterRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AccountRow {
    seq: u64,
    hash: String,
    at: i64,
    available: i64,
    held: i64,
    debt: i64,
    open_holds: u32,
    terms: u64,
    charged: i64,
    period_anchor: i64,
    period_number: u32,
    period_spent: i64,
    renews_at: Option<i64>,
    next_lapse: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EntryRow {
    seq: i64,
    /// For people: the body says it, too.
    kind: String,
    at: i64,
    request_key: Option<String>,
    body: String,
    hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PageRow {
    last: u64,
    page: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LotRow {
    id: LotId,
    number: u64,
    terms: String,
    voided_at: Option<i64>,
    granted: i64,
    remaining: i64,
    held: i64,
    spent: i64,
    expired: i64,
    voided: i64,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HoldRow {
    id: HoldId,
    number: u64,
    terms: String,
    labels: BTreeMap<String, String>,
    state: String,
    deadline: i64,
    settled_at: Option<i64>,
    captured: i64,
    charge: Option<ChargeId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UsageRow {
    hour: i64,
    member: UserId,
    project: Option<String>,
    model: Option<String>,
    charged: i64,
    refunded: i64,
    charges: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MeterRow {
    hour: i64,
    model: String,
    meter: String,
    quantity: i64,
    charged: i64,
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn micro(amount: i64) -> Credits {
    Credits::from_micro(amount).unwrap()
}

/// Reading.
impl Golden {
    /// A committed file's text.
    pub(super) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    /// The committed file.
    pub(crate) fn format_1() -> Self {
        serde_json::from_str(FORMAT_1).unwrap()
    }

    /// The key of the installation that its operation ids are of.
    pub(crate) fn key(&self) -> OperationKey {
        OperationKey::new(bytes(&self.operation_key).try_into().unwrap())
    }

    /// The account's row.
    pub(crate) fn account(&self) -> Account {
        let it = &self.account;
        let (anchor, number) = (time(it.period_anchor), it.period_number);
        Account {
            head: LedgerHead { seq: it.seq, hash: bytes(&it.hash).try_into().unwrap(), at: time(it.at) },
            available: micro(it.available),
            held: micro(it.held),
            debt: micro(it.debt),
            open_holds: it.open_holds,
            terms: it.terms,
            standing: Standing::Active,
            charged: it.charged,
            period: Period { spent: it.period_spent, ..Period::anchored(anchor, number) },
            renews_at: it.renews_at.map(time),
            limits: 0,
            top_up_below: None,
            alert_at: PercentSet::default(),
            allowance: None,
            next_lapse: it.next_lapse.map(time),
        }
    }

    /// The ledger as stored.
    pub(crate) fn entries(&self) -> Vec<StoredEntry> {
        let entry = |it: &EntryRow| StoredEntry {
            seq: it.seq,
            at: it.at,
            request_key: it.request_key.as_deref().map(bytes),
            body: bytes(&it.body),
            hash: bytes(&it.hash),
        };
        self.entries.iter().map(entry).collect()
    }

    /// The pages of details as stored, each with the number of the last entry that it had.
    pub(crate) fn details(&self) -> Vec<(u64, Vec<u8>)> {
        self.details.iter().map(|it| (it.last, bytes(&it.page))).collect()
    }

    /// The ledger as read, with its details.
    pub(crate) fn ledger(&self) -> Vec<Entry> {
        let pages: Vec<_> = self.details().iter().map(|(_, page)| DetailsPage::from_bytes(page).unwrap()).collect();
        let read = |row: StoredEntry| {
            let mut entry = Entry::from_stored(row).unwrap();
            entry.details = pages.iter().find_map(|page| page.of(entry.seq)).cloned();
            entry
        };
        self.entries().into_iter().map(read).collect()
    }

    /// All lots.
    pub(crate) fn lots(&self) -> Vec<Lot> {
        let lot = |it: &LotRow| Lot {
            id: it.id,
            number: it.number,
            terms: Arc::new(LotTerms::from_bytes(&bytes(&it.terms)).unwrap()),
            voided_at: it.voided_at.map(time),
            granted: micro(it.granted),
            remaining: micro(it.remaining),
            held: micro(it.held),
            spent: micro(it.spent),
            expired: micro(it.expired),
            voided: micro(it.voided),
            note: it.note.as_deref().map(|text| Note::parse(text).unwrap()),
        };
        self.lots.iter().map(lot).collect()
    }

    /// All holds.
    pub(crate) fn holds(&self) -> Vec<Hold> {
        let hold = |it: &HoldRow| Hold {
            id: it.id,
            number: it.number,
            terms: Arc::new(HoldTerms::from_bytes(&bytes(&it.terms)).unwrap()),
            labels: Labels::parse(it.labels.clone()).unwrap(),
            state: it.state.parse().unwrap(),
            deadline: time(it.deadline),
            settled_at: it.settled_at.map(time),
            captured: micro(it.captured),
            charge: it.charge,
        };
        self.holds.iter().map(hold).collect()
    }

    /// The usage aggregates.
    pub(crate) fn usage(&self) -> Vec<UsageDelta> {
        let one = |it: &UsageRow| UsageDelta {
            key: UsageKey {
                hour: time(it.hour),
                member: it.member,
                project: it.project.as_deref().map(|name| ProjectName::parse(name).unwrap()),
                model: it.model.as_deref().map(|name| ModelName::parse(name).unwrap()),
            },
            add: UsageTotals { charged: it.charged, refunded: it.refunded, charges: it.charges },
        };
        self.usage.iter().map(one).collect()
    }

    /// The meters' aggregates.
    pub(crate) fn meters(&self) -> Vec<MeterDelta> {
        let one = |it: &MeterRow| MeterDelta {
            key: MeterKey {
                hour: time(it.hour),
                model: ModelName::parse(&it.model).unwrap(),
                meter: MeterName::parse(&it.meter).unwrap(),
            },
            add: MeterTotals { quantity: it.quantity, charged: it.charged },
        };
        self.meters.iter().map(one).collect()
    }
}

/// Writing, for comparison with the file.
impl Golden {
    /// What a store holds, as the file would.
    pub(super) fn of(about: &str, owner: OwnerId, key: [u8; 32], store: &super::world::Store) -> Self {
        let it = store.account;
        let account = AccountRow {
            seq: it.head.seq,
            hash: hex::encode(it.head.hash),
            at: it.head.at.as_micros(),
            available: it.available.micro(),
            held: it.held.micro(),
            debt: it.debt.micro(),
            open_holds: it.open_holds,
            terms: it.terms,
            charged: it.charged,
            period_anchor: it.period.anchor.as_micros(),
            period_number: it.period.month.number,
            period_spent: it.period.spent,
            renews_at: it.renews_at.map(Timestamp::as_micros),
            next_lapse: it.next_lapse.map(Timestamp::as_micros),
        };
        let page = |(last, page): (&u64, &Vec<u8>)| PageRow { last: *last, page: hex::encode(page) };
        Self {
            about: about.to_owned(),
            owner,
            operation_key: hex::encode(key),
            account,
            entries: store.ledger().iter().map(EntryRow::of).collect(),
            details: store.details.iter().map(page).collect(),
            lots: store.lots.values().map(LotRow::of).collect(),
            holds: store.holds.values().map(HoldRow::of).collect(),
            usage: store.usage.iter().map(UsageRow::of).collect(),
            meters: store.meters.iter().map(MeterRow::of).collect(),
        }
    }
}

impl EntryRow {
    fn of(entry: &Entry) -> Self {
        let row = entry.to_stored();
        Self {
            seq: row.seq,
            kind: entry.kind().to_string(),
            at: row.at,
            request_key: row.request_key.map(hex::encode),
            body: hex::encode(row.body),
            hash: hex::encode(row.hash),
        }
    }
}

impl LotRow {
    fn of(it: &Lot) -> Self {
        Self {
            id: it.id,
            number: it.number,
            terms: hex::encode(it.terms.to_bytes()),
            voided_at: it.voided_at.map(Timestamp::as_micros),
            granted: it.granted.micro(),
            remaining: it.remaining.micro(),
            held: it.held.micro(),
            spent: it.spent.micro(),
            expired: it.expired.micro(),
            voided: it.voided.micro(),
            note: it.note.as_ref().map(|note| note.as_str().to_owned()),
        }
    }
}

impl HoldRow {
    fn of(it: &Hold) -> Self {
        Self {
            id: it.id,
            number: it.number,
            terms: hex::encode(it.terms.to_bytes()),
            labels: it.labels.as_map().clone(),
            state: it.state.to_string(),
            deadline: it.deadline.as_micros(),
            settled_at: it.settled_at.map(Timestamp::as_micros),
            captured: it.captured.micro(),
            charge: it.charge,
        }
    }
}

impl UsageRow {
    fn of((key, it): (&UsageKey, &UsageTotals)) -> Self {
        Self {
            hour: key.hour.as_micros(),
            member: key.member,
            project: key.project.as_ref().map(ToString::to_string),
            model: key.model.as_ref().map(ToString::to_string),
            charged: it.charged,
            refunded: it.refunded,
            charges: it.charges,
        }
    }
}

impl MeterRow {
    fn of((key, it): (&MeterKey, &MeterTotals)) -> Self {
        Self {
            hour: key.hour.as_micros(),
            model: key.model.to_string(),
            meter: key.meter.to_string(),
            quantity: it.quantity,
            charged: it.charged,
        }
    }
}

/// Audits the golden account as it stands in the file.
pub(super) fn verify(golden: &Golden) -> Result<Audit, BadLedger> {
    let mut verifier = Verifier::new(golden.owner, golden.key());
    for entry in golden.ledger() {
        verifier.push(&entry)?;
    }
    verifier.finish(&golden.account(), &golden.lots(), &golden.holds())
}

#[test]
fn the_first_released_ledger_verifies() {
    let golden = Golden::format_1();
    let audit = verify(&golden).unwrap();
    let charged: i64 = golden.usage().iter().map(|it| it.add.charged).sum();
    let refunded: i64 = golden.usage().iter().map(|it| it.add.refunded).sum();
    assert_eq!((audit.charged, audit.refunded), (charged.into(), refunded.into()), "usage is what the ledger says");
    let components = |entry: &Entry| match &entry.event {
        Event::Charge(ChargeEvent { metered: Some(it), .. })
        | Event::Capture(CaptureEvent { metered: Some(it), .. }) => it.components.clone(),
        _ => Vec::new(),
    };
    let metered = golden
        .ledger()
        .iter()
        .flat_map(components)
        .fold((0, 0), |(used, cost), it| (used + it.quantity.millionths(), cost + it.amount.micro()));
    let counted =
        golden.meters().iter().fold((0, 0), |(used, cost), it| (used + it.add.quantity, cost + it.add.charged));
    assert_eq!(counted, metered, "and so are the meters");
    assert_eq!(audit.entries, golden.entries.len() as u64);
    assert!(audit.erased > 0);
    for (row, entry) in golden.entries().iter().zip(golden.ledger()) {
        assert_eq!(entry.write(), row.body, "entry {} is written as it was read", row.seq);
        assert_eq!(entry.to_stored(), *row);
    }
    for (row, lot) in golden.lots.iter().zip(golden.lots()) {
        assert_eq!(hex::encode(lot.terms.to_bytes()), row.terms);
    }
    for (row, hold) in golden.holds.iter().zip(golden.holds()) {
        assert_eq!(hex::encode(hold.terms.to_bytes()), row.terms);
    }
    for (last, page) in golden.details() {
        assert_eq!(DetailsPage::from_bytes(&page).unwrap().to_bytes(), page, "page {last}");
    }
}

/// The account goes on: what it has is spent, settled and given back by today's engine.
#[test]
fn the_first_released_account_goes_on() {
    let golden = Golden::format_1();
    let rules = Arc::new(Rules { key: golden.key(), ..super::world::rules() });
    let live = golden.lots().into_iter().filter(Lot::is_live).collect();
    let mut state = AccountState::new(golden.owner, golden.account(), live, rules).unwrap();
    let open = golden.holds().into_iter().find(|hold| hold.state == HoldState::Open).unwrap();
    let (release, now) = (Command::Release { hold: open.id }, golden.account().head.at);
    state.load_hold(open);
    let outcome = decide(&mut state, &Request::unnamed(release), &super::world::service(1), now).unwrap();
    assert!(matches!(outcome, Outcome::Released(Released { replayed: false, .. })));
    let mut verifier = Verifier::new(golden.owner, golden.key());
    for entry in golden.ledger() {
        verifier.push(&entry).unwrap();
    }
    for entry in state.take_changes().entries {
        verifier.push(&entry).unwrap();
    }
}
