//! A release is rolled out: the next one has migrated the stores while these programs still run.

use std::sync::Arc;

use bursar_runtime::Service;
use bursar_testkit::{Client, Deployment, Person};
use sqlx::{Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{
    given, spend,
    waiting::{PATIENCE, eventually},
    world::{self, World},
};

/// What the next release adds to each service's store: a column to a table that is in use, and a table.
const EXPANSIONS: [(Service, &[&str]); Service::COUNT] = [
    (Service::Identity, &["ALTER TABLE users ADD COLUMN tomorrow TEXT", TABLE]),
    (Service::Organization, &["ALTER TABLE memberships ADD COLUMN tomorrow TEXT", TABLE]),
    (Service::Billing, &["ALTER TABLE subscriptions ADD COLUMN tomorrow TEXT", TABLE]),
];
const TABLE: &str = "CREATE TABLE tomorrow (id TEXT NOT NULL PRIMARY KEY)";

/// An expansion of the shared tables.
const SHARED: [&str; 2] = [
    "ALTER TABLE requests ADD COLUMN tomorrow TEXT",
    "INSERT INTO _shared_migrations (version, description, success, checksum, execution_time) \
     SELECT version + 1, 'serves ' || version || ' tomorrow', TRUE, checksum, 0 FROM _shared_migrations \
     ORDER BY version DESC LIMIT 1",
];

/// The next migration of the service's own, as the program that applied it has recorded it.
const EXPANDED: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     SELECT version + 1, 'serves ' || version || ' tomorrow', TRUE, checksum, 0 FROM _sqlx_migrations \
     ORDER BY version DESC LIMIT 1";

/// The one after it, which serves nobody but the programs that bring it.
const CONTRACTED: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     SELECT version + 1, 'no more of yesterday', TRUE, checksum, 0 FROM _sqlx_migrations ORDER BY version DESC LIMIT 1";

async fn run(deployment: &Deployment, service: Service, statements: impl IntoIterator<Item = &'static str>) {
    let statements = statements.into_iter().collect::<Vec<_>>().join(";\n");
    let statements = sqlx::AssertSqlSafe(statements);
    if let Some(url) = deployment.store(service) {
        let mut store = PgConnection::connect(url).await.expect("opens");
        sqlx::raw_sql(statements).execute(&mut store).await.expect("migrated");
        store.close().await.expect("closes");
    } else {
        let options = SqliteConnectOptions::new().filename(deployment.data_dir().join(format!("{service}.db")));
        let mut store = SqliteConnection::connect_with(&options).await.expect("opens");
        sqlx::raw_sql(statements).execute(&mut store).await.expect("migrated");
        store.close().await.expect("closes");
    }
}

/// What `/readyz` of every process says, with the code.
async fn readiness(deployment: &Deployment) -> Vec<(u16, String)> {
    let ports = deployment.operations_ports();
    let ask = move || ports.iter().map(|port| bursar_testkit::get(*port, "/readyz").expect("an answer")).collect();
    tokio::task::spawn_blocking(ask).await.expect("asked")
}

async fn all_ready(deployment: &Deployment) {
    for (code, text) in readiness(deployment).await {
        assert_eq!(code, 200, "{text}");
    }
}

pub(crate) async fn a_program_serves_on_an_expanded_store_and_not_on_a_contracted_one(shared: World) {
    let Some(plan) = world::plan(shared.deployment().topology()).await else {
        return;
    };
    let world = World::of(Arc::new(plan.start().await));
    let team = world.team().with_credits("100").assemble().await;
    let deployment = world.deployment();
    for (service, statements) in EXPANSIONS {
        run(deployment, service, statements.iter().copied().chain([EXPANDED]).chain(SHARED)).await;
    }
    all_ready(deployment).await;
    team.charge(&team.owner, "1").await;
    world.team().with_members(1).on_business().assemble().await;

    let (owner, email) = (team.id.clone(), team.owner.email.clone());
    drop(team);
    let mut deployment = world.into_deployment();
    let limit = PATIENCE;
    let mut deployment = tokio::task::spawn_blocking(move || {
        deployment.stop(limit);
        deployment
    })
    .await
    .expect("it stops");
    deployment.start().await;
    all_ready(&deployment).await;
    let ada = Person::sign_in(&Client::of(&deployment), &email).await.in_context(&owner).await;
    given(ada.client().credits().charge(spend(&owner, "1")).await);

    for (service, _) in EXPANSIONS {
        run(&deployment, service, [CONTRACTED]).await;
    }
    let told = eventually("no program is ready on a contracted store", PATIENCE, async || {
        let told = readiness(&deployment).await;
        told.iter().all(|(code, _)| *code == 503).then_some(told)
    });
    for (_, text) in told.await {
        assert!(text.contains("the service's tables") && text.contains("newer"), "{text}");
    }
}
