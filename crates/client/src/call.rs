//! One call: attempts with the same request until an answer, a final refusal, or the deadline.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use holdfast_api::v1::Operation;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::ClientError;
use crate::client::Client;
use crate::error::{Attempt, Effect};
use crate::routes::Route;

/// The least time that an attempt needs. An attempt begun with less time left would only turn "no effect"
/// into "unknown".
const LEAST_ATTEMPT: Duration = Duration::from_millis(20);

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
    fn effect_so_far(&self, request: &mut Req) -> Effect {
        match self {
            Self::Read => Effect::None,
            Self::Mutation(operation_of) => {
                let repeats = operation_of(request).is_some_and(|operation| operation.repeats);
                if repeats { Effect::Unknown } else { Effect::None }
            }
        }
    }

    /// Notes a failed attempt, in what is known and in the request of the next attempt.
    fn note(&self, left_behind: Effect, effect: &mut Effect, request: &mut Req) {
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

impl Client {
    /// Calls until there is an answer. `send` gets the same request each time, so the operation id stays the
    /// same.
    pub(crate) async fn call<Req, Res, Send, Sent>(
        &self,
        kind: Kind<Req>,
        route: impl Fn(&Req) -> Route<'_>,
        mut request: Req,
        send: Send,
    ) -> Result<Res, ClientError>
    where
        Req: Clone,
        Send: Fn(Channel, Request<Req>) -> Sent,
        Sent: Future<Output = Result<Response<Res>, Status>>,
    {
        let deadline = Instant::now() + self.options().deadline;
        let mut backoff = Backoff::new(self.options().backoff_min, self.options().backoff_max);
        let mut effect = kind.effect_so_far(&mut request);
        let mut failed: Option<String> = None;
        let mut unanswered = String::new();
        let mut untrusted = Untrusted::default();
        loop {
            self.look_at_certificates();
            self.ask_topology_if_needed(deadline).await;
            let address = self.choose(route(&request), failed.as_deref());
            let channel = self.channels().to(&address)?;
            let wait = self
                .options()
                .attempt_timeout
                .min(deadline.saturating_duration_since(Instant::now()));
            let mut attempt = Request::new(request.clone());
            attempt.set_timeout(wait);
            let outcome = match tokio::time::timeout(wait, send(channel, attempt)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => Attempt::from_status(&status, &address),
                Err(_) => Attempt::timed_out(&address),
            };
            if let Some(error) = untrusted.note(self, &address, &outcome) {
                return Err(after(effect, &unanswered, error));
            }
            let (retry_after_ms, message) = match outcome {
                Attempt::Final(error) => return Err(after(effect, &unanswered, error)),
                Attempt::Untrusted { message } => (0, message),
                Attempt::Retry {
                    effect: left_behind,
                    retry_after_ms,
                    message,
                } => {
                    kind.note(left_behind, &mut effect, &mut request);
                    if left_behind == Effect::Unknown {
                        unanswered.clone_from(&message);
                    }
                    (retry_after_ms, message)
                }
            };
            tracing::debug!(%address, %message, "an attempt failed, trying again with the same operation id");
            self.routes().doubt();
            failed = Some(address);
            let pause = backoff.next(Duration::from_millis(retry_after_ms));
            if Instant::now() + pause + LEAST_ATTEMPT >= deadline {
                return Err(give_up(effect, message));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns the leader when it is known and has not just failed, otherwise the next address in turn. Any
    /// node forwards a request.
    pub(crate) fn choose(&self, route: Route<'_>, failed: Option<&str>) -> String {
        let leader = self
            .routes()
            .shard(route)
            .and_then(|shard| self.routes().leader(shard));
        match leader {
            Some(leader) if Some(leader.as_str()) != failed => leader,
            _ => self.channels().next(&self.routes().addresses(), failed),
        }
    }
}

/// The nodes that disagreed with this client on certificates, during one call.
#[derive(Debug, Default)]
pub(crate) struct Untrusted(BTreeSet<String>);

impl Untrusted {
    /// Notes the outcome of an attempt. Returns the error of the call once no known node is left.
    pub(crate) fn note(&mut self, client: &Client, address: &str, attempt: &Attempt) -> Option<ClientError> {
        let Attempt::Untrusted { message } = attempt else {
            self.0.remove(address);
            return None;
        };
        self.0.insert(address.to_owned());
        let known = client.channels().all(&client.routes().addresses());
        let none_left = known.iter().all(|address| self.0.contains(address));
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
            message: format!("an earlier attempt has no answer ({unanswered}); the last one: {error}"),
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
