//! `InvitationService`, the organization's side.

use bursar_id::{InvitationId, Role};
use bursar_organization::store::invitations::{self, InvitationRow};
use bursar_organization::store::mail_counts;
use bursar_proto::event::v1::UserUpdated;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::InvitationState::{Accepted, Declined, Expired, Pending, Revoked, Unspecified};
use bursar_secret::TokenDigest;
use bursar_testkit::{answers_with, id, refused};
use bursar_time::Span;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{Who, World, accept, invite, leave, until};

pub(crate) fn invitation(organization: &str, email: &str) -> proto::CreateInvitationRequest {
    proto::CreateInvitationRequest {
        organization_id: organization.to_owned(),
        email: email.to_owned(),
        role: proto::Role::Member.into(),
        ..Default::default()
    }
}

async fn create(by: &Who, request: proto::CreateInvitationRequest) -> Result<proto::Invitation, Status> {
    let created = by.client.invitations().create_invitation(request).await?;
    Ok(created.into_inner().invitation.expect("an invitation"))
}

async fn resend(by: &Who, id: &str, request_id: &str) -> Result<proto::Invitation, Status> {
    let request = proto::ResendInvitationRequest { invitation_id: id.to_owned(), request_id: request_id.to_owned() };
    Ok(by.client.invitations().resend_invitation(request).await?.into_inner().invitation.expect("an invitation"))
}

async fn revoke(by: &Who, id: &str, request_id: &str) -> Result<proto::Invitation, Status> {
    let request = proto::RevokeInvitationRequest { invitation_id: id.to_owned(), request_id: request_id.to_owned() };
    Ok(by.client.invitations().revoke_invitation(request).await?.into_inner().invitation.expect("an invitation"))
}

async fn list(by: &Who, request: proto::ListInvitationsRequest) -> Result<proto::ListInvitationsResponse, Status> {
    Ok(by.client.invitations().list_invitations(request).await?.into_inner())
}

async fn states(by: &Who, organization: &str, state: proto::InvitationState) -> Vec<(String, proto::InvitationState)> {
    let request = proto::ListInvitationsRequest {
        organization_id: organization.to_owned(),
        state: state.into(),
        ..Default::default()
    };
    let listed = list(by, request).await.expect("listed").invitations;
    listed.into_iter().map(|it| (it.email.clone(), it.state())).collect()
}

/// Writes so many invitations down that were made now: by turns they were taken back, and are over without anybody having
/// written so.
async fn write(world: &World, by: &Who, organization: &str, count: u16) {
    let now = world.clock.now();
    let mut tx = world.store.begin().await.expect("a transaction");
    for n in 0..count {
        let [high, low] = n.to_be_bytes();
        let mut digest = [0; 32];
        digest[..2].copy_from_slice(&[high, low]);
        let email = format!("n{n}@x.org");
        let row = InvitationRow {
            id: InvitationId::from_parts(now.as_millis(), [0, 0, 0, 0, 0, 0, 0, 0, high, low]),
            organization_id: organization.parse().expect("an id"),
            email: email.clone(),
            email_key: email,
            role: Role::Member,
            state: if n.is_multiple_of(2) { "REVOKED" } else { "PENDING" }.to_owned(),
            lifetime: Span::SECOND,
            invited_by: by.user,
            accepted_by: None,
            created_at: now,
            expires_at: now,
        };
        invitations::insert(&mut tx, &row, &TokenDigest::from_bytes(digest)).await.expect("written");
    }
    tx.commit().await.expect("committed");
}

/// What somebody is called as a member.
async fn called(who: &Who, organization: &str) -> String {
    let request = proto::GetMemberRequest { organization_id: organization.to_owned(), user_id: who.user.to_string() };
    let member = who.client.members().get_member(request).await.expect("got").into_inner().member;
    member.expect("a member").display_name
}

fn days(days: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: days * 86_400, nanos: 0 }
}

bursar_testkit::engines! {
    async fn inviting_mails_a_link_and_keeps_only_a_hash(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let invited = create(&ada, invitation(&acme, " Ben@Example.com ")).await.expect("invited");
        assert_eq!((invited.email.as_str(), invited.role(), invited.state()),
            ("Ben@Example.com", proto::Role::Member, proto::InvitationState::Pending));
        assert_eq!(invited.invited_by, ada.user.to_string());
        let lifetime = invited.expires_at.unwrap().seconds - invited.created_at.unwrap().seconds;
        assert_eq!(lifetime, 7 * 86_400);
        let mail = world.mailbox.next("Ben@Example.com").await;
        assert!(mail.subject.contains("Acme") && mail.text.contains("u1@example.com"), "{mail:?}");
        let token = mail.token();
        assert_eq!(token.len(), 43, "256 bits in base64url");
        let asked = proto::PreviewInvitationRequest { token };
        let preview = world.anybody.invitations().preview_invitation(asked).await.expect("found").into_inner();
        assert_eq!((preview.organization_name.as_str(), preview.organization_slug.as_str()), ("Acme", "acme"));
        let mut short = invitation(&acme, "cem@example.com");
        (short.ttl, short.role) = (Some(days(1)), proto::Role::Admin.into());
        let short = create(&ada, short).await.expect("invited");
        assert_eq!(short.expires_at.unwrap().seconds - short.created_at.unwrap().seconds, 86_400);
    }

    async fn inviting_refuses_whom_and_what_it_must(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let eve = world.who(3);
        let mut wrong = invitation(&acme, "no address");
        (wrong.role, wrong.ttl, wrong.request_id) = (proto::Role::Owner.into(), Some(days(31)), "\n".to_owned());
        refused(create(&eve, wrong.clone()).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(create(&ben, wrong.clone()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let bad = refused(create(&ada, wrong).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["email", "request_id", "role", "ttl"]);
        for (email, seconds) in [("@x.org", 86_400), ("a@b@c", 86_400), ("a@x.org", 3_599), ("a@x.org", -1)] {
            let mut wrong = invitation(&acme, email);
            wrong.ttl = Some(prost_types::Duration { seconds, nanos: 0 });
            refused(create(&ada, wrong).await, Code::InvalidArgument, "INVALID_FIELDS");
        }
        refused(create(&ada, invitation("org_", "a@x.org")).await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(create(&ada, invitation(&acme, "U2@EXAMPLE.com")).await, Code::AlreadyExists, "ALREADY_A_MEMBER");
        let pending = create(&ada, invitation(&acme, "cem@example.com")).await.expect("invited");
        let again = refused(create(&ada, invitation(&acme, "CEM@example.com")).await, Code::AlreadyExists, "ALREADY_INVITED");
        assert_eq!(again.metadata["invitation_id"], pending.id);
        let mut once = invitation(&acme, "dan@example.com");
        "r1".clone_into(&mut once.request_id);
        let first = create(&ada, once.clone()).await.expect("invited");
        assert_eq!(create(&ada, once.clone()).await.expect("replayed"), first);
        once.role = proto::Role::Admin.into();
        refused(create(&ada, once).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        world.mailbox.next("dan@example.com").await;
        assert_eq!(world.mailbox.to("dan@example.com").len(), 1, "a replay sends nothing");
    }

    async fn seats_are_reserved_and_freed(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.billing.set_seats(3);
        let ben = create(&ada, invitation(&acme, "b@x.org")).await.expect("the second seat");
        let mut short = invitation(&acme, "c@x.org");
        short.ttl = Some(days(1));
        let cem = create(&ada, short).await.expect("the third seat");
        let full = refused(create(&ada, invitation(&acme, "d@x.org")).await, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        let metadata = |key: &str| full.metadata.get(key).map(String::as_str);
        assert_eq!((metadata("seats"), metadata("used")), (Some("3"), Some("3")));
        revoke(&ada, &ben.id, "").await.expect("revoked");
        let dan = create(&ada, invitation(&acme, "d@x.org")).await.expect("the freed seat");
        world.advance(Span::from_days(2));
        let ada = world.who(1);
        create(&ada, invitation(&acme, "e@x.org")).await.expect("the expired one's seat");
        refused(resend(&ada, &cem.id, "").await, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        resend(&ada, &dan.id, "").await.expect("keeps its seat");
        world.billing.set_away(true);
        let full = create(&ada, invitation(&acme, "f@x.org")).await;
        refused(full, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        let asked = world.billing.asked();
        refused(create(&world.who(9), invitation(&acme, "f@x.org")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(world.billing.asked(), asked, "strangers do not make us ask billing");
    }

    async fn caps_hold_for_pending_and_per_day(db: TestDb) {
        let world = World::start_with(db, |settings| {
            (settings.invitations.max_pending, settings.invitations.max_per_day) = (2, 4);
        }).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let first = invite(&ada, &acme, "a@x.org", Role::Member).await.expect("one");
        invite(&ada, &acme, "b@x.org", Role::Member).await.expect("two");
        let full = refused(invite(&ada, &acme, "c@x.org", Role::Member).await, Code::ResourceExhausted, "TOO_MANY_INVITATIONS");
        assert_eq!((full.metadata.get("limit").map(String::as_str), full.retryable), (Some("2"), true));
        revoke(&ada, &first.id, "").await.expect("revoked");
        let third = invite(&ada, &acme, "c@x.org", Role::Member).await.expect("three");
        resend(&ada, &third.id, "").await.expect("four");
        let full = refused(resend(&ada, &third.id, "").await, Code::ResourceExhausted, "TOO_MANY_INVITATIONS");
        assert!(full.retryable, "{full:?}");
        revoke(&ada, &third.id, "").await.expect("revoked");
        world.advance(Span::HOUR);
        let status = invite(&world.who(1), &acme, "d@x.org", Role::Member).await.expect_err("four were sent within a day");
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(wait, Some(std::time::Duration::from_hours(23)), "until the first of them is older");
        refused::<()>(Err(status), Code::ResourceExhausted, "TOO_MANY_INVITATIONS");
        world.advance(Span::DAY);
        invite(&world.who(1), &acme, "d@x.org", Role::Member).await.expect("a new day");
    }

    async fn caps_hold_for_a_sender_an_address_and_a_new_organization(db: TestDb) {
        let world = World::start_with(db, |settings| {
            settings.invitations.max_per_day_by_sender = 4;
            settings.invitations.max_per_day_to_address = 2;
            settings.invitations.max_per_day_at_first = 3;
        }).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let mut orgs = Vec::new();
        for n in 0..4 {
            orgs.push(world.create(&ada, &format!("Acme {n}")).await.id);
        }
        let bens = world.create(&ben, "Globex").await.id;
        let refuse = |answer: Result<_, Status>| {
            let refusal = refused(answer, Code::ResourceExhausted, "TOO_MANY_INVITATIONS");
            assert!(refusal.metadata.is_empty(), "which cap it was is not told: {refusal:?}");
            refusal.message
        };
        let one = invite(&ada, &orgs[0], "x@x.org", Role::Member).await.expect("the first to the address");
        resend(&ada, &one.id, "").await.expect("the second to it");
        let mut told = vec![refuse(invite(&ben, &bens, "X@x.org", Role::Member).await), refuse(resend(&ada, &one.id, "").await)];
        invite(&ada, &orgs[1], "y@x.org", Role::Member).await.expect("the third of the sender");
        invite(&ada, &orgs[2], "z@x.org", Role::Member).await.expect("the fourth of the sender");
        told.push(refuse(invite(&ada, &orgs[3], "w@x.org", Role::Member).await));
        for n in 0..3 {
            invite(&ben, &bens, &format!("b{n}@x.org"), Role::Member).await.expect("another sender");
        }
        told.push(refuse(invite(&ben, &bens, "b3@x.org", Role::Member).await));
        assert!(told.iter().all(|message| *message == told[0]), "{told:?}");
        world.advance(Span::from_days(7));
        let (ada, ben) = (world.who(1), world.who(2));
        for n in 4..8 {
            invite(&ben, &bens, &format!("b{n}@x.org"), Role::Member).await.expect("the organization is not new any more");
        }
        invite(&ada, &orgs[3], "x@x.org", Role::Member).await.expect("another day");
    }

    /// Kind K: nobody is refused for 400 days because a clock was ahead for seconds.
    async fn mails_that_a_clock_counted_which_was_ahead_refuse_nobody(db: TestDb) {
        let world = World::start_with(db, |settings| {
            (settings.invitations.max_per_day, settings.invitations.max_per_day_by_sender) = (1, 1);
        }).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ahead = world.clock.now().saturating_add(Span::from_days(400));
        let (since, by) = (ahead.saturating_sub(Span::DAY), format!("by:{}", ada.user));
        let mut tx = world.store.begin().await.expect("a transaction");
        invitations::note_mail(&mut tx, acme.parse().expect("an id"), ahead, since).await.expect("counted");
        mail_counts::sent_after(&mut tx, &by, since, ahead).await.expect("locked");
        mail_counts::set(&mut tx, &by, &[ahead], ahead).await.expect("counted");
        tx.commit().await.expect("committed");
        invite(&ada, &acme, "a@x.org", Role::Member).await.expect("nothing was mailed today");
        refused(invite(&ada, &acme, "b@x.org", Role::Member).await, Code::ResourceExhausted, "TOO_MANY_INVITATIONS");
        let mut tx = world.store.read().await.expect("a snapshot");
        let counted = invitations::mails_after(&mut tx, acme.parse().expect("an id"), since, ahead).await.expect("read");
        assert_eq!(counted, (0, None), "forgotten with the next mail");
    }

    async fn an_organization_of_a_clock_far_ahead_is_not_new_for_407_days(db: TestDb) {
        let world = World::start_with(db, |settings| settings.invitations.max_per_day_at_first = 1).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        invite(&ada, &acme, "a@x.org", Role::Member).await.expect("invited");
        refused(invite(&ada, &acme, "b@x.org", Role::Member).await, Code::ResourceExhausted, "TOO_MANY_INVITATIONS");
        let dated = "UPDATE organizations SET created_at = created_at + 34560000000000";
        let mut tx = world.store.begin().await.expect("a transaction");
        bursar_db::on!(&mut tx, c => sqlx::query(dated).execute(c).await.expect("dated").rows_affected());
        tx.commit().await.expect("committed");
        invite(&ada, &acme, "b@x.org", Role::Member).await.expect("invited once that clock is right");
    }

    async fn of_many_who_invite_one_address_at_once_no_more_get_through_than_may(db: TestDb) {
        let world = World::start(db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 1..=12 {
            let who = world.who(n);
            let organization = world.create(&who, &format!("Acme {n}")).await.id;
            tasks.spawn(async move { invite(&who, &organization, "x@x.org", Role::Member).await.is_ok() });
        }
        let invited = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
        assert_eq!(invited, 5);
    }

    async fn who_is_unproven_reaches_nobody(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let pending = invite(&ada, &acme, "x@x.org", Role::Member).await.expect("invited");
        let unproven = |n: u64| {
            let who = world.who(n);
            let token = world.issuer.user(who.user).email(&who.email).unverified().at(world.clock.now());
            Who { client: world.anybody.with_token(&token), ..who }
        };
        let bad = proto::CreateOrganizationRequest::default();
        let made = unproven(2).client.organizations().create_organization(bad).await;
        refused(made, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
        // Even with a role, as after the address has changed.
        let ada = unproven(1);
        refused(create(&ada, invitation(&acme, "no address")).await, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
        refused(resend(&ada, &pending.id, "").await, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
        refused(create(&unproven(3), invitation(&acme, "y@x.org")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        revoke(&ada, &pending.id, "").await.expect("taking back reaches nobody");
        world.mailbox.next("x@x.org").await;
        assert_eq!(world.mailbox.to("x@x.org").len(), 1);
    }

    async fn resending_rotates_the_token_and_the_deadline(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.who(2);
        let mut short = invitation(&acme, &ben.email);
        short.ttl = Some(days(1));
        let invited = create(&ada, short).await.expect("invited");
        let old = world.mailbox.next_token(&ben.email).await;
        world.advance(Span::from_hours(25));
        let (ada, ben, eve) = (world.who(1), world.who(2), world.who(3));
        refused(accept(&ben, &old).await, Code::FailedPrecondition, "INVITATION_EXPIRED");
        refused(resend(&eve, &invited.id, "").await, Code::NotFound, "NOT_FOUND");
        refused(resend(&ada, &id::<bursar_id::kinds::Invitation>(1).to_string(), "").await, Code::NotFound, "NOT_FOUND");
        refused(resend(&ada, "inv", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        let sent = resend(&ada, &invited.id, "r1").await.expect("sent again");
        assert_eq!(sent.state(), proto::InvitationState::Pending);
        assert_eq!(sent.expires_at.unwrap().seconds - sent.created_at.unwrap().seconds, 49 * 3_600);
        assert_eq!(resend(&ada, &invited.id, "r1").await.expect("replayed"), sent);
        refused(revoke(&ada, &invited.id, "r1").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let new = world.mailbox.next_token(&ben.email).await;
        assert_ne!(old, new);
        refused(accept(&ben, &old).await, Code::NotFound, "NOT_FOUND");
        accept(&ben, &new).await.expect("accepted");
        assert_eq!(world.mailbox.to(&ben.email).len(), 2, "a replay sends nothing");
        refused(resend(&ada, &invited.id, "").await, Code::FailedPrecondition, "INVITATION_SETTLED");
        refused(resend(&ben, &invited.id, "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    }

    async fn an_expired_invitation_makes_room_for_a_new_one(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let first = create(&ada, invitation(&acme, "b@x.org")).await.expect("invited");
        world.advance(Span::from_days(8));
        let ada = world.who(1);
        create(&ada, invitation(&acme, "b@x.org")).await.expect("invited again");
        refused(resend(&ada, &first.id, "").await, Code::AlreadyExists, "ALREADY_INVITED");
        assert_eq!(states(&ada, &acme, Unspecified).await, [("b@x.org".to_owned(), Pending), ("b@x.org".to_owned(), Expired)]);
        revoke(&ada, &first.id, "").await.expect("an expired one can be revoked");
    }

    async fn an_expired_invitation_of_a_member_is_not_sent_again(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let first = create(&ada, invitation(&acme, "u2@example.com")).await.expect("invited");
        world.mailbox.next_token("u2@example.com").await;
        world.advance(Span::from_days(8));
        let ada = world.who(1);
        world.join(&ada, &acme, 2, Role::Member).await;
        refused(resend(&ada, &first.id, "").await, Code::AlreadyExists, "ALREADY_A_MEMBER");
        assert_eq!(states(&ada, &acme, Pending).await, [], "no seat was taken");
    }

    async fn an_invitation_is_sent_again_without_billing(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let invited = create(&ada, invitation(&acme, "b@x.org")).await.expect("invited");
        let asked = world.billing.asked();
        world.billing.set_away(true);
        resend(&ada, &invited.id, "").await.expect("it holds its seat");
        assert_eq!(world.billing.asked(), asked);
        world.advance(Span::from_days(8));
        let ada = world.who(1);
        resend(&ada, &invited.id, "").await.expect("a seat is free, by billing's last word");
        assert_eq!(world.billing.asked(), asked);
    }

    async fn revoking_and_listing_tell_every_state(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        world.advance(Span::MINUTE);
        let cem = invite(&ada, &acme, "c@x.org", Role::Admin).await.expect("invited");
        world.advance(Span::MINUTE);
        invite(&ada, &acme, "d@x.org", Role::Member).await.expect("invited");
        let eve = world.who(3);
        refused(revoke(&eve, &cem.id, "").await, Code::NotFound, "NOT_FOUND");
        refused(revoke(&ben, &cem.id, "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(revoke(&ada, "", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        let revoked = revoke(&ada, &cem.id, "r1").await.expect("revoked");
        assert_eq!(revoked.state(), proto::InvitationState::Revoked);
        assert_eq!(revoke(&ada, &cem.id, "").await.expect("it is revoked"), revoked);
        refused(resend(&ada, &cem.id, "").await, Code::FailedPrecondition, "INVITATION_REVOKED");
        let all = [("d@x.org", Pending), ("c@x.org", Revoked), ("u2@example.com", Accepted)].map(|(email, state)| (email.to_owned(), state));
        assert_eq!(states(&ada, &acme, Unspecified).await, all);
        for one in &all {
            assert_eq!(states(&ada, &acme, one.1).await, std::slice::from_ref(one));
        }
        let mut request = proto::ListInvitationsRequest { organization_id: acme.clone(), page_size: 2, ..Default::default() };
        let first = list(&ada, request.clone()).await.expect("listed");
        request.page_token = first.next_page_token;
        let second = list(&ada, request.clone()).await.expect("listed");
        assert_eq!((first.invitations.len(), second.invitations.len(), second.next_page_token.as_str()), (2, 1, ""));
        let accepted = second.invitations[0].id.clone();
        refused(revoke(&ada, &accepted, "").await, Code::FailedPrecondition, "INVITATION_SETTLED");
        request.state = Pending.into();
        refused(list(&ada, request.clone()).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        request.state = 9;
        refused(list(&ada, request.clone()).await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(list(&ben, request.clone()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(list(&eve, request).await, Code::PermissionDenied, "NOT_A_MEMBER");
    }

    async fn a_state_that_few_are_in_gives_short_pages_and_comes_to_an_end(db: TestDb) {
        // As many as a page looks at.
        const SCAN: u16 = 5_000;
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.join(&ada, &acme, 2, Role::Member).await;
        world.advance(Span::MINUTE);
        write(&world, &ada, &acme, SCAN).await;
        let asked = |state: proto::InvitationState, page_token: String| proto::ListInvitationsRequest {
            organization_id: acme.clone(),
            state: state.into(),
            page_size: 10,
            page_token,
        };
        // The one that was accepted is the oldest of all.
        for (state, first, second) in [(Accepted, 0, 1), (Declined, 0, 0), (Pending, 0, 0)] {
            let page = list(&ada, asked(state, String::new())).await.expect("listed");
            assert_eq!(page.invitations.len(), first, "{state:?}");
            assert_ne!(page.next_page_token, "", "{state:?}: no more is looked at, and there may be more");
            let page = list(&ada, asked(state, page.next_page_token)).await.expect("listed");
            assert_eq!((page.invitations.len(), page.next_page_token.as_str()), (second, ""), "{state:?}");
        }
        // Where many are in it, pages are whole, and none of them is lost.
        for state in [Revoked, Expired] {
            let (mut listed, mut page_token) = (0, String::new());
            loop {
                let request = proto::ListInvitationsRequest { page_size: 1_000, ..asked(state, page_token) };
                let page = list(&ada, request).await.expect("listed");
                listed += page.invitations.len();
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
                assert!(page.invitations.len() == 1_000 || listed == usize::from(SCAN) / 2, "{state:?}: {listed}");
            }
            assert_eq!(listed, usize::from(SCAN) / 2, "{state:?}");
        }
    }

    async fn what_is_kept_for_repetitions_names_who_is_invited_and_who_is_a_member_by_id_alone(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let acme = world.create(&ada, "Acme").await.id;
        for (user, name) in [(ben.user, "Benjamin"), (ada.user, "Adele")] {
            let named = UserUpdated { user_id: user.to_string(), display_name: name.to_owned() };
            world.identity_tells(Payload::UserUpdated(named)).await;
        }
        until("both names are known", async || called(&ada, &acme).await == "Adele").await;
        let asked = proto::CreateInvitationRequest { request_id: "i1".to_owned(), ..invitation(&acme, &ben.email) };
        let invited = create(&ada, asked.clone()).await.expect("invited");
        world.advance(Span::SECOND);
        let sent = resend(&ada, &invited.id, "s1").await.expect("sent again");
        world.mailbox.next_token(&ben.email).await;
        let token = world.mailbox.next_token(&ben.email).await;
        let join = proto::AcceptInvitationRequest { token, request_id: "a1".to_owned() };
        let accept = async || ben.client.invitations().accept_invitation(join.clone()).await.map(Response::into_inner);
        let accepted = accept().await.expect("accepted");
        let role = proto::UpdateMemberRoleRequest {
            organization_id: acme.clone(),
            user_id: ben.user.to_string(),
            role: proto::Role::Admin.into(),
            request_id: "u1".to_owned(),
            ..Default::default()
        };
        let change = async || ada.client.members().update_member_role(role.clone()).await.map(Response::into_inner);
        let changed = change().await.expect("changed");
        assert_eq!(changed.member.as_ref().map(|it| (it.email.as_str(), it.display_name.as_str())), Some((ben.email.as_str(), "Benjamin")));
        let other = invite(&ada, &acme, "c@x.org", Role::Member).await.expect("invited");
        let revoked = revoke(&ada, &other.id, "r1").await.expect("revoked");
        assert_eq!(answers_with(&world.store, "").await, 5, "of each");
        for text in [ben.email.as_str(), "c@x.org", "Benjamin"] {
            assert_eq!(answers_with(&world.store, text).await, 0, "{text}");
        }
        // A repetition is told what there still is.
        assert_eq!(create(&ada, asked).await.expect("a repetition"), invited);
        assert_eq!(resend(&ada, &invited.id, "s1").await.expect("a repetition"), sent);
        assert_eq!(revoke(&ada, &other.id, "r1").await.expect("a repetition"), revoked);
        assert_eq!((accept().await.expect("a repetition"), change().await.expect("a repetition")), (accepted.clone(), changed.clone()));
        leave(&ben, &acme).await.expect("left");
        let left = |member: Option<proto::Member>, email: &str| member.map(|it| proto::Member { email: email.to_owned(), display_name: String::new(), ..it });
        assert_eq!(accept().await.expect("a repetition").member, left(accepted.member, &ben.email), "the token says so");
        assert_eq!(change().await.expect("a repetition").member, left(changed.member, ""));
    }
}
