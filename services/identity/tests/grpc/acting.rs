//! Operators act for users: with tokens that say so, for minutes, and not for everything.

use bursar_id::{Role, ServiceAccountId};
use bursar_members::Standing;
use bursar_proto::identity::v1 as proto;
use bursar_proto::identity::v1::{GetMeRequest, ListContextsRequest, SwitchContextRequest};
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{Client, Person, audited, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::organization::org;
use crate::world::{World, becomes, claims, user};

fn for_user(person: &Person, owner: &str, request_id: &str) -> proto::IssueUserTokenRequest {
    proto::IssueUserTokenRequest {
        user_id: person.user.clone(),
        owner: owner.to_owned(),
        reason: "ticket 7".to_owned(),
        request_id: request_id.to_owned(),
    }
}

async fn issued(
    operator: &Client,
    request: proto::IssueUserTokenRequest,
) -> Result<proto::IssueUserTokenResponse, Status> {
    Ok(operator.users().issue_user_token(request).await?.into_inner())
}

bursar_testkit::engines! {
    async fn an_operator_acts_for_a_user_under_both_names_and_keeps_off_what_is_the_users_own(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, operator) = (world.join("Ada").await, world.operator().await);
        let answer = issued(&operator, for_user(&ada, "", "t1")).await.unwrap();
        let said = claims(&answer.access_token);
        let account = ServiceAccountId::OPERATOR.to_string();
        assert_eq!((said["sub"].as_str(), said["act"]["sub"].as_str()), (Some(ada.user.as_str()), Some(account.as_str())));
        assert_eq!((said["ctx"].as_str(), said.get("role"), said.get("auth_time"), said.get("bid")), (Some(ada.user.as_str()), None, None, None));
        let most = world.clock.now().saturating_add(Span::from_mins(5));
        assert!(answer.expires_at.unwrap().seconds <= to_timestamp(most).seconds, "{answer:?}");

        let acting = world.anybody.with_token(&answer.access_token);
        assert_eq!(acting.users().get_me(GetMeRequest {}).await.unwrap().into_inner().user.unwrap().id, ada.user);
        let contexts = acting.contexts().list_contexts(ListContextsRequest::default()).await.unwrap().into_inner().contexts;
        assert!(contexts[0].current && contexts[0].owner == ada.user, "{contexts:?}");
        let own = [
            acting.users().update_me(proto::UpdateMeRequest::default()).await.map(drop),
            acting.users().delete_me(proto::DeleteMeRequest::default()).await.map(drop),
            acting.sessions().list_sessions(proto::ListSessionsRequest::default()).await.map(drop),
            acting.sessions().sign_out(proto::SignOutRequest {}).await.map(drop),
            acting.sessions().revoke_session(proto::RevokeSessionRequest::default()).await.map(drop),
            acting.contexts().switch_context(SwitchContextRequest { owner: ada.user.clone() }).await.map(drop),
        ];
        for outcome in own {
            refused(outcome, Code::PermissionDenied, "ACTING_NOT_ALLOWED");
        }
        // The token is shown once.
        let again = issued(&operator, for_user(&ada, "", "t1")).await.unwrap();
        assert_eq!(again, proto::IssueUserTokenResponse { access_token: String::new(), ..answer.clone() });
        let row = audited(&world.db).await.into_iter().filter(|row| row.method.ends_with("IssueUserToken")).collect::<Vec<_>>();
        let [row] = &row[..] else { panic!("one row: {row:#?}") };
        assert_eq!((&row.actor, row.on_behalf_of.as_ref()), (&account, Some(&ada.user)));
        assert_eq!((row.owner.map(|owner| owner.to_string()), row.target.as_ref()), (Some(ada.user.clone()), Some(&ada.user)));
        world.pass(300);
        refused(acting.users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "TOKEN_EXPIRED");
    }

    async fn an_operator_acts_in_organizations_that_the_user_belongs_to_with_the_users_role(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben, operator) = (world.join("Ada").await, world.join("Ben").await, world.operator().await);
        let acme = org(1).to_string();
        world.organization.change(org(1), user(&ada), Some(Role::Admin)).await;
        let answer = issued(&operator, for_user(&ada, &acme, "")).await.unwrap();
        let said = claims(&answer.access_token);
        assert_eq!((said["ctx"].as_str(), said["role"].as_str(), said["mv"].as_u64()), (Some(acme.as_str()), Some("ADMIN"), Some(1)));
        let rows = audited(&world.db).await;
        let row = rows.iter().find(|row| row.method.ends_with("IssueUserToken")).unwrap();
        assert_eq!((row.owner.map(|owner| owner.to_string()), row.on_behalf_of.as_ref()), (Some(acme.clone()), Some(&ada.user)), "its managers see it");

        refused(issued(&operator, for_user(&ben, &acme, "")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(issued(&operator, for_user(&ada, &org(404).to_string(), "")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        for owner in [ben.user.as_str(), "org_1", "all"] {
            let bad = refused(issued(&operator, for_user(&ada, owner, "")).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["owner"], "{owner}");
        }
        let bad = proto::IssueUserTokenRequest { user_id: "usr_1".to_owned(), reason: "\0".to_owned(), ..for_user(&ada, "", "\n") };
        let bad = refused(issued(&operator, bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["reason", "request_id", "user_id"]);
        let mut nobody = for_user(&ada, "", "");
        nobody.user_id = bursar_testkit::id::<bursar_id::kinds::User>(404).to_string();
        refused(issued(&operator, nobody).await, Code::NotFound, "NOT_FOUND");
        refused(issued(ada.client(), for_user(&ada, "", "")).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(issued(&world.anybody, for_user(&ada, "", "")).await, Code::Unauthenticated, "TOKEN_MISSING");

        world.organization.stand(org(1), Standing::Deleted, 1).await;
        becomes("ORGANIZATION_DELETED".to_owned(), || async {
            issued(&operator, for_user(&ada, &acme, "")).await.map_or_else(|it| bursar_testkit::Refusal::of(&it).reason, |_| String::new())
        })
        .await;
        world.organization.set_away(true);
        refused(issued(&operator, for_user(&ben, &org(2).to_string(), "")).await, Code::Unavailable, "PEER_UNAVAILABLE");
        let suspend = proto::SuspendUserRequest { user_id: ada.user.clone(), ..Default::default() };
        operator.users().suspend_user(suspend).await.unwrap();
        refused(issued(&operator, for_user(&ada, "", "")).await, Code::PermissionDenied, "USER_SUSPENDED");
    }
}
