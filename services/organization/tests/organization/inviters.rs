//! An invitation as Admin is only as good as whoever sent it; and nobody takes two seats.

use bursar_id::Role;
use bursar_proto::event::v1::UserDeleted;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_role;
use bursar_testkit::refused;
use bursar_time::Span;
use tonic::{Code, Status};

use crate::long_reads::suspend;
use crate::world::{Who, World, accept, invite, leave, remove, until};

async fn resend(by: &Who, id: &str) -> Result<(), Status> {
    let request = proto::ResendInvitationRequest { invitation_id: id.to_owned(), ..Default::default() };
    by.client.invitations().resend_invitation(request).await.map(drop)
}

async fn revoke(by: &Who, id: &str) {
    let request = proto::RevokeInvitationRequest { invitation_id: id.to_owned(), ..Default::default() };
    by.client.invitations().revoke_invitation(request).await.expect("revoked");
}

async fn give_role(by: &Who, acme: &str, to: &Who, role: Role) {
    let request = proto::UpdateMemberRoleRequest {
        organization_id: acme.to_owned(),
        user_id: to.user.to_string(),
        role: to_role(role).into(),
        ..Default::default()
    };
    by.client.members().update_member_role(request).await.expect("changed");
}

/// Somebody is invited by an Admin: the invitation's id and its token.
async fn invited(world: &World, by: &Who, acme: &str, who: &Who, role: Role) -> (String, String) {
    world.advance(Span::SECOND);
    let id = invite(by, acme, &who.email, role).await.expect("invited").id;
    (id, world.mailbox.next_token(&who.email).await)
}

bursar_testkit::engines! {
    async fn an_admins_invitation_makes_no_admin_once_the_inviter_may_not_invite(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        // How each of them stops being somebody who may invite.
        for (n, ending) in ["demoted", "removed", "left", "deleted", "suspended", "leaving"].into_iter().enumerate() {
            let n = 10 * (1 + u64::try_from(n).expect("few"));
            let ben = world.join(&ada, &acme, n, Role::Admin).await;
            let (eve, mallory) = (world.who(n + 1), world.who(n + 2));
            let (id, token) = invited(&world, &ben, &acme, &eve, Role::Admin).await;
            let (_, lesser) = invited(&world, &ben, &acme, &mallory, Role::Member).await;
            let gone = || Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() });
            match ending {
                "demoted" => give_role(&ada, &acme, &ben, Role::Member).await,
                "removed" => remove(&ada, &acme, ben.user).await.expect("removed"),
                "left" => leave(&ben, &acme).await.expect("left"),
                "deleted" => world.identity_tells(gone()).await,
                "suspended" => suspend(&world, &ben).await,
                _ => {
                    let request = proto::ConfirmDepartureRequest { user_id: ben.user.to_string(), incarnation: 1, number: 1, ..Default::default() };
                    world.service(ServiceRole::Identity).members().confirm_departure(request).await.expect("confirmed");
                }
            }
            if ending == "deleted" {
                until("the membership has ended", async || world.told_of(ben.user).await.len() == 2).await;
            }
            refused(accept(&eve, &token).await, Code::FailedPrecondition, "INVITER_NO_LONGER_AUTHORIZED");
            accept(&mallory, &lesser).await.unwrap_or_else(|status| panic!("{ending}: a Member may still join: {status:?}"));
            // Somebody who may sends it again, and answers for it from then on.
            world.advance(Span::SECOND);
            resend(&ada, &id).await.expect("sent again");
            let token = world.mailbox.next_token(&eve.email).await;
            assert_eq!(accept(&eve, &token).await.expect("joined").role(), proto::Role::Admin, "{ending}");
        }
    }

    async fn whoever_may_invite_again_is_believed_again(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let (ben, eve) = (world.join(&ada, &acme, 2, Role::Admin).await, world.who(3));
        let (_, token) = invited(&world, &ben, &acme, &eve, Role::Admin).await;
        give_role(&ada, &acme, &ben, Role::Member).await;
        refused(accept(&eve, &token).await, Code::FailedPrecondition, "INVITER_NO_LONGER_AUTHORIZED");
        give_role(&ada, &acme, &ben, Role::Admin).await;
        accept(&eve, &token).await.expect("joined");
        // Who is in is in, whatever becomes of the inviter.
        give_role(&ada, &acme, &ben, Role::Member).await;
        accept(&eve, &token).await.expect("the same answer");
    }

    async fn nobody_takes_a_second_seat_in_whatever_order(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.billing.set_seats(2);
        let ben = world.who(2);
        let (first, _) = invited(&world, &ada, &acme, &ben, Role::Member).await;
        // The first expires, the second is taken back, the third is accepted.
        world.advance(Span::from_days(8));
        let ada = world.who(1);
        let ben = world.who(2);
        let (second, _) = invited(&world, &ada, &acme, &ben, Role::Member).await;
        refused(resend(&ada, &first).await, Code::AlreadyExists, "ALREADY_INVITED");
        revoke(&ada, &second).await;
        resend(&ada, &first).await.expect("the seat is free again");
        refused(resend(&ada, &second).await, Code::FailedPrecondition, "INVITATION_REVOKED");
        let token = world.mailbox.next_token(&ben.email).await;
        revoke(&ada, &first).await;
        refused(accept(&ben, &token).await, Code::FailedPrecondition, "INVITATION_REVOKED");
        let (third, token) = invited(&world, &ada, &acme, &ben, Role::Member).await;
        accept(&ben, &token).await.expect("joined");
        for id in [&first, &second] {
            refused(resend(&ada, id).await, Code::FailedPrecondition, "INVITATION_REVOKED");
        }
        refused(resend(&ada, &third).await, Code::FailedPrecondition, "INVITATION_SETTLED");
        refused(invite(&ada, &acme, &ben.email, Role::Admin).await, Code::AlreadyExists, "ALREADY_A_MEMBER");
        refused(invite(&ada, &acme, "x@x.org", Role::Member).await, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
    }

    async fn who_joined_by_another_invitation_is_sent_none_again(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let (first, _) = invited(&world, &ada, &acme, &world.who(2), Role::Member).await;
        world.advance(Span::from_days(8));
        let (ada, ben) = (world.who(1), world.who(2));
        let (_, token) = invited(&world, &ada, &acme, &ben, Role::Member).await;
        accept(&ben, &token).await.expect("joined");
        // It has expired, and there are seats enough.
        refused(resend(&ada, &first).await, Code::AlreadyExists, "ALREADY_A_MEMBER");
    }

    /// Kind G: whoever invites an address all day keeps nobody else from inviting it.
    async fn of_what_one_address_may_get_neither_an_organization_nor_a_sender_uses_up_all(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let globex = world.create(&ben, "Globex").await.id;
        let cem = world.join(&ada, &acme, 3, Role::Admin).await;
        let refuse = |answer: Result<(), Status>| {
            let refusal = refused(answer, Code::ResourceExhausted, "TOO_MANY_INVITATIONS");
            assert!(refusal.metadata.is_empty() && refusal.retryable, "which cap it was is not told: {refusal:?}");
        };
        let hers = invite(&ada, &acme, "x@x.org", Role::Member).await.expect("one");
        for _ in 0..2 {
            resend(&ada, &hers.id).await.expect("three of five");
        }
        refuse(resend(&ada, &hers.id).await);
        refuse(resend(&cem, &hers.id).await);
        refuse(invite(&ada, &umbra, "x@x.org", Role::Member).await.map(drop));
        let his = invite(&ben, &globex, "x@x.org", Role::Member).await.expect("another organization's and sender's");
        resend(&ben, &his.id).await.expect("the last of five");
        refuse(resend(&ben, &his.id).await);
        invite(&ada, &umbra, "y@x.org", Role::Member).await.expect("another address");
        world.advance(Span::DAY);
        resend(&world.who(1), &hers.id).await.expect("another day");
    }
}
