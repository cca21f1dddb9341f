//! Logging on stderr.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Pretty,
}

/// Starts logging with this filter.
///
/// # Errors
/// When the filter is none.
pub(crate) fn start(filter: &str, format: Format) -> anyhow::Result<()> {
    let says_of_audit = filter.contains("audit");
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("the log level {filter:?} is not valid: write error, warn, info, debug or trace")
    })?;
    // Who was refused is written down at every level, unless the filter itself speaks of it.
    let filter = match (says_of_audit, "audit=info".parse()) {
        (false, Ok(audit)) => filter.add_directive(audit),
        _ => filter,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Else a line that cannot be written is told with `eprintln!`, which panics when that cannot be written either: on a full disk
        // the thread that had to say so died, and the node did not end.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match format {
        Format::Json => subscriber.json().flatten_event(true).init(),
        Format::Pretty => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            subscriber.with_ansi(terminal).init();
        }
    }
    Ok(())
}
