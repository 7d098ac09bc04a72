//! `SessionService`.

use std::mem::take;

use bursar_email::Email;
use bursar_id::SessionId;
use bursar_proto::identity::v1::session_service_server::SessionService;
use bursar_proto::identity::v1::{
    ListSessionsRequest, ListSessionsResponse, RefreshRequest, RefreshResponse, RevokeSessionRequest,
    RevokeSessionResponse, SignInRequest, SignInResponse, SignOutRequest, SignOutResponse,
};
use bursar_rpc::{Caller, Fingerprint, PageRequest, Problem, RequestKey, Violations};
use bursar_secret::Secret;
use tonic::{Request, Response, Status};

use super::{Handlers, convert};
use crate::usecase::Credentials;

#[tonic::async_trait]
impl SessionService for Handlers {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let credentials = credentials(request)?;
        let tokens = self.0.sign_in(credentials).await?;
        Ok(Response::new(SignInResponse { tokens: Some(convert::tokens(tokens)) }))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<RefreshResponse>, Status> {
        let token = Secret::from(request.into_inner().refresh_token);
        let tokens = self.0.refresh(token.expose()).await?;
        Ok(Response::new(RefreshResponse { tokens: Some(convert::tokens(tokens)) }))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.0.sign_out(caller.user()?).await?;
        Ok(Response::new(SignOutResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let user = caller.user()?;
        let message = request.into_inner();
        let list = Fingerprint::of("ListSessions", [user.user.to_string().as_str()]);
        let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
        let page = self.0.list_sessions(user, &page).await?.map(|row| convert::session(row, user.session));
        Ok(Response::new(ListSessionsResponse { sessions: page.rows, next_page_token: page.next_page_token }))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let key = RequestKey::new(&caller, "RevokeSession", &request_id, &message)?;
        let mut violations = Violations::new();
        let session = violations.check("session_id", message.session_id.parse::<SessionId>());
        let session = session.ok_or_else(|| violations.into_problem())?;
        Ok(Response::new(self.0.revoke_session(caller.user()?, session, &key).await?))
    }
}

fn credentials(request: Request<SignInRequest>) -> Result<Credentials, Problem> {
    let (origin, user_agent) = (convert::origin(&request), convert::user_agent(&request));
    let message = request.into_inner();
    let password = Secret::from(message.password);
    let mut violations = Violations::new();
    let email = violations.check("email", Email::parse(&message.email));
    violations.require("password", !password.expose().is_empty(), "a password is required");
    match (email, violations.is_empty()) {
        (Some(email), true) => Ok(Credentials { email, password, origin, user_agent }),
        _ => Err(violations.into_problem()),
    }
}
