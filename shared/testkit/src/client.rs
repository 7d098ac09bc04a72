//! Clients of every service, with credentials.

use bursar_proto::{
    billing::v1::{
        account_service_client::AccountServiceClient, catalog_service_client::CatalogServiceClient,
        credit_service_client::CreditServiceClient, invoice_service_client::InvoiceServiceClient,
        limit_service_client::LimitServiceClient, payment_service_client::PaymentServiceClient,
        purchase_service_client::PurchaseServiceClient, subscription_service_client::SubscriptionServiceClient,
        usage_service_client::UsageServiceClient,
    },
    event::v1::event_service_client::EventServiceClient,
    identity::v1::{
        IssueServiceTokenRequest, context_service_client::ContextServiceClient, key_service_client::KeyServiceClient,
        service_account_service_client::ServiceAccountServiceClient, session_service_client::SessionServiceClient,
        user_service_client::UserServiceClient,
    },
    organization::v1::{
        audit_service_client::AuditServiceClient, invitation_service_client::InvitationServiceClient,
        library_service_client::LibraryServiceClient, member_service_client::MemberServiceClient,
        organization_service_client::OrganizationServiceClient, project_service_client::ProjectServiceClient,
    },
    testing::v1::{clock_service_client::ClockServiceClient, sandbox_service_client::SandboxServiceClient},
};
use bursar_rpc::Transport;
use bursar_runtime::Service;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
};

use crate::{deployment::Deployment, process::Operator};

/// The transport under every client: one service's, with credentials added.
pub type Channel = InterceptedService<Transport, Credentials>;

/// What is sent with each call: nothing, a token, or a service's token with a user's.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    token: Option<MetadataValue<Ascii>>,
    user: Option<MetadataValue<Ascii>>,
}

impl Credentials {
    /// `authorization: Bearer <token>`.
    pub fn bearer(token: &str) -> Self {
        Self { token: Some(bearer(token)), user: None }
    }

    /// Adds the user for whom a service calls (`bursar-user-authorization`).
    #[must_use]
    pub fn for_user(mut self, token: &str) -> Self {
        self.user = Some(bearer(token));
        self
    }
}

fn bearer(token: &str) -> MetadataValue<Ascii> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().expect("a token is ASCII");
    // Not shown by Debug.
    value.set_sensitive(true);
    value
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        if let Some(user) = &self.user {
            metadata.insert("bursar-user-authorization", user.clone());
        }
        Ok(request)
    }
}

/// Makes a client of one service: `client(CreditServiceClient::with_interceptor, &transport, &token)`, for tests of a
/// single service in this process.
pub fn client<C>(make: impl FnOnce(Transport, Credentials) -> C, transport: &Transport, token: &str) -> C {
    make(transport.clone(), Credentials::bearer(token))
}

/// Clients of the three services for one caller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    identity: Transport,
    organization: Transport,
    billing: Transport,
    credentials: Credentials,
}

macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident -> $client:ident on $service:ident;)+) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> $client<Channel> {
            $client::with_interceptor(self.$service.clone(), self.credentials.clone())
        }
    )+};
}

impl Client {
    /// An anonymous caller of three services, wherever they are.
    pub fn new(identity: Transport, organization: Transport, billing: Transport) -> Self {
        Self { identity, organization, billing, credentials: Credentials::default() }
    }

    /// An anonymous caller of a deployment. Needs a running tokio runtime.
    pub fn of(deployment: &Deployment) -> Self {
        let connect = |service: Service| {
            let url = deployment.url(service);
            Transport::connect(&url).unwrap_or_else(|error| panic!("{url} is no address: {error}"))
        };
        Self::new(connect(Service::Identity), connect(Service::Organization), connect(Service::Billing))
    }

    /// The way to one service, without credentials.
    pub fn transport(&self, service: Service) -> Transport {
        match service {
            Service::Identity => &self.identity,
            Service::Organization => &self.organization,
            Service::Billing => &self.billing,
        }
        .clone()
    }

    /// The same services, called with a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { credentials: Credentials::bearer(token), ..self.clone() }
    }

    /// The same services, called by this service for a user.
    #[must_use]
    pub fn for_user(&self, token: &str) -> Self {
        Self { credentials: self.credentials.clone().for_user(token), ..self.clone() }
    }

    /// The same services, called by the operator.
    pub async fn as_operator(&self, operator: &Operator) -> Self {
        let request = IssueServiceTokenRequest {
            client_id: operator.client_id.clone(),
            client_secret: operator.client_secret.clone(),
        };
        let issued = self.service_accounts().issue_service_token(request).await;
        self.with_token(&issued.expect("the operator gets a token").into_inner().access_token)
    }

    clients! {
        /// identity's `UserService`.
        users -> UserServiceClient on identity;
        /// identity's `SessionService`.
        sessions -> SessionServiceClient on identity;
        /// identity's `ContextService`.
        contexts -> ContextServiceClient on identity;
        /// identity's `ServiceAccountService`.
        service_accounts -> ServiceAccountServiceClient on identity;
        /// identity's `KeyService`.
        keys -> KeyServiceClient on identity;
        /// organization's `OrganizationService`.
        organizations -> OrganizationServiceClient on organization;
        /// organization's `MemberService`.
        members -> MemberServiceClient on organization;
        /// organization's `InvitationService`.
        invitations -> InvitationServiceClient on organization;
        /// organization's `ProjectService`.
        projects -> ProjectServiceClient on organization;
        /// organization's `LibraryService`.
        libraries -> LibraryServiceClient on organization;
        /// organization's `AuditService`.
        audit -> AuditServiceClient on organization;
        /// billing's `AccountService`.
        accounts -> AccountServiceClient on billing;
        /// billing's `CreditService`.
        credits -> CreditServiceClient on billing;
        /// billing's `CatalogService`.
        catalog -> CatalogServiceClient on billing;
        /// billing's `SubscriptionService`.
        subscriptions -> SubscriptionServiceClient on billing;
        /// billing's `PurchaseService`.
        purchases -> PurchaseServiceClient on billing;
        /// billing's `InvoiceService`.
        invoices -> InvoiceServiceClient on billing;
        /// billing's `PaymentService`.
        payments -> PaymentServiceClient on billing;
        /// billing's `SandboxService`, which plays the payment provider.
        sandbox -> SandboxServiceClient on billing;
        /// billing's `LimitService`.
        limits -> LimitServiceClient on billing;
        /// billing's `UsageService`.
        usage -> UsageServiceClient on billing;
        /// identity's `EventService`.
        identity_events -> EventServiceClient on identity;
        /// organization's `EventService`.
        organization_events -> EventServiceClient on organization;
        /// billing's `EventService`.
        billing_events -> EventServiceClient on billing;
        /// identity's `ClockService`; in the suite it is everybody's clock.
        identity_clock -> ClockServiceClient on identity;
        /// organization's `ClockService`.
        organization_clock -> ClockServiceClient on organization;
        /// billing's `ClockService`.
        billing_clock -> ClockServiceClient on billing;
    }
}
