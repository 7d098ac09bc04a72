//! Somebody leaves Bursar: whoever owns something does not, and whoever leaves comes to own nothing any more.

use std::collections::BTreeMap;

use bursar_db::on;
use bursar_id::{OwnerId, Role, UserId};
use bursar_organization::store::projects::{self, ProjectRow};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{UserDeleted, UserStandingChanged, UserStaying};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, columns_with, id, refused};
use tonic::{Code, Status};

use crate::library::{create as create_item, item};
use crate::long_reads::suspend;
use crate::world::{Who, World, accept, get, invite, leave, transfer, until};

/// Asks, as identity does, whether somebody may leave.
async fn confirm(
    world: &World,
    who: &Who,
    incarnation: u64,
    number: u64,
) -> Result<proto::ConfirmDepartureResponse, Status> {
    let request =
        proto::ConfirmDepartureRequest { user_id: who.user.to_string(), incarnation, number, ..Default::default() };
    let identity = world.service(ServiceRole::Identity);
    Ok(identity.members().confirm_departure(request).await?.into_inner())
}

async fn create(who: &Who) -> Result<(), Status> {
    let request = proto::CreateOrganizationRequest { name: "Late".to_owned(), ..Default::default() };
    who.client.organizations().create_organization(request).await.map(drop)
}

/// Lets identity tell that a departure is over, and waits until that is known.
async fn stays(world: &World, who: &Who, number: u64) {
    world.identity_tells(Payload::UserStaying(UserStaying { user_id: who.user.to_string(), number })).await;
    until("it is known that somebody stays", async || create(who).await.is_ok()).await;
}

/// Everything that somebody who is leaving, or may have left, is refused, by whoever asks for it.
pub(crate) async fn every_way(world: &World, ada: &Who, ben: &Who, acme: &str, token: &str) -> Vec<Result<(), Status>> {
    let acting = world.acting(ben, acme);
    let project = proto::CreateProjectRequest { owner: acme.to_owned(), name: "P".to_owned(), ..Default::default() };
    let personal =
        proto::CreateProjectRequest { owner: ben.user.to_string(), name: "P".to_owned(), ..Default::default() };
    let rename = proto::UpdateOrganizationRequest {
        organization_id: acme.to_owned(),
        name: "Evil".to_owned(),
        ..Default::default()
    };
    let owners = world.acting(ada, acme);
    let own = owners.client.projects().create_project(project.clone()).await.expect("made").into_inner();
    let reassign = proto::ReassignProjectRequest {
        project_id: own.project.expect("a project").id,
        user_id: ben.user.to_string(),
        ..Default::default()
    };
    vec![
        create(ben).await,
        accept(ben, token).await.map(drop),
        invite(ben, acme, "eve@example.com", Role::Member).await.map(drop),
        leave(ben, acme).await,
        ben.client.organizations().update_organization(rename).await.map(drop),
        acting.client.projects().create_project(project).await.map(drop),
        ben.client.projects().create_project(personal).await.map(drop),
        transfer(ada, acme, ben.user).await.map(drop),
        owners.client.projects().reassign_project(reassign).await.map(drop),
    ]
}

/// Ada and Ben, an organization of hers where he is an Admin, and what he is invited to another one with.
async fn two_of_adas(world: &World) -> (Who, Who, String, String) {
    let ada = world.who(1);
    let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
    let ben = world.join(&ada, &acme, 2, Role::Admin).await;
    world.advance(bursar_time::Span::SECOND);
    invite(&ada, &umbra, &ben.email, Role::Member).await.expect("invited");
    let token = world.mailbox.next_token(&ben.email).await;
    (ada, ben, acme, token)
}

/// Projects by whose they are and who is responsible.
async fn assigned(world: &World, owner: OwnerId) -> BTreeMap<UserId, usize> {
    let mut tx = world.store.read().await.expect("a snapshot");
    let mut found = BTreeMap::new();
    for row in projects::list(&mut tx, owner, None, 1_000).await.expect("read") {
        *found.entry(row.assigned_to).or_default() += 1;
    }
    found
}

/// The addresses and states of an organization's invitations, in their order.
async fn invitations(who: &Who, organization: &str) -> Vec<(String, proto::InvitationState)> {
    let request = proto::ListInvitationsRequest { organization_id: organization.to_owned(), ..Default::default() };
    let listed = who.client.invitations().list_invitations(request).await.expect("listed").into_inner();
    let mut told: Vec<_> = listed.invitations.into_iter().map(|it| (it.email.clone(), it.state())).collect();
    told.sort_unstable();
    told
}

/// Writes projects of a context that somebody is responsible for.
async fn projects_of(world: &World, owner: OwnerId, who: &Who, from: u64, count: u64) {
    let mut tx = world.store.begin().await.expect("a transaction");
    for n in from..from + count {
        let row = ProjectRow {
            id: id(n),
            owner,
            name: "P".to_owned(),
            description: String::new(),
            created_by: who.user,
            assigned_to: who.user,
            version: 1,
            created_at: world.clock.now(),
            updated_at: world.clock.now(),
        };
        projects::insert(&mut tx, &row).await.expect("inserted");
    }
    tx.commit().await.expect("committed");
}

bursar_testkit::engines! {
    async fn whoever_is_leaving_comes_to_own_nothing_and_changes_nothing(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben, acme, token) = two_of_adas(&world).await;
        let confirmed = confirm(&world, &ben, 1, 1).await.expect("confirmed");
        assert_eq!((confirmed.organizations, confirmed.organization_ids.len()), (0, 0));
        assert_eq!(confirm(&world, &ben, 1, 1).await.expect("again"), confirmed);
        for (n, outcome) in every_way(&world, &ada, &ben, &acme, &token).await.into_iter().enumerate() {
            let refusal = Refusal::of(&outcome.expect_err("is leaving"));
            let expected = if n < 7 { (Code::Unavailable, "ACCOUNT_LEAVING") } else { (Code::FailedPrecondition, "MEMBER_LEAVING") };
            assert_eq!((refusal.code, refusal.reason.as_str()), expected, "{n}: {refusal:#?}");
        }
        // Taken back, everything works again.
        stays(&world, &ben, 1).await;
        for (n, outcome) in every_way(&world, &ada, &ben, &acme, &token).await.into_iter().enumerate() {
            // Ben has left after the fourth.
            match n {
                0..=3 | 6 => outcome.unwrap_or_else(|status| panic!("{n}: {status:?}")),
                _ => drop(outcome),
            }
        }
        assert_eq!(confirm(&world, &ben, 1, 1).await.expect("told").organizations, 2, "owns what was made since");
    }

    async fn whoever_is_suspended_comes_to_own_nothing_and_to_answer_for_nothing(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben, acme, token) = two_of_adas(&world).await;
        suspend(&world, &ben).await;
        until("no call of his is served", async || {
            get(&ben, &acme).await.is_err_and(|status| Refusal::of(&status).reason == "USER_SUSPENDED")
        }).await;
        for (n, outcome) in every_way(&world, &ada, &ben, &acme, &token).await.into_iter().enumerate() {
            let refusal = Refusal::of(&outcome.expect_err("is suspended"));
            assert_eq!((refusal.code, refusal.reason.as_str()), (Code::PermissionDenied, "USER_SUSPENDED"), "{n}: {refusal:#?}");
        }
        let product = world.service(ServiceRole::Product);
        for owner in [acme.clone(), ben.user.to_string()] {
            let new = proto::CreateItemRequest { member: ben.user.to_string(), ..item(&owner, "agent", "New") };
            refused(create_item(&product, new).await, Code::PermissionDenied, "USER_SUSPENDED");
        }
        // Back again, the same is his.
        world.identity_tells(crate::staleness::stays(ben.user, 2)).await;
        until("his calls are served", async || get(&ben, &acme).await.is_ok()).await;
        let new = proto::CreateItemRequest { member: ben.user.to_string(), ..item(&acme, "agent", "New") };
        create_item(&product, new).await.expect("written for him");
        assert_eq!(transfer(&ada, &acme, ben.user).await.expect("transferred").owner_user_id, ben.user.to_string());
    }

    async fn whoever_owns_something_is_told_what_and_stays(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let mut owned = Vec::new();
        for n in 0..25 {
            owned.push(world.create(&ada, &format!("Acme {n}")).await.id);
        }
        owned.sort_unstable();
        for number in 1..=2 {
            let told = confirm(&world, &ada, 1, number).await.expect("told");
            assert_eq!((told.organizations, told.organization_ids.as_slice()), (25, &owned[..20]));
        }
        create(&ada).await.expect("goes on");
        // That departure is over, also when nothing stands in its way any more.
        let acme = world.create(&ben, "Ben's").await.id;
        assert_eq!(confirm(&world, &ben, 1, 1).await.expect("told").organizations, 1);
        world.join(&ben, &acme, 3, Role::Member).await;
        transfer(&ben, &acme, world.who(3).user).await.expect("transferred");
        refused(confirm(&world, &ben, 1, 1).await, Code::Aborted, "DEPARTURE_TAKEN_BACK");
        create(&ben).await.expect("is not leaving");
        let told = confirm(&world, &ben, 1, 2).await.expect("told");
        assert_eq!(told.organizations, 1, "the one just made");
    }

    async fn a_late_call_of_a_departure_that_is_over_marks_nobody(db: TestDb) {
        let world = World::start(db).await;
        let ben = world.who(2);
        stays(&world, &ben, 3).await;
        let after = world.who(3);
        world.identity_tells(Payload::UserStaying(UserStaying { user_id: after.user.to_string(), number: 2 })).await;
        until("it is known", async || confirm(&world, &after, 1, 2).await.is_err()).await;
        for number in 1..=2 {
            refused(confirm(&world, &after, 1, number).await, Code::Aborted, "DEPARTURE_TAKEN_BACK");
        }
        create(&after).await.expect("stays");
        // The next one counts, and a word about the one before does not lift it.
        let carl = world.who(4);
        confirm(&world, &carl, 1, 2).await.expect("confirmed");
        world.identity_tells(Payload::UserStaying(UserStaying { user_id: carl.user.to_string(), number: 1 })).await;
        let dora = world.who(5);
        confirm(&world, &dora, 1, 1).await.expect("confirmed");
        stays(&world, &dora, 1).await;
        refused(create(&carl).await, Code::Unavailable, "ACCOUNT_LEAVING");
    }

    async fn a_restored_identity_knows_nothing_of_departures_or_begins_them_anew(db: TestDb) {
        let world = World::start(db).await;
        let (ben, carl) = (world.who(2), world.who(3));
        for who in [&ben, &carl] {
            confirm(&world, who, 1, 7).await.expect("confirmed");
        }
        bursar_events::begin_incarnation(&world.identity_db, world.clock.now()).await.expect("restored");
        until("nobody is leaving any more", async || create(&ben).await.is_ok()).await;
        create(&carl).await.expect("nor is anybody else");
        let dora = world.who(4);
        confirm(&world, &dora, 2, 1).await.expect("confirmed");
        refused(confirm(&world, &dora, 1, 9).await, Code::Aborted, "DEPARTURE_TAKEN_BACK");
        refused(create(&dora).await, Code::Unavailable, "ACCOUNT_LEAVING");
    }

    async fn whoever_is_gone_stays_gone(db: TestDb) {
        let world = World::start(db).await;
        let ben = world.who(2);
        confirm(&world, &ben, 1, 1).await.expect("confirmed");
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() })).await;
        until("it is known", async || {
            create(&ben).await.is_err_and(|status| status.code() == Code::Unauthenticated)
        }).await;
        confirm(&world, &ben, 1, 1).await.expect("the same answer");
        world.identity_tells(Payload::UserStaying(UserStaying { user_id: ben.user.to_string(), number: 1 })).await;
        stays(&world, &world.who(3), 1).await;
        refused(create(&ben).await, Code::Unauthenticated, "SESSION_ENDED");
    }

    async fn how_somebody_stood_is_forgotten_with_the_account(db: TestDb) {
        let world = World::start(db).await;
        let (ben, carl) = (world.who(2), world.who(3));
        let suspended = async || {
            let mut tx = world.store.read().await.expect("begins");
            let known = bursar_members::standings::between(&mut tx, (None, None), 9).await.expect("reads");
            known.into_iter().map(|(owner, ..)| owner).collect::<Vec<_>>()
        };
        for who in [&ben, &carl] {
            let changed = UserStandingChanged { user_id: who.user.to_string(), suspended: true, version: 1 };
            world.identity_tells(Payload::UserStandingChanged(changed)).await;
        }
        let both = [OwnerId::User(ben.user), OwnerId::User(carl.user)];
        until("both are known to be suspended", async || suspended().await == both).await;
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() })).await;
        until("he is forgotten", async || suspended().await == both[1..]).await;
    }

    async fn the_address_of_the_dead_leaves_every_invitation(db: TestDb) {
        use proto::InvitationState::{Accepted, Pending, Revoked};
        // One person invites the same address five times.
        let world = World::start_with(db, |settings| settings.invitations.max_per_day_to_address = 10).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let carl = world.join(&ada, &acme, 3, Role::Member).await;
        let first = invite(&ada, &umbra, &ben.email, Role::Member).await.expect("invited");
        let revoke = proto::RevokeInvitationRequest { invitation_id: first.id, ..Default::default() };
        ada.client.invitations().revoke_invitation(revoke).await.expect("revoked");
        let pending = invite(&ada, &umbra, &ben.email, Role::Member).await.expect("invited");
        invite(&ada, &umbra, "dora@example.com", Role::Member).await.expect("invited");
        let azur = world.create(&ada, "Azur").await.id;
        let late = invite(&ada, &azur, &ben.email, Role::Member).await.expect("invited");
        let mut tx = world.store.begin().await.expect("begins");
        let expire = async { Ok::<_, bursar_db::DbError>(on!(&mut tx, c => sqlx::query("UPDATE invitations SET state = 'EXPIRED' WHERE id = $1").bind(&late.id).execute(c).await?.rows_affected())) };
        assert_eq!(expire.await.expect("expired"), 1);
        tx.commit().await.expect("commits");
        let held = columns_with(&world.store, &ben.email).await;
        for column in ["invitations.email", "invitations.email_key", "memberships.email"] {
            assert!(held.iter().any(|it| it == column), "{held:?}");
        }
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() })).await;
        until("the address is nowhere any more", async || columns_with(&world.store, &ben.email).await.is_empty()).await;
        let accepted = [("", Accepted), (carl.email.as_str(), Accepted)];
        assert_eq!(invitations(&ada, &acme).await, accepted.map(|(email, state)| (email.to_owned(), state)));
        let left = [("", Revoked), ("", Revoked), ("dora@example.com", Pending)];
        assert_eq!(invitations(&ada, &umbra).await, left.map(|(email, state)| (email.to_owned(), state)));
        assert_eq!(invitations(&ada, &azur).await, [(String::new(), Revoked)], "what could be sent again is not");
        // What has no address is not sent again; and the address may be somebody else's one day.
        let again = proto::ResendInvitationRequest { invitation_id: pending.id, ..Default::default() };
        let again = ada.client.invitations().resend_invitation(again).await;
        refused(again, Code::FailedPrecondition, "INVITATION_REVOKED");
        invite(&ada, &umbra, &ben.email, Role::Member).await.expect("invited anew");
    }

    async fn what_waits_to_be_mailed_to_the_dead_goes_with_them(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let waiting = async || {
            let mut tx = world.store.read().await.expect("a snapshot");
            let count = "SELECT COUNT(*) FROM jobs WHERE kind = 'mail'";
            let (waiting,): (i64,) = on!(&mut tx, c => sqlx::query_as(count).fetch_one(c).await.expect("counted"));
            waiting
        };
        until("all is delivered", async || waiting().await == 0).await;
        // Nothing can be delivered from now on.
        let post = world.settings.data_dir.join("mail");
        std::fs::rename(&post, world.settings.data_dir.join("delivered")).expect("moved");
        std::fs::write(&post, "").expect("written");
        invite(&ada, &umbra, &ben.email, Role::Member).await.expect("invited");
        invite(&ada, &umbra, "dora@example.com", Role::Member).await.expect("invited");
        assert_eq!(waiting().await, 2);
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() })).await;
        until("hers alone is left", async || waiting().await == 1).await;
    }

    async fn only_identity_asks(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let request = |number| proto::ConfirmDepartureRequest { user_id: ada.user.to_string(), incarnation: 1, number, ..Default::default() };
        refused(ada.client.members().confirm_departure(request(1)).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(world.anybody.members().confirm_departure(request(1)).await, Code::Unauthenticated, "TOKEN_MISSING");
        for role in ServiceRole::ALL.into_iter().filter(|role| *role != ServiceRole::Identity) {
            let outcome = world.service(role).members().confirm_departure(request(1)).await;
            refused(outcome, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        let identity = world.service(ServiceRole::Identity);
        let bad = identity.members().confirm_departure(proto::ConfirmDepartureRequest::default()).await;
        assert_eq!(refused(bad, Code::InvalidArgument, "INVALID_FIELDS").fields, ["number", "user_id"]);
        create(&ada).await.expect("nobody has marked anybody");
    }

    async fn projects_of_the_dead_go_to_the_owner_and_the_personal_ones_end(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        world.join(&ada, &umbra, 2, Role::Member).await;
        let carl = world.join(&ada, &acme, 3, Role::Member).await;
        let [acme_id, umbra_id] = [&acme, &umbra].map(|id| OwnerId::Organization(id.parse().expect("an id")));
        let personal = OwnerId::User(ben.user);
        projects_of(&world, acme_id, &ben, 1, 250).await;
        projects_of(&world, acme_id, &carl, 1_001, 3).await;
        projects_of(&world, umbra_id, &ben, 2_001, 2).await;
        projects_of(&world, personal, &ben, 3_001, 250).await;
        // Whoever merely leaves stays responsible.
        leave(&carl, &acme).await.expect("left");
        leave(&ben, &umbra).await.expect("left");
        assert_eq!(assigned(&world, acme_id).await, BTreeMap::from([(ben.user, 250), (carl.user, 3)]));
        assert_eq!(assigned(&world, umbra_id).await, BTreeMap::from([(ben.user, 2)]));
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() })).await;
        until("the personal projects are erased", async || assigned(&world, personal).await.is_empty()).await;
        until("the others have another one", async || {
            assigned(&world, acme_id).await == BTreeMap::from([(ada.user, 250), (carl.user, 3)])
                && assigned(&world, umbra_id).await == BTreeMap::from([(ada.user, 2)])
        }).await;
        // That the personal ones are gone is told; of the others nothing is, which are their organizations' as before.
        let told = world.told_of_projects().await;
        assert!(told.iter().all(|it| it.deleted && it.owner == ben.user.to_string()), "{told:?}");
        assert_eq!(told.len(), 250);
        // A token outlives its account.
        let project = proto::CreateProjectRequest { owner: ben.user.to_string(), name: "P".to_owned(), ..Default::default() };
        refused(ben.client.projects().create_project(project).await, Code::Unauthenticated, "SESSION_ENDED");
    }
}
