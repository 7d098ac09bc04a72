//! The three services in this process, on stores that the test can look into, called over sockets.

use std::time::Duration;

use bursar_db::{Db, Engine, Tx};
use bursar_id::{Id, InvitationId, OrganizationId, OwnerId, ProjectId, Role, UserId};
use bursar_organization::domain::nomination::Nomination;
use bursar_organization::domain::slug::Slug;
use bursar_organization::store::invitations::{self, InvitationRow};
use bursar_organization::store::memberships::{self, Joining};
use bursar_organization::store::organizations::{self, OrganizationRow};
use bursar_organization::store::projects::{self, ProjectRow};
use bursar_organization::store::standings::Life;
use bursar_organization::store::{nominations, slugs, users};
use bursar_rpc::Transport;
use bursar_runtime::{Env, Service, Settings};
use bursar_secret::{Entropy, Token};
use bursar_testkit::{Client, Mailbox, Person, TestDb, clock, postgres, sqlite};
use bursar_time::{Clock, Span};
use tonic::service::Routes;
use tonic::transport::Server;

pub(crate) struct World {
    pub(crate) anybody: Client,
    pub(crate) clock: Clock,
    pub(crate) identity: Db,
    pub(crate) organization: Db,
    pub(crate) billing: Db,
    mailbox: Mailbox,
    entropy: Entropy,
    env: Env,
    _stores: [TestDb; 3],
    _data: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.env.shutdown.cancel();
        self.env.halt.cancel();
    }
}

/// An organization to race in: its owner, an Admin, and whoever it is about.
pub(crate) struct Stage {
    pub(crate) organization: OrganizationId,
    /// An invitation for whoever it is about, if that is no member.
    pub(crate) invitation: Option<Token>,
}

/// What is true of a place on the stage before the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Member,
    /// A member whom the owner has nominated.
    Nominee,
    Owner,
    Invited,
}

impl World {
    pub(crate) async fn start(db: TestDb) -> Self {
        Box::pin(Self::start_with(db, |_| ())).await
    }

    /// The same with other settings.
    pub(crate) async fn start_with(db: TestDb, adjust: impl FnOnce(&mut Settings)) -> Self {
        let others = match db.engine() {
            Engine::Sqlite => [sqlite::file(), sqlite::file()],
            Engine::Postgres => {
                let another = async || postgres::database().await.expect("where one is there are others");
                [another().await, another().await]
            }
        };
        let data = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::for_test(data.path());
        let [organization, billing] = others;
        let stores = [db, organization, billing];
        for (service, store) in Service::ALL.into_iter().zip(&stores) {
            settings.stores[service] = store.store_url();
        }
        // The machine may be busy: a race is not about how long it takes.
        settings.postgres.acquire_timeout = Duration::from_mins(2);
        settings.limits.deadline = Duration::from_mins(2);
        // One person creates one in every round.
        settings.organizations.max_created_per_day = 100_000;
        adjust(&mut settings);
        let (clock, entropy) = (clock(), Entropy::system());
        let env = Env::for_test(clock.clone(), entropy.clone());
        bursar::wiring::migrate(&settings, None).await.expect("migrates");
        let started = Box::pin(bursar::wiring::start(&settings, env.clone())).await.expect("starts");
        let mut transports = Vec::new();
        for service in started {
            transports.push(listen(service.routes).await);
        }
        let [identity, organization, billing] = transports.try_into().expect("three services");
        Self {
            anybody: Client::new(identity, organization, billing),
            clock,
            identity: stores[0].open(&bursar_identity::store::MIGRATIONS).await,
            organization: stores[1].open(&bursar_organization::store::MIGRATIONS).await,
            billing: bursar_billing::open(&settings).await.expect("opens"),
            mailbox: Mailbox::new(data.path()),
            entropy,
            env,
            _stores: stores,
            _data: data,
        }
    }

    /// Somebody who has signed up, proven the address and signed in.
    pub(crate) async fn join(&self, name: &str) -> Person {
        Person::join(&self.anybody, &self.mailbox, name).await
    }

    fn id<K>(&self) -> Id<K> {
        Id::from_parts(self.clock.now().as_millis(), self.entropy.bytes())
    }

    /// Sets the stage, straight in organization's store.
    pub(crate) async fn stage(&self, [owner, admin, who]: [&Person; 3], start: Start) -> Stage {
        let organization: OrganizationId = self.id();
        let now = self.clock.now();
        let mut tx = self.organization.begin().await.expect("a transaction");
        let owner = if start == Start::Owner { (who, owner) } else { (owner, who) };
        let slug = Slug::parse(&format!("s-{}", &organization.to_string()[4..])).expect("a slug");
        assert!(slugs::take(&mut tx, &slug, organization, now).await.expect("taken"));
        let row = OrganizationRow {
            id: organization,
            name: "Acme".to_owned(),
            slug: slug.as_str().to_owned(),
            owner_user_id: user(owner.0),
            version: 1,
            created_at: now,
            updated_at: now,
            life: Life::ACTIVE,
        };
        organizations::insert(&mut tx, &row).await.expect("an organization");
        self.seat(&mut tx, organization, owner.0, Role::Owner).await;
        self.seat(&mut tx, organization, admin, Role::Admin).await;
        let mut invitation = None;
        match start {
            Start::Owner => self.seat(&mut tx, organization, owner.1, Role::Admin).await,
            Start::Member => self.seat(&mut tx, organization, who, Role::Member).await,
            Start::Nominee => {
                self.seat(&mut tx, organization, who, Role::Member).await;
                let nomination =
                    Nomination { nominee: user(who), by: user(owner.0), until: now.saturating_add(Span::DAY) };
                nominations::set(&mut tx, organization, &nomination).await.expect("nominated");
            }
            Start::Invited => invitation = Some(self.invite(&mut tx, organization, admin, who).await),
        }
        if start != Start::Invited {
            for owner in [OwnerId::Organization(organization), OwnerId::User(user(who))] {
                self.project(&mut tx, owner, who).await;
            }
        }
        tx.commit().await.expect("set");
        Stage { organization, invitation }
    }

    async fn seat(&self, tx: &mut Tx, organization: OrganizationId, who: &Person, role: Role) {
        let user = user(who);
        users::lock(tx, user).await.expect("known");
        let joining = Joining { organization, user, role, email: &who.email, email_key: &who.email };
        memberships::join(tx, &joining, self.clock.now()).await.expect("joined");
    }

    async fn invite(&self, tx: &mut Tx, organization: OrganizationId, by: &Person, who: &Person) -> Token {
        let (token, now) = (Token::generate(&self.entropy), self.clock.now());
        let id: InvitationId = self.id();
        let row = InvitationRow {
            id,
            organization_id: organization,
            email: who.email.clone(),
            email_key: who.email.clone(),
            role: Role::Member,
            state: "PENDING".to_owned(),
            lifetime: Span::DAY,
            invited_by: user(by),
            accepted_by: None,
            created_at: now,
            expires_at: now.saturating_add(Span::DAY),
        };
        invitations::insert(tx, &row, &token.digest()).await.expect("invited");
        token
    }

    async fn project(&self, tx: &mut Tx, owner: OwnerId, who: &Person) {
        let (id, now): (ProjectId, _) = (self.id(), self.clock.now());
        let row = ProjectRow {
            id,
            owner,
            name: "Work".to_owned(),
            description: String::new(),
            created_by: user(who),
            assigned_to: user(who),
            version: 1,
            created_at: now,
            updated_at: now,
        };
        projects::insert(tx, &row).await.expect("a project");
    }
}

/// The id of a person.
pub(crate) fn user(person: &Person) -> UserId {
    person.user.parse().expect("a user")
}

/// Serves routes on a port of its own until the test ends.
async fn listen(routes: Routes) -> Transport {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    Transport::connect(&format!("http://{address}")).expect("an address")
}
