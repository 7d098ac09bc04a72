//! What identity's store promises, on both engines.

use bursar_db::{Db, Engine, Tx};
use bursar_id::{OwnerId, ServiceAccountId, SessionId, UserId};
use bursar_testkit::{at, id};
use bursar_time::{Span, Timestamp};
use sqlx::{Executor as _, SqlSafeStr as _};

use super::prune::{Perishable, delete};
use super::users::UserRow;
use super::{MIGRATIONS, keys, prune, service_accounts, sessions, throttles, users, verifications};
use crate::domain::session::EndReason;

/// Every statement, with the engines it is for.
const STATEMENTS: [(&[Engine], &[&str]); 3] = [
    (
        &[Engine::Sqlite, Engine::Postgres],
        &[
            users::INSERT,
            users::BY_ID,
            users::BY_EMAIL,
            users::SET_DISPLAY_NAME,
            users::SET_VERIFIED,
            users::DELETE,
            users::REMEMBER_DELETED,
            users::NAMED_AFTER,
            users::DELETED_AFTER,
            verifications::INSERT,
            verifications::TAKE,
            verifications::DELETE_OF,
            sessions::INSERT,
            sessions::BY_ID,
            sessions::LIVE_OF,
            sessions::END,
            sessions::SET_CONTEXT,
            sessions::TOUCH,
            sessions::INSERT_TOKEN,
            sessions::TOKEN,
            sessions::RETIRE_BRANCH,
            throttles::LOCK,
            throttles::SET,
            throttles::GIVE_BACK,
            keys::INSERT,
            keys::ALL,
            keys::DELETE,
            service_accounts::INSERT,
            service_accounts::BY_ID,
            service_accounts::AFTER,
            service_accounts::SET_SECRET,
            service_accounts::DISABLE,
            prune::REFRESH_TOKENS,
            prune::SESSIONS,
            prune::ENDED_SESSIONS,
            prune::VERIFICATIONS,
            prune::THROTTLES,
        ],
    ),
    (&[Engine::Sqlite], &[users::BY_IDS_SQLITE]),
    (
        &[Engine::Postgres],
        &[users::BY_IDS_POSTGRES, users::BY_ID_LOCKED, sessions::BY_ID_LOCKED, service_accounts::BY_ID_LOCKED],
    ),
];

fn now() -> Timestamp {
    at("2026-01-15T12:00:00Z")
}

fn later(seconds: u64) -> Timestamp {
    now().saturating_add(Span::from_secs(seconds))
}

fn ada() -> UserRow {
    UserRow {
        id: id(1),
        email: "Ada@Example.com".to_owned(),
        email_key: "ada@example.com".to_owned(),
        email_verified_at: None,
        password_hash: "$argon2id$".to_owned(),
        display_name: "Ada".to_owned(),
        version: 1,
        created_at: now(),
        updated_at: now(),
    }
}

fn token(session_id: SessionId, branch: [u8; 16], expires_at: Timestamp) -> sessions::RefreshTokenRow {
    let (branch, methods) = (branch.to_vec(), "pwd".to_owned());
    sessions::RefreshTokenRow { session_id, branch, authenticated_at: now(), methods, expires_at, rotated_at: None }
}

fn session(n: u64, user: UserId) -> sessions::SessionRow {
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

/// A store with Ada in it.
async fn begin(db: &Db) -> Tx {
    let mut tx = db.begin().await.unwrap();
    assert!(users::insert(&mut tx, &ada()).await.unwrap());
    tx
}

bursar_testkit::engines! {
    async fn every_statement_prepares(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        for (engines, statements) in STATEMENTS {
            if !engines.contains(&db.engine()) {
                continue;
            }
            for statement in statements {
                let mut tx = db.begin().await.unwrap();
                let prepared = match &mut tx {
                    Tx::Sqlite(t) => (&mut **t).prepare(statement.into_sql_str()).await.map(|_| ()),
                    Tx::Postgres(t) => (&mut **t).prepare(statement.into_sql_str()).await.map(|_| ()),
                };
                assert!(prepared.is_ok(), "{statement}: {prepared:?}");
            }
        }
    }

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
        assert!(users::set_verified(&mut tx, ada, later(2)).await.unwrap());
        assert!(!users::set_verified(&mut tx, ada, later(3)).await.unwrap(), "once");
        let row = users::by_id_locked(&mut tx, ada).await.unwrap().unwrap();
        assert_eq!((row.display_name.as_str(), row.email_verified_at, row.version), ("Countess", Some(later(2)), 3));
        assert!(users::set_display_name(&mut tx, id(9), "Nobody", now()).await.is_err());

        let listed = users::by_ids(&mut tx, &[id(9), ada, ada]).await.unwrap();
        assert_eq!(listed.iter().map(|user| user.id).collect::<Vec<_>>(), [ada]);

        sessions::insert(&mut tx, &session(1, ada)).await.unwrap();
        sessions::insert_token(&mut tx, &[1; 32], &token(id(1), [0; 16], later(9)), now()).await.unwrap();
        verifications::insert(&mut tx, &[2; 32], ada, "ada@example.com", later(9)).await.unwrap();
        assert!(users::delete(&mut tx, ada).await.unwrap());
        assert!(!users::delete(&mut tx, ada).await.unwrap());
        assert!(sessions::by_id(&mut tx, id(1)).await.unwrap().is_none());
        assert!(sessions::token(&mut tx, &[1; 32]).await.unwrap().is_none());
        assert!(verifications::take(&mut tx, &[2; 32]).await.unwrap().is_none());
    }

    async fn a_verification_is_taken_once(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        for n in [1, 2] {
            verifications::insert(&mut tx, &[n; 32], ada().id, "ada@example.com", later(9)).await.unwrap();
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
        sessions::touch(&mut tx, id(3), later(5), later(500)).await.unwrap();
        let ids = |rows: Vec<sessions::SessionRow>| rows.into_iter().map(|row| row.id).collect::<Vec<SessionId>>();
        let all = sessions::live_of(&mut tx, ada, None, now(), 10).await.unwrap();
        assert_eq!(ids(all), [id(4), id(3), id(1)]);
        let after = sessions::live_of(&mut tx, ada, Some(id(4)), now(), 1).await.unwrap();
        assert_eq!(ids(after), [id(3)]);
        let much_later = sessions::live_of(&mut tx, ada, None, later(100), 10).await.unwrap();
        assert_eq!(ids(much_later), [id(3)], "the others have expired");

        let acme = OwnerId::Organization(id(1));
        assert!(sessions::set_context(&mut tx, id(1), ada, acme).await.unwrap());
        assert!(!sessions::set_context(&mut tx, id(1), id(9), acme).await.unwrap(), "somebody else's");
        assert!(!sessions::set_context(&mut tx, id(2), ada, acme).await.unwrap(), "ended");
        assert_eq!(sessions::by_id_locked(&mut tx, id(1)).await.unwrap().unwrap().context, acme);
        assert_eq!(sessions::by_id(&mut tx, id(2)).await.unwrap().unwrap().ended_at, Some(later(1)));
    }

    async fn a_branch_is_retired_as_a_whole_and_alone(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = begin(&db).await;
        sessions::insert(&mut tx, &session(1, ada().id)).await.unwrap();
        for (n, branch) in [(1, [1; 16]), (2, [1; 16]), (3, [2; 16])] {
            sessions::insert_token(&mut tx, &[n; 32], &token(id(1), branch, later(9)), now()).await.unwrap();
        }
        sessions::retire_branch(&mut tx, id(1), &[1; 16], later(1)).await.unwrap();
        sessions::retire_branch(&mut tx, id(1), &[1; 16], later(2)).await.unwrap();
        let mut rotated = Vec::new();
        for n in 1..=3 {
            rotated.push(sessions::token(&mut tx, &[n; 32]).await.unwrap().unwrap().rotated_at);
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
            sessions::insert_token(&mut tx, &digest, &token(row.id, [0; 16], later(n)), now()).await.unwrap();
            verifications::insert(&mut tx, &digest, ada().id, "ada@example.com", later(n)).await.unwrap();
            throttles::drained_at(&mut tx, &format!("mail:{n}"), later(n)).await.unwrap();
        }
        for what in Perishable::ALL.into_iter().filter(|what| *what != Perishable::EndedSessions) {
            assert_eq!(delete(&mut tx, what, now(), 10).await.unwrap(), 0, "{what:?} before its time");
            assert_eq!(delete(&mut tx, what, later(4), 3).await.unwrap(), 3, "{what:?} in batches");
            assert_eq!(delete(&mut tx, what, later(4), 3).await.unwrap(), 1, "{what:?}");
        }
        assert!(sessions::by_id(&mut tx, id(5)).await.unwrap().is_some());
    }
}
