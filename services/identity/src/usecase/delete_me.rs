//! Deleting the own account.

use bursar_members::words;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation};

use super::{Identity, Owned, events};
use crate::Error;
use crate::store::users;

impl Identity {
    /// Deletes the caller with sessions and tokens, and tells the other services. Refused while the caller owns
    /// organizations: organization is asked, between two mutations.
    pub async fn delete_me(&self, asked: &Asked<()>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = self.may_ask(&mut m, asked).await;
        if let Looked::Before(answer) = self.0.mutations.look(m, looked).await? {
            return Ok(answer);
        }
        let owned = self.owned_organizations().await?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.delete(&mut m, asked, owned).await;
        self.0.mutations.end(m, done).await
    }

    async fn delete(&self, m: &mut Mutation, asked: &Asked<()>, owned: Owned) -> Result<Done<(), Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller).await?;
        let Some(()) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&caller.user);
        if owned.count > 0 {
            return Err(Error::OwnsOrganizations(owned));
        }
        if !users::delete(m.tx(), caller.user).await? {
            return Err(Error::SessionEnded);
        }
        let now = m.now();
        users::remember_deleted(m.tx(), caller.user, now).await?;
        words::forget(m.tx(), caller.user).await?;
        Ok(Done::New((), vec![events::deleted(caller.user)]))
    }
}
