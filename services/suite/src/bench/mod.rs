//! `bursar bench`: how fast one pool can be charged, measured from outside over gRPC.
//!
//! It starts a suite of its own in a second process, so that what the server and what the load
//! generator cost can be told apart, and runs each load for a fixed time; with `--target` it loads a
//! deployment that runs already. With `--baseline` the hot loads run once more against a suite whose
//! billing gives every request a transaction of its own, in the same run on the same machine: only the
//! ratios mean something elsewhere.
//!
//! - `team.rs` is who spends: an organization, its members, a service of the product's
//! - `load.rs` lets callers call, `scenario.rs`, `access.rs`, `accounts.rs`, `pdf.rs` and `reading.rs` are what they call,
//!   `hostile.rs` what one does to the others, `worst.rs` what that one sends, `elsewhere.rs` from where
//! - `server.rs` is what is called, `report.rs` the table and the ratios
//!
//! What lives here: loads and their report. What must not: anything a server needs.

mod access;
mod accounts;
mod elsewhere;
mod hostile;
mod load;
mod pdf;
mod reading;
mod report;
mod scenario;
mod server;
mod team;
mod worst;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bursar_runtime::Settings;
use clap::{Args, ValueEnum};

use report::Report;
use server::Server;

use crate::target::Target;

/// What `bursar bench` can be told.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// Which loads to run [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    loads: Vec<Load>,
    /// How long each load runs, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Callers that charge at once.
    #[arg(long, default_value_t = 256)]
    callers: usize,
    /// Accounts of the load `many`.
    #[arg(long, default_value_t = 10_000)]
    accounts: usize,
    /// Charges in one call of the load `batch`.
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Entries to which the load `growth` lets a ledger grow before it reads again.
    #[arg(long, default_value_t = 1_000_000)]
    entries: usize,
    /// Also run the hot loads with one transaction for each request, and print the ratios. On
    /// PostgreSQL it needs --baseline-store.
    #[arg(long)]
    baseline: bool,
    /// The baseline's billing store [default: a SQLite file of its own].
    #[arg(long, value_name = "URL")]
    baseline_store: Option<String>,
    /// A billing store to measure on, a SQLite or PostgreSQL URL; must be empty [default: SQLite].
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Load the deployment that runs there instead of a suite of the benchmark's own. Its mail and its operator's file
    /// are read from --data-dir; what its processes cost is not known.
    #[arg(long, value_name = "HOST:PORT-BASE", conflicts_with_all = ["store", "baseline"])]
    target: Option<Target>,
    /// Figures of other programs to print beside these, one `name<TAB>charges per second` a line.
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
}

/// The loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Load {
    /// One caller charges one organization's pool.
    Lone,
    /// Many callers charge one organization's pool, as a service of the product's on behalf of members.
    Hot,
    /// The same with the members' own tokens.
    Members,
    /// The same as `hot`, priced by the catalog's rate card.
    Meters,
    /// The same as `hot`, first without limits and then with five, each with alerts.
    Limits,
    /// 16 callers charge one pool in batches.
    Batch,
    /// Many callers charge many accounts.
    Many,
    /// Many callers hold and capture on one pool; a pair counts once.
    Hold,
    /// Half of the callers charge one pool while the others read its balance.
    Mixed,
    /// What a balance and a year's usage cost on a short and on a long ledger.
    Growth,
    /// One caller reads a receipt of one line as a PDF.
    Pdf,
    /// A service of the product's asks 5,000 times a second what somebody is in an organization.
    Access,
    /// Many callers ask for an estimate, which needs no database: what single calls cost by themselves.
    Ceiling,
    /// `hot` through one billing service and then through two on one PostgreSQL, callers spread over both. Needs
    /// --store and the program `bursar-billing` beside this one.
    Replicas,
    /// Nine tenants charge and read at a steady pace, alone and beside a tenth that does its worst in twenty-two ways.
    Hostile,
}

impl Load {
    /// The ceiling next to what is compared with it; what lets a ledger grow last.
    const ALL: [Self; 15] = [
        Self::Lone,
        Self::Hot,
        Self::Ceiling,
        Self::Batch,
        Self::Members,
        Self::Meters,
        Self::Limits,
        Self::Many,
        Self::Hold,
        Self::Mixed,
        Self::Pdf,
        Self::Access,
        Self::Replicas,
        Self::Hostile,
        Self::Growth,
    ];
    /// The loads that the baseline runs, too.
    const COMPARED: [Self; 2] = [Self::Lone, Self::Hot];
}

/// Runs the loads and prints the table. Exit code 1 if any request of any load failed.
pub(crate) async fn run(settings: &Settings, args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let loads = if args.loads.is_empty() { Load::ALL.to_vec() } else { args.loads.clone() };
    let mut report = Report::new(args.beside.as_deref())?;
    let time = Duration::from_secs(args.seconds.max(1));
    let mut server = match &args.target {
        Some(target) => Server::at(target.clone(), settings.data_dir.clone()),
        None => Server::start(args.store.as_deref(), true).await?,
    };
    Report::machine(&server.describe());
    for load in &loads {
        for measured in scenario::run(*load, args, &mut server, time).await? {
            report.add(measured);
        }
    }
    report.peak(server.peak_memory()?);
    server.stop().await?;
    if args.baseline {
        let mut server = Server::start(args.baseline_store.as_deref(), false).await?;
        for load in Load::COMPARED.iter().filter(|load| loads.contains(load)) {
            for measured in scenario::run(*load, args, &mut server, time).await? {
                report.add_baseline(measured);
            }
        }
        server.stop().await?;
    }
    report.end();
    Ok(if report.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
