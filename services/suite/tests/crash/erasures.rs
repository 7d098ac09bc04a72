//! SIGKILL while what was deleted of a library is erased: wherever the job was cut off, nothing of it is seen any more, and
//! whoever comes next erases the rest.

use std::sync::Arc;
use std::time::Duration;

use bursar_proto::organization::v1::{CreateItemRequest, DeleteItemRequest, GetItemRequest, Item, ListItemsRequest};
use bursar_runtime::Service;
use bursar_secret::Entropy;
use bursar_testkit::{Client, Deployment, Person, Topology, refused};
use bursar_time::Span;
use tonic::{Code, Request, Status};

use crate::callers::may_be_lost;
use crate::creations::{kill, moment, restart};
use crate::purges::many;
use crate::support::stores::{Store, clean, fsck};
use crate::support::{
    clocks::leap,
    given, programs,
    waiting::{PATIENCE, eventually, settles},
    world::{self, World},
};

/// What stands under an agent: many portions of an erasure.
const CHATS: i64 = 6_000;
/// With the agent itself.
const ITEMS: i64 = CHATS + 1;
/// After this time a job that was killed is somebody else's.
const LAPSED: Span = Span::from_mins(3);

/// How far an erasure has come when the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Anywhere around the call that deletes.
    Asked,
    /// It is written down what goes.
    Deleted,
    /// Some of it is erased.
    Begun,
    /// Half of it is.
    Half,
}

impl Step {
    const ALL: [Self; 4] = [Self::Asked, Self::Deleted, Self::Begun, Self::Half];

    fn is_reached(self, at: Progress) -> bool {
        match self {
            Self::Asked => true,
            Self::Deleted => at.erasures > 0 || at.items < ITEMS,
            Self::Begun => at.items < ITEMS,
            Self::Half => at.items < ITEMS / 2,
        }
    }
}

/// What the store says of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    items: i64,
    erasures: i64,
    bytes: i64,
}

const PROGRESS: &str = "SELECT (SELECT COUNT(*) FROM items WHERE owner = l.owner), \
    (SELECT COUNT(*) FROM erasures WHERE owner = l.owner), l.bytes FROM libraries l WHERE l.owner = $1";

impl Progress {
    const DONE: Self = Self { items: 0, erasures: 0, bytes: 0 };

    async fn of(store: &mut Store, owner: &str) -> Self {
        let (items, erasures, bytes) = store.row(PROGRESS, owner).await;
        Self { items, erasures, bytes }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_on_sqlite_survive_kills_at_every_step() {
    survive(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_on_postgres_survive_kills_at_every_step() {
    survive(Topology::Split).await;
}

#[expect(clippy::print_stdout, reason = "what was cut off where is part of what a run says")]
async fn survive(topology: Topology) {
    let Some(plan) = world::plan(topology).await else {
        return;
    };
    programs::build();
    let world = World::of(Arc::new(plan.arg("--test-clock").start().await));
    let mut made = Vec::new();
    for _ in Step::ALL {
        made.push(furnished(&world).await);
    }
    let mut deployment = world.into_deployment();
    let mut between = 0;
    for (step, (email, agent, chat)) in Step::ALL.into_iter().zip(made) {
        let person = Person::sign_in(&Client::of(&deployment), &email).await;
        let cut = cut_off(&mut deployment, &person, &agent, step).await;
        println!("{step:?}: {cut:?}");
        assert!(step.is_reached(cut), "{step:?}: {cut:?}");
        between += u32::from(cut.erasures == 1 && (1..ITEMS).contains(&cut.items));
        let client = Client::of(&deployment).with_token(&person.tokens.access_token);
        deleted(&client, &agent).await;
        gone(&client, &[&agent, &chat]).await;
        leap(&Client::of(&deployment), LAPSED).await;
        let mut store = Store::of(&deployment, Service::Organization).await;
        settles("nothing is left of it, and its room is free", PATIENCE, async || {
            let left = Progress::of(&mut store, &person.user).await;
            if left == Progress::DONE { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
    assert!(between > 0, "no erasure was cut off in the middle");
    clean(fsck(&deployment, &[]).await);
}

/// Somebody new with an agent that has many chats: the address, the agent, and one of the chats.
async fn furnished(world: &World) -> (String, Item, Item) {
    let person = world.person("Ada").await;
    let make = async |kind: &str, parent: &str| {
        let (owner, kind, parent) = (person.user.clone(), kind.to_owned(), parent.to_owned());
        let request = CreateItemRequest { owner, name: kind.clone(), kind, parent, ..CreateItemRequest::default() };
        given(person.client().libraries().create_item(request).await).item.expect("an item")
    };
    let agent = make("agent", "").await;
    let chat = make("chat", &agent.id).await;
    let mut store = Store::of(world.deployment(), Service::Organization).await;
    store.change(&format!("{} WHERE it.id = '{}'", many("items", CHATS_HAVE, CHATS), chat.id)).await;
    // A byte each, of the quota.
    let take = format!("UPDATE libraries SET bytes = bytes + {} WHERE owner = '{}'", CHATS - 1, person.user);
    store.change(&take).await;
    assert_eq!(Progress::of(&mut store, &person.user).await.items, ITEMS);
    (person.email, agent, chat)
}

const CHATS_HAVE: (&str, &str) = (
    "owner, kind, name, document, parent, secrets_set, bytes, created_by, version, created_at, updated_at",
    "it.owner, it.kind, it.name, it.document, it.parent, '', 1, it.created_by, 1, it.created_at, it.updated_at",
);

/// Deletes an agent, kills organization as soon as the erasure has come so far, and starts it again: how far it had come.
async fn cut_off(deployment: &mut Deployment, person: &Person, agent: &Item, step: Step) -> Progress {
    let mut store = Store::of(deployment, Service::Organization).await;
    let begun = tokio::spawn(delete(person.client().clone(), agent.id.clone()));
    if step == Step::Asked {
        moment(&Entropy::system()).await;
    } else {
        let reached = async { while !step.is_reached(Progress::of(&mut store, &person.user).await) {} };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{step:?} did not come"));
    }
    let killed = kill(deployment, Service::Organization);
    let cut = Progress::of(&mut store, &person.user).await;
    // Whatever came of it.
    drop(begun.await.expect("no panic"));
    restart(deployment, killed).await;
    cut
}

async fn delete(client: Client, item_id: String) -> Result<(), Status> {
    let request_id = "once".to_owned();
    let mut request =
        Request::new(DeleteItemRequest { item_id, with_children: true, request_id, ..DeleteItemRequest::default() });
    request.set_timeout(Duration::from_secs(5));
    client.libraries().delete_item(request).await.map(drop)
}

/// The same request again, until it is answered.
async fn deleted(client: &Client, agent: &Item) {
    eventually("it is deleted", PATIENCE, async || {
        let Err(status) = delete(client.clone(), agent.id.clone()).await else { return Some(()) };
        assert!(may_be_lost(&status), "{status:?}");
        None
    })
    .await;
}

/// However much is still to be erased.
async fn gone(client: &Client, items: &[&Item]) {
    for item in items {
        let found = client.libraries().get_item(GetItemRequest { item_id: item.id.clone() }).await;
        refused(found, Code::NotFound, "NOT_FOUND");
        let mut page_token = String::new();
        loop {
            let (owner, page_size) = (item.owner.clone(), 1_000);
            let request = ListItemsRequest { owner, page_size, page_token, ..ListItemsRequest::default() };
            let page = given(client.libraries().list_items(request).await);
            assert!(page.items.is_empty(), "{:?}", page.items.first());
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
}
