//! Signing in with address and password.

use bursar_email::Email;
use bursar_id::{OwnerId, UserId};
use bursar_members::Word;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Asked, AuthMethods, Done, Mutation};
use bursar_secret::Secret;

use super::attempts::{Bucket, Origin};
use super::signing::RingKey;
use super::tokens::{Proof, shown_once};
use super::{Identity, Tokens};
use crate::Error;
use crate::domain::password;
use crate::store::sessions::{self, SessionRow};
use crate::store::users;

/// Who wants to sign in, and from where.
#[derive(Clone, Debug)]
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
    pub async fn sign_in(&self, asked: &Asked<Credentials>) -> Result<Tokens, Error> {
        let credentials = asked.command()?;
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
        let verdict = self.0.hasher.verify(credentials.password.clone(), stored).await;
        if verdict.is_err() {
            // Nobody has learned anything.
            self.give_back(&[account, address]).await;
        }
        let matches = verdict?;
        let user = user.filter(|_| matches).ok_or(Error::CredentialsInvalid)?;

        let key = self.0.signer.current().await?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.open_session(&mut m, credentials, user.id, &key).await;
        shown_once(self.0.mutations.end(m, done).await?)
    }

    /// What somebody with the right password gets. The attempt was none.
    async fn open_session(
        &self,
        m: &mut Mutation,
        credentials: &Credentials,
        user: UserId,
        key: &RingKey,
    ) -> Result<Done<Tokens, Payload>, Error> {
        Bucket::Account(credentials.email.key()).give_back(m.tx()).await?;
        Bucket::Address(credentials.origin).give_back(m.tx()).await?;
        // The user may have been deleted while the password was checked.
        let user = users::by_id_locked(m.tx(), user).await?.ok_or(Error::CredentialsInvalid)?;
        let (owner, now) = (OwnerId::User(user.id), m.now());
        let session = SessionRow {
            id: self.new_session_id(now),
            user_id: user.id,
            context: owner,
            user_agent: credentials.user_agent.clone(),
            created_at: now,
            last_used_at: now,
            expires_at: now.saturating_add(self.0.config.refresh.lifetime),
            ended_at: None,
        };
        m.prove(&user.id);
        m.admit(owner);
        m.about(&session.id);
        sessions::insert(m.tx(), &session).await?;
        let proof = Proof { branch: self.new_branch(), authenticated_at: now, methods: AuthMethods::PASSWORD };
        let refresh = self.issue_refresh(m.tx(), session.id, proof, now).await?;
        let tokens = self.hand_out(key, &user, session.id, (owner, Word::NOTHING), &refresh)?;
        Ok(Done::New(tokens, Vec::new()))
    }
}
