//! Who gets in, as whom, and what those are told who do not.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use bursar_id::{ApiKeyId, OwnerId};
use bursar_proto::event::v1::WatchRequest;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::identity::v1::context_service_client::ContextServiceClient;
use bursar_proto::identity::v1::{ListContextsRequest, SwitchContextRequest};
use bursar_proto::testing::v1::GetRequest;
use bursar_proto::testing::v1::clock_service_client::ClockServiceClient;
use bursar_rpc::problem::reason_of;
use bursar_rpc::token::{AccessClaims, Acting, LONGEST_LIFE, ServiceClaims, StandardClaims, Verifier};
use bursar_rpc::{AuthMethods, Caller, KeyGrant, Limits, Permission, ServiceRole, Transport, stack};
use bursar_time::{Clock, Span, Timestamp};
use common::{Issuer, Probe, account, bearer, both_ways, for_user, start, user_claims, user_id, with};
use tonic::{Code, Status};

type Headers = Vec<(&'static str, String)>;

/// An RPC for users.
async fn as_user(transport: &Transport, headers: &Headers) -> Result<String, Status> {
    let request = with(ListContextsRequest::default(), headers);
    let answer = ContextServiceClient::new(transport.clone()).list_contexts(request).await?;
    Ok(answer.into_inner().next_page_token)
}

/// An RPC for services of the roles identity, organization, billing, product and operator.
async fn as_service(transport: &Transport, headers: &Headers) -> Result<String, Status> {
    let request = with(WatchRequest::default(), headers);
    let answer = EventServiceClient::new(transport.clone()).watch(request).await?;
    Ok(answer.into_inner().message().await?.expect("one message").cursor)
}

/// An RPC for everybody.
async fn as_anybody(transport: &Transport, headers: &Headers) -> Result<String, Status> {
    let request = with(GetRequest::default(), headers);
    ClockServiceClient::new(transport.clone()).get(request).await.map(|_| String::new())
}

fn refusal(result: Result<String, Status>) -> (Code, String) {
    match result {
        Ok(text) => (Code::Ok, text),
        Err(status) => (status.code(), reason_of(&status).unwrap_or_default()),
    }
}

/// Headers with no usable token in them.
fn garbled(good: &str) -> Vec<(&'static str, Headers)> {
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let (header, payload) = head.split_once('.').expect("three parts");
    // {"alg":"none","kid":"k1"}
    let unsigned = format!("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.{payload}.");
    let other_scheme = ("authorization", "Basic YTpi".to_owned());
    let other_payload = format!("{header}.{payload}x.{signature}");
    vec![
        ("another scheme", vec![other_scheme]),
        ("no token", vec![bearer("")]),
        ("garbage", vec![bearer("garbage")]),
        ("three parts of garbage", vec![bearer("a.b.c")]),
        ("very much garbage", vec![bearer(&"a".repeat(5_000))]),
        ("alg none", vec![bearer(&unsigned)]),
        ("no signature", vec![bearer(&format!("{head}."))]),
        ("another payload", vec![bearer(&other_payload)]),
    ]
}

/// Tokens that are well made and prove nothing.
fn forged(ours: &Issuer) -> Vec<(&'static str, String)> {
    let standard = user_claims().standard;
    let standing = |iss, aud| {
        let standard = StandardClaims { iss, aud, ..standard.clone() };
        ours.sign(&common::AccessClaimsWith::of(standard))
    };
    let mut foreign_context = user_claims();
    foreign_context.role = None;
    foreign_context.ctx = OwnerId::User(bursar_id::UserId::from_parts(1, [1; 10]));
    let mut personal_with_role = user_claims();
    personal_with_role.ctx = OwnerId::User(user_id());
    let unknown_role = serde_json::json!({
        "sub": account(), "srole": "emperor", "iss": "bursar", "aud": "bursar", "exp": standard.exp,
    });
    let half_a_user = serde_json::json!({
        "sub": user_id(), "iss": "bursar", "aud": "bursar", "exp": standard.exp,
    });
    vec![
        ("a stranger's key under our id", Issuer::new("k1", 2).user()),
        ("a key id that is not ours", Issuer::new("k2", 3).user()),
        ("another issuer", standing("elsewhere", "bursar")),
        ("another audience", standing("bursar", "elsewhere")),
        ("somebody else's personal context", ours.sign(&foreign_context)),
        ("a role in the personal context", ours.sign(&personal_with_role)),
        ("a service role that is none", ours.sign(&unknown_role)),
        ("a user without session and context", ours.sign(&half_a_user)),
    ]
}

/// Tokens with a right signature that say themselves that they are no proof, or none yet.
fn read_too_kindly(ours: &Issuer) -> Vec<(&'static str, String)> {
    let under = |typ: Option<&str>, crit: Option<&str>| {
        let mut header = serde_json::json!({"alg": "EdDSA", "kid": "k1"});
        if let Some(typ) = typ {
            header["typ"] = typ.into();
        }
        if let Some(crit) = crit {
            header["crit"] = serde_json::json!([crit]);
            header[crit] = true.into();
        }
        ours.sign_under(&header, &user_claims())
    };
    let from = |nbf: serde_json::Value| {
        let mut claims = serde_json::to_value(user_claims()).expect("claims");
        claims["nbf"] = nbf;
        ours.sign(&claims)
    };
    let now = start().as_unix_secs();
    vec![
        ("a demand that nobody knows", under(Some("JWT"), Some("exp-by-moon"))),
        ("a demand without a type", under(None, Some("b64"))),
        ("a type of something else", under(Some("checkpoint+jwt"), None)),
        ("an empty type", under(Some(""), None)),
        ("not yet", from((now + 1).into())),
        ("not for a hundred years", from((now + 3_155_760_000).into())),
        ("from no time at all", from("tomorrow".into())),
    ]
}

#[tokio::test]
async fn what_is_plain_is_believed_from_its_instant_on() {
    let ours = Issuer::ours();
    let clock = Clock::test(start());
    let mut deps = common::deps(ours.keys(), Limits::default());
    deps.clock = clock.clone();
    let transport = Transport::routes(stack(Probe::who().bare(), deps));
    let mut claims = serde_json::to_value(user_claims()).expect("claims");
    claims["nbf"] = (start().as_unix_secs() + 60).into();
    let early = vec![bearer(&ours.sign(&claims))];
    // Refused twice: the second time it is remembered.
    for _ in 0..2 {
        assert_eq!(refusal(as_user(&transport, &early).await).1, "TOKEN_INVALID");
    }
    clock.advance(Span::from_secs(60)).expect("forward");
    as_user(&transport, &early).await.expect("its time has come");
    for header in [
        serde_json::json!({"alg": "EdDSA", "kid": "k1"}),
        serde_json::json!({"alg": "EdDSA", "kid": "k1", "typ": "jwt"}),
    ] {
        let plain = vec![bearer(&ours.sign_under(&header, &user_claims()))];
        as_user(&transport, &plain).await.expect("a plain token");
    }
}

/// A user's token and a service's, issued at this time.
fn lasting(ours: &Issuer, now: Timestamp, life: Span) -> [String; 2] {
    let user = common::AccessClaimsWith::of(StandardClaims::lasting(now, life));
    [ours.sign(&user), ours.sign(&ServiceClaims::new(account(), ServiceRole::Product, now, life))]
}

#[tokio::test]
async fn what_is_good_for_longer_than_any_token_lives_is_not_believed() {
    let ours = Issuer::ours();
    let verifier = Verifier::new(ours.keys(), 16);
    // A clock may be a minute ahead of another one.
    let most = LONGEST_LIFE.saturating_add(Span::MINUTE);
    for (life, expected) in [
        (LONGEST_LIFE, None),
        (most, None),
        (most.saturating_add(Span::SECOND), Some("TOKEN_INVALID")),
        (Span::from_days(400), Some("TOKEN_INVALID")),
    ] {
        for token in lasting(&ours, start(), life) {
            // Twice: the second time it is remembered.
            for _ in 0..2 {
                let refused = verifier.verify(&token, start()).await.map_err(Status::from).err();
                assert_eq!(refused.and_then(|status| reason_of(&status)).as_deref(), expected, "{life:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_by_a_test_clock_a_token_may_end_far_ahead() {
    let ours = Issuer::ours();
    let invalid = (Code::Unauthenticated, "TOKEN_INVALID");
    for (clock, expected) in [(Clock::system(), Some(invalid)), (Clock::test(start()), None)] {
        let [user, service] = lasting(&ours, clock.now(), Span::from_days(400));
        let mut deps = common::deps(ours.keys(), Limits::default());
        deps.clock = clock;
        let transport = Transport::routes(stack(Probe::who().bare(), deps));
        let outcomes =
            [as_user(&transport, &vec![bearer(&user)]).await, as_service(&transport, &vec![bearer(&service)]).await];
        for outcome in outcomes {
            let (code, reason) = refusal(outcome);
            match expected {
                Some(expected) => assert_eq!((code, reason.as_str()), expected),
                None => assert_eq!(code, Code::Ok, "{reason}"),
            }
        }
    }
}

/// Tokens that were good until `exp`.
fn expired(ours: &Issuer) -> Vec<(&'static str, String)> {
    let until = |exp| {
        let standard = StandardClaims { exp, ..user_claims().standard };
        ours.sign(&common::AccessClaimsWith::of(standard))
    };
    let now = start().as_unix_secs();
    vec![("expired long ago", until(now - 600)), ("expired this moment", until(now))]
}

/// Bad credentials, and the reason that each is given.
fn bad_credentials(ours: &Issuer) -> Vec<(&'static str, Headers, &'static str)> {
    let token = |(case, token): (_, String)| (case, vec![bearer(&token)]);
    let forged = forged(ours).into_iter().chain(read_too_kindly(ours)).map(token);
    let invalid = garbled(&ours.user()).into_iter().chain(forged);
    let invalid = invalid.map(|(case, headers)| (case, headers, "TOKEN_INVALID"));
    let expired = expired(ours).into_iter().map(token);
    let expired = expired.map(|(case, headers)| (case, headers, "TOKEN_EXPIRED"));
    let missing = ("nothing", Headers::new(), "TOKEN_MISSING");
    invalid.chain(expired).chain([missing]).collect()
}

#[tokio::test]
async fn bad_credentials_are_unauthenticated_and_say_why() {
    let ours = Issuer::ours();
    for (way, transport) in both_ways(Probe::who().routes(&ours)).await {
        for (case, headers, reason) in bad_credentials(&ours) {
            let expected = (Code::Unauthenticated, reason.to_owned());
            // Twice, because the second time a token may come from the cache.
            for _ in 0..2 {
                assert_eq!(refusal(as_user(&transport, &headers).await), expected, "{way}: {case}");
            }
            let anybody = refusal(as_anybody(&transport, &headers).await);
            assert_eq!(anybody.0, Code::Ok, "{way}: {case}, at a public RPC, is ignored");
        }
    }
}

/// Where a public RPC takes a bad token for none, what the service says of its caller would be lost.
#[tokio::test]
async fn a_service_that_says_where_its_caller_is_is_not_taken_for_nobody() {
    let ours = Issuer::ours();
    let stated = ("bursar-client-address", "203.0.113.5".to_owned());
    for (way, transport) in both_ways(Probe::who().routes(&ours)).await {
        for (case, mut headers, reason) in bad_credentials(&ours) {
            headers.push(stated.clone());
            let expected = match reason {
                // Those that have expired are a user's, who says nothing by it either.
                "TOKEN_MISSING" | "TOKEN_EXPIRED" => (Code::Ok, String::new()),
                _ => (Code::Unauthenticated, reason.to_owned()),
            };
            assert_eq!(refusal(as_anybody(&transport, &headers).await), expected, "{way}: {case}");
        }
        let past = start().saturating_sub(Span::from_secs(600));
        let services = ours.sign(&ServiceClaims::new(account(), ServiceRole::Product, past, Span::from_secs(300)));
        let outcome = refusal(as_anybody(&transport, &vec![bearer(&services), stated.clone()]).await);
        assert_eq!(outcome, (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned()), "{way}: a service's");
        let good = vec![bearer(&ours.service(ServiceRole::Product)), stated.clone()];
        as_anybody(&transport, &good).await.expect("admitted");
        // The key that signed a user's may be gone when the user comes back.
        let gone = expired(&Issuer::new("gone", 9)).into_iter().map(|(_, token)| vec![bearer(&token), stated.clone()]);
        for headers in gone {
            as_anybody(&transport, &headers).await.expect("a user says nothing by it");
        }
    }
}

/// All people behind it would be one place, its own, and nobody would notice.
#[tokio::test]
async fn a_service_that_says_unreadably_where_its_caller_is_is_refused() {
    const NAME: &str = "bursar-client-address";
    let ours = Issuer::ours();
    let product = vec![bearer(&ours.service(ServiceRole::Product))];
    for (way, transport) in both_ways(Probe::who().routes(&ours)).await {
        for lines in [&["unknown"][..], &["203.0.113.5, 10.0.0.1"], &["203.0.113.5", "198.51.100.9"]] {
            let stating = |headers: &Headers| {
                let mut request = with(GetRequest::default(), headers);
                for line in lines {
                    request.metadata_mut().append(NAME, line.parse().expect("a header"));
                }
                request
            };
            let mut clocks = ClockServiceClient::new(transport.clone());
            let refused = clocks.get(stating(&product)).await.expect_err("refused");
            let reason = reason_of(&refused).unwrap_or_default();
            assert_eq!(
                (refused.code(), reason.as_str()),
                (Code::InvalidArgument, "INVALID_FIELDS"),
                "{way}: {lines:?}"
            );
            let bad = tonic_types::StatusExt::get_details_bad_request(&refused).expect("BadRequest");
            let fields: Vec<_> = bad.field_violations.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, [NAME], "{way}: {lines:?}");
            clocks.get(stating(&Headers::new())).await.expect("whoever has no token says nothing by it");
        }
    }
}

#[tokio::test]
async fn good_credentials_get_in_as_whom_they_prove() {
    type Outcome<'a> = (Code, &'a str);
    let ours = Issuer::ours();
    let (user, product) = (ours.user(), ours.service(ServiceRole::Product));
    let (user_text, account) = (format!("{} Self_", user_id()), account());
    let table: Vec<(&str, Headers, Outcome, Outcome)> = vec![
        ("a user", vec![bearer(&user)], (Code::Ok, &user_text), (Code::PermissionDenied, "CALLER_NOT_ALLOWED")),
        ("a service", vec![bearer(&product)], (Code::PermissionDenied, "CALLER_NOT_ALLOWED"), (Code::Ok, "svc")),
        (
            "a service acting for a user is that user at an RPC for users",
            vec![bearer(&product), for_user(&user)],
            (Code::Ok, &user_text),
            (Code::Ok, "svc"),
        ),
        (
            "a service acting for a service",
            vec![bearer(&product), for_user(&product)],
            (Code::Unauthenticated, "TOKEN_INVALID"),
            (Code::Unauthenticated, "TOKEN_INVALID"),
        ),
    ];
    for (way, transport) in both_ways(Probe::who().routes(&ours)).await {
        for (case, headers, at_users, at_services) in &table {
            let named = |(code, text): &(Code, &str)| match *text {
                "svc" => (*code, format!("{account} Unspecified")),
                text => (*code, text.to_owned()),
            };
            let got = refusal(as_user(&transport, headers).await);
            assert_eq!(got, named(at_users), "{way}: {case}, at an RPC for users");
            let got = refusal(as_service(&transport, headers).await);
            assert_eq!(got, named(at_services), "{way}: {case}, at an RPC for services");
        }
    }
}

#[tokio::test]
async fn only_a_service_names_a_user_and_only_by_a_token_that_proves_one() {
    let ours = Issuer::ours();
    let (user, product) = (ours.user(), ours.service(ServiceRole::Product));
    let mut named = vec![
        ("a user's", for_user(&user), None),
        ("a service's", for_user(&product), Some("TOKEN_INVALID")),
        ("garbage", for_user("garbage"), Some("TOKEN_INVALID")),
        ("empty", ("bursar-user-authorization", String::new()), Some("TOKEN_INVALID")),
        ("of another scheme", ("bursar-user-authorization", format!("Basic {user}")), Some("TOKEN_INVALID")),
    ];
    let elsewhere = forged(&ours).into_iter().chain(read_too_kindly(&ours));
    named.extend(elsewhere.map(|(case, token)| (case, for_user(&token), Some("TOKEN_INVALID"))));
    named.extend(expired(&ours).into_iter().map(|(case, token)| (case, for_user(&token), Some("TOKEN_EXPIRED"))));
    for (way, transport) in both_ways(Probe::who().routes(&ours)).await {
        for (case, header, reason) in &named {
            let by = |credentials: Headers| credentials.into_iter().chain([header.clone()]).collect::<Headers>();
            let of_user = (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned());
            let of_nobody = (Code::Unauthenticated, "TOKEN_MISSING".to_owned());
            for (who, credentials, expected) in
                [("a user", vec![bearer(&user)], of_user), ("nobody", Headers::new(), of_nobody)]
            {
                let headers = by(credentials);
                assert_eq!(refusal(as_user(&transport, &headers).await), expected, "{way}: {case}, from {who}");
                assert_eq!(refusal(as_service(&transport, &headers).await), expected, "{way}: {case}, from {who}");
                let public = refusal(as_anybody(&transport, &headers).await);
                assert_eq!(public, expected, "{way}: {case}, from {who}, at a public RPC");
            }
            let headers = by(vec![bearer(&product)]);
            for outcome in [as_user(&transport, &headers).await, as_anybody(&transport, &headers).await] {
                let got = refusal(outcome);
                match reason {
                    Some(reason) => assert_eq!(got, (Code::Unauthenticated, (*reason).to_owned()), "{way}: {case}"),
                    None => assert_eq!(got.0, Code::Ok, "{way}: {case}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_caller_is_what_the_token_says() {
    let ours = Issuer::ours();
    let (probe, mut callers) = Probe::reporting();
    let transport = Transport::routes(probe.routes(&ours));
    as_user(&transport, &vec![bearer(&ours.user())]).await.expect("admitted");
    let Some(Caller::User(user)) = callers.recv().await else { panic!("no user") };
    let claims = user_claims();
    assert_eq!(user.user, claims.sub);
    assert_eq!(user.session, claims.sid);
    assert_eq!(user.context, claims.ctx);
    assert_eq!(user.role, claims.role);
    assert_eq!((user.membership_version, user.membership_incarnation), (claims.mv, claims.mvi));
    assert_eq!((user.branch, user.methods), (claims.bid, AuthMethods::PASSWORD));
    assert_eq!(user.authenticated_at.map(Timestamp::as_unix_secs), claims.auth_time);
    assert_eq!((user.operator, user.key), (None, None));
    assert_eq!((&*user.email, user.email_verified), ("ada@example.com", true));
    as_anybody(&transport, &vec![bearer(&ours.user())]).await.expect("admitted");
    let caller = callers.recv().await.expect("a caller");
    assert!(caller.user().is_ok(), "a good token counts at a public RPC: {caller:?}");
    as_anybody(&transport, &vec![]).await.expect("admitted");
    assert_eq!(callers.recv().await, Some(Caller::Anonymous));
}

#[tokio::test]
async fn an_operator_and_a_key_are_told_and_keep_to_what_they_may() {
    let ours = Issuer::ours();
    let (probe, mut callers) = Probe::reporting();
    let transport = Transport::routes(probe.routes(&ours));
    let key = KeyGrant { id: ApiKeyId::from_parts(1, [5; 10]), permissions: [Permission::ViewUsage].into() };
    let acted = AccessClaims { act: Some(Acting { sub: account() }), bid: None, auth_time: None, ..user_claims() };
    let keyed = AccessClaims { key: Some(key.clone()), ..acted.clone() };
    for (claims, reason) in [(&acted, "ACTING_NOT_ALLOWED"), (&keyed, "KEY_NOT_ALLOWED")] {
        // A service that hands the token on hears the same, where it could act for the user.
        let service = ours.service(ServiceRole::Product);
        let token = ours.sign(claims);
        for headers in [vec![bearer(&token)], vec![bearer(&service), for_user(&token)]] {
            // It demands SELF, and is about the user's session.
            let switching = with(SwitchContextRequest::default(), &headers);
            let refused = ContextServiceClient::new(transport.clone()).switch_context(switching).await;
            assert_eq!(refusal(refused.map(|_| String::new())), (Code::PermissionDenied, reason.to_owned()));
        }
    }
    as_user(&transport, &vec![bearer(&ours.sign(&acted))]).await.expect("an operator may look");
    let Some(Caller::User(user)) = callers.recv().await else { panic!("no user") };
    assert_eq!(user.operator, Some(account()));
    let headers = vec![bearer(&ours.service(ServiceRole::Product)), for_user(&ours.sign(&acted))];
    as_service(&transport, &headers).await.expect("it demands nothing of the user");
    let Some(Caller::Service(service)) = callers.recv().await else { panic!("no service") };
    let user = service.on_behalf_of.expect("a user");
    assert_eq!((user.operator, user.branch, user.authenticated_at), (Some(account()), None, None));
}

#[tokio::test]
async fn whoever_is_suspended_is_refused_by_every_rpc_whoever_hands_the_token_on() {
    let ours = Issuer::ours();
    let deps = common::deps(ours.keys(), Limits::default());
    let suspended = deps.suspended.clone();
    let (user, product) = (vec![bearer(&ours.user())], ours.service(ServiceRole::Product));
    let handed_on = vec![bearer(&product), for_user(&ours.user())];
    for (way, transport) in both_ways(stack(Probe::who().bare(), deps)).await {
        suspended.replace([user_id()].into());
        for headers in [&user, &handed_on] {
            let outcomes = [
                as_user(&transport, headers).await,
                as_service(&transport, headers).await,
                as_anybody(&transport, headers).await,
            ];
            for outcome in outcomes {
                let expected = (Code::PermissionDenied, "USER_SUSPENDED".to_owned());
                assert_eq!(refusal(outcome), expected, "{way}");
            }
        }
        as_service(&transport, &vec![bearer(&product)]).await.expect("the service by itself");
        as_anybody(&transport, &vec![]).await.expect("nobody in particular");
        suspended.replace([bursar_id::UserId::from_parts(1, [1; 10])].into());
        as_user(&transport, &user).await.expect("somebody else is suspended");
    }
}

#[tokio::test]
async fn a_token_expires_by_the_clock_also_when_it_is_remembered() {
    let ours = Issuer::ours();
    let clock = Clock::test(start());
    let mut deps = common::deps(ours.keys(), Limits::default());
    deps.clock = clock.clone();
    let transport = Transport::routes(stack(Probe::who().bare(), deps));
    let headers = vec![bearer(&ours.user())];
    as_user(&transport, &headers).await.expect("fresh");
    clock.advance(Span::from_secs(299)).expect("forward");
    as_user(&transport, &headers).await.expect("a second before the end");
    clock.advance(Span::from_secs(1)).expect("forward");
    let status = as_user(&transport, &headers).await.expect_err("over");
    assert_eq!(reason_of(&status).as_deref(), Some("TOKEN_EXPIRED"));
    let later = ServiceClaims::new(account(), ServiceRole::Billing, clock.now(), Span::from_secs(60));
    as_service(&transport, &vec![bearer(&ours.sign(&later))]).await.expect("a new one");
}

/// Kind: whoever comes back with an old token gets another one, and does not sign in anew because of keys that come and go.
#[tokio::test]
async fn a_token_that_is_over_has_expired_also_where_its_key_is_not_known() {
    let (ours, other) = (Issuer::ours(), Issuer::new("gone", 9));
    for (way, transport) in both_ways(Probe::who().routes(&ours)).await {
        let over = expired(&other).into_iter().map(|(case, token)| (case, token, "TOKEN_EXPIRED"));
        for (case, token, reason) in over.chain([("good by itself", other.user(), "TOKEN_INVALID")]) {
            let expected = (Code::Unauthenticated, reason.to_owned());
            assert_eq!(refusal(as_user(&transport, &vec![bearer(&token)]).await), expected, "{way}: {case}");
        }
    }
}
