//! One paid plan, and many organizations that its owner would create from it at once: identity, organization and billing as they
//! are.

use std::sync::Arc;
use std::time::Duration;

use bursar_members::OrganizationCreation;
use bursar_proto::billing::v1::{GetBalanceRequest, SubscribeRequest};
use bursar_proto::organization::v1::{CreateOrganizationRequest, Organization, OrganizationState};
use bursar_testkit::{Person, Refusal, rounds};
use tokio::sync::Barrier;
use tonic::{Code, Status};

use crate::matrix::{Checker, count};
use crate::waiting::settles;
use crate::world::World;

/// How many race.
const TASKS: usize = 64;
/// How often somebody comes back who was told to.
const TRIES: usize = 20;
/// How long billing may take to hear of the deployment's policies.
const TOLD: Duration = Duration::from_secs(30);

const ORGANIZATIONS: &str = "SELECT COUNT(*) FROM organizations WHERE owner_user_id = $1 AND state = 'ACTIVE'";
const PENDING: &str = "SELECT COUNT(*) FROM organizations WHERE owner_user_id = $1 AND state <> 'ACTIVE'";
const PLACES: &str = "SELECT COUNT(*) FROM memberships WHERE user_id = $1";
const WAITING: &str = "SELECT COUNT(*) FROM foundings WHERE creator = $1";
const SLUGS: &str = "SELECT COUNT(*) FROM slugs WHERE slug LIKE $1 || '-%'";
const PLANS: &str = "SELECT COUNT(*) FROM subscriptions WHERE owner = $1 AND state = 'ACTIVE'";
const PLANS_OF_ALL: &str = "SELECT COUNT(*) FROM subscriptions WHERE owner LIKE $1 || '%' AND state = 'ACTIVE'";

/// Gives somebody a plan that includes organizations.
async fn subscribe(who: &Person, request_id: &str) {
    let request = SubscribeRequest {
        owner: who.user.clone(),
        plan_id: "business".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        request_id: request_id.to_owned(),
    };
    let subscribed = async || {
        let outcome = who.client().subscriptions().subscribe(request.clone()).await;
        outcome.map(drop).map_err(|status| format!("{status:?}"))
    };
    settles("a plan", TOLD, subscribed).await;
}

/// What the `n`-th racer of somebody asks for: a slug and a request id of its own.
fn creating(whose: &str, n: usize) -> CreateOrganizationRequest {
    let (name, slug) = ("Acme".to_owned(), format!("{whose}-{n}"));
    CreateOrganizationRequest { name, request_id: slug.clone(), slug }
}

async fn create(who: &Person, request: &CreateOrganizationRequest) -> Result<Organization, Status> {
    let mut tries = 0;
    loop {
        tries += 1;
        match who.client().organizations().create_organization(request.clone()).await {
            // Whoever met another change again and again is told to come back.
            Err(status) if tries < TRIES && Refusal::of(&status).reason == "CONFLICTING_CHANGE" => {}
            outcome => return Ok(outcome?.into_inner().organization.expect("an organization")),
        }
    }
}

/// Lets everybody go at once; what each was told, by its number.
async fn race(who: &Person, whose: &str) -> Vec<Result<Organization, Status>> {
    let barrier = Arc::new(Barrier::new(TASKS));
    let racers = (0..TASKS).map(|n| {
        let (barrier, who, request) = (Arc::clone(&barrier), who.clone(), creating(whose, n));
        tokio::spawn(async move {
            barrier.wait().await;
            create(&who, &request).await
        })
    });
    let mut outcomes = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        outcomes.push(racer.await.expect("no panic"));
    }
    outcomes
}

/// Demands that one got the plan and the others were told that there is none; that one, and the number of another.
fn one_winner(outcomes: Vec<Result<Organization, Status>>) -> (Organization, usize) {
    let (mut made, mut lost) = (Vec::new(), Vec::new());
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(organization) => made.push(organization),
            Err(status) => {
                let refusal = Refusal::of(&status);
                assert_eq!((refusal.code, refusal.reason.as_str()), (Code::FailedPrecondition, "PLAN_REQUIRED"), "{n}");
                lost.push(n);
            }
        }
    }
    assert_eq!((made.len(), lost.len()), (1, TASKS - 1), "{made:?}");
    let winner = made.pop().expect("one");
    assert_eq!(winner.state(), OrganizationState::Active);
    (winner, lost.pop().expect("another"))
}

/// What somebody's creations have left: organizations, those that are not ready, places, what waits for a plan, and slugs.
async fn left(world: &World, who: &Person, whose: &str) -> [i64; 5] {
    let (db, user) = (&world.organization, who.user.as_str());
    [
        count(db, ORGANIZATIONS, user).await,
        count(db, PENDING, user).await,
        count(db, PLACES, user).await,
        count(db, WAITING, user).await,
        count(db, SLUGS, whose).await,
    ]
}

bursar_testkit::engines! {
    async fn of_sixty_four_creations_from_one_plan_one_gets_it_and_the_others_leave_nothing(db: TestDb) {
        let paid = |settings: &mut bursar_runtime::Settings| {
            settings.policies.organization_creation = OrganizationCreation::PaidPlan;
        };
        let world = Box::pin(World::start_with(db, paid)).await;
        // Those that wait for their plan, and those that come to nothing, too.
        let checker = Checker::begins(&world, "creations from one plan".to_owned(), String::new(), Vec::new());
        let mut all = 0;
        for round in 1..=rounds() {
            let whose = format!("ada{round}");
            let ada = world.join(&whose).await;
            subscribe(&ada, "first").await;
            let (winner, lost) = one_winner(race(&ada, &whose).await);
            assert_eq!(left(&world, &ada, &whose).await, [1, 0, 1, 0, 1], "round {round}");
            assert_eq!(count(&world.billing, PLANS, &winner.id).await, 1, "the plan is there");
            assert_eq!(count(&world.billing, PLANS, &ada.user).await, 0, "and not hers any more");
            all += 1;
            assert_eq!(count(&world.billing, PLANS_OF_ALL, "org_").await, all, "nor of anybody else");
            let balance = GetBalanceRequest { owner: ada.user.clone(), ..GetBalanceRequest::default() };
            let balance = ada.client().accounts().get_balance(balance).await.expect("hers").into_inner();
            assert_eq!(balance.available, "0", "what was left of its month went along");
            // The slug of one that lost is free, and so is its id.
            subscribe(&ada, "second").await;
            let made = create(&ada, &creating(&whose, lost)).await.expect("created");
            assert_eq!((made.state(), made.slug), (OrganizationState::Active, format!("{whose}-{lost}")));
            assert_eq!(left(&world, &ada, &whose).await, [2, 0, 2, 0, 2], "round {round}");
            all += 1;
        }
        checker.ends().await;
    }
}
