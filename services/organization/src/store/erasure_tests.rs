//! What is being erased is in no row that is read, wherever above it the deletion was.

use std::collections::BTreeSet;

use bursar_db::Tx;
use bursar_id::{ItemId, OwnerId, ProjectId};
use bursar_testkit::{START, at, id, organization};
use bursar_time::Span;

use super::contents::Attached;
use super::items::ItemRow;
use super::objects::NewObject;
use super::{MIGRATIONS, contents, erasures, items, libraries, objects};
use crate::domain::item::Root;

/// Items of a library: which, under which, in which project.
const TREE: [(u64, Option<u64>, Option<u64>); 6] = [
    (1, None, None),
    (2, Some(1), None),
    (3, Some(2), None),
    (4, None, Some(9)),
    (5, Some(4), Some(9)),
    (6, None, None),
];

const SHA256: [u8; 32] = [7; 32];

fn ids(numbers: &[u64]) -> Vec<ItemId> {
    numbers.iter().map(|n| id(*n)).collect()
}

/// Plants the tree. Each item is somebody else's work, and all have the same content.
async fn plant(tx: &mut Tx, owner: OwnerId) {
    let (now, object) = (at(START), "0123456789abcdef0123456789abcdef");
    libraries::lock(tx, owner).await.expect("locked");
    let lease_until = now.saturating_add(Span::HOUR);
    let new = NewObject { id: object, uploader: owner, size: 1, segment: 1, lease_until };
    objects::insert(tx, &new).await.expect("noted");
    assert!(objects::adopt(tx, object, now).await.expect("adopted"));
    for (n, parent, project) in TREE {
        let (parent, project) = (parent.map(id), project.map(id));
        let row = ItemRow { parent, project, ..ItemRow::for_test(id(n), owner, id(n)) };
        items::insert(tx, &row).await.expect("inserted");
        if !contents::more(tx, owner, &SHA256).await.expect("counted") {
            contents::insert(tx, owner, &SHA256, object, 1).await.expect("inserted");
        }
        let attached = Attached { owner, item: row.id, sha256: &SHA256, size: 1, media_type: "text/plain" };
        contents::attach(tx, &attached).await.expect("attached");
    }
}

/// Which of the tree's items each way of reading finds.
async fn found(tx: &mut Tx, owner: OwnerId) -> [BTreeSet<ItemId>; 4] {
    let all = ids(&TREE.map(|(n, ..)| n));
    let mut found: [BTreeSet<ItemId>; 4] = std::array::from_fn(|_| BTreeSet::new());
    let [by_id, anywhere, by_ids, content] = &mut found;
    for item in &all {
        by_id.extend(items::by_id(tx, owner, *item).await.expect("read").map(|row| row.id));
        anywhere.extend(items::anywhere(tx, *item).await.expect("read").map(|row| row.id));
        content.extend(contents::of_item(tx, owner, *item).await.expect("read").map(|_| *item));
    }
    by_ids.extend(items::by_ids(tx, owner, &all).await.expect("read").into_iter().map(|row| row.id));
    found
}

bursar_testkit::engines! {
    async fn what_is_being_erased_is_not_read_and_all_of_the_rest_is(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let (owner, other) = (organization(1), organization(2));
        let mut tx = db.begin().await.expect("a transaction");
        plant(&mut tx, owner).await;
        libraries::lock(&mut tx, other).await.expect("locked");
        tx.commit().await.expect("committed");
        let project: ProjectId = id(9);
        for (whose, root, left) in [
            (owner, Root::Item(id(1)), vec![4, 5, 6]),
            (owner, Root::Item(id(2)), vec![1, 4, 5, 6]),
            (owner, Root::Item(id(3)), vec![1, 2, 4, 5, 6]),
            (owner, Root::Item(id(5)), vec![1, 2, 3, 4, 6]),
            (owner, Root::Item(id(6)), vec![1, 2, 3, 4, 5]),
            (owner, Root::Project(project), vec![1, 2, 3, 6]),
            (other, Root::Item(id(1)), vec![1, 2, 3, 4, 5, 6]),
        ] {
            let mut tx = db.begin().await.expect("a transaction");
            erasures::insert(&mut tx, whose, root).await.expect("marked");
            let expected: BTreeSet<ItemId> = ids(&left).into_iter().collect();
            for found in found(&mut tx, owner).await {
                assert_eq!(found, expected, "{root}");
            }
            let counted = contents::count_kept(&mut tx, owner, 10).await.expect("counted");
            assert_eq!(usize::try_from(counted), Ok(left.len()), "{root}");
            tx.rollback().await.expect("undone");
        }
    }

    async fn keys_lead_nowhere_into_what_is_being_erased(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let owner = organization(1);
        let mut tx = db.begin().await.expect("a transaction");
        plant(&mut tx, owner).await;
        let (first, others) = (ids(&[1]), ids(&[2, 3]));
        for (root, children, under) in [(3, 1, false), (2, 0, true)] {
            erasures::insert(&mut tx, owner, Root::Item(id(root))).await.expect("marked");
            let found = items::children(&mut tx, owner, &first, 10).await.expect("read");
            assert_eq!(found.len(), children, "{root}");
            assert_eq!(items::all_children(&mut tx, owner, &first, 10).await.expect("read").len(), 1, "{root}");
            assert_eq!(erasures::is_under(&mut tx, owner, &first).await.expect("read"), under, "{root}");
        }
        assert!(items::keys_of(&mut tx, owner, &others).await.expect("read").is_empty());
        assert!(items::key(&mut tx, owner, others[0]).await.expect("read").is_some());
        // As far as it is said of them.
        erasures::forget_items(&mut tx, owner, &ids(&[1, 2])).await.expect("forgotten");
        assert!(!erasures::is_there(&mut tx, owner, Root::Item(id(2))).await.expect("read"));
        assert!(erasures::is_there(&mut tx, owner, Root::Item(id(3))).await.expect("read"));
        erasures::forget(&mut tx, owner, Root::Item(id(3))).await.expect("forgotten");
        assert!(!erasures::any(&mut tx, owner).await.expect("read"));
    }
}
