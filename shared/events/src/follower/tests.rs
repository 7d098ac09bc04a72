//! Of two replicas each goes on in its own stream, and each event is applied as often as is due to it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bursar_db::Migrations;
use bursar_time::{Monotonic, Timestamp};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::*;

/// Counts, and cannot read what belongs to nobody.
#[derive(Default)]
struct Counting {
    asked: AtomicUsize,
    applied: AtomicUsize,
    /// How the next ones end.
    ends: Mutex<VecDeque<DbError>>,
}

impl Consumer for Counting {
    const NAME: &'static str = "counting";

    fn types() -> &'static [&'static str] {
        &[]
    }

    async fn apply(&self, _tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.ends.lock().unwrap().pop_front() {
            return Err(error.into());
        }
        if event.owner.is_empty() { Err(Unapplied::unreadable("nobody's")) } else { Ok(()) }
    }

    async fn forget_before(&self, _tx: &mut Tx, _incarnation: u64) -> Result<(), DbError> {
        Ok(())
    }

    fn applied(&self) {
        self.applied.fetch_add(1, Ordering::SeqCst);
    }
}

fn follower(db: &Db) -> (Arc<Counting>, Follower<Counting>) {
    let counting = Arc::new(Counting::default());
    let following = Following {
        feed: Feed::new("organization", &Monotonic::test(), Duration::from_mins(5)),
        transport: Transport::routes(Routes::default()),
        db: db.clone(),
        clock: Clock::test(Timestamp::from_micros(1_785_000_000_000_000).expect("in range")),
        entropy: Entropy::seeded(1),
        shutdown: CancellationToken::new(),
    };
    (Arc::clone(&counting), Follower::new(counting, &following))
}

fn event(number: usize, owner: &str) -> Event {
    Event { id: number.to_string(), owner: owner.to_owned(), ..Event::default() }
}

bursar_testkit::engines! {
    async fn what_another_replica_applied_is_told_and_heard_but_not_applied_again(db: TestDb) {
        let db = db.open(&Migrations::SHARED).await;
        let cursor = |seq: u64| format!("organization-1-{seq}-{}", bursar_id::EventId::from_parts(seq, [0; 10]));
        let (_, mut ahead) = follower(&db);
        let mut position = position::enrol(&db, &Place::new("organization", &[])).await.unwrap().cursor;
        for number in 1..4 {
            ahead.take(&mut position, cursor(number), Some(&event(1, "org_a"))).await.unwrap();
        }
        // Behind it: it goes on in its own stream, without applying anything until it comes to something new.
        let (counting, mut behind) = follower(&db);
        let mut position = String::new();
        for number in 1..4 {
            behind.take(&mut position, cursor(number), Some(&event(1, "org_a"))).await.unwrap();
            assert_eq!(position, cursor(number));
            assert_eq!(counting.applied.load(Ordering::SeqCst), usize::try_from(number).unwrap(), "it is told");
        }
        assert_eq!(counting.asked.load(Ordering::SeqCst), 0);
        assert!(behind.feed.age().is_some());
        behind.take(&mut position, cursor(4), Some(&event(1, "org_a"))).await.unwrap();
        assert_eq!(counting.asked.load(Ordering::SeqCst), 1);
        // The cursor is where its stream does not lead: it begins again there, soon, but not in step, and nothing has
        // failed.
        let (counting, mut astray) = follower(&db);
        let mut position = cursor(7);
        let fault = astray.take(&mut position, cursor(8), Some(&event(1, "org_a"))).await.unwrap_err();
        assert!(matches!(fault, Fault::Elsewhere), "{fault}");
        assert_eq!((counting.asked.load(Ordering::SeqCst), counting.applied.load(Ordering::SeqCst)), (0, 1));
        assert!(astray.feed.age().is_some());
        let pauses = [astray.judge(&fault), astray.judge(&fault)];
        assert!(pauses.iter().all(|pause| (ELSEWHERE_PAUSE / 2..=ELSEWHERE_PAUSE).contains(pause)), "{pauses:?}");
        assert_ne!(pauses[0], pauses[1]);
        assert_eq!(astray.failures, 0);
    }

    async fn what_was_spent_on_an_event_is_remembered_where_the_stream_breaks_off_in_its_midst(db: TestDb) {
        let db = db.open(&Migrations::SHARED).await;
        let (counting, mut follower) = follower(&db);
        let mut position = position::enrol(&db, &Place::new("organization", &[])).await.unwrap().cursor;
        let away = DbError::Unavailable(sqlx::Error::PoolTimedOut);
        let ends = [DbError::TimedOut, away, DbError::TimedOut, DbError::TimedOut, DbError::TimedOut];
        counting.ends.lock().unwrap().extend(ends);
        let next = format!("organization-1-1-{}", bursar_id::EventId::from_parts(1, [0; 10]));
        let broken = follower.take(&mut position, next.clone(), Some(&event(1, "org_a"))).await;
        assert!(matches!(broken, Err(Fault::Store(DbError::Unavailable(_)))), "{broken:?}");
        follower.take(&mut position, next, Some(&event(1, "org_a"))).await.unwrap();
        assert_eq!(counting.asked.load(Ordering::SeqCst), 4, "it overran three times in all");
        assert_eq!(look(&db, &follower.feed).await.unwrap().len(), 1, "and is set aside");
    }

    async fn a_part_is_applied_twice_at_most_however_much_of_it_cannot_be_read(db: TestDb) {
        let db = db.open(&Migrations::SHARED).await;
        let (counting, follower) = follower(&db);
        let position = position::enrol(&db, &Place::new("organization", &[])).await.unwrap().cursor;
        let events: Vec<Event> =
            (0..40).map(|number| event(number, if number < 20 { "org_a" } else { "" })).collect();
        let mut bad = Vec::new();
        follower.take_part(&position, events.clone(), &mut bad).await.unwrap();
        let expected: Vec<Bad> = events[20..].iter().map(|event| (event.clone(), "nobody's".to_owned())).collect();
        assert_eq!(bad, expected);
        let asked = counting.asked.load(Ordering::SeqCst);
        assert!(asked <= 2 * events.len(), "{asked} for {} events", events.len());
    }
}

#[test]
fn pauses_grow_to_a_second_and_differ() {
    let entropy = Entropy::seeded(1);
    for (failures, least, most) in [(1, 10, 20), (2, 20, 40), (4, 80, 160), (7, 500, 1_000), (u32::MAX, 500, 1_000)] {
        for _ in 0..50 {
            let pause = pause_after(failures, &entropy);
            let range = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(range.contains(&pause), "{failures}: {pause:?}");
        }
    }
    assert_ne!(pause_after(9, &entropy), pause_after(9, &entropy));
}

#[test]
fn a_missed_heartbeat_is_not_silence_yet() {
    assert!(SILENCE > crate::HEARTBEAT * 2);
}
