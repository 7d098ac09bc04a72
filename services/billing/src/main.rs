//! The billing service as a program of its own, with an audit of every ledger and checkpoints of them.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bursar_billing::checkpoints::{self, CheckpointError, PublicKey};
use bursar_billing::{finance, inbox};
use bursar_id::OwnerId;
use bursar_runtime::{Service, Settings};
use bursar_time::{Clock, Timestamp};
use clap::{ArgGroup, Args, Subcommand};

/// What the exit code is when a checkpoint cannot be used.
const UNUSABLE: u8 = 2;

/// What billing can do besides the commands that every service has.
#[derive(Debug, Subcommand)]
enum Command {
    /// Recompute every ledger from its first entry; exit with 1 if any is bad, naming its first bad entry.
    Verify(Verify),
    /// Write where every ledger ends, signed, to a file to be kept elsewhere: `verify --against` finds rewritten histories.
    Checkpoint(Checkpoint),
    /// What every lot has earned, lost, given back and left in a month, as CSV, with what that is worth, and what of every
    /// payment is in no lot (`NOT_GRANTED`): of a year the months that have not begun. Each currency's sums, what all payments
    /// come to, and where they do not agree with invoices, credit notes and lots, on the error stream. Exit with 1 if they do
    /// not.
    ///
    /// Money is net of tax and in its currency's units, with six digits at most after the point; no currencies are added up.
    /// What is left of a lot is worth what was paid × left ÷ granted. Shares are rounded down to a millionth from the sums so
    /// far and not one by one, so that a lot's parts are what was paid for it, and the sums are those of the lines.
    Report(Report),
    /// Subscriptions that are more than one period behind: by itself only one period is made up for, unless the database's
    /// clock says as well how late it is.
    Renewals {
        /// What to do about them.
        #[command(subcommand)]
        what: Renewals,
    },
    /// Events of the payment provider that could not be worked off and were set aside.
    Webhooks {
        /// What to do about them.
        #[command(subcommand)]
        what: Webhooks,
    },
}

#[derive(Debug, Args)]
struct Verify {
    /// A checkpoint: also exit with 1 if a ledger does not begin with what this says of it, one line for each; with 2 if
    /// it cannot be used.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// The public key of the checkpoint, where it is not this installation's own (`checkpoint --public-key`).
    #[arg(long, value_name = "HEX", requires = "against")]
    public_key: Option<PublicKey>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Checkpoint {
    /// Where to write it. A file that exists is not replaced.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the public key that checks its signature.
    #[arg(long)]
    public_key: bool,
}

#[derive(Debug, Args)]
struct Report {
    /// The month. It begins and ends at midnight UTC, whatever time zone an account has: whoever compares accounts does so by
    /// one calendar, and the periods of subscriptions are counted in UTC as well. The present one is told as far as it is
    /// over; one before the first payment has no lines. It is present by this machine's clock, or, where that is later, by when
    /// the store was last used: with a test clock the months that were played have been.
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    month: (Timestamp, Timestamp),
    /// Only this owner's lots (`usr_…`, `org_…`).
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,
}

/// The first instant of a month, and the first after it.
fn month(text: &str) -> Result<(Timestamp, Timestamp), &'static str> {
    let whole = text.len() == "2026-01".len();
    let first: Option<Timestamp> = format!("{text}-01T00:00:00Z").parse().ok().filter(|_| whole);
    let first = first.ok_or("a month is a year and its number, such as 2026-01")?;
    Ok((first, first.add_months_anchored(1)))
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

/// What an operator does about events that were set aside.
#[derive(Debug, Subcommand)]
enum Webhooks {
    /// Show them, with what is wrong with each; the oldest first, at most 1,000.
    List,
    /// Have one worked off once more by the programs that run.
    Retry {
        /// The provider's id of it (`evt_…`).
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Say that one does not matter.
    Drop {
        /// The provider's id of it (`evt_…`).
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// The most subscriptions that are listed.
const LISTED: usize = 1_000;

fn main() -> ExitCode {
    let extra = async |settings: &Settings, command: Command| match command {
        Command::Verify(asked) => verify(settings, &asked).await,
        Command::Checkpoint(Checkpoint { out: Some(file), .. }) => checkpoint(settings, &file).await,
        Command::Checkpoint(_) => public_key(settings),
        Command::Report(asked) => report(settings, &asked).await,
        Command::Renewals { what } => renewals(settings, what).await,
        Command::Webhooks { what } => webhooks(settings, what).await,
    };
    bursar_runtime::run_single_with(
        Service::Billing,
        bursar_billing::check,
        bursar_billing::open_migrated,
        bursar_billing::start,
        bursar_billing::migrate,
        extra,
    )
}

async fn verify(settings: &Settings, asked: &Verify) -> anyhow::Result<ExitCode> {
    let sealed = match &asked.against {
        Some(file) => match usable(settings, file, asked.public_key)? {
            Ok(sealed) => Some((file, sealed)),
            Err(code) => return Ok(code),
        },
        None => None,
    };
    let db = bursar_billing::open_migrated(settings).await?;
    let key = bursar_billing::operation_key(settings, &db).await?;
    let mut differences = 0;
    if let Some((file, sealed)) = sealed {
        differences = checkpoints::report(&db, &mut reader(file)?, &sealed).await?;
    }
    let summary = bursar_billing::verify_all(&db, key, Clock::system().now()).await?;
    db.close().await;
    let code = bursar_billing::report(&summary);
    Ok(if differences > 0 { ExitCode::FAILURE } else { code })
}

/// What a checkpoint says of itself, or the exit code where it cannot be used.
#[expect(clippy::print_stderr, reason = "this is what `bursar-billing verify` says of a file")]
fn usable(
    settings: &Settings,
    file: &Path,
    trusted: Option<PublicKey>,
) -> anyhow::Result<Result<checkpoints::Sealed, ExitCode>> {
    let trusted = trusted.map_or_else(|| Ok(bursar_billing::checkpoint_key(settings)?.public()), anyhow::Ok)?;
    let checked = File::open(file).map_err(CheckpointError::from);
    Ok(match checked.and_then(|opened| checkpoints::check(&mut BufReader::new(opened), trusted)) {
        Ok(sealed) => Ok(sealed),
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            Err(ExitCode::from(UNUSABLE))
        }
    })
}

fn reader(file: &Path) -> anyhow::Result<BufReader<File>> {
    Ok(BufReader::new(File::open(file).with_context(|| file.display().to_string())?))
}

#[expect(clippy::print_stdout, reason = "this is what `bursar-billing checkpoint` prints")]
async fn checkpoint(settings: &Settings, file: &Path) -> anyhow::Result<ExitCode> {
    let named = || file.display().to_string();
    let key = bursar_billing::checkpoint_key(settings)?;
    let db = bursar_billing::open_migrated(settings).await?;
    let opened = File::create_new(file).with_context(named)?;
    let mut out = BufWriter::new(opened);
    let written = checkpoints::write(&db, &key, Clock::system().now(), &mut out).await;
    db.close().await;
    let durable = written.and_then(|heads| Ok((heads, out.get_ref().sync_all()?)));
    match durable {
        Ok((heads, ())) => println!("{heads} accounts, signed by {}", key.public()),
        Err(error) => {
            // What has no end would be refused as cut off.
            let _ = fs::remove_file(file);
            return Err(error).with_context(named);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "this is what `bursar-billing checkpoint --public-key` prints")]
fn public_key(settings: &Settings) -> anyhow::Result<ExitCode> {
    println!("{}", bursar_billing::checkpoint_key(settings)?.public());
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "this is what `bursar-billing report` says beside the report")]
async fn report(settings: &Settings, asked: &Report) -> anyhow::Result<ExitCode> {
    let db = bursar_billing::open_migrated(settings).await?;
    // Whoever plays a year with a test clock has left the store ahead of this machine's.
    let now = Clock::system().now().max(db.used_until().await?);
    anyhow::ensure!(asked.month.0 <= now, "that month has not begun");
    let out = BufWriter::new(std::io::stdout().lock());
    let written = finance::report(&db, asked.owner, (asked.month, now), out).await;
    db.close().await;
    let report = written?;
    for (currency, sums) in &report.sums {
        eprintln!("{currency}: {sums}");
    }
    for (currency, sums) in &report.not_granted {
        eprintln!("{currency} in no lot: {}", sums.of_money());
    }
    for (currency, books) in &report.books {
        eprintln!("{currency} by now: {books}");
    }
    for line in report.not_noted.iter().chain(&report.differences) {
        eprintln!("{line}");
    }
    eprintln!("{} lots, {} differences", report.lots, report.differences.len());
    Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "this is what the command prints")]
async fn renewals(settings: &Settings, what: Renewals) -> anyhow::Result<ExitCode> {
    let db = bursar_billing::open_migrated(settings).await?;
    let now = Clock::system().now();
    match what {
        Renewals::List => {
            let held = bursar_billing::held(&db, now, LISTED).await?;
            for it in &held {
                println!("{} {}: due since {}, {} periods", it.owner, it.subscription, it.since, it.periods);
            }
            println!("{} subscriptions are more than one period behind at {now}", held.len());
            let late = bursar_billing::late(&db, now, LISTED).await?;
            for it in &late {
                let (owner, id, since, failures) = (it.owner, it.subscription, it.since, it.failures);
                println!("{owner} {id}: due since {since}, declined {failures} times, and then without an answer");
            }
            println!("{} subscriptions are a week late: their provider does not say whether they are paid", late.len());
        }
        Renewals::Resume { owner, all: _ } => {
            let resumed = bursar_billing::resume(&db, owner, now).await?;
            if let Some(owner) = owner {
                anyhow::ensure!(resumed > 0, "{owner} has no subscription that is due");
            }
            println!("{resumed} subscriptions will be brought up to {now}");
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "this is what the command prints")]
async fn webhooks(settings: &Settings, what: Webhooks) -> anyhow::Result<ExitCode> {
    let db = bursar_billing::open_migrated(settings).await?;
    let now = Clock::system().now();
    match what {
        Webhooks::List => {
            let aside = inbox::aside(&db).await?;
            for it in &aside {
                let problem = it.problem.as_deref().unwrap_or_default();
                println!("{} {}: {problem}; came {} times since {}", it.id, it.kind, it.deliveries, it.received_at);
            }
            println!("{} events are set aside", aside.len());
        }
        Webhooks::Retry { id } => {
            let retried = bursar_billing::retry_webhook(settings, &db, &id, now).await?;
            anyhow::ensure!(retried, "no event {id} is set aside that could be read: have the provider send it again");
            println!("{id} will be worked off once more");
        }
        Webhooks::Drop { id } => {
            inbox::discard(&db, &id, now).await.with_context(|| format!("no event {id} is set aside"))?;
            println!("{id} does not matter any more");
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
