//! Who may act on which account: the one place where billing authorises.
//!
//! What an RPC demands is declared on it in the proto and arrives with the [`Caller`]. Authorising
//! comes before validating, and an owner that does not exist is refused exactly like one that the
//! caller does not belong to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bursar_events::Feed;
use bursar_id::{OwnerId, Role, UserId};
use bursar_members::{Members, Policy, Standing, Word, standing};
use bursar_money::Credits;
use bursar_rpc::{Caller, Permission, Problem, UserCaller};
use tokio::time::Instant;

use crate::domain::{Actor, Refusal, Spender};
use crate::error::Error;
use crate::store::members;

/// How long whoever names a member or a project that nobody knows waits for the event that tells of it.
const NEWS_PATIENCE: Duration = Duration::from_secs(1);

/// Until when a call that begins now waits for news of what it names: however much that is, once.
pub(crate) fn patience() -> Instant {
    Instant::now() + NEWS_PATIENCE
}

/// How many memberships are remembered as heard of (some 50 bytes each).
const HEARD_OF: usize = 65_536;

/// How long what was read counts: a change is told within a second, and must hold after two.
const READ_COUNTS: Duration = Duration::from_millis(500);

/// Decides who may act on which account.
#[derive(Clone)]
pub(crate) struct Access {
    members: Members,
    /// Identity's events: who deleted the account.
    people: Feed,
    /// Memberships that some event has told of, so that nobody has to look again: what is known of a
    /// member may change, but it is never forgotten. Bounded; emptied when it is full.
    heard_of: Arc<Mutex<HashSet<(OwnerId, UserId)>>>,
    /// The policies of owners as they were read a moment ago. Bounded; emptied when it is full.
    policies: Recently<Policy>,
    /// How organizations stood a moment ago; likewise.
    standings: Recently<Standing>,
}

/// What was read a moment ago, by owner: when, and how much news there had been.
type Recently<T> = Arc<Mutex<HashMap<OwnerId, (Instant, u64, T)>>>;

/// A caller who may act on an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// Whose account.
    pub(crate) owner: OwnerId,
    /// Who acts: what the ledger will say, and what the rules about holds and refunds go by.
    pub(crate) actor: Actor,
    /// On behalf of whom; `None` for a service that acts for itself and named nobody.
    pub(crate) member: Option<UserId>,
    /// Whose membership must hold when it is carried out.
    pub(crate) spender: Option<Spender>,
    /// Whether it may see what other members made.
    pub(crate) sees: bool,
    /// Whether it may see the balance, in whatever answer it stands.
    pub(crate) sees_balance: bool,
    /// Whether what is known of the owner may be out of date ([`Access::is_stale`]): what rests on it is refused, unless it
    /// was answered before.
    pub(crate) stale: bool,
}

impl Allowed {
    /// A service by its own authority, which no membership limits.
    fn by_service(owner: OwnerId, actor: Actor, stale: bool) -> Self {
        Self { owner, actor, member: None, spender: None, sees: true, sees_balance: true, stale }
    }

    /// A balance, as far as it may be seen; else an empty text.
    pub(crate) fn balance(&self, balance: Credits) -> String {
        if self.sees_balance { balance.to_string() } else { String::new() }
    }

    /// An answer that does not tell by a refusal what it would not tell otherwise.
    pub(crate) fn tell<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        match answer {
            Err(Error::Refused(Refusal::InsufficientCredits { required, .. })) if !self.sees_balance => {
                Err(Error::NotEnough { required })
            }
            answer => answer,
        }
    }

    /// For whom credits are spent when a request names this member: with a user's token, handed on or not, the user;
    /// otherwise who is named, or the user of a personal account.
    ///
    /// # Errors
    /// What is wrong with the field.
    pub(crate) fn whom(&self, named: Option<UserId>) -> Result<UserId, &'static str> {
        match (self.member, named, self.owner) {
            (Some(user), Some(named), _) if user != named => Err("must be empty or the user's own id"),
            (Some(user), ..) | (None, Some(user), _) | (None, None, OwnerId::User(user)) => Ok(user),
            (None, None, OwnerId::Organization(_)) => Err("must name the member who spends"),
        }
    }
}

/// Who acts, as the ledger keeps it: the one place where a caller becomes an actor.
///
/// # Errors
/// An anonymous caller is nobody who can act.
pub(crate) fn actor(caller: &Caller) -> Result<Actor, Problem> {
    Ok(match caller {
        Caller::User(user) => match (&user.key, user.operator) {
            (Some(grant), _) => Actor::ApiKey { key: grant.id, user: user.user },
            (None, Some(operator)) => Actor::OperatorOnBehalf { operator, user: user.user, session: user.session },
            (None, None) => Actor::User { user: user.user, session: user.session },
        },
        Caller::Service(service) => match &service.on_behalf_of {
            None => Actor::Service { service: service.account },
            Some(user) => Actor::ServiceOnBehalf { service: service.account, user: user.user, session: user.session },
        },
        Caller::Anonymous => return Err(caller.user().err().unwrap_or_else(|| Problem::internal(&"nobody acts"))),
    })
}

impl Access {
    /// Access by what is known of memberships and policies, and of people.
    pub(crate) fn new(members: Members, people: Feed) -> Self {
        Self { members, people, heard_of: Arc::default(), policies: Arc::default(), standings: Arc::default() }
    }

    /// Whether what is known of an owner may be out of date. Of an organization: when organization has not been heard for
    /// `max_staleness`, or something that it told of this one could not be read. Of a person: only when what identity told
    /// of this person could not be read; personal contexts need nobody's word otherwise. Atomic reads alone while nothing
    /// is wrong.
    fn is_stale(&self, owner: OwnerId) -> bool {
        match owner {
            OwnerId::Organization(_) => self.may_have_missed(owner),
            OwnerId::User(_) => self.people.doubts(owner),
        }
    }

    /// May the caller spend `owner`'s credits? A user spends for itself, a service for the member it names
    /// ([`Access::for_member`]). Whether a member belongs to an organization is decided in the transaction that spends
    /// (see [`Allowed::spender`]).
    pub(crate) async fn spend(&self, caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        let actor = actor(caller)?;
        let Some(user) = acting_user(caller) else {
            return Ok(Allowed::by_service(owner, actor, self.is_stale(owner)));
        };
        self.in_context(user, owner).await?;
        let sees_balance = match owner {
            OwnerId::User(_) => user.key_permits(Permission::ViewBalance),
            OwnerId::Organization(_) => {
                let policy = self.recent_policy(owner).await?;
                if !policy.admits(user) {
                    // Whoever is no member any more, or of what nobody may use, learns nothing else.
                    self.role(user, owner).await?;
                    self.stands(owner).await?;
                    return Err(Error::SecondFactorRequired);
                }
                self.sees_balance(user, owner, &policy).await?
            }
        };
        let (member, spender) = (Some(user.user), Some(spender(user, owner)));
        let stale = self.is_stale(owner);
        Ok(Allowed { owner, actor, member, spender, sees: false, sees_balance, stale })
    }

    /// The same for `member` ([`Allowed::whom`]), whose membership must hold if it is not the user's own token that
    /// spends. Waits for a member nobody has heard of, but no longer than `until`.
    pub(crate) async fn for_member(&self, allowed: Allowed, member: UserId, until: Instant) -> Result<Allowed, Error> {
        if allowed.member.is_some() {
            return Ok(allowed);
        }
        // Nobody but its user belongs to a personal account, and nobody else is ever found to.
        let token = (allowed.owner == OwnerId::User(member)).then_some(Word::OWN);
        let spender = Some(Spender { user: member, token });
        // While nothing is heard there is nothing to wait for.
        if allowed.owner.organization().is_some() && !allowed.stale {
            self.wait_until_known(allowed.owner, member, until).await?;
        }
        Ok(Allowed { member: Some(member), spender, ..allowed })
    }

    /// What to tell a caller whose request is malformed: that, unless its own standing is gone.
    pub(crate) async fn or_standing(&self, allowed: &Allowed, malformed: Error) -> Error {
        let Some(Spender { user, token: token @ Some(_) }) = allowed.spender else {
            return malformed;
        };
        match self.known(allowed.owner, user).await {
            Ok(events) if standing(events, token).is_none() => Error::NotAMember,
            Ok(_) => self.stands(allowed.owner).await.err().unwrap_or(malformed),
            Err(error) => error,
        }
    }

    /// May the caller do what the RPC demands with `owner`'s account?
    pub(crate) async fn to(&self, caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        let actor = actor(caller)?;
        let Some(user) = acting_user(caller) else {
            return Ok(Allowed::by_service(owner, actor, self.is_stale(owner)));
        };
        self.in_context(user, owner).await?;
        let role = self.role(user, owner).await?;
        self.stands(owner).await?;
        let policy = match role {
            Some(_) => self.policy(owner).await?,
            // Nobody but its user gets to a personal account.
            None => Policy::default(),
        };
        if !policy.admits(user) {
            return Err(Error::SecondFactorRequired);
        }
        let role_may = |permission| role.is_none_or(|role| policy.permits(role, permission));
        if !role_may(caller.permission()) {
            return Err(Error::RoleNotAllowed);
        }
        if !user.key_permits(caller.permission()) {
            return Err(Error::KeyNotAllowed);
        }
        let may = |permission| role_may(permission) && user.key_permits(permission);
        let (sees, sees_balance) = (may(Permission::ViewUsage), may(Permission::ViewBalance));
        let (member, spender, stale) = (Some(user.user), Some(spender(user, owner)), self.is_stale(owner));
        Ok(Allowed { owner, actor, member, spender, sees, sees_balance, stale })
    }

    /// A service that acts by its own authority alone, whoever's token it hands on: what a refund and an erasure need,
    /// which must go on when the member has left, and whatever is known of members.
    pub(crate) fn service(caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        Ok(Allowed::by_service(owner, actor(caller)?, false))
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
        let events = self.known(owner, user.user).await?;
        let role = standing(events, spender(user, owner).token).ok_or(Error::NotAMember)?;
        Ok(owner.organization().map(|_| role))
    }

    /// The policies that hold for an owner. Nothing is guessed: before the first word of them billing is not ready.
    async fn policy(&self, owner: OwnerId) -> Result<Policy, Error> {
        self.members.policy(owner).await?.ok_or(Error::PoliciesUnknown)
    }

    /// The same for callers who spend: read at most twice a second, and again after each event.
    async fn recent_policy(&self, owner: OwnerId) -> Result<Policy, Error> {
        self.recently(&self.policies, owner, self.policy(owner)).await
    }

    /// Whether members have access to their organization at all. A person's own account is nobody else's: whoever is
    /// suspended comes with no token.
    async fn stands(&self, owner: OwnerId) -> Result<(), Error> {
        if owner.organization().is_none() {
            return Ok(());
        }
        let read = async { Ok(self.members.standing(owner).await?) };
        let standing = self.recently(&self.standings, owner, read).await?;
        match Refusal::of_standing_to_members(owner, standing) {
            None => Ok(()),
            Some(Refusal::NotAMember) => Err(Error::NotAMember),
            Some(refusal) => Err(refusal.into()),
        }
    }

    /// What was read a moment ago, or is read now.
    async fn recently<T: Copy>(
        &self,
        known: &Recently<T>,
        owner: OwnerId,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let (read_at, news) = (Instant::now(), *self.members.news().borrow());
        if let Ok(known) = known.lock()
            && let Some((at, told, value)) = known.get(&owner)
            && *told == news
            && read_at.duration_since(*at) < READ_COUNTS
        {
            return Ok(*value);
        }
        let value = read.await?;
        if let Ok(mut known) = known.lock() {
            if known.len() >= HEARD_OF {
                known.clear();
            }
            known.insert(owner, (read_at, news, value));
        }
        Ok(value)
    }

    /// Whether a user who spends may see what is left of an organization's.
    async fn sees_balance(&self, user: &UserCaller, owner: OwnerId, policy: &Policy) -> Result<bool, Error> {
        if !user.key_permits(Permission::ViewBalance) {
            return Ok(false);
        }
        if Role::ALL.into_iter().all(|role| policy.permits(role, Permission::ViewBalance)) {
            return Ok(true);
        }
        // Who is no member any more will be refused, and sees nothing.
        match self.role(user, owner).await {
            Ok(role) => Ok(role.is_none_or(|role| policy.permits(role, Permission::ViewBalance))),
            Err(Error::NotAMember) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether organization may have told something of an owner that nobody here has heard: who belongs there, or, of a person
    /// too, which projects there are.
    pub(super) fn may_have_missed(&self, owner: OwnerId) -> bool {
        let feed = self.members.feed();
        feed.is_stale() || feed.doubts(owner)
    }

    /// Whether anything is heard of organization: else there is nothing to wait for.
    pub(super) fn hears(&self) -> bool {
        !self.members.feed().is_stale()
    }

    /// Looks for something that organization tells of, again with all news, until it is known, but no longer than `until`.
    /// `None`: it is still unknown, and the transaction will refuse it.
    pub(super) async fn wait_for<T, F>(&self, until: Instant, find: impl Fn() -> F) -> Result<Option<T>, Error>
    where
        F: Future<Output = Result<Option<T>, Error>>,
    {
        let mut news = self.members.news();
        let wait = async {
            loop {
                if let Some(known) = find().await? {
                    return Ok(Some(known));
                }
                if news.changed().await.is_err() {
                    return Ok(None);
                }
            }
        };
        tokio::time::timeout_at(until, wait).await.unwrap_or(Ok(None))
    }

    async fn known(&self, owner: OwnerId, user: UserId) -> Result<Option<Word>, Error> {
        Ok(members::word(&self.members, owner, user).await?)
    }

    /// A member who joined a moment ago is known as soon as the event has come. Waits for that, for
    /// a bounded time, when nothing at all is known of the member.
    async fn wait_until_known(&self, owner: OwnerId, member: UserId, until: Instant) -> Result<(), Error> {
        if self.heard_of.lock().is_ok_and(|heard_of| heard_of.contains(&(owner, member))) {
            return Ok(());
        }
        if self.wait_for(until, || self.known(owner, member)).await?.is_some() {
            self.remember(owner, member);
        }
        Ok(())
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

/// Whose membership the account demands, with what the token says of it.
fn spender(user: &UserCaller, owner: OwnerId) -> Spender {
    let token = if owner.organization().is_some() { Word::of_token(user) } else { Word::OWN };
    Spender { user: user.user, token: Some(token) }
}
