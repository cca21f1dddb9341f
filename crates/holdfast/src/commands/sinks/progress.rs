//! Progress of long work on a view, for people who wait.

use holdfast_sinks::redis::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Returns a line for the steps of a rebuild or a comparison.
pub(super) fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}{human_pos}, {per_sec}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// Shows a step.
pub(super) fn show(bar: &ProgressBar, step: Progress) {
    let (message, count) = match step {
        Progress::Loaded(count) => ("cells loaded: ", count),
        Progress::CatchingUp => ("following the changes since then; cells loaded: ", 0),
        Progress::Compared(count) => ("cells compared: ", count),
        Progress::Live => ("live; older keys removed: ", 0),
        Progress::Removed(count) => ("live; older keys removed: ", count),
    };
    if bar.message() != message {
        bar.set_message(message);
        bar.set_position(0);
    }
    bar.inc(count);
}
