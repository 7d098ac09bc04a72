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
use bursar_id::OwnerId;
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
use crate::position::{self, Enrolled, Lies, Place, Stored};
use crate::tries::Tries;
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
    /// What was spent on an event (its id) in whose midst the stream broke off: it comes first in the next one.
    tried: Option<(String, Tries)>,
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
            tried: None,
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

    /// Applies an event and moves the cursor, unless another replica has done so. Whatever breaks off in its midst, what was spent
    /// on the event is remembered.
    async fn take(&mut self, position: &mut String, next: String, event: Option<&Event>) -> Result<(), Fault> {
        let id = event.map(|event| event.id.clone()).unwrap_or_default();
        let known = self.tried.take().filter(|(of, _)| *of == id);
        let mut tries = known.map(|(_, tries)| tries).unwrap_or_default();
        let taken = self.take_trying(position, next, event, &mut tries).await;
        if taken.is_err() {
            self.tried = Some((id, tries));
        }
        taken
    }

    async fn take_trying(
        &self,
        position: &mut String,
        next: String,
        event: Option<&Event>,
        tries: &mut Tries,
    ) -> Result<(), Fault> {
        let mut hopeless = None::<String>;
        let made_up_for = loop {
            let (mut tx, stored) = position::lock_briefly(&self.db, &self.clock, &self.place).await?;
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
            // Whoever asks for other types has applied it: told again, it might undo what came after it.
            let new = event.filter(|event| !stored.is_done(&next, &event.r#type));
            if hopeless.is_none()
                && let Some(event) = new
            {
                match self.apply(tx, &stored, &next, event).await {
                    Ok(made_up_for) => break made_up_for,
                    // Once more, or set aside in a transaction without what it may have written before it was found out.
                    Err(unapplied) => {
                        hopeless = self.weigh(tries, unapplied, event, self.is_doubted(event)).await?;
                    }
                }
                continue;
            }
            if let (Some(event), Some(problem)) = (new, &hopeless) {
                self.set_aside(&mut tx, event, problem).await?;
            }
            stored.move_to(&mut tx, &next).await?;
            tx.commit().await?;
            break false;
        };
        *position = next;
        if let Some(event) = event {
            let (consumer, source, id, kind) = (C::NAME, self.source, &event.id, &event.r#type);
            tracing::debug!(consumer, source, event = id, kind, "applied");
            self.consumer.applied();
        }
        if hopeless.is_some() || made_up_for {
            look(&self.db, &self.feed).await?;
        }
        Ok(())
    }

    /// Applies an event, takes back what it makes up for and moves the cursor, or does nothing of that; whether there was
    /// anything to take back. What is only found out by the commit is the event's, too.
    async fn apply(&self, mut tx: Tx, stored: &Stored, next: &str, event: &Event) -> Result<bool, Unapplied> {
        if let Err(unapplied) = self.consumer.apply(&mut tx, event).await {
            tx.rollback().await?;
            return Err(unapplied);
        }
        let made_up_for = is_whole::<C>(event) && aside::made_up_for(&mut tx, self.source, event).await?;
        stored.move_to(&mut tx, next).await?;
        tx.commit().await?;
        Ok(made_up_for)
    }

    /// Why an event is to be set aside that was not applied; `None`, after a pause: it is to be tried again.
    async fn weigh(
        &self,
        tries: &mut Tries,
        unapplied: Unapplied,
        event: &Event,
        doubted: bool,
    ) -> Result<Option<String>, DbError> {
        let problem = tries.judge(unapplied, doubted)?;
        if problem.is_none() {
            let (consumer, source, id, tries) = (C::NAME, self.source, &event.id, tries.made());
            tracing::warn!(consumer, source, event = id, tries, "the store does not take an event: it is tried again");
            tokio::time::sleep(pause_after(tries, &self.entropy)).await;
        }
        Ok(problem)
    }

    /// Whether something of the owner is set aside already.
    fn is_doubted(&self, event: &Event) -> bool {
        event.owner.parse::<OwnerId>().is_ok_and(|owner| self.feed.touches(owner))
    }

    /// Applies a part of a snapshot, as long as the cursor stands where it stood. What cannot be applied is added to `bad`.
    async fn take_part(&self, position: &str, events: Vec<Event>, bad: &mut Vec<Bad>) -> Result<(), Fault> {
        let Some(unapplied) = self.apply_all(position, &events).await? else { return Ok(()) };
        // Where the store is away, there is nothing to look for.
        Tries::default().judge(unapplied, false)?;
        // One by one, so that each is applied as often as is due to it, however many cannot be applied.
        for event in events {
            let doubted = self.is_doubted(&event) || bad.iter().any(|(bad, _)| bad.owner == event.owner);
            if let Some(problem) = self.apply_alone(position, &event, doubted).await? {
                bad.push((event, problem));
            }
        }
        Ok(())
    }

    /// Applies one event of a snapshot, or says why it cannot be applied.
    async fn apply_alone(&self, position: &str, event: &Event, doubted: bool) -> Result<Option<String>, Fault> {
        let mut tries = Tries::default();
        while let Some(unapplied) = self.apply_all(position, std::slice::from_ref(event)).await? {
            if let Some(problem) = self.weigh(&mut tries, unapplied, event, doubted).await? {
                return Ok(Some(problem));
            }
        }
        Ok(None)
    }

    /// Applies these events in one transaction, or none of them when one was not applied: then it says why not.
    async fn apply_all(&self, position: &str, events: &[Event]) -> Result<Option<Unapplied>, Fault> {
        let (mut tx, stored) = position::lock_briefly(&self.db, &self.clock, &self.place).await?;
        if stored.cursor != position {
            return Err(Fault::Elsewhere);
        }
        for event in events {
            if let Err(unapplied) = self.consumer.apply(&mut tx, event).await {
                tx.rollback().await?;
                return Ok(Some(unapplied));
            }
        }
        if let Err(error) = tx.commit().await {
            return Ok(Some(error.into()));
        }
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
mod tests;
