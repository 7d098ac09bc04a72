//! Kinds C and G: what is bounded by the network that calls come from, of which one holder has many places, and what many
//! networks together may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bursar_rpc::problem::reason_of;
use bursar_testkit::{Client, PASSWORD};
use tokio::task::JoinSet;

use crate::world::{World, becomes, credentials, from_address};

const EMAIL: &str = "ada@example.com";

/// Passwords that are guessed from many places, as fast as each is answered, until this is dropped.
struct Flood {
    _guesses: JoinSet<()>,
    refused: Arc<AtomicU64>,
}

impl Flood {
    /// Begins, and comes back once as many passwords are being checked as may be of these places.
    async fn of(at: &Client, places: impl Iterator<Item = String>) -> Self {
        let (mut guesses, refused) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        for (n, place) in places.enumerate() {
            let (at, refused) = (at.clone(), Arc::clone(&refused));
            guesses.spawn(async move {
                for attempt in 0..u32::MAX {
                    let guess = credentials(&format!("user{n}-{attempt}@example.com"), "a wrong one");
                    let answer = at.sessions().sign_in(from_address(&place, guess)).await;
                    let reason = answer.err().and_then(|status| reason_of(&status));
                    refused.fetch_add(u64::from(reason.as_deref() == Some("OVERLOADED")), Ordering::Relaxed);
                    // A refusal may not have waited for anything.
                    tokio::task::yield_now().await;
                }
            });
        }
        let flood = Self { _guesses: guesses, refused };
        becomes(true, || async { flood.refused.load(Ordering::Relaxed) > 0 }).await;
        flood
    }
}

async fn sign_in(at: &Client, from: &str) -> Result<(), tonic::Status> {
    at.sessions().sign_in(from_address(from, credentials(EMAIL, PASSWORD))).await.map(drop)
}

bursar_testkit::engines! {
    async fn a_flood_of_sign_ins_from_one_network_leaves_room_for_others(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let busy = world.replica_with(|config| config.waiting_hashes = 8).await;
        let _flood = Flood::of(&busy, (0..32).map(|n| format!("2001:db8:7:{n:x}::1"))).await;
        for n in 1..=8 {
            // Nobody knows her there.
            sign_in(&busy, &format!("192.0.2.{n}")).await.expect("places are left");
        }
    }

    async fn a_flood_of_sign_ins_from_many_networks_leaves_room_for_who_was_there_before(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        sign_in(&world.anybody, "192.0.2.1").await.expect("nobody else is there");
        let busy = world.replica_with(|config| config.waiting_hashes = 8).await;
        let _flood = Flood::of(&busy, (0..32).map(|n| format!("198.51.100.{n}"))).await;
        for _ in 0..8 {
            sign_in(&busy, "192.0.2.1").await.expect("places are kept");
        }
    }
}
