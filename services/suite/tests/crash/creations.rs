//! SIGKILL at every step of creating an organization from a paid plan: whoever asks again gets the one organization, with the
//! one plan. Where nobody asks again the job alone ends it: with the plan, or without a trace where there was none. Where its
//! owner calls it off meanwhile, it ends one way or the other, and the plan is where that says.
//!
//! A creation does not wait to be killed between two steps: it is held there, by a lock on what the next step writes
//! ([`Gate`]).

use std::{sync::Arc, time::Duration};

use bursar_proto::{
    billing::v1::{
        GetBalanceRequest, GetSubscriptionRequest, SubscribeRequest, SubscriptionState, VerifyLedgerRequest,
    },
    identity::v1::RefreshRequest,
    organization::v1::{
        CreateOrganizationRequest, DeleteOrganizationRequest, ListOrganizationsRequest, Organization, OrganizationState,
    },
};
use bursar_runtime::Service;
use bursar_secret::Entropy;
use bursar_testkit::{Client, Deployment, Person, Refusal, Topology};
use bursar_time::Span;
use tonic::{Request, Status};

use crate::callers::may_be_lost;
use crate::support::{
    clocks::leap,
    given, programs,
    stores::Store,
    waiting::{PATIENCE, eventually},
    world::{self, World},
};

/// How long after the call has begun the kill comes at most: longer than the call takes.
const LATEST: Duration = Duration::from_millis(120);
/// After this time the job looks after what its call has not finished; tokens are good for longer.
const OVERDUE: Span = Span::from_mins(2);

/// How far a creation has come when the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Anywhere around the call.
    Asked,
    /// It is PENDING, and the plan is still the creator's.
    Pending,
    /// The plan is the organization's, and that is still PENDING.
    Moved,
    /// It is ACTIVE.
    Active,
}

impl Step {
    fn is_reached(self, at: &Progress) -> bool {
        match self {
            Self::Asked => true,
            Self::Pending => at.state == "PENDING" && !at.moved,
            Self::Moved => at.state == "PENDING" && at.moved,
            Self::Active => at.state == "ACTIVE",
        }
    }
}

/// What the stores say of the one organization that somebody creates.
#[derive(Debug)]
struct Progress {
    /// Empty where there is none.
    state: String,
    moved: bool,
}

/// The two stores in which a creation leaves its traces.
struct Stores {
    organization: Store,
    billing: Store,
}

impl Stores {
    async fn of(deployment: &Deployment) -> Self {
        let organization = Store::of(deployment, Service::Organization).await;
        Self { organization, billing: Store::of(deployment, Service::Billing).await }
    }

    async fn progress(&mut self, creator: &str) -> Progress {
        let (state,) = self.organization.row(STATE, creator).await;
        Progress { state, moved: self.billing.count(ENDED, creator).await > 0 }
    }

    async fn until(&mut self, step: Step, creator: &str) {
        eventually(&format!("{step:?}"), PATIENCE, async || {
            step.is_reached(&self.progress(creator).await).then_some(())
        })
        .await;
    }
}

const STATE: &str = "SELECT COALESCE(MAX(state), '') FROM organizations WHERE owner_user_id = $1";
const NAMED: &str = "SELECT id, slug FROM organizations WHERE owner_user_id = $1";
/// A plan that moves ends where it was.
const ENDED: &str = "SELECT COUNT(*) FROM subscriptions WHERE owner = $1 AND state = 'ENDED'";

/// A lock on what a creation writes in one store: as long as it is there, the creation goes no further there. It can be read
/// meanwhile.
struct Gate(Store);

impl Gate {
    async fn shut(deployment: &Deployment, service: Service) -> Self {
        let mut store = Store::of(deployment, service).await;
        let tables = if service == Service::Billing {
            "BEGIN; LOCK TABLE subscriptions, refused_moves IN EXCLUSIVE MODE"
        } else {
            "BEGIN; LOCK TABLE organizations IN EXCLUSIVE MODE"
        };
        tell(&mut store, "BEGIN IMMEDIATE", tables).await;
        Self(store)
    }

    async fn open(mut self) {
        tell(&mut self.0, "ROLLBACK", "ROLLBACK").await;
    }
}

/// Tells a store something, in the words of its engine.
async fn tell(store: &mut Store, sqlite: &'static str, postgres: &'static str) {
    match store {
        Store::Sqlite(c) => {
            sqlx::raw_sql(sqlite).execute(c).await.expect(sqlite);
        }
        Store::Postgres(c) => {
            sqlx::raw_sql(postgres).execute(c).await.expect(postgres);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_from_paid_plans_on_sqlite_survive_kills_at_every_step() {
    survive(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_from_paid_plans_on_postgres_survive_kills_at_every_step() {
    survive(Topology::Split).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_on_sqlite_that_nobody_repeats_are_ended_by_the_job() {
    are_ended_alone(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_on_postgres_that_nobody_repeats_are_ended_by_the_job() {
    are_ended_alone(Topology::Split).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_on_sqlite_that_are_called_off_survive_kills() {
    are_called_off(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_on_postgres_that_are_called_off_survive_kills() {
    are_called_off(Topology::Split).await;
}

/// What is killed at which step: everything in one process; of three, each that has a part in it. Around the call: often,
/// since it is left to chance what that hits.
fn rounds(topology: Topology) -> Vec<(Step, Service)> {
    let asked = [Step::Asked; 4];
    let steps = [Step::Pending, Step::Moved, Step::Active];
    let all = asked.into_iter().chain(steps);
    let of = |service: Service| all.clone().map(move |step| (step, service));
    match topology {
        Topology::Suite => of(Service::Organization).collect(),
        Topology::Split => {
            // Identity moves the branch of whoever creates it.
            let of_identity = [Step::Pending, Step::Active].map(|step| (step, Service::Identity));
            of(Service::Organization).chain(of(Service::Billing)).chain(of_identity).collect()
        }
    }
}

#[expect(clippy::print_stdout, reason = "what was cut off where is part of what a run says")]
async fn survive(topology: Topology) {
    let Some(world) = selling(topology, &[]).await else {
        return;
    };
    let rounds = rounds(topology);
    let mut people = Vec::new();
    for _ in &rounds {
        people.push(on_business(&world).await);
    }
    let mut deployment = world.into_deployment();
    for ((step, service), person) in rounds.into_iter().zip(&people) {
        let person = &Person::sign_in(&Client::of(&deployment), &person.email).await;
        let (cut, told) = cut_off(&mut deployment, person, (step, service)).await;
        let round = format!("{step:?}, {service}: {cut:?}");
        println!("{round}");
        assert!(step.is_reached(&cut), "{round}");
        let made = finished(&deployment, person).await;
        if let Ok(told) = told {
            assert_eq!(told.id, made.id, "{round}: one organization");
        }
        as_if_nothing_had_happened(&deployment, person, &made, &round).await;
    }
}

async fn are_ended_alone(topology: Topology) {
    // The job's time comes when the clock is moved, and not while something is killed.
    let Some(world) = selling(topology, &["--test-clock"]).await else {
        return;
    };
    let steps = [Step::Pending, Step::Moved];
    let people = [on_business(&world).await, on_business(&world).await];
    let without = world.person("Eve").await;
    let mut deployment = world.into_deployment();
    for (step, person) in steps.into_iter().zip(&people) {
        let person = &Person::sign_in(&Client::of(&deployment), &person.email).await;
        let (cut, _) = cut_off(&mut deployment, person, (step, Service::Organization)).await;
        assert!(step.is_reached(&cut), "{step:?}: {cut:?}");
        leap(&Client::of(&deployment), OVERDUE).await;
        let made = opened(&deployment, person).await;
        as_if_nothing_had_happened(&deployment, person, &made, &format!("{step:?}, alone")).await;
    }
    let without = Person::sign_in(&Client::of(&deployment), &without.email).await;
    let (cut, _) = cut_off(&mut deployment, &without, (Step::Pending, Service::Organization)).await;
    assert!(Step::Pending.is_reached(&cut), "without a plan: {cut:?}");
    leap(&Client::of(&deployment), OVERDUE).await;
    removed(&deployment, &without).await;
}

/// Creating and calling off wait together at billing when something is killed, and what waits there may go on without whoever asked.
async fn are_called_off(topology: Topology) {
    let Some(world) = selling(topology, &[]).await else {
        return;
    };
    let killed = match topology {
        Topology::Suite => vec![Service::Organization; 4],
        Topology::Split => [Service::Organization, Service::Billing].repeat(2),
    };
    let mut people = Vec::new();
    for _ in &killed {
        people.push(on_business(&world).await);
    }
    let mut deployment = world.into_deployment();
    for (service, person) in killed.into_iter().zip(&people) {
        let person = &Person::sign_in(&Client::of(&deployment), &person.email).await;
        let mut stores = Stores::of(&deployment).await;
        let gate = Gate::shut(&deployment, Service::Billing).await;
        let creating = tokio::spawn(create(person.client().clone()));
        stores.until(Step::Pending, &person.user).await;
        let named: (String, String) = stores.organization.row(NAMED, &person.user).await;
        let deleting = tokio::spawn(delete(person.client().clone(), named.clone()));
        moment(&Entropy::system()).await;
        let killed = kill(&mut deployment, service);
        gate.open().await;
        restart(&mut deployment, killed).await;
        let cut = (creating.await.expect("no panic").is_ok(), deleting.await.expect("no panic").is_ok());
        let said = called_off(&deployment, person, &named).await;
        let ended = Stores::of(&deployment).await.progress(&person.user).await;
        assert!(["", "ACTIVE", "DELETED"].contains(&ended.state.as_str()), "{service}: {cut:?}, {ended:?}");
        assert_eq!(ended.state.is_empty(), !ended.moved, "{service}: {cut:?}, {ended:?}");
        if said == FOUNDED {
            // So says each repetition, and ends nothing that has a plan.
            assert_eq!(called_off(&deployment, person, &named).await, FOUNDED, "{service}: {cut:?}");
            let left = Stores::of(&deployment).await.progress(&person.user).await;
            assert_eq!(left.state, "ACTIVE", "{service}: {cut:?}, {left:?}");
        }
    }
}

async fn delete(client: Client, (organization_id, confirm_slug): (String, String)) -> Result<(), Status> {
    let request = DeleteOrganizationRequest { organization_id, confirm_slug, request_id: "d1".to_owned() };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(5));
    client.organizations().delete_organization(request).await.map(drop)
}

/// What is said to who repeats a deletion of what has got a plan.
const FOUNDED: &str = "ORGANIZATION_FOUNDED";

/// The same request again, until that is answered; by which reason it is refused, if it is.
async fn called_off(deployment: &Deployment, person: &Person, named: &(String, String)) -> String {
    eventually("it is called off, or founded", PATIENCE, async || {
        match delete(Client::of(deployment).with_token(&person.tokens.access_token), named.clone()).await {
            Ok(()) => Some(String::new()),
            Err(status) => {
                let reason = Refusal::of(&status).reason;
                let is_answered = ["NOT_A_MEMBER", FOUNDED].contains(&reason.as_str());
                assert!(is_answered || may_be_lost(&status), "{status:?}");
                is_answered.then_some(reason)
            }
        }
    })
    .await
}

/// A deployment in which organizations take a paid plan.
async fn selling(topology: Topology, arguments: &[&str]) -> Option<World> {
    let plan = world::plan(topology).await?.arg("--preset").arg("flik");
    programs::build();
    let plan = arguments.iter().fold(plan, |plan, argument| plan.arg(*argument));
    Some(World::of(Arc::new(plan.start().await)))
}

/// Somebody new with a plan that includes an organization.
async fn on_business(world: &World) -> Person {
    let person = world.person("Ada").await;
    subscribe(&person).await;
    person
}

/// Creates an organization, kills a service when that has come so far, and starts it again: how far it had come, and what its
/// creator was told.
async fn cut_off(
    deployment: &mut Deployment,
    person: &Person,
    (step, service): (Step, Service),
) -> (Progress, Result<Organization, Status>) {
    let mut stores = Stores::of(deployment).await;
    let held = matches!(step, Step::Pending | Step::Moved);
    let mut gate = if held { Some(Gate::shut(deployment, Service::Billing).await) } else { None };
    let begun = tokio::spawn(create(person.client().clone()));
    if step == Step::Moved {
        stores.until(Step::Pending, &person.user).await;
        let next = Gate::shut(deployment, Service::Organization).await;
        if let Some(first) = gate.replace(next) {
            first.open().await;
        }
    }
    if step == Step::Asked {
        moment(&Entropy::system()).await;
    } else {
        stores.until(step, &person.user).await;
    }
    let killed = kill(deployment, service);
    let cut = stores.progress(&person.user).await;
    if let Some(gate) = gate {
        gate.open().await;
    }
    restart(deployment, killed).await;
    (cut, begun.await.expect("no panic"))
}

/// Without anybody's asking.
async fn opened(deployment: &Deployment, person: &Person) -> Organization {
    let hers = Client::of(deployment).with_token(&person.tokens.access_token);
    eventually("the job opens it", PATIENCE, async || {
        let listed = hers.organizations().list_organizations(ListOrganizationsRequest::default()).await;
        let listed = listed.ok()?.into_inner().organizations;
        listed.into_iter().find(|it| it.state() == OrganizationState::Active)
    })
    .await
}

/// Without anybody's asking; whoever asks then is refused for want of a plan, and leaves nothing either.
async fn removed(deployment: &Deployment, person: &Person) {
    let mut stores = Stores::of(deployment).await;
    eventually("the job removes it", PATIENCE, async || {
        stores.progress(&person.user).await.state.is_empty().then_some(())
    })
    .await;
    let again = create(Client::of(deployment).with_token(&person.tokens.access_token)).await;
    let reason = Refusal::of(&again.expect_err("there is no plan")).reason;
    assert_eq!(reason, "PLAN_REQUIRED");
    let left = stores.progress(&person.user).await;
    assert!(left.state.is_empty() && !left.moved, "{left:?}");
}

/// Waits until a kill comes.
pub(crate) async fn moment(entropy: &Entropy) {
    let micros = u64::try_from(LATEST.as_micros()).expect("a moment");
    tokio::time::sleep(Duration::from_micros(entropy.u64_below(micros))).await;
}

pub(crate) async fn subscribe(person: &Person) {
    let request = SubscribeRequest {
        owner: person.user.clone(),
        plan_id: "business".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        ..SubscribeRequest::default()
    };
    given(person.client().subscriptions().subscribe(request).await);
}

pub(crate) async fn create(client: Client) -> Result<Organization, Status> {
    let request =
        CreateOrganizationRequest { name: "Acme".to_owned(), request_id: "once".to_owned(), ..Default::default() };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(5));
    Ok(client.organizations().create_organization(request).await?.into_inner().organization.expect("an organization"))
}

/// The suite, or one of three. Says which processes are to be started again.
pub(crate) fn kill(deployment: &mut Deployment, service: Service) -> Option<Service> {
    match deployment.topology() {
        Topology::Suite => {
            deployment.kill();
            None
        }
        Topology::Split => {
            deployment.process(service).kill();
            Some(service)
        }
    }
}

pub(crate) async fn restart(deployment: &mut Deployment, killed: Option<Service>) {
    match killed {
        None => deployment.start().await,
        Some(service) => deployment.restart(service).await,
    }
}

/// The same request again, until it is answered and the organization can be used.
async fn finished(deployment: &Deployment, person: &Person) -> Organization {
    eventually("the organization is active", PATIENCE, async || {
        match create(Client::of(deployment).with_token(&person.tokens.access_token)).await {
            Ok(made) => (made.state() == OrganizationState::Active).then_some(made),
            Err(status) => {
                assert!(may_be_lost(&status), "{status:?}");
                None
            }
        }
    })
    .await
}

/// One organization, one plan that has moved once, and every ledger is right.
async fn as_if_nothing_had_happened(deployment: &Deployment, person: &Person, made: &Organization, round: &str) {
    let hers = Client::of(deployment).with_token(&person.tokens.access_token);
    let listed = given(hers.organizations().list_organizations(ListOrganizationsRequest::default()).await);
    let ids: Vec<_> = listed.organizations.into_iter().map(|it| it.id).collect();
    assert_eq!(ids, std::slice::from_ref(&made.id), "{round}");
    let operator = Client::of(deployment).as_operator(&deployment.operator()).await;
    for (owner, state, available) in
        [(&person.user, SubscriptionState::Ended, "0"), (&made.id, SubscriptionState::Active, "1500")]
    {
        let get = GetSubscriptionRequest { owner: owner.clone() };
        let subscription = given(operator.subscriptions().get_subscription(get).await).subscription;
        assert_eq!(subscription.expect("a subscription").state(), state, "{round}: {owner}");
        let balance = GetBalanceRequest { owner: owner.clone(), ..Default::default() };
        assert_eq!(given(operator.accounts().get_balance(balance).await).available, available, "{round}: {owner}");
        let verified = given(operator.accounts().verify_ledger(VerifyLedgerRequest { owner: owner.clone() }).await);
        assert!(verified.valid, "{round}: {owner}: {:?}", verified.first_bad);
    }
    // Creating it has become the context of the branch that made it.
    let mut refresh_token = person.tokens.refresh_token.clone();
    eventually("the branch is in it", PATIENCE, async || {
        let client = Client::of(deployment);
        let refreshed = client.sessions().refresh(RefreshRequest { refresh_token: refresh_token.clone() }).await;
        let tokens = refreshed.ok()?.into_inner().tokens.expect("tokens");
        refresh_token.clone_from(&tokens.refresh_token);
        (tokens.owner == made.id).then_some(())
    })
    .await;
}
