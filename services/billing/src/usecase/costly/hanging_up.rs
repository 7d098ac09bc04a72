//! Callers who hang up on what is costly (kind C): what they asked for is still under way in the store, and so is its place.

use std::sync::mpsc;
use std::time::Duration;

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Asked, Call, PageKey, PageRequest};
use bursar_secret::Secret;
use bursar_testkit::postgres::waiting_for_locks;
use bursar_testkit::{TestDb, at, credits, engines, personal, until};
use bursar_time::Zone;
use futures::StreamExt as _;

use super::{Costly, SIDE_BY_SIDE, lock};
use crate::document::{Format, Look};
use crate::domain::{EntryKind, LimitMode, LimitSubject, LimitWindow, Percents};
use crate::store::invoices;
use crate::usecase::accounts::{AccountUseCases, LedgerFilter};
use crate::usecase::invoices::InvoiceUseCases;
use crate::usecase::limits::{LimitUseCases, SetCommand};
use crate::usecase::reports::{Interval, ReportFilter, ReportQuery, ReportUseCases};
use crate::usecase::shop::{Shop, manager};

/// How long something that happens by itself may take.
const PATIENCE: Duration = Duration::from_secs(20);

async fn run(tx: &mut Tx, sql: &'static str) -> Result<(), DbError> {
    on!(tx, c => sqlx::raw_sql(sql).execute(c).await?.rows_affected());
    Ok(())
}

/// A page of the list of this name.
fn page(name: &str, size: i32) -> PageRequest<u64> {
    PageRequest::parse(size, "", PageKey::new(Secret::new([7; 32])).list(name, [])).unwrap()
}

/// A limit of this owner's, by which nobody has counted yet.
fn limit(owner: OwnerId) -> Asked<SetCommand> {
    let (subject, window, mode) = (LimitSubject::EveryMember, LimitWindow::Month, LimitMode::Hard);
    let command = SetCommand { subject, window, mode, amount: credits("100"), alerts: Percents::default() };
    let call = Call::new(manager(owner), "bursar.billing.v1.LimitService/SetLimit");
    Asked::read(call, "", &pb::SetLimitRequest::default(), |_, _| Some(command))
}

fn under_way(costly: &Costly) -> usize {
    lock(&costly.calls).under_way
}

/// Has a call given up while the store is at work for it: until that is over, its place is nobody else's.
async fn gives_up<T>(db: &Db, costly: &Costly, what: &str, call: impl Future<Output = T>) {
    let mut holder = db.begin().await.unwrap();
    run(&mut holder, "LOCK TABLE ledger_entries, usage_hours IN ACCESS EXCLUSIVE MODE").await.unwrap();
    tokio::select! {
        _ = call => panic!("{what} is done, though nobody can read"),
        () = until(PATIENCE, "the statement is under way", async || waiting_for_locks(db).await == 1) => {}
    }
    assert_eq!(under_way(costly), 1, "{what}: nobody waits for it, but the store is at work for it");
    holder.rollback().await.unwrap();
    until(PATIENCE, "the place is given back", async || under_way(costly) == 0).await;
}

#[test]
fn who_hangs_up_on_what_is_costly_has_the_place_until_its_work_ends() {
    bursar_testkit::postgres::run(async |db: TestDb| {
        let (shop, owner) = (Shop::open(&db, "2026-01-15T12:00:00Z").await, personal(1));
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        shop.spend(owner, "1").await;
        let (costly, caller, clock) = (Costly::new(), manager(owner), shop.clock.clone());
        let accounts = AccountUseCases {
            db: shop.db.clone(),
            clock: clock.clone(),
            rules: shop.rules.clone(),
            costly: costly.clone(),
        };
        let access = shop.subscriptions.access.clone();
        let reports = ReportUseCases { db: shop.db.clone(), clock, access, costly: costly.clone() };

        gives_up(&shop.db, &costly, "an audit", Box::pin(accounts.verify(&caller, owner))).await;
        let filter = LedgerFilter { kinds: vec![EntryKind::Charge], ..LedgerFilter::default() };
        for (what, filter, size) in [("a search", filter, 10), ("a long page", LedgerFilter::default(), 201)] {
            let page = page("entries", size);
            let read = Box::pin(accounts.ledger((&caller, owner), &filter, &page, |page| page.rows.len()));
            gives_up(&shop.db, &costly, what, read).await;
        }
        let limits = LimitUseCases::beside(&shop.subscriptions, (&shop.rules, &costly), 10);
        gives_up(&shop.db, &costly, "a limit that has to be counted", Box::pin(limits.set(owner, &limit(owner)))).await;
        let query = ReportQuery {
            from: at("2026-01-01T00:00:00Z"),
            to: at("2026-02-01T00:00:00Z"),
            groups: Vec::new(),
            interval: Interval::Whole,
            zone: Zone::default(),
            filter: ReportFilter::default(),
        };
        let list = PageKey::new(Secret::new([7; 32])).list("usage", []);
        let page = PageRequest::parse(10, "", list).unwrap();
        gives_up(&shop.db, &costly, "a report", Box::pin(reports.page(&caller, owner, &query, &page))).await;
        let mut export = Box::pin(reports.export(caller, owner, query));
        gives_up(&shop.db, &costly, "an export", export.next()).await;
        let calls = lock(&costly.calls);
        assert!(calls.owners.is_empty() && calls.callers.is_empty() && calls.all == 0, "nobody is remembered");
    });
}

engines! {
    async fn who_hangs_up_on_a_document_has_the_place_until_it_is_written(db: TestDb) {
        let (shop, owner) = (Shop::open(&db, "2026-01-15T12:00:00Z").await, personal(1));
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        let issued = invoices::page(&mut shop.db.read().await.unwrap(), owner, None, 1).await.unwrap();
        let (costly, look) = (Costly::new(), Look::load(None, None).unwrap());
        // The threads have something else to do for now.
        let busy = [(); SIDE_BY_SIDE].map(|()| {
            let (finish, finished) = mpsc::channel::<()>();
            (finish, costly.threads.run(move || finished.recv().is_ok()))
        });
        let invoices = InvoiceUseCases { db: shop.db.clone(), look, costly: costly.clone() };
        let caller = manager(owner);
        tokio::select! {
            _ = invoices.render(&caller, owner, issued[0].id, Format::Html) => panic!("it is written without a thread"),
            () = until(PATIENCE, "it waits for the thread", async || under_way(&costly) == 1) => {}
        }
        assert_eq!(under_way(&costly), 1, "nobody waits for it, but it is still to be written");
        for (finish, busy) in busy {
            finish.send(()).unwrap();
            assert!(busy.await.unwrap());
        }
        until(PATIENCE, "the place is given back", async || under_way(&costly) == 0).await;
    }
}
