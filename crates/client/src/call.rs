//! One call: attempts with the same request until an answer, a final refusal, or the deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::ClientError;
use crate::client::Client;
use crate::error::{Attempt, Effect};
use crate::routes::Route;

/// An attempt is not begun with less time left than this: it would only turn "no effect" into "unknown".
const LEAST_ATTEMPT: Duration = Duration::from_millis(20);

/// Can an attempt without an answer have changed something?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It asks.
    Read,
    /// It changes.
    Mutation,
}

/// Pauses between attempts: doubling, each between a half and the whole of its step.
#[derive(Debug)]
pub(crate) struct Backoff {
    step: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { step: min, max }
    }

    /// The next pause, at least `least`.
    pub(crate) fn next(&mut self, least: Duration) -> Duration {
        let step = self.step.min(self.max);
        self.step = (step * 2).min(self.max);
        step.mul_f64(rand::random_range(0.5..=1.0)).max(least)
    }
}

impl Client {
    /// Calls until there is an answer. `send` gets the same request each time, so the operation id is the same too.
    pub(crate) async fn call<Req, Res, Send, Sent>(
        &self,
        kind: Kind,
        route: impl Fn(&Req) -> Route<'_>,
        request: Req,
        send: Send,
    ) -> Result<Res, ClientError>
    where
        Req: Clone,
        Send: Fn(Channel, Request<Req>) -> Sent,
        Sent: Future<Output = Result<Response<Res>, Status>>,
    {
        let deadline = Instant::now() + self.options().deadline;
        let mut backoff = Backoff::new(self.options().backoff_min, self.options().backoff_max);
        let mut effect = Effect::None;
        let mut failed: Option<String> = None;
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
            let (retry_after_ms, message) = match outcome {
                Attempt::Final(error) => return Err(error),
                Attempt::Retry {
                    effect: left_behind,
                    retry_after_ms,
                    message,
                } => {
                    if kind == Kind::Mutation && left_behind == Effect::Unknown {
                        effect = Effect::Unknown;
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

    /// The leader when it is known and has not just failed, otherwise the next in turn: any node forwards.
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

/// What the caller is told at the deadline.
pub(crate) fn give_up(effect: Effect, message: String) -> ClientError {
    match effect {
        Effect::None => ClientError::Unavailable { message },
        Effect::Unknown => ClientError::Unknown { message },
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
