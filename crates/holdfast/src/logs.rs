//! Logging on stderr, and spans to a collector.

use anyhow::Context as _;
use holdfast_node::TRACE_TARGET;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::telemetry::Telemetry;

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Pretty,
}

/// Starts logging with this filter, and has the spans of traces sent where there is a collector for them.
///
/// # Errors
/// When the filter is none.
pub(crate) fn start(filter: &str, format: Format, telemetry: Option<&Telemetry>) -> anyhow::Result<()> {
    let says_of_audit = filter.contains("audit");
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("the log level {filter:?} is not valid: write error, warn, info, debug or trace")
    })?;
    // Who was refused is written down at every level, unless the filter itself speaks of it.
    let filter = match (says_of_audit, "audit=info".parse()) {
        (false, Ok(audit)) => filter.add_directive(audit),
        _ => filter,
    };
    // Traces are for the collector.
    let filter = filter.add_directive(format!("{TRACE_TARGET}=off").parse()?);
    let lines = fmt::layer()
        // Else a line that cannot be written is told with `eprintln!`, which panics when that cannot be written either: on a full disk
        // the thread that had to say so died, and the node did not end.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
        Format::Pretty => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(terminal).with_filter(filter).boxed()
        }
    };
    let lines = tracing_subscriber::registry().with(lines);
    match telemetry {
        Some(telemetry) => lines.with(telemetry.layer()).init(),
        None => lines.init(),
    }
    Ok(())
}
