//! Contexts: which ones there are, switching, and what becomes of them.

use bursar_id::Role;
use bursar_members::Standing;
use bursar_proto::identity::v1::{
    Context, ContextKind, GetMeRequest, IssueUserTokenRequest, ListContextsRequest, SignOutRequest,
};
use bursar_testkit::{Person, Refusal, refused};
use tonic::Code;

use crate::organization::org;
use crate::world::{World, becomes, claims, role, switch, user};

async fn contexts(person: &Person, page_size: i32) -> Vec<Context> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListContextsRequest { page_size, page_token };
        let page = person.client().contexts().list_contexts(request).await.unwrap().into_inner();
        all.extend(page.contexts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

bursar_testkit::engines! {
    async fn the_personal_context_comes_first_on_pages_of_any_size(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        for n in 1..=5 {
            world.organization.place(org(n), user(&ada), Some(if n == 2 { Role::Owner } else { Role::Member }));
        }
        world.organization.place(org(6), user(&ada), None);
        for page_size in [0, 1, 2, 3, 100] {
            let all = contexts(&ada, page_size).await;
            let owners: Vec<_> = all.iter().map(|context| context.owner.clone()).collect();
            let expected: Vec<_> =
                std::iter::once(ada.user.clone()).chain((1..=5).map(|n| org(n).to_string())).collect();
            assert_eq!(owners, expected, "page size {page_size}");
            assert_eq!(all.iter().filter(|context| context.current).count(), 1);
        }
        let all = contexts(&ada, 0).await;
        assert_eq!((all[0].kind(), all[0].current, all[0].display_name.as_str()), (ContextKind::Personal, true, "Ada"));
        assert_eq!((all[2].kind(), all[2].role), (ContextKind::Organization, 1));
        let request = ListContextsRequest { page_size: 2, page_token: "nonsense".to_owned() };
        refused(ada.client().contexts().list_contexts(request).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        world.organization.set_away(true);
        let answer = ada.client().contexts().list_contexts(ListContextsRequest::default()).await;
        refused(answer, Code::Unavailable, "PEER_UNAVAILABLE");
    }

    async fn a_switch_gives_a_token_with_role_and_version(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.organization.place(org(1), user(&ada), None);
        let version = world.organization.place(org(1), user(&ada), Some(Role::Admin));
        let tokens = switch(ada.client(), &org(1).to_string()).await.unwrap();
        let said = claims(&tokens.access_token);
        assert_eq!((said["ctx"].as_str(), said["role"].as_str()), (Some(tokens.owner.as_str()), Some("ADMIN")));
        assert_eq!((said["mv"].as_u64(), tokens.owner.clone()), (Some(version), org(1).to_string()));
        assert_eq!(said["mvi"], 1, "the incarnation in which the version counts");
        assert_eq!(tokens.session_id, ada.tokens.session_id);
        // Both tokens of the session live, each in its own context.
        for token in [&ada.tokens, &tokens] {
            world.anybody.with_token(&token.access_token).users().get_me(GetMeRequest {}).await.unwrap();
        }
        let back = switch(ada.client(), &ada.user).await.unwrap();
        assert_eq!(back.owner, ada.user);
        assert!(claims(&back.access_token).get("role").is_none());
    }

    async fn nobody_switches_into_what_is_not_theirs(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, bob) = (world.join("Ada").await, world.join("Bob").await);
        world.organization.place(org(1), user(&bob), Some(Role::Owner));
        let mut answers = Vec::new();
        for owner in [org(1).to_string(), org(404).to_string(), bob.user.clone()] {
            answers.push(refused(switch(ada.client(), &owner).await, Code::PermissionDenied, "NOT_A_MEMBER"));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "existing or not looks the same: {answers:#?}");
        for owner in ["", "org_1", "prj_01h455vb4pex5vsknk084sn02q", "all"] {
            let refusal = refused(switch(ada.client(), owner).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(refusal.fields, ["owner"], "{owner:?}");
        }
        world.organization.set_away(true);
        refused(switch(ada.client(), &org(1).to_string()).await, Code::Unavailable, "PEER_UNAVAILABLE");
        switch(ada.client(), &ada.user).await.expect("the personal context needs nobody else");
        ada.client().sessions().sign_out(SignOutRequest {}).await.unwrap();
        refused(switch(ada.client(), &ada.user).await, Code::Unauthenticated, "SESSION_ENDED");
        let contexts = ada.client().contexts().list_contexts(ListContextsRequest::default()).await;
        refused(contexts, Code::Unauthenticated, "SESSION_ENDED");
    }

    async fn a_lost_membership_leaves_a_token_without_a_role(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.organization.change(org(1), user(&ada), Some(Role::Member)).await;
        let tokens = switch(ada.client(), &org(1).to_string()).await.unwrap();
        world.organization.change(org(1), user(&ada), None).await;
        let next = world.refreshed_until(tokens, None).await;
        assert_eq!(next.owner, org(1).to_string(), "never falls back to the personal context");
        refused(switch(ada.client(), &org(1).to_string()).await, Code::PermissionDenied, "NOT_A_MEMBER");
    }

    async fn nobody_enters_an_organization_that_is_suspended_or_deleted(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, bob) = (world.join("Ada").await, world.join("Bob").await);
        world.organization.change(org(1), user(&ada), Some(Role::Owner)).await;
        let acme = org(1).to_string();
        let mut token = switch(ada.client(), &acme).await.unwrap().refresh_token;
        let cases = [(Standing::Suspended, "ORGANIZATION_SUSPENDED"), (Standing::Deleted, "ORGANIZATION_DELETED"), (Standing::Purged, "NOT_A_MEMBER")];
        for (version, (standing, reason)) in (1..).zip(cases) {
            world.organization.stand(org(1), standing, 2 * version).await;
            becomes(reason.to_owned(), || async {
                switch(ada.client(), &acme).await.map_or_else(|status| Refusal::of(&status).reason, |_| "OK".to_owned())
            })
            .await;
            refused(switch(bob.client(), &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
            // A branch that is in it goes on without a role, as that of somebody who was removed.
            let next = world.refresh(&token).await.unwrap();
            assert_eq!((&next.owner, claims(&next.access_token).get("role")), (&acme, None), "{standing:?}");
            // While organization is away as well.
            world.organization.set_away(true);
            becomes(reason.to_owned(), || async {
                switch(ada.client(), &acme).await.map_or_else(|status| Refusal::of(&status).reason, |_| "OK".to_owned())
            })
            .await;
            token = world.refresh(&next.refresh_token).await.unwrap().refresh_token;
            world.organization.set_away(false);
            world.organization.stand(org(1), Standing::Active, 2 * version + 1).await;
            becomes(true, || async { switch(ada.client(), &acme).await.is_ok() }).await;
            let next = world.refresh(&token).await.unwrap();
            assert_eq!(claims(&next.access_token)["role"], "OWNER", "back again");
            token = next.refresh_token;
        }
    }

    async fn how_an_organization_says_that_it_stands_counts_before_its_events_come(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, operator) = (world.join("Ada").await, world.operator().await);
        let acme = org(1).to_string();
        for n in 1..=2 {
            world.organization.change(org(n), user(&ada), Some(Role::Owner)).await;
        }
        let mut tokens = switch(ada.client(), &acme).await.unwrap();
        let home = switch(ada.client(), &org(2).to_string()).await.unwrap();
        world.organization.events.fall_silent();
        let act = IssueUserTokenRequest { user_id: ada.user.clone(), owner: acme.clone(), ..Default::default() };
        let cases = [(Standing::Suspended, "ORGANIZATION_SUSPENDED"), (Standing::Deleted, "ORGANIZATION_DELETED"), (Standing::Purged, "NOT_A_MEMBER")];
        for (version, (standing, reason)) in (1..).zip(cases) {
            world.organization.stand(org(1), standing, version).await;
            tokens = world.refresh(&tokens.refresh_token).await.unwrap();
            assert_eq!((&tokens.owner, role(&tokens)), (&acme, None), "{standing:?}");
            refused(switch(ada.client(), &acme).await, Code::PermissionDenied, reason);
            refused(operator.users().issue_user_token(act.clone()).await, Code::PermissionDenied, reason);
        }
        let elsewhere = world.refresh(&home.refresh_token).await.unwrap();
        assert_eq!(role(&elsewhere).as_deref(), Some("OWNER"), "another one stands as it did");
        world.organization.stand(org(1), Standing::Active, 9).await;
        tokens = world.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(role(&tokens).as_deref(), Some("OWNER"), "back again");
    }

    async fn who_creates_an_organization_is_in_it(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let elsewhere = Person::sign_in(&world.anybody, &ada.email).await;
        world.organization.create(org(1), &ada).await;
        let current = || async {
            let all = contexts(&ada, 0).await;
            all.into_iter().find(|context| context.current).map(|context| context.owner)
        };
        becomes(Some(org(1).to_string()), current).await;
        // The membership's own event has not come: organization is asked.
        let next = world.refresh(&ada.tokens.refresh_token).await.unwrap();
        assert_eq!((next.owner.as_str(), claims(&next.access_token)["role"].as_str()), (org(1).to_string().as_str(), Some("OWNER")));
        assert!(contexts(&elsewhere, 0).await[0].current, "another session stays where it is");
        world.organization.set_away(true);
        let next = world.refresh(&next.refresh_token).await.unwrap();
        assert_eq!(next.owner, org(1).to_string());
        assert_eq!(claims(&next.access_token)["role"].as_str(), Some("OWNER"), "the last word serves");
    }
}
