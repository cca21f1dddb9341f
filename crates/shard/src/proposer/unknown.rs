//! Commands that members of the release before could not read: SKUs of any text, details, seals,
//! consumers.
//!
//! The ledger refuses them by the rules that its log has adopted. Commands that go to the log without asking
//! the ledger first are checked here, so that no such command gets into it.

use holdfast_ledger::{Command, Ledger, Rules};

use super::Proposer;
use super::batch::{CommandReply, Item};
use crate::adoption::Adoption;

impl Proposer {
    /// Returns whether one of these commands needs newer rules than those last seen. Used while the ledger
    /// cannot be asked.
    pub(super) fn needs_something_new(&self, items: &[Item]) -> bool {
        // A ledger with rules that this program does not know has stopped.
        let seen = Rules::numbered(self.parts.view.borrow().rules).unwrap_or(Rules::First);
        items.iter().any(|item| needs_newer(seen, item.command()))
    }

    /// Answers a command that needs newer rules than this ledger's. A new shard adopts them with its first
    /// entry, so there the command is worth another try.
    pub(super) fn refuse_unknown(&self, ledger: &Ledger, command: &Command) -> CommandReply {
        let adopts_soon = self.work.adoption == Some(Adoption::Due) && ledger.log_index().is_none();
        match ledger.rules().check(command) {
            Err(refusal) if !adopts_soon => CommandReply::Decided(Err(refusal)),
            _ => CommandReply::NotProposed,
        }
    }
}

/// Returns whether a command contains something that these rules do not take.
pub(super) fn needs_newer(rules: Rules, command: &Command) -> bool {
    rules.check(command).is_err()
}
