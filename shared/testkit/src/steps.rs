//! Time that passes in small steps, where a test has stopped it.

use std::time::Duration;

use tokio::task::JoinHandle;

/// A step that leaves bytes on their way over loopback, and whoever is asked by them, the time to arrive, on a machine with much
/// else to do as well.
pub const STEP: Duration = Duration::from_millis(10);

/// Passes time in steps of this length until it is dropped, once the test has paused its runtime's clock: from then on time passes
/// as soon as there is nothing else to do. Without steps it would go to the next timer at once, be that an hour away, while
/// what was written to a socket is not there yet.
#[must_use = "time passes in steps until it is dropped"]
pub fn in_steps(step: Duration) -> Steps {
    Steps(tokio::spawn(async move {
        loop {
            tokio::time::sleep(step).await;
        }
    }))
}

/// Time passes in steps.
#[derive(Debug)]
pub struct Steps(JoinHandle<()>);

impl Drop for Steps {
    fn drop(&mut self) {
        self.0.abort();
    }
}
