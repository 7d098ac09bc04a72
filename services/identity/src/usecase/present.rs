//! What identity can tell of the present: what users are called, and who has deleted the account.

use bursar_db::{DbError, Tx};
use bursar_events::{Part, Present};

use super::events;
use crate::store::users;

/// Users in one part.
const PART: i64 = 256;
/// Where the users end and those who were some begin.
const GONE: &str = "gone:";

/// Identity's present state, as events.
#[derive(Clone, Copy, Debug)]
pub struct Users;

#[tonic::async_trait]
impl Present for Users {
    async fn part(&self, tx: &mut Tx, after: &str) -> Result<Option<Part>, DbError> {
        if let Some(after) = after.strip_prefix(GONE) {
            let gone = users::deleted_after(tx, after, PART).await?;
            let next = gone.last().map(|id| format!("{GONE}{id}"));
            let payloads = gone.into_iter().map(events::deleted).collect();
            return Ok(next.map(|next| Part { payloads, next }));
        }
        let named = users::named_after(tx, after, PART).await?;
        let next = named.last().map_or_else(|| GONE.to_owned(), |(id, _)| id.to_string());
        let payloads = named.into_iter().map(|(id, name)| events::updated(id, name)).collect();
        Ok(Some(Part { payloads, next }))
    }
}
