//! Exchanging a refresh token for a new pair.
//!
//! What somebody is in an organization is asked of organization, before the token is rotated. When organization does not
//! answer, the last that it told serves, if it told anything, of late (`max_staleness`), and nothing of this organization
//! that could not be read; otherwise the token stays as it is, and nobody is told what may not be so.

use std::time::Duration;

use bursar_db::Tx;
use bursar_id::{OwnerId, UserId};
use bursar_members::{Word, words};
use bursar_secret::Token;

use super::departures::demand_staying;
use super::tokens::Proof;
use super::{Identity, Tokens};
use crate::Error;
use crate::domain::session::{EndReason, RefreshDecision, RefreshState, decide_refresh};
use crate::store::branches::RefreshTokenRow;
use crate::store::sessions::SessionRow;
use crate::store::{branches, sessions, users};

/// How long organization may take to say what somebody is: it has told before, so nobody waits for long.
const PATIENCE: Duration = Duration::from_secs(2);

impl Identity {
    /// Rotates a refresh token. The branch's context stays, whatever other branches of the session do; see
    /// `domain/session.rs` for what reuse does.
    pub async fn refresh(&self, token: &str) -> Result<Tokens, Error> {
        let digest = Token::parse(token).map_err(|_| Error::RefreshTokenInvalid)?.digest();
        let key = self.0.signer.current().await?;
        let live = self.ask_about(digest.as_bytes()).await?;
        let mut tx = self.0.db.begin().await?;
        let found = branches::token(&mut tx, digest.as_bytes()).await?.ok_or(Error::RefreshTokenInvalid)?;
        let session = sessions::by_id_locked(&mut tx, found.session_id).await?.ok_or(Error::RefreshTokenInvalid)?;
        // Again under the session's lock: a twin may have rotated the token while this call waited.
        let token = branches::token(&mut tx, digest.as_bytes()).await?.ok_or(Error::RefreshTokenInvalid)?;
        let now = self.now();
        match decide_refresh(&state(&token, &session), &self.0.config.refresh, now) {
            RefreshDecision::Rotate => {
                branches::retire(&mut tx, session.id, &token.branch, now).await?;
            }
            RefreshDecision::Forgive => {}
            RefreshDecision::Refuse => return Err(Error::RefreshTokenInvalid),
            RefreshDecision::EndSession => {
                sessions::end(&mut tx, session.id, now, EndReason::TokenReused).await?;
                tx.commit().await?;
                tracing::warn!(session = %session.id, "a rotated refresh token came back: the session has ended");
                return Err(Error::RefreshTokenInvalid);
            }
        }
        let user = users::by_id(&mut tx, session.user_id).await?.ok_or(Error::RefreshTokenInvalid)?;
        demand_staying(&user)?;
        let proof = Proof::of(&token, &session)?;
        let membership = self.membership(&mut tx, user.id, proof.context, live).await?;
        let refresh = self.issue_refresh(&mut tx, &session, proof, now).await?;
        let end = self.0.config.refresh.session_end(session.created_at, now);
        sessions::touch(&mut tx, session.id, proof.context, now, end).await?;
        tx.commit().await?;
        self.hand_out(&key, &user, session.id, (proof.context, membership), &refresh)
    }

    /// What organization says now of the membership that a refresh token needs; `None` when it needs none, is not good
    /// anyway, or organization does not answer.
    async fn ask_about(&self, digest: &[u8]) -> Result<Option<(OwnerId, Word)>, Error> {
        let mut tx = self.0.db.read().await?;
        let Some(token) = branches::token(&mut tx, digest).await? else { return Ok(None) };
        let Some(session) = sessions::by_id(&mut tx, token.session_id).await? else { return Ok(None) };
        drop(tx);
        let decision = decide_refresh(&state(&token, &session), &self.0.config.refresh, self.now());
        let owner = Proof::of(&token, &session)?.context;
        let (RefreshDecision::Rotate | RefreshDecision::Forgive, Some(organization)) = (decision, owner.organization())
        else {
            return Ok(None);
        };
        let answer = tokio::time::timeout(PATIENCE, self.live_membership(session.user_id, organization)).await;
        Ok(match answer {
            Ok(Ok(word)) => Some((owner, word)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "organization does not say what somebody is there");
                None
            }
            Err(_) => {
                tracing::debug!("organization takes too long to say what somebody is there");
                None
            }
        })
    }

    /// What the user is in the context: the later of what organization says now and of what it has told.
    async fn membership(
        &self,
        tx: &mut Tx,
        user: UserId,
        context: OwnerId,
        live: Option<(OwnerId, Word)>,
    ) -> Result<Word, Error> {
        if context.organization().is_none() {
            return Ok(Word::NOTHING);
        }
        // An event may have moved the branch since organization was asked.
        let live = live.filter(|(owner, _)| *owner == context).map(|(_, word)| word);
        if let Some(word) = live {
            words::learn(tx, context, user, word).await?;
        }
        let told = words::named(tx, &[(context, user)]).await?.remove(&(context, user));
        let feed = self.0.members.feed();
        if live.is_none() && (feed.is_stale() || feed.doubts(context)) {
            return Err(Error::FeedStale);
        }
        told.ok_or(Error::FeedStale)
    }
}

fn state(token: &RefreshTokenRow, session: &SessionRow) -> RefreshState {
    RefreshState {
        expires_at: token.expires_at,
        rotated_at: token.rotated_at,
        session_ended_at: session.ended_at,
        session_expires_at: session.expires_at,
    }
}
