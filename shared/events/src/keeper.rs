//! What is looked after once a second while a source is followed: its silence is told, and what was set aside is tried
//! again and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_db::{Db, DbError, Tx};
use bursar_time::{Clock, Timestamp};

use crate::aside::{self, SetAside};
use crate::consumer::{Consumer, Following, Unapplied};
use crate::feed::{Alarm, Crossing, Feed};
use crate::position::{self, Place};
use crate::tries::Tries;

/// How often: what another replica or an operator has done holds here after that.
const EVERY: Duration = Duration::from_secs(1);

/// New events wait while one that was set aside is tried. After one that overran none of its like is tried for so many times
/// as long as that has taken, however many there are.
const RESTS: u32 = 9;

/// How long after it was given up an event is tried again that the store refused for what may pass: a lock, a statement that
/// overran.
const AGAIN: Duration = Duration::from_mins(10);

/// Has a feed doubt those of whom something is set aside now; gives what is.
pub(crate) async fn look(db: &Db, feed: &Feed) -> Result<Vec<SetAside>, DbError> {
    let set_aside = aside::of_source(db, feed.source()).await?;
    feed.doubt(aside::doubts(db, feed.source(), feed.rests_on(), &set_aside).await?);
    Ok(set_aside)
}

/// Looks after one feed.
pub(crate) struct Keeper<C> {
    consumer: Arc<C>,
    feed: Feed,
    place: Place,
    db: Db,
    clock: Clock,
    alarm: Alarm,
    /// What this program has done about the events that are set aside.
    tried: HashMap<String, Tried>,
    /// Until when none is tried that overran ([`DbError::TimedOut`]).
    rests_until: Instant,
}

/// What was done about one event that is set aside.
struct Tried {
    /// When it was set aside or asked for: whoever asks again begins anew.
    since: Timestamp,
    tries: Tries,
    /// When it is tried next; `None`: it was applied or cannot be, as far as this program goes.
    next: Option<Instant>,
}

impl<C: Consumer> Keeper<C> {
    pub(crate) fn new(consumer: Arc<C>, following: &Following) -> Self {
        let (feed, db, clock) = (following.feed.clone(), following.db.clone(), following.clock.clone());
        let place = Place::new(feed.source(), C::types());
        Self {
            consumer,
            feed,
            place,
            db,
            clock,
            alarm: Alarm::default(),
            tried: HashMap::new(),
            rests_until: Instant::now(),
        }
    }

    /// Goes on for ever.
    pub(crate) async fn keep(mut self) {
        loop {
            self.tell();
            if let Err(error) = self.round().await {
                tracing::debug!(consumer = C::NAME, source = self.feed.source(), %error, "cannot look at what is set aside");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn tell(&mut self) {
        let (consumer, source) = (C::NAME, self.feed.source());
        match self.alarm.look(&self.feed) {
            Some(Crossing::Silent(age)) => {
                tracing::warn!(
                    consumer,
                    source,
                    age_seconds = age.as_secs(),
                    "the feed is silent: what is known grows old"
                );
            }
            Some(Crossing::Back) => tracing::warn!(consumer, source, "the feed is heard again"),
            None => {}
        }
    }

    /// Tries what this program has not tried yet, and what may have passed meanwhile.
    pub(crate) async fn round(&mut self) -> Result<(), DbError> {
        let mut set_aside = look(&self.db, &self.feed).await?;
        self.tried.retain(|id, _| set_aside.iter().any(|it| it.id == *id));
        // What was never tried comes first, then what has waited for longest: none keeps the others from their turn.
        set_aside.sort_by_key(|it| self.tried.get(&it.id).and_then(|tried| tried.next));
        let (mut applied, mut failed) = (false, None);
        for event in &set_aside {
            // An event of a type that is not asked for here is another program's, which runs beside this one.
            let wanted = C::types().is_empty() || C::types().contains(&event.kind.as_str());
            if !wanted || self.rests(event) {
                continue;
            }
            let mut tried = self.tried(event);
            let is_due = tried.next.is_some_and(|next| next <= Instant::now());
            let outcome = if is_due { self.attempt(event, &mut tried).await } else { Ok(false) };
            self.tried.insert(event.id.clone(), tried);
            match outcome {
                Ok(done) => applied |= done,
                // The next round tries it. What was applied before is told all the same.
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if applied {
            look(&self.db, &self.feed).await?;
            self.consumer.applied();
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether it is not this event's time, which may take long again.
    fn rests(&self, event: &SetAside) -> bool {
        Instant::now() < self.rests_until && event.problem == DbError::TimedOut.to_string()
    }

    /// What this program has done about an event.
    fn tried(&mut self, event: &SetAside) -> Tried {
        let since = event.set_aside_at;
        let known = self.tried.remove(&event.id).filter(|tried| tried.since == since);
        known.unwrap_or_else(|| Tried { since, tries: Tries::default(), next: Some(Instant::now()) })
    }

    /// Tries to apply an event after all; whether that has worked. An error says that it was not tried: the cursors could not
    /// be held, or the store did not take anything at the moment.
    async fn attempt(&mut self, set_aside: &SetAside, tried: &mut Tried) -> Result<bool, DbError> {
        let (consumer, source, id) = (C::NAME, self.feed.source(), &set_aside.id);
        let begun = Instant::now();
        // Held, so that no replica does so twice.
        let (tx, _) = position::lock_briefly(&self.db, &self.clock, &self.place).await?;
        let unapplied = match self.apply(tx, id).await {
            Ok(applied) => {
                if applied {
                    tracing::warn!(consumer, source, event = id, "an event that was set aside is applied");
                }
                tried.next = None;
                return Ok(applied);
            }
            Err(unapplied) => unapplied,
        };
        if matches!(unapplied, Unapplied::Store(DbError::TimedOut)) {
            self.rests_until = Instant::now() + begun.elapsed() * RESTS;
        }
        let may_pass = matches!(&unapplied, Unapplied::Store(error) if !error.is_about_the_data());
        let Some(problem) = tried.tries.judge(unapplied, true)? else { return Ok(false) };
        // Whether or not it will be otherwise later: those beside it must not wait for it.
        tracing::error!(consumer, source, event = id, problem, "an event that was set aside cannot be applied");
        let (mut tx, _) = position::lock(&self.db, &self.clock, &self.place).await?;
        aside::still(&mut tx, source, id, &problem).await?;
        tx.commit().await?;
        (tried.tries, tried.next) = (Tries::default(), may_pass.then(|| Instant::now() + AGAIN));
        Ok(false)
    }

    /// Applies an event that is set aside, if it still is; whether it was.
    async fn apply(&self, mut tx: Tx, id: &str) -> Result<bool, Unapplied> {
        let source = self.feed.source();
        let Some(event) = aside::find(&mut tx, source, id).await? else { return Ok(false) };
        if let Err(unapplied) = self.consumer.apply(&mut tx, &event).await {
            tx.rollback().await?;
            return Err(unapplied);
        }
        aside::remove(&mut tx, source, id).await?;
        tx.commit().await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use bursar_db::Migrations;
    use bursar_proto::event::v1::Event;
    use bursar_rpc::Transport;
    use bursar_secret::Entropy;
    use bursar_time::Monotonic;
    use tokio_util::sync::CancellationToken;
    use tonic::service::Routes;

    use super::*;

    /// Overruns as long as something is in the way.
    struct Slow {
        in_the_way: AtomicBool,
        asked: AtomicUsize,
    }

    impl Consumer for Slow {
        const NAME: &'static str = "slow";

        fn types() -> &'static [&'static str] {
            &[]
        }

        async fn apply(&self, _tx: &mut Tx, _event: &Event) -> Result<(), Unapplied> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.in_the_way.load(Ordering::SeqCst) { Err(DbError::TimedOut.into()) } else { Ok(()) }
        }

        async fn forget_before(&self, _tx: &mut Tx, _incarnation: u64) -> Result<(), DbError> {
            Ok(())
        }
    }

    bursar_testkit::engines! {
        async fn what_overran_is_tried_again_later_since_what_was_in_its_way_may_be_gone(db: TestDb) {
            let slow = Arc::new(Slow { in_the_way: AtomicBool::new(true), asked: AtomicUsize::new(0) });
            let following = Following {
                feed: Feed::new("organization", &Monotonic::test(), Duration::from_mins(5)),
                transport: Transport::routes(Routes::default()),
                db: db.open(&Migrations::SHARED).await,
                clock: Clock::test(Timestamp::from_micros(1_785_000_000_000_000).unwrap()),
                entropy: Entropy::seeded(1),
                shutdown: CancellationToken::new(),
            };
            let mut keeper = Keeper::new(Arc::clone(&slow), &following);
            position::enrol(&following.db, &keeper.place).await.unwrap();
            let mut tx = following.db.begin().await.unwrap();
            let event = Event { id: "1".to_owned(), owner: "org_a".to_owned(), ..Event::default() };
            let problem = DbError::TimedOut.to_string();
            aside::put(&mut tx, "organization", &event, &problem, following.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
            let asked = || slow.asked.load(Ordering::SeqCst);
            let left = async || look(&following.db, &following.feed).await.unwrap().len();
            keeper.round().await.unwrap();
            keeper.rests_until = Instant::now();
            keeper.round().await.unwrap();
            assert_eq!((asked(), left().await), (1, 1), "it is given up for a while");
            slow.in_the_way.store(false, Ordering::SeqCst);
            for tried in keeper.tried.values_mut() {
                let next = tried.next.expect("it will be tried again");
                assert!(next > Instant::now() && next <= Instant::now() + AGAIN);
                tried.next = Some(Instant::now());
            }
            keeper.round().await.unwrap();
            assert_eq!((asked(), left().await), (2, 0), "and is applied then");
        }
    }
}
