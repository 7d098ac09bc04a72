//! Events: what identity tells, and what it makes of what it is told.

use std::time::Duration;

use bursar_db::Tx;
use bursar_id::{OwnerId, Role};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Event, MembershipChanged, OrganizationCreated, SnapshotRequest, WatchRequest};
use bursar_proto::event_type;
use bursar_proto::identity::v1::{DeleteMeRequest, UpdateMeRequest, VerifyEmailRequest};
use bursar_testkit::{Client, refused};
use bursar_time::Monotonic;
use tonic::Code;

use bursar_events::{Consumer as _, Feed, Unapplied};
use bursar_identity::consume::FromOrganization;
use bursar_members::{Members, words};

use crate::organization::org;
use crate::world::{World, becomes, user};

/// Longer than any event takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first `count` events about users after a cursor.
async fn events(service: &Client, cursor: String, count: usize) -> Vec<Payload> {
    let types = vec![event_type::USER_UPDATED.to_owned(), event_type::USER_DELETED.to_owned()];
    let told = async {
        let stream = service.identity_events().watch(WatchRequest { types, cursor }).await.unwrap();
        let (mut stream, mut seen) = (stream.into_inner(), Vec::new());
        while seen.len() < count {
            if let Some(Item::Event(event)) = stream.message().await.unwrap().unwrap().item {
                seen.push(event.payload.unwrap());
            }
        }
        seen
    };
    tokio::time::timeout(PATIENCE, told).await.expect("all of the events are told")
}

bursar_testkit::engines! {
    async fn names_and_departures_are_told(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let rename = |name: &str| UpdateMeRequest { display_name: name.to_owned(), ..UpdateMeRequest::default() };
        ada.client().users().update_me(rename("Countess")).await.unwrap();
        ada.client().users().update_me(rename("Countess")).await.unwrap();
        ada.client().users().delete_me(DeleteMeRequest::default()).await.unwrap();
        let told: Vec<String> = events(&world.operator().await, String::new(), 4)
            .await
            .into_iter()
            .map(|payload| match payload {
                Payload::UserUpdated(user) => format!("{} is {}", user.user_id, user.display_name),
                Payload::UserDeleted(user) => format!("{} left", user.user_id),
                other => panic!("unexpected {other:?}"),
            })
            .collect();
        let id = &ada.user;
        // At sign-up, and when the address was confirmed.
        let named = format!("{id} is Ada");
        assert_eq!(told, [named.clone(), named, format!("{id} is Countess"), format!("{id} left")]);
        let person = ada.client().identity_events().watch(WatchRequest::default()).await;
        refused(person.map(|_| ()), Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    }

    async fn who_confirms_the_address_after_a_snapshot_is_told_by_name(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let token = world.mailbox.next_token("ada@example.com").await;
        let operator = world.operator().await;
        let answers = operator.identity_events().snapshot(SnapshotRequest::default()).await.unwrap();
        let (mut answers, mut told, mut cursor) = (answers.into_inner(), Vec::new(), String::new());
        while let Some(answer) = answers.message().await.unwrap() {
            cursor = answer.cursor;
            told.extend(answer.events);
        }
        // That somebody signed up stands in the audit log.
        told.retain(|event| !matches!(event.payload, Some(Payload::AuditRecorded(_))));
        assert_eq!(told, [], "whoever has not confirmed is nobody yet");
        world.anybody.users().verify_email(VerifyEmailRequest { token }).await.unwrap();
        let told = events(&operator, cursor, 1).await;
        assert!(matches!(&told[0], Payload::UserUpdated(user) if user.display_name == "Somebody"), "{told:?}");
    }

    async fn only_later_news_about_a_membership_count(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let known = || async {
            let mut tx: Tx = world.db.read().await.unwrap();
            let place = (OwnerId::Organization(org(1)), user(&ada));
            words::named(&mut tx, &[place]).await.unwrap().get(&place).map(|word| (word.role, word.version))
        };
        world.organization.tell(org(1), user(&ada), Some(Role::Member), 4).await;
        becomes(Some((Some(Role::Member), 4)), known).await;
        world.organization.tell(org(1), user(&ada), None, 3).await;
        world.organization.tell(org(1), user(&ada), Some(Role::Admin), 4).await;
        world.organization.tell(org(1), user(&ada), None, 5).await;
        becomes(Some((None, 5)), known).await;
        world.organization.tell(org(1), user(&ada), Some(Role::Admin), 6).await;
        becomes(Some((Some(Role::Admin), 6)), known).await;
    }

    async fn malformed_events_are_unreadable_and_foreign_ones_ignored(db: TestDb) {
        let world = World::start(&db).await;
        let consumer = FromOrganization { members: Members::new(world.db.clone(), Feed::new("organization", &Monotonic::test(), Duration::from_mins(5))) };
        let malformed = [
            Payload::MembershipChanged(MembershipChanged::default()),
            Payload::MembershipChanged(MembershipChanged {
                organization_id: org(1).to_string(),
                user_id: bursar_testkit::id::<()>(1).as_uuid().to_string(),
                ..MembershipChanged::default()
            }),
            Payload::OrganizationCreated(OrganizationCreated {
                organization_id: "org_1".to_owned(),
                created_by_session_id: "ses_1".to_owned(),
                ..OrganizationCreated::default()
            }),
        ];
        for payload in malformed {
            let event = Event { payload: Some(payload), ..Event::default() };
            let mut tx = world.db.begin().await.unwrap();
            let unread = consumer.apply(&mut tx, &event).await.unwrap_err();
            assert!(matches!(unread, Unapplied::Unreadable(_)), "{event:?}: {unread}");
        }
        let nobodys = [None, Some(Payload::OrganizationCreated(OrganizationCreated::default()))];
        for payload in nobodys {
            let event = Event { payload, ..Event::default() };
            let mut tx = world.db.begin().await.unwrap();
            consumer.apply(&mut tx, &event).await.unwrap();
        }
    }
}
