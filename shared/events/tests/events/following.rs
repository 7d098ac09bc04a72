//! The consumer's side: each event once, whatever dies, is restored, comes late or cannot be read.

use bursar_db::{Asker, on};
use bursar_events::{Following, run};
use bursar_proto::event::v1::UserDeleted;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::ServiceRole;
use bursar_secret::Entropy;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::world::{
    Diary, PATIENCE, Source, clock, diary, diary_store, feed, follow, names, renamed, repeated, store, until,
    until_lines, until_snapshot,
};

bursar_testkit::engines! {
    async fn a_consumer_applies_each_event_once_and_in_order(at: TestDb) {
        let source = Source::new(&store(&at).await);
        let mine = bursar_testkit::sqlite::file();
        let db = diary_store(&mine).await;
        source.tell(vec![renamed("0"), Payload::UserDeleted(UserDeleted::default()), renamed("1")]).await;
        let diary = Arc::new(Diary::default());
        let (following, shutdown) = follow(&diary, &source, &db);
        source.tell(names(2, 40).into_iter().map(renamed).collect()).await;
        assert_eq!(until_lines(&db, 40).await, names(0, 40));
        tokio::time::timeout(PATIENCE, diary.applied.notified()).await.expect("told");
        shutdown.cancel();
        following.await.expect("ends quietly");

        let (_again, _) = follow(&diary, &source, &db);
        source.tell(vec![renamed("40")]).await;
        assert_eq!(until_lines(&db, 41).await, names(0, 41));
        assert_eq!(diary.asked.load(Ordering::SeqCst), 41, "nothing was applied twice");
    }

    async fn what_follows_a_service_takes_turns_of_its_own_at_the_connections(at: TestDb) {
        let source = Source::new(&store(&at).await);
        let mine = bursar_testkit::sqlite::file();
        let db = diary_store(&mine).await;
        let diary = Arc::new(Diary::default());
        let (_following, _shutdown) = follow(&diary, &source, &db);
        source.tell(vec![renamed("0")]).await;
        until_lines(&db, 1).await;
        assert_eq!(*diary.asker.lock().expect("nobody panics"), Some(Asker::program("organization")));
    }

    async fn a_crash_between_effect_and_cursor_leaves_neither(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        source.tell(vec![renamed("0"), renamed("1")]).await;
        let dying = Arc::new(Diary { hangs: true, ..Diary::default() });
        let (following, _) = follow(&dying, &source, &db);
        let written = async {
            while dying.asked.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, written).await.expect("it came to the first event");
        following.abort();
        following.await.expect_err("killed");
        assert!(diary(&db).await.is_empty());

        let healthy = Arc::new(Diary::default());
        follow(&healthy, &source, &db);
        assert_eq!(until_lines(&db, 2).await, names(0, 2));
    }

    async fn a_consumer_killed_again_and_again_applies_each_event_once(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let total = 120;
        source.tell(names(0, total).into_iter().map(renamed).collect()).await;
        let entropy = Entropy::seeded(7);
        let everything = Arc::new(Diary::default());
        let lives = async {
            while diary(&db).await.len() < total {
                let before = everything.asked.load(Ordering::SeqCst);
                let (following, _) = follow(&everything, &source, &db);
                let at_work = async {
                    while everything.asked.load(Ordering::SeqCst) == before {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                // Not longer: the last commit of the life before may have come after the look at the diary.
                let _ = tokio::time::timeout(Duration::from_secs(1), at_work).await;
                // Killed at a random moment; what is written twice is counted.
                tokio::time::sleep(Duration::from_micros(entropy.u64_below(40_000))).await;
                following.abort();
                let _ = following.await;
            }
        };
        tokio::time::timeout(PATIENCE, lives).await.expect("the lives come to an end");
        assert_eq!(diary(&db).await, names(0, total));
        assert!(repeated(&db).await.is_empty(), "an event took effect twice");
    }

    async fn replicas_share_the_work_without_doing_it_twice(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let replicas: Vec<Arc<Diary>> = (0..3).map(|_| Arc::new(Diary::default())).collect();
        for replica in &replicas {
            follow(replica, &source, &db);
        }
        for number in 0..30 {
            source.tell(vec![renamed((2 * number).to_string()), renamed((2 * number + 1).to_string())]).await;
        }
        assert_eq!(until_lines(&db, 60).await, names(0, 60));
        let asked: u64 = replicas.iter().map(|replica| replica.asked.load(Ordering::SeqCst)).sum();
        assert_eq!(asked, 60, "an event was applied by two replicas");
    }

    async fn a_replica_that_loses_a_race_goes_on_in_its_stream_and_is_told_of_each_event(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let replicas: Vec<Arc<Diary>> = (0..2).map(|_| Arc::new(Diary::default())).collect();
        for replica in &replicas {
            follow(replica, &source, &db);
            tokio::time::timeout(PATIENCE, replica.applied.notified()).await.expect("it begins");
        }
        until("both follow", async || source.watched() == 2).await;
        // Twos, so that whoever loses the first finds the other one ahead of it.
        for number in 0..50 {
            source.tell(vec![renamed((2 * number).to_string()), renamed((2 * number + 1).to_string())]).await;
        }
        until_lines(&db, 100).await;
        for replica in &replicas {
            // Each event, and the beginning.
            until("each was told of each event", async || replica.told.load(Ordering::SeqCst) >= 101).await;
        }
        let asked: u64 = replicas.iter().map(|replica| replica.asked.load(Ordering::SeqCst)).sum();
        assert_eq!((asked, source.watched()), (100, 2), "applied once each, and nobody had to connect again");
    }

    async fn each_replica_is_told_of_what_any_of_them_applied(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let replicas: Vec<Arc<Diary>> = (0..2).map(|_| Arc::new(Diary::default())).collect();
        for replica in &replicas {
            follow(replica, &source, &db);
            // All stand at the beginning before there is anything, so that all receive it.
            tokio::time::timeout(PATIENCE, replica.applied.notified()).await.expect("it begins");
        }
        source.tell(vec![renamed("0")]).await;
        for replica in &replicas {
            let woken = async {
                while diary(&db).await.is_empty() {
                    replica.applied.notified().await;
                }
            };
            tokio::time::timeout(PATIENCE, woken).await.expect("it is woken after the commit");
        }
        // And whoever comes later does not know how much it has missed.
        let late = Arc::new(Diary::default());
        follow(&late, &source, &db);
        tokio::time::timeout(PATIENCE, late.applied.notified()).await.expect("it is told once");
        assert_eq!(late.asked.load(Ordering::SeqCst), 0);
    }

    async fn an_event_that_a_busy_store_refuses_is_tried_until_it_is_applied(at: TestDb) {
        let db = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let grumpy = Arc::new(Diary { busy: AtomicU64::new(3), ..Diary::default() });
        follow(&grumpy, &source, &db);
        source.tell(names(0, 3).into_iter().map(renamed).collect()).await;
        assert_eq!(until_lines(&db, 3).await, names(0, 3), "nothing overtakes it");
        assert_eq!(grumpy.asked.load(Ordering::SeqCst), 6);
    }

    async fn a_restored_source_is_followed_from_a_snapshot(at: TestDb) {
        let here = store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let mine = diary_store(&elsewhere).await;
        let before = Source::with_state(&here, ServiceRole::Billing);
        before.tell(vec![renamed("kept"), renamed("lost")]).await;
        let diary = Arc::new(Diary::default());
        let (following, shutdown) = follow(&diary, &before, &mine);
        until_lines(&mine, 2).await;
        shutdown.cancel();
        following.await.expect("ends");
        // The backup knows the first event only, and what happened since it was restored has the lost one's number.
        let mut tx = here.begin().await.expect("begins");
        on!(&mut tx, c => {
            sqlx::query("DELETE FROM outbox WHERE seq = 2").execute(&mut *c).await.expect("works");
            sqlx::query("UPDATE outbox_head SET seq = 1").execute(c).await.expect("works");
        });
        tx.commit().await.expect("commits");
        before.tell(vec![renamed("since"), renamed("then")]).await;
        follow(&diary, &before, &mine);
        assert_eq!(until_lines(&mine, 4).await, ["kept", "lost", "since", "then"]);
        assert_eq!(repeated(&mine).await, ["kept"], "the snapshot told it again");
        before.tell(vec![renamed("later")]).await;
        until_lines(&mine, 5).await;
        assert_eq!(repeated(&mine).await, ["kept"], "and everything else once");
        assert_eq!(until_snapshot(&mine).await, [1_785_000_000_000_000], "what it did not tell is forgotten");
    }

    async fn whoever_comes_too_late_goes_on_from_a_snapshot(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let there = store(&elsewhere).await;
        let source = Source::with_state(&there, ServiceRole::Billing);
        source.tell(names(0, 5).into_iter().map(renamed).collect()).await;
        let mut tx = there.begin().await.expect("begins");
        on!(&mut tx, c => sqlx::query("DELETE FROM outbox WHERE seq <= 2")
            .execute(c).await.expect("works").rows_affected());
        tx.commit().await.expect("commits");
        let replicas: Vec<Arc<Diary>> = (0..3).map(|_| Arc::new(Diary::default())).collect();
        for replica in &replicas {
            follow(replica, &source, &mine);
        }
        // What the outbox does not have, this source's state does not have either.
        assert_eq!(until_lines(&mine, 3).await, names(2, 5));
        source.tell(vec![renamed("5")]).await;
        assert_eq!(until_lines(&mine, 4).await, names(2, 6));
        assert_eq!(until_snapshot(&mine).await, [1], "of three replicas one ends it");
    }

    async fn a_feed_is_fresh_once_the_source_was_heard(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        let feed = feed();
        assert!(feed.is_stale());
        let following = Following {
            feed: feed.clone(),
            transport: source.transport.clone(),
            db: mine,
            clock: clock(),
            entropy: Entropy::system(),
            shutdown: CancellationToken::new(),
        };
        tokio::spawn(run(Diary::default(), following));
        let heard = async {
            while feed.is_stale() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("a heartbeat is enough");
    }
}
