//! A suite of the demo's own: in this process, on free ports, with a test clock and a data directory that
//! goes when the demo ends.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use bursar_runtime::{Listeners, Mode, Options, Preset, Program, Settings, Signals};
use bursar_secret::Entropy;
use tokio::sync::oneshot;

use crate::wiring;

/// How many places for its ports are tried.
const TRIES: usize = 64;
/// Where its ports are: below those that the kernel hands out by itself.
const FIRST_PORT: u16 = 20_000;
/// How many blocks of four ports there are from [`FIRST_PORT`] on.
const BLOCKS: u64 = 3_000;

/// A suite that has its ports and runs while something uses it.
pub(super) struct Host {
    settings: Settings,
    listeners: Listeners,
    data: tempfile::TempDir,
}

impl Host {
    /// Takes four free ports and a new directory, for a suite with these policies.
    pub(super) async fn prepare(preset: Preset) -> anyhow::Result<Self> {
        let data = tempfile::Builder::new().prefix("bursar-demo-").tempdir()?;
        let entropy = Entropy::system();
        let mut tried = Err(anyhow!("no port was tried"));
        for _ in 0..TRIES {
            let block = u16::try_from(entropy.u64_below(BLOCKS))?;
            let settings = settings(data.path(), FIRST_PORT + 4 * block, preset)?;
            match Listeners::bind(&settings, Program::Suite.services()).await {
                Ok(listeners) => {
                    return Ok(Self { settings, listeners, data });
                }
                Err(error) => tried = Err(error.into()),
            }
        }
        tried
    }

    pub(super) fn port_base(&self) -> u16 {
        self.settings.port_base
    }

    pub(super) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Serves while `work` runs, from the moment everything is ready, and stops.
    pub(super) async fn during<T>(self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let Self { settings, listeners, data } = self;
        let (telemetry, env) = bursar_runtime::prepare(Program::Suite, &settings)?;
        let (tell, ready) = oneshot::channel();
        let on_ready = move || {
            // Nobody listens any more if the work was given up; then there is nothing to begin.
            let _ = tell.send(());
        };
        let signals = Signals::of_process()?;
        let registry = telemetry.registry();
        let serving =
            bursar_runtime::serve_on(&settings, env, registry, listeners, signals.clone(), wiring::start, on_ready);
        tokio::pin!(serving);
        let working = async {
            ready.await.context("the suite did not get ready")?;
            work.await
        };
        let outcome = tokio::select! {
            ended = &mut serving => match ended {
                Ok(()) => Err(anyhow!("stopped before the end of the story")),
                Err(error) => Err(error),
            },
            outcome = working => {
                signals.gracefully.cancel();
                let stopped = serving.await;
                outcome.and_then(|value| stopped.map(|()| value))
            }
        };
        telemetry.shutdown().await;
        drop(data);
        outcome
    }
}

/// Development defaults, whatever the person's own environment says.
fn settings(data_dir: &Path, port_base: u16, preset: Preset) -> anyhow::Result<Settings> {
    let options = Options {
        mode: Some(Mode::Development),
        preset: Some(preset),
        data_dir: Some(data_dir.to_owned()),
        port_base: Some(port_base),
        test_clock: Some(true),
        log_filter: Some("error".to_owned()),
        ..Options::default()
    };
    let mut settings = options.settings_with(Program::Suite, [])?;
    // Nobody has to be told that this suite is going away.
    settings.limits.drain = std::time::Duration::ZERO;
    Ok(settings)
}
