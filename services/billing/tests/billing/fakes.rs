//! The parts of identity that billing talks to, and what organization's snapshots tell it.

use std::sync::{Arc, Mutex};

use bursar_db::{DbError, Tx};
use bursar_events::{Part, Present};
use bursar_id::ServiceAccountId;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::identity::v1::key_service_server::{KeyService, KeyServiceServer};
use bursar_proto::identity::v1::service_account_service_server::{ServiceAccountService, ServiceAccountServiceServer};
use bursar_proto::identity::v1::{
    CreateServiceAccountRequest, CreateServiceAccountResponse, DisableServiceAccountRequest,
    DisableServiceAccountResponse, GetJwksRequest, GetJwksResponse, IssueServiceTokenRequest,
    IssueServiceTokenResponse, ListServiceAccountsRequest, ListServiceAccountsResponse,
    RotateServiceAccountSecretRequest, RotateServiceAccountSecretResponse,
};
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::Issuer;
use bursar_time::{Clock, Span};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// An identity that publishes the test issuer's key and gives billing its token.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) clock: Clock,
}

impl Identity {
    pub(crate) fn routes(self) -> Routes {
        Routes::new(KeyServiceServer::new(self.clone())).add_service(ServiceAccountServiceServer::new(self))
    }
}

#[tonic::async_trait]
impl KeyService for Identity {
    async fn get_jwks(&self, _: Request<GetJwksRequest>) -> Result<Response<GetJwksResponse>, Status> {
        Ok(Response::new(GetJwksResponse { keys: self.issuer.jwks() }))
    }
}

#[tonic::async_trait]
impl ServiceAccountService for Identity {
    async fn issue_service_token(
        &self,
        request: Request<IssueServiceTokenRequest>,
    ) -> Result<Response<IssueServiceTokenResponse>, Status> {
        assert_eq!(request.into_inner().client_id, ServiceAccountId::BILLING.to_string());
        let now = self.clock.now();
        Ok(Response::new(IssueServiceTokenResponse {
            access_token: self.issuer.service(ServiceRole::Billing, now),
            expires_at: Some(to_timestamp(now.saturating_add(Span::from_mins(5)))),
        }))
    }

    async fn create_service_account(
        &self,
        _: Request<CreateServiceAccountRequest>,
    ) -> Result<Response<CreateServiceAccountResponse>, Status> {
        Err(never())
    }

    async fn list_service_accounts(
        &self,
        _: Request<ListServiceAccountsRequest>,
    ) -> Result<Response<ListServiceAccountsResponse>, Status> {
        Err(never())
    }

    async fn rotate_service_account_secret(
        &self,
        _: Request<RotateServiceAccountSecretRequest>,
    ) -> Result<Response<RotateServiceAccountSecretResponse>, Status> {
        Err(never())
    }

    async fn disable_service_account(
        &self,
        _: Request<DisableServiceAccountRequest>,
    ) -> Result<Response<DisableServiceAccountResponse>, Status> {
        Err(never())
    }
}

/// What organization's snapshots tell: nothing, until a test says what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot(Arc<Mutex<Vec<Payload>>>);

impl Snapshot {
    /// From now on they tell this.
    pub(crate) fn tells(&self, payloads: Vec<Payload>) {
        *self.0.lock().unwrap() = payloads;
    }
}

#[tonic::async_trait]
impl Present for Snapshot {
    async fn part(&self, _: &mut Tx, after: &str) -> Result<Option<Part>, DbError> {
        let payloads = self.0.lock().unwrap().clone();
        Ok(after.is_empty().then(|| Part { payloads, next: "end".to_owned() }))
    }
}

fn never() -> Status {
    Status::unimplemented("billing never asks for this")
}
