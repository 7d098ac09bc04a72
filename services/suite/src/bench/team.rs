//! Whose credits are spent, and who spends them: an organization with members, and a service of the product.

use std::sync::Arc;

use anyhow::Context as _;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::credit_service_client::CreditServiceClient;
use bursar_proto::billing::v1::limit_service_client::LimitServiceClient;
use bursar_proto::identity::v1 as identity;
use bursar_proto::identity::v1::context_service_client::ContextServiceClient;
use bursar_proto::identity::v1::service_account_service_client::ServiceAccountServiceClient;
use bursar_proto::identity::v1::session_service_client::SessionServiceClient;
use bursar_proto::identity::v1::user_service_client::UserServiceClient;
use bursar_proto::organization::v1 as organization;
use bursar_proto::organization::v1::invitation_service_client::InvitationServiceClient;
use bursar_proto::organization::v1::organization_service_client::OrganizationServiceClient;
use bursar_runtime::Service;
use bursar_secret::Entropy;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::server::Server;
use crate::mailbox::Mailbox;

/// How many people belong to the organization: as many as the free plan has seats.
const MEMBERS: usize = 5;
/// More than any load can spend.
const CREDITS: &str = "900000000000";

/// A token as the header that carries it.
#[derive(Clone)]
pub(crate) struct Bearer(AsciiMetadataValue);

impl Bearer {
    fn new(token: &str) -> anyhow::Result<Self> {
        let mut value: AsciiMetadataValue = format!("Bearer {token}").parse()?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// A call with this token.
    pub(crate) fn on<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.0.clone());
        request
    }

    /// A call with this token, of a service of the product's, for somebody who is at this address.
    pub(crate) fn at<T>(&self, address: &str, message: T) -> Result<Request<T>, Status> {
        let address: AsciiMetadataValue = address.parse().map_err(|_| Status::internal("an address is no text"))?;
        let mut request = self.on(message);
        request.metadata_mut().insert("bursar-client-address", address);
        Ok(request)
    }
}

/// A member of the organization, and that member's own token in its context.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) token: Bearer,
}

/// One organization with more credits than any load can spend. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Team {
    /// Its id.
    pub(crate) owner: String,
    /// The founder first.
    pub(crate) members: Arc<[Member]>,
    /// The product's service, which charges on behalf of members.
    pub(crate) product: Bearer,
    /// Connections to billing for callers to share.
    pub(crate) channels: Arc<[Channel]>,
    pub(crate) entropy: Entropy,
    people: Arc<[Person]>,
}

impl Team {
    /// Makes one: people sign up and prove their addresses, one founds it, the others are invited and accept.
    pub(crate) async fn assemble(server: &Server) -> anyhow::Result<Self> {
        let entropy = Entropy::system();
        let mut mailbox = Mailbox::of(server.data());
        let mut people = Vec::with_capacity(MEMBERS);
        for _ in 0..MEMBERS {
            people.push(Person::sign_up(server, &mut mailbox, &entropy).await?);
        }
        let founder = people.first().context("nobody to found an organization")?;
        let organizations = server.connect(Service::Organization).await?;
        let owner = found(&mut OrganizationServiceClient::new(organizations.clone()), founder).await?;
        let founder = founder.token_in(server, &owner).await?;
        let mut members = Vec::with_capacity(MEMBERS);
        for (place, person) in people.iter().enumerate() {
            if place > 0 {
                join(&organizations, &mut mailbox, &founder, person, &owner).await?;
            }
            members.push(Member { id: person.id.clone(), token: person.token_in(server, &owner).await? });
        }
        let channels: Arc<[Channel]> = server.billing().await?.into();
        grant(server, &channels, &owner).await?;
        let product = product(server).await?;
        Ok(Self { owner, members: members.into(), product, channels, entropy, people: people.into() })
    }

    /// Another organization of the founder's, with as many credits and nobody else in it. Only while the team is new:
    /// the founder's token lives for minutes.
    pub(crate) async fn another(
        &self,
        server: &Server,
        client: &mut OrganizationServiceClient<Channel>,
    ) -> anyhow::Result<String> {
        let founder = self.people.first().context("nobody to found an organization")?;
        let owner = found(client, founder).await?;
        grant(server, &self.channels, &owner).await?;
        Ok(owner)
    }

    /// A new token of the founder's for another organization.
    pub(crate) async fn founder_in(&self, server: &Server, owner: &str) -> anyhow::Result<Bearer> {
        let founder = self.people.first().context("nobody has founded an organization")?;
        founder.sign_in(server).await?.token_in(server, owner).await
    }

    /// What one of the people signs in with.
    pub(crate) fn credentials(&self, number: usize) -> identity::SignInRequest {
        let person = &self.people[number % self.people.len()];
        let (email, password) = (person.email.clone(), person.password.clone());
        identity::SignInRequest { email, password, ..Default::default() }
    }

    /// The refresh tokens of so many new sessions of the founder's.
    pub(crate) async fn sessions(&self, server: &Server, count: usize) -> anyhow::Result<Vec<String>> {
        let founder = self.people.first().context("nobody to sign in")?;
        let mut tokens = Vec::with_capacity(count);
        for _ in 0..count {
            tokens.push(founder.sign_in(server).await?.refresh_token);
        }
        Ok(tokens)
    }

    /// A client for one of many callers.
    pub(crate) fn client(&self, caller: usize) -> CreditServiceClient<Channel> {
        CreditServiceClient::new(self.channels[caller % self.channels.len()].clone())
    }

    /// Sets limits of every kind that charges of the loads meet, with alerts: of five nobody reaches anything, and one is
    /// passed at once.
    pub(crate) async fn limit(&self) -> anyhow::Result<()> {
        use pb::limit_subject::Subject;
        use pb::{LimitMode, LimitWindow};
        let of = |subject| Some(pb::LimitSubject { subject: Some(subject) });
        let charge = super::scenario::charge(&self.owner, &self.members[0].id, &self.entropy);
        // What charges name is known once one of them was made.
        self.client(0).charge(self.product.on(charge.clone())).await.context("charging for what is limited")?;
        let (every, member) = (Subject::EveryMember(true), Subject::Member(self.members[0].id.clone()));
        let (project, model) = (Subject::Project(charge.project), Subject::Model(charge.model));
        let limits = [
            (every.clone(), LimitWindow::Hour, LimitMode::Hard, CREDITS),
            (every.clone(), LimitWindow::Day, LimitMode::Hard, CREDITS),
            (member, LimitWindow::Month, LimitMode::Hard, CREDITS),
            (project, LimitWindow::Day, LimitMode::Hard, CREDITS),
            (model, LimitWindow::Period, LimitMode::Hard, CREDITS),
            (every, LimitWindow::Hour, LimitMode::Warn, "100"),
        ];
        let mut client = LimitServiceClient::new(self.channels[0].clone());
        for (subject, window, mode, amount) in limits {
            let set = pb::SetLimitRequest {
                owner: self.owner.clone(),
                subject: of(subject),
                window: window.into(),
                amount: amount.to_owned(),
                mode: mode.into(),
                alert_percents: vec![50, 80, 100],
                request_id: String::new(),
            };
            client.set_limit(self.founder().on(set)).await.context("setting a limit")?;
        }
        Ok(())
    }

    /// The founder's own token.
    pub(crate) fn founder(&self) -> Bearer {
        self.members[0].token.clone()
    }

    /// The same team with new connections, to the replicas that billing has now.
    pub(crate) async fn reconnected(mut self, server: &Server) -> anyhow::Result<Self> {
        self.channels = server.billing().await?.into();
        Ok(self)
    }

    /// The same team with new tokens: they live for minutes.
    pub(crate) async fn renewed(mut self, server: &Server) -> anyhow::Result<Self> {
        self.product = product(server).await?;
        self.channels = server.billing().await?.into();
        let mut members = self.members.to_vec();
        for (member, person) in members.iter_mut().zip(self.people.iter()) {
            member.token = person.sign_in(server).await?.token_in(server, &self.owner).await?;
        }
        self.members = members.into();
        Ok(self)
    }
}

/// So many people with something to spend, and without an organization.
pub(crate) async fn crowd(server: &Server, count: usize) -> anyhow::Result<Arc<[Person]>> {
    let (entropy, mut mailbox, channels) = (Entropy::system(), Mailbox::of(server.data()), server.billing().await?);
    let mut people = Vec::with_capacity(count);
    for _ in 0..count {
        let person = Person::sign_up(server, &mut mailbox, &entropy).await?;
        grant(server, &channels, &person.id).await?;
        people.push(person);
    }
    Ok(people.into())
}

/// The same people with new tokens: they live for minutes.
pub(crate) async fn renewed(server: &Server, crowd: &[Person]) -> anyhow::Result<Arc<[Person]>> {
    let mut people = Vec::with_capacity(crowd.len());
    for person in crowd {
        people.push(person.sign_in(server).await?);
    }
    Ok(people.into())
}

/// Somebody who has signed in.
pub(crate) struct Person {
    pub(crate) id: String,
    email: String,
    password: String,
    /// In the personal context.
    pub(crate) token: Bearer,
    refresh_token: String,
}

impl Person {
    async fn sign_up(server: &Server, mailbox: &mut Mailbox, entropy: &Entropy) -> anyhow::Result<Self> {
        let mut users = UserServiceClient::new(server.connect(Service::Identity).await?);
        let email = format!("load-{:016x}@example.com", entropy.u64_below(u64::MAX));
        let password = format!("{:032x}", u128::from_be_bytes(entropy.bytes()));
        let new = identity::SignUpRequest { email: email.clone(), password: password.clone(), ..Default::default() };
        users.sign_up(new).await?;
        let token = mailbox.token(&email).await?;
        users.verify_email(identity::VerifyEmailRequest { token }).await?;
        sign_in(server, email, password).await
    }

    /// The same person with a new token.
    async fn sign_in(&self, server: &Server) -> anyhow::Result<Self> {
        sign_in(server, self.email.clone(), self.password.clone()).await
    }

    /// A token for what is done in an organization.
    async fn token_in(&self, server: &Server, owner: &str) -> anyhow::Result<Bearer> {
        let mut contexts = ContextServiceClient::new(server.connect(Service::Identity).await?);
        let switch = identity::SwitchContextRequest { owner: owner.to_owned() };
        let answer = contexts.switch_context(self.token.on(switch)).await?.into_inner();
        Bearer::new(&answer.tokens.context("tokens")?.access_token)
    }
}

/// Begins a session, in the personal context.
async fn sign_in(server: &Server, email: String, password: String) -> anyhow::Result<Person> {
    let request = identity::SignInRequest { email: email.clone(), password: password.clone(), ..Default::default() };
    let answer = SessionServiceClient::new(server.connect(Service::Identity).await?).sign_in(request).await?;
    let tokens = answer.into_inner().tokens.context("tokens")?;
    let token = Bearer::new(&tokens.access_token)?;
    Ok(Person { id: tokens.owner, email, password, token, refresh_token: tokens.refresh_token })
}

/// A new organization of somebody's.
async fn found(client: &mut OrganizationServiceClient<Channel>, founder: &Person) -> anyhow::Result<String> {
    let new = organization::CreateOrganizationRequest { name: "Load".to_owned(), ..Default::default() };
    let made = client.create_organization(founder.token.on(new)).await?.into_inner();
    Ok(made.organization.context("an organization")?.id)
}

/// Invites somebody, who accepts.
async fn join(
    channel: &Channel,
    mailbox: &mut Mailbox,
    founder: &Bearer,
    person: &Person,
    owner: &str,
) -> anyhow::Result<()> {
    let mut invitations = InvitationServiceClient::new(channel.clone());
    let invitation = organization::CreateInvitationRequest {
        organization_id: owner.to_owned(),
        email: person.email.clone(),
        role: organization::Role::Member.into(),
        ..Default::default()
    };
    invitations.create_invitation(founder.on(invitation)).await?;
    let token = mailbox.token(&person.email).await?;
    let request = organization::AcceptInvitationRequest { token, ..Default::default() };
    invitations.accept_invitation(person.token.on(request)).await?;
    Ok(())
}

/// The operator's token: for granting credits, and for what only operators make.
pub(crate) async fn operator(server: &Server) -> anyhow::Result<Bearer> {
    let path = server.data().join("operator.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: serde_json::Value = serde_json::from_str(&text)?;
    let field = |name: &str| file.get(name).and_then(|it| it.as_str()).unwrap_or_default().to_owned();
    service_token(server, field("client_id"), field("client_secret")).await
}

/// The token of a new service account with the role `product`.
pub(crate) async fn product(server: &Server) -> anyhow::Result<Bearer> {
    let operator = operator(server).await?;
    let mut accounts = ServiceAccountServiceClient::new(server.connect(Service::Identity).await?);
    let new = identity::CreateServiceAccountRequest {
        display_name: "Load".to_owned(),
        role: "product".to_owned(),
        ..Default::default()
    };
    let made = accounts.create_service_account(operator.on(new)).await?.into_inner();
    service_token(server, made.client_id, made.client_secret).await
}

async fn service_token(server: &Server, client_id: String, client_secret: String) -> anyhow::Result<Bearer> {
    let request = identity::IssueServiceTokenRequest { client_id, client_secret };
    let mut accounts = ServiceAccountServiceClient::new(server.connect(Service::Identity).await?);
    Bearer::new(&accounts.issue_service_token(request).await?.into_inner().access_token)
}

/// Credits by the operator.
async fn grant(server: &Server, channels: &[Channel], owner: &str) -> anyhow::Result<()> {
    let request = pb::GrantCreditsRequest {
        owner: owner.to_owned(),
        amount: CREDITS.to_owned(),
        source: pb::LotSource::Promotion.into(),
        ..Default::default()
    };
    CreditServiceClient::new(channels[0].clone()).grant_credits(operator(server).await?.on(request)).await?;
    Ok(())
}
