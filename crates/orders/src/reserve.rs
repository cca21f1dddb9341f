//! Drives a coordinator: sends its steps and takes in the answers, until the order is decided or its time is
//! over.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use holdfast_ledger::{Coordinator, End, Outcome, Progress, StepFailure, Success, Target};
use holdfast_shard::SubmitError;
use tokio::time::Instant;

use super::{OrderError, Orders};

/// The pause before an order asks a shard again that another undecided order keeps busy.
const PAUSE: Duration = Duration::from_millis(5);

impl Orders {
    /// Gets an order decided: either all shards with its lines hold it, or none does. When the returned
    /// future is dropped, the order is left to its home, which aborts it if it was not decided.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn reserve(
        &self,
        mut coordinator: Coordinator,
        deadline: Instant,
    ) -> Result<Success, OrderError> {
        let patience = deadline.saturating_duration_since(Instant::now());
        // The rest of the time is for the decision, which may be an abort.
        let prepare_until = deadline.checked_sub(patience / 3).unwrap_or(deadline);
        let mut errors: BTreeMap<u32, SubmitError> = BTreeMap::new();
        let mut under_way = FuturesUnordered::new();
        let mut progress = Progress {
            send: coordinator.start(),
            ..Progress::default()
        };
        loop {
            if let Some(end) = progress.end {
                return finish(end, &errors);
            }
            let until = if coordinator.is_preparing() {
                prepare_until
            } else {
                deadline
            };
            for target in std::mem::take(&mut progress.send) {
                under_way.push(self.step(target, progress.pause, until));
            }
            progress = tokio::select! {
                biased;
                Some((number, shard, answer)) = under_way.next() => match answer {
                    Ok(outcome) => coordinator.on_answer(number, outcome),
                    Err(error) => {
                        let failure = match error {
                            SubmitError::OutcomeUnknown => StepFailure::Unknown,
                            _ => StepFailure::NotDone,
                        };
                        errors.insert(shard, error);
                        coordinator.on_failure(number, failure)
                    }
                },
                () = tokio::time::sleep_until(prepare_until), if coordinator.is_preparing() => {
                    coordinator.give_up()
                }
                else => coordinator.give_up(),
            };
        }
    }

    async fn step(
        &self,
        target: Target,
        pause: bool,
        deadline: Instant,
    ) -> (u64, u32, Result<Outcome, SubmitError>) {
        if pause {
            tokio::time::sleep(PAUSE).await;
        }
        let Target {
            number,
            shard,
            command,
        } = target;
        let answer = match self.handle(shard) {
            Ok(handle) => handle.submit(vec![command], deadline).await.pop(),
            Err(_) => None,
        };
        (number, shard, answer.unwrap_or(Err(SubmitError::Stopped)))
    }
}

fn finish(end: End, errors: &BTreeMap<u32, SubmitError>) -> Result<Success, OrderError> {
    match end {
        End::Outcome(outcome) => Ok(outcome?),
        End::Unavailable(shard) => {
            let error = match errors.get(&shard) {
                // Only this step's outcome is unknown; the order is not held.
                None | Some(SubmitError::OutcomeUnknown) => SubmitError::Deadline,
                Some(error) => error.clone(),
            };
            Err(OrderError::Submit { shard, error })
        }
        End::Unknown(shard) => Err(OrderError::Submit {
            shard,
            error: SubmitError::OutcomeUnknown,
        }),
    }
}
