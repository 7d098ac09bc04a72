//! The service under test with its surroundings: a small identity and billing, a clock, a mailbox, people.

use std::sync::Arc;

use bursar_db::{Db, Migrations};
use bursar_events::{Nothing, Outbox};
use bursar_id::{OrganizationId, Role, SessionId, UserId};
use bursar_organization::store::{MIGRATIONS, seats};
use bursar_proto::billing::v1::invoice_service_server::InvoiceServiceServer;
use bursar_proto::billing::v1::subscription_service_server::SubscriptionServiceServer;
use bursar_proto::billing::v1::usage_service_server::UsageServiceServer;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{MembershipChanged, PlanFeatures, SubscriptionChanged, WatchRequest};
use bursar_proto::event_type;
use bursar_proto::identity::v1::service_account_service_server::ServiceAccountServiceServer;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::convert::to_role;
use bursar_rpc::{Limits, ServiceRole, StackDeps, Suspended, Transport, stack};
use bursar_runtime::{Cloud, Each, Env, Peers, ReadyProbe, Service, Settings, Started};
use bursar_secret::Entropy;
use bursar_testkit::{Bucket, Client, Issuer, Mailbox, TestDb, clock, id, sqlite};
use bursar_time::{Clock, Span};
use prost_types::FieldMask;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;

use crate::accounts::Accounts;
use crate::billing::Billing;
use crate::staleness::hearing;
use crate::usage::Usage;

/// Everything a test needs.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) mailbox: Mailbox,
    pub(crate) billing: Billing,
    pub(crate) usage: Usage,
    pub(crate) identity: Outbox,
    pub(crate) identity_db: Db,
    pub(crate) billing_events: Outbox,
    pub(crate) billing_db: Db,
    /// The service's own store.
    pub(crate) store: Db,
    /// Nobody in particular.
    pub(crate) anybody: Client,
    /// Whether the service is ready.
    pub(crate) ready: ReadyProbe,
    /// Where content lies, if not in a folder.
    pub(crate) bucket: Option<Bucket>,
    pub(crate) settings: Settings,
    pub(crate) peers: Peers,
    pub(crate) env: Env,
    _databases: [TestDb; 3],
    _data: tempfile::TempDir,
}

/// Somebody, with clients that carry a token in the personal context unless [`World::acting`] says otherwise.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) user: UserId,
    pub(crate) email: String,
    pub(crate) client: Client,
}

impl Drop for World {
    fn drop(&mut self) {
        self.env.shutdown.cancel();
        self.env.halt.cancel();
    }
}

impl World {
    pub(crate) async fn start(db: TestDb) -> Self {
        Self::start_with(db, |_| ()).await
    }

    /// The same with its content in a bucket, where there is a server of the cloud's.
    pub(crate) async fn start_in_a_bucket(
        db: TestDb,
        cloud: Cloud,
        adjust: impl FnOnce(&mut Settings),
    ) -> Option<Self> {
        let bucket = Bucket::start(cloud).await?;
        let mut world = Self::start_with(db, |settings| {
            bucket.name_in(settings);
            adjust(settings);
        })
        .await;
        world.bucket = Some(bucket);
        Some(world)
    }

    pub(crate) async fn start_with(db: TestDb, adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::start_by(db, clock(), adjust).await
    }

    /// The same by another clock.
    pub(crate) async fn start_by(db: TestDb, clock: Clock, adjust: impl FnOnce(&mut Settings)) -> Self {
        let (data, issuer) = (tempfile::tempdir().expect("a directory"), Arc::new(Issuer::new()));
        let mut settings = Settings::for_test(data.path());
        settings.stores[Service::Organization] = db.store_url();
        // The machine may be busy: a race is not about how long it takes.
        settings.postgres.acquire_timeout = std::time::Duration::from_mins(2);
        settings.limits.deadline = std::time::Duration::from_mins(2);
        adjust(&mut settings);
        let identity_file = sqlite::file();
        let identity_db = identity_file.open(&Migrations::SHARED).await;
        let billing_file = sqlite::file();
        let billing_db = billing_file.open(&Migrations::SHARED).await;
        let env = Env::for_test(clock.clone(), Entropy::seeded(7));
        let identity = Outbox::new("identity", identity_db.clone(), clock.clone(), Entropy::seeded(8));
        let (billing, usage) = (Billing::default(), Usage::default());
        let deps = || deps(&issuer, &clock);
        let accounts = Accounts { issuer: Arc::clone(&issuer), clock: clock.clone() };
        let watch = identity.service(Nothing, CancellationToken::new());
        let identity_routes = Routes::new(ServiceAccountServiceServer::new(accounts));
        let identity_routes = stack(identity_routes.add_service(watch), deps());
        let billing_events = Outbox::new("billing", billing_db.clone(), clock.clone(), Entropy::seeded(10));
        let billing_routes = Routes::new(SubscriptionServiceServer::new(billing.clone()))
            .add_service(InvoiceServiceServer::new(billing.clone()))
            .add_service(UsageServiceServer::new(usage.clone()))
            .add_service(billing_events.service(Nothing, CancellationToken::new()));
        let peers = Peers::new(Each::new([
            Transport::routes(identity_routes),
            Transport::late().0,
            Transport::routes(stack(billing_routes, deps())),
        ]));
        bursar_organization::migrate(&settings, None).await.expect("migrates");
        let started = bursar_organization::start_with(&settings, issuer.keys(), peers.clone(), env.clone());
        let started = started.await.expect("starts");
        let ready = hearing(started.ready.clone()).await;
        let transport = Transport::routes(started.routes);
        let anybody = Client::new(peers.to(Service::Identity), transport, peers.to(Service::Billing));
        Self {
            store: db.open(&MIGRATIONS).await,
            mailbox: Mailbox::new(data.path()),
            clock,
            issuer,
            billing,
            usage,
            identity,
            identity_db,
            billing_events,
            billing_db,
            anybody,
            ready,
            bucket: None,
            settings,
            peers,
            env,
            _databases: [db, identity_file, billing_file],
            _data: data,
        }
    }

    /// A world in which the same people found and are invited as often as there are rounds, and invitations last an hour: as many
    /// of them as there are rounds are over before an event of the first is forgotten.
    pub(crate) async fn generous(db: TestDb) -> Self {
        Self::start_with(db, |settings| {
            settings.invitations.ttl = std::time::Duration::from_hours(1);
            settings.invitations.max_per_day_to_address = 10_000;
            settings.invitations.max_per_day_by_sender = 10_000;
            settings.organizations.max_created_per_day = 10_000;
        })
        .await
    }

    /// One more organization starts on the same store, with other settings; calls to it come from nowhere else.
    pub(crate) async fn starts_again(&self, adjust: impl FnOnce(&mut Settings)) -> Client {
        self.at(self.tries_to_start(adjust).await.expect("starts")).0
    }

    /// Calls to one that has started, and whether it is ready.
    pub(crate) fn at(&self, started: Started) -> (Client, ReadyProbe) {
        let transport = Transport::routes(started.routes);
        (Client::new(self.peers.to(Service::Identity), transport, self.peers.to(Service::Billing)), started.ready)
    }

    /// The same, if it starts.
    pub(crate) async fn tries_to_start(&self, adjust: impl FnOnce(&mut Settings)) -> anyhow::Result<Started> {
        let mut settings = self.settings.clone();
        adjust(&mut settings);
        let (keys, peers) = (self.issuer.keys(), self.peers.clone());
        bursar_organization::start_with(&settings, keys, peers, self.env.clone()).await
    }

    /// Organization as an operator's command has it.
    pub(crate) async fn at_rest(&self) -> bursar_organization::usecase::Organization {
        bursar_organization::at_rest(&self.settings).await.expect("opens")
    }

    /// The `n`-th person, whose address is `u<n>@example.com`.
    pub(crate) fn who(&self, n: u64) -> Who {
        self.who_as(n, &format!("u{n}@example.com"))
    }

    /// The `n`-th person with another address.
    pub(crate) fn who_as(&self, n: u64, email: &str) -> Who {
        self.who_at(&self.anybody, n, email)
    }

    /// The same at this replica.
    pub(crate) fn who_at(&self, replica: &Client, n: u64, email: &str) -> Who {
        let user = id(n);
        let token = self.issuer.user(user).email(email).session(session(n)).at(self.clock.now());
        Who { user, email: email.to_owned(), client: replica.with_token(&token) }
    }

    /// Somebody in the context of an organization; what the token says of the role does not matter here.
    pub(crate) fn acting(&self, who: &Who, organization: &str) -> Who {
        self.acting_at(&self.anybody, who, organization)
    }

    /// The same at this replica.
    pub(crate) fn acting_at(&self, replica: &Client, who: &Who, organization: &str) -> Who {
        let organization: OrganizationId = organization.parse().expect("an organization");
        let token = self.issuer.member(who.user, organization, Role::Member);
        let token = token.email(&who.email).at(self.clock.now());
        Who { client: replica.with_token(&token), ..who.clone() }
    }

    /// A service.
    pub(crate) fn service(&self, role: ServiceRole) -> Client {
        self.anybody.with_token(&self.issuer.service(role, self.clock.now()))
    }

    /// Creates an organization.
    pub(crate) async fn create(&self, who: &Who, name: &str) -> proto::Organization {
        let request = proto::CreateOrganizationRequest { name: name.to_owned(), ..Default::default() };
        let created = who.client.organizations().create_organization(request).await;
        created.expect("created").into_inner().organization.expect("an organization")
    }

    /// Makes the `n`-th person a member, by invitation.
    pub(crate) async fn join(&self, by: &Who, organization: &str, n: u64, role: Role) -> Who {
        // Mail of one instant has no order.
        self.advance(Span::SECOND);
        let who = self.who(n);
        let invited = invite(by, organization, &who.email, role).await;
        invited.expect("invited");
        // Whoever owned one before has other mail, too.
        let token = loop {
            let mail = self.mailbox.next(&who.email).await;
            if mail.text.contains("token=") {
                break mail.token();
            }
        };
        accept(&who, &token).await.expect("accepted");
        who
    }

    /// Every event so far.
    pub(crate) async fn events(&self) -> Vec<Payload> {
        let mut watch = self.service(ServiceRole::Billing).organization_events();
        let stream = watch.watch(WatchRequest::default()).await;
        let mut stream = stream.expect("watching").into_inner();
        let mut events = Vec::new();
        loop {
            match stream.message().await.expect("an answer").expect("more").item {
                // What it told when it started is nobody's doing.
                Some(Item::Event(event)) if event.r#type == event_type::DEPLOYMENT_POLICY_CHANGED => {}
                Some(Item::Event(event)) => events.extend(event.payload),
                // The first sign of life says that nothing is left to tell.
                _ => return events,
            }
        }
    }

    /// Every membership event about a person, in order.
    pub(crate) async fn told_of(&self, user: UserId) -> Vec<MembershipChanged> {
        let user = user.to_string();
        let of_user = |payload| match payload {
            Payload::MembershipChanged(changed) if changed.user_id == user => Some(changed),
            _ => None,
        };
        self.events().await.into_iter().filter_map(of_user).collect()
    }

    /// How an organization stood according to every event, in order: the state, whether it was purged, the version.
    pub(crate) async fn standings_of(&self, organization: &str) -> Vec<(proto::OrganizationState, bool, u64)> {
        let told = |payload| match payload {
            Payload::OrganizationStandingChanged(changed) if changed.organization_id == organization => {
                Some((changed.state(), changed.purged, changed.version))
            }
            _ => None,
        };
        self.events().await.into_iter().filter_map(told).collect()
    }

    /// Lets identity tell something.
    pub(crate) async fn identity_tells(&self, payload: Payload) {
        let tx = self.identity_db.begin().await.expect("a transaction");
        self.identity.commit(tx, vec![payload]).await.expect("told");
    }

    /// Lets billing tell something.
    pub(crate) async fn billing_tells(&self, payload: Payload) {
        let tx = self.billing_db.begin().await.expect("a transaction");
        self.billing_events.commit(tx, vec![payload]).await.expect("told");
    }

    /// Lets billing tell of a plan's seats, and waits until that is known.
    pub(crate) async fn tells_seats(&self, organization: &str, seats: u32) {
        let (owner, plan_id, state) = (organization.to_owned(), "business".to_owned(), "ACTIVE".to_owned());
        let features = Some(PlanFeatures::default());
        let changed = SubscriptionChanged { owner, plan_id, seats, state, features };
        self.billing_tells(Payload::SubscriptionChanged(changed)).await;
        let organization = organization.parse().expect("an id");
        until("the plan's seats are told", async || {
            let mut tx = self.store.read().await.expect("a snapshot");
            seats::known(&mut tx, organization).await.expect("read").seats == Some(seats)
        })
        .await;
    }

    /// Where the service keeps what is no database.
    pub(crate) fn data_dir(&self) -> &std::path::Path {
        &self.settings.data_dir
    }

    pub(crate) fn advance(&self, span: Span) {
        self.clock.advance(span).expect("time moves on");
    }

    /// Where mail is written.
    pub(crate) fn mail_dir(&self) -> std::path::PathBuf {
        self.settings.mail_dir()
    }
}

/// The session of the `n`-th person.
pub(crate) fn session(n: u64) -> SessionId {
    id(1_000 + n)
}

pub(crate) async fn invite(by: &Who, organization: &str, email: &str, role: Role) -> Result<proto::Invitation, Status> {
    let request = proto::CreateInvitationRequest {
        organization_id: organization.to_owned(),
        email: email.to_owned(),
        role: to_role(role).into(),
        ..Default::default()
    };
    let created = by.client.invitations().create_invitation(request).await?;
    Ok(created.into_inner().invitation.expect("an invitation"))
}

pub(crate) async fn accept(who: &Who, token: &str) -> Result<proto::Member, Status> {
    let request = proto::AcceptInvitationRequest { token: token.to_owned(), request_id: String::new() };
    let accepted = who.client.invitations().accept_invitation(request).await?;
    Ok(accepted.into_inner().member.expect("a member"))
}

pub(crate) async fn leave(who: &Who, organization: &str) -> Result<(), Status> {
    let request =
        proto::LeaveOrganizationRequest { organization_id: organization.to_owned(), request_id: String::new() };
    who.client.members().leave_organization(request).await.map(|_| ())
}

pub(crate) async fn remove(by: &Who, organization: &str, user: UserId) -> Result<(), Status> {
    let request = proto::RemoveMemberRequest {
        organization_id: organization.to_owned(),
        user_id: user.to_string(),
        request_id: String::new(),
    };
    by.client.members().remove_member(request).await.map(|_| ())
}

pub(crate) async fn transfer(by: &Who, organization: &str, to: UserId) -> Result<proto::Organization, Status> {
    let request = proto::TransferOwnershipRequest {
        organization_id: organization.to_owned(),
        user_id: to.to_string(),
        request_id: String::new(),
    };
    let transferred = by.client.organizations().transfer_ownership(request).await?;
    Ok(transferred.into_inner().organization.expect("an organization"))
}

/// Deletes an organization, confirmed by its slug.
pub(crate) async fn delete(by: &Who, organization: &proto::Organization) -> Result<proto::Organization, Status> {
    let request = proto::DeleteOrganizationRequest {
        organization_id: organization.id.clone(),
        confirm_slug: organization.slug.clone(),
        request_id: String::new(),
    };
    let deleted = by.client.organizations().delete_organization(request).await?;
    Ok(deleted.into_inner().organization.expect("an organization"))
}

/// Takes a deletion back.
pub(crate) async fn undelete(by: &Who, organization: &str) -> Result<proto::Organization, Status> {
    let request =
        proto::UndeleteOrganizationRequest { organization_id: organization.to_owned(), request_id: String::new() };
    let undeleted = by.client.organizations().undelete_organization(request).await?;
    Ok(undeleted.into_inner().organization.expect("an organization"))
}

/// An organization by its id.
pub(crate) async fn get(by: &Who, organization: &str) -> Result<proto::Organization, Status> {
    let key = Some(proto::get_organization_request::Key::OrganizationId(organization.to_owned()));
    let got = by.client.organizations().get_organization(proto::GetOrganizationRequest { key }).await?;
    Ok(got.into_inner().organization.expect("an organization"))
}

/// Has an owner set one field of the organization's own policy, and gives the policy that holds then.
pub(crate) async fn set_policy(
    by: &Who,
    organization: &str,
    field: &str,
    policy: proto::Policy,
) -> Result<proto::Policy, Status> {
    let request = proto::UpdatePolicyRequest {
        organization_id: organization.to_owned(),
        policy: Some(policy),
        update_mask: Some(FieldMask { paths: vec![field.to_owned()] }),
        request_id: String::new(),
    };
    Ok(by.client.organizations().update_policy(request).await?.into_inner().policy.expect("a policy"))
}

/// Asks, as identity does, how many organizations stand in the way of somebody who leaves.
pub(crate) async fn owned(world: &World, who: &Who, number: u64) -> u32 {
    let request =
        proto::ConfirmDepartureRequest { user_id: who.user.to_string(), incarnation: 1, number, ..Default::default() };
    let identity = world.service(ServiceRole::Identity);
    identity.members().confirm_departure(request).await.expect("answered").into_inner().organizations
}

/// Waits until a condition holds; the background work of the service makes it true.
pub(crate) async fn until<F>(what: &str, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let start = std::time::Instant::now();
    while !holds().await {
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn deps(issuer: &Issuer, clock: &Clock) -> StackDeps {
    let env = Env::for_test(clock.clone(), Entropy::seeded(9));
    StackDeps {
        keys: issuer.keys(),
        clock: env.clock,
        entropy: env.entropy,
        meter: env.meter,
        limits: Limits::default(),
        suspended: Suspended::default(),
    }
}
