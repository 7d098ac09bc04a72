//! A store whose disk is full (kind L), as callers see it: organization is not ready, refuses what it cannot write down, and goes
//! on once there is room again.

use bursar_db::Db;
use bursar_proto::organization::v1 as proto;
use bursar_runtime::ReadyProbe;
use bursar_testkit::postgres::Durability;
use bursar_testkit::{Client, SmallDisk, TestDb, fills_up, fills_up_on, incompressible, postgres, sqlite};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::Status;

use crate::world::World;

/// One more organization, over connections that the test has a hand on.
async fn replica_on(world: &World, db: &Db) -> (Client, ReadyProbe) {
    let (keys, peers, env) = (world.issuer.keys(), world.peers.clone(), world.env.clone());
    world.at(bursar_organization::start_on(db.clone(), &world.settings, keys, peers, env).await.expect("starts"))
}

/// Prefers so much that it needs room.
async fn prefer(client: &Client, organization: &str, length: usize, request_id: &str) -> Result<(), Status> {
    let value = Value { kind: Some(Kind::StringValue(incompressible(length))) };
    let request = proto::UpdatePreferencesRequest {
        organization_id: organization.to_owned(),
        preferences: Some(Struct { fields: [("text".to_owned(), value)].into() }),
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    client.members().update_preferences(request).await.map(drop)
}

#[test]
fn a_full_disk_under_organization_refuses_and_afterwards_everything_goes_on() {
    sqlite::run(async |at: TestDb| {
        let world = World::start(at).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let (replica, ready) = replica_on(&world, &world.store).await;
        let there = world.acting_at(&replica, &ada, &acme).client;
        let write = async |length: usize, request_id: &str| prefer(&there, &acme, length, request_id).await;
        let goes_on = async |round: usize| {
            world.create(&world.who_at(&replica, 2, "u2@example.com"), &format!("Studio {round}")).await;
        };
        fills_up((&world.store, &ready), write, goes_on).await;
    });
}

#[test]
fn a_full_tablespace_under_organization_refuses_and_afterwards_everything_goes_on() {
    postgres::run(async |_shared: TestDb| {
        let what = "what a member prefers while PostgreSQL's tablespace is full";
        let Some(disk) = SmallDisk::mount(what, 48) else { return };
        let server = postgres::start(Durability::Fast).expect("PostgreSQL is there");
        let tablespace = disk.path().join("tables");
        std::fs::create_dir(&tablespace).expect("a directory");
        server.own(&tablespace);
        let world = World::start(server.create_database_in(&tablespace).await).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let there = world.acting(&ada, &acme).client;
        let write = async |length: usize, request_id: &str| prefer(&there, &acme, length, request_id).await;
        let goes_on = async |round: usize| {
            world.create(&world.who(2), &format!("Studio {round}")).await;
        };
        fills_up_on(&disk, &world.ready, write, goes_on).await;
        drop(world);
        drop(server);
    });
}
