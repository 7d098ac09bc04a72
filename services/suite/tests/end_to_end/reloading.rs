//! SIGHUP: the programs go on, and billing sells by the catalog's file as it is then, or as before.

use std::{fs, time::Duration};

use bursar_proto::billing::v1::{GetCatalogVersionRequest, ListPacksRequest};
use bursar_runtime::Service;
use bursar_testkit::{Client, Deployment, Plan, Topology, get};

use crate::support::{given, programs};

const CATALOG: &str = include_str!("../../../billing/catalog.toml");
/// How long what follows a signal may take.
const SOON: Duration = Duration::from_secs(30);
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// What billing shows of its catalog: which one is in use, whether the file cannot be used, how often it was read.
const VERSION: (&str, &str) = ("billing_catalog_version", "");
const REFUSED: (&str, &str) = ("billing_catalog_refused", "");
const LOADS: &str = "billing_catalog_loads_total";

fn costing(price: &str) -> String {
    CATALOG.replacen("price = \"20.00 USD\"", &format!("price = \"{price}\""), 1)
}

/// What the starter pack costs, and the version of the catalog that says so.
async fn starter(deployment: &Deployment) -> (i64, u32) {
    let listed = given(Client::of(deployment).catalog().list_packs(ListPacksRequest::default()).await);
    let starter = listed.packs.iter().find(|pack| pack.id == "starter").expect("a starter pack");
    (starter.price.as_ref().expect("a price").units, listed.catalog_version)
}

/// The operations port of the process that billing is in.
fn operations(deployment: &Deployment) -> u16 {
    *deployment.operations_ports().last().expect("a process")
}

/// Billing's metric of this name, with this label where one is named, is so much.
fn shows(deployment: &Deployment, (name, label): (&str, &str), value: u32) {
    let (code, page) = get(operations(deployment), "/metrics").expect("metrics");
    assert_eq!(code, 200);
    let is_it = |line: &str| line.starts_with(name) && line.contains(label) && line.ends_with(&format!(" {value}"));
    assert!(page.lines().any(is_it), "{name} {label} is not {value} in:\n{page}");
}

async fn is_told_and_says(deployment: &mut Deployment, piece: &str) -> String {
    deployment.processes().iter().for_each(|process| process.signal("HUP"));
    deployment.process(Service::Billing).says(piece, SOON).await
}

async fn play(topology: Topology) {
    programs::build();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("catalog.toml");
    fs::write(&file, CATALOG).expect("written");
    let plan = Plan::new(topology).env("BURSAR_CATALOG_FILE", file.display().to_string());
    let mut deployment = plan.start().await;
    assert_eq!(starter(&deployment).await, (20, 1));
    shows(&deployment, VERSION, 1);

    fs::write(&file, costing("25.00 USD")).expect("written");
    is_told_and_says(&mut deployment, "another catalog is in use").await;
    assert_eq!(starter(&deployment).await, (25, 2));
    shows(&deployment, VERSION, 2);
    shows(&deployment, (LOADS, "outcome=\"loaded\""), 1);

    fs::write(&file, costing("0.00 EUR")).expect("written");
    let log = is_told_and_says(&mut deployment, "the catalog was not reloaded: the one in use stays").await;
    for flaw in ["a pack cannot be free", "is priced in another currency than the rest"] {
        assert!(log.contains(flaw), "no {flaw:?} in:\n{log}");
    }
    assert_eq!(starter(&deployment).await, (25, 2));
    shows(&deployment, REFUSED, 1);
    shows(&deployment, (LOADS, "outcome=\"refused\""), 1);

    fs::write(&file, CATALOG).expect("written");
    is_told_and_says(&mut deployment, "version=1 before=2").await;
    assert_eq!(starter(&deployment).await, (20, 1));
    shows(&deployment, REFUSED, 0);
    shows(&deployment, VERSION, 1);
    let operator = Client::of(&deployment).as_operator(&deployment.operator()).await;
    let kept = given(operator.catalog().get_catalog_version(GetCatalogVersionRequest { version: 2 }).await);
    assert_eq!(kept.packs[0].price.as_ref().expect("a price").units, 25, "what was used stays readable");

    // Nobody has been ended by the signal, and all of them end as they always do.
    for port in deployment.operations_ports() {
        assert_eq!(get(port, "/readyz").expect("an answer").0, 200);
    }
    let stopped = tokio::task::spawn_blocking(move || deployment.stop(STOPS_WITHIN));
    assert!(stopped.await.expect("it stops").iter().all(std::process::ExitStatus::success));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suite_that_is_told_to_sells_by_the_file_as_it_is_now() {
    play(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_do_programs_of_one_service_each() {
    play(Topology::Split).await;
}
