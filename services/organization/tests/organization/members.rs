//! `MemberService`, and transfers.

use bursar_id::{Role, UserId};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_role;
use bursar_testkit::{id, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::long_reads::suspend;
use crate::staleness::stays;
use crate::world::{Who, World, leave, remove, transfer, until};

async fn set_role(
    by: &Who,
    organization: &str,
    user: UserId,
    role: proto::Role,
    etag: &str,
) -> Result<proto::Member, Status> {
    let request = proto::UpdateMemberRoleRequest {
        organization_id: organization.to_owned(),
        user_id: user.to_string(),
        role: role.into(),
        etag: etag.to_owned(),
        request_id: String::new(),
    };
    let updated = by.client.members().update_member_role(request).await?;
    Ok(updated.into_inner().member.expect("a member"))
}

async fn get(by: &Who, organization: &str, user: &str) -> Result<proto::Member, Status> {
    let request = proto::GetMemberRequest { organization_id: organization.to_owned(), user_id: user.to_owned() };
    Ok(by.client.members().get_member(request).await?.into_inner().member.expect("a member"))
}

fn listing(organization: &str) -> proto::ListMembersRequest {
    proto::ListMembersRequest { organization_id: organization.to_owned(), ..Default::default() }
}

async fn check(world: &World, organization: &str, user: &str) -> Result<proto::CheckAccessResponse, Status> {
    let request = proto::CheckAccessRequest { organization_id: organization.to_owned(), user_id: user.to_owned() };
    Ok(world.service(ServiceRole::Product).members().check_access(request).await?.into_inner())
}

bursar_testkit::engines! {
    async fn listing_goes_in_the_order_of_joining(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(9);
        let acme = world.create(&ada, "Acme").await.id;
        for (n, role) in [(5, Role::Admin), (3, Role::Member), (7, Role::Member)] {
            world.advance(Span::SECOND);
            world.join(&ada, &acme, n, role).await;
        }
        let ben = world.who(3);
        let mut request = proto::ListMembersRequest { page_size: 3, ..listing(&acme) };
        let first = ben.client.members().list_members(request.clone()).await.expect("listed").into_inner();
        request.page_token = first.next_page_token;
        let second = ben.client.members().list_members(request.clone()).await.expect("listed").into_inner();
        assert_eq!(second.next_page_token, "");
        let members: Vec<_> = first.members.into_iter().chain(second.members).collect();
        let users: Vec<_> = members.iter().map(|member| member.user_id.clone()).collect();
        assert_eq!(users, [9, 5, 3, 7].map(|n| id::<bursar_id::kinds::User>(n).to_string()));
        assert_eq!(members[1].email, "u5@example.com");
        let only = proto::ListMembersRequest { role: proto::Role::Member.into(), ..listing(&acme) };
        assert_eq!(ben.client.members().list_members(only).await.expect("listed").into_inner().members.len(), 2);
        request.role = proto::Role::Member.into();
        refused(ben.client.members().list_members(request.clone()).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        request.role = 77;
        refused(ben.client.members().list_members(request.clone()).await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(world.who(2).client.members().list_members(request).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(ben.client.members().list_members(listing("org")).await, Code::InvalidArgument, "INVALID_FIELDS");
    }

    async fn getting_and_checking_tell_the_present(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(3));
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let ben_id = ben.user.to_string();
        let member = get(&ada, &acme, &ben_id).await.expect("a member");
        assert_eq!((member.role(), member.email.as_str()), (proto::Role::Member, "u2@example.com"));
        let token = world.issuer.user(ada.user).at(world.clock.now());
        let acting = Who { client: world.service(ServiceRole::Identity).for_user(&token), ..ada.clone() };
        assert_eq!(get(&acting, &acme, &ben_id).await.expect("for a user"), member);
        refused(get(&eve, &acme, "usr").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(get(&ada, &acme, "usr").await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(get(&ada, &acme, &eve.user.to_string()).await, Code::NotFound, "NOT_FOUND");
        let answer = |member, role: proto::Role, version| {
            let state =
                if member { proto::OrganizationState::Active } else { proto::OrganizationState::Unspecified };
            proto::CheckAccessResponse { member, role: role.into(), version, incarnation: 1, state: state.into() }
        };
        assert_eq!(check(&world, &acme, &ben_id).await.expect("told"), answer(true, proto::Role::Member, 1));
        leave(&ben, &acme).await.expect("left");
        assert_eq!(check(&world, &acme, &ben_id).await.expect("told"), answer(false, proto::Role::Unspecified, 2));
        let nobody = answer(false, proto::Role::Unspecified, 0);
        assert_eq!(check(&world, &acme, &eve.user.to_string()).await.expect("told"), nobody);
        assert_eq!(check(&world, &bursar_testkit::organization(5).to_string(), &ben_id).await.expect("told"), nobody);
        let bad = refused(check(&world, "x", "y").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["organization_id", "user_id"]);
        let request = proto::CheckAccessRequest { organization_id: acme, user_id: ben_id };
        refused(ada.client.members().check_access(request).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    }

    async fn whoever_is_suspended_has_access_nowhere_until_that_is_over(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let (ben_id, nobody) = (ben.user.to_string(), world.who(3));
        let before = check(&world, &acme, &ben_id).await.expect("told");
        assert_eq!((before.member, before.role(), before.version), (true, proto::Role::Admin, 1));
        for who in [&ben, &nobody] {
            suspend(&world, who).await;
        }
        let suspended = check(&world, &acme, &ben_id).await.expect("told");
        // The version of nothing that anybody remembers: the membership has not changed.
        let closed = proto::CheckAccessResponse {
            member: false,
            role: proto::Role::Unspecified.into(),
            version: 0,
            ..before
        };
        assert_eq!(suspended, closed);
        let stranger = check(&world, &acme, &nobody.user.to_string()).await.expect("told");
        assert_eq!((stranger.member, stranger.state()), (false, proto::OrganizationState::Unspecified));
        assert!(check(&world, &acme, &ada.user.to_string()).await.expect("told").member, "nobody else is meant");
        world.identity_tells(stays(ben.user, 2)).await;
        until("he has access again", async || check(&world, &acme, &ben_id).await.expect("told") == before).await;
    }

    async fn roles_change_by_the_rules(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        let eve = world.who(4);
        let (admin, member, owner) = (proto::Role::Admin, proto::Role::Member, proto::Role::Owner);
        refused(set_role(&eve, &acme, cem.user, owner, "").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(set_role(&cem, &acme, cem.user, admin, "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(set_role(&ben, &acme, ben.user, member, "").await, Code::PermissionDenied, "OWN_ROLE");
        refused(set_role(&ada, &acme, ada.user, admin, "").await, Code::PermissionDenied, "OWN_ROLE");
        refused(set_role(&ben, &acme, ada.user, member, "").await, Code::FailedPrecondition, "OWNER_MUST_TRANSFER");
        refused(set_role(&ada, &acme, eve.user, member, "").await, Code::NotFound, "NOT_FOUND");
        for role in [owner, proto::Role::Unspecified] {
            let bad = refused(set_role(&ada, &acme, cem.user, role, "").await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["role"]);
        }
        let before = get(&ada, &acme, &cem.user.to_string()).await.expect("a member");
        let promoted = set_role(&ben, &acme, cem.user, admin, &before.etag).await.expect("promoted");
        assert_eq!(promoted.role(), admin);
        assert_eq!(set_role(&ben, &acme, cem.user, admin, "").await.expect("no change"), promoted);
        refused(set_role(&ben, &acme, cem.user, member, &before.etag).await, Code::Aborted, "ETAG_MISMATCH");
        set_role(&cem, &acme, ben.user, member, "").await.expect("the promotion holds at once");
        refused(set_role(&ben, &acme, cem.user, member, "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let told: Vec<_> = world.told_of(cem.user).await.iter().map(|it| (it.role(), it.version)).collect();
        assert_eq!(told, [(member, 1), (admin, 2)]);
    }

    async fn leaving_and_removing_end_a_membership_whose_version_grows_on(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        let eve = world.who(4);
        refused(remove(&eve, &acme, cem.user).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(remove(&cem, &acme, ben.user).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(remove(&ben, &acme, ada.user).await, Code::FailedPrecondition, "OWNER_MUST_TRANSFER");
        refused(leave(&ada, &acme).await, Code::FailedPrecondition, "OWNER_MUST_TRANSFER");
        refused(remove(&ada, &acme, eve.user).await, Code::NotFound, "NOT_FOUND");
        refused(leave(&eve, &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(leave(&ben, "org_").await, Code::InvalidArgument, "INVALID_FIELDS");
        remove(&ben, &acme, cem.user).await.expect("removed");
        refused(get(&cem, &acme, "").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(remove(&ben, &acme, cem.user).await, Code::NotFound, "NOT_FOUND");
        let request = proto::LeaveOrganizationRequest { organization_id: acme.clone(), request_id: "r1".to_owned() };
        ben.client.members().leave_organization(request.clone()).await.expect("left");
        // Whoever is no member any more is told so, whatever is repeated: standing comes before replays.
        refused(ben.client.members().leave_organization(request).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(leave(&ben, &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
        world.join(&ada, &acme, 3, Role::Admin).await;
        let told: Vec<_> = world.told_of(cem.user).await.into_iter().map(|it| (it.role(), it.version)).collect();
        assert_eq!(told, [
            (proto::Role::Member, 1),
            (proto::Role::Unspecified, 2),
            (proto::Role::Admin, 3),
        ]);
    }

    async fn transferring_swaps_the_roles_in_one_commit(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let cem = world.join(&ada, &acme, 3, Role::Admin).await;
        let eve = world.who(4);
        refused(transfer(&eve, &acme, ben.user).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(transfer(&cem, &acme, cem.user).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(transfer(&ada, &acme, eve.user).await, Code::NotFound, "NOT_FOUND");
        refused(transfer(&ada, &acme, ada.user).await, Code::FailedPrecondition, "ALREADY_OWNER");
        let mut request = proto::TransferOwnershipRequest {
            organization_id: acme.clone(),
            user_id: "usr".to_owned(),
            request_id: "r1".to_owned(),
        };
        refused(ada.client.organizations().transfer_ownership(request.clone()).await, Code::InvalidArgument, "INVALID_FIELDS");
        request.user_id = ben.user.to_string();
        let first = ada.client.organizations().transfer_ownership(request.clone()).await.expect("transferred").into_inner();
        let organization = first.organization.expect("an organization");
        assert_eq!((organization.owner_user_id, organization.role), (ben.user.to_string(), to_role(Role::Admin).into()));
        // The caller may not any more, and standing comes before replays.
        refused(ada.client.organizations().transfer_ownership(request.clone()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(transfer(&ada, &acme, cem.user).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        assert_eq!(get(&cem, &acme, &ada.user.to_string()).await.expect("a member").role(), proto::Role::Admin);
        assert_eq!(get(&cem, &acme, &ben.user.to_string()).await.expect("a member").role(), proto::Role::Owner);
        leave(&ada, &acme).await.expect("who is not the owner any more can leave");
        let last = |told: Vec<bursar_proto::event::v1::MembershipChanged>| told.last().map(|it| (it.role(), it.version));
        assert_eq!(last(world.told_of(ben.user).await), Some((proto::Role::Owner, 2)));
        assert_eq!(last(world.told_of(ada.user).await), Some((proto::Role::Unspecified, 3)));
    }
}
