//! [`Caller`]: who is calling, as the authentication layer proved it.
//!
//! Here is *who*; what a role may do is in [`crate::access`], and whether somebody is a member *now* is
//! for the service that owns or projects memberships.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bursar_id::{OwnerId, Role, ServiceAccountId, SessionId, UserId};
use bursar_proto::access::v1::Permission;
use bursar_time::Timestamp;
use tonic::{Request, Status};

use crate::Problem;
use crate::authentication::{AuthMethods, Branch, KeyGrant};
use crate::problem::reason;

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular; only RPCs that are public see this.
    Anonymous,
    /// A person, with the context that the token carries.
    User(UserCaller),
    /// One of the product's services, perhaps acting for a person.
    Service(ServiceCaller),
}

/// Whose call it is, where places are counted: a person's, with whatever token and through whatever service, or a service's for
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// A person's, also where a service acts for one.
    Person(UserId),
    /// A service's, for itself.
    Service(ServiceAccountId),
}

/// A person who calls, as the access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCaller {
    /// Who.
    pub user: UserId,
    /// The session that the token belongs to.
    pub session: SessionId,
    /// The branch of the session, by its refresh token; `None` for tokens that no refresh token gave.
    pub branch: Option<Branch>,
    /// The one context in which the token acts.
    pub context: OwnerId,
    /// The role in the organization that is the context, at the time of issue. `None` in the personal
    /// context, and after the membership ended.
    pub role: Option<Role>,
    /// The version of the membership behind `role`; of two of one incarnation, the greater is newer. 0 without a role.
    pub membership_version: u64,
    /// The incarnation of organization's store in which `membership_version` counts; of two, the greater is newer. 0
    /// without a role.
    pub membership_incarnation: u64,
    /// The account's mail address at the time of issue.
    pub email: Arc<str>,
    /// Whether that address is proven to be the person's.
    pub email_verified: bool,
    /// When the person proved who they are, in whole seconds; `None` where nobody did (an API key, an operator).
    pub authenticated_at: Option<Timestamp>,
    /// By which means.
    pub methods: AuthMethods,
    /// The operator who acts on the person's behalf, if one does.
    pub operator: Option<ServiceAccountId>,
    /// The API key in whose name the call is made, if one is.
    pub key: Option<KeyGrant>,
    /// What the RPC being served demands.
    pub permission: Permission,
}

impl UserCaller {
    /// Whether the API key in whose name the call is made, if one is, was given this permission: a key is never good for
    /// more than that, also where an answer shows more to some than to others.
    pub fn key_permits(&self, permission: Permission) -> bool {
        self.key.as_ref().is_none_or(|key| key.permits(permission))
    }

    /// Somebody for a test: at home, with an address that is proven, at an RPC that demands nothing.
    pub fn for_test(user: UserId) -> Self {
        Self {
            user,
            session: SessionId::from_parts(1, [2; 10]),
            branch: None,
            context: OwnerId::User(user),
            role: None,
            membership_version: 0,
            membership_incarnation: 0,
            email: "ada@example.com".into(),
            email_verified: true,
            authenticated_at: None,
            methods: AuthMethods::default(),
            operator: None,
            key: None,
            permission: Permission::Unspecified,
        }
    }
}

/// A service that calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCaller {
    /// Its account.
    pub account: ServiceAccountId,
    /// What sort of service it is.
    pub role: ServiceRole,
    /// The person it acts for, whose token it sent along.
    pub on_behalf_of: Option<UserCaller>,
    /// What the RPC being served demands.
    pub permission: Permission,
}

/// The sorts of services, by which RPCs name who may call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceRole {
    /// Whoever operates the deployment.
    Operator,
    /// Bursar's identity service.
    Identity,
    /// Bursar's organization service.
    Organization,
    /// Bursar's billing service.
    Billing,
    /// Any other back-end service of the product.
    Product,
}

impl ServiceRole {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Operator, Self::Identity, Self::Organization, Self::Billing, Self::Product];

    /// The name in tokens, databases and access rules: `operator`, `identity`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Identity => "identity",
            Self::Organization => "organization",
            Self::Billing => "billing",
            Self::Product => "product",
        }
    }

    /// Whether it is one of Bursar's own services.
    pub const fn is_bursars_own(self) -> bool {
        match self {
            Self::Identity | Self::Organization | Self::Billing => true,
            Self::Operator | Self::Product => false,
        }
    }
}

/// A text that names no service role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be operator, identity, organization, billing or product")]
pub struct ServiceRoleError;

impl FromStr for ServiceRole {
    type Err = ServiceRoleError;
    fn from_str(text: &str) -> Result<Self, ServiceRoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(ServiceRoleError)
    }
}

impl fmt::Display for ServiceRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Caller {
    /// Whoever operates the deployment, for themselves, where that is proven by no token: a command of a program does what an RPC
    /// that demands `permission` does.
    pub fn operator(permission: Permission) -> Self {
        let (account, role) = (ServiceAccountId::OPERATOR, ServiceRole::Operator);
        Self::Service(ServiceCaller { account, role, on_behalf_of: None, permission })
    }

    /// Who makes this request. An error only if the handler is served without the stack.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::internal(&"a handler is served without the authentication layer").into())
    }

    /// Whose call it is; `None` for somebody whom nobody knows.
    pub fn party(&self) -> Option<Party> {
        match self {
            Self::User(user) => Some(Party::Person(user.user)),
            Self::Service(service) => Some(match &service.on_behalf_of {
                None => Party::Service(service.account),
                Some(user) => Party::Person(user.user),
            }),
            Self::Anonymous => None,
        }
    }

    /// The person: the caller, or the one for whom a service calls.
    pub fn user(&self) -> Result<&UserCaller, Problem> {
        match self {
            Self::User(user) | Self::Service(ServiceCaller { on_behalf_of: Some(user), .. }) => Ok(user),
            Self::Service(_) => Err(Problem::permission_denied(
                reason::CALLER_NOT_ALLOWED,
                "this needs a user: send the user's token in bursar-user-authorization",
            )),
            Self::Anonymous => Err(Problem::unauthenticated(
                reason::TOKEN_MISSING,
                "this needs an access token in the authorization header",
            )),
        }
    }

    /// The service, if one calls (for somebody or for itself).
    pub fn service(&self) -> Option<&ServiceCaller> {
        match self {
            Self::Service(service) => Some(service),
            Self::Anonymous | Self::User(_) => None,
        }
    }

    /// What the RPC being served demands of a member in an organization; `Unspecified` on RPCs that
    /// demand nothing beyond being their kind of caller, and for an anonymous caller.
    pub fn permission(&self) -> Permission {
        match self {
            Self::Anonymous => Permission::Unspecified,
            Self::User(user) => user.permission,
            Self::Service(service) => service.permission,
        }
    }

    /// Whose request ids these are: one caller's never collide with another's. A service's are its own, for whomever it
    /// acts; a user cannot burn them.
    pub fn scope(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::User(user) => user.user.to_string(),
            Self::Service(service) => service.account.to_string(),
        }
    }

    /// In whose name this caller acts: `usr_…` for a user and for a service on a user's behalf, else `svc_…` or
    /// `anonymous`. The audit log says more: it keeps apart who acts and for whom ([`Self::names`]).
    pub fn actor(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::User(user) => user.user.to_string(),
            Self::Service(service) => {
                service.on_behalf_of.as_ref().map_or_else(|| service.account.to_string(), |user| user.user.to_string())
            }
        }
    }

    /// Who acts, and for whom, as the audit log names them: a person, a person's key or an operator in a person's name, a
    /// service. `None` for a caller of whom nothing is known.
    pub fn names(&self) -> Option<(String, Option<String>)> {
        match self {
            Self::User(user) => {
                let id = user.user.to_string();
                let key = user.key.as_ref().map(|key| key.id.to_string());
                Some(match user.operator.map(|operator| operator.to_string()).or(key) {
                    Some(actor) => (actor, Some(id)),
                    None => (id, None),
                })
            }
            Self::Service(service) => {
                let user = service.on_behalf_of.as_ref().map(|user| user.user.to_string());
                Some((service.account.to_string(), user))
            }
            Self::Anonymous => None,
        }
    }

    /// Whether a person calls, also through a service that sends the person's token along. Of the refusals of a person's calls
    /// that are alike the audit log tells some; operators and services have a row for each: whoever has stolen a secret and
    /// tries one id after the other is found there with all of them.
    pub(crate) fn is_persons(&self) -> bool {
        match self {
            Self::User(user) => user.operator.is_none(),
            Self::Service(service) => service.role != ServiceRole::Operator && service.on_behalf_of.is_some(),
            Self::Anonymous => true,
        }
    }

    /// The same caller at an RPC that demands `permission`.
    #[must_use]
    pub fn at(mut self, permission: Permission) -> Self {
        match &mut self {
            Self::Anonymous => {}
            Self::User(user) => user.permission = permission,
            Self::Service(service) => {
                service.permission = permission;
                if let Some(user) = &mut service.on_behalf_of {
                    user.permission = permission;
                }
            }
        }
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bursar_id::ApiKeyId;

    use super::*;

    /// Somebody who acts for no organization.
    pub(crate) fn person() -> UserCaller {
        UserCaller::for_test(UserId::from_parts(1, [1; 10]))
    }

    #[test]
    fn neither_operators_nor_services_that_act_for_nobody_are_persons() {
        let service = |role, on_behalf_of| {
            let (account, permission) = (ServiceAccountId::BILLING, Permission::Unspecified);
            Caller::Service(ServiceCaller { account, role, on_behalf_of, permission })
        };
        let acted = UserCaller { operator: Some(ServiceAccountId::OPERATOR), ..person() };
        let cases = [
            (Caller::User(person()), true),
            (Caller::Anonymous, true),
            (service(ServiceRole::Product, Some(person())), true),
            (service(ServiceRole::Product, None), false),
            (service(ServiceRole::Operator, Some(person())), false),
            (service(ServiceRole::Operator, None), false),
            (Caller::User(acted), false),
        ];
        for (caller, expected) in cases {
            assert_eq!(caller.is_persons(), expected, "{caller:?}");
        }
    }

    #[test]
    fn the_audit_log_names_who_acts_and_for_whom() {
        let (key, account) = (ApiKeyId::from_parts(1, [3; 10]), ServiceAccountId::BILLING);
        let keyed =
            UserCaller { key: Some(KeyGrant { id: key, permissions: [Permission::ViewUsage].into() }), ..person() };
        let acted = UserCaller { operator: Some(ServiceAccountId::OPERATOR), ..person() };
        let service = |on_behalf_of| {
            let (role, permission) = (ServiceRole::Product, Permission::Unspecified);
            Caller::Service(ServiceCaller { account, role, on_behalf_of, permission })
        };
        let (user, operator) = (person().user.to_string(), ServiceAccountId::OPERATOR.to_string());
        let cases = [
            (Caller::User(person()), Some((user.clone(), None))),
            (Caller::User(keyed), Some((key.to_string(), Some(user.clone())))),
            (Caller::User(acted), Some((operator, Some(user.clone())))),
            (service(None), Some((account.to_string(), None))),
            (service(Some(person())), Some((account.to_string(), Some(user)))),
            (Caller::Anonymous, None),
        ];
        for (caller, names) in cases {
            assert_eq!(caller.names(), names, "{caller:?}");
        }
    }
}
