//! What the services beside billing tell it, and how a test knows that it heard.

use std::sync::atomic::Ordering;

use bursar_db::on;
use bursar_id::{OrganizationId, OwnerId, ProjectId, Role, UserId};
use bursar_members::{OwnPolicy, Policy};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{
    DeploymentPolicyChanged, MembershipChanged, OrganizationPolicyChanged, ProjectsChanged, UserDeleted,
};
use bursar_rpc::convert::to_optional_role;
use bursar_testkit::id;

use crate::world::{World, the, until};

/// What tells that an owner has a project.
pub(crate) fn made(owner: OwnerId, project: ProjectId) -> Payload {
    let (owner, project_ids) = (owner.to_string(), vec![project.to_string()]);
    Payload::ProjectsChanged(ProjectsChanged { owner, project_ids, deleted: false })
}

impl World {
    /// Billing hears that a membership is now like this, and has applied it.
    pub(crate) async fn hears(&self, organization: OwnerId, user: UserId, role: Option<Role>, version: u64) {
        self.announce(organization, user, role, version).await;
        self.applied().await;
    }

    /// The same without waiting for it.
    pub(crate) async fn announce(&self, organization: OwnerId, user: UserId, role: Option<Role>, version: u64) {
        let changed = MembershipChanged {
            organization_id: the(organization).to_string(),
            user_id: user.to_string(),
            role: to_optional_role(role).into(),
            version,
        };
        self.tell(Payload::MembershipChanged(changed)).await;
    }

    /// Billing hears that an owner has a project, and has applied it.
    pub(crate) async fn has_project(&self, owner: OwnerId, project: ProjectId) {
        self.tell(made(owner, project)).await;
        self.applied().await;
    }

    /// The same of one that is gone.
    pub(crate) async fn lost_project(&self, owner: OwnerId, project: ProjectId) {
        let (owner, project_ids) = (owner.to_string(), vec![project.to_string()]);
        self.tell(Payload::ProjectsChanged(ProjectsChanged { owner, project_ids, deleted: true })).await;
        self.applied().await;
    }

    /// Identity tells that somebody's account was deleted.
    pub(crate) async fn deleted(&self, user: UserId) {
        let tx = self.people_db.begin().await.unwrap();
        let gone = Payload::UserDeleted(UserDeleted { user_id: user.to_string() });
        self.people.commit(tx, vec![gone]).await.unwrap();
    }

    /// Organization tells what the deployment's policies are, and billing has applied it.
    pub(crate) async fn deploys(&self, policy: Policy, version: u64) {
        let changed = DeploymentPolicyChanged { policy: Some(policy.into()), version };
        self.tell(Payload::DeploymentPolicyChanged(changed)).await;
        self.gone_by().await;
    }

    /// Organization tells what one of its organizations has set, and billing has applied it.
    pub(crate) async fn decides(&self, organization: OwnerId, own: OwnPolicy, version: u64) {
        let (organization_id, policy) = (organization.to_string(), Some(own.into()));
        let changed = OrganizationPolicyChanged { organization_id, policy, version };
        self.tell(Payload::OrganizationPolicyChanged(changed)).await;
        self.gone_by().await;
    }

    pub(crate) async fn tell(&self, payload: Payload) {
        let tx = self.organization_db.begin().await.unwrap();
        self.organization.commit(tx, vec![payload]).await.unwrap();
        self.told.fetch_add(1, Ordering::SeqCst);
    }

    /// Until billing has applied everything that organization told.
    pub(crate) async fn applied(&self) {
        let told = self.told.load(Ordering::SeqCst);
        let wanted = format!("organization-1-{told}-");
        until("billing applies organization's events", async || self.cursor().await.starts_with(&wanted)).await;
    }

    /// The same, and until nobody goes by what was read before: that is told after an event is committed, and before the next
    /// one is taken. So there is a next one, of an organization that is nobody's.
    pub(crate) async fn gone_by(&self) {
        self.applied().await;
        let (nobodys, policy): (OrganizationId, _) = (id(999_999), Some(OwnPolicy::default().into()));
        let changed = OrganizationPolicyChanged { organization_id: nobodys.to_string(), policy, version: 1 };
        self.tell(Payload::OrganizationPolicyChanged(changed)).await;
        self.applied().await;
    }

    async fn cursor(&self) -> String {
        let mut tx = self.store.read().await.unwrap();
        let cursor: Result<Option<(String,)>, bursar_db::DbError> = async {
            Ok(on!(&mut tx, c => sqlx::query_as("SELECT cursor FROM consumer_positions WHERE source = 'organization'")
                .fetch_optional(c).await?))
        }
        .await;
        cursor.unwrap().map(|(cursor,)| cursor).unwrap_or_default()
    }
}
