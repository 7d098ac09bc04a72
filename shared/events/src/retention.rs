//! How long events are kept.

use bursar_db::{Db, DbError};
use bursar_time::{Span, Timestamp};

/// How long an event is kept for whoever follows. Who comes later begins with a snapshot.
pub const KEEP: Span = Span::from_days(30);

/// The oldest first, and never the last: by it, whoever has followed so far sees that nothing is missing.
const FORGET: &str = "DELETE FROM outbox WHERE created_at < $1 AND seq IN (SELECT seq FROM outbox \
     WHERE seq < (SELECT seq FROM outbox_head WHERE one = 1) ORDER BY seq LIMIT $2)";

/// Forgets the events that are older than [`KEEP`], in small transactions. Returns how many. Safe to run on several
/// replicas at once, and to interrupt.
pub async fn forget(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    bursar_db::forget_before(db, FORGET, now.saturating_sub(KEEP)).await
}
