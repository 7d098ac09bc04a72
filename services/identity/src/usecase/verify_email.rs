//! Confirming an address by the token from the mail.

use bursar_secret::Token;

use super::Identity;
use crate::Error;
use crate::store::{users, verifications};

impl Identity {
    /// Uses a verification token up. Which way a token is wrong is not told.
    pub async fn verify_email(&self, token: &str) -> Result<(), Error> {
        let token = Token::parse(token).map_err(|_| Error::VerificationTokenInvalid)?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        let row = verifications::take(&mut tx, token.digest().as_bytes()).await?;
        let row = row.filter(|row| now < row.expires_at).ok_or(Error::VerificationTokenInvalid)?;
        let user = users::by_id_locked(&mut tx, row.user_id).await?;
        let user = user.filter(|user| user.email_key == row.email_key).ok_or(Error::VerificationTokenInvalid)?;
        users::set_verified(&mut tx, user.id, now).await?;
        verifications::delete_of(&mut tx, user.id).await?;
        tx.commit().await?;
        Ok(())
    }
}
