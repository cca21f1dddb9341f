//! The ports of a node that callers come in at.

/// The port that a connection came in at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// `listen.client`.
    Client,
    /// `listen.peer`.
    Peer,
    /// `listen.admin`.
    Admin,
}

impl Port {
    /// Returns the word for it in metrics and audit lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Admin => "admin",
        }
    }
}
