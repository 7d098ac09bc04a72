//! The loads: who charges what, and how.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bursar_id::{Id, UserId, kinds};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_client::AccountServiceClient;
use bursar_proto::billing::v1::credit_service_client::CreditServiceClient;
use bursar_proto::billing::v1::usage_service_client::UsageServiceClient;
use bursar_proto::identity::v1 as identity;
use bursar_proto::identity::v1::context_service_client::ContextServiceClient;
use bursar_proto::identity::v1::session_service_client::SessionServiceClient;
use bursar_proto::identity::v1::user_service_client::UserServiceClient;
use bursar_proto::organization::v1 as organization;
use bursar_proto::organization::v1::organization_service_client::OrganizationServiceClient;
use bursar_runtime::Service;
use bursar_secret::Entropy;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::load::{Measured, run as run_load};
use super::server::Server;
use super::{BenchArgs, Load};

/// Callers of the batch load: each call carries hundreds of charges.
const BATCH_CALLERS: usize = 16;
/// How often a read is repeated to tell what it costs.
const READ_TIME: Duration = Duration::from_secs(2);
/// A ledger counts as short with this many entries.
const SHORT: usize = 10_000;

/// Runs one load against a server.
pub(crate) async fn run(
    load: Load,
    args: &BenchArgs,
    server: &Server,
    time: Duration,
) -> anyhow::Result<Vec<Measured>> {
    if load == Load::Many {
        return Ok(vec![many(args, server, time).await?]);
    }
    let pool = Pool::open(server).await?;
    let callers = args.callers.max(2);
    match load {
        Load::Lone => Ok(vec![charges(server, &pool, "lone caller", 1, time).await?]),
        Load::Hot => Ok(vec![charges(server, &pool, "hot pool", callers, time).await?]),
        Load::Batch => Ok(vec![batches(server, &pool, args.batch, time).await?]),
        Load::Hold => Ok(vec![holds(server, &pool, callers, time).await?]),
        Load::Mixed => Ok(vec![mixed(server, &pool, callers, time).await?]),
        Load::Growth => growth(server, &pool, args.entries).await,
        Load::Ceiling => Ok(vec![estimates(server, &pool, callers, time).await?]),
        Load::Many => Ok(Vec::new()),
    }
}

/// One organization with more credits than any load can spend, and its owner's token.
struct Pool {
    owner: String,
    token: Bearer,
    channels: Arc<[Channel]>,
    entropy: Entropy,
}

/// A token as the header that carries it.
#[derive(Clone)]
struct Bearer(AsciiMetadataValue);

impl Bearer {
    fn new(token: &str) -> anyhow::Result<Self> {
        Ok(Self(format!("Bearer {token}").parse()?))
    }

    fn on<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.0.clone());
        request
    }
}

impl Pool {
    async fn open(server: &Server) -> anyhow::Result<Self> {
        let entropy = Entropy::system();
        let tokens = sign_in(server, &entropy).await?;
        let founder = Bearer::new(&tokens.access_token)?;
        let mut organizations = OrganizationServiceClient::new(server.connect(Service::Organization).await?);
        let new = organization::CreateOrganizationRequest { name: "Load".to_owned(), ..Default::default() };
        let made = organizations.create_organization(founder.on(new)).await?.into_inner();
        let owner = made.organization.context("an organization")?.id;
        let mut contexts = ContextServiceClient::new(server.connect(Service::Identity).await?);
        let switch = identity::SwitchContextRequest { owner: owner.clone() };
        let tokens = contexts.switch_context(founder.on(switch)).await?.into_inner().tokens.context("tokens")?;
        let channels: Arc<[Channel]> = server.billing().await?.into();
        grant(server, &channels, &owner, "900000000000").await?;
        Ok(Self { owner, token: Bearer::new(&tokens.access_token)?, channels, entropy })
    }

    fn client(&self, caller: usize) -> CreditServiceClient<Channel> {
        CreditServiceClient::new(self.channels[caller % self.channels.len()].clone())
    }
}

/// A new user, signed in.
async fn sign_in(server: &Server, entropy: &Entropy) -> anyhow::Result<identity::TokenSet> {
    let email = format!("load-{}@example.com", entropy.u64_below(u64::MAX));
    let password = format!("{:032x}", u128::from_be_bytes(entropy.bytes()));
    let new = identity::SignUpRequest { email: email.clone(), password: password.clone(), ..Default::default() };
    UserServiceClient::new(server.connect(Service::Identity).await?).sign_up(new).await?;
    let request = identity::SignInRequest { email, password, ..Default::default() };
    let answer = SessionServiceClient::new(server.connect(Service::Identity).await?).sign_in(request).await?;
    answer.into_inner().tokens.context("tokens")
}

/// Credits by the operator.
async fn grant(server: &Server, channels: &[Channel], owner: &str, amount: &str) -> anyhow::Result<()> {
    let operator = Bearer::new(&server.operator().await?)?;
    let request = pb::GrantCreditsRequest {
        owner: owner.to_owned(),
        amount: amount.to_owned(),
        source: pb::LotSource::Promotion.into(),
        ..Default::default()
    };
    CreditServiceClient::new(channels[0].clone()).grant_credits(operator.on(request)).await?;
    Ok(())
}

/// One charge as a product makes it: with a project, a model, a label and a request id.
fn charge(owner: &str, entropy: &Entropy) -> pb::ChargeRequest {
    let labels = [("job".to_owned(), "render".to_owned())].into();
    pb::ChargeRequest {
        owner: owner.to_owned(),
        amount: "0.25".to_owned(),
        project: "prj_00000000000000000000000001".to_owned(),
        model: "veo-3.1".to_owned(),
        labels,
        request_id: request_id(entropy),
        ..Default::default()
    }
}

fn request_id(entropy: &Entropy) -> String {
    format!("{:032x}", u128::from_be_bytes(entropy.bytes()))
}

async fn charges(server: &Server, pool: &Pool, name: &str, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| pool.client(caller)).collect();
    let (owner, token, entropy) = (pool.owner.clone(), pool.token.clone(), pool.entropy.clone());
    run_load(server, name, callers, time, move |caller, _| {
        let mut client = clients[caller].clone();
        let request = token.on(charge(&owner, &entropy));
        async move { client.charge(request).await.map(|_| 1) }
    })
    .await
}

async fn estimates(server: &Server, pool: &Pool, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| pool.client(caller)).collect();
    let token = pool.token.clone();
    run_load(server, "Estimate, without a database", callers, time, move |caller, _| {
        let mut client = clients[caller].clone();
        let request = pb::EstimateRequest { model: "veo-3.1".to_owned(), quantity: "8".to_owned() };
        let request = token.on(request);
        async move { client.estimate(request).await.map(|_| 1) }
    })
    .await
}

async fn batches(server: &Server, pool: &Pool, size: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..BATCH_CALLERS).map(|caller| pool.client(caller)).collect();
    let (owner, token, entropy) = (pool.owner.clone(), pool.token.clone(), pool.entropy.clone());
    run_load(server, &format!("BatchCharge of {size}"), BATCH_CALLERS, time, move |caller, _| {
        let mut client = clients[caller].clone();
        let request = token.on(batch(&owner, &entropy, size));
        async move { all_made(&client.batch_charge(request).await?.into_inner()) }
    })
    .await
}

fn batch(owner: &str, entropy: &Entropy, size: usize) -> pb::BatchChargeRequest {
    pb::BatchChargeRequest { charges: (0..size).map(|_| charge(owner, entropy)).collect() }
}

/// How many charges a batch made; any that was refused is a failure of the load.
fn all_made(answer: &pb::BatchChargeResponse) -> Result<u64, Status> {
    let refused = answer.outcomes.iter().find_map(|outcome| match &outcome.outcome {
        Some(pb::batch_charge_outcome::Outcome::Charge(_)) => None,
        Some(pb::batch_charge_outcome::Outcome::Status(status)) => {
            Some(Status::new(status.code.into(), &status.message))
        }
        None => Some(Status::internal("an outcome says nothing")),
    });
    refused.map_or(Ok(answer.outcomes.len() as u64), Err)
}

async fn holds(server: &Server, pool: &Pool, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| pool.client(caller)).collect();
    let (owner, token, entropy) = (pool.owner.clone(), pool.token.clone(), pool.entropy.clone());
    run_load(server, "hold and capture, pairs", callers, time, move |caller, _| {
        let mut client = clients[caller].clone();
        let place = token.on(pb::HoldRequest {
            owner: owner.clone(),
            amount: "2".to_owned(),
            request_id: request_id(&entropy),
            ..Default::default()
        });
        let capture =
            pb::CaptureRequest { amount: "1.5".to_owned(), request_id: request_id(&entropy), ..Default::default() };
        let token = token.clone();
        async move {
            let hold = client.hold(place).await?.into_inner().hold.unwrap_or_default();
            let capture = pb::CaptureRequest { hold_id: hold.id, ..capture };
            client.capture(token.on(capture)).await.map(|_| 1)
        }
    })
    .await
}

async fn mixed(server: &Server, pool: &Pool, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let clients: Vec<_> = (0..callers).map(|caller| pool.client(caller)).collect();
    let readers: Vec<_> = (0..callers)
        .map(|caller| AccountServiceClient::new(pool.channels[caller % pool.channels.len()].clone()))
        .collect();
    let (owner, token, entropy) = (pool.owner.clone(), pool.token.clone(), pool.entropy.clone());
    run_load(server, "half charges, half GetBalance", callers, time, move |caller, _| {
        let (mut client, mut reader) = (clients[caller].clone(), readers[caller].clone());
        let read = token.on(pb::GetBalanceRequest { owner: owner.clone() });
        let write = token.on(charge(&owner, &entropy));
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

/// Many personal accounts, charged by a service.
async fn many(args: &BenchArgs, server: &Server, time: Duration) -> anyhow::Result<Measured> {
    let entropy = Entropy::system();
    let channels: Arc<[Channel]> = server.billing().await?.into();
    let operator = Bearer::new(&server.operator().await?)?;
    let owners: Arc<[String]> = (0..args.accounts)
        .map(|number| {
            let user: UserId = Id::<kinds::User>::from_parts(number as u64, entropy.bytes());
            user.to_string()
        })
        .collect();
    let (all, token) = (Arc::clone(&owners), operator.clone());
    let clients: Vec<_> =
        (0..args.callers).map(|it| CreditServiceClient::new(channels[it % channels.len()].clone())).collect();
    fund(&clients, &operator, &owners).await?;
    let callers = args.callers.max(1);
    run_load(server, &format!("{} accounts", args.accounts), callers, time, move |caller, call| {
        let mut client = clients[caller].clone();
        // A step that is prime to any round number of accounts: callers do not march in step.
        let owner = &all[(caller * 7_919 + usize::try_from(call).unwrap_or(0) * 104_729) % all.len()];
        let request = token.on(charge(owner, &entropy));
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

/// Reads on a short ledger, then on a long one.
async fn growth(server: &Server, pool: &Pool, entries: usize) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    let mut written = 0;
    for wanted in [SHORT.min(entries), entries] {
        fill(pool, wanted - written).await?;
        written = wanted;
        measured.push(balance(server, pool, wanted).await?);
        measured.push(usage(server, pool, wanted).await?);
    }
    Ok(measured)
}

/// Lets the ledger grow.
async fn fill(pool: &Pool, entries: usize) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..4 {
        let (mut client, token, owner, entropy) =
            (pool.client(caller), pool.token.clone(), pool.owner.clone(), pool.entropy.clone());
        tasks.spawn(async move {
            let mut left = entries / 4;
            while left > 0 {
                let size = left.min(1_000);
                all_made(&client.batch_charge(token.on(batch(&owner, &entropy, size))).await?.into_inner())?;
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

async fn balance(server: &Server, pool: &Pool, entries: usize) -> anyhow::Result<Measured> {
    let client = AccountServiceClient::new(pool.channels[0].clone());
    let (owner, token) = (pool.owner.clone(), pool.token.clone());
    run_load(server, &format!("GetBalance at {entries} entries"), 1, READ_TIME, move |_, _| {
        let (mut client, request) = (client.clone(), token.on(pb::GetBalanceRequest { owner: owner.clone() }));
        async move { client.get_balance(request).await.map(|_| 1) }
    })
    .await
}

async fn usage(server: &Server, pool: &Pool, entries: usize) -> anyhow::Result<Measured> {
    let client = UsageServiceClient::new(pool.channels[0].clone());
    let now = bursar_time::Clock::system().now();
    let year = now.saturating_sub(bursar_time::Span::from_days(365));
    let request = pb::QueryUsageRequest {
        owner: pool.owner.clone(),
        from: Some(bursar_rpc::convert::to_timestamp(year)),
        to: Some(bursar_rpc::convert::to_timestamp(now.saturating_add(bursar_time::Span::HOUR))),
        group_by: vec![pb::GroupBy::Member.into()],
        interval: pb::Interval::Month.into(),
        ..Default::default()
    };
    let token = pool.token.clone();
    run_load(server, &format!("a year's usage at {entries} entries"), 1, READ_TIME, move |_, _| {
        let (mut client, request) = (client.clone(), token.on(request.clone()));
        async move { client.query_usage(request).await.map(|_| 1) }
    })
    .await
}
