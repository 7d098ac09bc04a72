//! Clocks that are wrong (kind K): an organization that has one founds nothing, invites and lets in nobody, and says so.

use bursar_id::Role;
use bursar_proto::organization::v1 as proto;
use bursar_runtime::{Env, ReadyProbe};
use bursar_testkit::clocks::{APART, YEARS_APART, undecided, wrong_by};
use bursar_testkit::{Client, TestDb};
use bursar_time::Clock;
use tonic::Status;

use crate::contents::{start, upload};
use crate::library::{create, item};
use crate::world::{Who, World, accept, invite, leave, until};

/// One more organization on the same store by a clock of its own, ready or not.
async fn replica_by(world: &World, clock: Clock) -> (Client, ReadyProbe) {
    let env = Env { clock, ..world.env.clone() };
    let (keys, peers) = (world.issuer.keys(), world.peers.clone());
    world.at(bursar_organization::start_with(&world.settings, keys, peers, env).await.expect("starts"))
}

async fn found(who: &Who) -> Result<proto::Organization, Status> {
    let request = proto::CreateOrganizationRequest { name: "Studio".to_owned(), ..Default::default() };
    Ok(who.client.organizations().create_organization(request).await?.into_inner().organization.expect("founded"))
}

/// SQLite has no clock but this machine's.
#[test]
fn a_replica_whose_clock_differs_from_the_databases_decides_nothing_and_is_not_ready() {
    bursar_testkit::postgres::run(async |db: TestDb| {
        let world = World::start_by(db, Clock::system(), |_| ()).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let made = world.create(&ada, "Studio").await;
        let ada = world.acting(&ada, &made.id);
        invite(&ada, &made.id, &ben.email, Role::Member).await.expect("invited");
        let token = world.mailbox.next(&ben.email).await.token();
        let file = create(&ada.client, item(&made.id, "brand_asset", "Logo")).await.expect("made");
        for by in [APART, -APART] {
            let wrong = wrong_by(by);
            let (replica, ready) = replica_by(&world, wrong.clone()).await;
            let problem = format!("{:#}", ready.check().await.expect_err("not ready"));
            assert!(problem.contains("the database's"), "{by}: {problem}");
            // Their tokens are good by either clock.
            let there = world.acting_at(&replica, &ada, &made.id);
            let invited = world.who_at(&replica, 2, &ben.email);
            undecided("founding", found(&world.who_at(&replica, 1, &ada.email)).await);
            undecided("inviting", invite(&there, &made.id, "cleo@example.com", Role::Member).await);
            undecided("joining", accept(&invited, &token).await);
            undecided("leaving", leave(&there, &made.id).await);
            undecided("uploading", upload(&there.client, start(&file.id, b"text"), b"text").await);

            wrong.skew(0);
            wrong.follow_system();
            until("it is ready again", || async { ready.check().await.is_ok() }).await;
            found(&world.who_at(&replica, 3, "u3@example.com")).await.expect("it decides again");
        }
        accept(&world.who(2), &token).await.expect("the invitation is as it was");
    });
}

bursar_testkit::engines! {
    async fn a_clock_that_leaps_for_seconds_decides_nothing_meanwhile(db: TestDb) {
        let clock = Clock::system();
        let world = World::start_by(db, clock.clone(), |_| ()).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let made = world.create(&ada, "Studio").await;
        invite(&world.acting(&ada, &made.id), &made.id, &ben.email, Role::Member).await.expect("invited");
        let token = world.mailbox.next(&ben.email).await.token();
        clock.skew(YEARS_APART);
        // A token that is good by that clock.
        undecided("founding", found(&world.who(1)).await);
        undecided("joining", accept(&world.who(2), &token).await);
        clock.skew(0);
        until("it is ready", || async { world.ready.check().await.is_ok() }).await;
        accept(&world.who(2), &token).await.expect("an invitation of seven days is not over");
    }
}
