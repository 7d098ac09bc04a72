//! Who is calling, and whether the RPC's access rule admits that kind of caller.
//!
//! Roles in an organization are *not* decided here: a token knows them as they were when it was issued.
//! The use case compares the rule's permission ([`Caller::permission`]) with the membership as it is.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use bursar_db::Asker;
use bursar_id::ServiceAccountId;
use bursar_proto::access::v1::{Acting, CallerKind};
use bursar_proto::access::{Idempotency, MethodRule};
use bursar_time::{CLOCKS_APART, Span, Timestamp};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Request, Response};
use tonic::Status;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::Service;

use super::shed::{By, Place};
use super::weight::{self, Weight};
use super::{Call, Shared, methods::Access, reasons};
use crate::caller::{Caller, ServiceRole};
use crate::problem::reason;
use crate::token::says_it_was_a_users;
use crate::transport::context::{CallContext, TRACEPARENT, USER_AUTHORIZATION, VerifiedToken};
use crate::unstated::Unheard;
use crate::{Origin, Problem, Site, TrustedProxies, origin};

/// How long a proof of who somebody is counts as recent (product.md, "Identity").
const RECENT: Span = Span::from_mins(10);

/// Runs the handler with the [`Caller`] in its request, if the access rule admits the caller. The call's place in work is the
/// caller's from then on.
pub(super) async fn admitted<S>(
    shared: &Shared,
    call: &Call,
    place: &mut Option<Place<'_>>,
    mut inner: S,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let (caller, user, by) = match call.method.access {
        Access::Infrastructure => (Caller::Anonymous, None, None),
        Access::Rule(rule) => {
            known_time(shared, rule)?;
            let proven = authenticate(shared, rule, Sent::of(&request)).await?;
            not_suspended(shared, &proven.caller)?;
            let origin = origin(shared, &proven.caller, &request)?;
            if let Some(unheard) = Unheard::of(&shared.unstated, (call.method.name, rule), &proven.caller, origin) {
                request.extensions_mut().insert(unheard);
            }
            request.extensions_mut().insert(origin);
            let caller = decide(rule, proven.caller)?;
            restrict(rule, &caller, shared.clock.now())?;
            let by = By::of(&caller, origin);
            if let Some(place) = place {
                place.belongs_to(by)?;
            }
            // Nobody is handed on who is nobody here.
            let user = proven.user.filter(|_| caller.user().is_ok());
            (caller, user, Some(by))
        }
        Access::NoRule => {
            return Err(Problem::permission_denied(
                reason::RPC_WITHOUT_RULE,
                "this RPC declares no access rule, so nobody may call it",
            )
            .into());
        }
        Access::Unknown => return Err(reasons::no_such_rpc().into()),
    };
    let context = CallContext {
        deadline: call.deadline,
        call_id: call.id.clone(),
        traceparent: request.headers().get(TRACEPARENT).cloned(),
        user,
    };
    request.extensions_mut().insert(crate::asked::Serving(call.method.name));
    request.extensions_mut().insert(caller);
    let weight = by.map(|by| Weight::none(&shared.in_flight, by));
    // Of the store's connections it takes the caller's turns.
    let asker = by.map_or(Asker::PROGRAM, By::asker);
    let answer = asker.scope(weight::counted(weight, context.scope(inner.call(request)))).await;
    answer.map_err(|never| match never {})
}

/// Refuses what needs to know the time while the clock is not to be decided by: whatever changes something, and whatever
/// a token is needed for, since whether it has expired is a matter of time.
fn known_time(shared: &Shared, rule: &MethodRule) -> Result<(), Problem> {
    let timeless = admits(rule, CallerKind::Public) && rule.idempotency == Idempotency::NoSideEffects;
    match shared.clock.doubt() {
        Some(doubt) if !timeless => Err(doubt.into()),
        _ => Ok(()),
    }
}

/// Whoever is suspended is refused before anything else, whatever is asked and whoever hands the token on.
fn not_suspended(shared: &Shared, caller: &Caller) -> Result<(), Problem> {
    match caller.user() {
        Ok(user) if shared.suspended.contains(user.user) => {
            Err(Problem::permission_denied(reason::USER_SUSPENDED, "the user is suspended"))
        }
        _ => Ok(()),
    }
}

/// Where the call comes from; before the rule decides, to which a service may be no more than anybody.
fn origin(shared: &Shared, proven: &Caller, request: &Request<Body>) -> Result<Origin, Problem> {
    let (sent, service) = (Sent::of(request), proven.service().map(|service| service.account));
    origin::find(service, sent.peer, sent.headers, &shared.limits.trusted_proxies)
}

/// The other end of the connection on which a call comes; `None` for one in this process.
pub(super) fn peer(request: &Request<Body>) -> Option<SocketAddr> {
    let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let secured = || request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>()?.get_ref().remote_addr();
    peer.or_else(secured)
}

/// Whom the tokens of a call prove.
struct Proven {
    /// Who calls.
    caller: Caller,
    /// The user's token: the caller's own, or that of whom a service acts for.
    user: Option<VerifiedToken>,
}

impl Proven {
    const NOBODY: Self = Self { caller: Caller::Anonymous, user: None };
}

/// Whom the tokens prove. On a public RPC a token that proves nothing is ignored, but nobody gets in who claims to act for
/// somebody and proves neither, nor who says where its caller is as a service does, and proves to be none.
async fn authenticate(shared: &Shared, rule: &MethodRule, sent: Sent<'_>) -> Result<Proven, Problem> {
    let headers = sent.headers;
    let refused = match prove(shared, sent).await {
        Ok(proven) => return Ok(proven),
        Err(refused) => refused,
    };
    let is_open = admits(rule, CallerKind::Public) && !headers.contains_key(USER_AUTHORIZATION);
    if is_open && !states_origin(shared, rule, headers) { Ok(Proven::NOBODY) } else { Err(refused) }
}

/// Whether a service, as it seems by its bad token, says where its caller is. It is not taken for nobody: what it says would go
/// unheard, and all people behind it would be counted, and known, as one place. Whoever sends no token says nothing by that
/// header, nor does whoever has a user's that has expired; and where a secret proves the service no token has to.
fn states_origin(shared: &Shared, rule: &MethodRule, headers: &HeaderMap) -> bool {
    if rule.proven_by_secret || !headers.contains_key(origin::CLIENT_ADDRESS) {
        return false;
    }
    match bearer(headers, &AUTHORIZATION) {
        Ok(Some(token)) => !says_it_was_a_users(token, shared.clock.now()),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// What was sent before the message, and by whose machine.
#[derive(Clone, Copy)]
struct Sent<'a> {
    headers: &'a HeaderMap,
    peer: Option<IpAddr>,
}

impl<'a> Sent<'a> {
    fn of(request: &'a Request<Body>) -> Self {
        Self { headers: request.headers(), peer: peer(request).map(|address| address.ip()) }
    }

    /// Where it comes from, for which keys are fetched so often: as this service says, which is proven, else as the way shows.
    fn site(self, service: Option<ServiceAccountId>, trusted: &TrustedProxies) -> Site {
        let found = origin::find(service, self.peer, self.headers, trusted);
        // What a service says unreadably is refused once everything is proven.
        found.unwrap_or_else(|_| service.map_or(Origin::Local, Origin::Service)).site()
    }
}

async fn prove(shared: &Shared, sent: Sent<'_>) -> Result<Proven, Problem> {
    let (now, headers, trusted) = (shared.clock.now(), sent.headers, &shared.limits.trusted_proxies);
    let Some(token) = bearer(headers, &AUTHORIZATION)? else {
        return Err(Problem::unauthenticated(
            reason::TOKEN_MISSING,
            "this needs an access token: authorization: Bearer …",
        ));
    };
    let caller = shared.verifier.verify_from(token, now, sent.site(None, trusted)).await?;
    let named = |problem: Problem| problem.with_metadata("header", USER_AUTHORIZATION.as_str());
    let Caller::Service(mut service) = caller else {
        if headers.contains_key(USER_AUTHORIZATION) {
            let sentence = "only a service acts for somebody else: bursar-user-authorization is not for users";
            return Err(named(Problem::permission_denied(reason::CALLER_NOT_ALLOWED, sentence)));
        }
        return Ok(Proven { caller, user: VerifiedToken::new(token) });
    };
    let Some(token) = bearer(headers, &USER_AUTHORIZATION)? else {
        return Ok(Proven { caller: Caller::Service(service), user: None });
    };
    let asker = sent.site(Some(service.account), trusted);
    match shared.verifier.verify_from(token, now, asker).await.map_err(named)? {
        Caller::User(user) => service.on_behalf_of = Some(user),
        Caller::Anonymous | Caller::Service(_) => {
            let sentence = "bursar-user-authorization must be a user's token";
            return Err(named(Problem::unauthenticated(reason::TOKEN_INVALID, sentence)));
        }
    }
    Ok(Proven { caller: Caller::Service(service), user: VerifiedToken::new(token) })
}

/// The token of a `Bearer …` header; `None` without the header.
fn bearer<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
        .map(|(_, token)| Some(token.trim_start_matches(' ')))
        .ok_or_else(|| {
            let sentence = format!("{name} must be Bearer and a token");
            Problem::unauthenticated(reason::TOKEN_INVALID, sentence)
        })
}

fn admits(rule: &MethodRule, kind: CallerKind) -> bool {
    rule.callers.contains(&kind)
}

fn names(rule: &MethodRule, service: ServiceRole) -> bool {
    admits(rule, CallerKind::Service) && rule.service_roles.contains(&service.as_str())
}

/// Whether the rule admits the caller, and as whom: a service whose role it does not name is no more
/// than the user it acts for, or than anybody.
fn decide(rule: &MethodRule, caller: Caller) -> Result<Caller, Problem> {
    let (public, user) = (admits(rule, CallerKind::Public), admits(rule, CallerKind::User));
    let caller = match caller {
        Caller::Anonymous if public => Caller::Anonymous,
        Caller::Anonymous => {
            let sentence = "this needs an access token";
            return Err(Problem::unauthenticated(reason::TOKEN_MISSING, sentence));
        }
        Caller::User(caller) if user || public => Caller::User(caller),
        Caller::User(_) => {
            let sentence = "this RPC is for services only";
            return Err(Problem::permission_denied(reason::CALLER_NOT_ALLOWED, sentence));
        }
        Caller::Service(caller) if names(rule, caller.role) => Caller::Service(caller),
        Caller::Service(caller) => match caller.on_behalf_of {
            Some(behind) if user || public => Caller::User(behind),
            _ if public => Caller::Anonymous,
            _ if admits(rule, CallerKind::Service) => {
                return Err(Problem::permission_denied(
                    reason::SERVICE_ROLE_NOT_ALLOWED,
                    format!("this RPC is not for services of the role {}", caller.role),
                )
                .with_metadata("role", caller.role.as_str()));
            }
            _ => {
                return Err(Problem::permission_denied(
                    reason::CALLER_NOT_ALLOWED,
                    "this RPC is for users; a service sends the user's token in bursar-user-authorization",
                ));
            }
        },
    };
    Ok(caller.at(rule.permission))
}

/// Whether the token was issued for this sort of thing, whoever's it is: an API key may what it was given, an operator
/// who acts for a user keeps off what is the user's own, and what cannot be undone needs a fresh proof.
fn restrict(rule: &MethodRule, caller: &Caller, now: Timestamp) -> Result<(), Problem> {
    let Ok(user) = caller.user() else {
        return Ok(());
    };
    if admits(rule, CallerKind::Public) {
        // Whoever it is, anybody may.
        return Ok(());
    }
    if user.key.as_ref().is_some_and(|key| !key.permits(rule.permission)) {
        let sentence = "the API key was not given the permission for this";
        return Err(Problem::permission_denied(reason::KEY_NOT_ALLOWED, sentence));
    }
    // What is for services alone is done by the service's authority, whoever's token it hands on.
    if user.operator.is_some() && admits(rule, CallerKind::User) && rule.acting != Acting::Allowed {
        let sentence = "an operator who acts for a user may not do this";
        return Err(Problem::permission_denied(reason::ACTING_NOT_ALLOWED, sentence));
    }
    if rule.recent_authentication && !is_recent(user.authenticated_at, now) {
        return Err(Problem::failed_precondition(
            reason::REAUTHENTICATION_REQUIRED,
            "this needs a proof of who you are that is younger than ten minutes: sign in again",
        ));
    }
    Ok(())
}

/// Whether somebody proved who they are within [`RECENT`]. A proof of the near future (clocks differ) is one of now; one of
/// a later time was written by a wrong clock, and would be recent for longer.
fn is_recent(authenticated_at: Option<Timestamp>, now: Timestamp) -> bool {
    authenticated_at.is_some_and(|at| now.since(at) <= RECENT && at.since(now) <= CLOCKS_APART)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::tests::person;
    use crate::stack::methods::Method;
    use crate::{KeyGrant, KeySet, Limits, Permission, PublicKeys, ServiceCaller, StackDeps, Suspended, UserCaller};
    use bursar_id::ApiKeyId;
    use bursar_proto::access::Idempotency;
    use bursar_secret::Entropy;
    use bursar_time::Clock;
    use http::HeaderValue;
    use tokio::time::Instant;

    fn service(role: ServiceRole, on_behalf_of: Option<UserCaller>) -> Caller {
        let account = ServiceAccountId::BILLING;
        Caller::Service(ServiceCaller { account, role, on_behalf_of, permission: Permission::Unspecified })
    }

    fn rule(callers: &'static [CallerKind], service_roles: &'static [&'static str]) -> MethodRule {
        MethodRule {
            callers,
            permission: Permission::Own,
            service_roles,
            recent_authentication: false,
            acting: Acting::Unspecified,
            proven_by_secret: false,
            idempotency: Idempotency::Unknown,
            server_streaming: false,
            client_streaming: false,
        }
    }

    const ANYBODY: &str = "anonymous";
    const USER: &str = "user";
    const SERVICE: &str = "service";
    const BOTH: &str = "service for user";
    const MISSING: &str = reason::TOKEN_MISSING;
    const KIND: &str = reason::CALLER_NOT_ALLOWED;
    const ROLE: &str = reason::SERVICE_ROLE_NOT_ALLOWED;

    /// Rules × callers: as whom each caller gets in, or why not. The callers are nobody, a user, the
    /// services billing and product, and both again acting for the user.
    #[rustfmt::skip]
    fn table() -> [(MethodRule, [&'static str; 6]); 7] {
        use CallerKind::{Public, Service, User};
        const BILLING: &[&str] = &["billing"];
        [
            (rule(&[Public], &[]), [ANYBODY, USER, ANYBODY, ANYBODY, USER, USER]),
            (rule(&[User], &[]), [MISSING, USER, KIND, KIND, USER, USER]),
            (rule(&[Service], BILLING), [MISSING, KIND, SERVICE, ROLE, BOTH, ROLE]),
            (rule(&[User, Service], BILLING), [MISSING, USER, SERVICE, ROLE, BOTH, USER]),
            (rule(&[Public, Service], BILLING), [ANYBODY, USER, SERVICE, ANYBODY, BOTH, USER]),
            // A kind without a role, and a role without the kind, are nobody's.
            (rule(&[Service], &[]), [MISSING, KIND, ROLE, ROLE, ROLE, ROLE]),
            (rule(&[User], BILLING), [MISSING, USER, KIND, KIND, USER, USER]),
        ]
    }

    #[test]
    fn rules_admit_whom_they_name() {
        let callers = [
            Caller::Anonymous,
            Caller::User(person()),
            service(ServiceRole::Billing, None),
            service(ServiceRole::Product, None),
            service(ServiceRole::Billing, Some(person())),
            service(ServiceRole::Product, Some(person())),
        ];
        for (rule, row) in table() {
            for (caller, expected) in callers.iter().zip(row) {
                let decided = decide(&rule, caller.clone());
                let outcome = match &decided {
                    Ok(Caller::Anonymous) => ANYBODY,
                    Ok(Caller::User(_)) => USER,
                    Ok(Caller::Service(service)) if service.on_behalf_of.is_some() => BOTH,
                    Ok(Caller::Service(_)) => SERVICE,
                    Err(problem) => problem.reason(),
                };
                assert_eq!(outcome, expected, "{rule:?} ← {caller:?}");
                if let Ok(Caller::User(user)) = decided {
                    assert_eq!(user.permission, Permission::Own, "the rule's permission goes along");
                }
            }
        }
    }

    #[test]
    fn a_token_is_good_for_what_it_was_issued_for() {
        const REAUTHENTICATE: &str = reason::REAUTHENTICATION_REQUIRED;
        let at = |secs: i64| Timestamp::from_unix_secs(secs).expect("a time");
        let demands = |permission, recent_authentication| MethodRule {
            permission,
            recent_authentication,
            ..rule(&[CallerKind::User], &[])
        };
        let acting = |acting| MethodRule { acting, ..demands(Permission::ViewUsage, false) };
        let plain = person();
        let fresh = UserCaller { authenticated_at: Some(at(1_000)), ..person() };
        let acted = UserCaller { operator: Some(ServiceAccountId::OPERATOR), ..person() };
        let id = ApiKeyId::from_parts(1, [3; 10]);
        let keyed = UserCaller { key: Some(KeyGrant { id, permissions: [Permission::ViewUsage].into() }), ..person() };
        let cases = [
            ("anything", &plain, demands(Permission::Own, false), 1_000, None),
            ("nobody proved anything", &plain, demands(Permission::Own, true), 1_000, Some(REAUTHENTICATE)),
            ("ten minutes ago", &fresh, demands(Permission::Own, true), 1_600, None),
            ("a second more", &fresh, demands(Permission::Own, true), 1_601, Some(REAUTHENTICATE)),
            ("a clock that is ahead", &fresh, demands(Permission::Own, true), 990, None),
            ("as far ahead as clocks may be", &fresh, demands(Permission::Own, true), 940, None),
            ("a clock that was far ahead", &fresh, demands(Permission::Own, true), 939, Some(REAUTHENTICATE)),
            ("given to the key", &keyed, demands(Permission::ViewUsage, false), 0, None),
            ("not given", &keyed, demands(Permission::UseWorkspace, false), 0, Some(reason::KEY_NOT_ALLOWED)),
            ("the user's own", &keyed, demands(Permission::Self_, false), 0, Some(reason::KEY_NOT_ALLOWED)),
            ("an operator who may", &acted, acting(Acting::Allowed), 0, None),
            ("an operator who may not", &acted, acting(Acting::Forbidden), 0, Some(reason::ACTING_NOT_ALLOWED)),
            ("nobody said", &acted, acting(Acting::Unspecified), 0, Some(reason::ACTING_NOT_ALLOWED)),
            ("it is about operators alone", &plain, acting(Acting::Forbidden), 0, None),
        ];
        for (name, user, rule, now, expected) in cases {
            let callers = [Caller::User(user.clone()), service(ServiceRole::Product, Some(user.clone()))];
            for caller in callers {
                let refused = restrict(&rule, &caller, at(now)).err();
                assert_eq!(refused.as_ref().map(Problem::reason), expected, "{name}: {caller:?}");
            }
        }
        let alone = service(ServiceRole::Operator, None);
        assert!(restrict(&demands(Permission::Own, true), &alone, at(0)).is_ok(), "it says nothing about services");
    }

    #[tokio::test]
    async fn an_rpc_without_a_rule_is_refused_before_its_handler() {
        let shared = Shared::new(StackDeps {
            keys: KeySet::fixed(PublicKeys::default()),
            clock: Clock::system(),
            entropy: Entropy::seeded(1),
            meter: opentelemetry::global::meter("test"),
            limits: Limits::default(),
            suspended: Suspended::default(),
        });
        let call = Call {
            method: Method { name: "a.Service/Method", access: Access::NoRule, grows: None },
            id: HeaderValue::from_static("id"),
            started: Instant::now(),
            deadline: Instant::now() + std::time::Duration::from_secs(9),
        };
        let handler = tower::service_fn(|_: Request<Body>| async {
            panic!("the handler ran");
            #[expect(unreachable_code, reason = "gives the future its type")]
            Ok::<Response<Body>, Infallible>(Response::default())
        });
        let status = admitted(&shared, &call, &mut None, handler, Request::default()).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(crate::problem::reason_of(&status).as_deref(), Some(reason::RPC_WITHOUT_RULE));
    }
}
