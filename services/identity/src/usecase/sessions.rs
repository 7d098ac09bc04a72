//! A user's sessions: which there are, and ending them.

use bursar_db::Tx;
use bursar_id::SessionId;
use bursar_proto::identity::v1::RevokeSessionResponse;
use bursar_rpc::UserCaller;
use bursar_rpc::idempotent::{Claimed, RequestKey};
use bursar_rpc::page::{Page, PageRequest};
use bursar_time::Timestamp;

use super::Identity;
use crate::Error;
use crate::domain::session::{EndReason, is_live};
use crate::store::sessions::{self, SessionRow};

impl Identity {
    /// The session that a call is made in; an error once it has ended. Access tokens outlive their session by
    /// minutes, so what identity itself does with one asks here.
    pub(super) async fn live_session(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        now: Timestamp,
    ) -> Result<SessionRow, Error> {
        let session = sessions::by_id(tx, caller.session).await?;
        let live = |s: &SessionRow| s.user_id == caller.user && is_live(s.ended_at, s.expires_at, now);
        session.filter(live).ok_or(Error::SessionEnded)
    }

    /// Ends the caller's session; one that has ended stays so.
    pub async fn sign_out(&self, caller: &UserCaller) -> Result<(), Error> {
        let mut tx = self.0.db.begin().await?;
        sessions::end(&mut tx, caller.session, self.now(), EndReason::SignedOut).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The caller's live sessions, the latest first.
    pub async fn list_sessions(
        &self,
        caller: &UserCaller,
        page: &PageRequest<SessionId>,
    ) -> Result<Page<SessionRow>, Error> {
        let now = self.now();
        let mut tx = self.0.db.read().await?;
        self.live_session(&mut tx, caller, now).await?;
        let rows = sessions::live_of(&mut tx, caller.user, page.after().copied(), now, page.limit()).await?;
        Ok(page.page(rows, |row| row.id)?)
    }

    /// Ends one of the caller's sessions. Somebody else's looks like none.
    pub async fn revoke_session(
        &self,
        caller: &UserCaller,
        session: SessionId,
        key: &RequestKey,
    ) -> Result<RevokeSessionResponse, Error> {
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        match key.claim(&mut tx, now).await? {
            Claimed::Replay(answer) => return Ok(answer),
            Claimed::Reused => return Err(Error::RequestIdReused),
            Claimed::New => {}
        }
        self.live_session(&mut tx, caller, now).await?;
        let found = sessions::by_id(&mut tx, session).await?;
        found.filter(|row| row.user_id == caller.user).ok_or(Error::SessionNotFound)?;
        sessions::end(&mut tx, session, now, EndReason::Revoked).await?;
        let answer = RevokeSessionResponse {};
        key.settle(&mut tx, &answer).await?;
        tx.commit().await?;
        Ok(answer)
    }
}
