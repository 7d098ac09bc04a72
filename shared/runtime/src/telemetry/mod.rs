//! Logs to standard error, traces and metrics to a collector, metrics to whoever asks `/metrics`.
//!
//! Log lines carry trace ids whether or not a collector is configured; without one, traces are made and
//! handed on to other services, but recorded nowhere.

mod format;

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::{
    global,
    metrics::{Meter, MeterProvider as _},
    propagation::TextMapCompositePropagator,
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::{Aggregation, Instrument, InstrumentKind, PeriodicReader, SdkMeterProvider, Stream},
    propagation::{BaggagePropagator, TraceContextPropagator},
    trace::{Sampler, SdkTracerProvider},
};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{LogFormat, Program, Settings};

/// How long the last traces and metrics may take to leave when the program stops.
const FLUSH_LIMIT: Duration = Duration::from_millis(700);
/// How often metrics are pushed to the collector.
const PUSH_EVERY: Duration = Duration::from_secs(15);
/// Bounds in seconds for whatever is measured in seconds: from a memory access to the longest deadline.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// This process's telemetry. Call [`Telemetry::shutdown`] last.
pub struct Telemetry {
    registry: Registry,
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
}

impl Telemetry {
    /// Makes what the settings ask for, without touching anything global. Inside a Tokio runtime only.
    pub fn build(program: Program, settings: &Settings) -> anyhow::Result<Self> {
        let resource = Resource::builder()
            .with_service_name(program.name())
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .context("cannot prepare /metrics")?;
        let mut meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(exporter)
            .with_view(seconds_in_fine_steps);
        let mut tracers = SdkTracerProvider::builder().with_resource(resource);
        if let Some(endpoint) = &settings.otlp_endpoint {
            let refused = || format!("cannot send telemetry to {endpoint} (otlp_endpoint)");
            let metrics =
                MetricExporter::builder().with_tonic().with_endpoint(endpoint).build().with_context(refused)?;
            let spans = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().with_context(refused)?;
            meters = meters.with_reader(PeriodicReader::builder(metrics).with_interval(PUSH_EVERY).build());
            tracers =
                tracers.with_batch_exporter(spans).with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
        } else {
            tracers = tracers.with_sampler(Sampler::AlwaysOff);
        }
        Ok(Self { registry, meters: meters.build(), tracers: tracers.build() })
    }

    /// Makes this the telemetry of the whole process: logs, spans, meters and panics go here. Works once
    /// in a process.
    pub fn install(&self, program: Program, settings: &Settings) -> anyhow::Result<()> {
        let filter = EnvFilter::builder().parse(&settings.log.filter).context("log.filter")?;
        // Where nobody takes the log any more (a terminal or a pipe that is gone), to complain of it there would be a panic.
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
        let lines = match settings.log.format {
            LogFormat::Text => {
                let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
                lines.with_ansi(colours).event_format(format::TextLines::new(colours)).boxed()
            }
            LogFormat::Json => lines
                .with_ansi(false)
                .fmt_fields(tracing_subscriber::fmt::format::JsonFields::new())
                .event_format(format::JsonLines::new())
                .boxed(),
        };
        let spans = tracing_opentelemetry::layer()
            .with_tracer(self.tracers.tracer(program.name()))
            .with_location(false)
            .with_threads(false)
            .with_target(false);
        tracing_subscriber::registry()
            .with(filter)
            .with(spans)
            .with(lines)
            .try_init()
            .context("telemetry is installed already")?;
        global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ]));
        global::set_tracer_provider(self.tracers.clone());
        global::set_meter_provider(self.meters.clone());
        log_panics();
        Ok(())
    }

    /// Where metrics are made.
    pub fn meter(&self) -> Meter {
        self.meters.meter("bursar")
    }

    /// What `/metrics` answers: everything measured so far, in Prometheus' text format.
    pub(crate) fn page(registry: &Registry) -> anyhow::Result<Vec<u8>> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut page)?;
        Ok(page)
    }

    /// What `/metrics` is gathered from.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Sends what has not been sent yet, for a bounded time. The exporters block while they do so, and they
    /// need the runtime meanwhile: hence a thread of their own.
    pub async fn shutdown(self) {
        let flushed = tokio::task::spawn_blocking(move || {
            let spans = self.tracers.shutdown_with_timeout(FLUSH_LIMIT);
            let metrics = self.meters.shutdown_with_timeout(FLUSH_LIMIT);
            spans.and(metrics)
        });
        match tokio::time::timeout(FLUSH_LIMIT, flushed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last telemetry was not sent"),
            Ok(Err(error)) => tracing::warn!(%error, "the last telemetry was not sent"),
            Err(_) => tracing::warn!("the last telemetry was not sent in time"),
        }
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

/// The SDK's default bounds are made for milliseconds: whatever is measured in seconds gets others.
fn seconds_in_fine_steps(instrument: &Instrument) -> Option<Stream> {
    if instrument.unit() != "s" || instrument.kind() != InstrumentKind::Histogram {
        return None;
    }
    Stream::builder()
        .with_aggregation(Aggregation::ExplicitBucketHistogram { boundaries: SECONDS.to_vec(), record_min_max: false })
        .build()
        .ok()
}

/// Panics go where everything else goes, with their place. The tower stack answers the caller.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("a panic without a message");
        tracing::error!(place, panic = message, "panicked");
    }));
}
