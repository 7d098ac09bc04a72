//! Kinds C and G: what is throttled, by what it is counted, and that nobody stops the others.

use bursar_identity::store::{throttles, users};
use bursar_identity::usecase::attempts::Bucket;
use bursar_proto::identity::v1::{
    IssueServiceTokenRequest, RequestEmailVerificationRequest, RequestEmailVerificationResponse, SignInRequest,
    SignInResponse,
};
use bursar_rpc::Origin;
use bursar_runtime::Settings;
use bursar_testkit::{Client, Operator, PASSWORD, refused};
use bursar_time::Span;
use tokio::task::JoinSet;
use tonic::{Code, Request, Response, Status};

use crate::world::{World, credentials, from_address, sign_up, user};

const EMAIL: &str = "ada@example.com";

async fn sign_in(at: &Client, from: &str, email: &str, password: &str) -> Result<Response<SignInResponse>, Status> {
    at.sessions().sign_in(from_address(from, credentials(email, password))).await
}

/// Guesses a password from somewhere, so often that no more are looked at.
async fn guess(world: &World, from: &str, email: &str) {
    for _ in 0..10 {
        let guess = sign_in(&world.anybody, from, email, "a wrong one").await;
        refused(guess, Code::Unauthenticated, "CREDENTIALS_INVALID");
    }
    let right = sign_in(&world.anybody, from, email, PASSWORD).await;
    refused(right, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
}

async fn verification(
    world: &World,
    from: &str,
    email: &str,
) -> Result<Response<RequestEmailVerificationResponse>, Status> {
    let request = RequestEmailVerificationRequest { email: email.to_owned() };
    world.anybody.users().request_email_verification(from_address(from, request)).await
}

/// A sign-in with a header.
fn with(name: &'static str, value: &str, mut request: Request<SignInRequest>) -> Request<SignInRequest> {
    request.metadata_mut().insert(name, value.parse().unwrap());
    request
}

fn trusting(settings: &mut Settings) {
    settings.trusted_proxies = "10.0.0.0/8".parse().unwrap();
}

/// As many have signed up through the operator's service, which states no origin, as are forgotten after that.
async fn its_sign_ups_drain_in(world: &World, time: Span) {
    let itself = Operator::of(&world.path("")).client_id.parse().unwrap();
    let bucket = Bucket::SignUps(Origin::Service(itself)).to_string();
    let mut tx = world.db.begin().await.unwrap();
    let now = world.clock.now();
    throttles::drained_at(&mut tx, &bucket, now).await.unwrap();
    throttles::set(&mut tx, &bucket, now.saturating_add(time)).await.unwrap();
    tx.commit().await.unwrap();
}

bursar_testkit::engines! {
    async fn wrong_passwords_from_elsewhere_close_no_account(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        guess(&world, "192.0.2.66", EMAIL).await;
        sign_in(&world.anybody, "192.0.2.1", EMAIL, PASSWORD).await.expect("a new place");
        world.sign_in(EMAIL, PASSWORD).await.expect("the one before");
        // One a minute from there keeps closed what is there, and nothing else.
        for _ in 0..5 {
            world.pass(60);
            let guess = sign_in(&world.anybody, "192.0.2.66", EMAIL, "a wrong one").await;
            refused(guess, Code::Unauthenticated, "CREDENTIALS_INVALID");
            sign_in(&world.anybody, "192.0.2.2", EMAIL, PASSWORD).await.unwrap();
        }
    }

    async fn a_place_that_succeeded_before_is_closed_by_nobody_else(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        sign_in(&world.anybody, "192.0.2.1", EMAIL, PASSWORD).await.unwrap();
        // A hundred wrong ones for others from the same address, as behind a product's own pods.
        for n in 0..100 {
            let guess = sign_in(&world.anybody, "192.0.2.1", &format!("user{n}@example.com"), "short").await;
            refused(guess, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        sign_in(&world.anybody, "192.0.2.1", EMAIL, PASSWORD).await.expect("she was here before");
        // And as many for her from everywhere else: closed to newcomers, for a while.
        for n in 0..10 {
            guess(&world, &format!("198.51.100.{n}"), EMAIL).await;
        }
        let newcomer = sign_in(&world.anybody, "203.0.113.5", EMAIL, PASSWORD).await;
        refused(newcomer, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        sign_in(&world.anybody, "192.0.2.1", EMAIL, PASSWORD).await.expect("she was here before");
        world.sign_in(EMAIL, PASSWORD).await.expect("and here");
    }

    /// Of those who stand behind one address nobody can be told from the others: there the rest of the bound stays.
    async fn wrong_passwords_at_a_place_of_ones_own_close_that_place_alone_and_for_a_minute(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        for place in ["192.0.2.1", "192.0.2.2"] {
            sign_in(&world.anybody, place, EMAIL, PASSWORD).await.unwrap();
        }
        guess(&world, "192.0.2.1", EMAIL).await;
        sign_in(&world.anybody, "192.0.2.2", EMAIL, PASSWORD).await.expect("another place that succeeded before");
        sign_in(&world.anybody, "203.0.113.5", EMAIL, PASSWORD).await.expect("a place that is new");
        world.pass(59);
        let closed = sign_in(&world.anybody, "192.0.2.1", EMAIL, PASSWORD).await;
        assert!(refused(closed, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS").retryable, "it says when");
        world.pass(1);
        sign_in(&world.anybody, "192.0.2.1", EMAIL, PASSWORD).await.expect("a minute later");
        // A guess a minute does not close it again: as much is forgotten in that time.
        for _ in 0..3 {
            world.pass(60);
            sign_in(&world.anybody, "192.0.2.1", EMAIL, PASSWORD).await.expect("before the guess of this minute");
            let guess = sign_in(&world.anybody, "192.0.2.1", EMAIL, "a wrong one").await;
            refused(guess, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
    }

    async fn right_passwords_at_once_all_pass(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        for _ in 0..9 {
            refused(world.sign_in(EMAIL, "a wrong one").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        let mut tasks = JoinSet::new();
        for _ in 0..32 {
            let anybody = world.anybody.clone();
            tasks.spawn(async move { anybody.sessions().sign_in(credentials(EMAIL, PASSWORD)).await.map(|_| ()) });
        }
        for answer in tasks.join_all().await {
            answer.expect("a success costs nothing");
        }
    }

    async fn who_asks_for_verifications_keeps_nobody_from_signing_up(db: TestDb) {
        let world = World::start(&db).await;
        for _ in 0..5 {
            verification(&world, "192.0.2.66", EMAIL).await.unwrap();
        }
        refused(verification(&world, "192.0.2.66", EMAIL).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        for _ in 0..3 {
            world.pass(600);
            verification(&world, "192.0.2.66", EMAIL).await.unwrap();
            let mut users = world.anybody.users();
            users.sign_up(from_address("192.0.2.1", sign_up(EMAIL))).await.expect("it is not full of others' requests");
            verification(&world, "192.0.2.1", EMAIL).await.expect("nor is this");
        }
        // Sign-ups of others with the address do not, either.
        let mut refusals = 0;
        for _ in 0..6 {
            let again = world.anybody.users().sign_up(from_address("192.0.2.66", sign_up(EMAIL))).await;
            refusals += u32::from(again.is_err());
        }
        assert_eq!(refusals, 1);
        world.anybody.users().sign_up(from_address("192.0.2.1", sign_up(EMAIL))).await.unwrap();
    }

    async fn the_place_is_what_can_be_believed(db: TestDb) {
        let world = World::start_with(&db, trusting).await;
        world.join("Ada").await;
        let mut sessions = world.anybody.sessions();
        let through = |client: &str, password: &str| {
            with("x-forwarded-for", client, from_address("10.0.0.1", credentials(EMAIL, password)))
        };
        for _ in 0..10 {
            refused(sessions.sign_in(through("203.0.113.66", "a wrong one")).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        refused(sessions.sign_in(through("203.0.113.66", PASSWORD)).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        sessions.sign_in(through("203.0.113.5", PASSWORD)).await.expect("another client of the same proxy");
        // A service says it of its own callers.
        let service = world.operator().await;
        let stated = |address: &str, password: &str| {
            with("bursar-client-address", address, from_address("192.0.2.7", credentials(EMAIL, password)))
        };
        for _ in 0..10 {
            let guess = service.sessions().sign_in(stated("203.0.113.67", "a wrong one")).await;
            refused(guess, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        let closed = service.sessions().sign_in(stated("203.0.113.67", PASSWORD)).await;
        refused(closed, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        service.sessions().sign_in(stated("203.0.113.5", PASSWORD)).await.expect("another client of the service");
        // Whoever is neither says nothing: each of these is from the one socket.
        for n in 0..10 {
            let guess = sessions.sign_in(stated(&format!("203.0.113.{n}"), "a wrong one")).await;
            refused(guess, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        let closed = sessions.sign_in(stated("203.0.113.99", PASSWORD)).await;
        refused(closed, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    }

    async fn wrong_secrets_of_services_stop_nobody_else(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let operator = Operator::of(&world.path(""));
        let with = |secret: &str| {
            let (client_id, client_secret) = (operator.client_id.clone(), secret.to_owned());
            from_address("10.1.1.1", IssueServiceTokenRequest { client_id, client_secret })
        };
        let mut accounts = world.anybody.service_accounts();
        for _ in 0..100 {
            refused(accounts.issue_service_token(with("wrong")).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        refused(accounts.issue_service_token(with("wrong")).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        accounts.issue_service_token(with(&operator.client_secret)).await.expect("the right one");
        sign_in(&world.anybody, "10.1.1.1", EMAIL, PASSWORD).await.expect("whoever stands behind the same address");
    }

    async fn sign_ups_are_throttled_by_origin(db: TestDb) {
        let world = World::start(&db).await;
        let mut tx = world.db.begin().await.unwrap();
        let now = world.clock.now();
        let bucket = "sign_up:address:192.0.2.66";
        throttles::drained_at(&mut tx, bucket, now).await.unwrap();
        throttles::set(&mut tx, bucket, now.saturating_add(Span::from_secs(1_995))).await.unwrap();
        tx.commit().await.unwrap();
        let mut users = world.anybody.users();
        let one_more = users.sign_up(from_address("192.0.2.66", sign_up(EMAIL))).await;
        assert!(refused(one_more, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS").retryable);
        users.sign_up(from_address("192.0.2.1", sign_up(EMAIL))).await.expect("somebody else");
        world.pass(5);
        users.sign_up(from_address("192.0.2.66", sign_up(EMAIL))).await.expect("the two hundredth");
    }

    /// Whoever stands behind it cannot be told from the others there: two hundred, which is much for one place, are few for
    /// all of them. Mails to one address are bounded all the same.
    async fn sign_ups_of_a_service_that_states_no_origin_do_not_throttle_each_other(db: TestDb) {
        let world = World::start(&db).await;
        let service = world.operator().await;
        its_sign_ups_drain_in(&world, Span::from_secs(2_000)).await;
        let mut users = service.users();
        for _ in 0..5 {
            users.sign_up(sign_up(EMAIL)).await.expect("as many as there are");
        }
        refused(users.sign_up(sign_up(EMAIL)).await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        users.sign_up(sign_up("bob@example.com")).await.expect("somebody else");
    }

    /// Its open form is no way to mail strangers without end.
    async fn a_service_that_states_no_origin_mails_no_strangers_without_a_bound(db: TestDb) {
        let world = World::start(&db).await;
        let service = world.operator().await;
        its_sign_ups_drain_in(&world, Span::from_secs(10_000)).await;
        let one_more = service.users().sign_up(sign_up(EMAIL)).await;
        assert!(refused(one_more, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS").retryable);
        world.anybody.users().sign_up(sign_up("bob@example.com")).await.expect("not through it");
        world.pass(1);
        service.users().sign_up(sign_up(EMAIL)).await.expect("one a second");
    }

    /// One holder of an IPv6 network has 65,536 places in it.
    async fn the_places_of_one_network_together_keep_nobody_from_being_mailed(db: TestDb) {
        let world = World::start(&db).await;
        let inside = |n: u32| format!("2001:db8:7:{n:x}::1");
        let mut mailed = 0;
        for n in 0..50 {
            let answer = verification(&world, &inside(n), EMAIL).await;
            mailed += u32::from(answer.is_ok());
            if answer.is_err() {
                refused(answer, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
            }
        }
        assert_eq!(mailed, 5, "as from one place");
        verification(&world, "192.0.2.1", EMAIL).await.expect("whose address it is");
        verification(&world, "2001:db8:8::1", EMAIL).await.expect("from another network, too");
        verification(&world, &inside(1), "bob@example.com").await.expect("another address");
        let mut users = world.anybody.users();
        for n in 0..5 {
            users.sign_up(from_address(&inside(n), sign_up(EMAIL))).await.expect("there is room");
        }
        let more = users.sign_up(from_address(&inside(5), sign_up(EMAIL))).await;
        refused(more, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        users.sign_up(from_address("192.0.2.1", sign_up(EMAIL))).await.expect("whose address it is");
    }

    async fn a_flood_of_sign_ups_leaves_room_for_sign_ins(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let busy = world.replica_with(|config| config.waiting_hashes = 8).await;
        let mut flood = JoinSet::new();
        for n in 0..64_u32 {
            let busy = busy.clone();
            // From sixteen places at once, the one of Ada among them.
            let request = from_address(&format!("192.0.2.{}", n % 16), sign_up(&format!("user{n}@example.com")));
            flood.spawn(async move { busy.users().sign_up(request).await.map(|_| ()) });
        }
        for _ in 0..4 {
            sign_in(&busy, "192.0.2.1", EMAIL, PASSWORD).await.expect("places are left");
        }
        for answer in flood.join_all().await {
            if answer.is_err() {
                refused(answer, Code::ResourceExhausted, "OVERLOADED");
            }
        }
    }

    async fn an_attempt_is_seen_to_its_end_though_its_caller_hangs_up(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let bucket = Bucket::Guess(EMAIL, Origin::Local).to_string();
        let taken = || async {
            let mut tx = world.db.begin().await.unwrap();
            throttles::drained_at(&mut tx, &bucket, world.clock.now()).await.unwrap() > world.clock.now()
        };
        // More than there are attempts; each hangs up when its attempt has been taken, unless it has its answer before.
        for _ in 0..12 {
            let anybody = world.anybody.clone();
            let right = tokio::spawn(async move { anybody.sessions().sign_in(credentials(EMAIL, PASSWORD)).await });
            while !right.is_finished() && !taken().await {}
            right.abort();
            let _ = right.await;
        }
        world.sign_in(EMAIL, PASSWORD).await.expect("each was seen to its end, and was none");
    }

    async fn a_weak_hash_is_raised_at_sign_in(db: TestDb) {
        use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher as _};
        let world = World::start(&db).await;
        let ada = user(&world.join("Ada").await);
        let stored = || async {
            let mut tx = world.db.read().await.unwrap();
            users::by_id(&mut tx, ada).await.unwrap().unwrap().password_hash
        };
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
        let weak = old.hash_password_with_salt(PASSWORD.as_bytes(), &[7; 16]).unwrap().to_string();
        let mut tx = world.db.begin().await.unwrap();
        users::strengthen(&mut tx, ada, &stored().await, &weak).await.unwrap();
        tx.commit().await.unwrap();
        refused(world.sign_in(EMAIL, "a wrong one").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        assert_eq!(stored().await, weak, "nobody has shown the password");
        world.sign_in(EMAIL, PASSWORD).await.unwrap();
        let raised = stored().await;
        assert!(raised.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{raised}");
        world.sign_in(EMAIL, PASSWORD).await.unwrap();
        assert_eq!(stored().await, raised, "once");
    }
}
