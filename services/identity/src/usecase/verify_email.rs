//! Confirming an address by the token from the mail.

use bursar_id::OwnerId;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation};
use bursar_secret::{Secret, Token};
use bursar_time::lasts;

use super::departures::demand_staying;
use super::{Identity, events};
use crate::Error;
use crate::config::LONGEST_LINK;
use crate::domain::session::EndReason;
use crate::store::{places, sessions, users, verifications};

impl Identity {
    /// Uses a verification token up: the account is that of whoever made its sign-up, with the password and the name chosen
    /// there, and every session that was begun before ends. Whoever presents it again within a month gets the same
    /// answer. Which way a token is wrong is not told.
    pub async fn verify_email(&self, asked: &Asked<Secret>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = verify(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }
}

async fn verify(m: &mut Mutation, asked: &Asked<Secret>) -> Result<Done<(), Payload>, Error> {
    let Some(token) = m.open(asked).await? else { return Ok(Done::Replay) };
    let token = Token::parse(token.expose()).map_err(|_| Error::VerificationTokenInvalid)?;
    let now = m.now();
    let row = verifications::take(m.tx(), token.digest().as_bytes()).await?;
    let row = row.filter(|row| lasts(row.expires_at, LONGEST_LINK, now)).ok_or(Error::VerificationTokenInvalid)?;
    let user = users::by_id_locked(m.tx(), row.user_id).await?;
    let user = user.filter(|user| user.email_key == row.email_key).ok_or(Error::VerificationTokenInvalid)?;
    demand_staying(&user)?;
    m.prove(&user.id);
    m.admit(OwnerId::User(user.id));
    m.about(&user.id);
    let mut told = Vec::new();
    let (password_hash, name) = (row.password_hash.as_deref(), row.display_name.as_deref());
    if users::set_verified(m.tx(), user.id, password_hash, name, now).await? {
        sessions::end_all(m.tx(), user.id, now, EndReason::Revoked).await?;
        places::forget(m.tx(), user.id).await?;
        // A snapshot leaves out whoever has not confirmed: who loaded one before hears the name now.
        told.push(events::updated(user.id, row.display_name.unwrap_or(user.display_name)));
    }
    verifications::delete_of(m.tx(), user.id).await?;
    Ok(Done::New((), told))
}
