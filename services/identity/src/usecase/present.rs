//! What identity can tell of the present: what users are called, who has deleted the account, who was about to, and who is
//! suspended.

use bursar_db::{DbError, Tx};
use bursar_events::{Part, Present};

use super::events;
use crate::store::{suspensions, users};

/// Users in one part.
const PART: i64 = 256;
/// Where the users end and those who were some begin.
const GONE: &str = "gone:";
/// Where those begin who were about to leave and stay.
const STAYED: &str = "stayed:";
/// Where those begin who are suspended.
const SUSPENDED: &str = "suspended:";

/// Identity's present state, as events.
#[derive(Clone, Copy, Debug)]
pub struct Users;

#[tonic::async_trait]
impl Present for Users {
    async fn part(&self, tx: &mut Tx, after: &str) -> Result<Option<Part>, DbError> {
        if let Some(after) = after.strip_prefix(SUSPENDED) {
            let suspended = suspensions::live_after(tx, after, PART).await?;
            let next = suspended.last().map(|(id, _)| format!("{SUSPENDED}{id}"));
            let payloads = suspended.into_iter().map(|(id, version)| events::standing(id, true, version)).collect();
            return Ok(next.map(|next| Part { payloads, next }));
        }
        if let Some(after) = after.strip_prefix(STAYED) {
            let stayed = users::stayed_after(tx, after, PART).await?;
            let next = stayed.last().map_or_else(|| SUSPENDED.to_owned(), |(id, _)| format!("{STAYED}{id}"));
            let payloads = stayed.into_iter().map(|(id, number)| events::staying(id, number)).collect();
            return Ok(Some(Part { payloads, next }));
        }
        if let Some(after) = after.strip_prefix(GONE) {
            let gone = users::deleted_after(tx, after, PART).await?;
            let next = gone.last().map_or_else(|| STAYED.to_owned(), |id| format!("{GONE}{id}"));
            let payloads = gone.into_iter().map(events::deleted).collect();
            return Ok(Some(Part { payloads, next }));
        }
        let named = users::named_after(tx, after, PART).await?;
        let next = named.last().map_or_else(|| GONE.to_owned(), |(id, _)| id.to_string());
        let payloads = named.into_iter().map(|(id, name)| events::updated(id, name)).collect();
        Ok(Some(Part { payloads, next }))
    }

    fn tells_audit(&self) -> bool {
        true
    }
}
