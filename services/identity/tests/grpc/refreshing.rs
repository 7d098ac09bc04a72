//! Refresh tokens: rotation, the grace, races, theft.

use std::collections::BTreeSet;
use std::sync::Arc;

use bursar_id::Role;
use bursar_proto::identity::v1::{GetMeRequest, ListSessionsRequest, RefreshRequest};
use bursar_testkit::{Person, refused};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::organization::org;
use crate::world::{World, claims, switch, user};

async fn sessions_of(person: &Person) -> usize {
    let listed = person.client().sessions().list_sessions(ListSessionsRequest::default()).await;
    listed.unwrap().into_inner().sessions.len()
}

bursar_testkit::engines! {
    async fn a_refresh_gives_a_new_pair_of_the_same_session(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.pass(240);
        let next = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        assert_eq!(next.session_id, ada.tokens.session_id);
        assert_eq!(next.owner, ada.user);
        assert_ne!(next.refresh_token, ada.tokens.refresh_token);
        let client = world.anybody.with_token(&next.access_token);
        client.users().get_me(GetMeRequest {}).await.unwrap();
        world.pass(240);
        refused(ada.client().users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "TOKEN_EXPIRED");
        client.users().get_me(GetMeRequest {}).await.unwrap();
    }

    async fn each_branch_says_its_name_and_when_and_how_its_user_signed_in(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let proof = |token: &str| {
            let said = claims(token);
            let name = said["bid"].as_str().unwrap().to_owned();
            assert!(name.len() == 32 && said.get("act").is_none() && said.get("key").is_none(), "{said}");
            (name, said["auth_time"].as_i64().unwrap(), said["amr"].clone())
        };
        let (branch, signed_in, methods) = proof(&ada.tokens.access_token);
        assert_eq!((signed_in, methods), (world.clock.now().as_unix_secs(), serde_json::json!(["pwd"])));
        world.pass(240);
        let next = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        let (same, then, _) = proof(&next.access_token);
        assert_eq!((&same, then), (&branch, signed_in), "refreshing proves nothing anew");
        let client = world.anybody.with_token(&next.access_token);
        let switched = switch(&client, &ada.user).await.unwrap();
        let (other, then, methods) = proof(&switched.access_token);
        assert_ne!(other, branch, "a branch of its own");
        assert_eq!((then, methods), (signed_in, serde_json::json!(["pwd"])), "which inherits the proof");
        let again = Person::sign_in(&world.anybody, &ada.email).await;
        let (_, later, _) = proof(&again.tokens.access_token);
        assert_eq!(later, signed_in + 240, "signing in does");
    }

    async fn a_bad_refresh_token_gives_nothing(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let unknown = "A".repeat(43);
        for bad in ["", "x", unknown.as_str(), ada.tokens.access_token.as_str()] {
            refused(world.refresh(bad).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        }
        // A token that nobody used for a month.
        world.pass(30 * 24 * 3600);
        let late = world.refresh(&ada.tokens.refresh_token).await;
        refused(late, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }

    async fn using_a_session_prolongs_it(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let mut token = ada.tokens.refresh_token.clone();
        for _ in 0..4 {
            world.pass(20 * 24 * 3600);
            token = world.refresh(&token).await.unwrap().refresh_token;
        }
    }

    async fn a_lost_answer_can_be_asked_for_again(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let lost = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        world.pass(10);
        let again = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        assert_ne!(again.refresh_token, lost.refresh_token);
        assert_eq!(again.session_id, lost.session_id);
        world.refresh(&again.refresh_token).await.unwrap();
    }

    async fn a_stolen_token_ends_its_session_and_no_other(db: TestDb) {
        let world = World::start(&db).await;
        let phone = world.join("Ada").await;
        let laptop = Person::sign_in(&world.anybody, &phone.email).await;
        let next = world.refresh(&phone.tokens.refresh_token).await.unwrap();
        world.pass(11);
        let stolen = world.refresh(&phone.tokens.refresh_token).await;
        refused(stolen, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        refused(world.refresh(&next.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        refused(phone.client().users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "SESSION_ENDED");
        assert_eq!(sessions_of(&laptop).await, 1);
        world.refresh(&laptop.tokens.refresh_token).await.unwrap();
    }

    async fn a_thief_within_the_grace_is_found_out_later(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let mine = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        let thiefs = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        // Whoever goes on first retires the other's token; using that one later shows that there are two.
        world.pass(60);
        let mine = world.refresh(&mine.refresh_token).await.unwrap();
        world.pass(60);
        refused(world.refresh(&thiefs.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        refused(world.refresh(&mine.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }

    async fn sixty_four_at_once_lose_no_session(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let other = Person::sign_in(&world.anybody, &ada.email).await;
        let barrier = Arc::new(Barrier::new(64));
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let (anybody, barrier) = (world.anybody.clone(), Arc::clone(&barrier));
            let refresh_token = ada.tokens.refresh_token.clone();
            tasks.spawn(async move {
                barrier.wait().await;
                let answer = anybody.sessions().refresh(RefreshRequest { refresh_token }).await;
                answer.unwrap().into_inner().tokens.unwrap()
            });
        }
        let pairs = tasks.join_all().await;
        let distinct: BTreeSet<_> = pairs.iter().map(|pair| pair.refresh_token.as_str()).collect();
        assert_eq!(distinct.len(), 64, "each caller has a successor of its own");
        assert!(pairs.iter().all(|pair| pair.session_id == ada.tokens.session_id), "one family");
        assert_eq!(sessions_of(&ada).await, 2, "no session was lost or made");
        // Every successor works while the grace lasts, whichever was used first.
        for pair in &pairs {
            world.refresh(&pair.refresh_token).await.unwrap();
        }
        world.pass(11);
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        assert_eq!(sessions_of(&other).await, 1, "the reuse ended the one session");
    }

    /// Whoever holds a stolen token cannot have its rotation forgotten before its holder comes back with it.
    async fn however_often_a_thief_refreshes_the_holder_finds_out(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let mut thiefs = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        for _ in 0..40 {
            world.pass(3_600);
            thiefs = world.refresh(&thiefs.refresh_token).await.unwrap();
        }
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        refused(world.refresh(&thiefs.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }

    async fn a_session_is_refreshed_so_often_and_none_the_worse_for_more(db: TestDb) {
        let world = World::start_with(&db, |settings| settings.tokens.max_refreshes_per_hour = 5).await;
        let phone = world.join("Ada").await;
        let laptop = Person::sign_in(&world.anybody, &phone.email).await;
        let (mut before, mut token) = (String::new(), phone.tokens.refresh_token.clone());
        for _ in 0..5 {
            let next = world.refresh(&token).await.unwrap().refresh_token;
            before = std::mem::replace(&mut token, next);
        }
        for _ in 0..3 {
            let refusal = refused(world.refresh(&token).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
            assert!(refusal.retryable);
        }
        world.pass(10);
        token = world.refresh(&before).await.expect("whose answer was lost gets another").refresh_token;
        refused(world.refresh(&token).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        assert_eq!(sessions_of(&laptop).await, 2, "none has ended");
        world.refresh(&laptop.tokens.refresh_token).await.expect("another session has its own");
        // One fits again after a twelfth of an hour, and one more for the answer that was lost.
        world.pass(24 * 60);
        world.refresh(&token).await.expect("it was not rotated, so it is no reuse");
    }

    async fn a_reuse_ends_the_session_however_often_that_was_refreshed(db: TestDb) {
        let world = World::start_with(&db, |settings| settings.tokens.max_refreshes_per_hour = 1).await;
        let ada = world.join("Ada").await;
        let next = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        world.pass(11);
        refused(world.refresh(&next.refresh_token).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        refused(world.refresh(&next.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }

    async fn a_user_refreshes_ten_sessions_as_often_as_one_and_another_user_as_before(db: TestDb) {
        let world = World::start_with(&db, |settings| settings.tokens.max_refreshes_per_hour = 1).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        world.refresh(&ada.tokens.refresh_token).await.unwrap();
        for _ in 1..10 {
            let next = Person::sign_in(&world.anybody, &ada.email).await;
            world.refresh(&next.tokens.refresh_token).await.unwrap();
        }
        let eleventh = Person::sign_in(&world.anybody, &ada.email).await;
        refused(world.refresh(&eleventh.tokens.refresh_token).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        world.refresh(&ben.tokens.refresh_token).await.unwrap();
    }

    async fn whoever_refreshes_too_often_asks_nobody(db: TestDb) {
        let world = World::start_with(&db, |settings| settings.tokens.max_refreshes_per_hour = 1).await;
        let ada = world.join("Ada").await;
        world.organization.place(org(1), user(&ada), Some(Role::Member));
        let team = switch(ada.client(), &org(1).to_string()).await.unwrap();
        let next = world.refresh(&team.refresh_token).await.unwrap();
        let asked = world.organization.asked();
        refused(world.refresh(&next.refresh_token).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        assert_eq!(world.organization.asked(), asked);
    }

    async fn a_switch_leaves_the_refresh_token_before_good(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let switched = switch(ada.client(), &ada.user).await.unwrap();
        world.pass(60);
        let first = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        let second = world.refresh(&switched.refresh_token).await.unwrap();
        world.pass(60);
        world.refresh(&first.refresh_token).await.unwrap();
        world.refresh(&second.refresh_token).await.unwrap();
    }
}
