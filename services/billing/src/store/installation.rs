//! What an installation makes once and keeps for ever.

use bursar_db::{Db, DbError, on};
use bursar_secret::{Entropy, Sealer};

use super::{sql, unreadable};
use crate::domain::OperationKey;

/// What the sealed key is bound to.
const PURPOSE: &[u8] = b"billing operation key";

/// The key for operation ids; made and kept, sealed, if there is none yet. Of several replicas that start at once, one
/// makes it.
///
/// # Errors
/// The store fails, or the key was sealed with another master key.
pub(crate) async fn operation_key(db: &Db, seals: &Sealer, entropy: &Entropy) -> Result<OperationKey, DbError> {
    let mut tx = db.begin().await?;
    let hidden = seals.seal(entropy, &entropy.bytes::<32>(), PURPOSE);
    on!(&mut tx, c => sqlx::query(sql::KEEP_OPERATION_KEY).bind(hidden).execute(c).await?.rows_affected());
    tx.commit().await?;
    stored_key(db, seals).await?.ok_or_else(|| unreadable("the installation's key is missing"))
}

/// The same where there is one: for who only reads.
pub(crate) async fn stored_key(db: &Db, seals: &Sealer) -> Result<Option<OperationKey>, DbError> {
    let mut tx = db.read().await?;
    let row: Option<(Vec<u8>,)> = on!(&mut tx, c => sqlx::query_as(sql::OPERATION_KEY).fetch_optional(c).await?);
    let Some((hidden,)) = row else {
        return Ok(None);
    };
    let opened = seals
        .open(&hidden, PURPOSE)
        .map_err(|_| unreadable("the installation's key was sealed with another master key"))?;
    let bytes: [u8; 32] =
        opened.expose().as_slice().try_into().map_err(|_| unreadable("the installation's key has another length"))?;
    Ok(Some(OperationKey::new(bytes)))
}
