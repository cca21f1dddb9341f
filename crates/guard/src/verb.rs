//! The verbs of the policy file.

/// The kind of a caller's action, as the policy file names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Takes units for a reservation.
    Reserve,
    /// Makes a hold final.
    Commit,
    /// Ends a hold.
    Release,
    /// Lengthens a hold.
    Extend,
    /// Takes committed units out of the warehouse.
    Ship,
    /// Gives committed units up.
    Cancel,
    /// Brings shipped units back.
    Return,
    /// Books goods that arrive, and plans of expected goods.
    Receive,
    /// Corrects what is on hand by a difference.
    Adjust,
    /// Sets what is on hand to what was counted.
    Count,
    /// Moves units between the buckets of a cell.
    Move,
    /// Moves units between warehouses.
    Transfer,
    /// Sets the stock policies of a storefront, and its pools.
    Policy,
    /// Reads stock, availability, reservations and transfers, as they are or as they were.
    Read,
    /// Follows the change stream.
    Changes,
    /// Administers the cluster.
    Admin,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 16] = [
        Self::Reserve,
        Self::Commit,
        Self::Release,
        Self::Extend,
        Self::Ship,
        Self::Cancel,
        Self::Return,
        Self::Receive,
        Self::Adjust,
        Self::Count,
        Self::Move,
        Self::Transfer,
        Self::Policy,
        Self::Read,
        Self::Changes,
        Self::Admin,
    ];

    /// Returns the verb's word in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Commit => "commit",
            Self::Release => "release",
            Self::Extend => "extend",
            Self::Ship => "ship",
            Self::Cancel => "cancel",
            Self::Return => "return",
            Self::Receive => "receive",
            Self::Adjust => "adjust",
            Self::Count => "count",
            Self::Move => "move",
            Self::Transfer => "transfer",
            Self::Policy => "policy",
            Self::Read => "read",
            Self::Changes => "changes",
            Self::Admin => "admin",
        }
    }

    /// Returns the verb with this word, or None.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

/// A set of verbs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verbs(u32);

impl Verbs {
    /// Returns the set of all verbs.
    pub fn all() -> Self {
        let mut all = Self::default();
        Verb::ALL.into_iter().for_each(|verb| all.insert(verb));
        all
    }

    /// Adds a verb.
    pub fn insert(&mut self, verb: Verb) {
        self.0 |= 1 << verb as u32;
    }

    /// Returns whether a verb is in the set.
    pub fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u32) != 0
    }
}
