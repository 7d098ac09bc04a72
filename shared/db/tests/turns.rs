//! Those who wait for a connection take turns, on both engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bursar_db::{Asker, Db, DbError, Engine, Migrations, PoolOptions};
use bursar_testkit::TestDb;

/// A wait for a connection, and what follows it.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who had a transaction, in which order.
type Served = Arc<Mutex<Vec<&'static str>>>;

/// A store with one connection of each sort.
async fn store(at: &TestDb, patience: Duration) -> Db {
    let (migrations, url) = (Migrations::SHARED, at.store_url());
    let options =
        PoolOptions { max_connections: 1, read_connections: 1, acquire_timeout: patience, ..PoolOptions::default() };
    let db = Db::open(&url, &migrations, &options).await.expect("opens");
    db.migrate(&migrations).await.expect("migrates");
    db
}

/// A transaction of somebody's, who is noted once it has begun.
fn transaction(db: &Db, reads: bool, name: &'static str, served: &Served) -> Waiting {
    let (db, served) = (db.clone(), Arc::clone(served));
    Box::pin(async move {
        let tx = if reads { db.read().await } else { db.begin().await };
        let tx = tx.expect("begins");
        served.lock().unwrap().push(name);
        tx.rollback().await.expect("is over");
    })
}

/// The same by a caller.
fn by(caller: &'static str, db: &Db, reads: bool, served: &Served) -> Waiting {
    Box::pin(Asker::caller(&caller).scope(transaction(db, reads, caller, served)))
}

/// Lets each of them come, one after the other, where the connection is taken.
async fn all_wait(waiting: &mut [Waiting]) {
    for one in waiting {
        let polled = std::future::poll_fn(|context| Poll::Ready(one.as_mut().poll(context))).await;
        assert!(polled.is_pending(), "somebody else has the connection");
    }
}

/// The order in which those who wait have their turns, once `held` is given back.
async fn order(held: bursar_db::Tx, waiting: Vec<Waiting>, served: &Served) -> Vec<&'static str> {
    held.rollback().await.expect("is over");
    for ended in futures::future::join_all(waiting.into_iter().map(tokio::spawn)).await {
        ended.expect("no panic");
    }
    served.lock().unwrap().clone()
}

fn place(order: &[&str], name: &str) -> usize {
    order.iter().position(|it| *it == name).unwrap()
}

bursar_testkit::engines! {
    async fn who_has_hundreds_waiting_leaves_a_neighbour_waiting_for_one_round(at: TestDb) {
        let db = store(&at, Duration::from_mins(2)).await;
        for reads in [false, true] {
            let served = Served::default();
            let held = if reads { db.read().await } else { db.begin().await };
            let held = held.expect("begins");
            let mut waiting: Vec<_> = (0..300).map(|_| by("ada", &db, reads, &served)).collect();
            waiting.push(by("ben", &db, reads, &served));
            waiting.push(by("cleo", &db, reads, &served));
            waiting.push(transaction(&db, reads, "the program", &served));
            all_wait(&mut waiting).await;
            assert_eq!(db.crowd().count(), 303);
            let order = order(held, waiting, &served).await;
            assert_eq!((order.len(), db.crowd().count()), (303, 0), "everybody is served");
            for neighbour in ["ben", "cleo", "the program"] {
                assert!(place(&order, neighbour) < 4, "{neighbour} waited for more than a round: {:?}", &order[..8]);
            }
        }
    }

    async fn whoever_hangs_up_while_it_waits_leaves_its_turn_to_the_others(at: TestDb) {
        let db = store(&at, Duration::from_mins(2)).await;
        let served = Served::default();
        let held = db.begin().await.expect("begins");
        let mut given_up: Vec<_> = (0..50).map(|_| by("ada", &db, false, &served)).collect();
        let mut waiting = vec![by("ben", &db, false, &served), by("ada", &db, false, &served)];
        all_wait(&mut given_up).await;
        all_wait(&mut waiting).await;
        assert_eq!(db.crowd().count(), 52);
        drop(given_up);
        assert_eq!(db.crowd().count(), 2, "nobody waits who has gone");
        let order = order(held, waiting, &served).await;
        assert_eq!(order.len(), 2);
        let all: Vec<_> = (0..20).map(|_| by("cleo", &db, false, &served)).collect();
        futures::future::join_all(all).await;
        assert_eq!(served.lock().unwrap().len(), 22, "the connection is there for whoever comes");
    }

    async fn who_waits_too_long_for_a_turn_is_told_and_has_none(at: TestDb) {
        let db = store(&at, Duration::from_secs(2)).await;
        let held = db.begin().await.expect("begins");
        let ada = Asker::caller(&"ada");
        let refused = ada.scope(db.begin()).await.expect_err("somebody has the only connection");
        assert!(matches!(refused, DbError::Unavailable(_)), "{refused}");
        held.rollback().await.expect("is over");
        ada.scope(db.begin()).await.expect("it is free").rollback().await.expect("is over");
    }

    async fn who_waits_for_a_turn_is_told_at_once_that_the_store_is_closed(at: TestDb) {
        let db = store(&at, Duration::from_hours(1)).await;
        let held = db.begin().await.expect("begins");
        let mut waiting = Box::pin(db.begin());
        let polled = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await;
        assert!(polled, "somebody has the only connection");
        let closing = tokio::spawn({
            let db = db.clone();
            async move { db.close().await }
        });
        // Long before the hour is over, and before the connection is given back.
        let told = tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("told at once");
        assert!(matches!(told, Err(DbError::Unavailable(_))), "{told:?}");
        held.rollback().await.expect("is over");
        closing.await.expect("no panic");
    }

    async fn a_service_waits_for_no_round_of_the_callers(at: TestDb) {
        let db = store(&at, Duration::from_mins(2)).await;
        for reads in [false, true] {
            let served = Served::default();
            let held = if reads { db.read().await } else { db.begin().await };
            let held = held.expect("begins");
            let caller = |number: u8| {
                let waits = transaction(&db, reads, "a caller", &served);
                Box::pin(Asker::caller(&number).scope(waits)) as Waiting
            };
            let mut waiting: Vec<_> = (0..50).map(caller).collect();
            let product = || Box::pin(Asker::service(&"product").scope(transaction(&db, reads, "the product", &served)));
            waiting.extend((0..3).map(|_| product() as Waiting));
            all_wait(&mut waiting).await;
            let order = order(held, waiting, &served).await;
            assert_eq!((order.len(), &order[..3]), (53, &["the product"; 3][..]));
        }
    }

    async fn who_has_the_store_to_itself_does_not_wait_behind_jobs(at: TestDb) {
        let db = store(&at, Duration::from_mins(2)).await;
        let (own, served) = (db.dedicated(Duration::from_secs(5), Duration::from_secs(5)), Served::default());
        let held = db.begin().await.expect("begins");
        let mut waiting: Vec<_> = (0..50).map(|_| transaction(&db, false, "a job", &served)).collect();
        all_wait(&mut waiting).await;
        let mut first = transaction(&own, false, "the lane", &served);
        match db.engine() {
            // It has a connection that nobody else has.
            Engine::Postgres => first.await,
            Engine::Sqlite => {
                all_wait(std::slice::from_mut(&mut first)).await;
                waiting.push(first);
            }
        }
        let order = order(held, waiting, &served).await;
        assert_eq!((order.len(), place(&order, "the lane")), (51, 0));
        own.close_dedicated().await;
    }
}
