//! One run of a plan: its steps in file order, wave after wave.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::book::Book;
use super::notice::Tell;
use super::plan::Plan;
use super::requests::Requests;
use crate::read::Row;

/// One run of an import.
pub(super) struct Run<'a, T> {
    /// The target that the operations are sent to.
    pub(super) target: &'a T,
    /// Rows that could be read.
    pub(super) rows: &'a [Row],
    /// The plan that is run.
    pub(super) plan: &'a Plan,
    /// The maker of its requests.
    pub(super) requests: Requests<'a>,
    /// Operations of earlier runs.
    pub(super) applied: &'a Applied,
    /// Token that stops the run after the wave in flight.
    pub(super) stop: CancellationToken,
    /// The callback for the progress.
    pub(super) tell: &'a Tell<'a>,
    /// The account of the rows.
    pub(super) book: Mutex<Book>,
}

impl<T> Run<'_, T> {
    /// Locks the account and calls `use_it` with it.
    pub(super) fn with_book<R>(&self, use_it: impl FnOnce(&mut Book) -> R) -> R {
        use_it(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
