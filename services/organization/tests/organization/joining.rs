//! `InvitationService`, the invited person's side.

use bursar_id::Role;
use bursar_proto::organization::v1 as proto;
use bursar_testkit::refused;
use bursar_time::Span;
use tonic::{Code, Status};

use crate::world::{Who, World, accept, invite, leave, remove};

const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn preview(world: &World, token: &str) -> Result<proto::PreviewInvitationResponse, Status> {
    let request = proto::PreviewInvitationRequest { token: token.to_owned() };
    Ok(world.anybody.invitations().preview_invitation(request).await?.into_inner())
}

async fn decline(world: &World, token: &str) -> Result<(), Status> {
    let request = proto::DeclineInvitationRequest { token: token.to_owned() };
    world.anybody.invitations().decline_invitation(request).await.map(|_| ())
}

async fn accept_once(who: &Who, token: &str, request_id: &str) -> Result<proto::Member, Status> {
    let request = proto::AcceptInvitationRequest { token: token.to_owned(), request_id: request_id.to_owned() };
    Ok(who.client.invitations().accept_invitation(request).await?.into_inner().member.expect("a member"))
}

bursar_testkit::engines! {
    async fn accepting_makes_a_member_and_stays_the_same_answer(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who_as(2, "Ben@Example.com"));
        let acme = world.create(&ada, "Acme").await.id;
        invite(&ada, &acme, "ben@EXAMPLE.com", Role::Admin).await.expect("invited");
        let token = world.mailbox.next_token("ben@EXAMPLE.com").await;
        let member = accept_once(&ben, &token, "r1").await.expect("accepted");
        assert_eq!((member.role(), member.user_id.clone()), (proto::Role::Admin, ben.user.to_string()));
        assert_eq!(accept(&ben, &token).await.expect("a member still"), member);
        remove(&ada, &acme, ben.user).await.expect("removed");
        assert_eq!(accept_once(&ben, &token, "r1").await.expect("replayed"), member);
        refused(accept(&ben, &token).await, Code::FailedPrecondition, "INVITATION_SETTLED");
        assert_eq!(preview(&world, &token).await.expect("known").state(), proto::InvitationState::Accepted);
        refused(decline(&world, &token).await, Code::FailedPrecondition, "INVITATION_SETTLED");
        refused(accept_once(&ben, UNKNOWN, "r1").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let told: Vec<_> = world.told_of(ben.user).await.iter().map(|it| (it.role(), it.version)).collect();
        assert_eq!(told, [(proto::Role::Admin, 1), (proto::Role::Unspecified, 2)]);
    }

    async fn accepting_needs_the_verified_invited_address(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let acme = world.create(&ada, "Acme").await.id;
        invite(&ada, &acme, &ben.email, Role::Member).await.expect("invited");
        let token = world.mailbox.next_token(&ben.email).await;
        refused(accept(&ben, UNKNOWN).await, Code::NotFound, "NOT_FOUND");
        refused(accept(&ben, "?").await, Code::NotFound, "NOT_FOUND");
        refused(accept(&world.who(3), &token).await, Code::PermissionDenied, "INVITATION_EMAIL_MISMATCH");
        let claim = world.issuer.user(ben.user).email(&ben.email).unverified().at(world.clock.now());
        let unproven = Who { client: world.anybody.with_token(&claim), ..ben.clone() };
        refused(accept(&unproven, &token).await, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
        refused(accept_once(&ben, &token, "\n").await, Code::InvalidArgument, "INVALID_FIELDS");
        let nobody = Who { client: world.anybody.clone(), ..ben.clone() };
        refused(accept(&nobody, &token).await, Code::Unauthenticated, "TOKEN_MISSING");
        accept(&ben, &token).await.expect("nothing of it was half-done");
    }

    async fn accepting_converts_the_reservation_unless_the_plan_shrank_below_the_members(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben, cem) = (world.who(1), world.who(2), world.who(3));
        let acme = world.create(&ada, "Acme").await.id;
        world.billing.set_seats(3);
        for who in [&ben, &cem] {
            invite(&ada, &acme, &who.email, Role::Member).await.expect("invited");
        }
        let [for_ben, for_cem] = [world.mailbox.next_token(&ben.email).await, world.mailbox.next_token(&cem.email).await];
        world.billing.set_seats(2);
        world.tells_seats(&acme, 2).await;
        accept(&ben, &for_ben).await.expect("a reservation among members that fit");
        let full = refused(accept(&cem, &for_cem).await, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        let metadata = |key: &str| full.metadata.get(key).map(String::as_str);
        assert_eq!((metadata("seats"), metadata("used")), (Some("2"), Some("2")));
        leave(&ben, &acme).await.expect("left");
        accept(&cem, &for_cem).await.expect("a seat is free");
    }

    async fn what_is_over_cannot_be_accepted(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.who(2);
        invite(&ada, &acme, &ben.email, Role::Member).await.expect("invited");
        let declined = world.mailbox.next_token(&ben.email).await;
        decline(&world, &declined).await.expect("declined");
        decline(&world, &declined).await.expect("it is declined");
        refused(accept(&ben, &declined).await, Code::FailedPrecondition, "INVITATION_SETTLED");
        assert_eq!(preview(&world, &declined).await.expect("known").state(), proto::InvitationState::Declined);
        world.advance(Span::SECOND);
        let revoking = invite(&ada, &acme, &ben.email, Role::Member).await.expect("invited again");
        let revoked = world.mailbox.next_token(&ben.email).await;
        let request = proto::RevokeInvitationRequest { invitation_id: revoking.id, request_id: String::new() };
        ada.client.invitations().revoke_invitation(request).await.expect("revoked");
        refused(accept(&ben, &revoked).await, Code::FailedPrecondition, "INVITATION_REVOKED");
        refused(decline(&world, &revoked).await, Code::FailedPrecondition, "INVITATION_REVOKED");
        world.advance(Span::SECOND);
        invite(&ada, &acme, &ben.email, Role::Member).await.expect("invited once more");
        let expired = world.mailbox.next_token(&ben.email).await;
        world.advance(Span::from_days(7));
        refused(accept(&world.who(2), &expired).await, Code::FailedPrecondition, "INVITATION_EXPIRED");
        refused(decline(&world, &expired).await, Code::FailedPrecondition, "INVITATION_EXPIRED");
        assert_eq!(preview(&world, &expired).await.expect("known").state(), proto::InvitationState::Expired);
        refused(preview(&world, UNKNOWN).await, Code::NotFound, "NOT_FOUND");
        refused(decline(&world, "").await, Code::NotFound, "NOT_FOUND");
    }

    async fn a_member_with_another_address_is_one_already(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let renamed = world.who_as(2, "ben@new.org");
        invite(&ada, &acme, &renamed.email, Role::Admin).await.expect("invited");
        let token = world.mailbox.next_token(&renamed.email).await;
        refused(accept(&renamed, &token).await, Code::AlreadyExists, "ALREADY_A_MEMBER");
        leave(&ben, &acme).await.expect("left");
        assert_eq!(accept(&renamed, &token).await.expect("back").email, "ben@new.org");
    }
}
