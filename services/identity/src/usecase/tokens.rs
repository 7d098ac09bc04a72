//! The pair a signed-in client holds: a signed access token and an opaque refresh token.

use bursar_db::Tx;
use bursar_id::{OwnerId, SessionId};
use bursar_rpc::Answer;
use bursar_rpc::token::{AccessClaims, StandardClaims};
use bursar_secret::{Secret, Token};
use bursar_time::Timestamp;

use super::Identity;
use super::signing::RingKey;
use crate::Error;
use crate::domain::membership::Membership;
use crate::store::sessions;
use crate::store::users::UserRow;

/// What a signed-in client holds.
pub struct Tokens {
    /// The JWT.
    pub access_token: String,
    /// When the JWT expires.
    pub access_expires_at: Timestamp,
    /// The opaque token that is exchanged for the next pair.
    pub refresh_token: Secret,
    /// When the refresh token expires if nobody uses it.
    pub refresh_expires_at: Timestamp,
    /// The session of both.
    pub session: SessionId,
    /// The context of the JWT.
    pub owner: OwnerId,
}

/// A refresh token that was just written, not yet handed out.
pub(super) struct IssuedRefresh {
    token: Token,
    expires_at: Timestamp,
}

/// A pair that was just made; nothing of it is kept, so there is none to be given again.
pub(super) fn shown_once(answer: Answer<Tokens>) -> Result<Tokens, Error> {
    answer.made().ok_or_else(|| Error::internal("tokens were given again"))
}

impl Identity {
    /// Writes a new refresh token into a branch of a session.
    pub(super) async fn issue_refresh(
        &self,
        tx: &mut Tx,
        session: SessionId,
        branch: &[u8],
        now: Timestamp,
    ) -> Result<IssuedRefresh, Error> {
        let token = Token::generate(&self.0.entropy);
        let expires_at = now.saturating_add(self.0.config.refresh.lifetime);
        sessions::insert_token(tx, token.digest().as_bytes(), session, branch, now, expires_at).await?;
        Ok(IssuedRefresh { token, expires_at })
    }

    /// A branch's name: random, so that two never meet.
    pub(super) fn new_branch(&self) -> [u8; 16] {
        self.0.entropy.bytes()
    }

    /// Signs the access token and puts the pair together.
    pub(super) fn hand_out(
        &self,
        key: &RingKey,
        user: &UserRow,
        session: SessionId,
        place: (OwnerId, Membership),
        refresh: &IssuedRefresh,
    ) -> Result<Tokens, Error> {
        let (owner, membership) = place;
        let standard = StandardClaims::lasting(self.now(), self.0.config.access_ttl);
        let access_expires_at = standard.expires_at().ok_or_else(|| Error::internal("a token without an end"))?;
        let claims = AccessClaims {
            sub: user.id,
            sid: session,
            ctx: owner,
            role: membership.role,
            mv: membership.role.map_or(0, |_| membership.version),
            email: user.email.clone(),
            email_verified: user.email_verified_at.is_some(),
            standard,
        };
        Ok(Tokens {
            access_token: key.sign(&claims)?,
            access_expires_at,
            refresh_token: refresh.token.to_text(),
            refresh_expires_at: refresh.expires_at,
            session,
            owner,
        })
    }
}
