//! Adoption of the ledger's newest rules by a shard that has just been founded.
//!
//! A shard of an older cluster adopts rules when an operator asks for it, because a node of the older release
//! could not read the entry. A group that was founded since this process started has no such nodes, so its
//! first command asks for the rules. A shard that begins with a restored ledger keeps the rules of that
//! ledger.

use holdfast_ledger::{
    Action, CallerReason, Command, Details, Ledger, OperationId, Principal, Reference, Rules,
};

/// Whether a leader still has to look after the rules of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adoption {
    /// The shard is new, as far as this replica knows.
    Due,
    /// The ledger already has entries or the newest rules, or the shard is not new.
    Over,
}

impl Adoption {
    /// Returns the state of a replica that starts. `founds` is true when its group has not begun.
    pub(crate) fn at_start(founds: bool) -> Self {
        if founds { Self::Due } else { Self::Over }
    }

    /// Returns the command that asks for the newest rules, as long as nothing has been applied. The caller
    /// leads and has no proposals in flight.
    pub(crate) fn next(&mut self, ledger: &Ledger, now_ms: u64) -> Option<Command> {
        if *self == Self::Over {
            return None;
        }
        let is_empty = ledger.log_index().is_none() && ledger.rules() < Rules::NEWEST;
        if !is_empty {
            *self = Self::Over;
            return None;
        }
        adopt(Rules::NEWEST, now_ms)
    }
}

/// Builds the command that asks for rules. Its id is not remembered, so it need not be unique.
fn adopt(rules: Rules, now_ms: u64) -> Option<Command> {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    id[6] = 0x80;
    id[8] = 0x80;
    Some(Command {
        operation_id: OperationId::from_slice(&id).ok()?,
        principal: Principal::new("holdfast").ok()?,
        reference: Reference::default(),
        reason: CallerReason::default(),
        details: Details::default(),
        action: Action::AdoptRules { rules },
    })
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::{Entry, LedgerOptions};

    use super::*;

    #[test]
    fn a_new_shard_adopts_the_newest_rules_once_and_a_restored_one_keeps_its_own() {
        let mut ledger = Ledger::new(LedgerOptions::default());
        assert_eq!(Adoption::at_start(false).next(&ledger, 7), None);
        let mut adoption = Adoption::at_start(true);
        let command = adoption.next(&ledger, 7).unwrap();
        assert_eq!(adoption, Adoption::Due, "until it is applied");
        let entry = |commands| Entry {
            log_time_ms: 7,
            commands,
        };
        ledger.apply(3, &entry(vec![command])).unwrap();
        assert_eq!(ledger.rules(), Rules::NEWEST);
        assert_eq!(adoption.next(&ledger, 8), None);
        assert_eq!(adoption, Adoption::Over);

        let mut used = Ledger::new(LedgerOptions::default());
        used.apply(3, &entry(Vec::new())).unwrap();
        assert_eq!(Adoption::at_start(true).next(&used, 8), None);
    }
}
