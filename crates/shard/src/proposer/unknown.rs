//! Commands that members of the release before could not read: SKUs of any text, details, seals.
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
        let seen = self.parts.view.borrow().rules;
        let needs_newer = |item: &Item| needs_newer(Rules::First, item.command());
        seen < Rules::Second.number() && items.iter().any(needs_newer)
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
