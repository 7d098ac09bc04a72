//! The billing service as a program of its own, with an audit of every ledger.

use std::process::ExitCode;

use bursar_id::OwnerId;
use bursar_runtime::{Service, Settings};
use bursar_time::Clock;
use clap::{ArgGroup, Subcommand};

/// What billing can do besides the commands that every service has.
#[derive(Debug, Subcommand)]
enum Command {
    /// Recompute every ledger from its first entry; exit with 1 if any is bad, naming its first bad entry.
    Verify,
    /// Subscriptions that are more than one period behind: by itself only one period is made up for, unless the database's
    /// clock says as well how late it is.
    Renewals {
        /// What to do about them.
        #[command(subcommand)]
        what: Renewals,
    },
}

/// What an operator does about renewals that are held.
#[derive(Debug, Subcommand)]
enum Renewals {
    /// Show which subscriptions wait, since when, and for how many periods.
    List,
    /// Say that the time has really passed: the programs that run make up for every period that is due now.
    #[command(group = ArgGroup::new("whose").required(true))]
    Resume {
        /// Only this owner's (`usr_…`, `org_…`).
        #[arg(long, value_name = "ID", group = "whose")]
        owner: Option<OwnerId>,
        /// Everybody's.
        #[arg(long, group = "whose")]
        all: bool,
    },
}

/// The most subscriptions that are listed.
const LISTED: usize = 1_000;

fn main() -> ExitCode {
    let extra = async |settings: &Settings, command: Command| match command {
        Command::Verify => verify(settings).await,
        Command::Renewals { what } => renewals(settings, what).await,
    };
    bursar_runtime::run_single_with(
        Service::Billing,
        bursar_billing::open,
        bursar_billing::start,
        bursar_billing::migrate,
        extra,
    )
}

async fn verify(settings: &Settings) -> anyhow::Result<ExitCode> {
    let db = bursar_billing::open(settings).await?;
    let key = bursar_billing::operation_key(settings, &db).await?;
    let summary = bursar_billing::verify_all(&db, key).await?;
    db.close().await;
    Ok(bursar_billing::report(&summary))
}

#[expect(clippy::print_stdout, reason = "this is what the command prints")]
async fn renewals(settings: &Settings, what: Renewals) -> anyhow::Result<ExitCode> {
    let db = bursar_billing::open(settings).await?;
    let now = Clock::system().now();
    match what {
        Renewals::List => {
            let held = bursar_billing::held(&db, now, LISTED).await?;
            for it in &held {
                println!("{} {}: due since {}, {} periods", it.owner, it.subscription, it.since, it.periods);
            }
            println!("{} subscriptions are more than one period behind at {now}", held.len());
        }
        Renewals::Resume { owner, all: _ } => {
            let resumed = bursar_billing::resume(&db, owner, now).await?;
            println!("{resumed} subscriptions will be brought up to {now}");
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
