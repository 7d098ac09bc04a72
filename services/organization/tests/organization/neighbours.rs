//! Neighbours at the store's connections.

use bursar_proto::organization::v1 as proto;
use bursar_testkit::goes_by;

use crate::world::{Who, World};

/// Calls of one person's that wait at once.
const CROWD: usize = 200;

async fn look(who: Who, organization: String) {
    let request = proto::ListMembersRequest { organization_id: organization, ..Default::default() };
    who.client.members().list_members(request).await.map(drop).expect("listed");
}

bursar_testkit::engines! {
    async fn one_callers_crowd_leaves_a_neighbours_calls_waiting_for_a_round(db: TestDb) {
        // So few connections that they are what is waited for.
        let world = World::start_with(db, |settings| {
            settings.postgres.connections = 2;
            settings.sqlite.readers = 2;
        })
        .await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (acme, blue) = (world.create(&ada, "Acme").await.id, world.create(&ben, "Blue").await.id);
        let hers = move || look(ada.clone(), acme.clone());
        let before = goes_by(CROWD, hers, async || look(ben.clone(), blue.clone()).await).await;
        assert!(before < CROWD / 4, "{before} of a crowd of {CROWD} went by");
    }
}
