//! What organization tells, written where identity remembers it. Each runs in the transaction that also moves
//! the consumer's cursor.

use bursar_db::{DbError, Tx};
use bursar_id::{OrganizationId, OwnerId, SessionId, UserId};

use crate::store::sessions;

/// Moves the session that created an organization into it. A session that has ended meanwhile stays so.
pub async fn organization_created(
    tx: &mut Tx,
    organization: OrganizationId,
    owner: UserId,
    session: SessionId,
) -> Result<(), DbError> {
    sessions::set_context(tx, session, owner, OwnerId::Organization(organization)).await?;
    Ok(())
}
