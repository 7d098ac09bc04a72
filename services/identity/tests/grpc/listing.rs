//! Operators list users, page by page: all of them, those in one state, or those whose addresses begin in one way.

use bursar_proto::identity::v1 as proto;
use bursar_proto::identity::v1::UserState::{Leaving, Suspended, Unproven, Unspecified};
use bursar_proto::identity::v1::list_users_request::Query;
use bursar_proto::identity::v1::{UserState, find_user_request::By};
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{Client, Person, refused};
use tonic::{Code, Status};

use crate::departing::killed_in_between;
use crate::world::World;

async fn list(who: &Client, query: Option<Query>, size: i32, token: &str) -> Result<proto::ListUsersResponse, Status> {
    let request = proto::ListUsersRequest { query, page_size: size, page_token: token.to_owned() };
    Ok(who.users().list_users(request).await?.into_inner())
}

/// The addresses of a list, page by page.
async fn pages(operator: &Client, query: Option<Query>, page_size: i32) -> Vec<Vec<String>> {
    let mut request = proto::ListUsersRequest { query, page_size, page_token: String::new() };
    let mut pages = Vec::new();
    loop {
        let page = operator.users().list_users(request.clone()).await.unwrap().into_inner();
        pages.push(page.users.into_iter().map(|it| it.user.unwrap().email).collect());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return pages;
        }
    }
}

fn state(state: UserState) -> Query {
    Query::State(state.into())
}

fn begins(prefix: &str) -> Query {
    Query::EmailPrefix(prefix.to_owned())
}

async fn suspend(operator: &Client, who: &Person) {
    let request =
        proto::SuspendUserRequest { user_id: who.user.clone(), reason: "spam".to_owned(), ..Default::default() };
    operator.users().suspend_user(request).await.unwrap();
}

/// Joins as one after the other, a second apart.
async fn joined<const N: usize>(world: &World, names: [&str; N]) -> [Person; N] {
    let mut people = Vec::new();
    for name in names {
        people.push(world.join(name).await);
        world.pass(1);
    }
    people.try_into().ok().unwrap()
}

bursar_testkit::engines! {
    async fn operators_list_all_users_the_oldest_first_or_some_by_address(db: TestDb) {
        let world = World::start(&db).await;
        let operator = world.operator().await;
        assert_eq!(pages(&operator, None, 0).await, [[""; 0]]);
        let [.., ann] = joined(&world, ["Dan", "Ada", "Cleo", "Adam", "Ben", "Ann"]).await;
        world.sign_up("Adina@Example.com").await;
        let (first, second) = (["dan", "ada", "cleo"], ["adam", "ben", "ann"]);
        let proven = |names: [&str; 3]| names.map(|name| format!("{name}@example.com")).to_vec();
        let last = vec!["Adina@Example.com".to_owned()];
        assert_eq!(pages(&operator, None, 3).await, [proven(first), proven(second), last.clone()]);
        assert_eq!(pages(&operator, None, 0).await, [[proven(first), proven(second), last].concat()]);
        for prefix in ["ad", "aD", "AD"] {
            let one_by_one = [["ada@example.com"], ["adam@example.com"], ["Adina@Example.com"]];
            assert_eq!(pages(&operator, Some(begins(prefix)), 1).await, one_by_one, "{prefix}");
        }
        assert_eq!(pages(&operator, Some(begins("ada@")), 0).await, [["ada@example.com"]]);
        assert_eq!(pages(&operator, Some(begins("adina@example.com")), 0).await, [["Adina@Example.com"]]);
        for nobodys in ["ad_", "a%", "~", "e"] {
            assert_eq!(pages(&operator, Some(begins(nobodys)), 0).await, [[""; 0]], "{nobodys}");
        }
        ann.client().users().delete_me(proto::DeleteMeRequest::default()).await.unwrap();
        let left = pages(&operator, None, 0).await.concat();
        assert!(left.len() == 6 && !left.contains(&ann.email), "{left:?}");
    }

    async fn operators_list_users_by_state_with_what_finding_one_gives(db: TestDb) {
        let world = World::start(&db).await;
        let operator = world.operator().await;
        let [dan, ada, ben, cleo] = joined(&world, ["Dan", "Ada", "Ben", "Cleo"]).await;
        for one in [Unproven, Suspended, Leaving] {
            assert_eq!(pages(&operator, Some(state(one)), 0).await, [[""; 0]], "{one:?}");
        }
        for address in ["zoe@example.com", "eve@example.com", "adele@example.com"] {
            world.sign_up(address).await;
            world.pass(1);
        }
        let unproven = [["zoe@example.com"], ["eve@example.com"], ["adele@example.com"]];
        assert_eq!(pages(&operator, Some(state(Unproven)), 1).await, unproven);
        // Suspended last is not listed last.
        for who in [&cleo, &ada, &dan] {
            suspend(&operator, who).await;
        }
        assert_eq!(pages(&operator, Some(state(Suspended)), 1).await, [[&*dan.email], [&*ada.email], [&*cleo.email]]);
        let free = proto::UnsuspendUserRequest { user_id: ada.user.clone(), request_id: String::new() };
        operator.users().unsuspend_user(free).await.unwrap();
        assert_eq!(pages(&operator, Some(state(Suspended)), 0).await, [[&*dan.email, &*cleo.email]]);
        for it in list(&operator, None, 0, "").await.unwrap().users {
            let by = it.user.as_ref().map(|user| By::UserId(user.id.clone()));
            let found = operator.users().find_user(proto::FindUserRequest { by }).await.unwrap().into_inner();
            assert_eq!((it.user, it.suspension, it.leaving_since), (found.user, found.suspension, None));
        }
        killed_in_between(&world, &ben).await;
        let leaving = list(&operator, Some(state(Leaving)), 0, "").await.unwrap().users;
        let [it] = leaving.as_slice() else { panic!("{leaving:?}") };
        let is = (it.user.as_ref().unwrap().id.as_str(), it.suspension.clone(), it.leaving_since);
        assert_eq!(is, (ben.user.as_str(), None, Some(to_timestamp(world.clock.now()))));
        assert!(pages(&operator, None, 0).await.concat().contains(&ben.email), "until the account has ended");
    }

    async fn operators_alone_list_users_and_only_by_what_there_is(db: TestDb) {
        let world = World::start(&db).await;
        let operator = world.operator().await;
        let [ada, _] = joined(&world, ["Ada", "Adam"]).await;
        let product = world.product(&operator).await;
        let wrong = world.anybody.with_token("nonsense");
        for (client, code, reason) in [
            (ada.client(), Code::PermissionDenied, "CALLER_NOT_ALLOWED"),
            (&product, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED"),
            (&world.anybody, Code::Unauthenticated, "TOKEN_MISSING"),
            (&wrong, Code::Unauthenticated, "TOKEN_INVALID"),
        ] {
            for query in [None, Some(begins("ada")), Some(state(Suspended))] {
                refused(list(client, query, 0, "").await, code, reason);
            }
        }
        let unknown = Some(Query::State(99));
        let long = "x".repeat(255);
        for (query, field) in [(Some(state(Unspecified)), "state"), (unknown, "state")]
            .into_iter()
            .chain(["", " ", "a b", "ä", "a\0", long.as_str()].map(|prefix| (Some(begins(prefix)), "email_prefix")))
        {
            let bad = refused(list(&operator, query.clone(), 0, "").await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, [field], "{query:?}");
        }
        let bad = refused(list(&operator, None, -1, "").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["page_size"]);
        // A token is of one list.
        let all = list(&operator, None, 1, "").await.unwrap().next_page_token;
        let beginning = list(&operator, Some(begins("ada")), 1, "").await.unwrap().next_page_token;
        list(&operator, None, 1, &all).await.expect("goes on");
        list(&operator, Some(begins("ADA")), 1, &beginning).await.expect("goes on");
        for (query, token) in [
            (Some(begins("ada")), all.as_str()),
            (Some(state(Suspended)), all.as_str()),
            (None, beginning.as_str()),
            (Some(begins("adam")), beginning.as_str()),
            (None, "AAAA"),
            (None, "made up"),
        ] {
            refused(list(&operator, query, 1, token).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        }
    }
}
