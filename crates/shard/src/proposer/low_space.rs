//! Refusal of new things while the disks of a shard's nodes are nearly full.
//!
//! All replicas write the same bytes, so their disks fill together. Before one is full, the leader takes
//! nothing new. A command that begins something that stays is refused before it reaches the log, after a
//! confirmed read, which shows what took effect before. A command that ends or moves on something that exists
//! still goes on. So do reads, expiry and the settling of orders, so that the ledger can become smaller.

use std::collections::HashSet;

use holdfast_ledger::{Action, Command, OperationId, OrderStep};
use openraft::async_runtime::watch::WatchReceiver;

use super::Proposer;
use super::batch::{CommandReply, Item};
use super::shed::concerned;
use crate::DiskSpace;
use crate::replica_id::node_of;

impl Proposer {
    /// Returns whether space is short: this node is low on space, or so many voters are that no quorum with
    /// enough space is known.
    pub(super) fn is_short_of_space(&self) -> bool {
        let transport = &self.parts.transport;
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let own = transport.disk_space(node_of(self.parts.options.raft_id));
        let voters = metrics.membership_config.membership().voter_ids();
        is_short(own, voters.map(|voter| transport.disk_space(node_of(voter))))
    }

    /// Returns whether a command would be refused for lack of space if it is a new one.
    pub(super) fn is_unwelcome(&self, command: &Command) -> bool {
        self.work.low_space && begins_something(&command.action)
    }

    /// Refuses a command that a confirmed read shows to be new, if it begins something and space is short.
    pub(super) fn refuse_new(&self, command: &Command, refused: &mut Refused) -> Option<CommandReply> {
        if !self.is_unwelcome(command) {
            return None;
        }
        refused.0.insert(command.operation_id);
        Some(CommandReply::LowSpace)
    }

    /// Makes all commands wait for a confirmed read.
    pub(super) fn all_to_confirm(&self, items: Vec<Item>) -> Vec<Item> {
        for item in &items {
            let confirming = &item.batch.confirming;
            confirming.set(confirming.get() + 1);
        }
        items
    }
}

/// The commands refused in one round. A command that moves on one of them is refused too, instead of the
/// answer that no such thing exists.
#[derive(Default)]
pub(super) struct Refused(HashSet<OperationId>);

impl Refused {
    pub(super) fn is_followed_by(&self, command: &Command) -> bool {
        concerned(&command.action).is_some_and(|id| self.0.contains(&id))
    }
}

/// Returns whether no quorum of voters is known to have enough space, and a voter or this node is known to
/// have little.
fn is_short(own: DiskSpace, voters: impl Iterator<Item = DiskSpace>) -> bool {
    if own == DiskSpace::Low {
        return true;
    }
    let (mut voting, mut enough, mut low) = (0, 0, 0);
    for space in voters {
        voting += 1;
        match space {
            DiskSpace::Enough => enough += 1,
            DiskSpace::Low => low += 1,
            // A voter that is away is part of no quorum.
            DiskSpace::Unknown => {}
        }
    }
    low > 0 && enough < voting / 2 + 1
}

/// Returns whether an action begins something that stays, rather than ending or moving on something that
/// exists.
fn begins_something(action: &Action) -> bool {
    match action {
        Action::Reserve { .. }
        | Action::Receive { .. }
        | Action::Adjust { .. }
        | Action::Count { .. }
        | Action::MoveBucket { .. }
        | Action::SetPolicy { .. }
        | Action::AllocatePool { .. }
        | Action::ExpectSupply { .. }
        | Action::TransferOut { .. }
        | Action::Order(OrderStep::Begin { .. } | OrderStep::Prepare { .. }) => true,
        Action::Extend { .. }
        | Action::Commit { .. }
        | Action::Release { .. }
        | Action::Ship { .. }
        | Action::Cancel { .. }
        | Action::Return { .. }
        | Action::Order(
            OrderStep::Decide { .. }
            | OrderStep::Settle(_)
            | OrderStep::Acknowledge(_)
            | OrderStep::Inquire { .. },
        )
        | Action::OfPart(_)
        | Action::TransferIn { .. }
        | Action::CloseTransfer { .. }
        | Action::Dispatch { .. }
        | Action::AdoptRules { .. }
        | Action::Seal
        // An advance lets replicas drop changes, which makes room.
        | Action::RegisterConsumer { .. }
        | Action::AdvanceConsumer { .. }
        | Action::RemoveConsumer { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_with_enough_space_is_enough_and_the_leader_must_be_in_it() {
        use DiskSpace::{Enough, Low, Unknown};
        for (own, voters, short) in [
            (Enough, vec![Enough, Enough, Enough], false),
            (Enough, vec![Enough, Enough, Low], false),
            (Enough, vec![Enough, Low, Low], true),
            (Low, vec![Low, Enough, Enough], true),
            // With one voter away, the other two are the quorum.
            (Enough, vec![Enough, Low, Unknown], true),
            // A missing quorum is for Raft to report, and has nothing to do with space.
            (Enough, vec![Enough, Unknown, Unknown], false),
            (Enough, vec![Enough], false),
            (Low, vec![Low], true),
            (Enough, vec![Enough, Enough, Enough, Low, Low], false),
            (Enough, vec![Enough, Enough, Low, Low, Unknown], true),
        ] {
            assert_eq!(is_short(own, voters.iter().copied()), short, "{own:?} {voters:?}");
        }
    }
}
