//! What operators do about users: finding and listing them, suspending them, and acting for them.
//!
//! Whoever is suspended is refused by every service's stack ([`bursar_rpc::Suspended`]), which asks a set in each process's memory: here it is
//! read from the store, elsewhere from what was told by event. So nothing else has to ask, but what gives out tokens: those who
//! have just been suspended get none.

use bursar_db::Tx;
use bursar_email::Email;
use bursar_id::{OwnerId, UserId};
use bursar_members::{Word, standings, words};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::token::{AccessClaims, Acting, StandardClaims};
use bursar_rpc::{Answer, Asked, AuthMethods, Done, Looked, Mutation};
use bursar_secret::Secret;
use bursar_time::{Span, Timestamp};

use super::contexts::demand_open;
use super::departures::demand_staying;
use super::signing::RingKey;
use super::{Identity, events};
use crate::Error;
use crate::domain::session::EndReason;
use crate::store::listing::{self, Listed, ListedRow};
use crate::store::sessions;
use crate::store::suspensions::{self, SuspensionRow};
use crate::store::users::{self, UserRow};

/// How long an operator acts for somebody at most.
const ACTING_TTL: Span = Span::from_mins(5);

/// Whom to find.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// By id.
    Id(UserId),
    /// By address.
    Email(Email),
}

/// Which users to list.
pub struct UsersWanted {
    /// By what.
    pub listed: Listed,
    /// Which page: after whose id, or after which address where these begin in one way.
    pub page: PageRequest<String>,
}

/// Whom to suspend.
#[derive(Clone, Debug)]
pub struct Suspend {
    /// Whom.
    pub user: UserId,
    /// What the operator says.
    pub reason: String,
}

/// For whom to act, and where.
#[derive(Clone, Debug)]
pub struct ActFor {
    /// For whom.
    pub user: UserId,
    /// In which context.
    pub owner: OwnerId,
}

/// A user with the suspension, if there is one.
#[derive(Clone)]
pub struct Found {
    /// The user.
    pub user: UserRow,
    /// The suspension.
    pub suspension: Option<SuspensionRow>,
}

/// A token to act with.
pub struct UserToken {
    /// The JWT.
    pub access_token: Secret,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Whoever is suspended gets nothing.
pub(super) async fn demand_not_suspended(tx: &mut Tx, user: UserId) -> Result<(), Error> {
    if suspensions::of(tx, user).await?.is_none() { Ok(()) } else { Err(Error::UserSuspended) }
}

impl Identity {
    /// A user by id or address.
    pub async fn find_user(&self, wanted: &Wanted) -> Result<Found, Error> {
        let mut tx = self.0.db.read().await?;
        let user = match wanted {
            Wanted::Id(id) => users::by_id(&mut tx, *id).await?,
            Wanted::Email(email) => users::by_email(&mut tx, email.key()).await?,
        };
        let user = user.ok_or(Error::UserNotFound)?;
        let suspension = suspensions::of(&mut tx, user.id).await?;
        Ok(Found { user, suspension })
    }

    /// Users, the oldest first, or by address.
    pub async fn list_users(&self, wanted: UsersWanted) -> Result<Page<ListedRow>, Error> {
        let UsersWanted { listed, page } = wanted;
        let mut tx = self.0.db.read().await?;
        let after = page.after().map_or("", String::as_str);
        let rows = listing::page(&mut tx, &listed, after, page.limit()).await?;
        let place = |row: &ListedRow| match listed {
            Listed::Address(_) => row.user.email_key.clone(),
            _ => row.user.id.to_string(),
        };
        Ok(page.page(rows, place)?)
    }

    /// Suspends a user and ends all sessions.
    pub async fn suspend_user(&self, asked: &Asked<Suspend>) -> Result<Answer<Found>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = suspend(&mut m, asked).await;
        let answer = self.0.mutations.end(m, done).await;
        self.look_at_once().await;
        answer
    }

    /// Takes a suspension back.
    pub async fn unsuspend_user(&self, asked: &Asked<UserId>) -> Result<Answer<Found>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = unsuspend(&mut m, asked).await;
        let answer = self.0.mutations.end(m, done).await;
        self.look_at_once().await;
        answer
    }

    /// What was just changed holds in this process before it is answered; if the store fails, in a moment.
    async fn look_at_once(&self) {
        if let Err(error) = self.0.people.look().await {
            tracing::warn!(%error, "cannot look at once who is suspended");
        }
    }

    /// A token by which an operator acts for a user. Organization is asked between two mutations.
    pub async fn issue_user_token(&self, asked: &Asked<ActFor>) -> Result<Answer<UserToken>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = may_act(&mut m, asked).await;
        let act = match self.0.mutations.look(m, looked).await? {
            Looked::On((act, _)) => act,
            Looked::Before(answer) => return Ok(answer),
        };
        let live = match act.owner {
            OwnerId::User(_) => Word::NOTHING,
            OwnerId::Organization(organization) => {
                let live = self.live_membership(act.user, organization).await?;
                demand_open(Some(live.standing), Some(live.word))?;
                live.word
            }
        };
        let key = self.0.signer.current().await?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.act(&mut m, asked, live, &key).await;
        let answer = self.0.mutations.end(m, done).await?;
        if let (Answer::New(_), Some(operator)) = (&answer, asked.caller().service()) {
            tracing::info!(operator = %operator.account, user = %act.user, owner = %act.owner, "an operator acts for a user");
        }
        Ok(answer)
    }

    async fn act(
        &self,
        m: &mut Mutation,
        asked: &Asked<ActFor>,
        live: Word,
        key: &RingKey,
    ) -> Result<Done<UserToken, Payload>, Error> {
        let Some((act, user)) = may_act(m, asked).await? else { return Ok(Done::Replay) };
        let mut membership = live;
        if act.owner.organization().is_some() {
            membership = words::later(m.tx(), (act.owner, user.id), live).await?;
            live.role.and(membership.role).ok_or(Error::NotAMember)?;
        }
        let operator = asked.caller().service().map(|service| service.account);
        let operator = operator.ok_or_else(|| Error::internal("nobody but a service operates"))?;
        let now = m.now();
        let standard = StandardClaims::lasting(now, self.0.config.access_ttl.min(ACTING_TTL));
        let expires_at = standard.expires_at().ok_or_else(|| Error::internal("a token without an end"))?;
        let claims = AccessClaims {
            sub: user.id,
            // No session is behind it, and no refresh token: nobody signed in.
            sid: self.new_session_id(now),
            bid: None,
            ctx: act.owner,
            role: membership.role,
            mv: membership.role.map_or(0, |_| membership.version),
            mvi: membership.role.map_or(0, |_| membership.incarnation),
            auth_time: None,
            amr: AuthMethods::default(),
            act: Some(Acting { sub: operator }),
            key: None,
            email: user.email.clone(),
            email_verified: user.email_verified_at.is_some(),
            standard,
        };
        let token = UserToken { access_token: key.sign(&claims)?.into(), expires_at };
        Ok(Done::New(token, Vec::new()))
    }
}

async fn suspend(m: &mut Mutation, asked: &Asked<Suspend>) -> Result<Done<Found, Payload>, Error> {
    m.admit(None);
    let Some(Suspend { user, reason }) = m.open(asked).await? else { return Ok(Done::Replay) };
    m.about(user);
    let now = m.now();
    let user = users::by_id_locked(m.tx(), *user).await?.ok_or(Error::UserNotFound)?;
    let row = SuspensionRow { since: now, reason: reason.clone() };
    let mut told = Vec::new();
    if let Some(version) = suspensions::begin(m.tx(), user.id, &row).await? {
        sessions::end_all(m.tx(), user.id, now, EndReason::Revoked).await?;
        told.push(events::standing(user.id, true, version));
    }
    let suspension = suspensions::of(m.tx(), user.id).await?;
    Ok(Done::New(Found { user, suspension }, told))
}

async fn unsuspend(m: &mut Mutation, asked: &Asked<UserId>) -> Result<Done<Found, Payload>, Error> {
    m.admit(None);
    let Some(user) = m.open(asked).await? else { return Ok(Done::Replay) };
    m.about(user);
    let user = users::by_id_locked(m.tx(), *user).await?.ok_or(Error::UserNotFound)?;
    let version = suspensions::end(m.tx(), user.id).await?;
    let told = version.map(|version| events::standing(user.id, false, version));
    Ok(Done::New(Found { user, suspension: None }, told.into_iter().collect()))
}

/// What an operator asks for who wants to act for somebody, and for whom: a user who is not suspended, in an organization that
/// is open. The row of it says both names, and stands where it is done.
async fn may_act(m: &mut Mutation, asked: &Asked<ActFor>) -> Result<Option<(ActFor, UserRow)>, Error> {
    m.admit(None);
    let Some(act) = m.open(asked).await? else { return Ok(None) };
    m.about(&act.owner);
    m.prove(&act.user);
    let user = users::by_id(m.tx(), act.user).await?.ok_or(Error::UserNotFound)?;
    demand_staying(&user)?;
    demand_not_suspended(m.tx(), user.id).await?;
    let known = standings::of(m.tx(), &[act.owner]).await?;
    let told = words::named(m.tx(), &[(act.owner, user.id)]).await?;
    demand_open(known.get(&act.owner).copied(), told.get(&(act.owner, user.id)).copied())?;
    // From here on whoever belongs to the context may read of it.
    m.admit(act.owner);
    Ok(Some((act.clone(), user)))
}
