//! `LibraryService`: what documents must be, and what is secret in them.

use bursar_organization::store::items;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, id, refused};
use prost_types::{Struct, Value, value::Kind};
use tonic::{Code, Status};

use crate::library::{create, document, item, update, world_with_notes};
use crate::world::World;

async fn reveal(client: &Client, id: &str) -> Result<Struct, Status> {
    let request = proto::RevealSecretsRequest { item_id: id.to_owned() };
    Ok(client.libraries().reveal_secrets(request).await?.into_inner().secrets.expect("secrets"))
}

bursar_testkit::engines! {
    async fn schemas_hold_and_name_what_breaks_them(db: TestDb) {
        let world = world_with_notes(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let chat = create(client, item(&own, "chat", "Chat")).await.expect("made");
        let note = |fields: &[(&str, Option<&str>)]| proto::CreateItemRequest {
            parent: chat.id.clone(),
            document: Some(document(fields)),
            ..item(&own, "note", "Note")
        };
        let long = refused(
            create(client, note(&[("title", Some("Too long")), ("pin", Some("s3cret"))])).await,
            Code::InvalidArgument,
            "INVALID_FIELDS",
        );
        assert_eq!(long.fields, ["document.title"]);
        assert!(!format!("{long:?}").contains("s3cret") && !format!("{long:?}").contains("Too long"), "{long:?}");
        let missing = refused(create(client, note(&[])).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(missing.fields, ["document", "document"], "title and pin");
        let made = create(client, note(&[("title", Some("T")), ("pin", Some("1234"))])).await.expect("made");
        let change = |fields: &[(&str, Option<&str>)]| proto::UpdateItemRequest {
            item_id: made.id.clone(),
            document: Some(document(fields)),
            ..Default::default()
        };
        update(client, change(&[("title", Some("New"))])).await.expect("the pin is still there");
        let erased = update(client, change(&[("title", Some("New")), ("pin", None)])).await;
        refused(erased, Code::InvalidArgument, "INVALID_FIELDS");
    }

    async fn documents_out_of_bounds_are_refused_with_a_reason(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let own = ada.user.to_string();
        let nested = |levels: usize| {
            let inner = |inner: Value, _| {
                let fields = [("in".to_owned(), inner)].into();
                Value { kind: Some(Kind::StructValue(Struct { fields })) }
            };
            let value = (1..levels).fold(Value { kind: Some(Kind::StructValue(Struct::default())) }, inner);
            proto::CreateItemRequest {
                document: Some(Struct { fields: [("in".to_owned(), value)].into() }),
                ..item(&own, "agent", "Deep")
            }
        };
        create(&ada.client, nested(29)).await.expect("thirty levels with the document itself");
        let deep = refused(create(&ada.client, nested(30)).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(deep.fields, ["document"]);
        refused(create(&ada.client, nested(200)).await, Code::InvalidArgument, "MESSAGE_MALFORMED");
        let long = |bytes: usize| proto::CreateItemRequest {
            document: Some(document(&[("text", Some(&"x".repeat(bytes)))])),
            ..item(&own, "agent", "Long")
        };
        create(&ada.client, long(256 * 1024 - 11)).await.expect("256 KiB of JSON");
        let above = refused(create(&ada.client, long(256 * 1024)).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(above.fields, ["document"]);
        refused(create(&ada.client, long(10 << 20)).await, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    }

    async fn secrets_are_sealed_and_revealed_to_the_products_services_alone(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ada = world.acting(&ada, &acme);
        let request_id = "r1".to_owned();
        let mut request = proto::CreateItemRequest { request_id, ..item(&acme, "connection", "Mailer") };
        request.document = Some(document(&[("url", Some("smtp://x")), ("token", Some("s3cret")), ("password", None)]));
        let made = create(&ada.client, request.clone()).await.expect("made");
        assert_eq!(made.document, Some(document(&[("url", Some("smtp://x"))])));
        assert_eq!(made.secrets_set, ["token"]);
        assert_eq!(create(&ada.client, request.clone()).await.expect("replayed"), made);
        request.document = Some(document(&[("url", Some("smtp://x")), ("token", Some("other")), ("password", None)]));
        refused(create(&ada.client, request).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        // Nowhere in the store in clear, and bound to its row.
        let mut tx = world.store.read().await.expect("a transaction");
        let row = items::anywhere(&mut tx, made.id.parse().expect("an id")).await.expect("read").expect("there");
        drop(tx);
        assert!(!row.document.contains("s3cret"));
        assert!(!row.secrets.expect("sealed").windows(6).any(|bytes| bytes == b"s3cret"));
        let product = world.service(ServiceRole::Product);
        assert_eq!(reveal(&product, &made.id).await.expect("revealed"), document(&[("token", Some("s3cret"))]));
        refused(reveal(&ada.client, &made.id).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        let billing = world.service(ServiceRole::Billing);
        refused(reveal(&billing, &made.id).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(reveal(&product, "x").await, Code::InvalidArgument, "INVALID_FIELDS");
        let unknown = id::<bursar_id::kinds::Item>(9).to_string();
        refused(reveal(&product, &unknown).await, Code::NotFound, "NOT_FOUND");
        // Each time stands in the log, and what is secret never does.
        let rows = bursar_testkit::audited(&world.store).await;
        let revealed: Vec<_> = rows.iter().filter(|row| row.method.ends_with("/RevealSecrets")).collect();
        assert_eq!(revealed.len(), 1, "{rows:?}");
        assert_eq!(revealed[0].target.as_deref(), Some(made.id.as_str()));
        assert_eq!(revealed[0].owner.map(|owner| owner.to_string()).as_deref(), Some(acme.as_str()));
        assert!(!format!("{rows:?}").contains("s3cret"));
        // Fields that are not named stay, null erases.
        let change = |fields: &[(&str, Option<&str>)]| proto::UpdateItemRequest {
            item_id: made.id.clone(),
            document: Some(document(fields)),
            ..Default::default()
        };
        let more = update(&ada.client, change(&[("api_key", Some("k3y"))])).await.expect("updated");
        assert_eq!((more.secrets_set.as_slice(), more.document), (["api_key", "token"].map(String::from).as_slice(), Some(document(&[]))));
        let less = update(&ada.client, change(&[("token", None)])).await.expect("updated");
        assert_eq!(less.secrets_set, ["api_key"]);
        assert_eq!(reveal(&product, &made.id).await.expect("revealed"), document(&[("api_key", Some("k3y"))]));
        // With a user's token in another context there is no such item.
        let token = world.issuer.user(ada.user).email(&ada.email).at(world.clock.now());
        refused(reveal(&product.for_user(&token), &made.id).await, Code::NotFound, "NOT_FOUND");
    }
}
