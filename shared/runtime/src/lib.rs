//! What every Bursar program shares around its services: settings, the command line, telemetry, health,
//! reflection, the operations port, and a start and stop that always end.
//!
//! A service implements the contract in [`contract`](Started) and never sees a port or a signal.
//! Nothing in here knows what a service does; no business rule belongs here.

mod contract;
mod service;
mod settings;

pub use contract::{Env, Peers, ReadyProbe, Started};
pub use service::Service;
pub use settings::{
    BillingSettings, ConfigError, InvitationSettings, LimitSettings, Loader, LogFormat,
    LogSettings, MailSettings, Mode, PostgresSettings, Program, SecretText, ServiceSecretFiles,
    Settings, SqliteSettings, TokenSettings,
};
