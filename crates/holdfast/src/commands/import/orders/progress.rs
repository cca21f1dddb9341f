//! Progress of an import: a bar on a terminal, a line at intervals elsewhere, nothing in JSON mode.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

const BAR_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A display of progress, shown until it is dropped.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    output: Output,
    steps: u64,
}

impl Progress {
    /// Makes a display for this many steps.
    pub(super) fn new(output: Output, steps: u64) -> Self {
        let bar = (!output.is_json() && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
            if let Ok(style) =
                ProgressStyle::with_template("{bar:30} {percent:>3} % {pos}/{len} steps, {eta} left")
            {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, output, steps }
    }

    /// Returns the time between two calls of [`Progress::show`].
    pub(super) fn interval(&self) -> Duration {
        if self.bar.is_some() { BAR_EVERY } else { LINE_EVERY }
    }

    /// Shows that this many steps are done.
    pub(super) fn show(&self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None => self.output.note(format!("{done} of {} steps done", self.steps)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
