//! A call, and the bytes that it takes of its caller's share, from its first byte to the last byte of its
//! answer.

use std::sync::Arc;

use holdfast_api::reasons;
use holdfast_api::v1::{Reason, Refusal};
use parking_lot::Mutex;
use tonic::Status;

use super::budget::{Charge, Exhausted};
use super::decoding::Decoding;
use super::session::Session;
use crate::api::Api;

/// The bytes that a call takes in addition to its messages: its stream, parsed headers, buffers and task.
pub(crate) const CALL_BYTES: usize = 16 << 10;
/// The time in milliseconds after which the node may have room again.
const RETRY_AFTER_MS: u64 = 200;

/// The reason why a call is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The call reached a limit of bytes before the service got it.
    Exhausted(Exhausted),
    /// The answer reached a limit of bytes. The call may have taken effect.
    Unanswered(Exhausted),
    /// The message has too many fields, or is not a valid message.
    Uncounted,
    /// The message did not arrive in time.
    Unfinished,
    /// Large messages arrive faster than they are read.
    TooFast,
}

impl Why {
    fn label(self) -> &'static str {
        match self {
            Self::Exhausted(limit) | Self::Unanswered(limit) => limit.label(),
            Self::Uncounted => "fields",
            Self::Unfinished => "unfinished",
            Self::TooFast => "large_message_bytes",
        }
    }
}

/// A call. Its bytes stay taken as long as this value exists.
pub(crate) struct Call {
    pub(super) session: Arc<Session>,
    pub(super) api: Arc<Api>,
    pub(super) path: String,
    /// The charge of the call itself.
    _own: Charge,
    /// The charge of the messages that went to the service.
    passed: Mutex<Charge>,
    /// Decides when the call's large messages may be decoded.
    pub(crate) decoding: Decoding,
}

impl Call {
    pub(super) fn new(
        session: Arc<Session>,
        api: Arc<Api>,
        path: &str,
        bytes: usize,
    ) -> Result<Arc<Self>, Exhausted> {
        let own = session.charge(CALL_BYTES.saturating_add(bytes))?;
        let passed = session.charge(0)?;
        session.called();
        Ok(Arc::new(Self {
            session,
            api,
            path: path.to_owned(),
            _own: own,
            passed: Mutex::new(passed),
            decoding: Decoding::default(),
        }))
    }

    /// Takes over the charge of a message that goes to the service.
    pub(super) fn pass(&self, charge: Charge) {
        self.passed.lock().merge(charge);
    }

    /// Hands over the charge of the messages that went to the service. If this is not called, the charge
    /// lasts until the call ends.
    pub(crate) fn take_over(&self) -> Charge {
        self.passed.lock().split_off()
    }
}

/// Counts a refusal, and turns it into a gRPC error.
pub(super) fn refused(api: &Api, path: &str, why: Why, message: String) -> Status {
    api.metrics.intake_refused(why.label());
    let method = path.rsplit('/').next().unwrap_or_default();
    api.refused(method, refusal(why, message))
}

fn refusal(why: Why, message: String) -> Refusal {
    match why {
        Why::Exhausted(_) | Why::TooFast => Refusal {
            retry_after_ms: RETRY_AFTER_MS,
            // The call was not read, so it has had no effect.
            ..reasons::refusal(Reason::Overloaded, message)
        },
        Why::Unanswered(_) => Refusal {
            retry_after_ms: RETRY_AFTER_MS,
            ..reasons::refusal(Reason::OutcomeUnknown, message)
        },
        Why::Uncounted => Refusal {
            // Such a request takes effect on no node, whenever it arrives.
            settled: true,
            ..reasons::invalid(message)
        },
        // Another attempt may have arrived whole.
        Why::Unfinished => reasons::invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_promises_no_more_about_an_effect_than_is_known() {
        let told = |why| {
            let refusal = refusal(why, String::new());
            (refusal.reason(), refusal.settled)
        };
        let limit = Exhausted::Caller;
        assert_eq!(told(Why::Exhausted(limit)), (Reason::Overloaded, false));
        assert_eq!(told(Why::TooFast), (Reason::Overloaded, false));
        assert_eq!(told(Why::Unanswered(limit)), (Reason::OutcomeUnknown, false));
        assert_eq!(told(Why::Uncounted), (Reason::InvalidRequest, true));
        assert_eq!(told(Why::Unfinished), (Reason::InvalidRequest, false));
    }
}
