//! A request takes effect once, on both engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use bursar_db::idempotency::{Claim, KEEP, amend, claim, forget, forget_some_in, prune, settle};
use bursar_db::{Db, DbError, Migrations, PoolOptions, Tx};
use bursar_testkit::TestDb;
use bursar_time::{BELIEVED_AHEAD, Span, Timestamp};

async fn store(at: &TestDb) -> Db {
    let migrations = Migrations::SHARED;
    let url = at.url().parse().expect("the test kit gives a good address");
    // Fewer connections than tasks, as in life.
    let db = Db::open(&url, &migrations, &PoolOptions { max_connections: 12, ..PoolOptions::default() }).await;
    let db = db.expect("opens");
    db.migrate(&migrations).await.expect("migrates");
    db
}

fn at_micros(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).expect("in range")
}

async fn ask(tx: &mut Tx, scope: &str, id: &str, method: &str, body: &[u8]) -> Result<Claim, DbError> {
    claim(tx, scope, id, method, body, at_micros(1_000_000)).await
}

bursar_testkit::engines! {
    async fn sixty_four_twins_take_effect_once(at: TestDb) {
        let db = store(&at).await;
        let tasks = (0..64_u8).map(|number| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut tx = db.begin().await?;
                let claimed = ask(&mut tx, "usr_1", "req", "Charge", b"body").await?;
                if claimed == Claim::New {
                    settle(&mut tx, "usr_1", "req", &[number]).await?;
                }
                tx.commit().await?;
                Ok::<_, DbError>((number, claimed))
            })
        });
        let mut winner = None;
        let mut replays = Vec::new();
        for task in futures::future::join_all(tasks).await {
            match task.expect("no task panics").expect("no task fails") {
                (number, Claim::New) => assert_eq!(winner.replace(number), None, "two tasks took effect"),
                (_, Claim::Replay(answer)) => replays.push(answer),
                (number, Claim::Mismatch) => panic!("task {number} was told that its body differs"),
            }
        }
        let winner = winner.expect("one took effect");
        assert_eq!(replays, vec![vec![winner]; 63]);
    }

    async fn an_answer_that_is_forgotten_while_somebody_asks_for_it_is_in_nobodys_way(at: TestDb) {
        let db = store(&at).await;
        let tasks = (0..8_u8).map(|number| {
            let db = db.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    let mut tx = db.begin().await?;
                    if ask(&mut tx, "usr_1", "req", "Create", b"body").await? == Claim::New {
                        settle(&mut tx, "usr_1", "req", &[number]).await?;
                    }
                    tx.commit().await?;
                    let mut tx = db.begin().await?;
                    forget(&mut tx, "usr_1", "req").await?;
                    tx.commit().await?;
                }
                Ok::<_, DbError>(())
            })
        });
        for task in futures::future::join_all(tasks).await {
            task.expect("no task panics").expect("the id is free, or its answer there");
        }
    }

    async fn a_request_that_fails_does_not_burn_its_id(at: TestDb) {
        let db = store(&at).await;
        let mut tx = db.begin().await.expect("begins");
        assert_eq!(ask(&mut tx, "s", "id", "M", b"1").await.expect("claims"), Claim::New);
        drop(tx);
        let mut tx = db.begin().await.expect("begins");
        assert_eq!(ask(&mut tx, "s", "id", "M", b"1").await.expect("claims"), Claim::New);
    }

    async fn an_answer_is_amended_by_who_knows_when_it_was_claimed_and_no_other_is(at: TestDb) {
        let db = store(&at).await;
        let (now, other) = (at_micros(1), at_micros(2));
        for id in ["id", "other"] {
            let mut tx = db.begin().await.expect("begins");
            assert_eq!(claim(&mut tx, "s", id, "M", b"1", now).await.expect("claims"), Claim::New);
            assert!(!amend(&mut tx, "s", id, now, b"early").await.expect("asked"), "there is no answer yet");
            settle(&mut tx, "s", id, b"answer").await.expect("settles");
            tx.commit().await.expect("commits");
        }
        let mut tx = db.begin().await.expect("begins");
        assert!(!amend(&mut tx, "s", "other", other, b"amended").await.expect("asked"), "it is another request's");
        assert!(!amend(&mut tx, "t", "id", now, b"amended").await.expect("asked"), "it is somebody else's");
        assert!(amend(&mut tx, "s", "id", now, b"amended").await.expect("amended"));
        for (id, answer) in [("id", b"amended".to_vec()), ("other", b"answer".to_vec())] {
            assert_eq!(claim(&mut tx, "s", id, "M", b"1", other).await.expect("claims"), Claim::Replay(answer));
        }
    }

    async fn an_id_belongs_to_one_scope_method_and_body(at: TestDb) {
        let db = store(&at).await;
        let mut tx = db.begin().await.expect("begins");
        assert_eq!(ask(&mut tx, "s", "id", "M", b"1").await.expect("claims"), Claim::New);
        settle(&mut tx, "s", "id", b"answer").await.expect("settles");
        let twice = settle(&mut tx, "s", "id", b"other").await;
        assert!(matches!(twice, Err(DbError::NotExactlyOne { rows: 0 })), "an answer stays: {twice:?}");
        tx.commit().await.expect("commits");

        let cases = [
            ("s", "id", "M", b"1", Claim::Replay(b"answer".to_vec())),
            ("s", "id", "M", b"2", Claim::Mismatch),
            ("s", "id", "N", b"1", Claim::Mismatch),
            ("t", "id", "M", b"1", Claim::New),
            ("s", "di", "M", b"1", Claim::New),
        ];
        for (scope, id, method, body, expected) in cases {
            let mut tx = db.begin().await.expect("begins");
            let claimed = ask(&mut tx, scope, id, method, body).await.expect("claims");
            assert_eq!(claimed, expected, "{scope} {id} {method} {body:?}");
        }
    }

    async fn a_claim_without_an_answer_is_a_defect(at: TestDb) {
        let db = store(&at).await;
        let mut tx = db.begin().await.expect("begins");
        ask(&mut tx, "s", "id", "M", b"1").await.expect("claims");
        tx.commit().await.expect("commits");
        let mut tx = db.begin().await.expect("begins");
        let outcome = ask(&mut tx, "s", "id", "M", b"1").await;
        assert!(matches!(outcome, Err(DbError::Corrupt { .. })), "{outcome:?}");
    }

    async fn what_services_were_answered_in_one_context_is_forgotten_and_nothing_else(at: TestDb) {
        let db = store(&at).await;
        let theirs = ["svc_1/org_1", "svc_2/org_1", "svc_3/org_1"];
        let others = ["svc_0", "svc_1", "svc_1/org_0", "svc_1/org_10", "svc_2/org_2", "svc_4/usr_1", "usr_1/org_1", "usr_2"];
        let mut tx = db.begin().await.expect("begins");
        for scope in theirs.into_iter().chain(others) {
            for id in ["a", "b", "c"] {
                assert_eq!(ask(&mut tx, scope, id, "M", b"").await.expect("claims"), Claim::New, "{scope} {id}");
                settle(&mut tx, scope, id, b"answer").await.expect("settles");
            }
        }
        // Not answered yet: it is this transaction's.
        assert_eq!(ask(&mut tx, "svc_2/org_1", "d", "M", b"").await.expect("claims"), Claim::New);
        let mut forgotten = Vec::new();
        for _ in 0..4 {
            forgotten.push(forget_some_in(&mut tx, "svc_", "org_1", 4).await.expect("forgets"));
        }
        assert_eq!(forgotten, [4, 4, 1, 0], "so many at once, of whichever service");
        settle(&mut tx, "svc_2/org_1", "d", b"answer").await.expect("is still there");
        for (scope, expected) in theirs.map(|it| (it, Claim::New)).into_iter()
            .chain(others.map(|it| (it, Claim::Replay(b"answer".to_vec()))))
        {
            for id in ["a", "b", "c"] {
                assert_eq!(ask(&mut tx, scope, id, "M", b"").await.expect("claims"), expected, "{scope} {id}");
            }
        }
    }

    async fn old_answers_are_forgotten_in_batches(at: TestDb) {
        let db = store(&at).await;
        let mut tx = db.begin().await.expect("begins");
        for number in 0..1_203_i64 {
            let id = number.to_string();
            claim(&mut tx, "s", &id, "M", b"", at_micros(number)).await.expect("claims");
            settle(&mut tx, "s", &id, b"").await.expect("settles");
        }
        tx.commit().await.expect("commits");
        // Two stay: exactly as old as the limit, and younger.
        let now = at_micros(1_201 + KEEP.as_micros());
        let (one, two) = tokio::join!(prune(&db, now), prune(&db, now));
        assert_eq!(one.expect("prunes") + two.expect("prunes"), 1_201);
        let mut tx = db.begin().await.expect("begins");
        assert_eq!(ask(&mut tx, "s", "1201", "M", b"").await.expect("claims"), Claim::Replay(vec![]));
        assert_eq!(ask(&mut tx, "s", "1200", "M", b"").await.expect("claims"), Claim::New);
    }
    /// Kind K: an answer that a clock dated which was far ahead is kept for thirty days by the right one, no more and no less.
    async fn an_answer_of_a_clock_far_ahead_is_kept_as_long_as_any_other(at: TestDb) {
        let db = store(&at).await;
        let now = at_micros(1_785_000_000_000_000);
        let far = now.saturating_add(Span::from_days(400));
        let mut tx = db.begin().await.expect("begins");
        for number in 0..501 {
            let id = number.to_string();
            claim(&mut tx, "far", &id, "M", b"", far).await.expect("claims");
            settle(&mut tx, "far", &id, b"").await.expect("settles");
        }
        let near = now.saturating_add(BELIEVED_AHEAD);
        claim(&mut tx, "near", "1", "M", b"", near).await.expect("claims");
        settle(&mut tx, "near", "1", b"").await.expect("settles");
        tx.commit().await.expect("commits");
        assert_eq!(prune(&db, now).await.expect("prunes"), 0, "whoever repeats one is answered");
        let month = now.saturating_add(KEEP);
        assert_eq!(prune(&db, month).await.expect("prunes"), 0, "as old as the limit");
        let later = month.saturating_add(Span::SECOND);
        assert_eq!(prune(&db, later).await.expect("prunes"), 501);
        let believed = near.saturating_add(KEEP).saturating_add(Span::SECOND);
        assert_eq!(prune(&db, believed).await.expect("prunes"), 1, "what may be right keeps its own time");
    }
}
