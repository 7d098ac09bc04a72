//! Following another service's events, each taking effect once: how it is done.
//!
//! An event is applied and the cursor moved in one transaction that locks the source's rows and first compares the cursor with
//! where this stream thinks it stands. So a crash at any moment leaves both done or neither, and of two replicas that
//! receive the same event one applies it and the other sees that it was done, and goes on in its own stream.
//!
//! A snapshot is applied part by part, each under the same lock and only while the cursor stands where it stood when the
//! snapshot began; the last transaction moves the cursor. A crash in between leaves the cursor, and the snapshot is
//! loaded again: what its parts say bears being said twice.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bursar_db::{Db, DbError, Tx};
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Event, SnapshotRequest, SnapshotResponse, WatchRequest};
use bursar_rpc::problem::reason_of;
use bursar_rpc::{MAX_MESSAGE, Transport};
use bursar_secret::Entropy;
use bursar_time::Clock;
use tonic::{Code, Status};

use crate::consumer::{Consumer, Following, Unapplied};
use crate::feed::Feed;
use crate::keeper::look;
use crate::position::{self, Enrolled, Lies, Place};
use crate::{SNAPSHOT_REQUIRED, aside};

/// The longest pause between two attempts. Short, because what others were told has to hold within two seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause of a replica that finds the cursor where its stream does not lead (a store was restored, another
/// replica has loaded a snapshot): nothing failed, but the two should not go on in step.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(10);

/// A stream that is silent for this long is dead, whatever TCP says.
const SILENCE: Duration = Duration::from_millis(12_500);

/// Failures in a row that are nothing special: peers start and stop.
const QUIET_FAILURES: u32 = 5;

/// An event that will not be applied, and why not.
type Bad = (Event, String);

/// Why a stream was given up.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Stream(#[from] Status),
    #[error("the stream ended")]
    Ended,
    #[error("the stream fell silent")]
    Silent,
    #[error("the cursor was moved to where this stream does not lead")]
    Elsewhere,
    #[error("nobody here has followed all that is followed now")]
    Uninformed,
    #[error("{0}")]
    Store(#[from] DbError),
}

impl Fault {
    /// Whether there is no way on but a snapshot.
    fn wants_snapshot(&self) -> bool {
        match self {
            Self::Stream(status) => reason_of(status).as_deref() == Some(SNAPSHOT_REQUIRED),
            other => matches!(other, Self::Uninformed),
        }
    }
}

/// One consumer of one source.
pub(crate) struct Follower<C> {
    consumer: Arc<C>,
    source: &'static str,
    place: Place,
    feed: Feed,
    client: EventServiceClient<Transport>,
    db: Db,
    clock: Clock,
    entropy: Entropy,
    /// Failures since the last sign of progress.
    failures: u32,
}

impl<C: Consumer> Follower<C> {
    pub(crate) fn new(consumer: Arc<C>, following: &Following) -> Self {
        let client = EventServiceClient::new(following.transport.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Self {
            consumer,
            source: following.feed.source(),
            place: Place::new(following.feed.source(), C::types()),
            feed: following.feed.clone(),
            client,
            db: following.db.clone(),
            clock: following.clock.clone(),
            entropy: following.entropy.clone(),
            failures: 0,
        }
    }

    /// Reads one stream until something is wrong with it; says how long to rest.
    pub(crate) async fn follow(&mut self) -> Duration {
        let mut fault = match self.watch().await {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        if fault.wants_snapshot() {
            match self.load_snapshot(matches!(fault, Fault::Uninformed)).await {
                Ok(()) => {
                    self.failures = 0;
                    return Duration::ZERO;
                }
                Err(why) => fault = why,
            }
        }
        self.judge(&fault)
    }

    async fn watch(&mut self) -> Result<Infallible, Fault> {
        let enrolled = position::enrol(&self.db, &self.place).await?;
        if enrolled.resume.is_some() {
            return Err(Fault::Uninformed);
        }
        let mut position = enrolled.cursor;
        // While nothing was watched here, other replicas may have gone on: those events do not come here any more.
        self.consumer.applied();
        let request = WatchRequest { cursor: position.clone(), types: types::<C>() };
        let mut stream = within(self.client.watch(request)).await?.into_inner();
        loop {
            let answer = within(stream.message()).await?.ok_or(Fault::Ended)?;
            match answer.item {
                Some(Item::Event(event)) => {
                    self.take(&mut position, answer.cursor, Some(&event)).await?;
                }
                // A sign of life moves the cursor over events of other types. An item of a later version does, too.
                Some(Item::Heartbeat(_)) | None if answer.cursor != position => {
                    self.take(&mut position, answer.cursor, None).await?;
                }
                // Nothing is new, unless somebody wants everything to be learned anew.
                Some(Item::Heartbeat(_)) | None => {
                    if !position.is_empty() && position::was_left(&self.db, &self.place).await? {
                        return Err(Fault::Elsewhere);
                    }
                }
            }
            self.feed.hear();
            self.failures = 0;
        }
    }

    /// Loads the present state and moves the cursor to where it ends.
    async fn load_snapshot(&mut self, uninformed: bool) -> Result<(), Fault> {
        let Enrolled { cursor: position, resume } = position::enrol(&self.db, &self.place).await?;
        if uninformed && resume.is_none() {
            // Another replica of this program has loaded it.
            return Ok(());
        }
        tracing::warn!(consumer = C::NAME, source = self.source, cursor = position, "loading a snapshot");
        let request = SnapshotRequest { types: types::<C>() };
        let mut stream = within(self.client.snapshot(request)).await?.into_inner();
        let mut bad: Vec<Bad> = Vec::new();
        loop {
            let answer = within(stream.message()).await?.ok_or(Fault::Ended)?;
            if !answer.cursor.is_empty() {
                self.end_snapshot(&position, &answer, resume.as_deref(), &bad).await?;
                self.consumer.applied();
                return Ok(());
            }
            self.take_part(&position, answer.events, &mut bad).await?;
        }
    }

    /// Applies an event and moves the cursor, unless another replica has done so.
    async fn take(&self, position: &mut String, next: String, event: Option<&Event>) -> Result<(), Fault> {
        let mut hopeless: Option<String> = None;
        let mut made_up_for = false;
        loop {
            let (mut tx, stored) = position::lock(&self.db, &self.clock, &self.place).await?;
            if stored.cursor != *position {
                // What the other one applied is news here, too; and it stands in the common store, so this one is up to
                // date as far as that goes.
                self.consumer.applied();
                self.feed.hear();
                match Lies::of(self.source, &stored.cursor, position, &next) {
                    Lies::Ahead => {
                        *position = next;
                        return Ok(());
                    }
                    Lies::Between => {}
                    Lies::Elsewhere => return Err(Fault::Elsewhere),
                }
            }
            match (event, hopeless.as_deref()) {
                (None, _) => {}
                // Whoever asks for other types has applied it: told again, it might undo what came after it.
                (Some(event), _) if stored.is_done(&next, &event.r#type) => {}
                (Some(event), Some(problem)) => self.set_aside(&mut tx, event, problem).await?,
                (Some(event), None) => match self.apply(&mut tx, event).await {
                    Ok(some) => made_up_for = some,
                    // Once more, in a transaction without what it may have written before it was found out. What the
                    // store refuses for good would stop everybody's events if it were tried until it works.
                    Err(unapplied) => {
                        hopeless = Some(unapplied.for_good()?);
                        tx.rollback().await?;
                        continue;
                    }
                },
            }
            stored.move_to(&mut tx, &next).await?;
            tx.commit().await?;
            *position = next;
            if let Some(event) = event {
                let (consumer, source, id, kind) = (C::NAME, self.source, &event.id, &event.r#type);
                tracing::debug!(consumer, source, event = id, kind, "applied");
                self.consumer.applied();
            }
            if hopeless.is_some() || made_up_for {
                look(&self.db, &self.feed).await?;
            }
            return Ok(());
        }
    }

    /// Applies an event, and takes back what it makes up for; whether there was any of that.
    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<bool, Unapplied> {
        self.consumer.apply(tx, event).await?;
        Ok(is_whole::<C>(event) && aside::made_up_for(tx, self.source, event).await?)
    }

    /// Applies a part of a snapshot, as long as the cursor stands where it stood. What cannot be applied is added to `bad`.
    async fn take_part(&self, position: &str, events: Vec<Event>, bad: &mut Vec<Bad>) -> Result<(), Fault> {
        if self.apply_all(position, &events).await?.is_none() {
            return Ok(());
        }
        // One by one, so that each is applied twice at most, however many cannot be applied.
        for event in events {
            if let Some(problem) = self.apply_all(position, std::slice::from_ref(&event)).await? {
                bad.push((event, problem));
            }
        }
        Ok(())
    }

    /// Applies these events in one transaction, or none of them when one cannot be applied: then it says why not.
    async fn apply_all(&self, position: &str, events: &[Event]) -> Result<Option<String>, Fault> {
        let (mut tx, stored) = position::lock(&self.db, &self.clock, &self.place).await?;
        if stored.cursor != position {
            return Err(Fault::Elsewhere);
        }
        for event in events {
            if let Err(unapplied) = self.consumer.apply(&mut tx, event).await {
                let problem = unapplied.for_good()?;
                tx.rollback().await?;
                return Ok(Some(problem));
            }
        }
        tx.commit().await?;
        self.consumer.applied();
        Ok(None)
    }

    /// Ends what the snapshot has not told of, and goes on from its cursor, or from where others stood before it.
    async fn end_snapshot(
        &self,
        position: &str,
        last: &SnapshotResponse,
        resume: Option<&str>,
        bad: &[Bad],
    ) -> Result<(), Fault> {
        let (mut tx, stored) = position::lock(&self.db, &self.clock, &self.place).await?;
        if stored.cursor != position {
            return Err(Fault::Elsewhere);
        }
        self.consumer.forget_before(&mut tx, last.incarnation).await?;
        aside::clear(&mut tx, self.source, C::types()).await?;
        for (event, problem) in bad {
            self.set_aside(&mut tx, event, problem).await?;
        }
        stored.begin_again(&mut tx, resume.unwrap_or(&last.cursor)).await?;
        tx.commit().await?;
        look(&self.db, &self.feed).await?;
        Ok(())
    }

    async fn set_aside(&self, tx: &mut Tx, event: &Event, problem: &str) -> Result<(), DbError> {
        let (consumer, source, id, owner, kind) = (C::NAME, self.source, &event.id, &event.owner, &event.r#type);
        tracing::error!(consumer, source, event = id, owner, kind, problem, "cannot apply an event: it is set aside");
        aside::put(tx, self.source, event, problem, self.clock.now()).await
    }

    /// Tells what went wrong and how long to rest.
    fn judge(&mut self, fault: &Fault) -> Duration {
        if matches!(fault, Fault::Elsewhere) {
            return up_to(ELSEWHERE_PAUSE, &self.entropy);
        }
        self.failures = self.failures.saturating_add(1);
        let (consumer, source, failures) = (C::NAME, self.source, self.failures);
        match fault {
            Fault::Stream(status) if status.code() == Code::InvalidArgument => {
                tracing::error!(consumer, source, error = %status, "our cursor is of another service");
            }
            Fault::Store(error) if !error.is_retryable() => {
                tracing::error!(consumer, source, failures, %error, "the cursor cannot be moved: the events wait");
            }
            _ if failures > QUIET_FAILURES => {
                tracing::warn!(consumer, source, failures, error = %fault, "not following");
            }
            _ => {
                tracing::debug!(consumer, source, failures, error = %fault, "not following");
            }
        }
        pause_after(failures, &self.entropy)
    }
}

/// Whether what an event tells makes up for whatever earlier ones of its kind may have told.
fn is_whole<C: Consumer>(event: &Event) -> bool {
    C::WHOLE.contains(&event.r#type.as_str())
}

fn types<C: Consumer>() -> Vec<String> {
    C::types().iter().map(|&kind| kind.to_owned()).collect()
}

/// What a peer answers, unless it falls silent.
async fn within<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Fault> {
    Ok(tokio::time::timeout(SILENCE, answer).await.map_err(|_| Fault::Silent)??)
}

/// Up to a limit that doubles, and different each time, so that replicas do not come back together.
fn pause_after(failures: u32, entropy: &Entropy) -> Duration {
    up_to(FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE), entropy)
}

/// Between half and all of a limit.
fn up_to(limit: Duration, entropy: &Entropy) -> Duration {
    let half = limit / 2;
    let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
    half + Duration::from_micros(entropy.u64_below(micros))
}

#[cfg(test)]
mod tests {
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
    }

    impl Consumer for Counting {
        const NAME: &'static str = "counting";

        fn types() -> &'static [&'static str] {
            &[]
        }

        async fn apply(&self, _tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
            self.asked.fetch_add(1, Ordering::SeqCst);
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
            let (_, ahead) = follower(&db);
            let mut position = position::enrol(&db, &Place::new("organization", &[])).await.unwrap().cursor;
            for number in 1..4 {
                ahead.take(&mut position, cursor(number), Some(&event(1, "org_a"))).await.unwrap();
            }
            // Behind it: it goes on in its own stream, without applying anything until it comes to something new.
            let (counting, behind) = follower(&db);
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
        for (failures, least, most) in [(1, 10, 20), (2, 20, 40), (4, 80, 160), (7, 500, 1_000), (u32::MAX, 500, 1_000)]
        {
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
}
