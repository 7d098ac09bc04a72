//! The command line that all four programs share.

use std::{ffi::OsString, net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{ArgAction, Args, Subcommand};
use serde::Serialize;

use crate::{ConfigError, Loader, LogFormat, Mode, Program, Settings};

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
    /// Identity's store: `sqlite://PATH` or `postgres://…` [default: `sqlite://DIR/identity.db`].
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_store: Option<String>,
    /// Organization's store [default: `sqlite://DIR/organization.db`].
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_store: Option<String>,
    /// Billing's store [default: `sqlite://DIR/billing.db`].
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_store: Option<String>,
    /// Where a single service finds identity [default: `http://127.0.0.1:N+1`].
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_url: Option<String>,
    /// Where a single service finds organization [default: `http://127.0.0.1:N+2`].
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_url: Option<String>,
    /// Where a single service finds billing [default: `http://127.0.0.1:N+3`].
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_url: Option<String>,
    /// The catalog of plans, packs and models, as TOML [default: built in].
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_file: Option<PathBuf>,
    /// Let `ClockService` set the time. Development mode only.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", action = ArgAction::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_clock: Option<bool>,
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

    /// Does what `--check-config` and `--print-config` ask for. `None` if neither is given.
    pub fn answer(&self, settings: &Settings) -> Option<ExitCode> {
        if self.print_config {
            return Some(match settings.to_redacted_toml() {
                Ok(text) => say(&text),
                Err(error) => crate::program::usage(&error),
            });
        }
        self.check_config.then(|| say("the configuration is good\n"))
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

/// The commands of a program that runs one service; `Extra` are its own.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand<Extra: Subcommand> {
    /// Run the service (what happens without a command).
    Serve,
    /// Bring the store's schema up to date, then exit.
    Migrate,
    /// Ask a running program whether it is ready; exit code 0 if it is.
    Healthcheck,
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
