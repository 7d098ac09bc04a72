//! `OrganizationService`.

use std::mem::take;

use bursar_id::OrganizationId;
use bursar_proto::organization::v1::get_organization_request::Key;
use bursar_proto::organization::v1::organization_service_server::OrganizationService;
use bursar_proto::organization::v1::{
    AcceptOwnershipRequest, AcceptOwnershipResponse, CreateOrganizationRequest, CreateOrganizationResponse,
    DeclineOwnershipRequest, DeclineOwnershipResponse, DeleteOrganizationRequest, DeleteOrganizationResponse,
    ExportOrganizationRequest, FindOrganizationsRequest, FindOrganizationsResponse, GetAvatarRequest,
    GetAvatarResponse, GetOrganizationRequest, GetOrganizationResponse, GetPolicyRequest, GetPolicyResponse,
    ListOrganizationsRequest, ListOrganizationsResponse, Organization, OrganizationState, SetAvatarRequest,
    SetAvatarResponse, SuspendOrganizationRequest, SuspendOrganizationResponse, TransferOwnershipRequest,
    TransferOwnershipResponse, UndeleteOrganizationRequest, UndeleteOrganizationResponse, UnsuspendOrganizationRequest,
    UnsuspendOrganizationResponse, UpdateOrganizationRequest, UpdateOrganizationResponse, UpdatePolicyRequest,
    UpdatePolicyResponse,
};
use bursar_rpc::convert::UpdateMask;
use bursar_rpc::{Answer, Asked, Call, Caller, PageRequest, Problem, UserCaller, Violations};
use tonic::{Request, Response, Status};

use super::{Handlers, avatar, convert, export, operating, policy};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::name::Name;
use crate::domain::slug::Slug;
use crate::store::organizations::OrganizationOfUser;
use crate::usecase::{Created, Deletion, NewOrganization, OrganizationChange, OrganizationKey};

#[tonic::async_trait]
impl OrganizationService for Handlers {
    async fn create_organization(
        &self,
        request: Request<CreateOrganizationRequest>,
    ) -> Result<Response<CreateOrganizationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, new);
        let created = self.0.create_organization(&asked).await?;
        let organization = Some(self.created(asked.user()?, created).await?);
        Ok(Response::new(CreateOrganizationResponse { organization }))
    }

    async fn get_organization(
        &self,
        request: Request<GetOrganizationRequest>,
    ) -> Result<Response<GetOrganizationResponse>, Status> {
        let caller = Caller::of(&request)?;
        let key = key(request.into_inner())?;
        let (organization, moved) = self.0.get_organization(&caller, &key).await?;
        let organization = Some(convert::organization(organization));
        Ok(Response::new(GetOrganizationResponse { organization, moved }))
    }

    async fn list_organizations(
        &self,
        request: Request<ListOrganizationsRequest>,
    ) -> Result<Response<ListOrganizationsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let user = caller.user()?.user.to_string();
        let message = request.into_inner();
        let list = self.0.parts().pages.list("ListOrganizations", [user.as_str()]);
        let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
        let page = self.0.list_organizations(&caller, &page).await?.messages(convert::organization);
        Ok(Response::new(ListOrganizationsResponse { organizations: page.rows, next_page_token: page.next_page_token }))
    }

    async fn update_organization(
        &self,
        request: Request<UpdateOrganizationRequest>,
    ) -> Result<Response<UpdateOrganizationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let read = |message: &_, violations: &mut _| Some(change(message, violations));
        let asked = Asked::read(call, &request_id, &message, read);
        let updated = self.0.update_organization(id, &asked).await?;
        let organization = Some(self.told(asked.user()?, id, updated).await?);
        Ok(Response::new(UpdateOrganizationResponse { organization }))
    }

    async fn set_avatar(&self, request: Request<SetAvatarRequest>) -> Result<Response<SetAvatarResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, avatar::change);
        let set = self.0.set_avatar(id, &asked).await?;
        let organization = Some(self.told(asked.user()?, id, set).await?);
        Ok(Response::new(SetAvatarResponse { organization }))
    }

    async fn get_avatar(&self, request: Request<GetAvatarRequest>) -> Result<Response<GetAvatarResponse>, Status> {
        let caller = Caller::of(&request)?;
        let message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let size = avatar::size(message.size)?;
        let picture = self.0.get_avatar(&caller, id, size, &message.if_none_match).await?;
        Ok(Response::new(avatar::picture(picture)))
    }

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        let caller = Caller::of(&request)?;
        let id = convert::organization_id(&request.into_inner().organization_id)?;
        let view = self.0.get_policy(&caller, id).await?;
        Ok(Response::new(GetPolicyResponse { policy: Some(view.policy.into()), own: Some(policy::own(view.own)) }))
    }

    async fn update_policy(
        &self,
        request: Request<UpdatePolicyRequest>,
    ) -> Result<Response<UpdatePolicyResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, policy::change);
        Ok(Response::new(self.0.update_policy(id, &asked).await?.message()?))
    }

    async fn transfer_ownership(
        &self,
        request: Request<TransferOwnershipRequest>,
    ) -> Result<Response<TransferOwnershipResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let read = |message: &TransferOwnershipRequest, violations: &mut Violations| {
            violations.check("user_id", message.user_id.parse())
        };
        let asked = Asked::read(call, &request_id, &message, read);
        let transferred = self.0.transfer_ownership(id, &asked).await?;
        let organization = Some(self.told(asked.user()?, id, transferred).await?);
        Ok(Response::new(TransferOwnershipResponse { organization }))
    }

    type ExportOrganizationStream = export::Chunks;

    async fn export_organization(
        &self,
        request: Request<ExportOrganizationRequest>,
    ) -> Result<Response<Self::ExportOrganizationStream>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let asked = Asked::read(call, "", &message, export::kinds);
        let export = self.0.export_organization(id, &asked).await?;
        Ok(Response::new(export::chunks(export)))
    }

    async fn accept_ownership(
        &self,
        request: Request<AcceptOwnershipRequest>,
    ) -> Result<Response<AcceptOwnershipResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        let accepted = self.0.accept_ownership(id, &asked).await?;
        let organization = Some(self.told(asked.user()?, id, accepted).await?);
        Ok(Response::new(AcceptOwnershipResponse { organization }))
    }

    async fn decline_ownership(
        &self,
        request: Request<DeclineOwnershipRequest>,
    ) -> Result<Response<DeclineOwnershipResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        let declined = self.0.decline_ownership(id, &asked).await?;
        let organization = Some(self.told(asked.user()?, id, declined).await?);
        Ok(Response::new(DeclineOwnershipResponse { organization }))
    }

    async fn delete_organization(
        &self,
        request: Request<DeleteOrganizationRequest>,
    ) -> Result<Response<DeleteOrganizationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let read = |message: &DeleteOrganizationRequest, _: &mut Violations| {
            Some(Deletion { confirm_slug: message.confirm_slug.to_ascii_lowercase() })
        };
        let asked = Asked::read(call, &request_id, &message, read);
        let deleted = self.0.delete_organization(id, &asked).await?;
        let organization = Some(self.told(asked.user()?, id, deleted).await?);
        Ok(Response::new(DeleteOrganizationResponse { organization }))
    }

    async fn undelete_organization(
        &self,
        request: Request<UndeleteOrganizationRequest>,
    ) -> Result<Response<UndeleteOrganizationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        let undeleted = self.0.undelete_organization(id, &asked).await?;
        let organization = Some(self.told(asked.user()?, id, undeleted).await?);
        Ok(Response::new(UndeleteOrganizationResponse { organization }))
    }

    async fn find_organizations(
        &self,
        request: Request<FindOrganizationsRequest>,
    ) -> Result<Response<FindOrganizationsResponse>, Status> {
        let wanted = operating::wanted(&request.into_inner(), &self.0.parts().pages)?;
        let page = self.0.find_organizations(wanted).await?.messages(convert::found);
        Ok(Response::new(FindOrganizationsResponse { organizations: page.rows, next_page_token: page.next_page_token }))
    }

    async fn suspend_organization(
        &self,
        request: Request<SuspendOrganizationRequest>,
    ) -> Result<Response<SuspendOrganizationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, operating::suspension);
        let suspended = self.0.suspend_organization(id, &asked).await?;
        Ok(Response::new(SuspendOrganizationResponse { organization: Some(suspended.message()?) }))
    }

    async fn unsuspend_organization(
        &self,
        request: Request<UnsuspendOrganizationRequest>,
    ) -> Result<Response<UnsuspendOrganizationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        let opened = self.0.unsuspend_organization(id, &asked).await?;
        Ok(Response::new(UnsuspendOrganizationResponse { organization: Some(opened.message()?) }))
    }
}

impl Handlers {
    /// What whoever creates an organization is answered with, once it is founded or takes too long. A repetition is told what it
    /// is called then, if the caller may see it then.
    async fn created(&self, caller: &UserCaller, answer: Answer<Created>) -> Result<Organization, Status> {
        let (mut organization, is_told_again) = match answer {
            Answer::New(Created(new)) => (convert::organization(new), false),
            before @ Answer::Replay(_) => (before.message()?, true),
        };
        let id = convert::organization_id(&organization.id)?;
        // Nothing else is kept so of a creation.
        if organization.state() == OrganizationState::Deleted {
            return Err(Error::from(Refusal::CreationCalledOff).into());
        }
        if organization.state() == OrganizationState::Pending {
            organization.state = convert::standing(self.0.founded(id, caller.user).await?).into();
        }
        if is_told_again {
            // Also where an earlier program has kept what it was called.
            (organization.name, organization.slug) = self.0.words_of(caller, id).await?.unwrap_or_default();
        }
        Ok(organization)
    }

    /// What a change of an organization is answered with. A repetition is told of the same change, and of what the plan allows
    /// as that is now, if the caller may see it now.
    async fn told(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
        answer: Answer<OrganizationOfUser>,
    ) -> Result<Organization, Status> {
        let kept = match answer {
            Answer::New(changed) => return Ok(convert::organization(changed)),
            before @ Answer::Replay(_) => before.message()?,
        };
        let allowed = self.0.entitlements_of(caller, id).await?;
        Ok(Organization { entitlements: allowed.as_ref().map(convert::entitlements), ..kept })
    }
}

fn new(message: &CreateOrganizationRequest, violations: &mut Violations) -> Option<NewOrganization> {
    let name = violations.check("name", Name::parse(&message.name));
    // Whether the word is reserved by now is looked at once a repetition is told from a new request.
    let slug = violations.check_optional("slug", &message.slug, Slug::given);
    Some(NewOrganization { name: name?, slug: slug? })
}

fn change(message: &UpdateOrganizationRequest, violations: &mut Violations) -> OrganizationChange {
    let mask = UpdateMask::parse(message.update_mask.as_ref(), &["name", "slug"], violations);
    OrganizationChange {
        name: mask.read("name", &message.name, Name::parse, violations),
        // One that it has already, or had, is no choice.
        slug: mask.read("slug", &message.slug, Slug::given, violations),
        etag: message.etag.clone(),
    }
}

fn key(message: GetOrganizationRequest) -> Result<OrganizationKey, Problem> {
    match message.key {
        Some(Key::OrganizationId(id)) => {
            convert::field::<OrganizationId>("organization_id", &id).map(OrganizationKey::Id)
        }
        Some(Key::Slug(slug)) => Ok(OrganizationKey::Slug(Slug::given(&slug).ok())),
        None => Err(Problem::invalid_field("key", "name the organization by its id or its slug")),
    }
}
