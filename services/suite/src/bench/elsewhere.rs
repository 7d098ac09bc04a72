//! A machine of the tenant's own, as far as one machine can be two.
//!
//! Whoever does its worst to a deployment does so from somewhere else: what it takes to make its calls and to read their answers
//! is neither the server's nor its neighbours'. Were all callers of a benchmark tasks of one runtime, the nine would wait for the
//! tenant's turn at a thread, and be measured with it, whatever the server does.

use std::future::Future;

use bursar_runtime::step_back;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::block_in_place;

/// As many threads as the tenant's calls are made on.
const THREADS: usize = 2;

/// Threads of the tenant's own, which the system favours as little as a server's heavy work.
#[derive(Debug)]
pub(super) struct Elsewhere(Option<Runtime>);

impl Elsewhere {
    pub(super) fn start() -> std::io::Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(THREADS).thread_name("tenant").on_thread_start(step_back).enable_all();
        Ok(Self(Some(runtime.build()?)))
    }

    /// Does it there, connections and all, and waits for it.
    pub(super) fn see_through<T>(&self, work: impl Future<Output = T>) -> T {
        block_in_place(|| self.handle().block_on(work))
    }

    pub(super) fn handle(&self) -> &Handle {
        match &self.0 {
            Some(runtime) => runtime.handle(),
            None => unreachable!("taken only when it is dropped"),
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropping a runtime waits for its tasks, which no async thread may.
            runtime.shutdown_background();
        }
    }
}
