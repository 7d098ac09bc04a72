//! What organization tells, written where identity remembers it. Each runs in the transaction that also moves
//! the consumer's cursor.

use bursar_db::{DbError, Tx};
use bursar_id::{OrganizationId, OwnerId, SessionId, UserId};
use bursar_rpc::Branch;

use crate::domain::session::goes_into;
use crate::store::{branches, sessions};

/// Moves the branch that created an organization into it, and no other: whoever has switched elsewhere since did so on a
/// branch of its own, and one that has created another since stays there ([`goes_into`]). A session that has ended
/// meanwhile stays so. An older program does not tell the branch; then it is the session's only one, or none.
pub async fn organization_created(
    tx: &mut Tx,
    organization: OrganizationId,
    owner: UserId,
    session: SessionId,
    branch: Option<Branch>,
) -> Result<(), DbError> {
    // A refresh that is under way makes a branch's next token: nobody moves it meanwhile.
    sessions::by_id_locked(tx, session).await?;
    let branch = branch.as_ref().map(|branch| branch.as_bytes().as_slice());
    if let Some(branch) = branch
        && !goes_into(organization, branches::context(tx, session, branch).await?)
    {
        return Ok(());
    }
    branches::enter(tx, session, owner, branch, OwnerId::Organization(organization)).await
}
