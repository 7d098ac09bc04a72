//! Ending an account: in one service it is checked what the user owns, in another the account ends. So that nothing comes to
//! the user in between, and a crash between any two steps ends well:
//!
//! 1. the account is marked as leaving, and committed, together with a job that looks after it: from then on its sessions
//!    can do nothing but ask for the deletion again
//! 2. organization confirms that the user owns nothing, and refuses the user as an owner from then on
//! 3. the account is noted to be let go: nobody takes that back, and what it has by the thousands is deleted in portions
//!    (`clearing.rs`)
//! 4. the account ends, if it is still leaving by the same departure; the others are told by event
//!
//! When organization says that the user owns something, or says nothing, the mark is taken back instead of 3, and
//! organization is told by event. What a crash or a caller who hung up leaves behind, the job finishes or takes back.
//! Whoever joins in meanwhile (a repetition, a twin, the job) does so in the same departure, by its number.

use bursar_db::{DbError, Tx, idempotency};
use bursar_id::{OwnerId, UserId};
use bursar_jobs::Kind;
use bursar_members::words;
use bursar_proto::event::v1::event::Payload;
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Identity, Owned, events};
use crate::Error;
use crate::store::users::{self, Departure, UserRow};

/// Finishes a departure or takes it back, when nobody else has.
pub const DEPARTURE: Kind<Leaving> = Kind::new("identity.departure");

/// When a departure is looked after that nobody has finished: longer than a call takes.
const UNFINISHED: Span = Span::from_mins(1);

/// An account that is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Whose.
    pub user: UserId,
    /// Which of the user's departures this is.
    pub number: i64,
}

impl Leaving {
    /// Whether this is what the account, as it is stored, is about to do.
    fn is_of(self, user: &UserRow) -> bool {
        user.leaving_since.is_some() && user.departures == self.number
    }

    /// As the store knows it. Of one that was restored since, organization knows other marks.
    pub(super) async fn departure(self, tx: &mut Tx) -> Result<Departure, DbError> {
        Ok((self.number, bursar_events::incarnation(tx).await?))
    }

    /// Whether organization has let it go, and nobody can take it back.
    pub(super) async fn is_sure(self, tx: &mut Tx) -> Result<bool, DbError> {
        let departure = self.departure(tx).await?;
        users::is_let_go(tx, self.user, departure).await
    }
}

/// Whoever is leaving does nothing else.
pub(super) fn demand_staying(user: &UserRow) -> Result<(), Error> {
    if user.leaving_since.is_none() { Ok(()) } else { Err(Error::Leaving) }
}

impl Identity {
    /// Marks a locked account as leaving, or joins the departure that is under way.
    pub(super) async fn leave(&self, tx: &mut Tx, user: &UserRow, now: Timestamp) -> Result<Leaving, Error> {
        if user.leaving_since.is_some() {
            return Ok(Leaving { user: user.id, number: user.departures });
        }
        users::leave(tx, user.id, now).await?;
        let leaving = Leaving { user: user.id, number: user.departures + 1 };
        let unique = format!("{}/{}", leaving.user, leaving.number);
        self.0.jobs.enqueue(tx, DEPARTURE, &leaving, now.saturating_add(UNFINISHED), Some(&unique)).await?;
        Ok(leaving)
    }

    /// Asks organization whether an account that is marked as leaving may go. If it may not, or nobody knows, it stays.
    pub(super) async fn may_go(&self, leaving: Leaving) -> Result<(), Error> {
        let Err(refusal) = self.ask_to_go(leaving).await else {
            return Ok(());
        };
        if let Err(error) = self.stay(leaving).await {
            tracing::warn!(%error, user = %leaving.user, "cannot take a departure back at once: the job will");
        }
        Err(refusal)
    }

    async fn ask_to_go(&self, leaving: Leaving) -> Result<(), Error> {
        if leaving.is_sure(&mut self.0.db.read().await?).await? {
            return Ok(());
        }
        match self.confirm_departure(leaving).await? {
            Owned { count: 0, .. } => Ok(()),
            owned => Err(Error::OwnsOrganizations(owned)),
        }
    }

    async fn confirm_departure(&self, leaving: Leaving) -> Result<Owned, Error> {
        let mut tx = self.0.db.read().await?;
        let incarnation = bursar_events::incarnation(&mut tx).await?;
        let user = users::by_id(&mut tx, leaving.user).await?;
        drop(tx);
        // Whoever has not proven an address has no say in what others sent to it.
        let proven = user.filter(|user| user.email_verified_at.is_some());
        self.ask_to_let_go(leaving, incarnation, proven.map(|user| user.email).unwrap_or_default()).await
    }

    /// Takes a departure back, if it is still under way, and tells organization.
    pub(super) async fn stay(&self, leaving: Leaving) -> Result<(), Error> {
        let mut tx = self.0.db.begin().await?;
        let departure = leaving.departure(&mut tx).await?;
        let stays = users::stay(&mut tx, leaving.user, departure).await?;
        let told = stays.then(|| events::staying(leaving.user, leaving.number));
        Ok(self.0.outbox.commit(tx, told.into_iter().collect()).await?)
    }

    /// Ends an account that organization has let go, and that was cleared: the events that tell of it. `None` when there is no such account any
    /// more.
    pub(super) async fn go(
        &self,
        tx: &mut Tx,
        leaving: Leaving,
        now: Timestamp,
    ) -> Result<Option<Vec<Payload>>, Error> {
        let Some(user) = users::by_id_locked(tx, leaving.user).await? else {
            return Ok(None);
        };
        if !leaving.is_of(&user) {
            // Taken back by somebody who got no answer: whoever is still here begins again.
            return Err(DbError::Serialization.into());
        }
        users::delete(tx, user.id).await?;
        users::remember_deleted(tx, user.id, now).await?;
        words::forget(tx, user.id).await?;
        idempotency::forget_all_of(tx, &user.id.to_string()).await?;
        bursar_mail::forget(&self.0.jobs, tx, &user.email).await?;
        // Also what is for other addresses, such as the billing profile's: as much as one person may be mailed in a month.
        bursar_mail::forget_owned(&self.0.jobs, tx, OwnerId::User(user.id), i64::MAX).await?;
        Ok(Some(vec![events::deleted(user.id)]))
    }

    /// Finishes a departure that nobody has finished, or takes it back; says whether the account has ended now. One look at
    /// organization decides: nobody waits for ever between here and gone.
    pub async fn finish_departure(&self, leaving: Leaving) -> Result<bool, Error> {
        let mut tx = self.0.db.read().await?;
        let user = users::by_id(&mut tx, leaving.user).await?;
        drop(tx);
        if !user.is_some_and(|user| leaving.is_of(&user)) {
            return Ok(false);
        }
        if let Err(error) = self.ask_to_go(leaving).await {
            self.stay(leaving).await?;
            tracing::info!(%error, user = %leaving.user, "an account that was about to end stays");
            return Ok(false);
        }
        self.clear(leaving, None).await?;
        let mut tx = self.0.db.begin().await?;
        let now = self.now();
        match self.go(&mut tx, leaving, now).await {
            Ok(Some(told)) => {
                self.0.outbox.commit(tx, told).await?;
                tracing::info!(user = %leaving.user, "ended an account that was about to end");
                Ok(true)
            }
            // Somebody else has ended it meanwhile.
            Ok(None) => Ok(false),
            // Taken back meanwhile, or not possible at the moment: whoever tries again sees which.
            Err(other) => Err(other),
        }
    }
}
