//! The generated clients, with somebody's token.

use std::collections::HashMap;

use anyhow::Context as _;
use bursar_proto::{
    billing::v1::{
        account_service_client::AccountServiceClient, catalog_service_client::CatalogServiceClient,
        credit_service_client::CreditServiceClient, invoice_service_client::InvoiceServiceClient,
        limit_service_client::LimitServiceClient, payment_service_client::PaymentServiceClient,
        purchase_service_client::PurchaseServiceClient, subscription_service_client::SubscriptionServiceClient,
        usage_service_client::UsageServiceClient,
    },
    identity::v1::{
        context_service_client::ContextServiceClient, service_account_service_client::ServiceAccountServiceClient,
        session_service_client::SessionServiceClient, user_service_client::UserServiceClient,
    },
    organization::v1::{
        invitation_service_client::InvitationServiceClient, library_service_client::LibraryServiceClient,
        member_service_client::MemberServiceClient, organization_service_client::OrganizationServiceClient,
        project_service_client::ProjectServiceClient,
    },
    testing::v1::{clock_service_client::ClockServiceClient, sandbox_service_client::SandboxServiceClient},
};
use bursar_rpc::{Transport, problem::reason_of};
use bursar_runtime::Service;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
};
use tonic_types::StatusExt as _;

use crate::target::Target;

/// Connections to the three services, and the token that calls carry.
#[derive(Clone)]
pub(super) struct Wire {
    identity: Transport,
    organization: Transport,
    billing: Transport,
    bearer: Bearer,
}

type Channel = InterceptedService<Transport, Bearer>;

macro_rules! clients {
    ($($name:ident: $client:ident on $service:ident;)+) => {$(
        pub(super) fn $name(&self) -> $client<Channel> {
            $client::with_interceptor(self.$service.clone(), self.bearer.clone())
        }
    )+};
}

impl Wire {
    /// Nobody's calls to the suite at `target`.
    pub(super) fn to(target: &Target) -> anyhow::Result<Self> {
        let connect = |service: Service| {
            let url = target.url(service);
            Transport::connect(&url).with_context(|| format!("the address {url}"))
        };
        Ok(Self {
            identity: connect(Service::Identity)?,
            organization: connect(Service::Organization)?,
            billing: connect(Service::Billing)?,
            bearer: Bearer::default(),
        })
    }

    /// The same services, called by whom the token was issued to.
    pub(super) fn with_token(&self, token: &str) -> anyhow::Result<Self> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().context("the token")?;
        // Never shown by Debug.
        value.set_sensitive(true);
        Ok(Self { bearer: Bearer(Some(value)), ..self.clone() })
    }

    clients! {
        users: UserServiceClient on identity;
        sessions: SessionServiceClient on identity;
        contexts: ContextServiceClient on identity;
        service_accounts: ServiceAccountServiceClient on identity;
        organizations: OrganizationServiceClient on organization;
        members: MemberServiceClient on organization;
        invitations: InvitationServiceClient on organization;
        projects: ProjectServiceClient on organization;
        libraries: LibraryServiceClient on organization;
        accounts: AccountServiceClient on billing;
        catalog: CatalogServiceClient on billing;
        credits: CreditServiceClient on billing;
        subscriptions: SubscriptionServiceClient on billing;
        payments: PaymentServiceClient on billing;
        purchases: PurchaseServiceClient on billing;
        invoices: InvoiceServiceClient on billing;
        limits: LimitServiceClient on billing;
        usage: UsageServiceClient on billing;
        sandbox: SandboxServiceClient on billing;
    }

    /// The test clocks of all services; in the suite they are one.
    pub(super) fn clocks(&self) -> [ClockServiceClient<Transport>; 3] {
        [&self.identity, &self.organization, &self.billing].map(|service| ClockServiceClient::new(service.clone()))
    }
}

#[derive(Clone, Default)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// The answer, or an error that says what the service said.
pub(super) fn answer<T>(outcome: Result<Response<T>, Status>) -> anyhow::Result<T> {
    match outcome {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => {
            let reason = reason_of(&status).unwrap_or_default();
            anyhow::bail!("{:?} {reason}: {}", status.code(), status.message())
        }
    }
}

/// The part of an answer that must be there.
pub(super) fn part<T>(value: Option<T>, name: &str) -> anyhow::Result<T> {
    value.with_context(|| format!("the answer has no {name}"))
}

/// The `ErrorInfo` metadata of a call that must be refused with this code and reason.
pub(super) fn refused<T>(
    outcome: Result<Response<T>, Status>,
    code: Code,
    reason: &str,
) -> anyhow::Result<HashMap<String, String>> {
    refused_for(outcome, code, &[reason])
}

/// The same where each of several reasons will do.
pub(super) fn refused_for<T>(
    outcome: Result<Response<T>, Status>,
    code: Code,
    reasons: &[&str],
) -> anyhow::Result<HashMap<String, String>> {
    let wanted = format!("{code:?} {}", reasons.join(" or "));
    let Err(status) = outcome else { anyhow::bail!("was answered, and must be refused with {wanted}") };
    let none = || tonic_types::ErrorInfo::new("", "", HashMap::new());
    let info = status.get_details_error_info().unwrap_or_else(none);
    anyhow::ensure!(
        status.code() == code && reasons.contains(&info.reason.as_str()),
        "must be refused with {wanted}, not with {:?} {}: {}",
        status.code(),
        info.reason,
        status.message()
    );
    Ok(info.metadata)
}
