//! Signing in: who gets in, and that nobody learns who has an account.

use bursar_proto::identity::v1::SignInRequest;
use bursar_testkit::{PASSWORD, refused};
use tokio::task::JoinSet;
use tonic::{Code, Request};

use crate::world::{World, claims, credentials, from_address, sign_up};

/// A sign-in that seems to come from a network address.
fn from(address: &str, email: &str, password: &str) -> Request<SignInRequest> {
    from_address(address, credentials(email, password))
}

bursar_testkit::engines! {
    async fn who_signs_in_acts_personally(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let claims = claims(&ada.tokens.access_token);
        assert_eq!(claims["sub"], ada.user);
        assert_eq!(claims["ctx"], ada.user);
        assert_eq!(claims["sid"], ada.tokens.session_id);
        assert_eq!(claims["mv"], 0);
        assert!(claims.get("role").is_none(), "{claims}");
        assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some("bursar"), Some("bursar")));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        assert_eq!(ada.tokens.owner, ada.user);
    }

    async fn a_stranger_cannot_tell_a_wrong_password_from_an_unknown_address(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let wrong = ["not the password".to_owned(), "short".to_owned(), "x".repeat(500)];
        for password in wrong {
            let known = world.sign_in("ada@example.com", &password).await;
            let unknown = world.sign_in("nobody@example.com", &password).await;
            let known = refused(known, Code::Unauthenticated, "CREDENTIALS_INVALID");
            assert_eq!(known, refused(unknown, Code::Unauthenticated, "CREDENTIALS_INVALID"));
        }
        let refusal = refused(world.sign_in("nobody", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(refusal.fields, ["email", "password"]);
    }

    async fn wrong_passwords_close_an_account_for_a_while_known_or_not(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        for email in ["ada@example.com", "nobody@example.com"] {
            for _ in 0..10 {
                refused(world.sign_in(email, "a wrong one").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
            }
            let refusal = refused(world.sign_in(email, PASSWORD).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
            assert!(refusal.retryable, "says when to try again");
        }
        world.pass(60);
        world.sign_in("ada@example.com", PASSWORD).await.unwrap();
        // Who succeeds gets the attempt back.
        for _ in 0..5 {
            world.sign_in("ada@example.com", PASSWORD).await.unwrap();
        }
        refused(world.sign_in("ada@example.com", "a wrong one").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        refused(world.sign_in("ada@example.com", PASSWORD).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    }

    async fn a_hundred_guesses_at_once_are_no_more_than_in_a_row(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let anybody = world.anybody.clone();
            let request = credentials("ada@example.com", "a guess");
            tasks.spawn(async move { anybody.sessions().sign_in(request).await.unwrap_err().code() });
        }
        let codes = tasks.join_all().await;
        let looked_at = codes.iter().filter(|code| **code == Code::Unauthenticated).count();
        let throttled = codes.iter().filter(|code| **code == Code::ResourceExhausted).count();
        assert_eq!((looked_at, throttled), (10, 54), "{codes:?}");
    }

    async fn who_could_not_be_checked_has_not_tried(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let busy = world.replica_with(|config| config.waiting_hashes = 0).await;
        // More than one account, and than one network address, may try.
        for _ in 0..101 {
            let answer = busy.sessions().sign_in(credentials("ada@example.com", "a guess")).await;
            refused(answer, Code::ResourceExhausted, "OVERLOADED");
        }
        // The password is right, and the store fails behind the check: more often than it may be wrong.
        alter(&world, "ALTER TABLE refresh_tokens RENAME TO hidden").await;
        for _ in 0..12 {
            let answer = world.sign_in("ada@example.com", PASSWORD).await;
            refused(answer, Code::Internal, "INTERNAL");
        }
        alter(&world, "ALTER TABLE hidden RENAME TO refresh_tokens").await;
        // The account is leaving: neither is that a wrong password.
        alter(&world, "UPDATE users SET leaving_since = 1").await;
        for _ in 0..12 {
            let answer = world.sign_in("ada@example.com", PASSWORD).await;
            refused(answer, Code::Unavailable, "ACCOUNT_LEAVING");
        }
        alter(&world, "UPDATE users SET leaving_since = NULL").await;
        world.sign_in("ada@example.com", PASSWORD).await.expect("nobody has tried");
        // More mails than one address gets.
        for _ in 0..6 {
            let answer = busy.users().sign_up(sign_up("new@example.com")).await;
            refused(answer, Code::ResourceExhausted, "OVERLOADED");
        }
        world.sign_up("new@example.com").await;
    }

    async fn one_network_address_cannot_try_many_accounts(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let mut sessions = world.anybody.sessions();
        for n in 0..100 {
            let email = format!("user{}@example.com", n % 50);
            let answer = sessions.sign_in(from("192.0.2.1", &email, "short")).await;
            refused(answer, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        let closed = sessions.sign_in(from("192.0.2.1", "ada@example.com", PASSWORD)).await;
        refused(closed, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        sessions.sign_in(from("192.0.2.2", "ada@example.com", PASSWORD)).await.expect("another address");
        world.pass(3);
        sessions.sign_in(from("192.0.2.1", "ada@example.com", PASSWORD)).await.expect("one has drained");
    }
}

/// Changes the store behind the service's back.
async fn alter(world: &World, statement: &'static str) {
    let changing = async {
        let mut tx = world.db.begin().await?;
        bursar_db::on!(&mut tx, c => sqlx::query(statement).execute(c).await?.rows_affected());
        tx.commit().await
    };
    changing.await.unwrap();
}
