//! Every setting of every program, with its default. What is read where, and in which order, is in
//! [`load`](crate::settings::Loader); how it prints is in [`Settings::to_redacted_toml`].
//!
//! One flat vocabulary: the TOML key `limits.deadline`, the environment variable
//! `BURSAR_LIMITS__DEADLINE`, and (for the common ones) a flag say the same thing. A setting that is
//! not here does not exist: an unknown key is refused wherever it is written.

mod buckets;
mod content;
mod grouping;
mod keys;
mod layers;
mod material;
mod payments;
mod preset;
mod print;
mod production;
mod sections;
mod span;
mod text;
mod validate;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use bursar_db::StoreUrl;
use bursar_members::Policy;
use bursar_rpc::TrustedProxies;
use serde::{Deserialize, Serialize};

use crate::{Each, Service};

pub use buckets::{AzureSettings, GcsSettings, S3Settings};
pub use content::{Cloud, ContentUrl, ContentUrlError};
pub use layers::{ConfigError, Loader};
pub use payments::{PaymentProvider, PaymentSettings, StripeSettings};
pub use preset::Preset;
pub use sections::{
    AuditSettings, BillingSettings, InvitationSettings, InvoiceSettings, LibrarySettings, LimitSettings, LogFormat,
    LogSettings, MailSettings, OrganizationSettings, PeerTlsSettings, PostgresSettings, SqliteSettings, TlsSettings,
    TokenSettings, VERIFICATION_TTL_MAX,
};

/// How much the program may assume about its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A person tries things: the test clock is allowed, listeners stay on loopback.
    Development,
    /// Real customers: a single service listens on every address, and what only suits a person who tries things is
    /// refused (the test clock, the sandbox, mail in files, a self-made key, plaintext, SQLite).
    Production,
}

/// Which of the four programs this is; some defaults depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// All three services in one process.
    Suite,
    /// One service, with its peers behind URLs.
    Single(Service),
}

impl Program {
    /// The program's name, as in `bursar-billing`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Suite => "bursar",
            Self::Single(service) => service.program(),
        }
    }

    /// The services that run in this program.
    pub fn services(self) -> &'static [Service] {
        match self {
            Self::Suite => &Service::ALL,
            Self::Single(service) => service.alone(),
        }
    }

    /// The mode that applies when none is set.
    pub const fn default_mode(self) -> Mode {
        match self {
            Self::Suite => Mode::Development,
            Self::Single(_) => Mode::Production,
        }
    }
}

/// The settings of one run, complete and checked.
///
/// The fields are public because services read them; only [`Loader`] makes them, so a value of this
/// type has passed every check. `Debug` and [`Settings::to_redacted_toml`] never show a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own that people write as true or false")]
pub struct Settings {
    /// Development or production.
    pub mode: Mode,
    /// What sort of product the deployment is for: the defaults of `policies`.
    pub preset: Preset,
    /// Where embedded databases, mail, keys and `operator.json` live.
    pub data_dir: PathBuf,
    /// Operations listen on this port, identity on the next, then organization, then billing.
    pub port_base: u16,
    /// Where operations listen, when not on the base port itself.
    pub operations_port: u16,
    /// The address the gRPC ports listen on.
    pub listen_address: IpAddr,
    /// The address the operations port listens on.
    pub operations_address: IpAddr,
    /// The proxies in front of Bursar whose `x-forwarded-for` is believed: addresses and networks (`10.0.0.0/8`),
    /// separated by commas. Nobody's, when it is empty. What is throttled by place is counted by the address found.
    pub trusted_proxies: TrustedProxies,
    /// Lets `ClockService` set the time. Development only.
    pub test_clock: bool,
    /// How far the clock may be from the database's; a replica whose clock differs by more decides nothing and is not
    /// ready.
    #[serde(with = "span")]
    pub max_clock_difference: std::time::Duration,
    /// Lets production mode sell through the sandbox, which takes no money from anybody.
    pub allow_sandbox_payments: bool,
    /// Lets production mode speak plaintext beyond loopback, on every port, to peers, to the bucket, to the mail
    /// server, to PostgreSQL and to a collector, and by links in letters: for networks that encrypt by themselves.
    pub allow_plaintext: bool,
    /// Lets production mode speak plaintext beyond loopback on the operations port alone: for probes and scrapers.
    pub allow_plaintext_operations: bool,
    /// Lets production mode speak plaintext to PostgreSQL alone: where the network encrypts on the way to it.
    pub allow_plaintext_store: bool,
    /// Lets production mode speak plaintext to a collector (`otlp_endpoint`) alone: where the network encrypts on the way to it.
    pub allow_plaintext_collector: bool,
    /// Lets production mode write letters with links in plaintext (`mail.link_base_url`), and nothing else: where the network
    /// encrypts on the way to customers.
    pub allow_plaintext_links: bool,
    /// Lets production mode keep stores on SQLite: for one replica on one disk.
    pub allow_sqlite: bool,
    /// TLS of the gRPC ports.
    pub tls: TlsSettings,
    /// TLS of the operations port.
    pub operations_tls: TlsSettings,
    /// TLS of the port for a payment provider's webhooks. Whoever sends them shows no certificate.
    pub inbox_tls: TlsSettings,
    /// TLS towards peers at `https://` URLs.
    pub peer_tls: PeerTlsSettings,
    /// How often the files of `tls`, `operations_tls`, `inbox_tls` and `peer_tls` are looked at for changes.
    #[serde(with = "span")]
    pub tls_reload: std::time::Duration,
    /// How old what a service was last told by another one may be. Above it billing refuses spending and changes in
    /// organizations' contexts with `FEED_STALE`, identity gives no token for one without asking organization, and organization
    /// no seat without asking billing. A member who was removed while nothing could be told may spend for so long.
    #[serde(with = "span")]
    pub max_staleness: std::time::Duration,
    /// Brings each store's schema up to date before serving. Off where a job runs `migrate`.
    pub migrate_on_start: bool,
    /// Each service's store: `identity_store`, `organization_store`, …
    #[serde(with = "text::parsed_each")]
    pub stores: Each<StoreUrl>,
    /// Where a single service finds each of the others (`http://host:port`, `https://host:port`): `identity_url`, …
    pub urls: Each<String>,
    /// The key that seals what is encrypted at rest. The default file is made at first start; a file
    /// that is configured must exist, because every replica needs the same one.
    pub master_key_file: PathBuf,
    /// Where identity writes the operator's service account at first start.
    pub operator_file: PathBuf,
    /// The catalog of plans, packs and models; the built-in one when not set. Read anew at SIGHUP and by `ReloadCatalog`.
    #[serde(with = "text::optional")]
    pub catalog_file: Option<PathBuf>,
    /// Kinds of library items beside the built-in ones, or in their place; none when not set.
    #[serde(with = "text::optional")]
    pub kinds_file: Option<PathBuf>,
    /// Where the content of library items lies: `file://FOLDER`, by default `content` in the data directory, or a bucket:
    /// `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` (Google Cloud Storage) or `az://CONTAINER/PREFIX` (Azure Blob Storage). Every
    /// replica needs the same; what lies there is not moved when this changes.
    pub content_url: ContentUrl,
    /// How the bucket of an `s3://` URL is reached.
    pub s3: S3Settings,
    /// How the bucket of a `gs://` URL is reached.
    pub gcs: GcsSettings,
    /// How the container of an `az://` URL is reached.
    pub azure: AzureSettings,
    /// The folder of the fonts that invoices are written in (`.ttf`, `.otf`, `.ttc`), folders in it included: Debian's
    /// `fonts-noto-core` and `fonts-noto-cjk` in `/usr/share/fonts` have most scripts. When not set, built-in ones with Latin,
    /// Greek and Cyrillic letters.
    #[serde(with = "text::optional")]
    pub fonts_dir: Option<PathBuf>,
    /// How long after it was issued an invoice keeps its billing profile once its owner is gone for good. The law asks for
    /// years; at least 1 day.
    #[serde(with = "span")]
    pub invoice_retention: std::time::Duration,
    /// Where traces and metrics are sent (OTLP over gRPC, in plaintext: in production mode to this machine, or with
    /// `allow_plaintext_collector`); nowhere when not set.
    #[serde(with = "text::optional")]
    pub otlp_endpoint: Option<String>,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Outgoing mail.
    pub mail: MailSettings,
    /// `[service_secrets]`: `identity_file`, `organization_file`, …, the files with the secrets by which the services
    /// prove themselves to one another. Identity reads all, the others their own. Files at their default place are
    /// made at first start; configured ones must exist.
    pub service_secrets: Each<PathBuf>,
    /// Deadlines, queues and connections.
    pub limits: LimitSettings,
    /// Connections to a `PostgreSQL` store.
    pub postgres: PostgresSettings,
    /// Connections to a `SQLite` store.
    pub sqlite: SqliteSettings,
    /// How long tokens and sessions live.
    pub tokens: TokenSettings,
    /// The deployment's policies, by default those of `preset`: what holds for every organization whose owner has not set another, and for everybody
    /// where that is not the owner's to set. Organization tells the other services.
    pub policies: Policy,
    /// Organizations.
    pub organizations: OrganizationSettings,
    /// Invitations to organizations.
    pub invitations: InvitationSettings,
    /// Libraries.
    pub library: LibrarySettings,
    /// The audit log.
    pub audit: AuditSettings,
    /// The credit engine.
    pub billing: BillingSettings,
    /// Invoices.
    pub invoices: InvoiceSettings,
    /// Who takes money.
    pub payments: PaymentSettings,
}

impl Settings {
    /// The store of `service`.
    pub fn store(&self, service: Service) -> &StoreUrl {
        &self.stores[service]
    }

    /// Where `service` listens when it runs in this program.
    pub fn service_address(&self, service: Service) -> SocketAddr {
        SocketAddr::new(self.listen_address, self.port_base + service.port_offset())
    }

    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub const fn operations_listener(&self) -> SocketAddr {
        SocketAddr::new(self.operations_address, self.operations_port)
    }

    /// Where another program finds `service`.
    pub fn peer_url(&self, service: Service) -> &str {
        &self.urls[service]
    }

    /// The bounds of a service's tower stack.
    pub fn stack_limits(&self) -> bursar_rpc::Limits {
        bursar_rpc::Limits {
            max_in_flight: self.limits.in_flight,
            max_message_bytes: self.limits.message_bytes,
            default_deadline: self.limits.deadline,
            max_deadline: self.limits.deadline,
            stream_deadline: self.limits.stream_deadline,
            message_deadline: self.limits.message_deadline,
            trusted_proxies: self.trusted_proxies.clone(),
            ..bursar_rpc::Limits::default()
        }
    }

    /// Where mail is written when no SMTP server is configured.
    pub fn mail_dir(&self) -> PathBuf {
        self.data_dir.join("mail")
    }

    /// Settings for tests: development defaults for everything under `data_dir`.
    pub fn for_test(data_dir: impl Into<PathBuf>) -> Self {
        Self::defaults(Program::Suite, Mode::Development, data_dir.into(), sections::DEFAULT_PORT_BASE)
    }
}
