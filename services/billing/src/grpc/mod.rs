//! The gRPC face of billing: handlers of a few lines, conversions, and errors as statuses.
//!
//! A handler reads who calls, authorises, parses, calls one use case and converts its answer. No
//! SQL, no spans and no `match` on errors: spans, deadlines and authentication are layers around
//! it, and [`status`] is the one place where errors become statuses.

mod account;
mod answer;
mod catalog;
mod change;
mod contract;
mod credit;
pub(crate) mod inbox;
mod invoice;
mod limit;
mod order;
mod parse;
mod payment;
mod purchase;
mod sandbox;
mod settings;
mod status;
mod subscription;
mod usage;

use bursar_proto::billing::v1::account_service_server::AccountServiceServer;
use bursar_proto::billing::v1::catalog_service_server::CatalogServiceServer;
use bursar_proto::billing::v1::credit_service_server::CreditServiceServer;
use bursar_proto::billing::v1::invoice_service_server::InvoiceServiceServer;
use bursar_proto::billing::v1::limit_service_server::LimitServiceServer;
use bursar_proto::billing::v1::payment_service_server::PaymentServiceServer;
use bursar_proto::billing::v1::purchase_service_server::PurchaseServiceServer;
use bursar_proto::billing::v1::subscription_service_server::SubscriptionServiceServer;
use bursar_proto::billing::v1::usage_service_server::UsageServiceServer;
use bursar_proto::testing::v1::sandbox_service_server::SandboxServiceServer;
use bursar_rpc::{MAX_MESSAGE, PageKey};
use tonic::service::Routes;

use crate::usecase::accounts::AccountUseCases;
use crate::usecase::catalogs::CatalogUseCases;
use crate::usecase::credits::CreditUseCases;
use crate::usecase::erasures::ErasureUseCases;
use crate::usecase::invoices::InvoiceUseCases;
use crate::usecase::limits::LimitUseCases;
use crate::usecase::payments::PaymentUseCases;
use crate::usecase::purchases::PurchaseUseCases;
use crate::usecase::reloading::Reloading;
use crate::usecase::reports::ReportUseCases;
use crate::usecase::settings::SettingsUseCases;
use crate::usecase::subscriptions::SubscriptionUseCases;
use crate::usecase::viewing::Viewing;

/// The gRPC services that billing answers, besides its events.
pub(crate) const SERVICES: [&str; 9] = [
    "bursar.billing.v1.AccountService",
    "bursar.billing.v1.CreditService",
    "bursar.billing.v1.CatalogService",
    "bursar.billing.v1.SubscriptionService",
    "bursar.billing.v1.PurchaseService",
    "bursar.billing.v1.InvoiceService",
    "bursar.billing.v1.PaymentService",
    "bursar.billing.v1.UsageService",
    "bursar.billing.v1.LimitService",
];

/// What plays the payment provider, in development only.
pub(crate) const SANDBOX: &str = "bursar.testing.v1.SandboxService";

/// The use cases behind the handlers.
pub(crate) struct Parts {
    pub(crate) viewing: Viewing,
    pub(crate) credits: CreditUseCases,
    pub(crate) accounts: AccountUseCases,
    pub(crate) erasures: ErasureUseCases,
    pub(crate) reports: ReportUseCases,
    pub(crate) subscriptions: SubscriptionUseCases,
    pub(crate) purchases: PurchaseUseCases,
    pub(crate) payments: PaymentUseCases,
    pub(crate) settings: SettingsUseCases,
    pub(crate) invoices: InvoiceUseCases,
    pub(crate) catalogs: CatalogUseCases,
    pub(crate) reloading: Reloading,
    pub(crate) limits: LimitUseCases,
    /// By which the page tokens of this service are known.
    pub(crate) pages: PageKey,
}

macro_rules! limited {
    ($server:ident, $handler:expr) => {
        $server::new($handler).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    };
}

/// The bare routes of every service, without the stack; in development with the one that plays the payment provider.
pub(crate) fn routes(parts: Parts, development: bool) -> Routes {
    let Parts { viewing, credits, accounts, erasures, reports, subscriptions, purchases, .. } = parts;
    let Parts { payments, settings, invoices, catalogs, reloading, limits, pages, .. } = parts;
    let catalog = catalog::CatalogHandler { catalogs, reloading, pages: pages.clone() };
    let usage =
        usage::UsageHandler { viewing: viewing.clone(), accounts: accounts.clone(), reports, pages: pages.clone() };
    let credit =
        credit::CreditHandler { credits, accounts: accounts.clone(), viewing: viewing.clone(), pages: pages.clone() };
    let account =
        account::AccountHandler { viewing: viewing.clone(), accounts, erasures, settings, pages: pages.clone() };
    let invoice = invoice::InvoiceHandler { viewing: viewing.clone(), invoices, pages: pages.clone() };
    let sandbox = sandbox::SandboxHandler(payments.clone());
    let subscription =
        subscription::SubscriptionHandler { subscriptions, payments: payments.clone(), viewing: viewing.clone() };
    let payment =
        payment::PaymentHandler { payments: payments.clone(), pages: pages.clone(), viewing: viewing.clone() };
    let purchase = purchase::PurchaseHandler { purchases, payments, pages: pages.clone(), viewing };
    let routes = Routes::new(limited!(AccountServiceServer, account))
        .add_service(limited!(CreditServiceServer, credit))
        .add_service(limited!(CatalogServiceServer, catalog))
        .add_service(limited!(SubscriptionServiceServer, subscription))
        .add_service(limited!(PaymentServiceServer, payment))
        .add_service(limited!(PurchaseServiceServer, purchase))
        .add_service(limited!(LimitServiceServer, limit::LimitHandler(limits, pages)))
        .add_service(limited!(InvoiceServiceServer, invoice))
        .add_service(limited!(UsageServiceServer, usage));
    if development { routes.add_service(limited!(SandboxServiceServer, sandbox)) } else { routes }
}
