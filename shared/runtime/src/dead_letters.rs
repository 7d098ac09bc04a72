//! The command `jobs` of a program that runs one service: what an operator does about jobs that were given up.

use std::process::ExitCode;

use bursar_db::Db;
use bursar_id::JobId;
use bursar_jobs::Jobs;
use bursar_secret::Entropy;
use bursar_time::Clock;

use crate::Settings;

/// The most dead letters that are listed.
const LISTED: u32 = 1_000;

/// Lists the dead letters in a service's store, the latest first, or has one tried again.
#[expect(clippy::print_stdout, reason = "this is what the command prints")]
pub(crate) async fn run(settings: &Settings, db: Db, retry: Option<JobId>) -> anyhow::Result<ExitCode> {
    let entropy = Entropy::system();
    let jobs = Jobs::new(db.clone(), settings.sealer(&entropy)?, entropy, Clock::system());
    if let Some(id) = retry {
        anyhow::ensure!(jobs.retry(id).await?, "{id} is no dead letter, or another job of its kind and key waits");
        println!("{id} will be tried again");
    } else {
        let letters = jobs.dead_letters(LISTED).await?;
        for letter in &letters {
            let (id, kind, attempts) = (letter.id, &letter.kind, letter.attempts);
            println!("{id} {kind}: given up {} after {attempts} attempts: {}", letter.dead_at, letter.reason);
        }
        println!("{} dead letters", letters.len());
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
