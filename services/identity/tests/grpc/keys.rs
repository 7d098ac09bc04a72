//! `KeyService`: the keys through their whole life, on a clock that is moved.

use bursar_proto::identity::v1::{GetJwksRequest, GetMeRequest};
use bursar_rpc::token::Verifier;
use bursar_rpc::{KeySet, PublicKeys};
use bursar_testkit::{Client, PASSWORD, Person, refused};
use tokio::task::JoinSet;
use tonic::Code;

use crate::world::{World, header};

const DAY: u64 = 24 * 3600;

async fn published(client: &Client) -> Vec<String> {
    let jwks = client.keys().get_jwks(GetJwksRequest {}).await.unwrap().into_inner();
    for key in &jwks.keys {
        let fixed = [key.kty.as_str(), key.crv.as_str(), key.alg.as_str(), key.r#use.as_str()];
        assert_eq!(fixed, ["OKP", "Ed25519", "EdDSA", "sig"]);
    }
    jwks.keys.into_iter().map(|key| key.kid).collect()
}

async fn signer(world: &World) -> String {
    let tokens = world.sign_in("ada@example.com", PASSWORD).await.unwrap().into_inner().tokens.unwrap();
    header(&tokens.access_token)["kid"].as_str().unwrap().to_owned()
}

bursar_testkit::engines! {
    async fn a_key_is_published_before_it_signs_and_until_its_last_token_has_expired(db: TestDb) {
        let world = World::start(&db).await;
        world.join("Ada").await;
        let first = signer(&world).await;
        assert_eq!(published(&world.anybody).await, [first.as_str()]);

        world.pass(30 * DAY - 3601);
        assert_eq!(published(&world.anybody).await, [first.as_str()], "a second too early");
        world.pass(1);
        let keys = published(&world.anybody).await;
        assert_eq!(keys.len(), 2, "announced an hour ahead");
        let second = keys[0].clone();
        assert_eq!((signer(&world).await, keys[1].as_str()), (first.clone(), first.as_str()), "not yet signing");

        world.pass(3599);
        let last = Person::sign_in(&world.anybody, "ada@example.com").await;
        assert_eq!(header(&last.tokens.access_token)["kid"], first);
        world.pass(1);
        assert_eq!(signer(&world).await, second);
        last.client().users().get_me(GetMeRequest {}).await.expect("a token of the first key");
        world.pass(298);
        last.client().users().get_me(GetMeRequest {}).await.expect("until it expires");
        assert_eq!(published(&world.anybody).await, [second.clone(), first]);
        world.pass(62);
        assert_eq!(published(&world.anybody).await, [second.as_str()], "nothing alive was signed with the first");
        // Verified before, so its expiry is known without the key.
        refused(last.client().users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "TOKEN_EXPIRED");

        // After a long leap the old key signs until the new one has been public for its hour.
        world.pass(90 * DAY);
        assert_eq!(signer(&world).await, second);
        assert_eq!(published(&world.anybody).await.len(), 2);
        world.pass(3600);
        assert_ne!(signer(&world).await, second);
    }

    async fn replicas_agree_on_the_keys(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let other = world.replica().await;
        assert_eq!(published(&world.anybody).await, published(&other).await);
        let there = other.with_token(&ada.tokens.access_token);
        there.users().get_me(GetMeRequest {}).await.expect("one replica believes the other's token");
        // Both find out at once that it is time to rotate.
        world.pass(30 * DAY - 3600);
        let mut tasks = JoinSet::new();
        for n in 0..16 {
            let client = if n % 2 == 0 { world.anybody.clone() } else { other.clone() };
            tasks.spawn(async move { published(&client).await });
        }
        let answers = tasks.join_all().await;
        assert!(answers.iter().all(|keys| *keys == answers[0] && keys.len() == 2), "{answers:?}");
    }

    async fn the_published_keys_verify_and_no_others_do(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let jwks = world.anybody.keys().get_jwks(GetJwksRequest {}).await.unwrap().into_inner();
        let verifier = Verifier::new(KeySet::fixed(PublicKeys::from_jwks(&jwks.keys)), 16);
        let now = world.clock.now();
        verifier.verify(&ada.tokens.access_token, now).await.unwrap();
        let (signed, signature) = ada.tokens.access_token.rsplit_once('.').unwrap();
        let flipped: String = signature.chars().rev().collect();
        let forged = format!("{signed}.{flipped}");
        assert!(verifier.verify(&forged, now).await.is_err());
        let client = world.anybody.with_token(&forged);
        refused(client.users().get_me(GetMeRequest {}).await, Code::Unauthenticated, "TOKEN_INVALID");
    }

    async fn another_master_key_is_noticed_at_start(db: TestDb) {
        let world = World::start(&db).await;
        std::fs::remove_file(world.path("master.key")).unwrap();
        let mut settings = bursar_runtime::Settings::for_test(world.path(""));
        settings.stores[bursar_runtime::Service::Identity] = db.store_url();
        let error = bursar_identity::start(&settings, world.peers(), world.env.clone()).await.unwrap_err();
        assert!(format!("{error:#}").contains("master key"), "{error:#}");
    }
}
