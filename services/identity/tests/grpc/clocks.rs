//! Clocks that are wrong (kind K): a replica that has one lets nobody in, refuses nobody for it and makes no key, and says so.

use bursar_db::{DbError, on};
use bursar_identity::domain::service_account::SECRET_OVERLAP;
use bursar_identity::store::service_accounts;
use bursar_proto::identity::v1::{
    GetJwksRequest, IssueServiceTokenRequest, ListSessionsRequest, RefreshRequest, UpdateMeRequest, VerifyEmailRequest,
};
use bursar_runtime::Service;
use bursar_secret::{Entropy, Token};
use bursar_testkit::clocks::{APART, YEARS_APART, undecided, wrong_by};
use bursar_testkit::{Client, Operator, PASSWORD, Person, TestDb, refused};
use bursar_time::{BELIEVED_AHEAD, Clock, Span};
use prost_types::FieldMask;
use tonic::Code;

use crate::world::{World, becomes, credentials, sign_up};

/// Everything that decides something by the time.
async fn assert_decides_nothing(world: &World, replica: &Client, ada: &Person) {
    let signing_in = replica.sessions().sign_in(credentials(&ada.email, PASSWORD)).await;
    undecided("signing in", signing_in);
    let wrong = replica.sessions().sign_in(credentials(&ada.email, "a wrong one")).await;
    undecided("guessing", wrong);
    undecided("signing up", replica.users().sign_up(sign_up("ben@example.com")).await);
    let refresh = RefreshRequest { refresh_token: ada.tokens.refresh_token.clone() };
    undecided("refreshing", replica.sessions().refresh(refresh).await);
    let operator = Operator::of(&world.settings.data_dir);
    let credentials = IssueServiceTokenRequest {
        client_id: operator.client_id.clone(),
        client_secret: operator.client_secret.clone(),
    };
    undecided("a service's token", replica.service_accounts().issue_service_token(credentials).await);
}

/// The keys that are published, the newest first.
async fn keys(at: &Client) -> Vec<String> {
    let published = at.keys().get_jwks(GetJwksRequest {}).await.unwrap().into_inner();
    published.keys.into_iter().map(|key| key.kid).collect()
}

/// Ends as a clock writes them that is so far ahead.
async fn put_off(world: &World, statement: &'static str, by: Span) {
    let write = async {
        let mut tx = world.db.begin().await?;
        let done = on!(&mut tx, c => sqlx::query(statement).bind(by.as_micros()).execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok::<_, DbError>(done)
    };
    assert!(write.await.unwrap() > 0, "{statement}");
}

/// SQLite has no clock but this machine's.
#[test]
fn a_replica_whose_clock_differs_from_the_databases_lets_nobody_in_and_is_not_ready() {
    bursar_testkit::postgres::run(async |db: TestDb| {
        let world = World::start_by(&db, Clock::system(), |_| ()).await;
        let (ada, before) = (world.join("Ada").await, keys(&world.anybody).await);
        for (by, side) in [(APART, "ahead of"), (-APART, "behind"), (YEARS_APART, "ahead of")] {
            let wrong = wrong_by(by);
            let (replica, ready) = world.replica_by(wrong.clone()).await;
            let problem = format!("{:#}", ready.check().await.expect_err("not ready"));
            assert!(problem.contains(side), "{by}: {problem}");
            assert_decides_nothing(&world, &replica, &ada).await;
            if by == APART {
                // The token is good by either clock.
                let rename = UpdateMeRequest {
                    display_name: "Somebody else".to_owned(),
                    update_mask: Some(FieldMask { paths: vec!["display_name".to_owned()] }),
                    ..UpdateMeRequest::default()
                };
                let client = replica.with_token(&ada.tokens.access_token);
                undecided("a change", client.users().update_me(rename).await);
            }
            assert_eq!(keys(&replica).await, before, "{by}: no key is made or taken away");
            wrong.skew(0);
            wrong.follow_system();
            becomes(true, || async { ready.check().await.is_ok() }).await;
            replica.sessions().sign_in(credentials(&ada.email, PASSWORD)).await.expect("lets in again");
        }
        assert_eq!(keys(&world.replica().await).await, before, "they are those of the store, too");
        // Nothing was counted, and nothing has ended.
        world.refresh(&ada.tokens.refresh_token).await.expect("the session lives");
    });
}

/// A service starts by a wrong clock, and takes what its files say.
#[test]
fn a_secret_that_is_taken_by_a_wrong_clock_ends_the_one_before_after_its_overlap() {
    bursar_testkit::postgres::run(async |db: TestDb| {
        let world = World::start_by(&db, Clock::system(), |_| ()).await;
        let secret = Token::generate(&Entropy::system()).to_text();
        std::fs::write(&world.settings.service_secrets[Service::Billing], secret.expose()).unwrap();
        world.replica_by(wrong_by(YEARS_APART)).await;
        let mut tx = world.db.read().await.unwrap();
        let account = service_accounts::by_id(&mut tx, Service::Billing.account()).await.unwrap().unwrap();
        let until = account.previous_until.expect("the one before works on");
        let most = world.clock.now().saturating_add(SECRET_OVERLAP).saturating_add(Span::MINUTE);
        assert!(until <= most, "until {until}");
    });
}

bursar_testkit::engines! {
    async fn what_was_begun_by_a_clock_that_was_far_ahead_is_over_once_it_is_right(db: TestDb) {
        let world = World::start(&db).await;
        let far = Span::from_days(400);
        let ada = world.join("Ada").await;
        let tokens = "UPDATE refresh_tokens SET issued_at = issued_at + $1, expires_at = expires_at + $1";
        put_off(&world, tokens, far).await;
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        let again = Person::sign_in(&world.anybody, &ada.email).await;
        put_off(&world, tokens, BELIEVED_AHEAD.saturating_sub(Span::MINUTE)).await;
        world.refresh(&again.tokens.refresh_token).await.expect("by a clock that is not far ahead");

        let sessions = "UPDATE sessions SET last_used_at = last_used_at + $1, expires_at = expires_at + $1";
        let listed = async |of: &Person| of.client().sessions().list_sessions(ListSessionsRequest::default()).await;
        let live = listed(&again).await.expect("listed").into_inner().sessions;
        assert_eq!(live.len(), 2, "a session lives while its tokens do not");
        put_off(&world, sessions, far).await;
        refused(listed(&again).await, Code::Unauthenticated, "SESSION_ENDED");
        let anew = Person::sign_in(&world.anybody, &ada.email).await;
        assert_eq!(listed(&anew).await.expect("listed").into_inner().sessions.len(), 1, "the others are not shown");

        world.sign_up("ben@example.com").await;
        let token = world.mailbox.next_token("ben@example.com").await;
        put_off(&world, "UPDATE email_verifications SET expires_at = expires_at + $1", far).await;
        let followed = world.anybody.users().verify_email(VerifyEmailRequest { token }).await;
        refused(followed, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
    }

    /// While a setting is rolled out, replicas with the old one and the new one judge what the other wrote.
    async fn another_setting_of_lifetimes_signs_nobody_out(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        for (sessions, days, link) in [(2, 1, Span::HOUR), (4, 60, Span::from_days(30))] {
            let other = world.replica_with(|config| {
                config.refresh.lifetime = Span::from_days(days);
                config.verification_ttl = link;
            });
            let other = other.await;
            let there = Person::sign_in(&other, &ada.email).await;
            for replica in [&world.anybody, &other] {
                let client = replica.with_token(&there.tokens.access_token);
                let listed = client.sessions().list_sessions(ListSessionsRequest::default()).await;
                assert_eq!(listed.expect("listed").into_inner().sessions.len(), sessions, "{days} days there");
            }
            world.refresh(&there.tokens.refresh_token).await.expect("what was begun there is good here");
            let here = Person::sign_in(&world.anybody, &ada.email).await;
            let refresh = RefreshRequest { refresh_token: here.tokens.refresh_token.clone() };
            other.sessions().refresh(refresh).await.expect("and what was begun here is good there");

            for (name, by, at) in [("here", &world.anybody, &other), ("there", &other, &world.anybody)] {
                let email = format!("{name}{days}@example.com");
                by.users().sign_up(sign_up(&email)).await.expect("signed up");
                let token = world.mailbox.next_token(&email).await;
                at.users().verify_email(VerifyEmailRequest { token }).await.expect("a link that the other mailed");
            }
        }
    }

    async fn a_clock_that_leaps_for_seconds_lets_nobody_in_meanwhile(db: TestDb) {
        let clock = Clock::system();
        let world = World::start_by(&db, clock.clone(), |_| ()).await;
        let (ada, before) = (world.join("Ada").await, keys(&world.anybody).await);
        clock.skew(YEARS_APART);
        assert_decides_nothing(&world, &world.anybody, &ada).await;
        assert_eq!(keys(&world.anybody).await, before, "no key is made or taken away");
        clock.skew(0);
        becomes(true, || async { world.ready.check().await.is_ok() }).await;
        world.sign_in(&ada.email, PASSWORD).await.expect("nobody is refused for it afterwards");
        world.refresh(&ada.tokens.refresh_token).await.expect("the session lives");
    }
}
