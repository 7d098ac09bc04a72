//! Three services in one process: each with a store of its own, each reaching the others through the same
//! clients and the same tower stack as over a network.

use anyhow::Context as _;
use bursar_rpc::{LateRoutes, Transport};
use bursar_runtime::{Each, Env, Peers, Service, Settings, Started};
use bursar_time::Timestamp;

/// Starts all three. They know one another, so none can be finished first: each gets its way to the
/// others at once, and a way is completed when the service at its end has started.
pub async fn start(settings: &Settings, env: Env) -> anyhow::Result<Vec<Started>> {
    if settings.migrate_on_start {
        migrate(settings, None).await?;
    }
    let late = Each::of(|_| Transport::late());
    let peers = Peers::new(Each::of(|service| late[service].0.clone()));
    let ways = late.map(|(_, way)| way);
    close_in_the_end(&env, ways.clone());

    // Identity first: the others ask it for a token as soon as they run.
    let identity = bursar_identity::start(settings, peers.clone(), env.clone()).await;
    let identity = complete(identity, Service::Identity, &ways)?;
    let (organization, billing) = tokio::join!(
        bursar_organization::start(settings, peers.clone(), env.clone()),
        bursar_billing::start(settings, peers, env),
    );
    Ok(vec![
        identity,
        complete(organization, Service::Organization, &ways)?,
        complete(billing, Service::Billing, &ways)?,
    ])
}

fn complete(started: anyhow::Result<Started>, service: Service, ways: &Each<LateRoutes>) -> anyhow::Result<Started> {
    let started = started.with_context(|| format!("cannot start {service}"))?;
    ways[service].set(started.routes.clone());
    Ok(started)
}

/// The services hold one another through these ways. When the last call has ended they are closed, so
/// that each service can be dropped, and with it whatever ends with its last user.
fn close_in_the_end(env: &Env, ways: Each<LateRoutes>) {
    let halt = env.halt.clone();
    env.tasks.spawn(async move {
        halt.cancelled().await;
        ways.iter().for_each(|(_, way)| way.close());
    });
}

/// Looks into the files that the settings name, and says everything that is wrong with them.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    let flaws: Vec<String> = [bursar_organization::check(settings), bursar_billing::check(settings)]
        .into_iter()
        .filter_map(|checked| checked.err().map(|error| format!("{error:#}")))
        .collect();
    if flaws.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(flaws.join("\n"))) }
}

/// Brings the three stores' schemas up to date. `restored_at`: they were restored from backups; new incarnations of their
/// events begin at this time.
pub async fn migrate(settings: &Settings, restored_at: Option<Timestamp>) -> anyhow::Result<()> {
    let (identity, organization, billing) = tokio::join!(
        Box::pin(bursar_identity::migrate(settings, restored_at)),
        Box::pin(bursar_organization::migrate(settings, restored_at)),
        Box::pin(bursar_billing::migrate(settings, restored_at)),
    );
    identity.context("cannot migrate identity")?;
    organization.context("cannot migrate organization")?;
    billing.context("cannot migrate billing")
}
