//! Errors of the brokers and of the client, as errors of a sink.

use krafka::error::{ErrorCode, KrafkaError, ProtocolErrorKind};

use crate::sink::SinkError;

/// Returns the error of a sink. `what` is what was tried.
///
/// An error that is not known passes by itself: it is tried again, and shown as long as it lasts.
pub(super) fn sink_error(what: &str, error: &KrafkaError) -> SinkError {
    let advice = match error {
        KrafkaError::Fenced { .. } => return taken_over(what, error),
        KrafkaError::Broker { code, .. } if is_fence(*code) => return taken_over(what, error),
        KrafkaError::Broker { code, .. } => advice_for(*code),
        KrafkaError::TransactionAbortable { message } => match code_in(message) {
            Some(code) if is_fence(code) => return taken_over(what, error),
            code => code.and_then(advice_for),
        },
        KrafkaError::Auth { .. } => Some("check the user, the password and the certificates of the section"),
        KrafkaError::UnknownTopic { .. } => Some(NO_TOPIC),
        KrafkaError::Config { .. } => Some("check the section of this sink"),
        KrafkaError::Protocol { kind, .. } if *kind == ProtocolErrorKind::UnknownApiVersion => {
            Some("the brokers lack something that transactions need: Kafka 3.9 or later has it")
        }
        _ => None,
    };
    match advice {
        Some(advice) => SinkError::Refused {
            what: format!("{what}: {error}"),
            advice: advice.to_owned(),
        },
        None => SinkError::Unavailable {
            what: format!("{what}: {error}"),
            retry_after_ms: 0,
        },
    }
}

/// Advice about a topic that is not there.
pub(super) const NO_TOPIC: &str = "create the topics as docs/kafka.md says, or name others in the section";

fn taken_over(what: &str, error: &KrafkaError) -> SinkError {
    SinkError::TakenOver {
        what: format!("{what}: {error}"),
    }
}

/// Returns whether a code means that a younger producer has the transactional id.
fn is_fence(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced
    )
}

/// Returns the code for which a record of a transaction failed. The client says it in words alone: `produce
/// to TOPIC-PARTITION failed with CODE`.
fn code_in(message: &str) -> Option<ErrorCode> {
    let (_, word) = message.rsplit_once(" failed with ")?;
    let word = word.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    let mut codes = (-1..=i16::from(u8::MAX)).map(ErrorCode::from_i16);
    codes.find(|code| format!("{code:?}") == word)
}

/// Returns what a person can do, for codes that do not pass by themselves.
fn advice_for(code: ErrorCode) -> Option<&'static str> {
    let advice = match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::InvalidTopic => NO_TOPIC,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidMessageSize => {
            "records are larger than the topic allows: raise its max.message.bytes above batch.size (nothing is skipped)"
        }
        ErrorCode::TopicAuthorizationFailed => {
            "allow the user of this sink to WRITE and DESCRIBE the topics, and to READ the one for positions"
        }
        ErrorCode::TransactionalIdAuthorizationFailed => {
            "allow the user of this sink to WRITE and DESCRIBE transactional ids that begin with \"holdfast-\""
        }
        ErrorCode::ClusterAuthorizationFailed => {
            "allow the user of this sink IDEMPOTENT_WRITE on the cluster"
        }
        ErrorCode::GroupAuthorizationFailed
        | ErrorCode::DelegationTokenAuthorizationFailed
        | ErrorCode::SaslAuthenticationFailed
        | ErrorCode::UnsupportedSaslMechanism
        | ErrorCode::IllegalSaslState
        | ErrorCode::SecurityDisabled => "check the user, the password and the certificates of the section",
        ErrorCode::InvalidTransactionTimeout => {
            "lower transaction.timeout.ms, or raise transaction.max.timeout.ms of the brokers"
        }
        ErrorCode::UnsupportedCompressionType => "choose another compression.type in the properties",
        ErrorCode::UnsupportedVersion | ErrorCode::UnsupportedForMessageFormat => {
            "the brokers lack something that transactions need: Kafka 3.9 or later has it"
        }
        ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp | ErrorCode::PolicyViolation => {
            "the topic refuses such records: check its message.timestamp settings, its clean-up policy and the \
             policies of the brokers"
        }
        ErrorCode::InvalidConfig | ErrorCode::InvalidRequest | ErrorCode::InvalidRequiredAcks => {
            "the brokers refuse the request itself: check their logs"
        }
        _ => return None,
    };
    Some(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: ErrorCode) -> SinkError {
        sink_error("a transaction of shard 3", &KrafkaError::broker(code, "told so"))
    }

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        for code in [
            ErrorCode::NotEnoughReplicas,
            ErrorCode::NotEnoughReplicasAfterAppend,
            ErrorCode::RequestTimedOut,
            ErrorCode::NotLeaderForPartition,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::ConcurrentTransactions,
            ErrorCode::KafkaStorageException,
            ErrorCode::InvalidProducerIdMapping,
            ErrorCode::ThrottlingQuotaExceeded,
            ErrorCode::Unknown(4_321),
        ] {
            let error = of(code);
            assert!(!error.needs_a_person(), "{code:?}: {error}");
            assert!(error.to_string().contains("shard 3") && error.to_string().contains("told so"));
        }
        assert!(!sink_error("x", &KrafkaError::timeout("y")).needs_a_person());
        assert!(!sink_error("x", &KrafkaError::delivery_timeout(true, "y")).needs_a_person());
    }

    #[test]
    fn what_needs_a_person_says_what_to_do() {
        for (code, part) in [
            (ErrorCode::MessageTooLarge, "max.message.bytes"),
            (ErrorCode::UnknownTopicOrPartition, "docs/kafka.md"),
            (ErrorCode::TopicAuthorizationFailed, "WRITE and DESCRIBE"),
            (ErrorCode::TransactionalIdAuthorizationFailed, "holdfast-"),
            (ErrorCode::ClusterAuthorizationFailed, "IDEMPOTENT_WRITE"),
            (ErrorCode::InvalidTransactionTimeout, "transaction.timeout.ms"),
            (ErrorCode::SaslAuthenticationFailed, "password"),
        ] {
            let error = of(code);
            assert!(error.needs_a_person(), "{code:?}");
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(sink_error("x", &KrafkaError::auth("no")).needs_a_person());
    }

    #[test]
    fn the_code_of_a_record_that_failed_is_read_from_the_words() {
        let failed = "produce to holdfast.cells-0 failed with MessageTooLarge";
        assert_eq!(code_in(failed), Some(ErrorCode::MessageTooLarge));
        let nested = format!("cannot send: a send failed (transaction must be aborted: {failed}); abort it");
        assert_eq!(code_in(&nested), Some(ErrorCode::MessageTooLarge));
        for other in [
            "",
            "produce failed with ",
            "it failed with Something",
            "timed out",
        ] {
            assert_eq!(code_in(other), None, "{other}");
        }
    }

    #[test]
    fn a_younger_producer_is_another_runner() {
        for error in [
            KrafkaError::fenced("x"),
            KrafkaError::broker(ErrorCode::ProducerFenced, "x"),
            KrafkaError::broker(ErrorCode::InvalidProducerEpoch, "x"),
            KrafkaError::transaction_abortable("produce to t-0 failed with InvalidProducerEpoch"),
        ] {
            assert!(matches!(sink_error("y", &error), SinkError::TakenOver { .. }));
        }
    }
}
