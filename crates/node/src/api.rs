//! The parts that all services share: the router, deadlines, metrics, and the path of one command.

mod administration;
mod admission;
mod lookup;
mod settle;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_api::reasons;
use holdfast_api::v1::{Reason, Refusal};
use holdfast_ledger::{
    About, Action, Command, Coordinator, Query, QueryReply, Refusal as LedgerRefusal, Sender, Sku, Success,
    TransferOrder,
};
use holdfast_orders::{AsOf, OrderError, Orders};
use holdfast_shard::{Answer, ChangeReader, Freshness, Role, ShardHandle, SubmitError};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};
use tracing::Instrument as _;

pub(crate) use self::admission::Admission;
pub(crate) use self::lookup::Found;
use self::settle::{Attempted, Unmet};
use crate::config::{LimitsSection, PeerSection};
use crate::directory::Membership;
use crate::intake::Permits;
use crate::mapping::inbound::Taken;
use crate::mapping::outbound;
use crate::metrics::Metrics;
use crate::own_thread::OwnThread;
use crate::peers::{Identity, Peers};
use crate::reasoned;
use crate::router::Router;
use crate::security::Caller;
use crate::security::access::Access;
use crate::space::Space;
use crate::tasks::Tasks;
use crate::validation::Invalid;

/// The header that a node sets on requests to another node's client port, so that no request travels in a
/// circle.
pub(crate) const PROXIED: &str = "holdfast-proxied";

/// The number of committed entries that a replica may be behind and still count as caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// The number of longest election timeouts after which a silent replica counts as cut off. A replica that has
/// had no contact with its leader, or with a quorum if it leads, for that long has missed more than one
/// election.
pub(crate) const CUT_OFF_TIMEOUTS: u64 = 3;

/// The part of a call's time that is reserved for the way back of the answer.
const ANSWER_TIME: Duration = Duration::from_millis(25);

/// The state that all services share.
pub(crate) struct Api {
    pub(crate) identity: Identity,
    pub(crate) membership: Arc<Membership>,
    pub(crate) limits: LimitsSection,
    pub(crate) router: Router,
    pub(crate) orders: Orders,
    pub(crate) peers: Peers,
    pub(crate) space: Space,
    pub(crate) access: Access,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
    pub(crate) started: Instant,
    /// The silence, in milliseconds, after which a replica is not ready.
    pub(crate) cut_off_after_ms: u64,
    /// Permits for change streams, listings and as-of reads.
    pub(crate) change_streams: Permits,
    /// Permits for batch streams.
    pub(crate) batch_streams: Permits,
    /// The thread where large requests are decoded and checked.
    pub(crate) large_calls: Arc<OwnThread>,
    /// The places for backups.
    pub(crate) backups: Arc<Semaphore>,
    /// Set when the node is about to stop. Then it is not ready, but it still answers.
    pub(crate) leaving: AtomicBool,
    /// The token that is cancelled when long streams must end.
    pub(crate) stopping: CancellationToken,
}

impl Api {
    /// Returns the nodes of the cluster, as far as they are known.
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
    pub(crate) fn refused(&self, method: &str, refusal: Refusal) -> Status {
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
        reasons::status(refusal)
    }

    /// Returns the moment until which a call is worth working on: its own deadline, within limits, less the
    /// time for the answer.
    pub(crate) fn deadline(&self, metadata: &MetadataMap) -> Instant {
        let limit = self.limits.max_deadline.duration();
        let default = self.limits.default_deadline.duration();
        let timeout = metadata
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(grpc_timeout)
            .unwrap_or(default)
            .min(limit);
        Instant::now() + timeout.saturating_sub(ANSWER_TIME.min(timeout / 5))
    }

    /// Lets a shard decide one command, if the caller may send it. Returns the shard that decided.
    pub(crate) async fn decide(
        &self,
        caller: &Caller,
        taken: Result<Taken, Invalid>,
        deadline: Instant,
    ) -> Result<(u32, Success), Refusal> {
        // Malformed requests count against the rate too.
        self.check_rate(caller)?;
        self.decide_counted(caller, taken?, deadline).await
    }

    /// Does the same as [`Api::decide`] for a command that already counted against the caller's rate.
    pub(crate) async fn decide_counted(
        &self,
        caller: &Caller,
        taken: Taken,
        deadline: Instant,
    ) -> Result<(u32, Success), Refusal> {
        crate::trace::operation(taken.command.operation_id.as_bytes());
        let attempted = Attempted::new(&taken);
        let taken = self.admit(caller, taken, deadline).await?;
        let known = self.router.known_shard(&taken)?;
        // Rare and large branches are boxed, because the future of every call has room for all of its
        // branches.
        match (&taken.command.action, known) {
            (Action::Reserve { .. }, None) => return Box::pin(self.decide_order(taken, deadline)).await,
            (Action::TransferOut { .. }, None) => {
                return Box::pin(self.decide_transfer(taken, deadline)).await;
            }
            _ => {}
        }
        let shard = match self.router.shard_of_command(&taken, deadline).await {
            Ok(shard) => shard,
            Err(refusal) => {
                let answer = Err(attempted.not_found(refusal));
                return Box::pin(self.settle_one(attempted, answer, deadline)).await;
            }
        };
        self.router.check_rules(shard, &taken.command)?;
        let taken = taken.positioned(shard)?;
        let mut results = self.submit(shard, vec![taken], deadline).await;
        results.pop().unwrap_or_else(|| Err(no_result()))
    }

    /// Settles the answer to a request that is not tied to one shard.
    async fn settle_one(
        &self,
        attempted: Attempted,
        answer: Result<(u32, Success), Unmet>,
        deadline: Instant,
    ) -> Result<(u32, Success), Refusal> {
        let mut settled = self.settle(None, vec![(attempted, answer)], deadline).await;
        settled.pop().unwrap_or_else(|| Err(no_result()))
    }

    /// Coordinates an order over several shards, and returns its outcome.
    async fn decide_order(&self, taken: Taken, deadline: Instant) -> Result<(u32, Success), Refusal> {
        let (attempted, orders) = (Attempted::new(&taken), self.orders.clone());
        let shard_of = |sku: &Sku| self.router.shard_of(sku);
        let home = match self.router.home_of_reserve(&taken, deadline).await {
            Ok(home) => home,
            Err(refusal) => {
                let attempted = attempted.anywhere();
                let answer = Err(attempted.not_found(refusal));
                return self.settle_one(attempted, answer, deadline).await;
            }
        };
        let attempted = attempted.with_home(home);
        let coordinator =
            Coordinator::new(taken.command.clone(), home, shard_of).map_err(outbound::refusal)?;
        let coordinator = match (coordinator, home) {
            (Some(coordinator), _) => coordinator,
            (None, Some(home)) => {
                self.router.check_rules(home, &taken.command)?;
                let mut results = self.submit(home, vec![taken], deadline).await;
                return results.pop().unwrap_or_else(|| Err(no_result()));
            }
            (None, None) => return Err(needs_no_coordinator()),
        };
        let home = coordinator.home();
        self.router.check_rules(home, &taken.command)?;
        let work = async move {
            let success = orders.reserve(coordinator, deadline).await?;
            Ok((home, success))
        };
        let answer = self.carry_through(home, work).await;
        let answer = answer.map_err(|error| attempted.order_failed(error));
        self.settle_one(attempted, answer, deadline).await
    }

    /// Sends off a transfer over several shards.
    async fn decide_transfer(&self, taken: Taken, deadline: Instant) -> Result<(u32, Success), Refusal> {
        let (attempted, orders) = (Attempted::new(&taken), self.orders.clone());
        let shard_of = |sku: &Sku| self.router.shard_of(sku);
        if !taken.as_of.0.is_empty() {
            return Err(reasons::invalid(
                "operation.as_of: is not taken for a transfer that leaves from several shards: send one for each SKU",
            ));
        }
        let order = TransferOrder::new(taken.command).map_err(outbound::refusal)?;
        let coordinator = order.coordinator(shard_of).map_err(outbound::refusal)?;
        let coordinator = coordinator.ok_or_else(needs_no_coordinator)?;
        let home = coordinator.home();
        let work = async move { orders.transfer_out(order, coordinator, deadline).await };
        let answer = self.carry_through(home, work).await;
        let answer = answer.map_err(|error| attempted.order_failed(error));
        self.settle_one(attempted, answer, deadline).await
    }

    /// Runs the work on an order or a transfer to its end, even when the caller goes away. Returns the shard
    /// that answers.
    async fn carry_through(
        &self,
        home: u32,
        work: impl Future<Output = Result<(u32, Success), OrderError>> + Send + 'static,
    ) -> Result<(u32, Success), OrderError> {
        let (answer, answered) = oneshot::channel();
        let work = async move {
            // The caller may be gone; the order is decided anyway.
            let _ = answer.send(work.await);
        };
        self.tasks.spawn("order", work.in_current_span());
        let unknown = OrderError::Submit {
            shard: home,
            error: SubmitError::OutcomeUnknown,
        };
        let (shard, success) = answered.await.unwrap_or(Err(unknown))?;
        if is_replayed(&success) {
            self.metrics.replayed();
        }
        Ok((shard, success))
    }

    /// Lets one shard decide several commands together. Returns one result for each, in order, with the shard
    /// that decided.
    pub(crate) async fn submit(
        &self,
        shard: u32,
        taken: Vec<Taken>,
        deadline: Instant,
    ) -> Vec<Result<(u32, Success), Refusal>> {
        let attempted: Vec<Attempted> = taken.iter().map(Attempted::new).collect();
        // A command that another shard may have to decide is kept, because it may have to be sent again.
        let may_move_on = |taken: &Taken| {
            moves_on(&taken.command.action).then(|| (taken.command.clone(), taken.as_of.clone()))
        };
        let kept: Vec<Option<(Command, AsOf)>> = taken.iter().map(may_move_on).collect();
        let commands: Vec<Command> = taken.into_iter().map(|taken| taken.command).collect();
        let results = self.router.handle(shard).submit(commands, deadline).await;
        if results.len() != kept.len() {
            let refusal = reasons::refusal(Reason::Internal, "the shard gave the wrong number of results");
            return vec![Err(refusal); kept.len()];
        }
        let mut answers = Vec::with_capacity(results.len());
        for (result, (attempted, kept)) in results.into_iter().zip(attempted.into_iter().zip(kept)) {
            let (result, attempted) = match result {
                Err(SubmitError::Unsettled(refusal)) => (Ok(Err(refusal)), attempted.unanswered()),
                result => (result, attempted),
            };
            let answer = match (result, kept) {
                (Ok(Ok(success)), _) => Ok((shard, success)),
                // Other shards take part too. What this shard has forgotten, or never had, may be in others.
                (
                    Ok(Err(
                        refusal @ (LedgerRefusal::DecidedAtHome { .. }
                        | LedgerRefusal::OverSeveralShards { .. }
                        | LedgerRefusal::UnknownReservation
                        | LedgerRefusal::UnknownTransfer),
                    )),
                    Some((command, as_of)),
                ) => {
                    // Large, and not the way of most calls.
                    let followed = self.orders.follow(shard, (command, &as_of), refusal, deadline);
                    let followed = Box::pin(followed).await;
                    followed.map_err(|error| attempted.order_failed(error))
                }
                (Ok(Err(refusal)), _) => Err(attempted.refused(refusal)),
                (Err(SubmitError::Stopped), _) if !self.leaving.load(Ordering::Relaxed) => {
                    Err(Unmet::told(reasons::refusal(
                        Reason::NoLeader,
                        format!("the replica of shard {shard} has stopped"),
                    )))
                }
                (Err(error), _) => Err(Unmet::told(outbound::submit_error(shard, &error))),
            };
            if answer.as_ref().is_ok_and(|(_, success)| is_replayed(success)) {
                self.metrics.replayed();
            }
            answers.push((attempted, answer));
        }
        self.settle(Some(shard), answers, deadline).await
    }

    /// Sends a query to one shard, and returns its answer.
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

    /// Returns a reader of a shard's changes, from this node's replica or from another's.
    pub(crate) async fn changes_of(&self, shard: u32) -> Result<ChangeReader, Refusal> {
        let reader = self.router.handle(shard).changes_from_anywhere().await;
        reader.map_err(|error| reasoned::told_of_shard(shard, &error))
    }

    /// Describes the halted replicas of this node, one text each.
    pub(crate) fn halted(&self) -> Vec<String> {
        let statuses = self.router.shards().iter().map(ShardHandle::status);
        let halted = statuses.filter_map(|status| Some((status.shard, status.halted?)));
        halted
            .map(|(shard, halt)| format!("the replica of shard {shard} is {halt}"))
            .collect()
    }

    /// Lists the problems of a node that still serves, such as halted replicas or little disk space. One
    /// sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let space = self.space.found().warning();
        self.halted().into_iter().chain(space).collect()
    }

    /// Returns the reason why this node should get no traffic, or None when it is ready.
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
            // A node with a halted replica still serves all other shards, and a restart by an orchestrator
            // would not help this one.
            if status.role == Role::Absent || status.halted.is_some() {
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

/// Returns the refusal for an answer that does not fit its query.
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
        QueryReply::Consumers(_) => "consumers",
        QueryReply::Policies(_) => "policies",
    };
    reasons::refusal(
        Reason::Internal,
        format!("the shard sent an answer to another question: {kind}"),
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

fn no_result() -> Refusal {
    reasons::refusal(Reason::Internal, "the shard gave no result")
}

fn needs_no_coordinator() -> Refusal {
    reasons::refusal(Reason::Internal, "an order in one shard needs no coordinator")
}

/// Returns whether an action changes the state of an existing reservation or transfer.
fn moves_on(action: &Action) -> bool {
    let concerns = action.concerns();
    let exists = matches!(concerns.about, About::Reservation(..) | About::Transfer(_));
    exists && concerns.sender == Sender::Caller
}

/// Counts and times a call, even when its caller goes away.
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
