//! How many invitations of new organizations come from one network address, whoever sends them.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use bursar_db::on;
use bursar_email::digest;
use bursar_id::Role;
use bursar_organization::store::mail_counts;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, Refusal, refused};
use bursar_time::Span;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::inviting::invitation;
use crate::world::{World, invite};

/// A request that seems to come from a network address.
fn from_address<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let remote = SocketAddr::new(address.parse().expect("an address"), 4711);
    request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr: Some(remote) });
    request
}

async fn invite_from(by: &Client, address: &str, organization: &str, email: &str) -> Result<proto::Invitation, Status> {
    let request = from_address(address, invitation(organization, email));
    Ok(by.invitations().create_invitation(request).await?.into_inner().invitation.expect("an invitation"))
}

async fn resend_from(by: &Client, address: &str, id: &str) -> Result<(), Status> {
    let request = proto::ResendInvitationRequest { invitation_id: id.to_owned(), ..Default::default() };
    by.invitations().resend_invitation(from_address(address, request)).await.map(drop)
}

/// Too many were sent; of what, is not told.
fn too_many<T: Debug>(answer: Result<T, Status>) -> Refusal {
    let refusal = refused(answer, Code::ResourceExhausted, "TOO_MANY_INVITATIONS");
    assert!(refusal.metadata.is_empty() && refusal.retryable, "{refusal:?}");
    refusal
}

bursar_testkit::engines! {
    async fn caps_hold_for_a_network_address_whoever_invites_from_there(db: TestDb) {
        let world = World::start_with(db, |settings| {
            settings.invitations.max_per_day_by_origin = 3;
        }).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (acme, globex) = (world.create(&ada, "Acme").await.id, world.create(&ben, "Globex").await.id);
        let (here, beside, there) = ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", "2001:db8:0:2::1");
        let one = invite_from(&ada.client, here, &acme, "a@x.org").await.expect("the first from there");
        let two = invite_from(&ben.client, beside, &globex, "b@x.org").await.expect("the second, of another sender");
        for _ in 0..2 {
            resend_from(&ada.client, "198.51.100.1", &one.id).await.expect("from another address");
        }
        let his = invite_from(&ben.client, "198.51.100.2", &globex, "a@x.org").await.expect("the fourth to the address");
        resend_from(&ben.client, "198.51.100.2", &his.id).await.expect("the fifth to it");
        let to_address = too_many(resend_from(&ben.client, there, &his.id).await);
        world.advance(Span::HOUR);
        let (ada, ben) = (world.who(1), world.who(2));
        resend_from(&ben.client, here, &two.id).await.expect("the third, which is sent again");
        let status = invite_from(&ada.client, here, &acme, "d@x.org").await.expect_err("three came from there");
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(wait, Some(Duration::from_hours(23)), "until the first of them is older");
        assert_eq!(too_many::<()>(Err(status)).message, to_address.message, "which cap it was is not told");
        too_many(resend_from(&ben.client, beside, &two.id).await);
        resend_from(&ben.client, there, &two.id).await.expect("the address is no other's");
        invite_from(&ada.client, there, &acme, "d@x.org").await.expect("nor does that one disturb it");

        // A service says where the person is; of whom it does not, nobody knows.
        let token = world.issuer.user(ada.user).email(&ada.email).at(world.clock.now());
        let service = world.service(ServiceRole::Product).for_user(&token);
        let stated = |address: &str, email: &str| {
            let mut request = from_address("10.0.0.1", invitation(&acme, email));
            request.metadata_mut().insert("bursar-client-address", address.parse().expect("a value"));
            request
        };
        too_many(service.invitations().create_invitation(stated(beside, "f@x.org")).await);
        service.invitations().create_invitation(stated("192.0.2.9", "f@x.org")).await.expect("nobody was there yet");
        for n in 0..4 {
            let address = format!("g{n}@x.org");
            invite_from(&service, "10.0.0.1", &acme, &address).await.expect("everybody behind it looks alike");
        }
        for n in 0..4 {
            invite(&ada, &acme, &format!("h{n}@x.org"), Role::Member).await.expect("nor is this process a place");
        }
        world.advance(Span::DAY);
        resend_from(&world.who(1).client, here, &one.id).await.expect("another day");
    }

    /// One holder of an IPv6 network has 65,536 places in it.
    async fn caps_hold_for_the_places_of_one_network_together(db: TestDb) {
        let world = World::start_with(db, |settings| settings.invitations.max_per_day_by_origin = 1).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (acme, globex) = (world.create(&ada, "Acme").await.id, world.create(&ben, "Globex").await.id);
        let inside = |n: u32| format!("2001:db8:7:{n:x}::1");
        for n in 0..10 {
            let (by, organization) = if n % 2 == 0 { (&ada, &acme) } else { (&ben, &globex) };
            let address = format!("a{n}@x.org");
            invite_from(&by.client, &inside(n), organization, &address).await.expect("one from each of its places");
        }
        let one_more = invite_from(&ada.client, &inside(10), &acme, "b@x.org").await;
        too_many(one_more);
        let there = invite_from(&ada.client, "2001:db8:8::1", &acme, "b@x.org").await.expect("another network");
        too_many(resend_from(&ada.client, &inside(11), &there.id).await);
        invite_from(&ben.client, "192.0.2.1", &globex, "c@x.org").await.expect("another address");
        world.advance(Span::DAY);
        resend_from(&world.who(1).client, &inside(10), &there.id).await.expect("another day");
    }

    /// An address may be shared with an attacker, or with everybody behind an ingress.
    async fn an_organization_of_a_week_is_not_refused_for_what_others_send_from_its_address(db: TestDb) {
        let world = World::start_with(db, |settings| settings.invitations.max_per_day_by_origin = 2).await;
        let acme = world.create(&world.who(1), "Acme").await.id;
        world.advance(Span::from_days(7));
        let (ada, ben) = (world.who(1), world.who(2));
        let globex = world.create(&ben, "Globex").await.id;
        let (here, there) = ("192.0.2.1", "192.0.2.2");
        for n in 0..2 {
            invite_from(&ben.client, here, &globex, &format!("a{n}@x.org")).await.expect("a new one's");
        }
        too_many(invite_from(&ben.client, here, &globex, "a2@x.org").await);
        let one = invite_from(&ada.client, here, &acme, "b@x.org").await.expect("it is not new");
        resend_from(&ada.client, here, &one.id).await.expect("nor is it when it sends again");
        // Nor does it use up what new ones have.
        for n in 0..3 {
            invite_from(&ada.client, there, &acme, &format!("c{n}@x.org")).await.expect("it is not new");
        }
        invite_from(&ben.client, there, &globex, "d@x.org").await.expect("the first from there that counts");
    }

    async fn of_where_invitations_come_from_a_print_is_kept_for_a_day(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let one = invite_from(&ada.client, "2001:db8:0:1::1", &acme, "a@x.org").await.expect("invited");
        resend_from(&ada.client, "2001:db8:0:1::2", &one.id).await.expect("sent again");
        invite_from(&ada.client, "192.0.2.1", &acme, "b@x.org").await.expect("invited");
        let (now, since) = (world.clock.now(), world.clock.now().saturating_sub(Span::DAY));
        let counted = async |place: &str| {
            let mut tx = world.store.begin().await.expect("a transaction");
            let subject = format!("from:{}", digest(place));
            mail_counts::sent_after(&mut tx, &subject, since, now).await.expect("read").len()
        };
        assert_eq!((counted("address:2001:db8:0:1::/64").await, counted("address:192.0.2.1").await), (2, 1));
        let mut tx = world.store.read().await.expect("a snapshot");
        let plain = "SELECT COUNT(*) FROM mail_counts WHERE subject LIKE '%192.0.2%' OR subject LIKE '%2001:db8%'";
        let (plain,): (i64,) = on!(&mut tx, c => sqlx::query_as(plain).fetch_one(c).await.expect("counted"));
        assert_eq!(plain, 0, "no address is kept");
        drop(tx);
        mail_counts::forget(&world.store, now.saturating_add(Span::from_days(2))).await.expect("forgotten");
        assert_eq!((counted("address:2001:db8:0:1::/64").await, counted("address:192.0.2.1").await), (0, 0));
    }
}
