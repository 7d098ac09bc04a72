//! Billing: the credit pools of users and organizations, and where their credits come from.
//!
//! - `domain/`: the credit engine and the catalog's rules, pure
//! - `lane/`: the combining lane, through which every credit operation goes
//! - `usecase/`: what is done, one file per thing
//! - `store/`: every SQL statement
//! - `grpc/`: the handlers, and errors → status
//! - `consume.rs`: what organization's events do here
//! - `jobs.rs`: what is done later, and again and again
//!
//! [`start`] wires them; nothing else here knows about settings or background tasks.

mod catalog;
mod config;
mod consume;
mod document;
pub mod domain;
mod error;
mod grpc;
mod jobs;
pub mod lane;
mod payment;
mod store;
mod usecase;

pub use config::Config;
pub use error::Error;
pub use usecase::audit::{Summary, report, verify_all};
pub use usecase::checkpoints;
pub use usecase::finance;
pub use usecase::inbox;
pub use usecase::inspection;
pub use usecase::renewals::{HeldRenewal, LateRenewal, held, late, resume};

use std::sync::Arc;

use anyhow::Context as _;
use bursar_db::{Db, PoolOptions};
use bursar_events::{Feed, Following, Outbox};
use bursar_jobs::Jobs;
use bursar_members::Members;
use bursar_members::people::{People, Told};
use bursar_rpc::{KeySet, Mutations, PageKey, StackDeps, Suspended};
use bursar_runtime::{Env, Mode, Peers, ReadyProbe, Service, Settings, Started, keep_time, show_crowd};
use bursar_secret::Entropy;
use bursar_time::{Clock, Timestamp};

use consume::{FromIdentity, FromOrganization};
use document::Look;
use domain::{Assortment, OperationKey, Rules, Spending};
use lane::{Batcher, Lanes, RulesHandle, RulesSource};
use payment::Payments;
use payment::stripe::{Account, Stripe};
use store::{MIGRATIONS, installation};
use usecase::access::Access;
use usecase::accounts::AccountUseCases;
use usecase::boundary::Renewing;
use usecase::cashier::Cashier;
use usecase::catalogs::{self, CatalogHandle, CatalogSource, CatalogUseCases};
use usecase::costly::Costly;
use usecase::credits::CreditUseCases;
use usecase::erasures::ErasureUseCases;
use usecase::inbox::Inbox;
use usecase::invoices::{InvoiceUseCases, Invoices, Taxes, Terms};
use usecase::limits::LimitUseCases;
use usecase::orders::Till;
use usecase::payments::PaymentUseCases;
use usecase::policies;
use usecase::present::State;
use usecase::purchases::PurchaseUseCases;
use usecase::reloading::Reloading;
use usecase::reports::ReportUseCases;
use usecase::settings::SettingsUseCases;
use usecase::subscriptions::SubscriptionUseCases;
use usecase::top_ups::TopUps;
use usecase::viewing::Viewing;

/// Brings the store's schema up to date. `restored_at`: the store was restored from a backup; a new incarnation of its
/// events begins at this time.
pub async fn migrate(settings: &Settings, restored_at: Option<Timestamp>) -> anyhow::Result<()> {
    Ok(bursar_events::migrate(open(settings).await?, &MIGRATIONS, restored_at).await?)
}

/// Opens billing's store as it is.
pub async fn open(settings: &Settings) -> anyhow::Result<Db> {
    // Distributed tables are planned for each owner: a plan for whatever owner names no server.
    let index_plans = !settings.billing.distributed;
    let options = PoolOptions { index_plans, ..settings.pool_options(Service::Billing) };
    Ok(Db::open(settings.store(Service::Billing), &MIGRATIONS, &options).await?)
}

/// Opens billing's store for a command: it must be migrated to what this program needs.
pub async fn open_migrated(settings: &Settings) -> anyhow::Result<Db> {
    let db = open(settings).await?;
    db.check_schema(&MIGRATIONS).await?;
    Ok(db)
}

/// The installation's key for operation ids, by which an audit reads them.
///
/// # Errors
/// The store has none yet, because billing was never started on it, or it was sealed with another master key.
pub async fn operation_key(settings: &Settings, db: &Db) -> anyhow::Result<OperationKey> {
    let sealer = settings.sealer(&Entropy::system())?;
    let key = installation::stored_key(db, &sealer).await?;
    key.context("billing was never started on this store, so there is nothing to audit")
}

/// The installation's key for checkpoints.
///
/// # Errors
/// The master key cannot be read.
pub fn checkpoint_key(settings: &Settings) -> anyhow::Result<checkpoints::CheckpointKey> {
    Ok(checkpoints::CheckpointKey::of(&settings.sealer(&Entropy::system())?))
}

/// Has the programs that run work an event of the payment provider off that was set aside. `false`: there is none such, or
/// nothing is kept of it.
///
/// # Errors
/// The store failed, or the master key cannot be read.
pub async fn retry_webhook(settings: &Settings, db: &Db, id: &str, now: Timestamp) -> anyhow::Result<bool> {
    let entropy = Entropy::system();
    let jobs = Jobs::new(db.clone(), settings.sealer(&entropy)?, entropy, Clock::system());
    Ok(usecase::inbox::again(db, &jobs, id, now).await?)
}

/// What holds for every account when the service starts.
fn rules(config: &Config, sold: &Assortment, key: OperationKey) -> Rules {
    Rules {
        rates: sold.catalog().rates().clone(),
        catalog_version: sold.present().version,
        former_rates: sold.former_rates().clone(),
        // Nobody is served before the deployment's policy is followed (readiness).
        spending: Spending::default(),
        personal_accounts: true,
        max_hold: config.max_hold,
        max_open_holds: config.max_open_holds,
        key,
    }
}

/// Looks into the files of the catalog and of what invoices need, and says everything that is wrong with one.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    let config = Config::of(settings);
    catalog::load(config.catalog.as_deref())?;
    look(&config)?;
    catalog::taxes::load(config.taxes.as_deref())?;
    Ok(())
}

/// How documents look.
fn look(config: &Config) -> anyhow::Result<Look> {
    Ok(Look::load(config.fonts.as_deref(), config.logo.as_deref())?)
}

/// What issues invoices.
fn invoices(config: &Config, env: &Env) -> anyhow::Result<Invoices> {
    let terms =
        Terms { issuer: config.issuer.clone(), taxes: Taxes::new(catalog::taxes::load(config.taxes.as_deref())?) };
    Ok(Invoices::new(terms, env.entropy.clone()))
}

/// Who takes money.
fn provider(config: &Config) -> anyhow::Result<Payments> {
    let Some(stripe) = &config.stripe else { return Ok(Payments::Sandbox) };
    let account = Account {
        url: stripe.api_url.clone(),
        key: stripe.secret_key.clone().context("payments.stripe.secret_key is not set")?,
        timeout: stripe.timeout,
        return_url: stripe.return_url.clone().unwrap_or_default(),
    };
    Ok(Payments::Stripe(Arc::new(Stripe::new(account)?)))
}

/// Where whoever takes money tells what has happened, if that is told.
fn door(config: &Config, inbox: &Inbox, env: &Env) -> Option<axum::Router> {
    let stripe = config.stripe.as_ref()?;
    let secrets = stripe.webhook_secret.iter().chain(&stripe.former_webhook_secret).cloned().collect();
    Some(grpc::inbox::routes(inbox.clone(), secrets, env.clock.clone(), &env.meter))
}

/// What is sold when the service starts: by the catalog's file, or by the built-in catalog.
async fn sold(config: &Config, db: &Db, now: Timestamp) -> anyhow::Result<CatalogSource> {
    let catalog = Arc::new(catalog::load(config.catalog.as_deref())?);
    let present = catalogs::keep(db, catalog, now).await?;
    Ok(CatalogSource::new(catalogs::assortment(db, present, now).await?))
}

/// Starts the service over a migrated store: its routes behind the whole stack, and its background tasks.
pub async fn start(settings: &Settings, peers: Peers, env: Env) -> anyhow::Result<Started> {
    let db = open(settings).await?;
    db.check_schema(&MIGRATIONS).await?;
    let env = keep_time(Service::Billing, &db, settings, env).await?;
    show_crowd(Service::Billing, &db, &env.meter);
    let (config, sealer) = (Config::of(settings), settings.sealer(&env.entropy)?);
    let sold = sold(&config, &db, env.clock.now()).await?;
    let catalog = sold.handle();
    let key = installation::operation_key(&db, &sealer, &env.entropy).await?;
    let source = Arc::new(RulesSource::new(rules(&config, &catalog.current(), key)));
    policies::follow(&db, &source).await?;
    let rules = source.handle();
    let outbox = Outbox::new("billing", db.clone(), env.clock.clone(), env.entropy.clone());
    let jobs = Jobs::new(db.clone(), sealer.clone(), env.entropy.clone(), env.clock.clone());
    let batcher = Batcher::new(db.clone(), env.clock.clone(), rules.clone());
    let batcher = laid_out(batcher.telling(outbox.clone()).topping_up(jobs.clone()), &config);
    let lanes = Lanes::start(config.lanes, &batcher, &env.meter, &env.tasks)?;
    let feeds = [Service::Organization, Service::Identity]
        .map(|source| Feed::new(source.name(), &env.monotonic, settings.max_staleness));
    let members = Members::new(db.clone(), feeds[0].clone());
    let access = Access::new(members.clone(), feeds[1].clone());
    let invoices = invoices(&config, &env)?;
    let till = Till { db: db.clone(), clock: env.clock.clone(), payments: provider(&config)?, batcher, invoices };
    let mutations = Mutations::new(db.clone(), env.clock.clone(), env.entropy.clone(), outbox.clone()).telling();
    let files = (config.catalog.clone(), config.taxes.clone());
    let used = (sold, till.invoices.taxes());
    let reloading = Reloading::new(files, used, &source, (&db, &env.clock, &mutations, &outbox), &env.meter);
    let (subscriptions, purchases, payments) =
        selling(&access, till, mutations.clone(), (&catalog, &outbox, &jobs), &env);
    let (costly, inbox) = (Costly::start()?, Inbox(payments.clone()));
    let parts = grpc::Parts {
        credits: credits(&subscriptions, &lanes, &rules),
        subscriptions: subscriptions.clone(),
        purchases,
        payments,
        settings: SettingsUseCases::beside(&subscriptions, (&rules, &costly)),
        invoices: InvoiceUseCases { db: db.clone(), look: look(&config)?, costly: costly.clone() },
        limits: LimitUseCases::beside(&subscriptions, (&rules, &costly), config.max_limits),
        accounts: AccountUseCases { db: db.clone(), clock: env.clock.clone(), rules, costly: costly.clone() },
        erasures: ErasureUseCases { lanes: lanes.clone(), db: db.clone(), entropy: env.entropy.clone() },
        reports: ReportUseCases { db: db.clone(), clock: env.clock.clone(), access: access.clone(), costly },
        viewing: Viewing::new(access.clone(), mutations),
        catalogs: CatalogUseCases { db: db.clone(), present: catalog.clone() },
        reloading: reloading.clone(),
        pages: PageKey::new(sealer.derive("billing page tokens")),
    };
    follow(&members, &feeds, (&db, &jobs), (&peers, settings), &env)?;
    let people = People::known(Told(db.clone())).await?;
    let (known, lanes) = ((Arc::clone(&source), people.clone()), (lanes, parts.limits.counting.clone()));
    let top_ups = TopUps { cashier: subscriptions.cashier.clone(), cool_down: config.top_up_cool_down };
    let runner = jobs::runner(jobs, (&db, known), lanes, (subscriptions, top_ups, inbox.clone()), (config.kept, &env));
    env.tasks.spawn(runner.run(env.shutdown.clone(), env.halt.clone()));
    let (known, first) = (db.clone(), feeds[0].clone());
    let development = settings.mode == Mode::Development && config.stripe.is_none();
    let routes = grpc::routes(parts, development).add_service(outbox.service(State(catalog), env.shutdown.clone()));
    Ok(Started::new(Service::Billing, bursar_rpc::stack(routes, deps(settings, &peers, &env, people.suspended())))
        .answering(grpc::SERVICES)
        .answering(development.then_some(grpc::SANDBOX))
        .answering(["bursar.event.v1.EventService"])
        .receiving(door(&config, &inbox, &env))
        .ready_when(
            ReadyProbe::store(db.clone(), &MIGRATIONS)
                .on_time(env.clock.clone())
                .and(move || policies_known(known.clone(), Arc::clone(&source)))
                .and(move || std::future::ready(heard(&first)))
                .showing(move || feeds.each_ref().map(Feed::describe).join(", ")),
        )
        .reloading(move || reloading.clone().told())
        .closing(async move { db.close().await }))
}

/// The same, as the tables are distributed and requests combined.
fn laid_out(batcher: Batcher, config: &Config) -> Batcher {
    let batcher = if config.distributed { batcher.distributed() } else { batcher };
    if config.lanes.combine { batcher } else { batcher.uncombined() }
}

/// What is done with credits, through the lanes, beside the subscriptions whose renewals may come first.
fn credits(beside: &SubscriptionUseCases, lanes: &Lanes, rules: &RulesHandle) -> CreditUseCases {
    CreditUseCases {
        access: beside.access.clone(),
        lanes: Renewing::new(lanes.clone(), beside.clone()),
        db: beside.till.db.clone(),
        clock: beside.till.clock.clone(),
        entropy: beside.entropy.clone(),
        rules: rules.clone(),
        catalog: beside.catalog.clone(),
        mutations: beside.mutations.clone(),
    }
}

/// What takes money.
fn selling(
    access: &Access,
    till: Till,
    mutations: Mutations<Outbox>,
    (catalog, outbox, jobs): (&CatalogHandle, &Outbox, &Jobs),
    env: &Env,
) -> (SubscriptionUseCases, PurchaseUseCases, PaymentUseCases) {
    let access = access.clone();
    let cashier = Cashier {
        till,
        entropy: env.entropy.clone(),
        catalog: catalog.clone(),
        outbox: outbox.clone(),
        jobs: jobs.clone(),
    };
    let subscriptions = SubscriptionUseCases {
        access: access.clone(),
        till: cashier.till.clone(),
        cashier: cashier.clone(),
        entropy: cashier.entropy.clone(),
        catalog: cashier.catalog.clone(),
        outbox: cashier.outbox.clone(),
        mutations: mutations.clone(),
        looks: Arc::default(),
    };
    let purchases = PurchaseUseCases { access: access.clone(), cashier: cashier.clone(), mutations: mutations.clone() };
    (subscriptions, purchases, PaymentUseCases { access, cashier, mutations })
}

/// What the stack around billing's routes needs.
fn deps(settings: &Settings, peers: &Peers, env: &Env, suspended: Suspended) -> StackDeps {
    StackDeps {
        suspended,
        keys: KeySet::remote(peers.to(Service::Identity), &env.clock),
        clock: env.clock.clone(),
        entropy: env.entropy.clone(),
        meter: env.meter.clone(),
        limits: settings.stack_limits(),
    }
}

/// Follows organization's events (memberships, policies, standings, and accounts that open with their organizations) and
/// identity's (accounts that were deleted, and users who are suspended).
fn follow(
    members: &Members,
    feeds: &[Feed; 2],
    (db, jobs): (&Db, &Jobs),
    (peers, settings): (&Peers, &Settings),
    env: &Env,
) -> anyhow::Result<()> {
    let tokens = peers.tokens(Service::Billing, settings, env)?;
    for feed in feeds {
        feed.measure(&env.meter);
    }
    let following = |feed: &Feed, source| Following {
        feed: feed.clone(),
        transport: peers.to(source).with_tokens(tokens.clone()),
        db: db.clone(),
        clock: env.clock.clone(),
        entropy: env.entropy.clone(),
        shutdown: env.shutdown.clone(),
    };
    let (clock, members) = (env.clock.clone(), members.clone());
    let teams = FromOrganization { clock: clock.clone(), jobs: jobs.clone(), members: members.clone() };
    let people = FromIdentity { clock, jobs: jobs.clone(), members };
    env.tasks.spawn(bursar_events::run(teams, following(&feeds[0], Service::Organization)));
    env.tasks.spawn(bursar_events::run(people, following(&feeds[1], Service::Identity)));
    Ok(())
}

/// A program that has just started lets organizations wait for the first word of organization, not the callers: for some
/// seconds. After that it is ready without: people's own accounts need nobody's word, and reading goes on.
fn heard(organization: &Feed) -> anyhow::Result<()> {
    anyhow::ensure!(organization.has_settled(), "nothing was heard of organization yet");
    Ok(())
}

/// Nobody is answered by policies that were guessed: organization tells the deployment's when it starts.
async fn policies_known(db: Db, rules: Arc<RulesSource>) -> anyhow::Result<()> {
    let followed = policies::follow(&db, &rules).await?;
    anyhow::ensure!(followed, "organization has not told the deployment's policies yet");
    Ok(())
}
