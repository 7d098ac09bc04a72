//! `MemberService`.

use std::mem::take;

use bursar_email::MAX_LENGTH;
use bursar_id::UserId;
use bursar_proto::organization::v1::member_service_server::MemberService;
use bursar_proto::organization::v1::{
    CheckAccessRequest, CheckAccessResponse, ConfirmDepartureRequest, ConfirmDepartureResponse, GetMemberRequest,
    GetMemberResponse, GetPreferencesRequest, GetPreferencesResponse, LeaveOrganizationRequest,
    LeaveOrganizationResponse, ListMembersRequest, ListMembersResponse, Member, RemoveMemberRequest,
    RemoveMemberResponse, UpdateMemberRoleRequest, UpdateMemberRoleResponse, UpdatePreferencesRequest,
    UpdatePreferencesResponse,
};
use bursar_rpc::convert::to_optional_role;
use bursar_rpc::document::{document, to_struct};
use bursar_rpc::{Answer, Asked, Call, Caller, PageKey, PageRequest, Problem, Stored, Violations};
use tonic::{Request, Response, Status};

use super::{Handlers, convert};
use crate::domain::departure::Departure;
use crate::domain::etag;
use crate::store::memberships::MemberRow;
use crate::usecase::departures::Leaving;
use crate::usecase::{MembersWanted, Preferences, PreferencesChange, RoleChange};

#[tonic::async_trait]
impl MemberService for Handlers {
    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let caller = Caller::of(&request)?;
        let message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let wanted = wanted(&message, &self.0.parts().pages);
        let page = self.0.list_members(&caller, id, wanted).await?.messages(convert::member);
        Ok(Response::new(ListMembersResponse { members: page.rows, next_page_token: page.next_page_token }))
    }

    async fn get_member(&self, request: Request<GetMemberRequest>) -> Result<Response<GetMemberResponse>, Status> {
        let caller = Caller::of(&request)?;
        let message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let user = convert::field::<UserId>("user_id", &message.user_id);
        let member = self.0.get_member(&caller, id, user).await?;
        Ok(Response::new(GetMemberResponse { member: Some(convert::member(member)) }))
    }

    async fn update_member_role(
        &self,
        request: Request<UpdateMemberRoleRequest>,
    ) -> Result<Response<UpdateMemberRoleResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, role_change);
        let updated = self.0.update_member_role(id, &asked).await?;
        Ok(Response::new(UpdateMemberRoleResponse { member: Some(self.member(updated).await?) }))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let read = |message: &RemoveMemberRequest, violations: &mut Violations| {
            violations.check("user_id", message.user_id.parse())
        };
        let asked = Asked::read(call, &request_id, &message, read);
        self.0.remove_member(id, &asked).await?;
        Ok(Response::new(RemoveMemberResponse {}))
    }

    async fn leave_organization(
        &self,
        request: Request<LeaveOrganizationRequest>,
    ) -> Result<Response<LeaveOrganizationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        self.0.leave_organization(id, &asked).await?;
        Ok(Response::new(LeaveOrganizationResponse {}))
    }

    async fn get_preferences(
        &self,
        request: Request<GetPreferencesRequest>,
    ) -> Result<Response<GetPreferencesResponse>, Status> {
        let caller = Caller::of(&request)?;
        let message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let named = convert::optional_field::<UserId>("user_id", &message.user_id);
        let preferences = self.0.get_preferences(&caller, id, named).await?;
        let (preferences, etag) = (Some(to_struct(preferences.document)), etag::of(preferences.version));
        Ok(Response::new(GetPreferencesResponse { preferences, etag }))
    }

    async fn update_preferences(
        &self,
        request: Request<UpdatePreferencesRequest>,
    ) -> Result<Response<UpdatePreferencesResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, preferred);
        Ok(Response::new(self.0.update_preferences(id, &asked).await?.message()?))
    }

    async fn check_access(
        &self,
        request: Request<CheckAccessRequest>,
    ) -> Result<Response<CheckAccessResponse>, Status> {
        let message = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.check("organization_id", message.organization_id.parse());
        let user = violations.check("user_id", message.user_id.parse());
        let (Some(id), Some(user)) = (id, user) else {
            return Err(violations.into_problem().into());
        };
        let (place, standing) = self.0.check_access(id, user).await?;
        Ok(Response::new(CheckAccessResponse {
            member: place.role.is_some(),
            role: to_optional_role(place.role).into(),
            version: place.version,
            incarnation: place.incarnation,
            state: standing.map(convert::standing).unwrap_or_default().into(),
        }))
    }

    async fn confirm_departure(
        &self,
        request: Request<ConfirmDepartureRequest>,
    ) -> Result<Response<ConfirmDepartureResponse>, Status> {
        let asked = Asked::read(Call::of(&request)?, "", &request.into_inner(), leaving);
        let confirmed = self.0.confirm_departure(&asked).await?;
        Ok(Response::new(confirmed.message()?))
    }
}

impl Handlers {
    /// What a change of a membership is answered with. A repetition is told of the same change, and of the person whatever
    /// there still is of the member.
    pub(super) async fn member(&self, answer: Answer<MemberRow>) -> Result<Member, Status> {
        let kept = match answer {
            Answer::New(row) => return Ok(convert::member(row)),
            before @ Answer::Replay(_) => before.message()?,
        };
        let (Ok(organization), Ok(user)) = (kept.organization_id.parse(), kept.user_id.parse()) else {
            return Err(Problem::internal(&"a stored answer names no member").into());
        };
        let now = self.0.member_as_is(organization, user).await?;
        let (email, display_name) = now.map(|row| (row.email, row.display_name)).unwrap_or_default();
        Ok(Member { email, display_name, ..kept })
    }
}

fn preferred(message: &UpdatePreferencesRequest, violations: &mut Violations) -> Option<PreferencesChange> {
    let document = violations.check("preferences", document(message.preferences.as_ref()));
    Some(PreferencesChange { document: document?, etag: message.etag.clone() })
}

impl Stored for Preferences {
    type Message = UpdatePreferencesResponse;
    fn to_message(&self) -> UpdatePreferencesResponse {
        UpdatePreferencesResponse { preferences: Some(to_struct(self.document.clone())), etag: etag::of(self.version) }
    }
}

fn leaving(message: &ConfirmDepartureRequest, violations: &mut Violations) -> Option<Leaving> {
    let user = violations.check("user_id", message.user_id.parse());
    violations.require("number", message.number > 0, "departures count from 1");
    let departure = Departure { incarnation: message.incarnation, number: message.number };
    // It is compared with others, so that its form is nobody's business: whatever identity took may leave.
    violations.require("email", message.email.len() <= MAX_LENGTH, "has more than 254 characters");
    Some(Leaving { user: user?, departure, email: message.email.clone() })
}

fn wanted(message: &ListMembersRequest, pages: &PageKey) -> Result<MembersWanted, Problem> {
    let role = convert::role_filter(message.role);
    let role = role.map_err(|error| Problem::invalid_field("role", error.to_string()))?;
    let filter = message.role.to_string();
    let list = pages.list("ListMembers", [message.organization_id.as_str(), &filter]);
    let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
    Ok(MembersWanted { role, page })
}

fn role_change(message: &UpdateMemberRoleRequest, violations: &mut Violations) -> Option<RoleChange> {
    let user = violations.check("user_id", message.user_id.parse());
    let role = convert::lesser_role(violations, message.role);
    Some(RoleChange { user: user?, role: role?, etag: message.etag.clone() })
}
