//! The small identity of these tests: it gives organization its token.

use std::sync::Arc;

use bursar_proto::identity::v1 as identity;
use bursar_proto::identity::v1::service_account_service_server::ServiceAccountService;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::Issuer;
use bursar_time::{Clock, Span};
use tonic::{Request, Response, Status};

/// The part of identity that gives organization its token.
pub(crate) struct Accounts {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl ServiceAccountService for Accounts {
    async fn issue_service_token(
        &self,
        request: Request<identity::IssueServiceTokenRequest>,
    ) -> Result<Response<identity::IssueServiceTokenResponse>, Status> {
        let expected = bursar_id::ServiceAccountId::ORGANIZATION.to_string();
        assert_eq!(request.into_inner().client_id, expected);
        let now = self.clock.now();
        Ok(Response::new(identity::IssueServiceTokenResponse {
            access_token: self.issuer.service(ServiceRole::Organization, now),
            expires_at: Some(to_timestamp(now.saturating_add(Span::from_mins(5)))),
        }))
    }

    async fn create_service_account(
        &self,
        _: Request<identity::CreateServiceAccountRequest>,
    ) -> Result<Response<identity::CreateServiceAccountResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_service_accounts(
        &self,
        _: Request<identity::ListServiceAccountsRequest>,
    ) -> Result<Response<identity::ListServiceAccountsResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn rotate_service_account_secret(
        &self,
        _: Request<identity::RotateServiceAccountSecretRequest>,
    ) -> Result<Response<identity::RotateServiceAccountSecretResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn disable_service_account(
        &self,
        _: Request<identity::DisableServiceAccountRequest>,
    ) -> Result<Response<identity::DisableServiceAccountResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}
