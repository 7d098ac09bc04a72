//! Organizations whose owner deleted the account. There should be none: whoever leaves comes to own nothing any more
//! (`departures.rs`). What an older program, a backup or a hand in the database makes of that is found here, shown, and
//! mended by an operator, because no rule says who should follow.

use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Asked, Call, Caller, Done, Mutation, Permission, Problem};

use super::access::demand_active;
use super::departures::{DEPARTURE, Departure};
use super::mails::{self, NewOwnerMail};
use super::{Organization, events};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::departure::Standing;
use crate::store::memberships::{self, Ending};
use crate::store::{nominations, organizations, users};

/// What the audit log calls it.
const MEND: &str = "ownerless mend";

/// Who shall own an organization that has lost its owner.
#[derive(Clone, Copy, Debug)]
pub struct Mending {
    /// The organization.
    pub organization: OrganizationId,
    /// One of its members.
    pub user: UserId,
}

impl Organization {
    /// Up to `limit` organizations whose owner is gone, in the order of their ids, each with that owner.
    pub async fn ownerless(&self, limit: i64) -> Result<Vec<(OrganizationId, UserId)>, Error> {
        let mut tx = self.0.db.read().await?;
        Ok(organizations::ownerless(&mut tx, limit).await?)
    }

    /// Makes a member the owner of an organization whose owner is gone, as the operator's doing: audited, told by
    /// event, and by mail to the new owner. Refused for an organization with a living owner, and for somebody who is no member, is suspended, is
    /// leaving, or may be: something that identity told of that could not be read here.
    pub async fn mend(&self, mending: Mending) -> Result<(), Error> {
        let call = Call::new(Caller::operator(Permission::Operate), MEND);
        let asked = Asked::read(call, "", &(), |(), _| Some(mending));
        let mut m = self.0.mutations.begin(&asked).await?;
        let done = self.name_owner(&mut m, mending).await;
        self.0.mutations.end(m, done).await?;
        Ok(())
    }

    async fn name_owner(&self, m: &mut Mutation, mending: Mending) -> Result<Done<(), Payload>, Error> {
        let Mending { organization: id, user } = mending;
        let now = m.now();
        m.about(&user);
        let person = users::lock_known(m.tx(), user).await?;
        let row = organizations::by_id_locked(m.tx(), id).await?;
        let row = row.ok_or_else(|| Problem::not_found("organization"))?;
        // What was deleted goes its way without an owner; nobody needs to follow.
        if !row.life.standing.is_owned() {
            return Err(Problem::not_found("organization").into());
        }
        let gone = row.owner_user_id;
        m.admit(OwnerId::Organization(id));
        if users::person(m.tx(), gone).await?.standing() != Standing::Gone {
            return Err(Refusal::AlreadyOwned.into());
        }
        memberships::place(m.tx(), id, user).await?.role.ok_or(Refusal::MemberNotFound)?;
        person.unwrap_or_default().standing().demand_to_stay()?;
        self.demand_certain_in_store(m.tx(), user).await?;
        // Or it would have an owner again who does nothing for it.
        demand_active(m.tx(), user).await?;
        // In this order: there is never a second owner, not even inside the transaction.
        let ended = memberships::end(m.tx(), id, gone, Ending::Deleted, now).await?;
        memberships::set_role(m.tx(), id, user, Role::Owner, now).await?;
        organizations::set_owner(m.tx(), id, user).await?;
        nominations::forget(m.tx(), id).await?;
        // What the one before was responsible for goes to the new one.
        let departure = Departure { user: gone };
        self.0.jobs.enqueue(m.tx(), DEPARTURE, &departure, now, Some(&gone.to_string())).await?;
        let member = memberships::member(m.tx(), id, user).await?.ok_or(Refusal::MemberNotFound)?;
        let about = NewOwnerMail { organization: &row, owner: &member.email, former: None };
        for mail in mails::new_owner(&about, &self.0.config) {
            bursar_mail::queue(&self.0.jobs, m.tx(), now, &mail, OwnerId::Organization(id)).await?;
        }
        let ended = ended.map(|version| events::ended(id, gone, version));
        Ok(Done::New((), ended.into_iter().chain([events::member_as(&member)]).collect()))
    }
}
