//! A user's sessions: which there are, and ending them.

use bursar_db::Tx;
use bursar_id::{OwnerId, SessionId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Answer, Asked, Done, Mutation, UserCaller};
use bursar_time::{Timestamp, latest_beginning};

use super::Identity;
use super::departures::demand_staying;
use crate::Error;
use crate::domain::session::{EndReason, is_live};
use crate::store::sessions::{self, SessionRow};
use crate::store::{branches, users};

/// One session as its user sees it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// The session.
    pub session: SessionRow,
    /// Its branches that were left and can still be refreshed.
    pub left_branches: i64,
}

/// The session that was found for a call; an error once it has ended, and for another user's.
pub(super) fn still_live(
    session: Option<SessionRow>,
    caller: &UserCaller,
    now: Timestamp,
) -> Result<SessionRow, Error> {
    let live = |s: &SessionRow| s.user_id == caller.user && is_live(s.ended_at, s.last_used_at, s.expires_at, now);
    session.filter(live).ok_or(Error::SessionEnded)
}

impl Identity {
    /// The session that a call is made in; an error once it has ended, and while its account is about to. Access tokens
    /// outlive their session by minutes, so what identity itself does with one asks here.
    pub(super) async fn live_session(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        now: Timestamp,
    ) -> Result<SessionRow, Error> {
        let session = still_live(sessions::by_id(tx, caller.session).await?, caller, now)?;
        if users::is_leaving(tx, caller.user).await? { Err(Error::Leaving) } else { Ok(session) }
    }

    /// Whether a caller may see what is the user's own: by a live session, or as an operator who acts for the user, behind whom
    /// there is none.
    pub(super) async fn may_look(&self, tx: &mut Tx, caller: &UserCaller) -> Result<(), Error> {
        if caller.operator.is_none() {
            return self.live_session(tx, caller, self.now()).await.map(drop);
        }
        let user = users::by_id(tx, caller.user).await?.ok_or(Error::SessionEnded)?;
        demand_staying(&user)
    }

    /// The caller's standing: a live session.
    pub(super) async fn admit(&self, m: &mut Mutation, caller: &UserCaller) -> Result<SessionRow, Error> {
        let now = m.now();
        let session = self.live_session(m.tx(), caller, now).await?;
        m.admit(OwnerId::User(caller.user));
        Ok(session)
    }

    /// Standing, what was asked and its request id, before another service is asked.
    pub(super) async fn may_ask<C: Clone>(&self, m: &mut Mutation, asked: &Asked<C>) -> Result<Option<C>, Error> {
        self.admit(m, asked.user()?).await?;
        Ok(m.open(asked).await?.cloned())
    }

    /// Ends the caller's session; one that has ended stays so, so this asks for no standing.
    pub async fn sign_out(&self, asked: &Asked<()>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.end_own(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn end_own(&self, m: &mut Mutation, asked: &Asked<()>) -> Result<Done<(), Payload>, Error> {
        let caller = asked.user()?;
        m.admit(OwnerId::User(caller.user));
        m.about(&caller.session);
        let now = m.now();
        sessions::end(m.tx(), caller.session, now, EndReason::SignedOut).await?;
        Ok(Done::New((), Vec::new()))
    }

    /// The caller's live sessions, the latest first.
    pub async fn list_sessions(
        &self,
        caller: &UserCaller,
        page: &PageRequest<SessionId>,
    ) -> Result<Page<SessionView>, Error> {
        let now = self.now();
        let mut tx = self.0.db.read().await?;
        self.live_session(&mut tx, caller, now).await?;
        let believed = (now, latest_beginning(now));
        let rows = sessions::live_of(&mut tx, caller.user, page.after().copied(), believed, page.limit()).await?;
        let page = page.page(rows, |row| row.id)?;
        let ids: Vec<SessionId> = page.rows.iter().map(|row| row.id).collect();
        let left = branches::left(&mut tx, &ids, now).await?;
        Ok(page.map(|session| SessionView { left_branches: left.get(&session.id).copied().unwrap_or(0), session }))
    }

    /// Ends one of the caller's sessions. Somebody else's looks like none.
    pub async fn revoke_session(&self, asked: &Asked<SessionId>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.revoke(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn revoke(&self, m: &mut Mutation, asked: &Asked<SessionId>) -> Result<Done<(), Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller).await?;
        let Some(&session) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&session);
        let now = m.now();
        let found = sessions::by_id(m.tx(), session).await?;
        found.filter(|row| row.user_id == caller.user).ok_or(Error::SessionNotFound)?;
        sessions::end(m.tx(), session, now, EndReason::Revoked).await?;
        Ok(Done::New((), Vec::new()))
    }
}
