//! SIGKILL under load, again and again, on either engine.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bursar_proto::billing::v1::GetBalanceRequest;
use bursar_runtime::Service;
use bursar_secret::Entropy;
use bursar_testkit::{Client, Deployment, Person, Program, Topology};

use crate::{
    callers::Crowd,
    creations::{kill, restart},
    support::{
        books::{self, Books},
        given, programs,
        world::{self, World},
    },
};

/// What the pool has to begin with: more than can be spent.
const CREDITS: &str = "10000000";
/// A kill comes after this many answers at most, at a random one.
const ANSWERS: u64 = 150;
/// Connections that the callers share.
const CONNECTIONS: usize = 4;
/// A token lives five minutes; a new one is taken well before.
const TOKEN_LASTS: Duration = Duration::from_mins(2);
/// How long the audit may take.
const AUDIT: Duration = Duration::from_mins(2);

fn rounds() -> u32 {
    let rounds = std::env::var("BURSAR_CRASH_ROUNDS").ok();
    rounds.map_or(50, |text| text.parse().expect("BURSAR_CRASH_ROUNDS is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_on_sqlite_survives_kills_under_load() {
    survive(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn billing_on_postgres_survives_kills_under_load() {
    survive(Topology::Split).await;
}

async fn survive(topology: Topology) {
    let Some(plan) = world::plan(topology).await else {
        return;
    };
    programs::build();
    let (mut deployment, owner, mut ada) = with_a_pool(plan.start().await).await;

    let crowd = Crowd::of(&owner);
    let entropy = Entropy::system();
    let mut signed_in = Instant::now();
    let mut asked_again = 0;
    for round in 1..=rounds() {
        if signed_in.elapsed() > TOKEN_LASTS {
            ada = Person::sign_in(&Client::of(&deployment), &ada.email).await;
            ada = ada.in_context(&owner).await;
            signed_in = Instant::now();
        }
        let clients = connect(&deployment, &ada.tokens.access_token);
        let running = crowd.start(&clients);
        let moment = crowd.answered() + 1 + entropy.u64_below(ANSWERS);
        crowd.until_answered(moment).await;
        // Not always right behind an answer.
        tokio::time::sleep(Duration::from_micros(entropy.u64_below(20_000))).await;
        let killed = kill(&mut deployment, Service::Billing);
        running.stop().await;
        restart(&mut deployment, killed).await;
        let clients = connect(&deployment, &ada.tokens.access_token);
        asked_again += crowd.ask_again(&clients).await;
        exact(&deployment, &crowd, &owner, round).await;
    }
    audit(&mut deployment, &crowd, &owner, asked_again).await;
}

/// The deployment with a team that has credits: its id and its owner.
async fn with_a_pool(deployment: Deployment) -> (Deployment, String, Person) {
    let deployment = Arc::new(deployment);
    let team = World::of(Arc::clone(&deployment)).team().with_members(2).with_credits(CREDITS).assemble().await;
    let (id, owner) = (team.id.clone(), team.owner.clone());
    drop(team);
    (Arc::into_inner(deployment).expect("nobody else has it"), id, owner)
}

fn connect(deployment: &Deployment, token: &str) -> Vec<Client> {
    (0..CONNECTIONS).map(|_| Client::of(deployment).with_token(token)).collect()
}

/// The balance is what was granted less what was answered.
async fn exact(deployment: &Deployment, crowd: &Crowd, owner: &str, round: u32) {
    let operator = Client::of(deployment).as_operator(&deployment.operator()).await;
    let request = GetBalanceRequest { owner: owner.to_owned(), ..Default::default() };
    let balance = given(operator.accounts().get_balance(request).await);
    let acknowledged = crowd.acknowledged();
    let amounts = acknowledged.values().map(|(_, amount)| books::credits(amount));
    let spent = bursar_money::Credits::checked_sum(amounts).expect("a sum");
    let left = books::credits(CREDITS).saturating_sub(spent).to_string();
    assert_eq!(balance.available, left, "after kill {round}, with {} charges answered", acknowledged.len());
}

/// Every answered charge is in the ledger, once, under its id; nothing else is; and `verify` finds nothing wrong.
#[expect(clippy::print_stdout, reason = "how much was tried is part of what a run says")]
async fn audit(deployment: &mut Deployment, crowd: &Crowd, owner: &str, asked_again: usize) {
    let operator = Client::of(deployment).as_operator(&deployment.operator()).await;
    let audited = Books::audit(&operator, owner).await;
    let booked: BTreeMap<_, _> = audited
        .charges()
        .into_iter()
        .map(|(request, entry)| (request.to_owned(), (entry.id.clone(), books::size(entry).to_string())))
        .collect();
    assert!(booked == crowd.acknowledged(), "the ledger and the answers differ");
    println!("{} charges, {asked_again} of them asked for again after {} kills", booked.len(), rounds());

    let mut verify = Program::named("bursar-billing").args(["--mode", "development", "--data-dir"]);
    verify = verify.arg(deployment.data_dir()).arg("verify");
    if let Some(url) = deployment.store(Service::Billing) {
        verify = verify.env("BURSAR_BILLING_STORE", url);
    }
    // Beside the running service, as an operator would.
    let (status, log) = tokio::task::spawn_blocking(move || verify.run(AUDIT)).await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("0 bad ledgers"), "{log}");
}
