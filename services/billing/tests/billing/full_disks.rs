//! A database whose disk is full, as callers see it: the service is not ready, what it cannot book it refuses, and once
//! there is room again everything goes on and every request id has the one answer it had.

use bursar_db::Engine;
use bursar_testkit::postgres::Durability;
use bursar_testkit::{Refusal, SmallDisk, TestDb, postgres, sqlite};
use tonic::{Code, Status};

use crate::words::{Spending as _, Under, reserve, settle, spend};
use crate::world::{World, until};

/// How many calls are refused before there is room again.
const REFUSED: usize = 4;

/// What nobody could book: said so, and worth another try.
fn is_unavailable(status: &Status) -> bool {
    let refusal = Refusal::of(status);
    refusal.code == Code::Unavailable && refusal.retryable
}

async fn the_whole_story(world: &World, disk: &SmallDisk) {
    let (ana, ben) = (world.person_with(1, "1000").await, world.person_with(2, "1000").await);
    let hold = ana.held(reserve(ana.owner, "5")).await;
    disk.fill();
    // SQLite's log has room of its own, and says nothing before that is used up.
    if world.engine() == Engine::Postgres {
        until("it is not ready", async || world.ready.check().await.is_err()).await;
    }
    let (mut booked, mut refused) = (Vec::new(), Vec::new());
    // Rows fit into what the tables have already, for a while.
    for n in 0..5_000 {
        let id = format!("c{n}");
        match ana.charge(spend(ana.owner, "0.1").labelled("much", &"x".repeat(250)).under(&id)).await {
            Ok(_) => booked.push(id),
            Err(status) => {
                assert!(is_unavailable(&status), "{id}: {status:?}");
                refused.push(id);
            }
        }
        if refused.len() >= REFUSED {
            break;
        }
    }
    assert_eq!(refused.len(), REFUSED, "the disk is full and nobody notices; {} were booked", booked.len());
    until("it is not ready", async || world.ready.check().await.is_err()).await;
    let captured = ana.capture(settle(&hold, "5").under("capture")).await;
    assert!(captured.as_ref().err().is_none_or(is_unavailable), "{captured:?}");

    disk.clear();
    until("it is ready again", async || world.ready.check().await.is_ok()).await;
    ben.charged(spend(ben.owner, "1")).await;
    for id in booked.iter().chain(&refused) {
        let again = spend(ana.owner, "0.1").labelled("much", &"x".repeat(250)).under(id);
        let answer = ana.charge(again).await.unwrap();
        assert!(answer.replayed || refused.contains(id), "{id} was booked and is forgotten");
    }
    let capture = ana.capture(settle(&hold, "5").under("capture")).await.unwrap();
    assert!(capture.replayed || captured.is_err());
    let charges = booked.len() + refused.len();
    let spent = world.number("SELECT charged FROM accounts WHERE owner = $1", ana.owner).await;
    assert_eq!(spent, 5_000_000 + i64::try_from(charges).unwrap() * 100_000, "each of them once");
    world.audit(ana.owner).await;
    world.audit(ben.owner).await;
}

#[test]
fn a_full_tablespace_of_postgresql_refuses_and_afterwards_everything_goes_on() {
    postgres::run(async |_shared: TestDb| {
        let Some(disk) = SmallDisk::mount("a charge while PostgreSQL's tablespace is full", 48) else { return };
        let server = postgres::start(Durability::Fast).expect("PostgreSQL is there");
        let tablespace = disk.path().join("tables");
        std::fs::create_dir(&tablespace).expect("a directory");
        server.own(&tablespace);
        let world = World::on(server.create_database_in(&tablespace).await).await;
        the_whole_story(&world, &disk).await;
        drop(world);
        drop(server);
    });
}

#[test]
fn a_full_disk_under_sqlite_refuses_and_afterwards_everything_goes_on() {
    sqlite::run(async |_elsewhere: TestDb| {
        let Some(disk) = SmallDisk::mount("a charge while SQLite's disk is full", 16) else { return };
        let world = World::on(sqlite::file_in(disk.path())).await;
        the_whole_story(&world, &disk).await;
        drop(world);
    });
}
