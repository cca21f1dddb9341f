//! What callers do, in the words of the policy file.

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Reserve,
    Commit,
    Release,
    Extend,
    Ship,
    Cancel,
    Return,
    /// Goods that arrive, and the plan that they will.
    Receive,
    Adjust,
    Count,
    /// Between the buckets of a cell.
    Move,
    /// Between warehouses.
    Transfer,
    /// A storefront's rules and pools.
    Policy,
    /// Stock, availability, reservations, transfers, as they are or as they were.
    Read,
    /// The change stream.
    Changes,
    /// Who leads.
    Admin,
}

impl Verb {
    /// All verbs.
    pub(crate) const ALL: [Self; 16] = [
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

    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
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

    /// The verb of a word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

/// Some verbs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verbs(u32);

impl Verbs {
    pub(crate) fn all() -> Self {
        let mut all = Self::default();
        Verb::ALL.into_iter().for_each(|verb| all.insert(verb));
        all
    }

    pub(crate) fn insert(&mut self, verb: Verb) {
        self.0 |= 1 << verb as u32;
    }

    pub(crate) fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u32) != 0
    }
}
