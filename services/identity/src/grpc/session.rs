//! `SessionService`.

use std::mem::take;

use bursar_email::Email;
use bursar_id::SessionId;
use bursar_proto::identity::v1::session_service_server::SessionService;
use bursar_proto::identity::v1::{
    ListSessionsRequest, ListSessionsResponse, RefreshRequest, RefreshResponse, RevokeSessionRequest,
    RevokeSessionResponse, SignInRequest, SignInResponse, SignOutRequest, SignOutResponse,
};
use bursar_rpc::{Asked, Call, Caller, Origin, PageRequest, Violations};
use bursar_secret::Secret;
use tonic::{Request, Response, Status};

use super::{Handlers, convert};
use crate::usecase::Credentials;

#[tonic::async_trait]
impl SessionService for Handlers {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let call = Call::of(&request)?;
        let (origin, user_agent) = (Origin::of(&request), convert::user_agent(&request));
        let read = |message: &_, violations: &mut _| credentials(message, violations, origin, user_agent);
        let asked = Asked::read(call, "", &request.into_inner(), read);
        let tokens = self.0.sign_in(&asked).await?;
        Ok(Response::new(SignInResponse { tokens: Some(convert::tokens(tokens)) }))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<RefreshResponse>, Status> {
        let token = Secret::from(request.into_inner().refresh_token);
        let tokens = self.0.refresh(token.expose()).await?;
        Ok(Response::new(RefreshResponse { tokens: Some(convert::tokens(tokens)) }))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let asked = Asked::read(Call::of(&request)?, "", &request.into_inner(), |_, _| Some(()));
        self.0.sign_out(&asked).await?;
        Ok(Response::new(SignOutResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let user = caller.user()?;
        let message = request.into_inner();
        let list = self.0.parts().pages.list("ListSessions", [user.user.to_string().as_str()]);
        let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
        let page = self.0.list_sessions(user, &page).await?.messages(|view| convert::session(view, user.session));
        Ok(Response::new(ListSessionsResponse { sessions: page.rows, next_page_token: page.next_page_token }))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let session = |message: &RevokeSessionRequest, violations: &mut Violations| {
            violations.check("session_id", message.session_id.parse::<SessionId>())
        };
        let asked = Asked::read(call, &request_id, &message, session);
        self.0.revoke_session(&asked).await?;
        Ok(Response::new(RevokeSessionResponse {}))
    }
}

fn credentials(
    message: &SignInRequest,
    violations: &mut Violations,
    origin: Origin,
    user_agent: String,
) -> Option<Credentials> {
    let email = violations.check("email", Email::parse(&message.email));
    violations.require("password", !message.password.is_empty(), "a password is required");
    let password = Secret::from(message.password.clone());
    Some(Credentials { email: email?, password, origin, user_agent })
}
