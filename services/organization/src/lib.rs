//! Organization: who works with whom, as what, and with what. Organizations, members, invitations, projects and libraries; it
//! signs no token and counts no credits.
//!
//! - `domain/`: the rules, pure
//! - `usecase/`: what is done, one file per thing
//! - `store/`: every SQL statement
//! - `grpc/`: the handlers, and errors → status
//! - `consume.rs`: what identity's events do here
//! - `content/`: where the content of items lies
//! - `kinds/`: reading the kinds of library items
//! - `jobs.rs`: what is done later, and again and again
//!
//! [`start`] wires them; nothing else here knows about settings or background tasks.

mod config;
pub mod consume;
mod content;
pub mod domain;
mod error;
mod grpc;
mod jobs;
mod kinds;
pub mod store;
pub mod usecase;

pub use config::Config;
pub use error::Error;

use bursar_db::Db;
use bursar_events::{Feed, Following, Outbox};
use bursar_jobs::Jobs;
use bursar_mail::Courier;
use bursar_members::people::{People, Told};
use bursar_rpc::{KeySet, Mutations, PageKey, ServiceTokens, StackDeps, Transport};
use bursar_runtime::{Env, Peers, ReadyProbe, Service, Settings, Started, keep_time, show_crowd};
use bursar_secret::Entropy;
use bursar_time::{Clock, Monotonic, Timestamp};

use consume::{FromBilling, FromIdentity};
use content::{Contents, Places};
use store::MIGRATIONS;
use usecase::present::State;
use usecase::{Easel, Feeds, OF_PEOPLE, OF_PLANS, Organization, Parts};

/// Looks into the kinds file, and says everything that is wrong with it, and into the key of a bucket.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    kinds::load(settings.kinds_file.as_deref())?;
    content::check(settings)
}

/// Brings the store's schema up to date. `restored_at`: the store was restored from a backup; a new incarnation of its
/// events begins at this time.
pub async fn migrate(settings: &Settings, restored_at: Option<Timestamp>) -> anyhow::Result<()> {
    Ok(bursar_events::migrate(open(settings).await?, &MIGRATIONS, restored_at).await?)
}

/// Opens organization's store as it is.
pub async fn open(settings: &Settings) -> anyhow::Result<Db> {
    let options = store::options(settings.pool_options(Service::Organization));
    Ok(Db::open(settings.store(Service::Organization), &MIGRATIONS, &options).await?)
}

/// Opens organization's store for a command: it must be migrated to what this program needs.
pub async fn open_migrated(settings: &Settings) -> anyhow::Result<Db> {
    let db = open(settings).await?;
    db.check_schema(&MIGRATIONS).await?;
    Ok(db)
}

/// Organization over its store as it is, for an operator's command: nothing runs in the background, and billing is away.
pub async fn at_rest(settings: &Settings) -> anyhow::Result<Organization> {
    let db = open_migrated(settings).await?;
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let outbox = Outbox::new("organization", db.clone(), clock.clone(), entropy.clone());
    let feeds = unheard(settings, &Monotonic::system());
    over(settings, db, (clock, entropy), outbox, (Transport::late().0, feeds))
}

/// What is heard of the services that this one follows: nothing yet.
fn unheard(settings: &Settings, time: &Monotonic) -> Feeds {
    let feed = |source: Service, rests_on| Feed::resting_on(source.name(), time, settings.max_staleness, rests_on);
    Feeds { people: feed(Service::Identity, OF_PEOPLE), plans: feed(Service::Billing, OF_PLANS) }
}

/// The use cases over a store, and everything that the settings name beside it.
fn over(
    settings: &Settings,
    db: Db,
    (clock, entropy): (Clock, Entropy),
    outbox: Outbox,
    (billing, feeds): (Transport, Feeds),
) -> anyhow::Result<Organization> {
    let sealer = settings.sealer(&entropy)?;
    Ok(Organization::new(Parts {
        config: Config::of(settings),
        kinds: kinds::load(settings.kinds_file.as_deref())?,
        contents: Contents::open(settings)?,
        uploads: Places::new(64, 4),
        downloads: Places::new(256, 16),
        exports: Places::new(16, 1),
        prints: sealer.derive("organization prints of requests with secrets"),
        pages: PageKey::new(sealer.derive("organization page tokens")),
        jobs: Jobs::new(db.clone(), sealer.clone(), entropy.clone(), clock.clone()),
        mutations: Mutations::new(db.clone(), clock.clone(), entropy.clone(), outbox.clone()),
        sealer,
        outbox,
        easel: Easel::new()?,
        billing,
        feeds,
        db,
        clock,
        entropy,
    }))
}

/// Starts the service over a migrated store: its routes behind the whole stack, and its background tasks.
pub async fn start(settings: &Settings, peers: Peers, env: Env) -> anyhow::Result<Started> {
    let keys = KeySet::remote(peers.to(Service::Identity), &env.clock);
    start_with(settings, keys, peers, env).await
}

/// Like [`start`], with the keys that verify tokens instead of those that identity publishes.
pub async fn start_with(settings: &Settings, keys: KeySet, peers: Peers, env: Env) -> anyhow::Result<Started> {
    let db = open(settings).await?;
    Box::pin(start_on(db, settings, keys, peers, env)).await
}

/// Like [`start_with`], over a store that is open: that of the settings.
pub async fn start_on(db: Db, settings: &Settings, keys: KeySet, peers: Peers, env: Env) -> anyhow::Result<Started> {
    db.check_schema(&MIGRATIONS).await?;
    let env = keep_time(Service::Organization, &db, settings, env).await?;
    show_crowd(Service::Organization, &db, &env.meter);
    let (clock, entropy) = (env.clock.clone(), env.entropy.clone());
    let outbox = Outbox::new("organization", db.clone(), clock.clone(), entropy.clone());
    let tokens = peers.tokens(Service::Organization, settings, &env)?;
    let billing = peers.to(Service::Billing).with_tokens(tokens.clone());
    let feeds = unheard(settings, &env.monotonic);
    let others = (billing, feeds.clone());
    let organization = over(settings, db.clone(), (clock.clone(), entropy.clone()), outbox.clone(), others)?;
    organization.parts().contents.begin().await?;
    organization.tell_deployment_policy().await?;
    for feed in [&feeds.people, &feeds.plans] {
        feed.measure(&env.meter);
    }
    let courier = Courier::new(settings.mail_transport()?, &settings.mail.from)?;
    let people = People::known(Told(db.clone())).await?;
    let suspended = people.suspended();
    let contents = organization.parts().contents.clone();
    spawn_tasks(&organization, (courier, people), &peers, &tokens, &env);

    let on_time = clock.clone();
    let deps = StackDeps { keys, clock, entropy, meter: env.meter, limits: settings.stack_limits(), suspended };
    let events = outbox.service(State, env.shutdown);
    let routes = grpc::routes(&organization).add_service(events);
    Ok(Started::new(Service::Organization, bursar_rpc::stack(routes, deps))
        .answering(grpc::SERVICES)
        .answering(["bursar.event.v1.EventService"])
        .ready_when(ReadyProbe::store(db.clone(), &MIGRATIONS).on_time(on_time).showing(move || {
            format!("{}, {}, {}", feeds.people.describe(), feeds.plans.describe(), contents.describe())
        }))
        .closing(async move { db.close().await }))
}

/// Background work: jobs are done until everything has ended, events are followed only until draining begins.
fn spawn_tasks(
    organization: &Organization,
    (courier, people): (Courier, People<Told>),
    peers: &Peers,
    tokens: &ServiceTokens,
    env: &Env,
) {
    let parts = organization.parts();
    env.tasks.spawn(jobs::runner(organization, people, courier, env).run(env.shutdown.clone(), env.halt.clone()));
    let consumer = FromIdentity { clock: parts.clock.clone(), jobs: parts.jobs.clone() };
    let following = |feed: &Feed, source| Following {
        feed: feed.clone(),
        transport: peers.to(source).with_tokens(tokens.clone()),
        db: parts.db.clone(),
        clock: parts.clock.clone(),
        entropy: parts.entropy.clone(),
        shutdown: env.shutdown.clone(),
    };
    env.tasks.spawn(bursar_events::run(consumer, following(&parts.feeds.people, Service::Identity)));
    let mailing = FromBilling { mailing: Some(organization.clone()) };
    env.tasks.spawn(bursar_events::run(mailing, following(&parts.feeds.plans, Service::Billing)));
}
