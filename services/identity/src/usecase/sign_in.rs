//! Signing in with address and password.

use bursar_email::Email;
use bursar_id::OwnerId;
use bursar_secret::Secret;

use super::attempts::{Bucket, Origin};
use super::{Identity, Tokens};
use crate::Error;
use crate::domain::membership::Membership;
use crate::domain::password;
use crate::store::sessions::{self, SessionRow};
use crate::store::users;

/// Who wants to sign in, and from where.
pub struct Credentials {
    /// The address.
    pub email: Email,
    /// The password as typed.
    pub password: Secret,
    /// Where the call comes from.
    pub origin: Origin,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Identity {
    /// Begins a session in the personal context. An unknown address, a wrong password and a password that
    /// nobody can have get one answer after the same work.
    pub async fn sign_in(&self, credentials: Credentials) -> Result<Tokens, Error> {
        let account = Bucket::Account(credentials.email.key());
        let address = Bucket::Address(credentials.origin);
        let mut tx = self.0.db.begin().await?;
        let now = self.now();
        account.take(&mut tx, now).await?;
        address.take(&mut tx, now).await?;
        let user = users::by_email(&mut tx, credentials.email.key()).await?;
        tx.commit().await?;

        let plausible = password::plausible(credentials.password.expose());
        let stored = user.as_ref().filter(|_| plausible).map(|user| user.password_hash.clone());
        let matches = self.0.hasher.verify(credentials.password, stored).await?;
        let user = user.filter(|_| matches).ok_or(Error::CredentialsInvalid)?;

        let key = self.0.signer.current().await?;
        let now = self.now();
        let owner = OwnerId::User(user.id);
        let session = SessionRow {
            id: self.new_session_id(now),
            user_id: user.id,
            context: owner,
            user_agent: credentials.user_agent,
            created_at: now,
            last_used_at: now,
            expires_at: now.saturating_add(self.0.config.refresh.lifetime),
            ended_at: None,
        };
        let mut tx = self.0.db.begin().await?;
        account.give_back(&mut tx).await?;
        address.give_back(&mut tx).await?;
        // The user may have been deleted while the password was checked.
        let user = users::by_id_locked(&mut tx, user.id).await?.ok_or(Error::CredentialsInvalid)?;
        sessions::insert(&mut tx, &session).await?;
        let refresh = self.issue_refresh(&mut tx, session.id, &self.new_branch(), now).await?;
        tx.commit().await?;
        self.hand_out(&key, &user, session.id, (owner, Membership::UNKNOWN), &refresh)
    }
}
