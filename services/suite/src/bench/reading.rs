//! What reading costs on a short and on a long ledger.

use std::time::Duration;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_client::AccountServiceClient;
use bursar_proto::billing::v1::usage_service_client::UsageServiceClient;
use tonic::Status;

use super::load::{Ledger, Measured, What, run as run_load};
use super::scenario::{all_made, batch};
use super::server::Server;
use super::team::Team;

/// How often a read is repeated to tell what it costs.
const READ_TIME: Duration = Duration::from_secs(2);
/// A ledger counts as short with this many entries.
const SHORT: usize = 10_000;
/// Charges in one call while a ledger grows.
const FILL: usize = 1_000;
/// Callers that let it grow.
const WRITERS: usize = 4;

/// Reads on a short ledger, then on a long one.
pub(super) async fn growth(server: &Server, mut team: Team, entries: usize) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    let mut written = 0;
    for (ledger, wanted) in [(Ledger::Short, SHORT.min(entries)), (Ledger::Long, entries)] {
        fill(&team, wanted - written).await?;
        written = wanted;
        // Filling may take longer than a token lives.
        team = team.renewed(server).await?;
        measured.push(balance(server, &team, ledger, wanted).await?);
        measured.push(usage(server, &team, ledger, wanted).await?);
    }
    Ok(measured)
}

/// Lets the ledger grow.
async fn fill(team: &Team, entries: usize) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..WRITERS {
        let (mut client, team) = (team.client(caller), team.clone());
        tasks.spawn(async move {
            let mut left = entries / WRITERS;
            while left > 0 {
                let size = left.min(FILL);
                all_made(&client.batch_charge(team.product.on(batch(&team, size))).await?.into_inner())?;
                left -= size;
            }
            Ok::<(), Status>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn balance(server: &Server, team: &Team, ledger: Ledger, entries: usize) -> anyhow::Result<Measured> {
    let client = AccountServiceClient::new(team.channels[0].clone());
    let (owner, token) = (team.owner.clone(), team.founder());
    let name = format!("GetBalance at {entries} entries");
    run_load(server, What::Balance(ledger), &name, 1, READ_TIME, move |_, _| {
        let (mut client, request) =
            (client.clone(), token.on(pb::GetBalanceRequest { owner: owner.clone(), ..Default::default() }));
        async move { client.get_balance(request).await.map(|_| 1) }
    })
    .await
}

async fn usage(server: &Server, team: &Team, ledger: Ledger, entries: usize) -> anyhow::Result<Measured> {
    let client = UsageServiceClient::new(team.channels[0].clone());
    let now = bursar_time::Clock::system().now();
    let year = now.saturating_sub(bursar_time::Span::from_days(365));
    let request = pb::QueryUsageRequest {
        owner: team.owner.clone(),
        from: Some(bursar_rpc::convert::to_timestamp(year)),
        to: Some(bursar_rpc::convert::to_timestamp(now.saturating_add(bursar_time::Span::HOUR))),
        group_by: vec![pb::GroupBy::Member.into()],
        interval: pb::Interval::Month.into(),
        ..Default::default()
    };
    let token = team.founder();
    let name = format!("a year's usage at {entries} entries");
    run_load(server, What::Usage(ledger), &name, 1, READ_TIME, move |_, _| {
        let (mut client, request) = (client.clone(), token.on(request.clone()));
        async move { client.query_usage(request).await.map(|_| 1) }
    })
    .await
}
