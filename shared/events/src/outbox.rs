//! Writing events with the change they tell of, and reading them back in order.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bursar_db::audit::AuditRow;
use bursar_db::{Db, DbError, Limited, Tx, exactly_one};
use bursar_id::EventId;
use bursar_proto::event::v1::Event;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::event_service_server::EventServiceServer;
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{MAX_MESSAGE, Publish};
use bursar_secret::Entropy;
use bursar_time::{Clock, Timestamp};
use prost::Message;
use sqlx::{Postgres, Row, Sqlite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::present::Present;
use crate::watch::Watching;

/// The most events a page holds.
pub(crate) const PAGE: usize = 256;

/// SQLite, where a transaction is the only writer, takes the numbers first and then writes event by event.
const NEXT: &str = "UPDATE outbox_head SET seq = seq + $1 WHERE one = 1 RETURNING seq, incarnation";
const INSERT: &str = "INSERT INTO outbox (seq, incarnation, id, owner, type, payload, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
/// PostgreSQL takes the numbers and writes all events in one round trip: the counter is locked no longer than that and
/// the commit take, and by a session whose client is gone no longer than a second: everybody waits for this row.
const TELL_POSTGRES: &str = "WITH head AS (UPDATE outbox_head SET seq = seq + cardinality($1::text[]) WHERE one = 1 \
    RETURNING seq, incarnation), told AS (INSERT INTO outbox (seq, incarnation, id, owner, type, payload, created_at) \
    SELECT head.seq - cardinality($1::text[]) + e.number, head.incarnation, e.id, e.owner, e.type, e.payload, $5 \
    FROM head, unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY \
    AS e (id, owner, type, payload, number) RETURNING seq) SELECT max(seq), count(*), \
    set_config('idle_in_transaction_session_timeout', '1000', true) FROM told";
/// The present incarnation comes with each row, and alone where there are none.
const AFTER: &str = "SELECT h.incarnation, o.seq, o.incarnation, o.id, o.owner, o.type, o.payload, o.created_at \
    FROM outbox_head h LEFT JOIN (SELECT * FROM outbox WHERE seq > $1 ORDER BY seq LIMIT 256) o ON true \
    WHERE h.one = 1 ORDER BY o.seq";

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

/// Events to be written, as the columns of their rows.
#[derive(Default)]
struct Told {
    ids: Vec<String>,
    owners: Vec<String>,
    kinds: Vec<String>,
    payloads: Vec<Vec<u8>>,
}

impl Told {
    fn add(&mut self, event: Event) {
        self.payloads.push(event.encode_to_vec());
        self.ids.push(event.id);
        self.owners.push(event.owner);
        self.kinds.push(event.r#type);
    }

    fn count(&self) -> i64 {
        i64::try_from(self.ids.len()).unwrap_or(i64::MAX)
    }

    /// Writes them; says the last one's number.
    async fn write_sqlite(&self, c: &mut Limited<Sqlite>, now: Timestamp) -> Result<i64, DbError> {
        let (last, incarnation): (i64, i64) = sqlx::query_as(NEXT).bind(self.count()).fetch_one(&mut *c).await?;
        let first = last - self.count() + 1;
        for (seq, (((id, owner), kind), payload)) in
            (first..).zip(self.ids.iter().zip(&self.owners).zip(&self.kinds).zip(&self.payloads))
        {
            let insert = sqlx::query(INSERT).bind(seq).bind(incarnation).bind(id).bind(owner).bind(kind);
            exactly_one(insert.bind(payload).bind(now).execute(&mut *c).await?.rows_affected())?;
        }
        Ok(last)
    }

    /// The same on PostgreSQL.
    async fn write_postgres(&self, c: &mut Limited<Postgres>, now: Timestamp) -> Result<i64, DbError> {
        let (last, told, _): (Option<i64>, i64, String) = sqlx::query_as(TELL_POSTGRES)
            .bind(&self.ids)
            .bind(&self.owners)
            .bind(&self.kinds)
            .bind(&self.payloads)
            .bind(now)
            .fetch_one(c)
            .await?;
        last.filter(|_| told == self.count()).ok_or_else(|| DbError::corrupt("the outbox has lost its counter"))
    }
}

/// An event as it was stored.
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) incarnation: i64,
    pub(crate) id: EventId,
    pub(crate) owner: String,
    pub(crate) kind: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) created_at: Timestamp,
}

impl Stored {
    /// The event as others are told of it. One that this service cannot read itself goes without its payload: they know
    /// by its owner whose state they do not know any more, and the events after it are not kept from them.
    pub(crate) fn to_event(&self) -> Event {
        let mut event = Event::decode(self.payload.as_slice()).unwrap_or_else(|error| {
            tracing::error!(event = %self.id, seq = self.seq, %error, "an event of the outbox is damaged");
            Event { occurred_at: Some(to_timestamp(self.created_at)), ..Event::default() }
        });
        event.id = self.id.to_string();
        event.owner.clone_from(&self.owner);
        event.r#type.clone_from(&self.kind);
        event.incarnation = self.incarnation.unsigned_abs();
        event
    }
}

/// A page of events.
pub(crate) struct Page {
    /// The present incarnation.
    pub(crate) incarnation: i64,
    /// The events, in the order of their numbers.
    pub(crate) events: Vec<Stored>,
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
        let mut told = Told::default();
        for payload in events {
            told.add(self.event(payload));
        }
        let now = self.0.clock.now();
        let last = match &mut tx {
            Tx::Sqlite(t) => told.write_sqlite(t, now).await?,
            Tx::Postgres(t) => told.write_postgres(t, now).await?,
        };
        tx.commit().await?;
        self.0.committed.send_modify(|seq| *seq = last.max(*seq));
        Ok(())
    }

    /// `EventService` over this outbox, with the state that `present` tells as its snapshot. Its streams end when
    /// `shutdown` is cancelled.
    pub fn service(&self, present: impl Present, shutdown: CancellationToken) -> EventServiceServer<Watching> {
        EventServiceServer::new(Watching::new(self.clone(), Arc::new(present), shutdown))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// A new event with this payload. Its incarnation is known when it is read back.
    pub(crate) fn event(&self, payload: Payload) -> Event {
        let now = self.0.clock.now();
        let id = EventId::from_parts(now.as_millis(), self.0.entropy.bytes());
        Event {
            id: id.to_string(),
            r#type: payload.type_name().to_owned(),
            occurred_at: Some(to_timestamp(now)),
            owner: payload.owner().to_owned(),
            incarnation: 0,
            payload: Some(payload),
        }
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

    /// The next events after a number, at most [`PAGE`]. One statement sees one moment, so it needs no transaction.
    pub(crate) async fn after(&self, seq: i64) -> Result<Page, DbError> {
        macro_rules! read {
            ($pool:expr) => {{
                let mut page = Page { incarnation: 0, events: Vec::new() };
                for row in sqlx::query(AFTER).bind(seq).fetch_all($pool).await? {
                    page.incarnation = row.try_get(0)?;
                    let Some(seq) = row.try_get(1)? else {
                        continue;
                    };
                    page.events.push(Stored {
                        seq,
                        incarnation: row.try_get(2)?,
                        id: row.try_get(3)?,
                        owner: row.try_get(4)?,
                        kind: row.try_get(5)?,
                        payload: row.try_get(6)?,
                        created_at: row.try_get(7)?,
                    });
                }
                Ok(page)
            }};
        }
        match &self.0.db {
            Db::Sqlite { read, .. } => read!(&mut read.acquire().await?),
            Db::Postgres(pool) => read!(&mut pool.acquire().await?),
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
