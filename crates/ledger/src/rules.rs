//! The version of the rules by which a ledger decides.

mod check;
mod names;

use serde::{Deserialize, Serialize};

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
    /// Consumers of the change stream can be registered.
    Third,
}

impl Rules {
    /// The newest rules that this program knows.
    pub const NEWEST: Self = Self::Third;

    /// All versions that this program knows, oldest first.
    pub const KNOWN: [Self; 3] = [Self::First, Self::Second, Self::Third];

    /// Returns the version with this number, if this program knows it.
    pub fn numbered(number: u32) -> Option<Self> {
        Self::KNOWN.into_iter().find(|rules| rules.number() == number)
    }

    /// Returns the version's number, from 1.
    pub const fn number(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Second => 2,
            Self::Third => 3,
        }
    }
}
