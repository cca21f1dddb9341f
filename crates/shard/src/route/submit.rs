//! Commands on their way to a decision.
//!
//! Asking again is always safe: a command that took effect is known by its operation id and answered with its
//! first outcome. This module remembers commands that were perhaps proposed and have no answer, so that the
//! caller learns the truth. This matters at the deadline. It also matters when a later attempt is refused,
//! because a refusal leaves no trace and the earlier attempt may still arrive.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::SendError;
use holdfast_ledger::{Action, Command, Outcome, Refusal};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Origin, Route};
use crate::forward::{ForwardReply, ForwardRequest};
use crate::limits::{FORWARD_BYTES, MAX_COMMAND_BYTES};
use crate::local_shard::LocalShard;
use crate::metrics::add;
use crate::proposer::{CommandReply, RETRY_AFTER_MS, Submit};
use crate::raft_types::EncodedCommand;
use crate::replica::Replica;
use crate::replica_id::node_of;
use crate::{SubmitError, TransportError, codec, trace};

/// Time that an answer needs to come back. The leader's own time limit is shorter than ours by so much.
const ANSWER_TRAVELS: Duration = Duration::from_millis(5);

struct Pending {
    commands: Arc<Vec<EncodedCommand>>,
    results: Vec<Option<Result<Outcome, SubmitError>>>,
    /// Whether each command was perhaps proposed and has no answer.
    uncertain: Vec<bool>,
    leader_seen: bool,
}

/// Submits commands, and asks again when this node's replica leaves or a new one comes meanwhile.
pub(crate) async fn submit(
    place: &LocalShard,
    commands: Vec<Command>,
    deadline: Instant,
) -> Vec<Result<Outcome, SubmitError>> {
    let span = trace::submit(place.elsewhere.shard, commands.len());
    until_answered(place, commands, deadline).instrument(span).await
}

async fn until_answered(
    place: &LocalShard,
    commands: Vec<Command>,
    deadline: Instant,
) -> Vec<Result<Outcome, SubmitError>> {
    let mut running = place.running();
    add(
        &Origin::of(place, running.as_ref()).counters().commands_submitted,
        commands.len(),
    );
    let mut pending = Pending::new(commands);
    loop {
        let from = Origin::of(place, running.as_ref());
        pending
            .ask(from, || place.has_changed(running.as_ref()), deadline)
            .await;
        let over = pending.open().is_empty() || Instant::now() >= deadline;
        if over || !place.has_changed(running.as_ref()) {
            let (results, unknown) = pending.finish(from.is_stopped());
            add(&from.counters().outcomes_unknown, unknown);
            return results;
        }
        running = place.running();
    }
}

impl Pending {
    fn new(commands: Vec<Command>) -> Self {
        let commands: Vec<EncodedCommand> = commands.into_iter().map(EncodedCommand::new).collect();
        let results = commands
            .iter()
            .map(|command| refuse_size(command.bytes.len()))
            .collect();
        let uncertain = vec![false; commands.len()];
        Self {
            commands: Arc::new(commands),
            results,
            uncertain,
            leader_seen: false,
        }
    }

    /// Asks until everything is answered, the time is up, the replica has stopped, or this node's place has
    /// changed.
    async fn ask(&mut self, from: Origin<'_>, elsewhere: impl Fn() -> bool, deadline: Instant) {
        let mut route = Route::new(from);
        loop {
            let open = self.open();
            if open.is_empty() || Instant::now() >= deadline || from.is_stopped() || elsewhere() {
                return;
            }
            let progress = match (route.next(), from.here()) {
                (Some(leader), Some(replica)) if leader == replica.options.raft_id() => {
                    self.leader_seen = true;
                    self.ask_here(replica, &route, open, deadline).await
                }
                (Some(leader), _) => {
                    self.leader_seen = true;
                    self.ask_there(&mut route, leader, &open, deadline).await
                }
                (None, _) => false,
            };
            if !progress {
                route.pause(deadline).await;
            }
        }
    }

    fn open(&self) -> Vec<usize> {
        let open = self
            .results
            .iter()
            .enumerate()
            .filter(|(_, result)| result.is_none());
        open.map(|(index, _)| index).collect()
    }

    /// Records replies. Returns `false` when none of them decided anything.
    fn take(&mut self, replies: impl IntoIterator<Item = (usize, CommandReply)>) -> bool {
        let mut progress = false;
        for (index, reply) in replies {
            let Some(result) = self.results.get_mut(index) else {
                continue;
            };
            match reply {
                CommandReply::Decided(outcome) => {
                    let command = &self.commands[index].command;
                    *result = Some(settled(command, outcome, self.uncertain[index]));
                }
                CommandReply::Unknown => self.uncertain[index] = true,
                CommandReply::NotProposed => continue,
                CommandReply::Overloaded { retry_after_ms } => {
                    *result = Some(Err(match self.uncertain[index] {
                        true => SubmitError::OutcomeUnknown,
                        false => SubmitError::Overloaded { retry_after_ms },
                    }));
                }
                CommandReply::LowSpace => {
                    *result = Some(Err(match self.uncertain[index] {
                        true => SubmitError::OutcomeUnknown,
                        false => SubmitError::LowSpace,
                    }));
                }
            }
            progress |= result.is_some();
        }
        progress
    }

    fn all_uncertain(&mut self, open: &[usize]) -> bool {
        self.take(open.iter().map(|index| (*index, CommandReply::Unknown)))
    }

    async fn ask_here(
        &mut self,
        replica: &Replica,
        route: &Route<'_>,
        open: Vec<usize>,
        deadline: Instant,
    ) -> bool {
        let (reply, replies) = oneshot::channel();
        let submit = Submit {
            commands: Arc::clone(&self.commands),
            open: open.clone(),
            deadline,
            reply,
            span: trace::current(),
        };
        match replica.proposer.try_send(submit) {
            Ok(()) => {}
            Err(SendError::Full(_)) => {
                add(&replica.counters.commands_overloaded, open.len());
                let overloaded = CommandReply::Overloaded {
                    retry_after_ms: RETRY_AFTER_MS,
                };
                return self.take(open.into_iter().map(|index| (index, overloaded.clone())));
            }
            Err(SendError::Closed(_)) => return false,
        }
        tokio::select! {
            replies = replies => match replies {
                Ok(replies) => self.take(replies),
                Err(_) => self.all_uncertain(&open),
            },
            () = tokio::time::sleep_until(deadline) => self.all_uncertain(&open),
            () = route.deposed(replica.options.raft_id()) => self.all_uncertain(&open),
        }
    }

    async fn ask_there(
        &mut self,
        route: &mut Route<'_>,
        leader: u64,
        open: &[usize],
        deadline: Instant,
    ) -> bool {
        let from = route.from;
        let deadline = from.attempt_until(deadline);
        // The first command is always sent.
        let mut bytes = 0;
        let fits = |index: &&usize| {
            bytes += self.commands[**index].bytes.len();
            bytes <= FORWARD_BYTES
        };
        let sent: Vec<usize> = open.iter().take_while(fits).copied().collect();
        let timeout = deadline.saturating_duration_since(Instant::now());
        let request = ForwardRequest::Submit {
            commands: sent
                .iter()
                .map(|index| self.commands[*index].command.clone())
                .collect(),
            timeout_ms: millis(timeout.saturating_sub(ANSWER_TRAVELS)),
        };
        let Ok(payload) = codec::encode(&request) else {
            return false;
        };
        add(&from.counters().forwards_sent, 1);
        let (node, shard) = (node_of(leader), from.shard());
        let span = trace::forward(node);
        let answer = span.in_scope(|| from.transport().forward(node, shard, payload, timeout));
        let answer = answer.instrument(span);
        let answer = tokio::select! {
            answer = answer => answer,
            () = tokio::time::sleep_until(deadline) => {
                route.not_leader(leader, None);
                return self.all_uncertain(&sent);
            }
            () = route.deposed(leader) => return self.all_uncertain(&sent),
        };
        match answer.map(|answer| codec::decode::<ForwardReply>(&answer)) {
            Ok(Ok(ForwardReply::Submit(replies))) if replies.len() == sent.len() => {
                route.led(leader);
                self.take(sent.into_iter().zip(replies))
            }
            Ok(Ok(ForwardReply::NotLeader { leader: says })) => {
                route.not_leader(leader, says);
                false
            }
            Err(TransportError::NotSent(_)) | Ok(Ok(ForwardReply::Malformed(_))) => {
                route.not_leader(leader, None);
                false
            }
            Ok(_) | Err(TransportError::Unknown(_)) => {
                route.not_leader(leader, None);
                self.all_uncertain(&sent)
            }
        }
    }

    fn finish(self, stopped: bool) -> (Vec<Result<Outcome, SubmitError>>, usize) {
        let mut unknown = 0;
        let without = |uncertain: bool| {
            if uncertain {
                unknown += 1;
                SubmitError::OutcomeUnknown
            } else if stopped {
                SubmitError::Stopped
            } else if self.leader_seen {
                SubmitError::Deadline
            } else {
                SubmitError::NoLeader
            }
        };
        let mut without = without;
        let results = self
            .results
            .into_iter()
            .zip(self.uncertain)
            .map(|(result, uncertain)| result.unwrap_or_else(|| Err(without(uncertain))))
            .collect();
        (results, unknown)
    }
}

/// Returns the outcome, unless it is a refusal that a copy of the command can still contradict.
fn settled(command: &Command, outcome: Outcome, uncertain: bool) -> Result<Outcome, SubmitError> {
    match outcome {
        // A late step of an order is judged by the order's protocol.
        Err(refusal) if uncertain && !refusal.is_lasting() && !matches!(command.action, Action::Order(_)) => {
            Err(SubmitError::Unsettled(refusal))
        }
        outcome => Ok(outcome),
    }
}

fn refuse_size(bytes: usize) -> Option<Result<Outcome, SubmitError>> {
    let what = match bytes {
        0 => "the request cannot be stored".to_string(),
        1..=MAX_COMMAND_BYTES => return None,
        _ => format!("the request takes {bytes} bytes, at most {MAX_COMMAND_BYTES} are allowed: split it"),
    };
    Some(Ok(Err(Refusal::InvalidRequest(what))))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
