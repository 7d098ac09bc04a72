//! One caller's crowd of calls, and how many of them go by before a neighbour's is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::until;

/// How long the crowd may take to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Calls that the neighbour makes, one after the other.
const CALLS: usize = 9;

/// How many calls of a crowd are answered while a neighbour makes one: of nine, the one in the middle. The crowd never pauses:
/// whoever of it is answered calls again. Where everybody waits in one queue, about all of it goes by.
///
/// # Panics
/// When one of the crowd's calls does: a crowd that has gone says nothing.
pub async fn goes_by<F: Future<Output = ()> + Send + 'static>(
    crowd: usize,
    hers: impl Fn() -> F + Clone + Send + 'static,
    his: impl AsyncFn(),
) -> usize {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::<()>::new();
    for _ in 0..crowd {
        let (hers, answered) = (hers.clone(), Arc::clone(&answered));
        tasks.spawn(async move {
            loop {
                let call = hers();
                call.await;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let so_far = || answered.load(Ordering::Relaxed);
    until(PATIENCE, "the whole crowd has come", async || so_far() >= crowd).await;
    let mut gone_by = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let before = so_far();
        his().await;
        gone_by.push(so_far() - before);
    }
    let ended = tasks.try_join_next();
    assert!(ended.is_none(), "one of the crowd has ended: {ended:?}");
    gone_by.sort_unstable();
    gone_by[CALLS / 2]
}
