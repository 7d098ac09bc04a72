//! What the others told grows old, or cannot be read: what rests on it is refused, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bursar_db::{Db, on};
use bursar_events::{Nothing, aside};
use bursar_id::{Role, UserId};
use bursar_proto::access::{CallerKind, Idempotency, MethodRule};
use bursar_proto::billing::v1::subscription_service_server::SubscriptionServiceServer;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{AuditRecorded, Event, SubscriptionChanged, UserStandingChanged, UserUpdated};
use bursar_proto::identity::v1::service_account_service_server::ServiceAccountServiceServer;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::{ServiceRole, Transport};
use bursar_runtime::{Each, Peers, ReadyProbe};
use bursar_testkit::{Client, Hush, refused, rpcs};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Status};

use crate::accounts::Accounts;
use crate::audit_rows::Stage;
use crate::closed;
use crate::contents::{download, start, upload};
use crate::departing::every_way;
use crate::library::{create as create_item, item};
use crate::world::{Who, World, accept, get, invite, until};

/// A service that is ready, once it has heard both that it follows: their last words serve from now on.
pub(crate) async fn hearing(ready: ReadyProbe) -> ReadyProbe {
    ready.check().await.expect("is ready");
    until("both are heard", async || ready.note().is_some_and(|note| !note.contains("nothing heard"))).await;
    ready
}

fn stale<T: std::fmt::Debug>(outcome: Result<T, Status>, what: &str) {
    let outcome = outcome.map(|answer| panic!("{what}: {answer:#?}"));
    let refusal = refused::<()>(outcome, Code::Unavailable, "FEED_STALE");
    assert!(refusal.retryable, "{what} says when to come again: {refusal:#?}");
}

async fn found(who: &Who) -> Result<(), Status> {
    let request = proto::CreateOrganizationRequest { name: "New".to_owned(), ..Default::default() };
    who.client.organizations().create_organization(request).await.map(drop)
}

async fn send_again(who: &Who, invitation_id: &str) -> Result<(), Status> {
    let request = proto::ResendInvitationRequest { invitation_id: invitation_id.to_owned(), ..Default::default() };
    who.client.invitations().resend_invitation(request).await.map(drop)
}

/// Makes a project of somebody's own.
async fn begin_project(who: &Who) -> Result<(), Status> {
    let (owner, name) = (who.user.to_string(), "Own".to_owned());
    let request = proto::CreateProjectRequest { owner, name, ..Default::default() };
    who.client.projects().create_project(request).await.map(drop)
}

/// The RPCs by which whoever belongs to an organization changes something, by their short names.
fn changes() -> Vec<&'static str> {
    let about: Vec<&str> = closed::rpcs().collect();
    let changing = |rule: &MethodRule| rule.idempotency != Idempotency::NoSideEffects && rule.admits(CallerKind::User);
    rpcs("bursar.organization.v1", changing).into_keys().filter(|rpc| about.contains(rpc)).collect()
}

/// That somebody is not suspended.
pub(crate) fn stays(user: UserId, version: u64) -> Payload {
    Payload::UserStandingChanged(UserStandingChanged { user_id: user.to_string(), suspended: false, version })
}

fn called(user: UserId, name: &str) -> Payload {
    Payload::UserUpdated(UserUpdated { user_id: user.to_string(), display_name: name.to_owned() })
}

async fn by_hand(db: &Db, statement: &'static str) {
    let mut tx = db.begin().await.expect("a transaction");
    on!(&mut tx, c => sqlx::query(statement).execute(c).await.expect(statement).rows_affected());
    tx.commit().await.expect("committed");
}

impl World {
    /// Whether `/readyz` shows this.
    fn shows(&self, what: &str) -> bool {
        self.ready.note().is_some_and(|note| note.contains(what))
    }

    /// Identity tells of somebody's standing so that nobody can read it, and it is set aside.
    pub(crate) async fn blots(&self, user: UserId) {
        self.spoils(stays(user, 1), 1).await;
    }

    /// Identity tells something that nobody can read; so many events are set aside then.
    async fn spoils(&self, payload: Payload, count: usize) {
        let damage = "CREATE TRIGGER damage AFTER INSERT ON outbox \
            BEGIN UPDATE outbox SET payload = x'ff' WHERE seq = new.seq; END";
        by_hand(&self.identity_db, damage).await;
        self.identity_tells(payload).await;
        by_hand(&self.identity_db, "DROP TRIGGER damage").await;
        let shown = format!("{count} of its events set aside");
        until("it is set aside", async || self.shows(&shown)).await;
    }

    /// The one event that is set aside.
    async fn set_aside(&self) -> aside::SetAside {
        let mut tx = self.store.read().await.expect("a snapshot");
        let mut all = aside::list(&mut tx).await.expect("listed");
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// Nobody is in doubt any more.
    pub(crate) async fn all_is_certain(&self) {
        until("nothing is set aside", async || !self.shows("set aside")).await;
    }
}

/// One more organization on a world's store, to which billing's events come by a way of their own.
struct Replica {
    client: Client,
    ready: ReadyProbe,
    plans: Hush,
}

impl Replica {
    /// The way of billing's events.
    fn plans(world: &World) -> Hush {
        Hush::over(Routes::new(world.billing_events.service(Nothing, CancellationToken::new())))
    }

    async fn start(world: &World, plans: Hush) -> Self {
        let accounts = Accounts { issuer: Arc::clone(&world.issuer), clock: world.clock.clone() };
        let people = world.identity.service(Nothing, CancellationToken::new());
        let identity = Routes::new(ServiceAccountServiceServer::new(accounts)).add_service(people);
        let billing = Routes::new(SubscriptionServiceServer::new(world.billing.clone())).add_service(plans.service());
        let ways = [Transport::routes(identity), Transport::late().0, Transport::routes(billing)];
        let (keys, peers) = (world.issuer.keys(), Peers::new(Each::new(ways)));
        let started = bursar_organization::start_with(&world.settings, keys, peers, world.env.clone()).await;
        let (client, ready) = world.at(started.expect("starts"));
        Self { client, ready, plans }
    }

    /// The `n`-th person, who calls this one.
    fn who(&self, world: &World, n: u64) -> Who {
        world.who_at(&self.client, n, &format!("u{n}@example.com"))
    }

    /// Whether `/readyz` shows that billing was heard, but long ago.
    fn is_stale(&self) -> bool {
        let note = self.ready.note().unwrap_or_default();
        note.split(", ").any(|it| it.starts_with("billing heard") && it.contains("stale above 300 s"))
    }

    /// Billing is heard no more, for so long that nobody goes by what it told.
    async fn falls_silent(&self, world: &World) {
        self.plans.fall_silent();
        until("the feed is stale", async || {
            // Again and again: one more sign of life may have been on its way.
            world.env.monotonic.advance(world.settings.max_staleness + Duration::from_secs(1));
            self.is_stale()
        })
        .await;
    }
}

bursar_testkit::engines! {
    async fn by_a_word_of_billings_that_is_too_old_nobody_gets_a_seat(db: TestDb) {
        let world = World::start(db).await;
        let acme = world.create(&world.who(1), "Acme").await.id;
        world.tells_seats(&acme, 5).await;
        let replica = Replica::start(&world, Replica::plans(&world)).await;
        hearing(replica.ready.clone()).await;
        let (ada, ben) = (replica.who(&world, 1), replica.who(&world, 2));
        let asked = world.billing.asked();
        invite(&ada, &acme, &ben.email, Role::Member).await.expect("billing was just heard");
        let token = world.mailbox.next_token(&ben.email).await;
        let held = invite(&ada, &acme, "c@example.com", Role::Member).await.expect("so another").id;
        assert_eq!(world.billing.asked(), asked, "nobody was asked");

        world.billing.set_away(true);
        replica.falls_silent(&world).await;
        stale(invite(&ada, &acme, "d@example.com", Role::Member).await, "inviting");
        stale(accept(&ben, &token).await, "accepting");
        // What takes no seat goes on, and everything is shown.
        send_again(&ada, &held).await.expect("it holds its seat");
        assert!(!get(&ada, &acme).await.expect("shown").over_limit);
        begin_project(&ada).await.expect("that takes none");

        // Billing need only answer, whether its events come or not.
        world.billing.set_away(false);
        world.billing.set_seats(3);
        let asked = world.billing.asked();
        let full = invite(&ada, &acme, "d@example.com", Role::Member).await;
        let full = refused(full, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        assert_eq!(full.metadata.get("seats").map(String::as_str), Some("3"), "what it says, not what it told");
        accept(&ben, &token).await.expect("it says that there is a seat");
        assert!(world.billing.asked() > asked);
        world.billing.set_away(true);
        accept(&ben, &token).await.expect("who has joined already takes none");

        world.billing.set_away(false);
        world.billing.set_seats(9);
        world.tells_seats(&acme, 9).await;
        world.billing.set_away(true);
        stale(invite(&ada, &acme, "d@example.com", Role::Member).await, "inviting, by what another replica heard");
        replica.plans.speak();
        until("billing is heard again", async || !replica.is_stale()).await;
        invite(&ada, &acme, "d@example.com", Role::Member).await.expect("billing is heard");
    }

    async fn before_its_first_word_billing_is_asked(db: TestDb) {
        let world = World::start(db).await;
        let acme = world.create(&world.who(1), "Acme").await.id;
        world.tells_seats(&acme, 5).await;
        let plans = Replica::plans(&world);
        plans.fall_silent();
        let replica = Replica::start(&world, plans).await;
        let ada = replica.who(&world, 1);
        world.billing.set_away(true);
        stale(invite(&ada, &acme, "b@example.com", Role::Member).await, "inviting");
        world.billing.set_away(false);
        invite(&ada, &acme, "b@example.com", Role::Member).await.expect("billing says that there is a seat");
        assert!(replica.ready.note().expect("a note").contains("nothing heard of billing yet"));
    }

    async fn what_billing_told_unreadably_stops_the_seats_of_its_organization_alone_until_it_tells_again(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        for organization in [&acme, &umbra] {
            world.tells_seats(organization, 5).await;
        }
        world.billing.set_away(true);
        let odd = SubscriptionChanged { owner: acme.clone(), seats: 1, ..Default::default() };
        world.billing_tells(Payload::SubscriptionChanged(odd)).await;
        until("it is set aside", async || world.shows("1 of its events set aside")).await;
        stale(invite(&ada, &acme, "b@example.com", Role::Member).await, "inviting");
        invite(&ada, &umbra, "b@example.com", Role::Member).await.expect("nothing is in doubt there");
        get(&ada, &acme).await.expect("shown");
        world.tells_seats(&acme, 6).await;
        world.all_is_certain().await;
        invite(&ada, &acme, "b@example.com", Role::Member).await.expect("it was told anew");
    }

    async fn of_whom_identity_told_unreadably_changes_nothing_and_nobody_else_is_refused(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let stage = Stage::set(world, &ada).await;
        let (world, acting, cem) = (&stage.world, stage.acting(&ada), stage.acting(&stage.cem));
        upload(&acting.client, start(&stage.asset, b"bytes"), b"bytes").await.expect("uploaded");
        world.blots(ada.user).await;
        let changes = changes();
        assert!(changes.len() >= 20, "only {changes:?}");
        for rpc in changes {
            stale(closed::call(&stage, &ada, rpc).await, rpc);
        }
        stale(closed::call(&stage, &ada, "ExportOrganization").await, "taking everything home");
        stale(download(&acting.client, &stage.asset, 0).await, "taking content home");
        stale(begin_project(&ada).await, "a project of one's own");
        let product = world.service(ServiceRole::Product);
        let item_of = |who: &Who| proto::CreateItemRequest { member: who.user.to_string(), ..item(&stage.acme, "agent", "New") };
        stale(create_item(&product, item_of(&ada)).await, "a service for the person");
        // Reading goes on, and so does everybody else.
        for rpc in ["GetOrganization", "GetPolicy", "ListMembers", "ListProjects", "ListItems", "GetItem", "ListInvitations"] {
            closed::call(&stage, &ada, rpc).await.unwrap_or_else(|status| panic!("{rpc}: {status:?}"));
        }
        create_item(&product, item_of(&cem)).await.expect("for somebody else");
        create_item(&cem.client, item(&stage.acme, "agent", "New")).await.expect("by somebody else");
        download(&cem.client, &stage.asset, 0).await.expect("to somebody else");
        found(&stage.cem).await.expect("by somebody else");
        // What identity tells of the standing next makes up for it.
        world.identity_tells(stays(ada.user, 2)).await;
        world.all_is_certain().await;
        closed::call(&stage, &ada, "UpdateOrganization").await.expect("all is known");
        download(&acting.client, &stage.asset, 0).await.expect("all is known");
    }

    async fn what_says_nothing_of_whether_somebody_is_here_stops_nobody(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.spoils(called(ada.user, "Nobody"), 1).await;
        let row = AuditRecorded { owner: ada.user.to_string(), ..Default::default() };
        world.spoils(Payload::AuditRecorded(row), 2).await;
        found(&ada).await.expect("a name does not matter, and neither does what was done");
        begin_project(&ada).await.expect("nor for one's own");
        // And what billing tells unreadably of something else stops no seats.
        world.tells_seats(&acme, 5).await;
        world.billing.set_away(true);
        let row = AuditRecorded { owner: acme.clone(), ..Default::default() };
        world.billing_tells(Payload::AuditRecorded(row)).await;
        until("it is set aside", async || world.shows("1 of its events set aside")).await;
        invite(&ada, &acme, "b@example.com", Role::Member).await.expect("a seat");
    }

    async fn who_may_have_left_comes_to_own_nothing_until_that_is_read_or_dropped(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        world.join(&ada, &acme, 2, Role::Admin).await;
        world.advance(bursar_time::Span::SECOND);
        invite(&ada, &umbra, &ben.email, Role::Member).await.expect("invited");
        let token = world.mailbox.next_token(&ben.email).await;
        let cem = world.who(3);
        invite(&ben, &acme, &cem.email, Role::Admin).await.expect("invited by him");
        let by_him = world.mailbox.next_token(&cem.email).await;
        world.blots(ben.user).await;
        for (n, outcome) in every_way(&world, &ada, &ben, &acme, &token).await.into_iter().enumerate() {
            stale(outcome, &format!("the way {n}"));
        }
        stale(accept(&cem, &by_him).await, "an Admin made by somebody who may have left");

        // A program that can read it applies it after all.
        let shown = world.set_aside().await;
        let payload = Some(stays(ben.user, 2));
        let read = Event { id: shown.id.clone(), owner: shown.owner, r#type: shown.kind, payload, ..Default::default() };
        let mut tx = world.store.begin().await.expect("a transaction");
        let mend = "UPDATE events_set_aside SET event = $1 WHERE id = $2";
        on!(&mut tx, c => sqlx::query(mend).bind(read.encode_to_vec()).bind(&shown.id).execute(c).await.expect("mended").rows_affected());
        assert!(aside::try_again(&mut tx, &shown.id, world.clock.now()).await.expect("asked for"));
        tx.commit().await.expect("committed");
        world.all_is_certain().await;
        begin_project(&ben).await.expect("all is known");
        accept(&cem, &by_him).await.expect("all is known of who invited");

        world.blots(ben.user).await;
        stale(begin_project(&ben).await, "once more");
        let shown = world.set_aside().await;
        let mut tx = world.store.begin().await.expect("a transaction");
        assert!(aside::discard(&mut tx, &shown.id).await.expect("dropped"));
        tx.commit().await.expect("committed");
        world.all_is_certain().await;
        begin_project(&ben).await.expect("an operator has looked into it");
    }
}
