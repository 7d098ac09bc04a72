//! `bursar demo`: a team's months, or the walk-through of a product's guide, played over real gRPC and checked step by step.
//!
//! - `host.rs` runs a suite for it, `wire.rs` calls one, `mailbox.rs` (beside this folder) reads what it mails
//! - `stage.rs` tells what happens and names the step at which something is not as it should be; `checklist.rs` says what a
//!   guide promises, and `stage.rs` which step has shown it
//! - `cast/` is who acts, and the calls that they make
//! - `scenes/` are the team's months, `chart.rs` the picture of what each used; `guides/` are the walk-throughs
//!
//! The months leave one file, the PDF of an invoice (`scenes/invoice.rs`). Nothing here reaches into a service: whatever the
//! demo knows, a caller could know.

mod cast;
mod chart;
mod checklist;
mod guides;
mod host;
mod scenes;
mod stage;
mod wire;

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use bursar_runtime::{Preset, Service, Settings};
use clap::Args;

use cast::Play;
use guides::Guide;
use host::Host;
use stage::Stage;
use wire::Wire;

use crate::target::Target;

/// What `bursar demo` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Play the walk-through of a product's guide instead of the team's months, with its preset, and show with each step
    /// what the guide says about it.
    #[arg(long, value_name = "PRODUCT")]
    guide: Option<Guide>,
    /// Play against the suite that runs there instead of one of the demo's own. Its mail is read from
    /// --data-dir. Months pass only if it runs with --test-clock; a guide needs one that runs with the guide's
    /// preset (`bursar --preset PRODUCT`), and says so if it does not.
    #[arg(long, value_name = "HOST:PORT-BASE")]
    target: Option<Target>,
}

impl Arguments {
    /// What is wrong with them beside this preset: a guide is played under its own.
    pub(crate) fn flaw(&self, given: Option<Preset>) -> Option<String> {
        let guide = self.guide.filter(|guide| given.is_some_and(|preset| preset != guide.preset()))?;
        Some(format!("--guide {0} is played with --preset {0}: leave --preset out", guide.name()))
    }
}

/// Plays the story. The exit code is 0 only if every step gave what it should.
pub(crate) async fn run(settings: &Settings, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let guide = arguments.guide;
    let mut stage = Stage::new(guide.map(Guide::checklist).transpose()?);
    stage.title(guide.map_or("Bursar: a team's months, over real gRPC", Guide::title))?;
    if let Some(target) = arguments.target {
        let wire = Wire::to(&target)?;
        stage.say(&format!("The suite at {target}; its mail in {}.", settings.data_dir.display()))?;
        play(&mut stage, wire, &settings.data_dir, guide).await?;
    } else {
        let preset = guide.map_or(Preset::Standard, Guide::preset);
        let host = Host::prepare(preset).await.context("cannot start a suite for the demo")?;
        stage.say(&format!(
            "A suite of its own on ports {} to {}, its data in {} until the end.",
            host.port_base(),
            host.port_base() + Service::last_port_offset(),
            host.data_dir().display()
        ))?;
        let (wire, data_dir) = (Wire::to(&Target::local(host.port_base()))?, host.data_dir().to_owned());
        // The whole story is one large future: not on the stack.
        Box::pin(host.during(play(&mut stage, wire, &data_dir, guide))).await?;
    }
    stage.say("\nEvery step gave what it should.")?;
    Ok(ExitCode::SUCCESS)
}

async fn play(stage: &mut Stage, wire: Wire, data_dir: &Path, guide: Option<Guide>) -> anyhow::Result<()> {
    let mut play = Play::new(wire, data_dir);
    match guide {
        Some(guide) => Box::pin(guide.perform(&mut play, stage)).await,
        None => Box::pin(scenes::perform(&mut play, stage)).await,
    }
}
