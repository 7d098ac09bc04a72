//! However much stands under something, who has made it is found, also what comes while it is looked through.

use bursar_testkit::{START, at, id, organization};
use bursar_time::Span;

use super::*;
use crate::domain::item::Root;
use crate::store::items::ItemRow;
use crate::store::{MIGRATIONS, libraries};

/// What is looked through: the first item of the organization, which the first person wants.
fn tree() -> Tree {
    Tree { owner: organization(1), root: id(1), maker: id(1) }
}

/// Who else is there.
fn another() -> UserId {
    id(2)
}

/// An item of this id, under another, made by somebody.
async fn plant(tx: &mut Tx, item: ItemId, parent: Option<ItemId>, created_by: UserId) {
    let row = ItemRow { parent, ..ItemRow::for_test(item, tree().owner, created_by) };
    items::insert(tx, &row).await.expect("inserted");
}

/// The tree's root, and items under it: the children of the first of them begin with 10,000, those of the second with 20,000.
async fn planted(db: &Db, children: u64, below: [u64; 2]) {
    let Tree { owner, root, maker } = tree();
    let mut tx = db.begin().await.expect("a transaction");
    libraries::lock(&mut tx, owner).await.expect("locked");
    plant(&mut tx, root, None, maker).await;
    for n in 2..2 + children {
        plant(&mut tx, id(n), Some(root), maker).await;
    }
    for (parent, count) in (2..).zip(below) {
        for n in 0..count {
            plant(&mut tx, id((parent - 1) * 10_000 + n), Some(id(parent)), maker).await;
        }
    }
    tx.commit().await.expect("committed");
}

/// What is found, long after all of it was made, where no call takes longer than an hour.
async fn looked(db: &Db) -> Makers {
    look_through(db, tree(), at(START).saturating_add(Span::DAY), Span::HOUR).await.expect("looked")
}

/// One more item, in a transaction of its own.
async fn comes(db: &Db, item: ItemId, parent: Option<ItemId>, created_by: UserId) {
    let mut tx = db.begin().await.expect("a transaction");
    plant(&mut tx, item, parent, created_by).await;
    tx.commit().await.expect("committed");
}

bursar_testkit::engines! {
    /// More than a portion under one, and under one of those.
    async fn however_much_there_is_each_is_looked_at(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        planted(&db, 1_200, [1_050, 3]).await;
        assert!(!looked(&db).await.others, "all of it is one person's");
        // Under what is looked at last.
        comes(&db, id(50_000), Some(id(10_000)), another()).await;
        assert!(looked(&db).await.others);
        // What is being erased is nobody's any more, and nothing under it either.
        for root in [50_000, 10_000, 2] {
            let mut tx = db.begin().await.expect("a transaction");
            erasures::insert(&mut tx, tree().owner, Root::Item(id(root))).await.expect("marked");
            tx.commit().await.expect("committed");
            assert!(!looked(&db).await.others, "{root}");
            let mut tx = db.begin().await.expect("a transaction");
            erasures::forget(&mut tx, tree().owner, Root::Item(id(root))).await.expect("forgotten");
            tx.commit().await.expect("committed");
        }
        assert!(looked(&db).await.others);
    }

    /// More than a portion under several that are looked at together, none of which has so many.
    async fn what_stands_under_several_is_looked_at_under_each(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        planted(&db, 2, [600, 600]).await;
        assert!(!looked(&db).await.others);
        comes(&db, id(50_000), Some(id(20_599)), another()).await;
        assert!(looked(&db).await.others);
    }

    async fn what_has_come_since_is_found_with_the_library_locked(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        planted(&db, 3, [2, 0]).await;
        let makers = looked(&db).await;
        let since = |n: u8| ItemId::from_parts(at(START).saturating_add(Span::DAY).as_millis(), [n; 10]);
        let have_others = async || {
            let mut tx = db.begin().await.expect("a transaction");
            makers.have_others(&mut tx).await.expect("looked")
        };
        assert!(!have_others().await);
        // The same person's, somebody else's elsewhere, and what was looked at.
        comes(&db, since(1), Some(id(2)), tree().maker).await;
        comes(&db, since(2), None, another()).await;
        comes(&db, since(3), Some(since(2)), another()).await;
        assert!(!have_others().await);
        // Two levels below, under what has come since as well.
        comes(&db, since(4), Some(since(1)), another()).await;
        assert!(have_others().await);
        let mut tx = db.begin().await.expect("a transaction");
        erasures::insert(&mut tx, tree().owner, Root::Item(since(1))).await.expect("marked");
        tx.commit().await.expect("committed");
        assert!(!have_others().await, "what is being erased is nobody's");
    }

    /// By a call that had begun as long before the look as a call may take, by another clock.
    async fn what_was_begun_before_counts_as_come_since(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        planted(&db, 1, [0, 0]).await;
        let makers = looked(&db).await;
        let long_before = Span::HOUR.saturating_add(Span::from_secs(59));
        let begun = at(START).saturating_add(Span::DAY).saturating_sub(long_before);
        comes(&db, ItemId::from_parts(begun.as_millis(), [9; 10]), Some(id(2)), another()).await;
        let mut tx = db.begin().await.expect("a transaction");
        assert!(makers.have_others(&mut tx).await.expect("looked"));
        drop(tx);
        assert!(makers.are_of(tree()) && !makers.are_of(Tree { root: id(2), ..tree() }));
    }
}
