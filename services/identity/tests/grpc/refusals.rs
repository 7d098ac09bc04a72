//! The order of refusals, which is the same for every mutating RPC: standing, what was asked, its request id, state.

use bursar_proto::identity::v1 as proto;
use bursar_testkit::{Client, Person, Refusal, audited, refused};
use tonic::{Code, Status};

use crate::world::World;

/// The mutating RPCs that take a request id.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rpc {
    UpdateMe,
    RevokeSession,
    DeleteMe,
    CreateServiceAccount,
    RotateServiceAccountSecret,
    DisableServiceAccount,
    SuspendUser,
    UnsuspendUser,
    IssueUserToken,
}

use Rpc::*;

/// What is sent.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    /// Something that is allowed.
    Good,
    /// Something else that is well-formed.
    Other,
    /// Something with a bad field.
    Bad,
}

/// What the calls are about.
struct Targets {
    session: String,
    account: String,
    user: String,
}

async fn call(who: &Client, rpc: Rpc, targets: &Targets, body: Body, request_id: &str) -> Result<(), Status> {
    // A control character is a bad request id, whatever else is right.
    let request_id = if body == Body::Bad { "\n" } else { request_id }.to_owned();
    let name = if body == Body::Other { "Other" } else { "Good" }.to_owned();
    let nothing = bursar_testkit::id::<bursar_id::kinds::Session>(9).to_string();
    let nobody = bursar_testkit::id::<bursar_id::kinds::ServiceAccount>(9).to_string();
    let stranger = bursar_testkit::id::<bursar_id::kinds::User>(9).to_string();
    let user_id = if body == Body::Other { stranger } else { targets.user.clone() };
    let service_account_id = if body == Body::Other { nobody } else { targets.account.clone() };
    match rpc {
        UpdateMe => {
            let request = proto::UpdateMeRequest { display_name: name, request_id, ..Default::default() };
            who.users().update_me(request).await.map(drop)
        }
        RevokeSession => {
            let session_id = if body == Body::Other { nothing } else { targets.session.clone() };
            who.sessions().revoke_session(proto::RevokeSessionRequest { session_id, request_id }).await.map(drop)
        }
        DeleteMe => who.users().delete_me(proto::DeleteMeRequest { request_id }).await.map(drop),
        CreateServiceAccount => {
            let role = "product".to_owned();
            let request = proto::CreateServiceAccountRequest { display_name: name, role, request_id };
            who.service_accounts().create_service_account(request).await.map(drop)
        }
        RotateServiceAccountSecret => {
            let request = proto::RotateServiceAccountSecretRequest { service_account_id, request_id };
            who.service_accounts().rotate_service_account_secret(request).await.map(drop)
        }
        DisableServiceAccount => {
            let request = proto::DisableServiceAccountRequest { service_account_id, request_id };
            who.service_accounts().disable_service_account(request).await.map(drop)
        }
        SuspendUser => {
            let request = proto::SuspendUserRequest { user_id, request_id, ..Default::default() };
            who.users().suspend_user(request).await.map(drop)
        }
        UnsuspendUser => {
            who.users().unsuspend_user(proto::UnsuspendUserRequest { user_id, request_id }).await.map(drop)
        }
        IssueUserToken => {
            let request = proto::IssueUserTokenRequest { user_id, request_id, ..Default::default() };
            who.users().issue_user_token(request).await.map(drop)
        }
    }
}

#[track_caller]
fn is(rpc: Rpc, what: &str, outcome: Result<(), Status>, expected: &str) {
    let reason = outcome.map_or_else(|status| Refusal::of(&status).reason, |()| "OK".to_owned());
    assert_eq!(reason, expected, "{rpc:?}: {what}");
}

/// An RPC with what another body meets under an id of its own; `None` where there is no other body.
const TABLE: [(Rpc, Option<&str>); 9] = [
    (UpdateMe, Some("OK")),
    (RevokeSession, Some("NOT_FOUND")),
    (DeleteMe, None),
    (CreateServiceAccount, Some("OK")),
    (RotateServiceAccountSecret, Some("NOT_FOUND")),
    (DisableServiceAccount, Some("NOT_FOUND")),
    (SuspendUser, Some("NOT_FOUND")),
    (UnsuspendUser, Some("NOT_FOUND")),
    (IssueUserToken, Some("NOT_FOUND")),
];

/// The RPC's caller: a person, or the operator.
fn is_personal(rpc: Rpc) -> bool {
    matches!(rpc, UpdateMe | RevokeSession | DeleteMe)
}

bursar_testkit::engines! {
    async fn the_order_of_refusals_is_the_same_everywhere(db: TestDb) {
        let world = World::start(&db).await;
        let operator = world.operator().await;
        let made = proto::CreateServiceAccountRequest { display_name: "Farm".to_owned(), role: "product".to_owned(), ..Default::default() };
        let made = operator.service_accounts().create_service_account(made).await.unwrap().into_inner();
        for (at, (rpc, other)) in TABLE.into_iter().enumerate() {
            let name = format!("p{at}");
            let person = world.join(&name).await;
            let second = Person::sign_in(&world.anybody, &person.email).await;
            let targets = Targets { session: second.tokens.session_id.clone(), account: made.client_id.clone(), user: person.user.clone() };
            let who = if is_personal(rpc) { person.client() } else { &operator };
            let r = format!("r{at}");

            is(rpc, "nobody's bad field", call(&world.anybody, rpc, &targets, Body::Bad, &r).await, "TOKEN_MISSING");
            is(rpc, "a bad field", call(who, rpc, &targets, Body::Bad, &r).await, "INVALID_FIELDS");
            if let Some(state) = other.filter(|state| *state != "OK") {
                is(rpc, "a state", call(who, rpc, &targets, Body::Other, &r).await, state);
            }
            is(rpc, "an id that a refusal did not burn", call(who, rpc, &targets, Body::Good, &r).await, "OK");
            if rpc == DeleteMe {
                is(rpc, "a repetition by who is gone", call(who, rpc, &targets, Body::Good, &r).await, "SESSION_ENDED");
                continue;
            }
            is(rpc, "a repetition", call(who, rpc, &targets, Body::Good, &r).await, "OK");
            if let Some(state) = other {
                is(rpc, "an id for another body", call(who, rpc, &targets, Body::Other, &r).await, "REQUEST_ID_REUSED");
                is(rpc, "another body", call(who, rpc, &targets, Body::Other, &format!("s{at}")).await, state);
            }
            if is_personal(rpc) {
                who.sessions().sign_out(proto::SignOutRequest {}).await.unwrap();
                is(rpc, "a bad field after signing out", call(who, rpc, &targets, Body::Bad, &r).await, "SESSION_ENDED");
                is(rpc, "a repetition after signing out", call(who, rpc, &targets, Body::Good, &r).await, "SESSION_ENDED");
            }
        }
    }

    async fn a_session_that_has_ended_switches_nowhere_whatever_it_asks(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let switch = async |owner: &str| {
            let request = proto::SwitchContextRequest { owner: owner.to_owned() };
            ada.client().contexts().switch_context(request).await
        };
        refused(switch("nowhere").await, Code::InvalidArgument, "INVALID_FIELDS");
        ada.client().sessions().sign_out(proto::SignOutRequest {}).await.unwrap();
        refused(switch("nowhere").await, Code::Unauthenticated, "SESSION_ENDED");
    }

    async fn a_secret_is_shown_once(db: TestDb) {
        let world = World::start(&db).await;
        let operator = world.operator().await;
        let mut accounts = operator.service_accounts();
        let create = proto::CreateServiceAccountRequest {
            display_name: "Farm".to_owned(),
            role: "product".to_owned(),
            request_id: "c1".to_owned(),
        };
        let made = accounts.create_service_account(create.clone()).await.unwrap().into_inner();
        let again = accounts.create_service_account(create).await.unwrap().into_inner();
        assert_ne!(made.client_secret, "");
        assert_eq!(again, proto::CreateServiceAccountResponse { client_secret: String::new(), ..made.clone() });
        let rotate = proto::RotateServiceAccountSecretRequest {
            service_account_id: made.client_id.clone(),
            request_id: "c2".to_owned(),
        };
        let next = accounts.rotate_service_account_secret(rotate.clone()).await.unwrap().into_inner();
        let again = accounts.rotate_service_account_secret(rotate).await.unwrap().into_inner();
        assert!(next.client_secret != made.client_secret && again.client_secret.is_empty(), "{again:?}");
        let request = proto::IssueServiceTokenRequest { client_id: next.client_id, client_secret: next.client_secret };
        world.anybody.service_accounts().issue_service_token(request).await.expect("the repetition changed nothing");
        assert_eq!(audited(&world.db).await.len(), 2, "two calls took effect");
    }
}
