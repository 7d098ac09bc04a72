//! The test issuer's tokens are believed by whoever has its keys, and by nobody else.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_rpc::{Caller, ServiceRole, reason, token::Verifier};
use bursar_testkit::{Issuer, START, at, id, refused};
use bursar_time::Span;
use tonic::{Code, Status};

fn verifier() -> Verifier {
    Verifier::new(Issuer::new().keys(), 16)
}

#[tokio::test]
async fn a_user_is_who_the_test_says() {
    let (user, organization): (UserId, OrganizationId) = (id(1), id(2));
    let now = at(START);
    let token = Issuer::new().member(user, organization, Role::Admin).version(7).email("a@b.org").unverified().at(now);
    let caller = verifier().verify(&token, now).await.expect("the verifier has the key");
    let Caller::User(caller) = caller else { panic!("a user, not {caller:?}") };
    assert_eq!((caller.user, caller.context), (user, OwnerId::Organization(organization)));
    assert_eq!((caller.role, caller.membership_version), (Some(Role::Admin), 7));
    assert_eq!((&*caller.email, caller.email_verified), ("a@b.org", false));

    let token = Issuer::new().user(user).session(id(9)).at(now);
    let caller = verifier().verify(&token, now).await.expect("the verifier has the key");
    let Caller::User(caller) = caller else { panic!("a user, not {caller:?}") };
    assert_eq!((caller.context, caller.role, caller.session), (OwnerId::User(user), None, id(9)));
    assert!(caller.email_verified, "verified unless the test says otherwise");
}

#[tokio::test]
async fn a_service_has_its_role() {
    for role in ServiceRole::ALL {
        let token = Issuer::new().service(role, at(START));
        let caller = verifier().verify(&token, at(START)).await.expect("the verifier has the key");
        assert_eq!(caller.service().map(|service| service.role), Some(role));
    }
}

#[tokio::test]
async fn strangers_and_late_comers_are_refused() {
    let now = at(START);
    let life = Span::from_secs(30);
    let cases = [
        (Issuer::stranger().user(id(1)).at(now), now, reason::TOKEN_INVALID),
        (Issuer::new().user(id(1)).lasting(life).at(now), now.saturating_add(life), reason::TOKEN_EXPIRED),
    ];
    for (token, when, reason) in cases {
        let outcome = verifier().verify(&token, when).await.map_err(Status::from);
        refused(outcome, Code::Unauthenticated, reason);
    }
}
