//! What identity's store promises, on both engines.

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::{OwnerId, ServiceAccountId, SessionId, UserId};
use bursar_members::people::People;
use bursar_testkit::{at, id};
use bursar_time::{Span, Timestamp};

use super::prune::{Perishable, delete};
use super::suspensions::{self, SuspensionRow, Suspensions};
use super::users::UserRow;
use super::{MIGRATIONS, branches, keys, places, prune, service_accounts, sessions, throttles, users, verifications};
use crate::domain::session::EndReason;

pub(super) fn now() -> Timestamp {
    at("2026-01-15T12:00:00Z")
}

pub(super) fn later(seconds: u64) -> Timestamp {
    now().saturating_add(Span::from_secs(seconds))
}

/// Ends after the instant, and far enough ahead.
pub(super) fn from(after: Timestamp) -> (Timestamp, Timestamp) {
    (after, Timestamp::MAX)
}

pub(crate) fn ada() -> UserRow {
    UserRow {
        id: id(1),
        email: "Ada@Example.com".to_owned(),
        email_key: "ada@example.com".to_owned(),
        email_verified_at: None,
        password_hash: "$argon2id$".to_owned(),
        display_name: "Ada".to_owned(),
        sign_ups: 1,
        version: 1,
        created_at: now(),
        updated_at: now(),
        leaving_since: None,
        departures: 0,
    }
}

pub(crate) fn token(session_id: SessionId, branch: [u8; 16], expires_at: Timestamp) -> branches::RefreshTokenRow {
    branches::RefreshTokenRow {
        session_id,
        branch: branch.to_vec(),
        authenticated_at: now(),
        methods: "pwd".to_owned(),
        context: Some(OwnerId::User(ada().id)),
        left_at: None,
        issued_at: now(),
        expires_at,
        rotated_at: None,
    }
}

pub(crate) fn verification(expires_at: Timestamp) -> verifications::VerificationRow {
    verifications::VerificationRow {
        user_id: ada().id,
        email_key: ada().email_key,
        password_hash: Some("$argon2id$other$".to_owned()),
        display_name: None,
        expires_at,
    }
}

pub(crate) fn session(n: u64, user: UserId) -> sessions::SessionRow {
    sessions::SessionRow {
        id: id(n),
        user_id: user,
        context: OwnerId::User(user),
        user_agent: "grpcurl".to_owned(),
        created_at: now(),
        last_used_at: now(),
        expires_at: later(100),
        ended_at: None,
    }
}

/// Rows of what one account can have many of, whoever has them.
pub(crate) async fn owned(tx: &mut Tx) -> i64 {
    const OWNED: &str = "SELECT (SELECT COUNT(*) FROM sessions) + (SELECT COUNT(*) FROM refresh_tokens) \
        + (SELECT COUNT(*) FROM email_verifications) + (SELECT COUNT(*) FROM requests) + (SELECT COUNT(*) FROM members)";
    let count: Result<(i64,), DbError> = async { Ok(on!(tx, c => sqlx::query_as(OWNED).fetch_one(c).await?)) }.await;
    count.unwrap().0
}

/// Takes a user's departure back as a program did that knew of no point of no return; `false`: the store does not let it.
pub(crate) async fn stays_as_before(tx: &mut Tx, user: UserId, number: i64) -> bool {
    const STAY: &str =
        "UPDATE users SET leaving_since = NULL WHERE id = $1 AND departures = $2 AND leaving_since IS NOT NULL";
    let stays: Result<u64, DbError> =
        async { Ok(on!(tx, c => sqlx::query(STAY).bind(user).bind(number).execute(c).await?.rows_affected())) }.await;
    match stays {
        Ok(rows) => rows == 1,
        Err(DbError::Conflict { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

/// How many departures have a job that looks after them.
pub(crate) async fn looked_after(tx: &mut Tx) -> i64 {
    const LOOKED_AFTER: &str = "SELECT COUNT(*) FROM jobs WHERE kind = 'identity.departure'";
    let count: Result<(i64,), DbError> =
        async { Ok(on!(tx, c => sqlx::query_as(LOOKED_AFTER).fetch_one(c).await?)) }.await;
    count.unwrap().0
}

/// A store with Ada in it.
pub(super) async fn begin(db: &Db) -> Tx {
    let mut tx = db.begin().await.unwrap();
    assert!(users::insert(&mut tx, &ada()).await.unwrap());
    tx
}

bursar_testkit::engines! {
    async fn an_address_belongs_to_one_user(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let twin = UserRow { id: id(2), ..ada() };
        assert!(!users::insert(&mut tx, &twin).await.unwrap());
        let found = users::by_email(&mut tx, "ada@example.com").await.unwrap().unwrap();
        assert_eq!((found.id, found.email.as_str()), (ada().id, "Ada@Example.com"));
        assert!(users::by_email(&mut tx, "Ada@Example.com").await.unwrap().is_none(), "only by the key");
        assert!(users::by_id(&mut tx, id(2)).await.unwrap().is_none());
    }

    async fn users_change_and_go_with_all_they_have(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let ada = ada().id;
        users::set_display_name(&mut tx, ada, "Countess", later(1)).await.unwrap();
        users::count_sign_up(&mut tx, ada).await.unwrap();
        assert!(users::set_verified(&mut tx, ada, Some("$other$"), None, later(2)).await.unwrap());
        assert!(!users::set_verified(&mut tx, ada, None, Some("Eve"), later(3)).await.unwrap(), "once");
        users::count_sign_up(&mut tx, ada).await.unwrap();
        users::strengthen(&mut tx, ada, "$another$", "$strong$").await.unwrap();
        let row = users::by_id_locked(&mut tx, ada).await.unwrap().unwrap();
        assert_eq!((row.password_hash.as_str(), row.sign_ups), ("$other$", 2));
        users::strengthen(&mut tx, ada, "$other$", "$strong$").await.unwrap();
        assert_eq!(users::by_id(&mut tx, ada).await.unwrap().unwrap().password_hash, "$strong$");
        assert_eq!((row.display_name.as_str(), row.email_verified_at, row.version), ("Countess", Some(later(2)), 3));
        assert!(users::set_display_name(&mut tx, id(9), "Nobody", now()).await.is_err());

        let listed = users::by_ids(&mut tx, &[id(9), ada, ada]).await.unwrap();
        assert_eq!(listed.iter().map(|user| user.id).collect::<Vec<_>>(), [ada]);

        sessions::insert(&mut tx, &session(1, ada)).await.unwrap();
        branches::insert(&mut tx, &[1; 32], &token(id(1), [0; 16], later(9))).await.unwrap();
        verifications::insert(&mut tx, &[2; 32], &verification(later(9))).await.unwrap();
        assert!(users::delete(&mut tx, ada).await.unwrap());
        assert!(!users::delete(&mut tx, ada).await.unwrap());
        assert!(sessions::by_id(&mut tx, id(1)).await.unwrap().is_none());
        assert!(branches::token(&mut tx, &[1; 32]).await.unwrap().is_none());
        assert!(verifications::take(&mut tx, &[2; 32]).await.unwrap().is_none());
    }

    async fn a_verification_is_taken_once(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        for n in [1, 2] {
            verifications::insert(&mut tx, &[n; 32], &verification(later(9))).await.unwrap();
        }
        let taken = verifications::take(&mut tx, &[1; 32]).await.unwrap().unwrap();
        assert_eq!((taken.user_id, taken.email_key.as_str(), taken.expires_at), (ada().id, "ada@example.com", later(9)));
        assert!(verifications::take(&mut tx, &[1; 32]).await.unwrap().is_none());
        verifications::delete_of(&mut tx, ada().id).await.unwrap();
        assert!(verifications::take(&mut tx, &[2; 32]).await.unwrap().is_none());
    }

    async fn sessions_live_move_and_end(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let ada = ada().id;
        for n in 1..=4 {
            sessions::insert(&mut tx, &session(n, ada)).await.unwrap();
        }
        assert!(sessions::end(&mut tx, id(2), later(1), EndReason::Revoked).await.unwrap());
        assert!(!sessions::end(&mut tx, id(2), later(2), EndReason::SignedOut).await.unwrap(), "once");
        let acme = OwnerId::Organization(id(1));
        sessions::touch(&mut tx, id(3), acme, later(5), later(500)).await.unwrap();
        let ids = |rows: Vec<sessions::SessionRow>| rows.into_iter().map(|row| row.id).collect::<Vec<SessionId>>();
        let all = sessions::live_of(&mut tx, ada, None, from(now()), 10).await.unwrap();
        assert_eq!(ids(all), [id(4), id(3), id(1)]);
        let after = sessions::live_of(&mut tx, ada, Some(id(4)), from(now()), 1).await.unwrap();
        assert_eq!(ids(after), [id(3)]);
        let much_later = sessions::live_of(&mut tx, ada, None, from(later(100)), 10).await.unwrap();
        assert_eq!(ids(much_later), [id(3)], "the others have expired");

        assert_eq!(sessions::by_id_locked(&mut tx, id(3)).await.unwrap().unwrap().context, acme);
        sessions::end_all(&mut tx, ada, later(9), EndReason::Revoked).await.unwrap();
        assert_eq!(sessions::by_id(&mut tx, id(2)).await.unwrap().unwrap().ended_at, Some(later(1)));
        assert_eq!(sessions::by_id(&mut tx, id(3)).await.unwrap().unwrap().ended_at, Some(later(9)));
    }

    async fn branches_are_entered_left_and_trimmed(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let (ada, acme) = (ada().id, OwnerId::Organization(id(1)));
        let home = Some(OwnerId::User(ada));
        sessions::insert(&mut tx, &session(1, ada)).await.unwrap();
        branches::insert(&mut tx, &[1; 32], &token(id(1), [1; 16], later(99))).await.unwrap();
        branches::enter(&mut tx, id(1), id(9), None, acme).await.unwrap();
        assert_eq!(branches::context(&mut tx, id(1), &[1; 16]).await.unwrap(), home, "somebody else's");
        branches::enter(&mut tx, id(1), ada, None, acme).await.unwrap();
        assert_eq!(branches::context(&mut tx, id(1), &[1; 16]).await.unwrap(), Some(acme), "its only one");
        let second = branches::RefreshTokenRow { issued_at: later(1), ..token(id(1), [2; 16], later(99)) };
        branches::insert(&mut tx, &[2; 32], &second).await.unwrap();
        let globex = OwnerId::Organization(id(2));
        branches::enter(&mut tx, id(1), ada, None, globex).await.unwrap();
        branches::enter(&mut tx, id(1), ada, Some(&[2; 16]), globex).await.unwrap();
        assert_eq!(branches::context(&mut tx, id(1), &[1; 16]).await.unwrap(), Some(acme));
        assert_eq!(branches::context(&mut tx, id(1), &[2; 16]).await.unwrap(), Some(globex));
        branches::leave(&mut tx, id(1), &[1; 16], later(2), later(50)).await.unwrap();
        branches::leave(&mut tx, id(1), &[1; 16], later(3), later(60)).await.unwrap();
        let left = branches::token(&mut tx, &[1; 32]).await.unwrap().unwrap();
        assert_eq!((left.left_at, left.expires_at), (Some(later(2)), later(50)), "once");
        branches::trim(&mut tx, id(1), 1).await.unwrap();
        assert!(branches::token(&mut tx, &[1; 32]).await.unwrap().is_none(), "the one longest unused");
        assert_eq!(branches::token(&mut tx, &[2; 32]).await.unwrap().unwrap().expires_at, later(99));
        sessions::end(&mut tx, id(1), later(4), EndReason::SignedOut).await.unwrap();
        branches::enter(&mut tx, id(1), ada, Some(&[2; 16]), acme).await.unwrap();
        assert_eq!(branches::context(&mut tx, id(1), &[2; 16]).await.unwrap(), Some(globex), "ended");
    }

    /// Kind: what happens to a branch costs nothing for each token that it ever had.
    async fn what_happens_to_a_branch_leaves_its_rotated_tokens_as_they_are(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let (ada, acme) = (ada().id, OwnerId::Organization(id(1)));
        sessions::insert(&mut tx, &session(1, ada)).await.unwrap();
        branches::insert(&mut tx, &[1; 32], &token(id(1), [1; 16], later(99))).await.unwrap();
        branches::retire(&mut tx, id(1), &[1; 16], later(1)).await.unwrap();
        assert!(branches::live(&mut tx, id(1), &[1; 16]).await.unwrap().is_none());
        branches::insert(&mut tx, &[2; 32], &token(id(1), [1; 16], later(99))).await.unwrap();
        branches::enter(&mut tx, id(1), ada, None, acme).await.unwrap();
        branches::enter(&mut tx, id(1), ada, Some(&[1; 16]), acme).await.unwrap();
        branches::leave(&mut tx, id(1), &[1; 16], later(2), later(50)).await.unwrap();
        let rotated = branches::token(&mut tx, &[1; 32]).await.unwrap().unwrap();
        assert_eq!((rotated.context, rotated.left_at), (Some(OwnerId::User(ada)), None));
        let live = branches::live(&mut tx, id(1), &[1; 16]).await.unwrap().unwrap();
        assert_eq!((live.context, live.left_at, live.expires_at), (Some(acme), Some(later(2)), later(50)));
        branches::trim(&mut tx, id(1), 0).await.unwrap();
        assert!(branches::token(&mut tx, &[2; 32]).await.unwrap().is_none(), "the branch is over");
        assert!(branches::token(&mut tx, &[1; 32]).await.unwrap().is_some(), "and a reuse is still known");
    }

    async fn places_are_remembered_the_latest_ones(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        for n in 0..40 {
            places::note(&mut tx, ada().id, &[n; 16], later(u64::from(n))).await.unwrap();
        }
        let key = "ada@example.com";
        assert!(!places::is_known(&mut tx, key, &[7; 16], from(now())).await.unwrap(), "longest ago");
        assert!(places::is_known(&mut tx, key, &[8; 16], from(now())).await.unwrap());
        assert!(!places::is_known(&mut tx, key, &[8; 16], from(later(8))).await.unwrap(), "too long ago");
        assert!(!places::is_known(&mut tx, "bob@example.com", &[8; 16], from(now())).await.unwrap());
        places::forget(&mut tx, ada().id).await.unwrap();
        assert!(!places::is_known(&mut tx, key, &[8; 16], from(now())).await.unwrap());
    }

    async fn a_departure_is_under_way_until_it_is_taken_back_by_its_number(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let ada = ada().id;
        assert!(!users::is_leaving(&mut tx, ada).await.unwrap());
        for number in 1..=2 {
            users::leave(&mut tx, ada, now()).await.unwrap();
            assert!(users::leave(&mut tx, ada, now()).await.is_err(), "under way");
            assert!(users::is_leaving(&mut tx, ada).await.unwrap());
            assert!(users::stayed_after(&mut tx, "", 10).await.unwrap().is_empty());
            assert!(!users::stay(&mut tx, ada, (number - 1, 1)).await.unwrap(), "another one");
            assert!(users::stay(&mut tx, ada, (number, 1)).await.unwrap());
            assert!(!users::stay(&mut tx, ada, (number, 1)).await.unwrap(), "over already");
            assert_eq!(users::stayed_after(&mut tx, "", 10).await.unwrap(), [(ada, number)]);
            assert!(users::stayed_after(&mut tx, &ada.to_string(), 10).await.unwrap().is_empty());
        }
    }

    async fn a_departure_that_was_let_go_is_taken_back_by_nobody_but_in_a_restored_store(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let ada = ada().id;
        assert!(!users::let_go(&mut tx, ada, (1, 1)).await.unwrap(), "nobody leaves");
        users::leave(&mut tx, ada, now()).await.unwrap();
        assert!(!users::let_go(&mut tx, ada, (2, 1)).await.unwrap(), "another one");
        assert!(!users::is_let_go(&mut tx, ada, (1, 1)).await.unwrap());
        assert!(users::let_go(&mut tx, ada, (1, 1)).await.unwrap());
        assert!(users::is_let_go(&mut tx, ada, (1, 1)).await.unwrap());
        assert!(!users::stay(&mut tx, ada, (1, 1)).await.unwrap());
        assert!(!users::is_let_go(&mut tx, ada, (1, 2)).await.unwrap(), "organization is asked again");
        assert!(users::stay(&mut tx, ada, (1, 2)).await.unwrap());
        users::leave(&mut tx, ada, now()).await.unwrap();
        assert!(!users::is_let_go(&mut tx, ada, (2, 1)).await.unwrap(), "a later one");
        assert!(stays_as_before(&mut tx, ada, 2).await, "also by a program of before");
    }

    async fn who_is_leaving_is_found_page_by_page(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let ada = ada().id;
        assert!(users::leaving_after(&mut tx, "", 10).await.unwrap().is_empty());
        users::leave(&mut tx, ada, now()).await.unwrap();
        assert_eq!(users::leaving_after(&mut tx, "", 10).await.unwrap(), [(ada, 1)]);
        assert!(users::leaving_after(&mut tx, &ada.to_string(), 10).await.unwrap().is_empty());
    }

    async fn a_suspension_begins_and_ends_once_and_counts_its_changes(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let ada = ada().id;
        let row = |reason: &str| SuspensionRow { since: now(), reason: reason.to_owned() };
        assert_eq!(suspensions::end(&mut tx, ada).await.unwrap(), None, "there is none");
        for version in [1, 3] {
            assert_eq!(suspensions::begin(&mut tx, ada, &row("first")).await.unwrap(), Some(version));
            assert_eq!(suspensions::begin(&mut tx, ada, &row("second")).await.unwrap(), None, "suspended already");
            assert_eq!(suspensions::of(&mut tx, ada).await.unwrap(), Some(row("first")));
            assert_eq!(suspensions::live_after(&mut tx, "", 10).await.unwrap(), [(ada, version)]);
            assert!(suspensions::live_after(&mut tx, &ada.to_string(), 10).await.unwrap().is_empty());
            assert_eq!(suspensions::end(&mut tx, ada).await.unwrap(), Some(version + 1));
            assert_eq!(suspensions::end(&mut tx, ada).await.unwrap(), None, "over already");
            assert_eq!(suspensions::of(&mut tx, ada).await.unwrap(), None);
        }
        suspensions::begin(&mut tx, ada, &row("")).await.unwrap();
        assert!(users::delete(&mut tx, ada).await.unwrap());
        assert!(suspensions::live_after(&mut tx, "", 10).await.unwrap().is_empty(), "it ends with its user");
    }

    async fn everybody_who_is_suspended_is_known_however_many_are_read_at_a_time(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        let row = SuspensionRow { since: now(), reason: String::new() };
        for n in 1..=5 {
            let (email, email_key) = (format!("{n}@example.com"), format!("{n}@example.com"));
            let other = UserRow { id: id(n), email, email_key, ..ada() };
            assert!(n == 1 || users::insert(&mut tx, &other).await.unwrap());
            suspensions::begin(&mut tx, other.id, &row).await.unwrap();
        }
        tx.commit().await.unwrap();
        for page in [1, 2, 5, 6] {
            let people = People::paged(Suspensions(db.clone()), page);
            people.look().await.unwrap();
            assert!((1..=5).all(|n| people.suspended().contains(id(n))), "{page}");
        }
    }

    async fn a_branch_is_retired_as_a_whole_and_alone(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        sessions::insert(&mut tx, &session(1, ada().id)).await.unwrap();
        for (n, branch) in [(1, [1; 16]), (2, [1; 16]), (3, [2; 16])] {
            branches::insert(&mut tx, &[n; 32], &token(id(1), branch, later(9))).await.unwrap();
        }
        branches::retire(&mut tx, id(1), &[1; 16], later(1)).await.unwrap();
        branches::retire(&mut tx, id(1), &[1; 16], later(2)).await.unwrap();
        let mut rotated = Vec::new();
        for n in 1..=3 {
            rotated.push(branches::token(&mut tx, &[n; 32]).await.unwrap().unwrap().rotated_at);
        }
        assert_eq!(rotated, [Some(later(1)), Some(later(1)), None], "the first retirement counts");
    }

    async fn buckets_fill_and_are_given_back_to(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = db.begin().await.unwrap();
        assert_eq!(throttles::drained_at(&mut tx, "account:a", now()).await.unwrap(), now());
        throttles::set(&mut tx, "account:a", later(60)).await.unwrap();
        assert_eq!(throttles::drained_at(&mut tx, "account:a", later(1)).await.unwrap(), later(60));
        throttles::give_back(&mut tx, "account:a", Span::from_secs(10)).await.unwrap();
        assert_eq!(throttles::drained_at(&mut tx, "account:a", later(1)).await.unwrap(), later(50));
        throttles::give_back(&mut tx, "account:b", Span::SECOND).await.expect("nothing to give back to");
    }

    async fn of_two_keys_of_one_generation_the_first_stays(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let key = |generation: i64, kid: &str| keys::KeyRow {
            generation,
            kid: kid.to_owned(),
            public_key: vec![1; 32],
            sealed_private: vec![2; 73],
            created_at: now(),
            signs_from: now(),
        };
        let mut tx = db.begin().await.unwrap();
        assert!(keys::insert(&mut tx, &key(1, "a")).await.unwrap());
        assert!(!keys::insert(&mut tx, &key(1, "b")).await.unwrap());
        assert!(keys::insert(&mut tx, &key(2, "c")).await.unwrap());
        let kids = |rows: Vec<keys::KeyRow>| rows.into_iter().map(|row| row.kid).collect::<Vec<_>>();
        assert_eq!(kids(keys::all(&mut tx).await.unwrap()), ["a", "c"]);
        keys::delete(&mut tx, 1).await.unwrap();
        assert_eq!(kids(keys::all(&mut tx).await.unwrap()), ["c"]);
    }

    async fn service_accounts_change_their_secrets(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let account = |n: u64| service_accounts::ServiceAccountRow {
            id: id(n),
            display_name: format!("Account {n}"),
            role: "product".to_owned(),
            secret_digest: vec![1; 32],
            previous_digest: None,
            previous_until: None,
            created_at: now(),
            rotated_at: now(),
            disabled_at: None,
        };
        let mut tx = db.begin().await.unwrap();
        for n in 1..=3 {
            assert!(service_accounts::insert(&mut tx, &account(n)).await.unwrap());
        }
        assert!(!service_accounts::insert(&mut tx, &account(1)).await.unwrap());
        let first: ServiceAccountId = id(1);
        service_accounts::set_secret(&mut tx, first, &[2; 32], Some((&[1; 32], later(9))), later(1)).await.unwrap();
        let row = service_accounts::by_id_locked(&mut tx, first).await.unwrap().unwrap();
        assert_eq!((row.secret_digest, row.previous_digest, row.previous_until), (vec![2; 32], Some(vec![1; 32]), Some(later(9))));
        assert!(service_accounts::disable(&mut tx, first, later(2)).await.unwrap());
        assert!(!service_accounts::disable(&mut tx, first, later(3)).await.unwrap());
        assert_eq!(service_accounts::by_id(&mut tx, first).await.unwrap().unwrap().disabled_at, Some(later(2)));
        let listed = service_accounts::after(&mut tx, Some(first), 1).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.id).collect::<Vec<_>>(), [id(2)]);
        assert_eq!(service_accounts::after(&mut tx, None, 10).await.unwrap().len(), 3);
        let stranger = service_accounts::ServiceAccountRow { role: "root".to_owned(), ..account(4) };
        assert!(service_accounts::insert(&mut tx, &stranger).await.is_err(), "roles are held by the schema");
    }

    async fn a_session_that_has_ended_is_kept_for_thirty_days(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        for n in 1..=2 {
            let row = sessions::SessionRow { expires_at: now().saturating_add(Span::from_days(365)), ..session(n, ada().id) };
            sessions::insert(&mut tx, &row).await.unwrap();
        }
        sessions::end(&mut tx, id(1), now(), EndReason::SignedOut).await.unwrap();
        let month = now().saturating_add(Span::from_days(30));
        let before = month.saturating_sub(Span::SECOND);
        assert_eq!(delete(&mut tx, Perishable::EndedSessions, before, 10).await.unwrap(), 0);
        assert_eq!(delete(&mut tx, Perishable::EndedSessions, month, 10).await.unwrap(), 1);
        assert!(sessions::by_id(&mut tx, id(1)).await.unwrap().is_none());
        assert!(sessions::by_id(&mut tx, id(2)).await.unwrap().is_some());
    }

    async fn what_has_perished_goes_in_batches(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        for n in 1..=5 {
            let row = sessions::SessionRow { expires_at: later(n), ..session(n, ada().id) };
            sessions::insert(&mut tx, &row).await.unwrap();
            let digest = [u8::try_from(n).unwrap(); 32];
            branches::insert(&mut tx, &digest, &token(row.id, [0; 16], later(n))).await.unwrap();
            verifications::insert(&mut tx, &digest, &verification(later(n))).await.unwrap();
            throttles::drained_at(&mut tx, &format!("mail:{n}"), later(n)).await.unwrap();
            let last = later(n).saturating_sub(prune::KEEP_PLACES);
            places::note(&mut tx, ada().id, &[u8::try_from(n).unwrap(); 16], last).await.unwrap();
        }
        let others = [Perishable::EndedSessions, Perishable::SessionsAhead, Perishable::VerificationsAhead, Perishable::PlacesAhead];
        for what in Perishable::ALL.into_iter().filter(|what| !others.contains(what)) {
            assert_eq!(delete(&mut tx, what, now(), 10).await.unwrap(), 0, "{what:?} before its time");
            assert_eq!(delete(&mut tx, what, later(4), 3).await.unwrap(), 3, "{what:?} in batches");
            assert_eq!(delete(&mut tx, what, later(4), 3).await.unwrap(), 1, "{what:?}");
        }
        assert!(sessions::by_id(&mut tx, id(5)).await.unwrap().is_some());
    }
}
