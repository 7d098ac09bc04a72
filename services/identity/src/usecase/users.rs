//! The own user, and users by their ids.

use bursar_id::UserId;
use bursar_proto::event::v1::UserUpdated;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::identity::v1::UpdateMeResponse;
use bursar_rpc::UserCaller;
use bursar_rpc::idempotent::{Claimed, RequestKey};

use super::Identity;
use crate::Error;
use crate::domain::display_name::DisplayName;
use crate::store::users::{self, UserRow};

impl Identity {
    /// The caller's own user.
    pub async fn get_me(&self, caller: &UserCaller) -> Result<UserRow, Error> {
        let mut tx = self.0.db.read().await?;
        self.live_session(&mut tx, caller, self.now()).await?;
        users::by_id(&mut tx, caller.user).await?.ok_or(Error::SessionEnded)
    }

    /// Changes the caller's own user; `answer` turns the user into what is stored for a replay.
    pub async fn update_me(
        &self,
        caller: &UserCaller,
        display_name: Option<DisplayName>,
        key: &RequestKey,
        answer: impl FnOnce(UserRow) -> UpdateMeResponse,
    ) -> Result<UpdateMeResponse, Error> {
        let mut tx = self.0.db.begin().await?;
        let now = self.now();
        match key.claim(&mut tx, now).await? {
            Claimed::Replay(answer) => return Ok(answer),
            Claimed::Reused => return Err(Error::RequestIdReused),
            Claimed::New => {}
        }
        self.live_session(&mut tx, caller, now).await?;
        let mut user = users::by_id_locked(&mut tx, caller.user).await?.ok_or(Error::SessionEnded)?;
        let mut events = Vec::new();
        if let Some(name) = display_name.filter(|name| name.as_str() != user.display_name) {
            users::set_display_name(&mut tx, user.id, name.as_str(), now).await?;
            name.as_str().clone_into(&mut user.display_name);
            let (user_id, display_name) = (user.id.to_string(), user.display_name.clone());
            events.push(Payload::UserUpdated(UserUpdated { user_id, display_name }));
        }
        let answer = answer(user);
        key.settle(&mut tx, &answer).await?;
        self.0.outbox.commit(tx, events).await?;
        Ok(answer)
    }

    /// Those of the given users that exist.
    pub async fn batch_get_users(&self, ids: &[UserId]) -> Result<Vec<UserRow>, Error> {
        let mut tx = self.0.db.read().await?;
        Ok(users::by_ids(&mut tx, ids).await?)
    }
}
