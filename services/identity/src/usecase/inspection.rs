//! What the check of all stores reads of identity's: who is here, who was, and who is suspended. It changes nothing.

use std::collections::BTreeSet;

use bursar_db::{DbError, Tx};
use bursar_id::UserId;

use crate::store::{suspensions, users};

/// Those of some users who have an account.
pub async fn living(tx: &mut Tx, ids: &[UserId]) -> Result<BTreeSet<UserId>, DbError> {
    Ok(users::by_ids(tx, ids).await?.into_iter().map(|row| row.id).collect())
}

/// Who has deleted the account, after the given one, in the order of the ids.
pub async fn deleted_after(tx: &mut Tx, after: Option<UserId>, limit: i64) -> Result<Vec<UserId>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    users::deleted_after(tx, &after, limit).await
}

/// Who is suspended, after the given one, with the version under which that was told, in the order of the ids.
pub async fn suspended_after(tx: &mut Tx, after: Option<UserId>, limit: i64) -> Result<Vec<(UserId, u64)>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = suspensions::live_after(tx, &after, limit).await?;
    Ok(rows.into_iter().map(|(id, version)| (id, version.unsigned_abs())).collect())
}
