//! Following another service's events, each taking effect once.
//!
//! An event is applied and the cursor moved in one transaction that locks the cursor's row and first compares it with
//! where this stream thinks it stands. So a crash at any moment leaves both done or neither, and of two replicas that
//! receive the same event one applies it and the other sees that it was done.

use std::sync::Arc;
use std::time::Duration;

use bursar_db::{Db, DbError, Engine, Tx, exactly_one, on};
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Event, WatchRequest};
use bursar_rpc::{MAX_MESSAGE, Transport};
use bursar_secret::Entropy;
use sqlx::Row;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// The longest pause between two attempts. Short, because what others were told has to hold within two seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// A stream that is silent for this long is dead, whatever TCP says.
const SILENCE: Duration = Duration::from_millis(12_500);

/// Failures in a row that are nothing special: peers start and stop.
const QUIET_FAILURES: u32 = 5;

const ENROL: &str = "INSERT INTO consumer_cursors (source, cursor) VALUES ($1, '') ON CONFLICT (source) DO NOTHING";
const READ: &str = "SELECT cursor FROM consumer_cursors WHERE source = $1";
const LOCK_POSTGRES: &str = "SELECT cursor FROM consumer_cursors WHERE source = $1 FOR UPDATE";
const MOVE: &str = "UPDATE consumer_cursors SET cursor = $2 WHERE source = $1";

/// What a service does with another one's events.
pub trait Consumer: Send + Sync + 'static {
    /// For logs: what this consumer keeps up to date.
    const NAME: &'static str;

    /// The types it wants, from [`bursar_proto::event_type`]; empty for all.
    fn types() -> &'static [&'static str];

    /// Writes what the event means, in the transaction that also moves the cursor. Must ignore a payload it does not
    /// know. An error is no way to skip an event: it comes again until it is applied, and nothing overtakes it.
    fn apply(&self, tx: &mut Tx, event: &Event) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Called after the commit of each event: wake whoever waits for it. Not called for what another replica applied.
    fn applied(&self) {}
}

impl<C: Consumer> Consumer for Arc<C> {
    const NAME: &'static str = C::NAME;

    fn types() -> &'static [&'static str] {
        C::types()
    }

    fn apply(&self, tx: &mut Tx, event: &Event) -> impl Future<Output = Result<(), DbError>> + Send {
        (**self).apply(tx, event)
    }

    fn applied(&self) {
        (**self).applied();
    }
}

/// Follows the events of the service called `source` until `shutdown`, whatever fails meanwhile: it resumes where the
/// cursor in `db` stands. One consumer for each source and store; any number of replicas.
pub async fn run<C: Consumer>(
    consumer: C,
    source: &'static str,
    transport: Transport,
    db: Db,
    entropy: Entropy,
    shutdown: CancellationToken,
) {
    let mut follower = Follower { consumer, source, transport, db, failures: 0 };
    loop {
        let fault = tokio::select! {
            () = shutdown.cancelled() => return,
            fault = follower.follow() => fault,
        };
        let pause = follower.judge(&fault, &entropy);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Follower<C> {
    consumer: C,
    source: &'static str,
    transport: Transport,
    db: Db,
    /// Failures since the last sign of progress.
    failures: u32,
}

/// Why a stream was given up.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Stream(#[from] Status),
    #[error("the stream ended")]
    Ended,
    #[error("the stream fell silent")]
    Silent,
    #[error("another replica is ahead")]
    Overtaken,
    #[error("{0}")]
    Store(#[from] DbError),
}

impl<C: Consumer> Follower<C> {
    /// Reads one stream until something is wrong with it.
    async fn follow(&mut self) -> Fault {
        match self.read().await {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }

    async fn read(&mut self) -> Result<std::convert::Infallible, Fault> {
        let mut position = self.enrol().await?;
        let mut client = EventServiceClient::new(self.transport.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let types = C::types().iter().map(|&kind| kind.to_owned()).collect();
        let request = WatchRequest { cursor: position.clone(), types };
        let mut stream =
            tokio::time::timeout(SILENCE, client.watch(request)).await.map_err(|_| Fault::Silent)??.into_inner();
        loop {
            let answer = tokio::time::timeout(SILENCE, stream.message()).await.map_err(|_| Fault::Silent)??;
            let answer = answer.ok_or(Fault::Ended)?;
            match answer.item {
                Some(Item::Event(event)) => {
                    self.take(&mut position, answer.cursor, Some(&event)).await?;
                }
                // A sign of life moves the cursor over events of other types. An item of a later version does, too.
                Some(Item::Heartbeat(_)) | None if answer.cursor != position => {
                    self.take(&mut position, answer.cursor, None).await?;
                }
                Some(Item::Heartbeat(_)) | None => {}
            }
            self.failures = 0;
        }
    }

    /// Where this service stands; at the beginning when it never followed the source.
    async fn enrol(&self) -> Result<String, Fault> {
        let mut tx = self.db.begin().await?;
        on!(&mut tx, c => sqlx::query(ENROL).bind(self.source).execute(c).await.map_err(DbError::from)?.rows_affected());
        let cursor = read_cursor(&mut tx, READ, self.source).await?;
        tx.commit().await?;
        Ok(cursor)
    }

    /// Applies an event and moves the cursor, unless another replica has done so.
    async fn take(&self, position: &mut String, next: String, event: Option<&Event>) -> Result<(), Fault> {
        let mut tx = self.db.begin().await?;
        // On SQLite the transaction is the only writer already.
        let lock = match tx.engine() {
            Engine::Sqlite => READ,
            Engine::Postgres => LOCK_POSTGRES,
        };
        let stored = read_cursor(&mut tx, lock, self.source).await?;
        if stored != *position {
            if stored != next {
                return Err(Fault::Overtaken);
            }
            *position = next;
            return Ok(());
        }
        if let Some(event) = event {
            self.consumer.apply(&mut tx, event).await?;
        }
        exactly_one(on!(&mut tx, c => sqlx::query(MOVE).bind(self.source).bind(&next)
            .execute(c).await.map_err(DbError::from)?.rows_affected()))?;
        tx.commit().await?;
        *position = next;
        if let Some(event) = event {
            tracing::debug!(consumer = C::NAME, source = self.source, event = event.id, kind = event.r#type, "applied");
            self.consumer.applied();
        }
        Ok(())
    }

    /// Tells what went wrong and how long to rest.
    fn judge(&mut self, fault: &Fault, entropy: &Entropy) -> Duration {
        if matches!(fault, Fault::Overtaken) {
            return Duration::ZERO;
        }
        self.failures = self.failures.saturating_add(1);
        let (consumer, source, failures) = (C::NAME, self.source, self.failures);
        match fault {
            // The source lost events that we have seen (a backup was restored), or it is another service.
            Fault::Stream(status) if status.code() == Code::InvalidArgument => {
                tracing::error!(consumer, source, error = %status, "our cursor is unknown to the source");
            }
            Fault::Store(error) if !error.is_retryable() => {
                tracing::error!(consumer, source, failures, %error, "an event cannot be applied; those after it wait");
            }
            _ if failures > QUIET_FAILURES => {
                tracing::warn!(consumer, source, failures, error = %fault, "not following");
            }
            _ => {
                tracing::debug!(consumer, source, failures, error = %fault, "not following");
            }
        }
        pause_after(failures, entropy)
    }
}

async fn read_cursor(tx: &mut Tx, statement: &'static str, source: &str) -> Result<String, DbError> {
    Ok(on!(tx, c => sqlx::query(statement).bind(source).fetch_one(c).await?.try_get(0)?))
}

/// Between half and all of a limit that doubles, so that replicas do not come back together.
fn pause_after(failures: u32, entropy: &Entropy) -> Duration {
    let limit = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    let half = limit / 2;
    let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
    half + Duration::from_micros(entropy.u64_below(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

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
