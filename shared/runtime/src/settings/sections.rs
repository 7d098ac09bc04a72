//! The sections of the settings and every default value.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use bursar_db::StoreUrl;
use bursar_members::Policy;
use bursar_rpc::TrustedProxies;
use bursar_secret::Secret;
use serde::{Deserialize, Serialize};

use super::{
    AzureSettings, ContentUrl, GcsSettings, Mode, PaymentSettings, Preset, Program, S3Settings, Settings, span, text,
};
use crate::{Each, Service};

/// The base port when none is set.
pub(crate) const DEFAULT_PORT_BASE: u16 = 7400;

/// What letters and invoices call a product that has said no name.
pub(crate) const PRODUCT: &str = "Bursar";

/// The master key's default file in the data directory.
pub(crate) const MASTER_KEY: &str = "master.key";
/// The default folder of the services' secrets in the data directory.
pub(crate) const SECRETS: &str = "secrets";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Text or JSON; JSON by default in production.
    pub format: LogFormat,
    /// Which events are logged, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
}

/// `[tls]` (the gRPC ports), `[operations_tls]` (the operations port) and `[inbox_tls]` (the port for webhooks): what a port shows to its callers and asks of
/// them. Files are PEM, and are read again when they change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate with those that vouch for it, the port's own first. Plaintext when not set.
    #[serde(with = "text::optional")]
    pub certificate_file: Option<PathBuf>,
    /// The certificate's private key (PKCS #8, PKCS #1 or SEC 1).
    #[serde(with = "text::optional")]
    pub key_file: Option<PathBuf>,
    /// Mutual TLS: callers must show a certificate that one of these authorities vouches for. When not set, any caller
    /// may connect, and proves itself by its token alone.
    #[serde(with = "text::optional")]
    pub client_ca_file: Option<PathBuf>,
}

/// `[peer_tls]`: how a single service calls the others at `https://` URLs. Files are PEM, and are read again when they
/// change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTlsSettings {
    /// The authorities that vouch for peers, and then no others do; the system's authorities when not set.
    #[serde(with = "text::optional")]
    pub ca_file: Option<PathBuf>,
    /// What is shown to peers that ask for a certificate (mutual TLS); none when not set.
    #[serde(with = "text::optional")]
    pub certificate_file: Option<PathBuf>,
    /// The private key of that certificate.
    #[serde(with = "text::optional")]
    pub key_file: Option<PathBuf>,
}

/// `[mail]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// The mail server (`smtps://user:password@host:465`, `smtp://host:587?tls=required`). Without one,
    /// mail is written to `DATA_DIR/mail/*.eml`.
    #[serde(with = "text::secret")]
    pub smtp_url: Option<Secret>,
    /// The sender of every mail. In production one that can be somebody's: of no `localhost` and no `example.com`.
    pub from: String,
    /// What letters call the product.
    pub product: String,
    /// The product's own address, which every link in a mail starts with. In production `https://`, and where customers find it.
    pub link_base_url: String,
}

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// The longest a call may take, and how long one may take that names no deadline.
    #[serde(with = "span")]
    pub deadline: Duration,
    /// The same for a call whose caller sends a stream (an upload).
    #[serde(with = "span")]
    pub stream_deadline: Duration,
    /// How long the message of a call may be on its way, where it comes by itself (no upload); each 32 KiB of it that have
    /// come give it a second more.
    #[serde(with = "span")]
    pub message_deadline: Duration,
    /// Calls in work at once in one service, of one caller as many as there are places left for everybody else; more are
    /// refused with `RESOURCE_EXHAUSTED`. At least twice `billing.queue_max`, or the half that one service may have is full
    /// before the queue has shared its places among the owners.
    pub in_flight: usize,
    /// Bytes that the messages of calls in work may have in memory in one service, as they come over the wire and with what
    /// their lists and maps take once they are read, and of one caller as many as are left for everybody else; more are refused
    /// with `RESOURCE_EXHAUSTED`. What is made of a message takes memory, too: a quarter of the program's is enough. At least
    /// 40 MiB, of which the largest message finds room in half, and a kilobyte for each of `in_flight`, which goes with its
    /// place. (The first 8 KiB of what lists and maps take go with it, too, and are not counted: where calls with
    /// many labels come by the ten thousand at once, leave room for that.)
    pub message_bytes: usize,
    /// Connections open at once to each gRPC port, and to the operations port and that for webhooks (512 at most each); of one
    /// address (IPv6: of its /48) as many as there are places left for everybody else. More of one address are closed at once;
    /// while all places are taken whoever comes waits to be accepted. Where hardly any are left an idle connection of the address
    /// that has most gives way to one that has clearly fewer, and for each 64 one may be on its way out beside the others. Of the
    /// port for webhooks an address of `trusted_proxies` may have all. A gRPC port gives as many places to streams that ask for
    /// no account: watches of health, and reflection. Each connection is an open file of the process.
    pub connections: usize,
    /// Calls and streams open at once on one connection; more wait for a place.
    pub streams_per_connection: u32,
    /// How long a connection lives before its caller is asked to make a new one (± 10 %), so that
    /// callers spread over replicas.
    #[serde(with = "span")]
    pub connection_age: Duration,
    /// After a stop signal, how long the program still accepts calls while it answers "not ready".
    #[serde(with = "span")]
    pub drain: Duration,
    /// After a stop signal, how long everything may take altogether before it is cut off; below 10 s.
    #[serde(with = "span")]
    pub shutdown: Duration,
}

/// `[postgres]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// Connections that each service may have open; each of billing's lanes has one more of its own.
    pub connections: u32,
    /// How long a call waits for a connection before it fails with `UNAVAILABLE`.
    #[serde(with = "span")]
    pub acquire_timeout: Duration,
}

/// `[sqlite]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteSettings {
    /// Reading connections of each service (there is always one that writes).
    pub readers: u32,
}

/// The longest life of a mailed address verification, in any deployment.
pub const VERIFICATION_TTL_MAX: Duration = Duration::from_hours(30 * 24);

/// `[tokens]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// Life of an access token; at most 5 minutes.
    #[serde(with = "span")]
    pub access_ttl: Duration,
    /// Life of a service's token; at most 5 minutes.
    #[serde(with = "span")]
    pub service_ttl: Duration,
    /// Life of a session that is not refreshed, from its last refresh on: another setting changes it for each at its next
    /// one, and ends none before.
    #[serde(with = "span")]
    pub refresh_ttl: Duration,
    /// How old a session becomes, however much it is used: then its user signs in again.
    #[serde(with = "span")]
    pub session_age: Duration,
    /// How long a refresh token that was just rotated still answers with its successor.
    #[serde(with = "span")]
    pub refresh_grace: Duration,
    /// How often one session may be refreshed at once, and as often an hour from then on (so twice as often within any one hour at
    /// most); all sessions of one user ten times as often.
    pub max_refreshes_per_hour: u32,
    /// Life of a mailed address verification; those that were mailed before keep theirs.
    #[serde(with = "span")]
    pub verification_ttl: Duration,
}

/// `[invitations]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvitationSettings {
    /// Life of an invitation, between 1 hour and 30 days.
    #[serde(with = "span")]
    pub ttl: Duration,
    /// Pending invitations that one organization may have.
    pub max_pending: u32,
    /// Invitations that one organization may send within 24 hours.
    pub max_per_day: u32,
    /// The same in an organization's first week.
    pub max_per_day_at_first: u32,
    /// Invitations that one person may send within 24 hours, for whatever organizations; 10,000 at most.
    pub max_per_day_by_sender: u32,
    /// Invitations that one address may get within 24 hours, from whatever organizations; from one organization, and from one
    /// person, three fifths of them (rounded up). Of one or two that is all of them: only from three on nobody keeps the others
    /// from inviting an address. 10,000 at most.
    pub max_per_day_to_address: u32,
    /// Invitations of organizations in their first week that may be sent within 24 hours from one network address (an IPv6
    /// address by its /64), by whomever: the caller's, or the one that a service states for the person it acts for. From one IPv6
    /// /48 ten times as many. 1,000 at most: when each was sent is kept in one row, which is written anew for each.
    pub max_per_day_by_origin: u32,
}

/// `[organizations]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationSettings {
    /// Organizations that one person may create within 24 hours. How many somebody owns is not limited.
    pub max_created_per_day: u32,
}

/// `[library]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibrarySettings {
    /// Bytes that one owner's library may take; more is refused with `RESOURCE_EXHAUSTED`.
    pub quota_bytes: u64,
    /// Bytes that one upload may have.
    pub upload_bytes: u64,
    /// How long whoever uploads may send nothing, and whoever downloads take nothing.
    #[serde(with = "span")]
    pub idle_timeout: Duration,
    /// Items with content that one export may have, up to 1,000,000. An archive ends with its directory, so each of them takes
    /// half a kilobyte of memory until the export has ended; sixteen may be under way.
    pub export_contents: u32,
}

/// `[audit]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSettings {
    /// How long rows of the audit log are kept, between 1 day and 3,660 days. The same in every service: each keeps its
    /// own rows for so long, and organization everybody's.
    #[serde(with = "span")]
    pub retention: Duration,
}

/// `[billing]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingSettings {
    /// Workers that decide and commit commands; 0 = as many as suit the machine (one: fewer and larger
    /// batches win).
    pub lanes: usize,
    /// Commands that one transaction may combine.
    pub batch_max: usize,
    /// Commands that may wait over all workers; more are refused with `RESOURCE_EXHAUSTED`. One owner's may be as many
    /// as there are places left for everybody else.
    pub queue_max: usize,
    /// Whether waiting commands share a transaction. Off, each has one of its own: only for comparison.
    pub combine: bool,
    /// Accounts that the workers remember between transactions, so that a busy one need not be loaded
    /// again and again. Each takes the memory of its balances and live lots.
    pub warm_accounts: usize,
    /// The longest hold.
    #[serde(with = "span")]
    pub hold_ttl_max: Duration,
    /// Holds that may be open in one account.
    pub open_holds_max: u32,
    /// Limits that an account may have.
    pub limits_max: u32,
    /// How long after an attempt to top an account up by itself there is no other one, whatever became of it; between 1
    /// minute and 30 days.
    #[serde(with = "span")]
    pub top_up_cooldown: Duration,
    /// Whether billing's tables are distributed by owner over several PostgreSQL servers (`deploy/distribute.sql`):
    /// each transaction of the credit path then has one owner.
    pub distributed: bool,
}

/// `[invoices]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvoiceSettings {
    /// Who sells: name, address, tax number and what else the law asks for, in at most 8 lines of 120 characters. It stands
    /// on every invoice from then on, below `mail.product`.
    pub issuer: String,
    /// The product's logo: a PNG, JPEG or WebP of at most 2 MiB. None when not set.
    #[serde(with = "text::optional")]
    pub logo_file: Option<PathBuf>,
    /// Taxes by country (`[[taxes]]` with `country`, `name` and `percent`). No taxes when not set: what is paid are the
    /// catalog's prices. Read anew with the catalog.
    #[serde(with = "text::optional")]
    pub tax_file: Option<PathBuf>,
}

impl Settings {
    /// Every default. Those of `mode`, `data_dir` and `port_base` come in, since others follow from them.
    pub(crate) fn defaults(program: Program, mode: Mode, data_dir: PathBuf, port_base: u16) -> Self {
        let production = mode == Mode::Production;
        // The suite is a machine of its own; a single service in production is called from elsewhere.
        let listen = match program {
            Program::Single(_) if production => Ipv4Addr::UNSPECIFIED,
            _ => Ipv4Addr::LOCALHOST,
        };
        let store = |service: Service| StoreUrl::sqlite(data_dir.join(format!("{service}.db")));
        let url =
            |service: Service| format!("http://127.0.0.1:{}", u32::from(port_base) + u32::from(service.port_offset()));
        let secret = |service: Service| data_dir.join(SECRETS).join(service.name());
        Self {
            mode,
            preset: Preset::default(),
            port_base,
            operations_port: port_base,
            listen_address: IpAddr::V4(listen),
            operations_address: IpAddr::V4(listen),
            trusted_proxies: TrustedProxies::default(),
            test_clock: false,
            max_clock_difference: Duration::from_secs(5),
            allow_sandbox_payments: false,
            allow_plaintext: false,
            allow_plaintext_operations: false,
            allow_plaintext_store: false,
            allow_plaintext_collector: false,
            allow_plaintext_links: false,
            allow_sqlite: false,
            tls: TlsSettings::default(),
            operations_tls: TlsSettings::default(),
            inbox_tls: TlsSettings::default(),
            peer_tls: PeerTlsSettings::default(),
            tls_reload: Duration::from_secs(10),
            max_staleness: Duration::from_mins(5),
            migrate_on_start: true,
            stores: Each::of(store),
            urls: Each::of(url),
            master_key_file: data_dir.join(MASTER_KEY),
            operator_file: data_dir.join("operator.json"),
            catalog_file: None,
            kinds_file: None,
            content_url: ContentUrl::Folder(data_dir.join("content")),
            s3: S3Settings::default(),
            gcs: GcsSettings::default(),
            azure: AzureSettings::default(),
            fonts_dir: None,
            invoice_retention: Duration::from_hours(24 * 3_653),
            otlp_endpoint: None,
            log: LogSettings::defaults(production),
            mail: MailSettings {
                smtp_url: None,
                from: "Bursar <no-reply@bursar.localhost>".to_owned(),
                product: PRODUCT.to_owned(),
                link_base_url: "http://localhost:3000".to_owned(),
            },
            service_secrets: Each::of(secret),
            limits: LimitSettings::defaults(production),
            postgres: PostgresSettings { connections: 16, acquire_timeout: Duration::from_secs(5) },
            sqlite: SqliteSettings { readers: 4 },
            tokens: TokenSettings::default(),
            policies: Policy::default(),
            organizations: OrganizationSettings { max_created_per_day: 50 },
            invitations: InvitationSettings::default(),
            library: LibrarySettings::default(),
            audit: AuditSettings { retention: Duration::from_hours(400 * 24) },
            billing: BillingSettings::default(),
            invoices: InvoiceSettings::default(),
            payments: PaymentSettings::default(),
            data_dir,
        }
    }
}

impl LogSettings {
    fn defaults(production: bool) -> Self {
        Self {
            format: if production { LogFormat::Json } else { LogFormat::Text },
            // OpenTelemetry reports its own steps at the level at which a service reports its work.
            filter: "info,opentelemetry=warn".to_owned(),
        }
    }
}

impl LimitSettings {
    fn defaults(production: bool) -> Self {
        Self {
            deadline: Duration::from_secs(30),
            stream_deadline: Duration::from_hours(1),
            message_deadline: bursar_rpc::Limits::default().message_deadline,
            // Each that waits takes the memory of its message and of a future.
            in_flight: bursar_rpc::Limits::default().max_in_flight,
            message_bytes: bursar_rpc::Limits::default().max_message_bytes,
            connections: 4096,
            streams_per_connection: 1024,
            connection_age: Duration::from_mins(5),
            // Endpoints and load balancers need a moment to hear of it; a person at a terminal does not.
            drain: if production { Duration::from_secs(2) } else { Duration::from_millis(100) },
            shutdown: Duration::from_secs(8),
        }
    }
}

impl Default for BillingSettings {
    fn default() -> Self {
        Self {
            lanes: 0,
            batch_max: 1024,
            queue_max: 32_768,
            combine: true,
            warm_accounts: 16_384,
            hold_ttl_max: Duration::from_hours(24),
            open_holds_max: 10_000,
            limits_max: 100,
            top_up_cooldown: Duration::from_hours(1),
            distributed: false,
        }
    }
}

impl Default for LibrarySettings {
    fn default() -> Self {
        Self {
            quota_bytes: 10 << 30,
            upload_bytes: 5 << 30,
            idle_timeout: Duration::from_secs(30),
            export_contents: 100_000,
        }
    }
}

impl Default for InvitationSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_hours(7 * 24),
            max_pending: 100,
            max_per_day: 200,
            max_per_day_at_first: 50,
            max_per_day_by_sender: 200,
            max_per_day_to_address: 5,
            max_per_day_by_origin: 500,
        }
    }
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            access_ttl: Duration::from_mins(5),
            service_ttl: Duration::from_mins(5),
            refresh_ttl: Duration::from_hours(30 * 24),
            session_age: Duration::from_hours(180 * 24),
            refresh_grace: Duration::from_secs(10),
            max_refreshes_per_hour: 1_200,
            verification_ttl: Duration::from_hours(24),
        }
    }
}
