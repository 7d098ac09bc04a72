//! What has an end, and when it is over, on both engines.

use bursar_db::Engine;
use bursar_id::{OwnerId, SessionId};
use bursar_testkit::id;
use bursar_time::{Span, Timestamp, furthest_end, latest_beginning};

use super::prune::{Perishable, delete};
use super::tests::{ada, begin, from, later, now, session, token, verification};
use super::users::UserRow;
use super::{MIGRATIONS, branches, places, sessions, throttles, users, verifications};
use crate::config::LONGEST_LINK;
use crate::domain::session::EndReason;

/// Signed up until then, or by a clock that is far ahead of [`now`].
fn until(instant: Timestamp) -> (Timestamp, Timestamp) {
    (instant, latest_beginning(now()))
}

bursar_testkit::engines! {
    async fn who_stays_unproven_perishes(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let proven = UserRow { id: id(2), email_key: "b@x.org".to_owned(), email_verified_at: Some(now()), ..ada() };
        assert!(users::insert(&mut tx, &proven).await.unwrap());
        let ids = |rows: Vec<UserRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        let before = now().saturating_sub(Span::SECOND);
        assert!(users::perished(&mut tx, until(before), from(now()), 10).await.unwrap().is_empty());
        assert_eq!(ids(users::perished(&mut tx, until(now()), from(now()), 10).await.unwrap()), [ada().id]);
        verifications::insert(&mut tx, &[1; 32], &verification(later(9))).await.unwrap();
        assert!(verifications::is_live(&mut tx, ada().id, from(later(8))).await.unwrap());
        assert!(!verifications::is_live(&mut tx, ada().id, from(later(9))).await.unwrap());
        let followed = users::perished(&mut tx, until(now()), from(later(8)), 10).await.unwrap();
        assert!(followed.is_empty(), "the link can be followed");
        assert_eq!(ids(users::perished(&mut tx, until(now()), from(later(9)), 10).await.unwrap()), [ada().id]);
        users::leave(&mut tx, ada().id, later(9)).await.unwrap();
        assert!(users::perished(&mut tx, until(now()), from(later(9)), 10).await.unwrap().is_empty(), "leaves already");
    }

    /// Kind K: an end 400 days too late is none, and the last that a clock may have written which is a little ahead is one.
    async fn an_end_that_only_a_clock_far_ahead_could_write_is_over(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let ada = ada().id;
        let latest = latest_beginning(now());
        for (n, used) in [(1, latest), (2, latest.saturating_add(Span::SECOND)), (3, latest.saturating_add(Span::from_days(400)))] {
            let row = sessions::SessionRow { last_used_at: used, expires_at: used.saturating_add(Span::from_days(366)), ..session(n, ada) };
            sessions::insert(&mut tx, &row).await.unwrap();
        }
        let live = sessions::live_of(&mut tx, ada, None, (now(), latest), 10).await.unwrap();
        assert_eq!(live.into_iter().map(|row| row.id).collect::<Vec<SessionId>>(), [id(1)]);
        let ends = (now(), furthest_end(Span::DAY, now()));
        let far = verification(ends.1.saturating_add(Span::SECOND));
        verifications::insert(&mut tx, &[1; 32], &far).await.unwrap();
        assert!(!verifications::is_live(&mut tx, ada, ends).await.unwrap());
        let perished = users::perished(&mut tx, until(now()), ends, 10).await.unwrap();
        assert_eq!(perished.len(), 1, "a link that nobody can follow keeps no account");
        verifications::insert(&mut tx, &[2; 32], &verification(ends.1)).await.unwrap();
        assert!(verifications::is_live(&mut tx, ada, ends).await.unwrap());
        assert!(users::perished(&mut tx, until(now()), ends, 10).await.unwrap().is_empty());
    }

    /// Kind K: a place that a clock noted which was far ahead exempts nobody, leads no list and does not stay.
    async fn a_place_that_only_a_clock_far_ahead_could_note_is_not_known_and_goes(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let (key, ada, latest) = ("ada@example.com", ada().id, latest_beginning(now()));
        let far = now().saturating_add(Span::from_days(400));
        let believed = (now().saturating_sub(Span::DAY), latest);
        for (n, noted, known) in [(1, now(), true), (2, latest, true), (3, latest.saturating_add(Span::SECOND), false), (4, far, false)] {
            places::note(&mut tx, ada, &[n; 16], noted).await.unwrap();
            assert_eq!(places::is_known(&mut tx, key, &[n; 16], believed).await.unwrap(), known, "{n}");
        }
        assert_eq!(delete(&mut tx, Perishable::PlacesAhead, now(), 10).await.unwrap(), 2);
        assert!(places::is_known(&mut tx, key, &[2; 16], believed).await.unwrap(), "what may be believed stays");
        for n in 5..45 {
            places::note(&mut tx, ada, &[n; 16], far).await.unwrap();
        }
        places::note(&mut tx, ada, &[1; 16], now()).await.unwrap();
        assert!(places::is_known(&mut tx, key, &[1; 16], believed).await.unwrap(), "crowded out by none of them");
        assert_eq!(delete(&mut tx, Perishable::PlacesAhead, now(), 100).await.unwrap(), 0, "they went first");
    }

    /// Kind K: an address is not held for 407 days by who signed up while a clock was 400 days ahead, and has proven nothing.
    async fn who_signed_up_by_a_clock_far_ahead_and_stays_unproven_perishes(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let (latest, before) = (latest_beginning(now()), now().saturating_sub(Span::SECOND));
        let ends = (now(), furthest_end(Span::DAY, now()));
        for (n, signed_up) in [(2, latest), (3, latest.saturating_add(Span::SECOND)), (4, latest.saturating_add(Span::from_days(400)))] {
            let row = UserRow { id: id(n), email_key: format!("{n}@x.org"), created_at: signed_up, ..ada() };
            assert!(users::insert(&mut tx, &row).await.unwrap());
        }
        let ids = |rows: Vec<UserRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids(users::perished(&mut tx, until(before), ends, 10).await.unwrap()), [id(3), id(4)]);
        // Also where the account was to end once before, and stayed.
        users::leave(&mut tx, id(3), now()).await.unwrap();
        assert!(users::stay(&mut tx, id(3), (1, 1)).await.unwrap());
        assert_eq!(ids(users::perished(&mut tx, until(before), ends, 10).await.unwrap()), [id(4), id(3)]);
        let again = verifications::VerificationRow { user_id: id(4), ..verification(ends.1) };
        verifications::insert(&mut tx, &[1; 32], &again).await.unwrap();
        let left = users::perished(&mut tx, until(before), ends, 10).await.unwrap();
        assert_eq!(ids(left), [id(3)], "whoever has signed up again since has a link");
    }

    /// Kind: no transaction deletes what a session has by the thousands with it.
    async fn a_session_goes_when_its_tokens_have_gone_some_at_a_time(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let (ada, far) = (ada().id, now().saturating_add(Span::from_days(400)));
        let ahead = sessions::SessionRow { last_used_at: far, expires_at: far, ..session(3, ada) };
        for (n, row) in [(1, session(1, ada)), (2, sessions::SessionRow { expires_at: far, ..session(2, ada) }), (3, ahead)] {
            sessions::insert(&mut tx, &row).await.unwrap();
            for token_of in 0..7 {
                let digest = [n * 10 + token_of; 32];
                branches::insert(&mut tx, &digest, &token(row.id, [token_of; 16], far)).await.unwrap();
            }
        }
        sessions::end(&mut tx, id(2), now(), EndReason::SignedOut).await.unwrap();
        let month = now().saturating_add(Span::from_days(30));
        let kinds = [(1, Perishable::Sessions, later(100)), (2, Perishable::EndedSessions, month), (3, Perishable::SessionsAhead, now())];
        for (n, what, when) in kinds {
            for left in [true, true, false] {
                assert_eq!(delete(&mut tx, what, when, 3).await.unwrap(), if left { 3 } else { 1 }, "{what:?}");
                assert_eq!(sessions::by_id(&mut tx, id(n)).await.unwrap().is_some(), left, "{what:?}");
            }
            assert_eq!(delete(&mut tx, what, when, 3).await.unwrap(), 0, "{what:?}");
        }
    }

    /// Kind K: what nobody can use any more does not stay until the time of the clock that dated it has come.
    async fn sessions_and_links_of_a_clock_far_ahead_go(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let (ada, latest) = (ada().id, latest_beginning(now()));
        for n in 1..=12 {
            // Two in three by such a clock.
            let used = if n % 3 == 0 { latest } else { latest.saturating_add(Span::from_days(n)) };
            let row = sessions::SessionRow { last_used_at: used, expires_at: used.saturating_add(Span::from_days(30)), ..session(n, ada) };
            sessions::insert(&mut tx, &row).await.unwrap();
        }
        for expected in [3, 3, 2, 0] {
            assert_eq!(delete(&mut tx, Perishable::SessionsAhead, now(), 3).await.unwrap(), expected, "in batches");
        }
        let kept = sessions::live_of(&mut tx, ada, None, from(now()), 20).await.unwrap();
        assert_eq!(kept.into_iter().map(|row| row.id).collect::<Vec<SessionId>>(), [id(12), id(9), id(6), id(3)]);
        let furthest = furthest_end(LONGEST_LINK, now());
        for (digest, end) in [(1, furthest), (2, furthest.saturating_add(Span::SECOND)), (3, furthest.saturating_add(Span::from_days(400)))] {
            verifications::insert(&mut tx, &[digest; 32], &verification(end)).await.unwrap();
        }
        assert_eq!(delete(&mut tx, Perishable::VerificationsAhead, now(), 10).await.unwrap(), 2);
        assert!(verifications::take(&mut tx, &[1; 32]).await.unwrap().is_some(), "what may be believed stays");
    }
    /// Kind: whoever holds two throttles for a refresh is in nobody's way who deletes throttles in another order, and neither waits.
    async fn what_somebody_holds_is_not_waited_for_by_who_deletes_what_is_over(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        if db.engine() == Engine::Sqlite {
            // Nobody else writes meanwhile.
            return;
        }
        let mut tx = db.begin().await.unwrap();
        for bucket in ["refresh:usr_1", "refresh:ses_1", "place:1"] {
            throttles::drained_at(&mut tx, bucket, now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut holding = db.begin().await.unwrap();
        throttles::drained_at(&mut holding, "refresh:ses_1", now()).await.unwrap();
        let mut pruning = db.begin().await.unwrap();
        assert_eq!(delete(&mut pruning, Perishable::Throttles, now(), 10).await.unwrap(), 2);
        pruning.commit().await.unwrap();
        // It goes on, with a new one in place of what is gone.
        throttles::drained_at(&mut holding, "refresh:usr_1", now()).await.unwrap();
        for bucket in ["refresh:ses_1", "refresh:usr_1"] {
            throttles::set(&mut holding, bucket, later(1)).await.unwrap();
        }
        holding.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        assert_eq!(delete(&mut tx, Perishable::Throttles, later(1), 10).await.unwrap(), 2);
    }

    /// Kind: a session that is prolonged at the last moment keeps its rotated tokens, or a reuse of one would go unnoticed.
    async fn a_session_that_is_prolonged_while_others_go_keeps_its_tokens(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let (ada, far) = (ada().id, later(500));
        for n in 1..=2 {
            sessions::insert(&mut tx, &session(n, ada)).await.unwrap();
            branches::insert(&mut tx, &[u8::try_from(n).unwrap(); 32], &token(id(n), [1; 16], far)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut refreshing = db.begin().await.unwrap();
        sessions::by_id_locked(&mut refreshing, id(1)).await.unwrap().expect("there");
        sessions::touch(&mut refreshing, id(1), OwnerId::User(ada), later(99), far).await.unwrap();
        if db.engine() == Engine::Postgres {
            let mut pruning = db.begin().await.unwrap();
            assert_eq!(delete(&mut pruning, Perishable::Sessions, later(100), 10).await.unwrap(), 1, "the other one");
            pruning.commit().await.unwrap();
        }
        refreshing.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        delete(&mut tx, Perishable::Sessions, later(100), 10).await.unwrap();
        for (n, stays) in [(1, true), (2, false)] {
            assert_eq!(sessions::by_id(&mut tx, id(n)).await.unwrap().is_some(), stays, "{n}");
            let digest = [u8::try_from(n).unwrap(); 32];
            assert_eq!(branches::token(&mut tx, &digest).await.unwrap().is_some(), stays, "{n}");
        }
    }
}
