//! A store whose disk is full (kind L), as callers see it: organization is not ready, refuses what it cannot write down, and goes
//! on once there is room again.

use bursar_db::Db;
use bursar_proto::organization::v1 as proto;
use bursar_runtime::ReadyProbe;
use bursar_testkit::sqlite::limit_pages;
use bursar_testkit::{Client, Refusal, TestDb, sqlite};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::{Code, Status};

use crate::world::{World, until};

/// Fewer pages than there are: what there is stays, and no more is added.
const FULL: u32 = 1;
const ROOMY: u32 = 1_000_000;
/// About as long as preferences may be.
const MOST: usize = 240_000;

/// One more organization, over connections that the test has a hand on.
async fn replica_on(world: &World, db: &Db) -> (Client, ReadyProbe) {
    let (keys, peers, env) = (world.issuer.keys(), world.peers.clone(), world.env.clone());
    world.at(bursar_organization::start_on(db.clone(), &world.settings, keys, peers, env).await.expect("starts"))
}

/// Prefers so much that it needs room.
async fn prefer(client: &Client, organization: &str, length: usize, request_id: &str) -> Result<(), Status> {
    let value = Value { kind: Some(Kind::StringValue("x".repeat(length))) };
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
        let there = world.acting_at(&replica, &ada, &acme);
        let mut length = 0;
        for round in 0..3 {
            ready.check().await.expect("ready");
            // More each time, so that what was given up before leaves no room for it. The connection may have been thrown away
            // since the limit was set, and another one knows nothing of it: then this was done.
            let (status, request_id) = loop {
                length += 40_000;
                assert!(length <= MOST, "{round}: there is always room");
                let request_id = format!("r{length}");
                limit_pages(&world.store, FULL).await;
                if let Err(status) = prefer(&there.client, &acme, length, &request_id).await {
                    break (status, request_id);
                }
            };
            let refusal = Refusal::of(&status);
            assert_eq!((refusal.code, refusal.retryable), (Code::Unavailable, true), "{round}: {refusal:?}");
            // The connection may have been thrown away, and another one knows nothing of the limit.
            until("it is not ready", || async {
                limit_pages(&world.store, FULL).await;
                ready.check().await.is_err()
            })
            .await;
            limit_pages(&world.store, ROOMY).await;
            until("it is ready again", || async { ready.check().await.is_ok() }).await;
            let other = format!("{request_id} again");
            let preferred = prefer(&there.client, &acme, length + 1, &other).await;
            preferred.unwrap_or_else(|status| panic!("{round}: there is room again: {status:?}"));
            prefer(&there.client, &acme, length, &request_id).await.expect("what was refused is done");
            world.create(&world.who_at(&replica, 2, "u2@example.com"), &format!("Studio {round}")).await;
        }
    });
}
