//! Requests that other replicas forwarded to this one because it leads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_ledger::{Command, OrderReply, Outcome, Refusal, Success};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::query::{ReadOutcome, confirmed};
use crate::forward::{ForwardReply, ForwardRequest};
use crate::limits::FORWARD_ANSWER_BYTES;
use crate::metrics::add;
use crate::proposer::{CommandReply, RETRY_AFTER_MS, Submit};
use crate::raft_types::EncodedCommand;
use crate::replica::Replica;
use crate::{QueryError, codec, peer, trace};

/// Longest wait of a forwarded request in milliseconds, whatever timeout it carries.
const MAX_TIMEOUT_MS: u64 = 60_000;

/// Encodes the answer of a node that has no replica of the shard.
pub(crate) fn not_here() -> Bytes {
    codec::encode(&ForwardReply::NotLeader { leader: None }).unwrap_or_default()
}

pub(crate) async fn serve(replica: &Replica, payload: &[u8]) -> Bytes {
    let reply = match codec::decode::<ForwardRequest>(payload) {
        Ok(request) => answer(replica, request).await,
        Err(error) => {
            add(&replica.counters.malformed_messages, 1);
            ForwardReply::Malformed(error.to_string())
        }
    };
    // An answer that cannot be encoded counts as a missing answer.
    codec::encode(&reply).unwrap_or_default()
}

async fn answer(replica: &Replica, request: ForwardRequest) -> ForwardReply {
    if let ForwardRequest::Changes { from_seq } = request {
        let portion = peer::read_changes(&replica.changes, from_seq, replica.host.threads).await;
        return ForwardReply::Changes(portion.map_err(|error| error.to_string()));
    }
    if matches!(request, ForwardRequest::HistoryBegin) {
        return ForwardReply::HistoryBegin(replica.changes.begins_at());
    }
    if replica.is_silent() || !replica.leads() || matches!(request, ForwardRequest::WhoLeads) {
        return ForwardReply::NotLeader {
            leader: *replica.leader.borrow(),
        };
    }
    add(&replica.counters.forwards_served, 1);
    let deadline = |timeout_ms: u64| Instant::now() + Duration::from_millis(timeout_ms.min(MAX_TIMEOUT_MS));
    match request {
        ForwardRequest::Submit { commands, timeout_ms } => {
            ForwardReply::Submit(submit(replica, commands, deadline(timeout_ms)).await)
        }
        ForwardRequest::Query { query, timeout_ms } => {
            match confirmed(replica, &query, deadline(timeout_ms)).await {
                ReadOutcome::Answer(answer) => ForwardReply::Query(answer),
                ReadOutcome::NotLeader(leader) => ForwardReply::NotLeader { leader },
                ReadOutcome::Nothing => ForwardReply::Query(Err(QueryError::Deadline)),
            }
        }
        // These requests were answered above.
        ForwardRequest::WhoLeads | ForwardRequest::Changes { .. } | ForwardRequest::HistoryBegin => {
            ForwardReply::Malformed("not for the leader".to_owned())
        }
    }
}

/// Makes one attempt. The caller's replica is the one that tries again.
async fn submit(replica: &Replica, commands: Vec<Command>, deadline: Instant) -> Vec<CommandReply> {
    let count = commands.len();
    if count == 0 {
        return Vec::new();
    }
    let commands = Arc::new(commands.into_iter().map(EncodedCommand::new).collect::<Vec<_>>());
    let (reply, replies) = oneshot::channel();
    let submit = Submit {
        commands,
        open: (0..count).collect(),
        deadline,
        reply,
        span: trace::current(),
    };
    if replica.proposer.try_send(submit).is_err() {
        return vec![
            CommandReply::Overloaded {
                retry_after_ms: RETRY_AFTER_MS
            };
            count
        ];
    }
    let mut answers = vec![CommandReply::Unknown; count];
    if let Ok(Ok(replies)) = tokio::time::timeout_at(deadline, replies).await {
        for (index, reply) in replies {
            if let Some(answer) = answers.get_mut(index) {
                *answer = reply;
            }
        }
    }
    cut_to_size(&mut answers);
    answers
}

/// Keeps the answers that fit into one message. The others become unknown. The caller asks for them again,
/// and decided commands are then answered by their operation ids.
fn cut_to_size(answers: &mut [CommandReply]) {
    let mut bytes = 0;
    for (place, answer) in answers.iter_mut().enumerate() {
        if let CommandReply::Decided(outcome) = answer {
            bytes += size_of(outcome);
            // The first answer is always sent, so that every round brings one.
            if bytes > FORWARD_ANSWER_BYTES && place > 0 {
                *answer = CommandReply::Unknown;
            }
        }
    }
}

/// Estimates the bytes of an outcome in a message.
fn size_of(outcome: &Outcome) -> usize {
    /// Bytes of an allocation with its longest name.
    const ALLOCATION_BYTES: usize = 64;
    /// Bytes of a line, a shortage or a pool with its longest name.
    const LINE_BYTES: usize = 128;
    let lines = match outcome {
        Ok(Success::Reserved { lines, .. }) => lines.as_slice(),
        Ok(Success::Order {
            reply: OrderReply::Prepared(part) | OrderReply::Begun { part: Some(part), .. },
            ..
        }) => part.lines.as_slice(),
        Ok(Success::Stocked { cell: Some(cell), .. }) => return LINE_BYTES * (1 + cell.pools.len()),
        Err(Refusal::InsufficientStock(shortages)) => return LINE_BYTES * (1 + shortages.len()),
        Ok(Success::Stocked { cell: None, .. } | Success::Transitioned { .. } | Success::Order { .. })
        | Err(_) => &[],
    };
    let allocations: usize = lines.iter().map(|line| line.allocations.len()).sum();
    LINE_BYTES * (1 + lines.len()) + ALLOCATION_BYTES * allocations
}
