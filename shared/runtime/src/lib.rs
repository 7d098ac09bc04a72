//! What every Bursar program shares around its services: settings, the command line, telemetry, health,
//! reflection, the operations port, and a start and a stop that always end.
//!
//! A service implements the contract ([`Env`], [`Peers`], [`Started`]) and never sees a port or a signal.
//! Nothing in here knows what a service does; no business rule belongs here.

mod audit_command;
mod cli;
mod clock_command;
mod clock_service;
mod connection;
mod contract;
mod crowding;
mod dead_letters;
mod desk;
mod grpc;
mod grpc_port;
mod health;
mod heavy;
mod holders;
mod http_port;
mod https;
mod lifecycle;
mod listen;
mod open_streams;
mod operations;
mod places;
mod program;
mod readiness;
mod reflection;
mod service;
mod set_aside;
mod settings;
mod socket;
mod telemetry;
mod timekeeping;
mod tls;

pub use audit_command::AuditArgs;
pub use cli::{MigrateArgs, Options, ServiceCli, ServiceCommand, ServiceFlags};
pub use contract::{Env, Peers, ReadyProbe, Started};
pub use crowding::show_crowd;
pub use heavy::{Heavy, step_back};
pub use https::{HttpsClient, https_client};
pub use lifecycle::{Signals, serve as serve_on, surroundings};
pub use listen::{ListenError, Listeners};
pub use program::{healthcheck, network_peers, prepare, run, run_single, run_single_with, serve};
pub use service::{Each, Service};
pub use set_aside::EventsArgs;
pub use settings::{
    AuditSettings, AzureSettings, BillingSettings, Cloud, ConfigError, ContentUrl, ContentUrlError, GcsSettings,
    InvitationSettings, InvoiceSettings, LibrarySettings, LimitSettings, Loader, LogFormat, LogSettings, MailSettings,
    Mode, OrganizationSettings, PaymentProvider, PaymentSettings, PeerTlsSettings, PostgresSettings, Preset, Program,
    S3Settings, Settings, SqliteSettings, StripeSettings, TlsSettings, TokenSettings, VERIFICATION_TTL_MAX,
};
pub use telemetry::Telemetry;
pub use timekeeping::keep_time;
