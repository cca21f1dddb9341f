//! Log lines on stderr, and spans to a collector.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use holdfast_node::TRACE_TARGET;
use holdfast_node::config::check_log_level;
use tracing_subscriber::filter::{FilterExt as _, dynamic_filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::telemetry::Telemetry;

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Pretty,
}

/// The filter of the log lines. It can be replaced while the process runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Whether the process is stopping in good order.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Builds the filter of this log level.
///
/// # Errors
/// When the text is not a log level.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let says_of_audit = level.contains("audit");
    check_log_level(level).map_err(|problem| anyhow::anyhow!("the log level is {level:?}: {problem}"))?;
    let filter = EnvFilter::try_new(level)?;
    // Refusals of access (target `audit`) are logged at every level, unless the filter itself mentions audit.
    let filter = match (says_of_audit, "audit=info".parse()) {
        (false, Ok(audit)) => filter.add_directive(audit),
        _ => filter,
    };
    // Spans of traces go to the collector only.
    Ok(filter.add_directive(format!("{TRACE_TARGET}=off").parse()?))
}

/// Changes the log level of the running process.
///
/// # Errors
/// When the text is not a log level. The old level then stays.
pub(crate) fn change_level(level: &str) -> anyhow::Result<()> {
    let filter = filter(level)?;
    let handle = FILTER.get().context("logging has not begun")?;
    handle.reload(filter).context("the log level cannot be changed")
}

/// Mutes the Raft library from this call on: while a node stops, the library logs the end of each of its
/// tasks as an error.
pub(crate) fn stopping() {
    STOPPING.store(true, Ordering::Relaxed);
}

fn is_worth_a_line(target: &str) -> bool {
    !(STOPPING.load(Ordering::Relaxed) && target.starts_with("openraft"))
}

/// Starts logging at this level. Spans of traces are sent to the collector, if there is one.
///
/// # Errors
/// When the text is not a log level.
pub(crate) fn start(level: &str, format: Format, telemetry: Option<&Telemetry>) -> anyhow::Result<()> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    // Setting it cannot fail: a process starts logging once.
    let _ = FILTER.set(handle);
    let filter = filter.and(dynamic_filter_fn(|metadata, _| {
        is_worth_a_line(metadata.target())
    }));
    let lines = fmt::layer()
        // Otherwise a line that cannot be written is reported with `eprintln!`, which panics when it cannot
        // write either. On a full disk that panic killed the thread that had to report it, and the node did
        // not end.
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
