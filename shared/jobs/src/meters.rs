//! What the runner tells operators: how much waits, for how long, how it ends. Labels are kinds, never ids.

use std::time::Duration;

use bursar_time::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use crate::store::Depth;

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Failed,
    Dead,
    Lost,
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Lost => "lost",
        }
    }
}

/// The instruments.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    waiting: Gauge<u64>,
    age: Gauge<u64>,
    dead: Gauge<u64>,
    attempts: Counter<u64>,
    duration: Histogram<f64>,
}

impl Meters {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            waiting: meter
                .u64_gauge("bursar.jobs.waiting")
                .with_unit("{job}")
                .with_description("Jobs that wait or are worked on, of all replicas.")
                .build(),
            age: meter
                .u64_gauge("bursar.jobs.age")
                .with_unit("s")
                .with_description("How long the longest overdue job has been due.")
                .build(),
            dead: meter
                .u64_gauge("bursar.jobs.dead")
                .with_unit("{job}")
                .with_description("Dead letters: jobs that were given up and that nobody has had tried again.")
                .build(),
            attempts: meter
                .u64_counter("bursar.jobs.attempts")
                .with_unit("{attempt}")
                .with_description("Attempts of this replica, by how they ended.")
                .build(),
            duration: meter
                .f64_histogram("bursar.jobs.duration")
                .with_unit("s")
                .with_description("How long an attempt took.")
                .with_boundaries(vec![0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0])
                .build(),
        }
    }

    /// What is in the store now.
    pub(crate) fn depth(&self, kind: &'static str, depth: &Depth, now: Timestamp) {
        let kind = [KeyValue::new("kind", kind)];
        self.waiting.record(depth.waiting, &kind);
        self.dead.record(depth.dead, &kind);
        self.age.record(depth.first_due.map_or(0, |due| now.since(due).as_secs()), &kind);
    }

    pub(crate) fn attempt(&self, kind: &'static str, ended: Ended, took: Duration) {
        self.attempts.add(1, &[KeyValue::new("kind", kind), KeyValue::new("outcome", ended.as_str())]);
        self.duration.record(took.as_secs_f64(), &[KeyValue::new("kind", kind)]);
    }
}
