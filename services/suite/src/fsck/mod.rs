//! `bursar fsck`: whether the three stores agree with one another.
//!
//! What one service decides and another knows of it by events is compared, row by row and in both directions: memberships
//! and policies, how organizations and people stand and whether billing's accounts do, how far each has followed the others,
//! plans and seats, people who are gone and what is left of them and of organizations that were deleted, and what has stopped on its way
//! to be used or gone. Nothing is locked, and programs may run on the stores meanwhile: what was on its way at the first look
//! is not there at the second, and only what both find is told.
//!
//! - `pages.rs` reads, by what each service lets be read of its store; `sides.rs` lays two lists side by side
//! - `walks.rs` goes through them, `compare.rs` compares, `difference.rs` says what was found
//! - `repair.rs` has told again what was told wrongly

mod compare;
mod difference;
mod pages;
mod repair;
mod sides;
mod walks;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bursar_db::Db;
use bursar_runtime::{Each, Service, Settings};
use bursar_time::Clock;
use clap::Args;

use difference::Found;
use walks::Walker;

/// What the exit code is when it could not look.
const BLIND: u8 = 2;
/// How long what is told takes at most to arrive.
const ARRIVAL: Duration = Duration::from_secs(3);

/// What `bursar fsck` takes, beside the settings that say where the stores are (--data-dir, or --identity-store,
/// --organization-store and --billing-store).
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Repair what events can: whoever knows something wrong loads what the other service has to tell anew, within seconds
    /// of running. Says what it has done and what it cannot do. The exit code is that of what was found.
    #[arg(long)]
    repair: bool,
}

/// Compares the stores. The exit code is 0 if they agree, 1 if they do not, 2 if they could not be read.
pub(crate) async fn run(settings: &Settings, arguments: &Arguments) -> ExitCode {
    match check(settings, arguments.repair).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            explain(&format!("error: {error:#}"));
            ExitCode::from(BLIND)
        }
    }
}

/// Gives how many differences there are.
async fn check(settings: &Settings, repairs: bool) -> anyhow::Result<usize> {
    let stores = open(settings).await?;
    let outcome = async {
        let found = look(&stores).await?;
        found.all().for_each(|difference| say(&difference.to_string()));
        if repairs {
            repair::repair(&stores, &found, say).await;
        }
        anyhow::Ok(found)
    }
    .await;
    for (_, store) in stores.iter() {
        store.close().await;
    }
    let found = outcome?;
    let more = if found.is_full() { " or more" } else { "" };
    explain(&format!("{}{more} differences", found.count()));
    Ok(found.count())
}

async fn open(settings: &Settings) -> anyhow::Result<Each<Db>> {
    for service in Service::ALL {
        // To open a file that is not there would make it.
        if let Some(file) = settings.store(service).file() {
            anyhow::ensure!(file.exists(), "{service} has no store: there is no file {}", file.display());
        }
    }
    Ok(Each::new([
        bursar_identity::open_migrated(settings).await.context("cannot read identity's store")?,
        bursar_organization::open_migrated(settings).await.context("cannot read organization's store")?,
        bursar_billing::open_migrated(settings).await.context("cannot read billing's store")?,
    ]))
}

/// What is found twice.
async fn look(stores: &Each<Db>) -> anyhow::Result<Found> {
    let walk = async || {
        let walker = Walker { stores, now: Clock::system().now(), found: Found::default() };
        walker.walk().await
    };
    let first = walk().await?;
    if first.count() == 0 {
        return Ok(first);
    }
    tokio::time::sleep(ARRIVAL).await;
    Ok(first.again(&walk().await?))
}

#[expect(clippy::print_stdout, reason = "this is what the command prints")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "what it comes to, apart from the differences")]
fn explain(line: &str) {
    eprintln!("{line}");
}
