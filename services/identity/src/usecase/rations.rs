//! How often refresh tokens are exchanged: rationed by session and by user, since each exchange leaves a row behind that is
//! kept for as long as the token would have been good (`domain/session.rs`).
//!
//! A session has a tenth of its user's, so whoever has stolen one leaves the other sessions room.
//!
//! Who has used the ration up is told so before organization is asked and before anything is locked. The token stays as it is
//! then: it is not rotated, so it is no reuse to come back with it. A call that is refused for another reason takes nothing.

use bursar_db::{DbError, Tx};
use bursar_id::{SessionId, UserId};
use bursar_time::Timestamp;

use super::attempts::Bucket;
use crate::Error;
use crate::store::throttles;

/// What a refresh is counted by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ration([Bucket<'static>; 2]);

/// When each is empty, kept from changing until the transaction ends.
#[derive(Debug)]
pub(super) struct Held([Timestamp; 2]);

impl Ration {
    /// Of a session of a user's, which may be refreshed so often at once, and as often an hour from then on.
    pub(super) fn of(session: SessionId, user: UserId, most_per_hour: u32) -> Self {
        Self([Bucket::Refreshes(session, most_per_hour), Bucket::UserRefreshes(user, most_per_hour)])
    }

    /// Whether one more fits, as far as one sees without a lock. `again`: it is one that was made a moment ago, whose answer may
    /// be lost.
    pub(super) async fn look(&self, tx: &mut Tx, again: bool, now: Timestamp) -> Result<(), Error> {
        for bucket in self.0 {
            let drained = bucket.look(tx).await?;
            bucket.admit(drained, again, now)?;
        }
        Ok(())
    }

    /// Locks what one more is to be taken of: before its session is locked, and in this order everywhere. (Whoever deletes what
    /// has drained waits for none that is locked.)
    pub(super) async fn hold(&self, tx: &mut Tx, now: Timestamp) -> Result<Held, DbError> {
        let [session, user] = self.0;
        Ok(Held([session.lock(tx, now).await?, user.lock(tx, now).await?]))
    }

    /// Takes one more of what is held, or of nothing.
    pub(super) async fn take(&self, tx: &mut Tx, held: &Held, again: bool, now: Timestamp) -> Result<(), Error> {
        for (bucket, drained) in self.0.into_iter().zip(held.0) {
            let drained = bucket.admit(Some(drained), again, now)?;
            throttles::set(tx, &bucket.to_string(), drained).await?;
        }
        Ok(())
    }
}
