//! Decision on an entry that no replica can apply: writes it into the log.

use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use tokio::time::Instant;

use crate::halt::{DecideError, EntryDecision, EntryRule};
use crate::raft_types::EntryBytes;
use crate::replica::Replica;
use crate::replica_id::node_of;

/// Makes the shard decide the entry at which this leading replica is halted, and waits until the replica goes
/// on.
pub(crate) async fn decide_entry(
    replica: &Replica,
    index: u64,
    rule: EntryRule,
    by: String,
    deadline: Instant,
) -> Result<(), DecideError> {
    if replica.is_stopped() {
        return Err(DecideError::Stopped);
    }
    if !replica.leads() {
        let leader = replica.leader.borrow().map(node_of);
        return Err(DecideError::NotLeader { leader });
    }
    let halt = replica.health.halted().ok_or(DecideError::NotHalted)?;
    if !halt.cause.can_be_decided() {
        return Err(DecideError::NoRuleHelps(halt.cause));
    }
    if halt.index != index {
        return Err(DecideError::AnotherEntry {
            halted_at: halt.index,
        });
    }
    let decision = EntryDecision { index, rule, by };
    // A name that does not fit is no reason to leave the shard halted.
    let entry = EntryBytes::decision(&decision).map_err(|_| DecideError::OutcomeUnknown)?;
    tracing::warn!(
        shard = replica.options.shard,
        index,
        rule = rule.as_str(),
        by = decision.by,
        "an operator decides an entry by a rule"
    );
    let (responder, result) = ProgressResponder::complete_only();
    let written = replica.raft.client_write_ff(entry, Some(responder)).await;
    written.map_err(|_| DecideError::Stopped)?;
    match tokio::time::timeout_at(deadline, result).await {
        Ok(Ok(Ok(_))) => Ok(()),
        Ok(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => Err(DecideError::NotLeader {
            leader: forward.leader_id.map(node_of),
        }),
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(DecideError::OutcomeUnknown),
    }
}
