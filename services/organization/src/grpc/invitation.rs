//! `InvitationService`.

use std::mem::take;

use bursar_id::InvitationId;
use bursar_proto::organization::v1::invitation_service_server::InvitationService;
use bursar_proto::organization::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, CreateInvitationRequest, CreateInvitationResponse,
    DeclineInvitationRequest, DeclineInvitationResponse, Invitation, ListInvitationsRequest, ListInvitationsResponse,
    PreviewInvitationRequest, PreviewInvitationResponse, ResendInvitationRequest, ResendInvitationResponse,
    RevokeInvitationRequest, RevokeInvitationResponse,
};
use bursar_rpc::convert::{optional_span, to_role, to_timestamp};
use bursar_rpc::{Answer, Asked, Call, Origin, PageKey, PageRequest, Problem, Violations};
use bursar_secret::Secret;
use bursar_time::Span;
use tonic::{Request, Response, Status};

use super::{Handlers, convert};
use crate::domain::invitation::lifetime;
use crate::usecase::{InvitationView, InvitationsWanted, NewInvitation, Preview, SendAgain};

#[tonic::async_trait]
impl InvitationService for Handlers {
    async fn create_invitation(
        &self,
        request: Request<CreateInvitationRequest>,
    ) -> Result<Response<CreateInvitationResponse>, Status> {
        let (call, origin) = (Call::of(&request)?, Origin::of(&request));
        let mut message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let request_id = take(&mut message.request_id);
        let default = self.0.parts().config.invitation_ttl;
        let read = |message: &_, violations: &mut _| new(message, (default, origin), violations);
        let asked = Asked::read(call, &request_id, &message, read);
        let created = self.0.create_invitation(id, &asked).await?;
        Ok(Response::new(CreateInvitationResponse { invitation: Some(self.invited(created).await?) }))
    }

    async fn list_invitations(
        &self,
        request: Request<ListInvitationsRequest>,
    ) -> Result<Response<ListInvitationsResponse>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let wanted = wanted(&message, &self.0.parts().pages);
        let page = self.0.list_invitations(&call, id, wanted).await?;
        let page = page.messages(convert::invitation);
        Ok(Response::new(ListInvitationsResponse { invitations: page.rows, next_page_token: page.next_page_token }))
    }

    async fn resend_invitation(
        &self,
        request: Request<ResendInvitationRequest>,
    ) -> Result<Response<ResendInvitationResponse>, Status> {
        let (call, origin) = (Call::of(&request)?, Origin::of(&request));
        let mut message = request.into_inner();
        let id = convert::field::<InvitationId>("invitation_id", &message.invitation_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(SendAgain { origin }));
        let sent = self.0.resend_invitation(id, &asked).await?;
        Ok(Response::new(ResendInvitationResponse { invitation: Some(self.invited(sent).await?) }))
    }

    async fn revoke_invitation(
        &self,
        request: Request<RevokeInvitationRequest>,
    ) -> Result<Response<RevokeInvitationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let id = convert::field::<InvitationId>("invitation_id", &message.invitation_id)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        let revoked = self.0.revoke_invitation(id, &asked).await?;
        Ok(Response::new(RevokeInvitationResponse { invitation: Some(self.invited(revoked).await?) }))
    }

    async fn preview_invitation(
        &self,
        request: Request<PreviewInvitationRequest>,
    ) -> Result<Response<PreviewInvitationResponse>, Status> {
        let token = Secret::from(request.into_inner().token);
        let Preview { organization, view } = self.0.preview_invitation(token.expose()).await?;
        let InvitationView { invitation, state } = view;
        Ok(Response::new(PreviewInvitationResponse {
            organization_name: organization.name,
            organization_slug: organization.slug,
            email: invitation.email,
            role: to_role(invitation.role).into(),
            state: convert::to_state(state).into(),
            expires_at: Some(to_timestamp(invitation.expires_at)),
        }))
    }

    async fn accept_invitation(
        &self,
        request: Request<AcceptInvitationRequest>,
    ) -> Result<Response<AcceptInvitationResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let token = |message: &AcceptInvitationRequest, _: &mut _| Some(Secret::from(message.token.clone()));
        let asked = Asked::read(call, &request_id, &message, token);
        let accepted = self.0.accept_invitation(&asked).await?;
        let mut member = self.member(accepted).await?;
        if member.email.is_empty() {
            // Who is no member any more is told the own address by the own token.
            member.email = asked.user()?.email.to_string();
        }
        Ok(Response::new(AcceptInvitationResponse { member: Some(member) }))
    }

    async fn decline_invitation(
        &self,
        request: Request<DeclineInvitationRequest>,
    ) -> Result<Response<DeclineInvitationResponse>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let token = Secret::from(message.token.clone());
        let asked = Asked::by_token(call, token.expose(), &message, token.clone());
        self.0.decline_invitation(&asked).await?;
        Ok(Response::new(DeclineInvitationResponse {}))
    }
}

impl Handlers {
    /// What a change of an invitation is answered with. A repetition is told of the same change, and the address as long as
    /// there is the invitation.
    async fn invited(&self, answer: Answer<InvitationView>) -> Result<Invitation, Status> {
        let kept = match answer {
            Answer::New(view) => return Ok(convert::invitation(view)),
            before @ Answer::Replay(_) => before.message()?,
        };
        let id = kept.id.parse().map_err(|_| Problem::internal(&"a stored answer names no invitation"))?;
        let email = self.0.invited_address(id).await?.unwrap_or_default();
        Ok(Invitation { email, ..kept })
    }
}

fn new(
    message: &CreateInvitationRequest,
    (default, origin): (Span, Origin),
    violations: &mut Violations,
) -> Option<NewInvitation> {
    let email = convert::email(violations, &message.email);
    let role = convert::lesser_role(violations, message.role);
    let asked = violations.check("ttl", optional_span(message.ttl));
    let lifetime = asked.and_then(|span| violations.check("ttl", lifetime(span, default)));
    Some(NewInvitation { email: email?, role: role?, lifetime: lifetime?, origin })
}

fn wanted(message: &ListInvitationsRequest, pages: &PageKey) -> Result<InvitationsWanted, Problem> {
    let state = convert::state(message.state);
    let state = state.map_err(|error| Problem::invalid_field("state", error))?;
    let filter = message.state.to_string();
    let list = pages.list("ListInvitations", [message.organization_id.as_str(), &filter]);
    let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
    Ok(InvitationsWanted { state, page })
}
