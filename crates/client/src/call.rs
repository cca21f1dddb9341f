//! One call: attempts with the same request until an answer, a final refusal, or the deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::ClientError;
use crate::attempts::{Backoff, Kind, Untrusted, after, give_up};
use crate::client::Client;
use crate::error::{Attempt, Effect};
use crate::routes::Route;

/// The least time that an attempt needs. An attempt begun with less time left would only turn "no effect"
/// into "unknown".
const LEAST_ATTEMPT: Duration = Duration::from_millis(20);

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
            if let Some(error) = untrusted.note(|| self.known_nodes(), &address, &outcome) {
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

    /// Returns the addresses of all nodes that this client knows.
    pub(crate) fn known_nodes(&self) -> Vec<String> {
        self.channels().all(&self.routes().addresses())
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
