//! `ServiceAccountService`.

use std::mem::take;

use bursar_proto::identity::v1::service_account_service_server::ServiceAccountService;
use bursar_proto::identity::v1::{
    CreateServiceAccountRequest, CreateServiceAccountResponse, DisableServiceAccountRequest,
    DisableServiceAccountResponse, IssueServiceTokenRequest, IssueServiceTokenResponse, ListServiceAccountsRequest,
    ListServiceAccountsResponse, RotateServiceAccountSecretRequest, RotateServiceAccountSecretResponse,
};
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{Answer, Asked, Call, Origin, PageRequest, ServiceRole, Violations};
use bursar_secret::Secret;
use tonic::{Request, Response, Status};

use super::{Handlers, convert};
use crate::domain::display_name::DisplayName;
use crate::usecase::{NewAccount, NewSecret};

#[tonic::async_trait]
impl ServiceAccountService for Handlers {
    async fn create_service_account(
        &self,
        request: Request<CreateServiceAccountRequest>,
    ) -> Result<Response<CreateServiceAccountResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, new_account);
        let made = self.0.create_service_account(&asked).await?;
        let account = made.message()?;
        Ok(Response::new(CreateServiceAccountResponse {
            client_id: account.id.clone(),
            client_secret: secret(made),
            service_account: Some(account),
        }))
    }

    async fn list_service_accounts(
        &self,
        request: Request<ListServiceAccountsRequest>,
    ) -> Result<Response<ListServiceAccountsResponse>, Status> {
        let message = request.into_inner();
        let list = self.0.parts().pages.list("ListServiceAccounts", []);
        let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
        let page = self.0.list_service_accounts(&page).await?.messages(convert::service_account);
        Ok(Response::new(ListServiceAccountsResponse {
            service_accounts: page.rows,
            next_page_token: page.next_page_token,
        }))
    }

    async fn rotate_service_account_secret(
        &self,
        request: Request<RotateServiceAccountSecretRequest>,
    ) -> Result<Response<RotateServiceAccountSecretResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let id = |message: &RotateServiceAccountSecretRequest, violations: &mut Violations| {
            violations.check("service_account_id", message.service_account_id.parse())
        };
        let asked = Asked::read(call, &request_id, &message, id);
        let made = self.0.rotate_service_account_secret(&asked).await?;
        let client_id = made.message()?.id;
        Ok(Response::new(RotateServiceAccountSecretResponse { client_id, client_secret: secret(made) }))
    }

    async fn disable_service_account(
        &self,
        request: Request<DisableServiceAccountRequest>,
    ) -> Result<Response<DisableServiceAccountResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let id = |message: &DisableServiceAccountRequest, violations: &mut Violations| {
            violations.check("service_account_id", message.service_account_id.parse())
        };
        let asked = Asked::read(call, &request_id, &message, id);
        let disabled = self.0.disable_service_account(&asked).await?;
        Ok(Response::new(DisableServiceAccountResponse { service_account: Some(disabled.message()?) }))
    }

    async fn issue_service_token(
        &self,
        request: Request<IssueServiceTokenRequest>,
    ) -> Result<Response<IssueServiceTokenResponse>, Status> {
        let origin = Origin::of(&request);
        let message = request.into_inner();
        let secret = Secret::from(message.client_secret);
        let token = self.0.issue_service_token(&message.client_id, &secret, origin).await?;
        Ok(Response::new(IssueServiceTokenResponse {
            access_token: token.access_token,
            expires_at: Some(to_timestamp(token.expires_at)),
        }))
    }
}

fn new_account(message: &CreateServiceAccountRequest, violations: &mut Violations) -> Option<NewAccount> {
    let display_name = violations.check("display_name", DisplayName::parse(&message.display_name));
    let role = message.role.parse().ok();
    let role = role.filter(|role| matches!(role, ServiceRole::Operator | ServiceRole::Product));
    violations.require("role", role.is_some(), "must be operator or product");
    Some(NewAccount { display_name: display_name?, role: role? })
}

/// The secret that an account was just given; a repetition does not show it again.
fn secret(made: Answer<NewSecret>) -> String {
    made.made().map(|made| made.secret.expose().clone()).unwrap_or_default()
}
