//! `ServiceAccountService`.

use std::mem::take;

use bursar_id::ServiceAccountId;
use bursar_proto::identity::v1::service_account_service_server::ServiceAccountService;
use bursar_proto::identity::v1::{
    CreateServiceAccountRequest, CreateServiceAccountResponse, DisableServiceAccountRequest,
    DisableServiceAccountResponse, IssueServiceTokenRequest, IssueServiceTokenResponse, ListServiceAccountsRequest,
    ListServiceAccountsResponse, RotateServiceAccountSecretRequest, RotateServiceAccountSecretResponse,
};
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{Caller, Fingerprint, PageRequest, Problem, RequestKey, ServiceRole, Violations};
use bursar_secret::Secret;
use tonic::{Request, Response, Status};

use super::{Handlers, convert};
use crate::domain::display_name::DisplayName;

#[tonic::async_trait]
impl ServiceAccountService for Handlers {
    async fn create_service_account(
        &self,
        request: Request<CreateServiceAccountRequest>,
    ) -> Result<Response<CreateServiceAccountResponse>, Status> {
        let (display_name, role) = new_account(&request.into_inner())?;
        let made = self.0.create_service_account(&display_name, role).await?;
        Ok(Response::new(CreateServiceAccountResponse {
            client_id: made.account.id.to_string(),
            client_secret: made.secret.expose().clone(),
            service_account: Some(convert::service_account(made.account)),
        }))
    }

    async fn list_service_accounts(
        &self,
        request: Request<ListServiceAccountsRequest>,
    ) -> Result<Response<ListServiceAccountsResponse>, Status> {
        let message = request.into_inner();
        let list = Fingerprint::of("ListServiceAccounts", []);
        let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
        let page = self.0.list_service_accounts(&page).await?.map(convert::service_account);
        Ok(Response::new(ListServiceAccountsResponse {
            service_accounts: page.rows,
            next_page_token: page.next_page_token,
        }))
    }

    async fn rotate_service_account_secret(
        &self,
        request: Request<RotateServiceAccountSecretRequest>,
    ) -> Result<Response<RotateServiceAccountSecretResponse>, Status> {
        let id = account_id(&request.into_inner().service_account_id)?;
        let made = self.0.rotate_service_account_secret(id).await?;
        Ok(Response::new(RotateServiceAccountSecretResponse {
            client_id: made.account.id.to_string(),
            client_secret: made.secret.expose().clone(),
        }))
    }

    async fn disable_service_account(
        &self,
        request: Request<DisableServiceAccountRequest>,
    ) -> Result<Response<DisableServiceAccountResponse>, Status> {
        let caller = Caller::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let key = RequestKey::new(&caller, "DisableServiceAccount", &request_id, &message)?;
        let id = account_id(&message.service_account_id)?;
        let answer = |row| DisableServiceAccountResponse { service_account: Some(convert::service_account(row)) };
        Ok(Response::new(self.0.disable_service_account(id, &key, answer).await?))
    }

    async fn issue_service_token(
        &self,
        request: Request<IssueServiceTokenRequest>,
    ) -> Result<Response<IssueServiceTokenResponse>, Status> {
        let origin = convert::origin(&request);
        let message = request.into_inner();
        let secret = Secret::from(message.client_secret);
        let token = self.0.issue_service_token(&message.client_id, &secret, origin).await?;
        Ok(Response::new(IssueServiceTokenResponse {
            access_token: token.access_token,
            expires_at: Some(to_timestamp(token.expires_at)),
        }))
    }
}

fn new_account(message: &CreateServiceAccountRequest) -> Result<(DisplayName, ServiceRole), Problem> {
    let mut violations = Violations::new();
    let display_name = violations.check("display_name", DisplayName::parse(&message.display_name));
    let role = message.role.parse().ok();
    let role = role.filter(|role| matches!(role, ServiceRole::Operator | ServiceRole::Product));
    violations.require("role", role.is_some(), "must be operator or product");
    display_name.zip(role).ok_or_else(|| violations.into_problem())
}

fn account_id(text: &str) -> Result<ServiceAccountId, Problem> {
    text.parse().map_err(|error: bursar_id::IdError| Problem::invalid_field("service_account_id", error.to_string()))
}
