//! Policies: what holds for an organization, what its owner sets, and what the deployment has.

use bursar_db::Tx;
use bursar_id::{OrganizationId, OwnerId};
use bursar_members::{
    AdminBilling, BalanceVisibility, OwnPolicy, Policy, SecondFactor, Transfer, UsageVisibility, policies,
};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Caller, Done, Mutation};

use super::{Organization, events};
use crate::Error;
use crate::domain::Refusal;

/// They are told before the first request is served.
const UNTOLD: Error = Error::Internal("the deployment's policies were never told");

/// What to change about an organization's policies: `None` stays, `Some(None)` follows the deployment again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// What Admins may do about billing.
    pub admin_billing: Option<Option<AdminBilling>>,
    /// Who sees what each member used, and the ledger.
    pub usage_visibility: Option<Option<UsageVisibility>>,
    /// Who sees the balance.
    pub balance_visibility: Option<Option<BalanceVisibility>>,
    /// Whether members must have proven a second factor.
    pub second_factor: Option<Option<SecondFactor>>,
    /// How the organization gets another owner.
    pub transfer: Option<Option<Transfer>>,
}

impl PolicyChange {
    fn of(self, own: OwnPolicy) -> OwnPolicy {
        OwnPolicy {
            admin_billing: self.admin_billing.unwrap_or(own.admin_billing),
            usage_visibility: self.usage_visibility.unwrap_or(own.usage_visibility),
            balance_visibility: self.balance_visibility.unwrap_or(own.balance_visibility),
            second_factor: self.second_factor.unwrap_or(own.second_factor),
            transfer: self.transfer.unwrap_or(own.transfer),
        }
    }
}

/// The policies of an organization: what holds, and what it has set itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyView {
    /// What holds.
    pub policy: Policy,
    /// What it has set.
    pub own: OwnPolicy,
}

impl Organization {
    /// The policies of an organization of the caller's, or for a service of any.
    pub async fn get_policy(&self, caller: &Caller, id: OrganizationId) -> Result<PolicyView, Error> {
        let mut tx = self.0.db.read().await?;
        self.look_at(&mut tx, caller, id).await?;
        self.policy_view(&mut tx, id).await
    }

    /// Sets policies of an organization's own, or gives them back to the deployment. What is the same already is no
    /// change.
    pub async fn update_policy(
        &self,
        id: OrganizationId,
        asked: &Asked<PolicyChange>,
    ) -> Result<Answer<PolicyView>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.change_policy(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn change_policy(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<PolicyChange>,
    ) -> Result<Done<PolicyView, Payload>, Error> {
        let caller = asked.user()?;
        m.about(&id);
        self.admit(m, caller, id).await?;
        let Some(&change) = m.open(asked).await? else { return Ok(Done::Replay) };
        self.enter(m.tx(), caller, id).await?;
        let owner = OwnerId::Organization(id);
        let told = policies::of(m.tx(), &[owner]).await?;
        let own = change.of(told.own(owner));
        let policy = own.over(&told.deployment().ok_or(UNTOLD)?);
        // Whoever could not come in any more does not close the door.
        if !policy.admits(caller) {
            return Err(Refusal::SecondFactorRequired.into());
        }
        let version = policies::decide(m.tx(), id, &own).await?;
        let events = version.map(|version| events::policy(id, own, version));
        Ok(Done::New(PolicyView { policy, own }, events.into_iter().collect()))
    }

    /// Tells the others what the deployment has, unless that was told before: when the settings are new or others than
    /// they were. Called before the first request is served.
    pub async fn tell_deployment_policy(&self) -> Result<(), Error> {
        let policy = self.0.config.policies;
        let mut tx = self.0.db.begin().await?;
        let version = policies::decide_deployment(&mut tx, &policy).await?;
        let events = version.map(|version| events::deployment_policy(policy, version));
        Ok(self.0.outbox.commit(tx, events.into_iter().collect()).await?)
    }

    /// The policies that hold for an organization.
    pub(super) async fn policy(&self, tx: &mut Tx, id: OrganizationId) -> Result<Policy, Error> {
        Ok(self.policy_view(tx, id).await?.policy)
    }

    /// Demands that an owner may have what belongs to a workspace: in a deployment without personal ones, an organization.
    pub(super) async fn demand_workspace(&self, tx: &mut Tx, owner: OwnerId) -> Result<(), Error> {
        if owner.organization().is_some() {
            return Ok(());
        }
        let told = policies::of(tx, &[]).await?.deployment();
        let policy = told.ok_or(UNTOLD)?;
        if policy.allows_workspace(owner) { Ok(()) } else { Err(Refusal::OrganizationRequired.into()) }
    }

    pub(super) async fn policy_view(&self, tx: &mut Tx, id: OrganizationId) -> Result<PolicyView, Error> {
        let owner = OwnerId::Organization(id);
        let policies = policies::of(tx, &[owner]).await?;
        let policy = policies.of(owner).ok_or(UNTOLD)?;
        Ok(PolicyView { policy, own: policies.own(owner) })
    }
}
