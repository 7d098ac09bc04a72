//! Neighbours at the store's connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::goes_by;

use crate::world::{Who, World};

/// Calls of one person's that wait at once.
const CROWD: usize = 200;

/// People whose calls those are, where they are of many.
const PEOPLE: u64 = 100;

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

    async fn the_products_question_waits_for_no_round_of_the_people(db: TestDb) {
        let world = World::start_with(db, |settings| {
            settings.postgres.connections = 2;
            settings.sqlite.readers = 2;
        })
        .await;
        let mut people = Vec::new();
        for number in 1..=PEOPLE {
            let who = world.who(number);
            let organization = world.create(&who, &format!("Organization {number}")).await.id;
            people.push((who, organization));
        }
        let (user_id, organization_id) = (people[0].0.user.to_string(), people[0].1.clone());
        let (people, next) = (Arc::<[(Who, String)]>::from(people), Arc::new(AtomicUsize::new(0)));
        let theirs = move || {
            let (who, organization) = people[next.fetch_add(1, Ordering::Relaxed) % people.len()].clone();
            look(who, organization)
        };
        let product = world.service(ServiceRole::Product);
        let asks = async || {
            let request =
                proto::CheckAccessRequest { organization_id: organization_id.clone(), user_id: user_id.clone() };
            assert!(product.members().check_access(request).await.expect("asked").into_inner().member);
        };
        let before = goes_by(CROWD, theirs, asks).await;
        assert!(before < CROWD / 5, "{before} of a crowd of {CROWD} went by");
    }
}
