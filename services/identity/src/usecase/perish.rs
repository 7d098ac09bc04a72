//! Accounts whose address nobody has proven end after a week: an address cannot be held without reading its mail.

use bursar_time::{Span, furthest_end, latest_beginning};

use super::Identity;
use crate::Error;
use crate::config::LONGEST_LINK;
use crate::store::{users, verifications};

/// How long an address may stay unproven (product.md, "Identity").
const UNPROVEN: Span = Span::from_days(7);
/// Accounts that one call ends at most.
const BATCH: i64 = 20;

impl Identity {
    /// Ends some of the accounts that have stayed unproven for too long, as every account ends (`departures.rs`), and says
    /// whether there may be more. While a link that was mailed for the address can be followed, its account lives on. Safe
    /// on several replicas at once.
    pub async fn end_unproven(&self) -> Result<bool, Error> {
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        // A link that a clock dated which was far ahead cannot be followed (`verify_email.rs`), so it keeps no account either.
        let links = (now, furthest_end(LONGEST_LINK, now));
        let signed_up = (now.saturating_sub(UNPROVEN), latest_beginning(now));
        let perished = users::perished(&mut tx, signed_up, links, BATCH).await?;
        let mut leaving = Vec::with_capacity(perished.len());
        for user in &perished {
            // Again, now that nobody can be mailed another one: the list may have been made before its lock.
            if !verifications::is_live(&mut tx, user.id, links).await? {
                leaving.push(self.leave(&mut tx, user, now).await?);
            }
        }
        tx.commit().await?;
        let mut ended = 0;
        for account in leaving {
            match self.finish_departure(account).await {
                Ok(gone) => ended += i64::from(gone),
                // Its job tries again.
                Err(error) => tracing::warn!(%error, "an account that nobody has proven has not ended yet"),
            }
        }
        if ended > 0 {
            tracing::info!(accounts = ended, "ended accounts whose address nobody has proven");
        }
        // Not by how many there were: those that stay are there again.
        Ok(ended == BATCH)
    }
}
