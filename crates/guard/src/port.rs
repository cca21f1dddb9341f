//! The ports of a node that callers connect to.

/// The port that a connection arrived at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The port of clients, `listen.client`.
    Client,
    /// The port of other nodes, `listen.peer`.
    Peer,
    /// The port of operators, `listen.admin`.
    Admin,
}

impl Port {
    /// Returns the port's word in metrics and audit lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Admin => "admin",
        }
    }
}
