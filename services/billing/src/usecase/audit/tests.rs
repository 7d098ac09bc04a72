//! The golden ledger, stored: what the first released program wrote is written, read and verified alike on both engines.

use std::sync::Arc;

use bursar_db::Db;
use bursar_id::{OwnerId, UserId};
use bursar_testkit::{TestDb, engines, id};
use bursar_time::Timestamp;

use super::{all_without_account, verify, without_account};
use crate::domain::tests::golden::Golden;
use crate::domain::{Account, Changes, Entry, Lot, ProductId, Purchase, PurchaseState};
use crate::store::accounts::Beside;
use crate::store::write::{Batch, Layout, Unsaved, write};
use crate::store::{MIGRATIONS, accounts, details, ledger, lots, purchases};

/// More rows than the golden account has.
const ALL: i64 = 1_000;

/// What to write of the golden account: these entries, and all that is no entry with the first of them.
fn changes(golden: &Golden, entries: &[Entry]) -> Unsaved {
    let first = entries.first().is_some_and(|it| it.seq == 1);
    let changes = Changes {
        owner: golden.owner,
        account: golden.account(),
        lapse_moved: true,
        entries: entries.iter().cloned().map(Arc::new).collect(),
        lots_inserted: if first { golden.lots() } else { Vec::new() },
        lots_updated: Vec::new(),
        holds_inserted: if first { golden.holds() } else { Vec::new() },
        holds_updated: Vec::new(),
        usage: if first { golden.usage() } else { Vec::new() },
        meters: if first { golden.meters() } else { Vec::new() },
        used: Vec::new(),
        alerts: Vec::new(),
        allowance_alerts: Vec::new(),
        crossed: false,
    };
    Unsaved { changes, next_due: None }
}

/// The purchase that the first program wrote beside a pack's lot; of payments it wrote nothing.
fn purchase(owner: OwnerId, lot: &Lot) -> Option<Purchase> {
    let origin = &lot.terms.origin;
    Some(Purchase {
        id: origin.purchase?,
        owner,
        pack: ProductId::parse("starter").unwrap(),
        state: PurchaseState::Paid,
        price: origin.paid?,
        credits: lot.granted,
        payment_method: "sandbox_ok".to_owned(),
        payment_reference: "sandbox_1".to_owned(),
        payment: None,
        lot: Some(lot.id),
        buyer: UserId::to_string(&id(1)),
        created_at: lot.terms.effective_at,
    })
}

/// The golden account in a store of its own, each page of details with the entries that it came with.
async fn stored(db: &TestDb, golden: &Golden, layout: Layout) -> Db {
    let (db, owner) = (db.open(&MIGRATIONS).await, golden.owner);
    let mut tx = db.begin().await.unwrap();
    accounts::open(&mut tx, &[owner], Timestamp::MIN).await.unwrap();
    let mut basis: Account = accounts::find(&mut tx, owner).await.unwrap().unwrap();
    let (mut rest, ends) = (golden.ledger(), golden.details());
    for last in ends.iter().map(|(last, _)| *last).chain([u64::MAX]) {
        let later = rest.split_off(rest.partition_point(|entry| entry.seq <= last));
        let unsaved = [changes(golden, &rest)];
        let batch = Batch { basis: vec![(owner, &basis)], unsaved: &unsaved };
        assert!(write(&mut tx, layout, &batch).await.unwrap(), "the account is as the batch rests on it");
        (rest, basis) = (later, golden.account());
    }
    for purchase in golden.lots().iter().filter_map(|lot| purchase(owner, lot)) {
        purchases::insert(&mut tx, &purchase).await.unwrap();
    }
    tx.commit().await.unwrap();
    db
}

async fn is_as_it_was(db: &TestDb, layout: Layout) {
    let golden = Golden::format_1();
    let (db, owner) = (stored(db, &golden, layout).await, golden.owner);
    let mut tx = db.read().await.unwrap();
    assert_eq!(accounts::find(&mut tx, owner).await.unwrap(), Some(golden.account()));
    assert_eq!(ledger::after(&mut tx, owner, 0, ALL).await.unwrap(), golden.entries());
    let pages = details::from(&mut tx, owner, 0, usize::MAX).await.unwrap();
    // Not their numbers: what the last entry of a page had may have been erased.
    let pages: Vec<_> = pages.iter().map(|(_, page)| page.to_bytes()).collect();
    assert!(pages.iter().eq(golden.details().iter().map(|(_, page)| page)), "the pages of details");
    let mut expected = golden.lots();
    expected.sort_by_key(|lot| lot.number);
    assert_eq!(lots::after(&mut tx, owner, 0, ALL).await.unwrap(), expected);
    drop(tx);

    let verdict = verify(&db, golden.key(), owner, Timestamp::MIN).await.unwrap();
    let audit = verdict.result.unwrap_or_else(|bad| panic!("{bad}"));
    assert_eq!((audit.entries, verdict.entries), (golden.account().head.seq, golden.account().head.seq));
    assert_eq!(verdict.head_hash, golden.account().head.hash);
    assert_eq!((audit.available, audit.held), (golden.account().available, golden.account().held));
    assert!(audit.erased > 0, "one member's details were erased");
}

engines! {
    /// In pages of two, of five of whom something was bought: at the end of a page, in the midst of one, and at the end of all.
    async fn whoever_has_no_account_is_found_a_page_at_a_time(db: TestDb) {
        let (db, golden) = (db.open(&MIGRATIONS).await, Golden::format_1());
        let mut owners: Vec<OwnerId> = (1..=5).map(|n| OwnerId::User(id(n))).collect();
        owners.sort_by_key(ToString::to_string);
        let mut tx = db.begin().await.unwrap();
        for (n, owner) in (1..).zip(&owners) {
            let sample = golden.lots().iter().find_map(|lot| purchase(*owner, lot)).unwrap();
            purchases::insert(&mut tx, &Purchase { id: id(n), ..sample }).await.unwrap();
        }
        let [ana, ben, cem, dan, eve] = owners[..] else { panic!("five of them") };
        accounts::open(&mut tx, &[ben, cem, eve], Timestamp::MIN).await.unwrap();
        tx.commit().await.unwrap();
        let (mut last, mut pages) = (None, Vec::new());
        loop {
            let (found, next) = without_account(&mut db.read().await.unwrap(), Beside::Purchases, last, 2).await.unwrap();
            pages.push(found);
            last = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(pages, [vec![ana], vec![dan], Vec::new()]);
        assert_eq!(all_without_account(&db).await.unwrap(), [ana, dan]);
    }

    async fn the_golden_ledger_is_the_same_in_a_store_and_verifies(db: TestDb) {
        is_as_it_was(&db, Layout::Together).await;
    }

    async fn the_golden_ledger_is_the_same_where_tables_are_distributed(db: TestDb) {
        is_as_it_was(&db, Layout::Distributed).await;
    }
}
