//! Mails to those who manage an organization's billing, when billing tells that so much of a limit or of the allowance is used, or
//! that the automatic top-up was switched off.

use bursar_db::{DbError, Tx};
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_members::{Policy, policies};
use bursar_notices::{Addressee, Alert, LimitMail, More, Reader, Whose, allowance_alert, limit_alert, top_up_stopped};
use bursar_proto::event::v1::{AllowanceAlert, LimitAlert, TopUpStopped};
use bursar_rpc::Permission;
use bursar_rpc::convert::optional_timestamp;
use bursar_time::Timestamp;

use super::Organization;
use super::rationing::{Ration, rationed};
use crate::store::memberships::MemberRow;
use crate::store::organizations::OrganizationRow;
use crate::store::{memberships, organizations};

/// How many alerts of one limit at one percentage are mailed a day. The events go on. Each limit and each percentage has its
/// own, so that nobody can use up what another alert needs by letting use go up and down.
const PER_DAY: u32 = 20;

/// How many of these may be about one member: nor can a member use up what the others' alerts need.
const PER_MEMBER: u32 = 4;

/// How many alerts of one organization are mailed a day, whatever they are about: a limit that is made anew has counts of its own.
const PER_ORGANIZATION: u32 = 200;

/// How many alerts of an organization's allowance are mailed a day, whatever the percentage, of each of which as many are as of a
/// limit's: more than members can have told in two periods (24 each). Managers who choose others may be told again.
const ALLOWANCES_PER_DAY: u32 = 60;

/// How often a day somebody is told that an organization's top-up was switched off: it is switched on again by hand each time.
const STOPS_PER_DAY: u32 = 20;

/// How many Admins are told: those who joined first.
const ADMINS: i64 = 20;

impl Organization {
    /// Mails an alert, in the transaction that takes note of its event: to the owner, and to the Admins if they may manage
    /// billing; to all of them or to nobody. Of a window that is over nobody needs to hear. Whose use it is and how much is said
    /// to those alone who may see it by the policy.
    pub(crate) async fn mail_alert(&self, tx: &mut Tx, id: OrganizationId, alert: &LimitAlert) -> Result<(), DbError> {
        let now = self.now();
        let Some(percent) = alert.reached(now) else { return Ok(()) };
        // Nothing is read for those that nobody is told of.
        let Some(left) = left_today(tx, id, (alert, percent), now).await? else { return Ok(()) };
        let Some(organization) = to_be_told(tx, id).await? else { return Ok(()) };
        let (managers, policy) = who_manage_billing(tx, id).await?;
        let whose: Option<UserId> = alert.member.parse().ok();
        let member = match whose {
            Some(user) => memberships::member(tx, id, user).await?,
            None => None,
        };
        let member = member.as_ref().map(|member| member.display_name.as_str());
        for manager in managers {
            // Where no policy is known it is hidden. The own use is nobody's secret from oneself.
            let sees = whose == Some(manager.user_id)
                || policy.is_some_and(|policy| policy.permits(manager.role, Permission::ViewUsage));
            let about = LimitMail { alert, member, sees, more: more(left) };
            for addressee in addressees([manager], &organization.name) {
                let mail = limit_alert(self.reader(&addressee), &about);
                bursar_mail::queue_bulk(&self.0.jobs, tx, now, &mail, OwnerId::Organization(id)).await?;
            }
        }
        Ok(())
    }

    /// Mails that so much of the period's allowance is used, in the transaction that takes note of its event: to those to whom
    /// alerts of limits are mailed, who see the balance under every policy. Of a period that is over nobody needs to hear.
    pub(crate) async fn mail_allowance_alert(
        &self,
        tx: &mut Tx,
        id: OrganizationId,
        alert: &AllowanceAlert,
    ) -> Result<(), DbError> {
        let now = self.now();
        let Some(percent) = alert.reached(now) else { return Ok(()) };
        let all = format!("allowance-alerts:{id}");
        let subjects = [(format!("{all}:{percent}"), PER_DAY), (all, ALLOWANCES_PER_DAY)];
        let Ration::Left(left) = rationed(tx, &subjects, now).await? else { return Ok(()) };
        let Some(organization) = to_be_told(tx, id).await? else { return Ok(()) };
        let (managers, _) = who_manage_billing(tx, id).await?;
        for addressee in addressees(managers, &organization.name) {
            let mail = allowance_alert(self.reader(&addressee), alert, more(left));
            bursar_mail::queue_bulk(&self.0.jobs, tx, now, &mail, OwnerId::Organization(id)).await?;
        }
        Ok(())
    }

    /// Mails that an organization's top-up was switched off, in the transaction that takes note of its event: to whoever had
    /// switched it on, or to the owner where that person is no member any more.
    pub(crate) async fn mail_stopped_top_up(
        &self,
        tx: &mut Tx,
        id: OrganizationId,
        stopped: &TopUpStopped,
    ) -> Result<(), DbError> {
        let now = self.now();
        // Its event may be told again. One that does not say when it was is taken for another one.
        let at = optional_timestamp(stopped.at).ok().flatten();
        let this = at.map(|at| (format!("top-up-stopped:{id}:{}", at.as_micros()), 1));
        let all = (format!("top-ups-stopped:{id}"), STOPS_PER_DAY);
        let subjects: Vec<_> = this.into_iter().chain([all]).collect();
        if matches!(rationed(tx, &subjects, now).await?, Ration::Over(_)) {
            return Ok(());
        }
        let Some(organization) = to_be_told(tx, id).await? else { return Ok(()) };
        let set_by: Option<UserId> = stopped.set_by.parse().ok();
        let set_by = match set_by {
            Some(user) => memberships::member(tx, id, user).await?,
            None => None,
        };
        let whom = match set_by {
            Some(member) => Some(member),
            None => memberships::list(tx, id, Some(Role::Owner), None, 1).await?.pop(),
        };
        let Some(addressee) = addressees(whom, &organization.name).pop() else { return Ok(()) };
        let mail = top_up_stopped(self.reader(&addressee), stopped);
        bursar_mail::queue(&self.0.jobs, tx, now, &mail, OwnerId::Organization(id)).await
    }

    fn reader<'a>(&'a self, addressee: &'a Addressee) -> Reader<'a> {
        let config = &self.0.config;
        Reader { addressee, product: &config.product, unit: config.policies.credit_unit }
    }
}

/// The organization, unless it is gone or being erased: then what waits to be mailed is forgotten, too. It is locked, so that a
/// purge which begins meanwhile finds what is queued.
async fn to_be_told(tx: &mut Tx, id: OrganizationId) -> Result<Option<OrganizationRow>, DbError> {
    let organization = organizations::by_id_locked(tx, id).await?;
    Ok(organization.filter(|organization| !organization.life.standing.is_erased()))
}

/// Whether more alerts are mailed today of which so many may be.
fn more(left: u32) -> More {
    if left == 0 { More::Stopped } else { More::Mailed }
}

/// Those of these members who can be reached, as readers of what is about their organization.
fn addressees(members: impl IntoIterator<Item = MemberRow>, organization: &str) -> Vec<Addressee> {
    let reachable = members.into_iter().filter(|member| !member.email.is_empty());
    reachable.map(|member| Addressee { to: member.email, whose: Whose::Named(organization.to_owned()) }).collect()
}

/// The owner, and the Admins if they may manage billing by the policy; and that, where one is known.
async fn who_manage_billing(tx: &mut Tx, id: OrganizationId) -> Result<(Vec<MemberRow>, Option<Policy>), DbError> {
    let mut managers = memberships::list(tx, id, Some(Role::Owner), None, 1).await?;
    // Where no policy is known the owner manages billing all the same.
    let policy = policies::of(tx, &[OwnerId::Organization(id)]).await?.of(OwnerId::Organization(id));
    if policy.is_some_and(|policy| policy.permits(Role::Admin, Permission::ManageBilling)) {
        managers.extend(memberships::list(tx, id, Some(Role::Admin), None, ADMINS).await?);
    }
    Ok((managers, policy))
}

/// How many more alerts like this may be mailed today, if this one may.
async fn left_today(
    tx: &mut Tx,
    id: OrganizationId,
    (alert, percent): (&LimitAlert, u32),
    now: Timestamp,
) -> Result<Option<u32>, DbError> {
    let all = format!("limit-alerts:{id}");
    let like_it = format!("{all}:{}:{percent}", alert.limit_id);
    let one = (!alert.member.is_empty()).then(|| (format!("{like_it}:{}", alert.member), PER_MEMBER));
    let subjects: Vec<_> = one.into_iter().chain([(like_it, PER_DAY), (all, PER_ORGANIZATION)]).collect();
    Ok(match rationed(tx, &subjects, now).await? {
        Ration::Left(left) => Some(left),
        Ration::Over(_) => None,
    })
}
