//! The command line of `bursar`.

use std::process::ExitCode;

use bursar_runtime::{MigrateArgs, Options, Program, Settings};
use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use crate::bench::{self, BenchArgs};
use crate::{demo, fsck, greeting, wiring};

/// Bursar: identity, organizations and billing for a product that sells work for credits. Without a
/// command it serves all three in this process, with everything it keeps in ./data.
#[derive(Debug, Parser)]
#[command(name = "bursar", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all three services (what happens without a command).
    Serve,
    /// Bring the three stores' schemas up to date, then exit.
    Migrate(MigrateArgs),
    /// Ask a running suite whether it is ready; exit code 0 if it is.
    Healthcheck,
    /// Play a team's months, or the walk-through of a product's guide, over real gRPC, checking every step; exit code 1 if
    /// one is not as it should be.
    Demo(demo::Arguments),
    /// Compare the three stores with one another, beside programs that run on them or without: exit code 0 if they agree, 1
    /// with each difference on a line, 2 if it could not look.
    Fsck(fsck::Arguments),
    /// Measure how fast credits can be charged, against a suite of its own.
    Bench(BenchArgs),
}

/// The whole `main` of the program.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Demo(arguments)) = &cli.command
        && let Some(flaw) = arguments.flaw(cli.options.preset)
    {
        Cli::command().error(ErrorKind::ArgumentConflict, flaw).exit();
    }
    bursar_runtime::run(Program::Suite, &cli.options, wiring::check, async |settings: &Settings| {
        match cli.command.unwrap_or(Command::Serve) {
            Command::Serve => {
                let greet = || greeting::print(settings);
                Box::pin(bursar_runtime::serve(Program::Suite, settings, wiring::start, greet)).await
            }
            Command::Demo(arguments) => Box::pin(demo::run(settings, arguments)).await,
            Command::Migrate(args) => {
                let (telemetry, env) = bursar_runtime::prepare(Program::Suite, settings)?;
                let done = wiring::migrate(settings, args.restored_at(&env.clock)).await;
                telemetry.shutdown().await;
                done.map(|()| ExitCode::SUCCESS)
            }
            Command::Healthcheck => bursar_runtime::healthcheck(settings).await,
            Command::Fsck(arguments) => Ok(Box::pin(fsck::run(settings, &arguments)).await),
            Command::Bench(args) => Box::pin(bench::run(settings, &args)).await,
        }
    })
}
