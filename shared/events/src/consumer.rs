//! Following another service's events, each taking effect once: what a service says about it.

use std::sync::Arc;

use bursar_db::{Asker, Db, DbError, Tx};
use bursar_proto::event::v1::Event;
use bursar_rpc::Transport;
use bursar_secret::Entropy;
use bursar_time::Clock;
use tokio_util::sync::CancellationToken;

use crate::feed::Feed;
use crate::follower::Follower;
use crate::keeper::Keeper;

/// Why an event was not applied.
#[derive(Debug, thiserror::Error)]
pub enum Unapplied {
    /// It cannot be read: it is set aside and counts against its owner alone. The event goes by, so this is only for
    /// what no later attempt could change.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// The store failed. An event comes again until it is applied, and nothing overtakes it; but one that the store refuses
    /// for good ([`DbError::is_about_the_data`]) is set aside like one that cannot be read, and so is one that it refuses
    /// again and again while it is there: a statement that always overruns, or a row that never comes free.
    #[error(transparent)]
    Store(#[from] DbError),
}

impl Unapplied {
    /// An event that cannot be read, and why.
    pub fn unreadable(why: impl std::fmt::Display) -> Self {
        Self::Unreadable(why.to_string())
    }
}

/// What a service does with another one's events.
pub trait Consumer: Send + Sync + 'static {
    /// For logs: what this consumer keeps up to date.
    const NAME: &'static str;

    /// Types of which each event tells all that earlier ones of its owner may have told: one that is applied makes up for
    /// those that are set aside.
    const WHOLE: &'static [&'static str] = &[];

    /// The types it wants, from [`bursar_proto::event_type`]; empty for all. A program that asks for others than those
    /// before it loads a snapshot first, and follows beside them as long as they run.
    fn types() -> &'static [&'static str];

    /// Writes what the event means, in the transaction that also moves the cursor. Must bear being told twice (a
    /// snapshot tells what events have told, and the events after it what the snapshot has), and late (an event that was set
    /// aside may be applied after later ones, unless its type is [`WHOLE`](Consumer::WHOLE)), and must find an event of a
    /// type it wants unreadable if it does not know the payload.
    fn apply(&self, tx: &mut Tx, event: &Event) -> impl Future<Output = Result<(), Unapplied>> + Send;

    /// Ends what a snapshot of this incarnation has not told of: what earlier incarnations told of, and this one did
    /// not, is not so any more. Called in the transaction that moves the cursor to the snapshot's end.
    fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Called after the commit of each event or part of a snapshot, whichever replica applied it: wake whoever waits for
    /// it. Of several that others applied it may tell at once, and it may be called when there is nothing new.
    fn applied(&self) {}
}

impl<C: Consumer> Consumer for Arc<C> {
    const NAME: &'static str = C::NAME;
    const WHOLE: &'static [&'static str] = C::WHOLE;

    fn types() -> &'static [&'static str] {
        C::types()
    }

    fn apply(&self, tx: &mut Tx, event: &Event) -> impl Future<Output = Result<(), Unapplied>> + Send {
        (**self).apply(tx, event)
    }

    fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> impl Future<Output = Result<(), DbError>> + Send {
        (**self).forget_before(tx, incarnation)
    }

    fn applied(&self) {
        (**self).applied();
    }
}

/// What following takes.
#[derive(Debug)]
pub struct Following {
    /// The feed that is kept fresh; it names the service whose events are followed.
    pub feed: Feed,
    /// The way to that service.
    pub transport: Transport,
    /// The store that takes the events in.
    pub db: Db,
    /// The time, for what is set aside.
    pub clock: Clock,
    /// Randomness, for pauses.
    pub entropy: Entropy,
    /// Ends it.
    pub shutdown: CancellationToken,
}

/// Follows another service's events until the shutdown, whatever fails meanwhile: it resumes where the cursor in the
/// store stands, or from a snapshot where the source has gone on without us. One consumer for each source and store; any
/// number of replicas. It takes turns of its own at the store's connections.
pub async fn run<C: Consumer>(consumer: C, following: Following) {
    Asker::program(following.feed.source()).scope(follow(consumer, following)).await;
}

async fn follow<C: Consumer>(consumer: C, following: Following) {
    let consumer = Arc::new(consumer);
    let mut follower = Follower::new(Arc::clone(&consumer), &following);
    let follow = async {
        loop {
            let pause = follower.follow().await;
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = following.shutdown.cancelled() => {}
        () = follow => {}
        () = Keeper::new(consumer, &following).keep() => {}
    }
}
