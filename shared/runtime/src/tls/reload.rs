//! What is made of files follows them: looked at again and again, made anew when their contents have changed.
//!
//! Contents rather than times of modification: a Secret in Kubernetes is a link that is replaced, and clocks of file
//! systems are coarse. The files are small, and looked at every few seconds at most.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Meter},
};
use tokio::sync::watch;

use super::files::{Contents, TlsError, TlsFiles};
use crate::{Env, Settings};

/// Makes something of the files now, which must succeed, and again whenever they change, until the program stops.
/// A change of which nothing can be made is told, and leaves what was made before.
pub(super) fn follow<T: Send + Sync + 'static>(
    files: TlsFiles,
    make: impl Fn(&TlsFiles, &Contents) -> Result<T, TlsError> + Send + Sync + 'static,
    settings: &Settings,
    env: &Env,
) -> Result<watch::Receiver<T>, TlsError> {
    let contents = files.read()?;
    let (sender, receiver) = watch::channel(make(&files, &contents)?);
    if !files.is_empty() {
        let meters = Meters::new(&env.meter);
        meters.loaded(files.section);
        let (every, shutdown) = (settings.tls_reload, env.shutdown.clone());
        let mut followed = Followed { files, make, sender, meters, seen: Ok(contents) };
        env.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(every) => {}
                }
                // Reading files blocks, and on a network's file system for long.
                let looked = tokio::task::spawn_blocking(move || {
                    followed.look();
                    followed
                });
                match looked.await {
                    Ok(back) => followed = back,
                    Err(error) => {
                        tracing::error!(%error, "certificates are no longer followed");
                        return;
                    }
                }
            }
        });
    }
    Ok(receiver)
}

/// Files, and what was made of them.
struct Followed<T, F> {
    files: TlsFiles,
    make: F,
    sender: watch::Sender<T>,
    meters: Meters,
    /// What they held when they were last looked at.
    seen: Result<Contents, TlsError>,
}

impl<T, F: Fn(&TlsFiles, &Contents) -> Result<T, TlsError>> Followed<T, F> {
    /// Looks at the files once.
    fn look(&mut self) {
        let now = self.files.read();
        if now == self.seen {
            return;
        }
        let made = now.as_ref().map_err(Clone::clone).and_then(|contents| (self.make)(&self.files, contents));
        match made {
            Ok(made) => {
                self.sender.send_replace(made);
                self.meters.loaded(self.files.section);
                tracing::info!(section = self.files.section, "new certificates: new connections use them");
            }
            Err(error) => {
                self.meters.refused(self.files.section);
                let section = self.files.section;
                tracing::warn!(section, %error, "changed files cannot be used: what was read before stays in use");
            }
        }
        self.seen = now;
    }
}

/// What operators see of it.
struct Meters {
    loads: Counter<u64>,
    refused: Gauge<u64>,
}

impl Meters {
    fn new(meter: &Meter) -> Self {
        Self {
            loads: meter
                .u64_counter("bursar.tls.loads")
                .with_unit("{load}")
                .with_description(
                    "Readings of certificate files that were new, by section of the settings and outcome.",
                )
                .build(),
            refused: meter
                .u64_gauge("bursar.tls.refused")
                .with_description("1 while the certificate files cannot be used and those read before stay in use.")
                .build(),
        }
    }

    fn loaded(&self, section: &'static str) {
        self.count(section, "loaded", 0);
    }

    fn refused(&self, section: &'static str) {
        self.count(section, "refused", 1);
    }

    fn count(&self, section: &'static str, outcome: &'static str, refused: u64) {
        let section = KeyValue::new("section", section);
        self.loads.add(1, &[section.clone(), KeyValue::new("outcome", outcome)]);
        self.refused.record(refused, &[section]);
    }
}
