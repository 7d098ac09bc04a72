//! The command `clock` of a program that runs one service: what its clocks say, and that this machine's is right.

use std::process::ExitCode;

use bursar_db::Db;
use bursar_time::Clock;

/// Shows this machine's clock beside the database's and the time until which the store was used. `accept`: this machine's
/// is right, and what stands in the store of a later time was written by a wrong one.
#[expect(clippy::print_stdout, reason = "this is what the command prints")]
pub(crate) async fn run(db: Db, accept: bool) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    println!("this machine's clock shows {}", clock.now());
    if let Some((_, comparison)) = db.compare(&clock).await? {
        let side = if comparison.ahead < 0 { "behind" } else { "ahead of" };
        println!("that is {} {side} the database's", comparison.difference());
    }
    println!("the store has been used until {}", db.used_until().await?);
    if accept {
        let now = clock.now();
        db.accept_clock(now).await?;
        println!("now it counts as used until {now}");
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
