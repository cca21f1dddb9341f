//! Failures that a test orders.

/// The requests of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// Asks for the host that takes rows.
    Hostname,
    /// Asks for a token for that host.
    Token,
    /// Opens a channel.
    Open,
    /// Appends rows.
    Append,
    /// Asks for the status of channels.
    Status,
}

/// One failure of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this, and does nothing.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The code in the body; none when it is empty.
        code: String,
        /// The header `Retry-After`.
        retry_after: Option<String>,
    },
    /// Breaks the connection, and does nothing.
    LoseRequest,
    /// Does what was asked, and breaks the connection without an answer.
    LoseAnswer,
    /// Answers an append with success, and discards the rows.
    Discard,
    /// Answers an append with success and commits its offset, but one row appears nowhere.
    LoseRow,
    /// Another client opens the channel before the request.
    TakeOver,
    /// The channel gets this status code before the request.
    Invalidate(String),
}

impl Fault {
    /// Returns an answer with a status and a code.
    #[must_use]
    pub fn answer(status: u16, code: &str) -> Self {
        Self::Answer {
            status,
            code: code.to_owned(),
            retry_after: None,
        }
    }
}
