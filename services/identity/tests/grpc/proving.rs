//! Kind H: whoever proves an address owns it.

use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{WatchRequest, watch_response::Item};
use bursar_proto::identity::v1::{GetMeRequest, RequestEmailVerificationRequest, SignUpRequest, VerifyEmailRequest};
use bursar_testkit::{PASSWORD, refused};
use tonic::{Code, Response, Status};

use crate::world::{World, becomes, claims};

const EMAIL: &str = "ada@example.com";
const SQUATTERS: &str = "the squatter's own password";

async fn sign_up(world: &World, password: &str, name: &str) -> String {
    let request =
        SignUpRequest { email: EMAIL.to_owned(), password: password.to_owned(), display_name: name.to_owned() };
    // Mail of one instant has no order.
    world.pass(1);
    world.anybody.users().sign_up(request).await.unwrap();
    world.mailbox.next_token(EMAIL).await
}

async fn verify(world: &World, token: &str) -> Result<(), Status> {
    let request = VerifyEmailRequest { token: token.to_owned() };
    world.anybody.users().verify_email(request).await.map(|_: Response<_>| ())
}

async fn name(world: &World, password: &str) -> String {
    let tokens = world.sign_in(EMAIL, password).await.unwrap().into_inner().tokens.unwrap();
    assert_eq!(claims(&tokens.access_token)["email_verified"], true);
    let client = world.anybody.with_token(&tokens.access_token);
    client.users().get_me(GetMeRequest {}).await.unwrap().into_inner().user.unwrap().display_name
}

bursar_testkit::engines! {
    async fn who_signed_up_first_without_proving_is_left_with_nothing(db: TestDb) {
        let world = World::start(&db).await;
        let squatters = sign_up(&world, SQUATTERS, "Eve").await;
        let session = world.sign_in(EMAIL, SQUATTERS).await.unwrap().into_inner().tokens.unwrap();
        assert_eq!(claims(&session.access_token)["email_verified"], false);
        let holders = sign_up(&world, PASSWORD, "Ada").await;
        verify(&world, &holders).await.unwrap();
        assert_eq!(name(&world, PASSWORD).await, "Ada");
        refused(world.sign_in(EMAIL, SQUATTERS).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        refused(world.refresh(&session.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        let client = world.anybody.with_token(&session.access_token);
        refused(client.users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "SESSION_ENDED");
        refused(verify(&world, &squatters).await, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
        verify(&world, &holders).await.expect("a second click");
    }

    async fn who_signs_up_later_without_proving_gets_nothing(db: TestDb) {
        let world = World::start(&db).await;
        let holders = sign_up(&world, PASSWORD, "Ada").await;
        let squatters = sign_up(&world, SQUATTERS, "Eve").await;
        refused(world.sign_in(EMAIL, SQUATTERS).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        verify(&world, &holders).await.expect("the later sign-up replaced nothing");
        assert_eq!(name(&world, PASSWORD).await, "Ada");
        refused(world.sign_in(EMAIL, SQUATTERS).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        refused(verify(&world, &squatters).await, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
        assert_eq!(name(&world, PASSWORD).await, "Ada");
    }

    async fn a_new_link_is_never_for_somebody_elses_password(db: TestDb) {
        let world = World::start(&db).await;
        sign_up(&world, SQUATTERS, "Eve").await;
        let holders = sign_up(&world, PASSWORD, "Ada").await;
        world.pass(1);
        let request = RequestEmailVerificationRequest { email: EMAIL.to_owned() };
        world.anybody.users().request_email_verification(request).await.unwrap();
        let mail = world.mailbox.next(EMAIL).await;
        assert!(mail.subject == "Sign up again" && !mail.text.contains("token="), "{mail:?}");
        verify(&world, &holders).await.expect("what was mailed before goes on working");
        assert_eq!(name(&world, PASSWORD).await, "Ada");
    }

    async fn an_account_that_nobody_proves_perishes(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.sign_up("eve@example.com").await;
        let tokens = world.sign_in("eve@example.com", PASSWORD).await.unwrap().into_inner().tokens.unwrap();
        let eve = tokens.owner.clone();
        world.pass(7 * 24 * 3600 - 60);
        let token = world.refresh(&tokens.refresh_token).await.unwrap().refresh_token;
        let gone = || async {
            world.pass(3600);
            world.refresh(&token).await.map(|_| ()).map_err(|status| status.code())
        };
        world.pass(60);
        // Whatever a refresh makes of the token within its grace: the account is gone in the end.
        becomes(Err(Code::Unauthenticated), gone).await;
        let told = async {
            let types = vec!["user.deleted".to_owned()];
            let operator = world.operator().await;
            let stream = operator.identity_events().watch(WatchRequest { types, ..WatchRequest::default() }).await;
            let mut stream = stream.unwrap().into_inner();
            loop {
                if let Some(Item::Event(event)) = stream.message().await.unwrap().unwrap().item {
                    break event.payload;
                }
            }
        };
        let told = tokio::time::timeout(std::time::Duration::from_secs(30), told).await.expect("it is told");
        assert!(matches!(told, Some(Payload::UserDeleted(gone)) if gone.user_id == eve));
        refused(world.sign_in("eve@example.com", PASSWORD).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        world.sign_in(&ada.email, PASSWORD).await.expect("who has proven stays");
    }
}
