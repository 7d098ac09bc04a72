//! Handing an organization over.

use bursar_id::{OrganizationId, Role, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation};

use super::{Organization, events};
use crate::Error;
use crate::domain::{Refusal, member};
use crate::store::organizations::{self, OrganizationOfUser};
use crate::store::{memberships, seats, users};

impl Organization {
    /// Makes a member the owner and the caller an Admin, in one commit. At no committed instant does the
    /// organization have no owner or two: the schema itself would refuse that.
    pub async fn transfer_ownership(
        &self,
        id: OrganizationId,
        asked: &Asked<UserId>,
    ) -> Result<Answer<OrganizationOfUser>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.transfer(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn transfer(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<UserId>,
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller, id).await?;
        let Some(&to) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&to);
        // Before the organization, as everywhere: who is leaving becomes no owner, and who becomes one does not leave.
        let person = users::lock_known(m.tx(), to).await?;
        let (mut organization, _) = self.enter(m.tx(), caller, id).await?;
        let (from, now) = (caller.user, m.now());
        let place = memberships::place(m.tx(), id, to).await?;
        member::transfer(from, to, place.role)?;
        person.unwrap_or_default().standing().demand_to_stay()?;
        // In this order: there is never a second owner, not even inside the transaction.
        memberships::set_role(m.tx(), id, from, Role::Admin, now).await?;
        memberships::set_role(m.tx(), id, to, Role::Owner, now).await?;
        organizations::set_owner(m.tx(), id, to).await?;
        let mut events = Vec::new();
        for user in [from, to] {
            let row = memberships::member(m.tx(), id, user).await?;
            events.push(events::member_as(&row.ok_or(Refusal::MemberNotFound)?));
        }
        organization.owner_user_id = to;
        organization.version += 1;
        let seating = seats::seating(m.tx(), id, now).await?;
        Ok(Done::New(OrganizationOfUser { organization, role: Role::Admin, seating }, events))
    }
}
