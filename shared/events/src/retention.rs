//! How long events are kept.

use bursar_db::{Db, DbError};
use bursar_time::{Span, Timestamp, latest_beginning};

/// How long an event is kept for whoever follows. Who comes later begins with a snapshot.
pub const KEEP: Span = Span::from_days(30);

/// The oldest first, and never the last: by it, whoever has followed so far sees that nothing is missing. Numbers are in the order
/// of commits, so whatever stands before an event that is old is as old, whenever it says that it was: a clock that was far ahead
/// may have dated it. Nothing goes from between events that stay, or whoever reads them would miss it. What such a clock dated
/// is passed over where the old ones are looked for: it alone would stand in the way until its time has come.
const FORGET: &str = "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox \
     WHERE seq < (SELECT seq FROM outbox_head WHERE one = 1) AND seq <= (SELECT MAX(early.seq) FROM \
     (SELECT seq, created_at FROM outbox WHERE created_at <= $3 ORDER BY seq LIMIT $2) AS early WHERE early.created_at < $1) \
     ORDER BY seq LIMIT $2)";

/// Forgets the events that are older than [`KEEP`], in small transactions. Returns how many. Safe to run on several
/// replicas at once, and to interrupt.
pub async fn forget(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    bursar_db::in_portions(db, FORGET, (now.saturating_sub(KEEP), latest_beginning(now))).await
}
