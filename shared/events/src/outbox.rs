//! Writing events with the change they tell of, and reading them back in order.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bursar_db::audit::AuditRow;
use bursar_db::{Db, DbError, Tx, exactly_one, on};
use bursar_id::EventId;
use bursar_proto::event::v1::Event;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::event_service_server::EventServiceServer;
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{MAX_MESSAGE, Publish};
use bursar_secret::Entropy;
use bursar_time::Clock;
use prost::Message;
use sqlx::Row;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::watch::Watching;

/// The most events a page holds.
pub(crate) const PAGE: usize = 256;

const NEXT: &str = "UPDATE outbox_head SET seq = seq + $1 WHERE one = 1 RETURNING seq";
const INSERT: &str = "INSERT INTO outbox (seq, id, type, payload, created_at) VALUES ($1, $2, $3, $4, $5)";
const HEAD: &str = "SELECT seq FROM outbox_head WHERE one = 1";
const AFTER: &str = "SELECT seq, type, payload FROM outbox WHERE seq > $1 ORDER BY seq LIMIT 256";

/// A service's outbox. Cheap to clone; a commit through any clone wakes the watchers of all.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    source: &'static str,
    db: Db,
    clock: Clock,
    entropy: Entropy,
    /// The greatest number committed in this process: wakes watchers at once. Other replicas' commits are found by
    /// looking.
    committed: watch::Sender<i64>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbox({})", self.0.source)
    }
}

/// An event as it was stored.
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) kind: String,
    pub(crate) payload: Vec<u8>,
}

impl Stored {
    pub(crate) fn decode(&self) -> Result<Event, DbError> {
        Event::decode(self.payload.as_slice())
            .map_err(|error| DbError::corrupt(format!("event {} of the outbox: {error}", self.seq)))
    }
}

impl Outbox {
    /// The outbox of the service called `source`, in that service's store. The name is part of the cursors that
    /// others keep: it never changes.
    pub fn new(source: &'static str, db: Db, clock: Clock, entropy: Entropy) -> Self {
        let (committed, _) = watch::channel(0);
        Self(Arc::new(Inner { source, db, clock, entropy, committed }))
    }

    /// Commits the transaction together with these events, in this order, and wakes the watchers. Without events it
    /// is a plain commit.
    ///
    /// The counter row stays locked from here to the commit, so this must be the last thing a transaction does; taking
    /// the transaction makes sure of it.
    pub async fn commit(&self, mut tx: Tx, events: Vec<Payload>) -> Result<(), DbError> {
        if events.is_empty() {
            return tx.commit().await;
        }
        // Encoded before the counter is locked: whoever waits for it waits only for the store.
        let events: Vec<(EventId, Event)> = events.into_iter().map(|payload| self.event(payload)).collect();
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let now = self.0.clock.now();
        let last: i64 = on!(&mut tx, c => sqlx::query(NEXT).bind(count).fetch_one(c).await?.try_get(0)?);
        for (seq, (id, event)) in (last - count + 1..).zip(&events) {
            exactly_one(on!(&mut tx, c => sqlx::query(INSERT)
                .bind(seq).bind(id).bind(&event.r#type).bind(event.encode_to_vec()).bind(now)
                .execute(c).await?.rows_affected()))?;
        }
        tx.commit().await?;
        self.0.committed.send_modify(|seq| *seq = last.max(*seq));
        Ok(())
    }

    /// `EventService` over this outbox. Its streams end when `shutdown` is cancelled.
    pub fn watch_service(&self, shutdown: CancellationToken) -> EventServiceServer<Watching> {
        EventServiceServer::new(Watching::new(self.clone(), shutdown))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    fn event(&self, payload: Payload) -> (EventId, Event) {
        let now = self.0.clock.now();
        let id = EventId::from_parts(now.as_millis(), self.0.entropy.bytes());
        let event = Event {
            id: id.to_string(),
            r#type: payload.type_name().to_owned(),
            occurred_at: Some(to_timestamp(now)),
            payload: Some(payload),
        };
        (id, event)
    }

    pub(crate) fn source(&self) -> &'static str {
        self.0.source
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Learns of commits in this process.
    pub(crate) fn committed(&self) -> watch::Receiver<i64> {
        self.0.committed.subscribe()
    }

    /// The number of the last event committed.
    pub(crate) async fn head(&self) -> Result<i64, DbError> {
        match &self.0.db {
            Db::Sqlite { read, .. } => Ok(sqlx::query(HEAD).fetch_one(read).await?.try_get(0)?),
            Db::Postgres(pool) => Ok(sqlx::query(HEAD).fetch_one(pool).await?.try_get(0)?),
        }
    }

    /// The next events after a number, at most [`PAGE`]. One statement sees one moment, so it needs no transaction.
    pub(crate) async fn after(&self, seq: i64) -> Result<Vec<Stored>, DbError> {
        macro_rules! read {
            ($pool:expr) => {
                sqlx::query(AFTER)
                    .bind(seq)
                    .fetch_all($pool)
                    .await?
                    .iter()
                    .map(|row| Ok(Stored { seq: row.try_get(0)?, kind: row.try_get(1)?, payload: row.try_get(2)? }))
                    .collect()
            };
        }
        match &self.0.db {
            Db::Sqlite { read, .. } => read!(read),
            Db::Postgres(pool) => read!(pool),
        }
    }
}

/// Mutations tell of themselves here.
impl Publish for Outbox {
    type Event = Payload;

    fn commit(&self, tx: Tx, events: Vec<Payload>) -> impl Future<Output = Result<(), DbError>> + Send {
        Self::commit(self, tx, events)
    }

    fn audited(&self, row: &AuditRow) -> Payload {
        audit::recorded(row)
    }
}
