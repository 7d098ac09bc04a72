//! `OrganizationService`: deleting, and taking that back.

use std::collections::BTreeMap;

use bursar_id::Role;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{SnapshotRequest, UserDeleted};
use bursar_proto::event_type;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::OrganizationState::{Active, Deleted};
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::refused;
use bursar_time::Span;
use tonic::{Code, Status};

use crate::purging::{GRACE, purge_of};
use crate::world::{Who, World, accept, delete, get, invite, owned, undelete, until};

async fn list(who: &Who) -> Vec<(String, proto::OrganizationState)> {
    let listed = who.client.organizations().list_organizations(proto::ListOrganizationsRequest::default()).await;
    let organizations = listed.expect("listed").into_inner().organizations;
    organizations.into_iter().map(|it| (it.name.clone(), it.state())).collect()
}

async fn preview(world: &World, token: &str) -> Result<proto::PreviewInvitationResponse, Status> {
    let request = proto::PreviewInvitationRequest { token: token.to_owned() };
    Ok(world.anybody.invitations().preview_invitation(request).await?.into_inner())
}

/// Every event of a snapshot that tells how organizations stand.
pub(crate) async fn standings_now(world: &World) -> Vec<(String, proto::OrganizationState, bool, u64)> {
    let types = vec![event_type::ORGANIZATION_STANDING_CHANGED.to_owned()];
    let mut events = world.service(ServiceRole::Billing).organization_events();
    let mut stream = events.snapshot(SnapshotRequest { types }).await.expect("begun").into_inner();
    let mut told = Vec::new();
    while let Some(part) = stream.message().await.expect("a part") {
        told.extend(part.events.into_iter().filter_map(|event| match event.payload {
            Some(Payload::OrganizationStandingChanged(it)) => {
                Some((it.organization_id.clone(), it.state(), it.purged, it.version))
            }
            _ => None,
        }));
    }
    told
}

bursar_testkit::engines! {
    async fn an_owner_deletes_and_takes_it_back(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        let umbra = world.create(&ada, "Umbra").await;
        let ben = world.join(&ada, &acme.id, 2, Role::Admin).await;
        world.advance(Span::SECOND);
        invite(&ada, &acme.id, "cem@example.com", Role::Member).await.expect("invited");
        let token = world.mailbox.next_token("cem@example.com").await;
        assert_eq!((acme.state(), acme.purge_at), (Active, None));

        let deleted = delete(&ada, &acme).await.expect("deleted");
        let purge_at = to_timestamp(world.clock.now().saturating_add(Span::from_days(7)));
        assert_eq!((deleted.state(), deleted.purge_at, deleted.role()), (Deleted, Some(purge_at), proto::Role::Owner));
        assert_ne!(deleted.etag, acme.etag);
        assert_eq!(get(&ada, &acme.id).await.expect("shown to its owner"), deleted);
        let slug = proto::GetOrganizationRequest {
            key: Some(proto::get_organization_request::Key::Slug(acme.slug.clone())),
        };
        let by_slug = ada.client.organizations().get_organization(slug).await.expect("by its slug, too").into_inner();
        assert_eq!(by_slug.organization, Some(deleted.clone()));
        // With the personal token, its owner alone.
        assert_eq!(list(&ada).await, [("Acme".to_owned(), Deleted), ("Umbra".to_owned(), Active)]);
        assert_eq!(list(&world.acting(&ada, &umbra.id)).await, [("Umbra".to_owned(), Active)]);
        assert_eq!(list(&ben).await, []);
        let identity = world.service(ServiceRole::Identity).for_user(&world.issuer.user(ada.user).at(world.clock.now()));
        assert_eq!(list(&Who { client: identity, ..ada.clone() }).await, [("Umbra".to_owned(), Active)]);
        // What was pending has ended, for good.
        let cem = world.who_as(3, "cem@example.com");
        refused(accept(&cem, &token).await, Code::FailedPrecondition, "INVITATION_REVOKED");
        assert_eq!(preview(&world, &token).await.expect("shown").state(), proto::InvitationState::Revoked);

        let undeleted = undelete(&ada, &acme.id).await.expect("undeleted");
        assert_eq!((undeleted.state(), undeleted.purge_at), (Active, None));
        assert_eq!(get(&ben, &acme.id).await.expect("back").role(), proto::Role::Admin);
        refused(accept(&cem, &token).await, Code::FailedPrecondition, "INVITATION_REVOKED");
        assert_eq!(world.standings_of(&acme.id).await, [(Deleted, false, 1), (Active, false, 2)]);
        // The purge of the first deletion finds nothing to do.
        world.advance(Span::from_days(8));
        delete(&world.who(1), &undeleted).await.expect("deleted again");
        let late = world.clock.now().saturating_add(GRACE);
        let purged = world.at_rest().await.purge(purge_of(&acme), late).await;
        assert!(matches!(purged, Ok(false)), "{purged:?}");
        assert_eq!(world.standings_of(&acme.id).await.last(), Some(&(Deleted, false, 3)));
        assert_eq!(get(&world.who(1), &acme.id).await.expect("it is there").name, "Acme", "nothing is erased");
    }

    async fn deleting_refuses_whom_and_what_it_must(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(9));
        let acme = world.create(&ada, "Acme").await;
        let (ben, cem) =
            (world.join(&ada, &acme.id, 2, Role::Admin).await, world.join(&ada, &acme.id, 3, Role::Member).await);
        refused(delete(&eve, &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
        for who in [&ben, &cem] {
            refused(delete(who, &acme).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        }
        let ago = world.clock.now().saturating_sub(Span::from_mins(11));
        let old = world.issuer.user(ada.user).authenticated_at(ago).at(world.clock.now());
        let old = Who { client: world.anybody.with_token(&old), ..ada.clone() };
        refused(delete(&old, &acme).await, Code::FailedPrecondition, "REAUTHENTICATION_REQUIRED");
        for slug in ["", "umbra", "acme ", "acme\0", "a\u{301}cme"] {
            let other = proto::Organization { slug: slug.to_owned(), ..acme.clone() };
            let bad = refused(delete(&ada, &other).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["confirm_slug"], "{slug:?}");
        }
        let malformed = proto::Organization { id: "org_x".to_owned(), ..acme.clone() };
        refused(delete(&ada, &malformed).await, Code::InvalidArgument, "INVALID_FIELDS");
        let service = Who { client: world.service(ServiceRole::Operator), ..ada.clone() };
        refused(delete(&service, &acme).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        // A former slug is not the slug.
        let moved = proto::UpdateOrganizationRequest {
            organization_id: acme.id.clone(),
            slug: "acme-two".to_owned(),
            ..Default::default()
        };
        ada.client.organizations().update_organization(moved).await.expect("moved");
        refused(delete(&ada, &acme).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(world.standings_of(&acme.id).await, []);
        let typed = proto::Organization { slug: "ACME-Two".to_owned(), ..acme };
        delete(&ada, &typed).await.expect("upper case is folded");
        refused(delete(&ada, &typed).await, Code::PermissionDenied, "ORGANIZATION_DELETED");
    }

    async fn undeleting_refuses_whom_and_what_it_must(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(9));
        let acme = world.create(&ada, "Acme").await;
        let ben = world.join(&ada, &acme.id, 2, Role::Admin).await;
        refused(undelete(&ada, &acme.id).await, Code::FailedPrecondition, "ORGANIZATION_NOT_DELETED");
        refused(undelete(&ben, &acme.id).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(undelete(&ada, "org_x").await, Code::InvalidArgument, "INVALID_FIELDS");
        delete(&ada, &acme).await.expect("deleted");
        refused(undelete(&eve, &acme.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
        for who in [&ben, &world.acting(&ada, &acme.id)] {
            refused(undelete(who, &acme.id).await, Code::PermissionDenied, "ORGANIZATION_DELETED");
        }
        let ago = world.clock.now().saturating_sub(Span::from_mins(11));
        let old = world.issuer.user(ada.user).authenticated_at(ago).at(world.clock.now());
        let old = Who { client: world.anybody.with_token(&old), ..ada.clone() };
        refused(undelete(&old, &acme.id).await, Code::FailedPrecondition, "REAUTHENTICATION_REQUIRED");
        // A repetition has the first answer, whatever became of it since.
        let request = proto::UndeleteOrganizationRequest {
            organization_id: acme.id.clone(),
            request_id: "r1".to_owned(),
        };
        let mut client = ada.client.organizations();
        let first = client.undelete_organization(request.clone()).await.expect("undeleted").into_inner();
        delete(&ada, &acme).await.expect("deleted");
        let again = client.undelete_organization(request.clone()).await.expect("replayed").into_inner();
        assert_eq!(again, first);
        assert_eq!(get(&ada, &acme.id).await.expect("it").state(), Deleted);
        let other = proto::UndeleteOrganizationRequest { request_id: "\n".to_owned(), ..request };
        refused(client.undelete_organization(other).await, Code::InvalidArgument, "INVALID_FIELDS");
    }

    async fn what_was_deleted_is_not_owned_any_more(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        assert_eq!(owned(&world, &ada, 1).await, 1);
        delete(&ada, &acme).await.expect("deleted");
        assert_eq!(owned(&world, &ada, 2).await, 0);
        // Whoever is leaving comes to own nothing again.
        refused(undelete(&ada, &acme.id).await, Code::Unavailable, "ACCOUNT_LEAVING");
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ada.user.to_string() })).await;
        until("the owner is gone", async || {
            undelete(&ada, &acme.id).await.is_err_and(|status| status.code() == Code::Unauthenticated)
        }).await;
        assert_eq!(world.at_rest().await.ownerless(10).await.expect("looked"), [], "nothing to mend");
        // It goes its way without an owner.
        world.advance(Span::from_days(7));
        until("it is purged", async || world.standings_of(&acme.id).await.last() == Some(&(Deleted, true, 2))).await;
    }

    async fn a_snapshot_tells_of_everything_that_is_not_active(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let mut made = Vec::new();
        for name in ["Acme", "Umbra", "Zenith", "Back"] {
            made.push(world.create(&ada, name).await);
        }
        delete(&ada, &made[0]).await.expect("deleted");
        world.advance(Span::from_days(7));
        until("it is purged", async || world.standings_of(&made[0].id).await.len() == 2).await;
        let ada = world.who(1);
        delete(&ada, &made[1]).await.expect("deleted");
        delete(&ada, &made[3]).await.expect("deleted");
        undelete(&ada, &made[3].id).await.expect("undeleted");
        let expected = [(made[0].id.clone(), Deleted, true, 2), (made[1].id.clone(), Deleted, false, 1)];
        // Ids of one instant have no order.
        let by_id = |told: Vec<_>| told.into_iter().map(|(id, state, purged, version)| (id, (state, purged, version))).collect::<BTreeMap<_, _>>();
        assert_eq!(by_id(standings_now(&world).await), by_id(expected.into()));
    }
}
