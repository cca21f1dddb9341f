//! A run from its first operation to its summary. The state is saved at intervals, so that a run can end
//! anywhere.

use std::path::Path;
use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use super::begin::PlannedImport;
use super::book::Book;
use super::error::{ImportError, RunError};
use super::notice::Tell;
use super::rejects_file::write_rejects;
use super::requests::{Requests, first_day};
use super::run::Run;
use super::state::State;
use super::stop::Stop;
use super::summary::{Account, Summary};
use super::target::{Cluster, Target};
use crate::read::Row;

/// Time between two saves of the state while operations are under way.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// The end of a run.
#[derive(Debug)]
pub struct Ended {
    /// The account of the import so far.
    pub summary: Summary,
    /// Whether the run came to the end of its plan, or stopped where it was asked to. Otherwise the reason
    /// why it could not go on; another run can.
    pub outcome: Result<(), RunError>,
}

impl PlannedImport {
    /// Returns the number of steps of the plan.
    pub fn steps(&self) -> u64 {
        self.plan.steps.len() as u64
    }

    /// Runs the plan. Writes the state file and the rejects file before the first operation and after the
    /// last one.
    ///
    /// # Errors
    /// When one of the two files cannot be written. If that is so at the beginning, nothing is sent.
    pub async fn run(self, stop: &Stop, tell: &Tell<'_>) -> Result<Ended, ImportError> {
        let Self {
            client,
            orders,
            paths,
            turn: _turn,
            mut state,
            applied,
            known,
            plan,
        } = self;
        let rows = &orders.rows.rows;
        let run = Run {
            target: &Cluster::new(client),
            rows,
            plan: &plan,
            requests: Requests {
                source: &orders.source,
                epoch_ms: state.epoch_ms,
                warehouses: &orders.options.warehouses,
                storefront: &orders.options.storefront,
                best_effort: orders.options.best_effort,
                first_day: first_day(rows, state.epoch_ms),
            },
            applied: &applied,
            stop: stop.after_wave.clone(),
            tell,
            book: Mutex::new(book_of(rows, &state)),
        };
        // Save before anything is sent: when the state or the rejects file cannot be written, the import ends
        // here.
        state.save(&paths.state)?;
        write_rejects(&paths.rejects, &plan.rejects)?;
        let outcome = drive(&run, &mut state, &paths.state, stop).await;
        state.finished = outcome.is_ok() && !run.stop.is_cancelled();
        state.refused = run.with_book(|book| book.refusals(rows));
        state.save(&paths.state)?;
        let rejects = run.with_book(|book| book.rejects(rows, &plan.rejects));
        write_rejects(&paths.rejects, &rejects)?;
        let summary = run.with_book(|book| {
            let account = Account {
                file: &orders.path,
                source: &orders.source,
                known: &known,
                rows_read: orders.rows.count(),
                finished: state.finished,
                plan: &plan,
                book,
                rejects: &rejects,
                rejects_file: &paths.rejects,
                state_file: &paths.state,
                elapsed_ms: u64::try_from(orders.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            };
            account.summary()
        });
        Ok(Ended { summary, outcome })
    }
}

/// Runs the plan, saves the state at intervals, and stops at once when asked to.
async fn drive<T: Target>(
    run: &Run<'_, T>,
    state: &mut State,
    path: &Path,
    stop: &Stop,
) -> Result<(), RunError> {
    let mut save = tokio::time::interval(SAVE_EVERY);
    let mut work = pin!(run.run());
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = save.tick() => {
                let refused = run.with_book(|book| book.refusals(run.rows));
                if refused != state.refused {
                    state.refused = refused;
                    state.save(path)?;
                }
            }
            () = stop.at_once.cancelled() => return Err(RunError::StoppedAtOnce),
        }
    }
}

/// Makes a book that knows the refusals of earlier runs.
fn book_of(rows: &[Row], state: &State) -> Book {
    let mut book = Book::new(rows.len());
    for (index, row) in rows.iter().enumerate() {
        if let Some(refused) = state.refused.get(&row.number) {
            book.refuse(index, refused.reason, refused.detail.clone());
        }
    }
    book
}
