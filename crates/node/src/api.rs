//! What all services share: the router, deadlines, counting, and the way of one command.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_ledger::{
    Action, Command, Coordinator, Query, QueryReply, Refusal as LedgerRefusal, ReservationId, ReturnOf, Sku,
    Success, TransferOrder,
};
use holdfast_proto::v1::{Reason, Refusal};
use holdfast_shard::{Answer, ChangeReader, Freshness, Role, SubmitError};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};
use tracing::Instrument as _;

use crate::config::{LimitsSection, PeerSection};
use crate::directory::Membership;
use crate::errors;
use crate::mapping::inbound::Taken;
use crate::mapping::outbound;
use crate::metrics::Metrics;
use crate::orders::{OrderError, Orders};
use crate::peers::{Identity, Peers};
use crate::router::Router;
use crate::security::Caller;
use crate::security::access::Access;
use crate::tasks::Tasks;
use crate::validation::Invalid;

/// Set by a node on what it asks of another node's client port, so that nothing travels in a circle.
pub(crate) const PROXIED: &str = "holdfast-proxied";

/// A replica this many committed entries behind is still caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// A replica that is cut off from its leader, or from its quorum if it leads, for this many of the longest election timeouts
/// has missed more than one election.
pub(crate) const CUT_OFF_TIMEOUTS: u64 = 3;

/// The part of a call's time that is kept for the way of the answer.
const ANSWER_TIME: Duration = Duration::from_millis(25);

/// What all services share.
pub(crate) struct Api {
    pub(crate) identity: Identity,
    pub(crate) membership: Arc<Membership>,
    pub(crate) limits: LimitsSection,
    pub(crate) router: Router,
    pub(crate) orders: Orders,
    pub(crate) peers: Peers,
    pub(crate) access: Access,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
    pub(crate) started: Instant,
    /// A replica that has heard nothing for this long is not ready.
    pub(crate) cut_off_after_ms: u64,
    /// Free places for change streams.
    pub(crate) change_streams: Arc<Semaphore>,
    /// A free place for a backup.
    pub(crate) backups: Arc<Semaphore>,
    /// The node is about to stop: it is not ready any more, but still answers.
    pub(crate) leaving: AtomicBool,
    /// Long streams must end.
    pub(crate) stopping: CancellationToken,
}

impl Api {
    /// The nodes of the cluster, as far as known.
    pub(crate) fn nodes(&self) -> Arc<[PeerSection]> {
        self.membership.nodes()
    }

    /// Counts and times a unary call, and turns a refusal into a gRPC error.
    pub(crate) async fn unary<T>(
        &self,
        method: &'static str,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<Response<T>, Status> {
        let call = CallGuard::begin(self, method);
        match work.await {
            Ok(answer) => {
                call.end(Code::Ok);
                Ok(Response::new(answer))
            }
            Err(refusal) => {
                let status = self.refused(method, refusal);
                call.end(status.code());
                Err(status)
            }
        }
    }

    /// Counts a refusal and turns it into a gRPC error.
    pub(crate) fn refused(&self, method: &'static str, refusal: Refusal) -> Status {
        let reason = refusal.reason();
        self.metrics.refused(reason);
        if reason == Reason::Internal {
            tracing::error!(method, message = refusal.message, "defect");
        } else {
            tracing::debug!(
                method,
                reason = reason.as_str_name(),
                message = refusal.message,
                "refused"
            );
        }
        errors::status(refusal)
    }

    /// Until when a call is worth working on: its own deadline within limits, less the time for the answer.
    pub(crate) fn deadline(&self, metadata: &MetadataMap) -> Instant {
        let limit = Duration::from_millis(self.limits.max_deadline_ms);
        let default = Duration::from_millis(self.limits.default_deadline_ms);
        let timeout = metadata
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(grpc_timeout)
            .unwrap_or(default)
            .min(limit);
        Instant::now() + timeout.saturating_sub(ANSWER_TIME.min(timeout / 5))
    }

    /// Has one command decided by its shard, if the caller may have that. Returns the shard.
    pub(crate) async fn decide(
        &self,
        caller: &Caller,
        taken: Result<Taken, Invalid>,
        deadline: Instant,
    ) -> Result<(u32, Success), Refusal> {
        // What is malformed counts too.
        self.check_rate(caller)?;
        self.decide_counted(caller, taken?, deadline).await
    }

    /// As [`Api::decide`], for what was counted against the caller's rate already.
    pub(crate) async fn decide_counted(
        &self,
        caller: &Caller,
        taken: Taken,
        deadline: Instant,
    ) -> Result<(u32, Success), Refusal> {
        crate::trace::operation(taken.command.operation_id.as_bytes());
        let taken = self.admit(caller, taken, deadline).await?;
        let known = self.router.known_shard(&taken)?;
        // What is rare and large is boxed: every call's future has room for all its branches.
        match (&taken.command.action, known) {
            (Action::Reserve { .. }, None) => return Box::pin(self.decide_order(taken, deadline)).await,
            (Action::TransferOut { .. }, None) => {
                return Box::pin(self.decide_transfer(taken, deadline)).await;
            }
            _ => {}
        }
        let shard = self.router.shard_of_command(&taken, deadline).await?;
        let mut results = self.submit(shard, vec![taken], deadline).await;
        match results.pop() {
            Some(result) => result,
            None => Err(errors::refusal(Reason::Internal, "the shard gave no result")),
        }
    }

    /// Has an order over several shards decided.
    async fn decide_order(&self, taken: Taken, deadline: Instant) -> Result<(u32, Success), Refusal> {
        let (id, orders) = (taken.command.operation_id, self.orders.clone());
        let shard_of = |sku: &Sku| self.router.shard_of(sku);
        let coordinator = Coordinator::new(taken.command, shard_of).map_err(outbound::refusal)?;
        let coordinator = coordinator.ok_or_else(needs_no_coordinator)?;
        let home = coordinator.home();
        let work = async move { orders.reserve(coordinator, deadline).await };
        self.carry_through(id, home, work).await
    }

    /// Has a transfer over several shards leave.
    async fn decide_transfer(&self, taken: Taken, deadline: Instant) -> Result<(u32, Success), Refusal> {
        let (id, orders) = (taken.command.operation_id, self.orders.clone());
        let shard_of = |sku: &Sku| self.router.shard_of(sku);
        let order = TransferOrder::new(taken.command).map_err(outbound::refusal)?;
        let coordinator = order.coordinator(shard_of).map_err(outbound::refusal)?;
        let coordinator = coordinator.ok_or_else(needs_no_coordinator)?;
        let home = coordinator.home();
        let work = async move { orders.transfer_out(order, coordinator, deadline).await };
        self.carry_through(id, home, work).await
    }

    /// Has work on an order done, even when the caller goes away.
    async fn carry_through(
        &self,
        id: ReservationId,
        home: u32,
        work: impl Future<Output = Result<Success, OrderError>> + Send + 'static,
    ) -> Result<(u32, Success), Refusal> {
        let (answer, answered) = oneshot::channel();
        let work = async move {
            // The caller may be gone; the order is decided all the same.
            let _ = answer.send(work.await);
        };
        self.tasks.spawn("order", work.in_current_span());
        let unknown = OrderError::Submit {
            shard: home,
            error: SubmitError::OutcomeUnknown,
        };
        let success = answered
            .await
            .unwrap_or(Err(unknown))
            .map_err(outbound::order_error)?;
        self.router.remember(id, home);
        if is_replayed(&success) {
            self.metrics.replayed();
        }
        Ok((home, success))
    }

    /// Has commands of one shard decided together: one result for each, in order, with the shard that decided.
    pub(crate) async fn submit(
        &self,
        shard: u32,
        taken: Vec<Taken>,
        deadline: Instant,
    ) -> Vec<Result<(u32, Success), Refusal>> {
        // What a Reserve or a TransferOut makes is found again without asking all shards.
        let made: Vec<_> = taken
            .iter()
            .map(|taken| {
                let makes = matches!(
                    taken.command.action,
                    Action::Reserve { .. } | Action::TransferOut { .. }
                );
                makes.then_some(taken.command.operation_id)
            })
            .collect();
        let commands: Vec<Command> = taken.into_iter().map(|taken| taken.command).collect();
        // Only what another shard may have to decide is needed once more.
        let may_move_on = |command: &Command| concerned(&command.action).map(|id| (id, command.clone()));
        let kept: Vec<Option<(ReservationId, Command)>> = commands.iter().map(may_move_on).collect();
        let results = self.router.handle(shard).submit(commands, deadline).await;
        if results.len() != made.len() {
            let refusal = errors::refusal(Reason::Internal, "the shard gave another number of results");
            return vec![Err(refusal); made.len()];
        }
        let mut answers = Vec::with_capacity(results.len());
        for ((result, made), kept) in results.into_iter().zip(made).zip(kept) {
            let answer = match (result, kept) {
                (Ok(Ok(success)), _) => {
                    if let Some(id) = made {
                        self.router.remember(id, shard);
                    }
                    Ok((shard, success))
                }
                (
                    Ok(Err(
                        refusal @ (LedgerRefusal::DecidedAtHome { home }
                        | LedgerRefusal::OverSeveralShards { home }),
                    )),
                    Some((id, command)),
                ) => {
                    self.router.remember(id, home);
                    let followed = self.orders.follow(command, refusal, deadline).await;
                    followed.map_err(outbound::order_error)
                }
                // What that shard has forgotten or never had may be in others.
                (Ok(Err(refusal @ LedgerRefusal::UnknownTransfer)), Some((_, command))) => {
                    let followed = self.orders.follow(command, refusal, deadline).await;
                    followed.map_err(outbound::order_error)
                }
                (Ok(Err(refusal)), _) => Err(outbound::refusal(refusal)),
                (Err(SubmitError::Stopped), _) if !self.leaving.load(Ordering::Relaxed) => {
                    Err(errors::refusal(
                        Reason::NoLeader,
                        format!("the replica of shard {shard} has stopped"),
                    ))
                }
                (Err(error), _) => Err(outbound::submit_error(shard, &error)),
            };
            if answer.as_ref().is_ok_and(|(_, success)| is_replayed(success)) {
                self.metrics.replayed();
            }
            answers.push(answer);
        }
        answers
    }

    /// Asks one shard.
    pub(crate) async fn query(
        &self,
        shard: u32,
        query: Query,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let answer = self.router.handle(shard).query(query, freshness, deadline).await;
        answer.map_err(|error| outbound::query_error(shard, error))
    }

    /// A shard's changes, from this node's replica or another's.
    pub(crate) async fn changes_of(&self, shard: u32) -> Result<ChangeReader, Refusal> {
        let reader = self.router.handle(shard).changes_from_anywhere().await;
        reader.map_err(|error| errors::refusal(Reason::NoLeader, format!("shard {shard}: {error}")))
    }

    /// Why this node should get no traffic, if so.
    pub(crate) fn not_ready_because(&self) -> Option<String> {
        if self.leaving.load(Ordering::Relaxed) {
            return Some("the node is stopping".to_owned());
        }
        if let Some(obstacle) = self.membership.obstacle() {
            return Some(obstacle);
        }
        self.router.shards().iter().find_map(|shard| {
            let status = shard.status();
            let number = status.shard;
            if status.role == Role::Absent {
                None
            } else if status.role == Role::Stopped {
                Some(format!("the replica of shard {number} has stopped"))
            } else if status.leader.is_none() {
                Some(format!("shard {number} has no leader that this node knows of"))
            } else if status.voters.len() > 1 && status.age_ms > self.cut_off_after_ms {
                Some(format!("the replica of shard {number} is cut off from a quorum"))
            } else if status.applied_index + CAUGHT_UP_ENTRIES < status.committed_index {
                let behind = status.committed_index - status.applied_index;
                Some(format!(
                    "the replica of shard {number} is {behind} entries behind"
                ))
            } else {
                None
            }
        })
    }
}

/// An answer of another kind than its question asks for.
pub(crate) fn wrong_reply(reply: &QueryReply) -> Refusal {
    let kind = match reply {
        QueryReply::Cells(_) => "cells",
        QueryReply::Reservation(_) => "a reservation",
        QueryReply::Availability(_) => "availability",
        QueryReply::Digest(_) => "a digest",
        QueryReply::OrderWork(_) => "work on orders",
        QueryReply::Promise(_) => "a promise",
        QueryReply::Deficits(_) => "deficits",
        QueryReply::Transfer(_) => "a transfer",
        QueryReply::Transfers(_) => "transfers",
        QueryReply::Supplies(_) => "supplies",
    };
    errors::refusal(
        Reason::Internal,
        format!("the shard answered another question, with {kind}"),
    )
}

fn is_replayed(success: &Success) -> bool {
    match success {
        Success::Reserved { replayed, .. }
        | Success::Transitioned { replayed, .. }
        | Success::Stocked { replayed, .. } => *replayed,
        Success::Order { .. } => false,
    }
}

fn needs_no_coordinator() -> Refusal {
    errors::refusal(Reason::Internal, "an order in one shard needs no coordinator")
}

/// The reservation or transfer that an action moves on.
fn concerned(action: &Action) -> Option<ReservationId> {
    match action {
        Action::Extend { reservation_id, .. }
        | Action::Commit { reservation_id }
        | Action::Release { reservation_id }
        | Action::Ship { reservation_id, .. }
        | Action::Cancel { reservation_id, .. }
        | Action::Return {
            of: ReturnOf::Reservation { reservation_id, .. },
            ..
        } => Some(*reservation_id),
        Action::TransferIn { transfer_id, .. } | Action::CloseTransfer { transfer_id } => Some(*transfer_id),
        _ => None,
    }
}

/// A call that is counted even when its caller goes away.
pub(crate) struct CallGuard<'a> {
    api: &'a Api,
    method: &'static str,
    began: Instant,
    code: Code,
}

impl<'a> CallGuard<'a> {
    pub(crate) fn begin(api: &'a Api, method: &'static str) -> Self {
        api.metrics.call_began(method);
        Self {
            api,
            method,
            began: Instant::now(),
            code: Code::Cancelled,
        }
    }

    pub(crate) fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.api
            .metrics
            .call_ended(self.method, self.code, self.began.elapsed());
    }
}

/// Reads a `grpc-timeout` header: at most eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_header_is_read_or_ignored() {
        assert_eq!(grpc_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(grpc_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            grpc_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        for bad in ["", "S", "5", "5s", "-5S", "123456789S", "5é", "é"] {
            assert_eq!(grpc_timeout(bad), None, "{bad}");
        }
    }
}
