//! The reason of each error that a caller may get. A service adds the place where the error happened; the
//! reason is the same at every place.
//!
//! Every match names all variants. So a new variant does not compile until somebody has chosen its reason.

use std::fmt::Display;

use holdfast_api::v1::{Reason, Refusal};
use holdfast_ledger::Refusal as LedgerRefusal;
use holdfast_shard::{ChangeReadError, CutError, QueryError, SubmitError, TransferError, TransportError};

use crate::directory::AskError;
use holdfast_api::reasons::refusal;

/// An error that is reported to a caller.
pub(crate) trait Reasoned: Display {
    /// Returns the reason that the caller gets.
    fn reason(&self) -> Reason;

    /// Returns after how many milliseconds to try again; 0 when that is not known.
    fn retry_after_ms(&self) -> u64 {
        0
    }
}

/// Returns the refusal for an error.
pub(crate) fn told(error: &impl Reasoned) -> Refusal {
    Refusal {
        retry_after_ms: error.retry_after_ms(),
        ..refusal(error.reason(), error.to_string())
    }
}

/// Returns the refusal for an error of one shard. The message names the shard.
pub(crate) fn told_of_shard(shard: u32, error: &impl Reasoned) -> Refusal {
    let told = told(error);
    Refusal {
        message: format!("shard {shard}: {}", told.message),
        ..told
    }
}

impl Reasoned for LedgerRefusal {
    fn reason(&self) -> Reason {
        match self {
            Self::InvalidRequest(_) => Reason::InvalidRequest,
            Self::InsufficientStock(_) => Reason::InsufficientStock,
            Self::UnknownReservation => Reason::UnknownReservation,
            Self::WrongState { .. } => Reason::WrongState,
            Self::Expired { .. } => Reason::Expired,
            Self::ExceedsLine { .. } => Reason::ExceedsLine,
            Self::OperationIdReused => Reason::OperationIdReused,
            Self::OperationIdTooOld { .. } => Reason::OperationIdTooOld,
            Self::OperationIdFromFuture { .. } => Reason::OperationIdFromFuture,
            Self::Overflow => Reason::Overflow,
            Self::LimitReached { .. } => Reason::LimitReached,
            Self::PositionInFuture { .. } => Reason::PositionInFuture,
            Self::PositionTooOld { .. } => Reason::PositionTooOld,
            Self::UnknownTransfer => Reason::UnknownTransfer,
            Self::TransferClosed => Reason::TransferClosed,
            Self::OperationSealed => Reason::OperationSealed,
            Self::ReferenceTaken { .. } => Reason::ReferenceTaken,
            Self::UnknownConsumer { .. } => Reason::UnknownConsumer,
            Self::Contended(_) | Self::OrderAborted { .. } => Reason::Contended,
            // The node follows these to the home. A caller sees them only because of a defect.
            Self::DecidedAtHome { .. } | Self::OverSeveralShards { .. } => Reason::Internal,
        }
    }
}

impl Reasoned for SubmitError {
    fn reason(&self) -> Reason {
        match self {
            Self::NoLeader | Self::Stopped => Reason::NoLeader,
            Self::Overloaded { .. } => Reason::Overloaded,
            Self::OutcomeUnknown | Self::Unsettled(_) => Reason::OutcomeUnknown,
            Self::Deadline => Reason::Deadline,
            Self::LowSpace => Reason::LowSpace,
        }
    }

    fn retry_after_ms(&self) -> u64 {
        match self {
            Self::Overloaded { retry_after_ms } => *retry_after_ms,
            Self::NoLeader
            | Self::Stopped
            | Self::OutcomeUnknown
            | Self::Unsettled(_)
            | Self::Deadline
            | Self::LowSpace => 0,
        }
    }
}

impl Reasoned for QueryError {
    fn reason(&self) -> Reason {
        match self {
            Self::Refused(refused) => refused.reason(),
            Self::NoLeader | Self::Stopped => Reason::NoLeader,
            Self::Overloaded { .. } => Reason::Overloaded,
            Self::Deadline => Reason::Deadline,
        }
    }

    fn retry_after_ms(&self) -> u64 {
        match self {
            Self::Overloaded { retry_after_ms } => *retry_after_ms,
            Self::Refused(_) | Self::NoLeader | Self::Stopped | Self::Deadline => 0,
        }
    }
}

impl Reasoned for ChangeReadError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotHere { .. } => Reason::PositionTooOld,
            // A second read does not repair a damaged file: the operators have to know.
            Self::Storage(_) => Reason::Internal,
            Self::Unreachable(_) | Self::Stopped => Reason::NoLeader,
        }
    }
}

impl Reasoned for TransferError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotAVoter(_) => Reason::InvalidRequest,
            Self::NotLeader { .. } | Self::NobodyElse | Self::Stopped => Reason::NoLeader,
            Self::NotTaken(_) => Reason::OutcomeUnknown,
        }
    }
}

impl Reasoned for CutError {
    fn reason(&self) -> Reason {
        match self {
            // All of these pass: the caller begins its backup again.
            Self::NotLeader { .. } | Self::AlreadyFrozen | Self::NotInTime | Self::Moved | Self::Stopped => {
                Reason::NoLeader
            }
        }
    }
}

impl Reasoned for TransportError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotSent(_) => Reason::NoLeader,
            Self::Unknown(_) => Reason::OutcomeUnknown,
        }
    }
}

impl Reasoned for AskError {
    fn reason(&self) -> Reason {
        match self {
            Self::Refused(_) => Reason::InvalidRequest,
            Self::NoPart => Reason::NoLeader,
            Self::Unanswered(error) => error.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::reasons::consequences_of;

    #[test]
    fn a_damaged_file_is_told_to_operators_and_an_unreachable_peer_is_asked_again() {
        let storage = told_of_shard(3, &ChangeReadError::Storage("bad checksum".to_owned()));
        assert_eq!(storage.reason(), Reason::Internal);
        assert_eq!(
            storage.message,
            "shard 3: the change log cannot be read: bad checksum"
        );
        for passing in [
            ChangeReadError::Unreachable("node 2 is down".to_owned()),
            ChangeReadError::Stopped,
        ] {
            assert!(consequences_of(told(&passing).reason()).retryable, "{passing}");
        }
        let gone = told(&ChangeReadError::NotHere { first_seq: 9 });
        assert!(
            !consequences_of(gone.reason()).retryable,
            "what no node has is not waited for"
        );
    }

    #[test]
    fn an_attempt_without_an_answer_is_never_told_as_one_without_an_effect() {
        let unsettled = SubmitError::Unsettled(LedgerRefusal::UnknownReservation);
        for error in [unsettled, SubmitError::OutcomeUnknown] {
            assert_eq!(told(&error).reason(), Reason::OutcomeUnknown);
            assert_eq!(
                told(&AskError::Unanswered(error)).reason(),
                Reason::OutcomeUnknown
            );
        }
    }
}
