//! Makes a refusal certain when an earlier attempt of the request has no answer.
//!
//! A refusal leaves nothing behind. So the log would decide a late copy of the request anew, after its caller
//! was told that nothing happened. Before such a refusal is sent, the operation id is sealed: by a command in
//! the log of each shard that a copy could reach. For an order over several shards the home is enough,
//! because nothing is held without it. If sealing fails, the caller learns that the outcome is unknown. See
//! docs/decisions/0016.

use std::time::Duration;

use futures::future::join_all;
use holdfast_api::reasons;
use holdfast_api::slots::{SlotNumber, slot_of};
use holdfast_api::v1::{Reason, Refusal};
use holdfast_ledger::{
    About, Action, Command, OperationId, Outcome, Principal, Refusal as LedgerRefusal, Sender,
};
use holdfast_orders::OrderError;
use holdfast_shard::SubmitError;
use tokio::time::Instant;

use super::Api;
use crate::mapping::inbound::Taken;
use crate::mapping::outbound;

/// The time that sealing may take. A leader of the previous version does not answer at all.
const SEAL_TIME: Duration = Duration::from_secs(1);

/// The facts about a request that settling needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempted {
    operation_id: OperationId,
    /// Set when an attempt of the caller has no answer.
    repeats: bool,
    /// Set when an attempt of this node has no answer.
    unanswered: bool,
    /// Set when copies of the request go only to the shard of its SKUs.
    stays: bool,
    /// The slot of the first SKU of a Reserve or TransferOut. Over several shards, the shard of this slot is
    /// the home.
    home_slot: Option<SlotNumber>,
    /// The home, when it does not follow from the SKUs.
    home: Option<u32>,
}

impl Attempted {
    pub(crate) fn new(taken: &Taken) -> Self {
        Self {
            operation_id: taken.command.operation_id,
            repeats: taken.repeats,
            unanswered: false,
            stays: stays(&taken.command.action),
            home_slot: home_slot(&taken.command.action),
            home: None,
        }
    }

    /// Returns the same facts with the shard that has to decide a Reserve.
    pub(crate) fn with_home(self, home: Option<u32>) -> Self {
        Self { home, ..self }
    }

    /// Returns the same facts after an attempt of this node that has no answer.
    pub(crate) fn unanswered(self) -> Self {
        Self {
            unanswered: true,
            ..self
        }
    }

    /// Returns the same facts for a request whose deciding shard is unknown, so that any shard may have a
    /// copy.
    pub(crate) fn anywhere(self) -> Self {
        Self {
            home_slot: None,
            home: None,
            ..self
        }
    }

    /// Converts a refusal by the ledger.
    pub(crate) fn refused(self, refusal: LedgerRefusal) -> Unmet {
        self.judged(outbound::refusal(refusal))
    }

    /// Converts the failure of an order or a transfer over several shards.
    pub(crate) fn order_failed(self, error: OrderError) -> Unmet {
        match error {
            OrderError::Refused(refusal) => self.refused(refusal),
            OrderError::Submit {
                error: SubmitError::Unsettled(refusal),
                ..
            } => self.unanswered().refused(refusal),
            // Part of the work may be done, and a repeat of the request continues it. So its id stays open.
            error => Unmet::told(outbound::order_error(error)),
        }
    }

    /// Converts the failure to find the reservation or transfer that the request names.
    pub(crate) fn not_found(self, refusal: Refusal) -> Unmet {
        match refusal.reason() {
            Reason::UnknownReservation | Reason::UnknownTransfer => self.judged(refusal),
            _ => Unmet::told(refusal),
        }
    }

    fn judged(self, refusal: Refusal) -> Unmet {
        // An id that is too old cannot be sealed, and nobody remembers what became of it. The reason says so.
        let is_forgotten = refusal.reason() == Reason::OperationIdTooOld;
        if refusal.settled || is_forgotten || !(self.repeats || self.unanswered) {
            return Unmet::told(refusal);
        }
        if reasons::consequences_of(refusal.reason()).retryable {
            // The next try needs the id.
            return Unmet::told(if self.unanswered {
                unknown(&refusal)
            } else {
                refusal
            });
        }
        Unmet { refusal, seal: true }
    }
}

/// A refusal, and whether it is certain only after the operation id is sealed.
#[derive(Debug)]
pub(crate) struct Unmet {
    refusal: Refusal,
    seal: bool,
}

impl Unmet {
    /// Returns a refusal that needs no seal.
    pub(crate) fn told(refusal: Refusal) -> Self {
        Self { refusal, seal: false }
    }
}

impl Api {
    /// Settles the refusals among the answers to requests. `shard` is the shard that decided them, or None
    /// when no single shard did.
    pub(crate) async fn settle<T>(
        &self,
        shard: Option<u32>,
        answers: Vec<(Attempted, Result<T, Unmet>)>,
        deadline: Instant,
    ) -> Vec<Result<T, Refusal>> {
        let open = |(attempted, answer): &(Attempted, Result<T, Unmet>)| match answer {
            Err(Unmet { seal: true, .. }) => Some(*attempted),
            _ => None,
        };
        let open: Vec<Attempted> = answers.iter().filter_map(open).collect();
        let mut sealed = match open.is_empty() {
            true => Vec::new(),
            false => self.seal(shard, &open, deadline).await,
        }
        .into_iter();
        let told = |unmet: Unmet, sealed: &mut std::vec::IntoIter<bool>| {
            if !unmet.seal {
                unmet.refusal
            } else if sealed.next().unwrap_or(false) {
                Refusal {
                    settled: true,
                    ..unmet.refusal
                }
            } else {
                unknown(&unmet.refusal)
            }
        };
        answers
            .into_iter()
            .map(|(_, answer)| answer.map_err(|unmet| told(unmet, &mut sealed)))
            .collect()
    }

    /// Seals ids in every shard whose log could let a copy of the request take effect. Returns for each id
    /// whether that was done.
    async fn seal(&self, shard: Option<u32>, open: &[Attempted], deadline: Instant) -> Vec<bool> {
        let deadline = deadline.min(Instant::now() + SEAL_TIME);
        let Ok(principal) = Principal::new("holdfast") else {
            return vec![false; open.len()];
        };
        let by_shard = self.router.shards().iter().map(|handle| {
            let concerns = |attempted: &Attempted| match shard {
                Some(shard) if attempted.stays => handle.shard() == shard,
                // No order is held without its home, and the home refuses while another copy of the order is
                // undecided.
                None if attempted.home_slot.is_some() => {
                    let of_skus = || attempted.home_slot.map(|slot| self.router.shard_with(slot));
                    attempted.home.or_else(of_skus) == Some(handle.shard())
                }
                _ => true,
            };
            let concerned: Vec<usize> = (0..open.len()).filter(|index| concerns(&open[*index])).collect();
            let seal = |index: &usize| Command::seal(open[*index].operation_id, principal.clone());
            let commands: Vec<Command> = concerned.iter().map(seal).collect();
            async move {
                let results = match commands.is_empty() {
                    true => Vec::new(),
                    false => handle.submit(commands, deadline).await,
                };
                (concerned, results)
            }
        });
        let mut sealed = vec![true; open.len()];
        for (concerned, results) in join_all(by_shard).await {
            let mut results = results.into_iter();
            for index in concerned {
                sealed[index] &= results.next().is_some_and(|result| is_sealed(&result));
            }
        }
        sealed
    }
}

fn is_sealed(result: &Result<Outcome, SubmitError>) -> bool {
    match result {
        Ok(Ok(_)) => true,
        // The shard refuses every copy of so old an id, as long as its log goes on.
        Ok(Err(LedgerRefusal::OperationIdTooOld { .. })) => true,
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Returns the refusal for a caller whose earlier attempt may still take effect.
fn unknown(refusal: &Refusal) -> Refusal {
    let message = format!(
        "an earlier attempt has no answer and may still take effect: repeat the request with the same operation id. This attempt was refused: {}",
        refusal.message
    );
    reasons::refusal(Reason::OutcomeUnknown, message)
}

/// Returns the slot of the first SKU, by which a coordinator chooses the home.
fn home_slot(action: &Action) -> Option<SlotNumber> {
    match action {
        Action::Reserve { lines, .. } => lines.first().map(|line| slot_of(line.sku.as_str())),
        Action::TransferOut { lines, .. } => lines.first().map(|line| slot_of(line.sku.as_str())),
        _ => None,
    }
}

/// Returns whether every copy of a command is decided in the shard of its SKUs.
fn stays(action: &Action) -> bool {
    let concerns = action.concerns();
    concerns.about == About::Skus && concerns.sender == Sender::Caller
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_of_an_id_that_is_too_old_to_be_remembered() {
        let first = Attempted {
            operation_id: OperationId::from_slice(uuid::Uuid::now_v7().as_bytes()).unwrap(),
            repeats: false,
            unanswered: false,
            stays: true,
            home_slot: None,
            home: None,
        };
        let repeated = Attempted {
            repeats: true,
            ..first
        };
        for attempted in [first, repeated, repeated.unanswered()] {
            let too_old = || LedgerRefusal::OperationIdTooOld {
                id_time_ms: 2,
                window_start_ms: 3,
            };
            let Unmet { refusal, seal } = attempted.refused(too_old());
            assert_eq!(refusal.reason(), Reason::OperationIdTooOld);
            // An earlier attempt may have taken effect: nobody remembers.
            assert!(!refusal.settled && !seal, "{attempted:?}: {refusal:?}");
        }
        let sealed = repeated.refused(LedgerRefusal::OperationSealed);
        assert!(sealed.refusal.settled);
    }
}
