//! What identity's events do, and who may follow organization's.

use bursar_id::Role;
use bursar_organization::store::memberships::{self, Joining};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{UserDeleted, UserUpdated, WatchRequest};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::refused;
use bursar_time::Span;
use tonic::Code;

use crate::world::{World, accept, invite, until};

async fn members(world: &World, organization: &str) -> Vec<(String, String)> {
    let request = proto::ListMembersRequest { organization_id: organization.to_owned(), ..Default::default() };
    let listed = world.who(1).client.members().list_members(request).await.expect("listed");
    listed.into_inner().members.into_iter().map(|it| (it.user_id, it.display_name)).collect()
}

bursar_testkit::engines! {
    async fn names_are_remembered_before_and_after_joining(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let ben = world.who(2);
        let called = |who: &crate::world::Who, name: &str| Payload::UserUpdated(UserUpdated {
            user_id: who.user.to_string(),
            display_name: name.to_owned(),
        });
        world.identity_tells(called(&ben, "Ben")).await;
        let acme = world.create(&ada, "Acme").await.id;
        world.join(&ada, &acme, 2, Role::Member).await;
        world.identity_tells(called(&ada, "Ada")).await;
        let expected = [(ada.user.to_string(), "Ada".to_owned()), (ben.user.to_string(), "Ben".to_owned())];
        until("both names are known", async || members(&world, &acme).await == expected).await;
    }

    async fn a_deleted_account_is_seen_off_and_cannot_come_back(db: TestDb) {
        // One person invites the same address four times.
        let world = World::start_with(db, |settings| settings.invitations.max_per_day_to_address = 10).await;
        let ada = world.who(1);
        let mut owned = Vec::new();
        for name in ["Acme", "Umbra", "Zenith"] {
            owned.push(world.create(&ada, name).await.id);
            world.join(&ada, owned.last().unwrap(), 2, Role::Admin).await;
        }
        let ben = world.who(2);
        let other = world.create(&ada, "Other").await.id;
        world.advance(Span::SECOND);
        let pending = invite(&ada, &other, &ben.email, Role::Member).await.expect("invited");
        let token = world.mailbox.next_token(&ben.email).await;
        let gone = Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() });
        world.identity_tells(gone.clone()).await;
        until("every membership has ended", async || {
            world.told_of(ben.user).await.iter().filter(|it| it.role() == proto::Role::Unspecified).count() == 3
        }).await;
        for id in &owned {
            assert_eq!(members(&world, id).await.len(), 1);
        }
        refused(accept(&ben, &token).await, Code::Unauthenticated, "SESSION_ENDED");
        let request = proto::CreateOrganizationRequest { name: "Late".to_owned(), ..Default::default() };
        refused(ben.client.organizations().create_organization(request).await, Code::Unauthenticated, "SESSION_ENDED");
        let request = proto::ListInvitationsRequest { organization_id: other, ..Default::default() };
        until("the pending one is taken back, without the address", async || {
            let listed = ada.client.invitations().list_invitations(request.clone()).await.expect("listed").into_inner();
            let told = &listed.invitations[0];
            assert_eq!(told.id, pending.id);
            told.email.is_empty() && told.state() == proto::InvitationState::Revoked
        }).await;
        world.identity_tells(gone).await;
        assert_eq!(world.told_of(ben.user).await.len(), 6, "three joinings, three endings");
    }

    async fn somebody_of_more_organizations_than_one_attempt_ends_leaves_all_but_the_own(db: TestDb) {
        let world = World::start_with(db, |settings| settings.organizations.max_created_per_day = 1_000).await;
        let (ada, ben) = (world.who(1), world.who(2));
        // The first of the list.
        let own = world.create(&ben, "Own").await.id;
        world.advance(Span::SECOND);
        let mut others = Vec::new();
        for n in 0..101 {
            others.push(world.create(&ada, &format!("Other {n}")).await.id.parse().expect("an organization"));
        }
        let mut tx = world.store.begin().await.expect("a transaction");
        for organization in others {
            let joining = Joining { organization, user: ben.user, role: Role::Member, email: &ben.email, email_key: &ben.email };
            memberships::join(&mut tx, &joining, world.clock.now()).await.expect("joined");
        }
        tx.commit().await.expect("seated");
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() })).await;
        until("only the own is left", async || {
            let mut tx = world.store.read().await.expect("a snapshot");
            let left = memberships::of_user(&mut tx, ben.user).await.expect("read");
            left == [(own.parse().expect("an organization"), Role::Owner)]
        }).await;
    }

    async fn an_owner_stays_whatever_identity_says(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        for user in [&ada, &ben] {
            world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: user.user.to_string() })).await;
        }
        until("the member is gone", async || members(&world, &acme).await.len() == 1).await;
        assert_eq!(world.told_of(ada.user).await.len(), 1, "the organization keeps its owner");
    }

    async fn only_services_follow_the_events(db: TestDb) {
        let world = World::start(db).await;
        let watch = WatchRequest::default();
        let user = world.who(1).client.organization_events().watch(watch.clone()).await.map(|_| ());
        refused(user, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        let nobody = world.anybody.organization_events().watch(watch.clone()).await.map(|_| ());
        refused(nobody, Code::Unauthenticated, "TOKEN_MISSING");
        for role in ServiceRole::ALL {
            world.service(role).organization_events().watch(watch.clone()).await.expect("every service may");
        }
        let foreign = WatchRequest { cursor: "identity.1".to_owned(), ..watch };
        let foreign = world.service(ServiceRole::Billing).organization_events().watch(foreign).await.map(|_| ());
        refused(foreign, Code::InvalidArgument, "CURSOR_INVALID");
    }
}
