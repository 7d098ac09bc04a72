//! The thread of a lane.
//!
//! A lane's transaction is a chain of round trips to the database, and everybody waits for it. On the
//! service's runtime each step would queue behind the calls in work (a worker looks at its sockets
//! once in 61 tasks); on a thread of its own the system runs it as soon as the database has answered.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::batch::Batcher;
use super::job::Submission;
use super::run::{Lane, connect, run};

/// Runs a lane on a new thread until its queue is closed; `alive` is dropped when it has ended. `lane`
/// makes it, over a connection of its own.
///
/// # Errors
/// The system gives no more threads.
pub(super) fn start(
    name: String,
    batcher: Batcher,
    mut queue: UnboundedReceiver<Submission>,
    lane: impl Fn(Batcher) -> Lane + Send + 'static,
    alive: TaskTrackerToken,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name).spawn(move || {
        let _alive = alive;
        runtime.block_on(async {
            whatever_happens(async || {
                // A connection belongs to the runtime that opened it.
                let own = Batcher { db: connect(&batcher.db), ..batcher.clone() };
                run(&mut queue, lane(own), &batcher.db).await;
            })
            .await;
        });
    })?;
    Ok(())
}

/// Does the work until it ends by itself. After a panic, which is a fault of ours, it begins anew: those
/// whose requests were in work are told that they failed (their ids will tell whether they did), what was
/// remembered is forgotten, and everybody else goes on.
async fn whatever_happens(mut work: impl AsyncFnMut()) {
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        tracing::error!("a lane panicked; it goes on with an empty memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_not_the_end() {
        let mut runs = 0;
        whatever_happens(async || {
            runs += 1;
            tokio::task::yield_now().await;
            assert_eq!(runs, 3, "the first two fail");
        })
        .await;
        assert_eq!(runs, 3);
    }
}
