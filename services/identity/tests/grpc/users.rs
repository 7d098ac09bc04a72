//! `UserService`: signing up and the own user.

use bursar_db::{DbError, on};
use bursar_id::{Role, ServiceAccountId, UserId};
use bursar_proto::identity::v1::{
    BatchGetUsersRequest, DeleteMeRequest, GetMeRequest, GetPreferencesRequest, SignUpRequest, SuspendUserRequest,
    UpdateMeRequest,
};
use bursar_runtime::Service;
use bursar_secret::Entropy;
use bursar_testkit::{Client, Operator, PASSWORD, Person, id, refused};
use prost_types::value::Kind;
use prost_types::{FieldMask, Struct, Value};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::organization::org;
use crate::world::{World, user};

fn sign_up(email: &str, password: &str, display_name: &str) -> SignUpRequest {
    SignUpRequest { email: email.to_owned(), password: password.to_owned(), display_name: display_name.to_owned() }
}

fn rename(display_name: &str, paths: &[&str], request_id: &str) -> UpdateMeRequest {
    UpdateMeRequest {
        display_name: display_name.to_owned(),
        update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        request_id: request_id.to_owned(),
        preferences: None,
    }
}

/// A document with one text.
fn document(name: &str, text: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(text.to_owned())) };
    Struct { fields: [(name.to_owned(), value)].into() }
}

fn prefer(preferences: Option<Struct>, paths: &[&str]) -> UpdateMeRequest {
    UpdateMeRequest { preferences, ..rename("", paths, "") }
}

/// The longest text of a document that has nothing else (see [`document`]).
const LONGEST: usize = 256 * 1024 - "{\"text\":\"\"}".len();

/// What a user prefers, as a service asks for it.
async fn preferred(who: &Client, user: &str) -> Result<Struct, Status> {
    let request = GetPreferencesRequest { user_id: user.to_owned() };
    Ok(who.users().get_preferences(request).await?.into_inner().preferences.unwrap())
}

bursar_testkit::engines! {
    async fn services_of_the_product_read_what_a_user_prefers(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, bob) = (world.join("Ada").await, world.join("Bob").await);
        let operator = world.operator().await;
        let product = world.product(&operator).await;
        let largest = document("text", &"x".repeat(LONGEST));
        assert_eq!(preferred(&product, &ada.user).await.unwrap(), Struct::default(), "nothing at first");
        ada.client().users().update_me(prefer(Some(largest.clone()), &["preferences"])).await.unwrap();
        for who in [&product, &operator] {
            assert!(preferred(who, &ada.user).await.unwrap() == largest, "whole, however large");
            assert_eq!(preferred(who, &bob.user).await.unwrap(), Struct::default(), "everybody has their own");
        }
        let both = BatchGetUsersRequest { user_ids: vec![ada.user.clone(), bob.user.clone()] };
        let users = product.users().batch_get_users(both).await.unwrap().into_inner().users;
        assert!(users.len() == 2 && users.iter().all(|user| user.preferences.is_none()), "of many it is not told");

        let suspend = SuspendUserRequest { user_id: ada.user.clone(), ..Default::default() };
        operator.users().suspend_user(suspend).await.unwrap();
        assert!(preferred(&product, &ada.user).await.unwrap() == largest, "what the suspended have stays");
        bob.client().users().update_me(prefer(Some(document("theme", "dark")), &["preferences"])).await.unwrap();
        assert_eq!(preferred(&product, &bob.user).await.unwrap(), document("theme", "dark"));
        bob.client().users().delete_me(DeleteMeRequest::default()).await.unwrap();
        refused(preferred(&product, &bob.user).await, Code::NotFound, "NOT_FOUND");
    }

    async fn nobody_else_reads_what_a_user_prefers(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, bob) = (world.join("Ada").await, world.join("Bob").await);
        let product = world.product(&world.operator().await).await;
        refused(preferred(&world.anybody, &ada.user).await, Code::Unauthenticated, "TOKEN_MISSING");
        for person in [&ada, &bob] {
            refused(preferred(person.client(), &ada.user).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        }
        let accounts = [
            (Service::Organization, ServiceAccountId::ORGANIZATION),
            (Service::Billing, ServiceAccountId::BILLING),
        ];
        for (service, account) in accounts {
            let secret = world.settings.service_secret(service, &Entropy::system()).unwrap();
            let account = Operator { client_id: account.to_string(), client_secret: secret.expose().clone() };
            let other = world.anybody.as_operator(&account).await;
            refused(preferred(&other, &ada.user).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        let nobody: UserId = id(77);
        refused(preferred(&product, &nobody.to_string()).await, Code::NotFound, "NOT_FOUND");
        for bad in ["", "usr_1", &org(1).to_string()] {
            let refusal = refused(preferred(&product, bad).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(refusal.fields, ["user_id"], "{bad}");
        }
    }

    async fn a_user_keeps_preferences_of_their_own(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, bob) = (world.join("Ada").await, world.join("Bob").await);
        let update = async |request| {
            let updated = ada.client().users().update_me(request).await?;
            Ok::<_, tonic::Status>(updated.into_inner().user.unwrap())
        };
        let me = async |client: &Client| client.users().get_me(GetMeRequest {}).await.unwrap().into_inner().user.unwrap();
        assert_eq!(me(ada.client()).await.preferences, Some(Struct::default()), "nothing at first");
        let dark = Some(document("theme", "dark"));
        let updated = update(UpdateMeRequest { preferences: dark.clone(), ..Default::default() }).await.unwrap();
        assert_eq!((updated.preferences, updated.display_name.as_str()), (dark.clone(), "Ada"));
        update(rename("Ada L.", &["display_name"], "")).await.unwrap();
        assert_eq!(me(ada.client()).await.preferences, dark, "what the mask does not name stays");
        update(UpdateMeRequest { preferences: Some(Struct::default()), ..Default::default() }).await.unwrap();
        assert_eq!(me(ada.client()).await.preferences, dark, "without a mask what is empty stays");
        let light = Some(document("colours", "light"));
        assert_eq!(update(prefer(light.clone(), &["preferences"])).await.unwrap().preferences, light, "all of it anew");
        assert_eq!(me(bob.client()).await.preferences, Some(Struct::default()), "everybody has their own");
        let large = prefer(Some(document("text", &"x".repeat(256 * 1024))), &["preferences"]);
        let refusal = refused(update(large).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(refusal.fields, ["preferences"]);
        let asked = BatchGetUsersRequest { user_ids: vec![ada.user.clone()] };
        let seen = world.operator().await.users().batch_get_users(asked).await.unwrap().into_inner().users;
        assert_eq!((seen.len(), &seen[0].preferences), (1, &None), "nobody else's to see");
        assert_eq!(update(prefer(None, &["preferences"])).await.unwrap().preferences, Some(Struct::default()));
        update(prefer(light, &["preferences"])).await.unwrap();
        ada.client().users().delete_me(DeleteMeRequest::default()).await.unwrap();
        let left = async {
            let mut tx = world.db.read().await?;
            let count = "SELECT COUNT(*) FROM preferences";
            let (rows,): (i64,) = on!(&mut tx, c => sqlx::query_as(count).fetch_one(c).await?);
            Ok::<_, DbError>(rows)
        };
        assert_eq!(left.await.unwrap(), 0, "they end with the account");
    }

    async fn a_person_joins_and_sees_the_own_account(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let me = ada.client().users().get_me(GetMeRequest {}).await.unwrap().into_inner().user.unwrap();
        assert_eq!((me.email.as_str(), me.display_name.as_str(), me.email_verified), ("ada@example.com", "Ada", true));
        assert_eq!(me.id, ada.user);
        refused(world.anybody.users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "TOKEN_MISSING");
        let service = world.operator().await;
        refused(service.users().get_me(GetMeRequest {}).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    }

    async fn every_bad_field_of_a_sign_up_is_named(db: TestDb) {
        let world = World::start(&db).await;
        let cases = [
            (sign_up("", "", ""), vec!["email", "password"]),
            (sign_up("ada", "short", "\u{7}"), vec!["display_name", "email", "password"]),
            (sign_up("ada@example.com", &"x".repeat(129), "Ada"), vec!["password"]),
            (sign_up("ada@example.com", PASSWORD, &"x".repeat(101)), vec!["display_name"]),
        ];
        for (request, fields) in cases {
            let answer = world.anybody.users().sign_up(request.clone()).await;
            let refusal = refused(answer, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(refusal.fields, fields, "{request:?}");
        }
    }

    async fn a_name_left_out_comes_from_the_address(db: TestDb) {
        let world = World::start(&db).await;
        world.anybody.users().sign_up(sign_up("grace@example.com", PASSWORD, " ")).await.unwrap();
        let tokens = world.sign_in("grace@example.com", PASSWORD).await.unwrap().into_inner().tokens.unwrap();
        let client = world.anybody.with_token(&tokens.access_token);
        let me = client.users().get_me(GetMeRequest {}).await.unwrap().into_inner().user.unwrap();
        assert_eq!((me.display_name.as_str(), me.email_verified), ("grace", false));
    }

    async fn a_taken_address_gets_the_same_answer_and_its_holder_another_mail(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.pass(1);
        let fresh = world.anybody.users().sign_up(sign_up("new@example.com", PASSWORD, "New")).await.unwrap();
        let taken = world.anybody.users().sign_up(sign_up("ADA@example.COM", "another password", "Eve")).await.unwrap();
        assert_eq!(format!("{:?}", fresh.get_ref()), format!("{:?}", taken.get_ref()));
        let mail = world.mailbox.next("ada@example.com").await;
        assert_eq!(mail.subject, "You already have an account");
        assert!(!mail.text.contains("token="), "{}", mail.text);
        // Nothing else has changed.
        let me = ada.client().users().get_me(GetMeRequest {}).await.unwrap().into_inner().user.unwrap();
        assert_eq!(me.display_name, "Ada");
        refused(world.sign_in("ada@example.com", "another password").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        world.sign_in("Ada@Example.Com", PASSWORD).await.unwrap();
    }

    async fn of_five_who_take_an_address_at_once_one_gets_it(db: TestDb) {
        let world = World::start(&db).await;
        let mut tasks = JoinSet::new();
        for n in 0..5 {
            let anybody = world.anybody.clone();
            let request = sign_up("ada@example.com", &format!("password of {n}"), &format!("Ada {n}"));
            tasks.spawn(async move { anybody.users().sign_up(request).await });
        }
        for answer in tasks.join_all().await {
            answer.unwrap();
        }
        let mut holders = 0;
        for n in 0..5 {
            holders += u32::from(world.sign_in("ada@example.com", &format!("password of {n}")).await.is_ok());
        }
        assert_eq!(holders, 1);
        // Each of them may be the one who reads the mail.
        for _ in 0..5 {
            assert!(world.mailbox.next("ada@example.com").await.text.contains("token="));
        }
    }

    async fn mail_to_one_address_is_throttled_whether_it_has_an_account_or_not(db: TestDb) {
        let world = World::start(&db).await;
        for email in ["known@example.com", "other@example.com"] {
            for _ in 0..5 {
                world.sign_up(email).await;
            }
            let answer = world.anybody.users().sign_up(sign_up(email, PASSWORD, "")).await;
            let refusal = refused(answer, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
            assert!(refusal.retryable);
        }
        world.pass(600);
        world.sign_up("known@example.com").await;
    }

    async fn the_own_name_can_be_changed_once_per_request_id(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let mut users = ada.client().users();
        let first = users.update_me(rename("Ada L.", &["display_name"], "r1")).await.unwrap().into_inner();
        assert_eq!(first.user.as_ref().unwrap().display_name, "Ada L.");
        users.update_me(rename("Countess", &[], "")).await.unwrap();
        let replay = users.update_me(rename("Ada L.", &["display_name"], "r1")).await.unwrap().into_inner();
        assert_eq!(replay, first, "the stored answer comes back");
        let reused = users.update_me(rename("Eve", &["display_name"], "r1")).await;
        refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let me = users.get_me(GetMeRequest {}).await.unwrap().into_inner().user.unwrap();
        assert_eq!(me.display_name, "Countess", "a replay changes nothing");

        let cases = [
            (rename("", &["display_name"], ""), vec!["display_name"]),
            (rename("Ada", &["email", "display_name"], ""), vec!["update_mask"]),
            (rename("Ada", &[], &"x".repeat(129)), vec!["request_id"]),
        ];
        for (request, fields) in cases {
            let refusal = refused(users.update_me(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(refusal.fields, fields);
        }
        let nothing = users.update_me(rename("", &[], "")).await.unwrap().into_inner().user.unwrap();
        assert_eq!(nothing.display_name, "Countess", "an empty mask changes what is not empty");
        let answer = world.anybody.users().update_me(rename("Ada", &[], "")).await;
        refused(answer, Code::Unauthenticated, "TOKEN_MISSING");
    }

    async fn a_deleted_account_is_gone_and_its_address_free(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let mut users = ada.client().users();
        let request = DeleteMeRequest { request_id: "d1".to_owned() };
        users.delete_me(request.clone()).await.unwrap();
        // Standing comes before replays, and a session that has ended has none.
        refused(users.delete_me(request).await, Code::Unauthenticated, "SESSION_ENDED");
        refused(users.delete_me(DeleteMeRequest::default()).await, Code::Unauthenticated, "SESSION_ENDED");
        refused(users.get_me(GetMeRequest {}).await, Code::Unauthenticated, "SESSION_ENDED");
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        refused(world.sign_in(&ada.email, PASSWORD).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        world.pass(600);
        let again = world.join("Ada").await;
        assert_ne!(again.user, ada.user);
    }

    async fn an_account_is_deleted_by_who_has_just_signed_in(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.pass(601);
        // A new token, but the sign-in behind it is the old one.
        let tokens = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        let client = world.anybody.with_token(&tokens.access_token);
        let late = client.users().delete_me(DeleteMeRequest::default()).await;
        refused(late, Code::FailedPrecondition, "REAUTHENTICATION_REQUIRED");
        client.users().get_me(GetMeRequest {}).await.expect("nothing has changed");
        let again = Person::sign_in(&world.anybody, &ada.email).await;
        world.pass(600);
        let tokens = world.refresh(&again.tokens.refresh_token).await.unwrap();
        let client = world.anybody.with_token(&tokens.access_token);
        client.users().delete_me(DeleteMeRequest::default()).await.expect("ten minutes are recent");
    }

    async fn who_owns_organizations_stays(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let mut users = ada.client().users();
        for n in 1..=4 {
            let role = if n % 2 == 0 { Role::Owner } else { Role::Admin };
            world.organization.place(org(n), user(&ada), Some(role));
        }
        let answer = users.delete_me(DeleteMeRequest::default()).await;
        let refusal = refused(answer, Code::FailedPrecondition, "OWNS_ORGANIZATIONS");
        assert_eq!(refusal.metadata["organizations"], "2");
        assert_eq!(refusal.metadata["organization_ids"], format!("{},{}", org(2), org(4)));
        for n in 5..=40 {
            world.organization.place(org(n), user(&ada), Some(Role::Owner));
        }
        let refusal = refused(users.delete_me(DeleteMeRequest::default()).await, Code::FailedPrecondition, "OWNS_ORGANIZATIONS");
        let named = refusal.metadata["organization_ids"].split(',').count();
        assert_eq!((refusal.metadata["organizations"].as_str(), named), ("38", 20), "as many as there is room for");
        for n in 5..=40 {
            world.organization.place(org(n), user(&ada), None);
        }
        for n in [2, 4] {
            world.organization.place(org(n), user(&ada), Some(Role::Admin));
        }
        world.organization.set_away(true);
        refused(users.delete_me(DeleteMeRequest::default()).await, Code::Unavailable, "PEER_UNAVAILABLE");
        world.organization.set_away(false);
        users.delete_me(DeleteMeRequest::default()).await.unwrap();
    }

    async fn services_get_users_by_their_ids(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, bob) = (world.join("Ada").await, world.join("Bob").await);
        let nobody: UserId = id(77);
        let service = world.operator().await;
        let batch = |ids: Vec<String>| BatchGetUsersRequest { user_ids: ids };
        let ids = vec![bob.user.clone(), nobody.to_string(), ada.user.clone(), bob.user.clone()];
        let users = service.users().batch_get_users(batch(ids)).await.unwrap().into_inner().users;
        let mut expected = [ada.user.as_str(), bob.user.as_str()];
        expected.sort_unstable();
        assert_eq!(users.iter().map(|user| user.id.as_str()).collect::<Vec<_>>(), expected);
        let none = service.users().batch_get_users(batch(vec![])).await.unwrap().into_inner().users;
        assert!(none.is_empty());

        let bad = service.users().batch_get_users(batch(vec![ada.user.clone(), "usr_1".to_owned()])).await;
        assert_eq!(refused(bad, Code::InvalidArgument, "INVALID_FIELDS").fields, ["user_ids[1]"]);
        let many = service.users().batch_get_users(batch(vec![ada.user.clone(); 1_001])).await;
        assert_eq!(refused(many, Code::InvalidArgument, "INVALID_FIELDS").fields, ["user_ids"]);
        let person = ada.client().users().batch_get_users(batch(vec![])).await;
        refused(person, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    }
}
