//! Signing up, with the same answer whether or not the address has an account.

use bursar_db::Tx;
use bursar_email::Email;
use bursar_id::OwnerId;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Asked, Done, Mutation};
use bursar_secret::{Secret, Token};
use bursar_time::Timestamp;

use super::attempts::Bucket;
use super::{Identity, events, mails};
use crate::Error;
use crate::domain::display_name::DisplayName;
use crate::store::users::{self, UserRow};
use crate::store::verifications;

/// A well-formed request to sign up.
#[derive(Clone, Debug)]
pub struct SignUp {
    /// The address.
    pub email: Email,
    /// The password, of an accepted length.
    pub password: Secret,
    /// The name that others see.
    pub display_name: DisplayName,
}

impl Identity {
    /// Opens an account and mails the verification, or mails the holder of a taken address. The caller learns
    /// neither: the password is hashed and a mail queued in both cases. A taken address is looked up; a free one has the
    /// account, its verification, an event and an audit row written, which is little beside the hash.
    pub async fn sign_up(&self, asked: &Asked<SignUp>) -> Result<(), Error> {
        let command = asked.command()?;
        let mut tx = self.0.db.begin().await?;
        Bucket::Mail(command.email.key()).take(&mut tx, self.now()).await?;
        tx.commit().await?;
        let hashed = self.0.hasher.hash(command.password.clone()).await;
        if hashed.is_err() {
            // No mail will be sent.
            self.give_back(&[Bucket::Mail(command.email.key())]).await;
        }
        let password_hash = hashed?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.open_account(&mut m, command, password_hash).await;
        self.0.mutations.end(m, done).await?;
        self.0.jobs.wake();
        Ok(())
    }

    async fn open_account(
        &self,
        m: &mut Mutation,
        command: &SignUp,
        password_hash: String,
    ) -> Result<Done<(), Payload>, Error> {
        let now = m.now();
        let user = UserRow {
            id: self.new_user_id(now),
            email: command.email.address().to_owned(),
            email_key: command.email.key().to_owned(),
            email_verified_at: None,
            password_hash,
            display_name: command.display_name.as_str().to_owned(),
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let mut told = Vec::new();
        if users::insert(m.tx(), &user).await? {
            m.prove(&user.id);
            m.admit(OwnerId::User(user.id));
            m.about(&user.id);
            self.mail_verification(m.tx(), &user, now).await?;
            told.push(events::updated(user.id, user.display_name));
        } else if let Some(holder) = users::by_email(m.tx(), command.email.key()).await? {
            self.queue_mail(m.tx(), &mails::already_registered(&holder.email, &self.0.config), now).await?;
        }
        Ok(Done::New((), told))
    }

    /// Mails a new verification token to an address whose holder has not confirmed it. The tokens sent before
    /// stop working. The caller does not learn whether there is such an account.
    pub async fn request_email_verification(&self, asked: &Asked<Email>) -> Result<(), Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.verify_again(&mut m, asked).await;
        self.0.mutations.end(m, done).await?;
        self.0.jobs.wake();
        Ok(())
    }

    async fn verify_again(&self, m: &mut Mutation, asked: &Asked<Email>) -> Result<Done<(), Payload>, Error> {
        let Some(email) = m.open(asked).await? else { return Ok(Done::Replay) };
        let now = m.now();
        Bucket::Mail(email.key()).take(m.tx(), now).await?;
        let user = users::by_email(m.tx(), email.key()).await?;
        if let Some(user) = user.filter(|user| user.email_verified_at.is_none()) {
            verifications::delete_of(m.tx(), user.id).await?;
            self.mail_verification(m.tx(), &user, now).await?;
        }
        Ok(Done::New((), Vec::new()))
    }

    async fn mail_verification(&self, tx: &mut Tx, user: &UserRow, now: Timestamp) -> Result<(), Error> {
        let token = Token::generate(&self.0.entropy);
        let ttl = self.0.config.verification_ttl;
        let expires_at = now.saturating_add(ttl);
        verifications::insert(tx, token.digest().as_bytes(), user.id, &user.email_key, expires_at).await?;
        let mail = mails::verification(&user.email, &self.0.config, &token);
        self.queue_mail(tx, &mail, now).await
    }

    async fn queue_mail(&self, tx: &mut Tx, mail: &bursar_mail::Mail, now: Timestamp) -> Result<(), Error> {
        bursar_mail::queue(&self.0.jobs, tx, now, mail).await?;
        Ok(())
    }
}
