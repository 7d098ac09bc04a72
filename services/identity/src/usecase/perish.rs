//! Accounts whose address nobody has proven end after a week: an address cannot be held without reading its mail.

use bursar_members::words;
use bursar_time::Span;

use super::{Identity, events};
use crate::Error;
use crate::store::users;

/// How long an address may stay unproven (product.md, "Identity").
const UNPROVEN: Span = Span::from_days(7);
/// Accounts that one transaction ends at most.
const BATCH: i64 = 20;

impl Identity {
    /// Ends some of the accounts that have stayed unproven for too long, and tells the others; says whether there may be
    /// more. Safe on several replicas at once.
    pub async fn end_unproven(&self) -> Result<bool, Error> {
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        let perished = users::perished(&mut tx, now.saturating_sub(UNPROVEN), BATCH).await?;
        let mut told = Vec::with_capacity(perished.len());
        for user in &perished {
            users::delete(&mut tx, *user).await?;
            users::remember_deleted(&mut tx, *user, now).await?;
            words::forget(&mut tx, *user).await?;
            told.push(events::deleted(*user));
        }
        let ended = told.len();
        self.0.outbox.commit(tx, told).await?;
        if ended > 0 {
            tracing::info!(accounts = ended, "ended accounts whose address nobody has proven");
        }
        Ok(i64::try_from(ended) == Ok(BATCH))
    }
}
