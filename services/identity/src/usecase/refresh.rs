//! Exchanging a refresh token for a new pair.

use bursar_id::{OwnerId, UserId};
use bursar_members::{Word, words};
use bursar_secret::Token;

use super::departures::demand_staying;
use super::tokens::Proof;
use super::{Identity, Tokens};
use crate::Error;
use crate::domain::session::{EndReason, RefreshDecision, RefreshState, decide_refresh};
use crate::store::{branches, sessions, users};

impl Identity {
    /// Rotates a refresh token. The branch's context stays, whatever other branches of the session do; see `domain/session.rs` for what reuse does.
    pub async fn refresh(&self, token: &str) -> Result<Tokens, Error> {
        let digest = Token::parse(token).map_err(|_| Error::RefreshTokenInvalid)?.digest();
        let key = self.0.signer.current().await?;
        let mut tx = self.0.db.begin().await?;
        let found = branches::token(&mut tx, digest.as_bytes()).await?.ok_or(Error::RefreshTokenInvalid)?;
        let session = sessions::by_id_locked(&mut tx, found.session_id).await?.ok_or(Error::RefreshTokenInvalid)?;
        // Again under the session's lock: a twin may have rotated the token while this call waited.
        let token = branches::token(&mut tx, digest.as_bytes()).await?.ok_or(Error::RefreshTokenInvalid)?;
        let now = self.now();
        let state = RefreshState {
            expires_at: token.expires_at,
            rotated_at: token.rotated_at,
            session_ended_at: session.ended_at,
            session_expires_at: session.expires_at,
        };
        match decide_refresh(&state, &self.0.config.refresh, now) {
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
        let refresh = self.issue_refresh(&mut tx, &session, proof, now).await?;
        let end = self.0.config.refresh.session_end(session.created_at, now);
        sessions::touch(&mut tx, session.id, proof.context, now, end).await?;
        let known = match proof.context {
            OwnerId::User(_) => Some(Word::NOTHING),
            owner @ OwnerId::Organization(_) => {
                words::named(&mut tx, &[(owner, user.id)]).await?.remove(&(owner, user.id))
            }
        };
        tx.commit().await?;
        let membership = match known {
            Some(membership) => membership,
            None => self.ask_about(user.id, proof.context).await,
        };
        self.hand_out(&key, &user, session.id, (proof.context, membership), &refresh)
    }

    /// The place in a context of which no event has told yet. When organization cannot say, the token gets no
    /// role: refreshing must not depend on another service, and a token without a role opens nothing.
    async fn ask_about(&self, user: UserId, context: OwnerId) -> Word {
        let Some(organization) = context.organization() else {
            return Word::NOTHING;
        };
        match self.live_membership(user, organization).await {
            Ok(membership) => membership,
            Err(error) => {
                tracing::warn!(%error, "refreshed without a role: the membership is not known");
                Word::NOTHING
            }
        }
    }
}
