//! Who was an organization's owner and is it no more: noted by the database whichever program hears of it, until what follows from
//! it is done.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, UserId, Uuid};

use super::{keys, unreadable};

/// Every owner comes after no bytes.
const NOTED: &str = "SELECT owner, user_id FROM former_owners WHERE owner > $1 ORDER BY owner, user_id LIMIT $2";
const DONE: &str = "DELETE FROM former_owners WHERE owner = $1 AND user_id = $2";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 2] = [("NOTED", NOTED), ("DONE", DONE)];

/// Up to `limit` of them, in the order of their bytes.
pub(crate) async fn noted(tx: &mut Tx, limit: i64) -> Result<Vec<(OwnerId, UserId)>, DbError> {
    let first: &[u8] = &[];
    let rows: Vec<(Vec<u8>, Vec<u8>)> = on!(tx, c => sqlx::query_as(NOTED).bind(first).bind(limit).fetch_all(c).await?);
    rows.iter().map(read).collect()
}

fn read((owner, user): &(Vec<u8>, Vec<u8>)) -> Result<(OwnerId, UserId), DbError> {
    let user = Uuid::from_slice(user).map_err(unreadable)?;
    Ok((keys::read_owner(owner)?, UserId::from_uuid(user)))
}

/// What follows from it is done.
pub(crate) async fn done(tx: &mut Tx, (owner, user): (OwnerId, UserId)) -> Result<(), DbError> {
    let (owner, user) = (keys::owner(owner), user.as_uuid());
    on!(tx, c => sqlx::query(DONE)
        .bind(owner).bind(user.as_bytes().as_slice())
        .execute(c).await?.rows_affected());
    Ok(())
}
