//! A deployment and the people in it.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use bursar_proto::{
    billing::v1::{ChargeResponse, GrantCreditsRequest, LotSource, SubscribeRequest},
    organization::v1::{
        AcceptInvitationRequest, CreateInvitationRequest, CreateOrganizationRequest, RemoveMemberRequest, Role,
    },
};
use bursar_testkit::{Client, Deployment, Engine, Person, Plan, TestDb, Topology, postgres};
use tokio::sync::Mutex;

use super::{given, programs, spend};

/// A running deployment, perhaps shared with other tests: whoever acts in it brings people of their own.
#[derive(Clone)]
pub(crate) struct World {
    deployment: Arc<Deployment>,
    anybody: Client,
}

static ONE_PROCESS: Mutex<Weak<Deployment>> = Mutex::const_new(Weak::new());
static THREE_PROCESSES: Mutex<Weak<Deployment>> = Mutex::const_new(Weak::new());

/// What a topology runs on in most tests: one process on SQLite, three on PostgreSQL. `None` where that is missing.
pub(crate) async fn plan(topology: Topology) -> Option<Plan> {
    let engine = match topology {
        Topology::Suite => Engine::Sqlite,
        Topology::Split => Engine::Postgres,
    };
    plan_on(topology, engine).await
}

/// A topology with its three stores on an engine. `None` where that is missing.
pub(crate) async fn plan_on(topology: Topology, engine: Engine) -> Option<Plan> {
    if topology == Topology::Split {
        programs::build();
    }
    let plan = Plan::new(topology);
    if engine == Engine::Sqlite {
        return Some(plan);
    }
    let stores: [Option<TestDb>; 3] =
        [postgres::database().await, postgres::database().await, postgres::database().await];
    let [Some(identity), Some(organization), Some(billing)] = stores else {
        return None;
    };
    Some(plan.stores([identity, organization, billing]))
}

/// Runs a behaviour in a deployment that lives as long as any test uses it. Without PostgreSQL the behaviour of
/// three processes does not run; the test kit has said so, or failed.
pub(crate) async fn play<F: Future<Output = ()>>(topology: Topology, behaviour: impl FnOnce(World) -> F) {
    let shared = match topology {
        Topology::Suite => &ONE_PROCESS,
        Topology::Split => &THREE_PROCESSES,
    };
    let deployment = {
        let mut shared = shared.lock().await;
        if let Some(deployment) = shared.upgrade() {
            deployment
        } else {
            let Some(plan) = plan(topology).await else {
                return;
            };
            let deployment = Arc::new(plan.start().await);
            *shared = Arc::downgrade(&deployment);
            deployment
        }
    };
    behaviour(World::of(deployment)).await;
}

impl World {
    /// Whatever happens in this deployment.
    pub(crate) fn of(deployment: Arc<Deployment>) -> Self {
        let anybody = Client::of(&deployment);
        Self { deployment, anybody }
    }

    /// The deployment itself.
    pub(crate) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The deployment again, when nobody else uses this world any more.
    pub(crate) fn into_deployment(self) -> Deployment {
        Arc::try_unwrap(self.deployment).expect("this world is nobody else's")
    }

    /// Calls without a token, over connections of the world's own.
    pub(crate) fn anybody(&self) -> &Client {
        &self.anybody
    }

    /// Calls of the operator.
    pub(crate) async fn operator(&self) -> Client {
        self.anybody.as_operator(&self.deployment.operator()).await
    }

    /// Somebody new, signed in.
    pub(crate) async fn person(&self, name: &str) -> Person {
        Person::join(&self.anybody, self.deployment.mailbox(), &unique(name)).await
    }

    /// Credits for an owner.
    pub(crate) async fn grant(&self, owner: &str, amount: &str) {
        let request = GrantCreditsRequest {
            owner: owner.to_owned(),
            amount: amount.to_owned(),
            source: LotSource::Promotion.into(),
            request_id: unique("grant"),
            ..GrantCreditsRequest::default()
        };
        given(self.operator().await.credits().grant_credits(request).await);
    }

    /// A team in the making: an owner, no credits, no plan.
    pub(crate) fn team(&self) -> TeamPlan<'_> {
        TeamPlan { world: self, members: 0, credits: None, business: false }
    }
}

/// A text that no other test of this process uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A team in the making; end with [`TeamPlan::assemble`].
#[must_use]
pub(crate) struct TeamPlan<'a> {
    world: &'a World,
    members: usize,
    credits: Option<&'a str>,
    business: bool,
}

impl<'a> TeamPlan<'a> {
    /// With this many members beside the owner.
    pub(crate) fn with_members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// With credits that do not expire.
    pub(crate) fn with_credits(mut self, credits: &'a str) -> Self {
        self.credits = Some(credits);
        self
    }

    /// On the plan Business, which comes with 1,500 credits a month.
    pub(crate) fn on_business(mut self) -> Self {
        self.business = true;
        self
    }

    /// The team, everybody acting in it.
    pub(crate) async fn assemble(self) -> Team {
        let world = self.world;
        let founder = world.person("Ada").await;
        let request = CreateOrganizationRequest { name: unique("Studio"), ..CreateOrganizationRequest::default() };
        let made = given(founder.client().organizations().create_organization(request).await);
        let id = made.organization.expect("an organization").id;
        let owner = founder.in_context(&id).await;
        if self.business {
            subscribe(&owner, &id).await;
        }
        if let Some(credits) = self.credits {
            world.grant(&id, credits).await;
        }
        let mut team = Team { world: world.clone(), id, owner, members: Vec::new() };
        for _ in 0..self.members {
            let person = world.person("Ben").await;
            let member = team.admit(&person).await;
            team.members.push(member);
        }
        team
    }
}

async fn subscribe(owner: &Person, organization: &str) {
    let request = SubscribeRequest {
        owner: organization.to_owned(),
        plan_id: "business".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        ..SubscribeRequest::default()
    };
    given(owner.client().subscriptions().subscribe(request).await);
}

/// An organization with its people, each acting in it.
pub(crate) struct Team {
    world: World,
    /// `org_…`.
    pub(crate) id: String,
    /// Its owner.
    pub(crate) owner: Person,
    /// Everybody else.
    pub(crate) members: Vec<Person>,
}

impl Team {
    /// Invites somebody, who accepts and switches to the team.
    pub(crate) async fn admit(&self, person: &Person) -> Person {
        self.invite(&person.email).await;
        let token = self.world.deployment.mailbox().next_token(&person.email).await;
        let request = AcceptInvitationRequest { token, ..AcceptInvitationRequest::default() };
        given(person.client().invitations().accept_invitation(request).await);
        person.in_context(&self.id).await
    }

    /// Invites an address as a member.
    pub(crate) async fn invite(&self, email: &str) {
        let request = CreateInvitationRequest {
            organization_id: self.id.clone(),
            email: email.to_owned(),
            role: Role::Member.into(),
            ..CreateInvitationRequest::default()
        };
        given(self.owner.client().invitations().create_invitation(request).await);
    }

    /// Removes a member.
    pub(crate) async fn remove(&self, person: &Person) {
        let request = RemoveMemberRequest {
            organization_id: self.id.clone(),
            user_id: person.user.clone(),
            ..RemoveMemberRequest::default()
        };
        given(self.owner.client().members().remove_member(request).await);
    }

    /// A charge by one of them that must be accepted.
    pub(crate) async fn charge(&self, who: &Person, amount: &str) -> ChargeResponse {
        given(who.client().credits().charge(spend(&self.id, amount)).await)
    }

    /// Everybody, the owner first.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = &Person> {
        std::iter::once(&self.owner).chain(&self.members)
    }
}
