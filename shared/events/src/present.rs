//! What a service can tell of the present, for those who come too late for its events.

use bursar_db::{DbError, Tx};
use bursar_proto::event::v1::event::Payload;

/// A service's present state, told in parts as the events that would tell of it.
///
/// Each part is read in a transaction of its own, so that no snapshot keeps one open for as long as somebody reads. What
/// changes between two parts may be told as it was or as it is: the snapshot ends with a cursor from before its first
/// part, and the events after it tell of the change again. So whatever is told must bear being told twice.
#[tonic::async_trait]
pub trait Present: Send + Sync + 'static {
    /// The part after the place that the last one ended at; the first one for an empty `after`. `None` when everything
    /// has been told. At most 256 payloads; none is fine. Payloads of one kind come in the order of their keys; what
    /// others hang on (an organization) comes before what hangs on it (its members).
    async fn part(&self, tx: &mut Tx, after: &str) -> Result<Option<Part>, DbError>;

    /// Whether the service tells of its audit rows (`Mutations::telling`): then a snapshot ends with those that it still
    /// has, for whoever asks for them.
    fn tells_audit(&self) -> bool {
        false
    }
}

/// A part of the present state.
#[derive(Debug, Default)]
pub struct Part {
    /// What it tells.
    pub payloads: Vec<Payload>,
    /// Where it ends: a text of the service's own, not empty.
    pub next: String,
}

/// The present state of a service that has nothing to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

#[tonic::async_trait]
impl Present for Nothing {
    async fn part(&self, _: &mut Tx, _: &str) -> Result<Option<Part>, DbError> {
        Ok(None)
    }
}
