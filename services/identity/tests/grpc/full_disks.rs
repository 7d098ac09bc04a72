//! A store whose disk is full (kind L), as callers see it: identity is not ready, refuses what it cannot write down, and goes on
//! once there is room again.

use bursar_db::Db;
use bursar_identity::Config;
use bursar_proto::identity::v1::UpdateMeRequest;
use bursar_rpc::Transport;
use bursar_runtime::{ReadyProbe, Service};
use bursar_testkit::postgres::Durability;
use bursar_testkit::{Client, Person, SmallDisk, TestDb, fills_up, fills_up_on, incompressible, postgres, sqlite};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::Status;

use crate::world::World;

/// One more replica, over connections that the test has a hand on.
async fn replica_on(world: &World, db: &Db) -> (Client, ReadyProbe) {
    let config = Config::of(&world.settings);
    let started = bursar_identity::start_on(db.clone(), &world.settings, config, world.peers(), world.env.clone());
    let started = started.await.expect("starts");
    let identity = Transport::routes(started.routes);
    (Client::new(identity.clone(), world.peers().to(Service::Organization), identity), started.ready)
}

/// Prefers so much that it needs room, or nearly nothing.
async fn prefer(client: &Client, length: usize, request_id: &str) -> Result<(), Status> {
    let value = Value { kind: Some(Kind::StringValue(incompressible(length))) };
    let request = UpdateMeRequest {
        preferences: Some(Struct { fields: [("text".to_owned(), value)].into() }),
        request_id: request_id.to_owned(),
        ..UpdateMeRequest::default()
    };
    client.users().update_me(request).await.map(drop)
}

#[test]
fn a_full_disk_under_identity_refuses_and_afterwards_everything_goes_on() {
    sqlite::run(async |at: TestDb| {
        let world = World::start(&at).await;
        let ada = world.join("Ada").await;
        let (replica, ready) = replica_on(&world, &world.db).await;
        let client = replica.with_token(&ada.tokens.access_token);
        let write = async |length: usize, request_id: &str| prefer(&client, length, request_id).await;
        let goes_on = async |_: usize| {
            Person::sign_in(&replica, &ada.email).await;
        };
        fills_up((&world.db, &ready), write, goes_on).await;
    });
}

#[test]
fn a_full_tablespace_under_identity_refuses_and_afterwards_everything_goes_on() {
    postgres::run(async |_shared: TestDb| {
        let what = "what somebody prefers while PostgreSQL's tablespace is full";
        let Some(disk) = SmallDisk::mount(what, 48) else { return };
        let server = postgres::start(Durability::Fast).expect("PostgreSQL is there");
        let tablespace = disk.path().join("tables");
        std::fs::create_dir(&tablespace).expect("a directory");
        server.own(&tablespace);
        let at = server.create_database_in(&tablespace).await;
        let world = World::start(&at).await;
        let ada = world.join("Ada").await;
        let client = ada.client();
        let write = async |length: usize, request_id: &str| prefer(client, length, request_id).await;
        let goes_on = async |_: usize| {
            Person::sign_in(&world.anybody, &ada.email).await;
        };
        fills_up_on(&disk, &world.ready, write, goes_on).await;
        drop(world);
        drop(server);
    });
}
