//! The command `events` of a program that runs one service: what an operator does about events that could not be applied.

use std::process::ExitCode;

use bursar_db::Db;
use bursar_events::aside;
use bursar_id::EventId;
use bursar_time::Clock;
use clap::Args;

/// What `events` can be told.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(multiple = false)]
pub struct EventsArgs {
    /// The id of the one to try again.
    #[arg(long, value_name = "ID")]
    retry: Option<EventId>,
    /// The id of the one to drop for good: what it told is never known here, and its owner is served again.
    #[arg(long, value_name = "ID")]
    discard: Option<EventId>,
}

/// Lists the events that are set aside in a service's store, the oldest first, or says what becomes of one.
#[expect(clippy::print_stdout, reason = "this is what the command prints")]
pub(crate) async fn run(db: Db, args: EventsArgs) -> anyhow::Result<ExitCode> {
    let mut tx = db.begin().await?;
    match (args.retry, args.discard) {
        (Some(id), _) => {
            let found = aside::try_again(&mut tx, &id.to_string(), Clock::system().now()).await?;
            anyhow::ensure!(found, "{id} is not set aside");
            println!("{id} will be tried again");
        }
        (None, Some(id)) => {
            anyhow::ensure!(aside::discard(&mut tx, &id.to_string()).await?, "{id} is not set aside");
            println!("{id} is dropped");
        }
        (None, None) => {
            let events = aside::list(&mut tx).await?;
            for event in &events {
                let owner = if event.owner.is_empty() { "every organization" } else { event.owner.as_str() };
                let (source, id, kind) = (&event.source, &event.id, &event.kind);
                println!("{id} {kind} of {source} about {owner}: set aside {}: {}", event.set_aside_at, event.problem);
            }
            println!("{} events set aside", events.len());
        }
    }
    tx.commit().await?;
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
