//! Deleting the own account.

use bursar_proto::event::v1::UserDeleted;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::identity::v1::DeleteMeResponse;
use bursar_rpc::UserCaller;
use bursar_rpc::idempotent::{Claimed, RequestKey};

use super::Identity;
use crate::Error;
use crate::store::{memberships, users};

impl Identity {
    /// Deletes the caller with sessions and tokens, and tells the other services. Refused while the caller owns
    /// organizations: organization is asked at this moment.
    pub async fn delete_me(&self, caller: &UserCaller, key: &RequestKey) -> Result<DeleteMeResponse, Error> {
        let count = self.owned_organizations().await?;
        let mut tx = self.0.db.begin().await?;
        let now = self.now();
        match key.claim(&mut tx, now).await? {
            Claimed::Replay(answer) => return Ok(answer),
            Claimed::Reused => return Err(Error::RequestIdReused),
            Claimed::New => {}
        }
        self.live_session(&mut tx, caller, now).await?;
        if count > 0 {
            return Err(Error::OwnsOrganizations { count });
        }
        if !users::delete(&mut tx, caller.user).await? {
            return Err(Error::SessionEnded);
        }
        memberships::forget(&mut tx, caller.user).await?;
        let answer = DeleteMeResponse {};
        key.settle(&mut tx, &answer).await?;
        let event = Payload::UserDeleted(UserDeleted { user_id: caller.user.to_string() });
        self.0.outbox.commit(tx, vec![event]).await?;
        Ok(answer)
    }
}
