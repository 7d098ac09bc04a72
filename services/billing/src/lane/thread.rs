//! The thread of a lane.
//!
//! A lane's transaction is a chain of round trips to the database, and everybody waits for it. On the
//! service's runtime each step would queue behind the calls in work (a worker looks at its sockets
//! once in 61 tasks); on a thread of its own the system runs it as soon as the database has answered.

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::batch::Batcher;

/// Runs a lane on a new thread until its queue is closed; `alive` is dropped when it has ended.
///
/// # Errors
/// The system gives no more threads.
pub(super) fn start<F: Future<Output = ()>>(
    name: &str,
    batcher: Batcher,
    lane: impl FnOnce(Batcher) -> F + Send + 'static,
    alive: TaskTrackerToken,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        let _alive = alive;
        runtime.block_on(async {
            // A connection belongs to the runtime that opened it.
            let own = batcher.db.apart(1);
            lane(Batcher { db: own.clone(), clock: batcher.clock }).await;
            own.close_apart().await;
        });
    })?;
    Ok(())
}
