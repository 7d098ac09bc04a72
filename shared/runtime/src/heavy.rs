//! Heavy work beside requests: passwords that are hashed, pictures and documents that are drawn, ledgers that are audited.
//!
//! It takes a core for milliseconds at a time. On threads like all others it takes that from the calls in work, whoever asked for
//! it; on threads that the system favours less it has what those leave: all of it where they leave it, and some of it always.
//!
//! It bounds the threads and not who waits for one: how much work there may be is for whoever asks to say, by permits that the
//! work itself holds.

use std::fmt;
use std::sync::Arc;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// How much less than others the system favours heavy work (`nice(2)`): it has a quarter of a core that something else wants
/// all of, so that whoever signs in meanwhile waits, but not for long.
const LESS_BY: i32 = 5;

/// The least that the system favours anything.
const LEAST: i32 = 19;

/// A few threads for heavy work of one sort. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Heavy(Arc<Threads>);

/// Taken only when it is dropped.
struct Threads(Option<Runtime>);

impl Heavy {
    /// So many threads at most, each started when it is needed first.
    pub fn start(name: &'static str, threads: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(threads.max(1))
            .thread_name(name)
            .on_thread_start(step_back)
            .build()?;
        Ok(Self(Arc::new(Threads(Some(runtime)))))
    }

    /// Does the work once a thread is free. Whoever stops waiting for it does not end it.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.0.0 {
            Some(runtime) => runtime.spawn_blocking(work),
            None => unreachable!("taken only when it is dropped"),
        }
    }

    /// Does work that waits in between, for a store say, once a thread is free, and as long as somebody waits for its answer:
    /// whoever stops waiting ends it where it waits next. What it begins beside itself (connections, tasks, timers) belongs to the
    /// runtime of whoever calls. `None` where it panicked.
    pub async fn see_through<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (mut told, answer) = oneshot::channel();
        let work = async move {
            tokio::select! {
                biased;
                () = told.closed() => {}
                done = work => drop(told.send(done)),
            }
        };
        let (here, work) = (Handle::current(), work.in_current_span());
        drop(self.run(move || here.block_on(work)));
        answer.await.ok()
    }
}

impl fmt::Debug for Heavy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heavy")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Nobody waits for what is still under way: dropping a runtime would, which no async thread may.
            runtime.shutdown_background();
        }
    }
}

/// Has the system favour this thread as little as those for heavy work; on Linux a priority is a thread's own. Where it may not,
/// the work is done all the same.
pub fn step_back() {
    let less =
        getpriority_process(None).and_then(|now| setpriority_process(None, now.saturating_add(LESS_BY).min(LEAST)));
    if let Err(error) = less {
        tracing::warn!(%error, "heavy work is done at the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn favour() -> i32 {
        getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn heavy_work_is_favoured_less_and_nothing_else_is() {
        let before = favour();
        let heavy = Heavy::start("heavy", 2).unwrap();
        assert_eq!(heavy.run(favour).await.unwrap(), (before + LESS_BY).min(LEAST));
        let beside = tokio::task::spawn_blocking(favour).await.unwrap();
        assert_eq!((favour(), beside), (before, before), "it is the thread's own");
    }

    #[tokio::test]
    async fn no_more_is_done_at_once_than_there_are_threads() {
        let heavy = Heavy::start("heavy", 1).unwrap();
        let (finish, finished) = mpsc::channel::<()>();
        let first = heavy.run(move || finished.recv().is_ok());
        let mut second = heavy.run(|| ());
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut second).await.is_err(), "it waits for the thread");
        finish.send(()).unwrap();
        assert!(first.await.unwrap());
        second.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_told_and_ends_no_thread() {
        let heavy = Heavy::start("heavy", 1).unwrap();
        assert!(heavy.run::<()>(|| std::panic::resume_unwind(Box::new(()))).await.unwrap_err().is_panic());
        assert_eq!(heavy.see_through(async { std::panic::resume_unwind(Box::new(())) }).await, None::<()>);
        assert_eq!(heavy.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_that_waits_in_between_is_favoured_less_and_ends_with_who_waits_for_it() {
        let (before, heavy) = (favour(), Heavy::start("heavy", 1).unwrap());
        let waits = async {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            favour()
        };
        assert_eq!(heavy.see_through(waits).await, Some((before + LESS_BY).min(LEAST)));
        let (held, mut given_back) = oneshot::channel::<()>();
        let endless = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        assert!(tokio::time::timeout(Duration::from_millis(50), heavy.see_through(endless)).await.is_err(), "it waits");
        // What it held is given back, and the thread that it had does something else.
        (&mut given_back).await.unwrap_err();
        assert_eq!(heavy.see_through(async { 7 }).await, Some(7));
    }

    /// Whoever drops the last one does so on a thread that must not wait.
    #[tokio::test]
    async fn what_is_under_way_keeps_nobody_who_drops_it() {
        let heavy = Heavy::start("heavy", 1).unwrap();
        let (finish, finished) = mpsc::channel::<()>();
        let working = heavy.run(move || finished.recv().is_ok());
        drop(heavy);
        finish.send(()).unwrap();
        assert!(working.await.unwrap(), "it is finished all the same");
    }
}
