//! The load on many accounts.

use std::sync::Arc;
use std::time::Duration;

use bursar_id::{Id, UserId, kinds};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::credit_service_client::CreditServiceClient;
use bursar_secret::Entropy;
use tonic::Status;
use tonic::transport::Channel;

use super::BenchArgs;
use super::load::{Measured, What, run as run_load};
use super::scenario::charge;
use super::server::Server;
use super::team::{Bearer, operator, product};

/// Many personal accounts, charged by a service of the product's.
pub(super) async fn many(args: &BenchArgs, server: &Server, time: Duration) -> anyhow::Result<Measured> {
    let entropy = Entropy::system();
    let channels: Arc<[Channel]> = server.billing().await?.into();
    let owners: Arc<[String]> = (0..args.accounts.max(1))
        .map(|number| {
            let user: UserId = Id::<kinds::User>::from_parts(number as u64, entropy.bytes());
            user.to_string()
        })
        .collect();
    let callers = args.callers.max(1);
    let clients: Vec<_> =
        (0..callers).map(|it| CreditServiceClient::new(channels[it % channels.len()].clone())).collect();
    fund(&clients, &operator(server).await?, &owners).await?;
    let (all, product) = (Arc::clone(&owners), product(server).await?);
    let name = format!("{} accounts", all.len());
    run_load(server, What::Many, &name, callers, time, move |caller, call| {
        let mut client = clients[caller].clone();
        // A step that is prime to any round number of accounts: callers do not march in step.
        let owner = &all[(caller * 7_919 + usize::try_from(call).unwrap_or(0) * 104_729) % all.len()];
        let request = product.on(charge(owner, owner, &entropy));
        async move { client.charge(request).await.map(|_| 1) }
    })
    .await
}

/// Gives every account something to spend.
async fn fund(
    clients: &[CreditServiceClient<Channel>],
    operator: &Bearer,
    owners: &Arc<[String]>,
) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for (caller, client) in clients.iter().enumerate() {
        let (mut client, operator, owners, step) =
            (client.clone(), operator.clone(), Arc::clone(owners), clients.len());
        tasks.spawn(async move {
            for owner in owners.iter().skip(caller).step_by(step) {
                let request = pb::GrantCreditsRequest {
                    owner: owner.clone(),
                    amount: "1000000".to_owned(),
                    source: pb::LotSource::Promotion.into(),
                    ..Default::default()
                };
                client.grant_credits(operator.on(request)).await?;
            }
            Ok::<(), Status>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
