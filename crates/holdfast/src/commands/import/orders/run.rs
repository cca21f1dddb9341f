//! Running a plan: the shards side by side, each shard's steps in file order, wave after wave.

use std::sync::{Mutex, PoisonError};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::book::Book;
use super::plan::Plan;
use super::requests::Requests;
use super::rows::Row;
use super::shard_run::ShardRun;
use super::target::Target;

/// Everything that the shards of one run share.
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
    /// Set to stop after the waves in flight.
    pub(super) stop: CancellationToken,
    /// What became of the rows.
    pub(super) book: Mutex<Book>,
}

impl<T: Target> Run<'_, T> {
    /// Runs the plan to its end, or until it is stopped or an operation has no outcome. When it returns, nothing is in flight.
    ///
    /// # Errors
    /// The first operation without an outcome; the other shards stop after their waves in flight.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let shards = self.plan.shards.iter().map(|(shard, steps)| async {
            let done = ShardRun::new(self, *shard, steps).run().await;
            if done.is_err() {
                self.stop.cancel();
            }
            done
        });
        join_all(shards).await.into_iter().collect()
    }

    /// The account, for a moment.
    pub(super) fn with_book<R>(&self, use_it: impl FnOnce(&mut Book) -> R) -> R {
        use_it(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
