//! Identity: who somebody is, and whom they act for. Users, credentials, sessions, tokens, signing keys and
//! service accounts; it decides no role and touches no credits.
//!
//! - `domain/`: the rules, pure
//! - `usecase/`: what is done, one file per thing
//! - `store/`: every SQL statement
//! - `grpc/`: the handlers, and errors → status
//! - `consume.rs`: what organization's events do here
//! - `jobs.rs`: what is done later, and again and again
//!
//! [`start`] wires them; nothing else here knows about settings or background tasks.

mod config;
pub mod consume;
pub mod domain;
mod error;
mod grpc;
mod jobs;
pub mod store;
pub mod usecase;

pub use config::Config;
pub use error::Error;

use std::sync::Arc;

use anyhow::Context as _;
use bursar_db::Db;
use bursar_events::{Feed, Following, Outbox};
use bursar_id::ServiceAccountId;
use bursar_jobs::Jobs;
use bursar_mail::Courier;
use bursar_members::Members;
use bursar_members::people::People;
use bursar_rpc::token::ServiceClaims;
use bursar_rpc::{KeySet, Mutations, PageKey, Problem, ServiceRole, ServiceTokens, StackDeps};
use bursar_runtime::{Env, Peers, ReadyProbe, Service, Settings, Started, keep_time, show_crowd};
use bursar_time::Timestamp;

use consume::{FromBilling, FromOrganization};
use store::MIGRATIONS;
use usecase::hashing::Hasher;
use usecase::present::Users;
use usecase::signing::Signer;
use usecase::{Identity, Parts, Suspensions};

/// Brings the store's schema up to date. `restored_at`: the store was restored from a backup; a new incarnation of its
/// events begins at this time.
pub async fn migrate(settings: &Settings, restored_at: Option<Timestamp>) -> anyhow::Result<()> {
    Ok(bursar_events::migrate(open(settings).await?, &MIGRATIONS, restored_at).await?)
}

/// Opens identity's store as it is.
pub async fn open(settings: &Settings) -> anyhow::Result<Db> {
    let options = store::options(settings.pool_options(Service::Identity));
    Ok(Db::open(settings.store(Service::Identity), &MIGRATIONS, &options).await?)
}

/// Opens identity's store for a command: it must be migrated to what this program needs.
pub async fn open_migrated(settings: &Settings) -> anyhow::Result<Db> {
    let db = open(settings).await?;
    db.check_schema(&MIGRATIONS).await?;
    Ok(db)
}

/// Starts the service over a migrated store: its routes behind the whole stack, and its background tasks.
pub async fn start(settings: &Settings, peers: Peers, env: Env) -> anyhow::Result<Started> {
    start_with(settings, Config::of(settings), peers, env).await
}

/// Like [`start`], with rules that the settings do not have a word for (how keys rotate, how many hashes wait).
pub async fn start_with(settings: &Settings, config: Config, peers: Peers, env: Env) -> anyhow::Result<Started> {
    let db = open(settings).await?;
    Box::pin(start_on(db, settings, config, peers, env)).await
}

/// Like [`start_with`], over a store that is open: that of the settings.
pub async fn start_on(db: Db, settings: &Settings, config: Config, peers: Peers, env: Env) -> anyhow::Result<Started> {
    db.check_schema(&MIGRATIONS).await?;
    let env = keep_time(Service::Identity, &db, settings, env).await?;
    show_crowd(Service::Identity, &db, &env.meter);
    let identity = over(settings, config, db.clone(), &peers, &env).await?;
    ensure_accounts(settings, &identity, &env).await?;
    let parts = identity.parts();
    let feed = parts.members.feed().clone();
    feed.measure(&env.meter);
    let courier = Courier::new(settings.mail_transport()?, &settings.mail.from)?;
    let billing = Feed::new(Service::Billing.name(), &env.monotonic, settings.max_staleness);
    billing.measure(&env.meter);
    spawn_tasks(&identity, courier, (&parts.members, &billing), &env);

    let deps = StackDeps {
        keys: KeySet::local(parts.signer.subscribe()),
        clock: env.clock.clone(),
        entropy: env.entropy.clone(),
        meter: env.meter.clone(),
        limits: settings.stack_limits(),
        suspended: parts.people.suspended(),
    };
    let routes = grpc::routes(&identity).add_service(parts.outbox.service(Users, env.shutdown.clone()));
    Ok(Started::new(Service::Identity, bursar_rpc::stack(routes, deps))
        .answering(grpc::SERVICES)
        .answering(["bursar.event.v1.EventService"])
        .ready_when(
            ReadyProbe::store(db.clone(), &MIGRATIONS)
                .on_time(env.clock)
                .showing(move || format!("{}, {}", feed.describe(), billing.describe())),
        )
        .closing(async move { db.close().await }))
}

/// The use cases over a store, and everything that the settings name beside it.
async fn over(settings: &Settings, config: Config, db: Db, peers: &Peers, env: &Env) -> anyhow::Result<Identity> {
    let sealer = settings.sealer(&env.entropy)?;
    let signer = Signer::open(db.clone(), env.clock.clone(), env.entropy.clone(), sealer.clone(), config.keys).await?;
    let outbox = Outbox::new("identity", db.clone(), env.clock.clone(), env.entropy.clone());
    let (entropy, waiting) = (env.entropy.clone(), config.waiting_hashes);
    let hasher = tokio::task::spawn_blocking(move || Hasher::new(entropy, waiting)).await??;
    let tokens = own_tokens(&signer, &config, env);
    let feed = Feed::new(Service::Organization.name(), &env.monotonic, settings.max_staleness);
    Ok(Identity::new(Parts {
        config,
        clock: env.clock.clone(),
        entropy: env.entropy.clone(),
        pages: PageKey::new(sealer.derive("identity page tokens")),
        jobs: Jobs::new(db.clone(), sealer, env.entropy.clone(), env.clock.clone()),
        mutations: Mutations::new(db.clone(), env.clock.clone(), env.entropy.clone(), outbox.clone()).telling(),
        hasher,
        turns: Arc::default(),
        outbox,
        signer,
        organization: peers.to(Service::Organization).with_tokens(tokens.clone()),
        billing: peers.to(Service::Billing).with_tokens(tokens),
        members: Members::new(db.clone(), feed),
        people: People::known(Suspensions(db.clone())).await?,
        db,
    }))
}

/// Identity's own tokens for calling the others: it signs them itself.
fn own_tokens(signer: &Signer, config: &Config, env: &Env) -> ServiceTokens {
    let (signer, ttl) = (signer.clone(), config.service_ttl);
    let sign = move |now| {
        let claims = ServiceClaims::new(ServiceAccountId::IDENTITY, ServiceRole::Identity, now, ttl);
        let token = signer.at_hand(now).and_then(|key| key.sign(&claims));
        let token = token.map_err(|error| Problem::internal(&error))?;
        let expires_at = claims.standard.expires_at();
        Ok((token, expires_at.ok_or_else(|| Problem::internal(&"a token without an end"))?))
    };
    ServiceTokens::local(sign, env.clock.clone())
}

async fn ensure_accounts(settings: &Settings, identity: &Identity, env: &Env) -> anyhow::Result<()> {
    for service in Service::ALL {
        let secret = settings.service_secret(service, &env.entropy)?;
        identity.ensure_own_account(service.account(), service.role(), &secret).await?;
    }
    identity.ensure_operator(&settings.operator_file).await.context("cannot make the operator's account")
}

/// Background work: jobs are done until everything has ended, events are followed only until draining begins.
fn spawn_tasks(identity: &Identity, courier: Courier, (members, billing): (&Members, &Feed), env: &Env) {
    let parts = identity.parts();
    env.tasks.spawn(jobs::runner(identity, courier, env).run(env.shutdown.clone(), env.halt.clone()));
    let following = |feed: &Feed, transport| Following {
        feed: feed.clone(),
        transport,
        db: parts.db.clone(),
        clock: parts.clock.clone(),
        entropy: parts.entropy.clone(),
        shutdown: env.shutdown.clone(),
    };
    let organization = following(members.feed(), parts.organization.clone());
    env.tasks.spawn(bursar_events::run(FromOrganization { members: members.clone() }, organization));
    let mailing = FromBilling { identity: identity.clone() };
    let billing = following(billing, parts.billing.clone());
    env.tasks.spawn(bursar_events::run(mailing, billing));
}
