//! Members: listing, changing roles, removing, leaving.

use bursar_id::{OrganizationId, Role, UserId};
use bursar_members::Word;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Answer, Asked, Caller, Done, Mutation, Problem};
use bursar_time::Timestamp;

use super::access::role_in;
use super::{Organization, events};
use crate::Error;
use crate::domain::standing::Standing;
use crate::domain::{Refusal, etag, member};
use crate::store::memberships::{self, Ending, MemberRow, PlaceNow};
use crate::store::{nominations, organizations};

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
        caller: &Caller,
        id: OrganizationId,
        wanted: Result<MembersWanted, Problem>,
    ) -> Result<Page<MemberRow>, Error> {
        let mut tx = self.0.db.read().await?;
        self.look_at(&mut tx, caller, id).await?;
        let MembersWanted { role, page } = wanted?;
        let rows = memberships::list(&mut tx, id, role, page.after(), page.limit()).await?;
        Ok(page.page(rows, |row| (row.joined_at, row.user_id))?)
    }

    /// One member.
    pub async fn get_member(
        &self,
        caller: &Caller,
        id: OrganizationId,
        user: Result<UserId, Problem>,
    ) -> Result<MemberRow, Error> {
        let mut tx = self.0.db.read().await?;
        self.look_at(&mut tx, caller, id).await?;
        let member = memberships::member(&mut tx, id, user?).await?;
        Ok(member.ok_or(Refusal::MemberNotFound)?)
    }

    /// A member as of now, if it is one: for whoever was admitted to be told of it again.
    pub async fn member_as_is(&self, id: OrganizationId, user: UserId) -> Result<Option<MemberRow>, Error> {
        Ok(memberships::member(&mut self.0.db.read().await?, id, user).await?)
    }

    /// What somebody is in an organization at this moment, nobody in one that is not open, and nobody anywhere who is
    /// suspended; and for those who have a place there, where it is in its life.
    pub async fn check_access(&self, id: OrganizationId, user: UserId) -> Result<(Word, Option<Standing>), Error> {
        let mut tx = self.0.db.read().await?;
        let PlaceNow { incarnation, place, suspended } = memberships::place_now(&mut tx, id, user).await?;
        let standing = place.role.map(|_| place.standing).filter(|standing| !matches!(standing, Standing::Purged(_)));
        let role = place.open().ok().filter(|_| !suspended);
        // That it is closed, or the person is suspended, is no change of a membership: whoever remembers words must not
        // remember this one.
        let version = if role == place.role { place.version } else { 0 };
        Ok((Word { role, incarnation, version }, standing))
    }

    /// Makes a member Admin or Member. The role that somebody has already is no change.
    pub async fn update_member_role(
        &self,
        id: OrganizationId,
        asked: &Asked<RoleChange>,
    ) -> Result<Answer<MemberRow>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.change_role(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn change_role(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<RoleChange>,
    ) -> Result<Done<MemberRow, Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller, id).await?;
        let Some(change) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&change.user);
        self.enter(m.tx(), caller, id).await?;
        let row = memberships::member(m.tx(), id, change.user).await?;
        member::change_role(caller.user, change.user, row.as_ref().map(|row| row.role))?;
        let mut row = row.ok_or(Refusal::MemberNotFound)?;
        etag::demand(&change.etag, row.version)?;
        let mut events = Vec::new();
        if row.role != change.role {
            let now = m.now();
            memberships::set_role(m.tx(), id, change.user, change.role, now).await?;
            row.role = change.role;
            row.version += 1;
            events.push(events::member_as(&row));
        }
        Ok(Done::New(row, events))
    }

    /// Ends somebody's membership. Removing oneself is leaving.
    pub async fn remove_member(&self, id: OrganizationId, asked: &Asked<UserId>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.remove(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn remove(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<UserId>,
    ) -> Result<Done<(), Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller, id).await?;
        let Some(&user) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&user);
        self.enter(m.tx(), caller, id).await?;
        let why = if user == caller.user { Ending::Left } else { Ending::Removed };
        Ok(Done::New((), vec![end(m, id, user, why).await?]))
    }

    /// Ends the caller's own membership.
    pub async fn leave_organization(&self, id: OrganizationId, asked: &Asked<()>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.leave(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn leave(&self, m: &mut Mutation, id: OrganizationId, asked: &Asked<()>) -> Result<Done<(), Payload>, Error> {
        let caller = asked.user()?;
        self.admit_to_go(m, caller, id).await?;
        let Some(()) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&caller.user);
        organizations::by_id_locked(m.tx(), id).await?.ok_or(Refusal::NotAMember)?;
        role_in(m.tx(), caller, id).await?;
        Ok(Done::New((), vec![end(m, id, caller.user, Ending::Left).await?]))
    }
}

/// Ends a membership by the rules; the event that tells of it.
async fn end(m: &mut Mutation, id: OrganizationId, user: UserId, why: Ending) -> Result<Payload, Error> {
    let now = m.now();
    let place = memberships::place(m.tx(), id, user).await?;
    member::end(place.role)?;
    let version = memberships::end(m.tx(), id, user, why, now).await?;
    nominations::forget_nominee(m.tx(), id, user).await?;
    Ok(events::ended(id, user, version.ok_or(Refusal::MemberNotFound)?))
}
