//! Log lines with the ids of the trace they belong to, as text or as JSON.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Subscriber, dispatcher};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Compact, Format, Json, Writer},
        time::SystemTime,
    },
    registry::LookupSpan,
};

/// One line of text for each event, ending with `trace_id=… span_id=…` inside a trace.
pub(super) struct TextLines(Format<Compact, SystemTime>);

impl TextLines {
    pub(super) fn new(colours: bool) -> Self {
        Self(tracing_subscriber::fmt::format().compact().with_ansi(colours))
    }
}

/// One JSON object for each event, with `trace_id` and `span_id` inside a trace.
pub(super) struct JsonLines(Format<Json, SystemTime>);

impl JsonLines {
    pub(super) fn new() -> Self {
        Self(tracing_subscriber::fmt::format().json().flatten_event(true).with_current_span(true).with_span_list(false))
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some((trace, span)) = ids(context) else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{} trace_id={trace} span_id={span}", line.trim_end())
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some((trace, span)) = ids(context) else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // The formatter writes exactly one object; the ids, which are hexadecimal, go in as its last members.
        match line.trim_end().strip_suffix('}') {
            Some(open) => {
                writeln!(writer, "{open},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}")
            }
            None => writer.write_str(&line),
        }
    }
}

/// The trace and the span an event belongs to.
fn ids<S, N>(context: &FmtContext<'_, S, N>) -> Option<(String, String)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let span = context.lookup_current()?.id();
    let telemetry = dispatcher::get_default(|dispatch| tracing_opentelemetry::get_otel_context(&span, dispatch))?;
    let of = telemetry.span().span_context().clone();
    of.is_valid().then(|| (of.trace_id().to_string(), of.span_id().to_string()))
}
