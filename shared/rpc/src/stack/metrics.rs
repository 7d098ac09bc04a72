//! How long calls take, by method and code (OpenTelemetry's semantic conventions for RPC servers).

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use tonic::Code;

use super::{Call, trace::code_name};

/// Upper bounds of the buckets in seconds; finer at the bottom than the convention's, where calls are.
const BUCKETS: [f64; 16] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0];

/// The instruments.
#[derive(Clone)]
pub(super) struct Metrics {
    duration: Histogram<f64>,
}

impl Metrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let duration = meter
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description("How long calls took, streams to their end.")
            .with_boundaries(BUCKETS.to_vec())
            .build();
        Self { duration }
    }

    /// Counts a call that has ended. Labels are names from a closed set, never ids.
    pub(super) fn record(&self, call: &Call, code: Code) {
        self.duration.record(
            call.started.elapsed().as_secs_f64(),
            &[
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", call.method.name),
                KeyValue::new("rpc.response.status_code", code_name(code)),
            ],
        );
    }
}
