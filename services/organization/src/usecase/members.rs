//! Members: listing, changing roles, removing, leaving.

use bursar_db::Tx;
use bursar_id::{OrganizationId, Role, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Problem, UserCaller};
use bursar_time::Timestamp;
use prost::Message;

use super::{Asked, Begun, Organization, events};
use crate::Error;
use crate::domain::{Refusal, etag, member};
use crate::store::memberships::{self, Ending, MemberRow, Place};

/// Which members to list.
pub struct MembersWanted {
    /// Only those with this role.
    pub role: Option<Role>,
    /// Which page.
    pub page: PageRequest<(Timestamp, UserId)>,
}

/// Whose role to change.
pub struct RoleChange {
    /// The member.
    pub user: UserId,
    /// The new role: Admin or Member.
    pub role: Role,
    /// The state that the change is meant for.
    pub etag: String,
}

impl Organization {
    /// Members in the order they joined.
    pub async fn list_members(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
        wanted: Result<MembersWanted, Problem>,
    ) -> Result<Page<MemberRow>, Error> {
        let mut tx = self.0.db.read().await?;
        self.authorize(&mut tx, caller, id).await?;
        let MembersWanted { role, page } = wanted?;
        let rows = memberships::list(&mut tx, id, role, page.after(), page.limit()).await?;
        Ok(page.page(rows, |row| (row.joined_at, row.user_id))?)
    }

    /// One member.
    pub async fn get_member(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
        user: Result<UserId, Problem>,
    ) -> Result<MemberRow, Error> {
        let mut tx = self.0.db.read().await?;
        self.authorize(&mut tx, caller, id).await?;
        let member = memberships::member(&mut tx, id, user?).await?;
        Ok(member.ok_or(Refusal::MemberNotFound)?)
    }

    /// What somebody is in an organization at this moment.
    pub async fn check_access(&self, id: OrganizationId, user: UserId) -> Result<Place, Error> {
        let mut tx = self.0.db.read().await?;
        Ok(memberships::place(&mut tx, id, user).await?)
    }

    /// Makes a member Admin or Member. The role that somebody has already is no change.
    pub async fn update_member_role<R: Message + Default>(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
        asked: Asked<RoleChange>,
        answer: impl FnOnce(MemberRow) -> R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        self.enter(&mut tx, caller, id).await?;
        let asked = asked?;
        let change = asked.what;
        let row = memberships::member(&mut tx, id, change.user).await?;
        member::change_role(caller.user, change.user, row.as_ref().map(|row| row.role))?;
        let mut row = row.ok_or(Refusal::MemberNotFound)?;
        etag::demand(&change.etag, row.version)?;
        let mut events = Vec::new();
        if row.role != change.role {
            memberships::set_role(&mut tx, id, change.user, change.role, now).await?;
            row.role = change.role;
            row.version += 1;
            events.push(events::member_as(&row));
        }
        let answer = answer(row);
        self.finish(tx, &asked.key, &answer, events).await?;
        Ok(answer)
    }

    /// Ends somebody's membership. Removing oneself is leaving.
    pub async fn remove_member<R: Message + Default>(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
        asked: Asked<UserId>,
        answer: R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        self.enter(&mut tx, caller, id).await?;
        let asked = asked?;
        let why = if asked.what == caller.user { Ending::Left } else { Ending::Removed };
        let event = end(&mut tx, id, asked.what, why, now).await?;
        self.finish(tx, &asked.key, &answer, vec![event]).await?;
        Ok(answer)
    }

    /// Ends the caller's own membership.
    pub async fn leave_organization<R: Message + Default>(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
        asked: Asked<()>,
        answer: R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        self.enter(&mut tx, caller, id).await?;
        let asked = asked?;
        let event = end(&mut tx, id, caller.user, Ending::Left, now).await?;
        self.finish(tx, &asked.key, &answer, vec![event]).await?;
        Ok(answer)
    }
}

/// Ends a membership by the rules; the event that tells of it.
async fn end(tx: &mut Tx, id: OrganizationId, user: UserId, why: Ending, now: Timestamp) -> Result<Payload, Error> {
    let place = memberships::place(tx, id, user).await?;
    member::end(place.role)?;
    let version = memberships::end(tx, id, user, why, now).await?;
    Ok(events::ended(id, user, version.ok_or(Refusal::MemberNotFound)?))
}
