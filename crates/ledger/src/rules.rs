//! The version of the rules by which a ledger decides.

mod names;

use serde::{Deserialize, Serialize};

use crate::{Action, Command, Refusal};

/// The version of the rules by which a ledger decides. It is part of the ledger's state.
///
/// While a cluster is upgraded, replicas of two releases apply one log. So a release never decides
/// differently by itself. The log asks for it, with [`crate::Action::AdoptRules`]. Each release knows the
/// rules of the release before it, and decides by them until then. A program that does not know a version
/// cannot read the entry that adopts it, and stops there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Rules {
    /// The rules of the first release, and of every ledger whose log adopts no others.
    #[default]
    First,
    /// An id has at most one effect, whatever it meets. A refused command leaves no names. Late requests have
    /// an end. A SKU may be any printable text.
    Second,
}

impl Rules {
    /// The newest rules that this program knows.
    pub const NEWEST: Self = Self::Second;

    /// Returns the version's number, from 1.
    pub const fn number(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }

    /// Refuses a command that a member of the previous version cannot read, as long as the cluster may have
    /// such members. Runs before the command goes into the log.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] names the version to adopt first.
    pub fn check(self, command: &Command) -> Result<(), Refusal> {
        if self >= Self::Second {
            return Ok(());
        }
        if let Some(refusal) = self.refuse_names(&command.action) {
            return Err(refusal);
        }
        let what = if !command.details.is_empty() {
            "occurred_at, as_of, unique_reference and replaces are not taken"
        } else if matches!(command.action, Action::Seal) {
            "operation ids are not sealed"
        } else {
            return Ok(());
        };
        Err(Refusal::InvalidRequest(format!(
            "{what} before the second rules are adopted (`holdfast cluster adopt-rules`)"
        )))
    }
}
