//! What may be done so often a day (within any 24 hours), counted by a subject: whose doing it is, or whom it reaches.

use bursar_db::{DbError, Tx};
use bursar_time::{Span, Timestamp};

use crate::store::mail_counts;

/// How far back is counted.
const DAY: Span = Span::DAY;

/// Counts one more about a subject; how long to wait when it would be one too many, and then nothing is counted. The
/// subject stays locked until the transaction ends.
pub(super) async fn ration(tx: &mut Tx, subject: &str, most: u32, now: Timestamp) -> Result<Option<Span>, DbError> {
    let mut done = mail_counts::sent_after(tx, subject, now.saturating_sub(DAY), now).await?;
    if done.len() >= most as usize {
        let first = done.iter().min().copied().unwrap_or(now);
        return Ok(Some(first.saturating_add(DAY).since(now)));
    }
    done.push(now);
    mail_counts::set(tx, subject, &done, now).await?;
    Ok(None)
}
