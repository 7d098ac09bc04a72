//! Who may act on which account: the one place where billing authorises.
//!
//! What an RPC demands is declared on it in the proto and arrives with the [`Caller`]. Authorising
//! comes before validating, and an owner that does not exist is refused exactly like one that the
//! caller does not belong to.

use std::sync::Arc;
use std::time::Duration;

use bursar_db::Db;
use bursar_id::{OwnerId, Role, UserId};
use bursar_rpc::access::permits;
use bursar_rpc::{AccessPolicy, Caller, Permission, Problem, UserCaller};
use tokio::sync::watch;

use crate::domain::{Membership, standing};
use crate::error::Error;
use crate::lane::Spender;
use crate::store::members;

/// How long a service that names a member nobody knows waits for the event that tells of it.
const NEWS_PATIENCE: Duration = Duration::from_secs(1);

/// Decides who may act on which account.
#[derive(Clone)]
pub(crate) struct Access {
    db: Db,
    policy: AccessPolicy,
    /// Changes whenever an event about members has been applied.
    news: Arc<watch::Sender<u64>>,
}

/// A caller who may act on an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// Whose account.
    pub(crate) owner: OwnerId,
    /// On behalf of whom; `None` for a service that acts for itself and named nobody.
    pub(crate) member: Option<UserId>,
    /// Whose membership must hold when it is carried out.
    pub(crate) spender: Option<Spender>,
    /// Whether it may act on what other members made.
    pub(crate) manages: bool,
}

impl Access {
    /// Access by the memberships in this store, under the deployment's policy.
    pub(crate) fn new(db: Db, policy: AccessPolicy) -> Self {
        Self { db, policy, news: Arc::new(watch::Sender::new(0)) }
    }

    /// Wakes whoever waits for news about members.
    pub(crate) fn announce(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// May the caller spend `owner`'s credits, for `member` if one is named? A user spends for
    /// itself; a service names the member. Whether a member belongs to an organization is decided in
    /// the transaction that spends (see [`Allowed::spender`]).
    pub(crate) async fn spend(&self, caller: &Caller, owner: OwnerId, member: Option<UserId>) -> Result<Allowed, Error> {
        if let Some(user) = acting_user(caller) {
            self.in_context(user, owner).await?;
            if member.is_some_and(|member| member != user.user) {
                return Err(Problem::invalid_field("member", "must be empty or the caller's own user id").into());
            }
            let manages = self.manages(user, owner);
            return Ok(Allowed { owner, member: Some(user.user), spender: spender(user, owner), manages });
        }
        let member = match (owner, member) {
            (OwnerId::User(user), None) => user,
            (OwnerId::User(user), Some(member)) if user == member => user,
            (OwnerId::User(_), Some(_)) => return Err(Error::NotAMember),
            (OwnerId::Organization(_), Some(member)) => member,
            (OwnerId::Organization(_), None) => {
                return Err(Problem::invalid_field("member", "must name the member who spends").into());
            }
        };
        let spender = owner.organization().map(|_| Spender { user: member, token: None });
        if spender.is_some() {
            self.wait_until_known(owner, member).await?;
        }
        Ok(Allowed { owner, member: Some(member), spender, manages: true })
    }

    /// May the caller do what the RPC demands with `owner`'s account?
    pub(crate) async fn to(&self, caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        let Some(user) = acting_user(caller) else {
            return Ok(Allowed { owner, member: None, spender: None, manages: true });
        };
        self.in_context(user, owner).await?;
        if let Some(role) = self.role(user, owner).await?
            && !permits(role, caller.permission(), &self.policy)
        {
            return Err(Error::RoleNotAllowed);
        }
        Ok(Allowed {
            owner,
            member: Some(user.user),
            spender: spender(user, owner),
            manages: self.manages(user, owner),
        })
    }

    /// Whether the user may `permission` in its own context, by what the token says; for decisions
    /// that are repeated in the transaction.
    pub(crate) fn permits(&self, user: &UserCaller, owner: OwnerId, permission: Permission) -> bool {
        match owner {
            OwnerId::User(own) => own == user.user,
            OwnerId::Organization(_) => user.role.is_some_and(|role| permits(role, permission, &self.policy)),
        }
    }

    fn manages(&self, user: &UserCaller, owner: OwnerId) -> bool {
        self.permits(user, owner, Permission::ManageBilling)
    }

    /// The user's token must act for `owner`. Nothing ever falls back to another account.
    async fn in_context(&self, user: &UserCaller, owner: OwnerId) -> Result<(), Error> {
        if user.context == owner {
            return Ok(());
        }
        let belongs = match owner {
            OwnerId::User(own) => own == user.user,
            OwnerId::Organization(_) => self.known(owner, user.user).await?.is_some_and(|it| it.role.is_some()),
        };
        Err(if belongs { Error::WrongContext { context: user.context } } else { Error::NotAMember })
    }

    /// The user's role in the owner's organization now; `None` for the personal account.
    async fn role(&self, user: &UserCaller, owner: OwnerId) -> Result<Option<Role>, Error> {
        let Some(spender) = spender(user, owner) else { return Ok(None) };
        let events = self.known(owner, user.user).await?;
        standing(events, spender.token).map(Some).ok_or(Error::NotAMember)
    }

    async fn known(&self, owner: OwnerId, user: UserId) -> Result<Option<Membership>, Error> {
        let mut tx = self.db.read().await?;
        Ok(members::named(&mut tx, &[(owner, user)]).await?.get(&(owner, user)).copied())
    }

    /// A member who joined a moment ago is known as soon as the event has come. Waits for that, for
    /// a bounded time, when nothing at all is known of the member.
    async fn wait_until_known(&self, owner: OwnerId, member: UserId) -> Result<(), Error> {
        let mut news = self.news.subscribe();
        let wait = async {
            while self.known(owner, member).await?.is_none() {
                if news.changed().await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        // Still unknown when time is up: the transaction will refuse it.
        tokio::time::timeout(NEWS_PATIENCE, wait).await.unwrap_or(Ok(()))
    }
}

/// The person who acts: the caller, or the one for whom a service calls.
fn acting_user(caller: &Caller) -> Option<&UserCaller> {
    match caller {
        Caller::User(user) => Some(user),
        Caller::Service(service) => service.on_behalf_of.as_ref(),
        Caller::Anonymous => None,
    }
}

/// Whose membership an organization's account demands, with what the token says of it.
fn spender(user: &UserCaller, owner: OwnerId) -> Option<Spender> {
    owner.organization().map(|_| Spender {
        user: user.user,
        token: Some(Membership { role: user.role, version: user.membership_version }),
    })
}
