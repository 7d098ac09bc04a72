//! Deleting the own account; how an account ends is told in `departures.rs`.

use bursar_id::OwnerId;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation, UserCaller};

use super::Identity;
use super::clearing::AT_A_TIME;
use super::departures::Leaving;
use super::sessions::still_live;
use crate::Error;
use crate::store::{sessions, users};

impl Identity {
    /// Deletes the caller with sessions and tokens, and tells the other services. Refused while the caller owns
    /// organizations: organization is asked, between two mutations. Who is leaving already may ask again, and joins in.
    /// Whoever has more than a call should delete is answered once the end is sure, and the job goes on.
    pub async fn delete_me(&self, asked: &Asked<()>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = may_leave(&mut m, asked).await;
        if let Looked::Before(answer) = self.0.mutations.look(m, looked).await? {
            return Ok(answer);
        }
        let leaving = self.begin_departure(asked.user()?).await?;
        self.may_go(leaving).await?;
        let cleared = self.clear(leaving, Some(asked.user()?.session), AT_A_TIME).await?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.end_account(&mut m, asked, (leaving, cleared)).await;
        self.0.mutations.end(m, done).await
    }

    async fn begin_departure(&self, caller: &UserCaller) -> Result<Leaving, Error> {
        let mut tx = self.0.db.begin().await?;
        let now = self.believed()?;
        still_live(sessions::by_id(&mut tx, caller.session).await?, caller, now)?;
        let user = users::by_id_locked(&mut tx, caller.user).await?.ok_or(Error::SessionEnded)?;
        let leaving = self.leave(&mut tx, &user, now).await?;
        tx.commit().await?;
        Ok(leaving)
    }

    async fn end_account(
        &self,
        m: &mut Mutation,
        asked: &Asked<()>,
        (leaving, cleared): (Leaving, bool),
    ) -> Result<Done<(), Payload>, Error> {
        let caller = asked.user()?;
        if leaving.is_sure(m.tx()).await? {
            // The session was live when the departure began; somebody who asks by another one may have cleared it away since.
            m.admit(OwnerId::User(caller.user));
        } else {
            admit_leaving(m, caller).await?;
        }
        let Some(()) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&caller.user);
        let now = m.now();
        if !cleared {
            users::by_id_locked(m.tx(), caller.user).await?;
            if leaving.is_sure(m.tx()).await? {
                // It is sure to end, and the job goes on for as long as that takes.
                self.look_after(m.tx(), leaving, now).await?;
                return Ok(Done::New((), Vec::new()));
            }
        }
        let told = self.go(m.tx(), leaving, now).await?.ok_or(Error::SessionEnded)?;
        Ok(Done::New((), told))
    }
}

async fn may_leave(m: &mut Mutation, asked: &Asked<()>) -> Result<Option<()>, Error> {
    admit_leaving(m, asked.user()?).await?;
    Ok(m.open(asked).await?.copied())
}

/// The caller's standing: a live session, also of an account that is leaving.
async fn admit_leaving(m: &mut Mutation, caller: &UserCaller) -> Result<(), Error> {
    let now = m.now();
    still_live(sessions::by_id(m.tx(), caller.session).await?, caller, now)?;
    m.admit(OwnerId::User(caller.user));
    Ok(())
}
