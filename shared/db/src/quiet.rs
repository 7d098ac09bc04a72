//! What it means that a connection hears nothing: its server is at work for it, or it is lost.
//!
//! From here both look the same. A connection beside it can tell them apart: it asks the server what the backend of this one
//! does. One that works is waited for, as long as the server itself lets it work; one that waits for its client, while that
//! waits for it, has never got the request, or its answer was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Error};

/// How long the connection beside may take to answer: it is to show whether the server is there.
const SHOWN_WITHIN: Duration = Duration::from_millis(500);

/// When to look again at a backend that may have stopped working only now: its answer may be on its way.
const SHORTLY: Duration = Duration::from_millis(250);

/// What a backend does. One that is active and waits for its client cannot get rid of its answer, or has only a part of the
/// request; that may be over at once. What other roles do is not told (NULL), nor where nothing is tracked.
const LOOK: &str = "SELECT CASE
        WHEN state = 'active' AND wait_event_type IS DISTINCT FROM 'Client' THEN 'works'
        WHEN state = 'active' OR state_change > clock_timestamp() - interval '250 milliseconds' THEN 'pauses'
        ELSE 'waits' END
    FROM pg_stat_activity WHERE pid = $1";

/// The process that serves the connection which a pool opened last: where the pool has a single one, that one. Clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Newest(Arc<AtomicI32>);

impl Newest {
    /// A connection was opened.
    pub(crate) fn is(&self, backend: i32) {
        self.0.store(backend, Ordering::Release);
    }

    fn backend(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Acquire)).filter(|backend| *backend != 0)
    }
}

/// When a connection that hears nothing is looked after, and how.
#[derive(Clone)]
pub(crate) struct Quiet {
    after: Duration,
    connect: Arc<PgConnectOptions>,
    /// Who serves it, of a pool with a single connection. Otherwise nobody knows whether it is at work.
    newest: Option<Newest>,
}

impl Quiet {
    pub(crate) fn new(after: Duration, connect: Arc<PgConnectOptions>, newest: Option<Newest>) -> Self {
        Self { after, connect, newest }
    }

    /// After how long without an answer it is looked after.
    pub(crate) fn after(&self) -> Duration {
        self.after
    }

    /// Waits until the connection, which has a step under way, is lost: it has heard nothing for so long, and the server
    /// answers others at once and does not work for this one.
    pub(crate) async fn until_lost(self) {
        tokio::time::sleep(self.after).await;
        // It stays the newest while it has a step under way: its pool has no room for another.
        let backend = self.newest.as_ref().and_then(Newest::backend);
        let (mut beside, mut paused) = (None, false);
        loop {
            let looked = tokio::time::timeout(SHOWN_WITHIN, look(&mut beside, &self.connect, backend)).await;
            let again = match looked {
                Ok(Ok(Doing::Nothing)) => return,
                Ok(Ok(Doing::Pauses)) => {
                    if paused {
                        return;
                    }
                    paused = true;
                    SHORTLY
                }
                Ok(Ok(Doing::Works)) => {
                    paused = false;
                    SHOWN_WITHIN
                }
                // Others are not answered either.
                Ok(Err(_)) | Err(_) => SHOWN_WITHIN,
            };
            tokio::time::sleep(again).await;
        }
    }
}

/// What a backend does for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Works,
    /// Nothing at this moment, which may be chance.
    Pauses,
    /// Nothing as far as anybody knows, or it is gone.
    Nothing,
}

/// Looks over the connection beside, which is opened first if there is none. One that fails or is given up is not kept.
async fn look(
    beside: &mut Option<PgConnection>,
    connect: &PgConnectOptions,
    backend: Option<i32>,
) -> Result<Doing, Error> {
    let mut connection = match beside.take() {
        Some(connection) => connection,
        None => PgConnection::connect_with(connect).await?,
    };
    let Some(backend) = backend else {
        connection.ping().await?;
        return Ok(Doing::Nothing);
    };
    let seen: Option<(String,)> = sqlx::query_as(LOOK).bind(backend).fetch_optional(&mut connection).await?;
    *beside = Some(connection);
    Ok(match seen.as_ref().map(|(what,)| what.as_str()) {
        Some("works") => Doing::Works,
        Some("pauses") => Doing::Pauses,
        _ => Doing::Nothing,
    })
}
