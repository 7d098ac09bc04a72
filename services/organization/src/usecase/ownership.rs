//! Handing an organization over.

use bursar_id::{OrganizationId, Role, UserId};
use bursar_rpc::UserCaller;
use prost::Message;

use super::{Asked, Begun, Organization, events};
use crate::Error;
use crate::domain::{Refusal, member};
use crate::store::memberships;
use crate::store::organizations::{self, OrganizationOfUser};

impl Organization {
    /// Makes a member the owner and the caller an Admin, in one commit. At no committed instant does the
    /// organization have no owner or two: the schema itself would refuse that.
    pub async fn transfer_ownership<R: Message + Default>(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
        asked: Asked<UserId>,
        answer: impl FnOnce(OrganizationOfUser) -> R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        let (mut organization, _) = self.enter(&mut tx, caller, id).await?;
        let asked = asked?;
        let (from, to) = (caller.user, asked.what);
        let place = memberships::place(&mut tx, id, to).await?;
        member::transfer(from, to, place.role)?;
        // In this order: there is never a second owner, not even inside the transaction.
        memberships::set_role(&mut tx, id, from, Role::Admin, now).await?;
        memberships::set_role(&mut tx, id, to, Role::Owner, now).await?;
        organizations::set_owner(&mut tx, id, to).await?;
        let mut events = Vec::new();
        for user in [from, to] {
            let row = memberships::member(&mut tx, id, user).await?;
            events.push(events::member_as(&row.ok_or(Refusal::MemberNotFound)?));
        }
        organization.owner_user_id = to;
        organization.version += 1;
        let answer = answer(OrganizationOfUser { organization, role: Role::Admin });
        self.finish(tx, &asked.key, &answer, events).await?;
        Ok(answer)
    }
}
