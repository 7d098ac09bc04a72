//! What a transaction keeps until it has ended, such as a place that others wait for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bursar_db::{DbError, Migrations, Tx, on};
use bursar_testkit::postgres::waiting_for_locks;
use bursar_testkit::{TestDb, engines, until};

/// How long something that happens by itself may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than a transaction's end may take that keeps nothing.
const LONGER: Duration = Duration::from_secs(6);

/// Says when it is given back.
struct Place(Arc<AtomicBool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A place, and whether it was given back.
fn place() -> (Place, Arc<AtomicBool>) {
    let free = Arc::new(AtomicBool::new(false));
    (Place(Arc::clone(&free)), free)
}

fn is_free(place: &AtomicBool) -> bool {
    place.load(Ordering::SeqCst)
}

async fn run(tx: &mut Tx, sql: &'static str) -> Result<(), DbError> {
    on!(tx, c => sqlx::raw_sql(sql).execute(c).await?.rows_affected());
    Ok(())
}

engines! {
    async fn what_a_transaction_keeps_is_given_back_when_it_ends(at: TestDb) {
        let db = at.open(&Migrations::SHARED).await;
        for end in 0..3 {
            let (place, free) = place();
            let mut tx = db.read().await.unwrap().keeping(place);
            run(&mut tx, "SELECT 1").await.unwrap();
            assert!(!is_free(&free), "{end}: it goes on");
            match end {
                0 => tx.commit().await.unwrap(),
                1 => tx.rollback().await.unwrap(),
                _ => drop(tx),
            }
            if end < 2 {
                assert!(is_free(&free), "{end}: it has ended");
            }
            until(PATIENCE, "it is given back", async || is_free(&free)).await;
        }
    }
}

#[test]
fn whoever_gives_a_statement_up_keeps_the_place_until_that_is_over() {
    bursar_testkit::postgres::run(async |at: TestDb| {
        let db = at.open(&Migrations::SHARED).await;
        let mut holder = db.begin().await.unwrap();
        run(&mut holder, "SELECT pg_advisory_xact_lock(7)").await.unwrap();
        let (place, free) = place();
        let store = db.clone();
        let call = async move {
            let mut tx = store.read().await?.keeping(place);
            run(&mut tx, "SELECT pg_advisory_xact_lock(7)").await
        };
        tokio::select! {
            outcome = call => panic!("somebody else has the lock: {outcome:?}"),
            () = until(PATIENCE, "the statement is under way", async || waiting_for_locks(&db).await == 1) => {}
        }
        assert!(!is_free(&free), "nobody waits for it, and the server is at work on it");
        // Also once undoing it has taken longer than that may take by itself.
        tokio::time::sleep(LONGER).await;
        assert!(!is_free(&free), "the server is at work on it still");
        holder.rollback().await.unwrap();
        until(PATIENCE, "the statement is over", async || is_free(&free)).await;
    });
}
