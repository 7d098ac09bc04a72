//! Work that one tenant can make large (kind B): what is read of a long ledger is bounded.

use bursar_id::ChargeId;
use bursar_rpc::PageKey;
use bursar_secret::Secret;
use bursar_testkit::{credits, engines, personal};

use super::*;
use crate::domain::{Actor, Command, Event, OperationId, RefundCommand, Request};
use crate::lane::Job;
use crate::usecase::shop::{Shop, charge, manager};

const NOON: &str = "2026-01-15T12:00:00Z";

/// The page of a list that begins after this token.
fn page(size: i32, token: &str) -> PageRequest<u64> {
    PageRequest::parse(size, token, PageKey::new(Secret::new([7; 32])).list("entries", [])).unwrap()
}

/// The account's last charge.
async fn last_charge(shop: &Shop, owner: OwnerId) -> ChargeId {
    let mut tx = shop.db.read().await.unwrap();
    let entries = ledger::before(&mut tx, owner, i64::MAX, 10).await.unwrap();
    let charges = entries.iter().filter_map(|entry| match entry.event.made() {
        Some(OperationId::Charge(charge)) => Some((entry.seq, charge)),
        _ => None,
    });
    charges.max_by_key(|(seq, _)| *seq).expect("a charge").1
}

engines! {
    async fn a_filter_without_a_match_gives_short_pages_and_comes_to_an_end(db: TestDb) {
        let (shop, owner) = (Shop::open(&db, NOON).await, personal(1));
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        let charges = vec![charge(owner, "0.001"); usize::try_from(SCAN).unwrap() + 100];
        for some in charges.chunks(300) {
            let mut tx = shop.db.begin().await.unwrap();
            let booked = shop.subscriptions.till.batcher.apply_all(&mut tx, some).await.unwrap();
            assert!(booked.iter().all(|answer| matches!(answer, Some(Ok(_)))), "all of them are booked");
            tx.commit().await.unwrap();
        }
        let (db, clock, rules, costly) = (shop.db.clone(), shop.clock.clone(), shop.rules.clone(), Costly::new());
        let accounts = AccountUseCases { db, clock, rules, costly };
        for newest_first in [true, false] {
            let filter = LedgerFilter { kinds: vec![EntryKind::Refund], newest_first, ..LedgerFilter::default() };
            let read = async |token: &str| accounts.ledger((&manager(owner), owner), &filter, &page(100, token), std::convert::identity).await.unwrap();
            let first = read("").await;
            assert!(first.rows.is_empty() && !first.next_page_token.is_empty(), "as much as a page looks at, and no more");
            let second = read(&first.next_page_token).await;
            assert!(second.rows.is_empty() && second.next_page_token.is_empty(), "it goes on from there to the end");
        }
    }

    async fn of_a_charge_that_is_refunded_again_and_again_one_refund_is_read(db: TestDb) {
        let (shop, owner) = (Shop::open(&db, NOON).await, personal(1));
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        shop.spend(owner, "1").await;
        let charge = last_charge(&shop, owner).await;
        for refunds in 1..=40 {
            let command = Command::Refund(RefundCommand { charge, amount: Some(credits("0.01")) });
            let job = Job { owner, actor: Actor::Job, request: Request::unnamed(command).with_renewal_settled() };
            let mut tx = shop.db.begin().await.unwrap();
            shop.subscriptions.till.batcher.apply(&mut tx, &job).await.unwrap().unwrap();
            let read = ledger::last_refunds(&mut tx, &[(owner, charge)]).await.unwrap();
            tx.commit().await.unwrap();
            let [(_, last)] = read.as_slice() else { panic!("{} rows for one refund more", read.len()) };
            let Event::Refund(refund) = &last.event else { panic!("{last:?}") };
            assert_eq!(refund.refunded_after, Credits::from_micro(refunds * 10_000).unwrap());
        }
        shop.assert_sound(owner).await;
    }
}
