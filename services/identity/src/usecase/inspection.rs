//! What the check of all stores reads of identity's: who is here, and who was. It changes nothing.

use std::collections::BTreeSet;

use bursar_db::{DbError, Tx};
use bursar_id::UserId;

use crate::store::users;

/// Those of some users who have an account.
pub async fn living(tx: &mut Tx, ids: &[UserId]) -> Result<BTreeSet<UserId>, DbError> {
    Ok(users::by_ids(tx, ids).await?.into_iter().map(|row| row.id).collect())
}

/// Who has deleted the account, after the given one, in the order of the ids.
pub async fn deleted_after(tx: &mut Tx, after: Option<UserId>, limit: i64) -> Result<Vec<UserId>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    users::deleted_after(tx, &after, limit).await
}
