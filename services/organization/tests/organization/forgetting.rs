//! Addresses go with the accounts whose they were, and mail with whose it was, whatever address it is for.

use bursar_db::{DbError, on};
use bursar_id::Role;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{InvoiceIssued, UserDeleted, UserStaying};
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::InvitationState::{Pending, Revoked};
use bursar_rpc::ServiceRole;
use bursar_testkit::{columns_with, invoice, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::purging::GRACE;
use crate::world::{Who, World, accept, delete, invite, until};

const BOOKS: &str = "books@example.com";

/// Asks, as identity does, whether somebody may leave whose address is proven.
async fn confirm(world: &World, who: &Who, number: u64) -> Result<(), Status> {
    let (user_id, email) = (who.user.to_string(), who.email.clone());
    let request = proto::ConfirmDepartureRequest { user_id, incarnation: 1, number, email };
    world.service(ServiceRole::Identity).members().confirm_departure(request).await.map(drop)
}

async fn is_gone(world: &World, who: &Who) {
    world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: who.user.to_string() })).await;
}

/// The addresses and states of an organization's invitations, in their order.
async fn invitations(who: &Who, organization: &str) -> Vec<(String, proto::InvitationState)> {
    let request = proto::ListInvitationsRequest { organization_id: organization.to_owned(), ..Default::default() };
    let listed = who.client.invitations().list_invitations(request).await.expect("listed").into_inner();
    let mut told: Vec<_> = listed.invitations.into_iter().map(|it| (it.email.clone(), it.state())).collect();
    told.sort_unstable();
    told
}

/// How many rows a statement counts that names one text.
async fn count(world: &World, statement: &'static str, text: &str) -> i64 {
    let counted: Result<i64, DbError> = async {
        let mut tx = world.store.read().await?;
        Ok(on!(&mut tx, c => sqlx::query_scalar(statement).bind(text).fetch_one(c).await?))
    }
    .await;
    counted.expect("counted")
}

/// How many jobs of a kind there are.
async fn jobs(world: &World, kind: &str) -> i64 {
    count(world, "SELECT COUNT(*) FROM jobs WHERE kind = $1", kind).await
}

/// From now on nothing can be delivered.
fn close_the_post(world: &World) {
    let post = world.mail_dir();
    if post.exists() {
        std::fs::rename(&post, world.data_dir().join("delivered")).expect("moved");
    }
    std::fs::write(&post, "").expect("written");
}

bursar_testkit::engines! {
    async fn the_address_of_who_joined_nowhere_leaves_every_invitation(db: TestDb) {
        let world = World::start(db).await;
        let (ada, cem, zoe) = (world.who(1), world.who(3), world.who_as(4, "Zoe@Example.com"));
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        for organization in [&acme, &umbra] {
            invite(&ada, organization, &zoe.email, Role::Member).await.expect("invited");
        }
        invite(&ada, &umbra, &cem.email, Role::Member).await.expect("invited");
        let counted = "SELECT COUNT(*) FROM mail_counts WHERE subject = $1";
        let to = |key: &str| format!("to:{}", bursar_email::digest(key));
        let zoes = [to("zoe@example.com"), to(&format!("zoe@example.com {acme}")), to(&format!("zoe@example.com {}", ada.user))];
        for subject in &zoes {
            assert_eq!(count(&world, counted, subject).await, 1);
        }
        confirm(&world, &zoe, 1).await.expect("confirmed");
        confirm(&world, &zoe, 1).await.expect("again");
        assert_eq!(columns_with(&world.store, &zoe.email).await, ["invitations.email"], "whoever may stay has it; what waits is sealed");
        is_gone(&world, &zoe).await;
        for spelling in [zoe.email.as_str(), "zoe@example.com"] {
            until("the address is nowhere any more", async || columns_with(&world.store, spelling).await.is_empty()).await;
        }
        until("all is done", async || jobs(&world, "organization.forget_address").await == 0).await;
        assert_eq!(invitations(&ada, &acme).await, [(String::new(), Revoked)]);
        assert_eq!(invitations(&ada, &umbra).await, [(String::new(), Revoked), (cem.email.clone(), Pending)]);
        for subject in &zoes {
            assert_eq!(count(&world, counted, subject).await, 0, "{subject}");
        }
        assert_eq!(count(&world, counted, &to(&cem.email)).await, 1, "others' are counted on");
        // Said once more, it is done; and the address may be somebody else's one day.
        confirm(&world, &zoe, 1).await.expect("the same answer");
        world.advance(Span::from_mins(3));
        until("nothing is kept", async || jobs(&world, "organization.forget_address").await == 0).await;
        invite(&world.who(1), &acme, &zoe.email, Role::Member).await.expect("invited anew");
    }

    async fn who_stays_keeps_what_was_sent_to_the_address(db: TestDb) {
        let world = World::start(db).await;
        let (ada, zoe) = (world.who(1), world.who(4));
        let acme = world.create(&ada, "Acme").await.id;
        invite(&ada, &acme, &zoe.email, Role::Member).await.expect("invited");
        let token = world.mailbox.next_token(&zoe.email).await;
        confirm(&world, &zoe, 1).await.expect("confirmed");
        // Nobody knows yet what becomes of that.
        world.advance(Span::from_mins(3));
        let waits = "SELECT COUNT(*) FROM jobs WHERE kind = $1 AND failure IS NOT NULL AND dead_at IS NULL";
        until("it waits", async || count(&world, waits, "organization.forget_address").await == 1).await;
        world.identity_tells(Payload::UserStaying(UserStaying { user_id: zoe.user.to_string(), number: 1 })).await;
        until("it is known", async || confirm(&world, &zoe, 1).await.is_err()).await;
        refused(confirm(&world, &zoe, 1).await, Code::Aborted, "DEPARTURE_TAKEN_BACK");
        world.advance(Span::HOUR);
        until("nothing is kept", async || jobs(&world, "organization.forget_address").await == 0).await;
        assert_eq!(invitations(&world.who(1), &acme).await, [(zoe.email.clone(), Pending)]);
        accept(&world.who(4), &token).await.expect("joined");
    }

    /// Who has stayed, and leaves later by another address: the first one may be somebody else's by then.
    async fn who_leaves_at_the_second_attempt_takes_the_address_of_that_one_along_and_no_other(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let (before, after) = (world.who_as(4, "zoe@example.com"), world.who_as(4, "zoe@example.org"));
        invite(&ada, &acme, &before.email, Role::Member).await.expect("invited");
        invite(&ada, &umbra, &after.email, Role::Member).await.expect("invited");
        confirm(&world, &before, 1).await.expect("confirmed");
        world.identity_tells(Payload::UserStaying(UserStaying { user_id: before.user.to_string(), number: 1 })).await;
        until("it is known", async || confirm(&world, &before, 1).await.is_err()).await;
        confirm(&world, &after, 2).await.expect("confirmed");
        is_gone(&world, &after).await;
        until("the address is erased", async || invitations(&ada, &umbra).await == [(String::new(), Revoked)]).await;
        world.advance(Span::from_mins(3));
        until("nothing is kept", async || jobs(&world, "organization.forget_address").await == 0).await;
        assert_eq!(invitations(&world.who(1), &acme).await, [(before.email.clone(), Pending)], "it is not touched");
    }

    async fn what_somebody_else_accepted_at_the_address_stays(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        // The same address, as somebody new had it before the old account's end was heard of.
        let (old, new) = (world.who_as(4, "zoe@example.com"), world.who_as(5, "zoe@example.com"));
        invite(&ada, &acme, &new.email, Role::Member).await.expect("invited");
        let token = world.mailbox.next_token(&new.email).await;
        accept(&new, &token).await.expect("joined");
        invite(&ada, &umbra, &old.email, Role::Member).await.expect("invited");
        confirm(&world, &old, 1).await.expect("confirmed");
        is_gone(&world, &old).await;
        until("what was nobody's is taken back", async || {
            invitations(&ada, &umbra).await == [(String::new(), Revoked)]
        }).await;
        until("all is done", async || jobs(&world, "organization.forget_address").await == 0).await;
        assert_eq!(invitations(&ada, &acme).await, [(new.email.clone(), proto::InvitationState::Accepted)]);
    }

    async fn what_waits_to_be_mailed_to_who_joined_nowhere_goes_with_them(db: TestDb) {
        let world = World::start(db).await;
        let (ada, zoe) = (world.who(1), world.who(4));
        let acme = world.create(&ada, "Acme").await.id;
        close_the_post(&world);
        for email in [zoe.email.as_str(), "dora@example.com"] {
            invite(&ada, &acme, email, Role::Member).await.expect("invited");
        }
        assert_eq!(jobs(&world, "mail").await, 2);
        confirm(&world, &zoe, 1).await.expect("confirmed");
        is_gone(&world, &zoe).await;
        until("the other's alone is left", async || jobs(&world, "mail").await == 1).await;
    }

    async fn what_waits_to_be_mailed_of_a_purged_organization_goes_with_it(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (acme, other) = (world.create(&ada, "Acme").await, world.create(&ben, "Other").await.id);
        close_the_post(&world);
        invite(&ada, &acme.id, "dora@example.com", Role::Member).await.expect("invited");
        invite(&ben, &other, "dora@example.com", Role::Member).await.expect("invited");
        for (owner, id, number) in [(&acme.id, "ivc_1", "ABC-2026-0001"), (&other, "ivc_2", "XYZ-2026-0001")] {
            world.billing.issues(invoice(owner, id, number, BOOKS));
            let (owner, invoice_id) = (owner.to_owned(), id.to_owned());
            world.billing_tells(Payload::InvoiceIssued(InvoiceIssued { owner, invoice_id })).await;
        }
        let waiting = async || (jobs(&world, "mail").await, jobs(&world, "mail.bulk").await);
        until("all is queued", async || waiting().await == (2, 2)).await;
        delete(&ada, &acme).await.expect("deleted");
        assert_eq!(waiting().await, (2, 2), "what is deleted may come back");
        world.advance(GRACE);
        until("it is purged", async || world.standings_of(&acme.id).await.len() == 2).await;
        assert_eq!(waiting().await, (1, 1), "the other's is left, at the same addresses");
    }
}
