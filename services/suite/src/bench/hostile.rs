//! One tenant does its worst while nine others charge and read: what the nine keep of their throughput and of their
//! latency.
//!
//! The nine go on at a steady pace that leaves the machine room, so that what they lose tells about the server's
//! fairness and not about who is quicker at using up the client's cores; for the same reason the tenant has few
//! callers, who never pause, on threads of its own. Each way is measured beside the nine alone, right before it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_id::{Id, UserId, kinds};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_client::AccountServiceClient;
use bursar_proto::billing::v1::credit_service_client::CreditServiceClient;
use bursar_proto::identity::v1 as identity;
use bursar_proto::identity::v1::session_service_client::SessionServiceClient;
use bursar_proto::identity::v1::user_service_client::UserServiceClient;
use bursar_proto::organization::v1 as organization;
use bursar_proto::organization::v1::member_service_client::MemberServiceClient;
use bursar_runtime::Service;
use bursar_secret::Entropy;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::elsewhere::Elsewhere;
use super::load::{Measured, What, run_paced};
use super::report::Report;
use super::scenario::charge;
use super::server::Server;
use super::team::{Bearer, Team, operator, product};
use super::worst::Worst;

/// How many tenants only charge and read.
const NEIGHBOURS: usize = 9;
/// Callers of each of them who charge.
const CHARGERS_EACH: usize = 4;
/// Callers of each of them who read.
const READERS_EACH: usize = 2;
/// People of the nine who sign in, where the tenant is at who signs up and in.
const SIGNERS: usize = 4;
/// How often each of these signs in.
const SIGN_IN_PACE: Duration = Duration::from_millis(250);
/// How often each of the other callers calls.
const PACE: Duration = Duration::from_millis(50);
/// Callers of the tenant that does its worst.
pub(super) const WORST_CALLERS: usize = 16;
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
    /// `GetBalance`; where the tenant is at identity or organization, what reads there.
    Read,
}

impl Work {
    /// Both, which go on at once.
    pub(crate) const ALL: [Self; 2] = [Self::Charge, Self::Read];

    /// In a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charges",
            Self::Read => "reads",
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
    /// More balances at once, of fifty people, than billing's store has connections.
    Looks,
    /// The same at identity, by one person: the own user.
    Selves,
    /// The same at organization: who belongs there.
    Members,
    /// Sessions of one person that are refreshed as fast as they can be, beyond what is their ration.
    Refreshes,
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
    pub(crate) const ALL: [Self; 22] = [
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
        Self::Refreshes,
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
            Self::Looks => "512 GetBalance at once of 50 people",
            Self::Selves => "512 GetMe at once",
            Self::Members => "512 ListMembers at once",
            Self::Refreshes => "refreshes of one person's sessions",
            Self::Lapses => "holds that lapse together",
            Self::Balances => "GetBalance beside lapsing holds",
            Self::Refunds => "refunds of one charge",
            Self::Together => "refunds and VerifyLedger",
            Self::Queue => "512 charges at once",
            Self::Batches => "BatchCharge of 1,000",
            Self::Labels => "BatchCharge of 1,000 with 16 labels",
        }
    }

    /// Whether it keeps passwords being hashed, for which whoever signs in waits.
    fn hashes(self) -> bool {
        matches!(self, Self::SignUps | Self::HangUps | Self::SignIns | Self::RightSignIns)
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
    let elsewhere = Elsewhere::start()?;
    let mut worst = elsewhere.see_through(Worst::assemble(server))?;
    let mut measured = Vec::new();
    for way in Way::ALL {
        let few = way == Way::Queue && server.restart(Some(PLACES)).await?;
        if few {
            Report::note(&format!("  billing's queue has {PLACES} places for this"));
        }
        // All ways together take longer than a token lives, and a server that was started again has other connections.
        neighbours = neighbours.renewed(server, way).await?;
        worst = elsewhere.see_through(worst.renewed(server, way))?;
        measured.extend(neighbours.work(server, (way, What::Alone), "alone", time).await?);
        let doing = Doing::begin(&elsewhere, &Arc::new(worst.clone()), way);
        tokio::time::sleep(BEFORE).await;
        let beside = format!("beside {}", way.name());
        measured.extend(neighbours.work(server, (way, What::Beside), &beside, time).await?);
        Report::note(&doing.end().await);
        tokio::time::sleep(REST).await;
        if few {
            server.restart(None).await?;
        }
    }
    Ok(measured)
}

/// Those who only charge and read. The product's service does so for them; where the tenant is at identity or organization,
/// people of an organization read there, too.
#[derive(Clone)]
struct Neighbours {
    owners: Arc<[String]>,
    channels: Vec<Channel>,
    identity: Channel,
    organizations: Channel,
    team: Team,
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
        let (identity, organizations) =
            (server.connect(Service::Identity).await?, server.connect(Service::Organization).await?);
        let (team, product) = (Team::assemble(server).await?, product(server).await?);
        Ok(Self { owners: owners.into(), channels, identity, organizations, team, product, entropy })
    }

    /// The same with new tokens and connections, for this way of the tenant's.
    async fn renewed(mut self, server: &Server, way: Way) -> anyhow::Result<Self> {
        self.product = product(server).await?;
        self.channels = server.billing().await?;
        self.identity = server.connect(Service::Identity).await?;
        self.organizations = server.connect(Service::Organization).await?;
        if matches!(way, Way::Selves | Way::Members | Way::Refreshes) {
            self.team = self.team.renewed(server).await?;
        }
        Ok(self)
    }

    /// All that they do, at once: what the server used meanwhile is counted for each.
    async fn work(
        &self,
        server: &Server,
        (way, what): (Way, fn(Way, Work) -> What),
        when: &str,
        time: Duration,
    ) -> anyhow::Result<Vec<Measured>> {
        let [charges, reads] = Work::ALL.map(|work| format!("{} {when}", work.name()));
        let charges = self.charge(server, (what(way, Work::Charge), charges.as_str()), time);
        let reads = self.read(server, way, (what(way, Work::Read), reads.as_str()), time);
        let signs_in = async {
            if !way.hashes() {
                return Ok(None);
            }
            self.sign_in(server, &format!("sign-ins {when}"), time).await.map(Some)
        };
        let (charges, reads, signed_in) = tokio::try_join!(charges, reads, signs_in)?;
        Ok([charges, reads].into_iter().chain(signed_in).collect())
    }

    /// People sign in, each where nobody else is.
    async fn sign_in(&self, server: &Server, name: &str, time: Duration) -> anyhow::Result<Measured> {
        let neighbours = Arc::new(self.clone());
        run_paced(server, (What::Other, name), SIGNERS, (time, SIGN_IN_PACE), move |caller, _| {
            let neighbours = Arc::clone(&neighbours);
            async move {
                let (place, credentials) = (format!("192.0.2.{}", caller + 1), neighbours.team.credentials(caller));
                let request = neighbours.product.at(&place, credentials)?;
                SessionServiceClient::new(neighbours.identity.clone()).sign_in(request).await.map(|_| 1)
            }
        })
        .await
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

    async fn read(&self, server: &Server, way: Way, what: (What, &str), time: Duration) -> anyhow::Result<Measured> {
        let neighbours = Arc::new(self.clone());
        run_paced(server, what, NEIGHBOURS * READERS_EACH, (time, PACE), move |caller, _| {
            let neighbours = Arc::clone(&neighbours);
            async move { neighbours.look(way, caller).await.map(|()| 1) }
        })
        .await
    }

    /// One read where the tenant is, so that what it does there is measured.
    async fn look(&self, way: Way, caller: usize) -> Result<(), Status> {
        let member = &self.team.members[caller % self.team.members.len()];
        match way {
            Way::Selves | Way::Refreshes => {
                let request = member.token.on(identity::GetMeRequest {});
                UserServiceClient::new(self.identity.clone()).get_me(request).await.map(drop)
            }
            // As the product asks before each of its requests, and as people do.
            Way::Members => {
                let mut client = MemberServiceClient::new(self.organizations.clone());
                let organization_id = self.team.owner.clone();
                if caller.is_multiple_of(2) {
                    let request = organization::CheckAccessRequest { organization_id, user_id: member.id.clone() };
                    return client.check_access(self.product.on(request)).await.map(drop);
                }
                let request = organization::ListMembersRequest { organization_id, ..Default::default() };
                client.list_members(member.token.on(request)).await.map(drop)
            }
            _ => {
                let owner = self.owners[caller % NEIGHBOURS].clone();
                let request = self.product.on(pb::GetBalanceRequest { owner, ..Default::default() });
                let channel = self.channels[caller % self.channels.len()].clone();
                AccountServiceClient::new(channel).get_balance(request).await.map(drop)
            }
        }
    }
}

/// The tenant at work.
struct Doing {
    over: Arc<AtomicBool>,
    calls: Arc<Calls>,
    tasks: JoinSet<()>,
}

/// What became of its calls.
#[derive(Default)]
struct Calls {
    answered: AtomicU64,
    given_up: AtomicU64,
    /// Of those that were answered: by code.
    refused: Mutex<BTreeMap<String, u64>>,
}

impl Calls {
    fn count(&self, outcome: &Result<(), Status>) {
        match outcome {
            // Nobody but a caller who hangs up cancels anything here.
            Err(status) if status.code() == Code::Cancelled => drop(self.given_up.fetch_add(1, Ordering::Relaxed)),
            Err(status) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                *refused.entry(format!("{:?}", status.code())).or_default() += 1;
            }
            Ok(()) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// For who reads the report: a way that is refused at the door is none.
    fn told(&self) -> String {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, by_code): (u64, Vec<_>) =
            (refused.values().sum(), refused.iter().map(|(code, count)| format!("{count} {code}")).collect());
        let by_code = if by_code.is_empty() { String::new() } else { format!(" ({})", by_code.join(", ")) };
        let (answered, given_up) = (self.answered.load(Ordering::Relaxed), self.given_up.load(Ordering::Relaxed));
        format!(
            "  meanwhile {answered} calls of the tenant were answered, {all} of them refused{by_code}, {given_up} given up"
        )
    }
}

impl Doing {
    fn begin(elsewhere: &Elsewhere, worst: &Arc<Worst>, way: Way) -> Self {
        let (over, calls, mut tasks) = (Arc::new(AtomicBool::new(false)), Arc::<Calls>::default(), JoinSet::new());
        for caller in 0..way.callers() {
            let (worst, over, calls) = (Arc::clone(worst), Arc::clone(&over), Arc::clone(&calls));
            let calling = async move {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    calls.count(&worst.call(way, caller, number).await);
                    number += 1;
                }
            };
            tasks.spawn_on(calling, elsewhere.handle());
        }
        Self { over, calls, tasks }
    }

    /// What became of its calls.
    async fn end(self) -> String {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.calls.told()
    }
}
