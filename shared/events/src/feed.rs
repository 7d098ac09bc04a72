//! How long ago a source was last heard, and of whom what it told could not be applied.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bursar_id::OwnerId;
use bursar_time::Monotonic;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::aside::Doubts;

/// From this age on somebody should look: a heartbeat comes every five seconds.
const WARN_ABOVE: Duration = Duration::from_secs(30);

/// How long the first word is waited for before a program counts as ready without it.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// What this process last heard of one service's events. Cheap to clone; all clones are one.
///
/// Its age is monotonic time, whatever the clocks say, and it is this process's own: another replica that is up to date
/// does not make what this one answers any newer, but for what stands in their common store.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    source: &'static str,
    time: Monotonic,
    /// From which age on what is known counts as too old.
    limit: Duration,
    /// The types that answers rest on; empty for all.
    rests_on: &'static [&'static str],
    began: Duration,
    /// When something was heard last, in microseconds of `time` and one more; 0 before the first.
    heard: AtomicU64,
    /// Whether anybody is in doubt, so that nobody else has to look.
    doubting: AtomicBool,
    doubts: RwLock<Doubts>,
}

impl Feed {
    /// A feed of which nothing was heard yet. `limit`: above which age it is stale (`max_staleness`).
    pub fn new(source: &'static str, time: &Monotonic, limit: Duration) -> Self {
        Self::resting_on(source, time, limit, &[])
    }

    /// The same, where answers rest on events of these types alone, from [`bursar_proto::event_type`]: whatever others tell,
    /// what cannot be read of it puts nobody in doubt.
    pub fn resting_on(
        source: &'static str,
        time: &Monotonic,
        limit: Duration,
        rests_on: &'static [&'static str],
    ) -> Self {
        let (time, began) = (time.clone(), time.elapsed());
        let (heard, doubting, doubts) = (AtomicU64::new(0), AtomicBool::new(false), RwLock::default());
        Self(Arc::new(Inner { source, time, limit, rests_on, began, heard, doubting, doubts }))
    }

    /// Whose events these are.
    pub fn source(&self) -> &'static str {
        self.0.source
    }

    /// The time since the last event or heartbeat; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        let heard = self.0.heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.0.time.elapsed().saturating_sub(Duration::from_micros(heard)))
    }

    /// Whether nothing was heard for longer than the limit, or ever. Costs an atomic read and one of the time.
    pub fn is_stale(&self) -> bool {
        self.age().is_none_or(|age| age > self.0.limit)
    }

    /// Whether the source was heard, or has been waited for long enough: who begins to serve a moment before the first word
    /// would refuse for nothing, and who waits for ever serves nobody.
    pub fn has_settled(&self) -> bool {
        self.age().is_some() || self.waited() > FIRST_WORD
    }

    /// Whether something that was told of this owner, and that answers rest on, could not be applied
    /// ([`aside`](crate::aside)), so that what is known of it may be wrong. Costs an atomic read while nothing is set aside.
    pub fn doubts(&self, owner: OwnerId) -> bool {
        self.0.doubting.load(Ordering::Relaxed)
            && self.0.doubts.read().unwrap_or_else(PoisonError::into_inner).doubted.concern(owner)
    }

    /// Whether anything that was told of this owner could not be applied.
    pub(crate) fn touches(&self, owner: OwnerId) -> bool {
        self.0.doubting.load(Ordering::Relaxed)
            && self.0.doubts.read().unwrap_or_else(PoisonError::into_inner).touched.concern(owner)
    }

    /// The types that answers rest on; empty for all.
    pub(crate) fn rests_on(&self) -> &'static [&'static str] {
        self.0.rests_on
    }

    /// How many events are set aside, up to a bound.
    pub fn set_aside(&self) -> usize {
        self.0.doubts.read().unwrap_or_else(PoisonError::into_inner).events
    }

    /// What `/readyz` shows of it, in a line of its own.
    pub fn describe(&self) -> String {
        let (source, limit) = (self.0.source, self.0.limit.as_secs());
        let heard = match self.age() {
            None => format!("nothing heard of {source} yet"),
            Some(age) if age > self.0.limit => {
                format!("{source} heard {} s ago: stale above {limit} s", age.as_secs())
            }
            Some(age) => format!("{source} heard {} ms ago", age.as_millis()),
        };
        match self.set_aside() {
            0 => heard,
            count => format!("{heard}, {count} of its events set aside"),
        }
    }

    /// Shows its age to whoever looks at the metrics (before the first event, the time since it began to listen), and how
    /// many events are set aside.
    pub fn measure(&self, meter: &Meter) {
        let feed = self.clone();
        // The meter keeps the callbacks; the instruments themselves are not needed again.
        let _age = meter
            .f64_observable_gauge("bursar.feed.age")
            .with_unit("s")
            .with_description("Time since the last event or heartbeat of a service that this one follows.")
            .with_callback(move |gauge| {
                gauge.observe(feed.waited().as_secs_f64(), &[KeyValue::new("source", feed.0.source)]);
            })
            .build();
        let feed = self.clone();
        let _set_aside = meter
            .u64_observable_gauge("bursar.feed.set_aside")
            .with_unit("{event}")
            .with_description(
                "Events of a service that this one follows which could not be applied; at most 1,000 are counted.",
            )
            .with_callback(move |gauge| {
                let count = u64::try_from(feed.set_aside()).unwrap_or(u64::MAX);
                gauge.observe(count, &[KeyValue::new("source", feed.0.source)]);
            })
            .build();
    }

    /// The time since it was heard, or since it began to listen.
    fn waited(&self) -> Duration {
        self.age().unwrap_or_else(|| self.0.time.elapsed().saturating_sub(self.0.began))
    }

    /// Something was heard now.
    pub(crate) fn hear(&self) {
        let micros = u64::try_from(self.0.time.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.heard.store(micros.saturating_add(1), Ordering::Relaxed);
    }

    /// This is in doubt now, and nothing else.
    pub(crate) fn doubt(&self, doubts: Doubts) {
        let mut known = self.0.doubts.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever is shown that something is set aside finds its owner in doubt.
        self.0.doubting.store(doubts.events > 0, Ordering::Relaxed);
        *known = doubts;
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({})", self.describe())
    }
}

/// Tells when a feed falls silent, and when it is back: once each.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    rung: bool,
}

/// What an [`Alarm`] has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crossing {
    /// Nothing was heard for this long.
    Silent(Duration),
    /// It is heard again.
    Back,
}

impl Alarm {
    /// Looks at a feed; says what has changed since it looked last.
    pub(crate) fn look(&mut self, feed: &Feed) -> Option<Crossing> {
        let waited = feed.waited();
        let silent = waited > WARN_ABOVE;
        let changed = silent != self.rung;
        self.rung = silent;
        changed.then_some(if silent { Crossing::Silent(waited) } else { Crossing::Back })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_feed_is_stale_before_its_first_event_and_ages_after_it() {
        let time = Monotonic::test();
        time.advance(90 * SECOND);
        let feed = Feed::new("organization", &time, 3 * SECOND);
        assert!(feed.age().is_none() && feed.is_stale() && !feed.has_settled());
        assert_eq!((feed.describe().as_str(), feed.waited()), ("nothing heard of organization yet", Duration::ZERO));
        time.advance(4 * SECOND);
        assert!(feed.is_stale() && feed.has_settled(), "it was waited for");
        feed.hear();
        time.advance(3 * SECOND);
        assert_eq!(feed.age(), Some(3 * SECOND));
        assert!(!feed.is_stale());
        assert_eq!(feed.clone().describe(), "organization heard 3000 ms ago");
        time.advance(SECOND);
        assert!(feed.is_stale());
        assert_eq!(feed.clone().describe(), "organization heard 4 s ago: stale above 3 s");
        feed.hear();
        assert_eq!((feed.age(), feed.is_stale()), (Some(Duration::ZERO), false));
    }

    #[test]
    fn a_silence_is_warned_of_once_and_so_is_its_end() {
        let time = Monotonic::test();
        let feed = Feed::new("organization", &time, 300 * SECOND);
        let mut alarm = Alarm::default();
        time.advance(30 * SECOND);
        assert_eq!(alarm.look(&feed), None);
        time.advance(SECOND);
        assert_eq!(alarm.look(&feed), Some(Crossing::Silent(31 * SECOND)), "nothing was ever heard");
        time.advance(60 * SECOND);
        assert_eq!(alarm.look(&feed), None, "once");
        feed.hear();
        assert_eq!([alarm.look(&feed), alarm.look(&feed)], [Some(Crossing::Back), None]);
        time.advance(31 * SECOND);
        assert_eq!(alarm.look(&feed), Some(Crossing::Silent(31 * SECOND)), "and again the next time");
    }
}
