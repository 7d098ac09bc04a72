//! Kind I: the context belongs to the branch, and neither branches nor sessions live for ever.

use bursar_id::{OrganizationId, Role};
use bursar_proto::identity::v1::{GetMeRequest, ListContextsRequest, ListSessionsRequest};
use bursar_testkit::{Person, refused};
use tonic::Code;

use crate::organization::org;
use crate::world::{World, becomes, claims, role, switch, user};

async fn current(world: &World, access_token: &str) -> String {
    let client = world.anybody.with_token(access_token);
    let listed = client.contexts().list_contexts(ListContextsRequest::default()).await.unwrap().into_inner();
    listed.contexts.into_iter().find(|context| context.current).expect("one is current").owner
}

async fn member(world: &World, organizations: &[OrganizationId]) -> Person {
    let ada = world.join("Ada").await;
    for organization in organizations {
        world.organization.place(*organization, user(&ada), Some(Role::Member));
    }
    ada
}

bursar_testkit::engines! {
    async fn two_tabs_keep_their_own_contexts(db: TestDb) {
        let world = World::start(&db).await;
        let ada = member(&world, &[org(1)]).await;
        let team = switch(ada.client(), &org(1).to_string()).await.unwrap();
        let (mut personal, mut teams) = (ada.tokens.refresh_token.clone(), team.refresh_token);
        for _ in 0..3 {
            world.pass(60);
            let (tab, other) = (world.refresh(&personal).await.unwrap(), world.refresh(&teams).await.unwrap());
            assert_eq!((tab.owner.as_str(), other.owner), (ada.user.as_str(), org(1).to_string()));
            assert_eq!(claims(&tab.access_token)["ctx"], ada.user);
            assert!(claims(&tab.access_token).get("role").is_none());
            assert_eq!(claims(&other.access_token)["role"], "MEMBER");
            assert_eq!(current(&world, &tab.access_token).await, ada.user);
            assert_eq!(current(&world, &other.access_token).await, org(1).to_string());
            (personal, teams) = (tab.refresh_token, other.refresh_token);
        }
    }

    async fn a_late_event_overrides_no_explicit_switch(db: TestDb) {
        let world = World::start(&db).await;
        let ada = member(&world, &[org(2)]).await;
        let explicit = switch(ada.client(), &org(2).to_string()).await.unwrap();
        world.organization.create(org(1), &ada).await;
        // The branch that made it is in it, and the one that was chosen since stays where it is.
        becomes(org(1).to_string(), || current(&world, &ada.tokens.access_token)).await;
        assert_eq!(current(&world, &explicit.access_token).await, org(2).to_string());
        assert_eq!(world.refresh(&explicit.refresh_token).await.unwrap().owner, org(2).to_string());
        assert_eq!(world.refresh(&ada.tokens.refresh_token).await.unwrap().owner, org(1).to_string());
    }

    async fn a_creation_that_is_told_late_overrides_no_later_one(db: TestDb) {
        let world = World::start(&db).await;
        let ada = member(&world, &[]).await;
        // The first waits for a plan to move; meanwhile the same tab makes a second.
        world.organization.create(org(2), &ada).await;
        becomes(org(2).to_string(), || current(&world, &ada.tokens.access_token)).await;
        world.organization.create(org(1), &ada).await;
        // A later event shows that the one before was followed.
        let bob = world.join("Bob").await;
        world.organization.create(org(3), &bob).await;
        becomes(org(3).to_string(), || current(&world, &bob.tokens.access_token)).await;
        assert_eq!(current(&world, &ada.tokens.access_token).await, org(2).to_string());
        assert_eq!(world.refresh(&ada.tokens.refresh_token).await.unwrap().owner, org(2).to_string());
    }

    async fn a_branch_that_is_moved_while_it_is_refreshed_gets_a_token_for_where_it_is(db: TestDb) {
        let world = World::start(&db).await;
        let ada = member(&world, &[org(2)]).await;
        let tab = switch(ada.client(), &org(2).to_string()).await.unwrap();
        let (asked, gate) = (world.organization.asked(), world.organization.hold());
        let moving = async {
            // The refresh waits for what organization says of the second, and meanwhile the tab makes a third.
            becomes(asked + 1, async || world.organization.asked()).await;
            let branch = claims(&tab.access_token)["bid"].as_str().unwrap().to_owned();
            world.organization.create_on(org(3), &ada, branch).await;
            becomes(org(3).to_string(), || current(&world, &tab.access_token)).await;
            gate.add_permits(1_000);
        };
        let (refreshed, ()) = tokio::join!(world.refresh(&tab.refresh_token), moving);
        let refreshed = refreshed.expect("it begins anew");
        assert_eq!((refreshed.owner.clone(), role(&refreshed).as_deref()), (org(3).to_string(), Some("OWNER")));
        assert_eq!(claims(&refreshed.access_token)["ctx"], org(3).to_string());
        world.refresh(&refreshed.refresh_token).await.expect("the token was rotated once");
    }

    async fn an_answer_that_was_lost_is_given_again_where_the_branch_is_by_then(db: TestDb) {
        let world = World::start(&db).await;
        let ada = member(&world, &[]).await;
        let lost = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        world.organization.create(org(1), &ada).await;
        becomes(org(1).to_string(), || current(&world, &lost.access_token)).await;
        let again = world.refresh(&ada.tokens.refresh_token).await.expect("within the grace");
        assert_eq!((again.owner.clone(), role(&again).as_deref()), (org(1).to_string(), Some("OWNER")));
        let client = world.anybody.with_token(&again.access_token);
        switch(&client, &ada.user).await.unwrap();
        let left = world.refresh(&ada.tokens.refresh_token).await.expect("within the grace");
        let day = world.clock.now().as_unix_secs() + 24 * 3600;
        assert_eq!(left.refresh_token_expires_at.unwrap().seconds, day, "it was left meanwhile");
    }

    async fn a_branch_that_is_over_gives_no_lost_answer_again(db: TestDb) {
        let world = World::start_with(&db, |settings| {
            settings.tokens.refresh_grace = std::time::Duration::from_hours(1);
        })
        .await;
        let ada = world.join("Ada").await;
        world.refresh(&ada.tokens.refresh_token).await.unwrap();
        let mut last = String::new();
        for _ in 0..32 {
            world.pass(1);
            last = switch(ada.client(), &ada.user).await.unwrap().refresh_token;
        }
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        world.refresh(&last).await.expect("the session goes on");
    }

    async fn an_older_program_that_tells_no_branch_moves_the_only_one(db: TestDb) {
        let world = World::start(&db).await;
        let ada = member(&world, &[org(2)]).await;
        world.organization.create_on(org(1), &ada, String::new()).await;
        becomes(org(1).to_string(), || current(&world, &ada.tokens.access_token)).await;
        let explicit = switch(ada.client(), &org(2).to_string()).await.unwrap();
        world.organization.create_on(org(3), &ada, String::new()).await;
        // A later event shows that the one before was followed.
        let bob = world.join("Bob").await;
        world.organization.create(org(4), &bob).await;
        becomes(org(4).to_string(), || current(&world, &bob.tokens.access_token)).await;
        assert_eq!(current(&world, &explicit.access_token).await, org(2).to_string());
        assert_eq!(current(&world, &ada.tokens.access_token).await, org(1).to_string());
    }

    async fn a_branch_that_was_left_ends_when_nobody_uses_it(db: TestDb) {
        let world = World::start(&db).await;
        let ada = member(&world, &[org(1)]).await;
        let (phone, laptop) = (ada.clone(), Person::sign_in(&world.anybody, &ada.email).await);
        let switched = switch(phone.client(), &org(1).to_string()).await.unwrap();
        let tab = switch(laptop.client(), &org(1).to_string()).await.unwrap();
        // The laptop's other tab goes on, the phone's branch lies about.
        let mut used = laptop.tokens.refresh_token.clone();
        for _ in 0..3 {
            world.pass(20 * 3600);
            let next = world.refresh(&used).await.expect("a branch that is used lives on");
            assert_eq!(next.owner, ada.user);
            used = next.refresh_token;
        }
        refused(world.refresh(&phone.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        world.pass(24 * 3600);
        refused(world.refresh(&used).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        // The branches that were gone to are as good as ever, and so are their sessions.
        for tokens in [switched, tab] {
            let next = world.refresh(&tokens.refresh_token).await.unwrap();
            assert_eq!(next.owner, org(1).to_string());
            world.anybody.with_token(&next.access_token).users().get_me(GetMeRequest {}).await.unwrap();
        }
    }

    async fn a_session_says_how_many_of_its_branches_were_left_and_go_on(db: TestDb) {
        let world = World::start(&db).await;
        let ada = member(&world, &[org(1)]).await;
        world.pass(1);
        let laptop = Person::sign_in(&world.anybody, &ada.email).await;
        let left = async |token: &str| {
            let client = world.anybody.with_token(token);
            let listed = client.sessions().list_sessions(ListSessionsRequest::default()).await.unwrap().into_inner();
            listed.sessions.into_iter().map(|session| session.left_branches).collect::<Vec<_>>()
        };
        assert_eq!(left(&laptop.tokens.access_token).await, [0, 0]);
        switch(ada.client(), &org(1).to_string()).await.unwrap();
        let last = switch(laptop.client(), &ada.user).await.unwrap();
        let last = switch(&world.anybody.with_token(&last.access_token), &org(1).to_string()).await.unwrap();
        assert_eq!(left(&last.access_token).await, [2, 1], "the latest first");
        world.pass(20 * 3600);
        let tab = world.refresh(&laptop.tokens.refresh_token).await.expect("somebody goes on in one of them");
        world.pass(20 * 3600);
        let last = world.refresh(&last.refresh_token).await.unwrap();
        assert_eq!(left(&last.access_token).await, [1, 0]);
        assert!(!tab.refresh_token.is_empty());
    }

    async fn a_session_has_so_many_branches_and_no_more(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let mut all = vec![ada.tokens.refresh_token.clone()];
        for _ in 0..32 {
            world.pass(1);
            all.push(switch(ada.client(), &ada.user).await.unwrap().refresh_token);
        }
        refused(world.refresh(&all[0]).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        world.refresh(&all[1]).await.unwrap();
        world.refresh(&all[32]).await.unwrap();
    }

    async fn a_session_has_a_greatest_age(db: TestDb) {
        let world = World::start_with(&db, |settings| {
            settings.tokens.session_age = std::time::Duration::from_hours(72);
        })
        .await;
        let ada = world.join("Ada").await;
        let (mut token, end) = (ada.tokens.refresh_token.clone(), world.clock.now().as_unix_secs() + 72 * 3600);
        for _ in 0..3 {
            world.pass(24 * 3600 - 1);
            let next = world.refresh(&token).await.expect("not old enough");
            assert_eq!(next.refresh_token_expires_at.unwrap().seconds, end);
            token = next.refresh_token;
        }
        world.pass(3);
        refused(world.refresh(&token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        Person::sign_in(&world.anybody, &ada.email).await;
    }
}
