//! What members prefer: their own alone, gone and back with the membership, erased with the account.

use bursar_db::{DbError, on};
use bursar_id::{Role, UserId};
use bursar_proto::event::v1::UserDeleted;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, answers_with, organization, refused};
use bursar_time::Span;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::{Code, Status};

use crate::world::{Who, World, accept, invite, leave, until};

/// A document with one text.
fn document(name: &str, text: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(text.to_owned())) };
    Struct { fields: [(name.to_owned(), value)].into() }
}

async fn get(client: &Client, organization: &str, user: &str) -> Result<proto::GetPreferencesResponse, Status> {
    let request = proto::GetPreferencesRequest { organization_id: organization.to_owned(), user_id: user.to_owned() };
    Ok(client.members().get_preferences(request).await?.into_inner())
}

async fn update(
    who: &Who,
    organization: &str,
    preferences: Struct,
    etag: &str,
) -> Result<proto::UpdatePreferencesResponse, Status> {
    let request = proto::UpdatePreferencesRequest {
        organization_id: organization.to_owned(),
        preferences: Some(preferences),
        etag: etag.to_owned(),
        request_id: String::new(),
    };
    Ok(who.client.members().update_preferences(request).await?.into_inner())
}

async fn rows(world: &World, user: UserId) -> i64 {
    let read = async {
        let mut tx = world.store.read().await?;
        let count = "SELECT COUNT(*) FROM preferences WHERE user_id = $1";
        let (rows,): (i64,) = on!(&mut tx, c => sqlx::query_as(count).bind(user).fetch_one(c).await?);
        Ok::<_, DbError>(rows)
    };
    read.await.expect("counted")
}

bursar_testkit::engines! {
    async fn members_keep_preferences_of_their_own(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let umbra = world.create(&ada, "Umbra").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let nothing = get(&ada.client, &acme, "").await.expect("nothing at first");
        assert_eq!((nothing.preferences, nothing.etag.as_str()), (Some(Struct::default()), "v0"));
        let dark = document("theme", "dark");
        let set = update(&ada, &acme, dark.clone(), "v0").await.expect("set");
        assert_eq!((set.preferences.as_ref(), set.etag.as_str()), (Some(&dark), "v1"));
        assert_eq!(update(&ada, &acme, dark.clone(), "").await.expect("the same").etag, "v1", "no change");
        refused(update(&ada, &acme, document("theme", "light"), "v0").await, Code::Aborted, "ETAG_MISMATCH");
        let own = get(&ada.client, &acme, &ada.user.to_string()).await.expect("named");
        assert_eq!((own.preferences, own.etag), (set.preferences, set.etag));
        assert_eq!(get(&ben.client, &acme, "").await.expect("another's").preferences, Some(Struct::default()));
        assert_eq!(get(&ada.client, &umbra, "").await.expect("elsewhere").preferences, Some(Struct::default()));

        let others = get(&ben.client, &acme, &ada.user.to_string()).await;
        assert_eq!(refused(others, Code::InvalidArgument, "INVALID_FIELDS").fields, ["user_id"]);
        let large = update(&ada, &acme, document("text", &"x".repeat(256 * 1024)), "").await;
        assert_eq!(refused(large, Code::InvalidArgument, "INVALID_FIELDS").fields, ["preferences"]);
        let eve = world.who(9);
        refused(get(&eve.client, &acme, "").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(update(&eve, &acme, dark.clone(), "").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(get(&ada.client, "acme", "").await, Code::InvalidArgument, "INVALID_FIELDS");
    }

    async fn preferences_go_and_come_back_with_the_membership_and_end_with_the_account(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let (product, dark) = (world.service(ServiceRole::Product), document("theme", "dark"));
        let once = proto::UpdatePreferencesRequest {
            organization_id: acme.clone(),
            preferences: Some(dark.clone()),
            request_id: "once".to_owned(),
            ..Default::default()
        };
        ben.client.members().update_preferences(once).await.expect("set");
        let named = ben.user.to_string();
        assert_eq!(get(&product, &acme, &named).await.expect("named").preferences, Some(dark.clone()));
        let nobody = get(&product, &acme, "").await;
        assert_eq!(refused(nobody, Code::InvalidArgument, "INVALID_FIELDS").fields, ["user_id"]);
        let unknown = organization(77).to_string();
        refused(get(&product, &unknown, &named).await, Code::NotFound, "NOT_FOUND");
        let operator = world.service(ServiceRole::Operator);
        refused(get(&operator, &acme, &named).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");

        leave(&ben, &acme).await.expect("left");
        refused(get(&ben.client, &acme, "").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(update(&ben, &acme, dark.clone(), "").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(get(&product, &acme, &named).await, Code::NotFound, "NOT_FOUND");
        world.advance(Span::SECOND);
        invite(&ada, &acme, &ben.email, Role::Member).await.expect("invited");
        let token = world.mailbox.next_token(&ben.email).await;
        accept(&ben, &token).await.expect("back");
        let back = get(&ben.client, &acme, "").await.expect("as they were");
        assert_eq!((back.preferences, back.etag.as_str()), (Some(dark), "v1"));

        assert_eq!(answers_with(&world.store, "dark").await, 1);
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: named })).await;
        until("they are erased", async || rows(&world, ben.user).await == 0).await;
        // By the same job, in a transaction of its own.
        until("and what is kept for repetitions", async || answers_with(&world.store, "dark").await == 0).await;
    }
}
