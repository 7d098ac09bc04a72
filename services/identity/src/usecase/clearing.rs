//! Clearing an account before it ends: what one can have by the thousands (sessions and their tokens, answers that are kept,
//! words about memberships, mailed links) goes some rows at a time, so that nobody waits for the end of somebody who was busy.
//!
//! It begins when organization has let the account go, and from then on there is no way back: that is noted with the departure,
//! nobody takes it back, and whoever goes on with it asks organization no more. Meanwhile the account is leaving, and can do
//! nothing. Wherever that is cut off, whoever goes on (the caller who asks again, or the departure's job) deletes what is left, and
//! the account ends as if nothing had happened.
//!
//! Nobody clears more than so much at a time: a call answers when it has done its part, and the job goes on at once as often as it
//! takes, so that no attempt is as long as somebody was busy, and nobody else's end waits for it.

use bursar_db::{Tx, idempotency};
use bursar_id::{SessionId, UserId};
use bursar_members::words;

use super::Identity;
use super::departures::Leaving;
use crate::Error;
use crate::store::{belongings, users};

/// How much is deleted at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portions {
    /// Transactions at most.
    many: u32,
    /// Rows that each of them deletes at most.
    rows: i64,
}

/// What a call deletes, or an attempt of the job: seconds, where both may take a minute.
pub(super) const AT_A_TIME: Portions = Portions { many: 20, rows: 500 };
/// What is deleted of one account by whoever ends others after it.
pub(super) const OF_ONE: Portions = Portions { many: 1, ..AT_A_TIME };

impl Identity {
    /// Notes that an account which organization has let go ends whatever comes, and deletes some of what it has many of, but for
    /// the session of who asks: while it is there (the job deletes that, too) its caller can ask again. `false` when there may be
    /// more. Nothing happens when the departure is under way no more.
    pub(super) async fn clear(
        &self,
        leaving: Leaving,
        asking: Option<SessionId>,
        portions: Portions,
    ) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        let departure = leaving.departure(&mut tx).await?;
        let sure = users::let_go(&mut tx, leaving.user, departure).await?;
        tx.commit().await?;
        for _ in 0..portions.many {
            if !sure || !self.clear_some(leaving, asking, portions.rows).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One portion of it; `false` when there is no more, or the departure has ended, or is not sure to.
    async fn clear_some(&self, leaving: Leaving, asking: Option<SessionId>, limit: i64) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        users::by_id_locked(&mut tx, leaving.user).await?;
        if !leaving.is_sure(&mut tx).await? {
            return Ok(false);
        }
        let left = delete(&mut tx, leaving.user, asking, limit).await?;
        tx.commit().await?;
        Ok(left == 0)
    }
}

/// Deletes up to `limit` rows; says how many more it would have. Sessions go after the tokens that they would take along.
async fn delete(tx: &mut Tx, user: UserId, asking: Option<SessionId>, limit: i64) -> Result<i64, Error> {
    let but = |left: i64, gone: u64| left.saturating_sub(i64::try_from(gone).unwrap_or(i64::MAX)).max(0);
    let mut left = but(limit, belongings::delete_tokens(tx, user, limit).await?);
    if left > 0 {
        left = but(left, belongings::delete_sessions(tx, user, asking, left).await?);
    }
    if left > 0 {
        left = but(left, belongings::delete_verifications(tx, user, left).await?);
    }
    if left > 0 {
        left = but(left, idempotency::forget_some_of(tx, &user.to_string(), left).await?);
    }
    if left > 0 {
        left = but(left, words::forget_some(tx, user, left).await?);
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use bursar_db::Db;
    use bursar_id::OwnerId;
    use bursar_members::Word;
    use bursar_testkit::id;
    use bursar_time::Timestamp;

    use super::*;
    use crate::store::tests::{ada, owned, session, stays_as_before, token, verification};
    use crate::store::{branches, sessions, verifications};
    use crate::usecase::departures::{Back, Course};
    use crate::usecase::hearing::identity;

    /// Rows of each kind that somebody has: more than three portions of these tests.
    const MANY: u8 = 20;
    const SOME: i64 = 6;

    /// Lets somebody have much, and be about to leave.
    async fn busy(identity: &Identity, now: Timestamp) -> Leaving {
        let mut tx = identity.0.db.begin().await.unwrap();
        let far = now.saturating_add(bursar_time::Span::DAY);
        for n in 0..MANY {
            let row =
                sessions::SessionRow { last_used_at: now, expires_at: far, ..session(u64::from(n) + 1, ada().id) };
            sessions::insert(&mut tx, &row).await.unwrap();
            for one in 0..2 {
                let digest = [[n; 16], [one; 16]].concat();
                branches::insert(&mut tx, &digest, &token(row.id, [one; 16], far)).await.unwrap();
            }
            verifications::insert(&mut tx, &[n; 32], &verification(far)).await.unwrap();
            let (scope, request) = (format!("{}/{}", ada().id, ada().id), n.to_string());
            idempotency::claim(&mut tx, &scope, &request, "M", &[1; 32], now).await.unwrap();
            idempotency::settle(&mut tx, &scope, &request, b"Ada").await.unwrap();
            let owner = OwnerId::Organization(id(u64::from(n) + 1));
            words::learn(&mut tx, owner, ada().id, Word { version: 1, ..Word::NOTHING }).await.unwrap();
        }
        let user = users::by_id_locked(&mut tx, ada().id).await.unwrap().expect("there");
        let leaving = identity.leave(&mut tx, &user, now).await.unwrap();
        tx.commit().await.unwrap();
        leaving
    }

    async fn rows(db: &Db) -> i64 {
        owned(&mut db.read().await.unwrap()).await
    }

    async fn let_go(identity: &Identity, leaving: Leaving) {
        let mut tx = identity.0.db.begin().await.unwrap();
        let departure = leaving.departure(&mut tx).await.unwrap();
        assert!(users::let_go(&mut tx, leaving.user, departure).await.unwrap());
        tx.commit().await.unwrap();
    }

    bursar_testkit::engines! {
        /// Kind: no transaction is as long as somebody was busy, and whoever is killed between two leaves nothing behind.
        async fn an_account_goes_some_rows_at_a_time_and_ends_wherever_that_is_cut_off(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let (db, all) = (&identity.0.db, i64::from(MANY) * 6);
            let leaving = busy(&identity, identity.now()).await;
            assert!(!identity.clear_some(leaving, None, SOME).await.unwrap());
            assert_eq!(rows(db).await, all, "nothing goes of who may stay");
            let_go(&identity, leaving).await;
            for portion in 1..=3 {
                assert!(identity.clear_some(leaving, None, SOME).await.unwrap());
                assert_eq!(rows(db).await, all - portion * SOME, "no more than so many at a time");
            }
            // Killed there. Nobody takes it back, and organization, which says nothing, is not asked again.
            assert_eq!(identity.stay(leaving).await.unwrap(), Back::Never);
            assert!(users::is_leaving(&mut db.read().await.unwrap(), leaving.user).await.unwrap());
            assert_eq!(identity.finish_departure(leaving).await.unwrap(), Course::Ended);
            assert_eq!(rows(db).await, 0);
            assert!(users::by_id(&mut db.read().await.unwrap(), leaving.user).await.unwrap().is_none());
            assert_eq!(identity.finish_departure(leaving).await.unwrap(), Course::Over, "once");
        }

        /// Kind: no attempt is as long as somebody was busy, and what it leaves is no failure of it.
        async fn an_attempt_deletes_so_much_and_the_next_one_goes_on(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let (db, all) = (&identity.0.db, i64::from(MANY) * 6);
            let leaving = busy(&identity, identity.now()).await;
            let_go(&identity, leaving).await;
            let two = Portions { many: 2, rows: SOME };
            for attempt in 1..all / (2 * SOME) {
                assert_eq!(identity.see_off(leaving, two).await.unwrap(), Course::Clearing);
                assert_eq!(rows(db).await, all - attempt * 2 * SOME);
            }
            let mut course = Course::Clearing;
            for _ in 0..2 {
                course = identity.see_off(leaving, two).await.unwrap();
                if course != Course::Clearing {
                    break;
                }
            }
            assert_eq!((course, rows(db).await), (Course::Ended, 0));
        }

        async fn all_that_somebody_has_goes_but_for_the_session_that_asks(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let db = &identity.0.db;
            let leaving = busy(&identity, identity.now()).await;
            let_go(&identity, leaving).await;
            let asking = id(3);
            let mut before = rows(db).await;
            while identity.clear_some(leaving, Some(asking), 1).await.unwrap() {
                let left = rows(db).await;
                assert_eq!(left, before - 1);
                before = left;
            }
            assert_eq!(rows(db).await, 1);
            let kept = sessions::by_id(&mut db.read().await.unwrap(), asking).await.unwrap();
            assert!(kept.is_some_and(|session| session.ended_at.is_none()), "it can ask again");
        }

        /// Kind: a program of before, which knows nothing of it, takes nobody back who is half deleted.
        async fn a_program_of_before_takes_no_departure_back_that_was_let_go(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let leaving = busy(&identity, identity.now()).await;
            let_go(&identity, leaving).await;
            let mut tx = identity.0.db.begin().await.unwrap();
            assert!(!stays_as_before(&mut tx, leaving.user, leaving.number).await);
            tx.rollback().await.unwrap();
            assert_eq!(identity.finish_departure(leaving).await.unwrap(), Course::Ended);
        }
    }
}
