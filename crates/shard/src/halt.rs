//! Halt of a replica: it has met an entry that it cannot apply.
//!
//! The ledger stands still before that entry. Raft goes on, so the shard keeps electing leaders and can
//! commit a *decision* on the entry: a rule by which every replica decides it in the same way.
//!
//! ```text
//!  log:      ... H-1 │ H: cannot be applied │ H+1 ... │ A: "entry H is refused"
//!  replica:  applied │ halted ──────────────────────> │ H without effect, H+1 ... applied, A: goes on
//! ```
//!
//! Nothing of H was acknowledged: every replica that runs the same program stops at H, and a caller gets an
//! answer only for entries that are applied. A decision counts once it is committed, because openraft hands
//! over committed entries only. When a replica restarts, it looks ahead for decisions in the part of its log
//! that is known to be committed, so it does not stop at H again.
//!
//! A replica that has applied H with its effect (perhaps with another version of the program) must not follow
//! the others past A. It halts at A with [`HaltCause::DecidedOtherwise`] and must be made again.

use std::fmt;

use holdfast_ledger::{Entry, OperationId};
use serde::{Deserialize, Serialize};

/// Largest number of commands that a halt names.
const NAMED_COMMANDS: usize = 16;

/// Largest size of a halt's description, in bytes.
const MAX_WHAT_BYTES: usize = 2_000;

/// Position at which a replica stands still, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// The kind of obstacle.
    pub cause: HaltCause,
    /// The index of the entry that cannot be applied. For [`HaltCause::State`], the last entry of the wrong
    /// state.
    pub index: u64,
    /// The entry's log time, in milliseconds since the Unix epoch; 0 when it cannot be read.
    pub log_time_ms: u64,
    /// The condition that does not hold, in words.
    pub what: String,
    /// The number of commands in the entry.
    pub commands: u64,
    /// The first commands of the entry.
    pub named: Vec<HaltedCommand>,
}

/// The kinds of obstacles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltCause {
    /// The entry violates an invariant, or panics, when it is applied.
    Violation,
    /// The entry's changes cannot be recorded in the change log.
    Unrecordable,
    /// The entry's bytes are not an entry that this version can read.
    Unreadable,
    /// The full check before a snapshot found a wrong state. No entry can be named.
    State,
    /// The cluster has decided this entry by a rule, and this replica had applied it already.
    DecidedOtherwise,
}

/// Identifies one command of an entry that cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HaltedCommand {
    /// The kind of command, such as `Reserve`.
    pub kind: &'static str,
    /// Operation id of the command.
    pub operation_id: OperationId,
}

/// A rule by which all replicas decide an entry that they cannot apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryRule {
    /// Every command of the entry is refused without effect.
    Refuse,
}

/// A decision on an entry, as it is written into the log. New fields need a new version (`raft_types.rs`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryDecision {
    /// The entry that the decision is about.
    pub(crate) index: u64,
    pub(crate) rule: EntryRule,
    /// Name of the operator.
    pub(crate) by: String,
}

/// Reason why an entry was not decided by a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// Only the leader can write the decision.
    #[error("this replica does not lead the shard")]
    NotLeader {
        /// The leading node, as far as known.
        leader: Option<u64>,
    },
    /// The replica is not halted.
    #[error("the leader's replica is not halted")]
    NotHalted,
    /// The replica is halted at another entry.
    #[error("the leader's replica is halted at entry {halted_at}")]
    AnotherEntry {
        /// The entry at which it is halted.
        halted_at: u64,
    },
    /// No rule removes this obstacle.
    #[error("no rule for an entry can bring the leader's replica back, because of what halted it: {0}")]
    NoRuleHelps(HaltCause),
    /// The decision was written, but is not known to be committed.
    #[error("it is unknown whether the decision counts: the shard's status shows it")]
    OutcomeUnknown,
    /// This replica is stopping or dead.
    #[error("this replica of the shard has stopped")]
    Stopped,
}

impl EntryRule {
    /// Returns the rule's name on the command line and in the public API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
        }
    }

    /// Returns the rule with this name.
    pub fn parse(name: &str) -> Option<Self> {
        (name == Self::Refuse.as_str()).then_some(Self::Refuse)
    }
}

impl HaltCause {
    /// Returns the cause's name in the public API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Violation => "violation",
            Self::Unrecordable => "unrecordable",
            Self::Unreadable => "unreadable",
            Self::State => "state",
            Self::DecidedOtherwise => "decided-otherwise",
        }
    }

    /// Returns whether a rule for the entry can bring the shard back.
    pub fn can_be_decided(self) -> bool {
        match self {
            Self::Violation | Self::Unrecordable | Self::Unreadable => true,
            Self::State | Self::DecidedOtherwise => false,
        }
    }
}

impl Halt {
    pub(crate) fn new(cause: HaltCause, index: u64, entry: Option<&Entry>, what: impl fmt::Display) -> Self {
        let mut what = what.to_string();
        if what.len() > MAX_WHAT_BYTES {
            let end = (0..=MAX_WHAT_BYTES).rev().find(|end| what.is_char_boundary(*end));
            what.truncate(end.unwrap_or_default());
        }
        let commands = entry.map_or(&[][..], |entry| &entry.commands);
        let name = |command: &holdfast_ledger::Command| HaltedCommand {
            kind: command.action.name(),
            operation_id: command.operation_id,
        };
        Self {
            cause,
            index,
            log_time_ms: entry.map_or(0, |entry| entry.log_time_ms),
            what,
            commands: commands.len() as u64,
            named: commands.iter().take(NAMED_COMMANDS).map(name).collect(),
        }
    }
}

impl fmt::Display for HaltCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            HaltCause::State => write!(f, "halted with the state after entry {}", self.index)?,
            _ => write!(f, "halted at entry {}", self.index)?,
        }
        write!(f, " ({}): {}", self.cause, self.what)?;
        if self.commands == 0 {
            return Ok(());
        }
        write!(f, "; {} commands:", self.commands)?;
        for (number, HaltedCommand { kind, operation_id }) in self.named.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(f, "{comma} {kind} {operation_id}")?;
        }
        if self.commands > self.named.len() as u64 {
            f.write_str(", ...")?;
        }
        Ok(())
    }
}
