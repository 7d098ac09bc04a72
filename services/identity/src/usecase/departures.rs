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
//! Whoever joins in meanwhile (a repetition, a twin, the job) does so in the same departure, by its number. Whoever was
//! refused while another one of them came to 3 takes nothing back, and goes on.
//!
//! A program of before that knows no 3 runs beside this one while a deployment is upgraded. The store refuses it what is over
//! with 3 (a CHECK: `let_go`): its call fails, and its job waits for a program that goes on.

use bursar_db::{DbError, Tx, idempotency};
use bursar_id::{OwnerId, UserId};
use bursar_jobs::Kind;
use bursar_members::words;
use bursar_proto::event::v1::event::Payload;
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::clearing::{AT_A_TIME, Portions};
use super::{Identity, Owned, events};
use crate::Error;
use crate::store::users::{self, Departure, UserRow};

/// Finishes a departure or takes it back, when nobody else has.
pub const DEPARTURE: Kind<Leaving> = Kind::new("identity.departure");

/// When a departure is looked after that nobody has finished: longer than a call takes.
const UNFINISHED: Span = Span::from_mins(1);

/// Accounts that are about to end, of which one look makes sure that each has its job.
const PAGE: i64 = 100;

/// What has become of a departure that was looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The account has ended now.
    Ended,
    /// The account stays, or somebody else has ended it.
    Over,
    /// It ends whatever comes, and has more to be deleted before than one attempt should.
    Clearing,
}

/// Whether a departure was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// Now.
    Taken,
    /// There was none any more: the account stays already, or is gone.
    Over,
    /// Organization has let it go: nobody takes it back.
    Never,
}

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
        self.look_after(tx, leaving, now.saturating_add(UNFINISHED)).await?;
        Ok(leaving)
    }

    /// Sees to it that a departure has its job, due at this instant at the latest.
    pub(super) async fn look_after(&self, tx: &mut Tx, leaving: Leaving, due: Timestamp) -> Result<(), DbError> {
        let unique = format!("{}/{}", leaving.user, leaving.number);
        self.0.jobs.enqueue(tx, DEPARTURE, &leaving, due, Some(&unique)).await
    }

    /// Sees to it that each account which is about to end has its job: without one it would be about to for ever. Where there is
    /// one nothing is lost, for it does what it has done already once more.
    pub async fn look_after_all(&self) -> Result<(), Error> {
        self.look_after_pages(PAGE).await
    }

    async fn look_after_pages(&self, page: i64) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let mut tx = self.0.db.begin().await?;
            let found = users::leaving_after(&mut tx, &after, page).await?;
            let due = self.now().saturating_add(UNFINISHED);
            for (user, number) in &found {
                self.look_after(&mut tx, Leaving { user: *user, number: *number }, due).await?;
            }
            tx.commit().await?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = last.to_string();
        }
    }

    /// Asks organization whether an account that is marked as leaving may go. If it may not, or nobody knows, it stays, unless
    /// somebody else was told meanwhile that it may.
    pub(super) async fn may_go(&self, leaving: Leaving) -> Result<(), Error> {
        let Err(refusal) = self.ask_to_go(leaving).await else {
            return Ok(());
        };
        match self.stay(leaving).await {
            Ok(Back::Never) => return Ok(()),
            Ok(Back::Taken | Back::Over) => {}
            Err(error) => {
                tracing::warn!(%error, user = %leaving.user, "cannot take a departure back at once: the job will");
            }
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

    /// Takes a departure back, if it is still under way and not sure, and tells organization. Says whether it did.
    pub(super) async fn stay(&self, leaving: Leaving) -> Result<Back, Error> {
        let mut tx = self.0.db.begin().await?;
        let departure = leaving.departure(&mut tx).await?;
        if users::stay(&mut tx, leaving.user, departure).await? {
            self.0.outbox.commit(tx, vec![events::staying(leaving.user, leaving.number)]).await?;
            return Ok(Back::Taken);
        }
        let sure = leaving.is_sure(&mut tx).await?;
        tx.rollback().await?;
        Ok(if sure { Back::Never } else { Back::Over })
    }

    /// Ends an account that organization has let go, and that was cleared: the events that tell of it. `None` when there is no
    /// such account any more.
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

    /// Finishes a departure that nobody has finished, or takes it back. One look at organization decides: nobody waits for ever
    /// between here and gone.
    pub async fn finish_departure(&self, leaving: Leaving) -> Result<Course, Error> {
        self.see_off(leaving, AT_A_TIME).await
    }

    /// The same, with no more deleted before the account ends than so much.
    pub(super) async fn see_off(&self, leaving: Leaving, portions: Portions) -> Result<Course, Error> {
        let mut tx = self.0.db.read().await?;
        let user = users::by_id(&mut tx, leaving.user).await?;
        drop(tx);
        if !user.is_some_and(|user| leaving.is_of(&user)) {
            return Ok(Course::Over);
        }
        let answer = self.ask_to_go(leaving).await;
        self.go_on(leaving, answer, portions).await
    }

    /// What follows from organization's answer.
    async fn go_on(&self, leaving: Leaving, answer: Result<(), Error>, portions: Portions) -> Result<Course, Error> {
        match answer {
            Ok(()) => {}
            // Organization refused nothing: whoever tries again asks it.
            Err(error @ Error::Store(_)) => return Err(error),
            Err(refusal) => match self.stay(leaving).await? {
                Back::Taken => {
                    tracing::info!(error = %refusal, user = %leaving.user, "an account that was about to end stays");
                    return Ok(Course::Over);
                }
                Back::Over => return Ok(Course::Over),
                // Somebody else was told meanwhile that it may go, and may be gone before the account has ended.
                Back::Never => {}
            },
        }
        if !self.clear(leaving, None, portions).await? {
            return Ok(Course::Clearing);
        }
        let mut tx = self.0.db.begin().await?;
        let now = self.now();
        match self.go(&mut tx, leaving, now).await {
            Ok(Some(told)) => {
                self.0.outbox.commit(tx, told).await?;
                tracing::info!(user = %leaving.user, "ended an account that was about to end");
                Ok(Course::Ended)
            }
            // Somebody else has ended it meanwhile.
            Ok(None) => Ok(Course::Over),
            // Taken back meanwhile, or not possible at the moment: whoever tries again sees which.
            Err(other) => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;
    use crate::store::tests::{ada, looked_after};
    use crate::usecase::hearing::identity;

    /// Marks Ada as leaving, with no job that looks after it.
    async fn mark(identity: &Identity) -> Leaving {
        let mut tx = identity.0.db.begin().await.unwrap();
        users::leave(&mut tx, ada().id, identity.now()).await.unwrap();
        tx.commit().await.unwrap();
        Leaving { user: ada().id, number: 1 }
    }

    async fn is_leaving(identity: &Identity) -> bool {
        users::is_leaving(&mut identity.0.db.read().await.unwrap(), ada().id).await.unwrap()
    }

    fn away() -> Error {
        Error::Organization(Box::new(Status::unavailable("")))
    }

    bursar_testkit::engines! {
        /// Kind: what nobody takes back is given up by nobody either, whoever was refused meanwhile.
        async fn who_is_refused_while_another_one_is_let_go_goes_on_to_the_end(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let leaving = mark(&identity).await;
            // Organization does not answer the job; between its question and that, a call was answered and noted it.
            let mut tx = identity.0.db.begin().await.unwrap();
            let departure = leaving.departure(&mut tx).await.unwrap();
            assert!(users::let_go(&mut tx, leaving.user, departure).await.unwrap());
            tx.commit().await.unwrap();
            assert_eq!(identity.stay(leaving).await.unwrap(), Back::Never);
            assert_eq!(identity.go_on(leaving, Err(away()), AT_A_TIME).await.unwrap(), Course::Ended);
            assert!(users::by_id(&mut identity.0.db.read().await.unwrap(), leaving.user).await.unwrap().is_none());
            assert_eq!(identity.stay(leaving).await.unwrap(), Back::Over);
        }

        async fn what_the_store_could_not_say_takes_no_departure_back(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let leaving = mark(&identity).await;
            let locked = identity.go_on(leaving, Err(DbError::Locked.into()), AT_A_TIME).await;
            assert!(matches!(locked, Err(Error::Store(DbError::Locked))), "the job comes again");
            assert!(is_leaving(&identity).await);
            assert_eq!(identity.go_on(leaving, Err(away()), AT_A_TIME).await.unwrap(), Course::Over);
            assert!(!is_leaving(&identity).await, "nobody has let it go");
        }

        /// Kind: an account that is about to end is not about to for ever because its job is gone.
        async fn each_departure_without_a_job_gets_one(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let db = &identity.0.db;
            identity.look_after_all().await.unwrap();
            assert_eq!(looked_after(&mut db.read().await.unwrap()).await, 0, "nobody leaves");
            mark(&identity).await;
            let mut tx = db.begin().await.unwrap();
            for n in 2..=4 {
                let (email, email_key) = (format!("{n}@example.com"), format!("{n}@example.com"));
                let other = UserRow { id: bursar_testkit::id(n), email, email_key, ..ada() };
                assert!(users::insert(&mut tx, &other).await.unwrap());
                if n < 4 {
                    users::leave(&mut tx, other.id, identity.now()).await.unwrap();
                }
            }
            tx.commit().await.unwrap();
            for _ in 0..2 {
                identity.look_after_pages(2).await.unwrap();
                assert_eq!(looked_after(&mut db.read().await.unwrap()).await, 3, "one each");
            }
        }
    }
}
