//! Running a plan: its steps in file order, wave after wave.

use std::sync::{Mutex, PoisonError};

use holdfast_feeds::Row;
use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::book::Book;
use super::plan::Plan;
use super::requests::Requests;
use super::target::Target;
use super::waves::Waves;

/// One run of an import.
pub(super) struct Run<'a, T> {
    /// Where the operations go.
    pub(super) target: &'a T,
    /// The rows that could be read.
    pub(super) rows: &'a [Row],
    /// What to do with them.
    pub(super) plan: &'a Plan,
    /// How to ask for it.
    pub(super) requests: Requests<'a>,
    /// What earlier runs did.
    pub(super) applied: &'a Applied,
    /// Set to stop after the wave in flight.
    pub(super) stop: CancellationToken,
    /// What became of the rows.
    pub(super) book: Mutex<Book>,
}

impl<T: Target> Run<'_, T> {
    /// Runs the plan to its end, or until it is stopped or an operation has no outcome. When it returns, nothing is in flight.
    ///
    /// # Errors
    /// An operation without an outcome, or one refused in a way that makes going on pointless.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        Waves::new(self).run().await
    }

    /// The account, for a moment.
    pub(super) fn with_book<R>(&self, use_it: impl FnOnce(&mut Book) -> R) -> R {
        use_it(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
