//! Two billing processes on one PostgreSQL: callers of both, one of which is killed and comes back, and the books
//! stay exact.

use std::{collections::BTreeMap, sync::Arc};

use bursar_rpc::Transport;
use bursar_runtime::Service;
use bursar_testkit::{Client, Ports, Process, Program, Topology};

use crate::{
    callers::Crowd,
    support::{
        books::{Books, size},
        given, once, spend,
        waiting::{PATIENCE, eventually},
        world::{self, World},
    },
};

/// How many answers the test waits for before and after the kill.
const ANSWERS: u64 = 400;

/// A second billing beside the deployment's, on the same store.
async fn second(world: &World) -> (Process, Ports, Client) {
    let ports = Ports::free();
    let deployment = world.deployment();
    let program = Program::named(Service::Billing.program())
        .args(["--mode", "development", "--port-base", &ports.base().to_string(), "--data-dir"])
        .arg(deployment.data_dir())
        .args(["--identity-url", &deployment.url(Service::Identity)])
        .args(["--organization-url", &deployment.url(Service::Organization)])
        .env(Service::Billing.store_variable(), deployment.store(Service::Billing).expect("a store on PostgreSQL"));
    let mut process = program.spawn();
    process.ready(ports.base()).await;
    let connect = |url: &str| Transport::connect(url).expect("an address");
    let client = Client::new(
        connect(&deployment.url(Service::Identity)),
        connect(&deployment.url(Service::Organization)),
        connect(&format!("http://127.0.0.1:{}", ports.nth(Service::Billing.port_offset()))),
    );
    (process, ports, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_billing_processes_on_one_postgres_stay_exact() {
    let Some(plan) = world::plan(Topology::Split).await else {
        return;
    };
    let world = World::of(Arc::new(plan.start().await));
    let team = world.team().with_members(2).with_credits("100000").assemble().await;
    let (mut process, _ports, other) = second(&world).await;
    let token = &team.owner.tokens.access_token;
    let clients = [world.anybody().with_token(token), other.with_token(token)];

    racing_twins(&team.id, &clients).await;
    let crowd = Crowd::of(&team.id);
    let running = crowd.start(&clients);
    crowd.until_answered(ANSWERS).await;
    process.kill();
    let survivor = crowd.answered();
    crowd.until_answered(survivor + ANSWERS).await;
    running.stop().await;
    crowd.ask_again(&clients[..1]).await;

    let books = Books::audit(&world.operator().await, &team.id).await;
    let twin = |request: &str| request.starts_with("twin");
    let booked: BTreeMap<_, _> = books
        .charges()
        .into_iter()
        .filter(|(request, _)| !twin(request))
        .map(|(request, entry)| (request.to_owned(), (entry.id.clone(), size(entry).to_string())))
        .collect();
    assert!(booked == crowd.acknowledged(), "the ledger and the answers differ");
    assert_eq!(books.charges().into_keys().filter(|request| twin(request)).count(), 16, "each twin once");
}

/// One request id at both processes at once: one charge, two equal answers.
async fn racing_twins(owner: &str, clients: &[Client; 2]) {
    // The second process learns of the team by events.
    eventually("both know the team", PATIENCE, async || {
        let request = bursar_proto::billing::v1::GetBalanceRequest { owner: owner.to_owned(), ..Default::default() };
        clients[1].accounts().get_balance(request).await.ok()
    })
    .await;
    for number in 0..16 {
        let request = once(&format!("twin-{number}"), spend(owner, "1"));
        let (mut here, mut there) = (clients[0].credits(), clients[1].credits());
        let (here, there) = tokio::join!(here.charge(request.clone()), there.charge(request));
        let (here, there) = (given(here), given(there));
        assert_eq!(here.charge, there.charge, "twin {number}");
        assert!(here.replayed != there.replayed, "one of the two is the first");
    }
}
