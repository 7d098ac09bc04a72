//! The command line that all four programs share.

use std::{collections::BTreeMap, ffi::OsString, net::IpAddr, path::PathBuf, process::ExitCode};

use bursar_time::{Clock, Timestamp};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde::Serialize;

use crate::audit_command::AuditArgs;
use crate::set_aside::EventsArgs;
use crate::{ConfigError, Loader, LogFormat, Mode, Preset, Program, Service, Settings};

/// Flags of every program and every command. Each is a setting by the same name, and stronger than the
/// environment (`BURSAR_…`), which is stronger than the file.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Settings (defaults < --config < environment BURSAR_… < flags)")]
pub struct Options {
    /// A TOML file with settings.
    #[arg(long, global = true, value_name = "FILE", env = "BURSAR_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Read and check the configuration, then exit.
    #[arg(long, global = true)]
    #[serde(skip)]
    pub check_config: bool,
    /// Print every setting as TOML without secrets, then exit.
    #[arg(long, global = true)]
    #[serde(skip)]
    pub print_config: bool,
    /// Development or production [default: development for the suite, production for a single service].
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What sort of product it is for: the defaults of its policies [default: standard].
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Where embedded databases, mail and keys live [default: `./data`].
    #[arg(long, global = true, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Operations on N, identity on N+1, organization on N+2, billing on N+3 [default: `7400`].
    #[arg(long, global = true, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_base: Option<u16>,
    /// Another port for operations [default: the base port].
    #[arg(long, global = true, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations_port: Option<u16>,
    /// The address that gRPC listens on [default: loopback; any for a single service in production].
    #[arg(long, global = true, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_address: Option<IpAddr>,
    /// Stores and addresses of the services.
    #[command(flatten)]
    #[serde(flatten)]
    pub services: ServiceFlags,
    /// The catalog of plans, packs and models, as TOML [default: built in].
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_file: Option<PathBuf>,
    /// More kinds of library items than the built-in ones, as TOML [default: none].
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds_file: Option<PathBuf>,
    /// Where the content of library items lies: `file://FOLDER`, or `s3://BUCKET/PREFIX` as `[s3]` says, or `gs://…` as `[gcs]`
    /// or `az://…` as `[azure]` [default: `file://DIR/content`].
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_url: Option<String>,
    /// The folder of the fonts that invoices are written in [default: built-in ones for Latin, Greek and Cyrillic].
    #[arg(long, global = true, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fonts_dir: Option<PathBuf>,
    /// Let `ClockService` set the time. Development mode only.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_clock: Option<bool>,
    /// Let production mode sell through the sandbox, which takes no money.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_sandbox_payments: Option<bool>,
    /// Let production mode speak plaintext beyond loopback (mail, database and collector, too): for networks that encrypt by themselves.
    /// (Ports speak TLS with `tls.certificate_file` and `tls.key_file`; `--print-config` shows all settings of it.)
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_plaintext: Option<bool>,
    /// The same for the operations port alone: for probes and scrapers.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_plaintext_operations: Option<bool>,
    /// The same for `PostgreSQL` alone: where the network encrypts on the way to it.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_plaintext_store: Option<bool>,
    /// The same for a collector of traces and metrics alone.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_plaintext_collector: Option<bool>,
    /// The same for what links in letters lead to alone: where the network encrypts on the way to customers.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_plaintext_links: Option<bool>,
    /// Let production mode keep stores on `SQLite`: for one replica on one disk.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_sqlite: Option<bool>,
    /// How old what a service was last told by another may be: above it organizations cannot spend [default: `5m`].
    #[arg(long, global = true, value_name = "SPAN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_staleness: Option<String>,
    /// Send traces and metrics to this OTLP collector (gRPC).
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// How log lines look.
    #[arg(long, global = true)]
    #[serde(skip)]
    pub log_format: Option<LogFormat>,
    /// Which events are logged, such as `info` or `warn,bursar_billing=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    #[serde(skip)]
    pub log_filter: Option<String>,
}

/// `--identity-store`, `--identity-url` and so on: what was given, by the settings' key.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct ServiceFlags(BTreeMap<&'static str, String>);

impl ServiceFlags {
    /// Every flag there is: the settings' key, and what the setting is.
    fn all() -> impl Iterator<Item = (&'static str, String)> {
        let stores = Service::ALL.into_iter().map(|service| {
            let help = format!(
                "The store of {service}: `sqlite://PATH` or `postgres://…` [default: `sqlite://DIR/{service}.db`]"
            );
            (service.store_key(), help)
        });
        let urls = Service::ALL.into_iter().map(|service| {
            let offset = service.port_offset();
            let help = format!("Where a single service finds {service} [default: `http://127.0.0.1:N+{offset}`]");
            (service.url_key(), help)
        });
        stores.chain(urls)
    }
}

impl Args for ServiceFlags {
    fn augment_args(command: Command) -> Command {
        command.args(
            Self::all()
                .map(|(key, help)| Arg::new(key).long(key.replace('_', "-")).global(true).value_name("URL").help(help)),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServiceFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |key| matches.get_one::<String>(key).map(|value| (key, value.clone()));
        Ok(Self(Self::all().filter_map(|(key, _)| given(key)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(Self::from_arg_matches(matches)?.0);
        Ok(())
    }
}

/// The flags that are settings of `[log]`.
#[derive(Serialize)]
struct LogFlags<'a> {
    log: LogSection<'a>,
}

#[derive(Serialize)]
struct LogSection<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<LogFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a str>,
}

impl Options {
    /// The settings of `program`: defaults, file, this process's environment, these flags.
    pub fn settings(&self, program: Program) -> Result<Settings, ConfigError> {
        self.settings_with(program, unicode_environment())
    }

    /// The same with another environment.
    pub fn settings_with(
        &self,
        program: Program,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Settings, ConfigError> {
        let mut loader = Loader::new(program).environment(environment).flags(self);
        if self.log_format.is_some() || self.log_filter.is_some() {
            let log = LogSection { format: self.log_format, filter: self.log_filter.as_deref() };
            loader = loader.flags(&LogFlags { log });
        }
        if let Some(file) = &self.config {
            loader = loader.file(file);
        }
        loader.load()
    }

    /// Does what `--check-config` and `--print-config` ask for; `check` looks into the files that settings name. `None` if
    /// neither is given.
    pub fn answer(&self, settings: &Settings, check: impl FnOnce(&Settings) -> anyhow::Result<()>) -> Option<ExitCode> {
        if self.print_config {
            return Some(match settings.to_redacted_toml() {
                Ok(text) => say(&text),
                Err(error) => crate::program::usage(&error),
            });
        }
        self.check_config.then(|| match check(settings) {
            Ok(()) => say("the configuration is good\n"),
            Err(error) => crate::program::usage(&format_args!("{error:#}")),
        })
    }
}

/// Writes to standard output.
fn say(text: &str) -> ExitCode {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The environment, as far as it is text; our variables that are not are kept, so as to be refused.
fn unicode_environment() -> impl Iterator<Item = (String, String)> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (lossy(name), lossy(value)))
}

/// What `migrate` can be told.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct MigrateArgs {
    /// The store was restored from a backup: whoever follows its events starts over from a snapshot.
    #[arg(long)]
    pub restored: bool,
}

impl MigrateArgs {
    /// The time by which the restored store's events go on, if it was restored.
    pub fn restored_at(self, clock: &Clock) -> Option<Timestamp> {
        self.restored.then(|| clock.now())
    }
}

/// The commands of a program that runs one service; `Extra` are its own.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand<Extra: Subcommand> {
    /// Run the service (what happens without a command).
    Serve,
    /// Bring the store's schema up to date, then exit.
    Migrate(MigrateArgs),
    /// Ask a running program whether it is ready; exit code 0 if it is.
    Healthcheck,
    /// List the jobs that were given up (dead letters), or have one tried again by the programs that run.
    Jobs {
        /// The id of the one to try again.
        #[arg(long, value_name = "ID")]
        retry: Option<bursar_id::JobId>,
    },
    /// Show what this machine's clock, the database's and the store say about the time.
    Clock {
        /// This machine's clock is right: what the store has of a later time was written by a wrong clock, and no program
        /// waits for that time any more.
        #[arg(long)]
        accept: bool,
    },
    /// List the events of other services that could not be applied, so that their owners cannot spend; or settle one.
    Events(EventsArgs),
    /// Print the audit log as JSON, one row a line, the oldest first: also what no RPC lists, because it belongs to no
    /// organization. Identity and billing have their own rows, organization everybody's.
    Audit(AuditArgs),
    #[command(flatten)]
    /// What only this program can do.
    Extra(Extra),
}

/// The command line of a program that runs one service.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct ServiceCli<Extra: Subcommand> {
    /// Settings.
    #[command(flatten)]
    pub options: Options,
    /// What to do; serving when absent.
    #[command(subcommand)]
    pub command: Option<ServiceCommand<Extra>>,
}
