//! One tenant does its worst while nine others charge and read: what the nine keep of their throughput and of their
//! latency.
//!
//! The nine go on at a steady pace that leaves the machine room, so that what they lose tells about the server's
//! fairness and not about who is quicker at using up the client's cores; for the same reason the tenant has few
//! callers, who never pause. Each way is measured beside the nine alone, right before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bursar_id::{Id, UserId, kinds};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_client::AccountServiceClient;
use bursar_proto::billing::v1::credit_service_client::CreditServiceClient;
use bursar_secret::Entropy;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

use super::load::{Measured, What, run_paced};
use super::report::Report;
use super::scenario::charge;
use super::server::Server;
use super::team::{Bearer, operator, product};
use super::worst::Worst;

/// How many tenants only charge and read.
const NEIGHBOURS: usize = 9;
/// Callers of each of them who charge.
const CHARGERS_EACH: usize = 4;
/// Callers of each of them who read.
const READERS_EACH: usize = 2;
/// How often each of these callers calls.
const PACE: Duration = Duration::from_millis(50);
/// Callers of the tenant that does its worst.
const WORST_CALLERS: usize = 16;
/// People who sign in at once.
const CLASS: usize = 100;
/// Callers where the way is to have many.
const FLOOD: usize = 512;
/// So many places has billing's queue then: fewer than the flood has callers, so that they meet the share of one owner. All
/// of the nine who charge find one in what is left.
const PLACES: usize = 256;
/// How long the tenant is at it before the nine are measured.
const BEFORE: Duration = Duration::from_millis(500);
/// How long everybody rests after a way.
const REST: Duration = Duration::from_secs(2);

/// What the nine do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// `Charge`.
    Charge,
    /// `GetBalance`.
    Read,
}

impl Work {
    /// Both, which go on at once.
    pub(crate) const ALL: [Self; 2] = [Self::Charge, Self::Read];

    /// In a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charges",
            Self::Read => "balances",
        }
    }
}

/// What the tenant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Audits of a long ledger.
    Audits,
    /// Audits of several organizations' ledgers, all by the one who owns them.
    Several,
    /// Filters that match nothing in a long ledger, a year's usage by hours.
    Pages,
    /// Lists of the largest size over entries with many labels.
    Rows,
    /// Strangers who sign up.
    SignUps,
    /// Strangers who sign up, each from another place, and hang up before they are answered.
    HangUps,
    /// Wrong passwords.
    SignIns,
    /// Right passwords, each from another place.
    RightSignIns,
    /// Messages that are too large, and those with hundreds of flaws.
    Malformed,
    /// Ids, types of events and paths of masks that there are not, many at a time.
    Unknown,
    /// Pictures with as many pixels as are taken.
    Pictures,
    /// More balances of one person's at once than billing's store has connections.
    Looks,
    /// The same at identity: the own user.
    Selves,
    /// The same at organization: who belongs there.
    Members,
    /// Holds that all lapse within seconds.
    Lapses,
    /// The balance of the account that has them, while they are made.
    Balances,
    /// Refunds of one charge, a millionth at a time.
    Refunds,
    /// Refunds and audits at once.
    Together,
    /// More single charges at once than there are places.
    Queue,
    /// Batches of the largest size.
    Batches,
    /// The same with sixteen labels on each charge.
    Labels,
}

impl Way {
    /// All of them; those that fill the ledger last.
    pub(crate) const ALL: [Self; 21] = [
        Self::Audits,
        Self::Several,
        Self::Pages,
        Self::Rows,
        Self::SignUps,
        Self::HangUps,
        Self::SignIns,
        Self::RightSignIns,
        Self::Malformed,
        Self::Unknown,
        Self::Pictures,
        Self::Looks,
        Self::Selves,
        Self::Members,
        Self::Lapses,
        Self::Balances,
        Self::Refunds,
        Self::Together,
        Self::Queue,
        Self::Batches,
        Self::Labels,
    ];

    /// In a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Audits => "VerifyLedger",
            Self::Several => "VerifyLedger of several organizations",
            Self::Pages => "filters without a match, a year by hours",
            Self::Rows => "lists of large entries",
            Self::SignUps => "sign-ups",
            Self::HangUps => "sign-ups given up",
            Self::SignIns => "sign-ins",
            Self::RightSignIns => "100 right sign-ins at once",
            Self::Malformed => "oversized and malformed messages",
            Self::Unknown => "unknown ids, types and paths",
            Self::Pictures => "SetAvatar",
            Self::Looks => "512 GetBalance at once",
            Self::Selves => "512 GetMe at once",
            Self::Members => "512 ListMembers at once",
            Self::Lapses => "holds that lapse together",
            Self::Balances => "GetBalance beside lapsing holds",
            Self::Refunds => "refunds of one charge",
            Self::Together => "refunds and VerifyLedger",
            Self::Queue => "512 charges at once",
            Self::Batches => "BatchCharge of 1,000",
            Self::Labels => "BatchCharge of 1,000 with 16 labels",
        }
    }

    fn callers(self) -> usize {
        match self {
            Self::Queue | Self::Looks | Self::Selves | Self::Members => FLOOD,
            Self::RightSignIns => CLASS,
            _ => WORST_CALLERS,
        }
    }
}

/// Every way, each beside the nine alone.
pub(super) async fn hostile(server: &mut Server, time: Duration) -> anyhow::Result<Vec<Measured>> {
    let mut neighbours = Neighbours::found(server).await?;
    let mut worst = Worst::assemble(server).await?;
    let mut measured = Vec::new();
    for way in Way::ALL {
        let few = way == Way::Queue && server.restart(Some(PLACES)).await?;
        if few {
            Report::note(&format!("  billing's queue has {PLACES} places for this"));
        }
        // All ways together take longer than a token lives, and a server that was started again has other connections.
        neighbours.product = product(server).await?;
        neighbours.channels = server.billing().await?;
        worst = worst.renewed(server).await?;
        measured.extend(neighbours.work(server, |work| What::Alone(way, work), "alone", time).await?);
        let doing = Doing::begin(&Arc::new(worst.clone()), way);
        tokio::time::sleep(BEFORE).await;
        let beside = format!("beside {}", way.name());
        measured.extend(neighbours.work(server, |work| What::Beside(way, work), &beside, time).await?);
        let [answered, refused, given_up] = doing.end().await;
        Report::note(&format!(
            "  meanwhile {answered} calls of the tenant were answered, {refused} of them refused, {given_up} given up"
        ));
        tokio::time::sleep(REST).await;
        if few {
            server.restart(None).await?;
        }
    }
    Ok(measured)
}

/// Those who only charge and read.
struct Neighbours {
    owners: Arc<[String]>,
    channels: Vec<Channel>,
    product: Bearer,
    entropy: Entropy,
}

impl Neighbours {
    async fn found(server: &Server) -> anyhow::Result<Self> {
        let entropy = Entropy::system();
        let channels = server.billing().await?;
        let mut client = CreditServiceClient::new(channels[0].clone());
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
            client.grant_credits(operator.on(grant)).await?;
            owners.push(user.to_string());
        }
        Ok(Self { owners: owners.into(), channels, product: product(server).await?, entropy })
    }

    /// Both of what they do, at once: what the server used meanwhile is counted for both.
    async fn work(
        &self,
        server: &Server,
        what: impl Fn(Work) -> What,
        when: &str,
        time: Duration,
    ) -> anyhow::Result<[Measured; 2]> {
        let [charges, balances] = Work::ALL.map(|work| format!("{} {when}", work.name()));
        let charges = self.charge(server, (what(Work::Charge), charges.as_str()), time);
        let balances = self.read(server, (what(Work::Read), balances.as_str()), time);
        let (charges, balances) = tokio::try_join!(charges, balances)?;
        Ok([charges, balances])
    }

    async fn charge(&self, server: &Server, what: (What, &str), time: Duration) -> anyhow::Result<Measured> {
        let (owners, product, entropy) = (Arc::clone(&self.owners), self.product.clone(), self.entropy.clone());
        let clients: Vec<_> = self.channels.iter().cloned().map(CreditServiceClient::new).collect();
        run_paced(server, what, NEIGHBOURS * CHARGERS_EACH, (time, PACE), move |caller, _| {
            let (mut client, owner) = (clients[caller % clients.len()].clone(), &owners[caller % NEIGHBOURS]);
            let request = product.on(charge(owner, owner, &entropy));
            async move { client.charge(request).await.map(|_| 1) }
        })
        .await
    }

    async fn read(&self, server: &Server, what: (What, &str), time: Duration) -> anyhow::Result<Measured> {
        let (owners, product) = (Arc::clone(&self.owners), self.product.clone());
        let clients: Vec<_> = self.channels.iter().cloned().map(AccountServiceClient::new).collect();
        run_paced(server, what, NEIGHBOURS * READERS_EACH, (time, PACE), move |caller, _| {
            let (mut client, owner) = (clients[caller % clients.len()].clone(), owners[caller % NEIGHBOURS].clone());
            let request = product.on(pb::GetBalanceRequest { owner, ..Default::default() });
            async move { client.get_balance(request).await.map(|_| 1) }
        })
        .await
    }
}

/// The tenant at work.
struct Doing {
    over: Arc<AtomicBool>,
    /// Calls that were answered, those of them that were refused, and calls that were given up.
    calls: Arc<[AtomicU64; 3]>,
    tasks: JoinSet<()>,
}

impl Doing {
    fn begin(worst: &Arc<Worst>, way: Way) -> Self {
        let (over, calls, mut tasks) =
            (Arc::new(AtomicBool::new(false)), Arc::<[AtomicU64; 3]>::default(), JoinSet::new());
        for caller in 0..way.callers() {
            let (worst, over, calls) = (Arc::clone(worst), Arc::clone(&over), Arc::clone(&calls));
            tasks.spawn(async move {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    let outcome = worst.call(way, caller, number).await;
                    number += 1;
                    // Nobody but a caller who hangs up cancels anything here.
                    let given_up = outcome.as_ref().is_err_and(|status| status.code() == Code::Cancelled);
                    calls[0].fetch_add((!given_up).into(), Ordering::Relaxed);
                    calls[1].fetch_add((outcome.is_err() && !given_up).into(), Ordering::Relaxed);
                    calls[2].fetch_add(given_up.into(), Ordering::Relaxed);
                }
            });
        }
        Self { over, calls, tasks }
    }

    /// The three counts.
    async fn end(self) -> [u64; 3] {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        [0, 1, 2].map(|count: usize| self.calls[count].load(Ordering::Relaxed))
    }
}
