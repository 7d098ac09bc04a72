//! Accounts whose address nobody has proven end after a week: an address cannot be held without reading its mail.

use bursar_time::{Span, Timestamp, furthest_end, latest_beginning};

use super::Identity;
use super::clearing::OF_ONE;
use super::departures::{Course, Leaving};
use crate::Error;
use crate::config::LONGEST_LINK;
use crate::store::{users, verifications};

/// How long an address may stay unproven (product.md, "Identity").
const UNPROVEN: Span = Span::from_days(7);
/// Accounts that one call ends at most.
const BATCH: i64 = 20;

impl Identity {
    /// Ends some of the accounts that have stayed unproven for too long, as every account ends (`departures.rs`), and says
    /// whether there may be more. While a link that was mailed for the address can be followed, its account lives on. Safe
    /// on several replicas at once.
    pub async fn end_unproven(&self) -> Result<bool, Error> {
        self.end_unproven_by(self.now()).await
    }

    /// The same by what a clock showed a moment ago.
    async fn end_unproven_by(&self, now: Timestamp) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        // A link that a clock dated which was far ahead cannot be followed (`verify_email.rs`), so it keeps no account either.
        let links = (now, furthest_end(LONGEST_LINK, now));
        let signed_up = (now.saturating_sub(UNPROVEN), latest_beginning(now));
        let perished = users::perished(&mut tx, signed_up, links, BATCH).await?;
        let mut leaving = Vec::with_capacity(perished.len());
        for user in &perished {
            // Again, now that nobody can be mailed another one: the list may have been made before its lock.
            if !verifications::is_live(&mut tx, user.id, links).await? {
                leaving.push(self.leave(&mut tx, user, now).await?);
            }
        }
        if self.0.clock.is_long_past(now) {
            tx.rollback().await?;
            return Ok(true);
        }
        tx.commit().await?;
        let mut ended = 0;
        for account in leaving {
            match self.see_off(account, OF_ONE).await {
                Ok(Course::Ended) => ended += 1,
                // It ends, and nobody else waits for that.
                Ok(Course::Clearing) => {
                    ended += 1;
                    self.hurry(account).await?;
                }
                Ok(Course::Over) => {}
                // Its job tries again.
                Err(error) => tracing::warn!(%error, "an account that nobody has proven has not ended yet"),
            }
        }
        if ended > 0 {
            tracing::info!(
                accounts = ended,
                "ended accounts whose address nobody has proven, or made sure that they end"
            );
        }
        // Not by how many there were: those that stay are there again.
        Ok(ended == BATCH)
    }

    /// Has the job go on with a departure now.
    async fn hurry(&self, leaving: Leaving) -> Result<(), Error> {
        let mut tx = self.0.db.begin().await?;
        self.look_after(&mut tx, leaving, self.now()).await?;
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use bursar_testkit::id;

    use super::*;
    use crate::store::tests::ada;
    use crate::usecase::UserRow;
    use crate::usecase::hearing::identity;

    bursar_testkit::engines! {
        /// Whoever stood still in between takes what others have written meanwhile for a wrong clock's.
        async fn who_signed_up_since_the_clock_was_read_did_not_by_a_wrong_one(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let read = identity.now();
            identity.0.clock.advance(Span::from_hours(20)).unwrap();
            let now = identity.now();
            let (email, email_key) = ("ben@example.com".to_owned(), "ben@example.com".to_owned());
            let ben = UserRow { id: id(2), email, email_key, created_at: now, updated_at: now, ..ada() };
            let mut tx = identity.0.db.begin().await.unwrap();
            assert!(users::insert(&mut tx, &ben).await.unwrap());
            tx.commit().await.unwrap();
            assert!(identity.end_unproven_by(read).await.unwrap(), "it is done again");
            assert!(!identity.end_unproven().await.unwrap());
            let mut tx = identity.0.db.read().await.unwrap();
            let left = users::by_id(&mut tx, ben.id).await.unwrap().expect("the week has just begun");
            assert_eq!((left.leaving_since, left.departures), (None, 0));
        }
    }
}
