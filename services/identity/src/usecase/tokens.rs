//! The pair a signed-in client holds: a signed access token and an opaque refresh token.

use bursar_db::Tx;
use bursar_id::{OwnerId, SessionId};
use bursar_members::Word;
use bursar_rpc::token::{AccessClaims, StandardClaims};
use bursar_rpc::{Answer, AuthMethods, Branch};
use bursar_secret::{Secret, Token};
use bursar_time::Timestamp;

use super::Identity;
use super::signing::RingKey;
use crate::Error;
use crate::store::branches::{self, RefreshTokenRow};
use crate::store::sessions::SessionRow;
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

/// A branch of a session, and how its user proved who it is: what each token of the branch says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    /// The branch.
    pub(super) branch: Branch,
    /// When.
    pub(super) authenticated_at: Timestamp,
    /// By which means.
    pub(super) methods: AuthMethods,
    /// Whom the branch acts for.
    pub(super) context: OwnerId,
    /// When its client moved on to another branch.
    pub(super) left_at: Option<Timestamp>,
}

impl Proof {
    /// What the branch of a stored refresh token of a session says.
    pub(super) fn of(token: &RefreshTokenRow, session: &SessionRow) -> Result<Self, Error> {
        let branch = token.branch.as_slice().try_into().map_err(Error::internal)?;
        Ok(Self {
            branch: Branch::from_bytes(branch),
            authenticated_at: token.authenticated_at,
            methods: AuthMethods::of_words(&token.methods),
            context: token.context.unwrap_or(session.context),
            left_at: token.left_at,
        })
    }
}

/// A refresh token that was just written, not yet handed out.
pub(super) struct IssuedRefresh {
    token: Token,
    proof: Proof,
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
        session: &SessionRow,
        proof: Proof,
        now: Timestamp,
    ) -> Result<IssuedRefresh, Error> {
        let token = Token::generate(&self.0.entropy);
        let expires_at = self.0.config.refresh.token_end(session.created_at, proof.left_at.is_some(), now);
        let row = RefreshTokenRow {
            session_id: session.id,
            branch: proof.branch.as_bytes().to_vec(),
            authenticated_at: proof.authenticated_at,
            methods: proof.methods.to_words(),
            context: Some(proof.context),
            left_at: proof.left_at,
            issued_at: now,
            expires_at,
            rotated_at: None,
        };
        branches::insert(tx, token.digest().as_bytes(), &row).await?;
        Ok(IssuedRefresh { token, proof, expires_at })
    }

    /// A branch's name: random, so that two never meet.
    pub(super) fn new_branch(&self) -> Branch {
        Branch::from_bytes(self.0.entropy.bytes())
    }

    /// Signs the access token and puts the pair together.
    pub(super) fn hand_out(
        &self,
        key: &RingKey,
        user: &UserRow,
        session: SessionId,
        place: (OwnerId, Word),
        refresh: &IssuedRefresh,
    ) -> Result<Tokens, Error> {
        let (owner, membership) = place;
        let standard = StandardClaims::lasting(self.now(), self.0.config.access_ttl);
        let access_expires_at = standard.expires_at().ok_or_else(|| Error::internal("a token without an end"))?;
        let claims = AccessClaims {
            sub: user.id,
            sid: session,
            bid: Some(refresh.proof.branch),
            ctx: owner,
            role: membership.role,
            mv: membership.role.map_or(0, |_| membership.version),
            mvi: membership.role.map_or(0, |_| membership.incarnation),
            auth_time: Some(refresh.proof.authenticated_at.as_unix_secs()),
            amr: refresh.proof.methods,
            act: None,
            key: None,
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
