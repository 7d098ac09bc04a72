//! What a service knows of the others: when it does not hear them, and when one of them is restored from a backup.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bursar_proto::identity::v1::DeleteMeRequest;
use bursar_proto::organization::v1::RemoveMemberRequest;
use bursar_runtime::Service;
use bursar_testkit::{Deployment, Person, Refusal, Topology, get};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use tonic::Code;

use crate::support::{
    books::Books,
    given, spend,
    waiting::{PATIENCE, eventually},
    world::{self, World},
};

/// The longest that a stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// How soon a repair holds.
const REPAIRED_WITHIN: Duration = Duration::from_secs(2);

/// A team of an owner and three members with credits, and its deployment, in which nobody else is.
async fn cast(deployment: Deployment) -> (String, Person, [Person; 3], Deployment) {
    let world = World::of(Arc::new(deployment));
    let team = world.team().with_members(3).with_credits("1000").assemble().await;
    for person in team.everybody() {
        eventually("everybody spends", PATIENCE, async || {
            person.client().credits().charge(spend(&team.id, "1")).await.ok()
        })
        .await;
    }
    let (id, owner) = (team.id.clone(), team.owner.clone());
    let members: Vec<Person> = team.members.clone();
    drop(team);
    let members = <[Person; 3]>::try_from(members).expect("three");
    (id, owner, members, world.into_deployment())
}

fn stop(deployment: &mut Deployment, service: Service) {
    tokio::task::block_in_place(|| {
        deployment.process(service).terminate();
        deployment.process(service).wait(STOPS_WITHIN);
    });
}

/// Keeps a copy of a stopped service's store, or puts it back.
async fn copy(deployment: &Deployment, service: Service, back: bool) {
    let Some(url) = deployment.store(service) else {
        let file = |name: &str| deployment.data_dir().join(format!("{name}{service}.db"));
        let (from, to) = if back { (file("kept-"), file("")) } else { (file(""), file("kept-")) };
        for end in ["-wal", "-shm"] {
            let beside = deployment.data_dir().join(format!("{service}.db{end}"));
            assert!(!back || !beside.exists() || std::fs::remove_file(&beside).is_ok(), "{}", beside.display());
        }
        std::fs::copy(from, to).expect("copied");
        return;
    };
    let options = PgConnectOptions::from_str(url).expect("an address");
    let name = options.get_database().expect("a database").to_owned();
    let kept = format!("{name}_kept");
    let mut admin = options.database("postgres").connect().await.expect("connects");
    let (from, to) = if back { (&kept, &name) } else { (&name, &kept) };
    if back {
        admin.execute(AssertSqlSafe(format!("DROP DATABASE \"{to}\" WITH (FORCE)"))).await.expect("dropped");
    }
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE \"{to}\" TEMPLATE \"{from}\""))).await.expect("copied");
}

/// Whether somebody's charge is refused because the person belongs no more.
async fn is_out(person: &Person, team: &str) -> bool {
    let refused = person.client().credits().charge(spend(team, "0.01")).await.err();
    refused.is_some_and(|status| {
        let refusal = Refusal::of(&status);
        (refusal.code, refusal.reason.as_str()) == (Code::PermissionDenied, "NOT_A_MEMBER")
    })
}

async fn until_out(person: &Person, team: &str) {
    eventually("it holds that somebody left", PATIENCE, async || is_out(person, team).await.then_some(())).await;
}

async fn remove(owner: &Person, team: &str, person: &Person) {
    let request = RemoveMemberRequest {
        organization_id: team.to_owned(),
        user_id: person.user.clone(),
        ..RemoveMemberRequest::default()
    };
    given(owner.client().members().remove_member(request).await);
}

/// The owner spends all the time, whatever becomes of it.
fn load(owner: &Person, team: &str) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u32>) {
    let (end, owner, team) = (Arc::new(AtomicBool::new(false)), owner.clone(), team.to_owned());
    let ended = Arc::clone(&end);
    let task = tokio::spawn(async move {
        let mut spent = 0;
        while !ended.load(Ordering::SeqCst) {
            match owner.client().credits().charge(spend(&team, "0.01")).await {
                Ok(_) => spent += 1,
                Err(status) => assert!(
                    !matches!(status.code(), Code::PermissionDenied | Code::Internal),
                    "the owner is the owner: {status:?}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        spent
    });
    (end, task)
}

/// Restores one service's store to how it was, under load, the others going on: first `before` happens, which the store
/// forgets, then `after`, which gets the numbers that `before` had.
async fn restored(
    shared: World,
    service: Service,
    before: impl AsyncFn(&Person, &str, &[Person; 3]),
    after: impl AsyncFn(&Person, &str, &[Person; 3]),
) {
    let Some(plan) = world::plan(shared.deployment().topology()).await else {
        return;
    };
    let (team, owner, members, mut deployment) = cast(plan.start().await).await;
    stop(&mut deployment, service);
    copy(&deployment, service, false).await;
    deployment.restart(service).await;
    let (end, spending) = load(&owner, &team);
    before(&owner, &team, &members).await;
    stop(&mut deployment, service);
    copy(&deployment, service, true).await;
    deployment.restart(service).await;
    after(&owner, &team, &members).await;
    end.store(true, Ordering::SeqCst);
    assert!(spending.await.expect("the owner goes on") > 0);
    let world = World::of(Arc::new(deployment));
    Books::audit(&world.operator().await, &team).await;
}

pub(crate) async fn a_restored_organization_has_the_last_word_under_numbers_that_were_used_before(shared: World) {
    let before = async |owner: &Person, team: &str, [ben, ..]: &[Person; 3]| {
        remove(owner, team, ben).await;
        until_out(ben, team).await;
    };
    let after = async |owner: &Person, team: &str, [ben, cleo, _]: &[Person; 3]| {
        // Under the number that Ben's removal had.
        remove(owner, team, cleo).await;
        until_out(cleo, team).await;
        // The backup knows Ben as a member: the later incarnation's word holds.
        let ben = ben.in_context(team).await;
        eventually("who is a member again spends", PATIENCE, async || {
            ben.client().credits().charge(spend(team, "1")).await.ok()
        })
        .await;
        assert!(is_out(cleo, team).await, "and who is none does not");
    };
    restored(shared, Service::Organization, before, after).await;
}

pub(crate) async fn a_restored_billing_hears_again_of_what_it_forgot(shared: World) {
    let before = async |owner: &Person, team: &str, [ben, ..]: &[Person; 3]| {
        remove(owner, team, ben).await;
        until_out(ben, team).await;
    };
    let after = async |owner: &Person, team: &str, [ben, cleo, dan]: &[Person; 3]| {
        until_out(ben, team).await;
        remove(owner, team, cleo).await;
        until_out(cleo, team).await;
        given(dan.client().credits().charge(spend(team, "1")).await);
    };
    restored(shared, Service::Billing, before, after).await;
}

pub(crate) async fn a_restored_identity_is_heard_under_numbers_that_were_used_before(shared: World) {
    let before = async |_: &Person, team: &str, [ben, ..]: &[Person; 3]| {
        given(ben.client().users().delete_me(DeleteMeRequest::default()).await);
        until_out(ben, team).await;
    };
    let after = async |_: &Person, team: &str, [_, cleo, dan]: &[Person; 3]| {
        // Under the number that Ben's farewell had.
        given(cleo.client().users().delete_me(DeleteMeRequest::default()).await);
        until_out(cleo, team).await;
        given(dan.client().credits().charge(spend(team, "1")).await);
    };
    restored(shared, Service::Identity, before, after).await;
}

/// Billing's secret is another one than identity knows: it hears nobody. (In one process the two read one file.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_service_secret_is_shown_stops_organizations_alone_and_is_mended_soon() {
    let Some(plan) = world::plan(Topology::Split).await else {
        return;
    };
    let (team, owner, _, mut deployment) = cast(plan.start().await).await;
    let world = World::of(Arc::new(deployment));
    world.grant(&owner.user, "10").await;
    deployment = world.into_deployment();
    let secret = deployment.data_dir().join("secrets/billing");
    let right = std::fs::read_to_string(&secret).expect("a secret");
    stop(&mut deployment, Service::Billing);
    std::fs::write(&secret, "w".repeat(right.trim().len())).expect("written");
    // Ready all the same: people's own accounts and reading need nobody's word.
    deployment.restart(Service::Billing).await;
    let operations = deployment.operations_ports()[Service::Billing as usize];
    let (code, text) = tokio::task::block_in_place(|| get(operations, "/readyz")).expect("an answer");
    assert!(code == 200 && text.contains("nothing heard of organization yet"), "{code} {text}");
    let (_, page) = tokio::task::block_in_place(|| get(operations, "/metrics")).expect("an answer");
    let age = page.lines().find(|line| line.starts_with("bursar_feed_age") && line.contains("organization"));
    let age = age.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default();
    assert!(age > 0.0, "the feed's age grows from the first second: {page}");
    let refusal = owner.client().credits().charge(spend(&team, "1")).await.expect_err("nobody knows who belongs");
    let refusal = Refusal::of(&refusal);
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::Unavailable, "FEED_STALE"));
    let personal = owner.in_context(&owner.user).await;
    given(personal.client().credits().charge(spend(&owner.user, "1")).await);

    // Identity learns the secret that billing has.
    stop(&mut deployment, Service::Identity);
    deployment.restart(Service::Identity).await;
    let repaired = Instant::now();
    eventually("the team spends again", PATIENCE, async || {
        owner.client().credits().charge(spend(&team, "1")).await.ok()
    })
    .await;
    assert!(repaired.elapsed() < REPAIRED_WITHIN, "only after {:?}", repaired.elapsed());
}
