//! A database host that vanishes at any step of a mutation: the caller hears so, others are served again, and the same
//! request id changes the organization once.

use std::time::Duration;

use bursar_db::{Db, DbError, on};
use bursar_proto::organization::v1 as proto;
use bursar_runtime::Service;
use bursar_testkit::{Asking, Proxy, TestDb, at_every_step, postgres};
use prost_types::FieldMask;

use crate::world::World;

/// How long a call may take here.
const DEADLINE: Duration = Duration::from_secs(2);
/// What a busy machine may add to that.
const BUSY: Duration = Duration::from_secs(5);
/// As many in turn that nobody waits for what is locked of an earlier step.
const ORGANIZATIONS: u64 = 10;

/// How often it happened under this request id.
async fn happened(store: &Db, request_id: &str) -> i64 {
    let counted: Result<(i64,), DbError> = async {
        let count = "SELECT count(*) FROM audit WHERE request_id = $1 AND outcome = 'DONE'";
        let mut tx = store.read().await?;
        Ok(on!(&mut tx, c => sqlx::query_as(count).bind(request_id).fetch_one(c).await?))
    }
    .await;
    counted.expect("counted").0
}

#[test]
fn a_host_that_vanishes_at_any_step_of_a_change_of_an_organization_loses_and_doubles_nothing() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        let world = World::start(db).await;
        let behind = world
            .starts_again(|settings| {
                settings.stores[Service::Organization] = proxy.store_url();
                settings.postgres.acquire_timeout = DEADLINE;
                settings.limits.deadline = DEADLINE;
            })
            .await;
        let mut organizations = Vec::new();
        for n in 0..ORGANIZATIONS {
            organizations.push(world.create(&world.who(n), &format!("Before {n}")).await.id);
        }
        let rename = async |asking: Asking<'_>| {
            let n = if asking.person < 2 { asking.person } else { 2 + (asking.person - 2) % (ORGANIZATIONS - 2) };
            let replica = if asking.beside { &world.anybody } else { &behind };
            let who = world.who_at(replica, n, &format!("u{n}@example.com"));
            let request = proto::UpdateOrganizationRequest {
                organization_id: organizations[usize::try_from(n).expect("few")].clone(),
                name: format!("{n} {}", asking.request_id),
                update_mask: Some(FieldMask { paths: vec!["name".to_owned()] }),
                request_id: asking.request_id.to_owned(),
                ..Default::default()
            };
            let renamed = who.client.organizations().update_organization(request).await?.into_inner();
            Ok(renamed.organization.expect("an organization").name)
        };
        let asked = at_every_step(&proxy, DEADLINE + BUSY, rename).await;
        for request_id in asked {
            // Hers, and those of the two others whom nothing happened to, if they asked.
            let people = happened(&world.store, &request_id).await;
            assert!(people == 1 || people == 3, "{request_id}: {people}");
        }
    });
}
