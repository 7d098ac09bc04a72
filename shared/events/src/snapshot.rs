//! `EventService.Snapshot`: the present state, part by part.

use std::sync::Arc;

use bursar_db::{DbError, Tx, audit};
use bursar_proto::event::v1::{Event, SnapshotResponse};
use bursar_proto::event_type::AUDIT_RECORDED;
use bursar_rpc::{Problem, reason};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::audit::recorded;
use crate::cursor::Cursor;
use crate::incarnation::Around;
use crate::outbox::Outbox;
use crate::present::{Part, Present};

/// One snapshot being told.
pub(crate) struct Teller {
    outbox: Outbox,
    present: Arc<dyn Present>,
    /// Types to tell of; empty for all.
    types: Vec<String>,
    shutdown: CancellationToken,
    /// Where everything that the snapshot may lack begins: taken before its first part.
    cursor: Cursor,
    /// Where the last part ended; `None` when the cursor has been told.
    after: Option<Place>,
}

/// Where a part ends.
enum Place {
    /// In the service's own state.
    State(String),
    /// In its audit log, at the row with this id: after the state, since it may be long.
    Audit(String),
}

/// Audit rows in one part.
const ROWS: i64 = 256;

impl Teller {
    pub(crate) async fn begin(
        outbox: &Outbox,
        present: Arc<dyn Present>,
        types: Vec<String>,
        shutdown: CancellationToken,
    ) -> Result<Self, Problem> {
        let cursor = Around::head(outbox.db()).await?;
        Ok(Self { outbox: outbox.clone(), present, types, shutdown, cursor, after: Some(Place::State(String::new())) })
    }

    /// Pulled by the connection: a slow reader holds one part, and a gone one leaves nothing behind.
    pub(crate) fn answers(self) -> BoxStream<'static, Result<SnapshotResponse, Status>> {
        stream::unfold(self, |mut teller| async move {
            let answer = teller.next().await.transpose()?;
            if answer.is_err() {
                teller.after = None;
            }
            Some((answer.map_err(Status::from), teller))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<SnapshotResponse>, Problem> {
        loop {
            let Some(after) = self.after.take() else {
                return Ok(None);
            };
            if self.shutdown.is_cancelled() {
                return Err(Problem::unavailable(
                    reason::PEER_UNAVAILABLE,
                    "the service is shutting down; begin again",
                ));
            }
            let Some((part, place)) = self.part(after).await? else {
                return self.end().await.map(Some);
            };
            self.after = Some(place);
            let events = self.turn(part);
            if !events.is_empty() {
                return Ok(Some(SnapshotResponse { cursor: String::new(), incarnation: 0, events }));
            }
        }
    }

    /// The part after a place, and where it ends. `None` when everything has been told.
    async fn part(&self, after: Place) -> Result<Option<(Part, Place)>, DbError> {
        let mut tx = self.outbox.db().read().await?;
        let told = match after {
            Place::State(after) => match self.present.part(&mut tx, &after).await? {
                Some(part) => Some((Place::State(part.next.clone()), part)),
                None if self.tells_audit() => Some((Place::Audit(String::new()), Part::default())),
                None => None,
            },
            Place::Audit(after) => {
                let part = audited(&mut tx, &after).await?;
                part.map(|part| (Place::Audit(part.next.clone()), part))
            }
        };
        Ok(told.map(|(place, part)| (part, place)))
    }

    fn tells_audit(&self) -> bool {
        self.present.tells_audit() && (self.types.is_empty() || self.types.iter().any(|kind| kind == AUDIT_RECORDED))
    }

    /// The events that tell of a part, as far as they were asked for.
    fn turn(&self, part: Part) -> Vec<Event> {
        let wanted = |event: &Event| self.types.is_empty() || self.types.contains(&event.r#type);
        let events = part.payloads.into_iter().map(|payload| self.outbox.event(payload)).filter(wanted);
        events.map(|event| Event { incarnation: self.cursor.incarnation.unsigned_abs(), ..event }).collect()
    }

    /// The last answer. The store must not have become another one meanwhile.
    async fn end(&self) -> Result<SnapshotResponse, Problem> {
        let incarnation = Around::head(self.outbox.db()).await?.incarnation;
        if incarnation != self.cursor.incarnation {
            let sentence = "the service's store was restored meanwhile; begin again";
            return Err(Problem::unavailable(reason::PEER_UNAVAILABLE, sentence));
        }
        let cursor = self.cursor.text(self.outbox.source());
        Ok(SnapshotResponse { cursor, incarnation: incarnation.unsigned_abs(), events: Vec::new() })
    }
}

/// The audit rows after one.
async fn audited(tx: &mut Tx, after: &str) -> Result<Option<Part>, DbError> {
    let rows = audit::after(tx, after, ROWS).await?;
    let next = rows.last().map(|row| row.id.to_string());
    let payloads = rows.iter().map(recorded).collect();
    Ok(next.map(|next| Part { payloads, next }))
}
