//! Who may act on which account: the one place where billing authorises.
//!
//! What an RPC demands is declared on it in the proto and arrives with the [`Caller`]. Authorising
//! comes before validating, and an owner that does not exist is refused exactly like one that the
//! caller does not belong to.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bursar_id::{OwnerId, Role, UserId};
use bursar_members::{Members, Policy, Word, standing};
use bursar_rpc::{Caller, Permission, Problem, UserCaller};
use tokio::time::Instant;

use crate::domain::Roles;
use crate::error::Error;
use crate::lane::{Acting, Spender};

/// How long a service that names a member nobody knows waits for the event that tells of it.
const NEWS_PATIENCE: Duration = Duration::from_secs(1);

/// Until when a call that begins now waits for news of members: however many it names, once.
pub(crate) fn patience() -> Instant {
    Instant::now() + NEWS_PATIENCE
}

/// How many memberships are remembered as heard of (some 50 bytes each).
const HEARD_OF: usize = 65_536;

/// Decides who may act on which account.
#[derive(Clone)]
pub(crate) struct Access {
    members: Members,
    /// Memberships that some event has told of, so that nobody has to look again: what is known of a
    /// member may change, but it is never forgotten. Bounded; emptied when it is full.
    heard_of: Arc<Mutex<HashSet<(OwnerId, UserId)>>>,
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
    /// What is still to be decided when it is carried out: whether this user may act on that.
    pub(crate) acting: Option<Acting>,
    /// Whether it may see what other members made.
    pub(crate) sees: bool,
}

impl Allowed {
    /// A service that acts for itself: it may act on and see everything of the owner's.
    pub(crate) fn service(owner: OwnerId) -> Self {
        Self { owner, member: None, spender: None, acting: None, sees: true }
    }
}

impl Access {
    /// Access by what is known of memberships and policies.
    pub(crate) fn new(members: Members) -> Self {
        Self { members, heard_of: Arc::default() }
    }

    /// May the caller spend `owner`'s credits, for `member` if one is named? A user spends for
    /// itself; a service names the member. Whether a member belongs to an organization is decided in
    /// the transaction that spends (see [`Allowed::spender`]); for a member nobody has heard of, this
    /// waits no longer than `until`.
    pub(crate) async fn spend(
        &self,
        caller: &Caller,
        owner: OwnerId,
        member: Option<UserId>,
        until: Instant,
    ) -> Result<Allowed, Error> {
        if let Some(user) = acting_user(caller) {
            self.in_context(user, owner).await?;
            if member.is_some_and(|member| member != user.user) {
                return Err(Problem::invalid_field("member", "must be empty or the caller's own user id").into());
            }
            let (member, spender) = (Some(user.user), spender(user, owner));
            return Ok(Allowed { owner, member, spender, acting: None, sees: false });
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
            self.wait_until_known(owner, member, until).await?;
        }
        Ok(Allowed { member: Some(member), spender, ..Allowed::service(owner) })
    }

    /// May the caller do what the RPC demands with `owner`'s account?
    pub(crate) async fn to(&self, caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        let Some(user) = acting_user(caller) else {
            return Ok(Allowed::service(owner));
        };
        self.in_context(user, owner).await?;
        let role = self.role(user, owner).await?;
        let policy = match role {
            Some(_) => self.policy(owner).await?,
            // Nobody but its user gets to a personal account.
            None => Policy::default(),
        };
        let may = |permission| role.is_none_or(|role| policy.permits(role, permission));
        if !may(caller.permission()) {
            return Err(Error::RoleNotAllowed);
        }
        Ok(Allowed {
            owner,
            member: Some(user.user),
            spender: spender(user, owner),
            acting: None,
            sees: may(Permission::ViewUsage),
        })
    }

    /// May the caller act on something that was made with `owner`'s credits? On its own, and with a role
    /// that manages on everybody's: that is decided in the transaction that does it.
    pub(crate) async fn act(&self, caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        let Some(user) = acting_user(caller) else {
            return Ok(Allowed::service(owner));
        };
        self.in_context(user, owner).await?;
        let policy = self.policy(owner).await?;
        let with = |permission| Roles::which(|role| policy.permits(role, permission));
        let (may, manages) = (with(caller.permission()), with(Permission::ManageBilling));
        Ok(Allowed {
            owner,
            member: Some(user.user),
            spender: spender(user, owner),
            acting: Some(Acting { user: user.user, may, manages }),
            sees: false,
        })
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
        let Some(spender) = spender(user, owner) else {
            return Ok(None);
        };
        let events = self.known(owner, user.user).await?;
        standing(events, spender.token).map(Some).ok_or(Error::NotAMember)
    }

    /// The policies that hold for an owner. Nothing is guessed: before the first word of them billing is not ready.
    async fn policy(&self, owner: OwnerId) -> Result<Policy, Error> {
        self.members.policy(owner).await?.ok_or(Error::PoliciesUnknown)
    }

    async fn known(&self, owner: OwnerId, user: UserId) -> Result<Option<Word>, Error> {
        Ok(self.members.word(owner, user).await?)
    }

    /// A member who joined a moment ago is known as soon as the event has come. Waits for that, for
    /// a bounded time, when nothing at all is known of the member.
    async fn wait_until_known(&self, owner: OwnerId, member: UserId, until: Instant) -> Result<(), Error> {
        if self.heard_of.lock().is_ok_and(|heard_of| heard_of.contains(&(owner, member))) {
            return Ok(());
        }
        let mut news = self.members.news();
        let wait = async {
            while self.known(owner, member).await?.is_none() {
                if news.changed().await.is_err() {
                    return Ok(());
                }
            }
            self.remember(owner, member);
            Ok(())
        };
        // Still unknown when time is up: the transaction will refuse it.
        tokio::time::timeout_at(until, wait).await.unwrap_or(Ok(()))
    }

    fn remember(&self, owner: OwnerId, member: UserId) {
        if let Ok(mut heard_of) = self.heard_of.lock() {
            if heard_of.len() >= HEARD_OF {
                heard_of.clear();
            }
            heard_of.insert((owner, member));
        }
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
    owner.organization().map(|_| Spender { user: user.user, token: Some(Word::of_token(user)) })
}
