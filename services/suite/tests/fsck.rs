//! `bursar fsck`: clean beside a deployment that runs, whatever went on in it; each difference found in stores that were
//! changed by hand; and repaired by what the services tell one another, as far as that goes.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::panic, reason = "a test fails by panicking, and so do its helpers")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bursar_id::{OwnerId, ProjectId, UserId};
use bursar_proto::billing::v1::HoldRequest;
use bursar_proto::identity::v1::DeleteMeRequest;
use bursar_proto::organization::v1::get_organization_request::Key;
use bursar_proto::organization::v1::{DeleteOrganizationRequest, GetOrganizationRequest, LeaveOrganizationRequest};
use bursar_runtime::Service;
use bursar_testkit::{Deployment, Program, Topology, id};

use support::stores::{SOON, Store, clean, fsck};
use support::world;
use support::{
    given,
    waiting::{PATIENCE, eventually},
    world::{TeamPlan, World},
};

/// A plan that holds, and should not.
const SUBSCRIPTION: &str = "INSERT INTO subscriptions (owner, id, plan_id, state, credits, seats, currency, price, \
    payment_method, payment_reference, started_at, period_number, period_start, period_end, included_plan, included) \
    VALUES ('OWNER', 'sub_00000000000000000000000000', 'business', 'ACTIVE', 0, 5, 'EUR', 0, 'sandbox_ok', 'x', 1, 0, 1, \
    4000000000000000, 'business', '{\"organizations\":true,\"single_sign_on\":false}')";

/// Changes a store by hand.
async fn change(deployment: &Deployment, service: Service, sql: &str) {
    Store::of(deployment, service).await.change(sql).await;
}

/// Bytes as the engine writes them.
fn bytes(deployment: &Deployment, bytes: &[u8]) -> String {
    let hex = hex::encode(bytes);
    if deployment.store(Service::Identity).is_some() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
}

fn owner(deployment: &Deployment, text: &str) -> String {
    bytes(deployment, &text.parse::<OwnerId>().expect("an owner").to_bytes())
}

/// A project's id as billing keeps it.
fn uuid(deployment: &Deployment, id: ProjectId) -> String {
    let uuid = id.as_uuid();
    if deployment.store(Service::Billing).is_some() { format!("'{uuid}'") } else { bytes(deployment, uuid.as_bytes()) }
}

fn user(deployment: &Deployment, text: &str) -> String {
    bytes(deployment, text.parse::<UserId>().expect("a user").as_uuid().as_bytes())
}

/// A team whose members left traces everywhere: one went, one deleted the account with a hold open, two stayed. And the
/// organizations of others.
struct Stage {
    deployment: Deployment,
    team: String,
    members: [String; 2],
    gone: String,
    others: Others,
}

/// Organizations of others, two of which were deleted.
struct Others {
    /// It was deleted, which ended its plan, and has a hold open.
    deleted: String,
    /// It was deleted, and has credits left.
    buried: String,
    /// It is used.
    founded: String,
}

impl Others {
    async fn of(world: &World) -> Self {
        let founded = world.team().assemble().await.id;
        let deleted = delete(world.team().with_credits("10").on_business()).await;
        let buried = delete(world.team().with_credits("10")).await;
        Self { deleted, buried, founded }
    }
}

/// A team with a hold open whose owner has deleted it.
async fn delete(team: TeamPlan<'_>) -> String {
    let team = team.assemble().await;
    let client = team.owner.client();
    let hold = HoldRequest { owner: team.id.clone(), amount: "3".to_owned(), ..HoldRequest::default() };
    given(client.credits().hold(hold).await);
    let key = Some(Key::OrganizationId(team.id.clone()));
    let found = given(client.organizations().get_organization(GetOrganizationRequest { key }).await);
    let request = DeleteOrganizationRequest {
        organization_id: team.id.clone(),
        confirm_slug: found.organization.expect("an organization").slug,
        ..Default::default()
    };
    given(client.organizations().delete_organization(request).await);
    team.id.clone()
}

/// `None` where the topology has no databases to run on.
async fn stage(topology: Topology) -> Option<Stage> {
    let world = World::of(Arc::new(world::plan(topology).await?.start().await));
    let mut team = world.team().on_business().with_members(3).assemble().await;
    let left = team.members.pop().expect("three");
    let leave = LeaveOrganizationRequest { organization_id: team.id.clone(), ..Default::default() };
    given(left.client().members().leave_organization(leave).await);
    let dan = world.person("Dan").await;
    world.grant(&dan.user, "10").await;
    let hold = HoldRequest { owner: dan.user.clone(), amount: "3".to_owned(), ..HoldRequest::default() };
    given(dan.client().credits().hold(hold).await);
    given(dan.client().users().delete_me(DeleteMeRequest::default()).await);
    let others = Others::of(&world).await;
    let (id, members) = (team.id.clone(), [0, 1].map(|n| team.members[n].user.clone()));
    drop((team, left));
    Some(Stage { deployment: world.into_deployment(), team: id, members, gone: dan.user, others })
}

/// Stops a deployment, so that what is changed in its stores is nobody's but the test's.
async fn at_rest(mut deployment: Deployment) -> Deployment {
    let stop = move || {
        let ended = deployment.stop(SOON);
        assert!(ended.iter().all(std::process::ExitStatus::success), "{ended:?}");
        deployment
    };
    tokio::task::spawn_blocking(stop).await.expect("it stops")
}

async fn nothing_differs_after_the_demos_story(topology: Topology) {
    let Some(plan) = world::plan(topology).await else { return };
    let deployment = plan.start().await;
    let target = format!("127.0.0.1:{}", deployment.operations_port());
    let demo = Program::new(env!("CARGO_BIN_EXE_bursar")).args(["demo", "--target", &target, "--data-dir"]);
    let demo = demo.arg(deployment.data_dir());
    let (status, log) = tokio::task::spawn_blocking(move || demo.run(Duration::from_mins(2))).await.expect("it ends");
    assert!(status.success(), "{log}");
    // Beside the programs, and without them.
    clean(fsck(&deployment, &[]).await);
    clean(fsck(&at_rest(deployment).await, &[]).await);
}

/// Every kind of difference, made by hand: one line each. Repaired, what events tell is as it was.
async fn each_difference_is_one_line_and_events_heal_what_they_told(topology: Topology) {
    let Some(Stage { deployment, team, members: [ben, cem], gone, others }) = stage(topology).await else { return };
    clean(fsck(&deployment, &[]).await);
    let mut deployment = at_rest(deployment).await;
    let mut made = tamper(&deployment, &team, [&ben, &cem], &gone).await;
    made.extend(tamper_with_ends(&deployment, &others).await);
    let (code, mut found) = fsck(&deployment, &[]).await;
    assert_eq!(code, Some(1), "{found:#?}");
    let count = found.pop();
    let mut expected: Vec<&str> = made.iter().map(String::as_str).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(count, Some(format!("{} differences", found.len())), "{found:#?}");
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\ninstead of\n{expected}");
    }

    let (code, said) = fsck(&deployment, &["--repair"]).await;
    assert_eq!(code, Some(1), "{said:#?}");
    let no_event_heals = [
        " member usr_",
        " hold hld_",
        " deletion of the account: expected none: there is one",
        " founding: ",
        " purge: ",
    ];
    let unhealed = |line: &str| no_event_heals.iter().any(|what| line.contains(what));
    for line in found.iter().filter(|line| unhealed(line)) {
        let told = format!("no event heals this, an operator has to look: {line}");
        assert!(said.contains(&told), "{told}\nin\n{said:#?}");
    }
    for feed in ["identity learns anew", "organization learns anew", "billing learns anew"] {
        assert!(said.iter().any(|line| line.starts_with(feed)), "{feed} in {said:#?}");
    }
    deployment.start().await;
    eventually("only what no event heals is left", PATIENCE.saturating_mul(2), async || {
        let (_, lines) = fsck(&deployment, &[]).await;
        let left: Vec<_> = lines.iter().filter(|line| !line.ends_with(" differences")).collect();
        assert!(left.len() >= no_event_heals.len(), "{left:#?}");
        left.iter().all(|line| unhealed(line)).then_some(())
    })
    .await;
}

/// Repairs what it can while the programs run, and they notice by themselves.
async fn a_running_deployment_learns_anew(topology: Topology) {
    let Some(Stage { deployment, team, members: [ben, _], .. }) = stage(topology).await else { return };
    clean(fsck(&deployment, &[]).await);
    let [team, ben] = [owner(&deployment, &team), user(&deployment, &ben)];
    let wrong = format!("UPDATE members SET role = 'OWNER', version = 99 WHERE owner = {team} AND user_id = {ben}");
    change(&deployment, Service::Billing, &wrong).await;
    let (code, said) = fsck(&deployment, &["--repair"]).await;
    assert_eq!((code, said.len()), (Some(1), 3), "{said:#?}");
    eventually("the membership is as it was", PATIENCE.saturating_mul(2), async || {
        let (code, _) = fsck(&deployment, &[]).await;
        (code == Some(0)).then_some(())
    })
    .await;
}

/// What is changed in whose store.
type Changes = Vec<(Service, String)>;

/// What is changed, and the beginnings of the lines that have to tell of it.
async fn tamper(deployment: &Deployment, team: &str, [ben, cem]: [&str; 2], gone: &str) -> Vec<String> {
    let all = [
        wrong_about_organizations(deployment, team, [ben, cem]),
        wrong_about_plans(team),
        wrong_about_people(deployment, [ben, cem], gone),
        wrong_about_projects(deployment, team, ben),
    ];
    let mut lines = Vec::new();
    for (changes, told) in all {
        for (service, sql) in changes {
            change(deployment, service, &sql).await;
        }
        lines.extend(told);
    }
    lines
}

/// Of what organization and billing tell.
fn wrong_about_organizations(deployment: &Deployment, team: &str, [ben, cem]: [&str; 2]) -> (Changes, Vec<String>) {
    let [stranger, ghost] = [77, 78].map(|n| id::<bursar_id::kinds::User>(n).to_string());
    let [t, b, c, s] =
        [owner(deployment, team), user(deployment, ben), user(deployment, cem), user(deployment, &stranger)];
    let (nobodys, odd) = (bytes(deployment, &[]), bytes(deployment, &[0]));
    let nobody = r#"{"usage_visibility":"NOBODY"}"#;
    let changes = vec![
        (Service::Billing, format!("UPDATE members SET role = 'ADMIN' WHERE owner = {t} AND user_id = {b}")),
        (Service::Identity, format!("DELETE FROM members WHERE owner = {t} AND user_id = {c}")),
        (Service::Billing, format!("INSERT INTO members VALUES ({t}, {s}, 'OWNER', 1, 9)")),
        (Service::Billing, format!("INSERT INTO standings VALUES ({t}, 'SUSPENDED', 1, 3)")),
        (Service::Identity, format!("INSERT INTO policies VALUES ({t}, '{nobody}', 1, 4)")),
        (Service::Billing, format!("UPDATE policies SET version = 7 WHERE owner = {nobodys}")),
        (
            Service::Identity,
            "UPDATE consumer_positions SET cursor = 'nonsense' WHERE source = 'organization'".to_owned(),
        ),
        (
            Service::Organization,
            format!(
                "INSERT INTO events_set_aside VALUES ('billing', 'evt_odd', '', 'subscription.changed', 'odd', {odd}, 1)"
            ),
        ),
        (Service::Organization, format!("INSERT INTO users (id, display_name) VALUES ('{ghost}', '')")),
        (
            Service::Organization,
            format!(
                "INSERT INTO memberships (organization_id, user_id, role, state, email, email_key, version, joined_at, \
                 changed_at) VALUES ('{team}', '{ghost}', 'MEMBER', 'ACTIVE', '', '', 1, 1, 1)"
            ),
        ),
    ];
    let member = "MEMBER (incarnation 1, version 1)";
    let lines = vec![
        format!("billing {team} membership of {ben}: expected {member}, found ADMIN (incarnation 1, version 1)"),
        format!("identity {team} membership of {cem}: expected {member}, found nothing"),
        format!("billing {team} membership of {stranger}: expected nothing, found OWNER (incarnation 1, version 9)"),
        format!("billing {team} standing: expected ACTIVE (version 0), found SUSPENDED (version 3)"),
        format!("billing {team} account: expected SUSPENDED, found ACTIVE"),
        format!("identity {team} policies: expected nothing, found {nobody} (version 4)"),
        "billing deployment policies: expected {\"admin_billing\":\"MANAGE\",".to_owned(),
        "identity deployment place in the events of organization: expected a cursor, found \"nonsense\"".to_owned(),
        "organization deployment event evt_odd of billing: expected to be read, found odd".to_owned(),
        format!("organization {team} member {ghost}: expected an account, found none at identity"),
        format!("identity {team} membership of {ghost}: expected {member}, found nothing"),
        format!("billing {team} membership of {ghost}: expected {member}, found nothing"),
    ];
    (changes, lines)
}

/// One that nobody made, one that was never told, and one that is known to be gone.
fn wrong_about_projects(deployment: &Deployment, team: &str, by: &str) -> (Changes, Vec<String>) {
    let [never, untold, gone] = [81, 82, 83].map(id::<bursar_id::kinds::Project>);
    let made = |id: ProjectId| {
        let sql = format!(
            "INSERT INTO projects (id, owner, name, description, created_by, assigned_to, version, created_at, updated_at) \
             VALUES ('{id}', '{team}', 'P', '', '{by}', '{by}', 1, 1, 1)"
        );
        (Service::Organization, sql)
    };
    let told = |id: ProjectId, deleted: u8| {
        let (owner, id) = (owner(deployment, team), uuid(deployment, id));
        let sql =
            format!("INSERT INTO projects (owner, id, deleted, incarnation) VALUES ({owner}, {id}, {deleted}, 1)");
        (Service::Billing, sql)
    };
    let lines = vec![
        format!("billing {team} project {never}: expected nothing, found a project"),
        format!("billing {team} project {untold}: expected a project, found nothing"),
        format!("billing {team} project {gone}: expected a project, found nothing"),
    ];
    (vec![told(never, 0), made(untold), made(gone), told(gone, 1)], lines)
}

/// What organization has heard of plans.
fn wrong_about_plans(team: &str) -> (Changes, Vec<String>) {
    let [planless, lapsed] = [79, 80].map(|n| id::<bursar_id::kinds::Organization>(n).to_string());
    let changes = vec![
        (Service::Organization, format!("UPDATE organization_seats SET seats = 99 WHERE organization_id = '{team}'")),
        (
            Service::Organization,
            format!("UPDATE organization_seats SET features = '' WHERE organization_id = '{team}'"),
        ),
        (
            Service::Organization,
            format!(
                "INSERT INTO organization_seats (organization_id, seats, incarnation, version) \
                 VALUES ('{planless}', 98, 1, 1)"
            ),
        ),
        (
            Service::Organization,
            format!(
                "INSERT INTO organization_seats (organization_id, seats, incarnation, version, plan_id, features, \
                 plan_version) VALUES ('{lapsed}', 5, 1, 1, 'business', 'ORGANIZATIONS', 1)"
            ),
        ),
    ];
    let lines = vec![
        format!("organization {team} seats of business: expected 10, found 99"),
        format!("organization {team} plan: expected business with ORGANIZATIONS, found business"),
        format!("organization {planless} seats of no plan: expected 5, found 98"),
        format!("organization {lapsed} plan: expected free, found business with ORGANIZATIONS"),
    ];
    (changes, lines)
}

/// Of what identity tells.
fn wrong_about_people(deployment: &Deployment, [ben, cem]: [&str; 2], gone: &str) -> (Changes, Vec<String>) {
    let [cems, dans] = [cem, gone].map(|person| owner(deployment, person));
    let c = user(deployment, cem);
    let changes = vec![
        (Service::Identity, format!("INSERT INTO suspensions VALUES ('{ben}', 1, 'abuse', 3)")),
        (Service::Organization, format!("INSERT INTO standings VALUES ({cems}, 'SUSPENDED', 1, 4)")),
        // Of somebody who is gone nothing more counts.
        (Service::Organization, format!("INSERT INTO standings VALUES ({dans}, 'SUSPENDED', 1, 4)")),
        (Service::Billing, format!("UPDATE accounts SET standing = 2 WHERE owner = {dans}")),
        (Service::Organization, format!("UPDATE users SET deleted_at = 1 WHERE id = '{cem}'")),
        (Service::Billing, format!("INSERT INTO members VALUES ({cems}, {c}, NULL, 1, 1)")),
        (Service::Organization, format!("UPDATE users SET deleted_at = NULL WHERE id = '{gone}'")),
        (Service::Billing, format!("DELETE FROM members WHERE owner = {dans}")),
        (Service::Billing, SUBSCRIPTION.replace("OWNER", gone)),
        (Service::Billing, format!("UPDATE holds SET deadline = 1 WHERE owner = {dans}")),
    ];
    let lines = vec![
        format!("organization {ben} standing: expected SUSPENDED (version 3), found nothing"),
        format!("billing {ben} standing: expected SUSPENDED (version 3), found nothing"),
        format!("organization {cem} standing: expected nothing, found SUSPENDED (version 4)"),
        format!("billing {gone} account: expected ACTIVE, found SUSPENDED"),
        format!("organization {cem} deletion of the account: expected none: there is one, found known"),
        format!("billing {cem} deletion of the account: expected none: there is one, found known"),
        format!("organization {gone} deletion of the account: expected known, found unknown"),
        format!("billing {gone} deletion of the account: expected known, found unknown"),
        format!("billing {gone} subscription: expected to have ended with the account, found business"),
        format!("billing {gone} hold hld_"),
    ];
    (changes, lines)
}

/// Changes what is left of organizations that were deleted, and how far they have come: the beginnings of the lines that have
/// to tell of it.
async fn tamper_with_ends(deployment: &Deployment, others: &Others) -> Vec<String> {
    let Others { deleted, buried, founded } = others;
    let changes = [
        (Service::Billing, SUBSCRIPTION.replace("OWNER", deleted)),
        (Service::Billing, format!("UPDATE holds SET deadline = 1 WHERE owner = {}", owner(deployment, deleted))),
        // The job that erases it comes days later.
        (Service::Organization, format!("UPDATE organizations SET purge_at = 1 WHERE id = '{deleted}'")),
        // Its end was told to nobody.
        (
            Service::Organization,
            format!(
                "UPDATE organizations SET state = 'PURGED', standing_version = standing_version + 1 WHERE id = '{buried}'"
            ),
        ),
        // Nothing looks after it, and nobody has heard of it yet.
        (Service::Identity, format!("DELETE FROM members WHERE owner = {}", owner(deployment, founded))),
        (Service::Billing, format!("DELETE FROM members WHERE owner = {}", owner(deployment, founded))),
        (Service::Organization, format!("DELETE FROM outbox WHERE owner = '{founded}'")),
        (
            Service::Organization,
            format!("UPDATE organizations SET state = 'PENDING', created_at = 1 WHERE id = '{founded}'"),
        ),
    ];
    for (service, sql) in changes {
        change(deployment, service, &sql).await;
    }
    vec![
        // Nobody is a member of what is not there any more.
        format!("identity {buried} membership of usr_"),
        format!("billing {buried} membership of usr_"),
        format!("billing {deleted} subscription: expected to have ended with the organization, found business"),
        format!("organization {deleted} plan: expected business with ORGANIZATIONS, found free"),
        format!("billing {deleted} hold hld_"),
        format!("organization {deleted} purge: expected to have ended by 1970-01-02T00:00:00"),
        format!("identity {buried} standing: expected PURGED (version 2), found DELETED (version 1)"),
        format!("billing {buried} standing: expected PURGED (version 2), found DELETED (version 1)"),
        format!("billing {buried} lot lot_"),
        format!("organization {founded} founding: expected to be removed without a plan, found PENDING since 1970-"),
    ]
}

/// One service's store cannot be changed; what was repaired before and afterwards is told, and that it was not done there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_repaired_hides_nothing_that_was() {
    let stage = stage(Topology::Suite).await;
    let Stage { deployment, team, members: [ben, cem], .. } = stage.expect("one process needs nothing");
    let deployment = at_rest(deployment).await;
    let [t, b, c] = [owner(&deployment, &team), user(&deployment, &ben), user(&deployment, &cem)];
    change(&deployment, Service::Identity, &format!("DELETE FROM members WHERE owner = {t} AND user_id = {c}")).await;
    change(&deployment, Service::Billing, &format!("DELETE FROM members WHERE owner = {t} AND user_id = {b}")).await;
    let locked = format!(
        "CREATE TRIGGER locked BEFORE UPDATE ON consumer_positions BEGIN SELECT RAISE(ABORT, 'it is locked'); END; \
         UPDATE organization_seats SET seats = 99 WHERE organization_id = '{team}'"
    );
    change(&deployment, Service::Organization, &locked).await;
    let (code, said) = fsck(&deployment, &["--repair"]).await;
    assert_eq!((code, said.len()), (Some(1), 7), "{said:#?}");
    for (line, piece) in [
        (3, "identity learns anew, within seconds of running, what organization tells: 1 differences"),
        (4, "organization could not be made to learn anew what billing tells: "),
        (5, "billing learns anew, within seconds of running, what organization tells: 1 differences"),
        (6, "3 differences"),
    ] {
        assert!(said[line].starts_with(piece), "{piece}: {said:#?}");
    }
    assert!(said[4].contains("it is locked"), "{said:#?}");
}

macro_rules! behaviours {
    ($($name:ident,)+) => {
        mod one_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(bursar_testkit::Topology::Suite).await;
            })+
        }
        mod three_processes {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(bursar_testkit::Topology::Split).await;
            })+
        }
    };
}

behaviours! {
    nothing_differs_after_the_demos_story,
    each_difference_is_one_line_and_events_heal_what_they_told,
    a_running_deployment_learns_anew,
}

#[test]
fn a_store_that_cannot_be_read_is_no_difference() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let run = |program: Program| program.run(SOON);
    let checks = || Program::new(env!("CARGO_BIN_EXE_bursar")).args(["fsck", "--data-dir"]).arg(&data);
    let (status, log) = run(checks());
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("identity has no store") && !data.exists(), "nothing is made of it: {log}");
    std::fs::create_dir(&data).expect("made");
    for service in Service::ALL {
        std::fs::write(data.join(format!("{service}.db")), "").expect("written");
    }
    let (status, log) = run(checks());
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("cannot read identity's store"), "{log}");
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let (status, log) = run(checks().args(["--organization-store", nowhere, "--identity-store", nowhere]));
    assert_eq!(status.code(), Some(2), "{log}");
    let (status, log) = run(Program::new(env!("CARGO_BIN_EXE_bursar")).args(["fsck", "--help"]));
    assert_eq!(status.code(), Some(0), "{log}");
    for piece in ["--repair", "1 with each difference on a line", "2 if it could not look"] {
        assert!(log.contains(piece), "no {piece:?} in:\n{log}");
    }
}
