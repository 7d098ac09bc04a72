//! What has an end, and when it is over, on both engines.

use bursar_id::SessionId;
use bursar_testkit::id;
use bursar_time::{Span, furthest_end, latest_beginning};

use super::prune::{Perishable, delete};
use super::tests::{ada, begin, from, later, now, session, verification};
use super::users::UserRow;
use super::{MIGRATIONS, places, sessions, users, verifications};

bursar_testkit::engines! {
    async fn who_stays_unproven_perishes(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let proven = UserRow { id: id(2), email_key: "b@x.org".to_owned(), email_verified_at: Some(now()), ..ada() };
        assert!(users::insert(&mut tx, &proven).await.unwrap());
        let ids = |rows: Vec<UserRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        let before = now().saturating_sub(Span::SECOND);
        assert!(users::perished(&mut tx, before, from(now()), 10).await.unwrap().is_empty());
        assert_eq!(ids(users::perished(&mut tx, now(), from(now()), 10).await.unwrap()), [ada().id]);
        verifications::insert(&mut tx, &[1; 32], &verification(later(9))).await.unwrap();
        assert!(verifications::is_live(&mut tx, ada().id, from(later(8))).await.unwrap());
        assert!(!verifications::is_live(&mut tx, ada().id, from(later(9))).await.unwrap());
        let followed = users::perished(&mut tx, now(), from(later(8)), 10).await.unwrap();
        assert!(followed.is_empty(), "the link can be followed");
        assert_eq!(ids(users::perished(&mut tx, now(), from(later(9)), 10).await.unwrap()), [ada().id]);
        users::leave(&mut tx, ada().id, later(9)).await.unwrap();
        assert!(users::perished(&mut tx, now(), from(later(9)), 10).await.unwrap().is_empty(), "leaves already");
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
        let perished = users::perished(&mut tx, now(), ends, 10).await.unwrap();
        assert_eq!(perished.len(), 1, "a link that nobody can follow keeps no account");
        verifications::insert(&mut tx, &[2; 32], &verification(ends.1)).await.unwrap();
        assert!(verifications::is_live(&mut tx, ada, ends).await.unwrap());
        assert!(users::perished(&mut tx, now(), ends, 10).await.unwrap().is_empty());
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
}
