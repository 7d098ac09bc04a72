//! What everybody may send with a call: tokens, page tokens, documents. Bytes of messages are tried against whole services, in the
//! suite's tests.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_proto::identity::v1::{GetJwksResponse, Jwk};
use bursar_rpc::document::{document, to_struct};
use bursar_rpc::token::Verifier;
use bursar_rpc::{Caller, KeySet, PageKey, PageRequest, PublicKeys, ServiceRole};
use bursar_secret::Secret;
use common::{Issuer, start, user_claims, user_id};
use futures::FutureExt as _;
use prost::Message as _;
use prost_types::Struct;
use serde_json::{Value, json};

/// Whom a token proves, if anybody.
fn proves(verifier: &Verifier, token: &str) -> Option<Caller> {
    let proven = verifier.verify(token, start()).now_or_never();
    proven.expect("nothing has to be fetched").ok()
}

#[test]
fn fuzz_tokens() {
    let issuer = Issuer::ours();
    let good = [issuer.user(), issuer.service(ServiceRole::Product)];
    let verifier = Verifier::new(issuer.keys(), 16);
    assert!(good.iter().all(|token| proves(&verifier, token).is_some()));
    bursar_fuzz::fuzz("tokens", &good, |bytes| {
        let token = String::from_utf8_lossy(bytes);
        let proven = proves(&verifier, &token);
        assert!(
            proven.is_none() || good.iter().any(|good| *good == token),
            "a token that nobody signed proves {proven:?}"
        );
    });
}

/// What identity would have to sign for it: claims and headers of every sort under a right signature.
#[test]
fn fuzz_claims() {
    const HEADER: &[u8] = br#"{"typ":"JWT","alg":"EdDSA","kid":"k1"}"#;
    let issuer = Issuer::ours();
    let claims = serde_json::to_vec(&user_claims()).expect("claims");
    let samples = [claims.clone(), HEADER.to_vec(), [HEADER, b"\n", &claims].concat()];
    bursar_fuzz::fuzz("claims", &samples, |bytes| {
        let cut = bytes.iter().position(|byte| *byte == b'\n');
        let (header, claims) = cut.map_or((HEADER, bytes), |at| (&bytes[..at], &bytes[at + 1..]));
        let token = issuer.sign_bytes(header, claims);
        if let Some(Caller::User(user)) = proves(&Verifier::new(issuer.keys(), 16), &token) {
            let personal = user.context.to_string() == user.user.to_string();
            assert!(!personal || user.role.is_none(), "a role in a context of one's own: {user:?}");
        }
    });
}

/// What identity would have to publish: keys of every sort, of which ours alone proves what we signed.
#[test]
fn fuzz_published_keys() {
    let (issuer, another) = (Issuer::ours(), Issuer::new("k1", 2));
    let token = issuer.user();
    let published = |of: &Issuer| {
        let (kid, key) = of.public();
        let [kty, crv, alg, r#use] = ["OKP", "Ed25519", "EdDSA", "sig"].map(str::to_owned);
        Jwk { kid, kty, crv, alg, r#use, x: URL_SAFE_NO_PAD.encode(key) }
    };
    let answer = |keys: Vec<Jwk>| GetJwksResponse { keys }.encode_to_vec();
    let ours = published(&issuer);
    let samples = [answer(vec![ours.clone()]), answer(vec![published(&another), ours.clone()])];
    let verifier = |keys: &[Jwk]| Verifier::new(KeySet::fixed(PublicKeys::from_jwks(keys)), 16);
    assert!(proves(&verifier(std::slice::from_ref(&ours)), &token).is_some());
    assert!(proves(&verifier(&[published(&another)]), &token).is_none());
    bursar_fuzz::fuzz("published keys", &samples, |bytes| {
        let Ok(GetJwksResponse { keys }) = GetJwksResponse::decode(bytes) else { return };
        let ours = keys.iter().any(|key| URL_SAFE_NO_PAD.decode(&key.x).is_ok_and(|key| key == issuer.public().1));
        assert!(ours || proves(&verifier(&keys), &token).is_none(), "another key proves what it has not signed");
    });
}

#[test]
fn fuzz_page_tokens() {
    let list = || PageKey::new(Secret::new([1; 32])).list("ListLots", ["usr_1"]);
    let first: PageRequest<(i64, String)> = PageRequest::parse(1, "", list()).expect("a first page");
    let rows = vec![(7, "k".to_owned()), (8, user_id().to_string())];
    let good = first.page(rows, Clone::clone).expect("a page").next_page_token;
    assert!(PageRequest::<(i64, String)>::parse(1, &good, list()).is_ok());
    bursar_fuzz::fuzz("page tokens", &[&good], |bytes| {
        let token = String::from_utf8_lossy(bytes);
        let read = PageRequest::<(i64, String)>::parse(1, &token, list());
        assert!(read.is_err() || token.is_empty() || token == good, "a page that nobody was told of: {token:?}");
    });
}

/// Documents as the wire has them: refused, or within their bounds and the same there and back.
#[test]
fn fuzz_documents() {
    let nested = (0..25).fold(json!({}), |inner, _| json!({ "in": inner }));
    let plain = json!({"null": null, "yes": true, "whole": -7, "part": 0.5, "text": "\u{0}ж", "list": [1, [], {}]});
    let samples = [nested, plain].map(|value| {
        let Value::Object(fields) = value else { panic!("an object") };
        to_struct(fields).encode_to_vec()
    });
    bursar_fuzz::fuzz("documents", &samples, |bytes| {
        let Ok(sent) = Struct::decode(bytes) else { return };
        let Ok(read) = document(Some(&sent)) else { return };
        let again = document(Some(&to_struct(read.fields().clone())));
        assert_eq!(again.map(|it| it.to_string()), Ok(read.to_string()), "two meanings of one document");
    });
}
