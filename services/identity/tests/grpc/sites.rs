//! Kinds C and G: what is bounded by the network that calls come from, of which one holder has many places, and what many
//! networks together may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bursar_identity::store::throttles;
use bursar_identity::usecase::attempts::Bucket;
use bursar_proto::identity::v1::IssueServiceTokenRequest;
use bursar_rpc::Origin;
use bursar_rpc::problem::reason_of;
use bursar_testkit::{Client, Operator, PASSWORD, refused};
use bursar_time::Span;
use tokio::task::JoinSet;
use tonic::{Code, Request};

use crate::world::{World, becomes, credentials, from_address, sign_up};

const EMAIL: &str = "ada@example.com";

/// Passwords that are guessed from many places, as fast as each is answered, until this is dropped.
struct Flood {
    _guesses: JoinSet<()>,
    refused: Arc<AtomicU64>,
}

impl Flood {
    /// Begins, and comes back once as many passwords are being checked as may be of these places.
    async fn of(at: &Client, places: impl Iterator<Item = String>) -> Self {
        let (mut guesses, refused) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        for (n, place) in places.enumerate() {
            let (at, refused) = (at.clone(), Arc::clone(&refused));
            guesses.spawn(async move {
                for attempt in 0..u32::MAX {
                    let guess = credentials(&format!("user{n}-{attempt}@example.com"), "a wrong one");
                    let answer = at.sessions().sign_in(from_address(&place, guess)).await;
                    let reason = answer.err().and_then(|status| reason_of(&status));
                    refused.fetch_add(u64::from(reason.as_deref() == Some("OVERLOADED")), Ordering::Relaxed);
                    // A refusal may not have waited for anything.
                    tokio::task::yield_now().await;
                }
            });
        }
        let flood = Self { _guesses: guesses, refused };
        becomes(true, || async { flood.refused.load(Ordering::Relaxed) > 0 }).await;
        flood
    }
}

/// One of the places of a network that one holder may have.
fn inside(n: u32) -> String {
    format!("2001:db8:7:{n:x}::1")
}

/// A request of a service that says where its caller is.
fn stated<T>(message: T) -> Request<T> {
    let mut request = from_address("10.0.0.1", message);
    request.metadata_mut().insert("bursar-client-address", "203.0.113.5".parse().unwrap());
    request
}

/// A bucket of this network's drains in this time.
async fn drains_in(world: &World, bucket: fn(Origin) -> Bucket<'static>, time: Span) {
    let bucket = bucket(Origin::at(inside(0).parse().unwrap())).to_string();
    let mut tx = world.db.begin().await.unwrap();
    let now = world.clock.now();
    throttles::drained_at(&mut tx, &bucket, now).await.unwrap();
    throttles::set(&mut tx, &bucket, now.saturating_add(time)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn sign_in(at: &Client, from: &str) -> Result<(), tonic::Status> {
    at.sessions().sign_in(from_address(from, credentials(EMAIL, PASSWORD))).await.map(drop)
}

bursar_testkit::engines! {
    async fn a_flood_of_sign_ins_from_one_network_leaves_room_for_others(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let busy = world.replica_with(|config| config.waiting_hashes = 8).await;
        let _flood = Flood::of(&busy, (0..32).map(inside)).await;
        for n in 1..=8 {
            // Nobody knows her there.
            sign_in(&busy, &format!("192.0.2.{n}")).await.expect("places are left");
        }
    }

    async fn a_flood_of_sign_ins_from_many_networks_leaves_room_for_who_was_there_before(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        sign_in(&world.anybody, "192.0.2.1").await.expect("nobody else is there");
        let busy = world.replica_with(|config| config.waiting_hashes = 8).await;
        let _flood = Flood::of(&busy, (0..32).map(|n| format!("198.51.100.{n}"))).await;
        for _ in 0..8 {
            sign_in(&busy, "192.0.2.1").await.expect("places are kept");
        }
    }

    /// Who is refused there would tell strangers behind the same service who has an account.
    async fn no_place_is_kept_behind_a_service_that_states_no_address(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let busy = world.replica_with(|config| config.waiting_hashes = 8).await;
        let service = busy.as_operator(&Operator::of(&world.path(""))).await;
        sign_in(&service, "10.0.0.1").await.expect("nobody else is there");
        let _flood = Flood::of(&service, (0..32).map(|_| "10.0.0.1".to_owned())).await;
        let refused_for = || async { sign_in(&service, "10.0.0.1").await.err().and_then(|status| reason_of(&status)) };
        becomes(Some("OVERLOADED".to_owned()), refused_for).await;
    }

    async fn the_places_of_one_network_together_close_no_account(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let known = "2001:db8:7:ff::1";
        sign_in(&world.anybody, known).await.expect("nobody has guessed");
        let mut looked_at = 0;
        for n in 0..100 {
            let guess = from_address(&inside(n % 10), credentials(EMAIL, "a wrong one"));
            let status = world.anybody.sessions().sign_in(guess).await.expect_err("it is wrong");
            looked_at += u32::from(reason_of(&status).as_deref() == Some("CREDENTIALS_INVALID"));
        }
        assert_eq!(looked_at, 10, "as many as from one place");
        refused(sign_in(&world.anybody, &inside(11)).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        sign_in(&world.anybody, "192.0.2.1").await.expect("a place that is new");
        sign_in(&world.anybody, "2001:db8:8::1").await.expect("another network");
        sign_in(&world.anybody, known).await.expect("she was here before");
        let mut others = world.anybody.sessions();
        let guess = others.sign_in(from_address(&inside(11), credentials("bob@example.com", "a wrong one"))).await;
        refused(guess, Code::Unauthenticated, "CREDENTIALS_INVALID");
    }

    async fn wrong_passwords_for_many_accounts_are_counted_by_network_too(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        sign_in(&world.anybody, &inside(0)).await.expect("nobody has guessed");
        drains_in(&world, Bucket::Network, Span::from_secs(300)).await;
        refused(sign_in(&world.anybody, &inside(1)).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        sign_in(&world.anybody, &inside(0)).await.expect("she was here before");
        sign_in(&world.anybody, "192.0.2.1").await.expect("somewhere else");
        world.pass(1);
        sign_in(&world.anybody, &inside(1)).await.expect("one in a third of a second");
    }

    async fn wrong_secrets_of_services_are_counted_by_network_too(db: TestDb) {
        let world = World::start(&db).await;
        let operator = Operator::of(&world.path(""));
        let with = |from: &str, secret: &str| {
            let (client_id, client_secret) = (operator.client_id.clone(), secret.to_owned());
            from_address(from, IssueServiceTokenRequest { client_id, client_secret })
        };
        let mut accounts = world.anybody.service_accounts();
        drains_in(&world, Bucket::NetworkSecrets, Span::from_secs(300)).await;
        let wrong = accounts.issue_service_token(with(&inside(1), "wrong")).await;
        refused(wrong, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        accounts.issue_service_token(with(&inside(1), &operator.client_secret)).await.expect("the right one");
        for elsewhere in ["192.0.2.1", "2001:db8:8::1"] {
            let wrong = accounts.issue_service_token(with(elsewhere, "wrong")).await;
            refused(wrong, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        world.pass(1);
        let wrong = accounts.issue_service_token(with(&inside(1), "wrong")).await;
        refused(wrong, Code::Unauthenticated, "CREDENTIALS_INVALID");
    }

    async fn sign_ups_are_throttled_by_network_too(db: TestDb) {
        let world = World::start(&db).await;
        drains_in(&world, Bucket::NetworkSignUps, Span::from_secs(2_000)).await;
        let mut users = world.anybody.users();
        for n in 0..3 {
            let one_more = users.sign_up(from_address(&inside(n), sign_up(EMAIL))).await;
            assert!(refused(one_more, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS").retryable);
        }
        users.sign_up(from_address("192.0.2.1", sign_up(EMAIL))).await.expect("somebody else");
        users.sign_up(from_address("2001:db8:8::1", sign_up(EMAIL))).await.expect("another network");
        world.pass(1);
        users.sign_up(from_address(&inside(0), sign_up(EMAIL))).await.expect("one a second");
        let one_more = users.sign_up(from_address(&inside(1), sign_up("bob@example.com"))).await;
        refused(one_more, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    }

    /// All people behind it would share one place, its own, and that would be known as a good one.
    async fn a_service_whose_token_is_bad_brings_nobody_in_from_its_own_place(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let service = world.operator().await;
        service.sessions().sign_in(stated(credentials(EMAIL, PASSWORD))).await.expect("its token is good");
        world.pass(600);
        for (by, reason) in [(service.clone(), "TOKEN_EXPIRED"), (world.anybody.with_token("garbage"), "TOKEN_INVALID")] {
            let signed_in = by.sessions().sign_in(stated(credentials(EMAIL, PASSWORD))).await;
            refused(signed_in, Code::Unauthenticated, reason);
            let signed_up = by.users().sign_up(stated(sign_up("bob@example.com"))).await;
            refused(signed_up, Code::Unauthenticated, reason);
            sign_in(&by, "192.0.2.1").await.expect("without the header it is as good as none");
        }
        let Operator { client_id, client_secret } = Operator::of(&world.path(""));
        let renewal = IssueServiceTokenRequest { client_id, client_secret };
        let renewed = service.service_accounts().issue_service_token(stated(renewal)).await;
        let token = renewed.expect("the secret is the proof").into_inner().access_token;
        let nobody = world.anybody.sessions().sign_in(stated(credentials(EMAIL, PASSWORD))).await;
        nobody.expect("whoever has no token says nothing by it");
        let again = world.anybody.with_token(&token);
        again.users().sign_up(stated(sign_up("bob@example.com"))).await.expect("with a new token");
    }
}
