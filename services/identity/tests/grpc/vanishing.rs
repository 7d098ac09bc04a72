//! A database host that vanishes at any step of a mutation: the caller hears so, others are served again, and the same
//! request id changes the account once.

use std::time::Duration;

use bursar_proto::identity::v1::UpdateMeRequest;
use bursar_runtime::Service;
use bursar_testkit::{Asking, Person, Proxy, TestDb, at_every_step, happened, postgres};
use prost_types::FieldMask;

use crate::world::World;

/// How long a call may take here.
const DEADLINE: Duration = Duration::from_secs(2);
/// What a busy machine may add to that.
const BUSY: Duration = Duration::from_secs(5);
/// As many people in turn that nobody waits for what is locked of an earlier step.
const PEOPLE: usize = 10;

#[test]
fn a_host_that_vanishes_at_any_step_of_a_change_of_an_account_loses_and_doubles_nothing() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        let mut world = World::start(&db).await;
        let mut people: Vec<Person> = Vec::new();
        for n in 0..PEOPLE {
            people.push(world.join(&format!("Somebody{n}")).await);
        }
        world.settings.stores[Service::Identity] = proxy.store_url();
        world.settings.postgres.acquire_timeout = DEADLINE;
        world.settings.limits.deadline = DEADLINE;
        let behind = world.replica().await;
        let rename = async |asking: Asking<'_>| {
            let number = usize::try_from(asking.person).unwrap();
            let number = if number < 2 { number } else { 2 + (number - 2) % (PEOPLE - 2) };
            let replica = if asking.beside { &world.anybody } else { &behind };
            let request = UpdateMeRequest {
                display_name: format!("{number} {}", asking.request_id),
                preferences: None,
                update_mask: Some(FieldMask { paths: vec!["display_name".to_owned()] }),
                request_id: asking.request_id.to_owned(),
            };
            let client = replica.with_token(&people[number].tokens.access_token);
            Ok(client.users().update_me(request).await?.into_inner().user.unwrap().display_name)
        };
        let asked = at_every_step(&proxy, DEADLINE + BUSY, rename).await;
        for request_id in asked {
            // Hers, and those of the two others whom nothing happened to, if they asked.
            let people = happened(&world.db, &request_id).await;
            assert!(people == 1 || people == 3, "{request_id}: {people}");
        }
    });
}
