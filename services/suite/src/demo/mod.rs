//! `bursar demo`: a team's month, played over real gRPC and checked step by step.
//!
//! - `host.rs` runs a suite for it, `wire.rs` calls one, `mailbox.rs` (beside this folder) reads what it mails
//! - `stage.rs` tells what happens and names the step at which something is not as it should be
//! - `scenes/` are the story, `chart.rs` its last picture
//!
//! Nothing here reaches into a service: whatever the demo knows, a caller could know.

mod chart;
mod host;

mod scenes;
mod stage;
mod wire;

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use bursar_runtime::{Service, Settings};
use clap::Args;

use host::Host;
use scenes::Play;
use stage::Stage;
use wire::Wire;

use crate::target::Target;

/// What `bursar demo` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Play against the suite that runs there instead of one of the demo's own. Its mail is read from
    /// --data-dir. The month passes only if it runs with --test-clock.
    #[arg(long, value_name = "HOST:PORT-BASE")]
    target: Option<Target>,
}

/// Plays the story. The exit code is 0 only if every step gave what it should.
pub(crate) async fn run(settings: &Settings, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut stage = Stage::new();
    stage.title("Bursar: a team's month, over real gRPC")?;
    if let Some(target) = arguments.target {
        let wire = Wire::to(&target)?;
        stage.say(&format!("The suite at {target}; its mail in {}.", settings.data_dir.display()))?;
        play(&mut stage, wire, &settings.data_dir).await?;
    } else {
        let host = Host::prepare().await.context("cannot start a suite for the demo")?;
        stage.say(&format!(
            "A suite of its own on ports {} to {}, its data in {} until the end.",
            host.port_base(),
            host.port_base() + Service::last_port_offset(),
            host.data_dir().display()
        ))?;
        let (wire, data_dir) = (Wire::to(&Target::local(host.port_base()))?, host.data_dir().to_owned());
        // The whole story is one large future: not on the stack.
        Box::pin(host.during(play(&mut stage, wire, &data_dir))).await?;
    }
    stage.say("\nEvery step gave what it should.")?;
    Ok(ExitCode::SUCCESS)
}

async fn play(stage: &mut Stage, wire: Wire, data_dir: &Path) -> anyhow::Result<()> {
    Box::pin(Play::new(wire, data_dir).perform(stage)).await
}
