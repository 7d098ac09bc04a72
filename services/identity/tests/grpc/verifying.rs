//! Confirming an address.

use bursar_proto::identity::v1::{RequestEmailVerificationRequest, VerifyEmailRequest};
use bursar_testkit::{PASSWORD, audited, refused};
use tokio::task::JoinSet;
use tonic::{Code, Response, Status};

use crate::world::{World, claims};

async fn verify(world: &World, token: &str) -> Result<(), Status> {
    let request = VerifyEmailRequest { token: token.to_owned() };
    world.anybody.users().verify_email(request).await.map(|_: Response<_>| ())
}

async fn ask(world: &World, email: &str) -> Result<(), Status> {
    let request = RequestEmailVerificationRequest { email: email.to_owned() };
    world.anybody.users().request_email_verification(request).await.map(|_: Response<_>| ())
}

bursar_testkit::engines! {
    async fn a_token_proves_its_address_once(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let before = world.sign_in("ada@example.com", PASSWORD).await.unwrap().into_inner().tokens.unwrap();
        assert_eq!(claims(&before.access_token)["email_verified"], false);
        let token = world.mailbox.next_token("ada@example.com").await;
        verify(&world, &token).await.unwrap();
        verify(&world, &token).await.expect("the same answer again");
        refused(world.refresh(&before.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        let after = world.sign_in("ada@example.com", PASSWORD).await.unwrap().into_inner().tokens.unwrap();
        assert_eq!(claims(&after.access_token)["email_verified"], true);
        assert_eq!(claims(&after.access_token)["email"], "ada@example.com");
    }

    async fn of_many_who_use_one_token_all_get_one_answer(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let token = world.mailbox.next_token("ada@example.com").await;
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let (anybody, token) = (world.anybody.clone(), token.clone());
            tasks.spawn(async move { anybody.users().verify_email(VerifyEmailRequest { token }).await.is_ok() });
        }
        let succeeded = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
        assert_eq!(succeeded, 16);
        let verified = audited(&world.db).await.iter().filter(|row| row.method.ends_with("/VerifyEmail")).count();
        assert_eq!(verified, 1, "it took effect once");
    }

    async fn a_bad_token_proves_nothing(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let token = world.mailbox.next_token("ada@example.com").await;
        let other = "A".repeat(43);
        for bad in ["", "x", other.as_str(), &token[1..], &format!("{token}A"), &token.to_lowercase()] {
            refused(verify(&world, bad).await, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
        }
        world.pass(24 * 3600);
        refused(verify(&world, &token).await, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
    }

    async fn a_new_mail_replaces_the_one_before(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let old = world.mailbox.next_token("ada@example.com").await;
        world.pass(1);
        ask(&world, "ADA@example.com").await.unwrap();
        let new = world.mailbox.next_token("ada@example.com").await;
        refused(verify(&world, &old).await, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
        verify(&world, &new).await.unwrap();
    }

    async fn asking_for_a_mail_tells_nothing(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        ask(&world, &ada.email).await.expect("verified already");
        ask(&world, "nobody@example.com").await.expect("unknown");
        // A later mail to somebody else was queued after these would have been.
        world.sign_up("bob@example.com").await;
        world.mailbox.next("bob@example.com").await;
        assert_eq!(world.mailbox.to(&ada.email).len(), 1, "only the first one");
        assert!(world.mailbox.to("nobody@example.com").is_empty());
        assert_eq!(refused(ask(&world, "nobody").await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["email"]);
        for _ in 0..4 {
            ask(&world, "nobody@example.com").await.unwrap();
        }
        refused(ask(&world, "nobody@example.com").await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    }
}
