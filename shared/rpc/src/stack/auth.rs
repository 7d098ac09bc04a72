//! Who is calling, and whether the RPC's access rule admits that kind of caller.
//!
//! Roles in an organization are *not* decided here: a token knows them as they were when it was issued.
//! The use case compares the rule's permission ([`Caller::permission`]) with the membership as it is.

use std::convert::Infallible;

use axum::body::Body;
use bursar_proto::access::MethodRule;
use bursar_proto::access::v1::CallerKind;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tonic::{Code, Status};
use tower::Service;

use super::{Call, Shared, methods::Access};
use crate::Problem;
use crate::caller::{Caller, ServiceRole};
use crate::problem::reason;
use crate::transport::context::{CallContext, TRACEPARENT, USER_AUTHORIZATION};

/// Runs the handler with the [`Caller`] in its request, if the access rule admits the caller.
pub(super) async fn admitted<S>(
    shared: &Shared,
    call: &Call,
    mut inner: S,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let caller = match call.method.access {
        Access::Infrastructure => Caller::Anonymous,
        Access::Rule(rule) => decide(rule, authenticate(shared, rule, request.headers()).await?)?,
        Access::NoRule => {
            return Err(Problem::permission_denied(
                reason::RPC_WITHOUT_RULE,
                "this RPC declares no access rule, so nobody may call it",
            )
            .into());
        }
        Access::Unknown => {
            let sentence = "there is no such RPC";
            return Err(Problem::new(Code::Unimplemented, reason::NO_SUCH_RPC, sentence).into());
        }
    };
    let context = CallContext {
        deadline: call.deadline,
        call_id: call.id.clone(),
        traceparent: request.headers().get(TRACEPARENT).cloned(),
        user_authorization: user_authorization(&caller, request.headers()),
    };
    request.extensions_mut().insert(crate::mutation::Serving(call.method.name));
    request.extensions_mut().insert(caller);
    let answer = context.scope(inner.call(request)).await;
    answer.map_err(|never| match never {})
}

/// Where the user's token is, if there is a user.
fn user_authorization(caller: &Caller, headers: &HeaderMap) -> Option<HeaderValue> {
    caller.user().ok()?;
    headers.get(USER_AUTHORIZATION).or_else(|| headers.get(AUTHORIZATION)).cloned()
}

/// Whom the tokens prove. On a public RPC a token that proves nothing is ignored.
async fn authenticate(shared: &Shared, rule: &MethodRule, headers: &HeaderMap) -> Result<Caller, Problem> {
    match prove(shared, headers).await {
        Err(_) if admits(rule, CallerKind::Public) => Ok(Caller::Anonymous),
        proven => proven,
    }
}

async fn prove(shared: &Shared, headers: &HeaderMap) -> Result<Caller, Problem> {
    let now = shared.clock.now();
    let Some(token) = bearer(headers, &AUTHORIZATION)? else {
        return Err(Problem::unauthenticated(
            reason::TOKEN_MISSING,
            "this needs an access token: authorization: Bearer …",
        ));
    };
    let mut caller = shared.verifier.verify(token, now).await?;
    if let Caller::Service(service) = &mut caller
        && let Some(token) = bearer(headers, &USER_AUTHORIZATION)?
    {
        let named = |problem: Problem| problem.with_metadata("header", USER_AUTHORIZATION.as_str());
        match shared.verifier.verify(token, now).await.map_err(named)? {
            Caller::User(user) => service.on_behalf_of = Some(user),
            Caller::Anonymous | Caller::Service(_) => {
                let sentence = "bursar-user-authorization must be a user's token";
                return Err(named(Problem::unauthenticated(reason::TOKEN_INVALID, sentence)));
            }
        }
    }
    Ok(caller)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::methods::Method;
    use crate::{KeySet, Limits, Permission, PublicKeys, ServiceCaller, StackDeps, UserCaller};
    use bursar_id::{OwnerId, ServiceAccountId, SessionId, UserId};
    use bursar_proto::access::Idempotency;
    use bursar_secret::Entropy;
    use bursar_time::Clock;
    use tokio::time::Instant;

    fn user() -> UserCaller {
        let user = UserId::from_parts(1, [1; 10]);
        UserCaller {
            user,
            session: SessionId::from_parts(1, [2; 10]),
            context: OwnerId::User(user),
            role: None,
            membership_version: 0,
            email: "ada@example.com".into(),
            email_verified: true,
            permission: Permission::Unspecified,
        }
    }

    fn service(role: ServiceRole, on_behalf_of: Option<UserCaller>) -> Caller {
        let account = ServiceAccountId::BILLING;
        Caller::Service(ServiceCaller { account, role, on_behalf_of, permission: Permission::Unspecified })
    }

    fn rule(callers: &'static [CallerKind], service_roles: &'static [&'static str]) -> MethodRule {
        MethodRule {
            callers,
            permission: Permission::Own,
            service_roles,
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
            Caller::User(user()),
            service(ServiceRole::Billing, None),
            service(ServiceRole::Product, None),
            service(ServiceRole::Billing, Some(user())),
            service(ServiceRole::Product, Some(user())),
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

    #[tokio::test]
    async fn an_rpc_without_a_rule_is_refused_before_its_handler() {
        let shared = Shared::new(StackDeps {
            keys: KeySet::fixed(PublicKeys::default()),
            clock: Clock::system(),
            entropy: Entropy::seeded(1),
            meter: opentelemetry::global::meter("test"),
            limits: Limits::default(),
        });
        let call = Call {
            method: Method { name: "a.Service/Method", access: Access::NoRule },
            id: HeaderValue::from_static("id"),
            started: Instant::now(),
            deadline: Instant::now() + std::time::Duration::from_secs(9),
        };
        let handler = tower::service_fn(|_: Request<Body>| async {
            panic!("the handler ran");
            #[expect(unreachable_code, reason = "gives the future its type")]
            Ok::<Response<Body>, Infallible>(Response::default())
        });
        let status = admitted(&shared, &call, handler, Request::default()).await.expect_err("refused");
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(crate::problem::reason_of(&status).as_deref(), Some(reason::RPC_WITHOUT_RULE));
    }
}
