//! Commands that members of the release before could not read: with SKUs of any text, with details, seals.
//!
//! The ledger refuses them by the rules that its log has adopted. What goes to the log without asking the ledger first is looked
//! at here, so that no such command gets into it.

use holdfast_ledger::{Command, Ledger, Rules};

use super::Proposer;
use super::batch::{CommandReply, Item};
use crate::adoption::Adoption;

impl Proposer {
    /// Whether one of these commands needs newer rules than those last seen. Asked while the ledger cannot be.
    pub(super) fn needs_something_new(&self, items: &[Item]) -> bool {
        let seen = self.parts.view.borrow().rules;
        let needs_newer = |item: &Item| needs_newer(Rules::First, item.command());
        seen < Rules::Second.number() && items.iter().any(needs_newer)
    }

    /// Answers a command that needs newer rules than this ledger's. A new shard adopts them with its first entry, so there it
    /// is worth another try.
    pub(super) fn refuse_unknown(&self, ledger: &Ledger, command: &Command) -> CommandReply {
        let adopts_soon = self.work.adoption == Some(Adoption::Due) && ledger.log_index().is_none();
        match ledger.rules().check(command) {
            Err(refusal) if !adopts_soon => CommandReply::Decided(Err(refusal)),
            _ => CommandReply::NotProposed,
        }
    }
}

/// Whether a command has what is not taken by these rules.
pub(super) fn needs_newer(rules: Rules, command: &Command) -> bool {
    rules.check(command).is_err()
}
