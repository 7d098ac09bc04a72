//! The loads on one pool: who charges what, and how. A product's service charges for members that it names, unless a
//! load says otherwise.

use std::sync::Arc;
use std::time::Duration;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_client::AccountServiceClient;
use bursar_secret::Entropy;
use tonic::Status;

use super::load::{Measured, What, run as run_load};
use super::report::Report;
use super::server::Server;
use super::team::Team;
use super::{BenchArgs, Load, access, accounts, hostile, pdf, reading};

/// Callers of the batch load: each call carries hundreds of charges.
const BATCH_CALLERS: usize = 16;

/// Runs one load against a server.
pub(crate) async fn run(
    load: Load,
    args: &BenchArgs,
    server: &mut Server,
    time: Duration,
) -> anyhow::Result<Vec<Measured>> {
    let callers = args.callers.max(2);
    match load {
        Load::Many => return Ok(vec![accounts::many(args, server, time).await?]),
        Load::Hostile => return hostile::hostile(server, time).await,
        Load::Replicas if !server.can_have_replicas() => {
            Report::note("replicas: only on a PostgreSQL store of the benchmark's own (--store)");
            return Ok(Vec::new());
        }
        _ => {}
    }
    let team = Team::assemble(server).await?;
    let one = match load {
        Load::Lone => charges(server, &team, (What::Lone, "lone caller"), 1, time).await?,
        Load::Hot => charges(server, &team, (What::Hot, "hot pool"), callers, time).await?,
        Load::Members => members(server, &team, callers, time).await?,
        Load::Meters => meters(server, &team, callers, time).await?,
        Load::Batch => batches(server, &team, args.batch, time).await?,
        Load::Hold => holds(server, &team, callers, time).await?,
        Load::Mixed => mixed(server, &team, callers, time).await?,
        Load::Ceiling => estimates(server, &team, callers, time).await?,
        Load::Access => access::steadily(server, &team, callers, time).await?,
        Load::Pdf => return pdf::read(server, &team, time).await,
        Load::Limits => return limits(server, &team, callers, time).await,
        Load::Replicas => return replicas(server, team, callers, time).await,
        Load::Growth => return reading::growth(server, team, args.entries).await,
        Load::Many | Load::Hostile => return Ok(Vec::new()),
    };
    Ok(vec![one])
}

/// One charge as a product makes it: for a member, with a project, a model, a label and a request id.
pub(super) fn charge(owner: &str, member: &str, entropy: &Entropy) -> pb::ChargeRequest {
    let labels = [("job".to_owned(), "render".to_owned())].into();
    pb::ChargeRequest {
        owner: owner.to_owned(),
        amount: "0.25".to_owned(),
        member: member.to_owned(),
        project: "prj_00000000000000000000000001".to_owned(),
        model: "veo-3.1".to_owned(),
        labels,
        request_id: request_id(entropy),
        ..Default::default()
    }
}

/// The same, priced by the catalog's rate card: three meters, 0.25 credits.
fn metered(owner: &str, member: &str, entropy: &Entropy) -> pb::ChargeRequest {
    let usage = vec![used("input_tokens", "0.4"), used("cached_tokens", "1"), used("output_tokens", "0.1")];
    let model = "claude-opus-4.7".to_owned();
    pb::ChargeRequest { amount: String::new(), model, usage, ..charge(owner, member, entropy) }
}

/// So much on one meter.
fn used(meter: &str, quantity: &str) -> pb::Usage {
    pb::Usage { meter: meter.to_owned(), quantity: quantity.to_owned() }
}

/// `size` charges, for each of the members in turn.
pub(super) fn batch(team: &Team, size: usize) -> pb::BatchChargeRequest {
    let members = team.members.iter().cycle().take(size);
    pb::BatchChargeRequest { charges: members.map(|member| charge(&team.owner, &member.id, &team.entropy)).collect() }
}

/// How many charges a batch made; any that was refused is a failure of the load.
pub(super) fn all_made(answer: &pb::BatchChargeResponse) -> Result<u64, Status> {
    let refused = answer.outcomes.iter().find_map(|outcome| match &outcome.outcome {
        Some(pb::batch_charge_outcome::Outcome::Charge(_)) => None,
        Some(pb::batch_charge_outcome::Outcome::Status(status)) => {
            Some(Status::new(status.code.into(), &status.message))
        }
        None => Some(Status::internal("an outcome says nothing")),
    });
    refused.map_or(Ok(answer.outcomes.len() as u64), Err)
}

pub(super) fn request_id(entropy: &Entropy) -> String {
    format!("{:032x}", u128::from_be_bytes(entropy.bytes()))
}

/// The product's service charges for one member after the other.
async fn charges(
    server: &Server,
    team: &Team,
    (what, name): (What, &str),
    callers: usize,
    time: Duration,
) -> anyhow::Result<Measured> {
    priced(server, team, (what, name), callers, time, charge).await
}

async fn meters(server: &Server, team: &Team, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    priced(server, team, (What::Meters, "hot pool, by the rate card"), callers, time, metered).await
}

async fn priced(
    server: &Server,
    team: &Team,
    (what, name): (What, &str),
    callers: usize,
    time: Duration,
    make: fn(&str, &str, &Entropy) -> pb::ChargeRequest,
) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| team.client(caller)).collect();
    let (owner, product, entropy) = (team.owner.clone(), team.product.clone(), team.entropy.clone());
    let members = Arc::clone(&team.members);
    run_load(server, what, name, callers, time, move |caller, _| {
        let mut client = clients[caller].clone();
        let request = product.on(make(&owner, &members[caller % members.len()].id, &entropy));
        async move { client.charge(request).await.map(|_| 1) }
    })
    .await
}

/// Members charge with tokens of their own.
async fn members(server: &Server, team: &Team, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| team.client(caller)).collect();
    let (owner, entropy, members) = (team.owner.clone(), team.entropy.clone(), Arc::clone(&team.members));
    run_load(server, What::Other, "hot pool, members' own tokens", callers, time, move |caller, _| {
        let (mut client, member) = (clients[caller].clone(), &members[caller % members.len()]);
        let request = member.token.on(charge(&owner, &member.id, &entropy));
        async move { client.charge(request).await.map(|_| 1) }
    })
    .await
}

/// One pool, first without limits and then with five of them that nobody reaches, and a sixth that alerts as it is passed.
async fn limits(server: &Server, team: &Team, callers: usize, time: Duration) -> anyhow::Result<Vec<Measured>> {
    let without = charges(server, team, (What::Limits(0), "hot pool, no limits"), callers, time).await?;
    team.limit().await?;
    let with = charges(server, team, (What::Limits(5), "hot pool, five limits and alerts"), callers, time).await?;
    Ok(vec![without, with])
}

/// One pool, first through the suite's own billing, then with half of the callers at a second one on the same store.
async fn replicas(server: &mut Server, team: Team, callers: usize, time: Duration) -> anyhow::Result<Vec<Measured>> {
    let one = charges(server, &team, (What::Replicas(1), "hot pool, one replica"), callers, time).await?;
    server.add_replica().await?;
    let team = team.reconnected(server).await?;
    let two = charges(server, &team, (What::Replicas(2), "hot pool, two replicas"), callers, time).await?;
    server.stop_replicas().await?;
    Ok(vec![one, two])
}

async fn estimates(server: &Server, team: &Team, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| team.client(caller)).collect();
    let product = team.product.clone();
    run_load(server, What::Ceiling, "Estimate, without a database", callers, time, move |caller, _| {
        let mut client = clients[caller].clone();
        let request = pb::EstimateRequest { model: "veo-3.1".to_owned(), usage: vec![used("seconds", "8")] };
        let request = product.on(request);
        async move { client.estimate(request).await.map(|_| 1) }
    })
    .await
}

async fn batches(server: &Server, team: &Team, size: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..BATCH_CALLERS).map(|caller| team.client(caller)).collect();
    let team = team.clone();
    let name = format!("BatchCharge of {size}");
    run_load(server, What::Batch, &name, BATCH_CALLERS, time, move |caller, _| {
        let mut client = clients[caller].clone();
        let request = team.product.on(batch(&team, size));
        async move { all_made(&client.batch_charge(request).await?.into_inner()) }
    })
    .await
}

async fn holds(server: &Server, team: &Team, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| team.client(caller)).collect();
    let team = team.clone();
    run_load(server, What::Other, "hold and capture, pairs", callers, time, move |caller, _| {
        let (mut client, product) = (clients[caller].clone(), team.product.clone());
        let place = product.on(pb::HoldRequest {
            owner: team.owner.clone(),
            member: team.members[caller % team.members.len()].id.clone(),
            amount: "2".to_owned(),
            request_id: request_id(&team.entropy),
            ..Default::default()
        });
        let capture = pb::CaptureRequest {
            owner: team.owner.clone(),
            amount: "1.5".to_owned(),
            request_id: request_id(&team.entropy),
            ..Default::default()
        };
        async move {
            let hold = client.hold(place).await?.into_inner().hold.unwrap_or_default();
            let capture = pb::CaptureRequest { hold_id: hold.id, ..capture };
            client.capture(product.on(capture)).await.map(|_| 1)
        }
    })
    .await
}

async fn mixed(server: &Server, team: &Team, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| team.client(caller)).collect();
    let readers: Vec<_> = (0..callers)
        .map(|caller| AccountServiceClient::new(team.channels[caller % team.channels.len()].clone()))
        .collect();
    let (team, founder) = (team.clone(), team.founder());
    run_load(server, What::Other, "half charges, half GetBalance", callers, time, move |caller, _| {
        let (mut client, mut reader) = (clients[caller].clone(), readers[caller].clone());
        let member = &team.members[caller % team.members.len()].id;
        let read = founder.on(pb::GetBalanceRequest { owner: team.owner.clone(), ..Default::default() });
        let write = team.product.on(charge(&team.owner, member, &team.entropy));
        async move {
            if caller % 2 == 0 {
                client.charge(write).await.map(|_| 1)
            } else {
                reader.get_balance(read).await.map(|_| 1)
            }
        }
    })
    .await
}
