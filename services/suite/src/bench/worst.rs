//! The tenant that does its worst, and what it asks in each of its ways.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_client::AccountServiceClient;
use bursar_proto::billing::v1::usage_service_client::UsageServiceClient;
use bursar_proto::event::v1 as event;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::identity::v1 as identity;
use bursar_proto::identity::v1::session_service_client::SessionServiceClient;
use bursar_proto::identity::v1::user_service_client::UserServiceClient;
use bursar_proto::organization::v1 as organization;
use bursar_proto::organization::v1::member_service_client::MemberServiceClient;
use bursar_proto::organization::v1::organization_service_client::OrganizationServiceClient;
use bursar_runtime::Service;
use bursar_secret::Entropy;
use bursar_time::Span;
use image::{DynamicImage, ImageFormat, RgbImage};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::hostile::{WORST_CALLERS, Way};
use super::scenario::{all_made, batch, charge, request_id};
use super::server::Server;
use super::team::{Bearer, Person, Team, crowd, operator, renewed};
use crate::waiting::{self, eventually};

/// Entries of that tenant's ledger before it begins.
const ENTRIES: usize = 60_000;
/// Entries with many labels before these: as many as a page may have.
const LARGE_ENTRIES: usize = 1_000;
/// Further organizations of its founder's.
const OTHERS: usize = 4;
/// Entries of each of their ledgers.
const OTHERS_ENTRIES: usize = 5_000;
/// People who read at once.
const CROWD: usize = 50;
/// Charges in one call while ledgers are filled.
const FILL: usize = 500;
/// The least and the greatest patience of who hangs up, in milliseconds.
const PATIENCE: (u64, u64) = (20, 150);
/// Makes whatever is left to chance the same in every run.
const SEED: u64 = 8;

/// The tenant that does its worst, and all it needs for it. Cheap to clone but for its picture.
#[derive(Clone)]
pub(super) struct Worst {
    team: Team,
    operator: Bearer,
    /// Its founder's other organizations, and the founder's token in each.
    others: Vec<(String, Bearer)>,
    /// The accounts of one who has many.
    crowd: Arc<[Person]>,
    /// The refresh token of each caller's session, where they are refreshed.
    sessions: Arc<[Mutex<String>]>,
    /// A charge to be refunded for ever.
    charge: String,
    picture: Vec<u8>,
    chance: Entropy,
    identity: Channel,
    organizations: Channel,
    reads: Channel,
}

impl Worst {
    /// Makes it, with ledgers that are long.
    pub(super) async fn assemble(server: &Server) -> anyhow::Result<Self> {
        let team = Team::assemble(server).await?;
        let mut client = team.client(0);
        let large = pb::ChargeRequest {
            amount: "1000000".to_owned(),
            ..charge(&team.owner, &team.members[0].id, &team.entropy)
        };
        let charge = client.charge(team.product.on(large)).await?.into_inner().charge.unwrap_or_default().id;
        for _ in 0..LARGE_ENTRIES / FILL {
            all_made(&client.batch_charge(team.product.on(labelled(&team, FILL))).await?.into_inner())?;
        }
        for _ in 0..ENTRIES / FILL {
            all_made(&client.batch_charge(team.product.on(batch(&team, FILL))).await?.into_inner())?;
        }
        let organizations = server.connect(Service::Organization).await?;
        let mut founding = OrganizationServiceClient::new(organizations.clone());
        let mut others = Vec::with_capacity(OTHERS);
        for _ in 0..OTHERS {
            let owner = team.another(server, &mut founding).await?;
            until_known(&team, &owner).await?;
            for _ in 0..OTHERS_ENTRIES / FILL {
                all_made(&client.batch_charge(team.product.on(lonely(&team, &owner))).await?.into_inner())?;
            }
            let token = team.founder_in(server, &owner).await?;
            others.push((owner, token));
        }
        let (operator, identity) = (operator(server).await?, server.connect(Service::Identity).await?);
        let reads = server.connect(Service::Billing).await?;
        let crowd = crowd(server, CROWD).await?;
        let (picture, chance, sessions) = (large_picture()?, Entropy::seeded(SEED), Arc::default());
        Ok(Self { team, operator, others, crowd, sessions, charge, picture, chance, identity, organizations, reads })
    }

    /// The same tenant with new tokens and connections, for this way.
    pub(super) async fn renewed(self, server: &Server, way: Way) -> anyhow::Result<Self> {
        let (team, operator) = (self.team.renewed(server).await?, operator(server).await?);
        let mut others = self.others;
        for (owner, token) in &mut others {
            *token = team.founder_in(server, owner).await?;
        }
        let (identity, organizations) =
            (server.connect(Service::Identity).await?, server.connect(Service::Organization).await?);
        let reads = server.connect(Service::Billing).await?;
        let crowd = if way == Way::Looks { renewed(server, &self.crowd).await? } else { self.crowd };
        let count = if way == Way::Refreshes { WORST_CALLERS } else { 0 };
        let sessions = team.sessions(server, count).await?.into_iter().map(Mutex::new).collect();
        Ok(Self { team, operator, others, crowd, sessions, identity, organizations, reads, ..self })
    }

    /// One call of one of its callers. Cancelled is one that the caller has given up.
    pub(super) async fn call(&self, way: Way, caller: usize, number: u64) -> Result<(), Status> {
        match way {
            Way::Audits => self.audit(&self.operator, &self.team.owner).await,
            Way::Several => {
                let (owner, founder) = &self.others[caller % self.others.len()];
                self.audit(founder, owner).await
            }
            Way::Pages => self.page(number).await,
            Way::Rows => {
                let owner = self.team.owner.clone();
                let request = pb::ListLedgerEntriesRequest { owner, page_size: 1_000, ..Default::default() };
                let mut client = AccountServiceClient::new(self.reads.clone());
                client.list_ledger_entries(self.operator.on(request)).await.map(drop)
            }
            Way::SignUps => {
                let request = self.elsewhere(self.stranger())?;
                UserServiceClient::new(self.identity.clone()).sign_up(request).await.map(drop)
            }
            Way::HangUps => self.hang_up().await,
            Way::SignIns => {
                let email = format!("nobody-{number}@example.com");
                let request = identity::SignInRequest { email, password: "a wrong one".into(), ..Default::default() };
                let request = self.elsewhere(request)?;
                SessionServiceClient::new(self.identity.clone()).sign_in(request).await.map(drop)
            }
            Way::RightSignIns => {
                let request = self.elsewhere(self.team.credentials(caller))?;
                SessionServiceClient::new(self.identity.clone()).sign_in(request).await.map(drop)
            }
            Way::Malformed => self.malformed(caller, number).await,
            Way::Unknown => self.unknown(number).await,
            Way::Pictures => self.show(caller).await,
            Way::Looks => {
                let Person { id, token, .. } = &self.crowd[caller % self.crowd.len()];
                let request = token.on(pb::GetBalanceRequest { owner: id.clone(), ..Default::default() });
                AccountServiceClient::new(self.reads.clone()).get_balance(request).await.map(drop)
            }
            Way::Selves => {
                let request = self.team.founder().on(identity::GetMeRequest {});
                UserServiceClient::new(self.identity.clone()).get_me(request).await.map(drop)
            }
            Way::Members => {
                let organization_id = self.team.owner.clone();
                let request = organization::ListMembersRequest { organization_id, ..Default::default() };
                let mut client = MemberServiceClient::new(self.organizations.clone());
                client.list_members(self.team.founder().on(request)).await.map(drop)
            }
            Way::Refreshes => self.refresh(caller).await,
            Way::Balances if !caller.is_multiple_of(2) => self.balance(&self.team.product).await,
            Way::Lapses | Way::Balances => self.hold(caller).await,
            Way::Together if !caller.is_multiple_of(2) => self.audit(&self.operator, &self.team.owner).await,
            Way::Refunds | Way::Together => self.refund(caller).await,
            Way::Queue => self.spend(caller).await,
            Way::Batches => {
                let request = self.team.product.on(batch(&self.team, 1_000));
                self.team.client(caller).batch_charge(request).await.map(drop)
            }
            Way::Labels => {
                let request = self.team.product.on(labelled(&self.team, 1_000));
                self.team.client(caller).batch_charge(request).await.map(drop)
            }
        }
    }

    /// One more of the caller's session; one that is refused leaves the token as good as it was.
    async fn refresh(&self, caller: usize) -> Result<(), Status> {
        let session = &self.sessions[caller % self.sessions.len()];
        let held = || session.lock().unwrap_or_else(PoisonError::into_inner);
        let request = identity::RefreshRequest { refresh_token: held().clone() };
        let answer = SessionServiceClient::new(self.identity.clone()).refresh(request).await?.into_inner();
        *held() = answer.tokens.unwrap_or_default().refresh_token;
        Ok(())
    }

    async fn audit(&self, token: &Bearer, owner: &str) -> Result<(), Status> {
        let request = token.on(pb::VerifyLedgerRequest { owner: owner.to_owned() });
        AccountServiceClient::new(self.reads.clone()).verify_ledger(request).await.map(drop)
    }

    async fn balance(&self, token: &Bearer) -> Result<(), Status> {
        let request = pb::GetBalanceRequest { owner: self.team.owner.clone(), ..Default::default() };
        AccountServiceClient::new(self.reads.clone()).get_balance(token.on(request)).await.map(drop)
    }

    async fn spend(&self, caller: usize) -> Result<(), Status> {
        let member = &self.team.members[caller % self.team.members.len()].id;
        let request = self.team.product.on(charge(&self.team.owner, member, &self.team.entropy));
        self.team.client(caller).charge(request).await.map(drop)
    }

    /// Somebody whom nobody knows.
    fn stranger(&self) -> identity::SignUpRequest {
        let email = format!("flood-{}@example.com", request_id(&self.team.entropy));
        identity::SignUpRequest { email, password: "a long password".into(), ..Default::default() }
    }

    /// A call of the product's for somebody who is at another place each time: what is counted by place lets it in.
    fn elsewhere<T>(&self, message: T) -> Result<Request<T>, Status> {
        // The addresses that are set aside for benchmarks.
        let [net, high, low]: [u8; 3] = self.chance.bytes();
        let address = format!("198.{}.{high}.{low}", 18 + net % 2);
        self.team.product.at(&address, message)
    }

    async fn hang_up(&self) -> Result<(), Status> {
        let (least, greatest) = PATIENCE;
        let patience = Duration::from_millis(least + self.chance.u64_below(greatest - least + 1));
        let request = self.elsewhere(self.stranger())?;
        let mut client = UserServiceClient::new(self.identity.clone());
        // The call that is dropped resets its stream: the server learns that nobody waits any more.
        let answer = tokio::time::timeout(patience, client.sign_up(request)).await;
        answer.unwrap_or_else(|_| Err(Status::cancelled("given up"))).map(drop)
    }

    /// Three calls in turn, each with more that there is not than a refusal can name.
    async fn unknown(&self, number: u64) -> Result<(), Status> {
        let mut users = UserServiceClient::new(self.identity.clone());
        match number % 3 {
            0 => {
                let request = identity::BatchGetUsersRequest { user_ids: vec!["x".repeat(200); 40] };
                users.batch_get_users(self.operator.on(request)).await.map(drop)
            }
            1 => {
                let request = event::WatchRequest { types: vec!["x".repeat(200); 100], ..Default::default() };
                EventServiceClient::new(self.identity.clone()).watch(self.operator.on(request)).await.map(drop)
            }
            _ => {
                let update_mask = Some(prost_types::FieldMask { paths: vec!["x/".repeat(10_000)] });
                let request = identity::UpdateMeRequest { update_mask, ..Default::default() };
                users.update_me(self.team.founder().on(request)).await.map(drop)
            }
        }
    }

    /// Sets a picture: each organization in turn has callers who do, since one alone has few places.
    async fn show(&self, caller: usize) -> Result<(), Status> {
        let (organization_id, founder) = match caller % (self.others.len() + 1) {
            0 => (self.team.owner.clone(), self.team.founder()),
            other => self.others[other - 1].clone(),
        };
        let content = self.picture.clone();
        let request = organization::SetAvatarRequest { organization_id, content, request_id: String::new() };
        let mut client = OrganizationServiceClient::new(self.organizations.clone());
        client.set_avatar(founder.on(request)).await.map(drop)
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

/// `size` charges with sixteen long labels each.
fn labelled(team: &Team, size: usize) -> pb::BatchChargeRequest {
    let label = |number| (format!("label-{number:02}"), "x".repeat(140));
    let labels: BTreeMap<String, String> = (0..16).map(label).collect();
    let mut request = batch(team, size);
    for charge in &mut request.charges {
        charge.labels.clone_from(&labels);
    }
    request
}

/// Charges of the founder alone, in another organization.
fn lonely(team: &Team, owner: &str) -> pb::BatchChargeRequest {
    let founder = &team.members[0].id;
    pb::BatchChargeRequest { charges: (0..FILL).map(|_| charge(owner, founder, &team.entropy)).collect() }
}

/// Waits until billing lets the founder spend in another organization: it learns of the membership by an event. What is
/// charged to find out is the first entry there.
async fn until_known(team: &Team, owner: &str) -> anyhow::Result<()> {
    let (mut client, founder) = (team.client(0), &team.members[0].id);
    eventually("the founder's membership at billing", waiting::PATIENCE, async || {
        let charged = client.charge(team.product.on(charge(owner, founder, &team.entropy))).await;
        match charged {
            Ok(_) => Ok(Some(())),
            // NOT_A_MEMBER: no event has told of it yet.
            Err(status) if status.code() == Code::PermissionDenied => Ok(None),
            Err(status) => Err(status.into()),
        }
    })
    .await
}

/// The picture that is most work: as many pixels as are taken, which a small file holds when they are all alike.
fn large_picture() -> anyhow::Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(RgbImage::new(4_096, 4_096)).write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}
