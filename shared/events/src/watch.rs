//! `EventService.Watch`: a service's events as a stream that can be resumed.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bursar_db::Engine;
use bursar_proto::event::v1::event_service_server::EventService;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Heartbeat, WatchRequest, WatchResponse};
use bursar_proto::event_type;
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{Problem, Violations, reason};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::outbox::{Outbox, PAGE, Stored};
use crate::{HEARTBEAT, cursor};

/// How often other replicas' commits are looked for.
const LOOK_POSTGRES: Duration = Duration::from_millis(100);

/// SQLite has no other replicas: commits of this process wake the stream. Looking is only for the commit whose caller
/// went away before it could say so.
const LOOK_SQLITE: Duration = Duration::from_secs(1);

/// The handler behind [`Outbox::watch_service`].
pub struct Watching {
    outbox: Outbox,
    shutdown: CancellationToken,
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watching({:?})", self.outbox)
    }
}

impl Watching {
    pub(crate) fn new(outbox: Outbox, shutdown: CancellationToken) -> Self {
        Self { outbox, shutdown }
    }

    async fn begin(&self, request: WatchRequest) -> Result<Watcher, Problem> {
        let mut violations = Violations::new();
        for (index, kind) in request.types.iter().enumerate() {
            let known = event_type::ALL.contains(&kind.as_str());
            violations.require(&format!("types[{index}]"), known, "is not a type of event");
        }
        violations.finish()?;
        let position = cursor::parse(self.outbox.source(), &request.cursor).ok_or_else(foreign_cursor)?;
        if position > self.outbox.head().await? {
            return Err(foreign_cursor());
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
            position,
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

#[tonic::async_trait]
impl EventService for Watching {
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let watcher = self.begin(request.into_inner()).await?;
        // Pulled by the connection: a slow reader holds one page, and a gone one leaves nothing behind.
        let answers = stream::unfold(watcher, |mut watcher| async move {
            let answer = watcher.next().await?;
            Some((answer, watcher))
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// One open stream.
struct Watcher {
    outbox: Outbox,
    shutdown: CancellationToken,
    committed: watch::Receiver<i64>,
    /// Types to tell of; empty for all.
    types: Vec<String>,
    /// The number of the last event read from the store.
    position: i64,
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
            let stored = self.outbox.after(self.position).await?;
            let whole_page = stored.len() == PAGE;
            self.turn(&stored)?;
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
    fn turn(&mut self, stored: &[Stored]) -> Result<(), Problem> {
        for event in stored {
            self.position = event.seq;
            if self.types.is_empty() || self.types.contains(&event.kind) {
                self.page.push_back(WatchResponse {
                    cursor: cursor::text(self.outbox.source(), event.seq),
                    item: Some(Item::Event(event.decode()?)),
                });
            }
        }
        Ok(())
    }

    /// A sign of life; everything up to its cursor has been sent.
    fn heartbeat(&mut self) -> WatchResponse {
        self.next_heartbeat = Some(Instant::now() + HEARTBEAT);
        WatchResponse {
            cursor: cursor::text(self.outbox.source(), self.position),
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
