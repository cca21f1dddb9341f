//! The attempts of one call: what an attempt may have changed, the pauses between attempts, and the error at
//! the end.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_api::v1::Operation;

use crate::ClientError;
use crate::error::{Attempt, Effect};

/// Finds the operation of a request, if it has one.
type OperationOf<Req> = fn(&mut Req) -> Option<&mut Operation>;

/// Says whether an attempt without an answer may have changed something.
#[derive(Debug)]
pub(crate) enum Kind<Req> {
    /// The request only reads.
    Read,
    /// The request changes something, under the id of this operation.
    Mutation(OperationOf<Req>),
}

impl<Req> Kind<Req> {
    /// Returns what is known of the attempts before the first one of this call.
    pub(crate) fn effect_so_far(&self, request: &mut Req) -> Effect {
        match self {
            Self::Read => Effect::None,
            Self::Mutation(operation_of) => {
                let repeats = operation_of(request).is_some_and(|operation| operation.repeats);
                if repeats { Effect::Unknown } else { Effect::None }
            }
        }
    }

    /// Notes a failed attempt, in what is known and in the request of the next attempt.
    pub(crate) fn note(&self, left_behind: Effect, effect: &mut Effect, request: &mut Req) {
        if let (Self::Mutation(operation_of), Effect::Unknown) = (self, left_behind) {
            *effect = Effect::Unknown;
            if let Some(operation) = operation_of(request) {
                operation.repeats = true;
            }
        }
    }
}

/// The pauses between attempts. Each step is twice the one before; a pause is between a half and the whole of
/// its step.
#[derive(Debug)]
pub(crate) struct Backoff {
    step: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { step: min, max }
    }

    /// Returns the next pause, at least `least`.
    pub(crate) fn next(&mut self, least: Duration) -> Duration {
        let step = self.step.min(self.max);
        self.step = (step * 2).min(self.max);
        step.mul_f64(rand::random_range(0.5..=1.0)).max(least)
    }
}

/// The nodes that disagreed with this client on certificates, during one call.
#[derive(Debug, Default)]
pub(crate) struct Untrusted(BTreeSet<String>);

impl Untrusted {
    /// Notes the outcome of an attempt. `known` lists the known nodes. Returns the error of the call once no
    /// known node is left.
    pub(crate) fn note(
        &mut self,
        known: impl FnOnce() -> Vec<String>,
        address: &str,
        attempt: &Attempt,
    ) -> Option<ClientError> {
        let Attempt::Untrusted { message } = attempt else {
            self.0.remove(address);
            return None;
        };
        self.0.insert(address.to_owned());
        let none_left = known().iter().all(|address| self.0.contains(address));
        none_left.then(|| ClientError::Untrusted {
            message: message.clone(),
        })
    }
}

/// Returns the error that the caller gets at the deadline.
pub(crate) fn give_up(effect: Effect, message: String) -> ClientError {
    match effect {
        Effect::None => ClientError::Unavailable { message },
        Effect::Unknown => ClientError::Unknown { message },
    }
}

/// Turns an error that a retry cannot change into the error for the caller. `effect` is what earlier attempts
/// left behind; `unanswered` describes the last attempt without an answer.
pub(crate) fn after(effect: Effect, unanswered: &str, error: ClientError) -> ClientError {
    match (effect, error) {
        (Effect::Unknown, ClientError::Refused(refusal)) if refusal.settled => ClientError::Refused(refusal),
        (Effect::Unknown, error) => ClientError::Unknown {
            message: format!(
                "an earlier attempt has no answer ({unanswered}), and the last one failed: {error}"
            ),
        },
        (Effect::None, error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_never_undercut_the_servers_wish() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(40));
        for step_ms in [10, 20, 40, 40] {
            let pause = backoff.next(Duration::ZERO);
            assert!(
                pause >= Duration::from_millis(step_ms / 2) && pause <= Duration::from_millis(step_ms),
                "{pause:?}"
            );
        }
        assert!(backoff.next(Duration::from_millis(700)) == Duration::from_millis(700));
    }
}
