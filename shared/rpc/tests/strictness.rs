//! Tokens are read in one way only: what another reader could take for something else proves nothing here.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use bursar_rpc::problem::reason_of;
use bursar_rpc::token::Verifier;
use common::{Issuer, start, user_claims};
use tonic::Status;

/// Tokens with a right signature over what can be read in two ways, or says something and gives it no value.
fn read_in_two_ways(ours: &Issuer) -> Vec<(String, String)> {
    const HEADER: &str = r#""alg":"EdDSA","kid":"k1""#;
    let claims = serde_json::to_string(&user_claims()).expect("claims");
    let inner = claims.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).expect("an object");
    let signed = |header: &str, claims: &str| ours.sign_bytes(header.as_bytes(), claims.as_bytes());
    assert!(inner.contains(r#""exp":"#) && inner.contains(r#""aud":"bursar""#), "{inner}");
    let headers = [
        r#""crit":null"#,
        r#""crit":[]"#,
        r#""crit":"exp""#,
        r#""crit":false"#,
        r#""crit":0"#,
        r#""crit":{}"#,
        r#""typ":null"#,
        r#""typ":["JWT"]"#,
        r#""typ":"JWT","typ":"JWT""#,
        r#""crit":["exp"],"crit":["exp"]"#,
        r#""kid":"k1""#,
        r#""kid":"k2""#,
        r#""alg":"EdDSA""#,
        r#""x":1,"x":1"#,
        r#""jku":null"#,
    ];
    let headers = headers.map(|more| (more.to_owned(), signed(&format!("{{{HEADER},{more}}}"), &claims)));
    let more = [
        r#""nbf":null"#,
        r#""nbf":1.5"#,
        r#""nbf":[]"#,
        r#""act":null"#,
        r#""act":{"sub":null}"#,
        r#""key":null"#,
        r#""srole":null"#,
        r#""sub":"usr_1""#,
        r#""exp":99999999999"#,
        r#""email":"eve@example.com""#,
        r#""x":1,"x":1"#,
        r#""x":{"y":1,"y":2}"#,
    ];
    let more = more.map(|more| (more.to_owned(), signed(&format!("{{{HEADER}}}"), &format!("{{{inner},{more}}}"))));
    let exp = format!(r#""exp":{}"#, user_claims().standard.exp);
    let instead = [
        (r#""aud":"bursar""#, r#""aud":[]"#.to_owned()),
        (r#""aud":"bursar""#, r#""aud":["bursar"]"#.to_owned()),
        (r#""aud":"bursar""#, r#""aud":null"#.to_owned()),
        (r#""iss":"bursar""#, r#""iss":["bursar"]"#.to_owned()),
        (&exp, format!("{exp}.5")),
        (&exp, format!("{exp}.0")),
        (&exp, format!("{exp}e0")),
        (&exp, r#""exp":null"#.to_owned()),
        (&exp, r#""exp":"1790000300""#.to_owned()),
        (&exp, r#""exp":1e300"#.to_owned()),
        (&exp, r#""exp":18446744073709551615"#.to_owned()),
    ];
    let instead = instead.map(|(was, is)| {
        assert!(inner.contains(was), "{was} in {inner}");
        (is.clone(), signed(&format!("{{{HEADER}}}"), &format!("{{{}}}", inner.replace(was, &is))))
    });
    headers.into_iter().chain(more).chain(instead).collect()
}

#[tokio::test]
async fn a_token_that_can_be_read_in_two_ways_proves_nothing() {
    let ours = Issuer::ours();
    let verifier = Verifier::new(ours.keys(), 16);
    for (case, token) in read_in_two_ways(&ours) {
        // Twice: the second time it might be remembered.
        for _ in 0..2 {
            let refused = verifier.verify(&token, start()).await.map_err(Status::from).err();
            assert_eq!(refused.and_then(|status| reason_of(&status)).as_deref(), Some("TOKEN_INVALID"), "{case}");
        }
    }
    // What it is all made of is good.
    let plain =
        ours.sign_bytes(br#"{"alg":"EdDSA","kid":"k1","x":1}"#, &serde_json::to_vec(&user_claims()).expect("claims"));
    verifier.verify(&plain, start()).await.map_err(Status::from).expect("a plain token");
}
