//! SIGKILL while organizations are created from paid plans: whoever asks again gets the one organization, with the one plan.

use std::{sync::Arc, time::Duration};

use bursar_proto::{
    billing::v1::{
        GetBalanceRequest, GetSubscriptionRequest, SubscribeRequest, SubscriptionState, VerifyLedgerRequest,
    },
    identity::v1::RefreshRequest,
    organization::v1::{CreateOrganizationRequest, ListOrganizationsRequest, Organization, OrganizationState},
};
use bursar_runtime::Service;
use bursar_secret::Entropy;
use bursar_testkit::{Client, Deployment, Person, Topology};
use tonic::{Request, Status};

use crate::callers::may_be_lost;
use crate::support::{
    given, programs,
    waiting::{PATIENCE, eventually},
    world::{self, World},
};

/// How many creations are cut off.
pub(crate) const ROUNDS: u64 = 12;
/// How long after the call has begun the kill comes at most: longer than the call takes.
const LATEST: Duration = Duration::from_millis(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_from_paid_plans_on_sqlite_survive_kills_at_any_moment() {
    survive(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_from_paid_plans_on_postgres_survive_kills_at_any_moment() {
    survive(Topology::Split).await;
}

async fn survive(topology: Topology) {
    let Some(plan) = world::plan(topology).await else {
        return;
    };
    programs::build();
    let world = World::of(Arc::new(plan.arg("--preset").arg("flik").start().await));
    let mut people = Vec::new();
    for n in 0..ROUNDS {
        let person = world.person(&format!("Ada{n}")).await;
        subscribe(&person).await;
        people.push(person);
    }
    let mut deployment = world.into_deployment();
    let entropy = Entropy::system();
    for (round, person) in (0_u64..).zip(&people) {
        let person = &Person::sign_in(&Client::of(&deployment), &person.email).await;
        let begun = tokio::spawn(create(person.client().clone()));
        moment(&entropy).await;
        let service = if round.is_multiple_of(2) { Service::Organization } else { Service::Billing };
        let killed = kill(&mut deployment, service);
        let told = begun.await.expect("no panic");
        restart(&mut deployment, killed).await;
        let made = finished(&deployment, person).await;
        if let Ok(told) = told {
            assert_eq!(told.id, made.id, "round {round}: one organization");
        }
        as_if_nothing_had_happened(&deployment, person, &made, round).await;
    }
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
async fn as_if_nothing_had_happened(deployment: &Deployment, person: &Person, made: &Organization, round: u64) {
    let hers = Client::of(deployment).with_token(&person.tokens.access_token);
    let listed = given(hers.organizations().list_organizations(ListOrganizationsRequest::default()).await);
    let ids: Vec<_> = listed.organizations.into_iter().map(|it| it.id).collect();
    assert_eq!(ids, std::slice::from_ref(&made.id), "round {round}");
    let operator = Client::of(deployment).as_operator(&deployment.operator()).await;
    for (owner, state, available) in
        [(&person.user, SubscriptionState::Ended, "0"), (&made.id, SubscriptionState::Active, "1500")]
    {
        let get = GetSubscriptionRequest { owner: owner.clone() };
        let subscription = given(operator.subscriptions().get_subscription(get).await).subscription;
        assert_eq!(subscription.expect("a subscription").state(), state, "round {round}: {owner}");
        let balance = GetBalanceRequest { owner: owner.clone(), ..Default::default() };
        assert_eq!(
            given(operator.accounts().get_balance(balance).await).available,
            available,
            "round {round}: {owner}"
        );
        let verified = given(operator.accounts().verify_ledger(VerifyLedgerRequest { owner: owner.clone() }).await);
        assert!(verified.valid, "round {round}: {owner}: {:?}", verified.first_bad);
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
