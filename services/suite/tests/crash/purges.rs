//! SIGKILL at every step of a purge: whatever was erased by then, the rest is erased by whoever comes next, and nothing is
//! left but what must stay.

use std::sync::Arc;
use std::time::Duration;

use bursar_proto::billing::v1::{GetBalanceRequest, GetSubscriptionRequest, SubscriptionState, VerifyLedgerRequest};
use bursar_proto::identity::v1::{CreateServiceAccountRequest, IssueServiceTokenRequest, ListContextsRequest};
use bursar_proto::organization::v1::{
    AcceptInvitationRequest, CreateInvitationRequest, CreateItemRequest, CreateProjectRequest,
    DeleteOrganizationRequest, GetOrganizationRequest, Organization, Role, UpdateItemRequest, UpdatePreferencesRequest,
    get_organization_request::Key,
};
use bursar_runtime::Service;
use bursar_secret::Entropy;
use bursar_testkit::{Client, Deployment, Person, Refusal, Topology};
use bursar_time::Span;
use tonic::{Request, Status};

use crate::callers::may_be_lost;
use crate::contents::{KEPT, upload};
use crate::creations::{create, kill, moment, restart, subscribe};
use crate::support::stores::{Store, clean, content_files, fsck};
use crate::support::{
    clocks::leap,
    given, programs,
    waiting::{PATIENCE, eventually, settles},
    world::{self, World},
};

/// What an organization has of projects: many portions of a purge.
const PROJECTS: i64 = 1_500;
/// What it has of items: several.
const ITEMS: i64 = 300;
/// How often the content of one of them was given anew: what there is of a purged organization to be collected.
const VERSIONS: usize = 8;
/// After this time a job that was killed is somebody else's.
const LAPSED: Span = Span::from_mins(3);

/// How far a purge has come when the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Anywhere around the call that deletes it.
    Asked,
    /// It is deleted.
    Deleted,
    /// The purge is marked.
    Begun,
    /// Some items are erased.
    Items,
    /// All items are, and some projects.
    Projects,
    /// All of that is erased, and memberships have ended.
    Members,
    /// The row says that it is over.
    Buried,
}

impl Step {
    const ALL: [Self; 7] =
        [Self::Asked, Self::Deleted, Self::Begun, Self::Items, Self::Projects, Self::Members, Self::Buried];

    fn is_reached(self, at: &Progress) -> bool {
        let begun = at.state == "PURGING" || at.state == "PURGED";
        match self {
            Self::Asked => true,
            Self::Deleted => at.state != "ACTIVE",
            Self::Begun => begun,
            Self::Items => begun && at.items < ITEMS,
            Self::Projects => begun && at.projects < PROJECTS,
            Self::Members => begun && at.members < 2,
            Self::Buried => at.state == "PURGED",
        }
    }
}

/// What the store says of an organization.
#[derive(Debug)]
struct Progress {
    state: String,
    items: i64,
    projects: i64,
    members: i64,
}

impl Progress {
    async fn of(store: &mut Store, organization: &str) -> Self {
        let (state, items, projects, members) = store.row(PROGRESS, organization).await;
        Self { state, items, projects, members }
    }
}

const PROGRESS: &str = "SELECT o.state, (SELECT COUNT(*) FROM items WHERE owner = o.id), \
    (SELECT COUNT(*) FROM projects WHERE owner = o.id), \
    (SELECT COUNT(*) FROM memberships WHERE organization_id = o.id AND role IS NOT NULL) \
    FROM organizations o WHERE o.id = $1";

/// What must be nothing after a purge.
const LEFT: [&str; 11] = [
    "SELECT COUNT(*) FROM requests WHERE scope LIKE '%/' || $1",
    "SELECT COUNT(*) FROM projects WHERE owner = $1",
    "SELECT COUNT(*) FROM items WHERE owner = $1",
    "SELECT COUNT(*) FROM contents WHERE owner = $1",
    "SELECT COUNT(*) FROM item_contents WHERE owner = $1",
    "SELECT COUNT(*) FROM invitations WHERE organization_id = $1",
    "SELECT COUNT(*) FROM invitation_mails WHERE organization_id = $1",
    "SELECT COUNT(*) FROM preferences WHERE organization_id = $1",
    "SELECT COUNT(*) FROM organization_seats WHERE organization_id = $1",
    "SELECT COUNT(*) FROM memberships WHERE organization_id = $1 AND (email <> '' OR email_key <> '' OR role = 'MEMBER')",
    "SELECT COUNT(*) FROM organizations WHERE id = $1 AND (name <> '' OR state <> 'PURGED')",
];

/// How often a purge was written down as done.
const TOMBSTONES: &str = "SELECT COUNT(*) FROM audit WHERE method = 'organization purge' AND target = $1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_on_sqlite_survive_kills_at_every_step() {
    survive(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_on_postgres_survive_kills_at_every_step() {
    survive(Topology::Split).await;
}

/// What is killed at which step: everything in one process; of three, each where it has its part in a purge.
fn rounds(topology: Topology) -> Vec<(Step, Service)> {
    let all = Step::ALL.map(|step| (step, Service::Organization));
    let others = [Service::Billing, Service::Identity].into_iter();
    let others = others.flat_map(|service| [Step::Deleted, Step::Buried].map(|step| (step, service)));
    match topology {
        Topology::Suite => all.into(),
        Topology::Split => all.into_iter().chain(others).collect(),
    }
}

#[expect(clippy::print_stdout, reason = "what was cut off where is part of what a run says")]
async fn survive(topology: Topology) {
    let Some(plan) = world::plan(topology).await else {
        return;
    };
    programs::build();
    // Without a grace.
    let world = World::of(Arc::new(plan.arg("--preset").arg("flik").arg("--test-clock").start().await));
    let rounds = rounds(topology);
    let product = product(&world).await;
    let mut made = Vec::new();
    for _ in &rounds {
        made.push(furnished(&world, &product).await);
    }
    let mut deployment = world.into_deployment();
    let mut between = 0;
    for ((step, service), doomed) in rounds.into_iter().zip(&made) {
        let owner = Person::sign_in(&Client::of(&deployment), &doomed.owner).await;
        let cut = cut_off(&mut deployment, &owner, &doomed.organization, (step, service)).await;
        println!("{step:?}, {service}: {cut:?}");
        assert!(step.is_reached(&cut), "{step:?}: {cut:?}");
        between += u32::from(cut.state == "PURGING" && (1..PROJECTS).contains(&cut.projects));
        deleted(&deployment, &owner, &doomed.organization).await;
        leap(&Client::of(&deployment), LAPSED).await;
        purged(&deployment, doomed).await;
    }
    assert!(between > 0, "no purge was cut off in the middle");
    let (before, left) = cut_off_collecting(&mut deployment).await;
    assert!(left > 0, "collecting was over before it was cut off: {before} files");
    leap(&Client::of(&deployment), KEPT).await;
    let mut store = Store::of(&deployment, Service::Organization).await;
    settles("content is collected", PATIENCE, async || {
        let objects = store.count("SELECT COUNT(*) FROM objects WHERE id <> $1", "").await;
        match (objects, content_files(&deployment)) {
            (0, 0) => Ok(()),
            left => Err(format!("objects and files: {left:?}")),
        }
    })
    .await;
    clean(fsck(&deployment, &[]).await);
}

/// An organization that is to be purged.
struct Doomed {
    /// The address of its owner.
    owner: String,
    /// The address of a member.
    member: String,
    organization: Organization,
}

/// A service of the product's.
async fn product(world: &World) -> Client {
    let request = CreateServiceAccountRequest {
        display_name: "Product".to_owned(),
        role: "product".to_owned(),
        ..CreateServiceAccountRequest::default()
    };
    let made = given(world.operator().await.service_accounts().create_service_account(request).await);
    let request = IssueServiceTokenRequest { client_id: made.client_id, client_secret: made.client_secret };
    let issued = given(world.anybody().service_accounts().issue_service_token(request).await);
    world.anybody().with_token(&issued.access_token)
}

/// An organization that has something of everything.
async fn furnished(world: &World, product: &Client) -> Doomed {
    let (owner, member) = (world.person("Ada").await, world.person("Ben").await);
    subscribe(&owner).await;
    let organization = create(owner.client().clone()).await.expect("made");
    // Mail of one instant has no order.
    leap(world.anybody(), Span::SECOND).await;
    let stranger = format!("{}@example.com", world::unique("dan"));
    for email in [member.email.clone(), stranger] {
        let invitation = CreateInvitationRequest {
            organization_id: organization.id.clone(),
            email,
            role: Role::Member.into(),
            ..CreateInvitationRequest::default()
        };
        given(owner.client().invitations().create_invitation(invitation).await);
    }
    let token = world.deployment().mailbox().next_token(&member.email).await;
    let accept = AcceptInvitationRequest { token, ..AcceptInvitationRequest::default() };
    given(member.client().invitations().accept_invitation(accept).await);
    let prefer = UpdatePreferencesRequest { organization_id: organization.id.clone(), ..Default::default() };
    given(member.client().members().update_preferences(prefer).await);
    let at_work = owner.in_context(&organization.id).await;
    fill(world, &at_work, &organization.id).await;
    write_as_service(product, &at_work, &organization.id).await;
    Doomed { owner: owner.email, member: member.email, organization }
}

/// Gives it an item with content, and many items and projects.
async fn fill(world: &World, at_work: &Person, organization: &str) {
    let owner = organization.to_owned();
    let project = CreateProjectRequest { owner: owner.clone(), name: "P".to_owned(), ..Default::default() };
    given(at_work.client().projects().create_project(project).await);
    let (kind, name) = ("brand_asset".to_owned(), "Logo".to_owned());
    let item = CreateItemRequest { owner, kind, name, ..CreateItemRequest::default() };
    let item = given(at_work.client().libraries().create_item(item).await).item.expect("an item");
    for version in 0..VERSIONS {
        let bytes = format!("{version} of {organization}");
        upload(at_work.client(), &item.id, bytes.as_bytes()).await.expect("uploaded");
    }
    let mut store = Store::of(world.deployment(), Service::Organization).await;
    for change in [many("projects", PROJECTS_HAVE, PROJECTS), many("items", ITEMS_HAVE, ITEMS)] {
        store.change(&format!("{change} WHERE it.owner = '{organization}'")).await;
    }
    // A byte each, of the quota.
    store.change(&format!("UPDATE libraries SET bytes = bytes + {} WHERE owner = '{organization}'", ITEMS - 1)).await;
    let progress = Progress::of(&mut store, organization).await;
    assert_eq!((progress.items, progress.projects, progress.members), (ITEMS, PROJECTS, 2));
}

/// A service writes into it, alone for its owner and with the token that she handed it, each time under an id.
async fn write_as_service(product: &Client, owner: &Person, organization: &str) {
    let handed_on = product.for_user(&owner.tokens.access_token);
    for (how, client, member) in [("alone", product, owner.user.clone()), ("handed on", &handed_on, String::new())] {
        let create = CreateItemRequest {
            owner: organization.to_owned(),
            kind: "chat".to_owned(),
            name: "Chat".to_owned(),
            member: member.clone(),
            request_id: format!("made {how} in {organization}"),
            ..CreateItemRequest::default()
        };
        let made = given(client.libraries().create_item(create).await).item.expect("an item");
        let change = UpdateItemRequest {
            item_id: made.id,
            name: "Another chat".to_owned(),
            member,
            request_id: format!("changed {how} in {organization}"),
            ..UpdateItemRequest::default()
        };
        given(client.libraries().update_item(change).await);
    }
}

/// Makes so many of one row, by numbering the ends of their ids.
pub(crate) fn many(table: &str, (columns, values): (&str, &str), count: i64) -> String {
    format!(
        "INSERT INTO {table} (id, {columns}) \
         SELECT substr(it.id, 1, length(it.id) - 8) || substr(CAST(100000000 + n.n AS TEXT), 2), {values} \
         FROM {table} it CROSS JOIN (WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {count}) \
         SELECT n FROM n) n"
    )
}

const PROJECTS_HAVE: (&str, &str) = (
    "owner, name, description, created_by, assigned_to, version, created_at, updated_at",
    "it.owner, it.name, it.description, it.created_by, it.assigned_to, 1, it.created_at, it.updated_at",
);
const ITEMS_HAVE: (&str, &str) = (
    "owner, kind, name, document, secrets_set, bytes, created_by, version, created_at, updated_at",
    "it.owner, it.kind, it.name, it.document, '', 1, it.created_by, 1, it.created_at, it.updated_at",
);

/// Deletes an organization, kills a service as soon as the purge has come so far, and starts it again: how far it had come.
async fn cut_off(
    deployment: &mut Deployment,
    owner: &Person,
    organization: &Organization,
    (step, service): (Step, Service),
) -> Progress {
    let mut store = Store::of(deployment, Service::Organization).await;
    let begun = tokio::spawn(delete(owner.client().clone(), organization.clone()));
    if step == Step::Asked {
        moment(&Entropy::system()).await;
    } else {
        let reached = async { while !step.is_reached(&Progress::of(&mut store, &organization.id).await) {} };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{step:?} did not come"));
    }
    let killed = kill(deployment, service);
    let cut = Progress::of(&mut store, &organization.id).await;
    // Whatever came of it.
    drop(begun.await.expect("no panic"));
    restart(deployment, killed).await;
    cut
}

/// Kills organization as soon as it has begun to collect the content that is nobody's any more, and starts it again: how many
/// files there were before, and when it was killed.
async fn cut_off_collecting(deployment: &mut Deployment) -> (usize, usize) {
    let before = content_files(deployment);
    leap(&Client::of(deployment), KEPT).await;
    let watched = &*deployment;
    eventually("content is being collected", PATIENCE, async || (content_files(watched) < before).then_some(())).await;
    let killed = kill(deployment, Service::Organization);
    let left = content_files(deployment);
    restart(deployment, killed).await;
    // Its clock may have gone on from before: what it had begun is somebody else's only after both.
    leap(&Client::of(deployment), KEPT).await;
    (before, left)
}

async fn delete(client: Client, organization: Organization) -> Result<(), Status> {
    let request = DeleteOrganizationRequest {
        organization_id: organization.id,
        confirm_slug: organization.slug,
        request_id: "once".to_owned(),
    };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(5));
    client.organizations().delete_organization(request).await.map(drop)
}

/// The same request again, until it is answered; it may have been deleted, and purged, before.
async fn deleted(deployment: &Deployment, owner: &Person, organization: &Organization) {
    eventually("it is deleted", PATIENCE, async || {
        let hers = Client::of(deployment).with_token(&owner.tokens.access_token);
        let Err(status) = delete(hers, organization.clone()).await else { return Some(()) };
        let reason = Refusal::of(&status).reason;
        if ["ORGANIZATION_DELETED", "NOT_A_MEMBER"].contains(&reason.as_str()) {
            return Some(());
        }
        assert!(may_be_lost(&status), "{status:?}");
        None
    })
    .await;
}

/// It is like one that never was, and its account is closed: no credits, no plan, and a ledger that is right.
async fn purged(deployment: &Deployment, doomed: &Doomed) {
    let id = &doomed.organization.id;
    let operator = Client::of(deployment).as_operator(&deployment.operator()).await;
    let mut store = Store::of(deployment, Service::Organization).await;
    settles("nothing is left in organization", PATIENCE, async || {
        for left in LEFT {
            let rows = store.count(left, id).await;
            if rows > 0 {
                return Err(format!("{rows}: {left}"));
            }
        }
        Ok(())
    })
    .await;
    assert_eq!(store.count(TOMBSTONES, id).await, 1, "written down once");
    for email in [&doomed.owner, &doomed.member] {
        let person = Person::sign_in(&Client::of(deployment), email).await;
        eventually("it is nobody's any more", PATIENCE, async || {
            let get = GetOrganizationRequest { key: Some(Key::OrganizationId(id.clone())) };
            let status = person.client().organizations().get_organization(get).await.err()?;
            let contexts = person.client().contexts().list_contexts(ListContextsRequest::default()).await.ok()?;
            let listed = contexts.into_inner().contexts.into_iter().any(|context| context.owner == *id);
            (Refusal::of(&status).reason == "NOT_A_MEMBER" && !listed).then_some(())
        })
        .await;
    }
    eventually("its account is closed", PATIENCE, async || {
        let get = GetSubscriptionRequest { owner: id.clone() };
        let subscription = operator.subscriptions().get_subscription(get).await.ok()?.into_inner().subscription?;
        let balance = GetBalanceRequest { owner: id.clone(), ..Default::default() };
        let balance = operator.accounts().get_balance(balance).await.ok()?.into_inner();
        (subscription.state() == SubscriptionState::Ended && balance.available == "0").then_some(())
    })
    .await;
    let verified = given(operator.accounts().verify_ledger(VerifyLedgerRequest { owner: id.clone() }).await);
    assert!(verified.valid, "{id}: {:?}", verified.first_bad);
}
