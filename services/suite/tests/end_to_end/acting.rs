//! Acting for somebody: only services do, and only with a token that proves the user.

use bursar_proto::billing::v1::{GetBalanceRequest, ListPlansRequest};
use bursar_proto::identity::v1::{DeleteMeRequest, GetJwksRequest, GetMeRequest, ListContextsRequest};
use bursar_proto::organization::v1::{CheckAccessRequest, ListOrganizationsRequest};
use bursar_testkit::{Client, Issuer, refused};
use bursar_time::{Clock, Span};
use tonic::{Code, Status};

use crate::support::{given, world::World};

/// What every service answers a caller, at RPCs for anybody, for users, and for services.
pub(crate) async fn everywhere(client: &Client, owner: &str) -> [(&'static str, Result<(), Status>); 7] {
    let access = CheckAccessRequest { organization_id: owner.to_owned(), user_id: owner.to_owned() };
    let balance = GetBalanceRequest { owner: owner.to_owned(), ..Default::default() };
    [
        ("GetJwks", client.keys().get_jwks(GetJwksRequest {}).await.map(drop)),
        ("ListPlans", client.catalog().list_plans(ListPlansRequest::default()).await.map(drop)),
        ("GetMe", client.users().get_me(GetMeRequest {}).await.map(drop)),
        ("ListContexts", client.contexts().list_contexts(ListContextsRequest::default()).await.map(drop)),
        (
            "ListOrganizations",
            client.organizations().list_organizations(ListOrganizationsRequest::default()).await.map(drop),
        ),
        ("GetBalance", client.accounts().get_balance(balance).await.map(drop)),
        ("CheckAccess", client.members().check_access(access).await.map(drop)),
    ]
}

pub(crate) async fn only_a_service_acts_for_a_user_in_every_service(world: World) {
    let team = world.team().assemble().await;
    let (ada, eve) = (&team.owner, world.person("Eve").await);
    let operator = world.operator().await;
    let user = ada.user.parse().expect("a user");
    let long_ago = Clock::system().now().saturating_sub(Span::HOUR);
    let tokens = [
        ("another user's", ada.tokens.access_token.clone()),
        ("an expired stranger's", Issuer::stranger().user(user).at(long_ago)),
        ("a stranger's", Issuer::stranger().user(user).at(Clock::system().now())),
        ("a refresh token", ada.tokens.refresh_token.clone()),
        ("garbage", "garbage".to_owned()),
        ("nothing", String::new()),
    ];
    for (case, token) in &tokens {
        for (rpc, outcome) in everywhere(&eve.client().for_user(token), &team.id).await {
            let refusal = refused(outcome, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
            assert_eq!(refusal.metadata["header"], "bursar-user-authorization", "{case} at {rpc}");
        }
        for (_, outcome) in everywhere(&world.anybody().for_user(token), &team.id).await {
            refused(outcome, Code::Unauthenticated, "TOKEN_MISSING");
        }
        let is_good = token == &ada.tokens.access_token;
        for (rpc, outcome) in everywhere(&operator.for_user(token), &team.id).await {
            if is_good {
                if rpc != "CheckAccess" {
                    outcome.unwrap_or_else(|status| panic!("{case} at {rpc}: {status:?}"));
                }
            } else {
                // Whoever signed it, one that is over is to be replaced.
                let is_over = *case == "an expired stranger's";
                refused(outcome, Code::Unauthenticated, if is_over { "TOKEN_EXPIRED" } else { "TOKEN_INVALID" });
            }
        }
    }
}

pub(crate) async fn an_owner_cannot_leave_in_the_name_of_somebody_who_owns_nothing(world: World) {
    let team = world.team().assemble().await;
    let nobody = world.person("Nobody").await;
    let disguised = team.owner.client().for_user(&nobody.tokens.access_token);
    let answer = disguised.users().delete_me(DeleteMeRequest::default()).await;
    refused(answer, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    // A service that owns the disguise deletes whom it names, and nobody else.
    let answer = team.owner.client().users().delete_me(DeleteMeRequest::default()).await;
    let refusal = refused(answer, Code::FailedPrecondition, "OWNS_ORGANIZATIONS");
    assert_eq!(refusal.metadata["organization_ids"], team.id);
    given(team.owner.client().users().get_me(GetMeRequest {}).await);
    given(nobody.client().users().get_me(GetMeRequest {}).await);
}
