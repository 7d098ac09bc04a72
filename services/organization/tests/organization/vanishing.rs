//! A database host that vanishes at any step of a mutation: the caller hears so, others are served again, and the same
//! request id changes the organization once.

use std::time::Duration;

use bursar_proto::organization::v1 as proto;
use bursar_runtime::{Service, Settings};
use bursar_testkit::{Asking, Client, Proxy, TestDb, at_every_step, happened, postgres};
use prost_types::FieldMask;
use tonic::Status;

use crate::world::{Who, World};

/// As many in turn that nobody waits for what is locked of an earlier step.
const ORGANIZATIONS: u64 = 10;

/// The service behind a database host that vanishes, and the same beside it, whose host does not.
pub(crate) struct Host {
    pub(crate) world: World,
    proxy: Proxy,
    behind: Client,
    deadline: Duration,
}

impl Host {
    /// Starts both on one store. `deadline` is how long a call may take behind the host.
    pub(crate) async fn start(db: TestDb, deadline: Duration, adjust: impl FnOnce(&mut Settings)) -> Self {
        let proxy = Proxy::before(&db).await;
        let world = World::start_with(db, adjust).await;
        let behind = world
            .starts_again(|settings| {
                settings.stores[Service::Organization] = proxy.store_url();
                settings.postgres.acquire_timeout = deadline;
                settings.limits.deadline = deadline;
            })
            .await;
        Self { world, proxy, behind, deadline }
    }

    /// The `n`-th person, calling where it is asked.
    pub(crate) fn who(&self, asking: &Asking<'_>, n: u64) -> Who {
        let replica = if asking.beside { &self.world.anybody } else { &self.behind };
        self.world.who_at(replica, n, &format!("u{n}@example.com"))
    }

    /// Lets the host vanish at each step of a call; see [`at_every_step`]. Gives what was asked for.
    pub(crate) async fn at_every_step<A>(&self, ask: A) -> Vec<String>
    where
        A: AsyncFn(Asking<'_>) -> Result<String, Status>,
    {
        /// What a busy machine may add to the deadline.
        const BUSY: Duration = Duration::from_secs(5);
        at_every_step(&self.proxy, self.deadline + BUSY, ask).await
    }
}

#[test]
fn a_host_that_vanishes_at_any_step_of_a_change_of_an_organization_loses_and_doubles_nothing() {
    postgres::run(async |db: TestDb| {
        let host = Host::start(db, Duration::from_secs(2), |_| ()).await;
        let world = &host.world;
        let mut organizations = Vec::new();
        for n in 0..ORGANIZATIONS {
            organizations.push(world.create(&world.who(n), &format!("Before {n}")).await.id);
        }
        let rename = async |asking: Asking<'_>| {
            let n = if asking.person < 2 { asking.person } else { 2 + (asking.person - 2) % (ORGANIZATIONS - 2) };
            let who = host.who(&asking, n);
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
        let asked = host.at_every_step(rename).await;
        for request_id in asked {
            // Hers, and those of the two others whom nothing happened to, if they asked.
            let people = happened(&world.store, &request_id).await;
            assert!(people == 1 || people == 3, "{request_id}: {people}");
        }
    });
}
