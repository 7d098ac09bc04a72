//! Neighbours at the store's connections.

use bursar_proto::billing::v1 as pb;
use bursar_testkit::{TestDb, engines, goes_by};

use crate::world::{Person, World};

/// Calls of one person's that wait at once.
const CROWD: usize = 200;

/// A world with so few connections that they are what is waited for.
async fn world(db: TestDb) -> World {
    World::with(db, |settings| {
        settings.postgres.connections = 2;
        settings.sqlite.readers = 2;
    })
    .await
}

async fn look(person: Person) {
    let request = pb::GetBalanceRequest { owner: person.owner.to_string(), ..Default::default() };
    person.get_balance(request).await.map(drop).unwrap();
}

engines! {
    async fn one_callers_crowd_leaves_a_neighbours_calls_waiting_for_a_round(db: TestDb) {
        let world = world(db).await;
        let (ana, ben) = (world.person_with(1, "10").await, world.person_with(2, "10").await);
        let before = goes_by(CROWD, move || look(ana.clone()), async || look(ben.clone()).await).await;
        assert!(before < CROWD / 4, "{before} of a crowd of {CROWD} went by");
    }
}
