//! What the lanes tell operators: how much a transaction carries, and whether deciding in memory pays.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, UpDownCounter};

/// How a transaction's requests were decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    /// In memory, and written as they were decided.
    Memory,
    /// On what the transaction loaded.
    Store,
    /// In memory, and then again: somebody else had been there, or the database objected.
    Again,
}

impl Decided {
    fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Again => "again",
        }
    }
}

/// The instruments.
#[derive(Clone)]
pub(super) struct Metrics {
    requests: Histogram<u64>,
    apart: UpDownCounter<i64>,
}

impl Metrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let requests = meter
            .u64_histogram("billing.lane.requests")
            .with_unit("{request}")
            .with_description("How many requests shared a transaction, by where they were decided.")
            .with_boundaries(vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0])
            .build();
        let apart = meter
            .i64_up_down_counter("billing.lane.apart")
            .with_unit("{account}")
            .with_description(
                "Accounts that are carried out apart from the others: much is due in them, or they failed.",
            )
            .build();
        Self { requests, apart }
    }

    /// Counts accounts that are carried out apart.
    pub(super) fn apart(&self, more: i64) {
        self.apart.add(more, &[]);
    }

    /// Counts a transaction.
    pub(super) fn record(&self, requests: usize, decided: Decided) {
        self.requests.record(requests as u64, &[KeyValue::new("decided", decided.as_str())]);
    }
}
