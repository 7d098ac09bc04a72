//! `EventService`: a service's events as a stream that can be resumed, and its present state.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bursar_db::Engine;
use bursar_proto::event::v1::event_service_server::EventService;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Heartbeat, SnapshotRequest, SnapshotResponse, WatchRequest, WatchResponse};
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{Caller, Problem, reason};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::cursor::Cursor;
use crate::incarnation::{self, Around, Fit};
use crate::outbox::{Outbox, PAGE, Page};
use crate::present::Present;
use crate::snapshot::Teller;
use crate::{HEARTBEAT, SNAPSHOT_REQUIRED};

/// How often other replicas' commits are looked for.
const LOOK_POSTGRES: Duration = Duration::from_millis(100);

/// SQLite has no other replicas: commits of this process wake the stream. Looking is only for the commit whose caller
/// went away before it could say so.
const LOOK_SQLITE: Duration = Duration::from_secs(1);

/// The handler behind [`Outbox::service`].
pub struct Watching {
    outbox: Outbox,
    present: Arc<dyn Present>,
    shutdown: CancellationToken,
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watching({:?})", self.outbox)
    }
}

impl Watching {
    pub(crate) fn new(outbox: Outbox, present: Arc<dyn Present>, shutdown: CancellationToken) -> Self {
        Self { outbox, present, shutdown }
    }

    async fn begin(&self, caller: Option<Caller>, request: WatchRequest) -> Result<Watcher, Problem> {
        let db = self.outbox.db();
        let cursor = match request.cursor.as_str() {
            "" => None,
            text => Some(Cursor::parse(self.outbox.source(), text).ok_or_else(foreign_cursor)?),
        };
        let around = Around::number(db, cursor.map_or(0, |cursor| cursor.seq)).await?;
        let first = Cursor { incarnation: around.incarnation, seq: 0, event: None };
        let cursor = cursor.unwrap_or(first);
        match around.judge(&cursor) {
            Fit::Fits => {}
            Fit::Late => return Err(snapshot_required()),
            Fit::Unknown => {
                // Nobody else is believed: a new incarnation has everybody load everything.
                if caller.as_ref().and_then(Caller::service).is_some_and(|service| service.role.is_bursars_own()) {
                    incarnation::begin_after(db, &cursor, self.outbox.clock().now()).await?;
                }
                return Err(snapshot_required());
            }
        }
        let look_every = match self.outbox.db().engine() {
            Engine::Sqlite => LOOK_SQLITE,
            Engine::Postgres => LOOK_POSTGRES,
        };
        Ok(Watcher {
            committed: self.outbox.committed(),
            outbox: self.outbox.clone(),
            shutdown: self.shutdown.clone(),
            types: request.types,
            // A later version's cursor may not know its event; this store does, if it keeps it.
            position: Cursor { event: around.here.or(cursor.event), ..cursor },
            page: VecDeque::new(),
            look_every,
            // At once when there is nothing to tell: the watcher learns that it is up to date.
            next_heartbeat: None,
            ended: false,
        })
    }
}

fn foreign_cursor() -> Problem {
    Problem::invalid_field("cursor", "is not one that this service gave").with_reason("CURSOR_INVALID")
}

/// What whoever shows a cursor is told when the events after it cannot be.
pub(crate) fn snapshot_required() -> Problem {
    Problem::failed_precondition(
        SNAPSHOT_REQUIRED,
        "the events after this cursor are not here (any more): load a snapshot and go on from its cursor",
    )
}

#[tonic::async_trait]
impl EventService for Watching {
    type SnapshotStream = BoxStream<'static, Result<SnapshotResponse, Status>>;
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request).ok();
        let watcher = self.begin(caller, request.into_inner()).await?;
        // Pulled by the connection: a slow reader holds one page, and a gone one leaves nothing behind.
        let answers = stream::unfold(watcher, |mut watcher| async move {
            let answer = watcher.next().await?;
            Some((answer, watcher))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let teller =
            Teller::begin(&self.outbox, Arc::clone(&self.present), request.into_inner().types, self.shutdown.clone());
        Ok(Response::new(teller.await?.answers()))
    }
}

/// One open stream.
struct Watcher {
    outbox: Outbox,
    shutdown: CancellationToken,
    committed: watch::Receiver<i64>,
    /// Types to tell of; empty for all.
    types: Vec<String>,
    /// Where the last event read from the store stands.
    position: Cursor,
    /// Answers that were read and not yet sent.
    page: VecDeque<WatchResponse>,
    look_every: Duration,
    next_heartbeat: Option<Instant>,
    ended: bool,
}

impl Watcher {
    /// The next answer; `None` after an error, which ends the stream.
    async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        if self.ended {
            return None;
        }
        let answer = self.find().await;
        self.ended = answer.is_err();
        Some(answer.map_err(Status::from))
    }

    async fn find(&mut self) -> Result<WatchResponse, Problem> {
        loop {
            if let Some(answer) = self.page.pop_front() {
                return Ok(answer);
            }
            if self.shutdown.is_cancelled() {
                return Err(Problem::unavailable(
                    reason::PEER_UNAVAILABLE,
                    "the service is shutting down; connect again with the last cursor",
                ));
            }
            if self.next_heartbeat.is_some_and(|due| due <= Instant::now()) {
                return Ok(self.heartbeat());
            }
            // Before reading: a commit that comes while we read must wake us.
            self.committed.mark_unchanged();
            let page = self.outbox.after(self.position.seq).await?;
            let whole_page = page.events.len() == PAGE;
            self.turn(page)?;
            if !self.page.is_empty() || whole_page {
                continue;
            }
            if self.next_heartbeat.is_none() {
                return Ok(self.heartbeat());
            }
            self.wait().await;
        }
    }

    /// Turns what was read into answers, and moves on.
    fn turn(&mut self, page: Page) -> Result<(), Problem> {
        if page.incarnation != self.position.incarnation {
            return Err(snapshot_required());
        }
        for stored in page.events {
            // Numbers have no gaps; where one is missing, the reader was slower than events are kept.
            if stored.seq != self.position.seq + 1 {
                return Err(snapshot_required());
            }
            self.position.seq = stored.seq;
            self.position.event = Some(stored.id);
            if self.types.is_empty() || self.types.contains(&stored.kind) {
                let cursor = self.position.text(self.outbox.source());
                self.page.push_back(WatchResponse { cursor, item: Some(Item::Event(stored.to_event())) });
            }
        }
        Ok(())
    }

    /// A sign of life; everything up to its cursor has been sent.
    fn heartbeat(&mut self) -> WatchResponse {
        self.next_heartbeat = Some(Instant::now() + HEARTBEAT);
        WatchResponse {
            cursor: self.position.text(self.outbox.source()),
            item: Some(Item::Heartbeat(Heartbeat { at: Some(to_timestamp(self.outbox.clock().now())) })),
        }
    }

    /// Until there may be something to send.
    async fn wait(&mut self) {
        let look = Instant::now() + self.look_every;
        let until = self.next_heartbeat.map_or(look, |due| due.min(look));
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            // Never an error: the sender lives as long as the outbox we hold.
            _ = self.committed.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
