//! Sessions: listing and ending them.

use bursar_id::SessionId;
use bursar_identity::store::sessions;
use bursar_proto::identity::v1::{GetMeRequest, ListSessionsRequest, RevokeSessionRequest, SignOutRequest};
use bursar_testkit::{Person, id, refused};
use tonic::Code;

use crate::world::{World, becomes};

fn list(page_size: i32, page_token: &str) -> ListSessionsRequest {
    ListSessionsRequest { page_size, page_token: page_token.to_owned() }
}

fn revoke(session_id: &str, request_id: &str) -> RevokeSessionRequest {
    RevokeSessionRequest { session_id: session_id.to_owned(), request_id: request_id.to_owned() }
}

bursar_testkit::engines! {
    async fn sessions_are_listed_the_latest_first(db: TestDb) {
        let world = World::start(&db).await;
        let first = world.join("Ada").await;
        let mut expected = vec![first.tokens.session_id.clone()];
        let mut last = first.clone();
        for _ in 0..4 {
            world.pass(1);
            last = Person::sign_in(&world.anybody, &first.email).await;
            expected.insert(0, last.tokens.session_id.clone());
        }
        world.join("Bob").await;
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = last.client().sessions().list_sessions(list(2, &token)).await.unwrap().into_inner();
            for session in &page.sessions {
                assert_eq!(session.current, session.id == last.tokens.session_id);
                assert_eq!(session.owner, first.user);
            }
            seen.extend(page.sessions.into_iter().map(|session| session.id));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, expected);
        let foreign = world.join("Eve").await;
        let page = last.client().sessions().list_sessions(list(2, "")).await.unwrap().into_inner();
        let stolen = foreign.client().sessions().list_sessions(list(2, &page.next_page_token)).await;
        refused(stolen, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        refused(last.client().sessions().list_sessions(list(-1, "")).await, Code::InvalidArgument, "INVALID_FIELDS");
    }

    async fn who_signs_out_is_out(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let other = Person::sign_in(&world.anybody, &ada.email).await;
        ada.client().sessions().sign_out(SignOutRequest {}).await.unwrap();
        ada.client().sessions().sign_out(SignOutRequest {}).await.expect("an ended session stays ended");
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        refused(ada.client().users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "SESSION_ENDED");
        refused(ada.client().sessions().list_sessions(list(0, "")).await, Code::Unauthenticated, "SESSION_ENDED");
        world.refresh(&other.tokens.refresh_token).await.unwrap();
        refused(world.anybody.sessions().sign_out(SignOutRequest {}).await, Code::Unauthenticated, "TOKEN_MISSING");
    }

    async fn another_of_ones_sessions_can_be_ended(db: TestDb) {
        let world = World::start(&db).await;
        let phone = world.join("Ada").await;
        let laptop = Person::sign_in(&world.anybody, &phone.email).await;
        let eve = world.join("Eve").await;
        let mut sessions = laptop.client().sessions();
        sessions.revoke_session(revoke(&phone.tokens.session_id, "r1")).await.unwrap();
        sessions.revoke_session(revoke(&phone.tokens.session_id, "r1")).await.expect("the same request again");
        sessions.revoke_session(revoke(&phone.tokens.session_id, "")).await.expect("it has ended already");
        refused(world.refresh(&phone.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        refused(phone.client().users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "SESSION_ENDED");

        let nobodys: SessionId = id(9);
        for foreign in [eve.tokens.session_id.clone(), nobodys.to_string()] {
            refused(sessions.revoke_session(revoke(&foreign, "")).await, Code::NotFound, "NOT_FOUND");
        }
        let reused = sessions.revoke_session(revoke(&laptop.tokens.session_id, "r1")).await;
        refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let malformed = sessions.revoke_session(revoke("ses_1", "")).await;
        assert_eq!(refused(malformed, Code::InvalidArgument, "INVALID_FIELDS").fields, ["session_id"]);
        world.refresh(&eve.tokens.refresh_token).await.unwrap();
    }

    async fn what_nobody_can_use_any_more_is_deleted(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let session: SessionId = ada.tokens.session_id.parse().unwrap();
        let there = || async {
            let mut tx = world.db.read().await.unwrap();
            sessions::by_id(&mut tx, session).await.unwrap().is_some()
        };
        world.pass(30 * 24 * 3600 - 1);
        assert!(there().await);
        // The jump may have had the hourly job done just now: time goes on until it is due again.
        let there_later = || async {
            world.pass(3600);
            there().await
        };
        becomes(false, there_later).await;
    }
}
