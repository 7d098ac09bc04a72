//! Neighbours at the store's connections.

use std::time::Duration;

use bursar_proto::identity::v1::GetMeRequest;
use bursar_testkit::{Client, goes_by};

use crate::world::World;

/// Calls of one person's that wait at once.
const CROWD: usize = 200;

async fn look(client: Client) {
    client.users().get_me(GetMeRequest {}).await.map(drop).unwrap();
}

bursar_testkit::engines! {
    async fn one_callers_crowd_leaves_a_neighbours_calls_waiting_for_a_round(db: TestDb) {
        // So few connections that they are what is waited for, and nobody is refused on a busy machine.
        let world = World::start_with(&db, |settings| {
            settings.postgres.connections = 2;
            settings.sqlite.readers = 2;
            settings.postgres.acquire_timeout = Duration::from_mins(2);
            settings.limits.deadline = Duration::from_mins(2);
        })
        .await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        let (hers, his) = (ada.client().clone(), ben.client().clone());
        let before = goes_by(CROWD, move || look(hers.clone()), async || look(his.clone()).await).await;
        assert!(before < CROWD / 4, "{before} of a crowd of {CROWD} went by");
    }
}
