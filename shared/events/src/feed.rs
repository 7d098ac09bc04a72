//! How long ago a source was last heard.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tokio::time::Instant;

/// What this process last heard of one service's events. Cheap to clone; all clones are one.
///
/// Its age is monotonic time, whatever the clocks say, and it is this process's own: another replica that is up to date
/// does not make what this one answers any newer, but for what stands in their common store.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    source: &'static str,
    began: Instant,
    heard: Mutex<Option<Instant>>,
}

impl Feed {
    /// A feed of which nothing was heard yet.
    pub fn new(source: &'static str) -> Self {
        Self(Arc::new(Inner { source, began: Instant::now(), heard: Mutex::new(None) }))
    }

    /// Whose events these are.
    pub fn source(&self) -> &'static str {
        self.0.source
    }

    /// The time since the last event or heartbeat; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        self.heard().map(|at| at.elapsed())
    }

    /// Whether nothing was heard for longer than `limit`, or ever.
    pub fn is_stale(&self, limit: Duration) -> bool {
        self.age().is_none_or(|age| age > limit)
    }

    /// What `/readyz` shows of it, in a line of its own.
    pub fn describe(&self) -> String {
        let source = self.0.source;
        self.age().map_or_else(
            || format!("nothing heard of {source} yet"),
            |age| format!("{source} heard {} ms ago", age.as_millis()),
        )
    }

    /// Shows its age to whoever looks at the metrics; before the first event, the time since it began to listen.
    pub fn measure(&self, meter: &Meter) {
        let feed = self.clone();
        // The meter keeps the callback; the instrument itself is not needed again.
        let _gauge = meter
            .f64_observable_gauge("bursar.feed.age")
            .with_unit("s")
            .with_description("Time since the last event or heartbeat of a service that this one follows.")
            .with_callback(move |gauge| {
                let age = feed.age().unwrap_or_else(|| feed.0.began.elapsed());
                gauge.observe(age.as_secs_f64(), &[KeyValue::new("source", feed.0.source)]);
            })
            .build();
    }

    /// Something was heard now.
    pub(crate) fn hear(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn heard(&self) -> Option<Instant> {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({})", self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_feed_is_stale_before_its_first_event_and_ages_after_it() {
        let feed = Feed::new("organization");
        assert!(feed.age().is_none() && feed.is_stale(Duration::MAX));
        assert_eq!(feed.describe(), "nothing heard of organization yet");
        feed.hear();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(feed.age(), Some(Duration::from_secs(3)));
        assert!(!feed.is_stale(Duration::from_secs(3)) && feed.is_stale(Duration::from_millis(2_999)));
        assert_eq!(feed.clone().describe(), "organization heard 3000 ms ago");
        feed.hear();
        assert_eq!(feed.age(), Some(Duration::ZERO));
    }
}
