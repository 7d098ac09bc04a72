//! A store whose disk is full (kind L), as callers see it: identity is not ready, refuses what it cannot write down, and goes on
//! once there is room again.

use bursar_db::Db;
use bursar_identity::Config;
use bursar_proto::identity::v1::UpdateMeRequest;
use bursar_rpc::Transport;
use bursar_runtime::{ReadyProbe, Service};
use bursar_testkit::sqlite::limit_pages;
use bursar_testkit::{Client, Person, Refusal, TestDb, sqlite};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::{Code, Status};

use crate::world::{World, becomes};

/// Fewer pages than there are: what there is stays, and no more is added.
const FULL: u32 = 1;
const ROOMY: u32 = 1_000_000;
/// About as long as preferences may be.
const MOST: usize = 240_000;

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
    let value = Value { kind: Some(Kind::StringValue("x".repeat(length))) };
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
        let mut length = 0;
        for round in 0..3 {
            ready.check().await.expect("ready");
            // More each time, so that what was given up before leaves no room for it. The connection may have been thrown away
            // since the limit was set, and another one knows nothing of it: then this was done.
            let (status, request_id) = loop {
                length += 40_000;
                assert!(length <= MOST, "{round}: there is always room");
                let request_id = format!("r{length}");
                limit_pages(&world.db, FULL).await;
                if let Err(status) = prefer(&client, length, &request_id).await {
                    break (status, request_id);
                }
            };
            let refusal = Refusal::of(&status);
            assert_eq!((refusal.code, refusal.retryable), (Code::Unavailable, true), "{round}: {refusal:?}");
            // The connection may have been thrown away, and another one knows nothing of the limit.
            becomes(true, || async {
                limit_pages(&world.db, FULL).await;
                ready.check().await.is_err()
            })
            .await;
            limit_pages(&world.db, ROOMY).await;
            becomes(true, || async { ready.check().await.is_ok() }).await;
            let preferred = prefer(&client, length + 1, &format!("{request_id} again")).await;
            preferred.unwrap_or_else(|status| panic!("{round}: there is room again: {status:?}"));
            prefer(&client, length, &request_id).await.expect("what was refused is done");
            Person::sign_in(&replica, &ada.email).await;
        }
    });
}
