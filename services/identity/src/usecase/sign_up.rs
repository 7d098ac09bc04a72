//! Signing up, with the same answer whether or not the address has an account.
//!
//! Whoever proves an address owns it: each mailed token carries the password and the name of its own sign-up, and following
//! it makes them the account's (`verify_email.rs`). So nobody can hold somebody else's address by signing up first, and
//! nobody can get into an account by having signed up before its holder, or after.

use bursar_db::{DbError, Tx};
use bursar_email::Email;
use bursar_id::{OwnerId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Asked, Done, Mutation, Origin};
use bursar_secret::{Secret, Token};
use bursar_time::Timestamp;

use super::attempts::Bucket;
use super::hashing::Purpose;
use super::{Identity, events, mails};
use crate::Error;
use crate::domain::display_name::DisplayName;
use crate::store::users::{self, UserRow};
use crate::store::verifications::{self, VerificationRow};

/// A well-formed request to sign up.
#[derive(Clone, Debug)]
pub struct SignUp {
    /// The address.
    pub email: Email,
    /// The password, of an accepted length.
    pub password: Secret,
    /// The name that others see.
    pub display_name: DisplayName,
    /// Where the call comes from.
    pub origin: Origin,
}

impl SignUp {
    /// What counts it, in the order in which they are locked.
    fn buckets(&self) -> Vec<Bucket<'_>> {
        let key = self.email.key();
        // Whoever stands behind a service that does not say where its callers are cannot be told from the others there: they
        // share a count so wide that only a flood fills it. In this process nobody is a stranger.
        let is_place = self.origin != Origin::Local;
        let place = is_place.then_some(Bucket::SignUps(self.origin));
        let network = self.origin.within_site().map(Bucket::NetworkSignUps);
        let mails = [Bucket::SignUpMail(key, self.origin), Bucket::SignUpMails(key)];
        place.into_iter().chain(network).chain(mails).collect()
    }
}

/// An address to mail a verification to once more.
#[derive(Clone, Debug)]
pub struct VerifyAgain {
    /// The address.
    pub email: Email,
    /// Where the call comes from.
    pub origin: Origin,
}

impl Identity {
    /// Opens an account and mails the verification; mails one more for an address that nobody has proven, and tells the
    /// holder of a proven one. The caller learns nothing: the password is hashed and a mail queued in each case. A taken
    /// address is looked up; a free one has the account, its verification, an event and an audit row written, which is
    /// little beside the hash.
    pub async fn sign_up(&self, asked: &Asked<SignUp>) -> Result<(), Error> {
        let command = asked.command()?;
        let place = self.0.hasher.join(command.origin, Purpose::SignUp)?;
        let buckets = command.buckets();
        self.take(&buckets).await?;
        let hashed = self.0.hasher.hash(place, command.password.clone()).await;
        if hashed.is_err() {
            // No mail will be sent.
            self.give_back(&buckets).await;
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
            sign_ups: 1,
            version: 1,
            created_at: now,
            updated_at: now,
            leaving_since: None,
            departures: 0,
        };
        let mut told = Vec::new();
        if users::insert(m.tx(), &user).await? {
            m.prove(&user.id);
            m.admit(OwnerId::User(user.id));
            m.about(&user.id);
            self.mail_verification(m.tx(), &user, &user, now).await?;
            told.push(events::updated(user.id, user.display_name));
        } else if let Some(holder) = users::by_email(m.tx(), command.email.key()).await? {
            // The lock, so that nobody proves the address while a token for it is written.
            match users::by_id_locked(m.tx(), holder.id).await? {
                // While an account is about to end it is told as one that stays: nobody learns of it here.
                Some(holder) if holder.email_verified_at.is_none() && holder.leaving_since.is_none() => {
                    users::count_sign_up(m.tx(), holder.id).await?;
                    self.mail_verification(m.tx(), &holder, &user, now).await?;
                }
                Some(holder) => {
                    let mail = mails::already_registered(&holder.email, &self.0.config);
                    self.queue_mail(m.tx(), &mail, holder.id, now).await?;
                }
                // The account ended in between: the next attempt opens another.
                None => return Err(DbError::Serialization.into()),
            }
        } else {
            return Err(DbError::Serialization.into());
        }
        Ok(Done::New((), told))
    }

    /// Mails a new verification token to an address whose holder has not confirmed it. The tokens sent before
    /// stop working. The caller does not learn whether there is such an account.
    ///
    /// When more than one sign-up was made with the address, nobody here knows whose password the one who asks means, and
    /// asking is no proof of anything: the mail says to sign up again, and the tokens sent before go on working.
    pub async fn request_email_verification(&self, asked: &Asked<VerifyAgain>) -> Result<(), Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.verify_again(&mut m, asked).await;
        self.0.mutations.end(m, done).await?;
        self.0.jobs.wake();
        Ok(())
    }

    async fn verify_again(&self, m: &mut Mutation, asked: &Asked<VerifyAgain>) -> Result<Done<(), Payload>, Error> {
        let Some(VerifyAgain { email, origin }) = m.open(asked).await? else { return Ok(Done::Replay) };
        let now = m.now();
        Bucket::Verification(email.key(), *origin).take(m.tx(), now).await?;
        Bucket::Verifications(email.key()).take(m.tx(), now).await?;
        if let Some(user) = users::by_email(m.tx(), email.key()).await?
            && let Some(user) = users::by_id_locked(m.tx(), user.id).await?
            && user.email_verified_at.is_none()
            // Whoever is about to end gets no mail, and whoever asks does not learn of it.
            && user.leaving_since.is_none()
        {
            if user.sign_ups > 1 {
                self.queue_mail(m.tx(), &mails::sign_up_again(&user.email, &self.0.config), user.id, now).await?;
            } else {
                verifications::delete_of(m.tx(), user.id).await?;
                self.mail_verification(m.tx(), &user, &user, now).await?;
            }
        }
        Ok(Done::New((), Vec::new()))
    }

    /// Mails a token for the address of `user` that makes it the account of whoever `signed_up`.
    async fn mail_verification(
        &self,
        tx: &mut Tx,
        user: &UserRow,
        signed_up: &UserRow,
        now: Timestamp,
    ) -> Result<(), Error> {
        let token = Token::generate(&self.0.entropy);
        let row = VerificationRow {
            user_id: user.id,
            email_key: user.email_key.clone(),
            password_hash: Some(signed_up.password_hash.clone()),
            display_name: Some(signed_up.display_name.clone()),
            expires_at: now.saturating_add(self.0.config.verification_ttl),
        };
        verifications::insert(tx, token.digest().as_bytes(), &row).await?;
        let mail = mails::verification(&user.email, &self.0.config, &token);
        self.queue_mail(tx, &mail, user.id, now).await
    }

    async fn queue_mail(
        &self,
        tx: &mut Tx,
        mail: &bursar_mail::Mail,
        holder: UserId,
        now: Timestamp,
    ) -> Result<(), Error> {
        bursar_mail::queue(&self.0.jobs, tx, now, mail, OwnerId::User(holder)).await?;
        Ok(())
    }
}
