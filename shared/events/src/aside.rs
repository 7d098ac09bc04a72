//! Events that could not be read: set aside, so that one of them stops neither the feed nor anybody but its owner.
//!
//! An event that is set aside means that what this service knows of the event's owner may be wrong: that owner's
//! requests are to be answered as if the feed were stale. A snapshot, which tells the whole state anew, takes back what
//! stood here before it.

use bursar_db::{DbError, Tx, on};
use bursar_proto::event::v1::Event;
use bursar_time::Timestamp;
use prost::Message as _;

/// The most that are listed at once.
const LISTED: i64 = 1_000;

const PUT: &str = "INSERT INTO events_set_aside (source, id, owner, type, problem, event, set_aside_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (source, id) DO NOTHING";
const CLEAR: &str = "DELETE FROM events_set_aside WHERE source = $1";
const LIST: &str = "SELECT id, owner, type, problem, set_aside_at FROM events_set_aside WHERE source = $1 \
    ORDER BY set_aside_at, id LIMIT $2";
const OF_OWNER: &str = "SELECT count(*) FROM events_set_aside WHERE source = $1 AND owner IN ($2, '')";

/// An event that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SetAside {
    /// The event's id.
    pub id: String,
    /// To whom it belongs, as its envelope said: the text of an owner id, or empty for the whole deployment.
    pub owner: String,
    /// Its type.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// What was wrong with it.
    pub problem: String,
    /// When it was set aside.
    pub set_aside_at: Timestamp,
}

/// The events of a source that are set aside, the oldest first, at most 1,000.
pub async fn list(tx: &mut Tx, source: &str) -> Result<Vec<SetAside>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(LIST).bind(source).bind(LISTED).fetch_all(c).await?))
}

/// Whether some event of a source about this owner, or about the whole deployment, is set aside: what is known of the
/// owner may be wrong then.
pub async fn is_any(tx: &mut Tx, source: &str, owner: &str) -> Result<bool, DbError> {
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(OF_OWNER).bind(source).bind(owner).fetch_one(c).await?);
    Ok(count > 0)
}

/// Sets an event aside.
pub(crate) async fn put(
    tx: &mut Tx,
    source: &str,
    event: &Event,
    problem: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(PUT)
        .bind(source)
        .bind(&event.id)
        .bind(&event.owner)
        .bind(&event.r#type)
        .bind(problem)
        .bind(event.encode_to_vec())
        .bind(now)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Takes back everything that was set aside: the state was told anew.
pub(crate) async fn clear(tx: &mut Tx, source: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(CLEAR).bind(source).execute(c).await?.rows_affected());
    Ok(())
}
