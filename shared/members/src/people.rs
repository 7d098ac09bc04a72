//! Who is suspended: from where a service knows it into the set that its stack asks.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use bursar_db::{Db, DbError};
use bursar_id::UserId;
use bursar_jobs::{Next, Runner};
use bursar_rpc::Suspended;
use bursar_time::Span;
use tokio::sync::Mutex;

use crate::standings;

/// How often each replica looks: whoever is suspended is refused everywhere within two seconds, whichever replica has done
/// it or has applied the event that told of it.
pub const EVERY: Span = Span::from_millis(500);

/// How many are read at a time. There is no bound on how many are: each takes some sixteen bytes, and whoever did not fit
/// would be let in.
const PAGE: u16 = 1_000;

/// Where a service knows who is suspended.
pub trait Register: Send + Sync + 'static {
    /// Those who are after this one, in the order of their ids, at most `limit`: fewer only where there are no more.
    fn suspended(&self, after: Option<UserId>, limit: u16)
    -> impl Future<Output = Result<Vec<UserId>, DbError>> + Send;
}

/// Where all but identity know it: in what identity's events told.
#[derive(Clone, Debug)]
pub struct Told(pub Db);

impl Register for Told {
    async fn suspended(&self, after: Option<UserId>, limit: u16) -> Result<Vec<UserId>, DbError> {
        standings::suspended(&mut self.0.read().await?, after, limit).await
    }
}

/// Has a process know who is suspended. Cheap to clone; all clones are one.
#[derive(Debug)]
pub struct People<R>(Arc<Inner<R>>);

#[derive(Debug)]
struct Inner<R> {
    register: R,
    page: u16,
    suspended: Suspended,
    /// Whoever looks reads and tells in one turn: what was read earlier never takes the place of what was read later.
    turn: Mutex<()>,
}

impl<R> Clone for People<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Register> People<R> {
    /// Whom this register knows to be suspended, for a stack before its first call.
    pub async fn known(register: R) -> Result<Self, DbError> {
        let people = Self::paged(register, PAGE);
        people.look().await?;
        Ok(people)
    }

    /// Nobody until it looks, and then so many at a time, at least one.
    pub fn paged(register: R, page: u16) -> Self {
        Self(Arc::new(Inner { register, page, suspended: Suspended::default(), turn: Mutex::default() }))
    }

    /// The set that the stack asks.
    pub fn suspended(&self) -> Suspended {
        self.0.suspended.clone()
    }

    /// Looks who is suspended. What was committed before this is called holds in this process when it returns; if it fails,
    /// nothing changes.
    pub async fn look(&self) -> Result<(), DbError> {
        let Inner { register, page, suspended, turn } = &*self.0;
        let _turn = turn.lock().await;
        let (mut found, mut after) = (HashSet::new(), None);
        loop {
            let next = register.suspended(after, *page).await?;
            after = next.last().copied();
            let is_last = next.len() < usize::from(*page) || after.is_none();
            found.extend(next);
            if is_last {
                break;
            }
        }
        suspended.replace(found);
        Ok(())
    }

    /// Has a runner look often enough; under this name in metrics.
    pub fn hire(self, runner: &mut Runner, name: &'static str) {
        runner.here(name, EVERY, move || {
            let people = self.clone();
            async move {
                people.look().await?;
                Ok(Next::Finished)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use tokio::sync::Notify;

    use super::*;

    /// A register whose first reader is slow: it has read, and returns when it is let go.
    #[derive(Default)]
    struct Slow {
        is: std::sync::Mutex<Vec<UserId>>,
        reads: AtomicUsize,
        go: Notify,
    }

    impl Register for Arc<Slow> {
        async fn suspended(&self, _after: Option<UserId>, _limit: u16) -> Result<Vec<UserId>, DbError> {
            let read = self.is.lock().unwrap().clone();
            if self.reads.fetch_add(1, Ordering::SeqCst) == 0 {
                self.go.notified().await;
            }
            Ok(read)
        }
    }

    /// Whether a future still waits after it was polled.
    async fn waits(mut looking: std::pin::Pin<&mut impl Future<Output = Result<(), DbError>>>) -> bool {
        poll_fn(|context| Poll::Ready(looking.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_does_not_undo_what_was_read_after_it() {
        let register = Arc::new(Slow::default());
        let people = People::paged(Arc::clone(&register), PAGE);
        let ada = UserId::from_parts(1, [1; 10]);
        let (mut job, mut answer) = (pin!(people.look()), pin!(people.look()));
        assert!(waits(job.as_mut()).await, "it has read that nobody is");
        register.is.lock().unwrap().push(ada);
        assert!(waits(answer.as_mut()).await, "it has its turn afterwards");
        register.go.notify_one();
        job.await.unwrap();
        answer.await.unwrap();
        assert!(people.suspended().contains(ada), "who was just suspended is when that is answered");
    }
}
