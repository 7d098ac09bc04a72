//! One tenant does its worst while nine others charge: what the nine keep of their throughput and of their latency.
//!
//! The nine charge at a steady pace that leaves the machine room, so that what they lose tells about the server's fairness
//! and not about who is quicker at using up the client's cores; for the same reason the tenant has few callers, who never
//! pause. Each way is measured beside the nine alone, right before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bursar_id::{Id, UserId, kinds};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_client::AccountServiceClient;
use bursar_proto::billing::v1::credit_service_client::CreditServiceClient;
use bursar_proto::billing::v1::usage_service_client::UsageServiceClient;
use bursar_proto::identity::v1 as identity;
use bursar_proto::identity::v1::session_service_client::SessionServiceClient;
use bursar_proto::identity::v1::user_service_client::UserServiceClient;
use bursar_runtime::Service;
use bursar_secret::Entropy;
use bursar_time::Span;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use super::load::{Measured, What, run_paced};
use super::report::Report;
use super::scenario::{batch, charge, request_id};
use super::server::Server;
use super::team::{Bearer, Team, operator, product};

/// How many tenants only charge.
const NEIGHBOURS: usize = 9;
/// Callers of each of them.
const CALLERS_EACH: usize = 4;
/// How often each of these callers charges.
const PACE: Duration = Duration::from_millis(50);
/// Callers of the tenant that does its worst.
const WORST_CALLERS: usize = 16;
/// The same where the way is to have many.
const FLOOD: usize = 512;
/// Entries of that tenant's ledger before it begins.
const ENTRIES: usize = 20_000;
/// How long the tenant is at it before the nine are measured.
const BEFORE: Duration = Duration::from_millis(500);
/// How long everybody rests after a way.
const REST: Duration = Duration::from_secs(2);

/// What the tenant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Holds that all lapse within seconds.
    Lapses,
    /// Refunds of one charge, a millionth at a time.
    Refunds,
    /// Batches of the largest size.
    Batches,
    /// Filters that match nothing in a long ledger, a year's usage by hours.
    Pages,
    /// Audits of a long ledger.
    Audits,
    /// Strangers who sign up.
    SignUps,
    /// Wrong passwords.
    SignIns,
    /// Messages that are too large, and those with hundreds of flaws.
    Malformed,
    /// More single charges at once than there are places.
    Queue,
}

impl Way {
    /// All of them; those that fill the ledger last.
    pub(crate) const ALL: [Self; 9] = [
        Self::Audits,
        Self::Pages,
        Self::SignUps,
        Self::SignIns,
        Self::Malformed,
        Self::Lapses,
        Self::Refunds,
        Self::Queue,
        Self::Batches,
    ];

    /// In a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lapses => "holds that lapse together",
            Self::Refunds => "refunds of one charge",
            Self::Batches => "BatchCharge of 1,000",
            Self::Pages => "filters without a match, a year by hours",
            Self::Audits => "VerifyLedger",
            Self::SignUps => "sign-ups",
            Self::SignIns => "sign-ins",
            Self::Malformed => "oversized and malformed messages",
            Self::Queue => "512 charges at once",
        }
    }

    fn callers(self) -> usize {
        match self {
            Self::Queue => FLOOD,
            _ => WORST_CALLERS,
        }
    }
}

/// Every way, each beside the nine alone.
pub(super) async fn hostile(server: &Server, time: Duration) -> anyhow::Result<Vec<Measured>> {
    let neighbours = Neighbours::found(server).await?;
    let worst = Arc::new(Worst::assemble(server).await?);
    let mut measured = Vec::new();
    for way in Way::ALL {
        measured.push(neighbours.charge(server, What::Alone(way), "nine tenants alone", time).await?);
        let doing = Doing::begin(&worst, way);
        tokio::time::sleep(BEFORE).await;
        let name = format!("… beside {}", way.name());
        measured.push(neighbours.charge(server, What::Beside(way), &name, time).await?);
        let (calls, refused) = doing.end().await;
        Report::note(&format!(
            "  meanwhile {calls} calls of the tenant were answered, {refused} of them with a refusal"
        ));
        tokio::time::sleep(REST).await;
    }
    Ok(measured)
}

/// Those who only charge.
struct Neighbours {
    owners: Arc<[String]>,
    clients: Vec<CreditServiceClient<Channel>>,
    product: Bearer,
    entropy: Entropy,
}

impl Neighbours {
    async fn found(server: &Server) -> anyhow::Result<Self> {
        let entropy = Entropy::system();
        let channels = server.billing().await?;
        let clients: Vec<_> = channels.into_iter().map(CreditServiceClient::new).collect();
        let operator = operator(server).await?;
        let mut owners = Vec::with_capacity(NEIGHBOURS);
        for number in 0..NEIGHBOURS as u64 {
            let user: UserId = Id::<kinds::User>::from_parts(number, entropy.bytes());
            let grant = pb::GrantCreditsRequest {
                owner: user.to_string(),
                amount: "100000000".to_owned(),
                source: pb::LotSource::Promotion.into(),
                ..Default::default()
            };
            clients[0].clone().grant_credits(operator.on(grant)).await?;
            owners.push(user.to_string());
        }
        Ok(Self { owners: owners.into(), clients, product: product(server).await?, entropy })
    }

    async fn charge(&self, server: &Server, what: What, name: &str, time: Duration) -> anyhow::Result<Measured> {
        let (owners, clients) = (Arc::clone(&self.owners), self.clients.clone());
        let (product, entropy) = (self.product.clone(), self.entropy.clone());
        run_paced(server, (what, name), NEIGHBOURS * CALLERS_EACH, (time, PACE), move |caller, _| {
            let (mut client, owner) = (clients[caller % clients.len()].clone(), &owners[caller % NEIGHBOURS]);
            let request = product.on(charge(owner, owner, &entropy));
            async move { client.charge(request).await.map(|_| 1) }
        })
        .await
    }
}

/// The tenant that does its worst, and all it needs for it.
struct Worst {
    team: Team,
    operator: Bearer,
    /// A charge to be refunded for ever.
    charge: String,
    identity: Channel,
    reads: Channel,
}

impl Worst {
    async fn assemble(server: &Server) -> anyhow::Result<Self> {
        let team = Team::assemble(server).await?;
        let mut client = team.client(0);
        let large = pb::ChargeRequest {
            amount: "1000000".to_owned(),
            ..charge(&team.owner, &team.members[0].id, &team.entropy)
        };
        let charge = client.charge(team.product.on(large)).await?.into_inner().charge.unwrap_or_default().id;
        for _ in 0..ENTRIES / 500 {
            client.batch_charge(team.product.on(batch(&team, 500))).await?;
        }
        let (operator, identity) = (operator(server).await?, server.connect(Service::Identity).await?);
        let reads = server.connect(Service::Billing).await?;
        Ok(Self { team, operator, charge, identity, reads })
    }

    /// One call of one of its callers.
    async fn call(&self, way: Way, caller: usize, number: u64) -> Result<(), Status> {
        match way {
            Way::Lapses => self.hold(caller).await,
            Way::Refunds => self.refund(caller).await,
            Way::Batches => {
                let request = self.team.product.on(batch(&self.team, 1_000));
                self.team.client(caller).batch_charge(request).await.map(drop)
            }
            Way::Pages => self.page(number).await,
            Way::Audits => {
                let request = self.operator.on(pb::VerifyLedgerRequest { owner: self.team.owner.clone() });
                AccountServiceClient::new(self.reads.clone()).verify_ledger(request).await.map(drop)
            }
            Way::SignUps => {
                let email = format!("flood-{}@example.com", request_id(&self.team.entropy));
                let request =
                    identity::SignUpRequest { email, password: "a long password".into(), ..Default::default() };
                UserServiceClient::new(self.identity.clone()).sign_up(request).await.map(drop)
            }
            Way::SignIns => {
                let email = format!("nobody-{number}@example.com");
                let request = identity::SignInRequest { email, password: "a wrong one".into(), ..Default::default() };
                SessionServiceClient::new(self.identity.clone()).sign_in(request).await.map(drop)
            }
            Way::Malformed => self.malformed(caller, number).await,
            Way::Queue => {
                let member = &self.team.members[caller % self.team.members.len()].id;
                let request = self.team.product.on(charge(&self.team.owner, member, &self.team.entropy));
                self.team.client(caller).charge(request).await.map(drop)
            }
        }
    }

    async fn hold(&self, caller: usize) -> Result<(), Status> {
        let request = pb::HoldRequest {
            owner: self.team.owner.clone(),
            member: self.team.members[0].id.clone(),
            amount: "1".to_owned(),
            ttl: Some(bursar_rpc::convert::to_duration(Span::SECOND)),
            labels: (0..8).map(|number| (format!("label{number}"), "x".repeat(64))).collect(),
            request_id: request_id(&self.team.entropy),
            ..Default::default()
        };
        self.team.client(caller).hold(self.team.product.on(request)).await.map(drop)
    }

    async fn refund(&self, caller: usize) -> Result<(), Status> {
        let request = pb::RefundRequest {
            owner: self.team.owner.clone(),
            charge_id: self.charge.clone(),
            amount: Some("0.000001".to_owned()),
            request_id: request_id(&self.team.entropy),
        };
        self.team.client(caller).refund(self.team.product.on(request)).await.map(drop)
    }

    async fn page(&self, number: u64) -> Result<(), Status> {
        let owner = self.team.owner.clone();
        if number.is_multiple_of(4) {
            let now = bursar_time::Clock::system().now();
            let request = pb::QueryUsageRequest {
                owner,
                from: Some(bursar_rpc::convert::to_timestamp(now.saturating_sub(Span::from_days(365)))),
                to: Some(bursar_rpc::convert::to_timestamp(now)),
                group_by: vec![pb::GroupBy::Member.into(), pb::GroupBy::Project.into(), pb::GroupBy::Model.into()],
                interval: pb::Interval::Hour.into(),
                ..Default::default()
            };
            return UsageServiceClient::new(self.reads.clone()).query_usage(self.operator.on(request)).await.map(drop);
        }
        let project = "prj_00000000000000000000000009".to_owned();
        let request = pb::ListLedgerEntriesRequest { owner, project, page_size: 1_000, ..Default::default() };
        let mut client = AccountServiceClient::new(self.reads.clone());
        client.list_ledger_entries(self.operator.on(request)).await.map(drop)
    }

    async fn malformed(&self, caller: usize, number: u64) -> Result<(), Status> {
        let mut client = self.team.client(caller);
        if number.is_multiple_of(4) {
            let large = pb::ChargeRequest {
                project: "x".repeat(5 << 20),
                ..charge(&self.team.owner, &self.team.members[0].id, &self.team.entropy)
            };
            return client.charge(self.team.product.on(large)).await.map(drop);
        }
        let flawed = pb::ChargeRequest {
            owner: "org_this is no id".to_owned(),
            amount: "1e400".to_owned(),
            member: "\u{202e}nobody".to_owned(),
            labels: (0..64).map(|number| (format!("\u{0}{number}"), "x".repeat(500))).collect(),
            ..Default::default()
        };
        let request = pb::BatchChargeRequest { charges: vec![flawed; 100] };
        client.batch_charge(self.team.product.on(request)).await.map(drop)
    }
}

/// The tenant at work.
struct Doing {
    over: Arc<AtomicBool>,
    calls: Arc<[AtomicU64; 2]>,
    tasks: JoinSet<()>,
}

impl Doing {
    fn begin(worst: &Arc<Worst>, way: Way) -> Self {
        let (over, calls, mut tasks) =
            (Arc::new(AtomicBool::new(false)), Arc::<[AtomicU64; 2]>::default(), JoinSet::new());
        for caller in 0..way.callers() {
            let (worst, over, calls) = (Arc::clone(worst), Arc::clone(&over), Arc::clone(&calls));
            tasks.spawn(async move {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    let refused = worst.call(way, caller, number).await.is_err();
                    number += 1;
                    calls[0].fetch_add(1, Ordering::Relaxed);
                    calls[1].fetch_add(refused.into(), Ordering::Relaxed);
                }
            });
        }
        Self { over, calls, tasks }
    }

    /// How many calls were answered, and how many of them with a refusal.
    async fn end(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        (self.calls[0].load(Ordering::Relaxed), self.calls[1].load(Ordering::Relaxed))
    }
}
