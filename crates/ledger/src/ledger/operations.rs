//! The operations of the window, from which retries are answered.

use serde::{Deserialize, Serialize};

use crate::{Action, Command, LedgerOptions, OperationId, Position, Refusal, ReservationState, Violation};

use super::sorted_map::SortedMap;

/// Operations that are remembered, by id. Ids sort by their time, so the first one is forgotten first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operations(SortedMap<OperationId, Record>);

/// One remembered operation: 24 bytes, beside the 16 of its id. It has a fingerprint of 60 bits, the kind of
/// answer in 4 bits, the log index in 48 and the log time in 48. The remaining 32 bits say how many
/// milliseconds later than asked for the hold of an Extend ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record([u64; 3]);

/// The part of a success that cannot be found elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A reservation was made. It holds the rest of the answer.
    Reserved,
    /// A cell or a stock policy changed.
    Stocked,
    /// A reservation changed its state. None for a return without a reservation.
    Transitioned {
        state: Option<ReservationState>,
        expires_at_ms: u64,
    },
}

/// The knowledge about an operation id.
pub(crate) enum Known {
    /// Nothing is known. Decide the operation, and remember it with this fingerprint.
    New(u64),
    /// The operation took effect before.
    Before(Record),
}

/// States in order of their value in the 4 bits, after the three answers without a state.
pub(crate) const STATES: [ReservationState; 8] = [
    ReservationState::Prepared,
    ReservationState::Held,
    ReservationState::Committed,
    ReservationState::Shipped,
    ReservationState::Released,
    ReservationState::Expired,
    ReservationState::Cancelled,
    ReservationState::Returned,
];
const RESERVED: u64 = 0;
const STOCKED: u64 = 1;
const STATELESS: u64 = 2;
const FIRST_STATE: u64 = 3;

impl Record {
    fn new(fingerprint: u64, position: Position, answer: Answer, ttl_ms: u64) -> Self {
        let (kind, late_ms) = match answer {
            Answer::Reserved => (RESERVED, 0),
            Answer::Stocked => (STOCKED, 0),
            Answer::Transitioned { state: None, .. } => (STATELESS, 0),
            Answer::Transitioned {
                state: Some(state),
                expires_at_ms,
            } => {
                let place = STATES
                    .iter()
                    .position(|other| *other == state)
                    .unwrap_or_default() as u64;
                let asked_ms = position.log_time_ms.saturating_add(ttl_ms);
                (FIRST_STATE + place, expires_at_ms.saturating_sub(asked_ms))
            }
        };
        // A hold ends at most 30 days after it was last prolonged, which fits in 32 bits.
        let late_ms = late_ms.min(u64::from(u32::MAX));
        Self([
            fingerprint << 4 | kind,
            position.log_index << 16 | late_ms >> 16,
            position.log_time_ms << 16 | late_ms & 0xffff,
        ])
    }

    fn fingerprint(self) -> u64 {
        self.0[0] >> 4
    }

    pub(crate) fn position(self) -> Position {
        Position {
            log_index: self.0[1] >> 16,
            log_time_ms: self.0[2] >> 16,
        }
    }

    /// Returns the answer. `ttl_ms` is the time that the command asks for. None for bytes that no operation
    /// writes.
    pub(crate) fn answer(self, ttl_ms: u64) -> Option<Answer> {
        let late_ms = (self.0[1] & 0xffff) << 16 | self.0[2] & 0xffff;
        match self.0[0] & 0xf {
            RESERVED => Some(Answer::Reserved),
            STOCKED => Some(Answer::Stocked),
            STATELESS => Some(Answer::Transitioned {
                state: None,
                expires_at_ms: 0,
            }),
            kind => {
                let state = *STATES.get((kind - FIRST_STATE) as usize)?;
                let held = state == ReservationState::Held;
                let ends = self
                    .position()
                    .log_time_ms
                    .saturating_add(ttl_ms)
                    .saturating_add(late_ms);
                Some(Answer::Transitioned {
                    state: Some(state),
                    expires_at_ms: if held { ends } else { 0 },
                })
            }
        }
    }
}

/// Returns the time that a command asks for, counted from the time of its entry. 0 where it does not matter.
pub(crate) fn ttl_of(command: &Command) -> u64 {
    match command.action {
        Action::Reserve { ttl_ms, .. } | Action::Extend { ttl_ms, .. } => ttl_ms,
        _ => 0,
    }
}

/// Builds the refusal of an id from before the window.
pub(crate) fn too_old(id: &OperationId, now_ms: u64, options: &LedgerOptions) -> Refusal {
    Refusal::OperationIdTooOld {
        id_time_ms: id.time_ms(),
        window_start_ms: now_ms.saturating_sub(options.operation_window_ms),
    }
}

fn check_age(id: &OperationId, now_ms: u64, options: &LedgerOptions) -> Result<(), Refusal> {
    let id_time_ms = id.time_ms();
    let window_start_ms = now_ms.saturating_sub(options.operation_window_ms);
    if id_time_ms < window_start_ms {
        return Err(too_old(id, now_ms, options));
    }
    Ok(())
}

fn check_lead(id: &OperationId, now_ms: u64, options: &LedgerOptions) -> Result<(), Refusal> {
    let id_time_ms = id.time_ms();
    let latest_ms = now_ms.saturating_add(options.operation_lead_ms);
    if id_time_ms > latest_ms {
        return Err(Refusal::OperationIdFromFuture {
            id_time_ms,
            latest_ms,
        });
    }
    Ok(())
}

impl Operations {
    /// Looks an id up at a log time.
    pub(crate) fn look_up(
        &self,
        command: &Command,
        now_ms: u64,
        options: &LedgerOptions,
    ) -> Result<Known, Refusal> {
        let id = &command.operation_id;
        check_age(id, now_ms, options)?;
        let fingerprint = command.fingerprint();
        if let Some(record) = self.0.get(id) {
            return if record.fingerprint() == fingerprint {
                Ok(Known::Before(*record))
            } else if record.fingerprint() == Command::fingerprint_of_seal() {
                Err(Refusal::OperationSealed)
            } else {
                Err(Refusal::OperationIdReused)
            };
        }
        check_lead(id, now_ms, options)?;
        Ok(Known::New(fingerprint))
    }

    /// Returns whether an id was sealed.
    pub(crate) fn is_sealed(&self, id: &OperationId) -> bool {
        let record = self.0.get(id);
        record.is_some_and(|record| record.fingerprint() == Command::fingerprint_of_seal())
    }

    /// Returns whether an operation with this id is remembered.
    pub(crate) fn knows(&self, id: &OperationId) -> bool {
        self.0.contains_key(id)
    }

    /// Refuses an id that is too old or too far ahead to begin an operation.
    pub(crate) fn check_time(
        &self,
        id: &OperationId,
        now_ms: u64,
        options: &LedgerOptions,
    ) -> Result<(), Refusal> {
        check_age(id, now_ms, options)?;
        check_lead(id, now_ms, options)
    }

    /// Returns whether an operation with this id can never begin any more.
    pub(crate) fn is_too_old(&self, id: &OperationId, now_ms: u64, options: &LedgerOptions) -> bool {
        check_age(id, now_ms, options).is_err()
    }

    pub(crate) fn remember(
        &mut self,
        command: &Command,
        fingerprint: u64,
        position: Position,
        answer: Answer,
    ) -> Result<(), Violation> {
        let record = Record::new(fingerprint, position, answer, ttl_of(command));
        match self.0.insert(command.operation_id, record) {
            None => Ok(()),
            Some(_) => Err(Violation(format!(
                "operation {} took effect and is remembered already",
                command.operation_id
            ))),
        }
    }

    /// Forgets up to `budget` ids that are too old to be accepted again.
    pub(crate) fn forget(&mut self, now_ms: u64, options: &LedgerOptions, budget: usize) {
        let window_start_ms = now_ms.saturating_sub(options.operation_window_ms);
        for _ in 0..budget {
            match self.0.first() {
                Some((id, _)) if id.time_ms() < window_start_ms => drop(self.0.pop_first()),
                _ => return,
            }
        }
    }

    /// Returns the log time at which the first id may be forgotten.
    pub(crate) fn first_due_ms(&self, options: &LedgerOptions) -> Option<u64> {
        let (id, _) = self.0.first()?;
        Some(
            id.time_ms()
                .saturating_add(options.operation_window_ms)
                .saturating_add(1),
        )
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OperationId, &Record)> {
        self.0.iter()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_48_BITS;

    #[test]
    fn an_operation_is_kept_in_40_bytes() {
        assert_eq!(size_of::<(OperationId, Record)>(), 40);
    }

    #[test]
    fn a_record_gives_back_what_it_was_made_of() {
        let position = Position {
            log_index: MAX_48_BITS,
            log_time_ms: MAX_48_BITS - 5,
        };
        let held = |expires_at_ms| Answer::Transitioned {
            state: Some(ReservationState::Held),
            expires_at_ms,
        };
        let mut answers = vec![
            Answer::Reserved,
            Answer::Stocked,
            held(MAX_48_BITS + 2),
            held(MAX_48_BITS + 2_592_000_000),
        ];
        answers.push(Answer::Transitioned {
            state: None,
            expires_at_ms: 0,
        });
        for state in STATES
            .into_iter()
            .filter(|state| *state != ReservationState::Held)
        {
            answers.push(Answer::Transitioned {
                state: Some(state),
                expires_at_ms: 0,
            });
        }
        for answer in answers {
            let record = Record::new(u64::MAX >> 4, position, answer, 7);
            assert_eq!(record.fingerprint(), u64::MAX >> 4);
            assert_eq!(record.position(), position);
            assert_eq!(record.answer(7), Some(answer));
        }
    }
}
