//! The billing service as a program of its own, with an audit of every ledger.

use std::process::ExitCode;

use bursar_runtime::{Service, Settings};
use clap::Subcommand;

/// What billing can do besides the commands that every service has.
#[derive(Debug, Subcommand)]
enum Command {
    /// Recompute every ledger from its first entry; exit with 1 if any is bad, naming its first bad entry.
    Verify,
}

fn main() -> ExitCode {
    let extra = async |settings: &Settings, Command::Verify| verify(settings).await;
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
