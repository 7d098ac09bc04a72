//! What looks after a decoder that does not come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long one input may take. Far above what any takes on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(500);

type Current = Option<(Instant, Vec<u8>)>;

/// The input that is being tried, for the thread that looks after it.
pub(crate) struct Watch(Arc<Mutex<Current>>);

impl Watch {
    /// Begins to look, until it is dropped.
    pub(crate) fn over(name: &'static str) -> Self {
        let current = Arc::new(Mutex::new(None));
        let seen = Arc::downgrade(&current);
        thread::spawn(move || {
            while let Some(current) = seen.upgrade() {
                judge(name, &lock(&current));
                drop(current);
                thread::sleep(LOOK);
            }
        });
        Self(current)
    }

    pub(crate) fn begin(&self, input: &[u8]) {
        *lock(&self.0) = Some((Instant::now(), input.to_vec()));
    }

    pub(crate) fn end(&self) {
        *lock(&self.0) = None;
    }
}

/// Ends the process where an input hangs: its thread cannot be ended in any other way.
fn judge(name: &str, current: &Current) {
    if let Some((since, input)) = current
        && since.elapsed() > PATIENCE
    {
        eprintln!("{name}: no end after {} s with input {}", PATIENCE.as_secs(), hex::encode(input));
        std::process::abort();
    }
}

fn lock(current: &Mutex<Current>) -> MutexGuard<'_, Current> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}
