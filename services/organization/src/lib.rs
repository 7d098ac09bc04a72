//! Organization: who works with whom, and as what. Organizations, members, invitations and projects; it
//! signs no token and counts no credits.
//!
//! - `domain/`: the rules, pure
//! - `usecase/`: what is done, one file per thing
//! - `store/`: every SQL statement
//! - `grpc/`: the handlers, and errors → status
//! - `consume.rs`: what identity's events do here
//!
//! [`start`] wires them; nothing else here knows about settings or background tasks.

mod config;
pub mod consume;
pub mod domain;
mod error;
mod grpc;
pub mod store;
pub mod usecase;

pub use config::Config;
pub use error::Error;

use std::sync::Arc;

use bursar_db::Db;
use bursar_events::{Feed, Following, Outbox};
use bursar_mail::Courier;
use bursar_rpc::{KeySet, Mutations, ServiceTokens, StackDeps};
use bursar_runtime::{Env, Peers, ReadyProbe, Service, Settings, Started};
use bursar_time::{Span, Timestamp};
use tokio::sync::Notify;

use consume::{FromBilling, FromIdentity};
use store::MIGRATIONS;
use usecase::present::State;
use usecase::{Organization, Parts};

/// How often old answers to requests are forgotten.
const PRUNE_EVERY: Span = Span::HOUR;
/// How often somebody looks for people to see off without being told: another replica may have died on it.
const LOOK_EVERY: Span = Span::MINUTE;
/// The rest between two rounds of background work, however often a test's clock jumps.
const REST: std::time::Duration = std::time::Duration::from_secs(1);

/// Brings the store's schema up to date. `restored_at`: the store was restored from a backup; a new incarnation of its
/// events begins at this time.
pub async fn migrate(settings: &Settings, restored_at: Option<Timestamp>) -> anyhow::Result<()> {
    let db = open(settings).await?;
    let outcome = async {
        db.migrate(&MIGRATIONS).await?;
        match restored_at {
            Some(now) => bursar_events::begin_incarnation(&db, now).await,
            None => Ok(()),
        }
    };
    let outcome = outcome.await;
    db.close().await;
    Ok(outcome?)
}

async fn open(settings: &Settings) -> anyhow::Result<Db> {
    let options = settings.pool_options(Service::Organization);
    Ok(Db::open(settings.store(Service::Organization), &MIGRATIONS, &options).await?)
}

/// Starts the service over a migrated store: its routes behind the whole stack, and its background tasks.
pub async fn start(settings: &Settings, peers: Peers, env: Env) -> anyhow::Result<Started> {
    let keys = KeySet::remote(peers.to(Service::Identity));
    start_with(settings, keys, peers, env).await
}

/// Like [`start`], with the keys that verify tokens instead of those that identity publishes.
pub async fn start_with(settings: &Settings, keys: KeySet, peers: Peers, env: Env) -> anyhow::Result<Started> {
    let db = open(settings).await?;
    db.check_schema(&MIGRATIONS).await?;
    let sealer = settings.sealer(&env.entropy)?;
    let (clock, entropy) = (env.clock.clone(), env.entropy.clone());
    let outbox = Outbox::new("organization", db.clone(), clock.clone(), entropy.clone());
    let courier =
        Courier::new(db.clone(), sealer.clone(), clock.clone(), settings.mail_transport()?, &settings.mail.from)?;
    let tokens = peers.tokens(Service::Organization, settings, &env)?;
    let organization = Organization::new(Parts {
        config: Config::of(settings),
        db: db.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        sealer,
        mutations: Mutations::new(db.clone(), clock.clone(), entropy.clone(), outbox.clone()),
        outbox: outbox.clone(),
        courier,
        billing: peers.to(Service::Billing).with_tokens(tokens.clone()),
    });
    organization.tell_deployment_policy().await?;
    let feeds = [Service::Identity, Service::Billing].map(|source| Feed::new(source.name()));
    feeds.iter().for_each(|feed| feed.measure(&env.meter));
    spawn_tasks(&organization, &feeds, &peers, &tokens, &env);

    let deps = StackDeps { keys, clock, entropy, meter: env.meter, limits: settings.stack_limits() };
    let events = outbox.service(State, env.shutdown);
    let routes = grpc::routes(&organization).add_service(events);
    Ok(Started::new(Service::Organization, bursar_rpc::stack(routes, deps))
        .answering(grpc::SERVICES)
        .answering(["bursar.event.v1.EventService"])
        .ready_when(
            ReadyProbe::store(db.clone(), &MIGRATIONS).showing(move || feeds.each_ref().map(Feed::describe).join(", ")),
        )
        .closing(async move { db.close().await }))
}

/// Background work: mail goes out until everything has ended, the rest only until draining begins.
fn spawn_tasks(organization: &Organization, feeds: &[Feed; 2], peers: &Peers, tokens: &ServiceTokens, env: &Env) {
    let parts = organization.parts();
    env.tasks.spawn(parts.courier.clone().run(env.halt.clone()));
    let departures = Arc::new(Notify::new());
    let consumer = FromIdentity { clock: parts.clock.clone(), departures: Arc::clone(&departures) };
    let [identity, billing] = feeds;
    let following = |feed: &Feed, source| Following {
        feed: feed.clone(),
        transport: peers.to(source).with_tokens(tokens.clone()),
        db: parts.db.clone(),
        clock: parts.clock.clone(),
        entropy: parts.entropy.clone(),
        shutdown: env.shutdown.clone(),
    };
    env.tasks.spawn(bursar_events::run(consumer, following(identity, Service::Identity)));
    env.tasks.spawn(bursar_events::run(FromBilling, following(billing, Service::Billing)));
    env.tasks.spawn(see_off(organization.clone(), departures, env.clone()));
    env.tasks.spawn(prune(organization.clone(), env.clone()));
}

/// Sees off whoever has deleted the account: at once, when told, and every now and then.
async fn see_off(organization: Organization, departures: Arc<Notify>, env: Env) {
    loop {
        match organization.see_off().await {
            Ok(0) => {}
            Ok(memberships) => tracing::info!(memberships, "ended memberships of deleted accounts"),
            Err(error) => {
                tracing::warn!(%error, "cannot end the memberships of deleted accounts");
                tokio::time::sleep(REST).await;
                departures.notify_one();
            }
        }
        tokio::select! {
            () = env.shutdown.cancelled() => return,
            () = departures.notified() => {}
            () = env.clock.sleep(LOOK_EVERY) => {}
        }
    }
}

/// Forgets answers to requests that are too old to be repeated.
async fn prune(organization: Organization, env: Env) {
    let parts = organization.parts();
    loop {
        let again = env.clock.sleep(PRUNE_EVERY);
        match bursar_db::idempotency::prune(&parts.db, parts.clock.now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "forgot old answers"),
            Err(error) => tracing::warn!(%error, "cannot forget old answers"),
        }
        tokio::select! {
            () = env.shutdown.cancelled() => return,
            () = async { tokio::time::sleep(REST).await; again.await } => {}
        }
    }
}
