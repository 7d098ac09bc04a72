//! Archives that are not taken to their end: whoever takes one goes away, or a service is killed while it reads for one. Nothing
//! of it lies about or is held, and asked for again it is whole.

use bursar_rpc::Transport;
use bursar_runtime::Service;
use bursar_testkit::{Client, Deployment, Refusal, Topology, refused};
use sqlx::AssertSqlSafe;
use tonic::{Code, Status};

use crate::callers::may_be_lost;
use crate::contents::{Stage, TAKEN, Taking, export, library};
use crate::creations::{kill, restart};
use crate::support::stores::{Store, clean, content_files, fsck};
use crate::support::waiting::{PATIENCE, eventually};

/// At which of an export's reads who is killed: whose table nobody can read then, with which words of its own statement the
/// export wants it, and which service. In the order in which they are read; before the first one it is not even begun.
const READS: [(Service, &str, &str, Service); 9] = [
    (Service::Organization, "item_contents", "COUNT(*) FROM (SELECT item FROM item_contents", Service::Organization),
    (Service::Organization, "avatars", "FROM avatars WHERE organization_id = $1 AND size", Service::Organization),
    (Service::Billing, "accounts", "FROM accounts WHERE owner = $1", Service::Billing),
    (Service::Billing, "accounts", "FROM accounts WHERE owner = $1", Service::Organization),
    (Service::Organization, "preferences", "FROM preferences p JOIN memberships m", Service::Organization),
    (Service::Organization, "invitations", "FROM invitations WHERE (organization_id, id) <", Service::Organization),
    (Service::Organization, "projects", "FROM projects WHERE (owner, id) <", Service::Organization),
    (Service::Organization, "items", "FROM items WHERE (owner, id) <", Service::Organization),
    (Service::Organization, "contents", "FROM item_contents x JOIN contents c", Service::Organization),
];

/// A table of a store on PostgreSQL that nobody can read as long as this is there.
struct Shut {
    store: Store,
}

impl Shut {
    async fn on(deployment: &Deployment, service: Service, table: &'static str) -> Self {
        let mut shut = Self { store: Store::of(deployment, service).await };
        shut.tell(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await;
        shut
    }

    /// Waits until a statement with these words wants it: jobs may want it, too.
    async fn until_wanted(&mut self, words: &str) {
        const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
            AND wait_event_type = 'Lock' AND wait_event = 'relation' AND strpos(query, $1) > 0";
        eventually("it is read", PATIENCE, async || {
            // Within a transaction, as this is, the server shows what it had seen first, as long as nobody tells it otherwise.
            self.tell("SELECT pg_stat_clear_snapshot()").await;
            (self.store.count(WAITING, words).await > 0).then_some(())
        })
        .await;
    }

    async fn open(mut self) {
        self.tell("ROLLBACK").await;
    }

    async fn tell(&mut self, sql: &str) {
        let Store::Postgres(connection) = &mut self.store else { panic!("only PostgreSQL keeps readers out") };
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("it is told");
    }
}

/// The whole archive.
async fn whole(client: &Client, organization: &str) -> Result<Vec<u8>, Status> {
    let mut taking = Taking::ask(client, organization).await?;
    taking.take(usize::MAX).await?;
    Ok(taking.bytes)
}

/// The whole archive, as soon as it is not refused for such a reason any more.
async fn whole_again(client: &Client, organization: &str, may_pass: fn(&Status) -> bool) -> Vec<u8> {
    eventually("it is whole again", PATIENCE, async || match whole(client, organization).await {
        Ok(bytes) => Some(bytes),
        Err(status) => {
            assert!(may_pass(&status), "{status:?}");
            None
        }
    })
    .await
}

/// Whether the one place that a user has is not free yet. It is sooner than for who takes nothing.
fn is_full(status: &Status) -> bool {
    Refusal::of(status).reason == "OVERLOADED"
}

/// Takes so much of an archive as a program does that dies then: its connection is gone, and nothing was said on it.
async fn die_after(url: String, token: String, organization: String, so_much: usize) {
    let program = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let taking = runtime.block_on(async {
            let transport = Transport::connect(&url).expect("an address");
            let client = Client::new(transport.clone(), transport.clone(), transport).with_token(&token);
            let mut taking = Taking::begin(&client, &organization).await;
            assert!(!taking.take(so_much).await.expect("the next chunk"), "{so_much}: nothing is left to take");
            taking
        });
        drop(runtime);
        drop(taking);
    };
    tokio::task::spawn_blocking(program).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_on_sqlite_whose_taker_goes_away_leave_nothing() {
    go_away(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_on_postgres_whose_taker_goes_away_leave_nothing() {
    go_away(Topology::Split).await;
}

async fn go_away(topology: Topology) {
    let Some(stage) = Stage::set(topology).await else {
        return;
    };
    let organization = stage.organization.as_str();
    let reference = export(stage.owner().await.client(), organization).await;
    let (files, last, reference) = (content_files(&stage.deployment), reference.len() - 64 * 1024, library(&reference));
    for (round, taken) in TAKEN.into_iter().chain([last]).enumerate() {
        let owner = stage.owner().await;
        if round % 2 == 0 {
            let mut taking = Taking::begin(owner.client(), organization).await;
            assert!(!taking.take(taken).await.expect("the next chunk"), "{taken}: nothing is left to take");
            if taken == 0 {
                let second = whole(owner.client(), organization).await.map(drop);
                refused(second, Code::ResourceExhausted, "OVERLOADED");
            }
            drop(taking);
        } else {
            let url = stage.deployment.url(Service::Organization);
            die_after(url, owner.tokens.access_token.clone(), organization.to_owned(), taken).await;
        }
        assert_eq!(library(&whole_again(owner.client(), organization, is_full).await), reference, "{taken}");
        stage.is_tidy(files, &format!("after {taken} bytes"));
    }
    stage.collected(files).await;
    clean(fsck(&stage.deployment, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_on_postgres_survive_kills_at_each_of_their_reads() {
    let Some(mut stage) = Stage::set(Topology::Split).await else {
        return;
    };
    let organization = stage.organization.clone();
    let reference = library(&export(stage.owner().await.client(), &organization).await);
    let files = content_files(&stage.deployment);
    for (service, table, words, doomed) in READS {
        let owner = stage.owner().await;
        let mut shut = Shut::on(&stage.deployment, service, table).await;
        let exporting = tokio::spawn({
            let (client, organization) = (owner.client().clone(), organization.clone());
            async move { whole(&client, &organization).await }
        });
        shut.until_wanted(words).await;
        assert!(!exporting.is_finished(), "{doomed}, {service}'s {table}: it is over before anybody is killed");
        let killed = kill(&mut stage.deployment, doomed);
        shut.open().await;
        restart(&mut stage.deployment, killed).await;
        let round = format!("{doomed} killed at {service}'s {table}");
        match exporting.await.expect("no panic") {
            // The one who asks asks again where another service was killed.
            Ok(bytes) => assert_eq!(library(&bytes), reference, "{round}: an end that is none"),
            Err(status) => assert!(may_be_lost(&status), "{round}: {status:?}"),
        }
        let again = whole_again(stage.owner().await.client(), &organization, may_be_lost).await;
        assert_eq!(library(&again), reference, "{round}");
        stage.is_tidy(files, &round);
    }
    stage.collected(files).await;
    clean(fsck(&stage.deployment, &[]).await);
}
