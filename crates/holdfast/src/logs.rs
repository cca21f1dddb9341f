//! Logging on stderr, and spans to a collector.

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

/// The filter of the log lines, to be changed while the process runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Whether the process stops in good order.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// What is written at this level.
///
/// # Errors
/// When the level is none.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let says_of_audit = level.contains("audit");
    check_log_level(level).map_err(|problem| anyhow::anyhow!("the log level is {level:?}: {problem}"))?;
    let filter = EnvFilter::try_new(level)?;
    // Who was refused is written down at every level, unless the filter itself speaks of it.
    let filter = match (says_of_audit, "audit=info".parse()) {
        (false, Ok(audit)) => filter.add_directive(audit),
        _ => filter,
    };
    // Traces are for the collector.
    Ok(filter.add_directive(format!("{TRACE_TARGET}=off").parse()?))
}

/// Logs at another level from now on.
///
/// # Errors
/// When the level is none; the one before stays.
pub(crate) fn change_level(level: &str) -> anyhow::Result<()> {
    let filter = filter(level)?;
    let handle = FILTER.get().context("logging has not begun")?;
    handle.reload(filter).context("the log level cannot be changed")
}

/// Leaves out what the Raft library says from now on: it tells the end of each of its tasks as an error.
pub(crate) fn stopping() {
    STOPPING.store(true, Ordering::Relaxed);
}

fn is_worth_a_line(target: &str) -> bool {
    !(STOPPING.load(Ordering::Relaxed) && target.starts_with("openraft"))
}

/// Starts logging at this level, and has the spans of traces sent where there is a collector for them.
///
/// # Errors
/// When the level is none.
pub(crate) fn start(level: &str, format: Format, telemetry: Option<&Telemetry>) -> anyhow::Result<()> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    // It is set once: a process starts logging once.
    let _ = FILTER.set(handle);
    let filter = filter.and(dynamic_filter_fn(|metadata, _| {
        is_worth_a_line(metadata.target())
    }));
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
