//! What services are answered, alone and for whomever they act, and how long that is kept.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, Role};
use bursar_proto::event::v1::UserDeleted;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{columns_with, refused};
use prost::Message;
use tonic::Code;

use crate::copying::{copy, to};
use crate::library::{create, delete, get, item, update};
use crate::world::{Who, World, until};

/// What every item says that [`write_as_services`] writes.
pub(crate) const WRITTEN: &str = "a word that nobody else writes";

/// A service writes into a library under request ids, alone for somebody and with the token that somebody handed it; an operator
/// opens what is open.
pub(crate) async fn write_as_services(world: &World, owner: &str, who: &Who) {
    let product = world.service(ServiceRole::Product);
    let token = match owner.parse::<OwnerId>().expect("an owner") {
        OwnerId::User(user) => world.issuer.user(user),
        OwnerId::Organization(organization) => world.issuer.member(who.user, organization, Role::Member),
    };
    let handed_on = product.for_user(&token.email(&who.email).at(world.clock.now()));
    for (how, client, member) in [("alone", &product, who.user.to_string()), ("handed", &handed_on, String::new())] {
        let new = proto::CreateItemRequest {
            member: member.clone(),
            request_id: format!("{how}-made"),
            ..item(owner, "chat", WRITTEN)
        };
        let made = create(client, new).await.expect("made");
        let change = proto::UpdateItemRequest {
            item_id: made.id.clone(),
            name: format!("{WRITTEN}, again"),
            member: member.clone(),
            request_id: format!("{how}-changed"),
            ..Default::default()
        };
        update(client, change).await.expect("changed");
        let request_id = format!("{how}-copied");
        copy(client, proto::CopyItemRequest { member, request_id, ..to(&made, owner) }).await.expect("copied");
    }
    if owner.parse::<OwnerId>().is_ok_and(|owner| owner.organization().is_some()) {
        let request =
            proto::UnsuspendOrganizationRequest { organization_id: owner.to_owned(), request_id: "opened".to_owned() };
        world.service(ServiceRole::Operator).organizations().unsuspend_organization(request).await.expect("is open");
    }
}

/// What is asked about kept answers.
async fn number(tx: &mut Tx, count: &'static str, of: &str) -> i64 {
    let counted =
        async { Ok::<_, DbError>(on!(tx, c => sqlx::query_scalar(count).bind(of).fetch_one(c).await?)) }.await;
    counted.expect("counted")
}

/// How many answers are kept of a person's own context, whoever was given them.
async fn answers_at_home(world: &World, user: &str) -> i64 {
    const COUNT: &str = "SELECT COUNT(*) FROM requests WHERE scope LIKE '%/' || $1 OR scope LIKE $1 || '%'";
    number(&mut world.store.read().await.expect("a snapshot"), COUNT, user).await
}

bursar_testkit::engines! {
    async fn what_services_wrote_for_the_dead_is_nowhere_any_more(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let own = ben.user.to_string();
        write_as_services(&world, &own, &ben).await;
        let hers = proto::CreateItemRequest { request_id: "hers".to_owned(), ..item(&ada.user.to_string(), "chat", "Hers") };
        let hers = (create(&ada.client, hers.clone()).await.expect("made"), hers);
        let held = columns_with(&world.store, WRITTEN).await;
        assert!(held.iter().any(|it| it == "items.document"), "{held:?}");
        assert!(!held.iter().any(|it| it.starts_with("requests.")), "an item is kept once: {held:?}");
        assert!(answers_at_home(&world, &own).await > 0, "answers are kept");
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: own.clone() })).await;
        until("nothing is kept of it", async || {
            answers_at_home(&world, &own).await == 0 && columns_with(&world.store, WRITTEN).await.is_empty()
        }).await;
        assert_eq!(create(&ada.client, hers.1).await.expect("another's is another's"), hers.0);
    }

    async fn a_repetition_is_told_of_the_item_as_it_is_then(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.acting(&world.join(&ada, &acme, 2, Role::Member).await, &acme);
        let product = world.service(ServiceRole::Product);
        let new = proto::CreateItemRequest {
            member: ben.user.to_string(),
            request_id: "made".to_owned(),
            ..item(&acme, "chat", "Chat")
        };
        let made = create(&product, new.clone()).await.expect("made");
        assert_eq!(create(&product, new.clone()).await.expect("replayed"), made, "the first answer, as nothing has changed");
        let change = proto::UpdateItemRequest {
            item_id: made.id.clone(),
            name: "Changed".to_owned(),
            member: ben.user.to_string(),
            request_id: "changed".to_owned(),
            ..Default::default()
        };
        let changed = update(&product, change.clone()).await.expect("changed");
        let copied = proto::CopyItemRequest { request_id: "copied".to_owned(), ..to(&made, &ben.user.to_string()) };
        let copy_of_it = copy(&ben.client, copied.clone()).await.expect("copied");
        let last = proto::UpdateItemRequest { item_id: made.id.clone(), name: "Last".to_owned(), ..Default::default() };
        let last = update(&ben.client, last).await.expect("changed");
        assert_eq!(create(&product, new.clone()).await.expect("replayed"), last);
        assert_eq!(update(&product, change.clone()).await.expect("replayed"), last);
        assert_eq!(get(&product, &made.id).await.expect("read"), last, "a repetition changes nothing");
        assert_eq!(copy(&ben.client, copied.clone()).await.expect("replayed"), copy_of_it, "the copy is as it was");
        // While it is closed to services, they are told no more of it by repetitions than otherwise.
        let bare = |item: &proto::Item| {
            let (id, owner, etag) = (item.id.clone(), item.owner.clone(), item.etag.clone());
            proto::Item { id, owner, etag, ..Default::default() }
        };
        let operator = world.service(ServiceRole::Operator);
        let close = proto::SuspendOrganizationRequest { organization_id: acme.clone(), ..Default::default() };
        operator.organizations().suspend_organization(close).await.expect("suspended");
        refused(get(&product, &made.id).await, Code::PermissionDenied, "ORGANIZATION_SUSPENDED");
        assert_eq!(update(&product, change.clone()).await.expect("replayed"), bare(&changed));
        let open = proto::UnsuspendOrganizationRequest { organization_id: acme.clone(), ..Default::default() };
        operator.organizations().unsuspend_organization(open).await.expect("opened");
        assert_eq!(update(&product, change.clone()).await.expect("replayed"), last);
        // Of what is gone nothing is told but which it was, also where a program of before has kept all of it.
        keep_whole(&world, "made", &made).await;
        for item in [&made, &copy_of_it] {
            let gone = proto::DeleteItemRequest {
                item_id: item.id.clone(),
                member: ben.user.to_string(),
                ..Default::default()
            };
            delete(&product, gone).await.expect("deleted");
        }
        assert_eq!(create(&product, new.clone()).await.expect("replayed"), bare(&made));
        assert_eq!(update(&product, change).await.expect("replayed"), bare(&changed));
        assert_eq!(copy(&ben.client, copied).await.expect("replayed"), bare(&copy_of_it));
        let other = proto::CreateItemRequest { name: "Other".to_owned(), ..new };
        refused(create(&product, other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
}

/// Keeps the whole of something with an answer, as programs of before did.
pub(crate) async fn keep_whole(world: &World, request_id: &str, whole: &impl Message) {
    const KEEP: &str = "UPDATE requests SET response = $2 WHERE request_id = $1";
    let bytes = whole.encode_to_vec();
    let mut tx = world.store.begin().await.expect("a transaction");
    let kept = async {
        let rows = on!(&mut tx, c => sqlx::query(KEEP).bind(request_id).bind(&bytes).execute(c).await?.rows_affected());
        Ok::<_, DbError>(rows)
    };
    assert_eq!(kept.await.expect("kept"), 1);
    tx.commit().await.expect("committed");
}
