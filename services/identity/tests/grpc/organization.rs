//! A fake of organization: memberships in memory, its events through the real outbox, behind the real stack.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bursar_db::{Db, Migrations, PoolOptions};
use bursar_events::{Nothing, Outbox};
use bursar_id::{OrganizationId, Role, UserId};
use bursar_members::{OwnPolicy, Policy, Standing};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{
    DeploymentPolicyChanged, MembershipChanged, OrganizationCreated, OrganizationPolicyChanged,
    OrganizationStandingChanged,
};
use bursar_proto::organization::v1::member_service_server::{MemberService, MemberServiceServer};
use bursar_proto::organization::v1::organization_service_server::{OrganizationService, OrganizationServiceServer};
use bursar_proto::organization::v1::{self as api, CheckAccessRequest, CheckAccessResponse};
use bursar_proto::organization::v1::{ListOrganizationsRequest, ListOrganizationsResponse, Organization};
use bursar_rpc::convert::{to_optional_role, to_role};
use bursar_rpc::{Caller, Transport};
use bursar_runtime::Env;
use bursar_testkit::{Hush, Person, TestDb, id, sqlite};
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::world::{claims, deps, user};

/// What the fake knows: a role (none after leaving) and its version.
type Places = BTreeMap<(OrganizationId, UserId), (Option<Role>, u64)>;

/// The fake. Clones share what it knows.
#[derive(Clone)]
pub(crate) struct FakeOrganization {
    db: Db,
    outbox: Outbox,
    places: Arc<Mutex<Places>>,
    standings: Arc<Mutex<BTreeMap<OrganizationId, Standing>>>,
    /// How often somebody has asked what a user is somewhere.
    asked: Arc<AtomicUsize>,
    away: Arc<Mutex<bool>>,
    departures: Arc<Mutex<Vec<(UserId, u64)>>>,
    addresses: Arc<Mutex<Vec<String>>>,
    held: Arc<Mutex<Option<Arc<Semaphore>>>>,
    /// Its events on their way to identity.
    pub(crate) events: Hush,
    _file: Arc<TestDb>,
}

impl FakeOrganization {
    pub(crate) async fn new(env: &Env) -> Self {
        let file = sqlite::file();
        let db = Db::open(&file.store_url(), &Migrations::SHARED, &PoolOptions::default()).await.unwrap();
        db.migrate(&Migrations::SHARED).await.unwrap();
        let outbox = Outbox::new("organization", db.clone(), env.clock.clone(), env.entropy.clone());
        let events = Hush::over(Routes::new(outbox.service(Nothing, env.shutdown.clone())));
        Self {
            db,
            outbox,
            places: Arc::default(),
            standings: Arc::default(),
            asked: Arc::default(),
            away: Arc::default(),
            departures: Arc::default(),
            addresses: Arc::default(),
            held: Arc::default(),
            events,
            _file: Arc::new(file),
        }
    }

    /// Its routes behind the stack, believing the tokens that identity signs.
    pub(crate) fn routes(&self, env: &Env, identity: Transport) -> Routes {
        let routes = Routes::new(OrganizationServiceServer::new(self.clone()))
            .add_service(MemberServiceServer::new(self.clone()))
            .add_service(self.events.service());
        bursar_rpc::stack(routes, deps(env, identity))
    }

    /// Changes a membership without telling anybody. Gives its new version.
    pub(crate) fn place(&self, organization: OrganizationId, user: UserId, role: Option<Role>) -> u64 {
        let mut places = self.places.lock().unwrap();
        let place = places.entry((organization, user)).or_default();
        *place = (role, place.1 + 1);
        place.1
    }

    /// Changes a membership and emits the event.
    pub(crate) async fn change(&self, organization: OrganizationId, user: UserId, role: Option<Role>) {
        let version = self.place(organization, user, role);
        self.tell(organization, user, role, version).await;
    }

    /// Emits a membership event, whatever is true.
    pub(crate) async fn tell(&self, organization: OrganizationId, user: UserId, role: Option<Role>, version: u64) {
        self.emit(Payload::MembershipChanged(MembershipChanged {
            organization_id: organization.to_string(),
            user_id: user.to_string(),
            role: to_optional_role(role).into(),
            version,
        }))
        .await;
    }

    /// Tells what the deployment's policies are, and what an organization has set of its own.
    pub(crate) async fn decides(&self, organization: OrganizationId, own: OwnPolicy, version: u64) {
        let deployment = DeploymentPolicyChanged { policy: Some(Policy::default().into()), version: 1 };
        self.emit(Payload::DeploymentPolicyChanged(deployment)).await;
        let (organization_id, policy) = (organization.to_string(), Some(own.into()));
        let changed = OrganizationPolicyChanged { organization_id, policy, version };
        self.emit(Payload::OrganizationPolicyChanged(changed)).await;
    }

    /// Tells what the deployment's policies are.
    pub(crate) async fn decides_for_all(&self, policy: Policy, version: u64) {
        let deployment = DeploymentPolicyChanged { policy: Some(policy.into()), version };
        self.emit(Payload::DeploymentPolicyChanged(deployment)).await;
    }

    /// Tells something of an organization that nobody can read.
    pub(crate) async fn blot(&self, organization: OrganizationId) {
        let organization_id = organization.to_string();
        self.emit(Payload::MembershipChanged(MembershipChanged {
            organization_id,
            role: 99,
            ..MembershipChanged::default()
        }))
        .await;
    }

    /// From now on an organization stands like this; tells so.
    pub(crate) async fn stand(&self, organization: OrganizationId, standing: Standing, version: u64) {
        self.standings.lock().unwrap().insert(organization, standing);
        let (state, purged) = standing.to_state();
        let (organization_id, state) = (organization.to_string(), state.into());
        self.emit(Payload::OrganizationStandingChanged(OrganizationStandingChanged {
            organization_id,
            state,
            purged,
            version,
        }))
        .await;
    }

    /// Creates an organization as the doing of a person's token.
    pub(crate) async fn create(&self, organization: OrganizationId, by: &Person) {
        let branch = claims(&by.tokens.access_token)["bid"].as_str().unwrap().to_owned();
        self.create_on(organization, by, branch).await;
    }

    /// The same, on a branch of the person's session; an older program tells none.
    pub(crate) async fn create_on(&self, organization: OrganizationId, by: &Person, branch: String) {
        let owner = user(by);
        self.place(organization, owner, Some(Role::Owner));
        self.emit(Payload::OrganizationCreated(OrganizationCreated {
            organization_id: organization.to_string(),
            owner_user_id: owner.to_string(),
            name: "Acme".to_owned(),
            slug: "acme".to_owned(),
            created_by_session_id: by.tokens.session_id.clone(),
            created_by_branch: branch,
        }))
        .await;
    }

    async fn emit(&self, payload: Payload) {
        let tx = self.db.begin().await.unwrap();
        self.outbox.commit(tx, vec![payload]).await.unwrap();
    }

    /// From now on every call answers UNAVAILABLE, or none does.
    pub(crate) fn set_away(&self, away: bool) {
        *self.away.lock().unwrap() = away;
    }

    /// The addresses that were named with departures so far.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.addresses.lock().unwrap().clone()
    }

    /// The departures that were confirmed so far.
    pub(crate) fn departures(&self) -> Vec<(UserId, u64)> {
        self.departures.lock().unwrap().clone()
    }

    /// How often somebody has asked so far what a user is somewhere.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// From now on confirming a departure takes effect and is not answered, and neither is what somebody is, until the
    /// semaphore has permits; or never.
    pub(crate) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    /// Waits to be let through, if anybody is held.
    async fn pass(&self) {
        let gate = self.held.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
    }

    fn there(&self) -> Result<(), Status> {
        if *self.away.lock().unwrap() { Err(Status::unavailable("gone fishing")) } else { Ok(()) }
    }
}

/// The `n`-th organization.
pub(crate) fn org(n: u64) -> OrganizationId {
    id(n)
}

#[tonic::async_trait]
impl MemberService for FakeOrganization {
    async fn check_access(
        &self,
        request: Request<CheckAccessRequest>,
    ) -> Result<Response<CheckAccessResponse>, Status> {
        self.there()?;
        let asked = request.into_inner();
        let key = (asked.organization_id.parse().unwrap(), asked.user_id.parse().unwrap());
        let (role, version) = self.places.lock().unwrap().get(&key).copied().unwrap_or_default();
        let standing = self.standings.lock().unwrap().get(&key.0).copied().unwrap_or_default();
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.pass().await;
        // To what is purged nobody belongs, which is no change of a membership.
        let (role, version) = if standing == Standing::Purged { (None, 0) } else { (role, version) };
        let member = role.is_some();
        let state = if member { standing.to_state().0 } else { api::OrganizationState::Unspecified };
        let (role, state) = (to_optional_role(role).into(), state.into());
        Ok(Response::new(CheckAccessResponse { member, role, version, incarnation: 1, state }))
    }

    async fn confirm_departure(
        &self,
        request: Request<api::ConfirmDepartureRequest>,
    ) -> Result<Response<api::ConfirmDepartureResponse>, Status> {
        self.there()?;
        let asked = request.into_inner();
        let user: UserId = asked.user_id.parse().unwrap();
        self.addresses.lock().unwrap().push(asked.email);
        let places = self.places.lock().unwrap().clone();
        let owns = |((_, member), (role, _)): &(&(_, UserId), &(_, u64))| *member == user && *role == Some(Role::Owner);
        let owned: Vec<_> = places.iter().filter(owns).map(|((organization, _), _)| organization.to_string()).collect();
        if owned.is_empty() {
            self.departures.lock().unwrap().push((user, asked.number));
        }
        self.pass().await;
        let organizations = u32::try_from(owned.len()).unwrap();
        let organization_ids = owned.into_iter().take(20).collect();
        Ok(Response::new(api::ConfirmDepartureResponse { organizations, organization_ids }))
    }

    async fn list_members(
        &self,
        _: Request<api::ListMembersRequest>,
    ) -> Result<Response<api::ListMembersResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn get_member(&self, _: Request<api::GetMemberRequest>) -> Result<Response<api::GetMemberResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn update_member_role(
        &self,
        _: Request<api::UpdateMemberRoleRequest>,
    ) -> Result<Response<api::UpdateMemberRoleResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn remove_member(
        &self,
        _: Request<api::RemoveMemberRequest>,
    ) -> Result<Response<api::RemoveMemberResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn leave_organization(
        &self,
        _: Request<api::LeaveOrganizationRequest>,
    ) -> Result<Response<api::LeaveOrganizationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn get_preferences(
        &self,
        _: Request<api::GetPreferencesRequest>,
    ) -> Result<Response<api::GetPreferencesResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn update_preferences(
        &self,
        _: Request<api::UpdatePreferencesRequest>,
    ) -> Result<Response<api::UpdatePreferencesResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
}

#[tonic::async_trait]
impl OrganizationService for FakeOrganization {
    async fn set_avatar(&self, _: Request<api::SetAvatarRequest>) -> Result<Response<api::SetAvatarResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn get_avatar(&self, _: Request<api::GetAvatarRequest>) -> Result<Response<api::GetAvatarResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn get_policy(&self, _: Request<api::GetPolicyRequest>) -> Result<Response<api::GetPolicyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn update_policy(
        &self,
        _: Request<api::UpdatePolicyRequest>,
    ) -> Result<Response<api::UpdatePolicyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    /// Lists by id, two at most however many are asked for, so that paging is always exercised.
    async fn list_organizations(
        &self,
        request: Request<ListOrganizationsRequest>,
    ) -> Result<Response<ListOrganizationsResponse>, Status> {
        self.there()?;
        let caller = Caller::of(&request)?;
        assert!(caller.service().is_some(), "identity calls as a service: {caller:?}");
        let user = caller.user()?.user;
        let asked = request.into_inner();
        let from: usize = asked.page_token.parse().unwrap_or(0);
        let size = usize::try_from(asked.page_size).unwrap().min(2);
        let places = self.places.lock().unwrap();
        let all: Vec<_> = places
            .iter()
            .filter_map(|((organization, member), (role, _))| {
                (*member == user).then_some(()).and(*role).map(|role| listed(*organization, role))
            })
            .collect();
        let next = from + size;
        let next_page_token = if next < all.len() { next.to_string() } else { String::new() };
        let organizations = all.into_iter().skip(from).take(size).collect();
        Ok(Response::new(ListOrganizationsResponse { organizations, next_page_token }))
    }

    async fn create_organization(
        &self,
        _: Request<api::CreateOrganizationRequest>,
    ) -> Result<Response<api::CreateOrganizationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn get_organization(
        &self,
        _: Request<api::GetOrganizationRequest>,
    ) -> Result<Response<api::GetOrganizationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn update_organization(
        &self,
        _: Request<api::UpdateOrganizationRequest>,
    ) -> Result<Response<api::UpdateOrganizationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    type ExportOrganizationStream = tonic::codegen::BoxStream<api::ExportOrganizationResponse>;

    async fn export_organization(
        &self,
        _: Request<api::ExportOrganizationRequest>,
    ) -> Result<Response<Self::ExportOrganizationStream>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn transfer_ownership(
        &self,
        _: Request<api::TransferOwnershipRequest>,
    ) -> Result<Response<api::TransferOwnershipResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn delete_organization(
        &self,
        _: Request<api::DeleteOrganizationRequest>,
    ) -> Result<Response<api::DeleteOrganizationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn undelete_organization(
        &self,
        _: Request<api::UndeleteOrganizationRequest>,
    ) -> Result<Response<api::UndeleteOrganizationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn find_organizations(
        &self,
        _: Request<api::FindOrganizationsRequest>,
    ) -> Result<Response<api::FindOrganizationsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn suspend_organization(
        &self,
        _: Request<api::SuspendOrganizationRequest>,
    ) -> Result<Response<api::SuspendOrganizationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn unsuspend_organization(
        &self,
        _: Request<api::UnsuspendOrganizationRequest>,
    ) -> Result<Response<api::UnsuspendOrganizationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn accept_ownership(
        &self,
        _: Request<api::AcceptOwnershipRequest>,
    ) -> Result<Response<api::AcceptOwnershipResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn decline_ownership(
        &self,
        _: Request<api::DeclineOwnershipRequest>,
    ) -> Result<Response<api::DeclineOwnershipResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
}

fn listed(organization: OrganizationId, role: Role) -> Organization {
    Organization {
        id: organization.to_string(),
        name: format!("Name of {organization}"),
        slug: "acme".to_owned(),
        role: to_role(role).into(),
        ..Organization::default()
    }
}
